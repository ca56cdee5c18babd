"""The files of TLS, tried at the start so that an error says which of them is wrong, and why."""

import ssl
from pathlib import Path
from typing import NoReturn

from service.settings import Settings, SettingsError


def check_tls(settings: Settings) -> None:
    """Read the files that the settings name.

    Raises SettingsError for one that cannot be read or is not what it should be.
    """
    for name in ("tls_cert", "tls_key", "tls_client_ca"):
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        try:
            path.read_bytes()
        except OSError as error:
            raise _wrong(name, path, f"cannot be read: {error.strerror}") from error
        if name != "tls_key":
            _check_certificates(name, path)
    if settings.tls_cert and settings.tls_key:
        _check_pair(settings.tls_cert, settings.tls_key)


def _check_certificates(name: str, path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise _wrong(name, path, "holds no certificate in PEM") from error


def _check_pair(certificate: Path, key: Path) -> None:
    def refuse() -> NoReturn:
        raise _wrong("tls_key", key, "has a password; store it without one")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        other = error.reason == "KEY_VALUES_MISMATCH"
        what = f"is not the key of {certificate}" if other else "holds no private key in PEM"
        raise _wrong("tls_key", key, what) from error


def _wrong(name: str, path: Path, what: str) -> SettingsError:
    return SettingsError(f"XPRO_{name.upper()}: {path} {what}.")
