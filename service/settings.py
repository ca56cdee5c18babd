"""Settings of the service, read once from XPRO_* variables and frozen."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from contract.bundle import Precision
from service.cores import available_cores

_PREFIX: Final = "XPRO_"
_BOUNDS: Final = ("ge", "le")
_HOST_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class SettingsError(Exception):
    """A setting that is unknown or has an impossible value."""


def _split(names: object) -> object:
    if not isinstance(names, str):
        return names
    hosts = (name.strip().lower().removesuffix(".") for name in names.split(","))
    return tuple(host for host in hosts if host)


def is_address(host: str) -> bool:
    """Whether a host is given by its number."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Settings(BaseModel):
    """Each field is the variable XPRO_ and its name in capitals; docs/service.md lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    host: Annotated[str, StringConstraints(strip_whitespace=True)] = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    model_dir: Path = Path(__file__).parent.parent / "models" / "xpro-demo"
    engine: Literal["openvino", "tensorflow"] = "openvino"
    precision: Precision | None = None
    streams: int = Field(default_factory=available_cores, ge=1, le=256)
    max_upload_mib: int = Field(default=32, ge=1, le=1024)
    max_buffered_mib: int = Field(default=512, ge=1, le=1_048_576)
    upload_timeout_s: float = Field(default=60.0, ge=0.1, le=3600)
    decode_timeout_s: float = Field(default=5.0, ge=0.1, le=600)
    decode_memory_mib: int = Field(default=1536, ge=512, le=65536)
    max_waiting: int = Field(default=64, ge=1, le=10_000)
    wait_timeout_s: float = Field(default=20.0, ge=0.01, le=3600)
    header_timeout_s: float = Field(default=10.0, ge=0.1, le=3600)
    keys_file: Path | None = None
    allow_strangers: bool = False
    requests_per_minute: int = Field(default=600, ge=1, le=1_000_000)
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    drain_s: float = Field(default=2.0, ge=0, le=600)
    shutdown_s: int = Field(default=22, ge=1, le=600)

    @property
    def address(self) -> str:
        """Where the service listens, as a URL."""
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if not is_address(host) and not _HOST_NAME.fullmatch(host.lower()):
            raise ValueError(
                f"{host!r} is neither an address nor a name; leave out scheme, port and brackets"
            )
        return host

    @field_validator("precision")
    @classmethod
    def _check_precision(
        cls, precision: Precision | None, info: ValidationInfo
    ) -> Precision | None:
        if precision == "int8" and info.data.get("engine") == "tensorflow":
            raise ValueError("TensorFlow answers in float32 only; take openvino for int8")
        return precision

    @field_validator("allowed_hosts")
    @classmethod
    def _check_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if host != "*" and not _HOST_NAME.fullmatch(host):
                raise ValueError(
                    f"{host!r} is no name of a host; leave out scheme, port and patterns, * alone "
                    "stands for any name, and addresses pass anyway"
                )
        return hosts

    @model_validator(mode="after")
    def _room_for_one(self) -> Self:
        if self.max_buffered_mib <= self.max_upload_mib:
            raise ValueError(
                f"XPRO_MAX_BUFFERED_MIB={self.max_buffered_mib} has to be above "
                f"XPRO_MAX_UPLOAD_MIB={self.max_upload_mib}, or the largest files could never be "
                "accepted"
            )
        return self

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        if self.keys_file is None and not self.allow_strangers and not is_loopback(self.host):
            raise ValueError(
                f"XPRO_HOST={self.host} can be reached from other machines, and there are no keys. "
                "Set XPRO_KEYS_FILE (python -m service.keys makes it), or "
                "XPRO_ALLOW_STRANGERS=true to answer whoever asks"
            )
        return self

    @model_validator(mode="after")
    def _tls_files_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("XPRO_TLS_CERT and XPRO_TLS_KEY go together; set both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("XPRO_TLS_CLIENT_CA needs XPRO_TLS_CERT and XPRO_TLS_KEY")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the XPRO_* variables; an empty one counts as not set.

        Raises SettingsError for an unknown name or an impossible value.
        """
        given = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(_PREFIX) and value
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            if not first["loc"]:  # of several settings together; the message names them
                raise SettingsError(f"{first['ctx']['error']}.") from error
            name = _PREFIX + str(first["loc"][0]).upper()
            if first["type"] == "extra_forbidden":
                detail = f"{name} is no setting of the service; docs/service.md lists them."
                raise SettingsError(detail) from error
            raise SettingsError(f"{name}: {cls._tell_reason(first)}.") from error

    @classmethod
    def _tell_reason(cls, error: ErrorDetails) -> str:
        if error["type"] in ("greater_than_equal", "less_than_equal"):
            metadata = cls.model_fields[str(error["loc"][0])].metadata
            least, most = (
                getattr(bound, name) for bound, name in zip(metadata, _BOUNDS, strict=True)
            )
            return f"give a value from {least} to {most}"
        return error["msg"].removeprefix("Value error, ")
