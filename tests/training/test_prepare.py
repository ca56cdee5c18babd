import json
from pathlib import Path

import numpy as np
import pytest

from contract.pixels import to_model_input
from contract.radiograph import read
from training.errors import CacheError, DataError
from training.prepare import prepare_images

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
    assert not (tmp_path / "cache" / "meta.json").exists()
