"""The radiograph under mouse, fingers and keys."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.page.conftest import File
from tests.service.conftest import encode


@pytest.fixture
def viewed(visit, drawn_png):
    """The page with a drawn radiograph, its viewer focused."""
    visit.drop(drawn_png)
    visit.finish()
    visit.page.focus("#canvas")
    return visit


def width_of(visit) -> int:
    """Columns of the viewer that the radiograph covers."""
    return int(visit.draw()[:, :, 3].any(axis=0).sum())


def drag(visit, x: int, y: int, button: str = "left") -> None:
    mouse = visit.page.mouse
    box = visit.page.locator("#canvas").bounding_box()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down(button=button)
    mouse.move(box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y, steps=4)
    mouse.up(button=button)


def control(visit, name: str) -> float:
    return float(visit.page.locator(f"label:has-text('{name}') input").input_value())


def test_wheel_keys_and_buttons_zoom_and_fit_brings_all_back(viewed):
    fitted = viewed.draw()
    for zoom in (
        lambda: viewed.page.keyboard.press("+"),
        lambda: viewed.page.click("[aria-label='Zoom in']"),
        lambda: (viewed.page.hover("#canvas"), viewed.page.mouse.wheel(0, -200)),
    ):
        zoom()
        assert not np.array_equal(viewed.draw(), fitted)
        viewed.page.focus("#canvas")
        viewed.page.keyboard.press("f")
        assert np.array_equal(viewed.draw(), fitted)
    viewed.page.keyboard.press("-")
    assert width_of(viewed) < (fitted[:, :, 3].any(axis=0)).sum()
    viewed.page.dblclick("#canvas")
    assert np.array_equal(viewed.draw(), fitted)
    viewed.page.keyboard.press("1")
    assert width_of(viewed) == 256


def test_the_place_under_the_pointer_stays_while_the_wheel_turns(viewed):
    box = viewed.page.locator("#canvas").bounding_box()
    middle = int(box["height"] / 2)
    viewed.page.mouse.move(box["x"] + box["width"] / 2 + 100, box["y"] + middle)
    before = viewed.draw()[middle, int(box["width"] / 2 + 100), 0]
    viewed.page.mouse.wheel(0, -300)
    assert abs(int(viewed.draw()[middle, int(box["width"] / 2 + 100), 0]) - int(before)) < 12


def test_dragging_and_arrow_keys_move_the_radiograph(viewed):
    start = np.flatnonzero(viewed.draw()[:, :, 3].any(axis=0))[0]
    drag(viewed, 60, 0)
    assert np.flatnonzero(viewed.draw()[:, :, 3].any(axis=0))[0] == pytest.approx(start + 60, abs=2)
    viewed.page.keyboard.press("ArrowLeft")
    assert np.flatnonzero(viewed.draw()[:, :, 3].any(axis=0))[0] == pytest.approx(start + 20, abs=2)


def test_a_click_moves_a_place_to_the_middle_once_zoomed(viewed):
    fitted = viewed.draw()
    viewed.page.click("#canvas", position={"x": 200, "y": 300})
    assert np.array_equal(viewed.draw(), fitted)
    viewed.page.click("[aria-label='Zoom out']")
    before = np.flatnonzero(viewed.draw()[:, :, 3].any(axis=0))[-1]
    box = viewed.page.locator("#canvas").bounding_box()
    viewed.page.click("#canvas", position={"x": box["width"] / 2 + 50, "y": box["height"] / 2})
    after = np.flatnonzero(viewed.draw()[:, :, 3].any(axis=0))[-1]
    assert after == pytest.approx(before - 50, abs=2)


def test_inverting_turns_every_grey_value_around(viewed):
    plain = viewed.draw().astype(int)
    viewed.page.keyboard.press("i")
    inverted = viewed.draw().astype(int)
    inside = plain[:, :, 3] == 255
    assert np.abs(plain + inverted - 255)[inside][:, :3].max() <= 1
    viewed.page.click("button:has-text('Invert')")
    assert np.array_equal(viewed.draw(), plain)


def test_window_and_level_change_by_keys_right_drag_tool_and_sliders_and_reset(viewed):
    plain = viewed.draw()
    viewed.page.keyboard.press("Shift+ArrowLeft")
    viewed.page.keyboard.press("Shift+ArrowUp")
    assert control(viewed, "Width") < 255
    assert control(viewed, "Level") > 128
    narrow = viewed.draw()
    assert narrow[:, :, 0].mean() < plain[:, :, 0].mean()
    viewed.page.keyboard.press("r")
    assert np.array_equal(viewed.draw(), plain)
    drag(viewed, -80, 0, button="right")
    assert control(viewed, "Width") == pytest.approx(175, abs=3)
    viewed.page.click("button:has-text('Window')")
    drag(viewed, 0, 80)
    assert control(viewed, "Level") == pytest.approx(88, abs=3)
    viewed.page.click("button:has-text('Reset')")
    assert np.array_equal(viewed.draw(), plain)
    viewed.page.locator("label:has-text('Level') input").fill("30")
    assert viewed.draw()[:, :, 0].mean() > plain[:, :, 0].mean() + 20


def test_a_pressed_button_looks_pressed_under_the_pointer_too(viewed):
    viewed.page.click("button:has-text('Invert')")
    pressed = viewed.page.locator("button[aria-pressed=true]:has-text('Invert')")
    expect(pressed).to_have_css("background-color", "rgb(33, 68, 90)")


def test_the_key_for_the_map_does_nothing_before_there_is_one(viewed):
    viewed.page.keyboard.press("m")
    viewed.page.click(f"{viewed.row('Effusion')} button")
    expect(viewed.page.locator("#legend")).to_be_visible()


def test_a_narrow_window_spreads_its_values_over_all_greys(visit):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    visit.drop(File("ramp.png", encode(ramp)))
    visit.finish()
    visit.page.locator("label:has-text('Width') input").fill("100")
    visit.page.locator("label:has-text('Level') input").fill("100")
    visit.page.click("[aria-label^='1:1']")
    expected = np.clip((np.arange(256) - 50) / 100 * 255, 0, 255)
    assert np.abs(visit.draw_at_1_to_1()[128, :, 0] - expected).max() <= 1


def test_deeper_png_is_shown_as_the_service_decodes_it(visit):
    """12 bits in a 16-bit PNG are nearly black where a browser decodes them."""
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 16, (256, 1))
    visit.drop(File("deep.png", encode(ramp)))
    visit.finish()
    visit.page.click("[aria-label^='1:1']")
    assert visit.draw_at_1_to_1()[:, :, 0].max() >= 254
    assert "12 bits only" in visit.page.inner_text("#facts")


def test_a_png_that_only_a_browser_would_turn_is_shown_as_it_is_judged(visit):
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF's orientation: a quarter turn
    file = io.BytesIO()
    ramp.save(file, "PNG", exif=exif)
    visit.drop(File("turned.png", file.getvalue()))
    visit.finish()
    visit.page.click("[aria-label^='1:1']")
    assert np.abs(visit.draw_at_1_to_1()[128, :, 0] - np.arange(256.0)).max() <= 1


def test_keys_step_through_the_files(visit, drawn_png, drawn_dicom):
    visit.drop(drawn_png, drawn_dicom)
    visit.finish(2)
    visit.page.focus("#canvas")
    for key, name in (
        ("PageDown", "drawn.dcm"),
        ("PageDown", "drawn.dcm"),
        ("PageUp", "drawn.png"),
    ):
        visit.page.keyboard.press(key)
        assert name in visit.page.locator(".file[aria-current=true]").inner_text()
        assert visit.page.evaluate("document.activeElement.id") == "canvas"
        assert visit.page.inner_text("#live").startswith(f"{name}: ")


def test_fingers_pinch_to_zoom(open_page, drawn_png):
    visit = open_page(360, 740, has_touch=True, is_mobile=True)
    visit.drop(drawn_png)
    visit.finish()
    before = visit.page.inner_text(".zoom")
    visit.page.evaluate(
        """() => {
          const canvas = document.querySelector('#canvas');
          const box = canvas.getBoundingClientRect();
          canvas.setPointerCapture = () => {};
          const send = (type, id, x) => canvas.dispatchEvent(new PointerEvent(type, {
            pointerId: id, pointerType: 'touch', bubbles: true, button: 0,
            clientX: box.left + box.width / 2 + x, clientY: box.top + box.height / 2}));
          send('pointerdown', 1, -20); send('pointerdown', 2, 20);
          send('pointermove', 1, -60); send('pointermove', 2, 60);
          send('pointerup', 1, -60); send('pointerup', 2, 60);
        }"""
    )
    assert float(visit.page.inner_text(".zoom")[:-2]) > 2 * float(before[:-2])
