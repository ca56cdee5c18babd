"""The files of TLS, tried at the start so that an error says what is wrong, and its connections."""

import ssl
import weakref
from pathlib import Path
from typing import NoReturn, Self

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


def bound_connections(context: ssl.SSLContext, most: int) -> ssl.SSLContext:
    """Let a server's context begin no handshake beyond `most` connections at a time.

    The protocol of a connection hears of it after the handshake only, and one that never ends holds
    memory and a file as well.
    """
    present: weakref.WeakSet[ssl.SSLObject] = weakref.WeakSet()

    class Counted(ssl.SSLObject):
        def __new__(cls) -> Self:
            if len(present) >= most:
                raise ssl.SSLError("there are as many connections as may be")
            one = super().__new__(cls)
            present.add(one)
            return one

    context.sslobject_class = Counted
    return context


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
