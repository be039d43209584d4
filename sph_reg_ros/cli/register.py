"""The command sph-reg register: its options, and what it prints."""

from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.exits import EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.registration.choices import METHODS, SIMILARITIES
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.rendering.backends import BACKENDS


def register_command(
    ct: Annotated[Path, typer.Option(help='DICOM series folder, NIfTI, NRRD, MHA or MHD.')],
    xray: Annotated[
        list[Path],
        typer.Option(help='DICOM XA, RF or DX, PNG, TIFF, NumPy .npy; again for each view.'),
    ],
    camera: Annotated[
        list[Path] | None,
        typer.Option(
            help='ROS camera_info YAML of the X-ray; fixed_from_camera (4 x 4, mm) in it for '
            'several views; again for each --xray, in the same order.'
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(
            '--initial',
            '--initial-pose',
            help='YAML or JSON with camera_from_ct (of the first view) or fixed_from_ct (4 x 4, '
            'mm, CT in LPS), such as registration.json; the C-arm angles if absent, and without '
            'them the networks.',
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help=f'{", ".join(METHODS)}. spherical: networks give the start; without any for this '
            'CT and this imager, or if the pose fails the checks, image: a search around the '
            'initial pose.'
        ),
    ] = RegistrationConfig.method,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar='FOLDER',
            help='Networks of your own: NAME/regressor and NAME/similarity with the weights that '
            'sph-reg train writes. Those that come with the software are found without it.',
        ),
    ] = None,
    similarity: Annotated[
        str, typer.Option(help=f'What is compared: {", ".join(SIMILARITIES)}.')
    ] = RegistrationConfig.similarity,
    output: Annotated[
        Path | None, typer.Option(help='Folder for registration.json and overlays.')
    ] = None,
    as_json: Annotated[
        bool, typer.Option('--json', help='Print the result as JSON and nothing else.')
    ] = False,
    angles: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar='PRIMARY SECONDARY',
            help='C-arm angles in degrees, + = LAO, + = cranial; of the DICOM file if absent.',
        ),
    ] = None,
    sod: Annotated[
        float | None, typer.Option(metavar='MM', help='Source to isocentre; goes with --angles.')
    ] = None,
    isocentre: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            metavar='X Y Z',
            help='Isocentre in CT coordinates (LPS, mm); the centre of the CT if absent.',
        ),
    ] = None,
    sdd: Annotated[
        float | None,
        typer.Option(metavar='MM', help='Source to detector, where there is no --camera.'),
    ] = None,
    pixel_pitch: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar='ROW COLUMN', help='Spacing of rows and of columns on the detector in mm.'
        ),
    ] = None,
    principal_point: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar='COLUMN ROW',
            help='Pixel of the central ray; the middle of the image if absent.',
        ),
    ] = None,
    series: Annotated[str | None, typer.Option(help='SeriesInstanceUID of the CT.')] = None,
    frame: Annotated[int, typer.Option(help='Frame of a multi-frame X-ray, from 0.')] = 0,
    energy: Annotated[
        float, typer.Option(metavar='KEV', help='Effective energy of the X-ray, 30 to 150.')
    ] = 60.0,
    intensity: Annotated[
        str | None,
        typer.Option(
            help='beer_lambert, log_compressed or line_integral; what a DICOM file says, or '
            'beer_lambert (detector counts), if absent.'
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option(help=f'{", ".join(BACKENDS)}.')
    ] = RegistrationConfig.backend,
    other_patient: Annotated[
        bool,
        typer.Option(
            '--other-patient', help='Accept a CT and an X-ray with different patient IDs.'
        ),
    ] = False,
) -> None:
    """Register one or several X-rays of one moment.

    Exit code 0 only if the registration converged and passed every check, 1 if it did not, 2 on an
    error.
    """
    # Imported by need: torch takes seconds.
    from sph_reg_ros.cli.job import Job, run_job
    from sph_reg_ros.cli.progress import progress_bar
    from sph_reg_ros.cli.start import StartOptions
    from sph_reg_ros.cli.summary import summary_lines
    from sph_reg_ros.cli.xray_views import BeamOptions
    from sph_reg_ros.registration.result import Verdict

    with reported_errors(as_json), progress_bar() as report:
        job = Job(
            ct_path=ct,
            xray_paths=tuple(xray),
            series_uid=series,
            energy_kev=energy,
            frame=frame,
            intensity=intensity,
            beam=BeamOptions(tuple(camera or ()), sdd, pixel_pitch, principal_point),
            start=StartOptions(initial, angles, sod, isocentre),
            weights=weights,
            accept_other_patient=other_patient,
            config=RegistrationConfig(method=method, similarity=similarity, backend=backend),
        )
        outcome = run_job(job, report)
        files = () if output is None else outcome.write(output)
    for line in [outcome.json_text()] if as_json else summary_lines(outcome, files):
        typer.echo(line)
    if outcome.result.verdict != Verdict.VERIFIED:
        raise typer.Exit(EXIT_NOT_USABLE)
