"""KServe: deploy/kserve, an InferenceService that speaks the Open Inference Protocol."""

from starterkit.release.deployment.kustomize import Kustomized


class KServe(Kustomized):
    """KServe makes the Deployment, the addresses and the autoscaler itself."""

    folder = "deploy/kserve"
    kind = "InferenceService"
    pod = "/spec/predictor/annotations"
    container = "/spec/predictor/containers/0"
    waits = ("wait", "--for=condition=Ready", "inferenceservice/starterkit-api", "--timeout=330s")


TARGET = KServe
