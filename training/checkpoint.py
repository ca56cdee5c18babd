"""The state of an unfinished fit on disk: all from which its next epoch follows.

That is every variable of network and optimiser (weights, their moving average, moments, seeds of
dropout, number of steps) and the history, from which best epoch and patience follow. The order and
augmentation of an epoch follow from its number.
"""

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.errors import RunError

STATE: Final = "state.npz"
_HISTORY: Final = "history"

History = list[dict[str, float]]


def save_state(run: Path, model: keras.Model, history: History) -> None:
    """Write STATE into `run` so that a kill leaves either the old one or the new one, whole."""
    arrays = {str(n): array for n, array in enumerate(state_arrays(model))}
    new = run / f"{STATE}.new"
    with new.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **{_HISTORY: np.array(json.dumps(history))})
        file.flush()
        os.fsync(file.fileno())
    new.replace(run / STATE)


def state_arrays(model: keras.Model) -> list[NDArray[Any]]:
    """Return the values of all variables of network and optimiser."""
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(model)]


def has_state(run: Path) -> bool:
    """Return whether `run` holds the state of a fit that has begun."""
    return (run / STATE).exists()


def load_state(run: Path, model: keras.Model) -> History:
    """Put the state of `run` into the model and return its history, empty where there is none.

    The model must be compiled and its optimiser built. Raises RunError where the state is of
    another network or damaged.
    """
    if not has_state(run):
        return []
    variables = _variables(model)
    try:
        with (run / STATE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            values = [arrays[str(n)] for n in range(len(arrays.files) - 1)]
            history: History = json.loads(str(arrays[_HISTORY]))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        detail = f"{run / STATE} is damaged ({error}); delete it, and the fit begins anew."
        raise RunError(detail) from error
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise RunError(f"{run / STATE} is of another network; the code has changed since.")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return history


def best_epoch(history: History) -> int:
    """Return the place of the first epoch with the highest `val_auroc`.

    Without a defined AUROC the last epoch is as good as any.
    """
    scores = [epoch.get("val_auroc", math.nan) for epoch in history]
    defined = [score for score in scores if not math.isnan(score)]
    return scores.index(max(defined)) if defined else max(len(history) - 1, 0)


def is_over(history: History, config: TrainConfig) -> bool:
    """Return whether all epochs are done or `patience` of them have passed without a better one."""
    waited = len(history) - 1 - best_epoch(history)
    return len(history) >= config.epochs or waited >= config.patience


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
