"""What a person sees of a fit: a bar with the time left, a line per epoch, TensorBoard curves."""

import csv
import io
import sys
from pathlib import Path
from typing import Any, Final

import keras
from tensorboard.summary import Writer
from tqdm import tqdm

from training.checkpoint import History
from training.record import replace_text

HISTORY: Final = "history.csv"
CURVES: Final = "tensorboard"
FACTS: Final = "facts"
"""Folder, in that of a fit, of the one before it to facts of the patients."""
REFIT: Final = "refit"
"""Folder, in that of a fit to some of the patients, of the one that goes on with all of them."""
_BAR_EVERY_S: Final = 60.0
"""Between two lines of the bar where it is written to a file."""


def name_fit(folder: Path) -> str:
    """Return what a person calls the fit in a folder."""
    inside = folder.name in (FACTS, REFIT)
    return f"{folder.parent.name}-{folder.name}" if inside else folder.name


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar over all batches of all epochs of a fit; its time left is that of this fit."""

    def __init__(self, name: str, epochs_done: int, epochs: int, batches: int) -> None:
        super().__init__()
        self._bar = tqdm(
            None,
            name,
            epochs * batches,
            initial=epochs_done * batches,
            unit="batch",
            mininterval=0.2 if sys.stderr.isatty() else _BAR_EVERY_S,
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' names
        """Move the bar."""
        self._bar.update()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Leave the bar as it is."""
        self._bar.close()


class Journal:
    """HISTORY and CURVES of a run folder, one row and one point per epoch."""

    def __init__(self, run: Path, epochs: int) -> None:
        self._name, self._path, self._epochs = name_fit(run), run / HISTORY, epochs
        # TensorBoard's own writer needs no TensorFlow, which Keras' callback does.
        self._curves = Writer(str(run / CURVES))

    def add(self, history: History, *, best: bool) -> None:
        """Tell of the last epoch of a history; `best` says whether it was chosen so far."""
        text = io.StringIO()
        table = csv.DictWriter(text, history[-1], lineterminator="\n")
        table.writeheader()
        table.writerows(history)
        replace_text(self._path, text.getvalue())
        measures = {name: value for name, value in history[-1].items() if name != "epoch"}
        for name, value in measures.items():
            self._curves.add_scalar(name, value, len(history))
        self._curves.flush()
        told = "  ".join(f"{name} {value:.4g}" for name, value in measures.items())
        tqdm.write(
            f"{self._name}, epoch {len(history)}/{self._epochs}  {told}{'  best so far' * best}"
        )
        sys.stdout.flush()  # a pipe is read while the fit goes on
