"""Commands, the Docker engine they talk to, and what a build on this machine needs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "service"
_ENGINE = ROOT.parent / "shared" / "docker" / "engine.sh"


class CommandFailed(Exception):
    """A command that ended with another status than 0."""


def run(*command, timeout_s=120, **options):
    """Run a command to its end and return what it printed."""
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout_s,
        **options,
    )
    if done.returncode:
        raise CommandFailed(f"`{' '.join(command)}` ended with {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


def find_engine():
    """Point docker at an engine: the one there is, else one started by engine.sh."""
    if not shutil.which("docker") and not _ENGINE.exists():
        sys.exit("No Docker engine: install Docker with compose and buildx, then try again.")
    if shutil.which("docker") and engine_answers():
        run("docker", "compose", "version")
        return
    if not _ENGINE.exists():
        sys.exit("The Docker engine does not answer (`docker info`): start it, then try again.")
    print("starting a Docker engine, which stays up for the next time", flush=True)
    for line in run("bash", str(_ENGINE), "up", timeout_s=600).splitlines():
        os.environ.update(pair.split("=", 1) for pair in line.removeprefix("export ").split())
    run("bash", str(_ENGINE), "base", timeout_s=600)


def engine_answers():
    asked = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=60)
    return asked.returncode == 0


def write_override(path):
    """Give the build this machine's network, certificates and pip.conf where it needs them."""
    build = {}
    if run("docker", "info", "--format", "{{.IPv4Forwarding}}") == "false":
        build["network"] = "host"
    sources = {"ca": os.environ.get("PIP_CERT"), "pip": os.environ.get("PIP_CONFIG_FILE")}
    files = {
        name: {"file": file} for name, file in sources.items() if file and Path(file).is_file()
    }
    if files:
        build["secrets"] = sorted(files)
    path.write_text(json.dumps({"services": {SERVICE: {"build": build}}, "secrets": files}))
