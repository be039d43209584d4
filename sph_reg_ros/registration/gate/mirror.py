"""Would the mirrored CT explain the X-ray as well?

A CT whose header turns left into right, and a display that is flipped, look right where the anatomy
is nearly symmetric, and put the patient millimetres away from where he is.
"""

import math
from dataclasses import replace

import torch

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.gate.evidence import COARSE_PX, Evidence
from sph_reg_ros.registration.gate_limits import MAX_MIRROR_GAIN
from sph_reg_ros.registration.result import Check, Verdict

REDUCTION, STEPS = 1e-3, 8


def check_mirror(evidence: Evidence) -> Check:
    """Reject if the mirrored CT looks better, doubt if it looks about as well.

    The figure is the similarity that it has more, each at the nearest optimum, by the similarity
    that was optimised: of symmetric anatomy it tells the sides apart best.
    """
    level, pose = evidence.nearest(COARSE_PX), evidence.pose[None]
    mirrored = replace(level, volume=mirrored_volume(level.volume), render_cache=[])
    (there,) = evidence.sought(mirrored, pose, REDUCTION, STEPS).costs
    here = float(level.linearise(pose, seen=True).cost)
    if here - there > 2 * len(level.views) * MAX_MIRROR_GAIN:
        # The pose was found at another level: it may settle, too.
        (here,) = evidence.sought(level, pose, REDUCTION, STEPS).costs
    gain = -math.inf if there == math.inf else (here - there) / (2 * len(level.views))
    verdict = Verdict.REJECTED if gain > -MAX_MIRROR_GAIN else Verdict.UNVERIFIED
    return Check.at_most('mirror', gain, MAX_MIRROR_GAIN, (verdict, ErrorCode.RIVAL_POSE))


def mirrored_volume(volume: AttenuationVolume) -> AttenuationVolume:
    """Return a CT with the patient's left and right exchanged about its middle."""
    mirror = torch.eye(4).to(volume.ct_from_index)
    mirror[0, 0], mirror[0, 3] = -1.0, 2 * volume.centre[0]
    return replace(volume, ct_from_index=mirror @ volume.ct_from_index)
