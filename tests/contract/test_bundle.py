"""The bundle: what was sealed opens, and whatever differs by one bit does not."""

import json
import shutil

import pytest

from contract.bundle import GOLDEN, find_bundle, open_bundle, seal_bundle
from contract.findings import FINDINGS
from contract.seal import DESCRIPTION, BundleError, seal
from tests.contract.drawn_bundle import SIZE, description_of

FILES = ["saved_model.pb", "variables/variables.index", GOLDEN, DESCRIPTION]


def refusal(directory):
    with pytest.raises(BundleError) as refused:
        open_bundle(directory)
    return str(refused.value)


def reseal(directory, **changes):
    """Seal with a description that this program refuses, as a foreign exporter would."""
    seal(directory, description_of(**changes))


def test_sealed_bundle_opens_with_what_was_written(sealed):
    bundle = open_bundle(sealed)
    assert (bundle.name, bundle.version, bundle.input_size) == ("drawn", "7", SIZE)
    assert bundle.thresholds == (0.25,) * 14
    assert bundle.description["intended_use"] == "tests, and nothing else: ä"
    assert sorted(bundle.description["files"]) == sorted(set(FILES) - {DESCRIPTION})


def test_digest_tells_bundles_apart_and_is_the_same_for_the_same(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    first, second = (seal_bundle(place, description_of()) for place in (model, copy))
    assert first == second == open_bundle(model).digest
    assert first.startswith("sha256:")
    (copy / "saved_model.pb").write_bytes(b"another")
    assert seal_bundle(copy, description_of()) != first
    assert seal_bundle(model, description_of(version="8")) != first


def test_sealing_again_replaces_the_seal(sealed):
    seal_bundle(sealed, {**open_bundle(sealed).description, "version": "8"})
    assert open_bundle(sealed).version == "8"


@pytest.mark.parametrize("place", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_refused(sealed, name, place, bit):
    path = sealed / name
    content = bytearray(path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)
    assert refusal(sealed)


def test_every_byte_of_the_description_counts(sealed):
    path = sealed / DESCRIPTION
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        refusal(sealed)
    path.write_bytes(content)
    assert open_bundle(sealed)


def test_damaged_file_is_named(sealed):
    (sealed / "saved_model.pb").write_bytes(b"tampered")
    assert "saved_model.pb is damaged" in refusal(sealed)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(sealed, name):
    (sealed / name).unlink()
    assert f"{name} is missing" in refusal(sealed)


def test_surplus_file_is_named(sealed):
    (sealed / "variables/notes.txt").write_text("remember")
    assert "variables/notes.txt is not part" in refusal(sealed)


@pytest.mark.parametrize("needed", ["saved_model.pb", GOLDEN])
def test_bundle_cannot_be_sealed_without_its_model_or_its_golden_examples(model, needed):
    (model / needed).unlink()
    with pytest.raises(BundleError, match="is missing"):
        seal_bundle(model, description_of())


@pytest.mark.parametrize("key", ["format_version", "contract_version"])
@pytest.mark.parametrize("other", [0, 99, "1", None])
def test_other_version_is_refused_and_named(model, key, other):
    reseal(model, **{key: other})
    assert key in refusal(model)


def findings_named(names):
    return [{"name": name, "threshold": 0.5} for name in names]


def test_findings_in_another_order_are_refused_and_named(model):
    reseal(model, findings=findings_named([FINDINGS[1], FINDINGS[0], *FINDINGS[2:]]))
    assert refusal(model) == "model: finding 1 is 'Emphysema'; this program needs 'Cardiomegaly'."


@pytest.mark.parametrize("names", [FINDINGS[:-1], [*FINDINGS, "Fracture"], []])
def test_another_number_of_findings_is_refused(model, names):
    reseal(model, findings=findings_named(names))
    assert f"{len(names)} findings" in refusal(model)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.1, True, 10**400])
def test_threshold_that_is_no_probability_is_refused(model, threshold):
    findings = findings_named(FINDINGS)
    findings[3]["threshold"] = threshold
    reseal(model, findings=findings)
    assert refusal(model)


@pytest.mark.parametrize("key", ["name", "version", "intended_use", "input_size", "findings"])
def test_missing_entry_is_refused_and_named(model, key):
    description = description_of()
    del description[key]
    seal(model, description)
    assert key in refusal(model)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        pytest.param(b'{"a":' * 500 + b"1" + b"}" * 500, id="nested"),
    ],
)
def test_description_that_is_no_json_object_is_refused(sealed, content):
    (sealed / DESCRIPTION).write_bytes(content)
    assert refusal(sealed)


@pytest.mark.parametrize(
    ("key", "value"), [("input_size", "1e999"), ("seed", "NaN"), ("seed", "[" * 900 + "]" * 900)]
)
def test_description_with_values_that_json_cannot_write_is_refused(sealed, key, value):
    text = json.dumps({**description_of(), key: "HERE"}).replace('"HERE"', value)
    (sealed / DESCRIPTION).write_text(text)
    assert refusal(sealed)


def test_description_that_repeats_a_key_is_refused(sealed):
    path = sealed / DESCRIPTION
    path.write_text(path.read_text().replace("{", '{\n "name": "other",', 1))
    assert "changed after export" in refusal(sealed)


def test_bundle_itself_is_found(sealed):
    assert find_bundle(sealed) == sealed


def test_highest_numbered_version_is_found(tmp_path):
    for name in ("1", "2", "9", "10", "latest", "10-rc", "tmp11"):
        (tmp_path / name).mkdir()
    assert find_bundle(tmp_path) == tmp_path / "10"


@pytest.mark.parametrize("names", [[], ["latest"], ["1²"]])
def test_directory_without_any_version_is_refused_and_named(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(BundleError, match=tmp_path.name):
        find_bundle(tmp_path)


def test_directory_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(BundleError):
        find_bundle(tmp_path / "nowhere")
    assert "missing" in refusal(tmp_path / "nowhere")
