"""What Azure ML's own inference server runs where the serving image is not wanted: the same answers and refusals."""

import os

from azureml_inference_server_http.api.aml_response import AMLResponse

from starterkit.serving.http.invocations import Invocations
from starterkit.serving.platforms import Platform
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.settings import ServingSettings

JSON = {"Content-Type": "application/json"}


def init():
    global api
    predictor = Predictor(Platform.of(os.environ).folder)
    api = Invocations(ServedModel("model", "1", predictor), ServingSettings())


def run(body):
    try:
        answer = api.respond(bytearray(body, "utf-8"), {b"content-type": b"application/json"})
        return AMLResponse(answer.content, 200, JSON)
    except Exception as error:  # which the server would make a 500 without a reason
        told = api.refuse(error) or api.fail()
        return AMLResponse(told.body, told.status_code, JSON)
