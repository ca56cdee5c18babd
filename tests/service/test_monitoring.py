"""Dashboard and alert rules in Prometheus itself, which scrapes a real service."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import Service, find_program, free_port, wait_until
from tests.service.keyring import keys
from tests.service.test_metrics import MONITORING, queries_of_the_dashboard

ALERTS = MONITORING / "alerts.yml"


def run_promtool(*arguments: str | Path, given: str = "") -> str:
    done = subprocess.run(
        [find_program("promtool"), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def prometheus(folder: Path, service: Service, key: str) -> Iterator[Callable[..., dict]]:
    """Run Prometheus, which asks the service every second; yield how to ask Prometheus."""
    scrape = {
        "job_name": "x-pro",
        "authorization": {"credentials": key},
        "static_configs": [{"targets": [service.url.removeprefix("http://")]}],
    }
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config, address = folder / "prometheus.json", f"127.0.0.1:{free_port()}"
    config.write_text(
        json.dumps({"global": every, "rule_files": [str(ALERTS)], "scrape_configs": [scrape]})
    )
    command = [find_program("prometheus"), f"--config.file={config}"]
    options = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log, httpx.Client(base_url=f"http://{address}") as client:
        process = subprocess.Popen([*command, *options], stderr=log)

        def ask(path: str, **parameters: str) -> dict:
            return client.get(f"/api/v1/{path}", params=parameters).json()["data"]

        def ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return client.get("/-/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(ready)
            yield ask
        finally:
            process.terminate()
            process.wait(30)


def test_every_rule_fires_on_what_it_is_for_and_on_nothing_else():
    run_promtool("check", "rules", ALERTS)
    assert "SUCCESS" in run_promtool("test", "rules", MONITORING / "alerts_test.yml")


def test_no_rule_is_left_out_of_their_test():
    rules = [line.split()[-1] for line in ALERTS.read_text().splitlines() if "- alert:" in line]
    tests = (MONITORING / "alerts_test.yml").read_text()
    assert len(rules) > 10
    assert [name for name in rules if f'"{name}"' not in tests] == []


def test_promtool_finds_no_fault_in_what_is_served(service):
    text = service.client.get("/metrics").text
    assert run_promtool("check", "metrics", given=text) == ""


def test_prometheus_with_a_key_gets_data_for_the_whole_dashboard(start_service, png, tmp_path):
    queries = [query.replace("$__rate_interval", "10s") for query in queries_of_the_dashboard()]
    file = tmp_path / "keys.json"
    key = keys(file, "make", "prometheus", "--scope", "metrics")
    sender = {"Authorization": f"Bearer {keys(file, 'make', 'sender')}"}

    with (
        start_service(XPRO_KEYS_FILE=str(file)) as service,
        prometheus(tmp_path, service, key) as ask,
    ):

        def without_data() -> list[str]:
            for data in (png, png[:3000]):
                service.client.post("/predict", files={"file": data}, headers=sender)
            return [query for query in queries if not ask("query", query=query)["result"]]

        wait_until(lambda: without_data() == [])
        (group,) = ask("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert "firing" not in {rule["state"] for rule in group["rules"]}
