"""What this machine and its processes are and have: cores, memory, ports, who holds a file, which project."""

import errno
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from starterkit.errors import ProblemError, SettingsError

# --- The cores and the memory that this process may use: what affinity and control groups leave of the machine's.


@dataclass(frozen=True)
class Machine:
    """What there is to be had. A container with half a core has 0.5 `cores`; `memory` is in bytes."""

    cores: float
    memory: int

    @property
    def whole_cores(self) -> int:
        return max(1, int(self.cores))


def this_machine(root: Path = Path("/")) -> Machine:
    """What this process may use. `root` is where /proc and /sys are."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(min([cores, *_core_limits(root)]), min([memory, *_memory_limits(root)]))


def processes_of(workers: int) -> int:
    """As many, and no more than there are cores: two that answer on one do a fifth less than one would."""
    return min(workers, math.ceil(this_machine().cores))


def _memory_limits(root: Path) -> Iterator[int]:
    """In bytes. Without a limit version 2 says `max`, and version 1 a number larger than any machine."""
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            said = _read(folder / name).strip()
            if said.isdecimal():
                yield int(said)


def _core_limits(root: Path) -> Iterator[float]:
    for folder in _groups(root, "cpu"):
        older = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
        for said in (_read(folder / "cpu.max"), older):
            match said.split():
                case [quota, period] if quota.isdecimal() and period.isdecimal():  # else `max`, or -1: no limit
                    yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The control groups that this process is in, up to the outermost; a container sees its own as that one."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("" if number == "0" else controller)
        own = top / path.strip("/")
        yield from (folder for folder in (own, *own.parents) if folder == top or top in folder.parents)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError:  # not Linux, or the other version of control groups
        return ""


# --- Nothing is sent to anyone. MLflow and ONNX Runtime would, and both read a variable when they are imported.


def send_nothing() -> None:
    """Silence both. Call it before either is imported."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", ORT_DISABLE_TELEMETRY="1")


# --- How much of the processor, and of memory, a process may have.


def hand_back() -> None:
    """Give the system what has been freed. glibc keeps it for this process: of an 11 MB forest's session two thirds."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def limit_memory(megabytes: int | None) -> int | None:
    """Hold this process to so much data: heap, stacks and private mappings. A request beyond it fails by itself.

    Parameters
    ----------
    megabytes
        None for what the process has now, and so much as requests ever need on top.

    Returns
    -------
    held
        How many megabytes it is held to; None where the machine cannot do it: everywhere but on Linux.

    Raises
    ------
    SettingsError
        The machine, or the container, has less.
    """
    if not sys.platform.startswith("linux"):
        return None
    import resource

    there = this_machine().memory // _MEGABYTE
    if megabytes is None:
        megabytes = _data() + _FOR_REQUESTS
    elif megabytes > there:
        what = f"serving.memory_mb is {megabytes}, and this machine or container has {there}"
        raise SettingsError(what, "Give it less, or the machine more")
    # The address space would be the wrong measure: allocators reserve far more of it than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes * _MEGABYTE, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return megabytes


_MEGABYTE = 2**20
_FOR_REQUESTS = 512
"""Megabytes: the bodies that are held at once, what two large ones become, and the stacks of a few threads."""


def _data() -> int:
    """Megabytes of data that this process has."""
    (size,) = (line.split()[1] for line in _read(Path("/proc/self/status")).splitlines() if line.startswith("VmData"))
    return int(size) // 1024


_FILES_OF_ITS_OWN = 192
"""Descriptors of a process that answers: libraries, log and sockets, and connections that are told to come again."""


def open_files(connections: int) -> int:
    """Let this process have so many connections, or as many as the machine lets it have: how many that are."""
    if sys.platform == "win32":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES_OF_ITS_OWN
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(connections, soft - _FILES_OF_ITS_OWN))
    return connections


# --- The port that a server is to have.

_OF_THE_API = "set KIT_SERVING__PORT or KIT_SERVING__HOST"
_BACKLOG = 2048
"""As uvicorn has it: how many may wait to be met."""


def bind(host: str, port: int, otherwise: str = _OF_THE_API) -> list[socket.socket]:
    """Sockets that hold a port: one for each address of the host. Nobody is answered before they `listen`.

    Parameters
    ----------
    otherwise
        How to name another port, for a refusal.

    Raises
    ------
    SettingsError
        Somebody else has it, or this machine has no such address.
    """
    bound: list[socket.socket] = []
    with _refusals(host, port, otherwise), ExitStack() as opened:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                one = socket.socket(family, kind, protocol)  # without the protocol asyncio lets answers wait for 40 ms
                opened.enter_context(one).setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(address)
                bound.append(one)
            except OSError as error:
                if not bound or error.errno == errno.EADDRINUSE:  # `localhost` without IPv6 has one that is not there
                    raise
        opened.pop_all()
    return bound


def listen(bound: Sequence[socket.socket], host: str, port: int) -> None:
    """Take the port for good: on Linux two may bind it, and the first that listens has it.

    Raises
    ------
    SettingsError
        Somebody else has listened meanwhile.
    """
    with _refusals(host, port, _OF_THE_API):
        for one in bound:
            one.listen(_BACKLOG)


def in_address(host: str) -> str:
    """A host as an address has it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def require_port(host: str, port: int, otherwise: str = _OF_THE_API) -> None:
    """See that nobody else has the port. See `bind`."""
    for one in bind(host, port, otherwise):
        one.close()


@contextmanager
def _refusals(host: str, port: int, otherwise: str) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:  # from the codec for host names
        raise SettingsError(
            f"'{host}' is no host name", "Name an address of this machine with KIT_SERVING__HOST"
        ) from error
    except OSError as error:
        hint = f"End the program that has it, or {otherwise}"
        raise SettingsError(f"{host} port {port} cannot be had: {error.strerror or error}", hint) from error


# --- A program beside this one.


@contextmanager
def running(
    command: Sequence[str], *, seconds: float = 20, session: bool = False, **given: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program for as long as it is needed. Then it is asked to end, waited for so long, and killed.

    Parameters
    ----------
    session
        Give it a session of its own: Ctrl-C reaches this process alone, and what it started ends with it, where it was
        killed itself too.
    given
        As `subprocess.Popen` takes it.
    """
    process = subprocess.Popen[bytes]([*command], start_new_session=session, **given)  # words of the caller's
    try:
        yield process
    finally:
        _signal(process, signal.SIGTERM, session)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL, session)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals, session: bool) -> None:
    with suppress(ProcessLookupError):  # nobody of them is left
        os.killpg(process.pid, number) if session else process.send_signal(number)


# --- Which process a run belongs to, so that a run whose process was killed can be told from one that still works.
#
# See docs/decisions/0014-faults.md: what is not certain counts as alive.

PROCESS = "process"

State = Literal["alive", "dead", "unknown"]


def this_process() -> str:
    """Machine, boot and process namespace, process id and its time of start, parted by spaces."""
    return f"{socket.gethostname()} {_boot()} {os.getpid()} {_started(os.getpid()) or '-'}"


def state_of(tags: Mapping[str, str]) -> State:
    """Whether the process that a run's tags name still works.

    Only a process of this boot of this machine can be dead for certain: its id is free, or somebody else has it by
    now. Of others nothing is known.
    """
    parts = tags.get(PROCESS, "").split(" ")
    if len(parts) != 4 or "-" in parts[1:] or parts[:2] != [socket.gethostname(), _boot()]:
        return "unknown"
    return "alive" if _started(int(parts[2])) == parts[3] else "dead"


def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "-"


def _started(process: int) -> str:
    """When a process started, in ticks since the boot; empty where there is none, or where it has ended."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


# --- Who has a file: its owner, and the process that holds a lock on it.


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


# --- The entry point by which a project names its `Problem`. Its name is the problem's, read without an
# import. See docs/decisions/0001-one-folder-is-yours.md.

GROUP = "starterkit.problem"
UNNAMED = "default"
"""What projects called the entry point while the problem said its own name."""


def project_entry() -> EntryPoint:
    """The one entry point that the installed project declares in pyproject.toml under ``starterkit.problem``.

    Raises
    ------
    ProblemError
        None or several are declared.
    """
    found = [declared for entry in _installed(tuple(sys.path)) for declared in _as_written(entry)]
    if len(found) != 1:
        names = ", ".join(entry.value for entry in found) or "none"
        hint = f'Declare one in pyproject.toml under [project.entry-points."{GROUP}"] and run `make env`'
        raise ProblemError(f"the kit needs one entry point '{GROUP}' and finds {names}", hint)
    return found[0]


@cache
def _installed(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Looking through some hundred packages costs a fiftieth of a second, and a command asks several times."""
    return tuple(entry_points(group=GROUP))


def stated_name() -> str | None:
    """The problem's name, as the entry point states it; None where that is ``default``, and the problem says it."""
    name = project_entry().name
    return None if name == UNNAMED else name


def _as_written(entry: EntryPoint) -> list[EntryPoint]:
    """In an editable installation what pyproject.toml says now, which `make env` may not have installed yet."""
    try:
        origin = json.loads((entry.dist.read_text("direct_url.json") if entry.dist else None) or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            return [entry]
        path = Path(url2pathname(urlsplit(origin["url"]).path), "pyproject.toml")
        written = tomllib.loads(path.read_text("utf-8"))["project"]["entry-points"][GROUP]
    except (OSError, ValueError, KeyError):  # whoever makes the environment will say what is wrong with the file
        return [entry]
    return [EntryPoint(name, value, GROUP) for name, value in written.items()]
