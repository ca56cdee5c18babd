"""What the service refuses to start with, and how it says so."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from contract.bundle import GOLDEN, INT8, find_bundle, open_bundle, seal_bundle
from contract.findings import FINDINGS
from contract.seal import DESCRIPTION
from service.settings import Settings
from tests.conftest import ROOT, Service, wait_until
from tests.service.conftest import encode

Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def bundle(tmp_path):
    """A copy of the bundled model that may be damaged."""
    target = tmp_path / "model" / "1"
    shutil.copytree(find_bundle(Settings().model_dir), target)
    return target


def start(limit: str = "", held: Sequence[int] = (), **settings: str) -> Ended:
    """Run a service that is expected to end, under a limit that a shell sets, with files `held`."""
    environment = {**os.environ, "XPRO_PORT": "0", **settings}
    return subprocess.run(
        ["/bin/sh", "-c", f'{limit} exec "$0" -m service', sys.executable],
        cwd=ROOT,
        pass_fds=held,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(bundle, *words: str) -> None:
    ended = start(XPRO_MODEL_DIR=str(bundle.parent))
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.data-00000-of-00001", GOLDEN]
)
def test_a_bundle_with_one_flipped_bit_is_refused_by_file(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert_refused(bundle, name, "damaged")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("closed", [".", "1", "1/variables"])
def test_a_folder_that_may_not_be_entered_is_named(bundle, tmp_path, closed):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (bundle.parent / closed).chmod(0o700)
    code = (
        "import os, sys; from pathlib import Path; from contract.bundle import *; "
        "from contract.seal import BundleError; os.setresuid(65534, 65534, 65534)\n"
        "try: open_bundle(find_bundle(Path(sys.argv[1])))\n"
        "except BundleError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(bundle.parent)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Permission denied" in said
    assert Path(closed).name in said


def test_a_missing_folder_is_refused(tmp_path):
    assert_refused(tmp_path / "nowhere" / "1", "No such file or directory")


def test_outputs_that_are_not_the_exporters_are_refused_by_finding(bundle):
    with np.load(bundle / GOLDEN) as arrays:
        changed = dict(arrays)
    for name in changed.keys() & {"probabilities", "int8_probabilities"}:
        changed[name][1, 3] += 0.02
    np.savez(bundle / GOLDEN, **changed)
    seal_bundle(bundle, open_description(bundle))
    assert_refused(bundle, "golden example 2", FINDINGS[3])


def test_a_graph_that_is_no_graph_is_refused_by_the_engine(bundle):
    (bundle / "saved_model.pb").write_bytes(b"no graph")
    shutil.rmtree(bundle / "openvino", ignore_errors=True)
    seal_bundle(bundle, open_description(bundle))
    assert_refused(bundle, "openvino cannot run the SavedModel")


def test_a_network_that_lacks_an_output_is_refused_by_the_engine(bundle):
    network = bundle / INT8
    network.write_text(network.read_text().replace('names="activation_maps"', 'names="maps"'))
    seal_bundle(bundle, open_description(bundle))
    assert_refused(bundle, f"openvino cannot run {INT8}", "activation_maps")


def open_description(bundle) -> dict[str, object]:
    return json.loads((bundle / DESCRIPTION).read_text())


def test_a_sealed_bundle_opens_under_its_new_digest(bundle):
    before = open_bundle(bundle).digest
    description = {**open_description(bundle), "version": "999"}
    assert seal_bundle(bundle, description) != before


def test_what_just_reaches_its_threshold_is_called(bundle, start_service, service, png):
    found = service.predict(png).json()["findings"]
    description = open_description(bundle)
    for ours, theirs in zip(description["findings"], found, strict=True):
        ours["threshold"] = theirs["probability"]
    seal_bundle(bundle, description)
    with start_service(XPRO_MODEL_DIR=str(bundle.parent)) as other:
        assert all(each["positive"] for each in other.predict(png).json()["findings"])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"XPRO_MODLE_DIR": "x"}, "XPRO_MODLE_DIR is no setting of the service"),
        ({"XPRO_STREAMS": "none"}, "XPRO_STREAMS"),
        ({"XPRO_ENGINE": "onnx"}, "XPRO_ENGINE"),
        ({"XPRO_PRECISION": "int4"}, "XPRO_PRECISION"),
        ({"XPRO_DECODE_TIMEOUT_S": "-1"}, "XPRO_DECODE_TIMEOUT_S"),
        ({"XPRO_MAX_BUFFERED_MIB": "32"}, "XPRO_MAX_UPLOAD_MIB"),
        ({"XPRO_MAX_UPLOAD_MIB": "512"}, "XPRO_MAX_BUFFERED_MIB"),
        (
            {"XPRO_ALLOWED_HOSTS": "a.example,b.example:8000"},
            "'b.example:8000' is no name of a host",
        ),
        ({"XPRO_ALLOWED_HOSTS": "*.example"}, "'*.example' is no name of a host"),
        ({"XPRO_PORT": "65536"}, "XPRO_PORT: give a value from 0 to 65535."),
        ({"XPRO_DECODE_TIMEOUT_S": "1e-300"}, "give a value from 0.1 to 600."),
        ({"XPRO_HOST": "[::1]"}, "XPRO_HOST: '[::1]' is neither an address nor a name"),
        ({"XPRO_HOST": "http://localhost"}, "leave out scheme, port and brackets"),
        ({"XPRO_HOST": os.fsdecode(b"\xff")}, "XPRO_HOST"),
    ],
)
def test_a_wrong_setting_ends_with_code_2_and_its_name(settings, word):
    ended = start(**settings)
    assert ended.returncode == 2
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_documents_tell_every_setting_and_its_default():
    told = {}
    for line in (ROOT / "docs" / "service.md").read_text().splitlines():
        if line.startswith("| `XPRO_"):
            names, default = line.split(" | ")[:2]
            told |= dict.fromkeys(re.findall(r"XPRO_\w+", names), default.strip("`"))
    fields = {f"XPRO_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert told.keys() == fields.keys()
    numbers = {
        name: f"{field.default:g}"
        for name, field in fields.items()
        if type(field.default) in (int, float)
    }
    assert {name: told[name] for name in numbers} == numbers


def test_tensorflow_that_is_not_installed_is_a_wrong_setting():
    """A module that is None in sys.modules is one that cannot be found."""
    code = "import sys; sys.modules['tensorflow'] = None; from service.__main__ import main; "
    ended = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main())"],
        cwd=ROOT,
        env={**os.environ, "XPRO_ENGINE": "tensorflow", "XPRO_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("Wrong setting: XPRO_ENGINE=tensorflow needs the module")
    assert "Traceback" not in ended.stderr


def test_more_streams_than_open_files_allow_are_a_wrong_setting():
    ended = start(limit="ulimit -n 48;", XPRO_STREAMS="64")
    assert ended.returncode == 2
    assert "XPRO_STREAMS=64 needs 384 open files, and the limit is 48" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_limit_on_file_sizes_below_the_largest_upload_is_a_wrong_setting():
    """In blocks of 512 bytes, as `ulimit` of a POSIX shell counts."""
    ended = start(limit="ulimit -f 2000;")
    assert ended.returncode == 2
    assert "XPRO_MAX_UPLOAD_MIB=32 is above the limit on the size of files, 1024000" in ended.stderr


def test_a_limit_on_memory_below_that_of_a_decoder_is_a_wrong_setting():
    ended = start(limit="ulimit -v 3000000;", XPRO_DECODE_MEMORY_MIB="4096")
    assert ended.returncode == 2
    assert "XPRO_DECODE_MEMORY_MIB=4096 is above the limit on address space" in ended.stderr


def test_files_are_open_for_many_connections_and_no_more_than_memory_bears(service):
    soft, hard = psutil.Process(service.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(4096, hard)


class SoftlyLimitedService(Service):
    """A service under a limit on file sizes that it may raise, of 64 KiB."""

    command = ("sh", "-c", 'ulimit -S -f 128; exec "$0" -m service', sys.executable)


def test_a_limit_on_file_sizes_that_may_be_raised_is_raised(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    with SoftlyLimitedService(tmp_path / "log") as service:
        assert service.predict(encode(noise)).status_code == 200


def test_where_no_decoding_worker_can_be_started_the_service_ends_with_1():
    held = [os.dup(2) for _ in range(260)]
    try:
        ended = start(limit="ulimit -n 384;", held=held, XPRO_STREAMS="64")
    finally:
        for each in held:
            os.close(each)
    assert ended.returncode == 1
    assert "no process could be started" in ended.stderr


class AnywhereService(Service):
    """A service on a port that the kernel chooses."""

    command = ("env", "XPRO_PORT=0", sys.executable, "-m", "service")


def test_port_0_is_any_that_is_free_and_the_log_names_it(tmp_path, png):
    service = AnywhereService(tmp_path / "log")
    try:
        wait_until(lambda: '"ready"' in service.log())
        first, *_, last = map(json.loads, service.log().splitlines())
        assert last["address"] is None
        service.client.base_url = f"http://127.0.0.1:{first['port']}"
        assert service.predict(png).status_code == 200
    finally:
        service.__exit__(None, None, None)


def test_a_port_in_use_ends_the_service_with_a_message(service):
    port = service.url.rsplit(":", 1)[1]
    ended = start(XPRO_PORT=port)
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr.lower()
    assert f"Port {port} on 127.0.0.1 is not available" in ended.stderr


def test_on_an_address_that_others_reach_it_starts_only_with_keys_or_told_so(start_service):
    for host in ("0.0.0.0", "::", "example.org"):
        ended = start(XPRO_HOST=host)
        assert ended.returncode == 2
        assert "XPRO_KEYS_FILE" in ended.stderr
        assert "XPRO_ALLOW_STRANGERS" in ended.stderr
        assert "Traceback" not in ended.stderr
    with start_service(XPRO_HOST="0.0.0.0", XPRO_ALLOW_STRANGERS="true") as service:
        assert service.client.get("/model").status_code == 200


@pytest.mark.parametrize("content", [None, "", '{"keys": [{"client": "a b"}]}'])
def test_a_key_file_that_is_none_ends_the_start(tmp_path, content):
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    ended = start(XPRO_KEYS_FILE=str(file))
    assert ended.returncode == 2
    assert ended.stderr.startswith("Wrong setting: XPRO_KEYS_FILE")
    assert "Traceback" not in ended.stderr
