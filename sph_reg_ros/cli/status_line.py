"""One finding of `sph-reg check`."""

from dataclasses import dataclass
from enum import Enum

NAME_WIDTH = 14


class Status(Enum):
    """Outcome of a check, as it is shown."""

    FINE = ' ok '
    NOTE = ' -  '
    BROKEN = 'FAIL'


@dataclass(frozen=True)
class StatusLine:
    """What was checked, whether it works, and what was found or what to do."""

    name: str
    status: Status
    text: str

    @property
    def is_broken(self) -> bool:
        """Return whether something that is needed does not work."""
        return self.status is Status.BROKEN

    def __str__(self) -> str:
        """Return the line as it is shown."""
        return f'[{self.status.value}] {self.name:<{NAME_WIDTH}} {self.text}'


def fine(name: str, text: str) -> StatusLine:
    """Return a finding that works."""
    return StatusLine(name, Status.FINE, text)


def note(name: str, text: str) -> StatusLine:
    """Return something optional that is absent."""
    return StatusLine(name, Status.NOTE, text)


def broken(name: str, text: str) -> StatusLine:
    """Return something that is needed and does not work."""
    return StatusLine(name, Status.BROKEN, text)
