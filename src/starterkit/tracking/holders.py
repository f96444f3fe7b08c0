"""Who has a file: its owner, and the process that holds a lock on it."""

import os
from pathlib import Path


def owner_of(path: Path) -> str:
    """``belongs to user ada, and you are user bob``."""
    status = path.stat()
    whose = "is read-only" if status.st_uid == os.geteuid() else f"belongs to user {_name(status.st_uid)}"
    return f"{whose}, and you are user {_name(os.geteuid())}"


def holder_of(path: Path) -> str:
    """``process 1234 (python)``: who holds a POSIX lock on the file, as far as Linux tells. Empty elsewhere."""
    try:
        status = path.stat()
        inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        (process, *_) = (words[4] for words in lines if inode in words and words[1] != "->" and words[4] != "-1")
        return f"process {process} ({Path('/proc', process, 'comm').read_text().strip()})"
    except (OSError, ValueError, IndexError):
        return ""


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
