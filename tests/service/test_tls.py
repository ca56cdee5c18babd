"""TLS and mutual TLS, with certificates made on the spot."""

import contextlib
import json
import resource
import select
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import ROOT, Service, open_connection, wait_until
from tests.service.test_startup import start

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")

RECORD = 16_384
"""Most bytes of one TLS record (RFC 8446, section 5.1)."""


class Authority:
    """A certificate authority of the test, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "ca.crt"
        self._openssl("req", "-x509", "-subj", "/CN=ca", "-out", self.certificate, *self._new("ca"))

    def issue(self, name: str) -> tuple[str, str]:
        """Return paths of a certificate for 127.0.0.1 and of its key."""
        request, certificate = (self._folder / f"{name}{suffix}" for suffix in (".csr", ".crt"))
        extensions = self._folder / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1")
        self._openssl("req", "-subj", f"/CN={name}", "-out", request, *self._new(name))
        signer = ("-CA", self.certificate, "-CAkey", self._folder / "ca.key", "-CAcreateserial")
        self._openssl(
            "x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", certificate
        )
        return str(certificate), str(self._folder / f"{name}.key")

    def _new(self, name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        return (*curve, "-keyout", str(self._folder / f"{name}.key"))

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)


class TlsService(Service):
    """A service behind TLS; `client` trusts the authority of the test."""

    def __init__(self, log: Path, trust: ssl.SSLContext, **settings: str) -> None:
        super().__init__(log, **settings)
        self.client.close()
        self.url = self.url.replace("http:", "https:")
        self.client = httpx.Client(base_url=self.url, timeout=60, verify=trust)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority) -> dict[str, str]:
    """Settings of a service with a certificate."""
    certificate, key = authority.issue("server")
    return {"XPRO_TLS_CERT": certificate, "XPRO_TLS_KEY": key}


@pytest.fixture(scope="module")
def trust(authority) -> Callable[..., ssl.SSLContext]:
    def trust(*shown: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=authority.certificate)
        if shown:
            context.load_cert_chain(*shown)
        return context

    return trust


@pytest.fixture(scope="module")
def https(server, trust, tmp_path_factory) -> Iterator[TlsService]:
    with TlsService(tmp_path_factory.mktemp("tls") / "log", trust(), **server) as running:
        yield running


def test_a_radiograph_is_answered_over_tls_and_browsers_are_told_to_stay_there(https, png):
    answer = https.predict(png)
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    ready = json.loads(https.log().splitlines()[0])
    assert ready["address"] == https.url


def test_without_tls_nothing_is_answered(https):
    with pytest.raises(httpx.TransportError):
        httpx.get(https.url.replace("https:", "http:") + "/health", timeout=10)


def test_a_handshake_has_no_more_time_than_a_head(server, trust, tmp_path):
    with TlsService(tmp_path / "log", trust(), XPRO_HEADER_TIMEOUT_S="1", **server) as service:
        with open_connection(service.url) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")  # a hello begins
            started = time.monotonic()
            assert connection.recv(1) == b""
        assert 0.5 < time.monotonic() - started < 8


def begin_hello(url: str) -> socket.socket:
    """Open a connection and send the longest hello that OpenSSL takes, but for its last byte."""
    message = b"\x01" + (131_000).to_bytes(3, "big") + bytes(131_000)
    pieces = [message[start : start + RECORD] for start in range(0, len(message), RECORD)]
    records = [b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces]
    connection = open_connection(url)
    with contextlib.suppress(ConnectionError):  # where there are too many
        connection.sendall(b"".join(records)[:-1])
    return connection


def test_handshakes_that_never_end_hold_nobody_up_and_take_no_more_memory_each_time(
    server, trust, png, tmp_path
):
    settings = {**server, "XPRO_HEADER_TIMEOUT_S": "1.5"}
    with TlsService(tmp_path / "log", trust(), **settings) as service:
        assert service.predict(png).status_code == 200
        sizes = []
        for _ in range(4):
            begun = [begin_hello(service.url) for _ in range(100)]
            assert service.predict(png).status_code == 200
            for connection in begun:
                assert connection.recv(1) == b""
                connection.close()
            sizes.append(psutil.Process(service.process.pid).memory_info().rss)
        assert sizes[3] - sizes[0] < 40 << 20  # 100 of them hold 36 MiB, apart from gaps


class CrampedTlsService(TlsService):
    """A service that may have 120 files open."""

    command = ("sh", "-c", 'ulimit -n 120; exec "$0" -m service', sys.executable)


def test_handshakes_that_never_end_leave_files_for_a_worker_and_are_forgotten(
    server, trust, png, tmp_path
):
    settings = {**server, "XPRO_STREAMS": "1", "XPRO_HEADER_TIMEOUT_S": "3"}
    with CrampedTlsService(tmp_path / "log", trust(), **settings) as service:
        for _ in range(2):
            # Whose connection is kept 5 s: amid the flood a new one would be turned away.
            assert service.predict(png).status_code == 200
            flood = [begin_hello(service.url) for _ in range(100)]
            wait_until(lambda flood=flood: len(select.select(flood, [], [], 0)[0]) > 40, 2)
            for worker in psutil.Process(service.process.pid).children():
                worker.kill()
            wait_until(lambda: service.predict(png).status_code == 200, seconds=2)
            for connection in flood:
                with contextlib.suppress(ConnectionError):
                    assert connection.recv(1) == b""
                connection.close()
        assert httpx.get(f"{service.url}/health", verify=trust(), timeout=30).status_code == 200


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let the test itself open 4,096 files, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_of_1600_handshakes_1500_are_let_wait(server, trust, tmp_path):
    settings = {**server, "XPRO_HEADER_TIMEOUT_S": "60"}
    with (
        TlsService(tmp_path / "log", trust(), **settings) as service,
        contextlib.ExitStack() as all_,
    ):
        ended = select.poll()
        for _ in range(1600):
            ended.register(all_.enter_context(open_connection(service.url)), select.POLLIN)
        wait_until(lambda: len(ended.poll(0)) >= 100, 20)
        assert len(ended.poll(0)) <= 101  # one is that of the client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(https, trust, version):
    context = trust()
    context.minimum_version = context.maximum_version = version
    assert httpx.get(f"{https.url}/health", verify=context, timeout=30).status_code == 200


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """Let two contexts meet in memory and return the version that they agree on."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for end in ends * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[0].version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused_for_nothing_but_its_version(https, server, trust):
    """Asyncio ends such a handshake without an alert, so the same client shows what was wrong."""
    context, willing = trust(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    willing.load_cert_chain(server["XPRO_TLS_CERT"], server["XPRO_TLS_KEY"])
    for end in (context, willing):
        end.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL would not even try
        end.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert shake_hands(context, willing) == "TLSv1.1"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{https.url}/health", verify=context, timeout=10)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert httpx.get(f"{https.url}/health", verify=context, timeout=30).status_code == 200


def test_with_mutual_tls_only_clients_with_a_certificate_are_heard(
    authority, server, trust, tmp_path
):
    settings = {**server, "XPRO_TLS_CLIENT_CA": str(authority.certificate)}
    known = trust(*authority.issue("ward-3"))
    (tmp_path / "other").mkdir()
    stranger = trust(*Authority(tmp_path / "other").issue("stranger"))
    with TlsService(tmp_path / "log", known, **settings) as service:
        assert service.client.get("/model").status_code == 200
        for context in (trust(), stranger):
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{service.url}/health", verify=context, timeout=10)


def healthcheck(url: str, **settings: str) -> int:
    """Run what the container's health check runs, against the service at this address."""
    command = [sys.executable, "-I", "-S", str(ROOT / "service" / "healthcheck.py")]
    environment = {"XPRO_PORT": url.rsplit(":", 1)[1], **settings}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=30)
    assert done.stderr == b""
    return done.returncode


def test_the_containers_health_check_knows_plain_tls_and_mutual_tls(
    service, https, authority, server, trust, tmp_path
):
    assert healthcheck(service.url) == 0
    assert healthcheck(service.url, **server) == 1
    assert healthcheck(https.url, **server) == 0
    assert healthcheck(https.url) == 1
    assert healthcheck("http://127.0.0.1:1") == 1
    mutual = {**server, "XPRO_TLS_CLIENT_CA": str(authority.certificate)}
    known = trust(*authority.issue("probe"))
    with TlsService(tmp_path / "log", known, **mutual) as closed:
        assert healthcheck(closed.url, **mutual) == 0
        assert healthcheck(closed.url, **server) == 1


def test_for_the_health_check_too_an_empty_port_is_none():
    assert healthcheck("http://127.0.0.1:") in (0, 1)  # whoever has port 8000


def test_the_containers_health_check_fails_while_the_service_drains(start_service):
    with start_service(XPRO_DRAIN_S="2") as service:
        service.terminate()
        wait_until(lambda: service.client.get("/health").status_code == 503)
        assert healthcheck(service.url) == 1


def test_settings_that_make_no_tls_end_the_start(server):
    alone = start(XPRO_TLS_CERT=server["XPRO_TLS_CERT"])
    assert (alone.returncode, "XPRO_TLS_KEY" in alone.stderr) == (2, True)
    ended = start(XPRO_TLS_CLIENT_CA=server["XPRO_TLS_CERT"])
    assert (ended.returncode, "XPRO_TLS_CERT" in ended.stderr) == (2, True)


@pytest.fixture(scope="module")
def wrong(authority, server, tmp_path_factory) -> Path:
    """A folder of files that do not do for TLS."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "no-pem").write_text("neither key nor certificate")
    shutil.copy(authority.issue("other")[1], folder / "other.key")
    with_password = ("-aes256", "-passout", "pass:secret", "-out", folder / "locked.key")
    subprocess.run(["openssl", "pkey", "-in", server["XPRO_TLS_KEY"], *with_password], check=True)
    return folder


@pytest.mark.parametrize(
    ("name", "file", "why"),
    [
        ("XPRO_TLS_CERT", "nowhere", "cannot be read: No such file"),
        ("XPRO_TLS_CERT", "no-pem", "holds no certificate in PEM"),
        ("XPRO_TLS_KEY", "no-pem", "holds no private key in PEM"),
        ("XPRO_TLS_KEY", "other.key", "is not the key of"),
        ("XPRO_TLS_KEY", "locked.key", "has a password"),
        ("XPRO_TLS_CLIENT_CA", "no-pem", "holds no certificate in PEM"),
        ("XPRO_TLS_CLIENT_CA", "", "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_does_not_do_for_tls_is_named_with_the_reason(server, wrong, name, file, why):
    ended = start(**{**server, name: str(wrong / file)})
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"Wrong setting: {name}: {wrong / file} {why}")
    assert "Traceback" not in ended.stderr
