// A NestJS service with a handler for each case; handlers.py is the same in Python.
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { concat, concatMap, delay, ignoreElements, of, range, throwError, timer } from 'rxjs';
import { control } from './control.mjs';
import { meeting } from './transports.mjs';

const [, , settingsText, descriptor] = process.argv;
const settings = JSON.parse(settingsText);
const seen = [];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** What travelled beside the data, wherever this transport puts it. */
function beside(context) {
  if (context.getMetadata?.()) return context.getMetadata();
  if (context.getHeaders?.()) return Object.fromEntries([...context.getHeaders()].map(([key, [value]]) => [key, value]));
  const message = context.getMessage?.();
  const headers = message?.properties?.headers ?? message?.headers ?? {};
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, String(value)]));
}

/** The options that the message of a call came with. */
function options(context) {
  const packet = context.getPacket?.();
  if (packet) return { qos: packet.qos, retain: packet.retain };
  const { priority, expiration, deliveryMode, contentType, type, appId } = context.getMessage().properties;
  return { priority, expiration, deliveryMode, contentType, type, appId };
}

class Office {
  echo(data) { return data; }
  sum(data) { return data.reduce((left, right) => left + right, 0); }
  nested(data) { return { nested: data }; }
  number(data) { return { number: data }; }
  dotted(data) { return { dotted: data }; }
  kind(data) { return data === null ? 'null' : Array.isArray(data) ? 'array' : typeof data; }
  nothing() {}
  nil() { return null; }
  errorText() { throw new RpcException('no such parcel'); }
  errorObject() { throw new RpcException({ code: 404, message: 'no such parcel', tags: ['é', 1] }); }
  errorPlain() { throw new Error('the secret of the house'); }
  async errorLater() { await pause(20); throw new RpcException('later, no such parcel'); }
  streamNow(count) { return range(1, Number(count)); }
  streamSlow(count) {  // the end comes later than the last value
    const values = range(1, Number(count)).pipe(concatMap((value) => of(value).pipe(delay(20))));
    return concat(values, timer(20).pipe(ignoreElements()));
  }
  streamFails() { return concat(of(1, 2), throwError(() => new RpcException('half-way'))); }
  streamFailsSlowly() {
    return concat(of(1, 2).pipe(concatMap((value) => of(value).pipe(delay(20)))), throwError(() => new RpcException('half-way')));
  }
  async slow(data) { await pause(data.ms); seen.push(['slow', data.n]); return data.n; }
  besides(_, context) { return beside(context); }
  carried(_, context) { return options(context); }
  counted(data) { seen.push(['counted', data]); return 'nest'; }
  noted(data) { seen.push(['noted', data]); return 'a reply that nobody awaits'; }
  first(data) { seen.push(['first', data]); }
  second(data) { seen.push(['second', data]); }
  noticed() {}
  answered() { return 'dropped by ours'; }
  async failing(data) { seen.push(['failing', data]); throw new Error('an event that fails'); }
  wild(data, context) { seen.push(['wild', data]); }
  async weighing(data) { seen.push(['began', data.n]); await pause(data.ms); seen.push(['done', data.n]); }
  byHand(data, context) {
    seen.push(['by hand', data]);
    if (data !== 'keep') context.getChannelRef().ack(context.getMessage());
  }
}

const PATTERNS = [
  [MessagePattern, 'echo', 'echo'],
  [MessagePattern, { cmd: 'sum' }, 'sum'],
  [MessagePattern, { z: { b: 2, a: [1, 'two'] }, cmd_b: true, cmd: 'nested' }, 'nested'],
  [MessagePattern, 42, 'number'],
  [MessagePattern, 'parcel.weight.get', 'dotted'],
  [MessagePattern, 'kind', 'kind'],
  [MessagePattern, 'nothing', 'nothing'],
  [MessagePattern, 'nil', 'nil'],
  [MessagePattern, 'error.text', 'errorText'],
  [MessagePattern, 'error.object', 'errorObject'],
  [MessagePattern, 'error.plain', 'errorPlain'],
  [MessagePattern, 'error.later', 'errorLater'],
  [MessagePattern, 'stream.now', 'streamNow'],
  [MessagePattern, 'stream.slow', 'streamSlow'],
  [MessagePattern, 'stream.fails', 'streamFails'],
  [MessagePattern, 'stream.fails.slowly', 'streamFailsSlowly'],
  [MessagePattern, 'slow', 'slow'],
  [MessagePattern, 'besides', 'besides'],
  ...(['rabbitmq', 'mqtt'].includes(settings.transport) ? [[MessagePattern, 'carried', 'carried', { qos: 2 }]] : []),
  [MessagePattern, 'counted', 'counted'],
  [MessagePattern, 'noted', 'noted'],
  [EventPattern, 'parcel.sent', 'first'],
  [EventPattern, 'parcel.sent', 'second'],
  [EventPattern, { event: 'parcel', kind: 'lost' }, 'first'],
  [EventPattern, 'parcel.noticed', 'noticed'],
  [EventPattern, 'parcel.answered', 'answered'],
  [EventPattern, 'parcel.failing', 'failing'],
  ...(settings.wild ? [[EventPattern, settings.wild, 'wild']] : []),
  [EventPattern, 'parcel.weighing', 'weighing'],
  [EventPattern, 'parcel.by-hand', 'byHand'],
].filter(([, pattern]) => typeof pattern !== 'object' || !(settings.textOnly || settings.group))
  .filter(([, pattern]) => settings.transport !== 'kafka' || settings.topics.includes(String(pattern)));  // replicas agree

/** On MQTT replicas share a pattern by its text. */
const shared = (pattern) =>
  settings.transport === 'mqtt' && settings.group ? `$share/${settings.group}/${pattern}` : pattern;

Controller()(Office);
// decorators mark the function itself, so each entry gets one of its own
PATTERNS.forEach(([decorate, pattern, name, extras], index) => {
  const own = `${name}_${index}`;
  const value = function (data, context) { return this[name](data, context); };
  Object.defineProperty(Office.prototype, own, { value, writable: true, configurable: true });
  Payload()(Office.prototype, own, 0);
  Ctx()(Office.prototype, own, 1);
  decorate(shared(pattern), extras)(Office.prototype, own, Object.getOwnPropertyDescriptor(Office.prototype, own));
});

class OfficeModule {}
Module({ controllers: [Office] })(OfficeModule);

const app = await NestFactory.createMicroservice(OfficeModule, {
  logger: ['error', 'warn'],
  ...meeting(settings),
});
await app.listen();
const url = settings.transport === 'tcp' ? `tcp://127.0.0.1:${app.unwrap().address().port}` : settings.url;

await control(Number(descriptor), { url }, async ({ forget, stop }) => {
  if (forget) seen.length = 0;
  if (stop) await app.close();
  return seen;
});
