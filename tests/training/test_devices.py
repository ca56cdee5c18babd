"""Which arithmetic a fit is in, by what the processor has."""

import json
from pathlib import Path

import pytest

from training.config import read_config
from training.data import read_folder
from training.devices import has_bfloat16
from training.prepare import prepare_images

# What Linux tells of an AMD EPYC of 2021, one of 2022 and an Arm Neoverse V1, shortened.
AVX2_ALONE = "processor\t: 0\nflags\t\t: fpu sse2 fma f16c avx2 sha_ni\npower management:\n"
AVX512 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16 dgh\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"), [(AVX2_ALONE, False), (AVX512, True), (ARM, True), ("", True)]
)
def test_bfloat16_is_told_by_the_flags_of_the_processor(cpuinfo: str, expected: bool) -> None:
    assert has_bfloat16(cpuinfo) is expected


def test_run_in_bfloat16_is_one_in_float32_where_the_processor_has_none_and_says_so(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.chain import train

    changes = ["epochs=1", "precision=mixed_bfloat16", "bootstrap_resamples=5"]
    config = read_config("smoke", changes)
    data = read_folder(drawn_folder, config)
    cache = prepare_images(data.files, config.input_size, tmp_path / "cache")
    train(config, data, cache, tmp_path / "run", tmp_path / "models" / "smoke")
    used = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["precision"]
    fast = has_bfloat16(Path("/proc/cpuinfo").read_text())
    assert used == ("mixed_bfloat16" if fast else "float32")
    said = "no bfloat16 arithmetic, so the fit is in float32" in capsys.readouterr().out
    assert said is not fast
