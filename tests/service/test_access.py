"""Keys: who may do what, refused before the body is read, and revoked without a restart."""

import errno
import hashlib
import http.client
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from service.guard import _Rates
from service.key_file import Key, KeyFile, KeyFileError, change_keys, read_keys
from tests.conftest import ROOT, Service, open_connection, post_raw, wait_until
from tests.service.conftest import predict_request
from tests.service.test_connections import send_until_cut_off
from tests.service.test_problems import assert_problem


def keys(file: Path, *arguments: str, status: int = 0) -> str:
    """Run the command that makes, lists and revokes keys; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "service.keys", "--file", str(file), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return (done.stdout or done.stderr).strip()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def change(file: Path, **facts: object) -> None:
    """Set facts of the last key in the file."""
    content = json.loads(file.read_text())
    content["keys"][-1] |= facts
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(file) -> str:
    return keys(file, "make", "ward-3")


@pytest.fixture(scope="module")
def closed(start_service, file, key) -> Iterator[Service]:  # noqa: ARG001 - makes the file
    """A service that asks for keys, of which ward-3 has one."""
    with start_service(XPRO_KEYS_FILE=str(file)) as running:
        yield running


def model(service: Service, key: str) -> httpx.Response:
    return service.client.get("/model", headers=bearer(key))


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


@pytest.mark.usefixtures("key")
def test_a_body_after_the_refusal_is_taken_for_a_while_only(start_service, file):
    """Long enough that a client which sends all before it reads sees why it was refused."""
    with start_service(XPRO_KEYS_FILE=str(file), XPRO_UPLOAD_TIMEOUT_S="1") as service:
        answer = service.predict(bytes(20_000_000))
        assert_problem(answer, 401, "missing_key")
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            assert send_until_cut_off(connection, b"1\r\nx\r\n", pause_s=0.05) < 10


@pytest.mark.parametrize("megabytes", [1, 8, 40])
@pytest.mark.parametrize("line", ["HTTP/1.1\r\nConnection: close", "HTTP/1.0"])
def test_who_keeps_no_connection_learns_why_it_was_refused(closed, line, megabytes):
    """It sends all before it reads, and meets a reset where the service closes at once."""
    head = f"POST /predict {line}\r\nHost: localhost\r\nContent-Length: {megabytes}000000\r\n\r\n"
    status, body = post_raw(closed.url, head.encode() + bytes(megabytes * 1_000_000))
    assert (status, json.loads(body)["code"]) == (401, "missing_key")


@pytest.mark.usefixtures("key")
def test_while_draining_too_a_client_learns_why_it_was_refused(start_service, file):
    with start_service(XPRO_KEYS_FILE=str(file), XPRO_DRAIN_S="5") as service:
        service.terminate()
        wait_until(lambda: service.client.get("/health").status_code == 503)
        address = service.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            connection.request("POST", "/predict", bytes(20_000_000))
            assert connection.getresponse().status == 401
        assert service.process.wait(20) == 0


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


def test_a_key_that_cannot_be_printed_does_not_come_into_force(file, key):  # noqa: ARG001
    before = file.read_bytes()
    command = [sys.executable, "-m", "service.keys", "--file", str(file)]
    with Path("/dev/full").open("w") as full:
        for arguments in (["make", "unseen"], ["list"]):
            done = subprocess.run(
                [*command, *arguments],
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert done.stderr == "error: nothing can be printed: No space left on device.\n"
    assert file.read_bytes() == before


def test_an_empty_variable_names_no_key_file(monkeypatch):
    monkeypatch.setenv("XPRO_KEYS_FILE", "")
    command = [sys.executable, "-m", "service.keys", "list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "say which file" in done.stderr


def test_expiry_is_listed_in_utc(file, key):  # noqa: ARG001
    keys(file, "make", "far-east")
    change(file, expires="2199-12-01T05:00:00+09:00")
    assert "expires (UTC)" in keys(file, "list")
    assert "2199-11-30 20:00" in keys(file, "list")
    keys(file, "revoke", "far-east")


def test_a_rate_beyond_all_measure_is_no_key_file(tmp_path):
    file = tmp_path / "keys.json"
    keys(file, "make", "x")
    change(file, requests_per_minute=10**400)
    assert "requests_per_minute" in keys(file, "list", status=1)


def test_an_expired_key_is_refused_and_listed_as_gone(closed, file):
    key = keys(file, "make", "guest", "--days", "1")
    wait_for(closed, key, 200)
    change(file, expires="2020-01-01T00:00:00Z")
    assert wait_for(closed, key, 401).json()["code"] == "expired_key"
    assert "gone" in keys(file, "list")
    keys(file, "revoke", "guest")


@pytest.mark.parametrize(("option", "days"), [((), 365), (("--days", "3"), 3)])
def test_a_key_expires_after_so_many_days(tmp_path, option, days):
    keys(tmp_path / "keys.json", "make", "guest", *option)
    (key,) = read_keys(tmp_path / "keys.json")
    left = key.expires - datetime.now(UTC)
    assert timedelta(days=days, minutes=-5) < left <= timedelta(days=days)


@pytest.mark.parametrize(
    "facts", [{"expires": "2199-12-01T05:00:00"}, {"scopes": []}, {"expire": "2030-01-01T00:00Z"}]
)
def test_an_expiry_without_a_time_zone_no_scope_or_an_unknown_fact_is_no_key(tmp_path, facts):
    """A comparison with a time without a zone would fail at every request."""
    file = tmp_path / "keys.json"
    keys(file, "make", "guest")
    change(file, **facts)
    with pytest.raises(KeyFileError, match="is no key file"):
        read_keys(file)


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


def test_a_file_that_could_not_be_read_for_a_moment_is_read_at_the_next(
    tmp_path, monkeypatch, caplog
):
    file = tmp_path / "keys.json"
    kept, revoked = (keys(file, "make", name).encode() for name in ("kept", "revoked"))
    in_force = KeyFile(file)
    assert in_force.find(revoked)
    with change_keys(file) as entries:
        entries.pop()
    read, looked = Path.read_bytes, 0

    def fail_twice(path: Path) -> bytes:
        nonlocal looked
        looked += 1
        if looked < 3:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail_twice)
    wait_until(lambda: in_force.find(revoked) is None)
    assert looked == 3
    assert in_force.find(kept)
    assert not in_force.refused()
    assert [each.getMessage() for each in caplog.records].count("keys_refused") == 1


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


def test_the_rate_of_all_keys_is_a_setting_and_each_has_its_own(start_service, file, key):
    other = keys(file, "make", "other")
    settings = {"XPRO_KEYS_FILE": str(file), "XPRO_REQUESTS_PER_MINUTE": "2"}
    with start_service(**settings) as service:
        statuses = [model(service, key).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert model(service, other).status_code == 200
        assert service.client.get("/health").status_code == 200


def granted(rates: _Rates, key: Key) -> int:
    """Take requests until one is refused; return how many there were."""
    return next(count for count in itertools.count() if rates.take(key))


def test_a_key_gets_its_requests_back_evenly_over_the_minute_and_never_more_than_a_minutes():
    expires = datetime(2199, 1, 1, tzinfo=UTC)
    key = Key(client="ward", sha256="0" * 64, scopes=("predict",), expires=expires)
    rates, started = _Rates(600), time.monotonic()
    rates.take(key)
    time.sleep(0.3)
    begun = time.monotonic()
    # What comes back while they are taken depends on how fast the machine is.
    assert 600 <= granted(rates, key) <= 601 + (time.monotonic() - begun) * 10
    time.sleep(0.5)
    assert 4 <= granted(rates, key) <= (time.monotonic() - started) * 10 + 1


def test_no_key_is_ever_written_to_the_log_or_the_file(closed, file, key):
    model(closed, key)
    closed.client.get("/model", headers=bearer("xpro_WRONG"))
    for text in (closed.log(), file.read_text()):
        assert key not in text
        assert "xpro_" not in text


def test_a_key_has_256_bits_and_its_file_is_its_owners_alone(tmp_path):
    file = tmp_path / "keys.json"
    made = {keys(file, "make", "ward") for _ in range(3)}
    assert len(made) == 3
    assert all(len(key.removeprefix("xpro_")) == 43 for key in made)  # base64 of 32 bytes
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_a_file_that_its_group_may_read_stays_readable_when_a_key_is_revoked(tmp_path):
    file = tmp_path / "keys.json"
    keys(file, "make", "ward")
    file.chmod(0o640)
    keys(file, "revoke", "ward")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o666)
    keys(file, "make", "ward")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_stays_its_owners_when_root_makes_a_key(tmp_path):
    file = tmp_path / "keys.json"
    keys(file, "make", "ward")
    os.chown(file, 65534, 65534)
    with change_keys(file):
        pass
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65534)


def test_uploads_that_stand_still_take_a_client_no_more_than_half_of_the_room(
    start_service, file, key, png
):
    other = keys(file, "make", "ward-4")
    settings = {"XPRO_MAX_BUFFERED_MIB": "4", "XPRO_MAX_UPLOAD_MIB": "1"}
    with start_service(XPRO_KEYS_FILE=str(file), **settings) as service:
        headers = f"Authorization: Bearer {other}\r\n"
        unfinished = predict_request(bytes(900_000), headers)[:-10]
        with ExitStack() as uploads:
            for _ in range(2):
                uploads.enter_context(open_connection(service.url)).sendall(unfinished)
            line = "xpro_uploads_held_bytes 1.8"
            metrics = bearer(keys(file, "make", "monitor", "--scope", "metrics"))
            wait_until(lambda: line in service.client.get("/metrics", headers=metrics).text)
            refused = service.client.post(
                "/predict", files={"file": bytes(900_000)}, headers=bearer(other)
            )
            assert_problem(refused, 503, "overloaded")
            answer = service.client.post("/predict", files={"file": png}, headers=bearer(key))
            assert answer.status_code == 200


def test_a_client_alone_may_send_the_largest_file_though_it_takes_more_than_half_of_the_room(
    start_service, file, key
):
    settings = {"XPRO_MAX_BUFFERED_MIB": "3", "XPRO_MAX_UPLOAD_MIB": "2"}
    with start_service(XPRO_KEYS_FILE=str(file), **settings) as service:
        answer = service.client.post(
            "/predict", files={"file": bytes(2 << 20)}, headers=bearer(key)
        )
        assert_problem(answer, 415, "unsupported_format")


def test_makers_at_the_same_time_lose_no_key(tmp_path):
    file = tmp_path / "keys.json"
    command = [sys.executable, "-m", "service.keys", "--file", str(file), "make"]
    makers = [
        subprocess.Popen([*command, f"c{number}"], cwd=ROOT, stdout=-3, stderr=-3)
        for number in range(4)
    ]
    assert [maker.wait(60) for maker in makers] == [0] * 4
    assert all(f"c{number}" in keys(file, "list") for number in range(4))


def test_the_command_says_what_is_wrong(tmp_path):
    file = tmp_path / "keys.json"
    assert keys(file, "list", status=1).startswith("error: ")
    assert "a name has" in keys(file, "make", "Jane Doe", status=2)
    assert "from 1 to 1000000" in keys(file, "make", "x", "--requests-per-minute", "0", status=2)
    file.write_text("{}")
    assert "is no key file" in keys(file, "make", "ward", status=1)
    assert file.read_text() == "{}"
