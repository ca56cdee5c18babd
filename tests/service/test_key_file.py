"""The key file and the command that writes it: whole, private, and plain about what is wrong."""

import errno
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.key_file import KeyFile, KeyFileError, change_keys, read_keys
from tests.conftest import ROOT, wait_until
from tests.service.keyring import change, keys


def test_a_key_that_cannot_be_printed_does_not_come_into_force(file, key):  # noqa: ARG001
    before = file.read_bytes()
    command = [sys.executable, "-m", "service.keys", "--file", str(file)]
    with Path("/dev/full").open("w") as full:
        for arguments in (["make", "unseen"], ["list"]):
            done = subprocess.run(
                [*command, *arguments],
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert done.stderr == "error: nothing can be printed: No space left on device.\n"
    assert file.read_bytes() == before


def test_an_empty_variable_names_no_key_file(monkeypatch):
    monkeypatch.setenv("XPRO_KEYS_FILE", "")
    command = [sys.executable, "-m", "service.keys", "list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "say which file" in done.stderr


def test_expiry_is_listed_in_utc(file, key):  # noqa: ARG001
    keys(file, "make", "far-east")
    change(file, expires="2199-12-01T05:00:00+09:00")
    assert "expires (UTC)" in keys(file, "list")
    assert "2199-11-30 20:00" in keys(file, "list")
    keys(file, "revoke", "far-east")


def test_a_rate_beyond_all_measure_is_no_key_file(tmp_path):
    file = tmp_path / "keys.json"
    keys(file, "make", "x")
    change(file, requests_per_minute=10**400)
    assert "requests_per_minute" in keys(file, "list", status=1)


@pytest.mark.parametrize(("option", "days"), [((), 365), (("--days", "3"), 3)])
def test_a_key_expires_after_so_many_days(tmp_path, option, days):
    keys(tmp_path / "keys.json", "make", "guest", *option)
    (key,) = read_keys(tmp_path / "keys.json")
    left = key.expires - datetime.now(UTC)
    assert timedelta(days=days, minutes=-5) < left <= timedelta(days=days)


@pytest.mark.parametrize(
    "facts", [{"expires": "2199-12-01T05:00:00"}, {"scopes": []}, {"expire": "2030-01-01T00:00Z"}]
)
def test_an_expiry_without_a_time_zone_no_scope_or_an_unknown_fact_is_no_key(tmp_path, facts):
    """A comparison with a time without a zone would fail at every request."""
    file = tmp_path / "keys.json"
    keys(file, "make", "guest")
    change(file, **facts)
    with pytest.raises(KeyFileError, match="is no key file"):
        read_keys(file)


def test_a_file_that_could_not_be_read_for_a_moment_is_read_at_the_next(
    tmp_path, monkeypatch, caplog
):
    file = tmp_path / "keys.json"
    kept, revoked = (keys(file, "make", name).encode() for name in ("kept", "revoked"))
    in_force = KeyFile(file)
    assert in_force.find(revoked)
    with change_keys(file) as entries:
        entries.pop()
    read, looked = Path.read_bytes, 0

    def fail_twice(path: Path) -> bytes:
        nonlocal looked
        looked += 1
        if looked < 3:
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail_twice)
    wait_until(lambda: in_force.find(revoked) is None)
    assert looked == 3
    assert in_force.find(kept)
    assert not in_force.refused()
    assert [each.getMessage() for each in caplog.records].count("keys_refused") == 1


def test_a_key_has_256_bits_and_its_file_is_its_owners_alone(tmp_path):
    file = tmp_path / "keys.json"
    made = {keys(file, "make", "ward") for _ in range(3)}
    assert len(made) == 3
    assert all(len(key.removeprefix("xpro_")) == 43 for key in made)  # base64 of 32 bytes
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_a_file_that_its_group_may_read_stays_readable_when_a_key_is_revoked(tmp_path):
    file = tmp_path / "keys.json"
    keys(file, "make", "ward")
    file.chmod(0o640)
    keys(file, "revoke", "ward")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o666)
    keys(file, "make", "ward")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_stays_its_owners_when_root_makes_a_key(tmp_path):
    file = tmp_path / "keys.json"
    keys(file, "make", "ward")
    os.chown(file, 65534, 65534)
    with change_keys(file):
        pass
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65534)


def test_makers_at_the_same_time_lose_no_key(tmp_path):
    file = tmp_path / "keys.json"
    command = [sys.executable, "-m", "service.keys", "--file", str(file), "make"]
    makers = [
        subprocess.Popen([*command, f"c{number}"], cwd=ROOT, stdout=-3, stderr=-3)
        for number in range(4)
    ]
    assert [maker.wait(60) for maker in makers] == [0] * 4
    assert all(f"c{number}" in keys(file, "list") for number in range(4))


def test_the_command_says_what_is_wrong(tmp_path):
    file = tmp_path / "keys.json"
    assert keys(file, "list", status=1).startswith("error: ")
    assert "a name has" in keys(file, "make", "Jane Doe", status=2)
    assert "from 1 to 1000000" in keys(file, "make", "x", "--requests-per-minute", "0", status=2)
    file.write_text("{}")
    assert "is no key file" in keys(file, "make", "ward", status=1)
    assert file.read_text() == "{}"
