"""Arithmetic, load generator and running of servers in the comparison with other servers."""

import asyncio
import sys

import psutil
import pytest

from benchmarks.engines import take_medians
from benchmarks.load import Load
from benchmarks.peers.running import Server, cpu_s, memory_mib, run
from benchmarks.peers.table import FLOAT32, INT8, MEMORY, READY, markdown, rate_at, targets
from tests.conftest import wait_until

RATE = rate_at(16)


def figures(rate: float, memory: float, ready: float) -> dict[str, float]:
    return {READY: ready, RATE: rate, MEMORY: memory}


def medians(**ours: float) -> dict[str, dict[str, float]]:
    return {
        INT8: figures(**{"rate": 70.0, "memory": 200.0, "ready": 2.0, **ours}),
        FLOAT32: figures(30.0, 300.0, 2.5),
        "FastAPI": figures(100.0, 100.0, 1.0),
        "BentoML": figures(20.0, 900.0, 10.0),
        "LitServe": figures(10.0, 600.0, 10.0),
        "Ray Serve": figures(5.0, 2000.0, 20.0),
    }


def test_medians_are_taken_for_each_server_over_its_own_rounds():
    rounds = [("a", {"x": 1.0}), ("b", {"x": 10.0}), ("a", {"x": 3.0}), ("b", {"x": 50.0})]
    rounds += [("a", {"x": 2.0}), ("b", {"x": 30.0})]
    assert take_medians(rounds) == {"a": {"x": 2.0}, "b": {"x": 30.0}}
    assert list(take_medians(rounds)) == ["a", "b"]


def test_each_cell_of_a_peer_says_what_ours_is_divided_by_it():
    rows = [row.strip("| ").split(" | ") for row in markdown(medians()).splitlines()]
    assert rows[0] == [INT8, FLOAT32, "FastAPI", "BentoML", "LitServe", "Ray Serve"]
    ready, rate, memory = rows[2:]
    assert rate[:3] == [RATE, "70.0", "30.0"]
    assert rate[4] == "20.0 (3.50, 1.50)"
    assert memory[4] == "900 (0.22, 0.33)"
    assert ready[6] == "20.0 (0.10, 0.12)"


def test_targets_are_held_against_the_best_of_the_three_in_each_respect():
    assert [target.value for target in targets(medians())] == [3.5, pytest.approx(1 / 3), 2.0]
    assert all(target.passed for target in targets(medians()))


@pytest.mark.parametrize(
    ("place", "worse"), [(0, {"rate": 69.0}), (1, {"memory": 201.0}), (2, {"ready": 3.1})]
)
def test_each_target_is_missed_by_itself(place, worse):
    judged = targets(medians(**worse))
    assert [target.passed for target in judged] == [number != place for number in range(3)]
    assert str(judged[place]).endswith("MISS")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
def test_the_load_generator_reads_bodies_of_either_framing_on_one_connection(answer):
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    async def ask() -> list[tuple[int, bytes]]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, Load(server.sockets[0].getsockname()[1]) as load:
            for _ in range(2):
                await load.send(b"GET / HTTP/1.1\r\n\r\n")
        return [(each.status, each.body) for each in load.answers]

    assert asyncio.run(ask()) == [(200, b"hello")] * 2
    assert len(connections) == 1


# A child in a session of its own that ignores SIGTERM, as a daemon would.
STUBBORN = """
import signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
while True:
    time.sleep(0.01) if len(sys.argv) > 1 else sum(range(10_000))
"""


def test_a_server_is_stopped_with_every_child_and_counted_with_them():
    server = Server((sys.executable, "-c", STUBBORN), {})
    with run(server, stop_s=1) as process:
        wait_until(lambda: len(cpu_s(process)) == 2)
        members = [process, *process.children()]
        wait_until(lambda: sum(cpu_s(process).values()) > 0.1)
        assert memory_mib(process) > memory_of(process)
    wait_until(lambda: not any(member.is_running() for member in members))


def memory_of(process: psutil.Process) -> float:
    return process.memory_full_info().pss / 2**20
