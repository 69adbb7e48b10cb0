// Draws the attempts, those of each key on a time line of their own.

import { by, duration, make, write } from "./dom.js";

// Older ones are removed.
const MAX_KEYS = 8;
const MAX_ATTEMPTS = 60;

// In this order they are counted.
const OUTCOMES = ["ran", "waited", "replayed", "refused", "without an answer", "under way"];

// A longer pause between attempts is cut out.
const PAUSE = 300;

const groups = [];

// Adds attempts with this key.
export function show(key, attempts) {
  let group = groups.find((other) => other.key === key);
  if (!group) {
    group = newGroup(key);
    groups.unshift(group);
    for (const old of groups.splice(MAX_KEYS)) old.section.remove();
  }
  by("attempts").prepend(group.section);
  for (const other of groups) other.section.open = other === group;
  for (const attempt of attempts) {
    group.sent += 1;
    const row = newRow(group.sent, attempt);
    group.rows.push(row);
    group.list.append(row.item);
  }
  for (const old of group.rows.splice(0, group.rows.length - MAX_ATTEMPTS)) old.item.remove();
  draw(group);
  if (!group.isDrawn) follow(group);
  return group;
}

// Draws attempts that have just ended, and returns what came of those with their key.
export function finish(group) {
  draw(group);
  return summary(group);
}

// Such as: 20 attempts: 1 ran, 19 waited. 1 booking.
function summary({ rows }) {
  const outcomes = rows.map(({ attempt }) => outcome(attempt, rows));
  const count = (word) => outcomes.filter((other) => other === word).length;
  const words = OUTCOMES.filter(count).map((word) => `${count(word)} ${word}`).join(", ");
  const bookings = new Set(rows.map(({ attempt }) => attempt.location).filter(Boolean)).size;
  const known = bookings ? ` ${bookings} ${bookings === 1 ? "booking" : "bookings"}.` : "";
  return `${rows.length} ${rows.length === 1 ? "attempt" : "attempts"}: ${words}.${known}`;
}

// A duplicate has waited if its response is that of a run that had not ended when it was sent.
function outcome(attempt, rows) {
  if (attempt.outcome === "lost") return "without an answer";
  if (attempt.outcome !== "replayed") return attempt.outcome;
  const waited = rows.some(({ attempt: other }) => {
    if (other === attempt) return false;
    if (other.outcome === "ran") return other.end > attempt.start;
    // No client was told when that run ended. One in a server that crashed ended with it.
    return other.outcome === "lost" && !other.crashes && attempt.end - attempt.start > 100;
  });
  return waited ? "waited" : "replayed";
}

function newGroup(key) {
  const list = make("ol");
  const told = make("span", { className: "told" });
  const axis = make("div", { className: "axis" }, make("span", { textContent: "0" }), make("span"));
  axis.setAttribute("aria-hidden", "true");
  const title = make("summary", {}, make("code", { textContent: key }), " ", told);
  const section = make("details", { className: "group" }, title, axis, list);
  return { key, section, list, told, axis, rows: [], sent: 0, isDrawn: false };
}

function newRow(number, attempt) {
  const badge = make("strong");
  const elapsed = make("span", { className: "elapsed" });
  const bar = make("div", { className: "bar" });
  const track = make("div", { className: "track" }, bar);
  track.setAttribute("aria-hidden", "true");
  const received = make("div", { className: "received" });
  const sent = make("div", { className: "sent" });
  const who = make("div", { className: "who" }, make("span", { textContent: `${number}. ${attempt.what}: ` }), badge, " ", elapsed);
  const item = make("li", { className: "attempt" }, who, track, make("div", { className: "headers" }, received, sent));
  return { attempt, item, badge, elapsed, bar, received, sent };
}

// Draws it again and again while an attempt is under way.
function follow(group) {
  group.isDrawn = group.rows.some(({ attempt }) => attempt.end === undefined);
  draw(group);
  if (group.isDrawn) setTimeout(() => follow(group), 50);
}

function draw(group) {
  const now = performance.now();
  const spans = group.rows.map(({ attempt }) => [attempt.start, attempt.end ?? now]);
  const { position, total } = scale(spans);
  let above = { received: "", sent: "" };
  for (const { attempt, badge, elapsed, bar, received, sent } of group.rows) {
    const end = attempt.end ?? now;
    const word = outcome(attempt, group.rows);
    const name = word.split(" ")[0];
    write(badge, word);
    write(elapsed, duration(end - attempt.start));
    const headers = { received: attempt.received.join("\n"), sent: attempt.sent.join(", ") };
    const isSame = headers.received !== "" && headers.received === above.received;
    write(received, isSame ? `${attempt.received[0]}, with the same header fields` : headers.received);
    write(sent, headers.sent === above.sent ? "" : `sent with ${headers.sent || "its key only"}`);
    above = headers;
    bar.className = `bar ${name === "without" ? "lost" : name}`;
    bar.style.left = `${position(attempt.start)}%`;
    bar.style.width = `${position(end) - position(attempt.start)}%`;
  }
  write(group.axis.lastChild, duration(total));
  write(group.told, summary(group));
}

// Where a time is, in percent of the line, on which only the time of attempts is.
function scale(spans) {
  const busy = [];
  for (const [start, end] of [...spans].sort(([one], [other]) => one - other)) {
    const last = busy.at(-1);
    if (last && start - last[1] < PAUSE) last[1] = Math.max(last[1], end);
    else busy.push([start, end]);
  }
  const total = busy.reduce((sum, [start, end]) => sum + end - start, 0);
  const pauses = busy.length - 1;
  const pause = pauses ? Math.min(4, 30 / pauses) : 0;
  const width = (100 - pauses * pause) / (total || 1);
  const position = (time) => {
    let left = 0;
    for (const [start, end] of busy) {
      if (time <= end) return left + Math.max(0, time - start) * width;
      left += (end - start) * width + pause;
    }
    return 100;
  };
  return { position, total };
}
