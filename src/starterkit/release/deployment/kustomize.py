"""Platforms in a Kubernetes cluster: the stage's overlay below deploy/, with one more laid over it."""

import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import yaml

from starterkit.errors import UserError
from starterkit.release.deployment import Plan, Target, ask, require_image
from starterkit.settings import Settings

FILE = "manifests.yaml"
_MEGABYTES = 640
"""What a process has with a small model and for its requests, where serving.memory_mb does not say less or more."""
_BESIDE = 128
"""Megabytes for the process that fetches a new champion beside them."""
_MILLICORES, _RESIDENT = 250, 256
"""What a thread, and a process, is sure to get."""
_SECONDS_TO_START = 360
"""Somewhat more than kubectl waits, which is more than the startup probe does."""
_HINT = "See `kubectl config get-contexts`: the current one has to reach the cluster, with the right to do this"


class Kustomized(Target):
    """Built by `kubectl kustomize`, which asks no cluster; applied by `kubectl apply`."""

    options: ClassVar = {"context": "current"}
    folder: ClassVar[str]
    kind: ClassVar[str]
    pod: ClassVar[str]
    """Where in an object of this kind the annotations of its pods stand."""
    container: ClassVar[str]
    """And where its container does."""
    waits: ClassVar[tuple[str, ...]]
    """With which words kubectl waits until it answers."""

    def plan(self) -> Plan:
        built = self._build()
        namespace = next(one["metadata"]["namespace"] for one in yaml.safe_load_all(built))
        names = ", ".join(f"{one['kind']} {one['metadata']['name']}" for one in yaml.safe_load_all(built))
        steps = (
            f"look whether {self.order.image}, the namespace {namespace} and its secret starterkit-api are there",
            f"ask the cluster whether it would take {names} in {namespace}",
            f"kubectl apply --filename {FILE}",
            f"kubectl {' '.join(self.waits)}",
        )
        return Plan(steps, {FILE: built})

    def check(self) -> None:
        require_image(self.order.image)

    def apply(self, plan: Plan) -> str:
        manifests = plan.files[FILE]
        namespace = next(one["metadata"]["namespace"] for one in yaml.safe_load_all(manifests))
        self._kubectl("get", "secret", "starterkit-api", "--namespace", namespace)
        self._kubectl("apply", "--dry-run=server", "--filename", "-", given=manifests)
        self._kubectl("apply", "--filename", "-", given=manifests)
        later = f"What answered before goes on; `kubectl get pods --namespace {namespace}` shows what does not start"
        self._kubectl(*self.waits, "--namespace", namespace, hint=later, seconds=_SECONDS_TO_START)
        return f"{self.order.image} runs in {namespace}, for {self.order.model} version {self.order.version}"

    def _kubectl(self, *words: str, given: str = "", hint: str = _HINT, seconds: float = 60) -> str:
        context = self.order.given["context"]
        chosen = () if context == "current" else ("--context", context)
        return ask("kubectl", *words, *chosen, given=given, hint=hint, seconds=seconds)

    def _build(self) -> str:
        """The overlay for this order on the stage's own, which is the user's."""
        settings = self.order.settings
        stages = settings.root / self.folder
        stage = stages / settings.stage
        if not (stage / "kustomization.yaml").is_file():
            known = sorted({one.parent.name for one in stages.glob("*/kustomization.yaml")} - {"base"})
            what = f"{self.folder} has no overlay for the stage {settings.stage}, but for: {', '.join(known) or 'none'}"
            raise UserError(what, "Set KIT_STAGE, or make one like those")
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch, "kustomization.yaml").write_text(
                yaml.safe_dump(self._overlay(os.path.relpath(stage, scratch)))
            )
            return ask("kubectl", "kustomize", scratch, hint=f"Mend what stands in {self.folder}")

    def _overlay(self, stage: str) -> dict[str, Any]:
        order, serving = self.order, self.order.settings.serving
        at = self.container
        given = {"WORKERS": serving.workers, "THREADS": serving.threads, "MEMORY_MB": serving.memory_mb}
        patch = [
            {"op": "replace", "path": f"{at}/image", "value": order.image},
            {"op": "replace", "path": f"{at}/resources", "value": resources_of(order.settings)},
            *(
                {"op": "add", "path": f"{at}/env/-", "value": {"name": f"KIT_SERVING__{key}", "value": str(value)}}
                for key, value in given.items()
                if value is not None
            ),
            {
                "op": "add",
                "path": self.pod,
                "value": {"starterkit/model": order.model, "starterkit/version": order.version},
            },
        ]
        target = {"kind": self.kind, "name": "starterkit-api"}
        return {"resources": [stage], "patches": [{"target": target, "patch": yaml.safe_dump(patch)}]}


# <kubernetes>
class Kubernetes(Kustomized):
    """A Deployment, with what keeps it within its limits."""

    folder = "deploy/kubernetes"
    kind = "Deployment"
    pod = "/spec/template/metadata/annotations"
    container = "/spec/template/spec/containers/0"
    waits = ("rollout", "status", "deployment/starterkit-api", "--timeout=330s")


# </kubernetes>
# <kserve>
class KServe(Kustomized):
    """KServe makes the Deployment, the addresses and the autoscaler itself."""

    folder = "deploy/kserve"
    kind = "InferenceService"
    pod = "/spec/predictor/annotations"
    container = "/spec/predictor/containers/0"
    waits = ("wait", "--for=condition=Ready", "inferenceservice/starterkit-api", "--timeout=330s")


# </kserve>
def resources_of(settings: Settings) -> dict[str, Any]:
    """What the processes that the settings ask for need of a container."""
    serving = settings.serving
    memory = serving.workers * (serving.memory_mb or _MEGABYTES) + _BESIDE
    requests = {
        "cpu": f"{serving.workers * serving.threads * _MILLICORES}m",
        "memory": f"{min(memory, serving.workers * _RESIDENT)}Mi",
    }
    return {"requests": requests, "limits": {"memory": f"{memory}Mi"}}
