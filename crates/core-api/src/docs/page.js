// Shows openapi.json, and sends the requests that it describes. Text of the description and of responses is never read as HTML.

import { make, newKey } from "../page/dom.js";

const METHODS = ["get", "post", "put", "patch", "delete", "options"];
const token = document.querySelector("#token");
let api;

function resolve(part) {
  while (part?.$ref) {
    const names = part.$ref.slice(2).split("/").map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
    part = names.reduce((inner, name) => inner?.[name], api);
  }
  return part ?? {};
}

// A week from now, so that the page can be used as it is.
function someDay() {
  return new Date(Date.now() + 7 * 86400e3).toISOString().slice(0, 10);
}

function example(schema) {
  schema = resolve(schema);
  if (schema.format === "date") return someDay();
  if (schema.examples) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  if (schema.type !== "object") return "";
  // A change has no required members: one of them is enough.
  const names = schema.required ?? Object.keys(schema.properties ?? {}).slice(-1);
  return Object.fromEntries(names.map((name) => [name, example(schema.properties[name])]));
}

function field(name, description, input) {
  const hint = description ? [make("small", { textContent: description })] : [];
  return make("label", {}, name, ...hint, input);
}

async function send(method, path, inputs, body, output) {
  const url = new URL(`.${path}`, location.href);
  const headers = new Headers();
  for (const { parameter, input } of inputs) {
    const value = input.value.trim();
    if (parameter.in === "path") url.pathname = url.pathname.replace(encodeURI(`{${parameter.name}}`), encodeURIComponent(value));
    else if (value && parameter.in === "query") url.searchParams.set(parameter.name, value);
    else if (value && parameter.in === "header") headers.set(parameter.name, value);
  }
  const secret = token.querySelector("input").value.trim();
  if (secret) headers.set("Authorization", `Bearer ${secret}`);
  if (body) headers.set("Content-Type", "application/json");
  output.hidden = false;
  output.textContent = "…";
  try {
    const response = await fetch(url, { method: method.toUpperCase(), headers, body: body?.value });
    const lines = [...response.headers].map(([name, value]) => `${name}: ${value}`);
    let text = await response.text();
    if (/json/.test(response.headers.get("Content-Type"))) text = JSON.stringify(JSON.parse(text), null, 2);
    output.textContent = [`${response.status} ${response.statusText}`, ...lines, "", text].join("\n");
    output.classList.toggle("replayed", response.headers.has("Idempotent-Replayed"));
  } catch (error) {
    output.textContent = `No response: ${error.message}`;
    output.classList.remove("replayed");
  }
}

function operation(method, path, described) {
  const policy = described["x-idempotency"];
  const parts = [make("p", { textContent: described.description ?? "" })];
  if (policy) {
    const text = `Safe to retry: the response is stored for ${policy.ttl_seconds} seconds. Send it again unchanged to see a replay.`;
    parts.push(make("p", { className: "policy", textContent: text }));
  }
  const inputs = (described.parameters ?? []).map(resolve).map((parameter) => {
    const input = make("input", { required: Boolean(parameter.required), autocomplete: "off", spellcheck: false });
    return { parameter, input };
  });
  const key = policy && inputs.find(({ parameter }) => parameter.name === policy.header)?.input;
  if (key) key.value = newKey();
  parts.push(...inputs.map(({ parameter, input }) => field(parameter.name, parameter.description, input)));
  const schema = described.requestBody && resolve(described.requestBody).content["application/json"].schema;
  const body = schema && make("textarea", { value: JSON.stringify(example(schema), null, 2), spellcheck: false });
  if (body) parts.push(field("Body", "", body));
  const output = make("pre", { hidden: true });
  const form = make("form", {}, make("button", { textContent: "Send" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, body, output);
  });
  if (key) {
    const fresh = make("button", { type: "button", textContent: "New key" });
    fresh.addEventListener("click", () => (key.value = newKey()));
    form.append(fresh);
  }
  form.prepend(...parts);
  const responses = Object.entries(described.responses ?? {}).flatMap(([status, response]) => [
    make("dt", { textContent: status }),
    make("dd", { textContent: resolve(response).description ?? "" }),
  ]);
  const title = make("summary", {}, make("span", { className: `method ${method}`, textContent: method.toUpperCase() }));
  title.append(make("code", { textContent: path }), ` ${described.summary ?? ""}`);
  const list = make("details", {}, make("summary", { textContent: "Responses" }), make("dl", {}, ...responses));
  return make("details", { id: described.operationId }, title, form, output, list);
}

async function show() {
  const main = document.querySelector("#operations");
  try {
    const response = await fetch("openapi.json");
    api = await response.json();
  } catch (error) {
    main.textContent = `The description cannot be read: ${error.message}`;
    return;
  }
  document.querySelector("#about").textContent = api.info.description;
  token.hidden = !api.components?.securitySchemes;
  main.replaceChildren();
  for (const tag of api.tags) {
    main.append(make("h2", { textContent: tag.name }));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((method) => item[method]?.tags?.includes(tag.name))) {
        main.append(operation(method, path, item[method]));
      }
    }
  }
  document.querySelector("#create_booking")?.setAttribute("open", "");
}

show();
