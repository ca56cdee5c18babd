"""`prepare` as a process: killed, interrupted, on a full disk."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.training.test_prepare import MARK, mark_first

ROOT = Path(__file__).parents[2]
COPIES = 4800


@pytest.fixture(scope="module")
def many(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder of 4,920 images, which gives time to end what prepares them."""
    data = shutil.copytree(drawn_folder, tmp_path_factory.mktemp("many") / "data")
    drawn = sorted((data / "images").iterdir())
    with (data / "Data_Entry_drawn.csv").open("a") as table:
        for copy in range(COPIES):
            os.link(drawn[copy % len(drawn)], data / "images" / f"copy_{copy}.png")
            table.write(f"copy_{copy}.png,No Finding,{copy % 60}\n")
    return data


def test_full_disk_is_told_with_what_is_needed(drawn_folder: Path, tmp_path: Path) -> None:
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=300k tmpfs " + str(tmp_path)
    if subprocess.run([*unshare, mount], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    prepare = shlex.join(command_to_prepare(drawn_folder, tmp_path / "cache"))
    done = subprocess.run(
        [*unshare, f"{mount} && {prepare}; status=$?; ls {tmp_path}/cache; exit $status"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("No space left on device. Its pixels need 1 MB.\n")
    assert done.stdout == "", "what cannot be filled takes no room"


def test_ctrl_c_ends_prepare_with_one_line_and_keeps_what_is_done(
    many: Path, tmp_path: Path
) -> None:
    # Tests that run in the background of a shell inherit that SIGINT is ignored.
    listening = ["env", "--default-signal=INT"]
    process = subprocess.Popen(
        [*listening, *command_to_prepare(many, tmp_path / "cache")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while count_prepared(tmp_path / "cache") == 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    *bar, last = errors.splitlines()
    assert last == "interrupted"
    assert all(line.strip() == "" or line.startswith("prepare: ") for line in bar), errors
    assert 0 < count_prepared(tmp_path / "cache") < COPIES


def test_killed_prepare_goes_on_where_it_was_and_ends_the_same(many: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    process = start_prepare(many, killed)
    deadline = time.monotonic() + 120
    while count_prepared(killed) == 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    workers = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < count_prepared(killed) < COPIES
    while any(map(psutil.pid_exists, workers)):
        assert time.monotonic() < deadline, "a worker outlives its killed parent"
        time.sleep(0.05)

    # What was done is kept: the second run does not read the first images again.
    first = mark_first(killed)
    assert start_prepare(many, killed).wait() == 0
    pixels = np.load(killed / "images.npy", mmap_mode="r+")
    assert (pixels[0] == MARK).all()
    pixels[0] = first
    pixels.flush()
    assert start_prepare(many, whole).wait() == 0
    for name in ("images.npy", "meta.json", "files.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def count_prepared(cache: Path) -> int:
    path = cache / "meta.json"
    return int(json.loads(path.read_text())["prepared"]) if path.exists() else 0


def command_to_prepare(data: Path, cache: Path) -> list[str]:
    command = [sys.executable, "-m", "training", "prepare", "--profile", "smoke"]
    return [*command, "--data", str(data), "--cache", str(cache)]


def start_prepare(data: Path, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command_to_prepare(data, cache), cwd=ROOT, stderr=subprocess.DEVNULL)
