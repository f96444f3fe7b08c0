# The API alone, without what training needs. See docs/serving-image.md.
#   docker build -f docker/serve.Dockerfile .                  fetches the stage's champion when it starts
#   docker build -f docker/serve.Dockerfile --target baked .   holds the model in build/model (`make image`)

ARG REGISTRY=
FROM ${REGISTRY}python:3.13-slim-trixie AS packages
# A mirror's addresses; its password and a proxy's certificate are secrets. SSL_CERT_FILE is what uv reads.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /build
COPY requirements-uv.txt ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    python -m pip install --no-cache-dir --require-hashes --requirement requirements-uv.txt
COPY requirements-serve.txt ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    --mount=type=cache,target=/root/.cache/uv uv venv /opt/venv \
    && uv pip install --link-mode copy --compile-bytecode --python /opt/venv/bin/python \
        --require-hashes --requirement requirements-serve.txt

# In a folder of its own, so that changed code makes a layer of kilobytes.
FROM packages AS project
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN uv pip install --no-cache --compile-bytecode --python /opt/venv/bin/python --offline \
        --no-deps --target /opt/project .

FROM ${REGISTRY}python:3.13-slim-trixie AS api
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin api \
    && install --directory --owner=10001 --mode=0700 /var/lib/starterkit
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /opt/project /opt/project
WORKDIR /app
COPY docker/ready.py ./
COPY config config
# A stage is named at build or at start. Without one it is prod, which asks for most.
ARG STAGE=prod
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/project \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    KIT_STAGE=$STAGE \
    KIT_SERVING__HOST=0.0.0.0 \
    KIT_SERVING__PORT=8000 \
    KIT_SERVING__COPY_FOLDER=/var/lib/starterkit \
    MLFLOW_DISABLE_TELEMETRY=true \
    ORT_DISABLE_TELEMETRY=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-IS", "ready.py"]
ENTRYPOINT ["python", "-m", "starterkit"]

FROM api AS baked
COPY build/model model
# Where `serve` looks: SageMaker and others start the image with that word alone.
ENV STARTERKIT_MODEL=/app/model
CMD ["serve"]

# The last target is the default one.
FROM api AS champion
CMD ["serve"]
