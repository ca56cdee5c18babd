"""Health as orchestrators read it."""

import os
import signal
import time

import psutil


def test_health_names_each_check(service):
    health = service.client.get("/health").json()
    assert health["status"] == "ok"
    assert set(health["checks"]) == {"model", "decoding", "accepting"}
    assert all(check["ok"] for check in health["checks"].values())


def test_live_answers_without_looking_at_the_model(service):
    assert service.client.get("/health/live").json()["checks"] == {
        "process": {"ok": True, "detail": "answers"}
    }


def test_a_worker_killed_while_idle_is_replaced_without_any_request(start_service):
    def worker_of(service) -> psutil.Process:
        return psutil.Process(service.process.pid).children(recursive=True)[-1]

    with start_service(XPRO_STREAMS="1") as service:
        killed = worker_of(service)
        os.kill(killed.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while worker_of(service).pid == killed.pid or not healthy(service):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def healthy(service) -> bool:
    return service.client.get("/health").status_code == 200


def test_balancers_and_monitors_may_ask_with_head(service):
    for path in (
        "/health",
        "/health/ready",
        "/health/live",
        "/",
        "/model",
        "/metrics",
        "/web/main.js",
    ):
        answer = service.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
