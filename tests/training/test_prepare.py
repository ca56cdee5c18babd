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
from numpy.typing import NDArray
from PIL import Image

from contract.pixels import to_model_input
from contract.radiograph import read
from training.errors import CacheError, DataError
from training.prepare import open_cache, prepare_images

ROOT = Path(__file__).parents[2]
SIZE = 64
MARK = 77
"""What pixels are set to in a cache to see later that they were kept."""


@pytest.fixture(scope="module")
def files(drawn_folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted((drawn_folder / "images").iterdir())[:20]}


@pytest.fixture(scope="module")
def folder(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    prepare_images(files, SIZE, folder)
    return folder


@pytest.fixture(scope="module")
def many(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder of 1,320 images, which gives time to end what prepares them."""
    data = shutil.copytree(drawn_folder, tmp_path_factory.mktemp("many") / "data")
    drawn = sorted((data / "images").iterdir())
    with (data / "Data_Entry_drawn.csv").open("a") as table:
        for copy in range(1200):
            os.link(drawn[copy % len(drawn)], data / "images" / f"copy_{copy}.png")
            table.write(f"copy_{copy}.png,No Finding,{copy % 60}\n")
    return data


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


def test_cache_without_an_image_is_refused(files: dict[str, Path], folder: Path) -> None:
    more = {**files, "another": next(iter(files.values()))}
    with pytest.raises(CacheError, match=r"lacks 1 of 21 images, .* as another"):
        prepare_images(more, SIZE, folder)


def test_filled_cache_serves_a_part_of_its_images(files: dict[str, Path], folder: Path) -> None:
    fewer = dict(list(files.items())[5:9])
    cache, whole = prepare_images(fewer, SIZE, folder), prepare_images(files, SIZE, folder)
    assert cache.index == {name: whole.index[name] for name in fewer}


def test_file_that_changed_but_not_in_size_is_refused_and_a_copy_is_not(
    files: dict[str, Path], tmp_path: Path
) -> None:
    stored = {name: tmp_path / path.name for name, path in files.items()}
    for name, path in files.items():
        Image.open(path).save(stored[name], compress_level=0)  # so that all are of one size
    prepare_images(stored, SIZE, tmp_path / "cache")
    copies = {name: tmp_path / f"copy of {path.name}" for name, path in stored.items()}
    for name in files:
        shutil.copyfile(stored[name], copies[name])
    assert len(prepare_images(copies, SIZE, tmp_path / "cache").index) == len(files)
    first, second, *_ = files
    shutil.copyfile(stored[second], stored[first])
    with pytest.raises(CacheError, match=f"lacks 1 of 20 images, .*changed since, as {first};"):
        prepare_images(stored, SIZE, tmp_path / "cache")


def test_file_that_is_no_radiograph_is_named_and_leaving_it_out_keeps_what_was_prepared(
    files: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"broken\.png: "):
        prepare_images({**files, "broken": broken}, SIZE, tmp_path / "cache")
    with pytest.raises(
        CacheError, match=r"holds 16 of 21 images; fill it with `python -m training prepare`"
    ):
        open_cache({**files, "broken": broken}, SIZE, tmp_path / "cache")
    mark_first(tmp_path / "cache")
    cache = prepare_images(files, SIZE, tmp_path / "cache")
    assert len(cache.pixels) == len(files)
    assert (cache.pixels[0] == MARK).all(), "the first image was read again"
    expected = to_model_input(read(files[max(files)].read_bytes()), SIZE)
    assert np.array_equal(cache.pixels[cache.index[max(files)]], expected)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        prepare_images({"a": tmp_path}, SIZE, tmp_path / "cache")


def test_room_for_all_pixels_is_taken_before_the_first(
    files: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(DataError):
        prepare_images({"0": broken, **files}, 512, tmp_path / "cache")
    room = (tmp_path / "cache" / "images.npy").stat()
    assert room.st_blocks * 512 >= room.st_size > 21 * 512 * 512


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


def test_cache_of_an_older_version_is_opened_and_left_as_it_is(
    files: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(folder, tmp_path / "old")
    (old / "files.jsonl").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in old.iterdir()}
    cache = prepare_images(files, SIZE, old)
    assert cache.index == prepare_images(files, SIZE, folder).index
    assert {path.name: path.stat().st_mtime_ns for path in old.iterdir()} == before
    with pytest.raises(CacheError, match="another images"):
        prepare_images(dict(list(files.items())[1:]), SIZE, old)


def test_two_that_prepare_at_once_end_in_one_cache(drawn_folder: Path, tmp_path: Path) -> None:
    both = [start_prepare(drawn_folder, tmp_path / "cache") for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert start_prepare(drawn_folder, tmp_path / "whole").wait() == 0
    for name in ("images.npy", "meta.json", "files.jsonl"):
        assert (tmp_path / "cache" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_ends_prepare_with_one_line_and_keeps_what_is_done(
    many: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command_to_prepare(many, tmp_path / "cache"),
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
    assert 0 < count_prepared(tmp_path / "cache") < 1200


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
    assert 0 < count_prepared(killed) < 1200
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


def mark_first(cache: Path) -> NDArray[np.uint8]:
    """Overwrite the first image of a cache; returns what it was."""
    pixels = np.load(cache / "images.npy", mmap_mode="r+")
    first: NDArray[np.uint8] = pixels[0].copy()
    pixels[0] = MARK
    pixels.flush()
    return first


def command_to_prepare(data: Path, cache: Path) -> list[str]:
    command = [sys.executable, "-m", "training", "prepare", "--profile", "smoke"]
    return [*command, "--data", str(data), "--cache", str(cache)]


def start_prepare(data: Path, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command_to_prepare(data, cache), cwd=ROOT, stderr=subprocess.DEVNULL)
