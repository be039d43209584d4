"""How long to train, and how large the steps are."""

import math

from sph_reg_ros.errors import require_setting
from sph_reg_ros.settings import parameter, settings

OPTIMISERS = ('adam', 'adamw')
COURSES = ('cosine', 'cyclic', 'constant')


@settings
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

    images: int = parameter(500_000, low=1)
    batch: int = parameter(4, low=1)
    optimiser: str = parameter('adam', choices=OPTIMISERS)
    learning_rate: float = 1e-3
    pretrained_lr_scale: float = parameter(1.0, low=0.0, high=1.0)
    weight_decay: float = parameter(0.0, low=0.0)
    course: str = parameter('cosine', choices=COURSES)
    lowest_share: float = parameter(0.0, low=0.0, high=1.0)
    warmup_share: float = parameter(0.0, low=0.0, high=1.0)
    cycle_steps: int = parameter(100, low=1)
    clip_norm: float = parameter(10.0, low=0.0)
    log_steps: int = parameter(50, low=1)
    validation_steps: int = parameter(2000, low=1)
    validation_images: int = parameter(128, low=2)
    checkpoint_s: float = parameter(300.0, low=0.0)

    def __post_init__(self) -> None:
        """Check what a range cannot say; raises ConfigError."""
        require_setting(self.learning_rate > 0, 'learning_rate must be positive')

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
