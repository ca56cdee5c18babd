"""Short versions of `make soak`; limits are wide, since other work may share the machine."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import psutil

from benchmarks.load import GET_HEALTH, Load, build_request, until
from benchmarks.soak.figures import Figure, port_of
from benchmarks.soak.memory import memory
from benchmarks.soak.overload import crowd, overload
from tests.conftest import open_connection, wait_until
from tests.service.conftest import read_metrics
from tests.service.test_problems import assert_problem

# A starved machine must not turn a slow decoding into a refused file.
PATIENT = {"XPRO_DECODE_TIMEOUT_S": "60"}


def value(figures: list[Figure], name: str) -> float:
    (found,) = [figure.value for figure in figures if figure.name.startswith(name)]
    return found


def test_at_twice_its_capacity_the_service_keeps_most_of_its_goodput(start_service, png):
    with start_service(XPRO_MAX_WAITING="8", **PATIENT) as service:
        figures = asyncio.run(overload(service, build_request(png), 6, 1))
    assert value(figures, "answers under overload") > 0.4
    assert value(figures, "neither 200 nor 503") == 0
    assert value(figures, "/health other than 200") == 0
    assert value(figures, "answers again after") < 30


def test_a_refusal_comes_sooner_than_an_answer_and_before_the_body(start_service, large_png):
    with start_service(XPRO_MAX_WAITING="1", XPRO_STREAMS="1", **PATIENT) as service:
        slow, refused = open_connection(service.url), open_connection(service.url)
        slow.sendall(build_request(large_png))
        wait_until(lambda: read_metrics(service)["xpro_line_requests"] == 1)
        refused.sendall(build_request(bytes(1_000_000))[:300])
        assert refused.recv(12) == b"HTTP/1.1 503"
        assert read_metrics(service)["xpro_line_requests"] == 1
        assert slow.recv(12) == b"HTTP/1.1 200"
        slow.close()
        refused.close()


def test_idle_and_slow_clients_do_not_keep_others_from_their_answers(start_service, png):
    with start_service(**PATIENT) as service:
        figures = asyncio.run(crowd(service, build_request(png), 2, idle=300, slow=100))
    assert value(figures, "requests of others that failed") == 0
    assert value(figures, "answers a second in the crowd") > 0.3


def test_nothing_grows_with_the_number_of_requests(start_service, png, tmp_path):
    with start_service(TMPDIR=str(tmp_path), **PATIENT) as service:
        figures = asyncio.run(memory(service, build_request(png), 200))
    assert value(figures, "requests that failed") == 0
    for name in ("open files", "threads", "temporary files"):
        assert value(figures, f"{name} more") <= 2


def test_workers_killed_under_load_cost_no_request(start_service, png):
    async def scenario(service) -> list[int]:
        process = psutil.Process(service.process.pid)
        async with Load(port_of(service)) as load:
            clients = asyncio.create_task(load.closed(build_request(png), 4, until(3)))
            while not clients.done():
                await asyncio.wait([clients], timeout=0.5)
                os.kill(process.children(recursive=True)[-1].pid, signal.SIGKILL)
            await load.send_until(GET_HEALTH, 200)
            return [answer.status for answer in load.answers]

    with start_service(**PATIENT) as service:
        statuses = asyncio.run(scenario(service))
    assert set(statuses) == {200}


def test_a_limit_on_file_sizes_that_leaves_no_room_for_a_radiograph_is_told(start_service, png):
    """It holds for memory that two processes share, too."""
    limit = psutil.RLIMIT_FSIZE
    with start_service() as service:
        process = psutil.Process(service.process.pid)
        unlimited = process.rlimit(limit)
        process.rlimit(limit, (len(png) - 1, unlimited[1]))
        assert_problem(service.predict(png), 503, "no_decoder")
        process.rlimit(limit, unlimited)
        assert service.predict(png).status_code == 200
        assert read_metrics(service)["xpro_decode_worker_restarts_total"] == 0


def test_with_a_full_disk_every_request_is_answered_and_the_log_comes_back(start_service, png):
    """The limit on file sizes stands for the disk: the log, made as long, cannot grow."""
    limit, length = psutil.RLIMIT_FSIZE, 1 << 20
    with start_service() as service:
        process = psutil.Process(service.process.pid)
        unlimited = process.rlimit(limit)
        os.truncate(service._log, length)
        process.rlimit(limit, (length, unlimited[1]))
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(lambda _: service.predict(png), range(12)))
        assert {answer.status_code for answer in answers} == {200}
        os.kill(process.children(recursive=True)[-1].pid, signal.SIGKILL)
        wait_until(lambda: service.client.get("/health").status_code == 200)
        assert service.predict(png).status_code == 200
        assert service._log.stat().st_size == length
        process.rlimit(limit, unlimited)
        request_id = service.predict(png).json()["request_id"]
        wait_until(lambda: request_id in service.log())
