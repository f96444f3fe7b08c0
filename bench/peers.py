"""What somebody would serve the same graph with instead: each in an environment of its own, pinned by version.

Each service is the shortest that its documentation leads to, and gives the same numbers for the same columns. None of
them checks ranges, units or categories; the kit's checks stay on.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SESSION = """
import json
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
none = onnxruntime.OrtValue.ortvalue_from_numpy(np.array([0]))
options.add_initializer("kit.guard.rows", none)
session = onnxruntime.InferenceSession({model!r}, options)
columns = [column["name"] for column in json.load(open({contract!r}))["columns"]]
name = session.get_inputs()[0].name
def scored(records):
    rows = np.array([[record[name] for name in columns] for record in records], np.float64)
    return {{"predictions": session.run(None, {{name: rows}})[0].ravel().tolist()}}
"""

_BENTO = """
import bentoml
@bentoml.service(workers=1)
class Scores:
    @bentoml.api
    def predict(self, records: list[dict[str, float]]) -> dict[str, list[float]]:
        return scored(records)
"""

_LIT = """
import sys
import litserve
class Scores(litserve.LitAPI):
    def setup(self, device): ...
    def decode_request(self, request): return request["records"]
    def predict(self, records): return scored(records)
    def encode_response(self, answered): return answered
if __name__ == "__main__":
    server = litserve.LitServer(Scores(api_path="/predict"), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="error",
               generate_client_file=False, access_log=False)
"""

_ML = """
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec
class Scores(MLModel):
    async def load(self): return True
    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        answered = session.run(None, {name: rows})[0].ravel()
        output = NumpyCodec.encode_output("predictions", answered)
        return types.InferenceResponse(model_name=self.name, outputs=[output])
"""


@dataclass(frozen=True)
class Peer:
    """A server: what is installed for it, its service, how it is started, where and in which words it is asked."""

    name: str
    packages: Sequence[str]
    service: str
    command: Sequence[str]
    path: str
    form: str
    ready: str

    def prepare(self, made: Path, model: Path) -> Path:
        """Install it and write its service below `made`; its Python.

        Raises
        ------
        CalledProcessError
            Its packages cannot be had.
        """
        home = made / self.name.lower()
        python = home / "env" / "bin" / "python"
        if not (home / "ready").exists():
            venv.create(home / "env", with_pip=True)
            command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *self.packages]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            (home / "ready").touch()
        session = _SESSION.format(model=str(model / "model.onnx"), contract=str(model / "contract.json"))
        (home / "service.py").write_text(session + self.service)
        settings = {"name": "scores", "implementation": "service.Scores"}
        (home / "model-settings.json").write_text(json.dumps(settings))
        return python


_RUNTIME = ("onnxruntime==1.32.0", "numpy==2.4.6")

PEERS = [
    Peer(
        "BentoML",
        ("bentoml==1.4.40", *_RUNTIME),
        _BENTO,
        ("-m", "bentoml", "serve", "service:Scores", "--port", "{port}"),
        "/predict",
        "records",
        "/readyz",
    ),
    Peer(
        "LitServe",
        ("litserve==0.2.19", *_RUNTIME),
        _LIT,
        ("service.py", "{port}"),
        "/predict",
        "records",
        "/health",
    ),
    Peer(
        "MLServer",
        ("mlserver==1.7.1", *_RUNTIME),
        _ML,
        ("-c", "from mlserver.cli import main; main()", "start", "."),
        "/v2/models/scores/infer",
        "tensors",
        "/v2/health/ready",
    ),
]
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "MLSERVER_HTTP_PORT": "{port}",
    "MLSERVER_GRPC_PORT": "0",
    "MLSERVER_METRICS_PORT": "0",
    "MLSERVER_HOST": "127.0.0.1",
    "MLSERVER_PARALLEL_WORKERS": "0",
    "MLSERVER_DEBUG": "false",
}
"""What they are told: to send nothing, where to listen, and to answer from one process."""

ESTIMATOR = """
import sys
import mlflow.sklearn
from pathlib import Path
sys.path.insert(0, "src")
from example_project.problem import estimator
import pandas as pd
rows = pd.read_csv("data/diabetes.csv").set_index("patient_id")
inputs, target = rows.drop(columns="progression").astype(float), rows["progression"]
trusted = ["sklearn.tree._tree.Tree"]
fitted = estimator().fit(inputs, target)
mlflow.sklearn.save_model(fitted, {folder!r}, input_example=inputs.head(2), skops_trusted_types=trusted)
"""


def estimator_folder(root: Path, made: Path) -> Path:
    """The scikit-learn estimator of the example, as MLflow keeps one; made by a process of its own."""
    folder = made / "estimator"
    if not (folder / "MLmodel").exists():
        subprocess.run([sys.executable, "-c", ESTIMATOR.format(folder=str(folder))], cwd=root, check=True)
    return folder
