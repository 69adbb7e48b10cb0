// Starts Swagger UI, and gives each write a key. The description says which header field of which operation has one.

import { by, newKey } from "../page/dom.js";

// Where the service is, which may be below a proxy's path.
const service = new URL(".", location.href);
// Of each operation with keys: its method, its path as an expression, and the name of its header field.
let keyed = [];
// The last key of each path and method.
const keys = new Map();

function read(api) {
  keyed = [];
  for (const [path, item] of Object.entries(api.paths)) {
    const shape = path.split(/\{[^}]*\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^/]+");
    for (const [method, operation] of Object.entries(item)) {
      const header = operation["x-idempotency"]?.header;
      if (!header) continue;
      keyed.push({ method: method.toUpperCase(), path: new RegExp(`^${shape}$`), header });
      // Swagger UI sends nothing while a required field is empty.
      for (const parameter of operation.parameters ?? []) {
        if (parameter.in === "header" && parameter.name === header) parameter.required = false;
      }
    }
  }
  return { ...api, servers: [{ url: service.pathname }] };
}

// Also called for the description itself, which has no key.
function addKey(request) {
  const path = `/${new URL(request.url, service).pathname.slice(service.pathname.length)}`;
  const method = (request.method ?? "GET").toUpperCase();
  const operation = keyed.find((operation) => operation.method === method && operation.path.test(path));
  if (!operation) return request;
  const name = `${method} ${path}`;
  const key = request.headers[operation.header] || (by("again").checked && keys.get(name)) || newKey();
  request.headers[operation.header] = key;
  keys.set(name, key);
  by("key").textContent = key;
  by("sent").hidden = false;
  return request;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  domNode: by("operations"),
  url: "openapi.json",
  plugins: [() => ({ statePlugins: { spec: { wrapActions: { updateJsonSpec: (update) => (api) => update(read(api)) } } } })],
  requestInterceptor: addKey,
  deepLinking: true,
  displayRequestDuration: true,
  // It would ask a server of Swagger's.
  validatorUrl: null,
});
