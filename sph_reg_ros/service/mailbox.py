"""One-place mailbox: the newest item replaces one that waits."""

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """Hand-over between threads that keeps only the newest item and counts the lost ones."""

    def __init__(self) -> None:
        """Start empty."""
        self._condition = Condition()
        self._item: T | None = None
        self._dropped = 0
        self._woken = False

    @property
    def dropped(self) -> int:
        """Return how many items were replaced before they were taken."""
        with self._condition:
            return self._dropped

    @property
    def full(self) -> bool:
        """Return whether an item lies here."""
        with self._condition:
            return self._item is not None

    def put(self, item: T) -> None:
        """Leave an item; one that still lies here is dropped."""
        with self._condition:
            if self._item is not None:
                self._dropped += 1
            self._item = item
            self._condition.notify()

    def take(self, timeout_s: float) -> T | None:
        """Wait for an item and take it; None if none came in time, or after `wake`."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._woken, timeout_s)
            item, self._item, self._woken = self._item, None, False
            return item

    def wake(self) -> None:
        """End the wait of a consumer without giving it anything."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def clear(self) -> None:
        """Throw the waiting item away, without counting it."""
        with self._condition:
            self._item = None
