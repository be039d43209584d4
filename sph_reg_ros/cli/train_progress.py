"""Progress of `sph-reg train`: steps, speed, losses."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from sph_reg_ros.training.progress import Trained, TrainingProgress

Report = Callable[['TrainingProgress'], None]
LINE_EVERY_S = 30.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def training_bar(shown: bool = True, console: Console | None = None) -> Iterator[Report]:
    """Show what is reported on stderr: a bar on a terminal, else a line now and then.

    Args:
        shown: False shows nothing.
        console: where to show it instead.
    """
    console = console or Console(stderr=True)
    if not shown:
        yield lambda progress: None
    elif not console.is_terminal:
        yield _line_by_line()
    else:
        columns = (BarColumn(bar_width=24), TextColumn('{task.description}'))
        with Bar(*columns, console=console) as bar:
            task = bar.add_task('the first steps', total=None)
            yield lambda progress: bar.update(
                task, completed=progress.step, total=progress.steps, description=text_of(progress)
            )


def text_of(progress: 'TrainingProgress') -> str:
    """Return one line about a training."""
    parts = [
        f'step {progress.step}/{progress.steps}',
        f'{duration(progress.seconds_left)} left',
        f'{progress.images_per_s:.3g} images/s',
        figures(progress.losses),
    ]
    if progress.accuracy:
        parts.append(figures(progress.accuracy))
    busy = {name: 1e3 * seconds for name, seconds in progress.seconds_a_step.items()}
    return '  '.join([*parts, f'({figures(busy)} ms)'])


def summary_lines(trained: 'Trained', folder: Path) -> list[str]:
    """Return the summary of a training."""
    if not trained.is_complete:
        return [f'stopped after step {trained.step} of {trained.steps}: --resume goes on']
    return [
        f'done: {trained.steps} steps, weights in {folder / "weights"}',
        f'on held-out X-rays: {figures(trained.accuracy)}',
    ]


def figures(values: Mapping[str, float]) -> str:
    """Return names and numbers."""
    return ', '.join(f'{name} {value:.3g}' for name, value in values.items())


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f'{hours}:{minute:02}:{second:02}'


def _line_by_line() -> Report:
    last = -LINE_EVERY_S

    def report(progress: 'TrainingProgress') -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S or progress.step == progress.steps:
            last = time.monotonic()
            typer.echo(text_of(progress), file=sys.stderr)

    return report
