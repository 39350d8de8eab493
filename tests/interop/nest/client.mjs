// A NestJS client: it makes the calls that it is told, all at once, and says how each ended.
import 'reflect-metadata';
import * as nest from '@nestjs/microservices';
import { TimeoutError, timeout } from 'rxjs';
import { control } from './control.mjs';
import { meeting } from './transports.mjs';

const [, , settingsText, descriptor] = process.argv;
const settings = JSON.parse(settingsText);
const client = nest.ClientProxyFactory.create(meeting(settings));
if (settings.transport === 'kafka') settings.topics.forEach((topic) => client.subscribeToResponseOf(topic));
await client.connect();

/** Data with headers or publish options beside it, as a NestJS user writes it. */
function record(data, { headers, options }) {
  if (headers && settings.transport === 'nats') {
    const { headers: make } = nats;
    const made = make();
    Object.entries(headers).forEach(([key, value]) => made.set(key, value));
    return new nest.NatsRecordBuilder(data).setHeaders(made).build();
  }
  if (settings.transport === 'rabbitmq' && (headers || options))
    return new nest.RmqRecordBuilder(data).setOptions({ ...options, headers }).build();
  if (settings.transport === 'mqtt' && options) return new nest.MqttRecordBuilder(data).setQoS(options.qos).setRetain(options.retain).build();
  if (settings.transport === 'kafka' && headers) return { value: data, headers };
  return data;
}

const nats = settings.transport === 'nats' ? await import('@nats-io/transport-node').catch(() => import('nats')) : null;
let metadata;
client.setOnDispatchHook?.((packet) => { if (metadata) packet.metadata = metadata; });

function call({ emit, pattern, data, missing, limit, metadata: beside, ...extras }) {
  const values = [];
  const sent = missing ? undefined : record(data, extras);
  return new Promise((ended) => {
    metadata = beside;
    const observable = emit ? client.emit(pattern, sent) : client.send(pattern, sent);
    observable.pipe(timeout(limit)).subscribe({
      next: (value) => { if (!emit) values.push(value === undefined ? '<undefined>' : value); },
      complete: () => ended({ values, end: 'complete' }),
      error: (error) => ended({ values, ...ending(error) }),
    });
  });
}

function ending(error) {
  if (error instanceof TimeoutError) return { end: 'timeout' };
  if (error instanceof Error) return { end: 'failure', error: `${error.name}: ${error.message}` };
  return { end: 'error', error };
}

await control(Number(descriptor), {}, (calls) => Promise.all(calls.map(call)));
