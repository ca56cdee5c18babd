import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from contract.pixels import to_model_input
from contract.radiograph import read
from training.errors import CacheError, DataError
from training.prepare import open_cache, prepare_images

ROOT = Path(__file__).parents[2]
SIZE = 64


@pytest.fixture(scope="module")
def files(drawn_folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted((drawn_folder / "images").iterdir())[:20]}


@pytest.fixture(scope="module")
def folder(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    prepare_images(files, SIZE, folder)
    return folder


def test_cached_pixels_equal_those_of_the_contract(files: dict[str, Path], folder: Path) -> None:
    cache = prepare_images(files, SIZE, folder)
    for name, path in files.items():
        expected = to_model_input(read(path.read_bytes()), SIZE)
        assert np.array_equal(cache.pixels[cache.index[name]], expected)


def test_filled_cache_is_mapped_not_read(files: dict[str, Path], folder: Path) -> None:
    assert isinstance(prepare_images(files, SIZE, folder).pixels, np.memmap)


def test_cache_of_another_contract_version_is_refused(
    files: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["contract_version"] += 1
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(CacheError, match="another contract_version"):
        prepare_images(files, SIZE, tmp_path)


def test_cache_of_another_size_is_refused(files: dict[str, Path], folder: Path) -> None:
    with pytest.raises(CacheError, match=r"another input_size \(64, needed is 96\)"):
        prepare_images(files, 96, folder)


def test_cache_of_other_files_is_refused(files: dict[str, Path], folder: Path) -> None:
    fewer = dict(list(files.items())[1:])
    with pytest.raises(CacheError, match="another images"):
        prepare_images(fewer, SIZE, folder)


def test_file_that_is_no_radiograph_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"broken\.png: "):
        prepare_images({**files, "broken": broken}, SIZE, tmp_path / "cache")
    with pytest.raises(
        CacheError, match=r"of 21 images; fill it with `python -m training prepare`"
    ):
        open_cache({**files, "broken": broken}, SIZE, tmp_path / "cache")
    cache = prepare_images(files, SIZE, tmp_path / "cache")
    assert len(cache.pixels) == len(files)


def test_killed_prepare_goes_on_where_it_was_and_ends_the_same(
    drawn_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn_folder, data)
    drawn = sorted((data / "images").iterdir())
    with (data / "Data_Entry_drawn.csv").open("a") as table:
        for copy in range(1200):  # gives time for the kill
            os.link(drawn[copy % len(drawn)], data / "images" / f"copy_{copy}.png")
            table.write(f"copy_{copy}.png,No Finding,{copy % 60}\n")
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    process = start_prepare(data, killed)
    deadline = time.monotonic() + 120
    while not (killed / "meta.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    workers = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    prepared = json.loads((killed / "meta.json").read_text())["prepared"]
    assert 0 < prepared < 1200
    while any(map(psutil.pid_exists, workers)):
        assert time.monotonic() < deadline, "a worker outlives its killed parent"
        time.sleep(0.05)

    # What was done is kept: the second run does not read the first images again.
    kept = np.load(killed / "images.npy", mmap_mode="r+")
    before = kept[0].copy()
    kept[0] = 77
    kept.flush()
    assert start_prepare(data, killed).wait() == 0
    assert (np.load(killed / "images.npy", mmap_mode="r")[0] == 77).all()
    kept[0] = before
    kept.flush()
    assert start_prepare(data, whole).wait() == 0
    for name in ("images.npy", "meta.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def start_prepare(data: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "training", "prepare", "--data", data, "--cache", cache]
    options = ["--profile", "smoke"]
    return subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.DEVNULL)
