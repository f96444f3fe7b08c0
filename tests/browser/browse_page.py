"""The API's page at `/`: which model serves, a form that predicts, snippets that do the same; and /docs."""

import json
import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import Page, expect

from conftest import KEY


def open_page(browser, address: str) -> Page:
    """The page, once it is proven to say nothing on the console: no error, and nothing against its policy."""
    said: list[str] = []
    browser.page.on("console", lambda message: said.append(message.text) if "401" not in message.text else None)
    browser.page.on("pageerror", lambda error: said.append(str(error)))
    page = browser.open(f"{address}/")
    expect(page.locator("#model:not([hidden]), #door:not([hidden])")).to_be_visible()
    assert said == browser.asked == []
    return page


def run_snippet(page: Page, kind: str) -> dict:
    code = page.locator(f"#{kind}").inner_text()
    command = ["sh", "-c", code] if kind == "curl" else [sys.executable, "-c", code]
    environment = os.environ | {"KIT_SERVING__API_KEY": KEY}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return json.loads(said if kind == "curl" else said.replace("'", '"'))


def test_it_shows_the_model_predicts_by_keyboard_and_its_snippets_say_the_same(browser, api_address):
    page = open_page(browser, api_address)
    expect(page).to_have_title("Diabetes progression within a year")
    version, rmse = r"^version\s*1\s*local\.diabetes", r"^rmse\s*[\d.]+\s*naive guess [\d.]+"
    for words in (version, rmse, r"^serves since\s*\d+ \w+"):
        expect(page.locator("#figures div").filter(has_text=re.compile(words))).to_be_visible()
    bmi = page.get_by_label("bmi")
    expect(bmi).to_have_accessible_description(re.compile("10 to 80 · body mass index"))
    bmi.fill("31.5")
    bmi.press("Enter")
    shown = page.locator("#answer .value")
    expect(shown).to_have_text(re.compile(r"^[\d.]+ points$"))
    expect(page.locator("#answer")).to_contain_text("local.diabetes version 1")
    for kind in ("curl", "python"):
        assert '"bmi": 31.5' in page.locator(f"#{kind}").inner_text().replace('":', '": ').replace("  ", " ")
        assert f"{run_snippet(page, kind)['predictions'][0]:.4g} points" == shown.inner_text()


def test_a_wrong_value_is_told_at_its_field(browser, api_address):
    page = open_page(browser, api_address)
    page.get_by_label("age").fill("121")
    page.get_by_label("glucose").fill("")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_label("age")).to_be_focused()
    said = re.compile("Is above 120. Give a whole number in years")
    expect(page.get_by_label("age")).to_have_accessible_description(said)
    expect(page.get_by_label("glucose")).to_have_attribute("aria-invalid", "true")
    browser.shoot("page-refused")
    page.get_by_role("button", name="Example again").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer .value")).to_be_visible()
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 360, "light")]
)
def test_it_fits_the_window(browser, api_address, name, width, scheme):
    browser.page.set_viewport_size({"width": width, "height": 900})
    browser.page.emulate_media(color_scheme=scheme)
    page = open_page(browser, api_address)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer .value")).to_be_in_viewport()
    browser.shoot(f"page-{name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    luminance = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (luminance < 100) == (scheme == "dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches(':focus-visible')")


def test_it_says_nothing_of_the_model_before_the_key(browser, guarded_address):
    page = open_page(browser, guarded_address)
    browser.shoot("page-key")
    assert not re.search("iabetes|glucose|progression", page.content() + page.title())
    for sent, heading in (("not-the-key", "This is not a key of this API."), (KEY, "Diabetes progression within a")):
        page.get_by_label("Key", exact=True).fill(sent)
        page.keyboard.press("Enter")
        expect(page.get_by_text(heading)).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    shown = page.locator("#answer .value")
    expect(shown).to_be_visible()
    for kind in ("curl", "python"):
        assert KEY not in page.locator(f"#{kind}").inner_text()
        assert f"{run_snippet(page, kind)['predictions'][0]:.4g} points" == shown.inner_text()
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 1, ""]
    page.reload()
    expect(page.get_by_text("Diabetes progression")).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()


def test_docs_work_without_a_network(browser, api_address):
    page = browser.open(f"{api_address}/docs")
    predict = page.locator(".opblock", has_text="/predict").first
    predict.click()
    browser.shoot("docs")
    predict.get_by_role("button", name="Try it out").click()
    predict.get_by_role("button", name="Execute").click()
    answer = predict.locator(".live-responses-table")
    expect(answer.locator("tbody td.response-col_status").first).to_contain_text("200")
    expect(answer.locator("tbody td.response-col_description").first).to_contain_text("predictions")
    answer.scroll_into_view_if_needed()
    browser.shoot("docs-answer")
    assert browser.asked == []
