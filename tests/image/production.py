"""docker-compose.production.yml as docs/access.md says: a certificate, a key, and strangers."""

import http.client
import ssl
import subprocess
import time

from checking import check
from engine import SERVICE, run
from project import Project
from upload import post

PRODUCTION = "docker-compose.production.yml"
REVOKED_WITHIN_S = 10


def check_production(image, override, folder, data):
    secrets = make_secrets(folder / "secrets")
    project = Project(
        override,
        PRODUCTION,
        image=image,
        XPRO_SECRETS=str(secrets),
        XPRO_ALLOWED_HOSTS="xpro.example",
    )
    trust = ssl.create_default_context(cafile=secrets / "tls" / "server.crt")
    try:
        key = change_keys(project, "make", "tester")
        check(key.startswith("xpro_"), "production: a key is made")
        mode = (secrets / "keys" / "keys.json").stat().st_mode & 0o777
        check(mode == 0o600, "production: the key file's mode", oct(mode))
        project.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "90", SERVICE)
        check_access(project, trust, data, key)
    finally:
        project.compose("--profile", "keys", "down", "--volumes", "--remove-orphans")
    left = project.leftovers()
    check(not any(left.values()), "production: nothing is left of", ", ".join(left))


def make_secrets(folder):
    """Make the folders of keys and of a certificate, as readable as user 10001 needs them."""
    for name in ("keys", "tls"):
        (folder / name).mkdir(parents=True)
    (folder / "keys").chmod(0o777)
    certificate, key = folder / "tls" / "server.crt", folder / "tls" / "server.key"
    names = "subjectAltName=DNS:xpro.example,IP:127.0.0.1"
    options = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run(
        *("openssl", "req", "-x509", "-subj", "/CN=xpro.example", "-addext", names, *options),
        *("-keyout", str(key), "-out", str(certificate)),
        stderr=subprocess.DEVNULL,
    )
    key.chmod(0o644)
    return folder


def change_keys(project, *arguments):
    return project.compose("run", "--rm", "--no-TTY", "keys", *arguments)


def check_access(project, trust, data, key):
    published = project.compose("port", SERVICE, "8000")
    check(published == f"0.0.0.0:{project.port}", "production: published on", published)
    check(ask(project, trust, data, None) == (401, "missing_key"), "production: no key, no answer")
    check(ask(project, trust, data, key)[0] == 200, "production: a key is answered over TLS")
    wrong = ask(project, trust, data, key, "evil.example")
    check(wrong == (421, "unknown_host"), "production: another host is refused")
    change_keys(project, "revoke", "tester")
    started = time.monotonic()
    while (answer := ask(project, trust, data, key)[0]) == 200:
        if time.monotonic() > started + REVOKED_WITHIN_S:
            break
    seconds = time.monotonic() - started
    check(answer == 401, "production: a revoked key is refused", f"after {seconds:.1f} s")
    state = project.container("{{.RestartCount}} {{.State.Health.Status}}")
    check(state == "0 healthy", "production: the same container, and healthy", state)


def ask(project, trust, data, key, host="xpro.example"):
    """Post the radiograph; return status and code of the answer."""
    connection = http.client.HTTPSConnection("127.0.0.1", project.port, timeout=30, context=trust)
    return post(connection, data, key, Host=host)
