"""What VS Code does around the debugger: tasks, terminals, and the browser that opens when a server is ready."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

from debug_adapter import SECONDS, Breakpoint, Debugger, Json
from terminal import Terminal
from workspace import Unknown, Workspace


class Editor:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._terminals: list[Terminal] = []
        self._running: list[Debugger] = []
        self._background: dict[str, Terminal] = {}

    def press_f5(self, name: str, breakpoints: Sequence[Breakpoint] = ()) -> Debugger:
        configuration = self.workspace.configuration(name)
        if task := configuration.get("preLaunchTask"):
            self.run_task(task)
        debugger = Debugger(configuration, breakpoints, self._open_terminal)
        self._running.append(debugger)
        return debugger

    def run_task(self, label: str) -> Terminal:
        """Run a task until it is done, or ready in the background, where one that is running already is left alone."""
        task = self.workspace.task(label)
        if label in self._background and self._background[label].process.poll() is None:
            return self._background[label]
        if task["type"] not in ("shell", "process"):
            raise Unknown(f"task '{label}' has the type {task['type']}")
        before = task.get("dependsOn", [])
        for other in [before] if isinstance(before, str) else before:
            self.run_task(other)
        words = [task["command"], *task.get("args", [])]
        options = task.get("options", {})
        command = ["sh", "-c", " ".join(words)] if task["type"] == "shell" else words
        terminal = self._open_terminal(command, options.get("cwd", str(self.workspace.root)), options.get("env", {}))
        if task.get("isBackground"):
            self._background[label] = terminal
            pattern = task["problemMatcher"]["background"]["endsPattern"]
            matched(pattern, lambda: terminal.text, lambda: terminal.process.poll() is None)
        else:
            code = terminal.process.wait(SECONDS)
            assert code == 0, f"task '{label}' ended with {code}\n{terminal.text}"
        return terminal

    def wait_for_browser(self, debugger: Debugger, action: Json) -> str:
        """The address that a `serverReadyAction` opens, once its pattern is printed."""
        match = matched(action["pattern"], lambda: debugger.text, lambda: debugger.running)
        shape = action.get("uriFormat", "http://localhost:%s")
        assert shape.count("%s") == match.re.groups == 1, f"{shape} has no place for what {action['pattern']} finds"
        return shape.replace("%s", match[1])

    def close(self) -> None:
        for one in (*self._running, *self._terminals):
            one.close()

    def _open_terminal(self, command: Sequence[str], cwd: str, env: Mapping[str, str | None]) -> Terminal:
        if not Path(cwd).is_dir():
            raise Unknown(f"there is no folder {cwd}")
        given = {**self.workspace.environ, **env}
        terminal = Terminal(command, cwd, {name: value for name, value in given.items() if value is not None})
        self._terminals.append(terminal)
        return terminal


def matched(pattern: str, text: Callable[[], str], runs: Callable[[], bool]) -> re.Match[str]:
    """Waits for words that something prints while it runs."""
    end, is_last = time.monotonic() + SECONDS, False
    while not (found := re.search(pattern, text(), re.IGNORECASE)):
        assert time.monotonic() < end, f"nothing matched {pattern}:\n{text()}"
        assert not is_last, f"it ended before anything matched {pattern}:\n{text()}"
        is_last = not runs()
        time.sleep(0.1)
    return found


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def example_of(address: str) -> bytes:
    with urlopen(f"{address}/openapi.json", timeout=10) as answer:
        document = json.load(answer)
    body = document["paths"]["/predict"]["post"]["requestBody"]
    return json.dumps(body["content"]["application/json"]["example"]).encode()
