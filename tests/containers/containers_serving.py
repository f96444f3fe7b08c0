"""The serving image, built as `make image` and docker-compose.yml build it, and run as an operator would.

Nothing is asserted of seconds: conftest.py prints those that were measured.
"""

import json
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml
from engine import Container, Docker

from conftest import Until
from starterkit.serving.predictor import Predictor
from starterkit.serving.validation import read_records

REPOSITORY = Path(__file__).parents[2]
BASE = "python:3.13-slim-trixie"
DOCKERFILE = "docker/serve.Dockerfile"
READ_BY_A_BUILD = "docker src pyproject.toml README.md LICENSE tools requirements-serve.txt requirements-uv.txt"
KEY = "a-key-of-enough-characters"
MOST_ABOVE_BASE = 340_000_000
HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=512m")
HARDENED += ("--publish=127.0.0.1::8000",)
MAY_NOT_BE_THERE = "flask matplotlib onnx pandas pandera pip pyarrow scipy skl2onnx sklearn skops"


def make_image(root: Path, name: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(REPOSITORY / "tools" / "image.py"), name]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path]) -> Path:
    """A copy of what a run and a build read."""
    root = copied(tmp_path_factory.mktemp("serving") / "copy")
    for name in READ_BY_A_BUILD.split():
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    return root


@pytest.fixture(scope="module")
def baked(docker: Docker, scratch: Path, kit: Callable[..., Any]) -> str:
    """The image that `make image` builds, from a champion of the stage local."""
    kit(scratch, "run", code=0)
    name = docker.name("baked")
    made = make_image(scratch, name)
    assert f"{name} holds local.diabetes version 1" in made.stdout, made.stderr[-2000:]
    return name


@pytest.fixture(scope="module")
def api(docker: Docker, baked: str, until: Until, figures: dict[str, str]) -> Iterator[Container]:
    """A hardened container that answers."""
    began = time.monotonic()
    container = docker.start(*HARDENED, baked)
    until(lambda: is_ready(container), "ready", container=container)
    figures["model in the image: docker run to ready"] = f"{time.monotonic() - began:.2f} s"
    yield container
    docker("rm", "--force", container.id)


def responds(address: str, seconds: float = 5) -> bool:
    try:
        return 200 <= httpx.get(address, timeout=seconds).status_code < 400
    except httpx.TransportError:
        return False


def is_ready(container: Container) -> bool:
    return responds(f"{container.address(8000)}/health/ready")


def patients(scratch: Path) -> list[dict[str, Any]]:
    frame = pd.read_csv(scratch / "data" / "diabetes.csv")
    return frame.drop(columns=["patient_id", "progression"]).to_dict("records")


def answers(container: Container, records: list[dict[str, Any]], headers: Mapping[str, str] | None = None) -> Any:
    answer = httpx.post(f"{container.address(8000)}/predict", json={"records": records}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def local_answers(folder: Path, records: list[dict[str, Any]]) -> list[float]:
    predictor = Predictor(folder)
    return predictor.predict(read_records(predictor.contract, records)).values.tolist()


def test_it_answers_as_the_champion_and_says_which_that_is(api, scratch):
    records = patients(scratch)
    said = answers(api, records)
    assert said["model"] == {"name": "local.diabetes", "version": "1"}
    assert said["predictions"] == local_answers(scratch / "build" / "model", records)


def test_it_is_small_and_holds_what_serves_and_no_more(docker, api, baked, figures):
    code = f"from importlib.util import find_spec; print([n for n in {MAY_NOT_BE_THERE!r}.split() if find_spec(n)])"
    assert api.python(code) == "[]"
    whole = "from importlib.metadata import distributions as d; print([x.name for x in d() if x.name == 'mlflow'])"
    assert api.python(whole) == "[]"  # mlflow-skinny alone
    above = docker.inspect(baked)["Size"] - docker.inspect(BASE)["Size"]
    figures["above the base image"] = f"{above / 1e6:.0f} MB"
    assert above < MOST_ABOVE_BASE


def test_its_process_has_no_rights(docker, api):
    assert docker.inspect(api.id)["Config"]["User"] == "10001"  # not by an option of ours
    status = dict(line.split(":\t", 1) for line in api.python("print(open('/proc/1/status').read())").splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    refused = "import os; print([p for p in ('/', '/app', '/app/model', '/opt/venv', '/etc') if os.access(p, os.W_OK)])"
    assert api.python(refused) == "[]"


def test_its_files_are_roots_without_a_read_only_root_too(docker, baked):
    places = ("/app", "/app/model/model.onnx", "/opt/venv", "/opt/project")
    code = f"import os; print([place for place in {places!r} if os.access(place, os.W_OK)])"
    assert docker("run", "--rm", "--label", docker.label, "--entrypoint", "python", baked, "-c", code) == "[]"


def test_nothing_is_compiled_at_start(api):
    code = "import starterkit.cli.commands, starterkit.serving.http, onnxruntime"
    said = api.docker.ask("exec", api.id, "python", "-v", "-c", code).stderr
    loaded = re.findall(r"^# code object from '?(/opt/[^'\n]+)", said, re.MULTILINE)
    assert any("/opt/project/starterkit/serving/" in path for path in loaded), said[-2000:]
    assert [path for path in loaded if not path.endswith(".pyc")] == []


def test_the_health_check_goes_by_readiness(api, until):
    until(lambda: api.state["Health"]["Status"] == "healthy", "healthy", container=api)
    check = ("python", "-IS", "ready.py")
    done = api.docker.ask("exec", "--env", "KIT_SERVING__PORT=1", api.id, *check)
    assert (done.returncode, done.stderr) == (1, "the API does not answer: [Errno 111] Connection refused\n")
    assert api.docker.inspect(api.id)["Config"]["Healthcheck"]["Test"] == ["CMD", *check]


def test_stopping_is_a_good_end(docker, baked, until, figures):
    container = docker.start(*HARDENED, baked)
    until(lambda: is_ready(container), "ready", container=container)
    began = time.monotonic()
    docker("stop", container.id)  # kills after 10 s, which is no good end
    figures["docker stop"] = f"{time.monotonic() - began:.2f} s"
    assert container.state["ExitCode"] == 0
    foreseen = ("  open the model", "  open the log", "  take resources", "Answering")
    assert [line for line in container.said().splitlines() if not line.startswith(foreseen)] == []


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """An error with its hint, and nothing else."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    assert says in " ".join(line.strip() for line in lines)
    assert [line for line in lines[1:] if not line.startswith("  ")] == lines[2:] == []
    assert done.stdout == ""


def test_without_a_champion_nothing_is_built(docker, tmp_path):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    said = "registered model 'local.diabetes' has no champion. Run `starterkit run` first."
    assert_one_line(make_image(tmp_path, docker.name("none")), 1, said)
    assert docker("images", "--quiet", docker.name("none")) == ""


@pytest.fixture(scope="module", params=["in the image", "mounted"])
def on_sagemaker(
    docker: Docker, request: pytest.FixtureRequest, scratch: Path, baked: str, until: Until, figures: dict[str, str]
) -> Iterator[str]:
    """The address of a container that is given the argument `serve`, and nothing else but what SageMaker gives."""
    options, port = ["--env", "SAGEMAKER_BIND_TO_PORT=8081"], 8081
    image = baked
    if request.param == "mounted":
        image, port = request.getfixturevalue("fetching"), 8080
        model = scratch / "build" / "model"
        scratch.parents[0].chmod(0o755)
        options = ["--volume", f"{model}:/opt/ml/model:ro", "--env", "KIT_STAGE=local"]
    began = time.monotonic()
    container = docker.start(*options, "--publish", f"127.0.0.1::{port}", image, "serve")
    until(lambda: responds(f"{container.address(port)}/ping", 2), "there", container=container)
    figures[f"SageMaker, the model {request.param}: docker run to /ping"] = f"{time.monotonic() - began:.2f} s"
    yield f"{container.address(port)}/invocations"
    docker("rm", "--force", container.id)


def test_sagemakers_payloads(on_sagemaker, scratch):
    """What comes of CSV, and what is refused, the API's own tests say."""
    records = patients(scratch)
    expected = [{"progression": one} for one in local_answers(scratch / "build" / "model", records)]
    assert httpx.post(on_sagemaker, json={"instances": records}).json() == {"predictions": expected}
    kind = {"content-type": "text/csv"}
    assert httpx.post(on_sagemaker, content=b" " * 6_291_456, headers=kind).status_code == 413


@pytest.fixture(scope="module")
def fetching(docker: Docker, scratch: Path) -> str:
    """The default image."""
    return docker.build("champion", "--file", str(scratch / DOCKERFILE), str(scratch))


class Server:
    """A real MLflow server in a container: `network` is where it is called mlflow, `address` is for this machine.

    It is also called `stranger` there, a name that it was not told.
    """

    def __init__(self, docker: Docker, port: int) -> None:
        image = docker.build("mlflow", "--file", str(REPOSITORY / "docker" / "mlflow.Dockerfile"), str(REPOSITORY))
        self.network, self.address = docker.name("network"), f"http://127.0.0.1:{port}"
        docker("network", "create", "--label", docker.label, self.network)
        self.container = docker.start(
            *("--network", self.network, "--network-alias", "mlflow", "--network-alias", "stranger"),
            *("--publish", f"127.0.0.1:{port}:5000"),
            *("--env", "MLFLOW_DISABLE_TELEMETRY=true", "--env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"),
            *("--entrypoint", "mlflow", image, "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1"),
            *("--backend-store-uri", "sqlite:////tmp/mlflow.db", "--artifacts-destination", "/tmp/artifacts"),
            *("--serve-artifacts", "--allowed-hosts", f"mlflow:5000,127.0.0.1:{port}"),
        )


@pytest.fixture(scope="module")
def server(docker: Docker, until: Until, free_tcp_port_factory: Callable[[], int]) -> Iterator[Server]:
    made = Server(docker, free_tcp_port_factory())
    until(lambda: responds(f"{made.address}/version"), "there", container=made.container)
    yield made
    docker("rm", "--force", made.container.id)


GIVEN = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": "http://mlflow:5000", "KIT_SERVING__API_KEY": KEY}


def options(server: Server, **environ: str) -> list[str]:
    variables = [f"{name}={value}" for name, value in (GIVEN | environ).items()]
    return [*HARDENED, "--network", server.network, *(word for one in variables for word in ("--env", one))]


PROD = (*HARDENED, "--env", "KIT_TRACKING__URI=http://mlflow:5000")  # without a stage it is prod


@pytest.mark.parametrize(
    ("environ", "words", "code", "says"),
    [
        ({"KIT_STAGE": "test"}, (), 1, "registered model 'test.diabetes' has no champion. Run `starterkit run` first."),
        ({"KIT_TRACKING__URI": "http://nobody:5000"}, (), 1, "MLflow at http://nobody:5000 does not answer"),
        (
            {"KIT_TRACKING__URI": "http://stranger:5000"},
            (),
            1,
            "Add this name with its port to the server's --allow",
        ),
        ({"KIT_SERVNG__PORT": "1"}, (), 2, "KIT_SERVNG__PORT: no setting has this name"),
        (None, (), 2, "serving.require_api_key is true and serving.api_key is not set. Set KIT_SERVING__API_KEY"),
        ({}, ("run",), 1, "this command needs the package 'pandas', which is not installed here"),
    ],
    ids=["no champion", "unknown host", "another host name", "misspelt", "no key", "no training here"],
)
def test_what_cannot_be_is_one_line(docker, fetching, server, environ, words, code, says):
    given = PROD if environ is None else options(server, **environ)
    done = docker.ask("run", "--rm", "--label", docker.label, *given, fetching, *words)
    assert_one_line(done, code, says)


def test_settings_can_be_shown(docker, fetching):
    given = ("--label", docker.label, *PROD, "--env", f"KIT_SERVING__API_KEY={KEY}")
    said = docker("run", "--rm", *given, fetching, "config", "show")
    assert "KIT_SERVING__HOST" in said
    assert KEY not in said


@pytest.fixture(scope="module")
def promoted(server: Server, scratch: Path, kit: Callable[..., Any]) -> Path:
    """The exported folder of the champion that the server has for staging."""
    environ = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": server.address, "KIT_SERVING__API_KEY": KEY}
    kit(scratch, "run", code=0, **environ)
    kit(scratch, "fetch", "fetched", code=0, **environ)
    return scratch / "fetched"


def test_it_serves_the_servers_champion(docker, fetching, server, promoted, scratch, until, figures):
    began = time.monotonic()
    container = docker.start(*options(server), fetching)
    until(lambda: is_ready(container), "ready", container=container)
    figures["model from the registry: docker run to ready"] = f"{time.monotonic() - began:.2f} s"
    records = patients(scratch)
    said = answers(container, records, {"X-API-Key": KEY})
    assert said["model"] == {"name": "staging.diabetes", "version": "1"}
    assert said["predictions"] == local_answers(promoted, records)
    refused = httpx.post(f"{container.address(8000)}/predict", json={"records": records[:1]})
    assert refused.status_code == 401
    docker("stop", container.id)
    assert container.state["ExitCode"] == 0
    lines = container.said().splitlines()
    # And no warning of a library.
    assert sorted(line.split()[0] for line in lines) == ["Answering", "open", "open", "take"], lines


SPREAD_SECONDS = 3
"""How long a cluster goes on sending to a pod that ends: the others hear of it one by one."""


class Pod:
    """A container with the manifest's own limits, user, volumes, environment, probes and end."""

    def __init__(self, docker: Docker, image: str, network: str, secrets: Mapping[str, str]) -> None:
        manifests = yaml.safe_load_all((REPOSITORY / "deploy/kubernetes/base/api.yaml").read_text())
        [about] = [one["spec"]["template"]["spec"] for one in manifests if one["kind"] == "Deployment"]
        [self.about] = about["containers"]
        self.grace, self.user = about["terminationGracePeriodSeconds"], about["securityContext"]
        [port] = [one["containerPort"] for one in self.about["ports"]]
        environ = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": "http://mlflow:5000"}
        for one in self.about["env"]:
            name = one["valueFrom"]["secretKeyRef"]["key"]
            assert name in secrets or one["valueFrom"]["secretKeyRef"]["optional"]
            environ |= {one["name"]: secrets[name]} if name in secrets else {}
        sizes = {one["name"]: one["emptyDir"]["sizeLimit"].rstrip("i") for one in about["volumes"]}
        mounts = [  # as a kubelet makes an emptyDir: root's, open to all, with the pod's group
            f"{one['mountPath']}:size={sizes[one['name']].lower()},mode=2777,gid={self.user['fsGroup']}"
            for one in self.about["volumeMounts"]
        ]
        assert self.about["securityContext"]["readOnlyRootFilesystem"] is True
        memory = self.about["resources"]["limits"]["memory"].lower().rstrip("i")
        self.container = docker.start(
            *("--read-only", "--cap-drop", *self.about["securityContext"]["capabilities"]["drop"]),
            *("--user", f"{self.user['runAsUser']}:{self.user['runAsGroup']}", "--security-opt", "no-new-privileges"),
            *("--memory", memory, "--memory-swap", memory, "--network", network, "--publish", f"127.0.0.1::{port}"),
            *(word for one in mounts for word in ("--tmpfs", one)),
            *(word for one in environ.items() for word in ("--env", "=".join(one))),
            image,
        )
        self.address = self.container.address(port)

    def passes(self, probe: str) -> bool:
        return responds(self.address + self.about[probe]["httpGet"]["path"], self.about[probe].get("timeoutSeconds", 1))

    def end(self) -> float:
        """As a kubelet does it; how long the container took after its signal."""
        asleep = self.about["lifecycle"]["preStop"]["sleep"]["seconds"]
        time.sleep(asleep)
        began = time.monotonic()
        self.container.docker("stop", "--time", str(self.grace - asleep), self.container.id)
        return time.monotonic() - began


class Service:
    """Spreads connections over pods."""

    def __init__(self, pods: list[Pod]) -> None:
        self.addresses = [one.address for one in pods]

    @property
    def port(self) -> int:
        return int(random.choice(self.addresses).rpartition(":")[2])


def test_a_pod_that_ends_under_load_loses_no_request(docker, fetching, server, promoted, scratch, until, figures, load):
    """Some clients keep their connections, and some make one for each request."""
    secrets = {"KIT_SERVING__API_KEY": KEY, "KIT_FEEDBACK__PASSWORD": KEY}
    secrets["KIT_FEEDBACK__DATABASE"] = "postgresql://kit@database/predictions"
    database = docker.start(
        *("--network", server.network, "--network-alias", "database", "--tmpfs", "/var/lib/postgresql/data"),
        *("--env=POSTGRES_USER=kit", "--env=POSTGRES_DB=predictions", f"--env=POSTGRES_PASSWORD={KEY}"),
        "postgres:17-trixie",
    )
    within = ("exec", "--env", f"PGPASSWORD={KEY}", database.id, "psql", "--host=127.0.0.1", "--username=kit")
    within += ("--dbname=predictions", "-tAc")
    until(lambda: docker.ask(*within, "select 1").returncode == 0, "there", container=database)

    pods = [Pod(docker, fetching, server.network, secrets) for _ in range(2)]
    startup = pods[0].about["startupProbe"]
    for pod in pods:
        most = startup["periodSeconds"] * startup["failureThreshold"]
        until(lambda pod=pod: pod.passes("startupProbe"), "started", most, pod.container)
    service, asked = Service(pods), {"body": json.dumps({"records": patients(scratch)[:20]}), "X-API-Key": KEY}
    with load(service, **asked) as keeping, load(service, **asked, Connection="close") as renewing:
        time.sleep(3)
        assert all(pod.passes(probe) for pod in pods for probe in ("livenessProbe", "readinessProbe"))
        ended = threading.Timer(SPREAD_SECONDS, lambda: service.addresses.remove(pods[0].address))
        ended.start()
        seconds = pods[0].end()
        time.sleep(2)
    answered = len(keeping.answers) + len(renewing.answers)
    assert (keeping.harmed, renewing.harmed) == ((0, 0), (0, 0)), keeping.lost + renewing.lost
    assert answered > 100
    assert pods[0].container.state["ExitCode"] == 0  # of itself: 137 would be the grace period's end
    assert not any(pod.container.state["OOMKilled"] for pod in pods)
    assert pods[1].passes("readinessProbe")
    figures["a pod under load: from its signal to its end"] = f"{seconds:.2f} s of {pods[0].grace} s"
    most = re.search(r"VmHWM:\s+(\d+)", pods[1].container.python("print(open('/proc/1/status').read())"))
    limit = pods[0].about["resources"]["limits"]["memory"]
    figures["the most memory of the other pod's process"] = f"{int(most[1]) / 1024:.0f} of {limit}"
    figures["requests answered, none lost"] = f"{answered}"
    assert docker(*within, "select count(*) from prediction") == str(answered)  # nor one kept twice
