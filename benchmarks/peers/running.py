"""Servers as families of processes: start, look at, stop with every child."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmarks.engines import BUNDLE, ROOT, SERVED, family
from benchmarks.peers.model import MODEL_VARIABLE
from benchmarks.peers.table import FLOAT32, INT8

PORT: Final = 8765
_PEERS: Final = str(ROOT / ".venv-peers" / "bin")
_QUIET: Final = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Fewer lines of TensorFlow, and no usage reports."""


class Server(NamedTuple):
    """A command that serves POST /predict on PORT, and what it needs in its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def _ours(engine: str) -> Server:
    settings = {"XPRO_MODEL_DIR": str(BUNDLE), "XPRO_PORT": str(PORT), "XPRO_DRAIN_S": "0"}
    return Server((sys.executable, "-m", "service"), {**settings, **SERVED[engine]})


def _peer(program: str, *arguments: str) -> Server:
    return Server(
        (f"{_PEERS}/{program}", *arguments), {MODEL_VARIABLE: str(BUNDLE / "1"), **_QUIET}
    )


SERVERS: Final = {
    INT8: _ours("int8"),
    FLOAT32: _ours("openvino"),
    "FastAPI": _peer("uvicorn", "benchmarks.peers.plain_fastapi:app", "--port", str(PORT)),
    "BentoML": _peer(
        "bentoml", "serve", "benchmarks.peers.bento:Chest", "--host", "127.0.0.1", "-p", str(PORT)
    ),
    "LitServe": _peer("python", "-m", "benchmarks.peers.lit", str(PORT)),
    "Ray Serve": _peer("python", "-m", "benchmarks.peers.ray_serve", str(PORT)),
}


@contextmanager
def run(server: Server, stop_s: float = 20.0) -> Iterator[psutil.Process]:
    """Run a server with a temporary home of its own until it is left, then stop its family.

    What has not ended `stop_s` seconds after SIGTERM to its head is killed. Where something fails
    meanwhile, the server's last lines go to standard error.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("XPRO_")}
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as folder:
        homes = dict.fromkeys(("HOME", "TMPDIR", "RAY_TMPDIR", "BENTOML_HOME"), folder)
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            process = psutil.Popen(
                server.command,
                cwd=ROOT,
                env={**inherited, **homes, "PYTHONPATH": str(ROOT), **server.environment},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        except BaseException:
            print(*log.read_text(errors="replace").splitlines()[-30:], sep="\n", file=sys.stderr)
            raise
        finally:
            _stop(process, stop_s)


def cpu_s(process: psutil.Process) -> dict[int, float]:
    """Return user and system seconds of each process of the family by its id."""
    seconds = {}
    for each in family(process):
        with suppress(psutil.NoSuchProcess):
            seconds[each.pid] = sum(each.cpu_times()[:2])
    return seconds


def memory_mib(process: psutil.Process) -> float:
    """Return the family's resident memory in MiB, each shared page counted once (PSS)."""
    total = 0
    for each in family(process):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total / 2**20


def _stop(process: psutil.Process, stop_s: float) -> None:
    members = family(process) if process.is_running() else []
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs(members, stop_s)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(alive, stop_s)
