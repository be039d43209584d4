"""Limits of the checks and of the error bound, from what `bench/gate.py` measures.

They lie between the figures of right poses and those of wrong ones, with room to both sides; see
docs/measurements.md.
"""

MAX_CONDITION = 1e8
"""Of the covariance: beyond it, a direction of the pose is as good as unknown."""
MAX_ACROSS_MM = 0.5
"""Standard deviation across the beam, rms over the region of interest."""
MAX_ALONG_MM = 1.5
"""The same along the beam."""
MAX_REMAINING_MM = 0.8
"""Step that the optimised similarity may still want."""
MAX_VIEW_MM = 0.8
"""The same by one of several views alone, less its standard deviation."""
MAX_HELD_OUT_MM = 3.5
"""How far a similarity that was not optimised may lead away."""
MAX_RETURN_MM = 4.0
"""The same from other starts."""
MAX_DISPLACEMENT_MM = 0.9
"""Median distance by which patches of the X-ray lie off those of the rendering, in mm at the CT."""
MAX_MOVED_MM = 1.0
"""Way across the beam by which a part of the X-ray has moved by itself."""
MAX_TARGET_MOVED_MM = 1.2
"""Way by which a target lies off the rest of the CT, by itself."""
MIN_TARGET_VISIBLE = 0.5
"""Share of a target's shadow that an X-ray has to show."""
MIN_SHARE_OF_PATCHES = 0.5
"""Of the patches with structure, those that can be compared at all."""
MAX_FOCAL_MISFIT = 0.006
"""Relative change of the focal length that the X-ray certainly wants."""
MAX_PRINCIPAL_POINT_MISFIT = 0.007
"""Way of the principal point that it certainly wants, in focal lengths."""
MAX_ASPECT_MISFIT = 0.003
"""By how much pixels certainly are wider than high, against what the camera says."""
MAX_DISTORTION_MISFIT = 0.004
"""Share of its distance from the centre by which a pixel half an image's height away from it
certainly is displaced."""
MAX_RIVAL_GAIN = 0.0
"""Similarity that another pose may have more than the one that is judged."""
MAX_MIRROR_GAIN = -0.01
"""Similarity that the mirrored CT may have more."""
MAX_SQUARED_DISTANCE = 22.5
"""99.9 % quantile of chi squared with six degrees of freedom."""
MIN_OVERLAP = 0.25
"""Share of the image's rays that meet the CT."""
MAX_CAMERA_MISFIT = 1.0
"""Ratio by which the camera may leave the range of C-arms."""

ERROR_PER_SIGMA = 5.0
"""True errors beside the covariance's, which knows only what varies over the image."""
ERROR_PER_DISTANCE = 0.25
"""True errors beside the distance between the optima of different similarities."""
FLOOR_MM = 0.1
"""Error that is left however much the evidence agrees."""
BOUND_SCALE = 2.0
"""The 95 % bound, in units of the estimated error: of all of it, and of its parts across the beam
and along it. By bench/bound.py (five CTs, conformal quantile of the other four) 1.3 to 1.5 would do
for one view and 0.3 to 0.6 for two, 0.7 at most across the beam; the rest is for what simulated
X-rays lack."""
