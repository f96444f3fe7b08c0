"""The estimator's source. All of these are exported exactly (docs/parity.md)."""

from starterkit.contract import Scalar
from starterkit.starting.expressions import call
from starterkit.starting.planning import Plan

_HAND_OVER = '''    """{docstring} The arguments are what `training.params` in config/ may set."""'''


def parameters(plan: Plan) -> dict[str, Scalar]:
    """What `training.params` says."""
    if plan.is_linear:
        return {"regularization": 1.0}
    return {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 20}


def estimator_lines(plan: Plan) -> list[str]:
    return _linear(plan) if plan.is_linear else _trees(plan)


def estimator_imports(plan: Plan) -> list[str]:
    """The lines that import its parts, in ruff's order."""
    lines = ["from sklearn.compose import make_column_transformer"] if plan.texts else []
    if not plan.is_linear:
        lines.append(f"from sklearn.ensemble import {_trees_of(plan)}")
    if plan.is_linear and plan.has_gaps:
        lines.append("from sklearn.impute import SimpleImputer")
    if plan.is_linear:
        lines.append(f"from sklearn.linear_model import {_linear_of(plan)}")
    needs_pipeline = plan.is_linear or plan.texts
    lines += ["from sklearn.pipeline import Pipeline, make_pipeline"] if needs_pipeline else []
    preprocessing = ["OneHotEncoder"] * bool(plan.texts) + ["StandardScaler"] * (plan.is_linear and _has_numbers(plan))
    return lines + ([f"from sklearn.preprocessing import {', '.join(preprocessing)}"] if preprocessing else [])


def _linear_of(plan: Plan) -> str:
    return "Ridge" if plan.task == "regression" else "LogisticRegression"


def _trees_of(plan: Plan) -> str:
    return "HistGradientBoostingRegressor" if plan.task == "regression" else "HistGradientBoostingClassifier"


def _has_numbers(plan: Plan) -> bool:
    return len(plan.texts) < len(plan.features)


def _linear(plan: Plan) -> list[str]:
    if plan.task == "regression":
        model = "Ridge(alpha=regularization)"
    else:
        model = "LogisticRegression(C=1 / regularization, max_iter=2000)"
    lines = [
        "def estimator(*, regularization: float = 1.0) -> Pipeline:",
        _HAND_OVER.format(docstring="Few rows, so a line and not a forest."),
    ]
    scaler = ['SimpleImputer(strategy="median")'] * plan.has_gaps + ["StandardScaler()"]
    if not plan.texts:
        return [*lines, *call("return make_pipeline", [*([part] for part in scaler), [model]], 4)]
    columns = "    columns = make_column_transformer((texts, TEXTS))"
    lines.append('    texts = OneHotEncoder(handle_unknown="ignore")')
    if _has_numbers(plan):
        joined = f"make_pipeline({', '.join(scaler)})" if plan.has_gaps else scaler[0]
        lines.append(f"    numbers = {joined}")
        columns = "    columns = make_column_transformer((texts, TEXTS), remainder=numbers)"
    return [*lines, columns, f"    return make_pipeline(columns, {model})"]


def _trees(plan: Plan) -> list[str]:
    kind = _trees_of(plan)
    lines = [
        "def estimator(",
        "    *,",
        "    max_iter: int = 100,",
        "    learning_rate: float = 0.1,",
        "    max_leaf_nodes: int = 15,",
        "    min_samples_leaf: int = 20,",
        "    random_state: int = 0,",
        f") -> {'Pipeline' if plan.texts else kind}:",
        _HAND_OVER.format(docstring="Trees take missing values as they are."),
    ]
    start, end = (f"    trees = {kind}(", "    )") if plan.texts else (f"    return {kind}(", "    )")
    model = [
        start,
        *(f"        {name}={name}," for name in (*parameters(plan), "random_state")),
        end,
    ]
    if not plan.texts:
        return [*lines, *model]
    texts = '    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)'
    columns = '    columns = make_column_transformer((texts, TEXTS), remainder="passthrough")'
    return [*lines, texts, columns, *model, "    return make_pipeline(columns, trees)"]
