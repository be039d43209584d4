"""The command sph-reg replay: its options, and what it prints."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sph_reg_ros.cli.exits import EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.cli.options import AssumeLps, CtPath, option
from sph_reg_ros.cli.progress import counted_bar

if TYPE_CHECKING:
    from sph_reg_ros.replay.bag_replay import ReplayJob
    from sph_reg_ros.replay.record import BagRecord


def replay_command(
    bags: Annotated[
        list[Path], typer.Argument(metavar='BAG', help='rosbag2 folders, sqlite3 or MCAP.')
    ],
    ct: CtPath,
    output: Annotated[
        Path,
        option('FOLDER', 'Folder for poses, metrics, report and results; a folder a bag in it.'),
    ],
    params: Annotated[
        Path | None,
        option('FILE', "The node's parameters, such as config/registration.yaml."),
    ] = None,
    param: Annotated[
        list[str] | None,
        option('NAME:=VALUE', 'One parameter of the node; can be repeated.'),
    ] = None,
    bodies: Annotated[
        Path | None,
        option('FILE', 'YAML list of what moves for itself (docs/bodies.md).'),
    ] = None,
    truth: Annotated[
        str,
        option(
            'TOPIC_OR_FILE',
            'True poses of the patient: a topic of the bag, or a TUM file (in the imager); of '
            'bodies: topics TOPIC/NAME.',
        ),
    ] = '',
    topic: Annotated[
        list[str] | None,
        option(
            'NAME:=TOPIC',
            'Topic for image, camera_info, imager_pose or initial_pose, where it is not found '
            'by its name.',
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        option(
            'NAME<=NUMBER',
            'Exit code 1 unless a figure of metrics.json keeps it, such as '
            'mtre_mm.median<=1.5 or verified_share>=0.9.',
        ),
    ] = None,
    assume_lps: AssumeLps = False,
    jobs: Annotated[
        int, typer.Option(metavar='N', help='Bags at a time, a process each.', min=1)
    ] = 1,
    ray: Annotated[
        str,
        option('ADDRESS', 'Replay on a Ray cluster; local starts one here.'),
    ] = '',
    rerun: Annotated[
        bool, typer.Option('--rerun', help='Write a recording for the rerun viewer, too.')
    ] = False,
    storage: Annotated[str, typer.Option(help='Of the new bag: mcap or sqlite3.')] = 'mcap',
    seed: Annotated[int, typer.Option(help='The same gives the same poses.')] = 0,
) -> None:
    """Register the images of bags as the live node would, and report on it.

    Needs no ROS. No image is skipped and none is too old, however long a registration takes.
    Exit code 0 if every bag was replayed, an image of each registered and every limit kept, 1 if
    not, 2 on an error.
    """
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.errors import require_setting
    from sph_reg_ros.replay.bag_replay import ReplayJob
    from sph_reg_ros.replay.bag_topics import named_topics
    from sph_reg_ros.replay.bag_writer import STORAGES
    from sph_reg_ros.replay.limits import all_met, parse_limit
    from sph_reg_ros.replay.outputs import require_unused, write_summary
    from sph_reg_ros.replay.params_file import read_parameters
    from sph_reg_ros.replay.recording import rerun_module, write_recording
    from sph_reg_ros.replay.table import limit_lines

    with reported_errors():
        limits = [parse_limit(text) for text in limit or ()]
        require_setting(storage in STORAGES, f'--storage must be one of {", ".join(STORAGES)}')
        given = {'ct.path': str(ct.resolve())} | ({'ct.assume_lps': True} if assume_lps else {})
        given |= {} if bodies is None else {'bodies.path': str(bodies.resolve())}
        parameters = read_parameters(params, param or (), given)
        first = ReplayJob(
            bags[0], output, parameters, truth, named_topics(topic or ()), storage, seed
        )
        todo = [
            replace(first, bag=bag.resolve(), output=folder.resolve())
            for bag, folder in zip(bags, _folders(bags, output), strict=True)
        ]
        # Before hours of work, not after them.
        for folder in {output.resolve(), *(job.output for job in todo)}:
            require_unused(folder)
        if rerun:
            rerun_module()
        records = _records(todo, jobs, ray)
        pairs = [(record, job.output) for record, job in zip(records, todo, strict=True)]
        files = write_summary(pairs, limits, parameters, output)
    for line in [*_lines(records), *limit_lines(limits, records)]:
        typer.echo(line)
    for path in files:
        typer.echo(f'wrote {path}')
    if rerun:
        # Last: a recording that fails must not take the report with it.
        with reported_errors():
            for record, job in zip(records, todo, strict=True):
                if not record.failure:
                    typer.echo(f'wrote {write_recording(record, job)}')
    if not all_met(limits, records):
        raise typer.Exit(EXIT_NOT_USABLE)


def _folders(bags: list[Path], output: Path) -> list[Path]:
    """Return where each bag's files go: the folder itself for one bag, else folders in it."""
    if len(bags) == 1:
        return [output]
    names = [bag.resolve().stem for bag in bags]
    return [
        output / (name if names.count(name) == 1 else f'{name}_{number}')
        for number, name in enumerate(names, 1)
    ]


def _records(todo: 'list[ReplayJob]', processes: int, ray: str) -> 'list[BagRecord]':
    from sph_reg_ros.replay.bag_replay import replay
    from sph_reg_ros.replay.batch import replay_all
    from sph_reg_ros.replay.cluster import replay_on_cluster

    if ray:
        with counted_bar('bags') as report:
            return replay_on_cluster(todo, ray, report)
    if len(todo) == 1:
        with counted_bar('images') as report:
            return [replay(todo[0], report)]
    with counted_bar('bags') as report:
        return replay_all(todo, processes, report)


def _lines(records: 'list[BagRecord]') -> list[str]:
    from sph_reg_ros.replay.table import summary_line, table_lines

    lines = [line for record in records for line in table_lines(record)]
    return lines if len(records) == 1 else [*lines, f'{len(records)} bags: {summary_line(records)}']
