// A NestJS client on gRPC: it makes the calls that it is told, all at once, and says how each ended.
import 'reflect-metadata';
import grpc from '@grpc/grpc-js';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { from, timeout } from 'rxjs';
import { control } from './control.mjs';

const [, , settingsText, descriptor] = process.argv;
const { url } = JSON.parse(settingsText);
const client = ClientProxyFactory.create({
  transport: Transport.GRPC,
  options: { package: 'office', protoPath: 'office.proto', url: new URL(url).host },
});
const office = client.getService('Office');
const STREAMED = ['total', 'doubled'];

/** 64-bit integers come as objects of two halves; here they are small enough for a number. */
const plain = (_, value) => (typeof value?.low === 'number' ? value.low + value.high * 2 ** 32 : value);

function call({ pattern, data, limit, headers = {} }) {
  const name = pattern[0].toLowerCase() + pattern.slice(1);
  const metadata = new grpc.Metadata();
  Object.entries(headers).forEach(([key, value]) => metadata.set(key, value));
  const values = [];
  const answers = STREAMED.includes(name)
    ? office[name](from(data), metadata)
    : office[name](data ?? {}, metadata, { deadline: Date.now() + limit });
  return new Promise((ended) => {
    answers.pipe(timeout(limit + 1000)).subscribe({
      next: (value) => values.push(JSON.parse(JSON.stringify(value, plain))),
      complete: () => ended({ values, end: 'complete' }),
      error: ({ code, details, message }) => ended({ values, end: 'error', error: { code, message: details ?? message } }),
    });
  });
}

await control(Number(descriptor), {}, (calls) => Promise.all(calls.map(call)));
