"""Files in, findings out, as a person sees them."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from contract.bundle import find_bundle
from contract.findings import CATALOGUE, FINDINGS
from service.settings import Settings
from tests.conftest import wait_until
from tests.page.conftest import File
from tests.service.test_reload import place as place_version
from tests.service.test_reload import served


def bars(visit) -> dict[str, dict]:
    """What each row of the list says, in the order of the list."""
    rows = visit.page.eval_on_selector_all(
        "#finding-list > li",
        """rows => rows.map((row) => ({
          finding: row.dataset.finding,
          exact: Number(row.dataset.probability),
          text: row.querySelector('.number').textContent,
          call: row.querySelector('.call').textContent,
          spoken: row.querySelector('button').innerText,
          width: row.querySelector('.bar-fill').style.width,
          mark: row.querySelector('.mark').style.left,
        }))""",
    )
    return {row["finding"]: row for row in rows}


def share(length: str) -> float:
    """Probability at a place of the bar, which is on a square-root scale."""
    return (float(length.removesuffix("%")) / 100) ** 2


def assert_bars_are(visit, answer: dict) -> None:
    rows = bars(visit)
    assert sorted(rows) == sorted(FINDINGS)
    for entry in answer["findings"]:
        row = rows[entry["finding"]]
        assert row["exact"] == entry["probability"]
        shown = float(row["text"].removesuffix(" %")) / 100
        assert shown == pytest.approx(entry["probability"], abs=0.0006)
        assert share(row["width"]) == pytest.approx(entry["probability"], abs=1e-3)
        assert share(row["mark"]) == pytest.approx(entry["threshold"], abs=1e-3)
        assert bool(row["call"]) == entry["positive"]
        side = "at or above its threshold" if entry["positive"] else "below its threshold"
        assert side in row["spoken"]


def test_a_dropped_png_shows_14_bars_with_the_numbers_of_the_api(visit, service, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    assert_bars_are(visit, service.predict(drawn_png.data).json())


def test_a_dropped_dicom_shows_its_bars_and_the_radiograph_that_the_service_decoded(
    visit, service, drawn_dicom
):
    visit.drop(drawn_dicom)
    visit.finish()
    assert_bars_are(visit, service.predict(drawn_dicom.data).json())
    visit.page.click("[aria-label^='1:1']")
    answer = service.client.post("/radiograph", files={"file": drawn_dicom.data})
    decoded = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(visit.draw_at_1_to_1()[:, :, 0], decoded)
    assert "256, 12 bit" in visit.page.inner_text("#facts")


def test_a_real_png_and_a_real_dicom_show_the_numbers_of_the_api(visit, service, real_files):
    visit.drop(*real_files)
    visit.finish(2)
    for place, file in enumerate(real_files):
        visit.page.locator(".file").nth(place).click()
        visit.finish(2)
        assert_bars_are(visit, service.predict(file.data).json())
        assert np.ptp(visit.draw()[:, :, 0]) > 100


def test_files_can_be_pasted_and_chosen(visit, drawn_png, drawn_dicom):
    visit.paste(drawn_png)
    visit.choose(drawn_dicom)
    visit.finish(2)
    assert visit.page.locator("[data-state=done]").count() == 2


def drop_from_disk(visit, path: Path) -> None:
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    session = visit.page.context.new_cdp_session(visit.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": 600, "y": 400, "data": data}
        session.send("Input.dispatchDragEvent", place)
        assert visit.page.is_visible("#drop") == (kind != "drop")


def choose_folder(visit, path: Path) -> None:
    with visit.page.expect_file_chooser() as chooser:
        visit.page.click("#add-folder")
    chooser.value.set_files(path)


@pytest.mark.parametrize("hand_over", [drop_from_disk, choose_folder])
def test_a_folder_is_taken_with_all_that_lies_in_it(visit, drawn_png, tmp_path, hand_over):
    (tmp_path / "study" / "deeper").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("one.png", "deeper/two.png", ".hidden"):
        (tmp_path / "study" / name).write_bytes(drawn_png.data)
    hand_over(visit, tmp_path / "study")
    visit.finish(2)
    names = sorted(visit.page.locator(".file .name").all_inner_texts())
    assert names == ["study/deeper/two.png", "study/one.png"]
    hand_over(visit, tmp_path / "empty")
    expect(visit.page.locator("#live")).to_have_text("There are no files in this folder.")


def test_a_file_that_is_gone_is_refused_by_itself_with_the_reason(visit, drawn_png, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        path.write_bytes(drawn_png.data)

    def remove_last_first(route) -> None:
        paths[5].unlink(missing_ok=True)
        route.continue_()

    visit.page.route("**/predict*", remove_last_first)
    visit.page.set_input_files("#chooser", paths)
    visit.finish(6)
    assert visit.page.locator("[data-state=done]").count() == 5
    assert "gone from its place" in visit.page.inner_text("[data-state=refused]")
    visit.errors = [each for each in visit.errors if "net::ERR_" not in each]


def test_what_a_server_in_between_turns_away_is_no_lost_service(visit, drawn_png):
    visit.page.route("**/predict*", lambda route: route.fulfill(status=413), times=1)
    visit.drop(*(File(f"{number}.png", drawn_png.data) for number in range(5)))
    visit.finish(5)
    assert visit.page.locator("[data-state=done]").count() == 4
    assert "status 413" in visit.page.inner_text("[data-state=refused]")
    assert "Try again" not in visit.page.inner_text("#stage")


def test_a_wait_above_a_minute_is_left_to_the_person(visit, drawn_png):
    busy = {"status": 503, "headers": {"Retry-After": "61"}}
    visit.page.route("**/predict*", lambda route: route.fulfill(**busy), times=1)
    visit.drop(drawn_png)
    visit.finish()
    assert "status 503" in visit.page.inner_text("#refusal")
    visit.page.click("#refusal >> text=Try again")
    expect(visit.page.locator("[data-state=done]")).to_have_count(1)


def test_a_text_file_is_refused_in_the_words_of_the_problem(visit, service, drawn_png):
    text = File("notes.txt", b"Dear colleague")
    visit.drop(text, drawn_png)
    visit.finish(2)
    problem = service.predict(text.data).json()
    assert problem["detail"] in visit.page.inner_text("[data-state=refused]")
    for part in (problem["title"], problem["detail"], problem["code"]):
        assert part in visit.page.inner_text("#refusal")
    assert visit.page.evaluate("document.querySelector('#tools').inert")
    visit.page.click(".file >> text=drawn.png")
    visit.page.wait_for_selector("#refusal", state="hidden")
    assert_bars_are(visit, service.predict(drawn_png.data).json())


def test_findings_are_sorted_by_probability_or_in_the_fixed_order(visit, drawn_png):
    assert list(bars(visit)) == list(FINDINGS)
    visit.drop(drawn_png)
    visit.finish()
    exact = [row["exact"] for row in bars(visit).values()]
    assert exact == sorted(exact, reverse=True)
    visit.page.check("input[value=fixed]", force=True)
    assert list(bars(visit)) == list(FINDINGS)


def test_a_finding_tells_number_codes_meaning_and_quality_on_demand(visit, service, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    answer = service.predict(drawn_png.data).json()
    description = service.client.get("/model").json()
    for finding, facts in zip(CATALOGUE, description["findings"], strict=True):
        row = visit.page.locator(visit.row(finding.name))
        assert not row.locator(".detail").is_visible()
        row.locator("button").first.click()
        assert row.locator(".detail").bounding_box()["y"] < 800
        detail = row.locator(".detail").inner_text()
        assert len(detail.splitlines()[0]) > 40
        assert str(answer["probabilities"][finding.name]) in detail
        assert f"{facts['auroc']:.2f}" in detail
        for code in (finding.snomed_ct, finding.radlex):
            assert (code or "none verified") in detail


def test_choosing_a_finding_lays_its_map_over_the_radiograph(visit, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    plain = visit.draw()
    visit.page.click(f"{visit.row('Effusion')} button")
    effusion = visit.draw()
    assert np.ptp(plain[:, :, :3], axis=2).max() == 0
    assert np.ptp(effusion[:, :, :3], axis=2).max() > 60
    assert "Effusion" in visit.page.inner_text("#legend")
    visit.page.click(f"{visit.row('Cardiomegaly')} button")
    assert not np.array_equal(visit.draw(), effusion)
    visit.page.locator("label:has-text('Opacity') input").fill("0")
    assert np.array_equal(visit.draw(), plain)
    visit.page.locator("label:has-text('Opacity') input").fill("100")
    assert np.ptp(visit.draw()[:, :, :3], axis=2).max() > 120
    visit.page.click("button:has-text('Map')")
    assert np.array_equal(visit.draw(), plain)
    assert not visit.page.is_visible("#legend")


def test_the_map_over_the_radiograph_is_the_overlay_that_the_service_draws(
    visit, service, drawn_png
):
    visit.drop(drawn_png)
    visit.finish()
    visit.page.click("[aria-label^='1:1']")
    for finding in ("Effusion", "Nodule"):
        visit.page.click(f"{visit.row(finding)} button")
        files = {"file": drawn_png.data}
        answer = service.client.post("/explain", params={"finding": finding}, files=files)
        overlay = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
        difference = np.abs(visit.draw_at_1_to_1() - overlay)
        assert difference.max() <= 6
        assert difference.mean() < 1


def test_a_finding_below_its_threshold_says_that_its_map_is_weak_evidence(visit, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    for name, row in bars(visit).items():
        visit.page.click(f"{visit.row(name)} button")
        assert visit.page.is_visible("#legend-caution") == (not row["call"])


def test_many_files_go_two_at_a_time_and_their_progress_shows(visit, drawn_png):
    under_way: list[str] = []
    most = []

    def begin(request) -> None:
        if "predict" in request.url:
            under_way.append(request.url)
            most.append(len(under_way))

    def end(request) -> None:
        if "predict" in request.url:
            under_way.remove(request.url)

    visit.page.on("request", begin)
    visit.page.on("requestfinished", end)
    visit.drop(*(File(f"{number}.png", drawn_png.data) for number in range(9)))
    visit.finish(9)
    assert len(most) == 9
    assert max(most) <= 2
    assert visit.page.inner_text("#progress-text") == "9 of 9 finished"
    assert visit.page.locator("#progress-bar").get_attribute("value") == "9"


def test_the_page_asks_before_it_is_left_while_files_are_under_way_and_only_then(visit, drawn_png):
    visit.page.click("h1")  # a browser asks only people who have touched the page
    visit.drop(*(File(f"{number}.png", drawn_png.data) for number in range(30)))
    visit.page.once("dialog", lambda dialog: dialog.dismiss())
    with visit.page.expect_event("dialog") as asked:
        visit.page.evaluate("setTimeout(() => location.reload())")
    assert asked.value.type == "beforeunload"
    visit.finish(30)
    again = []
    visit.page.on("dialog", lambda dialog: (again.append(dialog.type), dialog.accept()))
    with visit.page.expect_navigation():
        visit.page.evaluate("setTimeout(() => location.reload())")
    assert again == []


def test_a_full_service_is_asked_again_until_it_answers(open_page, start_service, drawn_png):
    with start_service(XPRO_MAX_WAITING="1", XPRO_STREAMS="1") as small:
        visit = open_page(url=small.url)
        visit.drop(*(File(f"{number}.png", drawn_png.data) for number in range(8)))
        visit.finish(8)
        assert 503 in visit.statuses
        assert visit.page.locator("[data-state=done]").count() == 8


def test_a_service_that_is_gone_is_said_so(open_page, start_service, drawn_png):
    with start_service() as gone:
        visit = open_page(url=gone.url)
    gone.wait_for_ends()
    visit.drop(drawn_png)
    visit.finish()
    assert "cannot be reached" in visit.page.inner_text("#refusal")
    visit.errors = [each for each in visit.errors if "ERR_CONNECTION_REFUSED" not in each]


def test_after_a_lost_service_all_files_are_sent_again_by_one_click(
    open_page, start_service, drawn_png, drawn_dicom
):
    with start_service() as gone:
        visit = open_page(url=gone.url)
    gone.wait_for_ends()
    files = [File(f"{number}.png", drawn_png.data) for number in range(6)]
    visit.drop(drawn_dicom, *files)
    visit.finish(7)
    assert visit.page.locator("[data-state=refused]").count() == 7
    again = start_service(XPRO_PORT=gone.url.rsplit(":", 1)[1])
    again.url = again.client.base_url = gone.url
    with again:
        visit.page.click("#refusal button")
        assert visit.page.evaluate("document.activeElement.id") == "canvas"
        expect(visit.page.locator("[data-state=done]")).to_have_count(7)
        visit.page.wait_for_selector("[aria-label='Zoom in']:enabled")  # the DICOM is drawn too
    visit.errors = [each for each in visit.errors if "ERR_CONNECTION_REFUSED" not in each]


def test_a_version_taken_up_meanwhile_is_the_one_that_page_and_report_name(
    open_page, start_service, tmp_path, drawn_png
):
    models = tmp_path / "models"
    shutil.copytree(find_bundle(Settings().model_dir), models / "1")
    with start_service(XPRO_MODEL_DIR=str(models)) as service:
        visit = open_page(url=service.url)
        digest = place_version(models, 2)
        wait_until(lambda: served(service) == "2")
        visit.drop(drawn_png)
        visit.finish()
        expect(visit.page.locator("#open-model")).to_have_text("Model xpro-demo 2")
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        report = visit.page.text_content("#report")
        assert digest in report
        assert "xpro-demo 2" in report
        visit.page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_a_file_name_is_shown_as_text_and_never_sent(visit, drawn_png):
    sent = []
    visit.page.on("request", lambda request: sent.append(request.post_data_buffer or b""))
    name = "<img src=x onerror=alert(1)> Doe^Jane.png"
    visit.drop(File(name, drawn_png.data))
    visit.finish()
    assert visit.page.inner_text(".file .name") == name
    assert not re.search(rb"Doe|onerror", b"".join(sent))


def test_files_can_be_removed_and_cleared(visit, drawn_png, drawn_dicom):
    visit.drop(drawn_png, drawn_dicom)
    visit.finish(2)
    visit.page.click("[aria-label='Remove drawn.png']")
    assert visit.page.locator(".file[aria-current=true]").inner_text().startswith("✓\ndrawn.dcm")
    visit.page.click("#clear")
    assert visit.page.is_visible("#welcome")
    assert not visit.draw().any()


def test_model_and_its_limits_are_in_reach(visit, service):
    description = service.client.get("/model").json()
    assert visit.page.inner_text("#intent") == description["intended_use"]
    assert visit.page.inner_text(".notice").endswith("Not for diagnosis")
    visit.page.click("#open-model")
    text = visit.page.inner_text("#model-dialog")
    images = description["training_data"]["images"]
    for part in (description["name"], description["digest"], f"{images:,} images"):
        assert part in text
    for facts in description["findings"]:
        assert f"{facts['auroc']:.3f}" in text
