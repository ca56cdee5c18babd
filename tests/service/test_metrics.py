"""/metrics: what it counts, what clients cannot do to it, and that dashboard and alerts use it."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from contract.findings import FINDINGS
from service.metrics import Metrics
from tests.conftest import ROOT, open_connection, wait_until
from tests.service.conftest import encode, predict_request, read_metrics

MONITORING = ROOT / "monitoring"
NAME = re.compile(r"\b(?:xpro|process)_[a-z0-9_]+\b")


def names_in_alerts() -> set[str]:
    lines = (MONITORING / "alerts.yml").read_text().splitlines()
    return {name for line in lines if "expr:" in line for name in NAME.findall(line)}


def queries_of_the_dashboard() -> list[str]:
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def names_in_dashboard() -> set[str]:
    return {name for query in queries_of_the_dashboard() for name in NAME.findall(query)}


def test_probabilities_are_counted_as_the_librarys_own_histograms_count_them():
    rng = np.random.default_rng(0)
    answers = rng.random((40, 14), np.float32) ** 4
    answers[:3] = [[0], [0.5], [1]]  # on bounds
    metrics, registry = Metrics(), CollectorRegistry()
    bounds = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    expected = Histogram("xpro_probability", "", ("finding",), buckets=bounds, registry=registry)
    for answer in answers:
        metrics.probabilities.observe(answer)
        for finding, probability in zip(FINDINGS, answer.tolist(), strict=True):
            expected.labels(finding).observe(probability)
    assert probability_lines(metrics.registry) == probability_lines(registry)


def probability_lines(registry: CollectorRegistry) -> set[str]:
    lines = generate_latest(registry).decode().splitlines()
    return {line for line in lines if re.match("xpro_probability_(bucket|count|sum)", line)}


def test_an_answer_is_counted_timed_and_its_probabilities_are_noted(start_service, png):
    with start_service() as service:
        answer = service.predict(png).json()
        metrics = read_metrics(service)
    assert metrics['xpro_requests_total{code="ok",route="/predict"}'] == 1
    assert metrics['xpro_request_seconds_count{route="/predict"}'] == 1
    assert metrics['xpro_upload_seconds_count{route="/predict"}'] == 1
    assert 'xpro_upload_seconds_count{route="/health/ready"}' not in metrics
    for stage in ("queue_wait", "decode", "inference"):
        assert metrics[f"xpro_{stage}_seconds_count"] == 1
    for finding in FINDINGS:
        total = metrics[f'xpro_probability_sum{{finding="{finding}"}}']
        assert total == pytest.approx(answer["probabilities"][finding], abs=1e-6)
    (info,) = [name for name in metrics if name.startswith("xpro_model_info")]
    for name, value in answer["model"].items():
        assert f'{name}="{value}"' in info
    assert 'precision="' in info
    assert metrics["xpro_line_requests"] == metrics["xpro_uploads_held_bytes"] == 0
    assert metrics["xpro_line_service_seconds"] > 0
    assert metrics["process_resident_memory_bytes"] > 0


def test_a_slow_sender_makes_no_slow_answer(service, png):
    def sums() -> list[float]:
        metrics = read_metrics(service)
        return [
            metrics.get(f'xpro_{part}_seconds_sum{{route="/predict"}}', 0.0)
            for part in ("upload", "request")
        ]

    before = sums()
    request = predict_request(png)
    with open_connection(service.url) as connection:
        connection.sendall(request[:-100])
        time.sleep(2)
        connection.sendall(request[-100:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    wait_until(lambda: sums()[0] > before[0])
    upload_s, answer_s = (now - then for now, then in zip(sums(), before, strict=True))
    assert upload_s >= 2 > answer_s


def test_files_that_give_no_radiograph_are_counted_by_reason(start_service, png):
    with start_service() as service:
        service.predict(png[:3000])
        service.predict(b"GIF89a")
        service.predict(encode(np.zeros((200, 200), np.uint8)))
        metrics = read_metrics(service)
    for reason in ("damaged_file", "unsupported_format", "blank_image"):
        assert metrics[f'xpro_decode_failures_total{{reason="{reason}"}}'] == 1
        assert metrics[f'xpro_requests_total{{code="{reason}",route="/predict"}}'] == 1


def test_requests_refused_before_they_are_routed_are_counted_by_their_path(start_service, png):
    with start_service() as service:
        service.client.post("/predict", files={"file": png}, headers={"Host": "evil.example"})
        service.client.get("/openapi.json")
        service.client.get("/nowhere", headers={"Host": "evil.example"})
        metrics = read_metrics(service)
        last = [json.loads(x) for x in service.log().splitlines() if '"unknown_host"' in x]
    assert metrics['xpro_requests_total{code="unknown_host",route="/predict"}'] == 1
    assert metrics['xpro_requests_total{code="unknown_host",route="none"}'] == 1
    assert metrics['xpro_requests_total{code="ok",route="/openapi.json"}'] == 1
    assert [line["route"] for line in last] == ["/predict", None]


def test_failures_are_counted_from_0_on_so_that_the_first_is_seen_as_a_rise(start_service):
    with start_service() as service:
        metrics = read_metrics(service)
        document = service.client.get("/openapi.json").json()
    for route in document["paths"]:
        assert metrics[f'xpro_requests_total{{code="internal_error",route="{route}"}}'] == 0
    for outcome in ("taken", "refused"):
        assert metrics[f'xpro_model_reloads_total{{outcome="{outcome}"}}'] == 0


def test_nothing_that_a_client_sends_makes_a_new_series(start_service):
    with start_service() as service:
        service.client.get("/nothing/here")
        service.client.request("BREW", "/predict")
        service.client.request("BREW", "/nothing")
        service.client.post("/predict?maps=perhaps")
        before = set(read_metrics(service))
        for number in range(50):
            service.client.get(f"/strange{number}")
            service.client.get(f"/web/strange{number}.js")
            service.client.request(f"METHOD{number}", "/predict")
            service.client.request(f"METHOD{number}", f"/nothing{number}")
            service.client.post(f"/predict?maps=x{number}", headers={"x-request-id": str(number)})
        after = set(read_metrics(service))
    new = {re.sub(r"\{.*", "", name) for name in after - before}
    assert len(after - before) <= 40, new
    assert not [name for name in after if "strange" in name or "METHOD" in name or "x4" in name]


def test_a_worker_that_is_replaced_is_counted(start_service):
    with start_service(XPRO_STREAMS="1") as service:
        worker = psutil.Process(service.process.pid).children(recursive=True)[-1]
        os.kill(worker.pid, signal.SIGKILL)
        wait_until(
            lambda: (
                read_metrics(service)["xpro_decode_worker_restarts_total"] == 1
                and read_metrics(service)["xpro_decode_workers_ready"] == 1
            )
        )


@pytest.mark.parametrize("names_in", [names_in_alerts, names_in_dashboard])
def test_dashboard_and_alerts_use_only_names_that_are_served(service, png, names_in):
    service.predict(png)
    service.predict(png[:3000])
    families = re.findall(r"^# TYPE (\S+) (\S+)", service.client.get("/metrics").text, re.MULTILINE)
    served = set()
    for name, kind in families:
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        served |= {name + suffix for suffix in suffixes}
    assert names_in()
    assert names_in() <= served


def xpro_families(service) -> list[str]:
    text = service.client.get("/metrics").text
    return re.findall(r"^# TYPE (xpro_\S+?)(?:_created)? ", text, re.MULTILINE)


def test_the_dashboard_shows_every_figure_of_the_service(service):
    families = xpro_families(service)
    shown = (MONITORING / "grafana.json").read_text() + (MONITORING / "alerts.yml").read_text()
    assert [name for name in families if name not in shown] == []


def test_the_documents_name_every_figure(service):
    families = xpro_families(service)
    text = Path(ROOT / "docs" / "operations.md").read_text()
    assert [name for name in families if name not in text] == []
