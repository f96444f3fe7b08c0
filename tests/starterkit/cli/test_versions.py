"""`promote --to`, `rollback`, `history` and `prune` as a person gives them."""

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from getpass import getuser
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from rich.console import Console
from starlette.testclient import TestClient

from starterkit.cli import views as origins
from starterkit.contract import Lineage
from starterkit.feedback.predictions import PredictionLog, ShadowRecorder
from starterkit.feedback.writer import Writer
from starterkit.release.alias import Unapproved, approval_by
from starterkit.release.history import Ledger
from starterkit.release.provenance import compare
from starterkit.release.reproducer import Difference, Reproduction
from starterkit.serving.http import create_app
from starterkit.serving.predictor import ServedModel
from starterkit.serving.shadow import Heard
from starterkit.serving.validation import read_records
from starterkit.settings import ServingSettings, load_settings
from starterkit.tracking.registry import ModelRegistry, Version

pytestmark = pytest.mark.usefixtures("hurried")


def registry_of(root: Path) -> ModelRegistry:
    return ModelRegistry.of(load_settings(root, {}), "diabetes")


# With settings that no estimator takes, and without the project's code and what that needs.
ROLLBACK = """
import sys
sys.modules |= dict.fromkeys(["example_project", "pandas", "sklearn", "pandera"])
sys.argv[1:] = ["rollback", "--reason", "slow"]
from starterkit.cli import main; main()
"""


def test_history_is_told_newest_first_and_one_that_somebody_changed_is_an_error(run, trained):
    done = run(trained, "history", code=0)
    header, newest, oldest = done.stdout.splitlines()
    assert header.split()[:2] == ["entry", "when"]
    assert (newest.split()[0], "done" in newest) == ("2", True)
    assert (oldest.split()[0], "intent" in oldest) == ("1", True)
    told = json.loads(run(trained, "history", "--json").stdout)
    assert (told["whole"], [entry["number"] for entry in told["entries"]]) == (True, [2, 1])
    registry = registry_of(trained)
    text = Ledger(registry).kept()[2]
    registry.tag_model({"history.000002": text.replace("the gate passed it", "Ada said so")})
    done = run(trained, "history", code=1)
    assert "error: the history of local.diabetes is broken: entry 2 was edited" in done.stderr
    assert "intent" in done.stdout  # what can be read is shown
    assert json.loads(run(trained, "history", "--json").stdout)["broken"] == "entry 2 was edited"
    found = {item["item"]: item for item in json.loads(run(trained, "doctor", "--json").stdout)}
    assert found["promotion"]["state"] == "failing"
    registry.connection.client.delete_registered_model_tag(registry.model, "history.000002")
    assert "entry 2 is missing: version 1 knew one" in run(trained, "history").stderr


def test_rollback_and_prune(run, trained):
    registry = registry_of(trained)
    first = registry.version(1)
    told = {key: value for key, value in first.tags.items() if key != "gate"}
    for _ in range(2):
        registry.register(first.run, first.source.removeprefix("models:/"), told, "again")
    run(trained, "promote", "--version", "2", code=0)
    environ = os.environ | {"KIT_TRAINING__PARAMS": '{"depth": 3}'}
    done = subprocess.run([sys.executable, "-c", ROLLBACK], cwd=trained, env=environ, capture_output=True, text=True)
    assert "Champion: local.diabetes version 1 (was local.diabetes version 2)." in done.stdout, done.stderr
    page = registry.connection.client.get_registered_model("local.diabetes").description
    assert "Serves now: [version 1]" in page
    assert "**rmse** (decides; less is better)" in page
    everything = run(trained, "doctor", "--json").stdout
    assert "version 3 was registered and never judged" in everything
    assert "did not become champion" not in everything  # version 2, from which it went back, is newer and passed

    done = run(trained, "prune", "--keep-days", "0", "--keep", "0")
    assert "2 versions would go. `starterkit prune --yes` with the same options deletes them." in done.stdout
    assert len(registry.versions()) == 3
    done = run(trained, "prune", "--keep-days", "0", "--keep", "0", "--yes", "--json")
    assert [one["version"] for one in json.loads(done.stdout)["deleted"]] == [3, 2]
    assert [one.number for one in registry.versions()] == [1]
    assert "Nothing would go." in run(trained, "prune").stdout
    run(trained, "history", code=0)


def test_a_challenger_comes_into_the_shadow_is_compared_and_leaves(run, trained):
    registry, follow = registry_of(trained), {"KIT_SERVING__SHADOW": "challenger"}
    first = registry.version(1)
    registry.register(first.run, first.source.removeprefix("models:/"), dict(first.tags), "again")
    done = run(trained, "promote", "--version", "2", "--shadow", code=0)
    assert "Challenger  local.diabetes version 2; local.diabetes version 1 answers" in done.stdout
    assert registry.aliases() == {"champion": 1, "challenger": 2}
    assert "scored in the shadow. `starterkit promote --shadow`" in run(trained, "shadow", code=0).stdout
    log = PredictionLog(load_settings(trained, {}))
    served, writer = ServedModel(registry.model, "1", registry.open(first)), Writer(log, lambda rows: None)
    with TestClient(create_app(served, ServingSettings(), log=writer)) as client:
        answer = client.post("/predict", json={"records": [served.contract.example]})
    writer.close()
    table = read_records(served.contract, [served.contract.example])
    heard = Heard(answer.headers["x-prediction-id"].encode(), table, served.answer(table).prediction, 0.001)
    ShadowRecorder(log, replace(served, version="2")).write([heard])
    done = run(trained, "shadow", code=0, **follow)
    for words in ("in the shadow of 1: 1 rows, 1 of 1 requests", "No label has come yet", "0 apart on average"):
        assert words in done.stdout
    assert "let it answer: starterkit promote --version 2\nlet it go: starterkit shadow --remove" in done.stdout
    page = (trained / "build" / "shadow.html").read_text("utf-8")
    assert "Version 2 beside version 1" in page
    assert not re.search(r"https?:|<script", page)
    told = json.loads(run(trained, "shadow", "--json", code=0).stdout)
    assert (told["compared"][0]["agreement"], told["removal"]) == (1, "serving.shadow: null, and start the API again")
    assert "names version 2, and no alias" in run(trained, "shadow", "--remove", KIT_SERVING__SHADOW="2", code=2).stderr
    run(trained, "shadow", "--remove", **follow, code=0)
    assert registry.aliases() == {"champion": 1}
    assert "has no challenger" in run(trained, "shadow", "--remove", **follow, code=2).stderr


def test_doctor_mends(run, trained):
    ledger = Ledger(registry_of(trained))
    last = ledger.entries()[0]
    ledger.append(last)  # an intent without an outcome
    assert "the promotion of version 1 was killed half-way" in run(trained, "doctor").stdout
    done = run(trained, "doctor", "--mend")
    assert "the promotion of version 1 was killed half-way; it is finished now" in done.stderr
    assert "killed half-way" not in done.stdout
    assert "nothing was half done" in run(trained, "doctor", "--mend").stderr


STAGING = {"KIT_STAGE": "staging"}
PROD = {"KIT_STAGE": "prod"}


@pytest.mark.slow
def test_staging_to_prod_on_one_server(run, repository, server):
    there = {"KIT_TRACKING__URI": server.address}
    run(repository, "promote", "--to", "prod", "--approver", "Ada", **there, **STAGING, code=1)
    assert json.loads(run(repository, "run", "--json", **there, **STAGING).stdout)["champion"] == 1

    assert not (repository / "mlartifacts").exists()
    run(repository, "predict", "data/diabetes.csv", "out.csv", **there, **STAGING, code=0)
    found = run(repository, "doctor", "--json", KIT_SERVING__API_KEY="a-key-of-enough-characters", **there, **STAGING)
    told = {item["item"]: item for item in json.loads(found.stdout)}
    assert (told["MLflow"]["state"], "version 1 opens" in told["champion"]["text"]) == ("well", True)

    done = run(repository, "promote", "--to", "prod", **there, **STAGING, code=2)
    assert "Name the approver with --approver" in done.stderr
    prod, staging = (ModelRegistry.of(load_settings(repository, there | one), "diabetes") for one in (PROD, STAGING))
    assert prod.versions() == []  # nothing was copied

    for _ in range(2):  # the second time uses the copy again
        done = run(repository, "promote", "--to", "prod", "--approver", "Ada", "--json", **there, **STAGING, code=0)
        assert json.loads(done.stdout)["passed"]
        assert [one.number for one in prod.versions()] == [1]
    copy, source = prod.version(1), staging.version(1)
    assert prod.aliases() == {"champion": 1}
    assert copy.tags["copied_from"] == "staging.diabetes version 1"
    assert (copy.run, copy.tags["stage"], copy.tags["gate"]) == (source.run, "staging", "passed")
    assert prod.open(copy).contract == staging.open(source).contract
    told = json.loads(run(repository, "history", "--json", **there, **PROD).stdout)
    assert told["entries"][0]["approver"] == {"name": "Ada", "how": "claimed"}
    assert "Name the approver" in run(repository, "rollback", "--reason", "x", **there, **PROD, code=2).stderr
    assert json.loads(run(repository, "gate", "--json", **there, **PROD).stdout)["passed"]


class _Asking(BaseHTTPRequestHandler):
    """Asks for a password, as MLflow does with --app-name basic-auth."""

    code = 401

    def do_GET(self) -> None:
        said = b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        self.send_response(200 if said.endswith("a-long-password") else self.code)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Careless(_Asking):
    code = 200


ADA = {"KIT_TRACKING__USERNAME": "ada", "KIT_TRACKING__PASSWORD": "a-long-password"}
PROVEN = {"KIT_PROMOTION__APPROVER_PASSWORD": "bobs-a-long-password"}
LISTED = {"KIT_PROMOTION__APPROVERS": '["Bob", "grace@company.org"]'}


@pytest.mark.parametrize(
    ("handler", "environ", "named", "approver"),
    [
        (_Asking, ADA, "bob", "bob (claimed)"),
        (_Asking, ADA | PROVEN, "bob", "bob (authenticated)"),
        (_Asking, ADA | {"KIT_PROMOTION__APPROVER_PASSWORD": "a guess"}, "bob", "does not take promotion.approver"),
        (_Careless, ADA | PROVEN, "bob", "does not take promotion.app"),  # it takes any
        (_Asking, ADA, "", "asks for somebody who approves, who is not the one who gives the command"),
        (_Asking, ADA, "ada", "'ada' gives this command"),
        (_Asking, ADA, "Ada@company.org", "gives this command"),
        (_Careless, {}, getuser(), "gives this command"),
        (_Careless, {}, "octocat", "gives this command"),
        (_Asking, LISTED, "BOB", "BOB (claimed)"),
        (_Asking, LISTED, "Eve Adams", "'Eve Adams' may not approve in prod"),
        *((_Careless, {}, name, f"'{name}' is no name of an app") for name in (".", "<name>", "x", "Bo Bo", "bot")),
        *((_Careless, {}, name, f"{name} (claimed)") for name in ("Grace Hopper", "J. R. O'Neil", "李小龙", "a@b.org")),
    ],
)
def test_who_approves(repository, monkeypatch, handler, environ, named, approver):
    """In prod: somebody with a name, who is not the one who commands. The server's word counts where it really asks."""
    monkeypatch.setenv("GITHUB_ACTOR", "octocat")
    listening = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    try:
        address = f"http://127.0.0.1:{listening.server_address[1]}"
        if environ is LISTED:  # which only a file may say in prod
            prod = repository / "config" / "prod.yaml"
            prod.write_text(f"{prod.read_text()}\npromotion: {{approvers: {LISTED['KIT_PROMOTION__APPROVERS']}}}\n")
            environ = {}
        settings = load_settings(repository, PROD | {"KIT_TRACKING__URI": address} | environ)
        if approver.endswith(")"):
            assert str(approval_by(settings, named).approver) == approver
        else:
            with pytest.raises(Unapproved) as refused:
                approval_by(settings, named)
            assert approver in refused.value.what
            assert refused.value.hint
    finally:
        listening.shutdown()
        listening.server_close()


TO_PROD = PROD | {"KIT_TRACKING__URI": "http://127.0.0.1:1", "KIT_SERVING__API_KEY": "a-key-of-enough-characters"}


def test_keys_makes_one_key_and_prints_what_prod_needs(run, repository):
    first = run(repository, "keys", code=0)
    (line,) = re.findall(r"promotion:\n  trusted_keys:\n    - (\S{44}) # \w{16}", first.stdout)
    said = json.loads(run(repository, "keys", "--json").stdout)
    assert (said["public"], said["made"]) == (line, False)
    secret = (repository / "secrets" / "KIT_PROMOTION__SIGNING_KEY").read_text().strip()
    assert secret not in first.stdout + first.stderr + run(repository, "config", "show").stdout
    again = json.loads(run(repository, "keys", "--new", "--json").stdout)
    assert again["made"]
    assert again["public"] != line
    prod = repository / "config" / "prod.yaml"
    prod.write_text(prod.read_text() + "\n".join(["", *first.stdout.splitlines()[-3:], ""]))
    run(repository, "config", "show", **TO_PROD, code=0)


def test_a_key_from_elsewhere_is_not_renewed_in_vain_and_without_one_nothing_is_bundled(run, repository):
    given = {"KIT_PROMOTION__SIGNING_KEY": "A" * 43 + "="}
    run(repository, "keys", **given, code=0)
    assert "the key comes from KIT_PROMOTION__SIGNING_KEY" in run(repository, "keys", "--new", **given, code=2).stderr
    assert not (repository / "secrets").exists()
    done = run(repository, "bundle", "x.zip", code=2)
    assert ("promotion.signing_key is not set" in done.stderr, "Run `starterkit keys`" in done.stderr) == (True, True)


def test_a_bundle_that_prod_will_not_take_says_so(run, trained):
    run(trained, "keys")
    said = run(trained, "bundle", "x.zip", code=0).stdout
    assert "Prod will not take it: it takes staging's versions alone, and this is local's." in said


def test_prepare_then_the_stage_reads_it(run, repository):
    done = run(repository, "doctor", KIT_STAGE="test")
    assert "Run `KIT_STAGE=local starterkit data prepare --for test`" in done.stdout + done.stderr
    done = run(repository, "data", "prepare", "--for", "test", code=0)
    assert "age, sex, progression" in done.stdout
    assert "data/test/diabetes.parquet, 442 rows" in done.stdout
    assert "warning: 8 people are alone with their age, sex, progression" in done.stderr
    done = run(repository, "doctor", KIT_STAGE="test", KIT_TRACKING__URI="http://127.0.0.1:9")
    assert "442 rows, 98 of them held out" in done.stdout


def test_json_is_the_proof_and_another_stages_yaml_decides(run, repository):
    words = ("data", "prepare", "--json", "--for")
    said = json.loads(run(repository, *words, "staging", "--fraction", "0.2", "--to", "s.parquet", code=0).stdout)
    assert (said["stage"], said["fraction"], said["warnings"]) == ("staging", 0.2, [])
    assert said["seal"] == json.loads((repository / "s.proof.json").read_text())["seal"]
    config = repository / "config" / "test.yaml"
    config.write_text(config.read_text() + "\nprivacy:\n  sensitive: mock\n")
    said = json.loads(run(repository, *words, "test", KIT_TRACKING__URI="sqlite:///mlflow.db", code=0).stdout)
    assert said["policy"]["bmi"] == "mock"


def test_lineage_is_one_screen_and_marks_what_is_other_here(run, trained, monkeypatch):
    monkeypatch.setattr(origins, "console", lambda: Console(width=80, highlight=False))
    (trained / "requirements.txt").open("a").write("# another lock\n")
    data = trained / "data" / "diabetes.csv"
    data.write_text("\n".join(data.read_text().splitlines()[:-1]) + "\n")
    (trained / ".gitignore").write_text("mlflow.db*\nmlartifacts/\n")
    git = ["git", "-C", str(trained), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in ("init -q", "add .", "commit -q -m first"):
        subprocess.run([*git, *words.split()], check=True, capture_output=True)
    (trained / "new.txt").touch()
    done = run(trained, "lineage", KIT_TRAINING__SEED="3", code=0)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    said = " ".join(done.stdout.split())
    for words in (
        "local.diabetes version 1 · champion", "gate passed", "stage local, by", "commit unknown (not in this clone)",
        "here: new.txt changed", "data/diabetes.csv, 442 rows", "here: 441 rows, digest", "n_estimators 20",
        "here: random_state 3", "(naive guess", "relative difference",
    ):  # fmt: skip
        assert words in said, words
    assert said.count("here: ") == 5
    assert "mlartifacts/models/" in said.replace(" ", "")


def test_lineage_is_json_for_scripts_and_outside_of_git_reproduce_refuses_and_leaves_nothing(run, trained, monkeypatch):
    found = json.loads(run(trained, "lineage", "1", "--json").stdout)
    assert (found["version"], found["alias"], found["gate"]) == (1, "champion", "passed")
    assert found["lineage"].keys() == Lineage.__dataclass_fields__.keys()
    assert found["lineage"]["parameters"]["n_estimators"] == 20
    assert (found["here"], found["run"]["page"]) == ({}, None)
    assert found["metrics"]["rmse"] < found["metrics"]["baseline_rmse"]
    scratch = trained.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    done = run(trained, "reproduce", "champion", code=1)
    assert "error: local.diabetes version 1 was trained outside of git" in done.stderr
    assert list(scratch.iterdir()) == []


LINEAGE = Lineage(
    stage="local", run="r", commit="c" * 40, dirty=False, lock_digest="l", data_source="data/rows.csv",
    data_digest="d", holdout_digest="h", rows=9, parameters={"depth": 2},
)  # fmt: skip
FACTS = {"lock_digest": "l", "data_digest": "d", "holdout_digest": "h", "rows": 9, "parameters": {"depth": 2}}
VERSION = Version("local.x", 3, "r", {}, datetime.now(UTC))
SAME, OTHER = Difference(98, 0, 0.0, 0), Difference(98, 97, 1.25, 0)


def outcome(facts: dict[str, Any], difference: Difference | None, **given: Any) -> Reproduction:
    causes = compare(LINEAGE, FACTS | facts)
    return Reproduction(VERSION, LINEAGE, "this one", "the commit", causes, difference, **given)


OTHER_DATA, OF_CHANCE, UNKNOWN = {"data_digest": "x"}, {"deterministic": False}, {"deterministic": True}
UNRECORDED = "so it is something that is not recorded"


@pytest.mark.parametrize(
    ("done", "said", "what", "hint"),
    [
        (outcome({}, SAME, same_graph=True), "identical, bit for bit, over 98 held-out rows; the exported", "", ""),
        (outcome({}, SAME), "is another file", "", ""),
        (outcome(OTHER_DATA, OTHER, **UNKNOWN), "data DIFFERS", "not the same data", "data/rows.csv"),
        (outcome(OTHER_DATA | {"lock_digest": "x"}, OTHER, **UNKNOWN), "lock DIFFERS", "lock and data", "make env"),
        (outcome({}, OTHER, **OF_CHANCE), "97 of 98 differ, by up to 1.25", "two trainings here", "random_state"),
        (outcome({}, replace(OTHER, labels=4), **UNKNOWN), "4 labels changed", UNRECORDED, "an ignored file"),
        (outcome({}, OTHER, **UNKNOWN, machine="3.12 then"), "97 of 98", "machine (3.12 then)", "machine"),
        (outcome({}, None, failure="no such file"), "none: no such file", "no such file", "--keep"),
    ],
)
def test_outcome_is_shown_in_80_columns_and_the_reason_names_cause_and_hint(done, said, what, hint, monkeypatch):
    out = StringIO()
    monkeypatch.setattr(origins, "console", lambda: Console(file=out, width=80, highlight=False))
    origins.show_reproduction(done)
    assert said in " ".join(out.getvalue().split())
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "\x1b" not in out.getvalue()
    document = json.loads(json.dumps(origins.reproduction_as_json(done)))
    assert document["version"] == 3
    assert [set(cause) for cause in document["causes"]] == [{"name", "same", "text", "mend"}] * 4
    if what:
        reason = origins.reason(done)
        assert reason[0].startswith("local.x version 3 was not reproduced: ")
        assert (what in reason[0], hint in reason[1]) == (True, True), reason
