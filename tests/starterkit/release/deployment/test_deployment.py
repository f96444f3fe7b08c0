"""What `deploy` is told and refuses, before a platform is asked."""

import pytest

from starterkit.errors import KitError
from starterkit.release.deployment import Order, target_of
from starterkit.release.deployment.kustomize import resources_of
from starterkit.settings import load_settings

DIGEST = "registry.example:5000/ml/api@sha256:" + "a" * 64
ENVIRON = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": "http://mlflow:5000"}


def order(root, image="api:1", **given) -> Order:
    return Order(load_settings(root, ENVIRON), image, "staging.diabetes", "7", given)


@pytest.mark.parametrize(
    ("platform", "image", "given", "said"),
    [
        ("kubernets", "api:1", {}, "'kubernets' is no platform (did you mean kubernetes?). Name one of kubernetes, k"),
        ("kserve", "", {}, "deploy needs the name of an image. Build the serving image, push it"),
        ("kserve", "api", {}, "'api' does not say which image, today and tomorrow. Name it with its tag or digest"),
        ("kserve", "api:latest", {}, "'api:latest' does not say which image"),
        ("kubernetes", "--help:1", {}, "'--help:1' does not say which image"),
        ("kubernetes", DIGEST, {"contxt": "x"}, "contxt is nothing that is set (did you mean context?). Set context"),
        ("kubernetes", "api:1", {"context": ""}, "context is not set. Add --set context="),
    ],
)
def test_a_mistake_is_told_in_one_line(repository, platform, image, given, said):
    with pytest.raises(KitError) as refused:
        target_of(platform, order(repository, image, **given))
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("platform", ["kubernetes", "kserve"])
def test_without_an_overlay_or_kubectl_there_is_no_plan(repository, monkeypatch, platform):
    target = target_of(platform, order(repository))
    with pytest.raises(KitError, match=f"deploy/{platform} has no overlay for the stage staging, but for: none"):
        target.plan()
    overlay = repository / "deploy" / platform / "staging" / "kustomization.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.touch()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(KitError, match=r"there is no kubectl command\. Install kubectl"):
        target.plan()


def test_the_command_asks_for_a_champion(run, repository):
    assert "has no champion" in run(repository, "deploy", "kubernetes", "--image", "api:1", code=2).stderr
    assert "--set x is no NAME=VALUE" in run(repository, "deploy", "kserve", "--set", "x", code=2).stderr


@pytest.mark.parametrize(
    ("serving", "cpu", "memory", "limit"),
    [({}, "250m", "256Mi", "768Mi"), ({"workers": 2, "threads": 3, "memory_mb": 1024}, "1500m", "512Mi", "2176Mi")],
)
def test_a_container_has_what_the_settings_processes_take(repository, serving, cpu, memory, limit):
    environ = {f"KIT_SERVING__{name.upper()}": str(value) for name, value in serving.items()}
    told = resources_of(load_settings(repository, ENVIRON | environ))
    assert told == {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


@pytest.mark.parametrize(
    ("refused", "calls"),
    [
        ("nothing", ["kustomize", "get secret", "apply --dry-run=server", "apply --filename", "rollout status"]),
        ("kustomize", ["kustomize"]),
        ("secret", ["kustomize", "get secret"]),
        ("--dry-run=server", ["kustomize", "get secret", "apply --dry-run=server"]),
        ("rollout", ["kustomize", "get secret", "apply --dry-run=server", "apply --filename", "rollout status"]),
    ],
)
def test_nothing_is_applied_before_the_cluster_would_take_all_of_it(repository, tmp_path, monkeypatch, refused, calls):
    """kubectl's place is taken by a script, for want of a cluster: it shows what is called, and in which order."""
    overlay = repository / "deploy" / "kubernetes" / "staging" / "kustomization.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.touch()
    script = tmp_path / "bin" / "kubectl"
    script.parent.mkdir()
    script.write_text(
        f"#!/bin/sh\necho \"$@\" >> '{tmp_path}/calls'\n"
        f"case \" $* \" in *' {refused} '*) echo 'warned' >&2; echo 'will not' >&2; exit 1;; esac\n"
        "echo '{kind: Deployment, metadata: {name: api, namespace: here}}'\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    target = target_of("kubernetes", order(repository, context="there"))
    if refused == "nothing":
        assert target.apply(target.plan()) == "api:1 runs in here, for staging.diabetes version 7"
    else:
        with pytest.raises(KitError, match=r"kubectl \w+ fails: will not"):
            target.apply(target.plan())
    called = (tmp_path / "calls").read_text().splitlines()
    assert [one[: len(words)] for one, words in zip(called, calls, strict=True)] == calls
    assert all("--context there" in one for one in called[1:])
