"""Requests made from the OpenAPI document, with real files as uploads, to a running service."""

import functools
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

from tests.conftest import ROOT, SHARED
from tests.contract.mutations import DICOMS, IMAGES, mutate
from tests.fuzz.watch import assert_no_leak

DOCUMENT = schemathesis.openapi.from_path(ROOT / "openapi" / "openapi.json")
LARGEST_BYTES = 200_000
GOLDEN_EVERY = 20


@functools.cache
def uploads() -> st.SearchStrategy[bytes]:
    """Whole and damaged files: drawn ones, and real ones where the folder beside is there."""
    drawn = IMAGES | DICOMS
    paths = (path for path in sorted(SHARED.glob("requests/*/*")) if path.is_file())
    real = (path.read_bytes() for path in paths if path.stat().st_size < LARGEST_BYTES)
    whole = st.sampled_from([*drawn.values(), *real])
    return whole | st.integers(0, 1 << 20).map(lambda seed: mutate(drawn, seed))


@DOCUMENT.hook
def flatmap_body(_context: object, body: Any) -> st.SearchStrategy[Any]:
    if isinstance(body, dict) and isinstance(body.get("file"), str | bytes):
        return uploads().map(lambda file: {**body, "file": file})
    return st.just(body)


@DOCUMENT.hook
def filter_body(_context: object, body: Any) -> bool:
    """Leave out surplus entries that are empty: a form has no part for them, and so is right."""
    return not isinstance(body, dict) or all(value not in ([], {}) for value in body.values())


@functools.cache
def excluded() -> list[Any]:
    """The check that whatever fits the document is answered with 200; most files are refused."""
    load_all_checks()
    return [CHECKS.get_one("positive_data_acceptance")]


@DOCUMENT.parametrize()
@settings(
    max_examples=340,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_document_declares(watch, case):
    answer = case.call_and_validate(
        base_url=watch.service.url, timeout=60, excluded_checks=excluded()
    )
    if answer.status_code != 200:
        assert_no_leak(answer.text)
    watch.outcomes[f"{case.method} {case.path} {answer.status_code}"] += 1
    if watch.outcomes.total() % GOLDEN_EVERY == 0:
        watch.check_unharmed()


def test_a_thousand_cases_were_made_and_left_the_service_unharmed(watch):
    """Stands behind the one above, whose cases it counts."""
    assert watch.outcomes.total() >= 1000
    for path in ("/predict", "/radiograph", "/explain"):
        assert {watch.outcomes[f"POST {path} {status}"] > 0 for status in (200, 400, 422)} == {True}
    watch.check_unharmed()
