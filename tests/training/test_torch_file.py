import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.torch_writer import (
    FORMATS,
    Arrays,
    Call,
    Global,
    Persistent,
    state_dict,
    stream_file,
    to_pickle,
    zip_file,
)
from training.errors import WeightsError
from training.importers import pickles
from training.importers.torch_file import read_torch

REBUILD = "torch._utils._rebuild_tensor_v2"
VALUES = {
    "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "bias": np.array([1.5, -2.5], np.float32),
}
EXPECTED = {name: value.shape for name, value in VALUES.items()}


def read(path: Path, data: bytes, expected: Any = EXPECTED) -> dict[str, np.ndarray]:
    path.write_bytes(data)
    return read_torch(path, lambda tensors: tensors, expected)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights"


@pytest.fixture(params=FORMATS)
def write(request: pytest.FixtureRequest) -> Any:
    return FORMATS[request.param]


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def test_bare_state_dict_is_read(path: Path, write: Any) -> None:
    arrays = Arrays()
    content = to_pickle(state_dict(arrays, VALUES))
    assert_same(read(path, write(content, arrays)), VALUES)


def test_checkpoint_of_2017_is_read_past_its_optimiser(path: Path) -> None:
    arrays = Arrays()
    tensors = {
        name: Call("torch._utils._rebuild_tensor", call.args[:4])
        for name, call in state_dict(arrays, VALUES, None).items()
    }
    step = {140231: {"step": 3, "exp_avg": arrays.tensor(np.ones(4, np.float32), None)}}
    best = Call("numpy.core.multiarray.scalar", (Call("numpy.dtype", ("f8", 0, 1)), "text"))
    content = {"epoch": 2, "best": best, "state_dict": tensors, "optimizer": {"state": step}}
    assert_same(read(path, stream_file(to_pickle(content), arrays)), VALUES)


def module(parameters: dict[str, Any], modules: dict[str, Any]) -> Call:
    state = {"training": False, "_parameters": parameters, "_buffers": {}, "_modules": modules}
    return Call("torch.nn.modules.container.Sequential", (), state)


def test_whole_module_is_read_as_data(path: Path, write: Any) -> None:
    arrays = Arrays()
    tensors = {
        name: Call("torch._utils._rebuild_parameter", (tensor, True, {}))
        for name, tensor in state_dict(arrays, VALUES).items()
    }
    inner = module({"bias": tensors["bias"], "absent": None}, {})
    content = to_pickle(module({"kernel": tensors["kernel"]}, {"layer": inner}))
    wanted = {"kernel": VALUES["kernel"], "layer.bias": VALUES["bias"]}
    found = read(path, write(content, arrays), {n: v.shape for n, v in wanted.items()})
    assert_same(found, wanted)


def test_source_code_beside_a_module_is_passed_over(path: Path) -> None:
    arrays = Arrays()
    name = Global("torch.nn.modules.container.Sequential")
    source = Persistent(("module", name, "model.py", "raise SystemExit"))
    state = module(state_dict(arrays, VALUES), {}).state
    body = to_pickle(source)[2:-1] + b")\x81" + to_pickle(state)[2:-1] + b"b"
    assert_same(read(path, stream_file(b"\x80\x02" + body + b".", arrays)), VALUES)


def test_view_with_offset_and_strides_is_read_as_what_it_shows(path: Path, write: Any) -> None:
    arrays = Arrays()
    storage = arrays.storage(np.arange(10, dtype=np.float32))
    content = {"part": Call(REBUILD, (storage, 1, (2, 3), (1, 2), False, {}))}
    found = read(path, write(to_pickle(content), arrays), {"part": (2, 3)})
    np.testing.assert_array_equal(found["part"], [[1, 3, 5], [2, 4, 6]])


class Evil:
    """Leaves a file behind when a real unpickler meets it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_malicious_pickle_is_refused_by_name_and_not_run(
    path: Path, write: Any, protocol: int
) -> None:
    mark = path.parent / "run"
    data = write(pickle.dumps({"state_dict": Evil(mark)}, protocol), Arrays())
    with pytest.raises(WeightsError, match=r"would run '(posix|os)\.system'.*not run"):
        read(path, data)
    assert not mark.exists()


def test_bare_malicious_pickle_is_refused_by_name(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"\.system'"):
        read(path, pickle.dumps(Evil(path.parent / "run"), 2))
    assert not (path.parent / "run").exists()


@pytest.mark.parametrize(
    "name",
    """builtins.eval builtins.exec builtins.getattr __builtin__.apply subprocess.Popen
    torch.load torch.hub.load torch._utils._rebuild_wrapper_subclass torch.jit.load
    importlib.import_module functools.partial operator.attrgetter numpy.load
    collections.OrderedDict.fromkeys torchxrayvision.datasets.NIH_Dataset""".split(),
)
def test_any_other_name_is_refused(path: Path, write: Any, name: str) -> None:
    with pytest.raises(WeightsError, match=f"would run '{name}'"):
        read(path, write(to_pickle({"state_dict": Call(name, ("1",))}), Arrays()))


@pytest.mark.parametrize(
    ("body", "said"),
    {
        "old-style instance": (b"(ios\nsystem\n.", "INST os system"),
        "extension registry": (b"\x82\x01.", "EXT1"),
        "old-style call": (b"(ctorch._utils\n_rebuild_tensor\no.", "OBJ"),
        "build on a name": (b"ccollections\nOrderedDict\n}b.", "Made is needed"),
        "call of a made thing": (b"cbuiltins\nset\n)R)R.", "no name"),
        "memo that was never set": (b"h\x05.", "damaged"),
        "take below the mark": (b"N(0.", "POP"),
        "pair across a mark": (b"cbuiltins\nset\n()R.", "damaged"),
        "stop on nothing": (b".", "damaged"),
        "no stop": (b"N", "damaged"),
        "length past the end": (b"X\xff\xff\xff\x7fa.", "damaged"),
        "eight-byte length": (b"\x8e" + b"\xff" * 7 + b"\x7f.", "damaged"),
        "name that is no text": (b"]\x8c\x01a\x93.", "damaged"),
        "nested tuples as a key": (b"}()" + b"\x85q\x01h\x01\x86" * 60 + b"Nu.", "a key"),
    }.values(),
)
def test_trick_with_the_machine_is_refused(path: Path, body: bytes, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        read(path, zip_file(b"\x80\x02" + body, Arrays()))


def test_far_memo_place_takes_no_memory(path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a state dict nor a module"):
        read(path, zip_file(b"\x80\x02Nr\xff\xff\xff\xff.", Arrays()))


def test_endless_objects_are_cut_off(path: Path) -> None:
    with pytest.raises(WeightsError, match="operations"):
        read(path, zip_file(b"\x80\x02" + b"]" * (pickles.MAX_OPERATIONS + 5), Arrays()))


def test_module_within_itself_is_refused(path: Path) -> None:
    # A module is kept in the memo, and its own _modules get it from there.
    body = (
        b"ctorch.nn.modules.container\nSequential\n)Rq\x01"
        + to_pickle({"_parameters": {}, "_buffers": {}})[2:-1]
        + to_pickle("_modules")[2:-1]
        + b"}"
        + to_pickle("a")[2:-1]
        + b"h\x01ssb."
    )
    with pytest.raises(WeightsError, match="state of its own"):
        read(path, zip_file(b"\x80\x02" + body, Arrays()), {})


def test_compressed_archive_is_refused(path: Path) -> None:
    arrays = Arrays()
    content = to_pickle(state_dict(arrays, VALUES))
    with pytest.raises(WeightsError, match="is compressed"):
        read(path, zip_file(content, arrays, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (1 << 40,), (0,)),
        (0, (11,), (1,)),
        (8, (3,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (2,), (1 << 62,)),
        (0, (True,), (1,)),
        (0, ("2",), (1,)),
        (0, (0,), (1,)),
    ],
)
def test_tensor_that_does_not_fit_its_storage_is_refused(
    path: Path, write: Any, offset: int, shape: Any, strides: Any
) -> None:
    arrays = Arrays()
    storage = arrays.storage(np.zeros(10, np.float32))
    content = {"part": Call(REBUILD, (storage, offset, shape, strides, False, {}))}
    with pytest.raises(WeightsError, match="part"):
        read(path, write(to_pickle(content), arrays), {"part": shape})


def test_storage_shorter_than_said_is_refused(path: Path, write: Any) -> None:
    arrays = Arrays()
    content = to_pickle(state_dict(arrays, VALUES))
    arrays.storages["0"] = arrays.storages["0"].ravel()[:-1]
    with pytest.raises(WeightsError, match="not as long"):
        read(path, write(content, arrays))


def test_storage_described_in_two_ways_is_refused(path: Path, write: Any) -> None:
    arrays = Arrays()
    tensors = state_dict(arrays, VALUES)
    other = Persistent(("storage", Global("torch.LongStorage"), "0", "cpu", 24))
    tensors["bias"] = Call(REBUILD, (other, 0, (2,), (1,), False, {}))
    with pytest.raises(WeightsError, match="two ways"):
        read(path, write(to_pickle(tensors), arrays))


@pytest.mark.parametrize(
    ("change", "said"),
    {
        "missing": ({"bias": None}, "missing, 1 in all: bias"),
        "surplus": ({"more": np.zeros(1, np.float32)}, "surplus, 1 in all: more"),
        "misshapen": ({"bias": np.zeros(3, np.float32)}, r"bias is \[3\], not \[2\]"),
        "half": ({"bias": np.zeros(2, np.float16)}, "bias is float16"),
        "endless": ({"bias": np.array([0, np.inf], np.float32)}, "bias holds values"),
    }.values(),
)
def test_wrong_tensor_is_refused_by_name(path: Path, write: Any, change: Any, said: str) -> None:
    values = {name: value for name, value in {**VALUES, **change}.items() if value is not None}
    arrays = Arrays()
    content = to_pickle(state_dict(arrays, values))
    with pytest.raises(WeightsError, match=said):
        read(path, write(content, arrays))


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n", b"\x80\x02K\x01.", b"\x89HDF\r\n", b"PK\x05\x06"]
)
def test_other_file_is_refused(path: Path, data: bytes) -> None:
    with pytest.raises(WeightsError):
        read(path, data)


def test_damaged_file_is_read_or_refused_and_nothing_else(path: Path, write: Any) -> None:
    arrays = Arrays()
    whole = write(to_pickle(state_dict(arrays, VALUES)), arrays)
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        if rng.random() < 0.2:
            del data[rng.integers(len(data)) :]
        try:
            read(path, bytes(data))
        except WeightsError:
            refused += 1
    assert refused > 30
