"""`deploy sagemaker` against moto's server. That proves the calls, not the image: tests/containers drives that.

moto knows neither `update_endpoint` nor a container: an endpoint is in service at once.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import clean

BOTO3, MOTO = "boto3==1.44.8", "moto[server]==5.2.5"
REGION = "eu-central-1"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/ml/api:7"
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
WORDS = ("deploy", "sagemaker", "--image", IMAGE, "--set", f"role={ROLE}", "--set", f"region={REGION}")
MAKE = f"""
import boto3, json
ask = lambda name: boto3.client(name, region_name="{REGION}")
ask("iam").create_role(RoleName="sagemaker", AssumeRolePolicyDocument="{{}}")
ask("ecr").create_repository(repositoryName="ml/api")
manifest = {{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
    "config": {{"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": "sha256:" + "0" * 64}}}}
ask("ecr").put_image(repositoryName="ml/api", imageTag="7", imageManifest=json.dumps(manifest))
"""
LOOK = f"""
import boto3, json
ask = boto3.client("sagemaker", region_name="{REGION}")
endpoints = [ask.describe_endpoint(EndpointName=one["EndpointName"]) for one in ask.list_endpoints()["Endpoints"]]
configurations = [one["EndpointConfigName"] for one in ask.list_endpoint_configs()["EndpointConfigs"]]
models = [ask.describe_model(ModelName=one["ModelName"]) for one in ask.list_models()["Models"]]
kept = {{"EndpointName", "EndpointConfigName", "EndpointStatus", "ModelName", "PrimaryContainer", "ExecutionRoleArn"}}
endpoints, models = ([{{n: v for n, v in one.items() if n in kept}} for one in all_] for all_ in (endpoints, models))
print(json.dumps([endpoints, configurations, models]))
"""


@pytest.fixture(scope="module")
def bin_(environment: Callable[..., Path]) -> Path:
    return environment("sagemaker", f"--constraint requirements.txt --editable . {BOTO3} {MOTO}")


class Cloud:
    def __init__(self, bin_: Path, project: Path, address: str) -> None:
        self.bin_, self.project = bin_, project
        self.environ = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}

    def call(self, *words: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
        told = clean(HOME="/nowhere", **(self.environ | environ))
        return subprocess.run(words, cwd=self.project, env=told, capture_output=True, text=True, timeout=120)

    def kit(self, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return self.call(self.bin_ / "starterkit", *words, **environ)

    def look(self) -> list[list[Any]]:
        return json.loads(self.call(self.bin_ / "python", "-c", LOOK).stdout)


@pytest.fixture(scope="module")
def moto(bin_: Path, tmp_path_factory: pytest.TempPathFactory, program: Callable[..., Any]) -> str:
    folder = tmp_path_factory.mktemp("moto")
    server = program(folder, folder / "log", bin_ / "moto_server", "--host", "127.0.0.1", "--port", "{port}")
    server.wait(lambda: "Running on" in server.said)
    return server.address


@pytest.fixture
def cloud(bin_: Path, project: Path, moto: str) -> Cloud:
    cloud = Cloud(bin_, project, moto)
    httpx.post(f"{moto}/moto-api/reset").raise_for_status()
    made = cloud.call(bin_ / "python", "-c", MAKE)
    assert made.returncode == 0, made.stderr
    return cloud


def test_what_is_planned_is_what_stands_there(cloud: Cloud):
    planned = cloud.kit(*WORDS, "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert cloud.look() == [[], [], []]
    done = cloud.kit(*WORDS, KIT_SERVING__MAX_ROWS="1000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{IMAGE} answers as starterkit-api in {REGION}, for local.diabetes version 1" in done.stdout
    files = {name: json.loads(text) for name, text in json.loads(planned.stdout)["files"].items()}
    ((endpoint,), configurations, (model,)) = cloud.look()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", configurations[0])
    assert endpoint["EndpointConfigName"] == files["endpoint.json"]["EndpointConfigName"]
    assert model["PrimaryContainer"]["Environment"] == files["model.json"]["PrimaryContainer"]["Environment"]
    assert model["ExecutionRoleArn"] == ROLE
    # moto has no update_endpoint: what was made for it goes again, and what stood there stays.
    again = cloud.kit(*WORDS, "--set", "count=2")
    assert again.returncode == 1
    assert "error: AWS refuses the endpoint starterkit-api: " in again.stderr
    assert cloud.look() == [[endpoint], configurations, [model]]


def test_what_is_not_there_is_one_line_and_nothing_is_made(cloud: Cloud):
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    for changed, environ, said in (
        ({}, nobody, "there are no credentials for AWS. Run `aws conf"),
        ({IMAGE: IMAGE.replace(":7", ":8")}, {}, "AWS refuses the image 123456789012"),
        ({f"role={ROLE}": f"role={ROLE}2"}, {}, f"AWS refuses the role {ROLE}2: An error occurred (NoSuchEntity)"),
        ({}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS cannot be asked for your identity: "),
    ):
        done = cloud.kit(*(changed.get(word, word) for word in WORDS), AWS_EC2_METADATA_DISABLED="true", **environ)
        assert done.returncode == 1, done.stdout
        assert " ".join(done.stderr.partition("error: ")[2].split()).startswith(said), done.stderr
        assert "Traceback" not in done.stderr
    assert cloud.look() == [[], [], []]
