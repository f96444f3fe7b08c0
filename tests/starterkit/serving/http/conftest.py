"""Two small models, trained, exported and served for real: a regression on numbers, a classification with a text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from fastapi import FastAPI
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from starlette.testclient import TestClient

from starterkit.contract import Contract, Prediction, Scalar
from starterkit.problem import feature, identifier, target
from starterkit.serving.graph import Columns
from starterkit.serving.http import create_app
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.settings import ServingSettings


class Houses(pa.DataFrameModel):
    house: str = identifier()
    area: float = feature(sensitivity="plain", unit="m²", ge=10, le=500, description="living area")
    rooms: int = feature(sensitivity="plain", ge=1, le=20)
    income: float = feature(sensitivity="sensitive", unit="€", nullable=True)  # without bounds
    price: float = target(unit="k€")


class Days(pa.DataFrameModel):
    day: str = identifier()
    city: str = feature(sensitivity="plain", isin=["Graz", "Linz", "Zürich"], nullable=True)
    pressure: float = feature(sensitivity="plain", unit="hPa", ge=900, le=1100)
    windy: bool = feature(sensitivity="plain")
    weather: str = target(isin=["dry", "rain", "snow"])


def _houses() -> pd.DataFrame:
    random = np.random.default_rng(1)
    area, rooms = random.uniform(20, 300, 80), random.integers(1, 9, 80)
    income = pd.Series(random.normal(50_000, 9_000, 80)).where(random.random(80) > 0.1)
    rows = {"house": [f"h{n}" for n in range(80)], "area": area, "rooms": rooms, "income": income}
    return pd.DataFrame({**rows, "price": area * 3 + rooms * 10 + random.normal(0, 5, 80)})


def _days() -> pd.DataFrame:
    random = np.random.default_rng(2)
    city = pd.Series(random.choice(["Graz", "Linz", "Zürich"], 120)).where(random.random(120) > 0.1)
    pressure, windy = random.uniform(950, 1050, 120), random.random(120) > 0.5
    weather = np.where(pressure > 1000, "dry", np.where(city == "Linz", "snow", "rain"))
    rows = {"day": [f"d{n}" for n in range(120)], "city": city, "pressure": pressure, "windy": windy}
    return pd.DataFrame({**rows, "weather": weather})


@dataclass(frozen=True)
class Exported:
    model: ServedModel
    folder: Path

    @property
    def contract(self) -> Contract:
        return self.model.contract

    @property
    def example(self) -> dict[str, Scalar]:
        return dict(self.contract.example)

    def app(self, **settings: object) -> FastAPI:
        return create_app(self.model, ServingSettings.model_validate(settings))


@pytest.fixture(scope="session")
def houses(sample_of: Any) -> Exported:
    """A regression: every column a number, one of them whole, one nullable and without bounds."""
    estimator = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5, random_state=0)
    sample = sample_of(_houses(), Houses, "regression", "rmse")
    folder = sample.export(estimator, sample.root / "model", 200, name="houses", title="House prices")[0].folder
    return Exported(ServedModel("local.houses", "3", Predictor(folder)), folder)


@pytest.fixture(scope="session")
def days(sample_of: Any) -> Exported:
    """A classification: a nullable text, a number and a boolean."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((encoder, ["city"]), remainder="passthrough")
    estimator = make_pipeline(columns, DecisionTreeClassifier(max_depth=4))
    sample = sample_of(_days(), Days, "classification", "log_loss")
    folder = sample.export(estimator, sample.root / "model", 200, name="days", title="Weather")[0].folder
    return Exported(ServedModel("local.days", "1", Predictor(folder)), folder)


@pytest.fixture(scope="session")
def houses_client(houses: Exported) -> Iterator[TestClient]:
    """An app in this process with narrow limits: 3 rows and 2,000 bytes."""
    with TestClient(houses.app(max_rows=3, max_body_bytes=2000)) as client:
        yield client


@pytest.fixture(scope="session")
def days_client(days: Exported) -> Iterator[TestClient]:
    with TestClient(days.app()) as client:
        yield client


@dataclass(frozen=True)
class FaultyPredictor:
    """Fails as no real graph can be made to."""

    contract: Contract
    failure: Exception | None = None
    values: tuple[float, ...] = ()
    beyond: str = "refuse"
    outputs: tuple[str, ...] = ("price",)
    most_alike: int = 0

    def predict(self, columns: Columns) -> Prediction:
        if self.failure:
            raise self.failure
        return Prediction(np.array(self.values))


@pytest.fixture
def faulty(houses: Exported) -> Callable[..., FastAPI]:
    def make(**how: Any) -> FastAPI:
        predictor: Any = FaultyPredictor(houses.contract, **how)
        return create_app(ServedModel("local.houses", "3", predictor), ServingSettings.model_validate({}))

    return make
