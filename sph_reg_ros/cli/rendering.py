"""Renders a CT to an X-ray file: `sph-reg render`."""

import io
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt16
from PIL import Image
from torch import Tensor

from sph_reg_ros.cli.camera_file import read_camera
from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.cli.start import Start, StartOptions
from sph_reg_ros.cli.xray_views import BeamOptions
from sph_reg_ros.errors import CameraError, ConfigError, ErrorCode
from sph_reg_ros.evaluation.carm import CArmGeometry
from sph_reg_ros.files import write_together
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.xray.dicom_export import dicom_xray, has_carm_angles
from sph_reg_ros.imaging.xray.intensity import IntensityModel, pixels_from_line_integrals
from sph_reg_ros.registration.visibility import require_in_view
from sph_reg_ros.rendering.render import render

OPEN_BEAM = 60000.0
"""Counts of air in 16 bit images."""
COUNTS, INTEGRALS = ('.png', '.dcm'), ('.tif', '.tiff', '.npy')
FRONTAL = (0.0, 0.0)


@dataclass(frozen=True)
class RenderJob:
    """The arguments of `sph-reg render`."""

    ct_path: Path
    output: Path
    series_uid: str | None = None
    assume_lps: bool = False
    energy_kev: float = 60.0
    size: tuple[int, int] | None = None
    inverted: bool = False
    beam: BeamOptions = field(default_factory=BeamOptions)
    pose: StartOptions = field(default_factory=StartOptions)

    def __post_init__(self) -> None:
        """Check the name of the file; raises ConfigError."""
        if self.suffix not in (*COUNTS, *INTEGRALS):
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f'{self.output.name}: the name must end in {", ".join((*COUNTS, *INTEGRALS))}',
            )
        if self.inverted and self.suffix not in COUNTS:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID, '--inverted is for .png and .dcm: line integrals are none'
            )

    @property
    def suffix(self) -> str:
        """Return the file name's suffix, which selects the format."""
        return self.output.suffix.lower()


@dataclass(frozen=True)
class Rendered:
    """A rendering, its pose, and what had to be assumed."""

    job: RenderJob
    camera: Camera
    start: Start
    assumptions: tuple[str, ...]
    isocentre: tuple[float, float, float]
    doubts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what is printed."""
        pose = self.start.camera_from_ct
        assert pose is not None
        angles = format_angles(*angles_from_camera_from_ct(pose))
        height, width = self.camera.size
        content = 'line integrals' if self.job.suffix in INTEGRALS else 'detector counts'
        if self.job.inverted:
            content += ', inverted: bone is bright'
        lines = [
            f'view         {angles} (beam relative to the patient)',
            f'image        {width} columns, {height} rows, {content}',
            *(f'warning      {text}' for text in self.doubts),
            *(f'assumed      {text}' for text in self.assumptions),
        ]
        if self.job.suffix == '.dcm' and not has_carm_angles(pose):
            lines.append('warning      the pose is rolled about the beam: no angles in the file')
        return [*lines, f'wrote        {self.job.output}', f'register by  {self._command()}']

    def _command(self) -> str:
        """Return the command that registers the file, starting at the pose it was rendered at."""
        job, pose = self.job, self.job.pose
        words = ['sph-reg', 'register', '--ct', str(job.ct_path), '--xray', str(job.output)]
        if job.series_uid:
            words += ['--series', job.series_uid]
        if job.assume_lps:
            words.append('--assume-lps')
        if job.energy_kev != RenderJob.energy_kev:
            words += ['--energy', *_numbers((job.energy_kev,))]
        start = self.start.camera_from_ct
        assert start is not None
        if job.suffix == '.dcm' and has_carm_angles(start):
            return shlex.join([*words, '--isocentre', *_numbers(self.isocentre)])
        if job.suffix != '.dcm':
            words += self._camera_words()
        if pose.pose_path is not None:
            words += ['--initial', str(pose.pose_path)]
        else:
            words += ['--angles', *_numbers(pose.angles_deg or FRONTAL)]
            words += ['--sod', *_numbers((pose.sod_mm or CArmGeometry.source_to_isocentre_mm,))]
            words += ['--isocentre', *_numbers(self.isocentre)]
        if job.suffix in INTEGRALS:
            words += ['--intensity', 'line_integral']
        if job.inverted and job.suffix == '.png':
            words.append('--invert')
        return shlex.join(words)

    def _camera_words(self) -> list[str]:
        beam = self.job.beam
        if beam.camera_paths:
            return ['--camera', str(beam.camera_paths[0])]
        assert beam.sdd_mm is not None and beam.pixel_pitch_mm is not None
        words = [
            '--sdd',
            *_numbers((beam.sdd_mm,)),
            '--pixel-pitch',
            *_numbers(beam.pixel_pitch_mm),
        ]
        if beam.principal_point is not None:
            words += ['--principal-point', *_numbers(beam.principal_point)]
        return words


def render_to_file(job: RenderJob, report: Callable[[str], None] = lambda state: None) -> Rendered:
    """Render a CT and write the file; raises RegistrationError or OSError."""
    job, assumed = _completed(job)
    camera, place = _camera(job)
    report('reading the CT')
    ct = read_ct(job.ct_path, job.series_uid, assume_lps=job.assume_lps)
    volume = attenuation_from_hounsfield(ct, job.energy_kev)
    start = job.pose.given(volume, camera, place)
    assert start is not None and start.camera_from_ct is not None, 'the job was completed'
    pose = start.camera_from_ct
    require_in_view(volume, pose, camera, job.output.name)
    report('rendering')
    integrals = render(volume, pose, camera.K, camera.size).float().cpu()
    sod_mm, isocentre = _isocentre(pose, volume, job.pose)
    content = _encoded(integrals, job, camera, pose, sod_mm)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    write_together({job.output: content})
    assumptions = (*assumed, *start.assumptions)
    return Rendered(job, camera, start, assumptions, isocentre, volume.doubts)


def _completed(job: RenderJob) -> tuple[RenderJob, tuple[str, ...]]:
    """Return the job with a usual C-arm where none is described, and what was assumed."""
    carm, assumed = CArmGeometry(), []
    beam = job.beam
    if not beam.camera_paths and beam.sdd_mm is None and beam.pixel_pitch_mm is None:
        pitch = (carm.pixel_pitch_mm, carm.pixel_pitch_mm)
        size = job.size or (carm.height, carm.width)
        beam = replace(beam, sdd_mm=carm.sdd_mm, pixel_pitch_mm=pitch)
        job = replace(job, beam=beam, size=size)
        assumed.append(
            f'a C-arm with --sdd {carm.sdd_mm:g} --pixel-pitch {pitch[0]:g} {pitch[1]:g} --size '
            f'{size[0]} {size[1]}'
        )
    pose = job.pose
    if pose.pose_path is None and (pose.angles_deg is None or pose.sod_mm is None):
        angles = pose.angles_deg or FRONTAL
        sod_mm = pose.sod_mm or carm.source_to_isocentre_mm
        job = replace(job, pose=replace(pose, angles_deg=angles, sod_mm=sod_mm))
        assumed.append(f'the view --angles {angles[0]:g} {angles[1]:g} --sod {sod_mm:g}')
    return job, tuple(assumed)


def _camera(job: RenderJob) -> tuple[Camera, Tensor | None]:
    """Return the camera, and its place in the fixed frame if its file says so."""
    if job.beam.camera_paths:
        if job.size is not None:
            raise CameraError(
                ErrorCode.CAMERA_INVALID, 'give --camera, which says the size, or --size, not both'
            )
        path = job.beam.camera_paths[0]
        file = read_camera(path)
        if file.lens is not None:
            raise CameraError(
                ErrorCode.CAMERA_INVALID,
                f'{path.name} has a distortion, which is not rendered: give a camera without',
            )
        return file.camera, file.fixed_from_camera
    beam = job.beam
    if beam.sdd_mm is None or beam.pixel_pitch_mm is None or job.size is None:
        raise CameraError(
            ErrorCode.CAMERA_MISSING,
            '--sdd MM, --pixel-pitch ROW COLUMN and --size ROWS COLUMNS are needed together',
        )
    camera = Camera.from_geometry(beam.sdd_mm, beam.pixel_pitch_mm, job.size, beam.principal_point)
    return camera, None


def _isocentre(
    pose: Tensor, volume: AttenuationVolume, options: StartOptions
) -> tuple[float, tuple[float, float, float]]:
    """Return its distance from the source, and where on the central ray it lies (LPS, mm)."""
    sod_mm = options.sod_mm
    if sod_mm is None:
        # At the depth of the patient.
        sod_mm = float(se3.transform_points(pose, volume.centre.double()[None])[0, 2])
    on_ray = torch.tensor([[0.0, 0.0, sod_mm]], dtype=torch.float64)
    x, y, z = se3.transform_points(se3.inverse(pose), on_ray)[0].tolist()
    return sod_mm, (x, y, z)


def _encoded(
    integrals: Float32[Tensor, 'H W'], job: RenderJob, camera: Camera, pose: Tensor, sod_mm: float
) -> bytes:
    buffer = io.BytesIO()
    if job.suffix == '.npy':
        np.save(buffer, integrals.numpy())
    elif job.suffix in INTEGRALS:
        Image.fromarray(integrals.numpy()).save(buffer, format='TIFF')
    elif job.suffix == '.png':
        Image.fromarray(_counts(integrals, job.inverted)).save(buffer, format='PNG')
    else:
        sdd_mm = job.beam.sdd_mm
        if sdd_mm is None:
            raise CameraError(
                ErrorCode.CAMERA_MISSING,
                'DICOM needs the distance from source to detector: give --sdd, --pixel-pitch and '
                '--size instead of --camera',
            )
        counts = _counts(integrals, job.inverted)
        return dicom_xray(counts, camera, sdd_mm, pose, sod_mm, bright_air=not job.inverted)
    return buffer.getvalue()


def _counts(integrals: Float32[Tensor, 'H W'], inverted: bool) -> UInt16[np.ndarray, 'H W']:
    model = IntensityModel(i0=OPEN_BEAM, bright_air=not inverted)
    return pixels_from_line_integrals(integrals, model).round().numpy().astype(np.uint16)


def _numbers(values: tuple[float, ...]) -> list[str]:
    return [f'{value:.6g}' for value in values]
