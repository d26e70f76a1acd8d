// Shows a chart's values under the pointer; the page is complete without it.
const WIDTH = 480; // of every chart, in its own units

for (const box of document.querySelectorAll("[data-hover]")) {
  const data = JSON.parse(box.dataset.hover);
  const svg = box.querySelector("svg");
  const tip = box.querySelector(".tip");
  const cursor = box.querySelector(".cursor");

  const place = (x) => {
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
  };
  const hide = () => {
    tip.hidden = true;
    place(-9);
  };
  const add = (tag, text) => {
    const element = document.createElement(tag);
    element.textContent = text;
    tip.append(element);
  };

  box.addEventListener("pointermove", (event) => {
    const area = svg.getBoundingClientRect();
    const at = ((event.clientX - area.left) / area.width) * WIDTH;
    let best = 0;
    data.x.forEach((x, i) => {
      if (Math.abs(x - at) < Math.abs(data.x[best] - at)) best = i;
    });
    place(data.x[best]);
    tip.replaceChildren();
    add("b", data.at[best]);
    for (const [label, values] of data.lines) add("div", `${label}: ${values[best]}`);
    tip.hidden = false;
    const left = (data.x[best] / WIDTH) * area.width;
    const right = left > area.width / 2;
    tip.style.left = right ? "" : `${left + 10}px`;
    tip.style.right = right ? `${area.width - left + 10}px` : "";
  });
  box.addEventListener("pointerleave", hide);
}
