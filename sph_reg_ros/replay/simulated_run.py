"""Simulated bags: a C-arm that orbits a patient and takes angled views, with errors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.evaluation.carm import CArm, CArmGeometry, EncoderError, Exposure, Orbit
from sph_reg_ros.evaluation.clinical import DISPLAYS, displayed
from sph_reg_ros.evaluation.simulation import XRaySimulation
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.messages.conversions import header_message, pose_from_matrix, transform_message
from sph_reg_ros.messages.exposure_messages import exposure_messages, planned_pose_message
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.bag_writer import BagWriter, new_bag
from sph_reg_ros.settings import parameter, settings

Report = Callable[[int, int], None]
"""Gets the images taken and how many there will be."""
NANOSECONDS = 1_000_000_000
FRAMES = ('carm_base', 'carm_optical')
START_NS = 1_700_000_000 * NANOSECONDS
"""The same in every bag, so that the same settings give the same bag."""
DETECTOR = 'detector'
IMAGE_KINDS = (DETECTOR, *(name for name, kind in DISPLAYS.items() if not kind.turn_deg))
"""Counts of the detector, or what a display makes of them; camera_info does not tell of turns."""
ANGLED_DEG = ((-30.0, 20.0), (30.0, -20.0), (-15.0, -25.0), (15.0, 25.0), (0.0, 30.0), (0.0, -30.0))
"""Primary and secondary angles of the views that no orbit has."""


@settings
class Tour:
    """An orbit, and angled views after it.

    Attributes:
        orbit: first.
        angled: how many views follow, see ANGLED_DEG.
    """

    orbit: Orbit = Orbit()
    angled: int = parameter(4, low=0, high=10_000)

    @property
    def images(self) -> int:
        """Return how many images there are."""
        return self.orbit.steps + self.angled

    def angles_rad(self, index: int) -> tuple[float, float]:
        """Return (primary, secondary) of an image, counted from 0."""
        if index < self.orbit.steps:
            return self.orbit.angles_rad(index)
        primary, secondary = np.radians(ANGLED_DEG[(index - self.orbit.steps) % len(ANGLED_DEG)])
        return float(primary), float(secondary)


@settings
class Rehearsal:
    """What happens in the bag.

    Attributes:
        tour: where the images are taken from.
        geometry: the imager.
        encoder_error: how wrong the reported poses are.
        beam: X-rays and detector; from the middle of the run on an instrument lies in the beam.
        rate_hz: images per second.
        pose_rate_hz: reported poses per second, while the imager moves from view to view.
        dropped_share: of the images that do not arrive, by chance.
        instrument: False leaves it out.
        display: what the images are: counts of the detector, or 8 bit of a display.
        seed: of all random numbers.
    """

    tour: Tour = Tour()
    geometry: CArmGeometry = CArmGeometry()
    encoder_error: EncoderError = EncoderError()
    beam: XRaySimulation = XRaySimulation()
    rate_hz: float = parameter(1.0, low=0.01, high=100.0)
    pose_rate_hz: float = parameter(20.0, low=0.1, high=1000.0)
    dropped_share: float = parameter(0.1, low=0.0, high=0.9)
    instrument: bool = True
    display: str = parameter(DETECTOR, choices=IMAGE_KINDS)
    seed: int = parameter(0, low=0, high=2**31 - 1)

    def dropped(self) -> frozenset[int]:
        """Return which images do not arrive; the first one always does."""
        lost = np.random.default_rng([self.seed, self.tour.images]).uniform(size=self.tour.images)
        return frozenset(np.flatnonzero(lost[1:] < self.dropped_share) + 1)


def simulate_bag(
    ct: CT,
    rehearsal: Rehearsal,
    path: Path,
    storage: str,
    report: Report = lambda done, of: None,
    bodies: Bodies | None = None,
) -> int:
    """Write the bag and return how many images it has.

    Topics are those of the node `carm_simulator`; /ground_truth holds the patient in the imager,
    for the images that were dropped too. `bodies`, of the CT at 60 keV, move from image to image;
    /ground_truth/<name> holds each in the imager.

    Raises:
        BagError: the bag cannot be written.
    """
    run = _Run(ct, rehearsal, bodies)
    with new_bag(path, storage) as bag:
        return run.write(bag, report)


class _Run:
    def __init__(self, ct: CT, rehearsal: Rehearsal, bodies: Bodies | None) -> None:
        self._rehearsal = rehearsal
        self._carm = CArm.around(
            ct,
            rehearsal.geometry,
            rehearsal.tour,
            rehearsal.encoder_error,
            rehearsal.beam,
            rehearsal.seed,
            bodies,
        )

    def write(self, bag: BagWriter, report: Report) -> int:
        images, lost = self._rehearsal.tour.images, self._rehearsal.dropped()
        planned = planned_pose_message(self._carm, FRAMES[0], START_NS, bag_message)
        bag.write('/initial_pose', planned, START_NS, latched=True)
        for index in range(images):
            report(index, images)
            self._write_way(bag, index)
            self._write_image(bag, index, arrives=index not in lost)
        report(images, images)
        return images - len(lost)

    def _stamp_ns(self, index: float) -> int:
        return START_NS + round((index + 1) / self._rehearsal.rate_hz * NANOSECONDS)

    def _write_way(self, bag: BagWriter, index: int) -> None:
        """Write what the encoders say while the imager moves from the view before."""
        if index == 0:
            return
        steps = max(1, round(self._rehearsal.pose_rate_hz / self._rehearsal.rate_hz))
        before, after = (self._carm.poses(i)[1] for i in (index - 1, index))
        for step in range(1, steps):
            share = step / steps
            stamp_ns = self._stamp_ns(index - 1 + share)
            self._write_pose(bag, _between(before, after, share), stamp_ns)

    def _write_pose(
        self, bag: BagWriter, fixed_from_camera: Float64[Tensor, '4 4'], stamp_ns: int
    ) -> None:
        matrix = fixed_from_camera.numpy()
        pose = bag_message(
            'geometry_msgs/PoseStamped',
            header=header_message(stamp_ns, FRAMES[0], bag_message),
            pose=pose_from_matrix(matrix, bag_message),
        )
        transform = transform_message(matrix, *FRAMES, stamp_ns, bag_message)
        bag.write('/tf', bag_message('tf2_msgs/TFMessage', transforms=[transform]), stamp_ns)
        bag.write('/imager_pose', pose, stamp_ns)

    def _write_image(self, bag: BagWriter, index: int, *, arrives: bool) -> None:
        rehearsal, carm, stamp_ns = self._rehearsal, self._carm, self._stamp_ns(index)
        if not arrives:
            truth, fixed_from_camera = carm.poses(index)
            self._write_pose(bag, fixed_from_camera, stamp_ns)
            message = bag_message(
                'geometry_msgs/PoseStamped',
                header=header_message(stamp_ns, FRAMES[1], bag_message),
                pose=pose_from_matrix(truth.numpy(), bag_message),
            )
            bag.write('/ground_truth', message, stamp_ns)
            for name, pose in carm.camera_from_body(index).items():
                truth = replace(message, pose=pose_from_matrix(pose.numpy(), bag_message))
                bag.write(f'/ground_truth/{name}', truth, stamp_ns)
            return
        if rehearsal.instrument and index >= rehearsal.tour.images // 2:
            carm = replace(carm, simulation=replace(rehearsal.beam, instrument=True))
        exposure = _shown(carm.expose(index), rehearsal.display)
        m = exposure_messages(exposure, carm.geometry.camera, FRAMES, stamp_ns, bag_message)
        bag.write('/tf', bag_message('tf2_msgs/TFMessage', transforms=[m.transform]), stamp_ns)
        for topic in ('imager_pose', 'camera_info', 'ground_truth', 'image'):
            bag.write(f'/{topic}', getattr(m, topic), stamp_ns)
        for name, truth in m.body_truths.items():
            bag.write(f'/ground_truth/{name}', truth, stamp_ns)


def _shown(exposure: Exposure, display: str) -> Exposure:
    if display == DETECTOR:
        return exposure
    counts = np.maximum(exposure.counts.astype(np.float32), 0.5)
    return replace(exposure, counts=displayed(counts, DISPLAYS[display]))


def _between(
    first: Float64[Tensor, '4 4'], second: Float64[Tensor, '4 4'], share: float
) -> Float64[Tensor, '4 4']:
    twist = se3.log(second @ se3.inverse(first))
    return se3.exp(torch.as_tensor(share, dtype=torch.float64) * twist) @ first
