"""Disk cache of path integrals, the slow part of simulated X-rays."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32, Float64
from torch import Tensor

from sph_reg_ros.evaluation.simulation import Patient
from sph_reg_ros.geometry import Camera
from sph_reg_ros.rendering.reference.siddon import signed_path_integrals

# To be raised whenever the integrals of the same CT, pose and camera change.
INTEGRALS_VERSION = 1
Projector = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], tuple[Tensor, Tensor]]
"""Voxels, camera_from_index, K and size to the path integrals through soft tissue and bone."""


def default_cache_folder() -> Path:
    """Return where the integrals are kept unless told otherwise (XDG base directories)."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'sph_reg_ros/bench'


@dataclass(frozen=True)
class PathIntegrals:
    """Water-equivalent millimetres along the ray of every pixel.

    Attributes:
        soft_mm: through soft tissue [H, W].
        bone_mm: through bone [H, W].
    """

    soft_mm: Float32[np.ndarray, 'H W']
    bone_mm: Float32[np.ndarray, 'H W']


@dataclass(frozen=True)
class PathCache:
    """Integrals by CT, pose and camera.

    Attributes:
        folder: where the files lie; made when the first is written.
        projector: another one than `signed_path_integrals`, which it takes the place of.
    """

    folder: Path
    projector: Projector | None = None

    def path(self, ct_hash: str, camera_from_ct: Float64[Tensor, '4 4'], camera: Camera) -> Path:
        """Return the file of one X-ray, whether or not it exists."""
        by = '' if self.projector is None else self.projector.__name__
        digest = hashlib.sha256(f'{INTEGRALS_VERSION}{by} {ct_hash} {camera.size}'.encode())
        for matrix in (camera_from_ct, camera.K):
            # Rounded, so that another processor's last digit is no other pose, and no -0.
            digest.update((np.round(matrix.double().numpy(), 6) + 0.0).tobytes())
        return self.folder / f'{ct_hash[:16]}-{digest.hexdigest()[:16]}.npz'

    def integrals(
        self,
        ct_hash: str,
        patient: Callable[[], Patient],
        camera_from_ct: Float64[Tensor, '4 4'],
        camera: Camera,
    ) -> PathIntegrals:
        """Return the integrals of one X-ray, from disk if they are there.

        Args:
            ct_hash: of the voxels and the geometry of the CT.
            patient: gives the body; called only if it is needed.
            camera_from_ct: true pose (mm).
            camera: the imager.
        """
        path = self.path(ct_hash, camera_from_ct, camera)
        known = _read(path, camera.size)
        if known is not None:
            return known
        body = patient()
        soft_mm, bone_mm = (self.projector or signed_path_integrals)(
            body.water_equivalent, camera_from_ct @ body.ct_from_index, camera.K, camera.size
        )
        integrals = PathIntegrals(soft_mm.numpy(), bone_mm.numpy())
        _write(path, integrals)
        return integrals


def _read(path: Path, size: tuple[int, int]) -> PathIntegrals | None:
    """Return the content of a file, None if it is missing or damaged."""
    try:
        with np.load(path) as file:
            integrals = PathIntegrals(file['soft_mm'], file['bone_mm'])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    whole = integrals.soft_mm.shape == integrals.bone_mm.shape == size
    return integrals if whole else None


def _write(path: Path, integrals: PathIntegrals) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Complete or not there at all, whoever else writes the same file.
    with NamedTemporaryFile(dir=path.parent, suffix='.part', delete=False) as file:
        np.savez(file, soft_mm=integrals.soft_mm, bone_mm=integrals.bone_mm)
    os.replace(file.name, path)
