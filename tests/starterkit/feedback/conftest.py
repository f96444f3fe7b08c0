"""A prediction log for each test, in SQLite and in a PostgreSQL that is started for them, and a model that fills it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from pydantic import SecretStr
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from starterkit.feedback.predictions import PredictionLog
from starterkit.problem import feature, identifier, target
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.settings import Settings, load_settings


class Visits(pa.DataFrameModel):
    visit: str = identifier()
    age: int = feature(sensitivity="sensitive", ge=0, le=120)
    city: str = feature(sensitivity="plain", isin=["Graz", "Linz"], nullable=True)
    score: float = feature(sensitivity="plain", nullable=True)
    ill: str = target(isin=["no", "yes"])


@pytest.fixture(scope="session")
def visits(sample_of, tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    random = np.random.default_rng(3)
    age, city = random.integers(20, 90, 120), random.choice(["Graz", "Linz"], 120)
    rows = {"visit": [f"v{n}" for n in range(120)], "age": age, "city": city, "score": random.normal(size=120)}
    frame = pd.DataFrame({**rows, "ill": np.where(age > 55, "yes", "no")})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((encoder, ["city"]), remainder="passthrough")
    model = make_pipeline(columns, DecisionTreeClassifier(max_depth=2, random_state=0))
    sample, folder = sample_of(frame, Visits, "classification", "log_loss"), tmp_path_factory.mktemp("models")
    made = sample.export(model, folder / "visits", 200, name="visits", title="Visits")[0].folder
    return ServedModel("local.visits", "3", Predictor(made))


@pytest.fixture
def stage(tmp_path: Path, copied) -> Callable[..., Settings]:
    """The settings of a stage in a folder of its own."""
    root = copied(tmp_path / "a repository")

    def made(name: str = "local", password: str | None = None, **feedback: object) -> Settings:
        address = {"KIT_TRACKING__URI": "https://mlflow.kit", "KIT_SERVING__API_KEY": "k" * 30}
        settings = load_settings(root, {"KIT_STAGE": name, **(address if name != "local" else {})})
        given = {**feedback, "password": password and SecretStr(password)}
        return settings.model_copy(update={"feedback": settings.feedback.model_copy(update=given)})

    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request, stage) -> PredictionLog:
    address = request.getfixturevalue("postgres").database() if request.param == "postgresql" else None
    return PredictionLog(stage(database=address))
