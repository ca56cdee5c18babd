"""Files built to cost far more than their size, through a running service with its own limits."""

import psutil
import pytest

from service.settings import Settings
from tests.contract.drawn import draw_radiograph, png
from tests.fuzz.bombs import BOMBS, endless_png, large_colour_png, slow_jpeg
from tests.fuzz.watch import Watch

MIB = 1 << 20
DEFAULTS = Settings()


def resident_mib(service) -> float:
    """Of the process that holds every request; decoders are others."""
    return psutil.Process(service.process.pid).memory_info().rss / MIB


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    return {name: bomb.make() for name, bomb in BOMBS.items()}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_answered_as_declared_and_by_no_limit_of_last_resort(watch, bombs, name):
    """Refused for what it declares; the deadline and memory limit of the decoder stay unused."""
    answer = watch.post(bombs[name])
    assert answer.json().get("code") == BOMBS[name].code
    watch.check_unharmed()


def test_no_bomb_is_larger_than_what_the_service_takes(bombs):
    assert max(len(bomb) for bomb in bombs.values()) < DEFAULTS.max_upload_mib * MIB


def test_bombs_leave_no_memory_behind_in_the_service(watch, bombs):
    sizes = []
    for _ in range(3):
        for bomb in bombs.values():
            watch.post(bomb)
        sizes.append(resident_mib(watch.service))
    print(f"resident MiB after each round: {sizes}")
    assert sizes[-1] < sizes[0] + 48


# The deadline lies far above what the golden file takes and far below what the slow ones take.
LIMITS = {
    "jpeg-of-seconds": (slow_jpeg, {"XPRO_DECODE_TIMEOUT_S": "1.5"}, "decode_timeout"),
    "png-of-seconds": (endless_png, {"XPRO_DECODE_TIMEOUT_S": "1.5"}, "decode_timeout"),
    "png-of-400-megabytes": (
        large_colour_png,
        {"XPRO_DECODE_TIMEOUT_S": "60", "XPRO_DECODE_MEMORY_MIB": "512"},
        "decode_memory",
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_file_that_only_a_limit_of_the_decoder_stops_costs_no_other_request(start_service, name):
    """Of 0.1, 4 and 0.4 MB; a file that makes a decoder loop for ever is answered the same."""
    make, limits, code = LIMITS[name]
    with start_service(XPRO_STREAMS="1", **limits) as service:
        watch = Watch(service, png(draw_radiograph()))
        for _ in range(2):
            assert watch.post(make()).json().get("code") == code
            watch.check_unharmed()
