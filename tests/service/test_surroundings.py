"""What the service finds around it: home folder, control groups, signals, other hosts."""

import math
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from service.cores import cpu_quota
from tests.conftest import ROOT, Service


def test_blanks_around_the_address_do_not_matter(start_service):
    with start_service(XPRO_HOST=" 127.0.0.1 ") as service:
        assert service.client.get("/health").status_code == 200


def test_a_start_asks_no_other_host_and_leaves_nothing_in_the_home_folder(start_service, tmp_path):
    """OpenVINO alone would tell its makers, and note in the home folder how often it was used."""
    home = tmp_path / "home"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        with start_service(HOME=str(home), https_proxy=address, http_proxy=address) as service:
            proxy.settimeout(3)
            with pytest.raises(TimeoutError):
                proxy.accept()
        service.wait_for_ends()
    assert list(home.iterdir()) == []


def test_an_environment_that_asks_for_telemetry_gets_none(start_service):
    """FastAPI would send each request's path to that address, or warn that it cannot."""
    asked = {
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    with start_service(**asked) as service:
        assert service.client.get("/health").status_code == 200
        assert "telemetry" not in service.log()


def test_without_a_home_folder_the_service_starts(tmp_path, png):
    class HomelessService(Service):
        command = ("env", "-u", "HOME", "-u", "USER", sys.executable, "-m", "service")

    with HomelessService(tmp_path / "log") as service:
        assert service.predict(png).status_code == 200


@pytest.mark.parametrize("delay_s", [0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.6])
def test_ctrl_c_before_the_service_is_ready_ends_it_without_a_traceback(delay_s):
    process = subprocess.Popen(
        # What runs in the background would hand on that it is ignored.
        ["env", "--default-signal=INT", sys.executable, "-m", "service"],
        cwd=ROOT,
        env={**os.environ, "XPRO_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGINT)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("/system.slice/x-pro.service", 1.5),
        ("/system.slice", 3),
        ("/", math.inf),
        ("/gone", math.inf),
    ],
)
def test_the_smallest_limit_of_the_control_groups_around_counts(tmp_path, own, expected):
    inner = tmp_path / "system.slice" / "x-pro.service"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "cpu.max").write_text("300000 100000\n")
    assert cpu_quota(tmp_path, own) == expected
    (inner.parent / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path, "/system.slice") == math.inf


def test_a_limit_of_an_outer_control_group_holds_inside_of_it_too(tmp_path):
    inner = tmp_path / "system.slice" / "x-pro.service"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("300000 100000\n")
    assert cpu_quota(tmp_path, "/system.slice/x-pro.service") == 3
