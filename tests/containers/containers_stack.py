"""The compose stack with real containers: used by a client, restarted, backed up, hurt, and told about."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from compose import REPOSITORY, Stack, doctor, kit
from engine import Docker

RUNNING = ("postgres", "mlflow", "api")
# What was stored before has to be where the server looks for it now.
COPY = """
import pathlib
for file in pathlib.Path('/artifacts').rglob('*'):
    if file.is_file(): s3.upload_file(str(file), 'models', f"kit/{file.relative_to('/artifacts')}")
"""


@pytest.fixture(scope="module")
def stack(docker: Docker, free_tcp_port_factory: Callable[[], int]) -> Iterator[Stack]:
    made = Stack(docker, docker.name("stack"), free_tcp_port_factory(), free_tcp_port_factory())
    try:
        made.up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def champion(stack: Stack, repository: Path) -> dict[str, Any]:
    """The first run of a client in stage dev, which nobody configured but for the server's address."""
    done = kit(repository, "run", "--json", KIT_TRACKING__URI=stack.address)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def status(address: str, *, body: bytes | None = None, **headers: str) -> int:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request("POST" if body else "GET", address, content=body, headers=told, timeout=20).status_code


def test_run_artifacts_and_version_are_on_the_server(stack, champion, repository):
    assert stack.query("SELECT count(*) FROM registered_model_aliases WHERE alias = 'champion'") == "1"
    assert stack.inside("mlflow", "sh", "-c", "find /artifacts -name model.onnx")
    found = doctor(stack, repository)
    assert {one["state"] for name, one in found.items() if name in ("stack", "MLflow", "champion")} == {"well"}


def test_server_answers_to_the_names_that_clients_use(stack):
    address = f"http://127.0.0.1:{stack.port}/api/2.0/mlflow/experiments/search?max_results=1"
    ours = f"localhost:{stack.port} 127.0.0.1:{stack.port} mlflow:5000 happy-space-5000.app.github.dev"
    for host in (*ours.split(), "localhost:5999"):  # whatever port an editor forwards to
        assert status(address, Host=host) == 200, host
    for host in ("evil.example", "localhost.evil.example:5000"):
        assert status(address, Host=host) == 403, host


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("http://localhost:5001", 200), ("https://happy-5000.app.github.dev", 200), ("https://evil.example", 403)],
)
def test_pages_of_others_may_not_write(stack, origin, expected):
    address = f"http://localhost:{stack.port}/ajax-api/2.0/mlflow/experiments/search"
    assert status(address, body=b'{"max_results": 1}', Content_Type="application/json", Origin=origin) == expected


def test_api_profile_answers(stack, champion):
    stack("--profile", "api", "up", "--detach", "--wait", "api", seconds=900)
    address = f"http://127.0.0.1:{stack.api_port}"
    document = httpx.get(f"{address}/openapi.json", timeout=20).json()
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    body = json.dumps(example).encode()
    assert status(f"{address}/predict", body=body, Content_Type="application/json") == 200
    assert predictions(stack, "SELECT count(*) FROM prediction") == "1"
    assert predictions(stack, "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user") == "f"
    other = ("psql", "--username=predictions", "--dbname=mlflow", "-c", "SELECT 1")
    assert "permission denied for database" in stack.ask("exec", "-T", "postgres", *other).stderr


def predictions(stack: Stack, statement: str) -> str:
    """What the API's own user is answered in its own database."""
    user = ("--username=predictions", "--dbname=predictions")
    return stack.inside("postgres", "psql", *user, "-tAc", statement)


def test_the_loop_closes_on_the_stacks_database(stack, champion, figures):
    password = stack.inside("postgres", "cat", "/run/log/KIT_FEEDBACK__PASSWORD")
    address = f"postgresql://predictions:{password}@{stack('port', 'postgres', '5432')}/predictions"
    command = [sys.executable, str(REPOSITORY / "tools" / "loop.py"), address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    figures["the closed loop on the stack's PostgreSQL"] = done.stdout.partition("The loop closed in ")[2][:10]
    counted = "SELECT count(*) FROM prediction JOIN prediction_schema ON schema = prediction_schema.id WHERE"
    assert int(predictions(stack, f"{counted} model LIKE 'local.%'")) > 100
    assert int(predictions(stack, "SELECT count(*) FROM label")) > 1000


@pytest.mark.parametrize("service", RUNNING)
def test_service_is_hardened(stack, champion, service):
    made = stack.container(service)["HostConfig"]
    assert (made["ReadonlyRootfs"], made["Init"], made["Memory"] > 0) == (True, True, True)
    bound = [one["HostIp"] for ports in (made["PortBindings"] or {}).values() for one in ports]
    assert set(bound) <= {"127.0.0.1"}
    seen = stack.inside(service, "cat", "/proc/1/status") + stack.inside(service, "cat", "/proc/self/status")
    for what, value in (("CapEff", "0" * 16), ("CapBnd", "0" * 16), ("NoNewPrivs", "1")):
        assert re.findall(rf"{what}:\t(\w+)", seen) == [value] * 2, what
    assert "0" not in re.findall(r"Uid:\t(\d+)", seen)
    assert stack.ask("exec", "-T", service, "touch", "/usr/here").returncode != 0


def test_secrets_are_made_and_never_shown(stack, champion):
    password = stack.inside("postgres", "cat", "/run/stack/database")
    assert len(password) >= 32
    shown = stack("logs", "--no-color") + stack("config")
    shown += "".join(json.dumps(stack.container(name)) for name in ("secrets", *RUNNING))
    shown += stack.inside("mlflow", "sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '")
    assert password not in shown
    assert stack.ask("exec", "-T", "postgres", "cat", "/run/stack/admin").returncode != 0


def test_restart_and_down_and_up_lose_nothing(stack, champion, repository):
    for words in (("restart",), ("--profile", "api", "down")):
        stack(*words)
        stack.up()
        assert doctor(stack, repository)["champion"]["text"].startswith("dev.diabetes version 1")


def test_lost_secrets_are_made_anew(stack, champion, repository):
    earlier = stack.inside("postgres", "cat", "/run/stack/database")
    stack("--profile", "api", "down")
    stack.docker("volume", "rm", f"{stack.name}_secrets")
    stack.up()
    assert stack.inside("postgres", "cat", "/run/stack/database") != earlier
    assert doctor(stack, repository)["champion"]["state"] == "well"


def test_backup_moves_into_an_empty_stack(stack, champion, repository, tmp_path):
    kept = tmp_path / "kept ü"
    done = stack.make("backup", f"TO={kept}")
    assert done.returncode == 0, done.stderr
    assert {*os.listdir(kept)} == {"artifacts.tar", "database.dump", "manifest.json", "predictions.dump"}  # noqa: PTH208
    used = stack.make("restore", f"FROM={kept}")
    assert used.returncode != 0
    assert re.search(r"stack: this stack holds \d+ runs: add ARGS=--overwrite", used.stderr)

    stack("--profile", "api", "down", "--volumes")
    altered = shutil.copytree(kept, tmp_path / "altered")
    (altered / "artifacts.tar").write_bytes(b"")
    assert "is not what was backed up" in stack.make("restore", f"FROM={altered}").stderr
    done = stack.make("restore", f"FROM={kept}")
    assert done.returncode == 0, done.stderr
    found = doctor(stack, repository)["champion"]
    assert found["text"] == "dev.diabetes version 1 opens and gives its sample's answers"


def test_database_of_a_newer_mlflow_is_named(stack, champion, repository, until):
    head = stack.query("SELECT version_num FROM alembic_version")
    stack.query("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    try:
        stack("restart", "mlflow")
        until(lambda: "made by an MLflow after" in stack.said("mlflow"), "told in the log")
        found = doctor(stack, repository)["stack"]
        assert (found["state"], "made by an MLflow after" in found["text"]) == ("failing", True)
        assert "make update-deps" in found["mend"]
    finally:
        stack.query(f"UPDATE alembic_version SET version_num = '{head}'")
        stack.up("--force-recreate", "mlflow")


def test_older_database_is_brought_up_to_date(stack, repository, champion, until):
    head = stack.query("SELECT version_num FROM alembic_version")
    one_back = (
        "from mlflow.store.db.utils import _get_alembic_config as config; from alembic import command; "
        "command.downgrade(config('postgresql+psycopg2://mlflow@postgres/mlflow'), '-1')"
    )
    stack("exec", "-T", "--env", "PGPASSFILE=/run/stack/pgpass", "mlflow", "python", "-c", one_back)
    assert stack.query("SELECT version_num FROM alembic_version") != head
    stack("restart", "mlflow")
    until(lambda: "docker compose run --rm mlflow upgrade" in stack.said("mlflow"), "told in the log")
    found = doctor(stack, repository)["stack"]
    assert ("made by an MLflow before" in found["text"], "mlflow upgrade" in found["mend"]) == (True, True)
    stack("run", "--rm", "-T", "mlflow", "upgrade")
    assert stack.query("SELECT version_num FROM alembic_version") == head
    stack.up("--force-recreate", "mlflow")
    assert doctor(stack, repository)["champion"]["state"] == "well"


def test_volume_of_another_postgres_is_named(stack, repository, champion, until):
    volume = ("sh", "-c", "echo $0 > /var/lib/postgresql/data/PG_VERSION")
    stack("stop")
    stack("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "postgres", *volume[1:], "16")
    try:
        stack.ask("up", "--detach", "postgres")
        until(lambda: "the database volume is of PostgreSQL 16" in stack.said("postgres"), "told in the log")
        found = doctor(stack, repository)["stack"]
        assert "the database volume is of PostgreSQL 16" in found["text"]
        assert "POSTGRES_TAG=16-trixie" in found["mend"]
    finally:
        stack("stop", "postgres")
        stack("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "postgres", *volume[1:], "17")
        stack.up("--force-recreate")


def test_basic_auth_by_settings_alone(stack, repository, champion):
    stack.up(MLFLOW_AUTH="on")
    try:
        address = f"{stack.address}/api/2.0/mlflow/experiments/search?max_results=1"
        assert status(address) == 401
        password = stack.inside("mlflow", "cat", "/run/stack/admin")
        named = {"KIT_TRACKING__USERNAME": "admin", "KIT_TRACKING__PASSWORD": password}
        approved = ("--approver", "Ada Lovelace")
        done = kit(repository, "promote", "--json", *approved, KIT_TRACKING__URI=stack.address, **named)
        assert done.returncode == 0, done.stderr
        told = json.loads(kit(repository, "history", "--json", KIT_TRACKING__URI=stack.address, **named).stdout)
        entry = told["entries"][0]
        assert entry["who"] == {"name": "admin", "how": "authenticated"}
        assert entry["approver"] == {"name": "Ada Lovelace", "how": "claimed"}
        for wrong in ({}, {**named, "KIT_TRACKING__PASSWORD": "another-password"}):
            refused = kit(repository, "history", KIT_TRACKING__URI=stack.address, **wrong)
            assert refused.returncode == 1
            assert "See that KIT_TRACKING__USERNAME and KIT_TRACKING__PASSWORD" in refused.stderr
            assert "Traceback" not in refused.stderr
    finally:
        stack.up()


def test_artifacts_in_s3_by_settings_alone(stack, docker, repository, champion, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM python:3.13-slim-trixie\nRUN python -m venv /opt/s3 && /opt/s3/bin/pip install -q 'moto[server]>=5'\n"
    )
    image = docker.build("s3", str(tmp_path))
    server = f"--network {stack.name}_default --network-alias s3 {image} /opt/s3/bin/moto_server -H 0.0.0.0 -p 9000"
    s3 = docker.start(*server.split())
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    client = "import boto3; s3 = boto3.client('s3', endpoint_url='http://s3:9000', region_name='us-east-1'); "
    environ = {"MLFLOW_ARTIFACTS": "s3://models/kit", "MLFLOW_S3_ENDPOINT_URL": "http://s3:9000", **keys}
    try:
        stack.up(**environ)
        stack.inside("mlflow", "python", "-c", f"{client}s3.create_bucket(Bucket='models'){COPY}")
        done = kit(repository, "run", KIT_TRACKING__URI=stack.address, KIT_TRAINING__SEED="3")
        assert done.returncode == 0, done.stderr
        asked = f"{client}print([o['Key'] for o in s3.list_objects_v2(Bucket='models')['Contents']])"
        listed = stack.inside("mlflow", "python", "-c", asked)
        assert re.search(r"kit/\d+/models/[^']*/artifacts/[^']*model.onnx", listed)
    finally:
        docker("rm", "--force", s3.id)
        stack.up()


def test_server_that_dies_in_the_middle_of_a_run_is_one_line(stack, repository, champion):
    before = stack.query("SELECT count(*) FROM model_versions")
    stack("kill", "mlflow")
    done = kit(repository, "run", KIT_TRACKING__URI=stack.address)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"error: MLflow at http://localhost:\d+ does not answer", done.stderr)
    found = doctor(stack, repository)["stack"]
    assert "the service mlflow is" in found["text"]
    assert stack.query("SELECT count(*) FROM model_versions") == before
    stack.up()


def test_step_runs_as_a_project_in_the_repositorys_own_image(stack, docker, champion, tmp_path):
    image = "mlflow-starter-kit"  # the name that docker/project/MLproject gives
    had = docker.ask("image", "inspect", image).returncode == 0
    dockerfile = str(REPOSITORY / "docker" / "train.Dockerfile")
    docker("build", "--tag", image, "--file", dockerfile, str(REPOSITORY), seconds=900)
    before = int(stack.query("SELECT count(*) FROM runs WHERE status = 'FINISHED'"))
    named = {"KIT_STAGE": "dev", "KIT_TRACKING__URI": "http://mlflow:5000", "MLFLOW_TRACKING_URI": stack.address}
    words = ["run", str(REPOSITORY / "docker" / "project"), "-e", "train", "-A", f"network={stack.name}_default"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mlflow", *words], cwd=tmp_path, env={**os.environ, **named},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert int(stack.query("SELECT count(*) FROM runs WHERE status = 'FINISHED'")) >= before + 1
        assert stack.query("SELECT count(*) FROM tags WHERE key = 'commit' AND value ~ '^[0-9a-f]{40}$'") != "0"
    finally:
        if not had:
            docker.ask("rmi", "--force", image)
