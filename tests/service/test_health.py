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


def test_a_worker_killed_while_idle_is_replaced_within_a_second_without_any_request(start_service):
    def worker_of(service) -> psutil.Process:
        return psutil.Process(service.process.pid).children(recursive=True)[-1]

    with start_service(XPRO_STREAMS="1") as service:
        killed = worker_of(service)
        os.kill(killed.pid, signal.SIGKILL)
        time.sleep(1.0)
        assert worker_of(service).pid != killed.pid
        assert service.client.get("/health").status_code == 200
