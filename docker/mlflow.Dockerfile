# The MLflow server, in the versions that requirements.txt pins for the kit.
FROM python:3.13-slim-trixie

WORKDIR /build
COPY requirements.txt requirements-uv.txt ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements-uv.txt \
    && uv venv /opt/venv \
    && uv pip install --no-cache --compile-bytecode --python /opt/venv/bin/python \
        --constraint requirements.txt mlflow

RUN useradd --uid 10001 --create-home mlflow && install --directory --owner mlflow /mlflow
USER mlflow
WORKDIR /mlflow
ENV PATH=/opt/venv/bin:$PATH
EXPOSE 5000
