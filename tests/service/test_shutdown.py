"""SIGTERM: unready at once, requests under way answered, exit code 0."""

import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from service.draining import refuse_new_connections
from tests.conftest import Service, open_connection, wait_until
from tests.service.conftest import predict_request, read_metrics

BOUNDARY = b"x"
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def open_upload(url: str, length: int) -> socket.socket:
    """Begin a request whose body is still to come."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def test_a_request_under_way_is_answered_and_the_exit_code_is_0(start_service, png):
    body = PART + png + b"\r\n--x--\r\n"
    with start_service() as service:
        upload = open_upload(service.url, len(body))
        upload.sendall(body[:1000])
        time.sleep(0.2)
        service.terminate()
        time.sleep(1.0)  # past the drain window: the listening socket is closed by now
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/health/live")
        upload.sendall(body[1000:])
        assert upload.recv(65536).startswith(b"HTTP/1.1 200")
        upload.close()
        assert service.process.wait(10) == 0


class MadeService(Service):
    """`make run` with the packages of the tests."""

    command = ("make", "-s", "-o", ".venv-run/ready", "run", f"IN_SERVICE={sys.executable}")


def test_sigterm_to_make_run_ends_the_service(tmp_path, png):
    with MadeService(tmp_path / "log") as service:
        (served,) = psutil.Process(service.process.pid).children()
        assert service.predict(png).status_code == 200
        service.terminate()
        service.process.wait(10)
        served.wait(10)
    assert '"event": "stopped"' in service.log()


def test_readiness_is_false_and_requests_are_still_answered_while_draining(start_service, png):
    with start_service(XPRO_DRAIN_S="2") as service:
        assert service.client.get("/health").status_code == 200
        service.terminate()
        time.sleep(0.3)
        health = service.client.get("/health")
        assert health.status_code == 503
        assert health.json()["checks"]["accepting"] == {"ok": False, "detail": "draining"}
        assert service.client.get("/health/live").status_code == 200
        assert service.predict(png).status_code == 200
        assert service.process.wait(10) == 0
        assert '"code": "not_ready"' in service.log()


def test_while_draining_connections_are_closed_behind_their_answer_and_the_metrics_say_so(
    start_service,
):
    with start_service(XPRO_DRAIN_S="2", XPRO_MAX_WAITING="7") as service:
        metrics = read_metrics(service)
        assert (metrics["xpro_draining"], metrics["xpro_line_places"]) == (0, 7)
        assert "connection" not in service.client.get("/health/live").headers
        service.terminate()
        wait_until(lambda: read_metrics(service)["xpro_draining"] == 1)
        assert service.client.get("/health/live").headers["connection"] == "close"


def test_who_asks_twice_does_not_wait_for_draining(start_service):
    with start_service(XPRO_DRAIN_S="20") as service:
        service.terminate()
        wait_until(lambda: service.client.get("/health").status_code == 503)
        service.terminate()
        assert service.process.wait(10) == 0


def test_under_load_every_request_that_was_accepted_is_answered(start_service, png):
    def ask(url: str) -> int | None:
        try:
            return httpx.post(f"{url}/predict", files={"file": png}, timeout=30).status_code
        except httpx.ConnectError:
            return None  # never accepted

    with start_service() as service, ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(ask, service.url) for _ in range(80)]
        time.sleep(0.3)
        service.terminate()
        given = [answer.result() for answer in answers]
        assert service.process.wait(30) == 0
    assert set(given) <= {200, None}
    assert 200 in given


def test_who_has_connected_is_kept_and_who_comes_later_is_not_let_in():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as early:
            refuse_new_connections(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            accepted, _ = listening.accept()
            with accepted:
                early.sendall(b"here")
                assert accepted.recv(4) == b"here"


def test_an_upload_that_stands_still_does_not_keep_the_service_alive(start_service):
    with start_service(XPRO_SHUTDOWN_S="1") as service:
        upload = open_upload(service.url, 1000)
        upload.sendall(PART)
        time.sleep(0.2)
        service.terminate()
        answer = upload.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"code":"shutting_down"' in answer
        assert b"retry-after: 5" in answer.lower()
        assert service.process.wait(10) == 0
        upload.close()


def test_a_body_that_nobody_reads_does_not_keep_the_service_alive(start_service):
    with start_service(XPRO_SHUTDOWN_S="1") as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            service.terminate()
            assert service.process.wait(10) == 0
        assert "Traceback" not in service.log()
        assert "CancelledError" not in service.log()


def test_sigterm_to_all_processes_costs_no_request_under_way(start_service, png):
    """As systemd sends it; the worker is in the middle of a file."""
    with start_service(XPRO_STREAMS="1", XPRO_DECODE_TIMEOUT_S="60") as service:
        processes = psutil.Process(service.process.pid).children(recursive=True)
        for process in processes:
            process.suspend()
        with open_connection(service.url) as connection:
            connection.sendall(predict_request(png))
            wait_until(lambda: read_metrics(service)["xpro_line_requests"] == 1)
            for process in (*processes, service.process):
                process.terminate()
            for process in processes:
                process.resume()
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert service.process.wait(10) == 0
        assert not psutil.wait_procs(processes, timeout=5)[1]


def test_nothing_is_left_behind(start_service, png):
    with start_service() as service:
        children = psutil.Process(service.process.pid).children(recursive=True)
        assert children
        service.predict(png)
        service.terminate()
        assert service.process.wait(10) == 0
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive


def test_workers_end_even_if_the_service_is_killed(start_service):
    with start_service() as service:
        children = psutil.Process(service.process.pid).children(recursive=True)
        service.process.kill()
        service.process.wait(5)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
