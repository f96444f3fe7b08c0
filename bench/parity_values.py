"""A converter that leaves out a parameter answers otherwise: each value of each parameter, right or refused by name.

The values follow from what scikit-learn's classes declare. The tests walk through them, the common classes in each run
and all of them with `make test-slow`.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import parity
import xgboost
from sklearn.base import ClassifierMixin, ClusterMixin
from sklearn.compose import make_column_transformer
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import kernels
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators
from sklearn.utils._param_validation import Hidden, Interval, StrOptions, make_constraint

from starterkit.errors import ExportError
from starterkit.training.export.families import family_of

# --- The classes that a family takes, and the values that their parameters can have.

COMMON = (
    *("LinearRegression", "LogisticRegression", "MaxAbsScaler", "MinMaxScaler"),
    *("OneHotEncoder", "OrdinalEncoder", "PolynomialFeatures", "RandomForestRegressor", "Ridge", "RobustScaler"),
    *("SimpleImputer", "StandardScaler"),
)
"""Walked in each run of the tests; the others by `make test-slow`."""

SKIPPED = {
    *("n_jobs", "random_state", "verbose", "verbose_feature_names_out", "tol", "copy", "copy_X", "copy_X_train"),
    *("cache_size", "warm_start", "max_iter", "memory", "error_score", "refit", "return_train_score", "scoring"),
    *("store_cv_results", "store_covariance", "compute_score", "n_iter_no_change", "leaf_size", "input"),
    *("decode_error", "encoding", "dtype", "cv", "importance_getter", "check_input", "force_int_remainder_cols"),
}
"""How something is computed or told, and not what."""

NEEDED: dict[str, Any] = {
    "estimators": [("linear", 0), ("tree", 1)],
    "param_grid": {"alpha": [0.1, 9.0]},
    "param_distributions": {"alpha": [0.1, 9.0]},
    "steps": [("scaler", StandardScaler()), ("last", Ridge())],
    "transformers": [("scaled", StandardScaler(), ["height"]), ("turned", MinMaxScaler(), ["count"])],
    "transformer_list": [("scaled", StandardScaler()), ("turned", MinMaxScaler())],
}
"""What a constructor asks for and has no default."""

SMALL = {"n_estimators": 4, "n_components": 2, "n_quantiles": 30, "score_func": f_regression, "min_samples_leaf": 5}
"""In place of a default, so that each fit takes little time."""

OTHERWISE: dict[str, dict[str, Any]] = {
    "CCA": {"n_components": 1},
    "Dummy": {"constant": 1, "quantile": 0.3},
    "ExtraTrees": {"bootstrap": True},
    "FeatureAgglomeration": {"linkage": "average"},
    "GenericUnivariateSelect": {"mode": "k_best", "param": 2},
    "HistGradientBoosting": {"max_iter": 4, "quantile": 0.3},
    "IsotonicRegression": {"out_of_bounds": "clip"},
    "LGBM": {"subsample": 0.7, "subsample_freq": 1},
    "LinearDiscriminantAnalysis": {"n_components": 1},
    "LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "MLP": {"hidden_layer_sizes": (8,), "max_iter": 10},
    "OneHotEncoder": {"handle_unknown": "ignore"},
    "OrdinalEncoder": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
    "PLS": {"n_components": 1},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "VarianceThreshold": {"threshold": 0.1},
}
"""Without these a class, or all of a beginning, refuses its other values, the rows, or takes long."""

MORE: dict[str, list[Any]] = {
    "missing_values": [-1, 0.0],
    "feature_range": [(-1, 2)],
    "quantile_range": [(10.0, 60.0)],
    "ngram_range": [(1, 2), (2, 2)],
    "degree": [(2, 3)],
    "hidden_layer_sizes": [(4, 3)],
    "metric": [lambda one, other: np.abs(one - other).sum()],
    "weights": [lambda distances: 1 / (1 + distances), [1, 3]],
    "kernel": [
        *(kernels.RBF([1.0, 2.0, 3.0]), kernels.ConstantKernel(2.0) * kernels.RBF() + kernels.WhiteKernel()),
        *(kernels.Matern(), kernels.RationalQuadratic(), kernels.DotProduct(), laplacian_kernel),
    ],
    "transformer_weights": [{"scaled": 2.0}],
    "func": [np.exp, np.sign, np.cumsum],
    "pooling_func": [np.max],
    "token_pattern": ["[a-z]+", r"(?u)\b\w+\b", r"\S+"],
    "tokenizer": [str.split],
    "preprocessor": [str.upper],
    "stop_words": [["the", "a"]],
    "vocabulary": [["good", "bad", "slow"]],
    "class_weight": [{0: 2.0, 1: 1.0, 2: 0.5}],
    "monotonic_cst": [[1, 0, -1]],
    "categorical_features": [[1]],
    "interaction_cst": [[[0, 1], [2]]],
    "knots": [np.array([[1.4, 0, 0], [1.7, 3, 0.5], [2.0, 9, 1.0]])],
    "transformer": [StandardScaler(), FunctionTransformer(np.log, np.exp), MinMaxScaler()],
    "priors": [[0.2, 0.3, 0.5]],
    "class_prior": [[0.2, 0.3, 0.5]],
    "remainder": ["passthrough", StandardScaler()],
    # Those of XGBoost and LightGBM, which declare nothing.
    "objective": [
        *("reg:squaredlogerror", "reg:absoluteerror", "reg:gamma", "reg:tweedie", "count:poisson", "reg:logistic"),
        *("reg:pseudohubererror", "multi:softmax", "binary:hinge", "survival:cox", "rank:pairwise", "binary:logitraw"),
        *("regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "multiclassova"),
        *("cross_entropy", "rank_xendcg"),
    ],
    "booster": ["gblinear", "dart"], "boosting_type": ["dart", "rf"], "missing": [0.0, -999.0], "base_score": [0.3],
    "max_depth": [1, 4], "grow_policy": ["lossguide"], "tree_method": ["exact", "approx"], "num_parallel_tree": [2],
    "multi_strategy": ["multi_output_tree"], "monotone_constraints": [(1, 0, -1)], "learning_rate": [0.5],
    "subsample": [0.7], "reg_alpha": [1.0], "reg_lambda": [3.0], "importance_type": ["gain"], "num_leaves": [4],
    "scale_pos_weight": [2.0], "enable_categorical": [True],
}  # fmt: skip
"""Values that scikit-learn's own constraints name by their type alone. Those that an estimator refuses are left out."""

NUMBERS = (3, 2, 1, 0.4, 0.0, 1.6, -0.5, 40)


def kinds() -> list[Any]:
    """The classes that a family takes."""
    known = [kind for _, kind in all_estimators()]
    known += [one for library in (xgboost, lightgbm) for one in vars(library).values() if inspect.isclass(one)]
    return [kind for kind in known if family_of(kind)]


def _parameters(kind: Any) -> dict[str, Any]:
    """Names and defaults; XGBoost's classes take theirs as keywords."""
    declared = inspect.signature(kind).parameters
    keywords = any(one.kind is one.VAR_KEYWORD for one in declared.values())
    return kind().get_params() if keywords else {name: one.default for name, one in declared.items()}


def _values(kind: Any) -> Iterator[tuple[str, Any]]:
    """Each parameter with each value that is worth asking about, but for the default."""
    declared = getattr(kind, "_parameter_constraints", {})
    for name, default in _parameters(kind).items():
        if name in SKIPPED:
            continue
        allowed = declared.get(name, ())
        constraints = [] if isinstance(allowed, str) else [make_constraint(one) for one in allowed]
        values = [value for one in constraints for value in _of(one)] + MORE.get(name, [])
        if name in ("estimator", "regressor", "final_estimator", "base_estimator"):
            values += [None, *_inner(kind)]
        yield from ((name, value) for value in values if not (np.isscalar(value) and value == default))


def _of(constraint: Any) -> list[Any]:
    if isinstance(constraint, Hidden):
        return []
    if isinstance(constraint, Interval):
        return [number for number in NUMBERS if constraint.is_satisfied_by(number)][:2]
    if isinstance(constraint, StrOptions) or hasattr(constraint, "options"):
        return sorted(constraint.options - set(getattr(constraint, "deprecated", ())), key=str)
    told = str(constraint)
    return [True, False] if "bool" in told else [None] if told == "None" else []


def _inner(kind: Any) -> list[Any]:
    if issubclass(kind, ClassifierMixin):
        return [LogisticRegression(), DecisionTreeClassifier(max_depth=3), LinearSVC()]
    return [Ridge(), DecisionTreeRegressor(max_depth=3)]


def _made(kind: Any, **given: Any) -> Any:
    inner = _inner(kind)
    known = {"random_state": 0, "n_jobs": 1, **SMALL}
    asked = NEEDED | dict.fromkeys(("estimator", "regressor"), inner[0])
    asked["estimators"] = [("linear", inner[0]), ("tree", inner[1])]
    for start, values in OTHERWISE.items():
        known |= values if kind.__name__.startswith(start) else {}
    made = {}
    for name, default in _parameters(kind).items():
        if name in known or default is inspect.Parameter.empty:
            made[name] = known[name] if name in known else asked[name]
    return kind(**{**made, **given})


# --- One value: right, refused by name, or what is wrong with it.

TEXTS = {
    **dict.fromkeys(("OneHotEncoder", "OrdinalEncoder", "TargetEncoder"), ("site", "ward")),
    **dict.fromkeys(("CountVectorizer", "TfidfVectorizer"), (parity.NOTE,)),
}
COLUMNS = {"IsotonicRegression": ("height",), "KNNImputer": ("height", "share", "level")}
"""KNNImputer: of whole numbers many are equally near, and which of them it takes hangs on all rows asked."""
POSITIVE = ("ComplementNB", "MultinomialNB")


@cache
def _rows(name: str, gaps: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The table, what is fitted, and what is asked: other rows, some a hundred ranges away in one column or all."""
    columns = [*TEXTS.get(name, COLUMNS.get(name, ("height", "count", "share")))]
    made = parity.table(120, 7, False)
    seen, asked = made[columns], parity.other_rows(made[columns], 200, 9, False)
    if name in TEXTS:
        return made, seen, asked
    random = np.random.default_rng(4)
    away = 10 ** random.uniform(-1, 2, (60, len(columns))) * random.choice([-1, 1], (60, len(columns)))
    away[:30] *= np.eye(len(columns))[random.integers(0, len(columns), 30)]
    far = seen.iloc[:60] + away * (seen.max() - seen.min()).to_numpy()
    front = (MinMaxScaler((0.1, 1), clip=True) if name in POSITIVE else StandardScaler()).set_output(transform="pandas")
    seen, asked = front.fit_transform(seen), front.transform(pd.concat([asked, far]))
    if name not in (*POSITIVE, *COLUMNS):  # zero is a mark for missing values, to some
        seen, asked = (one.mask(random.random(one.shape) < 0.05, 0.0) for one in (seen, asked))
    if gaps:
        seen, asked = (one.mask(random.random(one.shape) < 0.1) for one in (seen, asked))
    return made, seen, asked


def _verdict(kind: Any, given: dict[str, Any], task: str) -> str:
    """Of a transformer, what a sum of its columns says; "unfit" where scikit-learn itself refuses the value."""
    name, turns = kind.__name__, task == "turn"
    if turns:
        task = "3" if issubclass(kind, ClassifierMixin | NeighborhoodComponentsAnalysis) else "regression"
    try:
        estimator = _made(kind, **given)
        gaps = bool(estimator.__sklearn_tags__().input_tags.allow_nan)
        made, seen, asked = _rows(name, gaps)
        target = parity.answers(parity.Case(name, task, kind), made)
        if isinstance(estimator, FrozenEstimator):
            estimator.estimator.fit(seen, target)
        if turns:
            front = make_column_transformer((estimator, parity.NOTE)) if parity.NOTE in seen else estimator
            filler = SimpleImputer(strategy="constant", fill_value=-3, keep_empty_features=True)
            filled = [filler] if gaps and name != "MissingIndicator" else []
            estimator, task = make_pipeline(front, *filled, LinearRegression()), "regression"
        fitted = estimator.fit(seen, target)
        if turns:  # no column may hide behind a weight of zero
            fitted[-1].coef_ = np.random.default_rng(5).uniform(1, 2, fitted[-1].coef_.shape)
        expected = np.asarray(fitted.predict(asked)).ravel()
        shares = parity.behind(fitted, task, asked)
    except Exception as error:  # scikit-learn refuses in many ways
        return f"unfit: {type(error).__name__} {error}"
    numbers = expected.astype(float)[:, None] if shares is None else shares
    finite = np.isfinite(numbers).all(axis=1)  # the proof goes where there are numbers
    if not finite.any():
        return "unfit: no numbers"
    try:
        answered = parity._by_the_kit(parity.Case(name, task, kind, gaps=gaps), fitted, seen, asked)
    except ExportError as refusal:
        named = all(one in str(refusal) for one in (name, *given)) and "skl2onnx" not in str(refusal)
        return f"refused: {refusal}" if named else f"refused without its name: {refusal}"
    except Exception as error:  # nobody must ever see it
        return f"fails: {type(error).__name__} {error}"
    shares = None if shares is None else shares[finite]
    answered = [one[finite] for one in answered]
    found = parity._compared(expected[finite], float(target.std()), task, shares, answered)
    return "right" if found.verdict == "right" else f"wrong: {found.largest:.1e} {found.why}"


def walk(kind: Any) -> Iterator[tuple[str, str, str]]:
    """Each value, in each of a class's tasks, and the verdict on it; the defaults first."""
    tasks = ["turn"] if hasattr(kind, "transform") else []
    if issubclass(kind, ClassifierMixin):
        tasks += ["2"] if "Threshold" in kind.__name__ else ["3", "2"]
    elif kind is FrozenEstimator or (hasattr(kind, "predict") and not issubclass(kind, ClusterMixin)):
        tasks.append("regression")
    for task in tasks:
        verdict = _verdict(kind, {}, task)
        yield task, "", verdict
        for name, value in _values(kind) if verdict == "right" else ():
            yield task, f"{name}={value}", _verdict(kind, {name: value}, task)
