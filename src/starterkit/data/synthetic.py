"""Rows that are nobody's: of the kind that the schema allows, or with the real rows' distributions."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import LEAST_PEOPLE, Column, ColumnType, Scalar
from starterkit.errors import DataError

# --- What is nobody's: a value that at least five people have.

_UNSEEN = "made up, and never seen"

People = NDArray[Any] | None
"""Whose each of n rows is; None where each is somebody else's."""


def one_each(values: pd.Series, people: People) -> pd.Series:
    """The known ones of n values, each once a person: what is counted then is people."""
    if people is None:
        return values.dropna()
    return values[~pd.DataFrame({"value": values.to_numpy(), "person": people}).duplicated().to_numpy()].dropna()


def shared(known: pd.Series) -> pd.Series:
    """Of values that stand there once a person, those that at least five have, in order, with the counts."""
    counts = known.value_counts().sort_index()
    return counts[counts >= LEAST_PEOPLE]


def _numbers_of_many(column: Column, known: pd.Series) -> pd.Series:
    """Numbers that five people share stay; of any other its neighbours' mean is left, by fives in order of size."""
    numbers = np.sort(known.to_numpy(np.float64))
    runs = np.minimum(np.arange(len(numbers)) // LEAST_PEOPLE, max(len(numbers) // LEAST_PEOPLE - 1, 0))
    means = (np.bincount(runs, numbers) / np.bincount(runs))[runs]
    means = np.rint(means) if column.type == "integer" else means
    return pd.Series(np.where(np.isin(numbers, shared(known).index.to_numpy(np.float64)), numbers, means))


def _words_of_many(texts: pd.Series, people: People) -> list[str]:
    """Words that at least five people wrote."""
    whose = range(len(texts)) if people is None else people.tolist()
    pairs = ((person, text) for person, text in zip(whose, texts, strict=True) if isinstance(text, str))
    said = {(person, word) for person, text in pairs for word in re.findall(r"\w+", text)}
    counts = Counter(word for _, word in said)
    return sorted(word for word, count in counts.items() if count >= LEAST_PEOPLE)[:_WORDS]


# --- Made-up rows: of the kind that the data holds and the schema allows, and nobody's.

_MISSING_SHARE = 0.05
_ODD_SHARE = 0.25
_PLAIN: Mapping[ColumnType, Callable[[Any], Scalar]] = {"float": float, "integer": int, "boolean": bool, "string": str}


def draw_rows(
    columns: tuple[Column, ...], seen: pd.DataFrame, rows: int, seed: int, people: People = None
) -> pd.DataFrame:
    """Made-up rows with the features' names and types.

    Half of a numeric column's values are like those seen, each column by itself, so that no person's row is kept; the
    others are even over the schema's bounds, or those seen where it has none. Where a column says how far it is to be
    proven, three rows of five go there: with one column, with half of them, or with all at once. A text that the schema
    does not list is one that at least five people share, or made of words that as many wrote, as somebody else might.
    """
    random = np.random.default_rng(seed)
    far = _far_out(columns, rows, random)
    drawn = {c.name: _draw(c, seen[c.name], far[:, at], random, people) for at, c in enumerate(columns)}
    return pd.DataFrame(drawn)


def _far_out(columns: Sequence[Column], rows: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which values (rows × columns) lie anywhere in the range that is to be proven."""
    going = np.flatnonzero([column.proven is not None for column in columns])
    far = np.zeros((rows, len(columns)), np.bool_)
    if len(going):
        share = random.choice([0, 0, 0.5, 1, -1], rows)  # -1: one column
        far[:, going] = random.random((rows, len(going))) < share[:, None]
        alone = np.flatnonzero(share < 0)
        far[alone, random.choice(going, len(alone))] = True
    return far


def _draw(
    column: Column, seen: pd.Series, far: NDArray[np.bool_], random: np.random.Generator, people: People
) -> pd.Series:
    known, rows = one_each(seen, people), len(far)
    if column.type in ("float", "integer") and not column.categories:
        like = _numbers_of_many(column, known).sample(rows, replace=True, random_state=random)
        low = known.min() if column.minimum is None else column.minimum
        high = known.max() if column.maximum is None else column.maximum
        drawn = like.to_numpy(np.float64, copy=True)
        even = random.random(rows) >= 0.5
        drawn[even] = random.uniform(low, high, int(even.sum()))
        drawn[far] = _far_numbers(column, int(far.sum()), random)
        values = pd.Series(drawn.round() if column.type == "integer" else drawn).astype(known.dtype)
    elif column.categories:
        values = pd.Series(random.choice(np.array(column.categories), rows)).astype(known.dtype)
    elif column.type == "string":
        usual = shared(known).index.tolist() or [_UNSEEN]
        odd = odd_texts(usual, _words_of_many(seen, people), random)
        like = random.choice(np.array(known[known.isin(usual)].tolist() or usual, object), rows)
        others = random.choice(np.array(odd, object), rows)
        values = pd.Series(np.where(random.random(rows) >= _ODD_SHARE, like, others)).astype(known.dtype)
    else:
        values = known.sample(rows, replace=True, random_state=random).reset_index(drop=True)
    if column.nullable:
        values = values.where(random.random(rows) >= _MISSING_SHARE)
    return values


def _far_numbers(column: Column, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Numbers anywhere between the ends of what is to be proven: even, whole, of every size and sign, and the ends."""
    low, high = column.proven or (0.0, 0.0)
    even = random.uniform(low, high, count)
    size = 10 ** random.uniform(-12, np.log10(max(abs(low), abs(high), 1e-11)), count)
    marks = np.array([low, high, 0, 1, -1, 1e-300, -1e-300, 2.0**31, 2.0**53])
    kinds = [even, even.round(), size * random.choice([-1, 1], count), random.choice(marks, count)]
    return np.clip(np.choose(random.integers(len(kinds), size=count), kinds), low, high)


# What people write beside what they wrote: a tokeniser that is not the library's shows in one of these.
_ACCENTS = str.maketrans("aeiouncyAEIOUNCY", "áéïöûñçÿÁÉÏÖÛÑÇŸ")
_TEXTS = 2000
_WORDS = 5000
_EXACT = 12
"""Digits of a median, at most: 537.6, not 537.59999999."""


_WAYS: Sequence[Callable[[list[str], str], str]] = (
    lambda words, _: " ".join(words),
    lambda words, _: " ".join(words * 2),
    lambda words, _: " ".join(words).translate(_ACCENTS),
    lambda words, text: unicodedata.normalize("NFD", text.translate(_ACCENTS)),
    lambda words, text: text.title(),
    lambda words, _: " ".join(words).upper(),
    lambda words, _: ", ".join(f"{word}{at}" for at, word in enumerate(words)) + "!?",
    lambda words, _: "-".join(words) + f" ({words[0]}'s) {words[0]}_{words[-1]} 12.5%",
    lambda words, _: " a ".join(words) + " x",
    lambda words, _: "\t".join(words) + "\n" + "  ".join(words) + "\u00a0" + words[0],
    lambda words, text: f"{text} {_UNSEEN} {text[::-1]}",
)


def odd_texts(texts: Sequence[str], words: Sequence[str], random: np.random.Generator) -> list[str]:
    """Texts that nobody wrote: known texts and words recombined, repeated, accented, with other signs and spaces."""
    texts, words = texts[:_WORDS], words or [_UNSEEN]
    made = [_UNSEEN, _UNSEEN.title(), " ", "a", "I", "7", "é", "a b c", "ß Straße", "1.5e3", "x\ty", "don't re-do it!"]
    for number in range(_TEXTS):
        some = random.choice(words, random.integers(1, 9)).tolist()
        made.append(_WAYS[number % len(_WAYS)](some, texts[int(random.integers(len(texts)))]))
    return made


def typical_row(columns: tuple[Column, ...], seen: pd.DataFrame, people: People = None) -> dict[str, Scalar]:
    """A row of typical values that at least five people share: plausible, and nobody's.

    It stands in the contract and in the API's pages. What no five share is rounded until five do; a text that the
    schema does not list and few share could be somebody's, and is not shown.
    """
    row: dict[str, Scalar] = {}
    for column in columns:
        known = one_each(seen[column.name], people)
        numeric = column.type in ("float", "integer") and not column.categories
        row[column.name] = _PLAIN[column.type](_typical_number(column, known) if numeric else _typical(column, known))
    return row


def _typical(column: Column, known: pd.Series) -> Scalar:
    usual = shared(known)
    if len(usual):
        return usual.idxmax()
    return column.categories[0] if column.categories else _UNSEEN if column.type == "string" else False


def _typical_number(column: Column, known: pd.Series) -> float:
    """The median, as exactly as five people have it."""
    middle, most = float(known.median()), float(known.abs().max()) or 1.0
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    for place in range(-_EXACT, 2):
        unit = 10.0 ** (math.floor(math.log10(most)) + place)
        unit = max(unit, 1.0) if column.type == "integer" else unit
        if (np.rint(known.astype("float64") / unit) == np.rint(middle / unit)).sum() >= LEAST_PEOPLE:
            return float(np.clip(float(f"{np.rint(middle / unit) * unit:.12g}"), low, high))
    return float(np.clip(0.0, low, high))


# --- Made-up rows that look like the real ones: the columns' distributions and rank correlations, and nobody's row.
#
# A Gaussian copula: every column becomes normal scores, rows are drawn with the scores' correlations, and the scores
# become values of the column again (Nelsen, An Introduction to Copulas, 2006). A number is drawn between its fifth
# smallest and its fifth largest person's value, and a category or a text that fewer than five people have is never
# drawn: these could be somebody's. Whole numbers of which hardly one is rarer, as classes and codes are, stay those:
# between 1 and 3 there need not be a 2.

LEAST_ROWS = 50
_CODES = 0.9
_TRIES = 50
_HINT = "set privacy.sensitive to generalise or drop"

Floats = NDArray[np.float64]


def mock_rows(columns: Sequence[Column], real: pd.DataFrame, seed: int, people: People = None) -> pd.DataFrame:
    """As many made-up rows as there are real ones, with the same columns, types and shares of missing values.

    `columns` are the features and the target. The last one orders the categories of the others. Where fewer than five
    people lack a value, nobody does.

    Raises
    ------
    DataError
        There are too few real rows to hide one among them, or the columns have so few values that every row is one
        of the real ones.
    """
    require_rows(len(real))
    random = np.random.default_rng(seed)
    names = [column.name for column in columns]
    order = real[names[-1]].rank() if columns[-1].type != "string" else real[names[-1]].astype("category").cat.codes
    marginals = [_marginal(column, real[column.name], order, people) for column in columns]
    root = _root(pd.DataFrame({name: one.scores for name, one in zip(names, marginals, strict=True)}))
    made = _draw_jointly(names, marginals, root, len(real), random)
    known = _rows(real[names])
    for _ in range(_TRIES):
        copied = _rows(made).isin(known).to_numpy()
        if not copied.any():
            return made.astype(real[names].dtypes.to_dict())
        again = _draw_jointly(names, marginals, root, int(copied.sum()), random)
        made = pd.concat([made[~copied], again], ignore_index=True)
    what = "made-up rows keep being equal to real ones, for the columns have too few values"
    raise DataError(what, f"Declare columns that tell rows apart, or {_HINT}")


def require_rows(count: int) -> None:
    """See that there are enough rows to hide one among them."""
    if count < LEAST_ROWS:
        what = f"made-up rows cannot be drawn from {count} rows, for each would show"
        raise DataError(what, f"Give at least {LEAST_ROWS}, or {_HINT}")


@dataclass(frozen=True)
class _Marginal:
    """One column's normal scores (n, NaN where missing), the values that it draws, and its share of missing ones."""

    scores: Floats
    values: NDArray[Any]
    shares: Floats | None
    missing: float
    whole: bool

    def draw(self, uniform: Floats, random: np.random.Generator) -> pd.Series:
        if self.shares is None:
            drawn = pd.Series(np.quantile(self.values, uniform))
            drawn = drawn.round() if self.whole else drawn
        else:
            places = np.searchsorted(np.cumsum(self.shares), uniform, side="right")
            drawn = pd.Series(self.values[np.minimum(places, len(self.values) - 1)])
        count = round(self.missing * len(drawn))
        return drawn.mask(np.isin(np.arange(len(drawn)), random.permutation(len(drawn))[:count])) if count else drawn


def _marginal(column: Column, values: pd.Series, order: pd.Series, people: People) -> _Marginal:
    known, lacking = values.dropna(), values.isna()
    missing = float(lacking.mean())
    if len(one_each(lacking.where(lacking), people)) < LEAST_PEOPLE:
        missing = 0.0
    usual, whole = shared(one_each(values, people)), column.type == "integer"
    counts = known.value_counts().reindex(usual.index)
    if column.type in ("float", "integer") and not column.categories:
        scores = _scores(values.astype("float64"))
        if whole and counts.sum() >= _CODES * len(known):
            return _Marginal(scores, counts.index.to_numpy(), _shares(counts), missing, whole)
        numbers = _between(known.astype("float64"), None if people is None else people[~lacking.to_numpy()])
        if not len(numbers):
            raise _too_few(column)
        return _Marginal(scores, numbers, None, missing, whole)
    means = order.groupby(values, sort=True).mean().sort_values(kind="stable")
    counts = counts.reindex(means.index).dropna()
    if counts.empty:
        raise _too_few(column)
    codes = values.map({value: place for place, value in enumerate(means.index)})
    return _Marginal(_scores(codes), counts.index.to_numpy(), _shares(counts), missing, whole)


def _shares(counts: pd.Series) -> Floats:
    return np.asarray(counts / counts.sum(), np.float64)


def _between(known: pd.Series, people: People) -> Floats:
    """The numbers, in order, between that of the fifth person from below and that of the fifth from above."""
    whose = np.arange(len(known)) if people is None else people
    ends = known.groupby(whose).agg(["min", "max"])
    if len(ends) < 2 * LEAST_PEOPLE - 1:
        return np.empty(0)
    low, high = ends["min"].nsmallest(LEAST_PEOPLE).max(), ends["max"].nlargest(LEAST_PEOPLE).min()
    return np.sort(known[(known >= low) & (known <= high)].to_numpy(np.float64))


def _too_few(column: Column) -> DataError:
    what = f"'{column.name}' has hardly a value that {LEAST_PEOPLE} people share, and made-up ones would be somebody's"
    return DataError(what, f"Leave the column out of the schema, or {_HINT}")


def _scores(values: pd.Series) -> Floats:
    from scipy.special import ndtri

    return ndtri(((values.rank() - 0.5) / max(values.count(), 1)).to_numpy(np.float64))


def _root(scores: pd.DataFrame) -> Floats:
    """A matrix that gives independent scores these scores' correlations."""
    correlations = scores.corr(min_periods=LEAST_PEOPLE).fillna(0).to_numpy(copy=True)
    np.fill_diagonal(correlations, 1)
    sizes, directions = np.linalg.eigh(correlations)  # pairs with missing values may contradict each other a little
    root = directions * np.sqrt(np.maximum(sizes, 0))
    return root / np.linalg.norm(root, axis=1, keepdims=True)


def _draw_jointly(
    names: Sequence[str], marginals: Sequence[_Marginal], root: Floats, count: int, random: np.random.Generator
) -> pd.DataFrame:
    from scipy.special import ndtr

    uniform = ndtr(random.standard_normal((count, len(names))) @ root.T)
    return pd.DataFrame(
        {n: m.draw(uniform[:, i], random) for i, (n, m) in enumerate(zip(names, marginals, strict=True))}
    )


def _rows(frame: pd.DataFrame) -> pd.Series:
    """A hash of each row, the same whatever the columns' types are."""
    plain = {
        name: frame[name].astype("float64") if pd.api.types.is_numeric_dtype(frame[name]) else frame[name].astype("str")
        for name in frame
    }
    return pd.util.hash_pandas_object(pd.DataFrame(plain), index=False)
