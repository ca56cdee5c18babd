"""A new version beside the old one: taken up without a failure, or refused without one."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from resource import RLIMIT_NOFILE, prlimit

import pytest

from contract.bundle import find_bundle, seal_bundle
from contract.seal import DESCRIPTION, read_description
from service.settings import Settings
from tests.conftest import wait_until
from tests.service.conftest import read_metrics


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of numbered versions with the bundled model as its first."""
    first = shutil.copytree(find_bundle(Settings().model_dir), tmp_path / "models" / "1")
    seal_bundle(first, {**read_description(first), "version": "1"})
    return tmp_path / "models"


def place(models: Path, version: int, damaged: bool = False) -> str:
    """Place a version as a copy does: file by file, the description last; return its digest."""
    making = models.parent / "making"
    shutil.copytree(models / "1", making)
    description = json.loads((making / DESCRIPTION).read_text())
    digest = seal_bundle(making, {**description, "version": str(version)})
    if damaged:
        content = bytearray((making / "saved_model.pb").read_bytes())
        content[len(content) // 2] ^= 1
        (making / "saved_model.pb").write_bytes(content)
    shutil.copytree(making, models / str(version))
    shutil.rmtree(making)
    return digest


def served(service) -> str:
    return service.client.get("/model").json()["version"]


def test_a_new_version_is_taken_up_under_load_without_a_failure(start_service, models, png):
    stop = threading.Event()

    def ask(service) -> list[tuple[int, str, str]]:
        answers = []
        while not stop.is_set():
            answer = service.predict(png)
            model = answer.json()["model"]
            answers.append((answer.status_code, model["version"], model["digest"]))
        return answers

    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        old = service.client.get("/model").json()["digest"]
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(ask, service) for _ in range(4)]
            new = place(models, 2)
            try:
                wait_until(lambda: served(service) == "2")
                assert service.predict(png).json()["model"]["digest"] == new
            finally:
                stop.set()
            answers = [answer for each in asked for answer in each.result()]
        assert set(answers) == {(200, "1", old), (200, "2", new)}, Counter(answers)
        assert service.client.get("/health").status_code == 200
        assert read_metrics(service)['xpro_model_reloads_total{outcome="taken"}'] == 1


def test_a_damaged_version_is_refused_and_the_old_one_answers(start_service, models, png):
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        place(models, 2, damaged=True)
        wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 1)
        assert service.predict(png).json()["model"]["version"] == "1"
        health = service.client.get("/health")
        assert health.status_code == 200
        assert "model folder holds now was refused" in health.json()["checks"]["model"]["detail"]
        (line,) = [json.loads(x) for x in service.log().splitlines() if "model_refused" in x]
        assert line["reason"].startswith("2: saved_model.pb is damaged")
        shutil.rmtree(models / "2")
        wait_until(lambda: '"model_refusal_over"' in service.log())
        place(models, 3)
        wait_until(lambda: served(service) == "3")
        assert read_metrics(service)["xpro_model_refused"] == 0
        assert "refused" not in service.client.get("/health").text


def test_a_refused_version_is_tried_again_whatever_of_its_files_changed(start_service, models):
    """Mended by a copy that keeps size and times, as cp -p does; a mode would change no more."""
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        place(models, 2, damaged=True)
        wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 1)
        network = models / "2" / "saved_model.pb"
        times = network.stat()
        network.write_bytes((models / "1" / "saved_model.pb").read_bytes())
        os.utime(network, ns=(times.st_atime_ns, times.st_mtime_ns))
        wait_until(lambda: served(service) == "2", seconds=30)


def test_a_version_is_judged_once_and_not_while_it_is_copied(start_service, models):
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        (models / "2").mkdir()
        for number in range(8):
            (models / "2" / "saved_model.pb").write_bytes(bytes(number))
            time.sleep(0.7)
        assert read_metrics(service)['xpro_model_reloads_total{outcome="refused"}'] == 0
        wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 1)
        time.sleep(4.5)
        assert read_metrics(service)['xpro_model_reloads_total{outcome="refused"}'] == 1


def test_a_removed_version_gives_way_to_the_one_before(start_service, models):
    place(models, 2)
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        assert served(service) == "2"
        shutil.rmtree(models / "2")
        wait_until(lambda: served(service) == "1")


def test_what_is_no_file_in_a_version_is_refused_and_holds_up_nothing(start_service, models):
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
            (models / "2" / DESCRIPTION).parent.mkdir(parents=True)
            (models / "2" / "saved_model.pb").touch()
            make(models / "2" / DESCRIPTION)
            wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 1)
            assert f"2: {DESCRIPTION} is no file of at most 16 MiB." in service.log()
            shutil.rmtree(models / "2")
            wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 0)
        place(models, 3)
        wait_until(lambda: served(service) == "3")


def test_a_surplus_file_is_refused_unread_and_a_huge_one_holds_no_end_up(start_service, models):
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        place(models, 2)
        wait_until(lambda: served(service) == "2")
        (models / "2" / "surplus").touch()
        os.truncate(models / "2" / "surplus", 1 << 40)
        wait_until(lambda: "surplus is not part of the bundle" in service.log(), seconds=20)
        (models / "2" / "surplus").unlink()
        os.truncate(models / "2" / "saved_model.pb", 1 << 40)
        time.sleep(5)  # it is being read
        service.terminate()
        assert service.process.wait(10) == 0


def test_a_version_that_cannot_even_be_looked_through_does_not_end_the_watch(start_service, models):
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        (models / "2").mkdir()
        here = os.open(models / "2", os.O_RDONLY)
        for _ in range(1200):
            os.mkdir("a", dir_fd=here)
            inner = os.open("a", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 1)
        subprocess.run(["rm", "-r", str(models / "2")], check=True)
        place(models, 3)
        wait_until(lambda: served(service) == "3")


def test_a_model_is_not_refused_because_the_service_has_no_file_left_to_open(start_service, models):
    with ExitStack() as stack:
        services = [
            stack.enter_context(start_service(XPRO_MODEL_DIR=str(models))) for _ in range(3)
        ]
        before = prlimit(services[0].process.pid, RLIMIT_NOFILE)
        for service, left in zip(services, (0, 1, 3), strict=True):
            opened = {int(one.name) for one in Path(f"/proc/{service.process.pid}/fd").iterdir()}
            free = [number for number in range(1000) if number not in opened]
            prlimit(service.process.pid, RLIMIT_NOFILE, (free[left], before[1]))
        place(models, 2)
        time.sleep(7)  # three looks
        for service in services:
            prlimit(service.process.pid, RLIMIT_NOFILE, before)
        for service in services:
            wait_until(lambda service=service: served(service) == "2")
            assert "model_refused" not in service.log()


def test_a_folder_that_vanishes_changes_nothing(start_service, models, png):
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        shutil.rmtree(models)
        wait_until(lambda: read_metrics(service)["xpro_model_refused"] == 1)
        assert service.predict(png).status_code == 200
