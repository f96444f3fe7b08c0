"""A version that staging's gate passed, its bundle, and bundles that somebody has changed."""

import hashlib
import json
import shutil
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from numpy.typing import NDArray

from example_project import problem
from starterkit.pipeline import Pipeline
from starterkit.release.bundle import SigningKey, write_bundle
from starterkit.settings import Settings, Stage, TrackingSettings, load_settings
from starterkit.tracking.connection import connect
from starterkit.tracking.registry import ModelRegistry, Version

KEY = SigningKey(b64encode(bytes(range(32))).decode())
OTHER_KEY = SigningKey(b64encode(bytes(32)).decode())
EVIDENCE = b'{"passed": true}\n'


@pytest.fixture
def key() -> SigningKey:
    return KEY


@pytest.fixture
def other_key() -> SigningKey:
    return OTHER_KEY


@pytest.fixture(scope="session")
def staged(tmp_path_factory: Any, empty_store: Path, copied: Callable[..., Path], hurry: Any) -> Settings:
    """A repository of stage staging in which version 1 is champion. Read only: copy it to change it.

    The stage takes no local store by itself, and all but the server is the same here.
    """
    root = copied(tmp_path_factory.mktemp("staged") / "staging", empty_store)
    settings = load_settings(root, {}).model_copy(update={"stage": Stage.STAGING})
    pipeline = Pipeline(problem, settings)
    dataset, registry = pipeline.read(), pipeline.registry
    with hurry():
        version = pipeline.register(pipeline.export(pipeline.train(dataset), dataset).run)
    registry.set_champion(version)
    place = "gate/staging.diabetes-1/0123"
    registry.connection.client.log_text(version.run, EVIDENCE.decode(), f"{place}/evidence.json")
    registry.connection.client.log_text(version.run, "{}", "gate/staging.diabetes-1/asked again/evidence.json")
    registry.tag(version, {"gate": "passed", "evidence": hashlib.sha256(EVIDENCE).hexdigest(), "evidence_place": place})
    return settings


@pytest.fixture
def staging(staged: Settings) -> ModelRegistry:
    """Connected for each test: MLflow goes to the store that was named last."""
    return ModelRegistry.of(staged, problem.name)


@pytest.fixture(scope="session")
def bundle(staged: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Staging's champion, signed with `key`. Read only."""
    registry = ModelRegistry.of(staged, problem.name)
    return write_bundle(registry, registry.version(1), KEY, tmp_path_factory.mktemp("bundle") / "staging.zip").file


@pytest.fixture
def answers(staging: ModelRegistry) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """Some inputs, and what staging's version answers."""
    predictor = staging.open(staging.version(1))
    columns = {column.name: np.linspace(*(column.proven or (1, 2)), 40) for column in predictor.contract.columns}
    return columns, predictor.predict(columns).values


@pytest.fixture
def staging_copy(staged: Settings, tmp_path: Path) -> tuple[ModelRegistry, Version]:
    """A copy of the repository to change."""
    root = Path(shutil.copytree(staged.root, tmp_path / "staging"))
    registry = ModelRegistry.of(staged.model_copy(update={"root": root}), problem.name)
    return registry, registry.version(1)


@pytest.fixture
def prod_root(empty_store: Path, tmp_path: Path) -> Path:
    """The folder of another store, with nothing in it."""
    root = tmp_path / "prød"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return root


@pytest.fixture
def prod(prod_root: Path) -> ModelRegistry:
    """Prod's registry there."""
    connection = connect(TrackingSettings(uri="sqlite:///mlflow.db"), prod_root)
    return ModelRegistry(connection, Stage.PROD, problem.name)


Files = dict[str, bytes]


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """The bundle with its files changed by a function, and signed again where a key is given."""

    def change(by: Callable[[Files], Any], sign: SigningKey | None = None, compression: int = ZIP_STORED) -> Path:
        with ZipFile(bundle) as source:
            files = {name: source.read(name) for name in source.namelist()}
        before = dict(files)
        by(files)
        if sign:
            manifest = json.loads(files["manifest.json"])
            if files["manifest.json"] == before["manifest.json"]:
                manifest["files"] = {
                    name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                    for name, content in files.items()
                    if name not in ("manifest.json", "manifest.sig")
                }
            files["manifest.json"] = json.dumps(manifest).encode()
            files["manifest.sig"] = sign.sign(files["manifest.json"])
        made = tmp_path / "changed.zip"
        with ZipFile(made, "w", compression) as target:
            for name, content in files.items():
                target.writestr(name, content)
        return made

    return change
