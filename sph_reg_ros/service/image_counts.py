"""Counters of received, refused and dropped images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of images.

    Attributes:
        received: taken in.
        dropped: of these, gave way to newer ones before their turn.
        lost: published and never taken in; see AutoSubscription.missing.
    """

    received: int = 0
    dropped: int = 0
    lost: int = 0

    def __add__(self, other: 'ImageCounts') -> 'ImageCounts':
        """Return the sums."""
        return ImageCounts(
            self.received + other.received, self.dropped + other.dropped, self.lost + other.lost
        )
