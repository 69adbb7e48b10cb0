// The servers of Express: alone, and with express-idempotency. The variable SERVER says which.
'use strict';

const express = require('express');

const { PORT, SERVER } = process.env;
const app = express();
const failedGuests = new Set();
let effects = 0;

async function book(request, response) {
  const { guest, room, arrival, nights, pause_ms: pause, first_run: firstRun } = request.body;
  effects += 1;
  const id = effects;
  if (pause) {
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
  if (firstRun && firstRun !== 'succeeds' && !failedGuests.has(guest)) {
    failedGuests.add(guest);
    if (firstRun === 'panics') {
      throw new Error('a request asked for this');
    }
    response.status(500).json({ error: 'a request asked for this' });
    return;
  }
  response.status(201).json({ id, guest, room, arrival, nights });
}

app.use(express.json());
app.get('/effects', (_, response) => { response.type('text').send(String(effects)); });

if (SERVER === 'express-idempotency') {
  const { getSharedIdempotencyService, idempotency } = require('express-idempotency');

  app.post('/bookings', idempotency(), async (request, response) => {
    const service = getSharedIdempotencyService();
    if (service.isHit(request)) {
      return;
    }
    try {
      await book(request, response);
    } catch (error) {
      // By this the library frees the key.
      service.reportError(request);
      throw error;
    }
  });
} else {
  app.post('/bookings', book);
}

app.listen(Number(PORT), '127.0.0.1');
