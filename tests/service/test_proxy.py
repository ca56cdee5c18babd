"""The service behind Caddy with the repository's Caddyfile, on other ports and with a local CA."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, Service, find_program, free_port, wait_until
from tests.service.keyring import bearer, keys
from tests.service.test_problems import assert_problem
from tests.service.test_tls import Authority

DOMAIN = "xpro.localhost"  # for which Caddy is its own authority
MIB = 1 << 20


class Proxy:
    """Caddy before a service; `client` trusts its certificate and sends a key of the service."""

    def __init__(self, folder: Path, service: Service, key: str, **settings: str) -> None:
        self._port = free_port()
        self._key = key
        self._authority = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        self._log = folder / "log"
        (folder / "Caddyfile").write_text(self._on_other_ports(service))
        command = (find_program("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile")
        kept = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        environment = {**os.environ, **kept, "XPRO_DOMAIN": DOMAIN, **settings}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stderr=log)
        wait_until(self._has_certificate)
        self.client = self.connect()

    def _on_other_ports(self, service: Service) -> str:
        text = (ROOT / "Caddyfile").read_text()
        ports = f"\thttp_port {free_port()}\n\thttps_port {self._port}\n\tskip_install_trust\n"
        for there, here in {
            "\tadmin off\n": "\tadmin off\n" + ports,
            "service:8000": service.url.removeprefix("http://"),
            "read_header 10s": "read_header 1s",
        }.items():
            assert text.count(there) == 1
            text = text.replace(there, here)
        return text

    def _has_certificate(self) -> bool:
        log = self._log.read_text()
        assert self._process.poll() is None, log
        return "certificate obtained successfully" in log

    def connect(self, *shown: str) -> httpx.Client:
        """Make a client that comes by the name, and shows a certificate where one is given."""
        trust = ssl.create_default_context(cafile=self._authority)
        if shown:
            trust.load_cert_chain(*shown)
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self._port}",
            verify=trust,
            headers={"Host": DOMAIN, **bearer(self._key)},
            event_hooks={"request": [lambda sent: sent.extensions.update(sni_hostname=DOMAIN)]},
            timeout=60,
        )

    def open_connection(self) -> ssl.SSLSocket:
        trust = ssl.create_default_context(cafile=self._authority)
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        return trust.wrap_socket(connection, server_hostname=DOMAIN)

    def close(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def served(start_service, tmp_path_factory) -> Iterator[tuple[Service, str]]:
    """A service as the compose file starts it, and a key."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    key = keys(file, "make", "ward-3")
    settings = {"XPRO_KEYS_FILE": str(file), "XPRO_ALLOWED_HOSTS": DOMAIN}
    with start_service(**settings, XPRO_UPLOAD_TIMEOUT_S="3") as service:
        yield service, key


@pytest.fixture(scope="module")
def start_proxy(served, tmp_path_factory) -> Iterator[Callable[..., Proxy]]:
    started: list[Proxy] = []

    def start(**settings: str) -> Proxy:
        started.append(Proxy(tmp_path_factory.mktemp("proxy"), *served, **settings))
        return started[-1]

    yield start
    for proxy in started:
        proxy.close()


@pytest.fixture(scope="module")
def proxy(start_proxy) -> Proxy:
    return start_proxy()


def test_a_radiograph_is_answered_through_the_proxy_as_without(proxy, served, png):
    service, key = served
    direct = service.client.post("/predict", files={"file": png}, headers=bearer(key)).json()
    answer = proxy.client.post("/predict", files={"file": png})
    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
    assert answer.json()["probabilities"] == direct["probabilities"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_the_service_still_asks_for_keys(proxy, png):
    refused = proxy.client.post("/predict", files={"file": png}, headers={"Authorization": ""})
    assert_problem(refused, 401, "missing_key")


def test_a_name_that_is_not_the_proxys_does_not_reach_the_service(proxy, served):
    service, _ = served
    lines = service.log().count('"route": "/model"')
    assert proxy.client.get("/model", headers={"Host": "evil.example"}).content == b""
    assert service.log().count('"route": "/model"') == lines


def test_what_is_too_large_is_refused_by_the_service_and_told(proxy):
    too_large = proxy.client.post("/predict", files={"file": bytes(40 * MIB)})
    assert_problem(too_large, 413, "body_too_large")
    headers = {"Cookie": "x" * 15_000, "Referer": "y" * 2_000}
    assert_problem(proxy.client.get("/model", headers=headers), 431, "headers_too_large")


def test_a_body_of_almost_32_mib_passes(proxy):
    answer = proxy.client.post("/predict", files={"file": bytes(32 * MIB)})
    assert_problem(answer, 415, "unsupported_format")


def test_a_body_that_stands_still_ends_with_the_services_budget(proxy):
    def halting() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        time.sleep(4)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = proxy.client.post("/predict", content=halting(), headers=headers)
    assert_problem(answer, 408, "upload_timeout")


def test_a_head_that_stands_still_is_cut_off_by_the_proxy(proxy):
    with proxy.open_connection() as connection:
        connection.sendall(b"GET /model HTTP/1.1\r\nHost: ")
        started = time.monotonic()
        while connection.recv(4096):
            pass
    assert time.monotonic() - started < 30


def test_with_mutual_tls_the_proxy_hears_only_clients_with_a_certificate(
    start_proxy, tmp_path, png
):
    authority = Authority(tmp_path)
    settings = {
        "CLIENTS": "anyone-with-certificate",
        "XPRO_TLS_CLIENT_CA": str(authority.certificate),
    }
    closed = start_proxy(**settings)
    with closed.connect(*authority.issue("ward-3")) as known:
        assert known.post("/predict", files={"file": png}).status_code == 200
    with pytest.raises(httpx.TransportError):
        closed.client.get("/health")
