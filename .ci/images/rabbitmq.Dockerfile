# Laid out as the official image is: user, password and virtual host come from the environment.
FROM local/brokers:trixie
COPY rabbitmq-entrypoint /usr/local/bin/entrypoint
RUN mkdir -p /etc/rabbitmq/conf.d && chown -R rabbitmq:rabbitmq /etc/rabbitmq /var/lib/rabbitmq
VOLUME /var/lib/rabbitmq
# systemd's mode makes the start script replace itself by the Erlang VM, so that signals reach it
ENV RUNNING_UNDER_SYSTEMD=1 HOME=/var/lib/rabbitmq LANG=C.UTF-8
USER rabbitmq
EXPOSE 5672 15672
ENTRYPOINT ["entrypoint"]
CMD ["rabbitmq-server"]
