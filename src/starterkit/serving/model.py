"""What is served, and the one place that says which model that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starterkit.contract import Contract, Prediction
from starterkit.errors import KitError
from starterkit.inference import InvalidRecords, Predictor, faults_of_answers, read_records
from starterkit.serving.requests import InvalidRequest


class ModelFailed(KitError):
    """The model did not answer rows that its contract allows."""


@dataclass(frozen=True)
class ServedModel:
    """A model with the name and version under which clients know it."""

    name: str
    version: str
    predictor: Predictor

    @property
    def contract(self) -> Contract:
        return self.predictor.contract

    def answer(self, records: Sequence[object]) -> Prediction:
        """Answers for n records.

        Raises
        ------
        InvalidRecords
            A record is not what the contract says, or the model has no finite answer for it.
        ModelFailed
            The graph stopped with an error.
        """
        columns = read_records(self.contract, records)
        try:
            prediction = self.predictor.predict(columns)
        except Exception as error:  # its message may repeat a value, which must not reach the log
            what = f"the graph of {self.name} version {self.version} failed: {type(error).__name__}"
            raise ModelFailed(what) from None
        if faults := faults_of_answers(prediction):
            raise InvalidRecords(faults)
        return prediction


class CurrentModel:
    """The model that answers now, or none yet."""

    def __init__(self) -> None:
        self.served: ServedModel | None = None

    def get(self) -> ServedModel:
        if self.served is None:
            raise InvalidRequest(HTTPStatus.SERVICE_UNAVAILABLE, "no model is loaded", "Try again later")
        return self.served
