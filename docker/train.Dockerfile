# The repository with its environment, for `mlflow run docker/project`. See docs/mlflow-projects.md.
#   docker build -t mlflow-starter-kit -f docker/train.Dockerfile .
ARG REGISTRY=
FROM ${REGISTRY}python:3.13-slim-trixie
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# A mirror's addresses; its password and a proxy's certificate are secrets. SSL_CERT_FILE is what uv reads.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /build
COPY requirements-uv.txt ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    python -m pip install --no-cache-dir --require-hashes --requirement requirements-uv.txt
COPY requirements.txt ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    --mount=type=cache,target=/root/.cache/uv uv venv /opt/venv \
    && uv pip install --link-mode copy --compile-bytecode --python /opt/venv/bin/python \
        --require-hashes --requirement requirements.txt
# A volume that is mounted over secrets takes its owner from here.
RUN useradd --uid 10001 --create-home kit && install --directory --owner kit /app \
    && install --directory --owner kit --mode 700 /app/secrets
USER 10001
WORKDIR /app
# With its history: a version names the commit that it comes from.
COPY --chown=10001 . .
USER root
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-deps --editable .
USER 10001
ENV PATH=/opt/venv/bin:$PATH \
    MLFLOW_DISABLE_TELEMETRY=true \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
