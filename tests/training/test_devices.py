"""Which arithmetic a fit is in, by what the processor has."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.config import read_config
from training.data import read_folder
from training.devices import read_cpuinfo, without_slow_bfloat16
from training.prepare import prepare_images

# What Linux tells of an AMD EPYC of 2021, one of 2022 and an Arm Neoverse V1, shortened.
AVX2_ALONE = "processor\t: 0\nflags\t\t: fpu sse2 fma f16c avx2 sha_ni\npower management:\n"
AVX512 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16 dgh\n"


@pytest.mark.parametrize(
    ("cpuinfo", "used"),
    [
        (AVX2_ALONE, "float32"),
        (AVX512, "mixed_bfloat16"),
        (ARM, "mixed_bfloat16"),
        ("", "mixed_bfloat16"),
    ],
)
def test_bfloat16_is_left_where_the_processor_does_not_compute_in_it(
    cpuinfo: str, used: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = read_config("smoke", ["precision=mixed_bfloat16"])
    assert without_slow_bfloat16(asked, cpuinfo) == replace(asked, precision=used)
    assert ("no bfloat16 arithmetic" in capsys.readouterr().out) == (used == "float32")


def test_run_records_the_arithmetic_that_it_is_in(drawn_folder: Path, tmp_path: Path) -> None:
    from training.chain import train

    changes = ["epochs=1", "precision=mixed_bfloat16", "bootstrap_resamples=5"]
    config = read_config("smoke", changes)
    data = read_folder(drawn_folder, config)
    cache = prepare_images(data.files, config.input_size, tmp_path / "cache")
    train(config, data, cache, tmp_path / "run", tmp_path / "models" / "smoke")
    used = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["precision"]
    assert used == without_slow_bfloat16(config, read_cpuinfo()).precision
