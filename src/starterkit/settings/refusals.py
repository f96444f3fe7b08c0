"""Turning pydantic's errors into the kit's: where it was said, which key, and what is allowed."""

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from starterkit.errors import SettingsError
from starterkit.settings.model import Key, fields, may_stand_in_yaml, model_at
from starterkit.settings.stage import Stage


def explain(error: ValidationError, origins: Mapping[Key, str], stage: Stage) -> list[SettingsError]:
    """Explain every problem of a validation, each in one line and without the value, which can be a secret."""
    details = error.errors(include_url=False, include_input=False)
    return [_explain_one(detail, origins, stage) for detail in details]


def together(problems: list[SettingsError]) -> SettingsError:
    """Make one error of several: a summary, then a line each."""
    if len(problems) == 1:
        return problems[0]
    lines = "".join(f"\n- {problem}" for problem in problems)
    return SettingsError(f"The settings have {len(problems)} problems:{lines}")


def _explain_one(detail: ErrorDetails, origins: Mapping[Key, str], stage: Stage) -> SettingsError:
    key = tuple(str(part) for part in detail["loc"])
    dotted = ".".join(key)
    field = fields().get(key)
    description = field.description if field else None
    if detail["type"] == "missing":
        what = f"config/{stage}.yaml: {dotted} is missing"
        return SettingsError(what, f"Add it there, or to config/base.yaml for all stages. It takes: {description}")
    origin = origins.get(key) or origins.get(key[:-1]) or "the settings"  # a list comes from one place as a whole
    if detail["type"] == "extra_forbidden":
        return _unknown_key(key, origin)
    return SettingsError(f"{origin}: {dotted} {_what_is_allowed(detail, description)}")


def _unknown_key(key: Key, origin: str) -> SettingsError:
    *above, name = key
    model = model_at(tuple(above))
    known = [known for known, field in model.model_fields.items() if may_stand_in_yaml(field)] if model else []
    close = get_close_matches(name, known, n=1)
    hint = f" (did you mean {'.'.join((*above, close[0]))}?)" if close else ""
    what = f"{origin}: {'.'.join(key)} is not a setting{hint}"
    return SettingsError(what, f"Remove or rename it; allowed are {', '.join(known)}")


def _what_is_allowed(detail: ErrorDetails, description: str | None) -> str:
    kind, message, context = detail["type"], detail["msg"], detail.get("ctx", {})
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in ("model_type", "dict_type"):
        return "should hold keys and values; leave it out if there are none"
    if kind == "tuple_type":
        return "should be a list"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return f"should have at least {least} characters" if least > 1 else "should not be empty"
    if kind == "string_pattern_mismatch":
        return f"should be: {description}"
    return message.replace("Input should", "should").partition(", unable to ")[0]  # the rest says it twice
