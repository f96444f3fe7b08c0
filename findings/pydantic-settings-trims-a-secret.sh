#!/usr/bin/env bash
# pydantic-settings: of a secret that is read from a file, blanks at both ends are cut off.
# findings/README.md says why it matters here. Takes half a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet pydantic-settings==2.16.3 pydantic==2.14.3
cd "$work"

cat >look.py <<'PY'
import os
import sys
from importlib.metadata import version
from pathlib import Path

from pydantic_settings import BaseSettings, NestedSecretsSettingsSource, SettingsConfigDict

PASSWORD = " two words "
folder = Path("secrets")
folder.mkdir()
(folder / "password").write_text(PASSWORD + "\n")


class Plain(BaseSettings):
    model_config = SettingsConfigDict(secrets_dir=folder)
    password: str = ""


class Nested(Plain):
    @classmethod
    def settings_customise_sources(cls, settings_cls, **sources):
        return sources["env_settings"], NestedSecretsSettingsSource(sources["file_secret_settings"])


print("pydantic-settings", version("pydantic-settings"))
print(f"The password is {PASSWORD!r}, in the file with a newline behind it.")
from_file, from_nested = Plain().password, Nested().password
os.environ["PASSWORD"] = PASSWORD
from_environment = Plain().password
print(f"  from the environment:            {from_environment!r}")
print(f"  from secrets_dir:                {from_file!r}")
print(f"  by NestedSecretsSettingsSource:  {from_nested!r}")
if not (from_environment == PASSWORD and from_file == from_nested == PASSWORD.strip()):
    sys.exit("CHANGED: a secret file's blanks are kept now, or an environment variable's are cut off too")
print("Why it matters: the same secret is another one by another way, and all that is seen is a server that says no. The kit")
print("reads secret files itself and takes away one newline at the end, nothing else (`read_secrets` in")
print("src/starterkit/settings/layers.py).")
PY
venv/bin/python look.py
