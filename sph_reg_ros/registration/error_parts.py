"""The size of an error, across the beam and along it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from enum import IntEnum


class VerdictFor(IntEnum):
    """What a verdict is for; the numbers are those of msg/RegistrationResult.msg."""

    POSE = 0
    ACROSS_BEAM = 1
    ALONG_BEAM = 2


@dataclass(frozen=True)
class ErrorParts:
    """The size (mm) of an error at the targets, and of its parts.

    Attributes:
        total_mm: all of it.
        across_mm: its part across the beam, both directions together.
        along_mm: its part along it.
    """

    total_mm: float
    across_mm: float
    along_mm: float

    @classmethod
    def all_of(cls, size_mm: float) -> 'ErrorParts':
        """Return the same size for each."""
        return cls(size_mm, size_mm, size_mm)

    @classmethod
    def combined(
        cls, how: Callable[[list[float]], float], parts: Iterable['ErrorParts']
    ) -> 'ErrorParts':
        """Return what becomes of several errors, each part by itself."""
        return cls(*(how(list(sizes)) for sizes in zip(*map(astuple, parts), strict=True)))

    @classmethod
    def together(cls, parts: Iterable['ErrorParts']) -> 'ErrorParts':
        """Return the size of several errors that are independent of each other."""
        return cls.combined(lambda sizes: math.hypot(*sizes), parts)

    def scaled(self, factor: float) -> 'ErrorParts':
        """Return so many times each."""
        return ErrorParts(*(factor * size for size in astuple(self)))

    def asked(self, what: VerdictFor) -> float:
        """Return the size of what a verdict is for."""
        return (self.total_mm, self.across_mm, self.along_mm)[what]


UNKNOWN_ERROR = ErrorParts.all_of(math.nan)
