"""Which tensors a file must hold, no more and no fewer."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.errors import WeightsError

Shape = tuple[int, ...]
_NAMED_AT_MOST: Final = 5


def check_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Raise WeightsError, naming tensors, where any is missing, surplus or of another shape."""
    missing = [name for name in expected if name not in found]
    surplus = [name for name in found if name not in expected]
    misshapen = [
        f"{name} is {list(found[name])}, not {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    for what, names in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen)):
        if names:
            more = ", ..." if len(names) > _NAMED_AT_MOST else ""
            raise WeightsError(
                f"The file is not of this kind; {what}, {len(names)} in all: "
                f"{', '.join(names[:_NAMED_AT_MOST])}{more}."
            )


def check_values(name: str, values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return float32 values that are finite; raises WeightsError for others."""
    if values.dtype != np.float32:
        raise WeightsError(f"{name} is {values.dtype}, not float32.")
    if not np.isfinite(values).all():
        raise WeightsError(f"{name} holds values that are not finite.")
    return values.astype(np.float32)
