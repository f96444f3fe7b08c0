"""A prediction log for each test, in SQLite and in a PostgreSQL that is started for them, and a model that fills it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
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
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]), remainder="passthrough"
        ),
        DecisionTreeClassifier(max_depth=2, random_state=0),
    )
    sample, folder = sample_of(frame, Visits, "classification", "log_loss"), tmp_path_factory.mktemp("models")
    made = sample.export(model, folder / "visits", 200, name="visits", title="Visits")[0].folder
    return ServedModel("local.visits", "3", Predictor(made))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Addresses of new databases. Skipped where PostgreSQL is not installed."""
    if not shutil.which("initdb") or not shutil.which("postgres"):
        pytest.skip("not run: PostgreSQL is not installed")
    folder = Path("/tmp") / f"kit-pg-{os.getpid()}"  # a socket's path is short
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(mode=0o755)
    user = {}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    subprocess.run(["initdb", "-D", folder / "data", "-U", "kit", "--no-sync", "-A", "trust"], check=True, **quiet)
    start = ["postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
    server = subprocess.Popen(start, **quiet)
    admin, made = f"postgresql://kit@127.0.0.1:{port}/", iter(range(1000))
    try:
        for _ in range(100):
            ready = subprocess.run(["pg_isready", "-h", "127.0.0.1", "-p", str(port)], check=False, **quiet)
            if ready.returncode == 0:
                break
            time.sleep(0.1)

        def new() -> str:
            import psycopg

            name = f"log{next(made)}"
            with psycopg.connect(f"{admin}postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return admin + name

        yield new
    finally:
        server.send_signal(signal.SIGINT)  # those that are connected are not waited for
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stage(tmp_path: Path, copied) -> Callable[..., Settings]:
    """The settings of a stage in a folder of its own."""
    root = copied(tmp_path / "a repository")

    def made(name: str = "local", password: str | None = None, **feedback: object) -> Settings:
        address = (
            {"KIT_TRACKING__URI": "https://mlflow.kit", "KIT_SERVING__API_KEY": "k" * 30} if name != "local" else {}
        )
        settings = load_settings(root, {"KIT_STAGE": name, **address})
        given = {**feedback, "password": password and SecretStr(password)}
        return settings.model_copy(update={"feedback": settings.feedback.model_copy(update=given)})

    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request, stage) -> PredictionLog:
    address = request.getfixturevalue("postgres")() if request.param == "postgresql" else None
    return PredictionLog(stage(database=address))
