"""What all tests share: the folder of real files beside the checkout, and a running service."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlsplit

import httpx
import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
START_TIMEOUT_S = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-cases", action="store_true", help="every case of tests/fuzz")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def find_program(name: str) -> str:
    """Path of a program, installed or unpacked by `make programs`; skips where it is missing."""
    path = shutil.which(name) or shutil.which(name, path=ROOT / ".tools" / "debian" / "usr" / "bin")
    if path is None:
        message = f"needs {name}; on Debian: make programs"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


class Service:
    """`python -m service` in a process of its own, on a free port of 127.0.0.1."""

    command = (sys.executable, "-m", "service")
    _ending: ClassVar[list[subprocess.Popen[bytes]]] = []
    """Services end while the next one starts: to drain takes seconds that hundreds would add up."""

    def __init__(self, log: Path, **settings: str) -> None:
        port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("XPRO_")}
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**environment, "XPRO_PORT": str(port), "XPRO_DRAIN_S": "0.5", **settings},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.client.get("/health/ready").status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"The service did not become ready:\n{self.log()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self.wait_for_ends()
        self.process.terminate()
        self._ending.append(self.process)

    @classmethod
    def wait_for_ends(cls) -> None:
        """Wait for those that were told to end; fails where one does not within 40 seconds."""
        for process in cls._ending:
            try:
                process.wait(40)
            finally:
                process.kill()
        cls._ending.clear()

    def predict(self, data: bytes, name: str = "image", **params: str) -> httpx.Response:
        return self.client.post("/predict", files={"file": (name, data)}, params=params)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def open_connection(url: str) -> socket.socket:
    """Connect to the server of a URL such as http://127.0.0.1:8000."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Look again and again until the condition holds; fails after a time no machine needs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def post_raw(url: str, request: bytes) -> tuple[int, bytes]:
    """Send raw bytes of a request to the server and return status and body of its answer."""
    with open_connection(url) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.fixture(scope="session", autouse=True)
def _end_services() -> Iterator[None]:
    yield
    Service.wait_for_ends()


@pytest.fixture(scope="session")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Service]:
    """Start a service of one's own: `with start_service(XPRO_...="...") as service:`."""

    def start(**settings: str) -> Service:
        return Service(tmp_path_factory.mktemp("service") / "log", **settings)

    return start


@pytest.fixture(scope="session")
def service(start_service: Callable[..., Service]) -> Iterator[Service]:
    """The service with the bundled model, shared by all tests that do not harm it."""
    with start_service() as running:
        yield running


@pytest.fixture(scope="session")
def requests_folder() -> Path:
    """373 real files as they would be posted; skips where they are absent."""
    folder = SHARED / "requests"
    if not folder.is_dir():
        pytest.skip("needs ../shared/requests, which is not part of the repository")
    return folder
