"""What is written of a plan: problem.py and its tests from templates, and config/base.yaml with its comments."""

import io
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.tokens import CommentToken
from ruamel.yaml.util import load_yaml_guess_indent

from starterkit.cli.init.draft import Field, Plan
from starterkit.cli.init.headers import class_name
from starterkit.contract import AS_DECLARED, COMMAS, Dialect, Scalar
from starterkit.errors import SettingsError
from starterkit.settings import DataSettings

Limits = Mapping[str, tuple[str, float]]
"""By metric, whether the figure is a ``min`` or a ``max``, and the figure."""

# --- Python, from templates. A template's own lines are as ruff has them; what may be long goes through `fitted`.

_WIDTH = 120
_OF_THE_KIT = (
    "from starterkit.data import Dataset, DatasetReader",
    "from starterkit.problem import find_problem",
    "from starterkit.settings import DataSettings, Stage, load_settings",
    "from starterkit.training import Trainer",
)


def problem_source(plan: Plan) -> str:
    """The whole of `problem.py`, as somebody would write it who knows the kit."""
    words = plan.name.replace("-", " ").capitalize()
    title = f"{words}: {plan.target.name} from {len(plan.features)} column{'s' * (len(plan.features) != 1)}"
    roles = sorted({one.role for one in plan.fields} | ({plan.record_role} if plan.by_content else set()))
    schema, steps = class_name(plan.name), list(_steps(plan))
    return _render("problem.py.jinja", plan=plan, title=title, schema=schema, roles=roles, steps=steps)


def _steps(plan: Plan) -> Iterator[tuple[str, str]]:
    """What `load` does one after the other: why, and what the frame becomes."""
    drop = '.drop(columns=LEFT_OUT, errors="ignore")' if plan.left_out else ""
    yield "", "source.read()" + ("" if plan.odd_rows else drop)
    for odd in plan.odd_rows:  # their columns may be among those that are left out
        which = f"frame[{literal(odd.name)}]"
        yield (
            f"review: {odd.what} and no record",
            f"frame[{which} != {literal(odd.text)}]" if odd.is_text else (f"frame[{which}.notna()]"),
        )
    if plan.odd_rows and drop:
        yield "", f"frame{drop}"
    if plan.without_target:
        rows = "1 row has" if plan.without_target == 1 else f"{plan.without_target} rows have"
        why = f"{rows} none in the file that this was written from: there is nothing to learn from them."
        yield why, f"frame[frame[{literal(plan.target.name)}].notna()]"
    if plan.key and plan.as_iso:
        moment = plan.as_iso.replace("{}", f"frame[{literal(plan.key.name)}]")
        yield "", fitted("return frame.assign(", [f"{plan.key.name}={moment}"], ")", 4).strip().removeprefix("return ")
    if plan.by_content:
        yield "", "frame.assign(record=record_of(frame))"
    if plan.copied:
        ids = [one.name for one in plan.fields if one.role in ("identifier", "group")]
        why = f"review: the same record under another {ids[0]} teaches nothing, and the gate refuses many of them"
        yield why, f"frame[~frame.drop(columns=[{', '.join(map(literal, ids))}]).duplicated()]"


def source_of_tests(plan: Plan, module: str, source: str) -> str:
    """The module of its tests, for the package `module` and the data file `source`."""
    sensitive = [one.name for one in plan.fields if one.role in ("feature", "target") and one.sensitive]
    imports = [f"from {module} import problem", *_OF_THE_KIT]
    return _render("test_problem.py.jinja", plan=plan, source=source, sensitive=sensitive, imports=imports)


def formatted(source: str, path: Path) -> str:
    """As the project's own ruff would have it, which may know another width. It is there where the test tools are."""
    if find_spec("ruff") is None:
        return source
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(path), "-"]
    done = subprocess.run(command, input=source, capture_output=True, encoding="utf-8", check=False)  # noqa: S603  # fixed words
    return source if done.returncode else done.stdout


@cache
def _environment() -> Environment:
    """Kept, for a template takes longer to compile than to fill in."""
    environment = Environment(  # noqa: S701  # Python, and no page
        loader=PackageLoader("starterkit.cli.init"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = literal
    return environment


def _render(template: str, **values: object) -> str:
    text = _environment().get_template(template).render(values, fitted=fitted, arguments=_arguments)
    return "".join(map(_whole, text.splitlines(keepends=True)))


def literal(value: Scalar) -> str:
    """A value as Python source, with double quotes unless single ones need fewer escapes."""
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text else text


def fitted(start: str, items: Iterable[str], end: str, indent: int = 0) -> str:
    """``start(a, b)`` on one line, or where it is too long a line an item."""
    items, pad = list(items), " " * indent
    line = f"{pad}{start}{', '.join(items)}{end}"
    if len(line) < _WIDTH and "\n" not in line:
        return line
    return f"{pad}{start}\n{''.join(f'{pad}    {item},{chr(10)}' for item in items)}{pad}{end}"


def _arguments(one: Field) -> Iterator[str]:
    """What a column's factory is given."""
    if one.role in ("feature", "target"):
        yield f'sensitivity="{one.sensitivity}"'
    if one.unit:
        yield f"unit={literal(one.unit)}"
    if one.bounds:
        low, high = (_number(bound, one.type == "int") for bound in one.bounds)
        yield from (f"ge={low}", f"le={high}")
    if one.categories:
        yield fitted("isin=[", map(literal, one.categories), "]", 8).strip()
    if one.nullable:
        yield "nullable=True"
    usual, written = vars(AS_DECLARED), vars(one.written)
    if said := [f"{name}={_source(value)}" for name, value in written.items() if value != usual[name]]:
        yield fitted("written=Written(", said, ")", 8).strip()


def _source(value: object) -> str:
    """Texts, tuples and mappings of them as Python source."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(text)}: {flag}' for text, flag in value.items())}}}"
    return literal(value) if isinstance(value, str) else repr(value)


def _number(value: float, is_whole: bool) -> str:
    """``40`` or ``0.2``: a float without a useless fraction."""
    whole = is_whole or (value == int(value) and abs(value) < 1e15)
    return str(int(value)) if whole else repr(value).replace("e+", "e")


def _whole(line: str) -> str:
    """A line with one long text in it cannot be broken. ruff minds it where it has a space."""
    text = line.rstrip("\n")
    return line if len(text) <= _WIDTH or " " not in text.strip() else f"{text}  # noqa: E501\n"


# --- config/base.yaml with another source, other parameters and limits. Everything else stays, comments too.


def with_problem(
    text: str, source: str, params: Mapping[str, Scalar], limits: Limits, dialect: Dialect = COMMAS
) -> str:
    """The file's text with ``data.source``, ``training.params`` and ``gate.limits`` of a new problem.

    A dialect that is not the usual one stands in ``data.dialect``; an earlier file's goes.

    Raises
    ------
    SettingsError
        It is no YAML, or its data has more than a file's name, such as a database's query.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    try:
        yaml.indent(mapping=load_yaml_guess_indent(text)[1] or 2)
        values = yaml.load(text) or CommentedMap()
        _set(values, "data", "source", source)
        _set_dialect(values["data"], dialect)
        _set(values, "training", "params", CommentedMap(params))
        bounds = {name: CommentedMap({word: _bound(figure)}) for name, (word, figure) in limits.items()}
        _set(values, "gate", "limits", CommentedMap(bounds))
        DataSettings.model_validate(dict(values["data"]))
    except (YAMLError, ValueError, TypeError, AttributeError) as error:
        what = "config/base.yaml cannot say where the new data is"
        raise SettingsError(what, "Write it as the template does, and take out a database's query") from error
    out = io.StringIO()
    yaml.dump(values, out)
    return out.getvalue()


def _set_dialect(data: CommentedMap, dialect: Dialect) -> None:
    data.pop("dialect", None)
    said = {name: value for name, value in asdict(dialect).items() if value != getattr(COMMAS, name)}
    if said:
        told = CommentedMap({name: DoubleQuotedScalarString(value) for name, value in said.items()})
        told.fa.set_flow_style()
        data.insert(0, "dialect", told)  # behind the source stand the comments of the next section


def _bound(figure: float) -> float:
    return int(figure) if figure == int(figure) else float(f"{figure:.12g}")


def _set(values: CommentedMap, section: str, key: str, value: Scalar | CommentedMap) -> None:
    """Put a value in its place, before the comments and blank lines that stood behind the old one."""
    if values.get(section) is None:
        values[section] = CommentedMap()
    place = values[section]
    old, place[key] = place.get(key), value
    if not isinstance(value, CommentedMap):
        if key in place.ca.items:
            place.ca.items[key][2].column = 0  # one space before it, whatever the new value's length
        return
    before, last = _last(old), _last(value)
    if before and last and (token := before[0].ca.items.get(before[1], [None] * 3)[2]):
        below = token.value.partition("\n")[2]
        last[0].ca.items[last[1]] = [None, None, CommentToken(f"\n{below}", CommentMark(0), None), None]


def _last(value: object) -> tuple[CommentedMap, str] | None:
    """The last key below a mapping, however deep, and the mapping that has it."""
    if not isinstance(value, CommentedMap) or not value:
        return None
    key = next(reversed(value))
    return _last(value[key]) or (value, key)
