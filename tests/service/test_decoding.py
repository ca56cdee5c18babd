"""Decoding workers: killable, limited, replaced."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest

from contract.errors import DamagedFile, InputError
from contract.pixels import to_display, to_model_input
from contract.radiograph import read
from service.decoding import DecodeCrashed, DecodeMemory, Decoder, DecodeTimeout
from tests.service.conftest import encode

SIZE = 64


@pytest.fixture
def decoder():
    pool = Decoder(SIZE, workers=1, timeout_s=5.0, memory_mib=1536)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def large_png() -> bytes:
    """48 megapixels of 16-bit noise-free ramp: about half a second of decoding."""
    return encode(np.tile(np.arange(8000, dtype=np.uint16) * 8, (6000, 1)))


def decode(pool: Decoder, data: bytes):
    return asyncio.run(pool.decode(data))


def cpu_s(pool: Decoder) -> float:
    return sum(psutil.Process(worker_pid(pool)).cpu_times()[:2])


def wait_until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def worker_pid(pool: Decoder) -> int:
    (worker,) = pool._running
    return worker.pid


def test_a_worker_gives_exactly_what_the_contract_gives(decoder, png):
    decoded = decode(decoder, png)
    assert np.array_equal(decoded.pixels, to_model_input(read(png), SIZE))
    assert decoded[2:6] == ("PNG", 256, 256, 8)
    assert decoded.display.size == 0


def test_a_worker_gives_the_display_image_that_is_asked_for(decoder, png):
    for side, shape in ((100, (100, 100)), (2048, (256, 256))):
        decoded = asyncio.run(decoder.decode(png, display_side=side))
        assert decoded.display.shape == shape
        assert np.array_equal(decoded.display, to_display(read(png), side))
        assert np.array_equal(decoded.pixels, to_model_input(read(png), SIZE))
    wide = encode(np.tile(np.arange(256, dtype=np.uint8), (200, 4)))
    assert asyncio.run(decoder.decode(wide, display_side=512)).display.shape == (100, 512)


def test_warnings_of_the_contract_come_through(decoder):
    colours = np.zeros((200, 200, 3), np.uint8)
    colours[:, :100, 0] = 255
    assert [warning.code for warning in decode(decoder, encode(colours)).warnings] == [
        "colour_image"
    ]


def test_errors_of_the_contract_come_through_with_code_and_message(decoder, png):
    with pytest.raises(DamagedFile, match="breaks off") as caught:
        decode(decoder, png[:3000])
    assert caught.value.code == "damaged_file"


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_answered(large_png, png):
    pool = Decoder(SIZE, workers=1, timeout_s=0.05, memory_mib=1536)
    try:
        with pytest.raises(DecodeTimeout):
            decode(pool, large_png)
        pool._timeout_s = 5.0
        assert decode(pool, png).format == "PNG"
    finally:
        pool.close()


def test_a_worker_that_does_not_even_read_is_given_up(png):
    pool = Decoder(SIZE, workers=1, timeout_s=0.3, memory_mib=1536)
    try:
        os.kill(worker_pid(pool), signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DecodeTimeout):
            decode(pool, bytes(20_000_000))
        assert time.monotonic() - started < 10
        pool._timeout_s = 5.0
        assert decode(pool, png).format == "PNG"
    finally:
        pool.close()


def test_a_file_that_needs_too_much_memory_is_refused_and_the_worker_lives(png):
    pool = Decoder(SIZE, workers=1, timeout_s=5.0, memory_mib=512)
    try:
        before = worker_pid(pool)
        colours = imagecodecs.png_encode(np.zeros((6000, 8000, 3), np.uint16))
        with pytest.raises(DecodeMemory):
            decode(pool, colours)
        assert decode(pool, png).format == "PNG"
        assert worker_pid(pool) == before
    finally:
        pool.close()


def test_50_megapixels_fit_into_the_default_memory(decoder, large_png):
    assert decode(decoder, large_png).bits == 16
    assert decode(decoder, encode(np.eye(7000, dtype=np.uint8) * 255)).width == 7000
    colours = np.zeros((6000, 8000, 3), np.uint8)
    colours[:100, :, 1] = 99
    assert decode(decoder, encode(colours)).width == 8000
    shown = asyncio.run(decoder.decode(large_png, display_side=2048))
    assert shown.display.shape == (1536, 2048)


def test_a_worker_killed_in_its_work_costs_that_request_and_no_other(decoder, large_png, png):
    decode(decoder, png)
    idle = cpu_s(decoder)

    async def kill_while_decoding() -> None:
        job = asyncio.create_task(decoder.decode(large_png))
        await asyncio.to_thread(wait_until, lambda: cpu_s(decoder) > idle + 0.02)
        os.kill(worker_pid(decoder), signal.SIGKILL)
        with pytest.raises(DecodeCrashed):
            await job
        assert (await decoder.decode(png)).format == "PNG"

    asyncio.run(kill_while_decoding())


def test_a_worker_killed_while_idle_costs_no_request(decoder, png):
    os.kill(worker_pid(decoder), signal.SIGKILL)
    wait_until(lambda: not decoder.alive())
    assert decode(decoder, png).format == "PNG"
    assert decoder.alive()


def test_a_worker_cannot_write_files_and_is_silent(decoder, png):
    decode(decoder, png)
    limits = psutil.Process(worker_pid(decoder)).rlimit
    assert limits(psutil.RLIMIT_FSIZE) == (0, 0)
    assert limits(psutil.RLIMIT_CORE) == (0, 0)
    assert limits(psutil.RLIMIT_AS)[0] == 1536 << 20
    for stream in range(3):
        assert Path(f"/proc/{worker_pid(decoder)}/fd/{stream}").readlink() == Path(os.devnull)


def test_workers_end_when_the_pool_closes(png):
    pool = Decoder(SIZE, workers=2, timeout_s=5.0, memory_mib=1536)
    pids = [worker.pid for worker in pool._running]
    decode(pool, png)
    pool.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_worker_ends_itself_when_its_parent_is_gone(large_png, png):
    pool = Decoder(SIZE, workers=1, timeout_s=5.0, memory_mib=1536)
    try:
        (worker,) = pool._running
        decode(pool, png)
        worker._pipe.send_bytes(b'{"display_side": 0}')
        worker._pipe.send_bytes(large_png)
        worker._pipe.close()
        psutil.wait_procs([psutil.Process(worker.pid)], timeout=10)
        assert not psutil.pid_exists(worker.pid)
    finally:
        pool.close()


def test_every_input_error_has_a_code_of_its_own():
    def kinds(kind):
        yield kind
        for narrower in kind.__subclasses__():
            yield from kinds(narrower)

    codes = [kind.code for kind in kinds(InputError)]
    assert len(codes) == len(set(codes))


def revived(pool: Decoder) -> bool:
    with contextlib.suppress(OSError):
        pool._replace_dead()
    return pool.alive()


def test_without_any_process_to_be_had_no_place_is_lost_and_health_says_so(png):
    """As at a limit on open files or processes, for a moment."""
    pool = Decoder(SIZE, workers=2, timeout_s=5.0, memory_mib=1536)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for worker in list(pool._running):
            os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: not pool.alive())
        descriptors = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
        fill = [os.open(os.devnull, os.O_RDONLY) for _ in range(max(descriptors))]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(fill), limits[1]))
        for _ in range(3):
            with pytest.raises(OSError, match=r"Too many open files|refused"):
                pool._decode(png, 0)
            with pytest.raises(OSError, match=r"Too many open files|refused"):
                pool._replace_dead()
        assert not pool.alive()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in fill:
            os.close(descriptor)
        wait_until(lambda: revived(pool))
        assert decode(pool, png).format == "PNG"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        pool.close()


def test_a_file_that_ends_with_its_time_costs_no_other_file_anything(png):
    """The limit is set about the time that the slow file takes, so that either may be first."""
    slow = encode(np.tile(np.arange(1200, dtype=np.uint16) * 50, (1200, 1)))
    pool = Decoder(SIZE, workers=1, timeout_s=5.0, memory_mib=1536)
    try:
        took = []
        for _ in range(5):
            started = time.monotonic()
            decode(pool, slow)
            took.append(time.monotonic() - started)
        for attempt in range(60):
            pool._timeout_s = sorted(took)[2] * (0.9 + 0.2 * attempt / 60)
            with contextlib.suppress(DecodeTimeout):
                decode(pool, slow)
            pool._timeout_s = 5.0
            assert decode(pool, png).format == "PNG"
    finally:
        pool.close()
