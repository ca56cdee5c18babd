"""What worker processes of this program have in common."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this worker end when its parent is killed; it would wait, or write, for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
