"""Requests as bytes: what another server before this one may read otherwise, offers, and haste."""

import re
import socket

import pytest

from tests.conftest import open_connection, wait_until
from tests.service.conftest import predict_request, read_metrics

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
LAST = GET + b"Connection: close\r\n\r\n"
OFFER = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


def statuses(service, *pieces: bytes) -> list[int]:
    """Send pieces, each by itself; return the statuses of all answers until the end."""
    with open_connection(service.url) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return [int(each[:3]) for each in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: localhost\r\n\r\n", 400),
        (b"GET /health/live HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /health/live\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\nHost: localhost\n\n", 400),
        (GET + b"X: a\r\n b\r\n\r\n", 400),
        (GET + b"X : a\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (GET + b"Content-Length: +1\r\n\r\na", 400),
        (GET + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", 400),
    ],
)
def test_a_request_that_is_not_read_in_one_way_only_ends_its_connection(service, head, status):
    assert statuses(service, head + LAST) == [status]


def test_a_probe_of_http_1_0_needs_no_host(service):
    assert statuses(service, b"GET /health/live HTTP/1.0\r\n\r\n") == [200]


def test_headers_behind_a_body_count_for_nothing(service):
    """The first would be refused as that of another site's page."""
    head = GET.replace(b"/health/live", b"/model") + b"Transfer-Encoding: chunked\r\n\r\n"
    trailer = b"1\r\na\r\n0\r\nSec-Fetch-Site: cross-site\r\n\r\n"
    assert statuses(service, head + trailer + LAST) == [200, 200]


@pytest.mark.parametrize("size", [1, 40, 100_000])
def test_an_offer_of_another_protocol_changes_nothing_in_pieces_of_any_size(service, png, size):
    request = predict_request(png[:3000], OFFER.decode()) + LAST
    pieces = [request[start : start + size] for start in range(0, len(request), size)]
    assert statuses(service, *pieces) == [422, 200]


def test_many_offers_at_once_are_declined(service):
    assert statuses(service, 100 * (GET + OFFER + b"\r\n") + LAST) == 101 * [200]


@pytest.mark.parametrize("wrong", [b"no request\r\n\r\n", b"GET x://a HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_what_is_no_http_waits_for_the_answers_to_what_came_before_it(service, png, wrong):
    request = predict_request(png)
    assert statuses(service, 2 * request + wrong) == [200, 200, 400]
    assert statuses(service, request + GET + b"\r\n" + wrong) == [200, 200, 400]
    assert statuses(service, request, wrong) == [200, 400]


def test_a_damaged_body_behind_a_request_leaves_that_its_answer(service, png):
    damaged = GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n"
    assert statuses(service, predict_request(png) + damaged) == [200, 400]


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"0\r\n", b"1;", b"1;x="])
@pytest.mark.parametrize("method", [b"GET /health/live", b"POST /predict"])
def test_lines_between_and_behind_chunks_are_limited_as_a_head_is(service, endless, method):
    """They would be kept, or read for nothing, for as long as a body may take."""
    head = GET.replace(b"GET /health/live", method) + b"Transfer-Encoding: chunked\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n1\r\nx\r\n"
    with open_connection(service.url) as connection, pytest.raises(ConnectionError):
        connection.sendall(head + endless + 30_000_000 * b"a")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"HTTP://localhost/health/live", 200),
        (b"HTTP://evil.example/health/live", 421),
        (b"http://localhost", 200),
        (b"http://localhost?x", 421),
        (b"ftp://localhost/health/live", 400),
        (b"/health/live#x", 400),
        (b"?x", 400),
        (b"//health/live", 404),
    ],
)
def test_a_target_is_read_as_it_stands_or_refused(service, target, status):
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target
    assert statuses(service, head) == [status]


def test_who_speaks_http_1_0_is_not_told_to_continue(service, png):
    request = predict_request(png, "Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(service, request) == [200]


def test_who_leaves_with_a_request_sent_behind_is_not_worked_for(start_service, large_png):
    """One stream takes two files at once; most of the others are not begun."""
    request = predict_request(large_png) + GET + b"\r\n"
    with start_service(XPRO_STREAMS="1") as service:
        for _ in range(8):
            with open_connection(service.url) as connection:
                connection.sendall(request)
        wait_until(lambda: sum(count_by_code(service).values()) == 8)
        assert count_by_code(service)["client_gone"] >= 4


def count_by_code(service) -> dict[str, float]:
    """How many requests to /predict ended in which way."""
    code = re.compile(r'xpro_requests_total\{code="(\w+)",route="/predict"\}')
    metrics = read_metrics(service).items()
    return {found[1]: value for name, value in metrics if (found := code.fullmatch(name))}


def test_a_damaged_body_is_answered_and_its_request_given_up(service):
    head, _, _ = predict_request(b"").partition(b"Content-Length")
    head += b"Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert statuses(service, head, b"5\r\n--x\r\n\r\n", b"no number\r\n") == [400]


def test_who_sends_a_thousand_requests_ahead_gets_some_answers_and_the_end(service):
    *answered, last = statuses(service, 1000 * (GET + b"\r\n"))
    assert 200 <= len(answered) < 1000
    assert set(answered) == {200}
    assert last == 400
