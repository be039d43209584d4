"""The command sph-reg train: a network from CTs and a file of settings."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.cli.exits import reported_errors
from sph_reg_ros.cli.options import AssumeLps, option
from sph_reg_ros.cli.train_progress import summary_lines, training_bar

EXIT_STOPPED = 130
"""As shells say that a program was ended by Ctrl-C."""


def train_command(
    network: Annotated[str, typer.Argument(metavar='NETWORK', help='regressor or similarity.')],
    ct: Annotated[
        list[Path],
        option(
            'PATH',
            'DICOM series folder, NIfTI, NRRD, MHA or MHD; again for each CT. Weights of one '
            'CT serve that patient only.',
        ),
    ],
    config: Annotated[Path, option('FILE', 'Settings, such as config/train_quick.yaml.')],
    output: Annotated[
        Path,
        option('FOLDER', 'Folder for checkpoint, log and weights of this network.'),
    ],
    start: Annotated[
        Path | None,
        option(
            'FOLDER',
            'Folder with weights of a regressor of this CT to begin with: a similarity takes '
            'its filters (with the trunk resnet in its settings), a regressor all of it.',
        ),
    ] = None,
    licence: Annotated[
        str,
        option('TEXT', 'Of the weights, for their card; the settings have it otherwise.'),
    ] = '',
    description: Annotated[
        str, option('TEXT', 'For the card of the weights, as the licence.')
    ] = '',
    assume_lps: AssumeLps = False,
    resume: Annotated[
        bool, typer.Option('--resume', help='Go on with the training in the folder, if any.')
    ] = False,
) -> None:
    """Train a network on X-rays that are made of CTs while it learns.

    Ctrl-C ends it after a checkpoint; --resume goes on from there, after a kill from the last one.
    Exit code 0 if the training is complete, 130 if it was stopped, 2 on an error.
    """
    # Imported lazily: it takes seconds, and other commands need none of it.
    from sph_reg_ros.training.config_file import read_config
    from sph_reg_ros.training.devices import launched
    from sph_reg_ros.training.job import TrainingJob, regressor_from
    from sph_reg_ros.training.loop import Training

    with reported_errors():
        settings = read_config(config)
        settings = replace(
            settings,
            licence=licence or settings.licence,
            description=description or settings.description,
        )
        begun = (None, '') if start is None else regressor_from(start)
        job = TrainingJob(
            network, tuple(read_ct(path, assume_lps=assume_lps) for path in ct), settings, *begun
        )
        fabric = launched(settings.run)
        with training_bar(shown=fabric.is_global_zero) as report:
            trained = Training(fabric, job, output, report, resume).run()
    if fabric.is_global_zero:
        for line in summary_lines(trained, output):
            typer.echo(line)
    if not trained.is_complete:
        raise typer.Exit(EXIT_STOPPED)
