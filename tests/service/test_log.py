"""What standard error gets: a line for a file, none for a probe, and never an answer's time."""

import json
import sys
from pathlib import Path

from tests.conftest import Service, open_connection, wait_until
from tests.service.conftest import read_metrics


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_answered_probes_and_page_files_leave_no_line_and_all_else_does(start_service, png):
    with start_service() as service:
        for path in ("/health", "/health/live", "/metrics", "/", "/web/main.js", "/openapi.json"):
            assert service.client.get(path).status_code == 200
        assert service.client.get("/model").status_code == 200
        assert service.client.get("/web/none").status_code == 404
        assert service.predict(png).status_code == 200
        wait_until(lambda: "/predict" in service.log())
        lines = [line for line in events(service.log()) if line["event"] == "request"]
    told = [(line["route"], line["status"]) for line in lines if line["status"] != 503]
    assert told == [("/model", 200), ("/web/{name}", 404), ("/predict", 200)]


def test_a_flood_of_refusals_leaves_some_lines_and_their_number(start_service):
    asked = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    with start_service() as service:
        with open_connection(service.url) as connection:
            for _ in range(5):
                connection.sendall(200 * asked)
                answers = b""
                while answers.count(b"HTTP/1.1 421") < 200:
                    answers += (came := connection.recv(1 << 20))
                    assert came
        refused = service.predict(b"no image")
        assert refused.status_code == 415
        wait_until(lambda: refused.json()["request_id"] in service.log())
        counted, lines = read_metrics(service), events(service.log())
    assert counted['xpro_requests_total{code="unknown_host",route="none"}'] == 1000
    logged = [line for line in lines if line.get("code") == "unknown_host"]
    unlogged = [line for line in lines if line["event"] == "refusals_not_logged"]
    assert 100 <= len(logged) < 300
    assert len(logged) + sum(line["requests"] for line in unlogged) == 1000


def test_a_flood_of_what_is_no_http_leaves_some_lines_and_their_number(start_service):
    with start_service() as service:
        for _ in range(500):
            with open_connection(service.url) as connection:
                connection.sendall(b"x\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 400")
        refused = service.predict(b"no image")
        wait_until(lambda: refused.json()["request_id"] in service.log())
        lines = events(service.log())
    logged = [line for line in lines if "Invalid HTTP" in str(line["event"])]
    unlogged = [line for line in lines if line["event"] == "refusals_not_logged"]
    assert 100 <= len(logged) < 300
    assert len(logged) + sum(line["requests"] for line in unlogged) == 500


class UnreadService(Service):
    """A service whose standard error goes to a program that stands still until a file is there."""

    command = ("bash", "-c", 'exec "$0" -m service 2> >(exec "$0" -c "$READER")', sys.executable)


READER = """
import os, sys, time
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.05)
sys.stdout.write(sys.stdin.read())
"""


def test_a_log_that_nobody_reads_holds_no_answer_up(tmp_path: Path, png):
    go, log = tmp_path / "go", tmp_path / "log"
    with UnreadService(log, READER=READER, GO=str(go)) as service:
        for _ in range(400):  # some 100 KB; a pipe holds 64
            assert service.client.get("/model").status_code == 200
        assert service.predict(png).status_code == 200
        go.touch()  # and the line about the end comes through
    wait_until(lambda: "log_lines_lost" in log.read_text())
    (lost,) = [line for line in events(log.read_text()) if line["event"] == "log_lines_lost"]
    assert lost["lines"] > 100
