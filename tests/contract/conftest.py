from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.bundle import seal_bundle
from tests.contract.drawn_bundle import description_of, write_model
from tests.contract.sandbox import Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def real_files() -> Path:
    """Real files as they would reach the service; they are no part of the repository."""
    return _shared("requests")


@pytest.fixture(scope="session")
def hostile_files() -> Path:
    """Hostile and odd files of public test suites; they are no part of the repository."""
    return _shared("corpora")


def _shared(name: str) -> Path:
    places = [place / "shared" / name for place in (ROOT, ROOT.parent)]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        pytest.skip(f"shared/{name} lies neither in the checkout nor beside it")
    return found


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


@pytest.fixture
def sealed(model):
    seal_bundle(model, description_of())
    return model
