"""Settings of tracking; they are needed without torch, which takes seconds to import."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackingConfig:
    """How frames are followed.

    Attributes:
        level: rows of the images that are compared.
        levels_after_gap: the same, coarse to fine, where the frame before is long ago.
        max_iterations: solver steps a level.
        full_checks_every: frames from one that begins all checks to the next.
        max_frames: a frame is not VERIFIED if more before it passed light checks only.
        max_gap_s: after a longer pause, all checks have to be passed anew.
        max_misfit: what a frame's similarity may lack to 1, and by how much its patches may lie off
            the rendering's, as multiples of what it was in the last frame that passed all checks.
        max_speed_mm_s: how fast the anatomy may leave the way that was predicted.
        slack_mm: what it may be off without any time.
        max_correction_mm: how far the pose that passes all checks may be from the followed one.
    """

    level: int = 64
    levels_after_gap: tuple[int, ...] = (32, 64)
    max_iterations: int = 6
    full_checks_every: int = 60
    max_frames: int = 240
    max_gap_s: float = 0.5
    max_misfit: float = 1.5
    max_speed_mm_s: float = 60.0
    slack_mm: float = 2.0
    max_correction_mm: float = 1.5
