"""How far a camera can be trusted: standard deviations of what it says of its imager."""

from dataclasses import astuple, dataclass

AS_CALIBRATION = -1.0
"""In place of a standard deviation: that of the calibration."""


@dataclass(frozen=True)
class ImagerTrust:
    """Standard deviations, all shares; 0 is exact.

    Attributes:
        focal_length: of the focal length.
        principal_point: of each of its coordinates, of the image's height.
        aspect: of the ratio of a pixel's width and height.
        skew: of the tangent by which pixels are oblique.
        distortion: of the distance from the centre, half an image's height away from it, by which
            a pixel is displaced, radially or around the centre (S-distortion).
    """

    focal_length: float
    principal_point: float
    aspect: float
    skew: float
    distortion: float

    def but(self, *deviations: float) -> 'ImagerTrust':
        """Return other deviations, in the order of the attributes, where they are not negative."""
        pairs = zip(deviations, astuple(self), strict=True)
        return ImagerTrust(*(usual if given < 0 else given for given, usual in pairs))


CALIBRATIONS = {
    'exact': ImagerTrust(0.0, 0.0, 0.0, 0.0, 0.0),
    'calibrated': ImagerTrust(0.001, 0.001, 0.0005, 0.0005, 0.0005),
    'nominal': ImagerTrust(0.01, 0.015, 0.002, 0.002, 0.005),
    'unknown': ImagerTrust(0.05, 0.05, 0.02, 0.02, 0.05),
}
"""Exact: simulated X-rays. Calibrated: with a phantom, on this imager and at this angulation; what
is left is 1 mm of a distance of 1000 mm, and 0.3 mm on a detector of 300 mm. Nominal: by data
sheet or DICOM header; C-arms bend by millimetres, distances are rounded. Unknown: a guess."""
