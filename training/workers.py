"""What worker processes of this program have in common.

A spawned process imports the module of its first function; importing this one starts no Keras.
"""

import multiprocessing
import os
import threading

from training.quiet import start_keras


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
    if one_core:
        # Several threads wait for each other, and waiting costs CPU time too.
        os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    start_keras()
