"""No message, progress note, log line or warning holds a value of a sensitive column or an identifier.

The values are planted: whatever hypothesis thinks of, in files that fail in each way that a file can fail.
"""

import logging
import re
import warnings
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from starterkit.data import DatasetReader
from starterkit.errors import KitError
from starterkit.pipeline import Pipeline
from starterkit.problem import Problem, Source, feature, identifier, target
from starterkit.progress import Event
from starterkit.settings import DataSettings, Stage, load_settings
from starterkit.training import Trainer


class People(pa.DataFrameModel):
    person: str = identifier()
    age: int = feature(sensitivity="sensitive", ge=0, le=120)
    city: str = feature(sensitivity="sensitive", isin=["Köln", "Bonn"])
    disease: str = feature(sensitivity="sensitive")
    score: float = target()

    @pa.check("disease", name="known")
    def _known(cls, diseases: pd.Series) -> pd.Series:  # noqa: N805
        return diseases.map(lambda name: len(name) < 3 or int(name) < 0)  # fails with the value in its message


def load(source: Source) -> pd.DataFrame:
    """A project's own code, whose failures quote what they stumble on."""
    frame = source.read()
    return frame.astype({"age": "int64"}) if "strict" in frame else frame


GIVEN = {"name": "people", "title": "People", "task": "regression", "metric": "rmse"}
PROBLEM = Problem(**GIVEN, schema=People, load=load, estimator=lambda: Ridge())
# Signs that parsers and formatters stumble over, and a core that no formatter changes: that one is looked for.
SIGNS = st.text(st.sampled_from(" ,;\"'\t-+.e%{}[]\\ßé→0"), max_size=4)
CORES = st.text(st.sampled_from("QXZJ23456789"), min_size=8, max_size=8)
SECRETS = st.builds(lambda before, core, after: f"{before}{core}{after}", SIGNS, CORES, SIGNS)
PLANTED = st.dictionaries(st.sampled_from([*People.__annotations__]), st.lists(SECRETS, min_size=1, max_size=3))
HOW = st.sampled_from(["csv", "parquet", "database", "torn", "latin-1", "strict", "headless", "semicolons"])


def write(frame: pd.DataFrame, how: str, folder: Path) -> DataSettings:
    import sqlite3

    frame = frame.assign(strict=1) if how == "strict" else frame
    text = frame.to_csv(index=False, header=how != "headless", sep=";" if how == "semicolons" else ",")
    if how == "torn":
        text = text.replace("\n", '\n"', 3)
    (folder / "t.csv").write_bytes(text.encode("latin-1" if how == "latin-1" else "utf-8", "replace"))
    if how == "parquet":
        frame.to_parquet(folder / "t.parquet")
        return DataSettings(source="t.parquet")
    if how == "database":
        with sqlite3.connect(":memory:") as database:
            frame.to_sql("t", database, index=False)
            (folder / "t.db").write_bytes(database.serialize())
        return DataSettings(source="sqlite:///t.db", query="SELECT * FROM t")
    return DataSettings(source="t.csv")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(how=HOW, planted=PLANTED)
def test_nothing_that_is_said_holds_a_value(how, planted, tmp_path, caplog, capfd):
    sound = {"person": list("abcdefgh"), "age": 30, "city": "Köln", "disease": "-1", "score": range(8)}
    frame = pd.DataFrame(sound).astype(object)
    for name, values in planted.items():
        frame.loc[: len(values) - 1, name] = values
    frame = frame.astype("str")
    caplog.set_level(logging.DEBUG)
    said = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            dataset = DatasetReader(PROBLEM, write(frame, how, tmp_path), tmp_path, Stage.LOCAL).read()
            Trainer(PROBLEM, load_settings().training.model_copy(update={"params": {}})).fit(dataset)
        except KitError as error:
            said += [str(error), repr(getattr(error, "failures", ""))]
    said += [str(warning.message) for warning in warned] + [caplog.text, *capfd.readouterr()]
    caplog.clear()
    cores = [re.findall("[QXZJ2-9]{8}", value)[0] for values in planted.values() for value in values]
    assert not [core for core in cores for text in said if core in text]


def test_no_note_of_a_run_holds_a_value(tmp_path, repository, caplog):
    """A run that goes well, and one that fails in the estimator: scikit-learn quotes what it cannot convert."""
    secret, events = "Rumpelstilzchen", list[Event]()
    frame = pd.DataFrame({"person": [f"{secret}{n}" for n in range(60)], "age": 30, "city": "Köln", "disease": "-1"})
    frame.assign(score=range(60)).to_csv(repository / "data" / "people.csv", index=False)
    given = load_settings(repository, {"KIT_DATA__SOURCE": "data/people.csv", "KIT_TRAINING__PARAMS": "{}"})
    given = given.model_copy(update={"training": given.training.model_copy(update={"params": {}})})
    caplog.set_level(logging.DEBUG)
    with pytest.raises(KitError) as raised:
        Pipeline(PROBLEM, given, events.append).run()
    assert "refuses the data" in str(raised.value)
    for text in (str(raised.value), repr(events), caplog.text):
        assert secret not in text
        assert "Köln" not in text
