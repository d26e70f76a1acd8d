// What stands still: the whole queue, single types; pause and resume.
import { actionIn, age, byId, element, fill, keyed, number, readable, row } from "./view.js";

const SHOWN = 200;

export class Pauses {
  constructor(desk) {
    this.desk = desk; // { order, unlocked }
    this.paused = false;
    byId("pause").addEventListener("click", () => this.desk.order(
      this.paused ? "/api/resume" : "/api/pause", {}, this.paused ? "resumed" : "paused: no worker takes tasks"));
    byId("pause-type").addEventListener("submit", (event) => { event.preventDefault(); this.pauseType(event.target); });
  }

  // The words for the head of the page.
  show(status) {
    this.paused = status.paused;
    this.handled = status.types; // null: not all workers told
    byId("pause").textContent = this.paused ? "Resume" : "Pause";
    const types = status.paused_types;
    byId("paused").hidden = types.length === 0 && !this.desk.unlocked();
    byId("paused-count").textContent = types.length ? `(${number(types.length)})` : "";
    byId("paused-table").hidden = types.length === 0;
    keyed(byId("paused-types"), types.slice(0, SHOWN), (one) => one.type,
      () => row(["Type", "For", "Set aside", "Why", ""]),
      (tr, one) => {
        fill(tr, [readable(one.type), one.paused ? since(status, one.since) : "resumed, on their way back",
          number(one.aside), readable(one.why)]);
        actionIn(tr, this.desk.unlocked(), "Resume", one.type, () => this.resumeType(one.type));
      });
    const known = [...new Set([...(status.types ?? []), ...status.running.map((task) => task.type)])];
    keyed(byId("known-types"), known.filter((type) => type !== "*").slice(0, SHOWN), (type) => type,
      (type) => element("option", null, { value: type }), () => {});
    return this.paused ? `paused for ${since(status, status.paused_since)}` + told(status.paused_why)
      : types.some((one) => one.paused) ? "live, " + counted(types.filter((one) => one.paused).length) + " paused" : "live";
  }

  async pauseType(form) {
    const type = form.elements.type.value, why = form.elements.why.value;
    const strange = this.handled && !this.handled.includes(type) && !this.handled.includes("*");
    const doubt = strange ? ", and none has a handler for it: is it spelled right?" : "";
    if (await this.desk.order("/api/pause", { type, why }, `paused: no worker starts ${readable(type)}${doubt}`)) form.reset();
  }

  resumeType(type) {
    this.desk.order("/api/resume", { type }, (reply) => `${readable(type)} resumed, ${number(reply.moved)} given back`);
  }
}

const since = (status, at) => at === null ? "?" : age(Math.max(0, status.at - at));
const told = (why) => why ? ": " + readable(why) : "";
const counted = (count) => count === 1 ? "1 type" : `${number(count)} types`;
