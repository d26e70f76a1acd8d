// Find a task: all that is known of one, by its id or tag.
import { byId, element, number, readable } from "./view.js";

export class Finder {
  constructor(desk) {
    this.desk = desk; // { ask, unlocked }
    byId("find-form").addEventListener("submit", (event) => { event.preventDefault(); this.find(event.target.elements.name.value); });
  }

  show(status) {
    const locked = status.actions && !this.desk.unlocked();
    byId("find-locked").hidden = !locked;
    byId("find-form").hidden = locked;
  }

  async find(name) {
    const said = byId("find-said");
    said.hidden = false;
    said.textContent = "looking";
    byId("found").replaceChildren();
    try {
      this.draw(await this.desk.ask("/tasks/" + encodeURIComponent(name)));
      said.hidden = true;
    } catch (fault) {
      said.textContent = fault.message;
    }
  }

  draw(task) {
    const list = element("dl", null, { class: "figures" });
    const when = (at) => (typeof at === "number" ? new Date(at * 1000).toLocaleString() : null);
    const facts = [
      ["State", task.state.replace("_", " ")], ["Id", task.id], ["Type", task.type], ["Tag", task.tag],
      ["Due", when(task.due)], ["Running since", when(task.running_since)], ["Worker", task.worker],
      ["Failed runs", task.attempts ? number(task.attempts) : null], ["Reason", task.reason], ["Error", task.error],
      ["Dead letter", task.dead_letter], ["Finished", when(task.result?.finished)],
    ];
    for (const [title, text] of facts.filter(([, value]) => typeof value === "string" && value !== "")) {
      const fact = element("div");
      fact.append(element("dt", title), element("dd", readable(text)));
      list.append(fact);
    }
    byId("found").append(list);
    this.block("Data", task.data === null ? null : JSON.stringify(task.data, null, 2));
    this.block("Result", task.result?.state === "succeeded" ? JSON.stringify(task.result.result, null, 2) : null);
    this.block("Traceback", task.traceback);
  }

  block(title, text) {
    if (typeof text !== "string") return;
    const details = element("details", null, { open: "" });
    details.append(element("summary", title), element("pre", readable(text)));
    byId("found").append(details);
  }
}
