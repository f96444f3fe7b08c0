"""The user's `problem.py`, written as somebody would who knows the kit. It is ruff-clean as it leaves here."""

from starterkit.starting.estimators import estimator_imports, estimator_lines
from starterkit.starting.expressions import WIDTH, comment, listed, literal, mapping, whole
from starterkit.starting.names import class_name
from starterkit.starting.planning import Plan
from starterkit.starting.schemas import schema_lines

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
