"""The command sph-reg register: its options, and what it prints."""

from pathlib import Path
from typing import Annotated

import typer

from sph_reg_ros.cli.exits import EXIT_NOT_USABLE, reported_errors
from sph_reg_ros.cli.options import CT_HELP, AssumeLps, Energy, SeriesUid, option
from sph_reg_ros.cli.settings import PANEL, read_settings, setting

CAMERA, START = 'Camera of the X-ray', 'Where to start'


def register_command(
    xray: Annotated[
        list[Path],
        option(
            'FILE', 'DICOM XA, RF or DX, PNG, TIFF, JPEG, BMP, NumPy .npy; again for each view.'
        ),
    ],
    ct: Annotated[
        Path | None,
        option('PATH', f'{CT_HELP} Not needed with --bodies of meshes alone, and --initial.'),
    ] = None,
    output: Annotated[
        Path | None,
        option('FOLDER', 'For registration.json and a picture of each X-ray with the CT.'),
    ] = None,
    as_json: Annotated[
        bool, typer.Option('--json', help='Print the result as JSON and nothing else.')
    ] = False,
    bodies: Annotated[
        Path | None,
        option(
            'FILE',
            'YAML list of what moves for itself, such as vertebrae and implants: docs/bodies.md.',
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        option('FILE', 'Label map of the CT, such as TotalSegmentator writes, for --target.'),
    ] = None,
    series: SeriesUid = None,
    assume_lps: AssumeLps = False,
    frame: Annotated[int, option('N', 'Frame or page of an X-ray with several, from 0.')] = 0,
    energy: Energy = 60.0,
    intensity: Annotated[
        str | None,
        option(
            'MEANING',
            'What a pixel value means: beer_lambert (detector counts), log_compressed or '
            'line_integral. If absent: what a DICOM file says, else beer_lambert.',
        ),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option(
            help='Whether the picture is a negative: its air is dark (of a DICOM file: the '
            'opposite of what the file says). If absent: found out by the CT.',
        ),
    ] = None,
    flip: Annotated[
        str | None,
        option(
            'WAY',
            'The picture is mirrored against what the camera describes: horizontal (left and '
            'right), vertical or both. It is mirrored back first; camera and overlay are of that.',
        ),
    ] = None,
    other_patient: Annotated[
        bool,
        typer.Option(
            '--other-patient', help='Accept a CT and an X-ray with different patient IDs.'
        ),
    ] = False,
    camera: Annotated[
        list[Path] | None,
        option(
            'FILE',
            'ROS camera_info YAML of the X-ray; fixed_from_camera (4 x 4, mm) in it for '
            'several views; again for each --xray, in the same order.',
            CAMERA,
        ),
    ] = None,
    sdd: Annotated[
        float | None,
        option('MM', 'Source to detector; of the DICOM file if absent.', CAMERA),
    ] = None,
    pixel_pitch: Annotated[
        tuple[float, float] | None,
        option(
            'ROW COLUMN',
            'Spacing of rows and of columns on the detector; of the DICOM file if absent.',
            CAMERA,
        ),
    ] = None,
    principal_point: Annotated[
        tuple[float, float] | None,
        option(
            'COLUMN ROW', 'Pixel of the central ray. If absent: the middle of the image.', CAMERA
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        option(
            'FILE',
            'YAML or JSON with camera_from_ct (of the first view) or fixed_from_ct (4 x 4, '
            'mm, CT in LPS), such as registration.json; or camera_from_ct as plain text, 4 rows '
            'of 4 numbers; or ct_to_imager.tfm.',
            START,
            '--initial',
            '--initial-pose',
        ),
    ] = None,
    landmarks: Annotated[
        Path | None,
        option(
            'FILE',
            'At least 4 points of the CT and their pixels in the first X-ray, as CSV: NAME, '
            'X, Y, Z (LPS, mm), COLUMN, ROW. YAML, JSON and .mrk.json of 3D Slicer: see '
            'docs/conventions.md.',
            START,
        ),
    ] = None,
    angles: Annotated[
        tuple[float, float] | None,
        option(
            'PRIMARY SECONDARY',
            'C-arm angles in degrees, + = LAO, + = cranial. If absent: those of the DICOM file.',
            START,
        ),
    ] = None,
    sod: Annotated[
        float | None,
        option('MM', 'Source to isocentre; of the DICOM file if absent.', START),
    ] = None,
    isocentre: Annotated[
        tuple[float, float, float] | None,
        option(
            'X Y Z',
            'Isocentre in CT coordinates (LPS, mm). If absent: the middle of the CT.',
            START,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        option(
            'FOLDER',
            'Networks of your own: NAME/regressor and NAME/similarity with the weights that '
            'sph-reg train writes. Those that come with the software are found without it.',
            START,
        ),
    ] = None,
    method: Annotated[str | None, setting('method', 'NAME', START)] = None,
    config: Annotated[
        Path | None,
        option(
            'FILE',
            'YAML with these settings by name (max_tre_mm: 2.0), and max_iterations, '
            "max_rotation_step_rad, max_translation_step_mm; or the node's parameter file, of "
            'which the section registration counts. Options take precedence.',
            PANEL,
        ),
    ] = None,
    search_rotation_rad: Annotated[float | None, setting('search_rotation_rad', 'RAD')] = None,
    search_in_plane_mm: Annotated[float | None, setting('search_in_plane_mm', 'MM')] = None,
    search_depth_mm: Annotated[float | None, setting('search_depth_mm', 'MM')] = None,
    search_distance_mm: Annotated[float | None, setting('search_distance_mm', 'MM')] = None,
    starts: Annotated[int | None, setting('starts', 'N')] = None,
    levels: Annotated[str | None, setting('levels', 'PX,PX,...')] = None,
    max_tre_mm: Annotated[float | None, setting('max_tre_mm', 'MM')] = None,
    max_tre_across_mm: Annotated[float | None, setting('max_tre_across_mm', 'MM')] = None,
    max_tre_along_mm: Annotated[float | None, setting('max_tre_along_mm', 'MM')] = None,
    calibration: Annotated[str | None, setting('calibration', 'NAME')] = None,
    target: Annotated[str | None, setting('target', 'NAME')] = None,
    target_motion_mm: Annotated[float | None, setting('target_motion_mm', 'MM')] = None,
    max_primary_deg: Annotated[float | None, setting('max_primary_deg', 'DEG')] = None,
    max_secondary_deg: Annotated[float | None, setting('max_secondary_deg', 'DEG')] = None,
    focal_length_sd: Annotated[float | None, setting('focal_length_sd', 'SHARE')] = None,
    principal_point_sd: Annotated[float | None, setting('principal_point_sd', 'SHARE')] = None,
    aspect_sd: Annotated[float | None, setting('aspect_sd', 'SHARE')] = None,
    skew_sd: Annotated[float | None, setting('skew_sd', 'SHARE')] = None,
    distortion_sd: Annotated[float | None, setting('distortion_sd', 'SHARE')] = None,
    similarity: Annotated[str | None, setting('similarity', 'NAME')] = None,
    robust_kernel: Annotated[str | None, setting('robust_kernel', 'NAME')] = None,
    backend: Annotated[str | None, setting('backend', 'NAME')] = None,
    device: Annotated[str | None, setting('device', 'NAME')] = None,
    timeout: Annotated[float | None, setting('timeout', 'S')] = None,
) -> None:
    """Register one or several X-rays of one moment.

    Exit code 0 only if the registration converged and passed every check, that of every body, too,
    1 if it did not, 2 on an error.
    """
    # Imported lazily: torch takes seconds.
    from sph_reg_ros.cli.file_registration import RegisterJob, register_files
    from sph_reg_ros.cli.progress import progress_bar
    from sph_reg_ros.cli.start import StartOptions
    from sph_reg_ros.cli.summary import summary_lines
    from sph_reg_ros.cli.xray_views import BeamOptions

    with reported_errors(as_json), progress_bar() as report:
        job = RegisterJob(
            ct_path=ct,
            xray_paths=tuple(xray),
            bodies_path=bodies,
            labels_path=labels,
            series_uid=series,
            assume_lps=assume_lps,
            energy_kev=energy,
            frame=frame,
            intensity=intensity,
            inverted=invert,
            flip=flip,
            beam=BeamOptions(tuple(camera or ()), sdd, pixel_pitch, principal_point),
            start=StartOptions(initial, angles, sod, isocentre, landmarks),
            weights=weights,
            accept_other_patient=other_patient,
            settings=read_settings(
                config,
                {
                    'method': method,
                    'search_rotation_rad': search_rotation_rad,
                    'search_in_plane_mm': search_in_plane_mm,
                    'search_depth_mm': search_depth_mm,
                    'search_distance_mm': search_distance_mm,
                    'starts': starts,
                    'levels': levels,
                    'max_tre_mm': max_tre_mm,
                    'max_tre_across_mm': max_tre_across_mm,
                    'max_tre_along_mm': max_tre_along_mm,
                    'calibration': calibration,
                    'target': target,
                    'target_motion_mm': target_motion_mm,
                    'max_primary_deg': max_primary_deg,
                    'max_secondary_deg': max_secondary_deg,
                    'focal_length_sd': focal_length_sd,
                    'principal_point_sd': principal_point_sd,
                    'aspect_sd': aspect_sd,
                    'skew_sd': skew_sd,
                    'distortion_sd': distortion_sd,
                    'similarity': similarity,
                    'robust_kernel': robust_kernel,
                    'backend': backend,
                    'device': device,
                    'timeout': timeout,
                },
            ),
        )
        registration = register_files(job, report)
        files = () if output is None else registration.write(output)
    for line in [registration.json_text()] if as_json else summary_lines(registration, files):
        typer.echo(line)
    if not registration.all_verified:
        raise typer.Exit(EXIT_NOT_USABLE)
