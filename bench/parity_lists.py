"""The four lists that `bench/parity.py` asks: each case has a name, a task and an unfitted estimator."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import decomposition, feature_selection, impute, kernel_approximation, preprocessing, random_projection
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import FeatureAgglomeration, KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

NUMBERS = ["height", "weight", "pressure", "count", "share", "level"]
TEXTS = ["site", "ward"]


@dataclass(frozen=True)
class Case:
    """`task` is "regression", or "2" or "3" classes. `columns` the estimator takes; `gaps` are missing values."""

    name: str
    task: str
    build: Callable[[], Any] = field(repr=False)
    columns: tuple[str, ...] = tuple(NUMBERS)
    gaps: bool = False


def mixed(numbers: Any = "passthrough") -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((encoder, TEXTS), (numbers, NUMBERS))


# --- scikit-learn's whole registry.

_INNER = {
    "regressor": lambda: Ridge(),
    "classifier": lambda: LogisticRegression(max_iter=500),
}
_SMALL = {"n_estimators": 20, "max_iter": None}


def _built(kind: type, role: str) -> Any:
    accepted = kind.__init__.__code__.co_varnames if hasattr(kind.__init__, "__code__") else ()
    given: dict[str, Any] = {}
    if "estimator" in accepted and kind.__name__ not in ("AdaBoostClassifier", "AdaBoostRegressor"):
        given["estimator"] = _INNER[role]()
    if "estimators" in accepted:
        other = DecisionTreeRegressor if role == "regressor" else DecisionTreeClassifier
        given["estimators"] = [("linear", _INNER[role]()), ("tree", other(max_depth=4, random_state=0))]
    if "random_state" in accepted:
        given["random_state"] = 0
    if "n_estimators" in accepted:
        given["n_estimators"] = 20
    return kind(**given)


def registry() -> Iterator[Case]:
    """Every regressor and classifier, over numbers and over mixed columns."""
    for role in ("regressor", "classifier"):
        for name, kind in all_estimators(role):
            front = MinMaxScaler(clip=True) if _needs_positive(kind) else StandardScaler()
            task = "regression" if role == "regressor" else "3"
            if name in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
                task = "2"
            columns = ("height",) if name == "IsotonicRegression" else tuple(NUMBERS)
            scaled = () if name in ("CategoricalNB", "IsotonicRegression") else (front,)
            yield Case(f"{name}, numbers", task, partial(_piped, scaled, kind, role), columns)
            if name != "IsotonicRegression":
                columns = (*NUMBERS, *TEXTS)
                yield Case(f"{name}, mixed", task, partial(_piped, (mixed(front),), kind, role), columns)


def _piped(front: tuple[Any, ...], kind: type, role: str) -> Any:
    return make_pipeline(*front, _built(kind, role))


def _needs_positive(kind: type) -> bool:
    return kind.__name__ in ("CategoricalNB", "ComplementNB", "MultinomialNB")


# --- Transformers, in front of a line and of boosting.


def _doubled(values: Any) -> Any:
    return 2.0 * values + 1.0


def _logs(values: Any) -> Any:
    return np.log1p(np.abs(values))


_IGNORE = {"handle_unknown": "ignore", "sparse_output": False}
_ON_NUMBERS: dict[str, Callable[[], Any]] = {
    "StandardScaler": StandardScaler,
    "StandardScaler(with_mean=False)": lambda: StandardScaler(with_mean=False),
    "MinMaxScaler": MinMaxScaler,
    "MinMaxScaler(clip)": lambda: MinMaxScaler(clip=True),
    "MaxAbsScaler": MaxAbsScaler,
    "MaxAbsScaler(clip)": lambda: MaxAbsScaler(clip=True),
    "RobustScaler": RobustScaler,
    "Normalizer": preprocessing.Normalizer,
    "Normalizer(max)": lambda: preprocessing.Normalizer(norm="max"),
    "Binarizer": lambda: preprocessing.Binarizer(threshold=1.5),
    "PowerTransformer": PowerTransformer,
    "PowerTransformer(plain)": lambda: PowerTransformer(standardize=False),
    "QuantileTransformer": lambda: QuantileTransformer(n_quantiles=200),
    "QuantileTransformer(normal)": lambda: QuantileTransformer(n_quantiles=200, output_distribution="normal"),
    "KBinsDiscretizer": lambda: KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"),
    "KBinsDiscretizer(ordinal)": lambda: KBinsDiscretizer(6, encode="ordinal", strategy="uniform"),
    "SplineTransformer": SplineTransformer,
    "SplineTransformer(linear)": lambda: SplineTransformer(extrapolation="linear", include_bias=False),
    "SplineTransformer(continue)": lambda: SplineTransformer(degree=2, extrapolation="continue"),
    "SplineTransformer(periodic)": lambda: SplineTransformer(extrapolation="periodic"),
    "PolynomialFeatures": PolynomialFeatures,
    "PolynomialFeatures(3)": lambda: PolynomialFeatures(3, include_bias=False),
    "PolynomialFeatures(interactions)": lambda: PolynomialFeatures(3, interaction_only=True),
    "FunctionTransformer(log1p)": lambda: FunctionTransformer(_logs),
    "FunctionTransformer(sqrt)": lambda: make_pipeline(FunctionTransformer(np.abs), FunctionTransformer(np.sqrt)),
    "FunctionTransformer(own)": lambda: FunctionTransformer(_doubled),
    "FunctionTransformer(round)": lambda: FunctionTransformer(np.round, kw_args={"decimals": 2}),
    "FunctionTransformer": FunctionTransformer,
    "PCA": lambda: make_pipeline(StandardScaler(), decomposition.PCA(4)),
    "PCA(whiten)": lambda: make_pipeline(StandardScaler(), decomposition.PCA(4, whiten=True)),
    "IncrementalPCA": lambda: make_pipeline(StandardScaler(), decomposition.IncrementalPCA(4)),
    "KernelPCA": lambda: make_pipeline(StandardScaler(), decomposition.KernelPCA(4, kernel="rbf")),
    "TruncatedSVD": lambda: make_pipeline(StandardScaler(), decomposition.TruncatedSVD(4, random_state=0)),
    "FastICA": lambda: make_pipeline(StandardScaler(), decomposition.FastICA(4, random_state=0)),
    "FactorAnalysis": lambda: make_pipeline(StandardScaler(), decomposition.FactorAnalysis(3, random_state=0)),
    "NMF": lambda: make_pipeline(MinMaxScaler(clip=True), decomposition.NMF(3, random_state=0, max_iter=500)),
    "SelectKBest": lambda: feature_selection.SelectKBest(feature_selection.f_regression, k=4),
    "SelectPercentile": lambda: feature_selection.SelectPercentile(feature_selection.f_regression),
    "SelectFromModel": lambda: feature_selection.SelectFromModel(Lasso(0.1)),
    "RFE": lambda: feature_selection.RFE(LinearRegression()),
    "VarianceThreshold": feature_selection.VarianceThreshold,
    "GaussianRandomProjection": lambda: random_projection.GaussianRandomProjection(4, random_state=0),
    "SparseRandomProjection": lambda: random_projection.SparseRandomProjection(4, random_state=0),
    "Nystroem": lambda: make_pipeline(StandardScaler(), kernel_approximation.Nystroem(n_components=30, random_state=0)),
    "RBFSampler": lambda: make_pipeline(StandardScaler(), kernel_approximation.RBFSampler(random_state=0)),
    "KMeans": lambda: make_pipeline(StandardScaler(), KMeans(4, random_state=0, n_init=2)),
    "FeatureAgglomeration": lambda: make_pipeline(StandardScaler(), FeatureAgglomeration(3)),
    "RandomTreesEmbedding": lambda: RandomTreesEmbedding(n_estimators=5, random_state=0),
    "FeatureUnion": lambda: make_union(StandardScaler(), PolynomialFeatures(2)),
}
_ON_GAPS: dict[str, Callable[[], Any]] = {
    "SimpleImputer": impute.SimpleImputer,
    "SimpleImputer(median, indicator)": lambda: impute.SimpleImputer(strategy="median", add_indicator=True),
    "KNNImputer": impute.KNNImputer,
    "IterativeImputer": lambda: impute.IterativeImputer(max_iter=3, random_state=0),
    "MissingIndicator": lambda: make_union(impute.SimpleImputer(), impute.MissingIndicator(features="all")),
}
_ON_TEXTS: dict[str, Callable[[], Any]] = {
    "OneHotEncoder": lambda: OneHotEncoder(**_IGNORE),
    "OneHotEncoder(min_frequency)": lambda: OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=60, sparse_output=False
    ),
    "OrdinalEncoder": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "TargetEncoder": lambda: TargetEncoder(target_type="continuous"),
}


def transformers() -> Iterator[Case]:
    """Each in front of `Ridge`, and those whose values are not sums in front of boosting."""
    boosting = partial(HistGradientBoostingRegressor, max_iter=20, random_state=0)
    for name, build in _ON_NUMBERS.items():
        yield Case(f"{name} → Ridge", "regression", partial(_behind, build, Ridge))
        if re.match("Standard|MinMax|MaxAbs|Robust|KBins|Poly|Function|Select|Variance|RFE", name):
            yield Case(f"{name} → boosting", "regression", partial(_behind, build, boosting))
    for name, build in _ON_GAPS.items():
        yield Case(f"{name} → Ridge", "regression", partial(_behind, build, Ridge), gaps=True)
    for name, build in _ON_TEXTS.items():
        columns = (*NUMBERS, *TEXTS)
        for last, made in (("Ridge", Ridge), ("boosting", boosting)):
            yield Case(f"{name} → {last}", "regression", partial(_encoded, build, made), columns)


def _behind(build: Callable[[], Any], last: Callable[[], Any]) -> Any:
    return make_pipeline(build(), last())


def _encoded(build: Callable[[], Any], last: Callable[[], Any]) -> Any:
    return make_pipeline(make_column_transformer((build(), TEXTS), (StandardScaler(), NUMBERS)), last())


# --- Estimators that hold others, and texts.

_SCALED: dict[str, Callable[[], Any]] = {"numbers": StandardScaler, "mixed": lambda: mixed(StandardScaler())}
_LOGISTIC = partial(LogisticRegression, max_iter=500)
_FOREST = partial(RandomForestClassifier, 10, random_state=0)
_REGRESSORS_IN: dict[str, Callable[[], Any]] = {
    "TransformedTarget(log1p)": lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    "TransformedTarget(sqrt)": lambda: TransformedTargetRegressor(Ridge(), func=np.sqrt, inverse_func=np.square),
    "TransformedTarget(StandardScaler)": lambda: TransformedTargetRegressor(SVR(), transformer=StandardScaler()),
    "TransformedTarget(Power)": lambda: TransformedTargetRegressor(Ridge(), transformer=PowerTransformer()),
    "TransformedTarget(Quantile)": lambda: TransformedTargetRegressor(
        Ridge(), transformer=QuantileTransformer(n_quantiles=100)
    ),
    "TransformedTarget(boosting, log)": lambda: TransformedTargetRegressor(
        HistGradientBoostingRegressor(max_iter=20), func=np.log, inverse_func=np.exp
    ),
    "Voting": lambda: VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=4, random_state=0))]),
    "Voting(weights)": lambda: VotingRegressor([("a", Ridge()), ("b", Lasso())], weights=[1, 2]),
    "Stacking": lambda: StackingRegressor([("a", Ridge()), ("b", RandomForestRegressor(5, random_state=0))]),
    "Stacking(passthrough)": lambda: StackingRegressor([("a", Ridge()), ("b", SVR())], passthrough=True),
    "Bagging": lambda: BaggingRegressor(random_state=0),
    "Bagging(columns)": lambda: BaggingRegressor(Ridge(), max_features=0.5, random_state=0),
    "Bagging(SVR)": lambda: BaggingRegressor(SVR(), 4, random_state=0),
    "AdaBoost": lambda: AdaBoostRegressor(n_estimators=15, random_state=0),
    "AdaBoost(Ridge)": lambda: AdaBoostRegressor(Ridge(), n_estimators=8, random_state=0),
    "RANSAC": lambda: RANSACRegressor(random_state=0),
    "GridSearch": lambda: GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=3),
    "RandomizedSearch": lambda: RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, n_iter=2, cv=3, random_state=0),
    "Poisson": PoissonRegressor,
    "HistGradientBoosting(poisson)": lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=20),
    "HistGradientBoosting(gamma)": lambda: HistGradientBoostingRegressor(loss="gamma", max_iter=20),
    "HistGradientBoosting(quantile)": lambda: HistGradientBoostingRegressor(loss="quantile", quantile=0.8, max_iter=20),
    "GradientBoosting(init)": lambda: GradientBoostingRegressor(init=Ridge(), n_estimators=20, random_state=0),
    "KNeighbors(distance)": lambda: KNeighborsRegressor(weights="distance"),
    "Pipeline in a pipeline": lambda: make_pipeline(make_pipeline(MinMaxScaler()), make_pipeline(Ridge())),
    "XGB in Voting": lambda: VotingRegressor([("a", Ridge()), ("b", XGBRegressor(n_estimators=10, n_jobs=1))]),
    "LGBM in Stacking": lambda: StackingRegressor(
        [("a", LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1)), ("b", Ridge())]
    ),
}
_CLASSIFIERS_IN: dict[str, Callable[[], Any]] = {
    "Calibrated(sigmoid, SVC)": lambda: CalibratedClassifierCV(LinearSVC()),
    "Calibrated(isotonic)": lambda: CalibratedClassifierCV(GaussianNB(), method="isotonic"),
    "Calibrated(isotonic, forest)": lambda: CalibratedClassifierCV(_FOREST(), method="isotonic", cv=3),
    "Calibrated(temperature)": lambda: CalibratedClassifierCV(_FOREST(), method="temperature", cv=3),
    "Calibrated(boosting)": lambda: CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=10), cv=3),
    "OneVsRest(logistic)": lambda: OneVsRestClassifier(_LOGISTIC()),
    "OneVsRest(SVC)": lambda: OneVsRestClassifier(LinearSVC()),
    "OneVsRest(forest)": lambda: OneVsRestClassifier(_FOREST()),
    "OneVsOne(logistic)": lambda: OneVsOneClassifier(_LOGISTIC()),
    "OneVsOne(tree)": lambda: OneVsOneClassifier(DecisionTreeClassifier(max_depth=4, random_state=0)),
    "OutputCode": lambda: OutputCodeClassifier(_LOGISTIC(), random_state=0),
    "Voting(soft)": lambda: VotingClassifier([("a", _LOGISTIC()), ("b", GaussianNB())], voting="soft"),
    "Voting(soft, weights)": lambda: VotingClassifier(
        [("a", _LOGISTIC()), ("b", _FOREST())], voting="soft", weights=[2, 1]
    ),
    "Voting(hard)": lambda: VotingClassifier([("a", _LOGISTIC()), ("b", GaussianNB()), ("c", _FOREST())]),
    "Stacking": lambda: StackingClassifier([("a", GaussianNB()), ("b", _FOREST())], final_estimator=_LOGISTIC()),
    "Stacking(decision)": lambda: StackingClassifier([("a", LinearSVC()), ("b", RidgeClassifier())]),
    "Stacking(passthrough)": lambda: StackingClassifier([("a", GaussianNB())], passthrough=True),
    "Stacking(predict)": lambda: StackingClassifier([("a", GaussianNB())], stack_method="predict"),
    "Bagging": lambda: BaggingClassifier(random_state=0),
    "Bagging(logistic)": lambda: BaggingClassifier(_LOGISTIC(), 4, max_features=0.7, random_state=0),
    "Bagging(SVC)": lambda: BaggingClassifier(SVC(), 4, random_state=0),
    "AdaBoost": lambda: AdaBoostClassifier(n_estimators=15, random_state=0),
    "AdaBoost(deep)": lambda: AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=10, random_state=0),
    "SelfTraining": lambda: SelfTrainingClassifier(_LOGISTIC()),
    "GridSearch": lambda: GridSearchCV(_LOGISTIC(), {"C": [0.1, 1.0]}, cv=3),
    "SVC": SVC,
    "SVC(poly)": lambda: SVC(kernel="poly"),
    "SVC(break_ties)": lambda: SVC(break_ties=True),
    "SVC(probability)": lambda: SVC(probability=True),
    "SGD(log_loss)": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "SGD(modified_huber)": lambda: SGDClassifier(loss="modified_huber", random_state=0),
    "SGD(hinge)": lambda: SGDClassifier(random_state=0),
    "RidgeClassifier": RidgeClassifier,
    "ExtraTrees": lambda: ExtraTreesClassifier(10, random_state=0),
    "GradientBoosting": lambda: GradientBoostingClassifier(n_estimators=10, random_state=0),
    "KNeighbors(distance)": lambda: KNeighborsClassifier(weights="distance"),
    "XGB in Voting": lambda: VotingClassifier(
        [("a", _LOGISTIC()), ("b", XGBClassifier(n_estimators=5, n_jobs=1))], voting="soft"
    ),
}
_TWO: dict[str, Callable[[], Any]] = {
    "FixedThreshold": lambda: FixedThresholdClassifier(_LOGISTIC(), threshold=0.3),
    "FixedThreshold(decision)": lambda: FixedThresholdClassifier(
        _LOGISTIC(), threshold=0.2, response_method="decision_function"
    ),
    "TunedThreshold": lambda: TunedThresholdClassifierCV(_LOGISTIC(), cv=3),
    "TunedThreshold(forest)": lambda: TunedThresholdClassifierCV(_FOREST(), cv=3),
    "OneVsRest(two)": lambda: OneVsRestClassifier(_LOGISTIC()),
    "Calibrated(two)": lambda: CalibratedClassifierCV(LinearSVC()),
    "AdaBoost(two)": lambda: AdaBoostClassifier(n_estimators=15, random_state=0),
    "SVC(two)": SVC,
}
_WORDS: dict[str, Callable[[], Any]] = {
    "Tfidf": TfidfVectorizer,
    "Count": CountVectorizer,
    "Tfidf(ngrams)": lambda: TfidfVectorizer(ngram_range=(1, 2)),
    "Tfidf(sublinear)": lambda: TfidfVectorizer(sublinear_tf=True),
    "Tfidf(l1)": lambda: TfidfVectorizer(norm="l1"),
    "Tfidf(no idf)": lambda: TfidfVectorizer(use_idf=False, norm=None),
    "Count(binary)": lambda: CountVectorizer(binary=True),
    "Count(case)": lambda: CountVectorizer(lowercase=False),
    "Count(min_df)": lambda: CountVectorizer(min_df=5),
    "Count(max_features)": lambda: CountVectorizer(max_features=10),
    "Tfidf(stop words)": lambda: TfidfVectorizer(stop_words="english"),
    "Tfidf(accents)": lambda: TfidfVectorizer(strip_accents="unicode"),
    "Count(one letter)": lambda: CountVectorizer(token_pattern=r"(?u)\b\w+\b"),
    "Count(letters)": lambda: CountVectorizer(token_pattern=r"[a-z]+"),
    "Count(characters)": lambda: CountVectorizer(analyzer="char", ngram_range=(2, 3)),
    "Tfidf(char_wb)": lambda: TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3)),
    "Hashing": lambda: HashingVectorizer(n_features=64),
    "Tfidf(vocabulary)": lambda: TfidfVectorizer(vocabulary=["good", "bad", "café"]),
}


def compositions() -> Iterator[Case]:
    """Estimators that hold or change others, pipelines and texts."""
    for where, front in _SCALED.items():
        columns = tuple(NUMBERS) if where == "numbers" else (*NUMBERS, *TEXTS)
        for name, build in _REGRESSORS_IN.items():
            yield Case(f"{name}, {where}", "regression", partial(_two_steps, front, build), columns)
        for name, build in _CLASSIFIERS_IN.items():
            yield Case(f"{name}, {where}", "3", partial(_two_steps, front, build), columns)
        for name, build in _TWO.items():
            yield Case(f"{name}, {where}", "2", partial(_two_steps, front, build), columns)
    for name, build in _WORDS.items():
        yield Case(f"{name} → Logistic", "3", partial(_worded, build), ("note", "height"))
    for name in ("Tfidf", "Count"):
        yield Case(f"{name} → MultinomialNB", "3", partial(_counted, _WORDS[name]), ("note", "height"))


def _two_steps(front: Callable[[], Any], build: Callable[[], Any]) -> Any:
    return make_pipeline(front(), build())


def _worded(build: Callable[[], Any]) -> Any:
    return make_pipeline(make_column_transformer((build(), "note"), (StandardScaler(), ["height"])), _LOGISTIC())


def _counted(build: Callable[[], Any]) -> Any:
    return make_pipeline(make_column_transformer((build(), "note")), MultinomialNB())


# --- XGBoost and LightGBM.

_XGB: dict[str, dict[str, Any]] = {
    "default": {},
    "deep": {"max_depth": 10},
    "lossguide": {"grow_policy": "lossguide", "max_leaves": 20},
    "subsample": {"subsample": 0.5, "colsample_bytree": 0.5},
    "regularised": {"reg_alpha": 1.0, "reg_lambda": 5.0, "gamma": 0.1},
    "exact": {"tree_method": "exact"},
    "approx": {"tree_method": "approx"},
    "monotone": {"monotone_constraints": (1, 0, 0, 0, 0, 0)},
    "parallel trees": {"num_parallel_tree": 3},
    "base_score": {"base_score": 0.3},
    "stumps": {"max_depth": 1},
    "500 trees": {"n_estimators": 500},
    "dart": {"booster": "dart"},
    "dart, drop": {"booster": "dart", "rate_drop": 0.3},
    "gblinear": {"booster": "gblinear"},
    "missing=-999": {"missing": -999.0},
    "early": {"min_child_weight": 20},
    "max_delta_step": {"max_delta_step": 1},
}
_XGB_LOSSES: dict[str, dict[str, Any]] = {
    name: {"objective": name}
    for name in ("reg:absoluteerror", "reg:pseudohubererror", "reg:gamma", "reg:tweedie", "count:poisson")
}
_XGB_LOSSES["reg:quantileerror"] = {"objective": "reg:quantileerror", "quantile_alpha": 0.7}
_XGB_LOSSES["reg:squaredlogerror"] = {"objective": "reg:squaredlogerror"}
_LGBM: dict[str, dict[str, Any]] = {
    "default": {},
    "deep": {"num_leaves": 100, "min_child_samples": 2},
    "dart": {"boosting_type": "dart"},
    "rf": {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
    "goss": {"data_sample_strategy": "goss"},
    "extra_trees": {"extra_trees": True},
    "max_bin": {"max_bin": 15},
    "monotone": {"monotone_constraints": [1, 0, 0, 0, 0, 0]},
    "path_smooth": {"path_smooth": 2.0},
    "zero_as_missing": {"zero_as_missing": True},
    "use_missing=False": {"use_missing": False},
    "500 trees": {"n_estimators": 500},
    "stumps": {"max_depth": 1},
    "colsample": {"colsample_bytree": 0.5},
    "linear_tree": {"linear_tree": True},
}
_LGBM_LOSSES: dict[str, dict[str, Any]] = {
    name: {"objective": name} for name in ("l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie")
} | {"reg_sqrt": {"reg_sqrt": True}}
_LGBM_CLASSES: dict[str, dict[str, Any]] = {
    "multiclassova": {"objective": "multiclassova"},
    "is_unbalance": {"is_unbalance": True},
}


def boosters() -> Iterator[Case]:
    """Parameters and losses, with and without missing values and mixed columns."""
    base = {"n_estimators": 15, "n_jobs": 1, "random_state": 0}
    for task in ("regression", "2", "3"):
        xgb = XGBRegressor if task == "regression" else XGBClassifier
        lgbm = LGBMRegressor if task == "regression" else LGBMClassifier
        for name, given in _XGB.items():
            if name == "base_score" and task == "3":
                continue
            if "missing" not in name:
                yield Case(f"{xgb.__name__} {name}, {task}", task, partial(xgb, **{**base, **given}))
            else:
                yield Case(f"{xgb.__name__} {name}, {task}", task, partial(_marked, xgb, {**base, **given}), gaps=True)
        for name, given in _LGBM.items():
            build = partial(lgbm, verbose=-1, **{**base, **given})
            yield Case(f"{lgbm.__name__} {name}, {task}", task, build)
        for kind, more in ((xgb, {}), (lgbm, {"verbose": -1})):
            yield Case(f"{kind.__name__} gaps, {task}", task, partial(kind, **base, **more), gaps=True)
            behind = partial(_two_steps, lambda: mixed(StandardScaler()), partial(kind, **base, **more))
            yield Case(f"{kind.__name__} mixed, {task}", task, behind, (*NUMBERS, *TEXTS))
    yield from _losses(base)
    yield from _categories(base)


def _categories(base: dict[str, Any]) -> Iterator[Case]:
    """Splits by category: of texts by their columns' names, and of numbers of an encoder in front by their places."""
    types, some = [*"cc", *"q" * len(NUMBERS)], {"n_estimators": 15, "verbose": -1, "min_data_per_group": 5}
    for task in ("regression", "2", "3"):
        hist = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
        xgb = XGBRegressor if task == "regression" else XGBClassifier
        lgbm = LGBMRegressor if task == "regression" else LGBMClassifier
        named = partial(hist, max_iter=15, categorical_features=list(TEXTS))
        placed = partial(hist, max_iter=15, categorical_features=[0, 1])
        sets = partial(xgb, enable_categorical=True, feature_types=types, **base)
        singles = partial(sets, max_cat_to_onehot=100)
        grouped = partial(lgbm, categorical_feature=[0, 1], **{**base, **some})
        for gaps in (False, True):
            shape = {"columns": (*NUMBERS, *TEXTS), "gaps": gaps}
            said = f"{task}{', gaps' if gaps else ''}"
            yield Case(f"{hist.__name__} categories by name, {said}", task, named, **shape)
            for kind, build in (("by place", placed), ("", sets), ("one by one", singles), ("", grouped)):
                name = f"{build.func.__name__} categories {kind}".strip()
                yield Case(f"{name}, {said}", task, partial(_two_steps, _numbered, build), **shape)


def _numbered() -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    return make_column_transformer((encoder, list(TEXTS)), remainder="passthrough")


def _losses(base: dict[str, Any]) -> Iterator[Case]:
    for name, given in _XGB_LOSSES.items():
        yield Case(f"XGBRegressor {name}", "regression", partial(XGBRegressor, **{**base, **given}))
    for name, given in _LGBM_LOSSES.items():
        yield Case(f"LGBMRegressor {name}", "regression", partial(LGBMRegressor, verbose=-1, **{**base, **given}))
    for task in ("2", "3"):
        for name, given in _LGBM_CLASSES.items():
            build = partial(LGBMClassifier, verbose=-1, **{**base, **given})
            yield Case(f"LGBMClassifier {name}, {task}", task, build)
        yield Case(f"XGBRFClassifier, {task}", task, partial(XGBRFClassifier, **base))
    yield Case("XGBRFRegressor", "regression", partial(XGBRFRegressor, **base))
    yield Case("XGBClassifier hinge", "2", partial(XGBClassifier, objective="binary:hinge", **base))
    yield Case("XGBClassifier softmax", "3", partial(XGBClassifier, objective="multi:softmax", **base))


def _marked(kind: Any, given: dict[str, Any]) -> Any:
    return make_pipeline(impute.SimpleImputer(strategy="constant", fill_value=-999.0), kind(**given))


LISTS: dict[str, Callable[[], Iterator[Case]]] = {
    "registry": registry,
    "transformers": transformers,
    "compositions": compositions,
    "boosters": boosters,
}
