"""A session gets the execution providers that it is given, or says that it does not."""

import onnxruntime
import pytest

from starterkit.errors import SettingsError
from starterkit.pipeline import Summary
from starterkit.serving.graph import Compute
from starterkit.serving.predictor import Predictor

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
HAS_CUDA = CUDA in onnxruntime.get_available_providers()


@pytest.mark.parametrize(
    ("compute", "there", "chosen"),
    [
        (Compute(), [CPU], [CPU]),
        (Compute(providers=("cuda", "cpu")), [CUDA, CPU], [CUDA, CPU]),
        (Compute(providers=("cuda",), fallback=True), [CPU], [CPU]),
        (Compute(providers=("cuda", "cpu"), fallback=True), [CPU], [CPU]),
    ],
)
def test_providers_that_are_there_are_chosen_in_order(compute, there, chosen):
    assert compute.choose(there) == chosen


@pytest.mark.parametrize("providers", [("cuda",), ("cuda", "cpu"), ("cpu", "cuda")])
def test_a_provider_that_is_not_there_is_refused(providers):
    with pytest.raises(SettingsError, match=r"execution provider 'cuda' is not there, only cpu\. .*provider_fallback"):
        Compute(providers=providers).choose([CPU])


def test_a_session_that_fell_back_without_a_word_is_refused():
    """onnxruntime has the provider, but not its driver: the session is made, on the CPU."""
    with pytest.raises(SettingsError, match="'cuda' is not there"):
        Compute(providers=("cuda",)).require([CPU])
    Compute(providers=("cuda",), fallback=True).require([CPU])


@pytest.mark.skipif(HAS_CUDA, reason="not run: this machine has CUDA")
def test_a_real_session_without_the_provider(first_run: tuple, tmp_path):
    folder = fetched(first_run, tmp_path)
    with pytest.raises(SettingsError, match="'cuda' is not there"):
        Predictor(folder, Compute(providers=("cuda",)))
    assert Predictor(folder, Compute(threads=2, providers=("cuda",), fallback=True)).providers == ("cpu",)
    assert Predictor(folder).providers == ("cpu",)


@pytest.mark.skipif(not HAS_CUDA, reason="not run: CUDA is not there")
def test_a_real_session_on_cuda(first_run: tuple, tmp_path):
    assert Predictor(fetched(first_run, tmp_path), Compute(providers=("cuda",))).providers[0] == "cuda"


def fetched(first_run: tuple, tmp_path):
    from starterkit.settings import load_settings
    from starterkit.tracking.connection import connect
    from starterkit.tracking.registry import ModelRegistry

    root, summary = first_run
    assert isinstance(summary, Summary)
    settings = load_settings(root, {})
    registry = ModelRegistry(connect(settings.tracking, root), settings.stage, "diabetes")
    return registry.fetch(registry.version(1), tmp_path)
