"""Several networks that answer together, each fitted without one fold of the patients.

Networks fitted to a few thousand images differ much by chance, and their mean is better than any of
them. Every image is out of fold for one member, so that all images teach, and all of them serve
calibration and thresholds too. Then each may go on with all patients, as more images teach more.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.devices import describe_hardware
from training.epoch import WEIGHTS
from training.fit import fit, load_best, predict
from training.losses import share_of_positives
from training.network import build_ensemble
from training.prepare import Cache
from training.progress import REFIT
from training.split import Split, assign_folds
from training.table import Row, stack_labels
from training.workers import block_sigint, end_on_error, start_fitting, start_workers

OUT_OF_FOLD: Final = "out_of_fold.npy"


def fit_folds(config: TrainConfig, split: Split, cache: Cache, run: Path) -> None:
    """Fit `config.folds` members into `run/member<k>` and write WEIGHTS of all into `run`.

    They learn from train and validation, divided anew by patient. Where `config` has epochs for it,
    each then goes on with all of them, and those weights are the ones written. On a CPU as many are
    fitted at a time as there are cores: two small networks on a core each took 0.6 of the time that
    they took one after the other on both. Each is resumed after its last whole epoch where `run`
    holds an unfinished fit.
    """
    rows = learnt_rows(split)
    folds = assign_folds(rows, config.folds, config.seed)
    gpus = describe_hardware()["gpus"]
    # Those of all, so that one shift undoes the weighted loss of every member.
    shares = share_of_positives(stack_labels(rows))
    processes = 1 if gpus else min(config.folds, len(os.sched_getaffinity(0)))
    begin = partial(start_fitting, one_core=not gpus)
    with start_workers(processes, begin) as executor, end_on_error():
        with block_sigint():
            jobs = [
                executor.submit(
                    _fit_member, member, rows, folds == fold, cache, _folder(run, fold), shares
                )
                for fold, member in enumerate(_member_configs(config))
            ]
        for job in jobs:
            job.result()
    # Every weight is replaced, so nothing is fetched.
    ensemble, members = build_ensemble(replace(config, pretrained=""))
    for fold, member in enumerate(members):
        member.load_weights(_last_fit(config, run, fold) / WEIGHTS)
    ensemble.save_weights(run / WEIGHTS)


def learnt_rows(split: Split) -> tuple[Row, ...]:
    """Return the rows that the members learn from: train and validation."""
    return (*split.train, *split.validation)


def read_out_of_fold(config: TrainConfig, split: Split, run: Path) -> NDArray[np.float32]:
    """Return logits of `learnt_rows`, float32[N,14], each of the member that never saw it."""
    rows = learnt_rows(split)
    folds = assign_folds(rows, config.folds, config.seed)
    logits = np.empty((len(rows), len(rows[0].labels)), np.float32)
    for fold in range(config.folds):
        logits[folds == fold] = np.load(_folder(run, fold) / OUT_OF_FOLD, allow_pickle=False)
    return logits


def _fit_member(
    config: TrainConfig,
    rows: Sequence[Row],
    held_out: NDArray[np.bool_],
    cache: Cache,
    folder: Path,
    shares: NDArray[np.float64],
) -> None:
    folder.mkdir(exist_ok=True)
    parts: dict[bool, list[Row]] = {False: [], True: []}
    for row, out in zip(rows, held_out, strict=True):
        parts[bool(out)].append(row)
    # Without validation: an epoch chosen on the fold would make its answers too good.
    fit(config, parts[False], (), cache, folder, shares)
    network = load_best(config, folder)
    np.save(folder / OUT_OF_FOLD, predict(network, parts[True], cache, config.batch_size))
    if config.refit_epochs:
        refit(config, rows, cache, folder, shares)


def refit(
    config: TrainConfig,
    rows: Sequence[Row],
    cache: Cache,
    folder: Path,
    shares: NDArray[np.float64],
) -> None:
    """Go on from the weights of the fit in `folder` with `rows`, into its folder REFIT."""
    again = replace(config, epochs=config.refit_epochs, fact_epochs=0)
    (folder / REFIT).mkdir(exist_ok=True)
    fit(again, rows, (), cache, folder / REFIT, shares, begin=folder / WEIGHTS)


def _member_configs(config: TrainConfig) -> list[TrainConfig]:
    return [replace(config, folds=0, seed=config.seed + fold) for fold in range(config.folds)]


def _folder(run: Path, fold: int) -> Path:
    return run / f"member{fold}"


def _last_fit(config: TrainConfig, run: Path, fold: int) -> Path:
    return _folder(run, fold) / REFIT if config.refit_epochs else _folder(run, fold)
