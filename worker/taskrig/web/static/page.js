// The status page: asks /api/status every two seconds, shows it, and gives orders with the token.
import { actionIn, age, byId, element, fill, keyed, number, plot, rate, readable, row } from "./view.js";
import { DeadLetters } from "./dead.js";
import { Finder } from "./find.js";
import { Pauses } from "./pauses.js";

const EVERY_MS = 2000;
const LISTED = 50; // of the running tasks, the longest first
let token = null; // only ever here: not in a URL, not in storage

async function ask(path, order) {
  const options = { headers: {}, cache: "no-store", credentials: "omit", redirect: "error" };
  if (token) options.headers.Authorization = "Bearer " + token;
  if (order !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(order);
  }
  const reply = await fetch(path, options);
  const found = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(found.error), { code: reply.status });
  return found;
}

function say(text) {
  byId("said").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { byId("said").textContent = ""; }, 8000);
}

function sure(text) {
  const dialog = byId("sure-dialog");
  byId("sure-text").textContent = text;
  return new Promise((resolve) => {
    let answer = false;
    byId("sure-yes").onclick = () => { answer = true; dialog.close(); };
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
  });
}

async function order(path, what, done) {
  try {
    const reply = await ask(path, what);
    say(typeof done === "function" ? done(reply) : done);
    await refresh();
    return reply;
  } catch (fault) {
    say(fault.message || "the worker does not answer");
    return null;
  }
}

const desk = { ask, order, sure, say, unlocked: () => token !== null };
const dead = new DeadLetters(desk);
const finder = new Finder(desk);
const pauses = new Pauses(desk);

// -- what is shown ------------------------------------------------------------------------------

const plots = {
  per_s: plot("Started a second", rate),
  waiting: plot("Waiting", number),
  oldest_s: plot("Age of the next task", age),
};
byId("plots").append(...Object.values(plots));

function toEmpty(status) {
  if (!status.depth.waiting) return "empty";
  if (!status.rates) return "...";
  return status.rates.time_to_empty_s === null ? "not shrinking" : age(status.rates.time_to_empty_s);
}

// Of a great many workers not all describe themselves: then the slots are of those that do.
function slotsUsed(status) {
  const more = status.workers_alive > status.workers.length ? "+" : "";
  return `${number(status.depth.in_flight)} of ${number(status.slots)}${more}`;
}

function showFigures(status) {
  const d = status.depth, r = status.rates;
  const figures = [
    ["Waiting", number(d.waiting)], ["In flight", slotsUsed(status)],
    ["Done", r ? rate(r.done_per_s) : "..."], ["Arriving", r ? rate(r.arriving_per_s) : "..."],
    ["Empty in", toEmpty(status)],
    ["Oldest waits", d.waiting ? age(status.oldest_waiting_s) : "none"],
    ["Delayed", number(d.delayed)], ["Dead letters", number(d.dead)],
    ...Object.keys(status.lists).sort().map(
      (name) => [`Waiting in ${readable(name)}`, number(status.lists[name])]),
  ];
  keyed(byId("figures"), figures, (f) => f[0],
    (f) => { const div = element("div"); div.append(element("dt", f[0]), element("dd")); return div; },
    (div, f) => { div.lastChild.textContent = f[1]; });
  for (const [name, figure] of Object.entries(plots)) figure.draw(status.history.at, status.history[name]);
}

function showRunning(status) {
  const more = status.running_total - Math.min(status.running.length, LISTED);
  byId("running-count").textContent = status.running_total ? `(${number(status.running_total)})` : "";
  byId("running-more").hidden = more <= 0;
  byId("running-more").textContent = `${number(more)} more run, shorter than these.`;
  byId("running-none").hidden = status.running.length > 0;
  keyed(byId("running"), status.running.slice(0, LISTED), (t) => t.tag,
    () => row(["Type", "For", "Tag", "Worker", ""]),
    (tr, t) => {
      fill(tr, [readable(t.type) + (t.batch ? `, a batch of ${number(t.batch)}` : ""), age(t.for_s), readable(t.tag),
        readable(t.worker) + (t.pid ? `, process ${t.pid}, ${Math.round(t.memory / 2 ** 20)} MiB` : "")]);
      actionIn(tr, token !== null, "Cancel", t.tag, async () => {
        const others = t.batch > 1 ? ` The other ${number(t.batch - 1)} tasks of its batch run again.` : "";
        if (await sure(`Cancel ${readable(t.tag)}? It becomes a dead letter.${others}`)) {
          await order("/api/cancel", { tag: t.tag }, (reply) => reply.reply === "" ? "asked to stop" : replies[reply.reply]);
        }
      });
    });
}

const replies = {
  already: "was asked already", not_in_flight: "is no longer in flight",
  no_worker: "its worker is silent", too_many: "that worker has too many asks waiting",
};

function showWorkers(status) {
  const silent = status.workers_silent ? `, ${status.workers_silent} silent` : "";
  byId("workers-count").textContent = `(${status.workers_alive}${silent})`;
  byId("workers-none").hidden = status.workers.length > 0;
  keyed(byId("workers"), status.workers, (w) => w.id,
    () => row(["Worker", "Host", "Up", "Running", "State", ""]),
    (tr, w) => {
      fill(tr, [readable(w.id), readable(`${w.host}:${w.pid}`), age(w.age_s), `${number(w.running)} of ${number(w.concurrency)}`,
        w.draining ? "draining" : "working"]);
      actionIn(tr, token !== null, "Drain", w.id, async () => {
        if (await sure(`Drain ${readable(w.id)}? It takes nothing more and ends.`)) {
          await order("/api/drain", { worker: w.id }, (reply) => reply.reply === "" ? "asked to drain" : replies[reply.reply]);
        }
      });
    });
}

function showState(name, text) {
  const state = byId("state");
  state.className = "state " + name;
  if (state.textContent !== text) state.textContent = text;
}

function show(status) {
  byId("queue").textContent = readable(`${status.queue} at ${status.redis}`);
  showState(status.paused ? "paused" : "live", pauses.show(status));
  byId("unlock").hidden = !status.actions || token !== null;
  byId("readonly").hidden = status.actions;
  for (const one of document.querySelectorAll("[data-act]")) one.hidden = token === null;
  showFigures(status);
  showRunning(status);
  showWorkers(status);
  dead.show(status);
  finder.show(status);
}

async function refresh() {
  try {
    show(await ask("/api/status"));
    byId("problem").hidden = true;
  } catch (fault) {
    showState("away", "no connection");
    byId("problem").textContent = fault.code ? fault.message : "The worker does not answer; trying again.";
    byId("problem").hidden = false;
  }
}

// -- actions ------------------------------------------------------------------------------------

byId("unlock").addEventListener("click", () => byId("token-dialog").showModal());
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
byId("token-dialog").addEventListener("close", () => {
  byId("token").value = "";
  byId("token-problem").textContent = "";
});
byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  try {
    await ask("/api/dead");
  } catch (fault) {
    token = null;
    byId("token-problem").textContent = fault.message;
    return;
  }
  byId("token-dialog").close();
  say("unlocked");
  await refresh();
});

async function forever() {
  if (!document.hidden) await refresh();
  setTimeout(forever, EVERY_MS);
}
forever();
