"""What worker processes of this program have in common.

A spawned process imports the module of its first function; importing this one starts no Keras.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from tqdm import tqdm

from training.quiet import start_keras


@contextmanager
def start_workers(
    count: int | None, begin: Callable[[], None], *, tasks_each: int | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Run workers, as many as cores without `count`; after an error no further task begins."""
    # Spawned, because a fork of a process that has started TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, begin, max_tasks_per_child=tasks_each) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


@contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT until the end of the context; processes started within it never receive it.

    A terminal sends it to all processes of a command, and one line about it is enough.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def end_on_error() -> Iterator[None]:
    """End the child processes at once where the context is left by an error.

    For workers with long tasks and short results: one that is ended while it sends a long result
    leaves its parent waiting for the rest.
    """
    try:
        yield
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise


def end_with_parent() -> None:
    """Let this worker end when its parent is killed; it would wait, or write, for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def start_fitting(*, one_core: bool) -> None:
    """Begin a worker that fits networks, in one thread where `one_core`."""
    # Otherwise a killed run would fit on, into the folder that `resume` then fits into.
    end_with_parent()
    # The lock by default is one between processes, and a worker that is ended would leave it.
    tqdm.set_lock(threading.RLock())
    if one_core:
        # Several threads wait for each other, and waiting costs CPU time too.
        os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    start_keras()
