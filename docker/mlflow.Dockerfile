# The MLflow server: the kit's own MLflow, drivers for PostgreSQL and S3, and the scripts that start it.
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
COPY requirements-server.txt ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    --mount=type=cache,target=/root/.cache/uv uv venv /opt/venv \
    && uv pip install --link-mode copy --compile-bytecode --python /opt/venv/bin/python \
        --require-hashes --requirement requirements-server.txt

FROM ${REGISTRY}python:3.13-slim-trixie
# A named volume takes its owner from the folder that it first covers.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mlflow \
    && install --directory --owner mlflow --mode 0755 /artifacts /run/stack /run/log
COPY --from=packages /opt/venv /opt/venv
COPY docker/server /opt/stack
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001
EXPOSE 5000
ENTRYPOINT ["python", "/opt/stack/start.py"]
