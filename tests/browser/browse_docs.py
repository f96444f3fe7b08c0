"""The API's page to try it, in a browser that reaches nothing but this machine."""

from playwright.sync_api import expect


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
