"""Encoders: columns whose values stand for categories, and texts whose words are counted."""

import re
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from starterkit.training.export.families.nodes import OWN_DOMAIN, Block, CannotExport, Family, Nodes, is_a

# --- `OneHotEncoder`, `OrdinalEncoder`, `TargetEncoder`: a table for each column, looked up by the category's number.
#
# The tables are the fitted encoder's own answers, so dropped, rare, missing and unknown categories are encoded as it
# encodes them. skl2onnx does that in float32, takes a missing text for an unknown one, and knows no fractions.


class Encoding(Family):
    """``Gather(table, number of the category)`` for each column."""

    def takes(self, kind: type) -> bool:
        return kind in (OneHotEncoder, OrdinalEncoder, TargetEncoder)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        blocks, width = [], 0
        for (column, is_text), categories, table in zip(
            nodes.columns(), estimator.categories_, _tables(estimator), strict=True
        ):
            number = _number_of_text(nodes, column, categories) if is_text else _number_of(nodes, column, categories)
            blocks.append(nodes.add("Gather", nodes.constant(table), nodes.flat(number)))
            width += table.shape[1]
        return [Block(nodes.join(blocks), width)]


def _tables(estimator: Any) -> Iterator[NDArray[np.float64]]:
    """For each column with m categories, the rows that stand for them, and one more for an unknown one.

    An encoder that refuses unknown ones has no such row, and neither has the graph: it fails as the encoder does.
    """
    each = [list(categories) for categories in estimator.categories_]
    if is_a(estimator, TargetEncoder):
        yield from _target_tables(estimator)
        return
    widths = getattr(estimator, "_n_features_outs", [1] * len(each))
    firsts = [categories[0] for categories in each]
    starts = accumulate(widths, initial=0)
    for place, (categories, start, width) in enumerate(zip(each, starts, widths, strict=False)):
        asked = categories if estimator.handle_unknown == "error" else [*categories, _unknown(categories)]
        rows = [[*firsts[:place], category, *firsts[place + 1 :]] for category in asked]
        yield _encoded(estimator, rows)[:, start : start + width]


def _target_tables(estimator: TargetEncoder) -> Iterator[NDArray[np.float64]]:
    """One figure a category, or one for each class; a category that was never seen has the target's mean."""
    means = np.atleast_1d(estimator.target_mean_)
    figures = iter(estimator.encodings_)
    for _ in estimator.categories_:
        seen = np.column_stack([next(figures) for _ in means])
        yield np.vstack([seen, means])


def _encoded(estimator: Any, rows: list[list[Any]]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns without names, and unknown categories, asked about on purpose
        encoded = estimator.transform(np.array(rows, dtype=object))
    return np.asarray(encoded.toarray() if hasattr(encoded, "toarray") else encoded, dtype=np.float64)


def _unknown(categories: list[Any]) -> Any:
    known = [category for category in categories if not pd.isna(category)]
    if texts := [category for category in known if isinstance(category, str)]:
        return "?" + max(texts, key=len)
    return max(known, default=0.0) + 1.0


def _number_of_text(nodes: Nodes, column: str, categories: NDArray[Any]) -> str:
    keys = ["" if pd.isna(category) else str(category) for category in categories]  # a missing text is an empty one
    if len(set(keys)) < len(keys):
        raise CannotExport("it tells an empty text from a missing one; replace the empty ones in load()")
    attributes = {"keys_strings": keys, "values_int64s": [*range(len(keys))], "default_int64": len(keys)}
    return nodes.add("LabelEncoder", column, domain="ai.onnx.ml", **attributes)


def _number_of(nodes: Nodes, column: str, categories: NDArray[Any]) -> str:
    values = np.asarray(categories, dtype=np.float64)
    missing = np.isnan(values)
    found = nodes.double(nodes.add("Equal", column, nodes.row(values)))
    if missing.any():
        gaps = nodes.double(nodes.add("IsNaN", column))
        found = nodes.add("Add", found, nodes.add("Mul", gaps, nodes.row(missing)))
    # The first largest is the category's; a row with none has the half at the end.
    padded = nodes.add("Pad", found, nodes.constant(np.array([0, 0, 0, 1])), nodes.constant(np.array([0.5])))
    return nodes.largest(padded)


# --- `CountVectorizer` and `TfidfVectorizer`, where the graph can take a text apart as they do.


_WORD = r"[\p{L}\p{N}_]"
"""What Python's ``\\w`` is, in onnxruntime's regular expressions."""
_PATTERNS = {
    r"(?u)\b\w\w+\b": _WORD + "{2,}",
    r"\b\w\w+\b": _WORD + "{2,}",
    r"\w\w+": _WORD + "{2,}",
    r"(?u)\b\w+\b": _WORD + "+",
    r"\b\w+\b": _WORD + "+",
    r"\w+": _WORD + "+",
}
_MOST_FORMS = 50_000
_AS_USUAL = "leave it out, or make the words in load()"


class Words(Family):
    """Texts are taken apart by onnxruntime's tokenizer, and their n-grams counted.

    Capitals: onnxruntime makes small letters by the system's language, which a machine may lack, so only the ASCII
    letters are left to it. Of a word with others the graph knows every form.
    """

    def takes(self, kind: type) -> bool:
        return kind in (CountVectorizer, TfidfVectorizer)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        if nodes.width != 1 or not nodes.texts:
            raise CannotExport("it takes one column of texts; name it alone in a ColumnTransformer")
        pattern, words = self._pattern(estimator), sorted(estimator.vocabulary_, key=estimator.vocabulary_.get)
        places = [(form, place) for place, word in enumerate(words) for form in _forms(word, estimator.lowercase)]
        if len(places) > _MOST_FORMS:
            raise CannotExport("its words have too many letters that are not Latin; use lowercase=False")
        text = nodes.flat(nodes.blocks[0].name)
        if estimator.lowercase:
            text = nodes.add("StringNormalizer", text, case_change_action="LOWER", locale="C")
        tokens = nodes.add("Tokenizer", text, domain=OWN_DOMAIN, mark=0, mincharnum=1, pad_value="", tokenexp=pattern)
        counts = nodes.double(nodes.add("TfIdfVectorizer", tokens, **_pool(places, estimator.ngram_range)))
        if estimator.binary:
            counts = nodes.add("Min", counts, nodes.number(1.0))
        weighs = is_a(estimator, TfidfVectorizer)
        return [Block(self._weighed(estimator, nodes, counts) if weighs else counts, len(words))]

    def _pattern(self, estimator: Any) -> str:
        for name in ("preprocessor", "tokenizer", "strip_accents"):
            if getattr(estimator, name) is not None:
                raise CannotExport(f"the graph cannot follow its {name}; {_AS_USUAL}")
        if estimator.analyzer != "word":
            raise CannotExport("the graph cannot follow its analyzer; use analyzer='word'")
        if estimator.stop_words is not None and estimator.ngram_range != (1, 1):
            raise CannotExport("stop words change which words are neighbours; leave out stop_words, or ngram_range")
        asked = estimator.token_pattern
        if asked in _PATTERNS:
            return _PATTERNS[asked]
        if re.fullmatch(r"\[[a-zA-Z0-9_-]+\](\+|\{\d+,\})", asked):
            return asked
        raise CannotExport("the graph cannot follow its token_pattern; leave it out, or use one class such as [a-z]+")

    def _weighed(self, estimator: Any, nodes: Nodes, counts: str) -> str:
        if estimator.sublinear_tf:
            there = nodes.add("Greater", counts, nodes.number(0.0))
            logarithm = nodes.add("Add", nodes.add("Log", counts), nodes.number(1.0))
            counts = nodes.add("Where", there, logarithm, counts)
        if estimator.use_idf:
            counts = nodes.add("Mul", counts, nodes.row(estimator.idf_))
        if estimator.norm is None:
            return counts
        size = nodes.total(counts if estimator.norm == "l1" else nodes.add("Mul", counts, counts))
        size = size if estimator.norm == "l1" else nodes.add("Sqrt", size)
        none = nodes.add("Equal", size, nodes.number(0.0))
        return nodes.add("Div", counts, nodes.add("Where", none, nodes.number(1.0), size))


@cache
def _capitals() -> dict[str, list[str]]:
    """The letters that become each letter that is not ASCII, and those that become an ASCII one."""
    found: dict[str, list[str]] = {}
    for code in range(0x80, 0x20000):
        letter = chr(code)
        small = letter.lower()
        if len(small) == 1 and small != letter:
            found.setdefault(small, []).append(letter)
    return found


def _forms(word: str, lowercase: bool) -> Iterator[str]:
    """The word, and how it may stand in a text whose ASCII letters are small already."""
    if not lowercase:
        yield word
        return
    if set(word) & {"σ", "ς"}:
        raise CannotExport("a small sigma depends on where it stands; use lowercase=False")
    known = [[letter, *(_capitals().get(letter, ()) if not letter.isascii() else ())] for letter in word]
    if np.prod([len(forms) for forms in known], dtype=float) > _MOST_FORMS:
        raise CannotExport("its words have too many letters that are not Latin; use lowercase=False")
    yield from ("".join(letters) for letters in product(*known))


def _pool(places: list[tuple[str, int]], ngrams: tuple[int, int]) -> dict[str, Any]:
    """The attributes of onnxruntime's counter: n-grams by length, each with its column."""
    by_length: dict[int, list[tuple[list[str], int]]] = {}
    for form, place in places:
        parts = form.split(" ") if ngrams != (1, 1) else [form]
        by_length.setdefault(len(parts), []).append((parts, place))
    strings: list[str] = []
    starts: list[int] = []
    columns: list[int] = []
    for length in range(1, ngrams[1] + 1):
        starts.append(len(strings))
        for parts, place in by_length.get(length, []):
            strings += parts
            columns.append(place)
    return {
        "mode": "TF",
        "min_gram_length": ngrams[0],
        "max_gram_length": ngrams[1],
        "max_skip_count": 0,
        "pool_strings": strings,
        "ngram_counts": starts,
        "ngram_indexes": columns,
    }
