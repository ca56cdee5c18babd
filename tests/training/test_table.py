import gzip
from pathlib import Path

import pytest

from contract.findings import FINDINGS
from training.errors import DataError
from training.table import Row, image_name, read_list, read_table

NIH_2017 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    "00000001_000.png,Cardiomegaly|Emphysema,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    "00000002_000.png,No Finding,0,2,081Y,M,PA,2500,2048,0.171,0.171,\n"
)
NIH_NEWER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position\n"
    "00000001_000.jpg,Cardiomegaly|Emphysema,0,1,58,M,PA\n"
    "00000002_000.jpg,No Finding,0,2,81,M,PA\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def one_hot(columns: list[str], *lines: str) -> str:
    return "\n".join([",".join(["Image", *columns, "PatientId"]), *lines]) + "\n"


def labels(*present: str) -> tuple[int, ...]:
    return tuple(int(finding in present) for finding in FINDINGS)


@pytest.mark.parametrize(
    "text",
    [NIH_2017, NIH_NEWER, NIH_NEWER.replace(",", ", ")],
    ids=["Gender and png", "Sex and jpg", "spaces behind commas"],
)
def test_both_editions_of_the_nih_table_give_the_same_rows(tmp_path: Path, text: str) -> None:
    assert read_table(write(tmp_path, text)) == (
        Row("00000001_000", "1", labels("Cardiomegaly", "Emphysema"), 58, "M", "PA", 0),
        Row("00000002_000", "2", labels(), 81, "M", "PA", 0),
    )


def test_byte_order_mark_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    text = NIH_NEWER.replace("\n", "\n , ,\n\n")
    (tmp_path / "marked.csv").write_text(text, encoding="utf-8-sig")
    assert read_table(tmp_path / "marked.csv") == read_table(write(tmp_path, NIH_NEWER))


def test_cell_in_quotes_behind_a_blank_is_one_cell(tmp_path: Path) -> None:
    quoted = NIH_2017.replace(",OriginalImage[Width,Height]", ', "OriginalImage[Width,Height]"')
    rows = read_table(
        write(tmp_path, quoted.replace("2682,2749", "2682").replace("2500,2048", "1"))
    )
    assert rows == read_table(write(tmp_path, NIH_2017))


def test_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the list is empty"):
        read_list(write(tmp_path, " \n\n"))


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("058Y", 58),
        ("58", 58),
        ("018M", 1),
        ("003W", 0),
        ("010D", 0),
        ("414", None),
        ("", None),
        ("9" * 6, None),
    ],
)
def test_age_is_read_in_years_and_one_beyond_120_counts_as_not_told(
    tmp_path: Path, text: str, years: int | None
) -> None:
    rows = read_table(write(tmp_path, NIH_NEWER.replace(",81,", f",{text},")))
    assert rows[1].age == years


def test_age_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    for text in ("old", "9" * 5000):
        with pytest.raises(DataError, match=f"line 3, column 'Patient Age': '{text}' is no age"):
            read_table(write(tmp_path, NIH_NEWER.replace(",81,", f",{text},")))


def test_blanks_around_findings_do_not_matter(tmp_path: Path) -> None:
    text = NIH_NEWER.replace("|", " | ")
    assert read_table(write(tmp_path, text)) == read_table(write(tmp_path, NIH_NEWER))


def test_gzipped_table_reads_like_the_plain_one(tmp_path: Path) -> None:
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(NIH_NEWER.encode()))
    assert read_table(packed) == read_table(write(tmp_path, NIH_NEWER))


def test_one_hot_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    columns = sorted(FINDINGS, reverse=True)
    bits = ",".join("1" if column in ("Edema", "Mass") else "0" for column in columns)
    rows = read_table(write(tmp_path, one_hot(columns, f"a.png,{bits},7")))
    assert rows == (Row("a", "7", labels("Edema", "Mass")),)


def test_unknown_finding_is_named_with_its_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, NIH_NEWER.replace("Emphysema", "Emphysemia"))
    with pytest.raises(DataError, match=r"table\.csv, line 2, column 'Finding Labels'.*Emphysemia"):
        read_table(path)


def test_no_finding_beside_a_finding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, NIH_NEWER.replace("No Finding", "No Finding|Mass"))
    with pytest.raises(DataError, match=r"line 3.*beside a finding"):
        read_table(path)


def test_value_other_than_0_or_1_is_named_with_its_line_and_column(tmp_path: Path) -> None:
    bits = ",".join(["2"] + ["0"] * 13)
    path = write(tmp_path, one_hot(list(FINDINGS), f"a.png,{bits},7"))
    with pytest.raises(DataError, match="line 2, column 'Cardiomegaly': '2' is neither"):
        read_table(path)


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, one_hot([f for f in FINDINGS if f != "Hernia"]))
    with pytest.raises(DataError, match="missing column 'Hernia'"):
        read_table(path)


def test_empty_patient_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, NIH_NEWER.replace("0,2,81", "0,,81"))
    with pytest.raises(DataError, match="line 3, column 'Patient ID': empty"):
        read_table(path)


def test_patient_id_that_is_no_number_stays_as_it_is(tmp_path: Path) -> None:
    rows = read_table(write(tmp_path, NIH_NEWER.replace("0,2,81", "0,P-007.0,81")))
    assert [row.patient for row in rows] == ["1", "P-007.0"]


@pytest.mark.parametrize("bits", [15, 13])
def test_row_whose_labels_may_have_shifted_is_refused(tmp_path: Path, bits: int) -> None:
    path = write(tmp_path, one_hot(list(FINDINGS), f"a.png{',0' * bits},7"))
    with pytest.raises(DataError, match=f"line 2: {bits + 2} cells, but the header has 16"):
        read_table(path)


def test_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, one_hot([*FINDINGS, "Mass"], f"a.png{',0' * 15},7"))
    with pytest.raises(DataError, match="line 1: column 'Mass' is there more than once"):
        read_table(path)


def test_image_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, NIH_NEWER.replace("00000002_000", "00000001_000"))
    with pytest.raises(DataError, match="line 3: image '00000001_000' is already on line 2"):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", NIH_NEWER.replace(",M,", ",Mülleßrin,").encode("latin-1"), "save it as UTF-8"),
        ("t.csv", NIH_NEWER.encode("utf-16"), "save it as UTF-8"),
        ("t.csv", NIH_NEWER.replace(",", ";").encode(), "by semicolons; separate them by commas"),
        ("t.csv", NIH_NEWER.replace(",", "\t").encode(), "by tabs; separate them by commas"),
        ("t.csv", NIH_NEWER.replace(",PA", f",{'PA' * 99_999}").encode(), "is no CSV"),
        ("t.csv.gz", NIH_NEWER.encode(), "damaged or no gzip file"),
        ("t.csv.gz", gzip.compress(NIH_NEWER.encode())[:-20], "damaged or no gzip file"),
        ("t.csv.gz", gzip.compress(NIH_NEWER.encode())[:20] + b"0" * 99, "damaged or no gzip file"),
    ],
)
def test_file_that_is_no_table_says_what_to_do(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} .*{message}"):
        read_table(tmp_path / name)


def test_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")


def test_only_endings_of_images_are_taken_off_a_name(tmp_path: Path) -> None:
    text = NIH_NEWER.replace("00000001_000.jpg", "1.2.840.1.1")
    rows = read_table(write(tmp_path, text.replace("00000002_000.jpg", "1.2.840.1.2.DCM")))
    assert [row.image for row in rows] == ["1.2.840.1.1", "1.2.840.1.2"]


@pytest.mark.parametrize("name", ["a.png", "b/a.b.JPEG", "a.dcm.png", "1.2.3.dicom", ".png", ""])
def test_name_without_its_ending_is_not_shortened_again(name: str) -> None:
    assert image_name(image_name(name)) == image_name(name)


def test_official_table_counts_are_those_published(xrays: Path) -> None:
    rows = read_table(xrays / "official" / "Data_Entry_2017_v2020.csv.gz")
    assert (len(rows), len({row.patient for row in rows})) == (112_120, 30_805)
    assert len(read_list(xrays / "official" / "test_list.txt.gz")) == 25_596


@pytest.mark.parametrize(
    ("text", "followup"),
    [
        ("7", 7),
        ("007", 7),
        ("7.0", 7),
        ("", None),
        ("-1", None),
        ("baseline", None),
        ("1" * 5000, None),
    ],
)
def test_followup_is_a_count_or_not_told(tmp_path: Path, text: str, followup: int | None) -> None:
    rows = read_table(write(tmp_path, NIH_NEWER.replace(",0,1,", f",{text},1,")))
    assert rows[0].followup == followup
