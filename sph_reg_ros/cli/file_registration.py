"""A registration from files: `sph-reg register`."""

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.cli.progress import Report
from sph_reg_ros.cli.registration_report import RegistrationReport
from sph_reg_ros.cli.settings import Settings
from sph_reg_ros.cli.start import StartOptions
from sph_reg_ros.cli.xray_views import BeamOptions, XRayFile, read_xrays
from sph_reg_ros.errors import CancelledError, ConfigError, ErrorCode, ImageError
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.bodies.labels import LabelMap
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load_bodies import load_bodies, load_labels
from sph_reg_ros.imaging.xray.read import other_reader
from sph_reg_ros.networks.shipped import weights_folders
from sph_reg_ros.registration.networks import Networks, find_networks
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Progress as State
from sph_reg_ros.registration.target import find_target


@dataclass(frozen=True)
class RegisterJob:
    """The arguments of `sph-reg register`."""

    ct_path: Path | None
    xray_paths: tuple[Path, ...]
    bodies_path: Path | None = None
    labels_path: Path | None = None
    series_uid: str | None = None
    assume_lps: bool = False
    energy_kev: float = 60.0
    frame: int = 0
    intensity: str | None = None
    inverted: bool | None = None
    flip: str | None = None
    beam: BeamOptions = field(default_factory=BeamOptions)
    start: StartOptions = field(default_factory=StartOptions)
    weights: Path | None = None
    accept_other_patient: bool = False
    settings: Settings = field(default_factory=Settings)


def register_files(job: RegisterJob, report: Report = lambda state: None) -> RegistrationReport:
    """Read CT and X-rays, and register them; raises RegistrationError."""
    folders = weights_folders(job.weights)
    # The X-rays first: they are small, and most mistakes are made there.
    report('reading the X-rays')
    read = read_xrays(job.xray_paths, job.beam, job.frame, job.start.angles_deg, job.start.sod_mm)
    xrays = tuple(xray.mirrored(job.flip) for xray in read)
    views = tuple(xray.view(job.intensity, job.inverted) for xray in xrays)
    if job.ct_path is None:
        anatomy = _without_ct(job, report)
    else:
        anatomy = _of_ct(job, job.ct_path, xrays, folders, report)
    volume, bodies = anatomy.volume, anatomy.bodies
    if bodies is not None and bodies.has_metal:
        # Behind metal the image is as dark as it gets, and that is what tells where it is.
        views = tuple(
            xray.view(job.intensity, job.inverted, mask_saturation=False) for xray in xrays
        )
    start = job.start.start(xrays, volume)
    report('preparing')
    request = RegistrationRequest(
        volume,
        views,
        start.camera_from_ct,
        job.settings.config,
        networks=anatomy.networks,
        bodies=bodies,
        target=find_target(job.settings.target, volume, anatomy.labels, bodies, job.energy_kev),
    )
    result = register(request, _limited(report, job.settings.timeout_s))
    warnings = tuple(text for xray in xrays for text in xray.warnings(job.intensity))
    start = replace(start, assumptions=(*_assumed(job), *start.assumptions))
    return RegistrationReport(
        request, result, anatomy.series_uid_hash, job.energy_kev, warnings, start
    )


@dataclass(frozen=True)
class _Anatomy:
    """What is registered; the volume of the first body where there is no CT."""

    volume: AttenuationVolume
    bodies: Bodies | None = None
    labels: LabelMap | None = None
    networks: Networks | None = None
    series_uid_hash: str = ''


def _of_ct(
    job: RegisterJob,
    ct_path: Path,
    xrays: tuple[XRayFile, ...],
    folders: tuple[Path, ...],
    report: Report,
) -> _Anatomy:
    report('reading the CT')
    ct = read_ct(ct_path, job.series_uid, assume_lps=job.assume_lps)
    if not job.accept_other_patient:
        for xray in xrays:
            require_same_patient(ct, xray)
    volume = attenuation_from_hounsfield(ct, job.energy_kev)
    bodies = None
    if job.bodies_path is not None:
        report('reading the bodies')
        bodies = load_bodies(job.bodies_path, volume, energy_kev=job.energy_kev)
    labels = None if job.labels_path is None else load_labels(job.labels_path)
    searches = job.settings.config.method == 'image'
    networks = None if searches else find_networks(ct.content_hash, folders)
    return _Anatomy(volume, bodies, labels, networks, ct.series_uid_hash)


def _without_ct(job: RegisterJob, report: Report) -> _Anatomy:
    if job.bodies_path is None:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, 'give --ct, or --bodies with a list of meshes alone'
        )
    report('reading the bodies')
    bodies = load_bodies(job.bodies_path, None, energy_kev=job.energy_kev)
    return _Anatomy(bodies.bodies[0].volume, bodies)


def _assumed(job: RegisterJob) -> tuple[str, ...]:
    """Return what is taken for granted of the camera, and of images that say nothing of it."""
    assumed = []
    if not job.beam.camera_paths and job.settings.config.calibration == 'calibrated':
        assumed.append(
            'the camera is calibrated (focal length within 0.1 %), although its distances are '
            'those of a file header or of --sdd; if nobody has measured them, give --calibration '
            'nominal'
        )
    if all(other_reader(path) is None for path in job.xray_paths):
        return tuple(assumed)
    if not job.beam.camera_paths and job.beam.principal_point is None:
        assumed.append(
            'the central ray meets the middle of the image; --principal-point says otherwise'
        )
    if job.intensity is None:
        assumed.append('pixels are detector counts (beer_lambert); --intensity says otherwise')
    return tuple(assumed)


def _limited(report: Report, timeout_s: float | None) -> Report:
    """Return an observer that ends the registration when its time is over."""
    end_s = math.inf if timeout_s is None else time.monotonic() + timeout_s

    def observe(state: State | str) -> None:
        if time.monotonic() > end_s:
            raise CancelledError(
                ErrorCode.TIMEOUT,
                f'no result within {timeout_s:g} s: give more time (--timeout), a nearer start or '
                'fewer --starts',
            )
        report(state)

    return observe


def require_same_patient(ct: CT, xray: XRayFile) -> None:
    """Raise ImageError if CT and X-ray carry different patient IDs."""
    theirs = xray.xray.patient_hash
    if ct.patient_hash and theirs and ct.patient_hash != theirs:
        raise ImageError(
            ErrorCode.IMAGE_CONTENT,
            f'CT and {xray.path.name} carry different patient IDs: check both files, or give '
            '--other-patient',
        )
