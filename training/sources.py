"""The files that prepared images were made of, and whether they still are as they were."""

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

SOURCES: Final = "files.jsonl"


@dataclass(frozen=True)
class Source:
    """A file as it was when image `name` was prepared from it; `mtime_ns` is its time of change."""

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str

    def is_still(self, path: Path) -> bool:
        """Return whether a file holds what it held.

        Its content is read only where the time is another, as in a copy, and the size is not.
        """
        now = path.stat()
        if now.st_size != self.size_bytes:
            return False
        return now.st_mtime_ns == self.mtime_ns or _hash(path.read_bytes()) == self.sha256

    def to_line(self) -> str:
        """Return a line of SOURCES."""
        return json.dumps(asdict(self)) + "\n"


def read_source(name: str, path: Path) -> tuple[Source, bytes]:
    """Read a file, and say as what."""
    before = path.stat()  # a change while it is read then shows as another time
    content = path.read_bytes()
    return Source(name, len(content), before.st_mtime_ns, _hash(content)), content


def read_sources(folder: Path, count: int) -> list[Source]:
    """Return the sources of a cache in the order of its pixels, the first `count`.

    Raises OSError, ValueError or TypeError where they cannot be read.
    """
    if not count:
        return []
    with (folder / SOURCES).open() as lines:
        return [Source(**json.loads(line)) for line in itertools.islice(lines, count)]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
