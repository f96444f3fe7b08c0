"""What the machine gives: space, the right to write, a port."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from starterkit.doctor.finding import Finding, warning, well
from starterkit.errors import SettingsError
from starterkit.serving import require_port
from starterkit.settings import Layers
from starterkit.tracking import owner_of

_DISK_FLOOR = 500_000_000


def disk(layers: Layers) -> Iterator[Finding]:
    """Space for runs and for scratch files, and a repository that can be written."""
    # Python silently takes another folder where it cannot write into TMPDIR.
    root, scratch = layers.settings.root, Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    for folder, name in ((root, "the repository"), (scratch, f"scratch files, {scratch}")):
        if not folder.is_dir():
            raise SettingsError(f"the folder for {name}, is not there", "Make it, or unset TMPDIR")
        free = shutil.disk_usage(folder).free
        if free < _DISK_FLOOR:
            what = f"{free // 1_000_000} MB are free on the disk of {name}"
            raise SettingsError(what, f"Free at least {_DISK_FLOOR // 1_000_000} MB")
    for folder in (root, root / "data"):
        if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            name = "the repository" if folder == root else f"{folder.name}/"
            what = f"{name} cannot be written: it {owner_of(folder)}"
            mend = "Run this as its owner, or give yourself the right to write it"
            if folder.name == "data":  # it is only read
                yield warning("disk", what, f"{mend}, if you mean to put data there")
            else:
                raise SettingsError(what, mend)
    yield well("disk", f"{shutil.disk_usage(root).free / 1e9:.0f} GB free, the repository can be written")


def api(layers: Layers) -> Iterator[Finding]:
    """The API has what the stage asks for, and a port to listen on."""
    serving = layers.settings.serving
    if serving.require_api_key and serving.api_key is None:
        mend = "Set KIT_SERVING__API_KEY, or put it into secrets/KIT_SERVING__API_KEY"
        raise SettingsError("the stage requires an API key and has none", mend)
    try:
        require_port(serving.host, serving.port)
    except SettingsError as error:
        if "in use" not in error.what:
            raise
        yield warning("API", error.what, error.mend)  # no fault where the one who has it is the API itself
        return
    yield well("API", f"port {serving.port} is free")
