"""Clients that keep a connection and the service waiting: each has its budget of time."""

import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from service.key_file import Key, change_keys, digest, new_key
from tests.conftest import Service, wait_until
from tests.service.conftest import encode, predict_request, read_metrics

HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
UNREAD = b"Content-Length: 300000\r\n\r\n" + bytes(300_000)
"""The rest of a request whose body its path does not read."""


@pytest.fixture(scope="module")
def hasty(start_service) -> Iterator[Service]:
    """A service with budgets of a second."""
    with start_service(XPRO_HEADER_TIMEOUT_S="1", XPRO_UPLOAD_TIMEOUT_S="1.5") as running:
        yield running


def connect(service: Service, **options) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=15, **options)


def ask(connection: socket.socket, body: bytes = b"\r\n") -> None:
    connection.sendall(HEAD + body)
    answer = b""
    while not answer.endswith(b"}}}"):
        chunk = connection.recv(65536)
        assert chunk, answer
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")


def send_until_cut_off(connection: socket.socket, piece: bytes, pause_s: float) -> float:
    """Send the piece again and again; return after how many seconds the service had enough."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < 20:
        try:
            connection.sendall(piece)
        except ConnectionError:
            return elapsed
        except TimeoutError:
            continue
        time.sleep(pause_s)
    raise AssertionError("never cut off")


def seconds_until_closed(connection: socket.socket) -> float:
    started = time.monotonic()
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


@pytest.mark.parametrize("begun", [b"", HEAD, b"G"])
def test_a_head_that_does_not_come_costs_a_connection_a_second(hasty, begun):
    with connect(hasty) as connection:
        connection.sendall(begun)
        assert 0.5 < seconds_until_closed(connection) < 8


def test_a_head_that_comes_byte_by_byte_gets_no_more_time(hasty):
    with connect(hasty) as connection:
        connection.sendall(HEAD)
        assert send_until_cut_off(connection, b"X", pause_s=0.05) < 8


@pytest.mark.parametrize("body", [b"\r\n", UNREAD])
def test_the_second_head_on_a_connection_has_the_same_budget(hasty, body):
    with connect(hasty) as connection:
        ask(connection, body)
        connection.sendall(HEAD)
        assert 0.5 < seconds_until_closed(connection) < 8


@pytest.mark.parametrize("body", [b"\r\n", UNREAD])
def test_an_answered_request_is_followed_by_others_on_its_connection(hasty, body):
    with connect(hasty) as connection:
        for _ in range(8):
            ask(connection, body)
            time.sleep(0.3)  # in all, longer than any budget


def test_a_request_that_is_worked_on_longer_than_a_head_may_take_is_answered(hasty):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--x--\r\n'
    head = (
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with connect(hasty) as connection:
        connection.sendall(head.encode())
        time.sleep(1.2)  # past the budget of a head, within that of a body
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize("kept", [b"", b"Connection: close\r\n"])
def test_a_body_for_a_path_that_takes_none_is_not_waited_for(hasty, kept):
    with connect(hasty) as connection:
        connection.sendall(HEAD + kept + b"Content-Length: 1000000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert seconds_until_closed(connection) < 8


@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"64\r\n" + 100 * b"x" + b"\r\n"])
@pytest.mark.parametrize("head", [HEAD, HEAD.replace(b"GET /health/live", b"POST /predict")])
def test_tiny_chunks_are_cut_off_before_they_hold_others_up(service, head, piece):
    """Each costs the service a call, as a large one does."""
    head += b"Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(service) as connection, pytest.raises(ConnectionError):
        connection.sendall(head + 12_000_000 // len(piece) * piece)
    lines = [json.loads(line) for line in service.log().splitlines()]
    assert not [line for line in lines if line["level"] == "error"]


def test_small_chunks_are_taken(service):
    """What a client may well send: a form piece by piece, in chunks of 300 bytes."""
    _, _, body = predict_request(bytes(1_000_000)).partition(b"\r\n\r\n")
    pieces = (body[start : start + 300] for start in range(0, len(body), 300))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = service.client.post("/predict", content=pieces, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_format")


def test_chunks_are_counted_for_each_request_anew(service):
    """A kept connection may bring any number of small bodies."""
    with connect(service) as connection:
        for _ in range(15):
            ask(
                connection,
                b"Transfer-Encoding: chunked\r\n\r\n" + 100 * b"1\r\nx\r\n" + b"0\r\n\r\n",
            )


def test_answers_that_nobody_takes_are_dropped(hasty):
    """Many answers asked for at once, none read: memory would fill with them."""
    many = 100 * (HEAD.replace(b"/health/live", b"/openapi.json") + b"\r\n")
    with connect(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        send_until_cut_off(connection, many, pause_s=0)
    assert hasty.client.get("/health").status_code == 200


def test_pictures_that_nobody_takes_fill_no_more_than_the_room_for_bodies(start_service):
    noise = encode(np.random.default_rng(0).integers(0, 256, (2048, 2048), np.uint8))
    request = predict_request(noise).replace(b"/predict", b"/radiograph")
    with start_service(XPRO_MAX_UPLOAD_MIB="5", XPRO_MAX_BUFFERED_MIB="6") as service:
        with connect(service) as first, connect(service) as second:
            for connection in (first, second):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            first.sendall(request)
            assert first.recv(12) == b"HTTP/1.1 200"
            second.sendall(request)
            assert second.recv(12) == b"HTTP/1.1 503"
        wait_until(lambda: read_metrics(service)["xpro_uploads_held_bytes"] == 0)
        assert service.client.post("/radiograph", files={"file": noise}).status_code == 200


class CrampedService(Service):
    """A service that may have 120 files open, keys among them."""

    command = ("sh", "-c", 'ulimit -n 120; exec "$0" -m service', sys.executable)


def test_a_flood_of_connections_leaves_files_for_what_has_to_be_read(tmp_path):
    file, key = tmp_path / "keys.json", new_key()
    expires = datetime.now(UTC) + timedelta(days=1)
    with change_keys(file) as keys:
        entry = {"client": "a", "sha256": digest(key.encode()), "scopes": ("predict",)}
        keys.append(Key(expires=expires, **entry))
    settings = {"XPRO_KEYS_FILE": str(file), "XPRO_STREAMS": "1"}
    with CrampedService(tmp_path / "log", **settings) as service:
        service.client.headers["Authorization"] = f"Bearer {key}"
        assert service.client.get("/model").status_code == 200
        flood = [connect(service) for _ in range(100)]
        with change_keys(file) as keys:
            keys.clear()
        wait_until(lambda: service.client.get("/model").status_code == 401, seconds=5)
        assert "keys_refused" not in service.log()
        surplus, _, _ = select.select(flood, [], [], 0)
        assert len(surplus) > 40
        for connection in flood:
            connection.close()


def test_a_client_that_was_slow_for_a_moment_keeps_its_connection(hasty):
    many = 200 * (HEAD.replace(b"/health/live", b"/openapi.json") + b"\r\n")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.settimeout(15)
        connection.connect(("127.0.0.1", int(hasty.url.rsplit(":", 1)[1])))
        connection.sendall(many)
        time.sleep(0.3)
        missing = 200 * len(hasty.client.get("/openapi.json").content)
        while missing > 0:
            missing -= len(connection.recv(1 << 20))  # heads count too
        connection.settimeout(0.2)
        with suppress(TimeoutError):
            while connection.recv(1 << 20):
                pass
        connection.settimeout(15)
        for _ in range(6):
            ask(connection)
            time.sleep(0.3)  # in all, longer than an answer may take


def test_what_stops_being_http_behind_an_answer_is_cut_off(hasty):
    with connect(hasty) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"no number\r\n")
        assert seconds_until_closed(connection) < 8


def test_closed_connections_leave_no_failure_in_the_log(hasty):
    lines = [json.loads(line) for line in hasty.log().splitlines()]
    assert not [line for line in lines if line["level"] == "error"]


@pytest.mark.parametrize("lines", [b"\r\n", b"\n", b"\r\n\r\n"])
def test_empty_lines_before_a_request_are_passed_over(service, lines):
    with connect(service) as connection:
        ask(connection, b"\r\n" + lines)
        ask(connection)
        connection.sendall(lines)
        ask(connection)


def test_a_head_too_large_that_comes_in_pieces_is_told_so(service):
    with connect(service) as connection:
        connection.sendall(HEAD)
        for name in (b"X-A: ", b"X-B: ", b"X-C: ", b"X-D: "):
            connection.sendall(name + b"x" * 8000 + b"\r\n")
            time.sleep(0.05)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.endswith(b"Send less than 16 KiB of headers and URL.")


def test_a_request_that_two_servers_could_end_in_two_places_is_refused(service):
    both = HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(both + HEAD + b"\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_what_is_no_http_gets_an_answer_that_says_where_it_ends(hasty):
    with connect(hasty) as connection:
        connection.sendall(b"no request at all\r\n\r\n")
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert body == b"Invalid HTTP request received."
