"""How many processor cores there are for this process."""

import contextlib
import math
import os
from pathlib import Path


def available_cores() -> int:
    """Processor cores this process may use, by affinity and by the limits of its control groups."""
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota(Path("/sys/fs/cgroup"), _own_group())
    return cores if quota == math.inf else max(1, min(cores, math.ceil(quota)))


def cpu_quota(root: Path, group: str) -> float:
    """Cores that a control group (version 2) and those around it allow; infinity without a limit.

    `root`: where they are mounted. `group`: its path there, as `/system.slice/x-pro.service`.
    """
    least = math.inf
    inner = root / group.strip("/")
    for folder in (inner, *inner.parents):
        with contextlib.suppress(OSError, ValueError):  # no limit stands at the root, or "max"
            quota, period = map(int, (folder / "cpu.max").read_text().split())
            least = min(least, quota / period)
        if folder == root:
            break
    return least


def _own_group() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line.removeprefix("0::")
    return "/"
