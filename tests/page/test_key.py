"""A service with keys: the page asks for one and keeps it in its memory alone."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from service.key_file import Key, Scope, change_keys, digest, new_key
from tests.conftest import Service
from tests.page.conftest import File
from tests.page.test_access import focused, serious_findings


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(file) -> str:
    return add_key(file)


@pytest.fixture
def closed(start_service, file, key) -> Iterator[Service]:  # noqa: ARG001 - makes the file
    with start_service(XPRO_KEYS_FILE=str(file)) as running:
        yield running


def add_key(file: Path, scope: Scope = "predict") -> str:
    key = new_key()
    expires = datetime.now(UTC) + timedelta(days=1)
    with change_keys(file) as keys:
        entry = {"client": "page", "sha256": digest(key.encode()), "scopes": (scope,)}
        keys.append(Key(expires=expires, **entry))
    return key


def dialog(page):
    return page.get_by_role("dialog", name="This service asks for a key")


def enter(page, key: str) -> None:
    page.get_by_label("Access key").fill(key)
    page.keyboard.press("Enter")


def test_the_page_asks_for_a_key_and_works_with_it(open_page, closed, key, drawn_png, drawn_dicom):
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    assert focused(visit) == "access-key"
    assert serious_findings(visit) == []
    enter(visit.page, "xpro_wrong")
    expect(dialog(visit.page)).to_contain_text("is unknown or was revoked")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    expect(dialog(visit.page)).to_be_hidden()
    visit.drop(drawn_png, drawn_dicom)
    visit.finish(2)
    assert key not in visit.page.content()
    assert key not in closed.log()


def test_a_key_for_something_else_can_be_replaced_by_the_right_one(open_page, closed, file, key):
    other = add_key(file, "metrics")
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    visit.page.wait_for_timeout(1500)  # until the service has looked at the file
    enter(visit.page, other)
    expect(dialog(visit.page)).to_contain_text("lacks the scope `predict`")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#welcome")).to_contain_text("A key is needed")
    visit.page.click("text=Enter a key")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")


def test_a_key_in_use_can_be_changed_for_another(open_page, closed, file, key, drawn_png):
    another = add_key(file)
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    change = visit.page.get_by_role("button", name="Change key")
    expect(change).to_have_count(0)
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    change.click()
    expect(dialog(visit.page)).to_contain_text("Cancel keeps the one in use")
    visit.page.keyboard.press("Escape")
    visit.drop(drawn_png)
    visit.finish()
    change.click()
    enter(visit.page, "xpro_wrong")
    visit.drop(drawn_png)
    expect(dialog(visit.page)).to_contain_text("is unknown or was revoked")
    enter(visit.page, another)
    visit.finish(2)


def test_the_key_is_gone_after_loading_the_page_again(open_page, closed, key):
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    stored = visit.page.evaluate(
        "async () => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href,"
        " history.state, window.name, await indexedDB.databases(), await caches.keys()])"
    )
    assert key not in stored
    visit.page.reload()
    visit.page.wait_for_selector("#access-dialog[open]")


def test_who_declines_is_told_and_may_enter_a_key_later(open_page, closed, key):
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#welcome")).to_contain_text("A key is needed")
    assert serious_findings(visit) == []
    # Else the browser would leave the page and open what is dropped.
    left_to_the_browser = "document.dispatchEvent(new DragEvent('drop', {cancelable: true}))"
    assert not visit.page.evaluate(left_to_the_browser)
    visit.page.click("text=Enter a key")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    expect(visit.page.locator("#welcome")).to_contain_text("Drop chest radiographs here")


def test_a_key_revoked_meanwhile_is_asked_for_once_and_the_file_goes_on(
    open_page, closed, file, key, drawn_png, drawn_dicom
):
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    file.write_text('{"keys": []}')
    other = add_key(file)
    visit.page.wait_for_timeout(1500)  # until the service has looked at the file
    visit.drop(drawn_png, drawn_dicom)
    expect(dialog(visit.page)).to_contain_text("is unknown or was revoked")
    enter(visit.page, other)
    visit.finish(2)
    expect(visit.page.locator("li[data-state=done]")).to_have_count(2)
    expect(dialog(visit.page)).to_be_hidden()


def test_who_declines_a_key_is_asked_once_for_all_files_and_may_think_again(
    open_page, closed, file, key, drawn_png
):
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    file.write_text('{"keys": []}')
    visit.page.wait_for_timeout(1500)  # until the service has looked at the file
    visit.drop(*(File(f"{number}.png", drawn_png.data) for number in range(8)))
    expect(dialog(visit.page)).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("li[data-state=refused]")).to_have_count(8)
    expect(dialog(visit.page)).to_be_hidden()
    other = add_key(file)
    visit.page.wait_for_timeout(1500)
    visit.page.click("#refusal button")
    enter(visit.page, other)
    expect(visit.page.locator("li[data-state=done]")).to_have_count(8)


def test_a_key_over_its_rate_is_waited_for_and_said_so(
    open_page, start_service, file, key, drawn_png
):
    with start_service(XPRO_KEYS_FILE=str(file), XPRO_REQUESTS_PER_MINUTE="30") as closed:
        visit = open_page(url=closed.url, ready="#access-dialog[open]")
        enter(visit.page, key)
        visit.page.wait_for_selector("html[data-ready]")
        visit.drop(*(File(f"{number}.png", drawn_png.data) for number in range(33)))
        busy = visit.page.locator("[data-state=busy]").first
        expect(busy).to_contain_text("the key is over its rate; again in")
        assert "over its rate" in visit.page.inner_text("#live")
        visit.finish(33)
        assert visit.page.locator("[data-state=done]").count() == 33


def test_the_curl_call_names_the_key_without_showing_it(open_page, closed, key, drawn_png):
    visit = open_page(
        url=closed.url,
        ready="#access-dialog[open]",
        permissions=["clipboard-read", "clipboard-write"],
    )
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    visit.drop(drawn_png)
    visit.finish()
    visit.page.click("#copy-curl")
    expect(visit.page.locator("#live")).to_have_text("Copied")
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert '-H "Authorization: Bearer $KEY"' in copied
    assert key not in copied


def test_the_description_of_the_model_can_be_saved_where_a_link_would_be_refused(
    open_page, closed, key
):
    visit = open_page(url=closed.url, ready="#access-dialog[open]")
    enter(visit.page, key)
    visit.page.wait_for_selector("html[data-ready]")
    visit.page.click("#open-model")
    with visit.page.expect_download() as download:
        visit.page.click("#save-model")
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["name"] == "xpro-demo"


def test_the_documentation_of_the_interface_works_under_its_policy(open_page, service):
    visit = open_page()
    visit.page.goto(f"{service.url}/docs")
    visit.page.get_by_text("14 probabilities for one radiograph").wait_for()
    visit.page.get_by_role("button", name="Authorize").wait_for()
