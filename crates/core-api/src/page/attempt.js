// One attempt: a request to book, and what came of it.

const SHOWN = ["Idempotent-Replayed", "Idempotency-Expires", "Location", "Retry-After"];

// Sends it. `changed` is called once it has ended.
export function send(order, changed) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": order.key };
  if (order.waits) headers.Prefer = "wait=10";
  if (order.delay) headers["X-Fault-Delay-Ms"] = String(order.delay);
  if (order.crash) headers["X-Fault-Crash"] = order.crash;
  const sent = Object.entries(headers).slice(2).map(([name, value]) => `${name}: ${value}`);
  if (order.token) headers.Authorization = `Bearer ${order.token}`;
  const attempt = { what: order.what, sent, crashes: Boolean(order.crash), start: performance.now(), end: undefined, outcome: "under way", received: [] };
  attempt.ended = run(attempt, order, headers).then(changed);
  return attempt;
}

async function run(attempt, order, headers) {
  const leaving = new AbortController();
  // The request has been sent by then, and the work is not done. Without a delay the response is thrown away as it arrives.
  if (order.loses && order.delay) setTimeout(() => leaving.abort(), order.delay / 2);
  try {
    const response = await fetch("bookings", {
      method: "POST",
      headers,
      body: order.body,
      signal: leaving.signal,
      cache: "no-store",
      // On a connection that was used before, browsers send the request again by themselves when it breaks. Connections without
      // credentials are kept apart, so a crash gets a new one, and its attempt ends.
      credentials: order.crash ? "omit" : "same-origin",
    });
    if (order.loses) throw new DOMException("the page has left", "AbortError");
    const text = await response.text();
    attempt.end = performance.now();
    read(attempt, response, text);
  } catch (error) {
    leaving.abort();
    attempt.end = performance.now();
    attempt.outcome = "lost";
    attempt.received = [error.name === "AbortError" ? "This page left before the response." : "The connection broke before the response."];
  }
}

function read(attempt, response, text) {
  const isReplayed = response.headers.get("Idempotent-Replayed") === "true";
  attempt.outcome = isReplayed ? "replayed" : response.ok ? "ran" : "refused";
  attempt.status = response.status;
  attempt.location = response.headers.get("Location");
  attempt.received = [`${response.status} ${response.statusText}`.trim()];
  for (const name of SHOWN) {
    const value = response.headers.get(name);
    if (value !== null) attempt.received.push(`${name}: ${value}`);
  }
  if (!response.headers.get("Content-Type")?.includes("problem+json")) return;
  const problem = JSON.parse(text);
  attempt.received.push(`${problem.code}: ${problem.title}`);
  for (const { field, message, detail } of problem.errors ?? []) attempt.received.push(`${field}: ${message ?? detail}`);
}
