"""What Azure ML's own inference server runs where the serving image is not wanted: the same answers and refusals."""

import os

from azureml_inference_server_http.api.aml_response import AMLResponse

from starterkit.serving.http import Platform
from starterkit.serving.http.invocations import Invocations
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.settings import ServingSettings

HEADERS = {b"content-type": b"application/json"}


def init():
    global served, protocol
    served = ServedModel("model", "1", Predictor(Platform.of(os.environ).folder))
    protocol = Invocations(served, ServingSettings())


def run(body):
    try:
        asked = protocol.read(bytearray(body, "utf-8"), HEADERS)
        told = protocol.tell(asked, served.answer(asked.table)).content, 200
    except Exception as error:  # the server would make a 500 of it
        if (refused := protocol.refuse(error)) is None:
            raise
        told = refused.body, refused.status_code
    return AMLResponse(*told, {"Content-Type": "application/json"})
