"""Usable by everyone: keyboard alone, screen reader, small and large screens."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from contract.findings import FINDINGS
from tests.page.conftest import File

SERIOUS = ("serious", "critical")


def serious_findings(visit) -> list[str]:
    violations = Axe().run(visit.page).response["violations"]
    return [
        f"{each['id']}: {each['help']} at {[node['target'] for node in each['nodes']]}"
        for each in violations
        if each["impact"] in SERIOUS
    ]


def focused(visit) -> str:
    return visit.page.evaluate(
        """() => {
          const one = document.activeElement;
          if (one === document.body) return 'BODY';
          const row = one.closest('[data-finding]');
          return row ? row.dataset.finding : one.id || one.getAttribute('aria-label')
            || one.textContent.trim() || one.closest('label')?.textContent || one.tagName;
        }"""
    )


def tab_through(visit) -> list[str]:
    """Every place that takes the focus, once around the page."""
    places = []
    for _ in range(80):
        visit.page.keyboard.press("Tab")
        place = focused(visit)
        if place in places[:1]:
            break
        if place == "BODY":  # between the end of the page and its start
            continue
        assert is_marked(visit), f"{place} does not show that it has the focus"
        places.append(place)
    return places


def is_marked(visit) -> bool:
    return visit.page.evaluate(
        """() => {
          const one = document.activeElement;
          const style = getComputedStyle(one.type === 'radio' ? one.nextElementSibling : one);
          return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
        }"""
    )


@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious_in_any_state(open_page, drawn_png, width):
    visit = open_page(width, 800)
    assert serious_findings(visit) == []
    visit.drop(drawn_png, File("notes.txt", b"text"))
    visit.finish(2)
    visit.page.click(f"{visit.row('Effusion')} button")
    assert serious_findings(visit) == []
    visit.page.click(".file >> text=notes.txt")
    assert serious_findings(visit) == []
    for name in ("model", "keys"):
        visit.page.click(f"#open-{name}")
        assert serious_findings(visit) == []
        visit.page.keyboard.press("Escape")


def test_the_tab_key_reaches_everything_and_shows_where_it_is(visit, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    visit.page.focus("#canvas")
    visit.page.click(f"{visit.row('Effusion')} button")
    places = tab_through(visit)
    expected = {
        "open-model",
        "open-keys",
        "API",
        "add",
        "add-folder",
        "Remove drawn.png",
        "save-csv",
        "clear",
    }
    expected |= {"canvas", "Zoom in", "Zoom out", "Fit the window", "Invert black and white"}
    expected |= {"save-csv", "clear", "copy-curl", "save-json", "print", *FINDINGS}
    assert expected <= set(places)


def test_the_whole_way_works_by_keyboard_alone(visit, drawn_png):
    with visit.page.expect_file_chooser() as chooser:
        visit.page.focus("#choose")
        visit.page.keyboard.press("Enter")
    payload = {"name": "a.png", "mimeType": "image/png", "buffer": drawn_png.data}
    chooser.value.set_files([payload])
    visit.finish()
    visit.page.locator("#finding-list button").first.focus()
    first = focused(visit)
    visit.page.keyboard.press("ArrowDown")
    assert focused(visit) != first
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(f"{visit.row(focused(visit))} .detail").is_visible()
    assert visit.page.is_visible("#legend")


def test_results_are_told_to_screen_readers(visit, drawn_png):
    visit.drop(drawn_png)
    visit.finish()
    assert visit.page.inner_text("#live").startswith("drawn.png: ")
    assert visit.page.get_attribute("#canvas", "aria-label") == "Radiograph drawn.png"


@pytest.mark.parametrize(("width", "height"), [(360, 740), (768, 1024), (1280, 800), (3840, 2160)])
def test_nothing_lies_outside_the_screen_at_any_width(open_page, drawn_png, width, height):
    visit = open_page(width, height)
    for count in (1, 2):
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        if width > 1100:
            assert visit.page.evaluate("document.documentElement.scrollHeight") <= height
        visit.drop(File("a-very-long-name-" * 8 + ".png", drawn_png.data))
        visit.finish(count)
        visit.page.click(f"{visit.row('Mass')} button")
    notice = visit.page.locator(".notice")
    visit.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    box = notice.bounding_box()
    assert 0 <= box["y"] < height
    assert box["x"] + box["width"] <= width


def test_nothing_moves_for_people_who_asked_for_less_motion(open_page):
    visit = open_page(reduced_motion="reduce")
    durations = visit.page.evaluate(
        "[...document.querySelectorAll('*')].map((one) => getComputedStyle(one).transitionDuration)"
    )
    assert set(durations) == {"0s"}


def test_on_a_phone_the_radiograph_stays_in_view_and_is_found_again(open_page, drawn_png):
    visit = open_page(360, 740, has_touch=True, is_mobile=True)
    visit.choose(drawn_png)
    visit.finish()
    assert visit.page.evaluate("scrollY") == 0
    visit.page.locator("#finding-list > li > button").last.click()
    visit.page.click(".show:visible")
    box = visit.page.locator("#canvas").bounding_box()
    assert box["y"] > 0
    assert box["y"] + box["height"] < 740
