"""Settings of the service, read once from XPRO_* variables and frozen."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from contract.bundle import Precision

_PREFIX = "XPRO_"


class SettingsError(Exception):
    """A setting that is unknown or has an impossible value."""


def available_cores() -> int:
    """Processor cores this process may use, by affinity and by the limit of its control group."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


class Settings(BaseModel):
    """Each field is the variable XPRO_ and its name in capitals; README lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    model_dir: Path = Path(__file__).parent.parent / "models" / "xpro-demo"
    engine: Literal["openvino", "tensorflow"] = "openvino"
    precision: Precision | None = None
    streams: int = Field(default_factory=available_cores, ge=1, le=256)
    max_upload_mib: int = Field(default=32, ge=1, le=1024)
    max_buffered_mib: int = Field(default=512, ge=1, le=1_048_576)
    upload_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    decode_timeout_s: float = Field(default=5.0, gt=0, le=600)
    decode_memory_mib: int = Field(default=1536, ge=512, le=65536)
    max_waiting: int = Field(default=64, ge=1, le=10_000)
    wait_timeout_s: float = Field(default=20.0, gt=0, le=3600)
    drain_s: float = Field(default=2.0, ge=0, le=600)
    shutdown_s: int = Field(default=25, ge=1, le=600)

    @field_validator("precision")
    @classmethod
    def _check_precision(
        cls, precision: Precision | None, earlier: ValidationInfo
    ) -> Precision | None:
        if precision == "int8" and earlier.data.get("engine") == "tensorflow":
            raise ValueError("TensorFlow answers in float32 only; take openvino for int8")
        return precision

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the XPRO_* variables.

        Raises SettingsError for an unknown name or an impossible value.
        """
        given = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(_PREFIX)
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = _PREFIX + "_".join(str(part) for part in first["loc"]).upper()
            raise SettingsError(f"{name}: {first['msg']}.") from error
