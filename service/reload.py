"""A new version of the model, placed beside the old one, is taken up without a restart."""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final, TypeVar

from contract.bundle import find_bundle, open_bundle
from contract.seal import BundleError
from service.metrics import Metrics
from service.model import load_model
from service.observability import log_event
from service.state import State

_INTERVAL_S: Final = 2.0
_FILES_OPENED: Final = 16
"""At once, at most, while a bundle is loaded."""
_Result = TypeVar("_Result")


async def follow_versions(state: State, metrics: Metrics) -> None:
    """Serve what the model folder holds, for as long as the service runs.

    What changed is tried once it has stood still from one look to the next, so that a version is
    not judged while it is being copied. One that is refused is not tried again until it changes.
    Where the service itself has too many files open to look, it looks again.
    """
    seen = tried = None
    while True:
        await asyncio.sleep(_INTERVAL_S)
        found = await _in_background(partial(_look, state.settings.model_dir))
        if found is not None and found == seen and found != tried:
            tried = found if await _take_up(state, metrics) else None
        seen = found


def _look(directory: Path) -> object:
    """Return something that differs when the bundle to serve is another or was changed."""
    try:
        bundle = find_bundle(directory)
        facts = [(path, path.stat()) for path in sorted(bundle.rglob("*"))]
    except Exception as error:  # noqa: BLE001 - folders without end, say; the watch goes on
        return f"{type(error).__name__}: {error}" if _may_open_files() else None
    # The last of them changes with owner and mode, too: a version may become readable.
    return bundle, [
        (path, fact.st_size, fact.st_mtime_ns, fact.st_ctime_ns) for path, fact in facts
    ]


def _may_open_files() -> bool:
    """Whether the service may open some more: what lacked one does not say so itself."""
    opened: list[int] = []
    try:
        opened.extend(os.dup(2) for _ in range(_FILES_OPENED))
    except OSError:
        return False
    finally:
        for one in opened:
            os.close(one)
    return True


async def _take_up(state: State, metrics: Metrics) -> bool:
    """Load, verify and replay what is there, away from the event loop; then let it answer.

    Returns whether it could be judged at all.
    """
    try:
        bundle = await _in_background(lambda: open_bundle(find_bundle(state.settings.model_dir)))
        model = None
        if bundle.digest != state.model.bundle.digest:
            model = await asyncio.to_thread(load_model, state.settings, bundle)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one answers
        if not _may_open_files():
            return False
        reason = str(error) if isinstance(error, BundleError) else type(error).__name__
        state.refused = reason
        metrics.reloads.labels("refused").inc()
        serving = state.model.bundle.version
        log_event("model_refused", logging.WARNING, reason=reason, serving=serving)
        return True
    if state.refused is not None:
        log_event("model_refusal_over")
    state.refused = None
    if model is not None:
        state.model = model
        metrics.reloads.labels("taken").inc()
        log_event("model_taken", model=bundle.name, version=bundle.version, digest=bundle.digest)
    return True


async def _in_background(work: Callable[[], _Result]) -> _Result:
    """Run in a thread that the end of the service does not wait for: a file may have no end."""
    result: Future[_Result] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - for who waits
            result.set_exception(error)

    Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(result)
