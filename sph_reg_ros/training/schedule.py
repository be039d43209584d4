"""How long to train, and how large the steps are."""

import math
from dataclasses import dataclass

from sph_reg_ros.errors import require_setting

OPTIMISERS = ('adam', 'adamw')
COURSES = ('cosine', 'cyclic', 'constant')


@dataclass(frozen=True)
class Schedule:
    """One training. The size of a step depends on its number alone.

    Attributes:
        images: X-rays to make in all, on all devices together.
        batch: X-rays of a step on each device.
        optimiser: one of OPTIMISERS.
        learning_rate: the largest.
        pretrained_lr_scale: learning rate of pretrained weights by that of the others;
            0: they stay.
        weight_decay: of AdamW.
        course: cosine: half a wave down to the lowest rate; cyclic: triangles between the lowest
            and the largest (Smith, arXiv 1506.01186); constant.
        lowest_share: lowest learning rate by the largest.
        warmup_share: of all steps, in which the rate grows from 0.
        cycle_steps: steps of half a triangle.
        clip_norm: gradients are scaled down to this length; 0 leaves them as they are.
        log_steps: steps between two entries of the log.
        validation_steps: steps between two measurements on held-out X-rays.
        validation_images: held-out X-rays.
        checkpoint_s: seconds between two checkpoints.
    """

    images: int = 500_000
    batch: int = 4
    optimiser: str = 'adam'
    learning_rate: float = 1e-3
    pretrained_lr_scale: float = 1.0
    weight_decay: float = 0.0
    course: str = 'cosine'
    lowest_share: float = 0.0
    warmup_share: float = 0.0
    cycle_steps: int = 100
    clip_norm: float = 10.0
    log_steps: int = 50
    validation_steps: int = 2000
    validation_images: int = 128
    checkpoint_s: float = 300.0

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        for name in ('images', 'batch', 'cycle_steps', 'log_steps', 'validation_steps'):
            require_setting(getattr(self, name) >= 1, f'{name} must be at least 1')
        require_setting(self.validation_images >= 2, 'validation_images must be at least 2')
        require_setting(
            self.optimiser in OPTIMISERS, f'optimiser must be one of {", ".join(OPTIMISERS)}'
        )
        require_setting(self.course in COURSES, f'course must be one of {", ".join(COURSES)}')
        require_setting(0 < self.learning_rate < math.inf, 'learning_rate must be positive')
        for name in ('pretrained_lr_scale', 'lowest_share', 'warmup_share'):
            require_setting(0 <= getattr(self, name) <= 1, f'{name} must lie in [0, 1]')
        for name in ('weight_decay', 'clip_norm', 'checkpoint_s'):
            require_setting(0 <= getattr(self, name) < math.inf, f'{name} must not be negative')

    def steps(self, devices: int) -> int:
        """Return how many steps make all images."""
        return max(1, round(self.images / (self.batch * devices)))

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        share = self._course(step, steps)
        rate = self.learning_rate * (self.lowest_share + (1 - self.lowest_share) * share)
        warmup = self.warmup_share * steps
        return rate * min(1.0, (step + 1) / warmup) if warmup > 0 else rate

    def _course(self, step: int, steps: int) -> float:
        if self.course == 'cosine':
            return 0.5 * (1 + math.cos(math.pi * step / steps))
        if self.course == 'cyclic':
            position = step % (2 * self.cycle_steps)
            return 1 - abs(position / self.cycle_steps - 1)
        return 1.0
