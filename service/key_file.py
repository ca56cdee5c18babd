"""The file of hashed keys: who may use the service, for what, until when and how often.

Only the SHA-256 of a key is kept. No slow password hash is needed: a key is 256 random bits, and
NIST SP 800-63B (5.1.2.2) asks for one only below 112 bits.
"""

import contextlib
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from service.observability import log_event

Scope = Literal["predict", "metrics", "admin"]

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of clients: short and plain, since the log holds it."""

MAX_PER_MINUTE: Final = 1_000_000

_LOOK_EVERY_S: Final = 1.0
_PREFIX: Final = "xpro_"


class KeyFileError(Exception):
    """A key file that is missing, unreadable or no key file."""


class Key(BaseModel):
    """One key: `sha256` of its text in hex; `admin` includes the other scopes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: Annotated[str, Field(pattern=NAME_PATTERN)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    expires: AwareDatetime
    requests_per_minute: Annotated[int, Field(ge=1, le=MAX_PER_MINUTE)] | None = None

    @property
    def id(self) -> str:
        """What tells several keys of a client apart; says nothing of the key."""
        return self.sha256[:12]

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def expired(self) -> bool:
        return self.expires <= datetime.now(UTC)


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[Key, ...]


def new_key() -> str:
    """Return a new key: 256 random bits behind a prefix by which leaked ones are found."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(key: bytes) -> str:
    """SHA-256 in hex, as the file holds it."""
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a key file; raises KeyFileError that says what is wrong, without what the file holds."""
    try:
        return _Content.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        detail = f"{path} is no key file ({place}: {first['msg']})"
        raise KeyFileError(f"{detail}; make one with: python -m service.keys make") from error


@contextlib.contextmanager
def change_keys(path: Path) -> Iterator[list[Key]]:
    """Let keys be added to and taken from the file, which is then replaced as a whole.

    A new one has mode 0600. Others who change it wait meanwhile; raises KeyFileError where it
    cannot be read or written.
    """
    path = path.resolve()
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(f"{path.parent} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = list(read_keys(path)) if path.exists() else []
        yield keys
        _replace(path, _Content(keys=tuple(keys)).model_dump_json(indent=1, exclude_none=True))
        os.fsync(folder)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        os.close(folder)


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(descriptor)
            if path.exists():  # else a key revoked by root would leave a file nobody else can read
                before = path.stat()
                os.chown(descriptor, before.st_uid, before.st_gid)
                # A service that reads it by its group would not learn of a key that was revoked.
                os.fchmod(descriptor, before.st_mode & 0o640)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class KeyFile:
    """The keys in force; the file is read again when it changes, and a damaged one is not taken.

    Raises KeyFileError where it cannot be read at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = self._look()
        self._keys = read_keys(path)
        self._refused = ""
        self._spare = [os.open(os.devnull, os.O_RDONLY)]
        self._looked = time.monotonic()

    def find(self, key: bytes) -> Key | None:
        """Return the entry of a key, expired or not, in a time that does not depend on the key."""
        self._refresh()
        given, found = digest(key), None
        for each in self._keys:
            if hmac.compare_digest(each.sha256, given):
                found = each
        return found

    def refused(self) -> bool:
        """Whether the file is damaged now, so that the keys read before it are in force."""
        self._refresh()
        return bool(self._refused)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._looked + _LOOK_EVERY_S:
            return
        self._looked = now
        seen = self._look()
        if seen == self._seen:
            return
        try:
            self._keys = self._read()
        except KeyFileError as error:
            # A damaged file is tried again once it changes, one that cannot be read at every look.
            self._seen = None if isinstance(error.__cause__, OSError) else seen
            if self._refused != str(error):
                self._refused = str(error)
                detail = f"{error} The keys read before stay in force."
                log_event("keys_refused", logging.WARNING, detail=detail)
        else:
            self._seen, self._refused = seen, ""
            log_event("keys_read", keys=len(self._keys))

    def _read(self) -> tuple[Key, ...]:
        """Read the file by a descriptor kept for it, as a flood of connections takes all others."""
        while self._spare:
            os.close(self._spare.pop())
        try:
            return read_keys(self._path)
        finally:
            with contextlib.suppress(OSError):
                self._spare.append(os.open(os.devnull, os.O_RDONLY))

    def _look(self) -> tuple[int, ...]:
        try:
            facts = self._path.stat()
        except OSError:
            return ()
        # The last of them changes with owner and mode, too: a file may become readable.
        return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
