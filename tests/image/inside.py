"""Runs inside the service container: prints as JSON what the container is and may do."""

import errno
import importlib.util
import json
import os
from pathlib import Path

from contract.bundle import find_bundle, open_bundle
from service.settings import Settings

FOLDERS = ("/", "/app", "/venv", "/model", "/tmp")


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def write_error(folder):
    """Name of the error that writing a file meets; empty where it works."""
    probe = Path(folder, "probe")
    try:
        probe.write_text("x")
    except OSError as error:
        return errno.errorcode[error.errno]
    probe.unlink()
    return ""


def first_text(*paths):
    """Content of the first file that exists: the limit in cgroup v2, else in cgroup v1."""
    return next(Path(path).read_text().strip() for path in paths if Path(path).exists())


def cores():
    version_2 = Path("/sys/fs/cgroup/cpu.max")
    if version_2.exists():
        quota, period = version_2.read_text().split()
    else:
        folder = Path("/sys/fs/cgroup/cpu")
        quota, period = (
            (folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
    return int(quota) / int(period)


def main():
    processes = {pid: status(pid) for pid in ("1", "self")}
    mounts = Path("/proc/mounts").read_text().splitlines()
    facts = {
        "uids": [one["Uid"].split() for one in processes.values()],
        "gids": [one["Gid"].split() for one in processes.values()],
        "cap_eff": [int(one["CapEff"], 16) for one in processes.values()],
        "cap_bnd": [int(one["CapBnd"], 16) for one in processes.values()],
        "no_new_privs": [one["NoNewPrivs"] for one in processes.values()],
        "root_read_only": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "write_errors": {folder: write_error(folder) for folder in FOLDERS},
        "tmp": next(line for line in mounts if " /tmp " in line),
        "memory": first_text(
            "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
        ),
        "cores": cores(),
        "pids": first_text("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"),
        "tensorflow": importlib.util.find_spec("tensorflow") is not None,
        "app": sorted(path.name for path in Path("/app").iterdir()),
        "bundled": open_bundle(find_bundle(Settings().model_dir)).digest,
        "settings": [f"XPRO_{name.upper()}" for name in Settings.model_fields],
    }
    print(json.dumps(facts))


main()
