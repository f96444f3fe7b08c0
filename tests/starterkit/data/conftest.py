"""A repository whose data was prepared for stage test, once for all tests; each gets a copy of its own."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from example_project import problem
from starterkit.data import DatasetReader
from starterkit.data.dataset import Dataset
from starterkit.data.prepare import Prepared, Preparer
from starterkit.settings import PrivacySettings, Stage, load_settings
from starterkit.training import compare_quality


@dataclass(frozen=True)
class House:
    root: Path
    problem: Any = problem

    @property
    def file(self) -> Path:
        return self.root / "data" / "test" / f"{self.problem.name}.parquet"

    @property
    def proof(self) -> Path:
        return self.file.with_name(f"{self.problem.name}.proof.json")

    @property
    def key(self) -> Path:
        return self.root / "secrets" / "KIT_PRIVACY__KEY"

    def prepare(self, stage: str = "test", fraction: float = 1.0, now: str = "local", **said: Any) -> Prepared:
        """``source`` and ``path`` are where from and where to, all else is what the stage's YAML says of privacy."""
        source = said.pop("source", "data/diabetes.csv")
        path = self.root / said.pop("path", f"data/{stage}/{self.file.name}")
        settings = load_settings(self.root, {"KIT_STAGE": now, "KIT_DATA__SOURCE": source})
        compare = partial(compare_quality, self.problem, settings.training)
        return Preparer(self.problem, settings, Stage(stage), PrivacySettings(**said), compare).prepare(path, fraction)

    def read(self, stage: str = "test", source: str | None = None, **environ: str) -> Dataset:
        place = {"KIT_STAGE": stage, "KIT_DATA__SOURCE": source or str(self.file.relative_to(self.root))}
        settings = load_settings(self.root, place | environ)
        return DatasetReader.of(self.problem, settings).read()

    def table(self) -> pd.DataFrame:
        return pd.read_parquet(self.file)

    def rewrite(self, **changes: Any) -> None:
        said = json.loads(self.proof.read_text("utf-8"))
        self.proof.write_text(json.dumps(said | changes), "utf-8")


@pytest.fixture
def house(tmp_path: Path, copied: Callable[..., Path]) -> House:
    """Nothing is prepared here yet."""
    return House(copied(tmp_path / "a hoüse"))


@pytest.fixture(scope="session")
def _prepared_once(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path]) -> House:
    house = House(copied(tmp_path_factory.mktemp("prepared") / "once"))
    house.prepare()
    return house


@pytest.fixture
def prepared(_prepared_once: House, tmp_path: Path) -> House:
    return House(Path(shutil.copytree(_prepared_once.root, tmp_path / "prepäred")))
