# Laid out as the official image is: data in /data, options after the image's name go to the server.
FROM local/brokers:trixie
COPY redis-entrypoint /usr/local/bin/entrypoint
RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data
USER redis
EXPOSE 6379
ENTRYPOINT ["entrypoint"]
CMD ["redis-server"]
