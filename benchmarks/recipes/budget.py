"""Fit a network within a budget of CPU time.

CPU time is user and system time of all threads of this process, so that other work on the machine
costs a recipe next to nothing. Counted is the fit: building its graph, steps, validation and
keeping of weights; neither the short fit that measures what a step costs, nor what follows.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, Final

import keras

from benchmarks.recipes.job import ENDLESS
from training.config import TrainConfig
from training.fit import best_epoch, fit_rows
from training.prepare import Cache
from training.progress import HISTORY
from training.split import Split

_USED_SHARE: Final = 0.95
"""Share of the budget that is planned, so that a schedule ends even if steps get dearer."""
_PROBE_BATCHES: Final = 6


class Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Stop a fit so that validation after the last step, `validation_s`, is within `budget_s` too.

    Says how many `steps` were done, what a step and the judging of an epoch took on average in the
    last epoch, `step_s` and `judging_s`, and what all took, `used_s`; all in seconds of CPU time.
    """

    def __init__(self, budget_s: float = math.inf, validation_s: float = 0.0) -> None:
        super().__init__()
        self._steps_until_s = budget_s - validation_s
        self.steps = 0
        self.step_s = self.judging_s = self.used_s = 0.0
        self._begin = self._first = self._last = 0.0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' names
        """Start."""
        self._begin = process_time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count a step."""
        self.steps += 1
        self._last = process_time()
        if batch == 0:
            self._first = self._last
        else:
            self.step_s = (self._last - self._first) / batch
        self._stop_in_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Measure what was done since the last step."""
        self.judging_s = process_time() - self._last
        self._stop_in_time()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Measure all."""
        self.used_s = process_time() - self._begin

    def _stop_in_time(self) -> None:
        if process_time() - self._begin >= self._steps_until_s:
            self.model.stop_training = True


def fit_within(
    budget_s: float, config: TrainConfig, split: Split, cache: Cache, run: Path
) -> tuple[TrainConfig, dict[str, float]]:
    """Fit into the new folder `run`; return the config with its epochs, and what was used.

    A config that is not ENDLESS gets as many epochs as the budget allows, its warm-up stretched
    with them. What was used: `cpu_s`, `images` seen, `epochs` of them, and after how many the
    weights were `kept`.
    """
    step_s, validation_s = measure_costs(config, split, cache)
    steps = math.ceil(len(split.train) / config.batch_size)
    if config.epochs < ENDLESS:
        config = stretch(config, count_epochs(budget_s, steps * step_s + validation_s))
    clock = Clock(budget_s, validation_s)
    fit_rows(config, split.train, split.validation, cache, run, [clock])
    epochs = clock.steps / steps
    return config, {
        "cpu_s": clock.used_s,
        "images": round(epochs * len(split.train)),
        "epochs": epochs,
        "kept": min(epochs, best_epoch(_read_history(run)) + 1),
    }


def measure_costs(config: TrainConfig, split: Split, cache: Cache) -> tuple[float, float]:
    """Return CPU seconds of a step and of judging an epoch, found in the second of two short ones.

    So building the graphs is in neither.
    """
    count = _PROBE_BATCHES * config.batch_size
    rows, validation = split.train[:count], split.validation[:count]
    clock = Clock()
    with TemporaryDirectory() as folder:
        short = stretch(config, 2)
        fit_rows(short, rows, validation, cache, Path(folder), [clock])
    return clock.step_s, clock.judging_s * len(split.validation) / len(validation)


def count_epochs(budget_s: float, epoch_s: float) -> int:
    """Return how many epochs to plan for a budget, at least one."""
    return max(1, math.floor(_USED_SHARE * budget_s / epoch_s))


def stretch(config: TrainConfig, epochs: int) -> TrainConfig:
    """Return the config with another number of epochs, and of them the same share of warm-up."""
    warmup = config.warmup_epochs * epochs / config.epochs
    return replace(config, epochs=epochs, patience=epochs, warmup_epochs=warmup)


def _read_history(run: Path) -> list[dict[str, float]]:
    with (run / HISTORY).open(newline="") as file:
        rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items()} for row in rows]
