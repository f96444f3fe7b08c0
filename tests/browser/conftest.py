"""A real browser, cut off from everything but this machine, before pages of real servers over a real run."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from re import Pattern
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect, sync_playwright

REPOSITORY = Path(__file__).parents[2]
SHOTS = REPOSITORY / "build" / "screenshots"
CLOSE_ASSISTANT = "[data-component-id='mlflow.assistant.chat_panel.close']"
LOOPBACK = {"127.0.0.1", "localhost"}
KEY = "a-key-of-sixteen-or-more"
_WAIT = 30_000  # milliseconds; a machine that does something else is slow


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path], kit: Any) -> Path:
    """A copy of the repository in which the pipeline ran: few trees, and few rows to prove."""
    root = copied(tmp_path_factory.mktemp("trained") / "my prøject ü")
    kit(root, "run", code=0)
    return root


@pytest.fixture(scope="session")
def started(trained: Path, program: Callable[..., Any]) -> Iterator[Callable[..., str]]:
    """The address that one of the kit's commands prints once its server answers; `sign` stands before it."""
    with ExitStack() as servers:

        def start(command: str, sign: str, **environ: str) -> str:
            log = trained.parent / f"{command} {len(environ)}.log"
            words = [sys.executable, "-m", "starterkit", command, "--port", "{port}"]
            server = program(trained, log, *words, PYTHONUNBUFFERED="1", **environ)
            servers.callback(server.process.wait, 30)
            servers.callback(server.process.send_signal, signal.SIGINT)  # MLflow's server has a session of its own
            server.wait(lambda: f"\n{sign}http://127.0.0.1:{server.port}" in f"\n{server.said}")
            return server.said.partition(sign)[2].split()[0].strip(",")

        yield start


@pytest.fixture(scope="session")
def runs_address(started: Callable[..., str]) -> str:
    return started("ui", "MLflow's UI: ")


@pytest.fixture(scope="session")
def mlflow_address(runs_address: str) -> str:
    return runs_address.partition("/#")[0]


@pytest.fixture(scope="session")
def api_address(started: Callable[..., str]) -> str:
    return started("serve", "Answering on ")


@pytest.fixture(scope="session")
def guarded_address(started: Callable[..., str]) -> str:
    return started("serve", "Answering on ", KIT_SERVING__REQUIRE_API_KEY="true", KIT_SERVING__API_KEY=KEY)


@dataclass
class Browser:
    """One window. `asked` holds every address beyond this machine that a page wanted; none was reached."""

    context: BrowserContext
    page: Page
    asked: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        """A page, loaded afresh, without MLflow's Assistant in front of it."""
        self.page.goto("about:blank")  # a change of the hash alone would load nothing
        self.page.goto(address)
        return self.page

    def follow(self, name: str | Pattern[str]) -> Page:
        """What a link of a description leads to. MLflow opens it in a tab of its own."""
        exact = isinstance(name, str) or None
        with self.context.expect_page() as opened:
            self.page.get_by_role("link", name=name, exact=exact).first.click()
        return opened.value

    def shoot(self, name: str) -> None:
        close = self.page.locator(CLOSE_ASSISTANT)
        if close.count():
            close.click()
            close.wait_for(state="detached")
        self.page.wait_for_timeout(500)  # whatever slides has arrived
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


@pytest.fixture(scope="session")
def executable() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        said = "not run: there is no chromium here (apt-get install chromium)"
        pytest.fail(said) if os.environ.get("BROWSER_REQUIRED") else pytest.skip(said)
    return found


@pytest.fixture
def browser(executable: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        context = launched.new_context(viewport={"width": 1500, "height": 1100})
        context.set_default_timeout(_WAIT)
        expect.set_options(timeout=_WAIT)
        opened = Browser(context, context.new_page())

        def only_here(route: Route) -> None:
            if urlsplit(route.request.url).hostname in LOOPBACK:
                route.continue_()
            else:
                opened.asked.append(route.request.url)
                route.abort()

        context.route("**/*", only_here)
        yield opened
        launched.close()
