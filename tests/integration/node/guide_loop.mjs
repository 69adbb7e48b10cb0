// Sends a request by the loop of the guide for clients: `node guide_loop.mjs LOOP URL BODY…`. Prints one line for each body: the status, or
// `none`, and the pauses in milliseconds. The loop's pauses take no time.
import { readFileSync } from 'node:fs';

const [loop, url, ...bodies] = process.argv.slice(2);
for (const body of bodies) {
  const pauses = [];
  const pause = (resolve, milliseconds) => {
    pauses.push(milliseconds);
    setImmediate(resolve);
  };
  const send = new Function('setTimeout', `${readFileSync(loop, 'utf8')}; return send;`)(pause);
  const response = await send(url, body);
  console.log([response?.status ?? 'none', ...pauses].join(' '));
}
