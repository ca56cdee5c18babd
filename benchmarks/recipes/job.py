"""Fits of recipes, each in a process of its own and a folder that keeps its result."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.recipes import Way
from training.config import TrainConfig
from training.data import DataFolder
from training.errors import RunError
from training.history import hash_history
from training.prepare import Cache, prepare_images
from training.record import NEIGHBOURS, read_json, write_json
from training.split import Split
from training.workers import block_sigint, end_on_error, start_fitting, start_workers

_ASKED: Final = "asked.json"
_RESULT: Final = "result.json"
_LOGITS: Final = "logits.npy"
_LOG: Final = "log.txt"


@dataclass(frozen=True)
class Job:
    """One fit of a recipe within a budget of CPU time, and the folder it goes to."""

    recipe: str
    config: TrainConfig
    budget_s: float
    split: Split
    cache: Cache
    folder: Path
    way: Way = ""

    def is_done(self) -> bool:
        """Return whether the folder holds its result; raises RunError where it is another's."""
        if not (self.folder / _RESULT).exists():
            return False
        if self._read()["asked"] != self._asked():
            raise RunError(
                f"{self.folder} holds the result of another recipe, budget or split: delete it or "
                "choose another folder with --out."
            )
        return True

    def run(self) -> None:
        """Fit, then predict validation and test; goes on after the last whole epoch of a kill."""
        # Only here, because importing them loads TensorFlow.
        from benchmarks.recipes.pretraining import FITS
        from training.devices import read_cpuinfo, without_slow_bfloat16
        from training.fit import load_best, predict

        asked = self.folder / _ASKED
        if not asked.exists() or read_json(asked) != self._asked():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(asked, self._asked())
        log = (self.folder / _LOG).open("a", buffering=1)
        with log, redirect_stdout(log), redirect_stderr(log):
            config = without_slow_bfloat16(self.config, read_cpuinfo())
            config, used = FITS[self.way](
                self.budget_s, config, self.split, self.cache, self.folder
            )
        network = load_best(config, self.folder)
        rows = (*self.split.validation, *self.split.test)
        logits = predict(network, rows, self.cache, config.batch_size)
        np.save(self.folder / _LOGITS, logits)
        # Last: where it is, all the rest is.
        write_json(self.folder / _RESULT, {"asked": self._asked(), "used": used})

    def used(self) -> dict[str, float]:
        """Return what a finished job used, see `fit_within`."""
        used: dict[str, float] = self._read()["used"]
        return used

    def logits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what a finished job says of validation and of test, [N,14] each."""
        logits = np.load(self.folder / _LOGITS, allow_pickle=False)
        count = len(self.split.validation)
        return logits[:count], logits[count:]

    def _read(self) -> dict[str, Any]:
        return dict(read_json(self.folder / _RESULT))

    def _asked(self) -> Any:
        """Return all that decides the result, as it comes out of JSON."""
        asked = {
            "config": asdict(self.config),
            "way": self.way,
            "budget_cpu_s": self.budget_s,
            "split_sha256": self.split.sha256(),
        }
        if self.config.history_share:
            asked[NEIGHBOURS] = hash_history(self.split.train)
        return json.loads(json.dumps(asked))


def plan(
    recipes: Mapping[str, TrainConfig],
    data: DataFolder,
    budget_s: float,
    seeds: Sequence[int],
    out: Path,
    ways: Mapping[str, Way],
) -> list[Job]:
    """Return the fits, all recipes for each seed, with prepared images below cache/.

    `ways`: how a recipe is fitted, where that is not plainly.
    """
    caches = {
        size: prepare_images(
            data.files, size, Path("cache") / f"{data.folder.resolve().name}-{size}"
        )
        for size in sorted({config.input_size for config in recipes.values()})
    }
    return [
        Job(
            recipe,
            replace(config, seed=seed),
            budget_s,
            data.split,
            caches[config.input_size],
            out / f"{recipe}-{seed}",
            ways.get(recipe, ""),
        )
        for seed in seeds
        for recipe, config in recipes.items()
    ]


def run_all(jobs: Sequence[Job]) -> None:
    """Run jobs in processes of their own, as many at a time as there are cores."""
    processes = len(os.sched_getaffinity(0))
    with start_workers(processes, _start_worker, tasks_each=1) as executor, end_on_error():
        with block_sigint():
            running = {executor.submit(job.run): job for job in jobs}
        for done in as_completed(running):
            done.result()
            print(f"done: {running[done].folder}", flush=True)


def _start_worker() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    start_fitting(one_core=True)
