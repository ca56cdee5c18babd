"""Decoding: what the contract gives, within limits of time and memory, file after file."""

import asyncio
import contextlib
import hashlib
import os
import signal
import time

import imagecodecs
import numpy as np
import psutil
import pytest

from contract.errors import DamagedFile, InputError
from contract.pixels import to_display, to_model_input
from contract.radiograph import read
from service.decode_errors import DecodeMemory, DecodeTimeout, NoDecoder
from service.decoding import Decoder
from tests.service.conftest import encode
from tests.service.pool import SIZE, decode, worker_pid, workers


def test_a_worker_gives_exactly_what_the_contract_gives(decoder, png):
    decoded = decode(decoder, png)
    assert np.array_equal(decoded.pixels, to_model_input(read(png), SIZE))
    assert decoded[2:7] == ("PNG", 256, 256, 8, hashlib.sha256(png).hexdigest())
    assert decoded.display.size == 0


def test_a_worker_gives_the_display_image_that_is_asked_for(decoder, png):
    for side, shape in ((100, (100, 100)), (2048, (256, 256))):
        decoded = asyncio.run(decoder.decode(png, SIZE, display_side=side))
        assert decoded.display.shape == shape
        assert np.array_equal(decoded.display, to_display(read(png), side))
        assert np.array_equal(decoded.pixels, to_model_input(read(png), SIZE))
    wide = encode(np.tile(np.arange(256, dtype=np.uint8), (200, 4)))
    assert asyncio.run(decoder.decode(wide, SIZE, display_side=512)).display.shape == (100, 512)


def test_warnings_of_the_contract_come_through(decoder):
    colours = np.zeros((200, 200, 3), np.uint8)
    colours[:, :100, 0] = 255
    assert [warning.code for warning in decode(decoder, encode(colours)).warnings] == [
        "colour_image"
    ]


def test_errors_of_the_contract_come_through_with_code_and_message(decoder, png):
    with pytest.raises(DamagedFile, match="is cut short") as caught:
        decode(decoder, png[:3000])
    assert caught.value.code == "damaged_file"


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_answered(large_png, png):
    pool = Decoder(workers=1, timeout_s=0.1, memory_mib=1536)
    try:
        for _ in range(2):
            with pytest.raises(DecodeTimeout, match=r"within 0\.1 s of processor time"):
                decode(pool, large_png)
            assert decode(pool, png).format == "PNG"
    finally:
        pool.close()


def test_a_worker_that_does_not_even_read_is_given_up(png):
    pool = Decoder(workers=1, timeout_s=0.3, memory_mib=1536)
    try:
        os.kill(worker_pid(pool), signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(NoDecoder):
            decode(pool, bytes(20_000_000))
        assert 0.9 <= time.monotonic() - started < 10
        assert decode(pool, png).format == "PNG"
    finally:
        pool.close()


def test_a_file_that_needs_too_much_memory_is_refused_and_the_worker_lives(png):
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=512)
    try:
        before = worker_pid(pool)
        colours = imagecodecs.png_encode(np.zeros((6000, 8000, 3), np.uint16))
        with pytest.raises(DecodeMemory):
            decode(pool, colours)
        assert decode(pool, png).format == "PNG"
        assert worker_pid(pool) == before
    finally:
        pool.close()


def test_a_file_that_is_itself_too_large_for_the_memory_is_refused_and_the_worker_lives(png):
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=512)
    try:
        before = worker_pid(pool)
        with pytest.raises(DecodeMemory):
            decode(pool, bytes(500 << 20))
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
    shown = asyncio.run(decoder.decode(large_png, SIZE, display_side=2048))
    assert shown.display.shape == (1536, 2048)


def test_two_sizes_of_input_are_served_side_by_side(decoder, png):
    for size in (32, 64, 48):
        decoded = asyncio.run(decoder.decode(png, size))
        assert np.array_equal(decoded.pixels, to_model_input(read(png), size))


def test_a_worker_reads_its_own_file_whatever_was_sent_before_and_large_ones_leave_no_memory(png):
    """Files are told apart by their length alone, since they lie in the same memory in turn."""
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    try:
        (worker,) = workers(pool)
        for filler in (b"", bytes(9 << 20), b"x" * 1000):
            assert decode(pool, png + filler).sha256 == hashlib.sha256(png + filler).hexdigest()
            assert decode(pool, png).sha256 == hashlib.sha256(png).hexdigest()
        assert workers(pool) == [worker]
        assert os.fstat(worker._memory.fileno()).st_size <= 4 << 20
    finally:
        pool.close()


def test_a_worker_ends_itself_at_its_time_whoever_should_have_ended_it(large_png):
    pool = Decoder(workers=1, timeout_s=0.1, memory_mib=1536)
    pool._wall_s = 600.0
    try:
        with pytest.raises(DecodeTimeout):
            decode(pool, large_png)
    finally:
        pool.close()


def test_what_counts_is_the_processor_time_of_one_file(large_png):
    """Neither that of four files, one after the other, nor wall time, of which others take most."""
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    try:
        decode(pool, large_png)  # the first takes longer
        worker = psutil.Process(worker_pid(pool))
        before = sum(worker.cpu_times()[:2])
        decode(pool, large_png)
        took = sum(worker.cpu_times()[:2]) - before
    finally:
        pool.close()
    pool = Decoder(workers=6, timeout_s=3 * took, memory_mib=1536)
    pool._wall_s = 600.0  # other work may be on the machine, too
    try:
        (core, *_) = os.sched_getaffinity(0)
        for one in workers(pool):
            os.sched_setaffinity(one.pid, {core})

        async def decode_four_each() -> None:
            await asyncio.gather(*(pool.decode(large_png, SIZE) for _ in range(24)))

        started = time.monotonic()
        asyncio.run(decode_four_each())
        assert time.monotonic() - started > 4 * pool._timeout_s
        assert pool.restarts == 0
    finally:
        pool.close()


def test_every_input_error_has_a_code_of_its_own():
    def kinds(kind):
        yield kind
        for narrower in kind.__subclasses__():
            yield from kinds(narrower)

    codes = [kind.code for kind in kinds(InputError)]
    assert len(codes) == len(set(codes))


def test_a_file_that_ends_with_its_time_costs_no_other_file_anything(png):
    """The limit is set about the time that the slow file takes, so that either may be first."""
    slow = encode(np.tile(np.arange(1200, dtype=np.uint16) * 50, (1200, 1)))
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    try:
        took = []
        for _ in range(5):
            started = time.monotonic()
            decode(pool, slow)
            took.append(time.monotonic() - started)
        for attempt in range(60):
            pool._wall_s = sorted(took)[2] * (0.9 + 0.2 * attempt / 60)
            with contextlib.suppress(NoDecoder):
                decode(pool, slow)
            pool._wall_s = 60.0
            assert decode(pool, png).format == "PNG"
    finally:
        pool.close()
