"""Progress on the terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Union

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from sph_reg_ros.registration.result import Progress as State

Report = Callable[[Union['State', str]], None]
CountReport = Callable[[int, int], None]


@contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Report]:
    """Show what is reported on stderr if that is a terminal, and clear it at the end.

    Yields a function that takes the state of a registration, or the name of a step before it. The
    end of an optimisation is not known before, so the bar only shows that it moves.

    Args:
        console: where to show it instead, terminal or not.
    """
    if console is None and not sys.stderr.isatty():
        yield lambda state: None
        return
    console = console or Console(stderr=True)
    columns = (TextColumn('{task.description}'), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('', total=None)
        yield lambda state: bar.update(task, description=text_of(state))


@contextmanager
def counted_bar(name: str, console: Console | None = None) -> Iterator[CountReport]:
    """Show how many things are done and how long the others will take, as `progress_bar` does.

    Yields a function that takes how many are done and how many there are.

    Args:
        name: of the things.
        console: where to show it instead, terminal or not.
    """
    if console is None and not sys.stderr.isatty():
        yield lambda done, of: None
        return
    console = console or Console(stderr=True)
    columns = (
        TextColumn(name),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn('left'),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('', total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def text_of(state: 'State | str') -> str:
    """Return one line about a step."""
    if isinstance(state, str):
        return state
    return f'{state.stage}  iteration {state.iteration}  similarity {1 - state.loss:.4f}'
