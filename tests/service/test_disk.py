"""A disk of the service's own, for its temporary files, that is full or read-only."""

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Service, wait_until
from tests.service.test_problems import assert_problem

IN_A_NAMESPACE = ("unshare", "--mount", "--map-root-user")
ON_A_DISK = 'mount -t tmpfs -o size=64k disk "$TMPDIR" && exec "$0" -m service 2>>"$LOG"'


class DiskService(Service):
    """A service with a disk of 64 KiB as temporary folder, which nobody else sees."""

    command = (*IN_A_NAMESPACE, "sh", "-c", ON_A_DISK, sys.executable)

    def __init__(self, folder: Path, log: Path) -> None:
        settings = {"TMPDIR": str(folder), "LOG": str(log), "XPRO_STREAMS": "2"}
        super().__init__(folder.with_suffix(".out"), **settings)
        self._folder = folder
        self.disk = Path(f"/proc/{self.process.pid}/root{folder}")

    def fill(self) -> Path:
        """Write until nothing more fits."""
        filling = self.disk / "filling"
        with filling.open("wb", 0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (self.disk / "more").write_bytes(b"x")
        return filling

    def remount(self, how: str) -> None:
        inside = ("nsenter", f"--target={self.process.pid}", "--mount", "--user")
        command = ("mount", "-o", f"remount,{how}", str(self._folder))
        subprocess.run([*inside, *command], check=True, timeout=30)

    def kill_workers(self, most: int = 2) -> None:
        service = psutil.Process(self.process.pid)
        inside = set(service.children())
        workers = [each for each in service.children(recursive=True) if each not in inside][:most]
        for worker in workers:
            worker.kill()
        wait_until(lambda: not any(worker.is_running() for worker in workers))

    def is_healthy(self) -> bool:
        return self.client.get("/health").status_code == 200


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = (*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "disk", str(folder))
    if subprocess.run(command, check=False, capture_output=True, timeout=30).returncode:
        pytest.skip("mounting a disk is not allowed here, not even in a namespace of one's own")
    return folder


@pytest.fixture
def disk_service(folder, tmp_path) -> Iterator[DiskService]:
    with DiskService(folder, tmp_path / "log") as running:
        yield running


def test_a_full_disk_costs_log_lines_only_and_the_log_comes_back(folder, png):
    with DiskService(folder, folder / "log") as service:
        log = service.disk / "log"
        filling = service.fill()
        before = log.stat().st_size
        assert [service.predict(png).status_code for _ in range(20)] == [200] * 20
        service.kill_workers()
        wait_until(service.is_healthy)
        assert service.predict(png).status_code == 200
        assert log.stat().st_size - before < 4096  # what its last page had room for
        filling.unlink()
        request_id = service.predict(png).json()["request_id"]
        wait_until(lambda: request_id in log.read_text())


def test_a_read_only_disk_costs_nothing(disk_service, png):
    disk_service.remount("ro")
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        (disk_service.disk / "probe").touch()
    assert disk_service.predict(png).status_code == 200
    disk_service.kill_workers()
    wait_until(disk_service.is_healthy)
    assert disk_service.predict(png).status_code == 200


def test_where_no_worker_can_be_started_it_says_so_and_heals_by_itself(disk_service, png):
    """The disk is needed only where the socket over which workers are started has gone from it."""
    (socket,) = disk_service.disk.glob("pymp-*/listener-*")
    socket.rename(socket.with_name("elsewhere"))  # one that was unlinked would keep the disk busy
    disk_service.remount("ro")
    disk_service.kill_workers(1)
    assert disk_service.predict(png).status_code == 200
    disk_service.kill_workers()
    refused = disk_service.predict(png)
    assert_problem(refused, 503, "no_decoder")
    assert int(refused.headers["retry-after"]) >= 1
    assert not disk_service.is_healthy()
    time.sleep(1)
    assert disk_service.predict(png).status_code == 503
    disk_service.remount("rw")
    wait_until(disk_service.is_healthy)
    assert disk_service.predict(png).status_code == 200
