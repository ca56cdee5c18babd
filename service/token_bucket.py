"""A limit of how often something may happen."""

import math
import time


class TokenBucket:
    """Allows so many at once, and gains so many a second up to that.

    Both are named with every take, since the rate of a key may change while it is in use.
    """

    def __init__(self) -> None:
        self._left, self._then = math.inf, time.monotonic()

    def take(self, at_once: float, per_s: float) -> float:
        """Take one; return 0, or the seconds until there is one."""
        now = time.monotonic()
        left = min(at_once, self._left + (now - self._then) * per_s)
        taken = left >= 1
        self._left, self._then = left - taken, now
        return 0.0 if taken else (1 - left) / per_s
