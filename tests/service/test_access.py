"""Keys: who may do what, refused before the body is read, and revoked without a restart."""

import hashlib
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Service, post_raw, wait_until
from tests.service.keyring import bearer, change, keys, model
from tests.service.test_problems import assert_problem


@pytest.fixture(scope="module")
def closed(start_service, file, key) -> Iterator[Service]:  # noqa: ARG001 - makes the file
    """A service that asks for keys, of which ward-3 has one."""
    with start_service(XPRO_KEYS_FILE=str(file)) as running:
        yield running


def wait_for(service: Service, key: str, status: int) -> httpx.Response:
    deadline = time.monotonic() + 10
    while (answer := model(service, key)).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    return answer


def wait_for_line(service: Service, answer: httpx.Response) -> dict[str, object]:
    """The log line of a request; it is written just after the answer was."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for text in service.log().splitlines():
            line = json.loads(text)
            if line.get("request_id") == answer.headers["x-request-id"]:
                return line
        time.sleep(0.05)
    raise AssertionError("no line about this request")


def test_with_a_key_a_radiograph_is_answered_and_the_log_names_the_client(closed, key, png):
    answer = closed.client.post("/predict", files={"file": png}, headers=bearer(key))
    assert answer.status_code == 200
    line = wait_for_line(closed, answer)
    assert line["client"] == "ward-3"
    assert line["sha256"] == answer.json()["input"]["sha256"]
    assert line["model"] == answer.json()["model"]["digest"]
    assert (line["route"], line["status"], line["code"]) == ("/predict", 200, None)
    assert line["duration_ms"] > 0


def test_the_line_of_a_refused_file_says_which_file_and_why(closed, key, png):
    damaged = png[: len(png) // 2]
    answer = closed.client.post("/predict", files={"file": damaged}, headers=bearer(key))
    line = wait_for_line(closed, answer)
    assert (line["client"], line["status"], line["code"]) == ("ward-3", 422, "damaged_file")
    assert line["sha256"] == hashlib.sha256(damaged).hexdigest()
    assert line["model"] is None


@pytest.mark.parametrize("path", ["/predict", "/explain?finding=Mass", "/radiograph", "/nothing"])
def test_without_a_key_nothing_is_answered(closed, path, png):
    answer = closed.client.post(path, files={"file": png})
    assert_problem(answer, 401, "missing_key")
    assert answer.headers["www-authenticate"] == 'Bearer realm="x-pro"'


def test_page_interface_and_health_are_open_to_everyone(closed):
    assets = "/static-offline-docs/swagger-ui.css"
    for path in ("/", "/web/main.js", "/docs", assets, "/openapi.json", "/health", "/health/live"):
        assert closed.client.get(path).status_code == 200
    assert closed.client.head("/health/ready").status_code == 200
    for path in ("/model", "/metrics", "/web", "//", "/web/../model", "/health/../model", "/%2e"):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        status, body = post_raw(closed.url, request.encode())
        assert status in (401, 404), path
        assert b"intended_use" not in body


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic d2FyZDp4", "Bearer a b", "Bearer \u00fc", "bearer none"]
)
def test_a_header_that_holds_no_key_in_force_is_refused(closed, header):
    answer = closed.client.get("/model", headers={"Authorization": header.encode()})
    assert answer.status_code == 401
    assert answer.json()["code"] in ("missing_key", "unknown_key")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_two_keys_in_one_request_are_none(closed, key):
    twice = [("Authorization", f"Bearer {key}")] * 2
    assert_problem(closed.client.get("/model", headers=twice), 401, "missing_key")


def test_the_name_of_the_scheme_may_be_written_small_or_large(closed, key):
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {key}"}
        assert closed.client.get("/model", headers=headers).status_code == 200


def test_a_key_in_the_query_is_none(closed, key):
    assert closed.client.get("/model", params={"access_token": key}).status_code == 401


def test_the_refusal_comes_before_a_byte_of_the_body(closed):
    host, port = closed.url.removeprefix("http://").split(":")
    for extra in ("", "Expect: 100-continue\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n" + extra.encode() + b"\r\n"
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("megabytes", [1, 8, 40])
@pytest.mark.parametrize("line", ["HTTP/1.1\r\nConnection: close", "HTTP/1.0"])
def test_who_keeps_no_connection_learns_why_it_was_refused(closed, line, megabytes):
    """It sends all before it reads, and meets a reset where the service closes at once."""
    head = f"POST /predict {line}\r\nHost: localhost\r\nContent-Length: {megabytes}000000\r\n\r\n"
    status, body = post_raw(closed.url, head.encode() + bytes(megabytes * 1_000_000))
    assert (status, json.loads(body)["code"]) == (401, "missing_key")


def test_a_key_is_good_for_its_scopes_only(closed, file):
    scraper = keys(file, "make", "scraper", "--scope", "metrics")
    admin = keys(file, "make", "operator", "--scope", "admin")
    wait_for(closed, admin, 200)
    answer = model(closed, scraper)
    assert_problem(answer, 403, "missing_scope")
    assert 'scope="predict"' in answer.headers["www-authenticate"]
    for key in (scraper, admin):
        answer = closed.client.get("/metrics", headers=bearer(key))
        assert answer.status_code not in (401, 403)


def test_metrics_need_their_own_scope(closed, key):
    answer = closed.client.get("/metrics", headers=bearer(key))
    assert_problem(answer, 403, "missing_scope")
    assert 'scope="metrics"' in answer.headers["www-authenticate"]


def test_a_new_key_is_taken_and_a_revoked_one_refused_without_a_restart(closed, file):
    first, second = (keys(file, "make", "clinic") for _ in range(2))
    for key in (first, second):
        wait_for(closed, key, 200)
    listed = keys(file, "list")
    assert first not in listed
    identity = next(line.split()[1] for line in listed.splitlines() if line.startswith("clinic"))
    keys(file, "revoke", "clinic", "--id", identity)
    assert wait_for(closed, first, 401).json()["code"] == "unknown_key"
    assert model(closed, second).status_code == 200
    keys(file, "revoke", "clinic")
    wait_for(closed, second, 401)
    keys(file, "revoke", "clinic", status=1)


def test_an_expired_key_is_refused_and_listed_as_gone(closed, file):
    key = keys(file, "make", "guest", "--days", "1")
    wait_for(closed, key, 200)
    change(file, expires="2020-01-01T00:00:00Z")
    assert wait_for(closed, key, 401).json()["code"] == "expired_key"
    assert "gone" in keys(file, "list")
    keys(file, "revoke", "guest")


@pytest.mark.parametrize("damage", ["", "{", '{"keys": [{"client": "x"}]}', "[]", "\x00\xff"])
def test_a_damaged_file_leaves_the_keys_in_force_and_heals(closed, file, key, damage):
    content = file.read_bytes()
    refusals = closed.log().count('"event": "keys_refused"')
    file.write_text(damage, encoding="latin-1")
    try:
        deadline = time.monotonic() + 10
        while closed.log().count('"event": "keys_refused"') == refusals:
            assert model(closed, key).status_code == 200
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert model(closed, key).status_code == 200
        lines = [line for line in closed.log().splitlines() if "keys_refused" in line]
        assert json.loads(lines[-1])["level"] == "warning"
    finally:
        file.write_bytes(content)
    wait_for(closed, key, 200)


def test_the_metrics_say_while_the_file_is_damaged(closed, file):
    def refused() -> str:
        answer = closed.client.get("/metrics", headers=bearer(scraper))
        return answer.text.partition("\nxpro_keys_refused ")[2].partition("\n")[0]

    content = file.read_bytes()
    scraper = keys(file, "make", "scraper", "--scope", "metrics")
    wait_until(lambda: refused() == "0.0")
    good = file.read_bytes()
    file.write_text("{")
    try:
        wait_until(lambda: refused() == "1.0")
        file.write_bytes(good)
        wait_until(lambda: refused() == "0.0")
    finally:
        file.write_bytes(content)


def test_a_file_whose_mode_was_mended_is_read_again(closed, file, key):
    read = closed.log().count('"event": "keys_read"')
    file.chmod(0o640)
    deadline = time.monotonic() + 10
    while closed.log().count('"event": "keys_read"') == read:
        assert model(closed, key).status_code == 200
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_beyond_its_rate_a_key_is_told_when_to_try_again(closed, file):
    slow = keys(file, "make", "slow", "--requests-per-minute", "30")
    wait_for(closed, slow, 200)
    answers = [model(closed, slow) for _ in range(31)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert_problem(refused, 429, "rate_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    time.sleep(int(refused.headers["retry-after"]))
    assert model(closed, slow).status_code == 200


def test_no_key_is_ever_written_to_the_log_or_the_file(closed, file, key):
    model(closed, key)
    closed.client.get("/model", headers=bearer("xpro_WRONG"))
    for text in (closed.log(), file.read_text()):
        assert key not in text
        assert "xpro_" not in text
