"""Who may import whom, and that importing anything does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# imagecodecs: JPEG lossless and 12-bit, JPEG-LS, JPEG 2000 and HTJ2K inside DICOM, and PNG with
# 16 bits of colour; Pillow reads none of them.
CONTRACT_MAY_IMPORT = {"contract", "numpy", "PIL", "pydicom", "imagecodecs", "kornia_rs"}
HEAVY = {"tensorflow", "keras", "openvino", "jax", "torch"}


def modules_of(package):
    return sorted((ROOT / package).rglob("*.py"))


def imports_of(path):
    """Return the top-level packages that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module.partition(".")[0])
    return found


def importers(package, forbidden):
    return [str(path) for path in modules_of(package) if imports_of(path) & set(forbidden)]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_contract_imports_only_what_reads_pixels():
    allowed = CONTRACT_MAY_IMPORT | set(sys.stdlib_module_names)
    strange = {str(path): imports_of(path) - allowed for path in modules_of("contract")}
    assert {path: names for path, names in strange.items() if names} == {}


def test_contract_imports_neither_side():
    assert importers("contract", ["service", "training"]) == []


def test_service_never_imports_training():
    assert importers("service", ["training"]) == []


def test_training_never_imports_service():
    assert importers("training", ["service"]) == []


def test_nothing_imports_the_tests():
    for package in ("contract", "service", "training"):
        assert importers(package, ["tests"]) == []


def test_no_module_of_the_contract_imports_in_a_circle():
    graph = {}
    for path in modules_of("contract"):
        tree = ast.parse(path.read_text())
        froms = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        graph[name_of(path)] = {name for name in froms if name.startswith("contract.")}
    while graph:
        leaves = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in leaves}


LIGHT = [*[name_of(path) for path in modules_of("contract")], "service.app", "service.decoding"]


@pytest.mark.parametrize("name", LIGHT)
def test_importing_loads_no_runtime_of_a_network(name):
    loaded = run_python(f"import sys, {name}; print(*sys.modules)").split()
    assert HEAVY.isdisjoint(module.partition(".")[0] for module in loaded)


OBSERVE = """
import os, sys, threading
before = dict(os.environ), os.getcwd(), len(os.listdir("/proc/self/fd"))
import {name}
import multiprocessing
after = dict(os.environ), os.getcwd(), len(os.listdir("/proc/self/fd"))
assert before == after, (before, after)
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert multiprocessing.active_children() == []
"""


@pytest.mark.parametrize("name", LIGHT)
def test_importing_starts_no_threads_and_touches_nothing(name):
    assert run_python(OBSERVE.format(name=name)) == ""


def test_importing_the_service_reads_no_settings():
    code = "import os; os.environ['XPRO_MODEL'] = '/nowhere'; os.environ['XPRO_PORT'] = 'no number'"
    assert run_python(f"{code}; import service.app, service.settings, service.__main__") == ""
