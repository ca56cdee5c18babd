"""The page's files over HTTP."""

import re

import pytest

from service.page import FOLDER

NAMES = sorted(path.name for path in FOLDER.iterdir())


def policy(answer) -> dict[str, str]:
    directives = answer.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


@pytest.mark.parametrize("path", ["/", *(f"/web/{name}" for name in NAMES)])
def test_every_file_of_the_page_forbids_scripts_and_requests_from_elsewhere(service, path):
    answer = service.client.get(path)
    assert answer.status_code == 200
    given = policy(answer)
    assert given["default-src"] == "'none'"
    assert {given[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {
        "'self'"
    }
    assert {given[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_sets_no_cookie_and_holds_no_inline_script_style_or_other_host(service):
    page = service.client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "set-cookie" not in page.headers
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page.text)
    for name in NAMES:
        text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|localStorage|sessionStorage|indexedDB", text)
        assert "document.cookie" not in text


def test_the_files_are_told_by_name_only(service):
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    types |= {".html": "text/html", ".json": "application/json"}
    for name in NAMES:
        suffix = "." + name.rsplit(".", 1)[1]
        given = service.client.get(f"/web/{name}").headers["content-type"]
        assert given.startswith(types[suffix])
    for name in ("none.js", "..%2fpage.py", "%2e%2e/page.py", "../page.py", "index.html%00"):
        answer = service.client.get(f"/web/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("asked", ["bytes=x-y", "bytes=0-9", "bytes=99999999-"])
def test_files_of_the_documentation_come_whole(service, asked):
    path = "/static-offline-docs/swagger-ui-bundle.js"
    answer = service.client.get(path, headers={"Range": asked})
    assert (answer.status_code, len(answer.content) > 100_000) == (200, True)


def test_the_page_leads_to_the_interface_and_works_below_a_path_of_a_proxy(service):
    page = service.client.get("/").text
    assert 'href="docs"' in page
    assert not re.search(r'(src|href)="/', page)
