"""Counts lost messages by their publisher's sequence numbers."""

from typing import Any

# rmw_message_info_t: the middleware does not number its messages.
_UNSUPPORTED = 2**64 - 1


class SequenceGaps:
    """Counts what is missing between the messages of one publisher; not thread-safe.

    A queue that is full, or a network that loses messages, leaves no other trace.

    Attributes:
        missing: messages that never came.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.missing = 0
        self._last: int | None = None

    def note(self, info: dict[str, Any]) -> None:
        """Take the information that came with a message.

        Args:
            info: what rclpy gives beside a message; Humble's tells no number, and nothing is
                counted there.
        """
        number = info.get('publication_sequence_number', _UNSUPPORTED)
        if number == _UNSUPPORTED:
            return
        if self._last is not None:
            self.missing += max(0, number - self._last - 1)
        self._last = number

    def restart(self) -> None:
        """Begin to count anew with the next message: another publisher numbers as it likes."""
        self._last = None
