"""docs/extend-it-here.md: its code is run, each part through the pipeline or the export that it extends."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from example_project import problem
from starterkit.contract import Column
from starterkit.data import DatasetReader
from starterkit.errors import ExportError, ProblemError
from starterkit.pipeline import Pipeline
from starterkit.serving.graph import Session
from starterkit.settings import load_settings
from starterkit.training.export import conversion
from starterkit.training.export.conversion import to_graph
from starterkit.training.export.families import ENTRY_POINTS, families, family_for

pytestmark = pytest.mark.usefixtures("hurried")
PAGE = (Path(__file__).parents[2] / "docs" / "extend-it-here.md").read_text("utf-8")


def block(section: str, language: str = "python") -> str:
    part = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)
    return found


def run(section: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block(section), names)
    return names


def test_a_metric_and_a_check_judge_a_version(after_a_run):
    metric, check = run("A metric"), run("A check of the gate")
    limits = yaml.safe_load(block("A metric", "yaml"))["gate"]["limits"]
    base = after_a_run.root / "config" / "base.yaml"
    told = yaml.safe_load(base.read_text())
    told["gate"]["limits"] |= limits
    base.write_text(yaml.safe_dump(told))
    extended = replace(problem, metric=metric["METRIC"], metrics=metric["METRICS"], checks=check["CHECKS"])
    pipeline = Pipeline(extended, load_settings(after_a_run.root, {}))
    decision = pipeline.judge(pipeline.read(), 1).decision
    assert decision.passed
    found = {verdict.check: verdict for verdict in decision.verdicts}
    assert found["limit cost"].limit == 80
    assert found["the old"].figure > 0
    assert found["baseline"].reason.startswith("cost ")


def test_a_source_of_another_shape_joins_the_table(settings, monkeypatch):
    table = pd.read_csv(settings.root / "data" / "diabetes.csv")
    (settings.root / "data" / "months").mkdir()
    row = table.iloc[0].to_dict() | {"patient_id": "P900"}
    (settings.root / "data" / "months" / "2026-01.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.chdir(settings.root)
    extended = replace(problem, load=run("A data source")["load"])
    dataset = DatasetReader(extended, settings.data, settings.root, settings.stage).read()
    assert len(dataset) == len(table) + 1


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Installs the family's block as a module of some name, with the entry point of the page; some words are others."""
    project = tomllib.loads(block("An estimator family", "toml"))["project"]
    ((key, value),) = project["entry-points"][ENTRY_POINTS].items()
    site, named = tmp_path / "site", value.partition(":")[0]

    def install(name: str, old: str = "", new: str = "") -> Any:
        info = site / f"{name}-1.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(block("An estimator family").replace(old, new))
        entry = f"[{ENTRY_POINTS}]\n{key} = {value.replace(named, name)}\n"
        (info / "entry_points.txt").write_text(entry)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
        monkeypatch.syspath_prepend(site)
        families.cache_clear()
        return __import__(name)

    yield install
    families.cache_clear()


def test_a_family_is_exported_and_proven_and_one_whose_nodes_are_wrong_is_refused(diabetes, installed, tmp_path):
    network = installed("our_families").Network()
    exported, _ = diabetes.export(make_pipeline(StandardScaler(), network), tmp_path / "exported")
    assert exported.contract.parity.largest < 1e-12
    network = installed("wrong_families", "second_[:, None]", "second_[:, None] * 1.1").Network()
    with pytest.raises(ExportError, match="does not answer as the estimator does"):
        diabetes.export(make_pipeline(StandardScaler(), network), tmp_path / "exported")
    installed("other_families", "class Networks(", "class Others(")
    said = r"family 'networks' \(other_families:Networks\) cannot be loaded: .*Networks"
    with pytest.raises(ProblemError, match=said):
        families()


def test_a_transformer_of_ones_own_is_exported(monkeypatch):
    names = run("A transformer")
    rows = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [2.0, 1, 5, 3], "c": [4.0, 1, 2, 9]})
    fitted = make_pipeline(names["Ratio"](), Ridge()).fit(rows, [1.0, 2, 4, 3])
    columns = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in rows]
    with pytest.raises(ExportError, match=r"Ratio \(step 'ratio' of .*a class without a converter.*ten lines"):
        to_graph(fitted, columns, "y")
    known = lambda part: names["Ratios"]() if isinstance(part, names["Ratio"]) else family_for(part)  # noqa: E731
    monkeypatch.setattr(conversion, "family_for", known)
    (answered,) = Session(to_graph(fitted, columns, "y").graph).run({"features": rows.to_numpy()})
    assert answered.ravel() == pytest.approx(fitted.predict(rows))
