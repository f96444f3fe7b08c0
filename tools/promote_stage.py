"""What one stage does with a commit: the same commands in the promotion workflow, in `make rehearse` and by hand.

    python tools/promote_stage.py dev

The code moves up to staging: there, and before, the stage trains its own version and asks its own gate. From staging to
prod the version itself moves, in bundle.zip, and somebody has to approve: APPROVER names them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BUNDLE = "bundle.zip"
COMMANDS = {
    "local": (("run",),),
    "dev": (("run",),),
    "test": (("run",), ("loadtest",)),
    "staging": (("run",), ("bundle", BUNDLE)),
    "prod": (("promote", "--to", "prod", "--from", BUNDLE),),
}


def main(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in COMMANDS:
        print(f"promote_stage: name one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    stage, approver = words[0], os.environ.get("APPROVER", "")
    for command in COMMANDS[stage]:
        given = [*command, "--approver", approver] if stage == "prod" and approver else list(command)
        print(f"$ KIT_STAGE={stage} starterkit {' '.join(given)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "starterkit", *given],
            cwd=Path(__file__).parents[1], env={**os.environ, "KIT_STAGE": stage}, check=False,
        )  # fmt: skip
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
