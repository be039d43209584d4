"""Commands of sph-reg; each is a few calls of the library."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.check import check_lines
from sph_reg_ros.cli.ct_info import ct_info_lines
from sph_reg_ros.cli.job import BeamOptions, Job, StartOptions, run_job
from sph_reg_ros.cli.summary import summary_lines
from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.result import Verdict

EXIT_NOT_USABLE = 1
EXIT_ERROR = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help='Registers a CT to C-arm X-rays. Research use only, not a medical device.',
)


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an error that the user can act on into a message on stderr and exit code 2."""
    try:
        yield
    except (RegistrationError, OSError) as error:
        typer.echo(f'error: {error}', err=True)
        raise typer.Exit(EXIT_ERROR) from None


@app.command()
def check(
    ct: Annotated[Path | None, typer.Option(help='CT to read; the sample CT if absent.')] = None,
) -> None:
    """Show on one screen what is installed and works; exit code 1 if something is broken."""
    lines = check_lines(ct)
    for line in lines:
        typer.echo(str(line))
    if any(line.is_broken for line in lines):
        raise typer.Exit(EXIT_NOT_USABLE)


@app.command('ct-info')
def ct_info(
    path: Annotated[Path, typer.Argument(help='DICOM series folder, NIfTI, NRRD, MHA or MHD.')],
    series: Annotated[str | None, typer.Option(help='SeriesInstanceUID to describe.')] = None,
) -> None:
    """List the series of a folder, and print the geometry of the one that is meant."""
    with reported_errors():
        for line in ct_info_lines(path, series):
            typer.echo(line)


@app.command('register')
def register_command(
    ct: Annotated[Path, typer.Option(help='DICOM series folder, NIfTI, NRRD, MHA or MHD.')],
    xray: Annotated[Path, typer.Option(help='DICOM XA, RF or DX, PNG, TIFF.')],
    output: Annotated[Path, typer.Option(help='Folder for registration.json and overlay.png.')],
    initial_pose: Annotated[
        Path | None,
        typer.Option(
            help='JSON with camera_from_ct (4 x 4, mm, CT in LPS), such as registration.json; '
            'the C-arm angles if absent.'
        ),
    ] = None,
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
        float | None, typer.Option(metavar='MM', help='Source to detector; for PNG and TIFF.')
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
            help='beer_lambert, log_compressed or line_integral; what the file says if absent.'
        ),
    ] = None,
    backend: Annotated[str, typer.Option(help='auto, numba or torch.')] = 'auto',
    other_patient: Annotated[
        bool,
        typer.Option(
            '--other-patient', help='Accept a CT and an X-ray with different patient IDs.'
        ),
    ] = False,
) -> None:
    """Register one X-ray; exit code 1 if the result failed a check, 2 on an error."""
    with reported_errors():
        job = Job(
            ct_path=ct,
            series_uid=series,
            energy_kev=energy,
            xray_path=xray,
            frame=frame,
            intensity=intensity,
            beam=BeamOptions(sdd, pixel_pitch, principal_point),
            start=StartOptions(initial_pose, angles, sod, isocentre),
            accept_other_patient=other_patient,
            config=RegistrationConfig(backend=backend),
        )
        outcome = run_job(job)
        files = outcome.write(output)
    for line in summary_lines(outcome, files):
        typer.echo(line)
    if outcome.result.verdict != Verdict.VERIFIED:
        raise typer.Exit(EXIT_NOT_USABLE)
