// Small pieces: elements, keyed rows, lengths of time, plots. Text only ever becomes textContent:
// whatever a task's type, data or error holds, it is shown and never run.

export const byId = (id) => document.getElementById(id);

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Text of a task as one can read it: what steers a terminal, or turns the line round, is spelled.
export function readable(text) {
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

export const number = (value) => Math.round(value).toLocaleString("en");
export const rate = (value) => (value < 100 ? Math.round(value * 10) / 10 : Math.round(value)).toLocaleString("en") + "/s";

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "?";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  const s = Math.floor(seconds);
  if (s < 60) return s + " s";
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// Bring the children of `parent` in line with `items`; a child that stays keeps focus and state.
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const name = String(key(item));
    let child = old.get(name);
    if (child) {
      old.delete(name);
    } else {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    const place = before ? before.nextSibling : parent.firstChild;
    if (child !== place) parent.insertBefore(child, place);
    before = child;
  }
  for (const child of old.values()) child.remove();
}

export function row(labels) {
  const tr = element("tr");
  for (const label of labels) tr.append(element("td", "", { "data-label": label }));
  tr.lastChild.className = "act";
  return tr;
}

export function fill(tr, texts) {
  texts.forEach((text, index) => {
    if (tr.cells[index].textContent !== text) tr.cells[index].textContent = text;
  });
}

// A row's button in its last cell, there while actions are unlocked.
export function actionIn(tr, unlocked, text, what, act) {
  const cell = tr.cells[tr.cells.length - 1];
  if (!unlocked) {
    cell.textContent = "";
  } else if (!cell.firstChild) {
    const button = element("button", text, { type: "button", "aria-label": `${text} ${readable(what)}` });
    button.addEventListener("click", act);
    cell.append(button);
  }
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 100;

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// One plot: the caption says in words what the curve shows.
export function plot(title, show) {
  const figure = element("figure");
  const caption = element("figcaption");
  const svg = shape("svg", { viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const area = shape("path", { class: "area" });
  const curve = shape("path", { class: "curve" });
  svg.append(shape("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), area, curve);
  const ends = element("div", null, { class: "ends" });
  const from = element("span");
  ends.append(from, element("span", "now"));
  figure.append(caption, svg, ends);
  figure.draw = (times, values) => {
    if (values.length < 2) {
      caption.textContent = `${title}: the curve begins in some seconds`;
      return;
    }
    const most = Math.max(...values);
    const first = times[0], span = times[times.length - 1] - first || 1;
    const points = values.map((value, i) => {
      const x = ((times[i] - first) / span) * WIDTH;
      return `${x.toFixed(1)},${(HEIGHT - (most ? value / most : 0) * HEIGHT).toFixed(1)}`;
    });
    curve.setAttribute("d", "M" + points.join("L"));
    area.setAttribute("d", `M0,${HEIGHT}L${points.join("L")}L${WIDTH},${HEIGHT}Z`);
    caption.textContent = `${title}: ${show(values[values.length - 1])} now, at most ${show(most)}`;
    from.textContent = age(span) + " ago";
  };
  return figure;
}
