"""What one client may take: requests a minute, room for uploads, and time after a refusal."""

import http.client
import itertools
import socket
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest

from service.guard import _Rates
from service.key_file import Key
from tests.conftest import open_connection, wait_until
from tests.service.conftest import predict_request
from tests.service.keyring import bearer, keys, model
from tests.service.test_connections import send_until_cut_off
from tests.service.test_problems import assert_problem


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
