"""A process is held to its memory, really."""

import subprocess
import sys

import pytest

from starterkit.errors import SettingsError
from starterkit.machine import limit_memory, this_machine

LINUX = sys.platform.startswith("linux")
CODE = """
from starterkit.machine import limit_memory
assert limit_memory(256)
kept = bytearray(100 * 2**20)
try:
    more = bytearray(400 * 2**20)
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(not LINUX, reason="not run: only Linux holds a process to its data")
def test_a_process_gets_no_more_than_its_limit():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "refused", done.stderr


def test_a_limit_beyond_the_machine_is_refused():
    if not LINUX:
        pytest.skip("not run: only Linux holds a process to its data")
    there = this_machine().memory // 2**20
    assert there > 256
    with pytest.raises(
        SettingsError, match=f"serving.memory_mb is {there + 1}, and this machine or container has {there}"
    ):
        limit_memory(there + 1)
