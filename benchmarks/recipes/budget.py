"""Fit a network within a budget of CPU time.

CPU time is user and system time of all threads of this process, so that other work on the machine
costs a recipe next to nothing. Counted is the fit: steps, validation and keeping of weights; not
the first step, which builds the graph, nor the short fit before that measures what a step costs. A
fit that was killed goes on after its last whole epoch, with what it had used until then.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, Final, NamedTuple

import keras

from benchmarks.recipes import ENDLESS
from training.checkpoint import best_epoch
from training.config import TrainConfig
from training.fit import fit
from training.prepare import Cache
from training.progress import HISTORY
from training.record import read_json, write_json
from training.split import Split

_USED_SHARE: Final = 0.95
"""Share of the budget that is planned, so that a schedule ends even if steps get dearer."""
_PROBE_BATCHES: Final = 6
_CLOCK: Final = "clock.json"

Used = dict[str, float]
"""What a fit used, see `fit_within`."""
Fit = Callable[[float, TrainConfig, Split, Cache, Path], tuple[TrainConfig, Used]]
"""Has the parameters of `fit_within` and returns the same."""


class Costs(NamedTuple):
    """CPU seconds of a step, and of judging an epoch: the first time, with its graph, and later."""

    step_s: float
    first_judging_s: float
    judging_s: float


class Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Stop a fit in time for judging the last epoch, whole or not, within `budget_s`.

    Says how many `steps` were done, how many seconds they and all judging `used_s`, what each
    judging took, `judgings_s`, and a step of the last epoch, `step_s`. All in CPU time, from the
    end of the first step on. Goes on from what `file` holds, and keeps it there after each epoch.
    """

    def __init__(self, budget_s: float, costs: Costs, file: Path | None = None) -> None:
        super().__init__()
        self._budget_s, self._costs, self._file = budget_s, costs, file
        kept = read_json(file) if file and file.exists() else {}
        self.steps: int = kept.get("steps", 0)
        self.used_s: float = kept.get("used_s", 0.0)
        self.judgings_s: list[float] = kept.get("judgings_s", [])
        self.step_s = 0.0
        self._begin: float | None = None
        self._used_before_s = self.used_s
        self._judged = False
        self._first = self._last = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' names
        """Count a step."""
        self._last = process_time()
        if self._begin is None:
            self._begin = self._last
        if batch == 0:
            self._first = self._last
        else:
            self.step_s = (self._last - self._first) / batch
        self.steps += 1
        self._stop_in_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Measure what was done since the last step."""
        self.judgings_s.append(process_time() - self._last)
        self._judged = True
        self._stop_in_time()
        if self._file:
            write_json(
                self._file,
                {
                    "costs": self._costs,
                    "steps": self.steps,
                    "used_s": self.used_s,
                    "judgings_s": self.judgings_s,
                },
            )

    def _stop_in_time(self) -> None:
        assert self._begin is not None
        self.used_s = self._used_before_s + process_time() - self._begin
        left_s = self._budget_s - self.used_s
        judging_s = self._costs.judging_s if self._judged else self._costs.first_judging_s
        if left_s <= judging_s:
            self.model.stop_training = True


def fit_within(
    budget_s: float,
    config: TrainConfig,
    split: Split,
    cache: Cache,
    run: Path,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> tuple[TrainConfig, Used]:
    """Fit into the folder `run`; return the config with its epochs, and what was used.

    A config that is not ENDLESS gets as many epochs as the budget allows, its warm-up stretched
    with them. What was used: `cpu_s`, `images` seen, `epochs` of them, and after how many the
    weights were `kept`. `watchers` as for `fit`.
    """
    file = run / _CLOCK
    costs = (
        Costs(*read_json(file)["costs"]) if file.exists() else measure_costs(config, split, cache)
    )
    steps = math.ceil(len(split.train) / config.batch_size)
    if config.epochs < ENDLESS:
        config = stretch(config, count_epochs(budget_s, steps * costs.step_s + costs.judging_s))
    clock = Clock(budget_s, costs, file)
    fit(config, split.train, split.validation, cache, run, watchers=[clock, *watchers])
    epochs = clock.steps / steps
    return config, {
        "cpu_s": clock.used_s,
        "images": round(epochs * len(split.train)),
        "epochs": epochs,
        "kept": min(epochs, best_epoch(_read_history(run)) + 1),
    }


def measure_costs(config: TrainConfig, split: Split, cache: Cache) -> Costs:
    """Return what steps and judging cost, found by fitting two short epochs."""
    count = _PROBE_BATCHES * config.batch_size
    rows, validation = split.train[:count], split.validation[:count]
    clock = Clock(math.inf, Costs(0.0, 0.0, 0.0))
    with TemporaryDirectory() as folder:
        fit(stretch(config, 2), rows, validation, cache, Path(folder), watchers=[clock])
    first, second = clock.judgings_s
    judging_s = second * len(split.validation) / len(validation)
    return Costs(clock.step_s, first - second + judging_s, judging_s)


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
