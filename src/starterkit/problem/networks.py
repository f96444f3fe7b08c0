"""Networks that look like scikit-learn's estimators: `TorchRegressor`, `TorchClassifier` and Keras' two.

A fitted one holds its weights as plain arrays, so that it is kept without pickling, and the network's own class, by
which the lineage knows the library.
"""

import os
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data  # pyrefly: ignore[missing-module-attribute]

from starterkit.errors import ProblemError, first_line

__all__ = ["KerasClassifier", "KerasRegressor", "TorchClassifier", "TorchRegressor"]

_AT_ONCE = 8192
_LEAST_HELD_OUT = 20
Rows = tuple[NDArray[np.float32], NDArray[Any]]


class _Network(BaseEstimator):
    """
    Parameters
    ----------
    network
        A function of your module that makes the network of so many inputs and outputs: one value a row, or a logit for
        each class, with no softmax at its end. By default it has one hidden layer of 32.
    epochs, batch_size, learning_rate
        Adam's.
    patience
        After so many epochs that made the held-out loss no better it ends, with the weights of the best; 0 trains on
        all rows to the end.
    validation_fraction
        The share of the rows that is held out for that.
    device
        Where it is trained: ``cpu`` or ``cuda``. It answers on the CPU.
    random_state
        The seed of weights, batches and dropout. The same one makes the same weights, bit for bit, on one machine.
    """

    weights_: list[NDArray[Any]]
    outputs_: int
    n_features_in_: int

    def __init__(
        self,
        network: Callable[[int, int], Any] | None = None,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.003,
        patience: int = 10,
        validation_fraction: float = 0.1,
        device: str = "cpu",
        random_state: Any = 0,
    ) -> None:
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
        rows, y = validate_data(self, X, y, dtype=np.float64)
        goal, self.outputs_ = self._goal(y)
        draws = check_random_state(self.random_state)
        seed, order = int(draws.randint(2**31 - 1)), draws.permutation(len(rows))
        waits = self.patience > 0 and len(rows) >= _LEAST_HELD_OUT
        held, learnt = np.split(order, [round(len(rows) * self.validation_fraction) if waits else 0])
        single = rows.astype(np.float32)
        with self._repeatable(seed):
            self._live = self._made()
            self.epochs_ = self._learn((single[learnt], goal[learnt]), (single[held], goal[held]), draws)
        self.weights_, self.kind_ = self._weights(), type(self._live)
        _require_finite(*self.weights_)
        return self

    def _learn(self, learnt: Rows, held: Rows, draws: np.random.RandomState) -> int:
        """After how many epochs it ended."""
        step, loss = self._step_and_loss(is_class=learnt[1].ndim == 1)
        count, epoch, least, best = len(learnt[0]), 0, np.inf, (0, self._weights())
        for epoch in range(1, self.epochs + 1):
            order = draws.permutation(count)
            for at in range(0, count, self.batch_size):
                some = order[at : at + self.batch_size]
                if len(some) > 1 or count == 1:  # BatchNorm has nothing to say of one row
                    step(learnt[0][some], learnt[1][some])
            if not len(held[0]):
                continue
            _require_finite(now := loss(*held))
            if now < least:
                least, best = now, (epoch, self._weights())
            if epoch - best[0] >= self.patience:
                break
        self._load(best[1] if len(held[0]) else self._weights())
        return epoch

    def live(self) -> Any:
        """The library's own network with the fitted weights, on the CPU."""
        check_is_fitted(self, "weights_")
        if "_live" not in vars(self):
            self._live = self._made()
            self._load(self.weights_)
        return self._live

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_live"}

    def _made(self) -> Any:
        return (self.network or self._small)(self.n_features_in_, self.outputs_)

    def _raw(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """What the network says, n × outputs."""
        network = self.live()
        rows: Any = validate_data(self, X, reset=False, dtype=np.float64).astype(np.float32)
        parts = [self._ask(network, rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)]
        raw = np.concatenate(parts).astype(np.float64)
        if raw.shape != (len(rows), self.outputs_):
            what = (
                f"the network answers {' × '.join(map(str, raw.shape[1:])) or 'one value'} a row, not {self.outputs_}"
            )
            raise ProblemError(what, "End it in a linear layer with as many values as its second argument says")
        return raw

    # --- The task's part.

    @abstractmethod
    def _goal(self, y: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """What the network learns, and how many outputs it needs for that."""

    # --- The library's part.

    @staticmethod
    @abstractmethod
    def _small(inputs: int, outputs: int) -> Any: ...

    @abstractmethod
    def _repeatable(self, seed: int) -> Any: ...

    @abstractmethod
    def _step_and_loss(self, *, is_class: bool) -> tuple[Callable[..., object], Callable[..., float]]:
        """What learns from a batch of rows and their goal, and what is lost on some."""

    @abstractmethod
    def _weights(self) -> list[NDArray[Any]]: ...

    @abstractmethod
    def _load(self, weights: list[NDArray[Any]]) -> None: ...

    @abstractmethod
    def _ask(self, network: Any, rows: NDArray[np.float32]) -> NDArray[Any]: ...


class _Regression(RegressorMixin, _Network):
    """Learns a target of mean 0 and standard deviation 1, whatever its unit."""

    def _goal(self, y: NDArray[Any]) -> tuple[NDArray[Any], int]:
        y = y.astype(np.float64)
        self.mean_, self.scale_ = float(y.mean()), float(y.std()) or 1.0
        return ((y - self.mean_) / self.scale_).astype(np.float32)[:, None], 1

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        return self._raw(X).ravel() * self.scale_ + self.mean_


class _Classification(ClassifierMixin, _Network):
    def _goal(self, y: NDArray[Any]) -> tuple[NDArray[Any], int]:
        check_classification_targets(y)
        self.classes_, goal = np.unique(y, return_inverse=True)
        return goal.astype(np.int64), len(self.classes_)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        places = self._raw(X).argmax(axis=1)
        return self.classes_[places]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        raw = self._raw(X)
        risen = np.exp(raw - raw.max(axis=1, keepdims=True))
        return risen / risen.sum(axis=1, keepdims=True)


def _require_finite(*numbers: NDArray[Any] | float) -> None:
    if not all(np.isfinite(one).all() for one in numbers):
        hint = "Lower learning_rate, or put StandardScaler in front of the network"
        raise ProblemError("the network's weights became infinite while it was trained", hint)


def _library(name: str, package: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        what = f"the estimator needs {name}: there is no module '{error.name}'"
        raise ProblemError(what, f"Install {package}, as docs/networks.md says") from error


def _require_device(device: str, has_gpu: bool) -> None:
    if device not in ("cpu", "cuda"):
        raise ProblemError(f"the estimator's device is '{device}'", "Use cpu or cuda")
    if device == "cuda" and not has_gpu:
        hint = "Set training.params.device to cpu, or install the driver and the library's GPU build"
        raise ProblemError("the estimator's device is cuda, and the library finds no GPU here", hint)


# --- PyTorch.


class _Torch(_Network):
    @staticmethod
    def _small(inputs: int, outputs: int) -> Any:
        nn = _library("torch", _TORCH).nn
        return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))

    @contextmanager
    def _repeatable(self, seed: int) -> Iterator[None]:
        """One thread, for sums depend on their number, and no operator that gives other bits each time."""
        torch = _library("torch", _TORCH)
        _require_device(self.device, torch.cuda.is_available())
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is refused below
        threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                yield
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            what = f"the network cannot be trained alike twice: {first_line(error)}"
            raise ProblemError(what, "Use another layer, or device: cpu") from error
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)

    def _step_and_loss(self, *, is_class: bool) -> tuple[Callable[..., object], Callable[..., float]]:
        torch = _library("torch", _TORCH)
        network = self._live.to(self.device)
        function = torch.nn.functional.cross_entropy if is_class else torch.nn.functional.mse_loss
        adam = torch.optim.Adam(network.parameters(), lr=self.learning_rate)

        def lost(rows: NDArray[np.float32], goal: NDArray[Any]) -> Any:
            given, wanted = (torch.from_numpy(one).to(self.device) for one in (rows, goal))
            return function(network(given), wanted)

        def step(*batch: NDArray[Any]) -> None:
            network.train()
            adam.zero_grad()
            lost(*batch).backward()
            adam.step()

        def loss(*held: NDArray[Any]) -> float:
            network.eval()
            with torch.no_grad():
                return float(lost(*held))

        return step, loss

    def _weights(self) -> list[NDArray[Any]]:
        return [value.cpu().numpy().copy() for value in self._live.state_dict().values()]

    def _load(self, weights: list[NDArray[Any]]) -> None:
        torch = _library("torch", _TORCH)
        names = self._live.state_dict()
        self._live.load_state_dict({name: torch.tensor(one) for name, one in zip(names, weights, strict=True)})
        self._live.to("cpu").eval()

    def _ask(self, network: Any, rows: NDArray[np.float32]) -> NDArray[Any]:
        torch = _library("torch", _TORCH)
        with torch.no_grad():
            return network(torch.from_numpy(rows)).numpy()


_TORCH = "torch and onnxscript"


class TorchRegressor(_Regression, _Torch):
    __doc__ = f"A PyTorch module that learns numbers.\n{_Network.__doc__}"


class TorchClassifier(_Classification, _Torch):
    __doc__ = f"A PyTorch module that learns classes, whole numbers or texts.\n{_Network.__doc__}"


# --- Keras on TensorFlow.

_KERAS = "keras, tensorflow-cpu and tf2onnx"


class _Keras(_Network):
    @staticmethod
    def _small(inputs: int, outputs: int) -> Any:
        keras = _library("keras", _KERAS)
        hidden = keras.layers.Dense(32, activation="relu")
        return keras.Sequential([keras.Input((inputs,)), hidden, keras.layers.Dense(outputs)])

    @contextmanager
    def _repeatable(self, seed: int) -> Iterator[None]:
        keras, tensorflow = _library("keras", _KERAS), _library("tensorflow", _KERAS)
        if keras.backend.backend() != "tensorflow":
            what = f"Keras runs on {keras.backend.backend()} here, and is exported from TensorFlow"
            raise ProblemError(what, "Set KERAS_BACKEND to tensorflow")
        _require_device(self.device, bool(tensorflow.config.list_physical_devices("GPU")))
        others = random.getstate(), np.random.get_state()  # Keras seeds these two as well
        keras.utils.set_random_seed(seed)
        tensorflow.config.experimental.enable_op_determinism()
        try:
            with tensorflow.device("/CPU:0" if self.device == "cpu" else "/GPU:0"):
                yield
        except tensorflow.errors.UnimplementedError as error:
            what = f"the network cannot be trained alike twice: {first_line(error)}"
            raise ProblemError(what, "Use another layer, or device: cpu") from error
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])

    def _made(self) -> Any:
        network = super()._made()
        if not network.built:
            network.build((None, self.n_features_in_))
        return network

    def _step_and_loss(self, *, is_class: bool) -> tuple[Callable[..., object], Callable[..., float]]:
        keras, network = _library("keras", _KERAS), self._live
        losses = keras.losses
        function = losses.SparseCategoricalCrossentropy(from_logits=True) if is_class else losses.MeanSquaredError()
        network.compile(optimizer=keras.optimizers.Adam(self.learning_rate), loss=function)
        return network.train_on_batch, lambda rows, goal: float(function(goal, network(rows, training=False)))

    def _weights(self) -> list[NDArray[Any]]:
        return [np.array(one) for one in self._live.get_weights()]

    def _load(self, weights: list[NDArray[Any]]) -> None:
        self._live.set_weights(weights)

    def _ask(self, network: Any, rows: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(network(rows, training=False))


class KerasRegressor(_Regression, _Keras):
    __doc__ = f"A Keras model that learns numbers.\n{_Network.__doc__}"


class KerasClassifier(_Classification, _Keras):
    __doc__ = f"A Keras model that learns classes, whole numbers or texts.\n{_Network.__doc__}"
