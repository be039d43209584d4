"""Training batches: poses, renderings at them, and randomised X-rays."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sph_reg_ros.augmentation.randomise import Randomisation, randomise
from sph_reg_ros.geometry import Camera, se3, so4
from sph_reg_ros.networks.normalise import normalise
from sph_reg_ros.rendering.render import render, render_with_jacobian
from sph_reg_ros.training.losses import true_gradient
from sph_reg_ros.training.poses import Displacements, PoseRanges
from sph_reg_ros.training.seeding import generator_of, seed_of
from sph_reg_ros.training.stopwatch import Stopwatch
from sph_reg_ros.training.subjects import Subject

SeedKey = tuple[int | str, ...]
RENDERING, RANDOMISING = 'rendering', 'randomising'


class XRays(NamedTuple):
    """X-rays of one CT.

    Attributes:
        images: as networks take them.
        masks: pixels that count.
        clean: renderings that they were made of.
        camera_from_ct: true poses, on the CPU.
        subject: which CT.
    """

    images: Float32[Tensor, 'B 1 H W']
    masks: Bool[Tensor, 'B H W']
    clean: Float32[Tensor, 'B H W']
    camera_from_ct: Float64[Tensor, 'B 4 4']
    subject: int


class Pairs(NamedTuple):
    """X-rays, renderings at other poses, and how far these are apart.

    Attributes:
        images: X-rays as networks take them.
        masks: pixels that count.
        renderings: line integrals.
        jacobians: derivative of the first n by a twist xi of the pose.
        fixed_poses: poses of the X-rays in SO(4) (`so4.pose_embedding`).
        moving_poses: of the renderings.
        true_residual: r* of both (`so4.residual`).
        true_gradient: derivative of |r*|^2 / 2 by xi.
        beside: renderings a small step from the first m, m = 0 or B.
        beside_poses: theirs.
    """

    images: Float32[Tensor, 'B 1 H W']
    masks: Bool[Tensor, 'B H W']
    renderings: Float32[Tensor, 'B H W']
    jacobians: Float32[Tensor, 'n H W 6']
    fixed_poses: Float32[Tensor, 'B 2 4']
    moving_poses: Float32[Tensor, 'B 2 4']
    true_residual: Float32[Tensor, 'B 6']
    true_gradient: Float32[Tensor, 'B 6']
    beside: Float32[Tensor, 'm H W']
    beside_poses: Float32[Tensor, 'm 2 4']


@dataclass(frozen=True, eq=False)
class XRayGenerator:
    """Makes X-rays by rendering; the result depends on the seed key alone.

    Attributes:
        subjects: CTs, all on one device, on which everything happens.
        camera: of all images.
        prior: of poses.
        randomisation: of X-rays.
        stopwatch: measures rendering and randomising.
        step_mm: distance of samples on a ray; the size of a voxel if None.
    """

    subjects: tuple[Subject, ...]
    camera: Camera
    prior: PoseRanges
    randomisation: Randomisation
    stopwatch: Stopwatch
    step_mm: float | None = None

    @property
    def device(self) -> torch.device:
        """Return where the images are."""
        return self.subjects[0].volumes[0].device

    def xrays(self, count: int, seed_key: SeedKey, wait: bool = False) -> XRays:
        """Take X-rays of one CT, at random poses.

        Args:
            count: B.
            seed_key: key of the batch.
            wait: measure time on a GPU too.
        """
        rng = generator_of('cpu', 'poses', *seed_key)
        number = int(torch.randint(len(self.subjects), (1,), generator=rng))
        subject = self.subjects[number]
        poses = self.prior.draw(count, subject.centre_mm, rng)
        energy = int(torch.randint(len(subject.volumes), (1,), generator=rng))
        with self.stopwatch.part(RENDERING, wait):
            clean = self._rendered(subject, poses, energy)
        with self.stopwatch.part(RANDOMISING, wait):
            disturbing = generator_of(self.device, 'randomisation', *seed_key)
            images, masks = randomise(clean, self.randomisation, disturbing)
            images = normalise(images, masks)
        return XRays(images, masks, clean, poses, number)

    def pairs(
        self,
        count: int,
        displacements: Displacements,
        seed_key: SeedKey,
        wait: bool = False,
        sloped: int | None = None,
        secant_mm: float = 0.0,
    ) -> Pairs:
        """Take X-rays, and render each CT at poses near theirs.

        Args:
            count: B.
            displacements: how near.
            seed_key: key of the batch.
            wait: measure time on a GPU too.
            sloped: n, how many renderings have a Jacobian, which takes twice as long; all if None.
            secant_mm: length of the small step in each of its six directions; 0: no such step.
        """
        xrays = self.xrays(count, seed_key, wait)
        subject = self.subjects[xrays.subject]
        centre_mm = subject.centre_mm.cpu()
        twists = displacements.draw(count, generator_of('cpu', 'displacements', *seed_key))
        moving = se3.apply_twist(twists, xrays.camera_from_ct, centre_mm)
        beside = moving[:0]
        if secant_mm > 0:
            rng = generator_of('cpu', 'secants', *seed_key)
            steps = secant_mm * torch.randn(count, 6, generator=rng, dtype=torch.float64)
            steps[:, :3] /= so4.EMBEDDING_LENGTH_MM
            beside = se3.apply_twist(steps, moving, centre_mm)
        with self.stopwatch.part(RENDERING, wait):
            renderings, jacobians = self._sloped(subject, moving, sloped)
            renderings_beside = self._rendered(subject, beside)
        nominal = self.prior.nominal(centre_mm)
        fixed, embedded, embedded_beside = (
            so4.pose_embedding(poses, nominal, centre_mm)
            for poses in (xrays.camera_from_ct, moving, beside)
        )
        truth = (
            fixed,
            embedded,
            so4.residual(embedded, fixed),
            true_gradient(moving, fixed, nominal, centre_mm),
            renderings_beside,
            embedded_beside,
        )
        return Pairs(
            xrays.images,
            xrays.masks,
            renderings,
            jacobians,
            *(value.to(self.device, torch.float32) for value in truth),
        )

    def _sloped(
        self, subject: Subject, poses: Float64[Tensor, 'B 4 4'], sloped: int | None
    ) -> tuple[Tensor, Tensor]:
        """Return renderings [B, H, W] and Jacobians [n, H, W, 6] of the first n."""
        n = len(poses) if sloped is None else sloped
        camera = self.camera
        if n == 0:
            return self._rendered(subject, poses), torch.zeros(0, *camera.size, 6).to(self.device)
        first, jacobians = render_with_jacobian(
            subject.volumes[0], poses[:n], camera.K, camera.size, step_mm=self.step_mm
        )
        return torch.cat([first, self._rendered(subject, poses[n:])]), jacobians

    def _rendered(
        self, subject: Subject, poses: Float64[Tensor, 'B 4 4'], energy: int = 0
    ) -> Float32[Tensor, 'B H W']:
        camera = self.camera
        if len(poses) == 0:
            return torch.zeros(0, *camera.size, device=self.device)
        volume = subject.volumes[energy]
        return render(volume, poses, camera.K, camera.size, step_mm=self.step_mm)


def step_key(seed: int, rank: int, step: int) -> SeedKey:
    """Return what the batch of a step on a device is drawn by."""
    return ('training', seed, rank, step)


def validation_key(seed: int, number: int) -> SeedKey:
    """Return what a held-out batch is drawn by."""
    return ('validation', seed, number)


def seed_networks(seed: int, rank: int, step: int) -> None:
    """Seed torch's own generators, which dropout draws from, by the step."""
    torch.manual_seed(seed_of('network', seed, rank, step))
