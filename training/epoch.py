"""What follows each epoch of a fit: averaged weights are judged and the best of them kept."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from training.checkpoint import History, best_epoch, is_over, save_state, state_arrays
from training.config import TrainConfig
from training.dataset import RadiographBatches
from training.disk import require_free_space
from training.errors import RunError
from training.metrics import macro_auroc
from training.progress import Journal

WEIGHTS: Final = "best.weights.h5"


class Judge(keras.callbacks.Callback):  # type: ignore[misc]
    """Measure the averaged weights after each epoch, keep the best, and keep the state."""

    def __init__(
        self,
        config: TrainConfig,
        network: keras.Model,
        loss: Callable[..., Any],
        validation: RadiographBatches | None,
        run: Path,
        history: History,
    ) -> None:
        super().__init__()
        self._config, self._network, self._loss, self._run = config, network, loss, run
        # On one device whatever the fit is on: sets are judged whole, and may not divide evenly.
        self._answering = keras.Model(network.input, network.output["logits"])
        self._validation, self._history = validation, history
        self._journal = Journal(run, config.epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Finish the epoch on disk, so that a kill later on costs nothing of it.

        Raises RunError for a loss that is no number any more.
        """
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"The loss of epoch {epoch + 1} is {logs['loss']}: the steps were too large. Begin "
                "anew with a smaller learning_rate or clip_norm."
            )
        require_free_space(self._run, 2 * sum(array.nbytes for array in state_arrays(self.model)))
        weights = self.model.trainable_variables
        trained = _copy(weights)
        self.model.optimizer.finalize_variable_values(weights)
        # On JAX both would be one array, and prediction gives the network's arrays away.
        _assign(weights, _copy(weights))
        self._history.append({"epoch": epoch + 1, "loss": float(logs["loss"]), **self._measure()})
        best = best_epoch(self._history) == epoch
        if best:
            new = self._run / f"new.{WEIGHTS}"
            self._network.save_weights(new)
            new.replace(self._run / WEIGHTS)
        _assign(weights, trained)
        # The state comes last: a kill before it repeats the epoch, and writes the same again.
        self._journal.add(self._history, best=best and self._validation is not None)
        save_state(self._run, self.model, self._history)
        if is_over(self._history, self._config):
            self.model.stop_training = True

    def _measure(self) -> dict[str, float]:
        if self._validation is None:
            return {}
        logits = self._answering.predict(self._validation, verbose=0)
        labels = self._validation.labels
        return {
            "val_loss": float(keras.ops.mean(self._loss(labels, logits))),
            "val_auroc": macro_auroc(labels, logits),
        }


def _copy(variables: Sequence[Any]) -> list[NDArray[Any]]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
