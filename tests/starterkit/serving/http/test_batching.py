"""Rows of several requests go through the graph together, and nobody can tell."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.contract import Prediction
from starterkit.serving.batching import Batcher
from starterkit.serving.predictor import Answered, Predictor
from starterkit.serving.validation import InvalidRecords


class Watched(Predictor):
    """Says how many rows each call of it had; one of an area beyond 499 has no finite answer."""

    def predict(self, table: Any) -> Prediction:
        answered = super().predict(table)
        if hasattr(self, "calls"):
            self.calls.append(len(answered.values))
            answered.values[table[:, 0] > 499] = np.nan
        return answered


class Otherwise(Predictor):
    """Answers several rows otherwise than one, by less than parity allows: as a kernel that sums in another order."""

    def predict(self, table: Any) -> Prediction:
        answered = super().predict(table)
        return Prediction(np.nextafter(answered.values, np.inf)) if len(answered.values) > 1 else answered


@pytest.fixture
def watched(houses: Any) -> Any:
    predictor = Watched(houses.folder)
    predictor.calls = []
    return replace(houses.model, predictor=predictor)


def rows_of(count: int, area: float = 100.0) -> np.ndarray:
    return np.column_stack([area + np.arange(count), np.full(count, 3.0), np.full(count, 50_000.0)])


def answered_together(served: Any, tables: list[np.ndarray]) -> list[Answered | Exception]:
    async def ask() -> list[Answered | Exception]:
        batcher, got = Batcher(served), {}
        for place, table in enumerate(tables):
            batcher.add(table, lambda outcome, seconds, place=place: got.update({place: outcome}))
        await asyncio.sleep(0.01)
        return [got[place] for place in range(len(tables))]

    return asyncio.run(ask())


def test_one_call_answers_what_came_at_once_and_no_more_rows_than_it_was_proven_for(watched, houses):
    tables = [rows_of(count, 50.0 + count) for count in (1, 2, 1, 30, 30, 5)]
    got = answered_together(watched, tables)
    assert watched.predictor.calls == [64, 5]
    for table, answered in zip(tables, got, strict=True):
        alone = [houses.model.answer(table[row : row + 1]).prediction.values[0] for row in range(len(table))]
        assert answered.prediction.values.tolist() == alone


def test_rows_without_an_answer_are_their_requests_alone(watched):
    one, failed, other = answered_together(watched, [rows_of(1), rows_of(2, 499.0), rows_of(3)])
    assert isinstance(failed, InvalidRecords)
    assert [len(one.prediction.values), len(other.prediction.values)] == [1, 3]
    assert watched.predictor.calls == [6, 1, 2, 3]


def test_a_model_whose_answers_depend_on_the_rows_beside_them_is_asked_for_each_request_alone(houses):
    for predictor, most in ((Predictor(houses.folder), 64), (Otherwise(houses.folder), 0)):
        batcher = Batcher(replace(houses.model, predictor=predictor))
        assert (predictor.most_alike, batcher.takes(rows_of(1))) == (most, most > 0)
        assert not any(map(batcher.takes, (rows_of(33), {"area": np.ones(1)})))
