"""Settings of a registration; the ROS parameters and the command line read them from here."""

from dataclasses import dataclass

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.rendering.backends import BACKENDS


@dataclass(frozen=True)
class RegistrationConfig:
    """How `register` works; the defaults suit a C-arm and a CT of a trunk.

    Attributes:
        backend: renderer, auto, numba, torch or diffdrr.
        levels: image heights in pixels, coarse to fine; levels above the X-ray's own are skipped.
        max_iterations: solver steps a level.
        min_similarity: smallest normalised cross-correlation that passes the first gate.
        max_rotation_step_rad: cap of a step's rotation.
        max_translation_step_mm: cap of a step's translation.
    """

    backend: str = 'auto'
    levels: tuple[int, ...] = (32, 64, 128, 256)
    max_iterations: int = 30
    min_similarity: float = 0.95
    max_rotation_step_rad: float = 0.175
    max_translation_step_mm: float = 30.0

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        self._require(self.backend in BACKENDS, f'backend must be one of {", ".join(BACKENDS)}')
        self._require(len(self.levels) > 0 and min(self.levels) >= 8, 'levels must be 8 px or more')
        self._require(list(self.levels) == sorted(self.levels), 'levels must go coarse to fine')
        self._require(self.max_iterations >= 1, 'max_iterations must be at least 1')
        self._require(-1 <= self.min_similarity <= 1, 'min_similarity must lie in [-1, 1]')
        self._require(
            0 < self.max_rotation_step_rad <= 3.2, 'max_rotation_step_rad is out of range'
        )
        self._require(self.max_translation_step_mm > 0, 'max_translation_step_mm must be positive')

    @staticmethod
    def _require(condition: bool, message: str) -> None:
        if not condition:
            raise ConfigError(ErrorCode.CONFIG_INVALID, message)
