"""Refuses images that are too old or stamped in the future."""

from sph_reg_ros.errors import ErrorCode, ImageError

NANOSECONDS = 1_000_000_000
MAX_FUTURE_S = 0.5
"""Clocks of different machines, and /clock messages of a bag, are this far apart at most."""


def require_present(stamp_ns: int, now_ns: int, max_age_s: float) -> None:
    """Refuse an image that is too old, or stamped later than now.

    Args:
        stamp_ns: time of exposure.
        now_ns: the node's time; 0 means that simulated time has not begun.
        max_age_s: limit.

    Raises:
        ImageError: IMAGE_STAMP.
    """
    if now_ns == 0:
        raise ImageError(
            ErrorCode.IMAGE_STAMP,
            'the age of the image is not known: use_sim_time is set, but nothing came on /clock',
        )
    age_s = (now_ns - stamp_ns) / NANOSECONDS
    if age_s > max_age_s:
        raise ImageError(
            ErrorCode.IMAGE_STAMP,
            f'the image is {age_s:.3f} s old, more than image.max_age = {max_age_s:g} s: is its '
            'stamp that of the exposure, and use_sim_time set for a bag?',
        )
    if age_s < -MAX_FUTURE_S:
        raise ImageError(
            ErrorCode.IMAGE_STAMP,
            f'the image is stamped {-age_s:.3f} s later than now: do both machines have the same '
            'time, and is use_sim_time set for a bag?',
        )
