"""The main job over HTTP."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from contract.bundle import find_bundle, open_bundle
from contract.findings import CATALOGUE, FINDINGS
from service.settings import Settings
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(find_bundle(Settings().model_dir))


def test_a_radiograph_is_answered_with_14_probabilities_in_the_fixed_order(service, png):
    answer = service.predict(png).json()
    assert tuple(answer["probabilities"]) == FINDINGS
    assert all(0 < probability < 1 for probability in answer["probabilities"].values())
    assert [entry["finding"] for entry in answer["findings"]] == list(FINDINGS)


def test_each_finding_is_called_by_its_own_threshold_of_the_bundle(service, png, bundle):
    for entry, threshold, finding in zip(
        service.predict(png).json()["findings"], bundle.thresholds, CATALOGUE, strict=True
    ):
        assert entry["threshold"] == threshold
        assert entry["positive"] == (entry["probability"] >= threshold)
        assert entry["codes"] == {"snomed_ct": finding.snomed_ct, "radlex": finding.radlex}


def test_two_different_radiographs_get_different_answers(service, png, jpeg):
    one, other = (service.predict(data).json()["probabilities"] for data in (png, jpeg))
    assert one != other


def test_the_answer_names_the_model_and_says_what_it_is_not(service, png, bundle):
    answer = service.predict(png).json()
    assert answer["model"] == {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "precision": bundle.preferred_precision,
    }
    assert "not a medical device" in answer["disclaimer"]
    assert bundle.description["intended_use"] in answer["disclaimer"]


def test_the_answer_describes_the_file_by_its_content_and_never_by_its_name(service, png, jpeg):
    facts = service.predict(png, name="image.dcm").json()["input"]
    assert facts["format"] == "PNG"
    assert facts["sha256"] == hashlib.sha256(png).hexdigest()
    assert service.predict(jpeg, name="../../etc/passwd.png").json()["input"]["format"] == "JPEG"


def test_activation_maps_come_only_when_asked_for_and_average_to_the_logits(service, png, bundle):
    assert "activation_maps" not in service.predict(png).json()
    answer = service.predict(png, maps="true").json()
    maps = np.array(list(answer["activation_maps"].values()))
    assert tuple(answer["activation_maps"]) == FINDINGS
    assert maps.ndim == 3
    # The calibrated probability is monotone in the logit, so the golden examples tie both.
    golden = bundle.golden()
    logit = np.log(golden.probabilities / (1 - golden.probabilities))
    slope, offset = np.polyfit(golden.logits[:, 0], logit[:, 0], 1)
    expected = 1 / (1 + np.exp(-(slope * maps[0].mean() + offset)))
    assert answer["probabilities"][FINDINGS[0]] == pytest.approx(expected, abs=1e-4)


def test_the_same_bytes_give_the_same_bits_on_repeated_and_concurrent_calls(service, png, jpeg):
    def answer(data):
        return json.dumps(service.predict(data, maps="true").json()["activation_maps"])

    alone = {data: answer(data) for data in (png, jpeg)}
    assert answer(png) == alone[png]
    with ThreadPoolExecutor(8) as clients:
        for data, given in zip(
            (png, jpeg) * 12, clients.map(answer, (png, jpeg) * 12), strict=True
        ):
            assert given == alone[data]


def test_the_same_bytes_give_the_same_bits_after_a_restart(service, start_service, png):
    with start_service() as restarted:
        again = restarted.predict(png).json()["probabilities"]
    assert again == service.predict(png).json()["probabilities"]


def test_model_returns_the_description_of_the_bundle(service, bundle):
    said = service.client.get("/model").json()
    assert said == {**bundle.description, "precision": bundle.preferred_precision}


def test_the_docs_page_asks_no_other_host_for_anything(service):
    page = service.client.get("/docs").text
    assert "swagger-ui" in page
    assert "https://" not in page
    script = service.client.get("/static-offline-docs/swagger-ui-bundle.js")
    assert script.status_code == 200


def test_the_answer_that_the_readme_shows_is_the_services_own(service):
    shown = (ROOT / "README.md").read_text().partition("```json")[2].partition("```")[0]
    answer = service.predict((ROOT / "docs" / "example.png").read_bytes()).json()
    for place, key in (("input", "sha256"), ("model", "digest")):
        assert answer[place][key].startswith(re.search(rf'"{key}": "([^"]+)\.\.\."', shown)[1])
    probabilities = dict(re.findall(r'"([A-Z]\w+)": (0\.\d+)', shown))
    assert list(probabilities) == ["Cardiomegaly", "Emphysema"]
    for finding, probability in probabilities.items():
        # Processors differ by as much in INT8.
        assert answer["probabilities"][finding] == pytest.approx(float(probability), abs=0.01)
