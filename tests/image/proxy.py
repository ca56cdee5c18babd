"""docker-compose.proxy.yml on top of the one for production: only Caddy is reached, over TLS."""

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

from checking import check
from engine import ROOT, SERVICE, CommandFailed, run
from production import PRODUCTION, change_keys, make_secrets
from project import Project, free_port
from upload import post

DOMAIN = "xpro.localhost"  # for which Caddy is its own authority
PROXY = "docker-compose.proxy.yml"
IMAGE = "caddy:2"
_STAND_IN = "x-pro-image-test-caddy:latest"
_BASE = "python:3.11-slim-bookworm"
_AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"
_UNPACKED = ROOT / ".tools" / "debian" / "usr" / "bin"


def check_proxy(image, override, folder, data):
    caddy = Path(folder, "caddy.json")
    what = find_caddy(folder, caddy)
    if what is None:
        print(f"skipped the proxy: {IMAGE} cannot be pulled, and there is no caddy (make programs)")
        return
    secrets = make_secrets(folder / "behind")
    ports = {"XPRO_HTTP_PORT": str(free_port()), "XPRO_ADDRESS": "127.0.0.1"}
    named = {"XPRO_DOMAIN": DOMAIN, "XPRO_SECRETS": str(secrets)}
    project = Project(override, PRODUCTION, PROXY, str(caddy), image=image, **named, **ports)
    try:
        key = change_keys(project, "make", "tester")
        project.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "90")
        check(True, "proxy: started by one command", what)
        check_answers(project, folder, data, key)
    finally:
        project.compose("--profile", "keys", "down", "--volumes", "--remove-orphans")
        with contextlib.suppress(CommandFailed):
            run("docker", "image", "rm", _STAND_IN, stderr=subprocess.DEVNULL)
    left = project.leftovers()
    check(not any(left.values()), "proxy: nothing is left of", ", ".join(left))


def find_caddy(folder, override):
    """Get the image, or write an override that takes one of this machine's caddy; None without."""
    override.write_text("{}")
    program = shutil.which("caddy") or shutil.which("caddy", path=_UNPACKED)
    try:
        run("docker", "pull", IMAGE, stderr=subprocess.DEVNULL)
    except (CommandFailed, subprocess.TimeoutExpired):
        if program is None:
            return None
        make_image(folder / "caddy", program)
        override.write_text(json.dumps({"services": {"proxy": {"image": _STAND_IN}}}))
        return f"caddy {run(program, 'version')} of this machine"
    return IMAGE


def make_image(folder, program):
    """Make an image of this machine's caddy with the folders of the official one."""
    folder.mkdir()
    shutil.copy(program, folder / "caddy")
    kept = "ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config"
    (folder / "Dockerfile").write_text(f"FROM {_BASE}\nCOPY caddy /usr/bin/caddy\n{kept}\n")
    run("docker", "buildx", "build", "--quiet", "--load", "--tag", _STAND_IN, str(folder))


def check_answers(project, folder, data, key):
    published = project.compose("port", "proxy", "443")
    check(published == f"127.0.0.1:{project.port}", "proxy: published on", published)
    identity = project.compose("ps", "--quiet", SERVICE)
    ports = run("docker", "inspect", "--format", "{{json .HostConfig.PortBindings}}", identity)
    check(not any(json.loads(ports).values()), "proxy: the service is published nowhere", ports)
    authority = Path(folder, "authority.crt")
    authority.write_text(project.compose("exec", "--no-TTY", "proxy", "cat", _AUTHORITY))
    trust = ssl.create_default_context(cafile=authority)
    check(ask(project, trust, data, None) == (401, "missing_key"), "proxy: no key, no answer")
    check(ask(project, trust, data, key) == (200, None), "proxy: a key is answered over TLS")


def ask(project, trust, data, key):
    """Post the radiograph; return status and code of the answer."""
    connection = http.client.HTTPSConnection(DOMAIN, timeout=30)
    reached = socket.create_connection(("127.0.0.1", project.port), timeout=30)
    connection.sock = trust.wrap_socket(reached, server_hostname=DOMAIN)
    return post(connection, data, key)
