from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Service
from tests.contract.drawn import draw_radiograph, png
from tests.fuzz.watch import Watch


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How many cases to send: `cases(few, all)`; all of them with --all-cases, as `make fuzz`."""
    return lambda few, every: every if request.config.getoption("--all-cases") else few


@pytest.fixture(scope="module")
def watch(start_service: Callable[..., Service]) -> Iterator[Watch]:
    """A service of the module's own, held to its word; prints what became of the files."""
    # Six times the default, for busy machines; a bomb that is decoded takes longer still.
    with start_service(XPRO_DECODE_TIMEOUT_S="30") as service:
        watching = Watch(service, png(draw_radiograph()))
        yield watching
        print(f"outcomes: {dict(watching.outcomes.most_common())}")
