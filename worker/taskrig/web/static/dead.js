// The dead letters: a list with filters, each with its bytes; requeue and drop.
import { age, byId, element, keyed, number, readable } from "./view.js";

export class DeadLetters {
  constructor(desk) {
    this.desk = desk; // { ask, order, sure, say, unlocked }
    this.letters = [];
    this.next = "";
    this.chosen = new Set();
    this.known = null; // what had died, and had been moved, when the list was loaded
    byId("filters").addEventListener("submit", (event) => { event.preventDefault(); this.load(); });
    byId("more").addEventListener("click", () => this.load(this.next));
    for (const act of ["requeue", "drop"]) {
      byId(`${act}-chosen`).addEventListener("click", () => this.moveChosen(act));
      byId(`${act}-all`).addEventListener("click", () => this.moveAll(act));
    }
  }

  where() {
    const data = new FormData(byId("filters"));
    return Object.fromEntries([...data].filter(([, value]) => value !== ""));
  }

  // With every status: load anew when something died and nobody is in the middle of something.
  show(status) {
    byId("dead-count").textContent = `(${number(status.depth.dead)})`;
    this.showDropped(status);
    const locked = status.actions && !this.desk.unlocked();
    byId("dead-locked").hidden = !locked;
    byId("filters").hidden = locked;
    const names = ["failed", "invalid", "dead", "requeued", "dropped"];
    const now = [status.depth.dead, ...names.map((name) => status.totals[name])].join();
    if (locked || now === this.known) return;
    const busy = this.chosen.size > 0 || byId("letters").querySelector("details[open]") !== null;
    if (this.known === null || (!busy && this.letters.length <= 50)) {
      this.known = now;
      this.load();
    }
  }

  // What their bounds have dropped is lost: to be seen by everybody, also while the list is locked.
  showDropped(status) {
    const { failed, failed_at, invalid, invalid_at } = status.trimmed;
    const ago = (at) => (at === null ? "" : `, the last one ${age(Math.max(0, status.at - at))} ago`);
    const lines = [];
    if (failed) lines.push(`${number(failed)} dead letters were dropped${ago(failed_at)}: dead_letters.max was reached.`);
    if (invalid) lines.push(`${number(invalid)} invalid items were dropped${ago(invalid_at)}: dead_letters.invalid_max or invalid_max_bytes was reached.`);
    byId("dead-dropped").hidden = lines.length === 0;
    byId("dead-dropped").textContent = lines.join(" ");
  }

  async load(after = "") {
    const query = new URLSearchParams({ ...this.where(), ...(after ? { after } : {}) });
    try {
      const page = await this.desk.ask("/api/dead?" + query);
      this.letters = after ? this.letters.concat(page.letters) : page.letters;
      this.next = page.next;
    } catch (fault) {
      this.desk.say(fault.message);
      return;
    }
    const here = new Set(this.letters.map((letter) => letter.id));
    this.chosen = new Set([...this.chosen].filter((id) => here.has(id)));
    this.draw();
  }

  draw() {
    keyed(byId("letters"), this.letters, (letter) => letter.id, (letter) => this.item(letter), (li) => {
      li.querySelector(".pick").hidden = !this.desk.unlocked();
    });
    byId("dead-none").hidden = this.letters.length > 0 || this.next !== "";
    byId("more").hidden = this.next === "";
    this.count();
  }

  count() {
    for (const act of ["requeue", "drop"]) {
      byId(`${act}-chosen`).disabled = this.chosen.size === 0;
      byId(`${act}-chosen`).textContent =
        (act === "requeue" ? "Requeue" : "Drop") + (this.chosen.size ? ` ${this.chosen.size} chosen` : " chosen");
    }
  }

  item(letter) {
    const li = element("li");
    const pick = element("input", null, { type: "checkbox", class: "pick", "aria-label": `choose ${letter.id}` });
    pick.addEventListener("change", () => {
      if (pick.checked) this.chosen.add(letter.id); else this.chosen.delete(letter.id);
      this.count();
    });
    const what = element("div", null, { class: "what" });
    what.append(
      element("span", letter.outcome, { class: `badge ${/^[a-z]+$/.test(letter.outcome) ? letter.outcome : ""}` }), " ",
      element("strong", readable(letter.type) || "(no type)"), " ",
      element("span", readable(letter.reason), { class: "mono" }));
    const when = new Date(letter.time * 1000).toLocaleString();
    const why = element("div", `${readable(letter.error)}${letter.error ? " · " : ""}${when} · ${letter.id}`, { class: "why" });
    const details = element("details");
    const shows = letter.traceback ? "The traceback and the item" : "The item";
    details.append(element("summary", `${shows}, ${number(letter.size)} bytes`));
    details.addEventListener("toggle", () => this.open(details, letter), { once: true });
    li.append(pick, what, why, details);
    return li;
  }

  async open(details, letter) {
    const box = element("pre", readable(letter.raw));
    if (letter.traceback) details.append(element("pre", readable(letter.traceback)));
    details.append(box);
    if (letter.raw_complete) return;
    try {
      const whole = await this.desk.ask("/api/dead/" + encodeURIComponent(letter.id));
      box.textContent = readable(whole.raw) + (whole.raw_complete ? "" : "\n... the rest by: worker dead show --raw");
    } catch (fault) {
      box.textContent = fault.message;
    }
  }

  async moveChosen(act) {
    const ids = [...this.chosen];
    if (act === "drop" && !await this.desk.sure(`Drop ${ids.length} dead letters for good?`)) return;
    const done = act === "requeue" ? "requeued" : "dropped";
    let moved = 0;
    for (let at = 0; at < ids.length; at += 500) {
      const reply = await this.desk.order(`/api/dead/${act}`, { ids: ids.slice(at, at + 500) },
        (told) => `${number(moved + told.moved)} ${done}`);
      if (!reply) break;
      moved += reply.moved;
    }
    this.chosen.clear();
    this.load();
  }

  async moveAll(act) {
    const where = this.where();
    const named = Object.entries(where).map(([name, value]) => `${name} ${value}`).join(", ");
    const what = named ? `all dead letters of ${readable(named)}` : "all dead letters";
    if (!await this.desk.sure(act === "drop" ? `Drop ${what} for good?` : `Requeue ${what}?`)) return;
    const done = act === "requeue" ? "requeued" : "dropped";
    let moved = 0, next = "", end = "";
    do { // in parts of some seconds
      const reply = await this.desk.order(`/api/dead/${act}`, { where, next, end },
        (told) => `${number(moved + told.moved)} ${done}${told.next ? " so far" : ""}`);
      if (!reply) break;
      moved += reply.moved;
      ({ next, end } = reply);
    } while (next);
    this.chosen.clear();
    this.load();
  }
}
