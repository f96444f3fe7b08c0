"""Networks of PyTorch and Keras: the library's own exporter writes them, in float32, and the kit puts them in place."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import TensorProto, compose, inliner, version_converter

from starterkit.errors import first_line
from starterkit.training.export.families.nodes import OPSET, Answer, CannotExport, Family, Nodes

_WRAPPERS = "starterkit.problem.networks"


class ExportedByLibrary(Family):
    """`TorchRegressor`, `KerasRegressor` and their classifiers."""

    def takes(self, kind: type) -> bool:
        return kind.__module__ == _WRAPPERS

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        write = _torch if type(estimator).__name__.startswith("Torch") else _keras
        model = _plain(estimator, write)
        value = nodes.double(_placed(model, nodes))
        nodes.canvas.single = True
        if hasattr(estimator, "classes_"):
            return Answer(place=nodes.largest(value), probabilities=nodes.add("Softmax", value, axis=1))
        scaled = nodes.add("Mul", value, nodes.number(estimator.scale_))
        return Answer(values=nodes.add("Add", scaled, nodes.number(estimator.mean_)))


def _plain(estimator: Any, write: Callable[[Any, int], onnx.ModelProto]) -> onnx.ModelProto:
    """The network as the library writes it, checked: any number of rows, one input, one output, the kit's opset."""
    try:
        model = write(estimator.live(), estimator.n_features_in_)
    except ImportError as error:
        raise CannotExport(f"its library's exporter needs the package '{error.name}'; install it") from error
    except Exception as error:  # an exporter may fail in any way
        raise CannotExport(f"its library cannot export it ({first_line(error)}); use other layers") from error
    model = inliner.inline_local_functions(model)
    if next(one.version for one in model.opset_import if not one.domain) != OPSET[""]:
        model = version_converter.convert_version(model, OPSET[""])
    if foreign := {node.domain for node in model.graph.node} - {"", "ai.onnx"}:
        raise CannotExport(f"its layers need operators of {', '.join(sorted(foreign))}; use other layers")
    given, made = model.graph.input, model.graph.output
    if len(given) != 1 or len(made) != 1:
        raise CannotExport("it has several inputs or outputs; let it take one matrix and give one")
    for name, one in (("takes", given[0]), ("gives", made[0])):
        if one.type.tensor_type.shape.dim and one.type.tensor_type.shape.dim[0].HasField("dim_value"):
            rows = one.type.tensor_type.shape.dim[0].dim_value
            raise CannotExport(f"it {name} {rows} rows at a time and no other number; leave its first axis open")
    return model


def _placed(model: onnx.ModelProto, nodes: Nodes) -> str:
    """Add the network's nodes and weights, under names that nothing else has; the name of its output comes back."""
    named = compose.add_prefix(model, f"{nodes.canvas.name('network')}.").graph
    nodes.add("Cast", nodes.matrix(), to=TensorProto.FLOAT, gives=named.input[0].name)
    nodes.canvas.constants.extend(named.initializer)
    nodes.canvas.nodes.extend(named.node)
    return named.output[0].name


def _torch(network: Any, inputs: int) -> onnx.ModelProto:
    torch: Any = import_module("torch")
    rows = {0: torch.export.Dim("rows", min=1)}
    with _quiet("torch.onnx", "onnxscript"):
        program = torch.onnx.export(
            network,
            (torch.zeros(4, inputs),),
            dynamo=True,
            dynamic_shapes=(rows,),
            opset_version=OPSET[""],
            verbose=False,
        )
    return program.model_proto


def _keras(network: Any, _: int) -> onnx.ModelProto:
    import_module("tf2onnx")  # Keras would say less of its absence
    with TemporaryDirectory() as folder, _quiet("tf2onnx", "tensorflow"):
        file = Path(folder, "network.onnx")
        network.export(str(file), format="onnx", opset_version=OPSET[""], verbose=False)
        return onnx.load(file)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Exporters tell of opsets and passes that are nothing to who trains."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
