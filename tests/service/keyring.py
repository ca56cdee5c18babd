"""Keys as tests make, change and use them."""

import json
import subprocess
import sys
from pathlib import Path

import httpx

from tests.conftest import ROOT, Service


def keys(file: Path, *arguments: str, status: int = 0) -> str:
    """Run the command that makes, lists and revokes keys; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "service.keys", "--file", str(file), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return (done.stdout or done.stderr).strip()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def change(file: Path, **facts: object) -> None:
    """Set facts of the last key in the file."""
    content = json.loads(file.read_text())
    content["keys"][-1] |= facts
    file.write_text(json.dumps(content))


def model(service: Service, key: str) -> httpx.Response:
    return service.client.get("/model", headers=bearer(key))
