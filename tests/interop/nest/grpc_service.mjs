// A NestJS service on gRPC; grpc_peers.py has the same in Python.
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod, RpcException, Transport } from '@nestjs/microservices';
import { concat, concatMap, delay, map, of, range, reduce, throwError } from 'rxjs';
import { control } from './control.mjs';

const [, , settingsText, descriptor] = process.argv;
const { url } = JSON.parse(settingsText);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const counted = (count) => range(1, count).pipe(map((value) => ({ value })));

class Office {
  echo(parcel) { return parcel; }
  async fails({ text }) {
    if (text === 'text') throw new RpcException('no such parcel: é🚀');
    if (text === 'code') throw new RpcException({ code: 5, message: 'no such parcel' });
    if (text === 'later') await pause(20);
    throw text === 'later' ? new RpcException({ code: 9, message: 'later' }) : new Error('the secret of the house');
  }
  nothing() {}
  besides(_, metadata) { return { text: metadata.get('tenant').join() }; }
  async slow({ value }) { await pause(value); return { value }; }
  countTo({ value }) { return counted(value ?? 0); }
  countSlowly({ value }) { return counted(value ?? 0).pipe(concatMap((one) => of(one).pipe(delay(20)))); }
  countFails() {
    return concat(counted(2), throwError(() => new RpcException({ code: 10, message: 'half-way' })));
  }
  total(numbers) { return numbers.pipe(reduce((sum, one) => sum + (one.value ?? 0), 0), map((value) => ({ value }))); }
  doubled(numbers) { return numbers.pipe(map((one) => ({ value: 2 * one.value }))); }
}

const STREAMED = ['total', 'doubled'];
const names = Object.getOwnPropertyNames(Office.prototype).filter((name) => name !== 'constructor');
for (const name of names) {
  const method = name[0].toUpperCase() + name.slice(1);
  const decorate = (STREAMED.includes(name) ? GrpcStreamMethod : GrpcMethod)('Office', method);
  const own = Object.getOwnPropertyDescriptor(Office.prototype, name);
  Object.defineProperty(Office.prototype, name, decorate(Office.prototype, name, own) ?? own);  // it wraps the method
}
Controller()(Office);
class OfficeModule {}
Module({ controllers: [Office] })(OfficeModule);

const app = await NestFactory.createMicroservice(OfficeModule, {
  logger: ['error', 'warn'],
  transport: Transport.GRPC,
  options: { package: 'office', protoPath: 'office.proto', url: new URL(url).host },
});
await app.listen();
await control(Number(descriptor), { url }, async () => []);
