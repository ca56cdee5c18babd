"""Two ways to fit a network, compared on the same images and CPU time."""

from typing import Final, Literal

ENDLESS: Final = 10_000
"""So many epochs mean until the budget is used up; a cosine over them is a constant rate."""

Way = Literal["", "distilled", "facts", "contrastive"]
"""How a network is fitted, by the names of `benchmarks.recipes.pretraining`."""
