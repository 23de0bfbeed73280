"""How many requests one link, and how many wrong links one address, may make."""

import threading
from collections import OrderedDict

MOST_KEYS = 10_000


class Limiter:
    """A bucket for each key that fills by `per_second` up to `burst`; each request takes one.

    Parameters
    ----------
    per_second
        Requests a second that go on for ever.
    burst
        Requests at once after a rest.

    Notes
    -----
    The least recent of more than `MOST_KEYS` keys are forgotten, so that no attacker fills the memory.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self._buckets: OrderedDict[object, tuple[float, float]] = OrderedDict()
        self._guard = threading.Lock()

    def allow(self, key: object, now: float) -> bool:
        """Take one from the bucket of `key` at `now` (monotonic seconds); False where it is empty."""
        with self._guard:
            level, since = self._buckets.pop(key, (self.burst, now))
            level = min(self.burst, level + max(0.0, now - since) * self.per_second)
            allowed = level >= 1
            self._buckets[key] = (level - 1 if allowed else level, now)
            if len(self._buckets) > MOST_KEYS:
                self._buckets.popitem(last=False)
            return allowed

    def __len__(self) -> int:
        return len(self._buckets)
