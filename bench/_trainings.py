"""Trainings one after the other, each of which goes on where it was stopped."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sph_reg_ros.cli.train import EXIT_STOPPED
from sph_reg_ros.cli.train_progress import summary_lines, training_bar
from sph_reg_ros.training.devices import launched
from sph_reg_ros.training.job import TrainingJob
from sph_reg_ros.training.loop import Training


def train(job: TrainingJob, folder: Path) -> None:
    """Train in a folder, or go on there; ends the program after Ctrl-C.

    Raises:
        ConfigError: the folder has a training with other settings.
    """
    print(f'\n{folder.name}: {job.kind}', flush=True)
    fabric = launched(job.config.run)
    with training_bar(shown=fabric.is_global_zero) as report:
        trained = Training(fabric, job, folder, report, resume=True).run()
    print('\n'.join(summary_lines(trained, folder)), flush=True)
    if not trained.is_complete:
        sys.exit(EXIT_STOPPED)


@contextmanager
def folder_or_none(folder: Path | None) -> Iterator[Path]:
    """Give the folder, or one for the time being if a program is only tried."""
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory() as name:
        print('no --output: only tried, nothing is kept')
        yield Path(name)
