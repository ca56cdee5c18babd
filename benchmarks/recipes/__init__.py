"""Two ways to fit a network, compared on the same images and CPU time."""

from dataclasses import replace
from typing import Final, Literal

from training.config import PROFILES

ENDLESS: Final = 10_000
"""So many epochs mean until the budget is used up; a cosine over them is a constant rate."""

OURS: Final = replace(
    PROFILES["demo"], fact_epochs=0, epochs=45, folds=0, refit_epochs=0, history_share=0.0
)
"""One network of the bundled recipe, on findings from its first epoch and on labels as they are;
what is compared."""

Way = Literal["", "distilled", "facts", "contrastive"]
"""How a network is fitted, by the names of `benchmarks.recipes.pretraining`."""
