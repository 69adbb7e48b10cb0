// The form and its buttons.

import { send } from "./attempt.js";
import { by, make, newKey } from "./dom.js";
import { refresh, start } from "./live.js";
import { finish, show } from "./timeline.js";

const token = () => by("token").querySelector("input").value.trim();
const used = new Set();
let service = {};
// The key and the body of the last request, which a retry sends again.
let last;

// What the form says. Another booking than the last one needs another key.
function fromForm() {
  if (used.has(by("key").value)) by("key").value = newKey();
  return asTyped();
}

function asTyped() {
  const names = ["service_id", "customer_name", "date", "time"];
  const body = Object.fromEntries(names.map((name) => [name, by(name).value]));
  last = { key: by("key").value, body };
  return last;
}

// Sends this as often as it has names, all at once, and says what came of it.
async function attempt({ key, body }, names, special = {}) {
  used.add(key);
  for (const id of ["retry", "change"]) by(id).disabled = false;
  const delay = service.fault_injection ? Number(by("delay").value) : 0;
  const order = { key, body: JSON.stringify(body), token: token(), waits: by("waits").checked, delay, ...special };
  const attempts = names.map((what) => send({ ...order, what }, refresh));
  const group = show(key, attempts);
  by("news").textContent = `${names.length === 1 ? "Sent" : `Sent ${names.length} times`}, waiting for the response.`;
  await Promise.all(attempts.map(({ ended }) => ended));
  const isLost = attempts.some(({ outcome }) => outcome === "lost");
  const question = isLost ? " No answer: was it booked? Retry to find out." : "";
  by("news").textContent = `With this key, ${finish(group)}${question}`;
}

by("form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(asTyped(), ["Book"]);
});
const actions = {
  "new-key": () => (by("key").value = newKey()),
  double: () => attempt(fromForm(), ["Click", "Click"]),
  twenty: () => attempt(fromForm(), Array(20).fill("At once")),
  // Where the work can be made to take a while, the page leaves in the middle of it.
  lose: () => attempt(fromForm(), ["Book, and leave"], { loses: true, ...(service.fault_injection && { delay: Number(by("delay").value) || 1000 }) }),
  "crash-before": () => attempt(fromForm(), ["Book, and crash"], { crash: "before-commit" }),
  "crash-after": () => attempt(fromForm(), ["Book, and crash"], { crash: "after-commit" }),
  retry: () => attempt(last, ["Retry"]),
  change: () => attempt({ ...last, body: { ...last.body, customer_name: `${last.body.customer_name}, changed` } }, ["Change and retry"]),
};
for (const [id, action] of Object.entries(actions)) by(id).addEventListener("click", action);

// What a crash does to bookings and keys depends on where they are.
function crashNote() {
  if (!service.can_crash) {
    return service.fault_injection
      ? "This service cannot be crashed from here, because it has no supervisor to restart it."
      : "Start the service with --fault-injection to slow the work down, or to crash the server in the middle of it.";
  }
  if (!service.bookings_survive) return "Bookings are stored in memory, so a crash loses them: use an SQLite file to see them survive one.";
  if (service.one_commit) return "A crash ends the server like kill -9, and a supervisor restarts it. A booking and its key are one commit, so a retry books once, whenever the crash happens.";
  if (!service.keys_survive) return "Keys are stored in memory, so a crash loses them: a retry then books again.";
  return "A booking and its key are not one commit: after a crash retries get 409 until the key's lease ends, and then run again. If the booking was already written, it then exists twice.";
}

async function begin() {
  by("key").value = newKey();
  by("date").value = new Date(Date.now() + 7 * 86400e3).toISOString().slice(0, 10);
  try {
    service = await (await fetch("page/service")).json();
  } catch (error) {
    by("news").replaceChildren(make("strong", { textContent: "The service does not respond. Load the page again." }));
    return;
  }
  by("docs").hidden = !service.docs;
  by("token").hidden = !service.needs_token;
  by("token").addEventListener("change", refresh);
  by("work").hidden = !service.fault_injection;
  by("crashes").hidden = !service.can_crash;
  by("crash-note").textContent = crashNote();
  start(token);
}

begin();
