"""Makes the stack's passwords on first use and leaves them alone afterwards. The service `secrets` runs this.

A file that is lost is made anew: the database takes its password at its next start (docker/postgres.sh).
"""

import os
import secrets
import sys
from pathlib import Path

FOLDER = Path("/run/stack")
LOG = Path("/run/log/KIT_FEEDBACK__PASSWORD")
"""In a volume of its own: the API needs no other."""


def write(place: Path, text: str, mode: int) -> None:
    """Whole or not at all: another service may look at any moment."""
    partial = place.with_name(f".{place.name}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    partial.chmod(mode)
    partial.replace(place)


def main() -> None:
    made = []
    modes = {"database": 0o444, "admin": 0o400, "flask": 0o400}  # PostgreSQL reads as another user
    for place, mode in {**{FOLDER / name: mode for name, mode in modes.items()}, LOG: 0o444}.items():
        if not place.exists():
            write(place, secrets.token_urlsafe(32), mode)
            made.append(place.name)
    write(FOLDER / "pgpass", f"*:*:*:*:{(FOLDER / 'database').read_text()}\n", 0o400)
    print(f"starterkit: made {', '.join(made)}" if made else "starterkit: all secrets are there")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        mend = "remove the volume 'secrets' and start again; the database takes the new password"
        sys.exit(f"starterkit: the secret volume cannot be written ({error.strerror}): {mend}")
