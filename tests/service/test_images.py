"""`POST /radiograph` and `POST /explain`: PNG images over HTTP."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.findings import FINDINGS
from contract.pixels import to_display
from contract.radiograph import read
from service.page import FOLDER
from service.rendering import OPACITY, render_overlay
from tests.service.conftest import encode
from tests.service.test_privacy import dicom_with_canaries

PATHS = ("/radiograph", "/explain?finding=Effusion")


def post(service, path: str, data: bytes, name: str = "image") -> httpx.Response:
    return service.client.post(path, files={"file": (name, data)})


def pixels(answer: httpx.Response) -> np.ndarray:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    return np.asarray(Image.open(io.BytesIO(answer.content), formats=["PNG"]))


def test_a_radiograph_comes_back_as_it_was_decoded(service, png, jpeg):
    for data in (png, jpeg, dicom_with_canaries(damaged=False)):
        assert np.array_equal(pixels(post(service, "/radiograph", data)), read(data).pixels)


def test_16_bits_come_back_as_8_in_the_same_way_as_the_network_sees_them(service):
    deep = encode(np.linspace(0, 65535, 300 * 200).reshape(200, 300).astype(np.uint16))
    shown = pixels(post(service, "/radiograph", deep))
    assert (shown.dtype, shown.shape, shown.min(), shown.max()) == (np.uint8, (200, 300), 0, 255)
    assert np.array_equal(shown, to_display(read(deep), 2048))


def test_a_large_radiograph_is_reduced_and_keeps_its_shape(service):
    wide = encode(np.tile(np.arange(256, dtype=np.uint8), (1500, 12)))
    assert pixels(post(service, "/radiograph", wide)).shape == (1000, 2048)
    assert pixels(post(service, "/explain?finding=Mass", wide)).shape == (500, 1024, 3)


def test_an_overlay_says_what_the_model_is_and_a_radiograph_alone_says_nothing(service, png):
    said = service.predict(png).json()["disclaimer"]
    plain, overlay = (Image.open(io.BytesIO(post(service, path, png).content)) for path in PATHS)
    assert overlay.text == {"Disclaimer": said}
    assert plain.text == {}


def test_an_overlay_colours_the_radiograph_where_the_map_is_strong(service, png):
    answer = service.predict(png, maps="true").json()
    for finding in ("Effusion", "Pleural_Thickening"):
        overlay = pixels(post(service, f"/explain?finding={finding}", png)).astype(int)
        colour = np.ptp(overlay, axis=2)
        strong = np.array(answer["activation_maps"][finding])
        rows, columns = (
            side // cells for side, cells in zip((256, 256), strong.shape, strict=True)
        )
        in_cells = colour[: rows * strong.shape[0], : columns * strong.shape[1]]
        means = in_cells.reshape(strong.shape[0], rows, strong.shape[1], columns).mean((1, 3))
        assert means.flat[strong.argmax()] > means.flat[strong.argmin()] + 20
        assert np.corrcoef(means.ravel(), strong.ravel())[0, 1] > 0.5


def test_two_findings_have_two_overlays(service, png):
    one, other = (post(service, f"/explain?finding={name}", png) for name in ("Mass", "Hernia"))
    assert one.content != other.content


def test_an_overlay_leaves_the_radiograph_untouched_where_the_map_is_weak():
    grey = np.full((90, 90), 100, np.uint8)
    corner = np.zeros((3, 3), np.float32)
    corner[0, 0] = 5
    overlay = np.asarray(Image.open(io.BytesIO(render_overlay(grey, corner, ""))))
    assert (overlay[60:, 60:] == 100).all()
    strongest = np.array(json.loads((FOLDER / "colours.json").read_bytes())[-1])
    assert np.abs(overlay[0, 0] - (100 * (1 - OPACITY) + strongest * OPACITY)).max() <= 1


def test_an_overlay_lies_straight_over_its_radiograph():
    middle = np.zeros((3, 3), np.float32)
    middle[1, 1] = 5
    file = render_overlay(np.full((90, 120), 100, np.uint8), middle, "")
    overlay = np.asarray(Image.open(io.BytesIO(file)))
    assert (overlay != 100).any()
    assert np.array_equal(overlay, overlay[::-1])
    assert np.array_equal(overlay, overlay[:, ::-1])


def test_a_map_without_differences_is_no_error():
    flat = render_overlay(np.full((90, 90), 100, np.uint8), np.zeros((3, 3), np.float32), "")
    assert (np.asarray(Image.open(io.BytesIO(flat))) == 100).all()


def test_the_colours_of_maps_rise_evenly_in_lightness():
    channels = np.array(json.loads((FOLDER / "colours.json").read_bytes())) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ (0.2126, 0.7152, 0.0722)) - 16  # CIELAB
    steps = np.diff(lightness)
    assert steps.min() > 10
    assert steps.max() < 1.2 * steps.min()


@pytest.mark.parametrize("path", PATHS)
def test_what_predict_refuses_is_refused_with_the_same_problem(service, png, path):
    for data in (b"plain text", png[:3000], encode(np.zeros((64, 64), np.uint8)), b""):
        ours, predicts = post(service, path, data), service.predict(data)
        assert ours.headers["content-type"] == "application/problem+json"
        for key in ("status", "code", "detail"):
            assert ours.json()[key] == predicts.json()[key]


@pytest.mark.parametrize("query", ["", "?finding=", "?finding=Broken_Rib", "?finding=Mass%0A"])
def test_an_unknown_finding_is_refused_by_naming_the_parameter(service, png, query):
    problem = post(service, f"/explain{query}", png).json()
    assert (problem["status"], problem["code"]) == (400, "invalid_parameter")
    assert problem["detail"].startswith("query.finding: ")
    assert "Broken_Rib" not in problem["detail"]


def test_images_wait_in_the_same_line_as_predictions(start_service, png):
    with start_service(XPRO_MAX_WAITING="1", XPRO_STREAMS="1") as service:
        with ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda n: post(service, PATHS[n % 2], png), range(36)))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_both_are_documented_with_the_findings_and_every_refusal(service):
    paths = service.client.get("/openapi.json").json()["paths"]
    refusals = {status for status in paths["/predict"]["post"]["responses"] if status != "200"}
    for path in ("/radiograph", "/explain"):
        responses = paths[path]["post"]["responses"]
        assert list(responses["200"]["content"]) == ["image/png"]
        assert refusals <= set(responses)
    (parameter,) = paths["/explain"]["post"]["parameters"]
    assert parameter["schema"]["enum"] == list(FINDINGS)
    assert parameter["required"]
