// How a NestJS service and a NestJS client are told where to meet, transport by transport.
import { Transport } from '@nestjs/microservices';

const at = (url) => new URL(url);
const host = (url) => ({ host: at(url).hostname, port: Number(at(url).port) });

export const TRANSPORTS = {
  tcp: (url) => ({ transport: Transport.TCP, options: host(url) }),
  redis: (url) => ({ transport: Transport.REDIS, options: host(url) }),
  nats: (url, { group }) => ({ transport: Transport.NATS, options: { servers: [url], queue: group } }),
  rabbitmq: (url, { queue, wire }) => ({ transport: Transport.RMQ, options: { urls: [url], queue, ...wire } }),
  mqtt: (url, { wire }) => ({ transport: Transport.MQTT, options: { url, ...wire } }),
  kafka: (url, { group }) => ({
    transport: Transport.KAFKA,
    options: { client: { brokers: [at(url).host], logLevel: 1 }, consumer: { groupId: group } },
  }),
};
