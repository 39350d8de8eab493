# Laid out as the official image is: options after the image's name go to nats-server.
FROM local/brokers:trixie
COPY nats-entrypoint /usr/local/bin/entrypoint
EXPOSE 4222 8222 6222
ENTRYPOINT ["entrypoint"]
CMD ["-m", "8222"]
