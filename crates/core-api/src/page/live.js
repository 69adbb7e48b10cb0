// The tables of keys and bookings, read again and again while the page is seen.

import { by, make, wholeSeconds, write } from "./dom.js";

const EVERY = 2000;
// Once nothing has been sent for a minute.
const IDLE_EVERY = 10_000;
const BUSY_FOR = 60_000;
const MAX_BOOKINGS = 20;

let token = () => "";
let timer;
let reading = new AbortController();
let busyUntil = performance.now() + BUSY_FOR;
let keys = [];
// By how much the service's clock is ahead of this one.
let ahead = 0;

// Begins. `readToken` returns what the caller has entered.
export function start(readToken) {
  token = readToken;
  setInterval(count, 1000);
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : read()));
  read();
}

// Reads both now, because something has been done.
export function refresh() {
  busyUntil = performance.now() + BUSY_FOR;
  if (!document.hidden) read();
}

function pause() {
  clearTimeout(timer);
  reading.abort();
}

async function read() {
  pause();
  reading = new AbortController();
  const { signal } = reading;
  await Promise.all([table("keys", "page/keys", showKeys, signal), table("bookings", `bookings?limit=${MAX_BOOKINGS + 1}`, showBookings, signal)]);
  if (!signal.aborted) timer = setTimeout(read, performance.now() < busyUntil ? EVERY : IDLE_EVERY);
}

async function table(id, url, show, signal) {
  const secret = token();
  const headers = secret ? { Authorization: `Bearer ${secret}` } : {};
  try {
    const response = await fetch(url, { headers, signal, cache: "no-store" });
    const body = await response.json();
    if (!response.ok) return fail(id, response.status === 401 ? "Enter a token to see them." : `Cannot be read: ${body.title}`);
    show(body);
    by(id).hidden = false;
  } catch (error) {
    if (!signal.aborted) fail(id, "The service does not respond. Trying again…");
  }
}

function fail(id, why) {
  write(by(`${id}-note`), why);
  by(id).hidden = true;
}

function showKeys({ now, keys: newest, count: found, has_more }) {
  ahead = Date.parse(now) - Date.now();
  keys = newest;
  const more = has_more ? `The newest among the first ${found} by digest; there are more.` : found > keys.length ? `The newest ${keys.length} of ${found}.` : "";
  write(by("keys-note"), keys.length ? more : "No keys are stored.");
  count();
}

function count() {
  if (document.hidden) return;
  const now = Date.now() + ahead;
  const left = (date) => (date === "never" ? date : wholeSeconds(Date.parse(date) - now));
  const rows = keys.map((key) => {
    if (key.error) return [key.id.slice(0, 12), "", key.error, "", "", "", ""];
    const age = key.created_at ? wholeSeconds(now - Date.parse(key.created_at)) : "";
    const lease = key.lease_until && key.phase === "running" ? left(key.lease_until) : "–";
    return [key.id.slice(0, 12), key.route ?? "", key.phase, String(key.attempt), age, lease, left(key.expires_at)];
  });
  fill("keys", rows);
}

function showBookings(bookings) {
  const more = bookings.length > MAX_BOOKINGS ? `The newest ${MAX_BOOKINGS}.` : "";
  write(by("bookings-note"), bookings.length ? more : "There are no bookings.");
  const rows = bookings.slice(0, MAX_BOOKINGS).map((booking) => {
    const { id, service_id, customer_name, date, time, status, created_at } = booking;
    return [id.slice(-12), service_id, customer_name, `${date} ${time}`, status, new Date(created_at).toLocaleTimeString()];
  });
  fill("bookings", rows);
}

// Rows stay the same elements, so that nothing flickers.
function fill(id, rows) {
  const body = by(id).tBodies[0];
  while (body.rows.length > rows.length) body.lastChild.remove();
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.appendChild(make("tr", {}, ...cells.map(() => make("td"))));
    cells.forEach((text, column) => write(row.cells[column], text));
  });
}
