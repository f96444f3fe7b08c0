"""What platforms tell a container is gone by."""

from pathlib import Path

import pytest

from starterkit.errors import UserError
from starterkit.serving.http import Platform

NOWHERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Platform()),
        ({"SAGEMAKER_BIND_TO_PORT": "8081"}, Platform(8081)),
        ({"STARTERKIT_MODEL": "/app/model"}, Platform(folder=Path("/app/model"))),
        (
            {"AIP_HTTP_PORT": "8085", "AIP_HEALTH_ROUTE": "/up", "AIP_PREDICT_ROUTE": "/v1/m:predict"},
            Platform(8085, None, ("/v1/m:predict",), ("/up",)),
        ),
        ({"AIP_STORAGE_URI": "gs://bucket/model"}, Platform()),
    ],
)
def test_ports_addresses_and_folders(environ, expected):
    assert Platform.of(environ, NOWHERE) == expected


def test_the_model_that_a_platform_brings(tmp_path):
    opt = tmp_path / "ml"
    (opt / "model").mkdir(parents=True)
    assert Platform.of({"STARTERKIT_MODEL": "own"}, opt) == Platform(8080, Path("own"))  # SageMaker's folder is empty
    (opt / "model" / "contract.json").touch()
    assert Platform.of({"STARTERKIT_MODEL": "own"}, opt).folder == opt / "model"
    azure = tmp_path / "azure"
    (azure / "1" / "house-prices").mkdir(parents=True)
    with pytest.raises(UserError, match="has no exported folder"):
        Platform.of({"AZUREML_MODEL_DIR": str(azure)}, NOWHERE)
    (azure / "1" / "house-prices" / "contract.json").touch()
    told = Platform.of({"AZUREML_MODEL_DIR": str(azure)}, NOWHERE)
    assert told == Platform(None, azure / "1" / "house-prices", ("/score",))


@pytest.mark.parametrize(
    "environ",
    [
        {"SAGEMAKER_BIND_TO_PORT": "http"},
        {"AIP_HTTP_PORT": "65536"},
        {"AIP_PREDICT_ROUTE": "predict"},
        {"AIP_HEALTH_ROUTE": "x"},
    ],
)
def test_what_is_none_is_named(environ):
    with pytest.raises(UserError, match=next(iter(environ))):
        Platform.of(environ, NOWHERE)
