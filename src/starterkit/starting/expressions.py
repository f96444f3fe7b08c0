"""Python as ruff would format it: what fits on a line stays there, what does not has a line an argument."""

from collections.abc import Iterable, Mapping
from textwrap import wrap

from starterkit.contract import Scalar

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
