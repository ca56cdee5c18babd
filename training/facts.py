"""What a table tells of the patients themselves, as labels for a network that begins with them.

Whoever tells view, sex and age has learnt to see lungs, heart and bones, and every image teaches
all three, while most teach of no finding. docs/recipes.md has what that is worth.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from contract.findings import FINDINGS
from training.config import TrainConfig
from training.table import Row

_YOUNGEST: Final = 15
_OLDEST: Final = 80
_LEAST_TOLD: Final = 0.5
"""Share of the images; from fewer a network would learn those by heart."""


def ask_facts(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows that tell view (PA or AP), sex and age, with labels that ask for them.

    As many labels as there are findings: whether the view is PA, whether the patient is a woman,
    and whether older than each of 12 ages, evenly spaced from 15 to 80 years.
    """
    bounds = np.linspace(_YOUNGEST, _OLDEST, len(FINDINGS) - 2)
    asked = []
    for row in rows:
        view, sex = (row.view or "").upper(), (row.sex or "").upper()[:1]
        if view in ("PA", "AP") and sex in ("F", "M") and row.age is not None:
            labels = (int(view == "PA"), int(sex == "F"), *map(int, row.age > bounds))
            asked.append(replace(row, labels=labels, history=None))
    return tuple(asked)


def without_untold_facts(config: TrainConfig, rows: Sequence[Row]) -> TrainConfig:
    """Return the config without its epochs for facts, and say so, where few `rows` tell any."""
    told = len(ask_facts(rows))
    if not config.fact_epochs or told >= _LEAST_TOLD * len(rows):
        return config
    print(
        f"{told} of {len(rows)} images tell view, sex and age, too few to begin with telling them."
    )
    return replace(config, fact_epochs=0)


def config_for_facts(config: TrainConfig) -> TrainConfig:
    """Return how a network is fitted to the facts before it is fitted to findings by `config`."""
    return replace(
        config,
        epochs=config.fact_epochs,
        fact_epochs=0,
        # These labels are frequent and certain, unlike those of findings.
        loss="cross_entropy",
        label_smoothing=0.0,
    )
