"""Decoding workers as processes: killed, worn out or left alone, they end and are replaced."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import psutil
import pytest

from contract.errors import DamagedFile
from contract.pixels import to_model_input
from contract.radiograph import read
from service.decode_errors import DecodeCrashed, NoDecoder
from service.decode_worker import TASK_HEAD
from service.decoding import Decoder
from tests.conftest import ROOT, wait_until
from tests.service.conftest import encode
from tests.service.pool import SIZE, decode, worker_pid, workers


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
