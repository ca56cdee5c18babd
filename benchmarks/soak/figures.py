"""What a part of the soak gives, and the service that it is measured at."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tests.conftest import Service

PLACES: Final = 64
CLIENTS: Final = 8
MIB: Final = 1 << 20


class Figure(NamedTuple):
    """A measured value and the range it must lie in."""

    name: str
    value: float
    least: float = -np.inf
    most: float = np.inf

    @property
    def passed(self) -> bool:
        """Whether the value lies in its range."""
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        limit = f"<= {self.most:g}" if self.most < np.inf else f">= {self.least:g}"
        if self.least == -self.most:
            return f"  {self.name:58}{self.value:12.3f}"
        return f"  {self.name:58}{self.value:12.3f}  {limit:12}{'pass' if self.passed else 'MISS'}"


@contextmanager
def serve(**settings: str) -> Iterator[Service]:
    """Run the service with a temporary folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "temporary"
        temporary.mkdir()
        chosen = {"XPRO_MAX_WAITING": str(PLACES), "TMPDIR": str(temporary), **settings}
        with Service(Path(folder) / "log", **chosen) as service:
            yield service


def port_of(service: Service) -> int:
    """Return the port that a service listens on."""
    return int(service.url.rsplit(":", 1)[1])
