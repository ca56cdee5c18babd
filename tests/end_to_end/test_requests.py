"""Every file of ../shared/requests, one after another and 16 at a time, against a real service."""

import csv
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pydicom
import pytest

# What the README of the folder allows, by the kind of file.
ANSWERED = {200}
REFUSED = {415, 422}
EXPECTED = {
    "frontal": ANSWERED,
    "not-chest": ANSWERED | {422},
    "not-frontal": ANSWERED | REFUSED,
    "undecodable": REFUSED,
}
# A header that gives the object away is refused; these give nothing away.
ANSWERABLE_OTHER = ("OT", "SC", "")
CLIENTS = 16


@pytest.fixture(scope="module")
def kinds(requests_folder: Path) -> dict[str, str]:
    with (requests_folder / "index.csv").open(newline="") as file:
        return {row["file"]: row["kind"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def first_round(kinds, requests_folder, service) -> dict[str, httpx.Response]:
    return {name: post(service, requests_folder / name) for name in kinds}


def post(service, path: Path) -> httpx.Response:
    return service.predict(path.read_bytes(), name=path.name)


def resident_mib(service) -> float:
    root = psutil.Process(service.process.pid)
    return sum(each.memory_info().rss for each in (root, *root.children(recursive=True))) / 2**20


def workers(service) -> set[int]:
    return {each.pid for each in psutil.Process(service.process.pid).children(recursive=True)}


def test_every_file_gets_an_answer_that_its_readme_names(kinds, first_round):
    assert len(kinds) == 373
    wrong = {
        name: (answer.status_code, answer.json().get("code"))
        for name, answer in first_round.items()
        if answer.status_code not in EXPECTED[kinds[name]]
    }
    assert not wrong
    print(sorted(Counter((kinds[n], a.status_code) for n, a in first_round.items()).items()))


def test_every_refusal_is_a_problem_document_that_says_why(first_round):
    refused = [answer for answer in first_round.values() if answer.status_code != 200]
    assert refused
    for answer in refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].endswith(".")


def test_only_the_thumbnails_among_the_other_pictures_are_refused(kinds, first_round):
    codes = Counter(
        first_round[name].json().get("code") for name, kind in kinds.items() if kind == "not-chest"
    )
    assert set(codes) == {None, "too_small"}


def test_what_a_header_gives_away_is_refused_and_the_rest_may_be_answered(
    kinds, requests_folder, first_round
):
    for name, kind in kinds.items():
        if kind == "not-frontal" and first_round[name].status_code == 200:
            header = pydicom.dcmread(requests_folder / name, stop_before_pixels=True)
            assert header.get("Modality", "") in ANSWERABLE_OTHER
            assert int(header.get("NumberOfFrames") or 1) == 1
            assert min(header.Rows, header.Columns) >= 128


def test_the_same_files_16_at_a_time_give_the_same_bits_and_no_restart(
    kinds, requests_folder, service, first_round
):
    before, memory_before = workers(service), resident_mib(service)
    sizes = []
    for _ in range(3):
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = clients.map(lambda name: post(service, requests_folder / name), kinds)
            for name, answer in zip(kinds, answers, strict=True):
                assert core(answer) == core(first_round[name]), name
        sizes.append(resident_mib(service))
    print(f"resident MiB before {memory_before:.0f}, after each round {sizes}")
    assert workers(service) == before, "a worker was restarted"
    assert sizes[-1] < sizes[0] * 1.1 + 20, "memory grows with every round"


def core(answer: httpx.Response) -> str:
    """The answer without what differs between two requests."""
    return json.dumps({**answer.json(), "request_id": "", "status": answer.status_code})
