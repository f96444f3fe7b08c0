"""A signal that Python forgets ends the command all the same, at the next step."""

import os
import signal
from collections.abc import Iterator

import pytest

from starterkit.cli.console import ProgressView
from starterkit.cli.signals import listen, stop_if_asked
from starterkit.progress import Event


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    listen()
    yield
    listen()  # forgets what the test asked for
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_python_forgot_is_met_at_the_next_step(number: int, kind: type[BaseException]) -> None:
    class Callback:
        def __del__(self) -> None:  # what is raised here, Python prints and forgets
            os.kill(os.getpid(), number)

    view = ProgressView()
    view(Event("train", "began"))
    Callback()
    view(Event("train", "failed"))  # whoever is ending is not stopped once more
    with pytest.raises(kind):
        view(Event("train", "ended"))


def test_nothing_stops_where_nobody_asked() -> None:
    stop_if_asked()


def test_a_command_that_a_shell_lets_ignore_it_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen()
    os.kill(os.getpid(), signal.SIGINT)
    stop_if_asked()
