"""Progress in a pipe: a line now and then, for somebody reads it later."""

import pytest

from starterkit.cli.console import ProgressView
from starterkit.progress import Event


def test_a_pipe_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    view = ProgressView()
    view(Event("score", "began"))
    for second in range(35):
        view(Event("score", "went on", f"{second} [rows]", float(second), second / 50))
    view(Event("score", "ended", "done", 35.0))
    view(Event("score", "began"))
    view(Event("score", "went on", "first", 3.0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("s  ", 1)[1].strip() for line in lines] == [
        "20%  10 [rows]",
        "40%  20 [rows]",
        "60%  30 [rows]",
        "done",
    ]
