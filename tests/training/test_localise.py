from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from training.errors import DataError
from training.localise import (
    FRAME,
    Box,
    enlarge_map,
    find_and_read_boxes,
    localise,
    read_boxes,
)
from training.table import Row

MASS = FINDINGS.index("Mass")
HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def row(number: int) -> Row:
    return Row(f"{number:08}_000", str(number), (0,) * len(FINDINGS))


def maps_with_peak(x: int, y: int) -> np.ndarray:
    maps = np.zeros((8, 8, len(FINDINGS)), np.float32)
    maps[y, x, MASS] = 1.0
    return maps


def test_peak_of_a_map_lands_on_its_place_in_an_image_of_any_shape() -> None:
    activation = maps_with_peak(6, 1)[:, :, MASS]
    heat = enlarge_map(activation, width=2000, height=400)
    y, x = np.unravel_index(np.argmax(heat), heat.shape)
    # The centre of cell (6, 1) of 8 x 8.
    assert (x / 2000, y / 400) == pytest.approx((6.5 / 8, 1.5 / 8), abs=0.01)
    assert (heat.min(), heat.max()) == (0.0, 1.0)


def test_map_over_its_box_hits_and_one_elsewhere_misses() -> None:
    cell = FRAME / 8
    boxes = [Box(row(n).image, "Mass", 6 * cell, cell, cell, cell) for n in range(6)]
    peaks = {str(n): maps_with_peak(*((1, 6) if n % 2 else (6, 1))) for n in range(6)}
    measured = localise(
        [row(n) for n in range(7)],
        boxes,
        lambda rows: np.stack([peaks[one.patient] for one in rows]),
        resamples=50,
        seed=1,
    )
    assert measured is not None
    both, mass = measured["findings"]
    assert (both["name"], mass["name"], mass["maps"]) == ("all", "Mass", 6)
    assert mass["pointing_game"] == 0.5
    low, high = mass["pointing_game_ci"]
    assert 0.0 <= low < 0.5 < high <= 1.0
    assert mass["chance"] == pytest.approx(1 / 64)
    # Half of the maps cover a part of their box, the others nothing: a third to a half on average.
    assert 0.3 < mass["iou"] <= 0.5
    assert mass["iou_above"]["0.1"] == 0.5


def test_overlap_is_the_common_part_of_box_and_region_together() -> None:
    # The region is the left half; the box its left half, from the top to the bottom.
    maps = np.zeros((1, 8, 8, len(FINDINGS)), np.float32)
    maps[:, :, :4] = 1.0
    boxes = [Box(row(1).image, "Mass", 0, 0, FRAME / 4, FRAME)]
    measured = localise([row(1)], boxes, lambda _: maps, resamples=5, seed=1)
    assert measured is not None
    mass = measured["findings"][1]
    assert (mass["iou"], mass["chance"]) == (0.5, 0.25)
    assert mass["iou_above"] == {"0.1": 1.0, "0.25": 1.0, "0.5": 1.0}


@pytest.mark.parametrize(("x", "y"), [(0, 3), (7, 3), (3, 0), (3, 7), (0, 0), (7, 7)])
def test_cell_at_the_border_points_at_its_middle(x: int, y: int) -> None:
    cell, margin = FRAME / 8, FRAME / 32
    inner = Box(row(1).image, "Mass", x * cell + margin, y * cell + margin, cell / 2, cell / 2)
    maps = maps_with_peak(x, y)[np.newaxis]
    measured = localise([row(1)], [inner], lambda _: maps, resamples=5, seed=1)
    assert measured is not None
    assert measured["findings"][0]["pointing_game"] == 1.0


def test_flat_map_points_nowhere() -> None:
    boxes = [Box(row(1).image, "Mass", 0, 0, FRAME, FRAME)]
    flat = np.zeros((1, 8, 8, len(FINDINGS)), np.float32)
    measured = localise([row(1)], boxes, lambda _: flat, resamples=5, seed=1)
    assert measured is not None
    assert measured["findings"][1]["pointing_game"] == 0.0


def test_rows_without_boxes_have_no_localisation() -> None:
    boxes = [Box("other", "Mass", 0, 0, 10, 10)]
    assert localise([row(1)], boxes, lambda _: np.empty(0), resamples=5, seed=1) is None


def test_infiltrate_of_the_box_list_is_infiltration(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f"{HEADER}00000001_000.png,Infiltrate,10,20,30,40,,,\n")
    assert read_boxes(path) == (Box("00000001_000", "Infiltration", 10, 20, 30, 40),)


def test_box_of_less_than_a_pixel_covers_one() -> None:
    boxes = [Box(row(1).image, "Mass", 10.4, 20.4, 0.1, 0.1)]
    measured = localise([row(1)], boxes, lambda _: maps_with_peak(6, 1)[None], resamples=5, seed=1)
    assert measured is not None
    assert measured["findings"][1]["chance"] == 1 / FRAME**2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",,,\n a.png , Masses ,1,2,3,4", "line 3: unknown finding 'Masses'"),
        ("a.png,Masses,1,2,3,4", "line 2: unknown finding 'Masses'"),
        ("a.png,Mass,1,2,wide,4", "line 2: expected x, y, width and height"),
        ("a.png,Mass,1000,2,300,4", "line 2: the box does not lie within 1024"),
        ("a.png,Mass,1,-2,3,4", "line 2: the box does not lie within 1024"),
    ],
)
def test_box_that_cannot_be_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f"{HEADER}{line}\n")
    with pytest.raises(DataError, match=message):
        read_boxes(path)


def test_box_list_is_found_behind_a_link_and_two_are_not_taken_for_one(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "data"
    elsewhere.mkdir()
    folder.mkdir()
    (elsewhere / "BBox_List_2017.csv").write_text(f"{HEADER}a.png,Mass,1,2,3,4,,,\n")
    (folder / "official").symlink_to(elsewhere)
    assert len(find_and_read_boxes(folder)) == 1
    (folder / "BBox_List_mine.csv").write_text(HEADER)
    with pytest.raises(DataError, match="are two box lists; keep one"):
        find_and_read_boxes(folder)


def test_official_box_list_reads_whole(xrays: Path) -> None:
    boxes = read_boxes(xrays / "official" / "BBox_List_2017.csv")
    assert len(boxes) == 984
    assert sum(box.finding == "Infiltration" for box in boxes) == 123
