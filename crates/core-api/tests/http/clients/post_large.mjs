// Posts five megabytes in each of these ways, and prints what comes back.
import http from "node:http";

const [url, rounds, ...cases] = process.argv.slice(2);
const body = Buffer.alloc(5_000_000, "x");

function post(path, key, type) {
  return new Promise((resolve) => {
    const headers = { "Content-Type": type, "Content-Length": body.length };
    if (key !== "") headers["Idempotency-Key"] = key;
    const request = http.request(url + path, { method: "POST", headers }, (response) => {
      let text = "";
      response.on("data", (piece) => (text += piece));
      response.on("end", () => resolve(`${response.statusCode} ${JSON.parse(text).code}`));
    });
    request.on("error", (error) => resolve(error.code));
    request.end(body);
  });
}

for (let round = 0; round < Number(rounds); round++) {
  for (const one of cases) console.log(await post(...one.split(" ")));
}
process.exit(0);
