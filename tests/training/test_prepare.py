import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.pixels import to_model_input
from contract.radiograph import read
from training.disk import lock_folder
from training.errors import CacheError, DataError
from training.prepare import prepare_images

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
    cache = shutil.copytree(folder, tmp_path / "cache")
    (cache / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(CacheError, match="another contract_version"):
        prepare_images(files, SIZE, cache)


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
    mark_first(tmp_path / "cache")
    cache = prepare_images(files, SIZE, tmp_path / "cache")
    assert len(cache.pixels) == len(files)
    assert (cache.pixels[0] == MARK).all(), "the first image was read again"
    expected = to_model_input(read(files[max(files)].read_bytes()), SIZE)
    assert np.array_equal(cache.pixels[cache.index[max(files)]], expected)


def test_what_the_service_would_warn_of_is_counted(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = files
    faint = np.asarray(Image.open(files[first]).convert("L")).astype(np.uint16) * 16
    for name in ("a", "b"):
        Image.fromarray(faint).save(tmp_path / f"{name}.png")
    given = {name: tmp_path / f"{name}.png" for name in ("a", "b")} | {second: files[second]}
    prepare_images(given, SIZE, tmp_path / "cache")
    assert "2 images with the warning partial_range, as a\n" in capsys.readouterr().out


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


@pytest.mark.parametrize("damaged", ["meta.json", "files.jsonl", "images.npy"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x93NUMPY cut off"])
def test_damaged_cache_is_said_so(
    files: dict[str, Path], folder: Path, tmp_path: Path, damaged: str, content: bytes
) -> None:
    cache = shutil.copytree(folder, tmp_path / "cache")
    (cache / damaged).write_bytes(content)
    with pytest.raises(CacheError, match=r"is damaged; delete it|lacks"):
        _ = prepare_images(files, SIZE, cache).pixels


def test_while_one_fills_a_cache_another_waits(files: dict[str, Path], tmp_path: Path) -> None:
    other = threading.Thread(target=prepare_images, args=(files, SIZE, tmp_path))
    with lock_folder(tmp_path):
        other.start()
        other.join(timeout=2)
        assert list(tmp_path.iterdir()) == []
    other.join()
    assert len(prepare_images(files, SIZE, tmp_path).index) == len(files)


def mark_first(cache: Path) -> NDArray[np.uint8]:
    """Overwrite the first image of a cache; returns what it was."""
    pixels = np.load(cache / "images.npy", mmap_mode="r+")
    first: NDArray[np.uint8] = pixels[0].copy()
    pixels[0] = MARK
    pixels.flush()
    return first
