"""Decoding workers: killable, limited, replaced."""

import asyncio
import contextlib
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest

from contract.errors import DamagedFile, InputError
from contract.pixels import to_display, to_model_input
from contract.radiograph import read
from service.decode_errors import DecodeCrashed, DecodeMemory, DecodeTimeout, NoDecoder
from service.decode_worker import TASK_HEAD
from service.decoding import Decoder
from tests.conftest import ROOT, wait_until
from tests.service.conftest import encode

SIZE = 64


@pytest.fixture
def decoder():
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    yield pool
    pool.close()


def decode(pool: Decoder, data: bytes):
    return asyncio.run(pool.decode(data, SIZE))


def worker_pid(pool: Decoder) -> int:
    (worker,) = workers(pool)
    return worker.pid


def workers(pool: Decoder):
    return [*pool._idle, *pool._busy]


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
        with pytest.raises(DecodeTimeout):
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


async def decode_and_kill(pool: Decoder, data: bytes, signals: list[int]):
    """Decode a file and send a signal to the worker of each try while it works."""
    job = asyncio.create_task(pool.decode(data, SIZE))
    killed = set()
    for number in signals:
        await asyncio.to_thread(wait_until, lambda: busy_pid(pool) not in {None, *killed})
        killed.add(pid := busy_pid(pool))
        os.kill(pid, number)
    return await job


def busy_pid(pool: Decoder) -> int | None:
    return next((worker.pid for worker in list(pool._busy)), None)


def test_a_worker_killed_from_outside_costs_not_even_its_own_request(decoder, large_png):
    decoded = asyncio.run(decode_and_kill(decoder, large_png, [signal.SIGKILL]))
    assert decoded.bits == 16
    assert decoder.restarts == 1


def test_a_file_whose_worker_is_killed_twice_is_refused_and_the_next_one_is_answered(
    decoder, large_png, png
):
    with pytest.raises(DecodeCrashed):
        asyncio.run(decode_and_kill(decoder, large_png, [signal.SIGKILL] * 2))
    assert decode(decoder, png).format == "PNG"
    assert decoder.restarts == 2


def test_a_file_that_crashes_its_decoder_is_refused_at_once(decoder, large_png, png):
    with pytest.raises(DecodeCrashed):
        asyncio.run(decode_and_kill(decoder, large_png, [signal.SIGSEGV]))
    assert decode(decoder, png).format == "PNG"
    assert decoder.restarts == 1


def test_a_worker_is_replaced_before_damaged_files_have_worn_it_out(decoder):
    """Damaged PNG cost the decoding library references to None; at the last one it would abort."""
    deep = encode(np.arange(200 * 200, dtype=np.uint16).reshape(200, 200))
    first = worker_pid(decoder)
    for _ in range(1000):
        assert worker_pid(decoder) == first
        with pytest.raises(DamagedFile):
            decode(decoder, deep[:-30])
    assert worker_pid(decoder) != first
    assert np.array_equal(decode(decoder, deep).pixels, to_model_input(read(deep), SIZE))


def test_a_cancelled_request_ends_its_worker_and_the_next_gets_its_own_answer(
    decoder, large_png, png
):
    async def scenario() -> None:
        job = asyncio.create_task(decoder.decode(large_png, SIZE))
        await asyncio.to_thread(wait_until, lambda: busy_pid(decoder))
        await asyncio.sleep(0.05)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert (await decoder.decode(png, SIZE)).width == 256

    asyncio.run(scenario())


def test_two_sizes_of_input_are_served_side_by_side(decoder, png):
    for size in (32, 64, 48):
        decoded = asyncio.run(decoder.decode(png, size))
        assert np.array_equal(decoded.pixels, to_model_input(read(png), size))


def test_a_lost_temporary_folder_does_not_keep_new_workers_away(decoder, png):
    """Cleaners of temporary folders remove the socket over which processes are started."""
    Path(forkserver._forkserver._forkserver_address).unlink()
    os.kill(worker_pid(decoder), signal.SIGKILL)
    wait_until(lambda: not decoder.alive())
    wait_until(lambda: revived(decoder))
    assert decode(decoder, png).format == "PNG"


def test_where_memory_runs_out_the_kernel_takes_a_worker_first(decoder, png):
    decode(decoder, png)
    assert Path(f"/proc/{worker_pid(decoder)}/oom_score_adj").read_text() == "1000\n"


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
    pool = Decoder(workers=2, timeout_s=60.0, memory_mib=1536)
    pids = [worker.pid for worker in workers(pool)]
    decode(pool, png)
    pool.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


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


def test_a_worker_ends_itself_when_its_parent_is_gone(large_png, png):
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    try:
        (worker,) = workers(pool)
        decode(pool, png)
        worker._socket.setblocking(True)
        worker._memory.seek(0)
        worker._memory.write(large_png)
        worker._socket.sendall(TASK_HEAD.pack(len(large_png), SIZE, 0))
        worker._socket.close()
        psutil.wait_procs([psutil.Process(worker.pid)], timeout=10)
        assert not psutil.pid_exists(worker.pid)
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
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    try:
        worker = psutil.Process(worker_pid(pool))
        before = sum(worker.cpu_times()[:2])
        decode(pool, large_png)
        took = sum(worker.cpu_times()[:2]) - before
    finally:
        pool.close()
    pool = Decoder(workers=4, timeout_s=2 * took, memory_mib=1536)
    pool._wall_s = 600.0  # other work may be on the machine, too
    try:
        (core, *_) = os.sched_getaffinity(0)
        for one in workers(pool):
            os.sched_setaffinity(one.pid, {core})

        async def decode_two_each() -> None:
            await asyncio.gather(*(pool.decode(large_png, SIZE) for _ in range(8)))

        started = time.monotonic()
        asyncio.run(decode_two_each())
        assert time.monotonic() - started > 4 * took
        assert pool.restarts == 0
    finally:
        pool.close()


def test_ctrl_c_in_a_terminal_which_reaches_the_workers_too_ends_none_of_them(decoder, png):
    decode(decoder, png)
    os.kill(worker_pid(decoder), signal.SIGINT)
    assert decode(decoder, png).format == "PNG"
    assert decoder.restarts == 0


def test_answers_do_not_wear_a_worker_out(decoder, png):
    decode(decoder, png)
    (worker,) = workers(decoder)
    assert worker._refusals == 0


def test_workers_that_are_replaced_leave_no_open_files_and_no_dead_processes(decoder, png):
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    decode(decoder, png)
    before = opened()
    for _ in range(4):
        os.kill(worker_pid(decoder), signal.SIGKILL)
        wait_until(lambda: not decoder.alive())
        decoder.replace_dead()
    wait_until(lambda: decoder.replace_dead() or not decoder._ended, seconds=10)
    assert opened() == before


def test_every_input_error_has_a_code_of_its_own():
    def kinds(kind):
        yield kind
        for narrower in kind.__subclasses__():
            yield from kinds(narrower)

    codes = [kind.code for kind in kinds(InputError)]
    assert len(codes) == len(set(codes))


def revived(pool: Decoder) -> bool:
    with contextlib.suppress(OSError):
        pool.replace_dead()
    return pool.alive()


def test_without_any_process_to_be_had_no_place_is_lost_and_health_says_so(png):
    """As at a limit on open files or processes, for a moment."""
    pool = Decoder(workers=2, timeout_s=60.0, memory_mib=1536)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scenario() -> None:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        fill = [os.open(os.devnull, os.O_RDONLY) for _ in range(max(descriptors))]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(fill), limits[1]))
        try:
            for _ in range(3):
                with pytest.raises(NoDecoder):
                    await pool.decode(png, SIZE)
                with pytest.raises(OSError, match="no process"):
                    pool.replace_dead()
            assert not pool.alive()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in fill:
                os.close(descriptor)

    try:
        for worker in workers(pool):
            os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: not pool.alive())
        asyncio.run(scenario())
        wait_until(lambda: revived(pool))
        assert decode(pool, png).format == "PNG"
    finally:
        pool.close()


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
            with contextlib.suppress(DecodeTimeout):
                decode(pool, slow)
            pool._wall_s = 60.0
            assert decode(pool, png).format == "PNG"
    finally:
        pool.close()


def test_a_process_that_ends_without_closing_its_workers_ends(tmp_path):
    """They take no notice of the SIGTERM that multiprocessing sends them then."""
    program = tmp_path / "program.py"
    program.write_text(
        "from service.decoding import Decoder\n"
        "if __name__ == '__main__':\n"
        "    pool = Decoder(1, 60.0, 1536)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, program], env=environment, timeout=60, check=True)
