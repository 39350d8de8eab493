// What a test asks of a NestJS process: JSON over HTTP, on a free port that the process tells when it is ready.
import { createServer } from 'node:http';
import { writeSync, closeSync } from 'node:fs';

/** Serve `answer(body)` for each POST, then write one line of JSON to the descriptor. */
export async function control(descriptor, facts, answer) {
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', async () => {
      const reply = await answer(JSON.parse(Buffer.concat(parts).toString())).then(
        (value) => [200, value ?? null],
        (error) => [500, String(error.stack ?? error)],
      );
      response.writeHead(reply[0], { 'content-type': 'application/json' }).end(JSON.stringify(reply[1]));
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  writeSync(descriptor, JSON.stringify({ control: server.address().port, ...facts }) + '\n');
  closeSync(descriptor);
}
