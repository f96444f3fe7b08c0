"""What `deploy` is told and refuses before a platform is asked; and what clusters and clouds would be told."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from starterkit.errors import KitError
from starterkit.release.deployment import Order, Plan, target_of
from starterkit.release.deployment.kustomize import resources_of
from starterkit.settings import load_settings

ROOT = Path(__file__).parents[4]
DIGEST = "registry.example:5000/ml/api@sha256:" + "a" * 64
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ml/api:7"
KEY = "a-key-of-enough-characters"
STAGING = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": "http://mlflow:5000"}
PROD = {"KIT_STAGE": "prod", "KIT_TRACKING__URI": "https://mlflow:5000", "KIT_SERVING__API_KEY": KEY}
PROD["KIT_FEEDBACK__DATABASE"] = "postgresql://kit@db/log"
SETTINGS = {
    "sagemaker": {"role": "arn:aws:iam::123456789012:role/sagemaker", "region": "eu-central-1"},
    "azure": {"workspace": "ml", "group": "data", "vault": "https://kit.vault.azure.net"},
}
MOST, BYTES = "KIT_SERVING__MAX_BODY_BYTES", "serving.max_body_bytes is"


def target(root: Path, platform: str, image: str = "api:1", environ: Any = STAGING, **given: str) -> Any:
    settings = load_settings(root, environ)
    return target_of(platform, Order(settings, image, f"{settings.stage}.diabetes", "7", given))


def cloud(root: Path, platform: str, image: str = ECR, without: str = "", environ: Any = (), **given: str) -> Any:
    told = {name: text for name, text in (PROD | dict(environ)).items() if name != without}
    return target(root, platform, image, told, **(SETTINGS.get(platform, {}) | given))


@pytest.fixture
def plan(repository: Path) -> Callable[..., Plan]:
    """What a cloud would be told."""
    shutil.copytree(ROOT / "deploy", repository / "deploy")
    return lambda platform, *words, **given: cloud(repository, platform, *words, **given).plan()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A script that takes a command's place, for want of a cluster or an account; and where it notes its calls."""

    def make(name: str, text: str) -> Path:
        script = tmp_path / "bin" / name
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\necho \"$@\" >> '{tmp_path}/calls'\n{text}")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return tmp_path / "calls"

    return make


@pytest.fixture
def overlay(repository: Path) -> None:
    file = repository / "deploy" / "kubernetes" / "staging" / "kustomization.yaml"
    file.parent.mkdir(parents=True)
    file.touch()


@pytest.mark.parametrize("platform", ["kubernetes", "kserve"])
def test_without_an_overlay_or_a_tool_there_is_no_plan(repository, overlay, monkeypatch, platform):
    (repository / "deploy" / "kubernetes").rename(repository / "deploy" / platform)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(KitError, match=r"there is no kubectl command\. Install kubectl"):
        target(repository, platform).plan()
    shutil.rmtree(repository / "deploy" / platform / "staging")
    with pytest.raises(KitError, match=f"deploy/{platform} has no overlay for the stage staging, but for: none"):
        target(repository, platform).plan()
    with pytest.raises(KitError, match=r"there is no az command\. Install az"):
        cloud(repository, "azure").check()
    monkeypatch.setattr("starterkit.release.deployment.sagemaker.find_spec", lambda name: None)
    with pytest.raises(KitError, match=r"boto3 is not installed here\. Add it: make add PKG=boto3"):
        cloud(repository, "sagemaker").check()


def test_the_command_asks_for_a_champion(run, repository):
    assert "has no champion" in run(repository, "deploy", "kubernetes", "--image", "api:1", code=2).stderr
    assert "--set x is no NAME=VALUE" in run(repository, "deploy", "kserve", "--set", "x", code=2).stderr


@pytest.mark.parametrize(
    ("serving", "cpu", "memory", "limit"),
    [({}, "250m", "256Mi", "768Mi"), ({"workers": 2, "threads": 3, "memory_mb": 1024}, "1500m", "512Mi", "2176Mi")],
)
def test_a_container_has_what_the_settings_processes_take(repository, serving, cpu, memory, limit):
    environ = {f"KIT_SERVING__{name.upper()}": str(value) for name, value in serving.items()}
    told = resources_of(load_settings(repository, STAGING | environ))
    assert told == {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


CALLS = ["kustomize", "get secret", "apply --dry-run=server", "apply --filename", "rollout status"]


@pytest.mark.parametrize(
    ("refused", "calls"), [("nothing", 5), ("kustomize", 1), ("secret", 2), ("--dry-run=server", 3), ("rollout", 5)]
)
def test_nothing_is_applied_before_the_cluster_would_take_all_of_it(repository, overlay, command, refused, calls):
    noted = command(
        "kubectl",
        f"case \" $* \" in *' {refused} '*) echo 'warned' >&2; echo 'will not' >&2; exit 1;; esac\n"
        "echo '{kind: Deployment, metadata: {name: api, namespace: here}}'\n",
    )
    cluster = target(repository, "kubernetes", context="there")
    if refused == "nothing":
        assert cluster.apply(cluster.plan()) == "api:1 runs in here, for staging.diabetes version 7"
    else:
        with pytest.raises(KitError, match=r"kubectl \w+ fails: will not"):
            cluster.apply(cluster.plan())
    called = noted.read_text().splitlines()
    assert [one[: len(words)] for one, words in zip(called, CALLS[:calls], strict=True)] == CALLS[:calls]
    assert all("--context there" in one for one in called[1:])


def test_sagemakers_three_calls_name_each_other_and_show_no_secret(plan):
    first, again = plan("sagemaker"), plan("sagemaker")
    assert first == again
    model, configuration, endpoint = (json.loads(text) for text in first.files.values())
    assert model["ModelName"] == configuration["ProductionVariants"][0]["ModelName"]
    assert configuration["EndpointConfigName"] == endpoint["EndpointConfigName"]
    assert model["PrimaryContainer"]["Environment"].items() >= {"KIT_STAGE": "prod"}.items()
    assert "KIT_SERVING__API_KEY" in model["PrimaryContainer"]["Environment"]
    assert KEY not in str(first)
    for other in (plan("sagemaker", count="2"), plan("sagemaker", environ={"KIT_SERVING__API_KEY": f"{KEY}-2"})):
        assert json.loads(other.files["model.json"])["ModelName"] != model["ModelName"]


def test_azures_files_are_the_users_with_the_order_in_them_and_secrets_by_reference(plan):
    files = {name: yaml.safe_load(text) for name, text in plan("azure", "kit.azurecr.io/api:7").files.items()}
    deployment = files["deployment.yaml"]
    assert deployment["endpoint_name"] == files["endpoint.yaml"]["name"]
    assert (deployment["name"], deployment["environment"]["image"]) == ("version-7", "kit.azurecr.io/api:7")
    assert deployment["environment"]["inference_config"]["scoring_route"]["path"] == "/invocations"
    variable = deployment["environment_variables"]["KIT_SERVING__API_KEY"]
    assert variable == "${{keyvault:https://kit.vault.azure.net/secrets/KIT-SERVING--API-KEY}}"
    assert KEY not in str(files)


@pytest.mark.parametrize(
    ("platform", "given", "said"),
    [
        ("kubernets", {}, "'kubernets' is no platform (did you mean kubernetes?). Name one of kubernetes, k"),
        ("kserve", {"image": ""}, "deploy needs the name of an image. Build the serving image, push it"),
        ("kserve", {"image": "api"}, "'api' does not say which image, today and tomorrow. Name it with its tag or"),
        ("kserve", {"image": "api:latest"}, "'api:latest' does not say which image"),
        ("kubernetes", {"image": "--help:1"}, "'--help:1' does not say which image"),
        ("kubernetes", {"image": DIGEST, "contxt": "x"}, "contxt is nothing that is set (did you mean context?). Set"),
        ("kubernetes", {"context": ""}, "context is not set. Add --set context="),
        ("sagemaker", {"role": "me"}, "role is no ARN of a role. Add --set role=arn:aws:iam::ACCOUNT:role/NAME."),
        ("sagemaker", {"region": "us-east-1"}, "SageMaker takes images of Amazon ECR in its own region alone, and"),
        ("sagemaker", {"image": "registry.example/api:1"}, "SageMaker takes images of Amazon ECR in its own region"),
        ("sagemaker", {"endpoint": "a_b"}, "endpoint is no name of an endpoint. Give at most 63"),
        ("sagemaker", {"count": "0"}, "count is no number of instances."),
        ("azure", {"count": "two"}, "count is no number of instances."),
        ("azure", {"endpoint": "a"}, "endpoint is no name of an endpoint. Give 3 to 32"),
        ("azure", {"vault": "kit"}, "vault is no address of a key vault. Add --set vault=https://"),
        ("sagemaker", {"environ": {MOST: "9000000"}}, f"{BYTES} 9,000,000, and SageMaker hands on 6,291,456 at most"),
        ("azure", {"environ": {MOST: "20000000"}}, f"{BYTES} 20,000,000, and Azure ML"),
        ("azure", {"without": "KIT_SERVING__API_KEY"}, "the stage prod asks clients for a key, and serving.api_key"),
        ("sagemaker", {"without": "KIT_FEEDBACK__DATABASE"}, "feedback.database is no PostgreSQL: predictions would"),
    ],
)
def test_a_mistake_and_what_a_cloud_cannot_take_are_told_in_one_line(plan, platform, given, said):
    with pytest.raises(KitError) as refused:
        plan(platform, **given)
    assert str(refused.value).startswith(said)


AZ = """
case "$2 $3" in
  "online-endpoint list") echo '[]' ;;
  "online-deployment create") test ! -e fails || { echo "ERROR: no quota" >&2; exit 1; } ;;
esac
"""


def test_what_azure_does_not_take_goes_again(repository, plan, command, monkeypatch):
    planned, azure, noted = plan("azure"), cloud(repository, "azure"), command("az", AZ)
    monkeypatch.chdir(repository)

    def asked() -> list[str]:
        return [" ".join(line.split()[1:3]) for line in noted.read_text().splitlines()]

    azure.check()
    assert azure.apply(planned) == f"{ECR} answers as starterkit-api, for prod.diabetes version 7"
    made = ["online-endpoint create", "online-deployment create"]
    assert asked()[-4:] == ["online-endpoint list", *made, "online-endpoint update"]
    Path("fails").touch()
    with pytest.raises(KitError, match=r"az ml fails: ERROR: no quota\. See `az account show`"):
        azure.apply(planned)
    assert asked()[-3:] == [*made, "online-endpoint delete"]
