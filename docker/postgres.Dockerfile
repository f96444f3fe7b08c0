# PostgreSQL, with a look at its volume before it starts.
ARG REGISTRY=
ARG TAG=17-trixie
FROM ${REGISTRY}postgres:${TAG}
COPY docker/postgres.sh /usr/local/bin/
USER postgres
ENTRYPOINT ["bash", "/usr/local/bin/postgres.sh"]
CMD ["postgres"]
