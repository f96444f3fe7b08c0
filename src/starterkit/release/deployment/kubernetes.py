"""Kubernetes itself: deploy/kubernetes."""

from starterkit.release.deployment.kustomize import Kustomized


class Kubernetes(Kustomized):
    """A Deployment, with what keeps it within its limits."""

    folder = "deploy/kubernetes"
    kind = "Deployment"
    pod = "/spec/template/metadata/annotations"
    container = "/spec/template/spec/containers/0"
    waits = ("rollout", "status", "deployment/starterkit-api", "--timeout=330s")


TARGET = Kubernetes
