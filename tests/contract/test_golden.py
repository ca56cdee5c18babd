"""Golden examples of a bundle: back as they were, and refused where they are anything else."""

import os
from pathlib import Path

import numpy as np
import pytest

from contract.bundle import GOLDEN, open_bundle, seal_bundle
from contract.seal import BundleError
from tests.contract.drawn_bundle import SIZE, description_of, golden_arrays, write_model


def test_golden_examples_come_back_as_they_were(sealed):
    golden, expected = open_bundle(sealed).golden(), golden_arrays()
    for name, array in expected.items():
        assert np.array_equal(getattr(golden, name), array)


@pytest.mark.parametrize(
    "arrays",
    [
        {"image": np.zeros((2, SIZE, SIZE, 3), np.uint8)},
        {"image": np.zeros((2, SIZE + 1, SIZE, 1), np.uint8)},
        {"image": np.zeros((0, SIZE, SIZE, 1), np.uint8)},
        {"image": np.zeros((2, SIZE, SIZE, 1), np.float32)},
        {"image": np.uint8(7)},
        {"probabilities": np.zeros((2, 13), np.float32)},
        {"probabilities": np.zeros((3, 14), np.float32)},
        {"probabilities": np.zeros((2, 14), np.float64)},
        {"logits": np.zeros((2, 14, 1), np.float32)},
        {"logits": np.zeros((2, 14), np.complex64)},
        {"logits": np.array([[print] * 14] * 2, object)},
    ],
)
def test_misshapen_or_pickled_golden_examples_are_refused(tmp_path, arrays):
    directory = write_model(tmp_path / "model", **arrays)
    seal_bundle(directory, description_of())
    with pytest.raises(BundleError, match=r"golden\.npz"):
        open_bundle(directory).golden()


def test_golden_examples_of_no_image_at_all_are_refused(tmp_path):
    none = {name: array[:0] for name, array in golden_arrays().items()}
    directory = write_model(tmp_path / "model", **none)
    seal_bundle(directory, description_of())
    with pytest.raises(BundleError, match="N > 0"):
        open_bundle(directory).golden()


def test_nothing_that_is_pickled_in_golden_examples_is_run(tmp_path):
    class Maker:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    directory = write_model(tmp_path / "model", logits=np.array([Maker()], object))
    seal_bundle(directory, description_of())
    with pytest.raises(BundleError, match=r"golden\.npz"):
        open_bundle(directory).golden()
    assert not (tmp_path / "made").exists()


def npy():
    file = Path("golden.npy")
    np.save(file, np.zeros(3))
    return file.read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x04pickle", "npy", "cut"])
def test_golden_examples_that_are_no_archive_are_refused(model, monkeypatch, tmp_path, content):
    monkeypatch.chdir(tmp_path)
    whole = (model / GOLDEN).read_bytes()
    made = {"npy": npy, "cut": lambda: whole[: len(whole) // 2]}
    (model / GOLDEN).write_bytes(content if isinstance(content, bytes) else made[content]())
    seal_bundle(model, description_of())
    with pytest.raises(BundleError, match=r"golden\.npz"):
        open_bundle(model).golden()


def test_golden_examples_without_an_array_are_refused(model):
    arrays = golden_arrays()
    del arrays["logits"]
    np.savez(model / GOLDEN, **arrays)
    seal_bundle(model, description_of())
    with pytest.raises(BundleError, match="logits"):
        open_bundle(model).golden()
