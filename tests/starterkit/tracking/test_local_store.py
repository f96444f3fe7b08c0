"""A local store is looked at before MLflow is let in, made whole or not at all, and follows a moved repository."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest

from starterkit.errors import TrackingError
from starterkit.machine import holder_of
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE
from starterkit.settings import Settings, load_settings
from starterkit.tracking.connection import connect, local_store
from starterkit.tracking.registry import ModelRegistry, champion_at_hand
from starterkit.tracking.store import Aliased, LocalStore


@pytest.fixture
def store(repository: Path) -> LocalStore:
    return local_store(load_settings(repository, {}).tracking, repository)


def another_program(_: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as other:
        other.execute("CREATE TABLE plants (name)")
        return other.serialize()


def spoilt_in_the_middle(whole: bytes) -> bytes:
    middle = len(whole) // 4096 // 2 * 4096
    return whole[:middle] + os.urandom(4096 * 40) + whole[middle + 4096 * 40 :]


@pytest.mark.parametrize(
    ("spoil", "said", "thorough"),
    [
        (lambda whole: b"no database" * 99, "mlflow.db is not a database", False),
        (lambda whole: whole[:7], "mlflow.db is not a database", False),
        (lambda whole: whole[: len(whole) // 2], "mlflow.db is damaged", False),
        (lambda whole: whole[:-4096], "mlflow.db is damaged", False),
        (lambda whole: whole[:100] + b"\xff" * 4000 + whole[4100:], "mlflow.db is damaged", False),
        (spoilt_in_the_middle, "mlflow.db is damaged", True),
        (another_program, "not a whole one of MLflow's", False),
    ],
)
def test_damaged_database_is_named_and_left_alone(store, spoil, said, thorough):
    store.database.write_bytes(spoil(store.database.read_bytes()))
    spoiled = store.database.read_bytes()
    with pytest.raises(TrackingError, match=said) as raised:
        store.require_sound(1, thorough=thorough)
    assert "\n" not in str(raised.value)
    assert "empty store" in raised.value.hint
    assert store.database.read_bytes() == spoiled


def test_locked_database_is_named_with_its_holder(store):
    hold = "import sqlite3, sys; s = sqlite3.connect(sys.argv[1], isolation_level=None);"
    hold += "s.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", hold, str(store.database)], **pipes) as holder:
        holder.stdout.readline()
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"mlflow\.db is locked by .* for more than 0.2 s") as raised:
            store.require_sound(0.2)
        assert time.monotonic() - began < 3
        if Path("/proc/locks").exists():
            assert f"process {holder.pid} (" in raised.value.what
        holder.communicate()
    store.require_sound(0.2)
    assert holder_of(store.database) == ""


def test_looking_changes_nothing_and_a_full_disk_is_named(store, repository, monkeypatch):
    def files() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in repository.iterdir()}

    before = files()
    store.require_sound(1, thorough=True)
    assert files() == before
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 3_000_000))
    with pytest.raises(TrackingError, match=r"is full: 3\.0 MB are free, a run needs 20.*Free space"):
        store.require_sound(1)


@pytest.mark.slow
def test_store_that_is_not_whole_is_not_there(fresh_repository, monkeypatch):
    """As with a disk that fills up, or Ctrl-C."""
    store = LocalStore(fresh_repository / "mlflow.db", fresh_repository / "mlartifacts")

    def half(source: Path, destination: Path) -> None:
        destination.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(destination))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", half)
        with pytest.raises(TrackingError, match=r"No space left on device.*Free space"):
            connect(load_settings(fresh_repository, {}).tracking, fresh_repository)
    assert list(fresh_repository.glob("mlflow*")) == []
    store.database.touch()  # an empty file is no store either
    connect(load_settings(fresh_repository, {}).tracking, fresh_repository)
    assert store.exists
    assert [file.name for file in fresh_repository.glob("mlflow*")] == ["mlflow.db"]


def champion_opens(root: Path) -> bool:
    registry = ModelRegistry.of(load_settings(root, {}), "diabetes")
    champion = registry.champion()
    return champion is not None and bool(registry.open(champion).contract.names)


def addresses(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        asked = "SELECT storage_location FROM model_versions UNION SELECT artifact_uri FROM runs UNION "
        asked += "SELECT artifact_location FROM logged_models UNION SELECT artifact_location FROM experiments "
        asked += "WHERE name LIKE 'local%'"
        return [address for (address,) in database.execute(asked)]


@pytest.fixture
def copy(after_a_run: Settings) -> Path:
    return after_a_run.root


@pytest.fixture
def moved(copy: Path, tmp_path: Path) -> Path:
    """A repository that ran under another name, which is gone."""
    earlier = copy.rename(tmp_path / "earlier näme")
    connect(load_settings(earlier, {}).tracking, earlier)
    return earlier.rename(tmp_path / "later 100% näme")


@pytest.mark.parametrize("alone", [False, True], ids=["with its artifacts", "alone"])
def test_copied_store_has_models_of_its_own_or_those_it_had_in_a_folder_of_any_name(first_run, tmp_path, alone):
    names = ["My%20Project", "what?now", "100%25 #a?b=c&d ü", "%2e%2e"]
    left_out = shutil.ignore_patterns("mlartifacts") if alone else None
    copy = Path(shutil.copytree(first_run[0], tmp_path.joinpath("parts", *names), ignore=left_out))
    artifacts = copy / "mlartifacts"
    artifacts.mkdir(exist_ok=True)
    assert champion_opens(copy)
    assert {address.startswith(artifacts.as_uri()) for address in addresses(copy)} == {not alone}
    assert not any("Project" in address for address in addresses(first_run[0]))
    fresh = LocalStore(copy / "other" / "new.db", artifacts)
    fresh.make()
    assert fresh.exists
    for place, name in zip(reversed(copy.parents[:4]), names, strict=True):
        assert os.listdir(place) == [name]  # noqa: PTH208  # and nothing beside it


def at_hand(root: Path) -> Aliased | None:
    store = local_store(load_settings(root, {}).tracking, root)
    return champion_at_hand(store, "local.diabetes")


def test_champion_at_hand_is_the_one_that_mlflow_finds(copy, tmp_path):
    assert at_hand(copy) is None  # its addresses are those of the first folder until MLflow is asked
    registry = ModelRegistry.of(load_settings(copy, {}), "diabetes")
    for _ in range(2):
        champion, found = registry.champion(), at_hand(copy)
        assert found.number == champion.number
        ours = registry.fetch(champion, Path(mkdtemp(dir=tmp_path)))
        for name in (CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE):  # MLflow leaves notes of its own beside them
            assert (ours / name).read_bytes() == (found.folder / name).read_bytes()
        source = registry.connection.client.get_model_version(champion.model, str(champion.number)).source
        registry.set_champion(registry.register(champion.run, source.removeprefix("models:/"), {}, "the same again"))


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM registered_model_aliases",
        "UPDATE registered_model_aliases SET version = 7",
        "UPDATE model_versions SET storage_location = 's3://bucket/model'",
        "UPDATE model_versions SET current_stage = 'Deleted_Internal'",
        "ALTER TABLE model_versions RENAME COLUMN storage_location TO somewhere",
        "",  # the files are not whole
    ],
)
def test_what_is_not_plainly_at_hand_is_left_to_mlflow(copy, change):
    connect(load_settings(copy, {}).tracking, copy)
    files = at_hand(copy).folder
    if change:
        with closing(sqlite3.connect(copy / "mlflow.db")) as database, database:
            database.execute(change)
    else:
        (files / "contract.json").unlink()
    assert at_hand(copy) is None


def test_moved_repository_keeps_its_models(moved):
    assert champion_opens(moved)
    ours = (moved / "mlartifacts").as_uri()
    assert all(address.startswith(ours) for address in addresses(moved))


def test_artifacts_that_are_nowhere_are_named_with_both_places(moved):
    shutil.rmtree(moved / "mlartifacts")
    with pytest.raises(TrackingError) as raised:
        connect(load_settings(moved, {}).tracking, moved)
    for place in (moved, moved.with_name("earlier näme")):
        assert str(place / "mlartifacts") in raised.value.what
    assert "Bring the folder mlartifacts back" in raised.value.hint
