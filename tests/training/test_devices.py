"""Which arithmetic a fit is in, by what the processor has."""

import json
from dataclasses import replace

import pytest

from tests.training.conftest import BareRun
from training.config import read_config
from training.devices import read_cpuinfo, without_slow_bfloat16

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


def test_run_records_the_arithmetic_that_it_is_in(bare: BareRun) -> None:
    asked = read_config("smoke", ["precision=mixed_bfloat16"])
    used = json.loads((bare.run / "run.json").read_text())["config"]["precision"]
    assert used == without_slow_bfloat16(asked, read_cpuinfo()).precision
