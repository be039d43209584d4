"""The command sph-reg render: an X-ray out of a CT."""

from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.exits import reported_errors
from sph_reg_ros.cli.options import AssumeLps, CtPath, Energy, SeriesUid, option

CAMERA, VIEW = 'Camera (default: a usual C-arm)', 'Where it looks from (default: the front)'


def render_command(
    ct: CtPath,
    output: Annotated[
        Path,
        option(
            'FILE',
            '.dcm: detector counts with camera and C-arm angles, as a C-arm writes them; '
            '.png: detector counts, 16 bit; .tif or .npy: line integrals, float32.',
        ),
    ],
    inverted: Annotated[
        bool, typer.Option('--inverted', help='Bone bright, air dark; for .png and .dcm.')
    ] = False,
    series: SeriesUid = None,
    assume_lps: AssumeLps = False,
    energy: Energy = 60.0,
    camera: Annotated[
        Path | None,
        option('FILE', 'ROS camera_info YAML; not for .dcm, which needs the distances.', CAMERA),
    ] = None,
    sdd: Annotated[
        float | None,
        option('MM', 'Source to detector.', CAMERA),
    ] = None,
    pixel_pitch: Annotated[
        tuple[float, float] | None,
        option('ROW COLUMN', 'Spacing of rows and of columns on the detector in mm.', CAMERA),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        option('ROWS COLUMNS', 'Of the image, in pixels.', CAMERA),
    ] = None,
    principal_point: Annotated[
        tuple[float, float] | None,
        option(
            'COLUMN ROW', 'Pixel of the central ray. If absent: the middle of the image.', CAMERA
        ),
    ] = None,
    pose: Annotated[
        Path | None,
        option(
            'FILE',
            'Pose of the CT in the camera, as sph-reg register takes it: registration.json, '
            'YAML, plain text, ct_to_imager.tfm.',
            VIEW,
            '--pose',
            '--initial',
        ),
    ] = None,
    angles: Annotated[
        tuple[float, float] | None,
        option('PRIMARY SECONDARY', 'C-arm angles in degrees, + = LAO, + = cranial.', VIEW),
    ] = None,
    sod: Annotated[
        float | None,
        option('MM', 'Source to isocentre.', VIEW),
    ] = None,
    isocentre: Annotated[
        tuple[float, float, float] | None,
        option(
            'X Y Z', 'Isocentre in CT coordinates (LPS, mm). If absent: the middle of the CT.', VIEW
        ),
    ] = None,
) -> None:
    """Render an X-ray of a CT, without noise and scatter, and print how to register it.

    Exit code 0, or 2 on an error.
    """
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.cli.progress import progress_bar
    from sph_reg_ros.cli.rendering import RenderJob, render_to_file
    from sph_reg_ros.cli.start import StartOptions
    from sph_reg_ros.cli.xray_views import BeamOptions

    with reported_errors(), progress_bar() as report:
        cameras = () if camera is None else (camera,)
        job = RenderJob(
            ct_path=ct,
            output=output,
            series_uid=series,
            assume_lps=assume_lps,
            energy_kev=energy,
            size=size,
            inverted=inverted,
            beam=BeamOptions(cameras, sdd, pixel_pitch, principal_point),
            pose=StartOptions(pose, angles, sod, isocentre),
        )
        rendered = render_to_file(job, report)
    for line in rendered.lines():
        typer.echo(line)
