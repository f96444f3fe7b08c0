"""What SageMaker and Azure ML would be told, and what is refused before they are asked."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from starterkit.errors import KitError
from starterkit.release.deployment import Order, Plan, target_of
from starterkit.settings import load_settings

ROOT = Path(__file__).parents[4]
KEY = "a-key-of-enough-characters"
ENVIRON = {
    "KIT_STAGE": "prod",
    "KIT_TRACKING__URI": "https://mlflow:5000",
    "KIT_SERVING__API_KEY": KEY,
    "KIT_FEEDBACK__DATABASE": "postgresql://kit@db/log",
}
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ml/api:7"
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
SAGEMAKER = {"role": ROLE, "region": "eu-central-1"}
MOST, BYTES = "KIT_SERVING__MAX_BODY_BYTES", "serving.max_body_bytes is"
AZURE = {"workspace": "ml", "group": "data", "vault": "https://kit.vault.azure.net"}


@pytest.fixture
def plan(repository):
    shutil.copytree(ROOT / "deploy", repository / "deploy")

    def make(platform: str, image: str = ECR, without: str = "", environ=(), **given: str) -> Plan:
        told = {name: text for name, text in (ENVIRON | dict(environ)).items() if name != without}
        given = (SAGEMAKER if platform == "sagemaker" else AZURE) | given
        return target_of(platform, Order(load_settings(repository, told), image, "prod.diabetes", "7", given)).plan()

    return make


def test_sagemakers_three_calls_name_each_other_and_show_no_secret(plan):
    first, again, other = plan("sagemaker"), plan("sagemaker"), plan("sagemaker", count="2")
    assert first == again
    model, configuration, endpoint = (json.loads(text) for text in first.files.values())
    assert model["ModelName"] == configuration["ProductionVariants"][0]["ModelName"]
    assert configuration["EndpointConfigName"] == endpoint["EndpointConfigName"]
    assert model["PrimaryContainer"]["Environment"]["KIT_STAGE"] == "prod"
    assert "KIT_SERVING__API_KEY" in model["PrimaryContainer"]["Environment"]
    assert KEY not in str(first)
    assert json.loads(other.files["model.json"])["ModelName"] != model["ModelName"]
    secret = plan("sagemaker", environ={"KIT_SERVING__API_KEY": f"{KEY}-2"}.items())
    assert json.loads(secret.files["model.json"])["ModelName"] != model["ModelName"]


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
    ("platform", "given", "environ", "said"),
    [
        ("sagemaker", {"role": "me"}, {}, "role is no ARN of a role. Add --set role=arn:aws:iam::ACCOUNT:role/NAME."),
        ("sagemaker", {"region": "us-east-1"}, {}, "SageMaker takes images of Amazon ECR in its own region alone, and"),
        ("sagemaker", {"image": "registry.example/api:1"}, {}, "SageMaker takes images of Amazon ECR in its own"),
        ("sagemaker", {"endpoint": "a_b"}, {}, "endpoint is no name of an endpoint. Give at most 63"),
        ("sagemaker", {"count": "0"}, {}, "count is no number of instances."),
        ("azure", {"count": "two"}, {}, "count is no number of instances."),
        ("azure", {"endpoint": "a"}, {}, "endpoint is no name of an endpoint. Give 3 to 32"),
        ("azure", {"vault": "kit"}, {}, "vault is no address of a key vault. Add --set vault=https://"),
        ("sagemaker", {}, {MOST: "9000000"}, f"{BYTES} 9,000,000, and SageMaker hands on 6,291,456 at most"),
        ("azure", {}, {MOST: "20000000"}, f"{BYTES} 20,000,000, and Azure ML"),
        ("azure", {"without": "KIT_SERVING__API_KEY"}, {}, "the stage prod asks clients for a key, and serving.api_"),
        ("sagemaker", {"without": "KIT_FEEDBACK__DATABASE"}, {}, "feedback.database is no PostgreSQL: predictions"),
    ],
)
def test_what_a_cloud_cannot_take_is_told_in_one_line(plan, platform, given, environ, said):
    with pytest.raises(KitError) as refused:
        plan(platform, environ=environ.items(), **given)
    assert str(refused.value).startswith(said)


AZ = """#!/bin/sh
echo "$2 $3" >> calls
case "$2 $3" in
  "online-endpoint list") echo '[]' ;;
  "online-deployment create") test ! -e fails || { echo "ERROR: no quota" >&2; exit 1; } ;;
esac
"""


def test_what_azure_does_not_take_goes_again(repository, plan, monkeypatch):
    """An az that only notes what it is asked for: the real one needs an account."""
    planned, target = plan("azure"), target_of("azure", Order(load_settings(repository, ENVIRON), ECR, "m", "7", AZURE))
    az = repository / "bin" / "az"
    az.parent.mkdir()
    az.write_text(AZ)
    az.chmod(0o755)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", f"{az.parent}:/usr/bin:/bin")
    target.check()
    assert target.apply(planned) == f"{ECR} answers as starterkit-api, for m version 7"
    made = ["online-endpoint create", "online-deployment create"]
    asked = Path("calls").read_text().splitlines()
    assert asked[-4:] == ["online-endpoint list", *made, "online-endpoint update"]
    Path("fails").touch()
    with pytest.raises(KitError, match=r"az ml fails: ERROR: no quota\. See `az account show`"):
        target.apply(planned)
    assert Path("calls").read_text().splitlines()[-3:] == [*made, "online-endpoint delete"]


def test_without_az_or_boto3_nothing_is_begun(repository, plan, monkeypatch):
    plan("azure")
    monkeypatch.setenv("PATH", "")
    settings = load_settings(repository, ENVIRON)
    with pytest.raises(KitError, match=r"there is no az command\. Install az"):
        target_of("azure", Order(settings, ECR, "prod.diabetes", "7", AZURE)).check()
    monkeypatch.setattr("starterkit.release.deployment.sagemaker.find_spec", lambda name: None)
    with pytest.raises(KitError, match=r"boto3 is not installed here\. Add it: make add PKG=boto3"):
        target_of("sagemaker", Order(settings, ECR, "prod.diabetes", "7", SAGEMAKER)).check()
