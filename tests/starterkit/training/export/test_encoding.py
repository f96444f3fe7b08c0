"""Encoders in the graph, over every type of column: missing, rare, dropped and unknown categories."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from starterkit.contract import Column
from starterkit.data.dataset import as_columns
from starterkit.errors import ContractError, ExportError
from starterkit.serving.graph import Graph, Session
from starterkit.serving.predictor import Predictor
from starterkit.training.export.conversion import layout_of, to_graph
from starterkit.training.export.families.encoding import _PATTERNS, _forms
from starterkit.training.export.families.nodes import OWN_DOMAIN, CannotExport

ENCODED = ["city", "ward", "smoker", "insured", "children"]


def behind(encoder: Any, last: Any) -> Any:
    first = make_column_transformer((encoder, ENCODED), (SimpleImputer(), ["income"]))
    return make_pipeline(first, last)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32),
        OneHotEncoder(handle_unknown="ignore", drop="first"),
        OneHotEncoder(handle_unknown="ignore", drop="if_binary"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=45),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    ],
    ids=["one-hot", "dense", "first dropped", "two dropped", "rare", "most and dropped", "ordinal"],
)
def test_the_graph_encodes_as_the_encoder_does(visits, encoder, tmp_path):
    exported, dataset = visits.export(behind(encoder, Ridge()), tmp_path / "exported")
    assert exported.contract.parity.largest < 1e-14
    columns = {name: values.copy() for name, values in dataset.holdout.columns.items()}
    columns["ward"][:] = "never seen"
    columns["children"][:] = 9.0
    estimator = behind(encoder, Ridge()).fit(dataset.training.features, dataset.training.target)
    asked = dataset.holdout.features.assign(ward="never seen", children=9)
    asked["children"] = asked["children"].astype(dataset.training.features["children"].dtype)
    answers = Predictor(exported.folder).predict(columns).values
    np.testing.assert_allclose(answers, estimator.predict(asked), rtol=1e-12)


@pytest.mark.parametrize(("target", "classes"), [("income", 1), ("insured", 2), ("ward", 3)])
@pytest.mark.parametrize("names", [["city", "ward"], ["smoker", "insured", "children"]], ids=["texts", "numbers"])
def test_a_categorys_mean_target_stands_for_it(visits, target, classes, names):
    _, dataset = visits.fit(behind(OneHotEncoder(handle_unknown="ignore"), Ridge()))
    rows = dataset.training.features.dropna(subset=[target])
    names, labels = [name for name in names if name != target], rows[target].astype(str if classes > 1 else float)
    chosen = make_column_transformer((TargetEncoder(), names), (SimpleImputer(), ["income"]))
    fitted = make_pipeline(chosen, LogisticRegression(max_iter=500) if classes > 1 else Ridge())
    columns = [column for column in visits.problem(Ridge).features if column.name in (*names, "income")]
    fitted = fitted.fit(rows[[column.name for column in columns]], labels)
    task = "classification" if classes > 1 else "regression"
    graph = Graph(to_graph(fitted, columns, "y").graph, columns=columns, layout=layout_of(columns), task=task)
    asked = dataset.holdout.features.copy()
    asked["ward"], asked.loc[asked.index[::2], "children"] = "never seen", np.nan
    answered = graph.answer(as_columns(asked))
    given = asked[[column.name for column in columns]]
    if classes > 1:
        np.testing.assert_allclose(answered.probabilities, fitted.predict_proba(given), atol=1e-14)
    else:
        np.testing.assert_allclose(answered.values, fitted.predict(given), rtol=1e-12)


def test_missing_places_stay_missing_and_given_categories_are_all_that_is_known(visits, tmp_path):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    exported, _ = visits.export(behind(encoder, RandomForestRegressor(5, random_state=0)), tmp_path / "exported")
    assert exported.contract.parity.proven
    assert exported.contract.parity.flipped_leaves == 0
    for known in (["b"], ["?b", "a", "b"]):  # of which one looks unknown
        encoder = OrdinalEncoder(categories=[known], handle_unknown="use_encoded_value", unknown_value=-1)
        chosen = make_column_transformer((encoder, ["ward"]), (SimpleImputer(), ["income"]))
        exported, _ = visits.export(make_pipeline(chosen, Ridge()), tmp_path / "exported")
        assert exported.contract.parity.largest < 1e-14


def test_an_encoder_that_refuses_unknown_categories_is_exact_where_there_are_none(diabetes, tmp_path):
    for encoder in (OneHotEncoder(), OrdinalEncoder()):
        chosen = make_column_transformer((encoder, ["sex"]), (SimpleImputer(), ["bmi"]))
        exported, dataset = diabetes.export(make_pipeline(chosen, Ridge()), tmp_path / "exported")
        assert exported.contract.parity.largest < 1e-14
        columns = {name: values[:1].copy() for name, values in dataset.holdout.columns.items()}
        columns["sex"][:] = 3  # nobody sends it, for the schema does not take it
        with pytest.raises(ContractError, match="does not take these columns"):
            Predictor(exported.folder).predict(columns)
    chosen = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["bmi", "sex"]))  # it takes fractions
    exported, _ = diabetes.export(make_pipeline(chosen, Ridge()), tmp_path / "alone")
    assert exported.contract.parity.largest < 1e-14


NOTE = Column(name="note", role="feature", type="string", unit="", sensitivity="plain")
NOTES = [
    "Good soup, good soup: très BON 日本",
    "a bad, BAD day_2",
    "Éclair à la café",
    "no 7 or 10",
    "the bad soup",
    "",
]
OTHERS = ["soup soup SOUP", "soup bad the", "ÉCLAIR À LA CAFÉ", "x7 unknown", "l'éclair, 10-7 day_2 no", "İd K"]


def told(vectorizer: Any) -> str:
    return re.sub(r"Vectorizer|[\s\\]", "", repr(vectorizer))  # pytest finds no test by an id with a backslash


def counting(vectorizer: Any, *steps: Any) -> Any:
    columns = make_column_transformer((vectorizer, "note"))
    return make_pipeline(columns, *steps, Ridge()).fit(pd.DataFrame({"note": NOTES}), np.arange(len(NOTES)) ** 2.0)


@pytest.mark.parametrize(
    "vectorizer",
    [
        *(CountVectorizer(token_pattern=pattern) for pattern in (*_PATTERNS, "[a-z0-9]+", "[a-zA-Z_-]{3,}")),
        *(CountVectorizer(ngram_range=lengths) for lengths in ((1, 2), (2, 3))),
        CountVectorizer(binary=True),
        CountVectorizer(lowercase=False, token_pattern=r"\w+"),
        CountVectorizer(stop_words=["soup", "the"]),
        CountVectorizer(vocabulary=["soup", "bad", "good soup"]),
        TfidfVectorizer(),
        TfidfVectorizer(sublinear_tf=True, norm=None),
        TfidfVectorizer(norm="l1", use_idf=False),
    ],
    ids=told,
)
def test_the_graph_counts_words_as_the_vectorizer_does(vectorizer):
    asked = [*NOTES, *OTHERS]
    for steps in ((), (VarianceThreshold(),)):
        fitted = counting(vectorizer, *steps)
        graph = to_graph(fitted, [NOTE], "y").graph
        assert OWN_DOMAIN in {one.domain for one in onnx.load_from_string(graph).opset_import}
        (found,) = Session(graph).run({"note": np.array(asked, dtype=object)})
        assert found.ravel() == pytest.approx(fitted.predict(pd.DataFrame({"note": asked})), rel=1e-12)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strip_accents": "unicode"}, "cannot follow its strip_accents.*Leave it out"),
        ({"preprocessor": str.upper}, "cannot follow its preprocessor"),
        ({"tokenizer": str.split, "token_pattern": None}, "cannot follow its tokenizer"),
        ({"analyzer": "char"}, "cannot follow its analyzer.*Use analyzer='word'"),
        ({"stop_words": ["the"], "ngram_range": (1, 2)}, "which words are neighbours.*Leave out stop_words"),
        ({"token_pattern": r"[a-z]\w+"}, "cannot follow its token_pattern.*Leave it out"),
        ({"vocabulary": ["σε"]}, "a small sigma depends.*Use lowercase=False"),
        ({"vocabulary": ["ός"]}, "a small sigma depends.*Use lowercase=False"),
        ({"vocabulary": ["é" * 16]}, "too many letters that are not Latin.*Use lowercase=False"),
        ({"vocabulary": ["é" * 15 + "a", "é" * 15 + "b"]}, "too many letters that are not Latin.*Use lowercase=False"),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given),
)
def test_words_that_a_graph_cannot_count_are_refused_by_name(given, said):
    steps = r"step 'columntransformer' → 'countvectorizer' of ColumnTransformer → Ridge"
    with pytest.raises(ExportError, match=rf"^CountVectorizer \({steps}\) cannot .*{said}"):
        to_graph(counting(CountVectorizer(**given)), [NOTE], "y")


def test_a_column_without_a_value_is_encoded_and_an_empty_text_beside_a_missing_one_is_refused():
    encoder, rows = OneHotEncoder(handle_unknown="ignore"), np.array([[np.nan], [3.0]])
    fitted = make_pipeline(encoder, Ridge()).fit(rows[[0, 0]], [1.0, 2.0])
    (found,) = Session(to_graph(fitted, [replace(NOTE, type="float")], "y").graph).run({"features": rows})
    assert found.ravel() == pytest.approx(fitted.predict(rows))
    fitted = make_pipeline(encoder, Ridge()).fit(pd.DataFrame({"note": ["x", "", None]}), [1.0, 2.0, 3.0])
    with pytest.raises(ExportError, match=r"tells an empty text from a missing one\. Replace the empty ones"):
        to_graph(fitted, [NOTE], "y")


def test_a_words_forms_are_counted_before_they_are_made():
    with pytest.raises(CannotExport, match="too many letters"):
        next(_forms("é" * 64, lowercase=True))


def test_words_are_counted_in_one_column_of_texts():
    for columns in ([replace(NOTE, type="float")], [NOTE, replace(NOTE, name="other")]):
        with pytest.raises(ExportError, match=r"takes one column of texts.*alone in a ColumnTransformer"):
            to_graph(make_pipeline(CountVectorizer().fit(NOTES), Ridge().fit([[0.0]], [0.0])), columns, "y")
