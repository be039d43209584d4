"""Settings of a registration; the ROS parameters and the command line read them from here."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from sph_reg_ros.errors import require_setting
from sph_reg_ros.registration.choices import METHODS, ROBUST_KERNELS, SIMILARITIES
from sph_reg_ros.rendering.backends import BACKENDS


def _one_of(choices: tuple[str, ...], default: str) -> Any:
    return field(default=default, metadata={'choices': choices})


@dataclass(frozen=True)
class RegistrationConfig:
    """How `register` works; the defaults suit a C-arm and a CT of a trunk.

    Attributes:
        method: how to start; spherical: from the pose that networks give, or like image where
            there are none for the CT and the imager; image: search around the initial pose, if
            there is one also after networks whose pose fails the checks.
        backend: what renders the CT.
        similarity: what is compared of rendering and X-ray; mapped: with a smooth intensity curve
            fitted inside; local: patch by patch; gradient: of the edges.
        robust_kernel: how little the worst residuals count.
        starts: rough poses from the search that are refined beside the initial one; 0: no search.
        search_rotation_rad: standard deviation of the initial pose's error about each axis.
        search_in_plane_mm: standard deviation of its shift along the image's rows and columns.
        search_depth_mm: standard deviation of its shift along the beam.
        levels: image heights in pixels, coarse to fine; levels above the X-ray's own are skipped.
        max_iterations: solver steps a level.
        max_tre_mm: largest error that can be borne; a pose whose 95 % bound exceeds it is not
            verified.
        max_rotation_step_rad: cap of a step's rotation.
        max_translation_step_mm: cap of a step's translation.
    """

    method: str = _one_of(METHODS, 'spherical')
    backend: str = _one_of(BACKENDS, 'auto')
    similarity: str = _one_of(SIMILARITIES, 'mapped_ncc+gradient')
    robust_kernel: str = _one_of(ROBUST_KERNELS, 'none')
    starts: int = 4
    search_rotation_rad: float = 0.14
    search_in_plane_mm: float = 15.0
    search_depth_mm: float = 30.0
    levels: tuple[int, ...] = (32, 64, 128, 256)
    max_iterations: int = 30
    max_tre_mm: float = 3.0
    max_rotation_step_rad: float = 0.175
    max_translation_step_mm: float = 30.0

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        for entry in fields(self):
            choices, value = entry.metadata.get('choices', ()), getattr(self, entry.name)
            require_setting(
                not choices or value in choices,
                f'{entry.name} {value!r} must be one of {", ".join(choices)}',
            )
        require_setting(0 <= self.starts <= 64, 'starts must lie in [0, 64]')
        require_setting(
            0 <= self.search_rotation_rad <= 0.7, 'search_rotation_rad must lie in [0, 0.7]'
        )
        for name in ('search_in_plane_mm', 'search_depth_mm'):
            width = getattr(self, name)
            require_setting(0 <= width < math.inf, f'{name} must be finite and not negative')
        require_setting(
            len(self.levels) > 0 and min(self.levels) >= 8, 'levels must be 8 px or more'
        )
        require_setting(list(self.levels) == sorted(self.levels), 'levels must go coarse to fine')
        require_setting(self.max_iterations >= 1, 'max_iterations must be at least 1')
        require_setting(self.max_tre_mm > 0, 'max_tre_mm must be positive')
        require_setting(
            0 < self.max_rotation_step_rad <= 3.2, 'max_rotation_step_rad is out of range'
        )
        require_setting(
            self.max_translation_step_mm > 0, 'max_translation_step_mm must be positive'
        )
