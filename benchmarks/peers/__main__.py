"""`python -m benchmarks.peers`: the same network and request, served by us and by others.

Rounds go through the servers one after the other, each started anew. Prints progress to standard
error and a Markdown table with the targets to standard output; ends with 1 where one is missed.
`--rounds 1` tries it out.
"""

import argparse
import asyncio
import datetime as dt
import json
import socket
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from benchmarks.engines import ROOT, draw_png, make_bundle, take_medians
from benchmarks.load import Load, build_request, percentile, until
from benchmarks.peers.running import PORT, SERVERS, cpu_s, memory_mib, run
from benchmarks.peers.table import (
    FLOAT32,
    INT8,
    MEMORY,
    READY,
    Figures,
    cpu_at,
    markdown,
    rate_at,
    targets,
    time_at,
)
from service.cores import available_cores
from supply.audit import read_locked

CLIENTS: Final = (1, 4, 16, 64)
START_S: Final = 120.0
WARM_UP_S: Final = 1.0
LARGEST_DIFFERENCE: Final = 1e-6
"""By how much a peer's probability may differ from ours in float32.

With random weights it moves by 9e-6 to 1e-4 where the radiograph is mirrored, one grey level
lighter or resized otherwise; rounding moves it by less than 1e-7.
"""

GENERATOR: Final = "CPU of the load generator, share of one core"
REFUSED: Final = "requests not answered with 200"

Answers = dict[str, dict[str, float]]
"""Server -> finding -> probability of the one radiograph."""


def main() -> int:
    """Measure every server in every round; return 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    # Many short rounds: the machine's speed drifts by a sixth over minutes.
    parser.add_argument("--seconds", type=float, default=3.0, help="for each number of clients")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    make_bundle()
    data = draw_png(1024)
    rounds: list[tuple[str, Figures]] = []
    answers: Answers = {}
    generator, refused = 0.0, dict.fromkeys(SERVERS, 0.0)
    for number in range(1, options.rounds + 1):
        for name in SERVERS:
            figures = measure(name, build_request(data), options.seconds, answers)
            report = ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
            print(f"round {number}, {name}: {report}", file=sys.stderr, flush=True)
            generator = max(generator, figures.pop(GENERATOR))
            refused[name] += figures.pop(REFUSED)
            rounds.append((name, figures))
    medians = take_medians(rounds)
    judged = targets(medians)
    print(describe(len(data), options.seconds, options.rounds), markdown(medians), sep="\n\n")
    print()
    for name in SERVERS:
        print(f"  {name + ': largest difference to float32':58}{difference(answers, name):12.1g}")
        print(f"  {f'{name}: {REFUSED}':58}{refused[name]:12.0f}")
    print(f"  {GENERATOR:58}{generator:12.3f}")
    print(*judged, sep="\n")
    return int(not all(target.passed for target in judged))


def measure(name: str, request: bytes, seconds: float, answers: Answers) -> Figures:
    """One round of one server, from its start to its end; notes its probabilities in `answers`."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            sys.exit(f"error: something else answers on port {PORT}; stop it first.")
    started = time.monotonic()
    with run(SERVERS[name]) as process:
        return asyncio.run(_measure(name, process, started, request, seconds, answers))


async def _measure(
    name: str,
    process: psutil.Process,
    started: float,
    request: bytes,
    seconds: float,
    answers: Answers,
) -> Figures:
    async with Load(PORT) as load:
        async with asyncio.timeout(START_S):
            await load.send_until(request, 200)
        figures = {READY: time.monotonic() - started}
        answer = json.loads((await load.send(request)).body)
        answers[name] = (answer[0] if isinstance(answer, list) else answer)["probabilities"]
        if name != INT8 and difference(answers, name) > LARGEST_DIFFERENCE:
            sys.exit(f"error: {name} answers something else than ours in float32; mend it.")
        resident, generator, refused = [], [], 0
        for clients in CLIENTS:
            cpu, wall = time.process_time(), time.monotonic()
            figures |= await _measure_load(load, process, request, clients, seconds)
            generator.append((time.process_time() - cpu) / (time.monotonic() - wall))
            resident.append(memory_mib(process))
            refused += sum(answer.status != 200 for answer in load.answers)
        return {
            **figures,
            MEMORY: max(resident),
            GENERATOR: max(generator),
            REFUSED: refused,
        }


async def _measure_load(
    load: Load, process: psutil.Process, request: bytes, clients: int, seconds: float
) -> Figures:
    """Post from closed-loop clients for some seconds, after a warm-up; only a 200 counts."""
    await load.closed(request, clients, until(WARM_UP_S))
    load.answers.clear()
    before = cpu_s(process)
    rate = await load.closed(request, clients, until(seconds))
    spent = sum(after - before.get(pid, 0.0) for pid, after in cpu_s(process).items())
    answered = [answer for answer in load.answers if answer.status == 200]
    if not answered:
        sys.exit(f"error: no request was answered; statuses: {load.statuses()}.")
    return {
        rate_at(clients): rate * len(answered) / len(load.answers),
        time_at(clients, "p50"): percentile(answered, 0.5) * 1000,
        time_at(clients, "p99"): percentile(answered, 0.99) * 1000,
        cpu_at(clients): spent * 1000 / len(answered),
    }


def difference(answers: Answers, name: str) -> float:
    """Return the largest difference of a probability to ours in float32; 0 where that is absent."""
    reference = answers.get(FLOAT32, answers[name])
    return max(abs(answers[name][finding] - value) for finding, value in reference.items())


def describe(png_bytes: int, seconds: float, rounds: int) -> str:
    """Say what was measured, when, on what, and with which versions."""
    info = Path("/proc/cpuinfo").read_text()
    model = info.partition("model name")[2].partition(":")[2].partition("\n")[0].strip()
    vnni = "with" if "avx512_vnni" in info else "without"
    locked = dict(read_locked([ROOT / "requirements" / "peers.txt"]))
    packages = ("tensorflow", "fastapi", "bentoml", "litserve", "ray")
    versions = ", ".join(f"{package} {locked[package]}" for package in packages)
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}; {available_cores()} cores of {model} {vnni} AVX-512 "
        f"VNNI; DenseNet121, 224 x 224, random weights; a {png_bytes // 1000} kB 1024 x 1024 PNG; "
        f"medians of {rounds} rounds of {seconds:g} s for each number of clients; openvino "
        f"{version('openvino')}; {versions}. In brackets: ours in INT8 and in float32, divided by "
        "it."
    )


if __name__ == "__main__":
    sys.exit(main())
