"""The user's `problem.py` and its tests, written as somebody would who knows the kit, and ruff-clean."""

from collections.abc import Iterable, Mapping
from textwrap import wrap

from starterkit.cli.init.draft import Field, Plan
from starterkit.cli.init.profile import class_name
from starterkit.contract import Scalar

# --- Python as ruff would format it: what fits on a line stays there, what does not has a line an argument.

WIDTH = 120
_QUOTE = '"'


def literal(value: Scalar) -> str:
    """A value as Python source, with double quotes unless single ones need fewer escapes."""
    if not isinstance(value, str):
        return repr(value)
    inside = repr(value + _QUOTE)[1:-2].replace("\\'", "'") if _QUOTE not in value else ""
    if _QUOTE not in value:
        return f'"{inside}"'
    if value.count(_QUOTE) > value.count("'"):
        return repr(value)
    body = repr(value.replace(_QUOTE, ""))  # only to see what else needs an escape
    plain = value.encode("unicode_escape").decode() if "\\" in body else value
    return f'"{plain.replace(_QUOTE, chr(92) + _QUOTE)}"'


def number(value: float, is_whole: bool) -> str:
    """``40`` or ``0.2``: a float without a useless fraction."""
    return (
        str(int(value)) if is_whole or (value == int(value) and abs(value) < 1e15) else repr(value).replace("e+", "e")
    )


def comment(text: str, indent: int = 0, mark: str = "# ") -> list[str]:
    """Lines of a comment."""
    return wrap(text, WIDTH, initial_indent=" " * indent + mark, subsequent_indent=" " * indent + mark)


def listed(name: str, values: Iterable[Scalar], indent: int) -> list[str]:
    """``isin=["a", "b"]``, on one line or a line a value."""
    items = [literal(value) for value in values]
    line = f"{' ' * indent}{name}[{', '.join(items)}]"
    if len(line) < WIDTH:
        return [line]
    return [f"{' ' * indent}{name}[", *(whole(f"{' ' * (indent + 4)}{item},") for item in items), f"{' ' * indent}]"]


def call(start: str, arguments: Iterable[list[str]], indent: int) -> list[str]:
    """``start(a=1, b=2)`` on one line, or a line an argument. An argument is a list of lines without indentation."""
    arguments = list(arguments)
    pad = " " * indent
    line = f"{pad}{start}({', '.join(one[0] for one in arguments)})"
    if len(line) <= WIDTH and all(len(one) == 1 for one in arguments):
        return [line]
    inner = " " * (indent + 4)
    lines = [f"{inner}{line}" for one in arguments for line in [*one[:-1], f"{one[-1]},"]]
    return [f"{pad}{start}(", *lines, f"{pad})"]


def mapping(start: str, items: Mapping[str, str]) -> list[str]:
    """A dictionary, a line an item. The values are source already."""
    lines = [f"    {literal(key)}: {value}," for key, value in items.items()]
    return [f"{start} = {{", *map(whole, lines), "}"]


def whole(line: str) -> str:
    """A line with one long text in it, which cannot be broken. ruff minds it where it has a space."""
    return line if len(line) <= WIDTH or " " not in line.strip() else f"{line}  # noqa: E501"


# --- The schema's source: a line a column, with what was guessed above it.


def schema_lines(plan: Plan) -> list[str]:
    lines = [
        f"class {class_name(plan.name)}(pa.DataFrameModel):",
        '    """One row a record. Rows outside these bounds are refused, and training stops to say so."""',
        "",
    ]
    by_role = {role: [one for one in plan.fields if one.role == role] for role in ("identifier", "group", "feature")}
    keys = [line for one in (*by_role["identifier"], *by_role["group"]) for line in _field(one)]
    if plan.key is None:
        keys = [f'    record: str = {plan.record_role}(description="made by record_of: the table has no id")']
    features = [line for one in by_role["feature"] for line in _field(one)]
    return [*lines, *keys, "", *features, "", *_field(plan.target)]


def _field(one: Field) -> list[str]:
    said = [] if one.role in ("identifier", "group") else [[f'sensitivity="{one.sensitivity}"']]
    if one.unit:
        said.append([f"unit={literal(one.unit)}"])
    if one.bounds:
        low, high = (number(bound, one.type == "int") for bound in one.bounds)
        said += [[f"ge={low}"], [f"le={high}"]]
    if one.categories:
        said.append(listed("isin=", one.categories, 8))
        said[-1][0] = said[-1][0].strip()
        said[-1][1:] = [line[8:] for line in said[-1][1:]]
    if one.nullable:
        said.append(["nullable=True"])
    review = comment(f"review: {one.review}", indent=4) if one.review else []
    return [*review, *call(f"{one.name}: {one.type} = {one.role}", said, 4)]


# --- The estimator's source. All of these are exported exactly (docs/parity.md).

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


# --- The user's `problem.py`, written as somebody would who knows the kit. It is ruff-clean as it leaves here.

_FACTORIES = ("Holdout", "Problem", "Source")
_RECORD = '''\
def record_of(frame: pd.DataFrame) -> list[str]:
    """The table has no id, so what a row says names it; rows that say the same are on the same side of the holdout.

    A row that is corrected may change its side. Where the table can have an id, declare it with identifier() instead.
    """
    said = frame[sorted(map(str, set(frame) - {{{target}}}))].astype("str")
    said = said.apply(lambda column: column.str.removesuffix(".0"))  # 5 is read as 5.0 where another row has a gap
    return [f"{{number:016x}}" for number in pd.util.hash_pandas_object(said, index=False)]
'''
_COARSE_RECORD = '''\
def record_of(frame: pd.DataFrame) -> list[str]:
    """The table has no id and many rows say the same, so one is named by what it says and how many said it before.

    A row that is corrected may change its side. Where the table can have an id, declare it with identifier() instead.
    """
    said = frame[sorted(map(str, frame))].astype("str")
    said = said.apply(lambda column: column.str.removesuffix(".0"))  # 5 is read as 5.0 where another row has a gap
    names = pd.util.hash_pandas_object(said, index=False)
    before = names.groupby(names).cumcount()
    return [f"{name:016x}-{count}" for name, count in zip(names, before, strict=True)]
'''


def problem_source(plan: Plan) -> str:
    """The whole module."""
    blocks = [
        _imports(plan),
        _constants(plan),
        schema_lines(plan),
        *([] if plan.key else [_record(plan)]),
        _load(plan),
        estimator_lines(plan),
    ]
    middle = "\n\n\n".join("\n".join(block) for block in blocks[2:])
    constants = ["", *blocks[1]] if blocks[1] else []
    head = "\n".join([_docstring(plan), "", *blocks[0], *constants])
    return f"{head}\n\n\n{middle}\n\n\n" + "\n".join(_problem(plan)) + "\n"


def _record(plan: Plan) -> list[str]:
    text = _COARSE_RECORD if plan.coarse else _RECORD.format(target=literal(plan.target.name))
    return text.splitlines()


def _docstring(plan: Plan) -> str:
    return f'''"""{_title(plan)}.

Written by `starterkit init-problem` from what a file looks like. Roles, bounds, units and sensitivity are guesses: read
this from top to bottom and put right what you know better. What was least sure is marked with "review".
"""'''


def _title(plan: Plan) -> str:
    name = plan.name.replace("-", " ").capitalize()
    return f"{name}: {plan.target.name} from {len(plan.features)} column{'s' * (len(plan.features) != 1)}"


def _imports(plan: Plan) -> list[str]:
    roles = sorted({one.role for one in plan.fields} | (set() if plan.key else {plan.record_role}))
    names = ", ".join([*_FACTORIES, *roles])
    return [
        "import pandas as pd",
        "import pandera.pandas as pa",
        *estimator_imports(plan),
        "",
        f"from starterkit.problem import {names}",
    ]


def _constants(plan: Plan) -> list[str]:
    blocks = []
    if plan.headers:
        names = mapping("HEADERS", {header: literal(name) for header, name in plan.headers.items()})
        blocks.append([*names, *comment_below("what the file calls its columns, and what they are called here")])
    if plan.left_out:
        lines = ["LEFT_OUT = ["]
        for name, reason in plan.left_out.items():
            lines += [*comment(reason, indent=4), whole(f"    {literal(name)},")]
        blocks.append([*lines, "]", *comment_below("review: columns that the model does not get")])
    if plan.no_value:
        source = {name: f"[{', '.join(map(literal, texts))}]" for name, texts in plan.no_value.items()}
        blocks.append([*mapping("NO_VALUE", source), *comment_below("texts that stand for a missing value")])
    if plan.texts:
        names = [one.name for one in plan.texts]
        blocks.append(listed("TEXTS = ", names, 0))
    return [line for block in blocks for line in block]


def comment_below(text: str) -> list[str]:
    """A variable's docstring."""
    return [f'"""{text[:1].upper()}{text[1:]}."""']


def _load(plan: Plan) -> list[str]:
    lines = [
        "def load(source: Source) -> pd.DataFrame:",
        f'    """Turn the stage\'s source into `{class_name(plan.name)}`. Join, rename or derive columns here."""',
    ]
    read = f"source.read({'HEADERS' if plan.headers else ''})"
    read += '.drop(columns=LEFT_OUT, errors="ignore")' if plan.left_out else ""
    steps = []
    if plan.no_value:
        steps += [
            "    for name, texts in NO_VALUE.items():",
            "        frame[name] = frame[name].mask(frame[name].isin(texts))",
        ]
    result = "frame"
    if plan.without_target:
        count = "1 row has" if plan.without_target == 1 else f"{plan.without_target} rows have"
        steps.append(f"    # {count} none in the file that this was written from: there is nothing to learn from them.")
        result = f"frame[frame[{literal(plan.target.name)}].notna()]"
    if plan.key is None:
        steps += [f"    frame = {result}"] if result != "frame" else []
        result = "frame.assign(record=record_of(frame))"
    if not steps and result == "frame":
        return [*lines, f"    return {read}"]
    return [*lines, f"    frame = {read}", *steps, f"    return {result}"]


def _problem(plan: Plan) -> list[str]:
    said = [
        f"name={literal(plan.name)}",
        f"title={literal(_title(plan))}",
        f'task="{plan.task}"',
        f"schema={class_name(plan.name)}",
        "load=load",
        "estimator=estimator",
        f'metric="{plan.metric}"',
        f"holdout=Holdout(fraction={plan.fraction})",
    ]
    lines = [f"    {one}," for one in said]
    if plan.slices:
        names = ", ".join(map(literal, plan.slices)) + ("," if len(plan.slices) == 1 else "")
        lines.append(f"    slices=({names}),  # a new version may be worse for none of them")
    assert all(len(line) <= WIDTH for line in lines)
    return ["problem = Problem(", *lines, ")"]


# --- The tests that come with the written problem. They are the user's from then on.

_SOURCE = '''\
"""What must stay true of the problem and its data. Written by `starterkit init-problem`; add what you know."""

from pathlib import Path

import pytest

{imports}

ROOT = Path(__file__).parents[{up}]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
{reading}


def test_the_kit_finds_the_problem() -> None:
    assert find_problem() is {attribute}


def test_every_row_fits_the_schema(dataset: Dataset) -> None:
    assert len(dataset) == {rows}


def test_what_is_sensitive_was_decided() -> None:
    sensitive = [column.name for column in {attribute}.columns if column.sensitivity == "sensitive"]
{sensitive}


def test_no_row_of_the_holdout_was_trained_on(dataset: Dataset) -> None:
    key = {attribute}.side_column.name
    assert not set(dataset.training.keys[key]) & set(dataset.holdout.keys[key])


def test_the_model_beats_a_naive_guess(dataset: Dataset) -> None:
    model = Trainer({attribute}, load_settings(ROOT, {{}}).training).fit(dataset)
    assert model.evaluation.scores["{metric}"] < model.baseline.scores["{metric}"]
'''


_OF_THE_KIT = (
    "from starterkit.data import Dataset, DatasetReader",
    "from starterkit.problem import find_problem",
    "from starterkit.settings import DataSettings, Stage, load_settings",
    "from starterkit.training import Trainer",
)


def source_of_tests(plan: Plan, module: str, attribute: str, source: str, depth: int) -> str:
    """The test module. `depth` says how many folders it is below the repository's root."""
    names = [one.name for one in plan.fields if one.role != "identifier" and one.role != "group" and one.sensitive]
    first, *rest = listed("assert sensitive == ", names, 4)
    return _SOURCE.format(
        imports="\n".join(sorted([f"from {module} import {attribute}", *_OF_THE_KIT])),
        attribute=attribute,
        reading="\n".join(_reading(attribute, source)),
        rows=plan.rows,
        sensitive="\n".join([first, *rest]),
        metric=plan.metric,
        up=depth,
    )


def _reading(attribute: str, source: str) -> list[str]:
    """On one line, or as ruff breaks it: the file's name may be long."""
    given = [attribute, f"DataSettings(source={literal(source)})", "ROOT", "Stage.LOCAL"]
    line = f"    return DatasetReader({', '.join(given)}).read()"
    if len(line) <= WIDTH:
        return [line]
    inner = f"        {', '.join(given)}"
    lines = [inner]
    if len(inner) > WIDTH:
        lines = [f"        {one}," for one in given]
        if len(lines[1]) > WIDTH:
            lines[1:2] = ["        DataSettings(", whole(f"            source={literal(source)}"), "        ),"]
    return ["    return DatasetReader(", *lines, "    ).read()"]
