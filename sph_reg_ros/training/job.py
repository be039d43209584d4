"""One training from CTs and settings: what learns, where, and what to say of its weights."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sph_reg_ros import __version__
from sph_reg_ros.errors import require_setting
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.cube import cube_of
from sph_reg_ros.networks import weights
from sph_reg_ros.networks.card import Card
from sph_reg_ros.networks.regressor import PoseRegressor
from sph_reg_ros.training.config import TrainingConfig
from sph_reg_ros.training.data import XRayGenerator, seed_networks
from sph_reg_ros.training.regressor_task import RegressorTask
from sph_reg_ros.training.similarity_task import SimilarityTask
from sph_reg_ros.training.stopwatch import Stopwatch
from sph_reg_ros.training.subjects import Subject, subjects_from
from sph_reg_ros.training.task import Task

KINDS = ('regressor', 'similarity')
SOFTWARE = ('torch', 'numba', 'lightning-fabric')


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """What to train, on what.

    Attributes:
        kind: one of KINDS.
        cts: the CTs; one for weights that serve a single patient.
        config: all settings.
        start: a trained regressor of the CT: a similarity begins with its filters, another
            regressor, for other poses or X-rays, with all of it.
        start_hash: of the regressor's weights, on their card.
    """

    kind: str
    cts: tuple[CT, ...]
    config: TrainingConfig
    start: PoseRegressor | None = None
    start_hash: str = ''

    def __post_init__(self) -> None:
        """Check the kind, and that it has CTs that it can learn; raises ConfigError."""
        require_setting(self.kind in KINDS, f'network {self.kind!r} is none of {", ".join(KINDS)}')
        require_setting(len(self.cts) > 0, 'there is no CT to train on')
        require_setting(
            self.start is None or self.kind == 'similarity' or self._is_single,
            'a regressor for several CTs cannot begin with one that knows a single CT',
        )
        anatomy = self.config.anatomy
        require_setting(
            self.kind == 'similarity'
            or not self._is_single
            or not (anatomy.flips or anatomy.crops),
            'a regressor that knows a single CT cannot tell it from its mirror image or its parts: '
            'no flips and no crops',
        )

    @property
    def seed(self) -> int:
        """Return the seed of all random numbers."""
        return self.config.run.seed

    @property
    def camera(self) -> Camera:
        """Return the camera of the network's images."""
        return self.config.imager.camera(self._image_size)

    @cached_property
    def data_hash(self) -> str:
        """Return the SHA-256 of all CTs, in hex digits."""
        return hashlib.sha256(''.join(ct.content_hash for ct in self.cts).encode()).hexdigest()

    def task(self, device: torch.device | str) -> Task:
        """Return what learns, with CTs on a device and random weights; takes seconds."""
        seed_networks(self.seed, 0, -1)
        generator = self._generator(device)
        if self.kind == 'similarity':
            return SimilarityTask(self.config.similarity, generator, self.start)
        return RegressorTask(
            self.config.regressor, generator, self.config.imager.sdd_mm, self.start
        )

    def identity(self, devices: int) -> dict[str, Any]:
        """Return all that must not change while a training goes on, as JSON holds it."""
        described = asdict(self.config)
        own = {self.kind: described[self.kind]}
        return {
            'kind': self.kind,
            'seed': self.seed,
            'devices': devices,
            'data_hash': self.data_hash,
            'start': self.start_hash,
            **{name: described[name] for name in ('imager', 'anatomy', 'poses', 'randomisation')},
            **own,
        }

    def card(self, training: dict[str, Any], accuracy: dict[str, float]) -> Card:
        """Return the card of the weights.

        Args:
            training: what was done, as JSON holds it.
            accuracy: on held-out X-rays.
        """
        camera = self.camera
        return Card(
            kind=self.kind,
            network={},
            ct_hashes=tuple(ct.content_hash for ct in self.cts),
            K=tuple(map(tuple, camera.K.tolist())),
            image_size=camera.size,
            training={**training, 'software': _software()},
            data_hash=self.data_hash,
            accuracy=accuracy,
            licence=self.config.licence,
            description=self.config.description,
        )

    @property
    def _image_size(self) -> tuple[int, int]:
        if self.kind == 'similarity':
            return self.config.similarity.network.image_size
        regressor = self.config.regressor
        return (regressor.network if self._is_single else regressor.agnostic_network).image_size

    @property
    def _is_single(self) -> bool:
        return len(self.cts) == 1

    def _generator(self, device: torch.device | str) -> XRayGenerator:
        config, camera = self.config, self.camera
        distance_mm = sum(config.poses.source_to_isocentre_mm) / 2
        pixel_mm = distance_mm / camera.focal_length
        subjects = subjects_from(self.cts, config.anatomy, pixel_mm, device, self.seed)
        if self.kind == 'regressor' and not self._is_single:
            subjects = self._with_cubes(subjects)
        return XRayGenerator(
            subjects,
            camera,
            config.poses,
            config.randomisation,
            Stopwatch(device),
            config.anatomy.step_mm or None,
        )

    def _with_cubes(self, subjects: Sequence[Subject]) -> tuple[Subject, ...]:
        voxels = self.config.anatomy.cube_voxels
        return tuple(
            replace(subject, cube=cube_of(subject.volumes[0], voxels)) for subject in subjects
        )


def regressor_from(folder: Path) -> tuple[PoseRegressor, str]:
    """Return a trained regressor for `TrainingJob.start`, and the hash of its weights.

    Raises:
        WeightsError: WEIGHTS_MISSING, or WEIGHTS_INVALID if they are not those of a regressor.
    """
    network, card = weights.load(folder)
    if not isinstance(network, PoseRegressor):
        raise weights.invalid(folder, f'it is a {card.kind}, where a regressor is needed')
    return network, card.sha256


def _software() -> dict[str, str]:
    found = {'sph_reg_ros': __version__}
    for name in SOFTWARE:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
