"""The whole path with problems that are not the example: a classifier, and columns of every type."""

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from starterkit.pipeline import Pipeline
from starterkit.problem import feature, identifier, target
from starterkit.release.gate import Decision
from starterkit.settings import DataSettings, GateSettings, Limit, Settings, TrainingSettings

pytestmark = pytest.mark.slow


def settings_for(settings: Settings, source: Path, **limits: Limit) -> Settings:
    changes = {
        "data": DataSettings(source=str(source)),
        "training": TrainingSettings(),
        "gate": GateSettings(limits=limits, undecided="pass"),  # as in local: some samples are small
        "export": settings.export.model_copy(update={"parity_rows": 5000}),
    }
    return settings.model_copy(update=changes)


def test_classifier_goes_all_the_way(settings, connection, breast_cancer):
    problem = breast_cancer.problem(lambda: make_pipeline(StandardScaler(), LogisticRegression()), name="breast-cancer")
    source = breast_cancer.root / "table.parquet"
    pipeline = Pipeline(problem, settings_for(settings, source, roc_auc=Limit(min=0.95)))
    summary = pipeline.run()

    assert [verdict.check for verdict in summary.promotion.decision.refusals] == []
    scores, naive = summary.trained.model.evaluation.scores, summary.trained.model.baseline.scores
    assert scores["roc_auc"] > 0.98
    assert naive["roc_auc"] == 0.5
    assert set(summary.samples) <= {"malignant", "benign"}
    figures = {file.path for file in connection.client.list_artifacts(summary.exported.run, "figures")}
    assert figures == {"figures/importance.png", "figures/roc.png", "figures/confusion.png"}

    loaded = mlflow.pyfunc.load_model("models:/local.breast-cancer@champion")
    table = loaded.predict(pipeline.read().holdout.features)
    assert list(table) == ["diagnosis", "diagnosis_is_benign", "diagnosis_is_malignant"]
    prediction = summary.trained.model.evaluation.prediction
    assert table["diagnosis"].tolist() == prediction.values.tolist()
    np.testing.assert_allclose(table.iloc[:, 1:].to_numpy(), prediction.probabilities, atol=1e-6)

    again = Pipeline(problem, settings_for(settings, source)).run()
    assert again.promotion.version.number == 2
    assert "the same answers" in next(v for v in again.promotion.decision.verdicts if v.check == "champion").reason


def test_champion_that_lacks_a_class_is_named(settings, iris, tmp_path):
    strong = ("petal_length", "petal_width")  # either tells setosa from versicolor
    problem = iris.problem(lambda: make_pipeline(StandardScaler(), LogisticRegression()), name="iris", strong=strong)
    table = pd.read_parquet(iris.root / "table.parquet")
    table[table.diagnosis != "virginica"].to_parquet(tmp_path / "two.parquet")
    first = Pipeline(problem, settings_for(settings, tmp_path / "two.parquet")).run().promotion.decision
    assert first.passed, first.refusals
    again = Pipeline(problem, settings_for(settings, iris.root / "table.parquet")).run()
    champion, signature = again.promotion.decision.refusals
    assert "does not know all classes" in champion.reason
    assert "the classes are others" in signature.reason


@pytest.mark.parametrize("text_first", [True, False])
def test_a_champion_that_takes_another_type_is_named(settings, sample_of, text_first):
    random = np.random.default_rng(0)
    numbers = pd.DataFrame({"row": [f"R{row}" for row in range(400)], "size": random.integers(1, 4, 400) * 1.0})
    numbers["answer"] = 2 * numbers["size"] + random.normal(0, 1, 400)

    def run(words: bool) -> Decision:
        taken = OneHotEncoder(handle_unknown="ignore") if words else StandardScaler()
        table = numbers.assign(size="secret " + numbers["size"].astype(str)) if words else numbers
        roles = {"row": identifier(), "size": feature(sensitivity="plain"), "answer": target()}
        types = {"row": str, "size": str if words else float, "answer": float}
        schema = type("Sizes", (pa.DataFrameModel,), {**roles, "__annotations__": types})
        sample = sample_of(table, schema, "regression", "rmse")
        tree = make_pipeline(make_column_transformer((taken, ["size"])), DecisionTreeRegressor())
        problem = sample.problem(lambda: tree, name="sizes")
        return Pipeline(problem, settings_for(settings, sample.root / "table.parquet")).run().promotion.decision

    assert run(text_first).passed
    champion, signature = run(not text_first).refusals
    assert (champion.check, signature.check) == ("champion", "signature")
    assert "serves, but cannot be compared: it takes column 'size' as a " in champion.reason
    assert "secret" not in champion.reason
