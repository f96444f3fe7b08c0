"""Loading the settings: find the repository, lay the layers over each other, refuse what may not be."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from starterkit.errors import SettingsError
from starterkit.settings import variables, yaml_file
from starterkit.settings.floors import check_floors
from starterkit.settings.merge import leaves, merge
from starterkit.settings.model import Settings
from starterkit.settings.refusals import explain, together
from starterkit.settings.stage import read_stage

Origin = str


@dataclass(frozen=True)
class Layers:
    """The settings, and where each of their values came from.

    Parameters
    ----------
    settings
        The merged and checked settings.
    origins
        For each dotted key its file or variable: `config/base.yaml`, `KIT_SERVING__PORT`,
        `secrets/KIT_SERVING__API_KEY`, or `default`.
    warnings
        What the stage lets pass, but should be mended.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]


def load_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Load the settings of the stage that `KIT_STAGE` names. Parameters and errors are those of `read_layers`."""
    return read_layers(root, environ).settings


def read_layers(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Layers:
    """Load the settings and keep where each value came from.

    The layers, lowest first, are `config/base.yaml`, `config/<stage>.yaml`, secret files, and the environment.

    Parameters
    ----------
    root
        The repository's root. Without it, the nearest folder upwards that holds `config/base.yaml`.
    environ
        The environment. Without it, the process's own.

    Raises
    ------
    SettingsError
        A layer cannot be read, or says something that the stage may not say. All problems are listed at once.
    """
    root = find_root(Path.cwd()) if root is None else root
    environ = os.environ if environ is None else environ
    stage = read_stage(environ)
    files = [yaml_file.read_yaml(root, f"config/{name}.yaml") for name in ("base", stage)]
    secrets = [found for folder in variables.SECRET_FOLDERS for found in variables.read_secret_folder(root, folder)]
    given = [*secrets, *variables.read_environment(environ)]
    values, origins = merge([*files, *variables.as_layers(given)])

    problems = [problem for file in files for problem in yaml_file.refusals(file)]
    problems += variables.unknown_names(given)
    # An empty section makes pydantic name the missing key and not the missing section.
    complete = {"data": {}, "tracking": {}, **values, "stage": stage, "root": root}
    try:
        settings = Settings.model_validate(complete)
    except ValidationError as error:
        raise together([*problems, *explain(error, origins, stage)]) from None
    refused, warnings = check_floors(settings, origins)
    if problems or refused:
        raise together([*problems, *refused])
    shown = {".".join(key): origins.get(key, "default") for key, _ in leaves(settings.model_dump())}
    return Layers(settings, MappingProxyType(shown), warnings)


def find_root(start: Path) -> Path:
    """Find the nearest folder from `start` upwards that holds `config/base.yaml`."""
    for folder in (start, *start.parents):
        if (folder / "config" / "base.yaml").is_file():
            return folder
    what = "Neither the working directory nor any folder above it holds config/base.yaml"
    raise SettingsError(what, "Run this inside the repository")
