"""What can be taken along: the curl call, JSON, CSV, the printed report."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from contract.findings import FINDINGS
from tests.page.conftest import File


@pytest.fixture
def copying(open_page):
    visit = open_page(permissions=["clipboard-read", "clipboard-write"])
    return visit


def saved(visit, button: str) -> tuple[str, str]:
    with visit.page.expect_download() as download:
        visit.page.click(f"button:has-text('{button}')")
    return download.value.suggested_filename, Path(download.value.path()).read_text("utf-8-sig")


def without_id(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key != "request_id"}


@pytest.mark.parametrize("name", ["a.png", 'it\'s; a "name", $HOME \\ `id`.png'])
def test_the_copied_curl_call_gives_the_same_answer(copying, drawn_png, tmp_path, name):
    copying.drop(File(name, drawn_png.data))
    copying.finish()
    copying.page.click("#copy-curl")
    copying.page.wait_for_selector("#copy-curl:has-text('Copied')")
    command = copying.page.evaluate("navigator.clipboard.readText()")
    (tmp_path / name).write_bytes(drawn_png.data)
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    _, ours = saved(copying, "Save JSON")
    assert without_id(json.loads(done.stdout)) == without_id(json.loads(ours))


def test_saved_json_is_the_answer_as_it_came(visit, service, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    name, text = saved(visit, "Save JSON")
    assert name == "drawn.json"
    answer = service.predict(drawn_png.data, maps="true").json()
    assert without_id(json.loads(text)) == without_id(answer)


def test_names_without_an_ending_stay_whole_in_what_is_saved(visit, drawn_dicom):
    visit.drop(File("1.2.840.113619.2.5", drawn_dicom.data))
    visit.finish()
    with visit.page.expect_download() as download:
        visit.page.click("#save-json")
    assert download.value.suggested_filename == "1.2.840.113619.2.5.json"


def test_a_button_that_said_copied_says_what_it_does_again(copying, drawn_png):
    copying.drop(drawn_png)
    copying.finish()
    for _ in range(2):
        copying.page.click("#copy-curl")
        copying.page.wait_for_timeout(300)
    expect(copying.page.locator("#copy-curl")).to_have_text("Copy curl")


def test_saved_csv_has_a_line_for_each_file_and_no_formula(visit, service, drawn_png):
    names = ['=HYPERLINK("http://x","y").png', " +1.png", "@SUM(A1).png", "-2.png", 'a,"b".png']
    visit.drop(*(File(name, drawn_png.data) for name in names), File("text.txt", b"text"))
    visit.finish(len(names) + 1)
    name, text = saved(visit, "Save CSV")
    assert name == "findings.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in rows] == [
        *(f"'{name}" for name in names[:4]),
        names[4],
        "text.txt",
    ]
    answer = service.predict(drawn_png.data).json()
    for row in rows[:-1]:
        assert row["sha256"] == answer["input"]["sha256"]
        assert row["digest"] == answer["model"]["digest"]
        assert row["disclaimer"] == answer["disclaimer"]
        assert {name: float(row[name]) for name in FINDINGS} == answer["probabilities"]
        assert {
            entry["finding"]: str(entry["positive"]).lower() for entry in answer["findings"]
        } == {name: row[f"{name}_positive"] for name in FINDINGS}
    assert rows[-1]["outcome"] == "unsupported_format"
    assert {len(row) for row in csv.reader(io.StringIO(text))} == {12 + 2 * len(FINDINGS)}


def test_csv_saved_before_the_end_names_the_files_without_an_answer(visit, drawn_png):
    seen = []

    def answer_one(route) -> None:
        seen.append(route)
        if len(seen) == 1:
            route.continue_()

    visit.page.route("**/predict*", answer_one)
    visit.drop(*(File(f"Müller {number}.png", drawn_png.data) for number in range(4)))
    visit.finish(1)
    rows = list(csv.DictReader(io.StringIO(saved(visit, "Save CSV")[1])))
    assert [row["file"] for row in rows] == [f"Müller {number}.png" for number in range(4)]
    assert [row["outcome"] for row in rows] == ["answered", *["unfinished"] * 3]
    visit.page.unroute_all(behavior="ignoreErrors")


def test_a_report_prints_radiograph_map_findings_and_model_dark_on_white(visit, service, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    visit.page.click(f"{visit.row('Effusion')} button")
    visit.page.emulate_media(media="print")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    report = visit.page.inner_text("#report")
    answer = service.predict(drawn_png.data).json()
    for part in (
        "Not for diagnosis",
        answer["disclaimer"],
        answer["input"]["sha256"],
        answer["model"]["digest"],
        "Activation map of Effusion",
        "drawn.png",
    ):
        assert part in report
    assert visit.page.locator("#report tbody tr").count() == len(FINDINGS)
    assert visit.page.locator("#report canvas").count() == 2
    for canvas in visit.page.locator("#report canvas").all():
        assert canvas.bounding_box()["width"] > 100
    assert not visit.page.is_visible("#viewer")
    colours = "[getComputedStyle(document.documentElement).backgroundColor, "
    colours += "getComputedStyle(document.querySelector('#report td')).color]"
    assert visit.page.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
    visit.page.emulate_media(media="screen")
    assert not visit.page.is_visible("#report")


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_report_fits_one_page(visit, drawn_png, paper):
    visit.drop(drawn_png)
    visit.finish()
    visit.page.click(f"{visit.row('Effusion')} button")
    pdf = visit.page.pdf(format=paper, prefer_css_page_size=True)
    assert pdf.count(b"/Type /Page\n") == 1


def test_printing_without_an_answer_says_so(visit):
    visit.page.emulate_media(media="print")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert "no answered radiograph" in visit.page.inner_text("#report")
