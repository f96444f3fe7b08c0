"""Where else a project names its data: stage test's settings, and the file that F5 offers to score."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

TEST_SETTINGS = Path("config", "test.yaml")
LAUNCH = Path(".vscode", "launch.json")


def earlier_source(base: str) -> str:
    """What config/base.yaml says before it changes; nothing where it says none, or cannot be read."""
    try:
        source = yaml.safe_load(base)["data"]["source"]
    except (yaml.YAMLError, KeyError, TypeError):
        return ""
    return source if isinstance(source, str) else ""


def named_anew(root: Path, earlier: str, source: str, problem: str) -> Mapping[Path, bytes]:
    """The files that change with the data. What somebody wrote there that names other data stays to the letter."""
    made = {
        TEST_SETTINGS: lambda text: re.sub(
            r"(?m)^( +source: +)data/test/[\w.-]+\.parquet(?=\s|$)", rf"\g<1>data/test/{problem}.parquet", text
        ),
        LAUNCH: lambda text: text.replace(_quoted(earlier), _quoted(source)) if earlier else text,
    }
    changed = {}
    for path, change in made.items():
        if (root / path).is_file():
            text = (root / path).read_bytes().decode("utf-8")
            if (new := change(text)) != text:
                changed[root / path] = new.encode()
    return changed


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
