// How a NestJS service and a NestJS client are told where to meet, transport by transport.
import { Transport } from '@nestjs/microservices';

const host = (url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) });

const TRANSPORTS = {
  tcp: ({ url }) => [Transport.TCP, host(url)],
  redis: ({ url }) => [Transport.REDIS, host(url)],
  nats: ({ url, group }) => [Transport.NATS, { servers: [url], queue: group }],
  rabbitmq: ({ url, queue }) => [Transport.RMQ, { urls: [url], queue }],
  mqtt: ({ url }) => [Transport.MQTT, { url }],
  kafka: ({ url, group }) => [
    Transport.KAFKA,
    { client: { brokers: [new URL(url).host], logLevel: 1 }, consumer: { groupId: group } },
  ],
};

/** The options of createMicroservice and of ClientProxyFactory.create; `wire` has what is special. */
export function meeting(settings) {
  const [transport, options] = TRANSPORTS[settings.transport](settings);
  return { transport, options: { ...options, ...settings.wire } };
}
