"""The report of an evaluation in a real browser, on a telephone and on a desk."""

import csv
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import call
from training.phantom import write_drawn_folder
from training.table import read_table


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("report")
    write_drawn_folder(work / "drawn", patients=30, seed=1)
    rows = read_table(work / "drawn" / "Data_Entry_drawn.csv")
    with (work / "guesses.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Image", *FINDINGS])
        for row, values in zip(rows, np.random.default_rng(1).random((60, 14)), strict=True):
            table.writerow([row.image, *values])
    given = ["--predictions", work / "guesses.csv", "--data", work / "drawn"]
    assert call("evaluate", *given, "--report", work / "report") == 0
    return work / "report" / "report.html"


@pytest.fixture(params=[390, 1250])
def page(request: pytest.FixtureRequest, browser, report: Path):
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.goto(report.as_uri())
    yield page
    page.close()


def test_page_is_as_wide_as_the_window_and_only_tables_and_figures_scroll(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    strays = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
          .filter((one) => !one.closest(".wide") && one.getBoundingClientRect().right > innerWidth)
          .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert strays == []


def test_what_the_model_is_stands_there_whole(page) -> None:
    assert page.evaluate(
        """() => { const facts = document.querySelector(".facts").parentElement;
                   return facts.scrollWidth <= facts.clientWidth; }"""
    )


def test_figures_keep_their_size_so_that_their_letters_can_be_read(page) -> None:
    shown = page.evaluate(
        """() => [...document.querySelectorAll(".wide img")]
          .map((one) => one.getBoundingClientRect().width / one.naturalWidth)"""
    )
    assert shown == pytest.approx([1.0] * 4, abs=0.01)


def test_name_of_a_finding_stays_in_view_while_its_figures_scroll(page) -> None:
    places = page.evaluate(
        """() => [...document.querySelectorAll(".wide:has(.figures)")].map((wide) => {
             wide.scrollLeft = wide.scrollWidth;
             const cell = wide.querySelector("td").getBoundingClientRect();
             return cell.left - wide.getBoundingClientRect().left; })"""
    )
    assert places
    assert max(map(abs, places)) < 1
