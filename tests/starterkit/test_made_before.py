"""What an earlier kit wrote, read by the kit of now: settings, a store, an exported folder, evidence, a bundle.

tests/fixtures/made-by-f86ec0b/README.md says what is there and how it was made. The commands are given as a person
gives them, and hardly anything else of the kit is used here: that its rooms are cut anew may not show.
"""

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("hurried")
REPOSITORY = Path(__file__).parents[2]
MADE = REPOSITORY / "tests" / "fixtures" / "made-by-f86ec0b"
COMMIT = "f86ec0ba267ee189b5d1dc4453bd08e272058b90"
FEW = {"KIT_EXPORT__PARITY_ROWS": "500", "KIT_TRAINING__PARAMS": '{"n_estimators": 25, "learning_rate": 0.15}'}


@dataclass(frozen=True)
class Old:
    """A folder with what an earlier kit wrote."""

    root: Path
    run: Any

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def kit(self, *words: str, code: int = 0, **environ: str) -> Any:
        return self.run(self.root, *words, code=code, **FEW | environ)

    def said(self, *words: str, **environ: str) -> Any:
        return json.loads(self.kit(*words, "--json", **environ).stdout)

    def read(self, name: str) -> Any:
        return json.loads((self / name).read_text("utf-8"))


@pytest.fixture
def unpacked(tmp_path: Path, run: Any) -> Callable[..., Old]:
    """In a folder other than the one that it was made in, with the data, which did not change, and today's lock."""

    def make(*archives: str) -> Old:
        folder = tmp_path / "my prøject ü"
        folder.mkdir()
        for name in archives:
            with tarfile.open(MADE / f"{name}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
        shutil.copytree(REPOSITORY / "data", folder / "data")
        shutil.copy(REPOSITORY / "requirements.txt", folder)
        return Old(folder, run)

    return make


@pytest.fixture
def old(unpacked: Callable[..., Old]) -> Old:
    return unpacked("repository")


@pytest.fixture
def bundled(unpacked: Callable[..., Old]) -> Old:
    """Prod's side: the settings of then, with the key in them, and the bundle."""
    old = unpacked("repository", "bundle")
    prod = old / "config" / "prod.yaml"
    prod.write_text(prod.read_text() + f"\npromotion:\n  trusted_keys: [{old.read('key.json')['public']}]\n")
    return old


def answers(file: Path) -> list[float]:
    return pd.read_csv(file)["prediction"].tolist()


def keys(value: Any) -> Any:
    """What a document is made of, without what it says. Of a list, its first."""
    if isinstance(value, dict):
        return {name: keys(one) for name, one in value.items()}
    return [keys(one) for one in value[:1]] if isinstance(value, list) else None


def holds(now: Any, then: Any) -> bool:
    """Whether a document has all that one of then had; it may say more."""
    if not isinstance(then, dict):
        return now == then or holds(now[0], then[0])
    return now.keys() >= then.keys() and all(holds(now[name], one) for name, one in then.items())


def test_an_exported_folder_gives_the_answers_of_then_and_is_served(unpacked, serve):
    exported = unpacked("exported")
    exported.kit("predict", "data/diabetes.csv", "now.csv", "--folder", "exported")
    then = answers(exported / "answers.csv")
    assert len(then) == 442
    assert answers(exported / "now.csv") == pytest.approx(then, rel=1e-12)
    shutil.copytree(REPOSITORY / "config", exported / "config")
    names = [one["name"] for one in exported.read("exported/contract.json")["columns"]]
    body = pd.read_csv(exported / "data" / "diabetes.csv")[names].head(1).to_json(orient="records").encode()
    api = serve(exported.root, "--folder", "exported")
    api.wait_for()
    asked = Request(f"{api.address}/predict", b'{"records": %b}' % body, {"content-type": "application/json"})
    with urlopen(asked, timeout=30) as answered:
        said = json.load(answered)
    assert api.end() == 0
    assert said["predictions"] == pytest.approx(then[:1], rel=1e-12)
    assert "local.diabetes" in json.dumps(said)


def test_its_history_is_whole_it_knows_where_its_versions_come_from_and_is_rolled_back(old):
    said = old.said("history")
    assert said["whole"]
    assert [entry["act"] for entry in said["entries"]] == ["rollback"] * 2 + ["promote"] * 4
    assert said == old.read("history.json")
    now, then = old.said("lineage", "2"), old.read("lineage.json")
    assert now["lineage"]["commit"] == COMMIT
    assert now["parity"].items() >= then["parity"].items()  # the proof counts more today
    other = dict.fromkeys(("here", "subject", "date", "parity"))  # what is other now, and what git says of the commit
    assert now | other == then | other
    assert "version 1 was judged before the kit kept the digest" in old.kit("history").stderr
    assert old.said("rollback", "--to", "2", "--reason", "a test")["earlier_champion"] == 1
    assert [one for one in old.said("doctor") if one["state"] != "well" and one["item"] != "API"] == []


def test_the_gate_says_of_a_version_what_it_said(old):
    said = old.said("gate", "--version", "2", "--evidence", "now.json")
    now, then = old.read("now.json"), old.read("evidence.json")
    told = {one["check"]: one for one in now["checks"]}
    later = {"estimator", "gain", "calibration", "extrapolation"}  # checks of now
    assert told.keys() - {one["check"] for one in then["checks"]} == later
    assert all(told[check]["passed"] for check in later)
    assert holds(keys(now), keys(then))
    assert [one["check"] for one in said["verdicts"]] == list(told)
    for one, other in ((told[other["check"]], other) for other in then["checks"]):
        assert one["outcome"] == other["outcome"], one
        if one["check"] != "latency":  # whose figures are another machine's
            for figure in ("figure", "limit"):
                rel = 0.1 if one["check"] in ("champion", "slices") else 1e-6  # an interval's end is Student's now
                assert (one[figure] or 0) == pytest.approx(other[figure] or 0, rel=rel, abs=1e-12), one
                assert (one[figure] is None) == (other[figure] is None), one


@pytest.mark.slow
def test_it_goes_on_with_a_run_that_is_judged_against_the_champion_of_then(old):
    """And what the kit of now writes has the form of what was there."""
    assert old.said("gate", "--version", "1")["passed"]
    (compared,) = [one for one in old.said("run")["promotion"]["verdicts"] if one["check"] == "champion"]
    assert "of local.diabetes version 1 on the same 98 rows" in compared["reason"]
    history = old.said("history")
    assert history["whole"]
    assert history["entries"][-6:] == old.read("history.json")["entries"]
    newest, then = keys(history["entries"])[0], keys(old.read("history.json")["entries"][2:])[0]
    assert (len(history["entries"]), newest.keys() - then.keys()) == (8, {"contract", "limits"})
    assert then.items() <= newest.items()
    assert old.said("lineage")["version"] == 3
    with closing(sqlite3.connect(old / "mlflow.db")) as database:
        rows = database.execute("SELECT version, key FROM model_version_tags WHERE version > 1").fetchall()
    second, third = ({key for version, key in rows if version == number} for number in (2, 3))
    assert third == second | {"contract"}
    contracts = [keys(json.loads(file.read_text("utf-8"))) for file in (old / "mlartifacts").rglob("contract.json")]
    newest = max(contracts, key=lambda one: len(one["parity"]))
    assert [holds(newest, one) for one in contracts] == [True] * 3


def test_a_bundle_passes_the_checks_before_a_server_is_asked(bundled):
    to_prod = ("promote", "--to", "prod", "--from", "to-prod.zip", "--approver", "Ada")
    nobody = {"KIT_TRACKING__URI": "http://127.0.0.1:9"}
    said = bundled.kit(*to_prod, code=1, **nobody).stderr
    assert "staging.diabetes version 1, signed with key" in said
    assert "http://127.0.0.1:9 does not answer" in said


@pytest.mark.slow
def test_a_bundle_is_promoted_to_prod(bundled, server):
    prod = {"KIT_STAGE": "prod", "KIT_TRACKING__URI": server.address}
    moved = bundled.said("promote", "--from", "to-prod.zip", "--approver", "Ada", **prod)
    assert (moved["model"], moved["version"], moved["passed"]) == ("prod.diabetes", 1, True)
    history = bundled.said("history", **prod)
    assert history["whole"]
    assert {(one["act"], one["approver"]["name"]) for one in history["entries"]} == {("promote", "Ada")}
    assert bundled.said("lineage", **prod)["lineage"]["commit"] == COMMIT
