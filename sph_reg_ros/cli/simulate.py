"""The command sph-reg simulate: a bag of a simulated C-arm."""

from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.cli.exits import reported_errors
from sph_reg_ros.cli.options import AssumeLps, CtPath, SeriesUid, option
from sph_reg_ros.cli.progress import counted_bar


def simulate_command(
    ct: CtPath,
    output: Annotated[Path, option('FOLDER', 'The bag: a folder that is not there yet.')],
    images: Annotated[int, option('N', 'Images of the orbit.')] = 10,
    angled: Annotated[int, option('N', 'Angled views after it.')] = 4,
    size: Annotated[int, option('PX', 'Rows and columns of an image.')] = 256,
    detector: Annotated[float, option('MM', 'Side of the detector.')] = 358.4,
    rate: Annotated[float, option('HZ', 'Images per second.')] = 1.0,
    dropped: Annotated[float, option('SHARE', 'Share of images that do not arrive.')] = 0.1,
    instrument: Annotated[
        bool, typer.Option(help='A needle in the beam in the second half of the run.')
    ] = True,
    display: Annotated[
        str,
        option(
            'NAME',
            'What the images are: detector (counts), or 8 bit as a display shows them: export, '
            'window, edges, round, inverted, workstation.',
        ),
    ] = 'detector',
    encoder_mm: Annotated[float, option('MM', 'Largest error of a reported position.')] = 10.0,
    encoder_deg: Annotated[float, option('DEG', 'Largest error of a reported orientation.')] = 5.0,
    storage: Annotated[str, option('NAME', 'mcap or sqlite3.')] = 'mcap',
    bodies: Annotated[
        Path | None,
        option(
            'FILE',
            'YAML list of bodies (docs/bodies.md): each swings from image to image by its prior; '
            'true poses on /ground_truth/NAME.',
        ),
    ] = None,
    series: SeriesUid = None,
    assume_lps: AssumeLps = False,
    seed: Annotated[int, option('N', 'The same gives the same bag.')] = 0,
) -> None:
    """Make a bag of a simulated C-arm, with the true poses on /ground_truth.

    The C-arm orbits the patient and takes angled views; it moves between the images, its encoders
    are wrong, some images do not arrive, and an instrument lies in the beam.
    """
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.errors import require_setting
    from sph_reg_ros.evaluation.carm import CArmGeometry, EncoderError, Orbit
    from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
    from sph_reg_ros.imaging.load_bodies import load_bodies
    from sph_reg_ros.replay.bag_writer import STORAGES
    from sph_reg_ros.replay.simulated_run import IMAGE_KINDS, Rehearsal, Tour, simulate_bag

    with reported_errors():
        require_setting(storage in STORAGES, f'--storage must be one of {", ".join(STORAGES)}')
        require_setting(
            display in IMAGE_KINDS, f'--display must be one of {", ".join(IMAGE_KINDS)}'
        )
        rehearsal = Rehearsal(
            tour=Tour(Orbit(steps=images), angled),
            geometry=CArmGeometry(height=size, width=size, pixel_pitch_mm=detector / size),
            encoder_error=EncoderError(encoder_mm, encoder_deg),
            rate_hz=rate,
            dropped_share=dropped,
            instrument=instrument,
            display=display,
            seed=seed,
        )
        with counted_bar('images') as report:
            volume = read_ct(ct, series, assume_lps=assume_lps)
            moving = None
            if bodies is not None:
                moving = load_bodies(bodies, attenuation_from_hounsfield(volume))
            taken = simulate_bag(volume, rehearsal, output, storage, report, moving)
    lost = images + angled - taken
    typer.echo(f'{output}: {taken} images' + (f', {lost} were dropped' if lost else ''))
