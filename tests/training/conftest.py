"""One smoke run for all tests that need a trained network."""

import io
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from training.__main__ import main
from training.config import TrainConfig, read_config
from training.data import DataFolder, read_folder
from training.phantom import write_drawn_folder
from training.prepare import Cache, prepare_images
from training.quiet import start_keras

XRAYS = Path(__file__).parents[3] / "shared" / "xrays"


@dataclass(frozen=True)
class SmokeRun:
    """What the whole chain left on disk, and what went into it."""

    config: TrainConfig
    data: DataFolder
    cache: Cache
    cache_folder: Path
    run: Path
    bundle: Path


@pytest.fixture(scope="session")
def xrays() -> Path:
    """Return the folder of real radiographs."""
    if not XRAYS.is_dir():
        pytest.skip(f"no real radiographs at {XRAYS}")
    return XRAYS


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder of 120 drawn images of 60 patients."""
    folder = tmp_path_factory.mktemp("data") / "drawn"
    write_drawn_folder(folder, patients=60, seed=1)
    return folder


@pytest.fixture(scope="session")
def smoke(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """Run the whole chain of the smoke profile on drawn images."""
    work = tmp_path_factory.mktemp("smoke")
    config = read_config("smoke", ["epochs=4"])
    data = read_folder(drawn_folder, config)
    cache = prepare_images(data.files, config.input_size, work / "cache")
    start_keras()
    from training.chain import train

    train(config, data, cache, work / "run", work / "models" / "smoke")
    bundle = work / "models" / "smoke" / "1"
    return SmokeRun(config, data, cache, work / "cache", work / "run", bundle)


@dataclass(frozen=True)
class BareRun:
    """Where a run and its bundle are, and what `train` printed."""

    run: Path
    bundle: Path
    printed: str


@pytest.fixture(scope="session")
def bare(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BareRun:
    """Run the chain asked for facts, neighbours and bfloat16 where the table tells only findings.

    The table has no follow-ups; whether the processor has bfloat16 is its own affair.
    """
    work = tmp_path_factory.mktemp("bare")
    options = ["--profile", "smoke", "--cache", work / "cache"]
    changes = ["epochs=1", "warmup_epochs=0", "bootstrap_resamples=5", "fact_epochs=1"]
    for change in (*changes, "history_share=0.4", "precision=mixed_bfloat16"):
        options += ["--set", change]
    paths = ["--data", drawn_folder, "--run", work / "run", "--out", work / "models"]
    with redirect_stdout(io.StringIO()) as printed:
        assert call("train", *paths, *options) == 0
    return BareRun(work / "run", work / "models" / "1", printed.getvalue())


def call(*arguments: object) -> int:
    """Run `python -m training` in this process and return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["training", *map(str, arguments)])
        return main()


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded source of random numbers."""
    return np.random.default_rng(3)
