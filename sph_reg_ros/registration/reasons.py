"""Why a pose is not verified and what helps, in plain words: one sentence of each.

The same text goes into the messages, the command line, registration.json and the replay report.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol, TypeVar

from sph_reg_ros.errors import ErrorCode


@dataclass(frozen=True)
class Explanation:
    """Two sentences.

    Attributes:
        reason: what is wrong.
        advice: what to do about it.
    """

    reason: str
    advice: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f'{self.reason} Advice: {self.advice}'


class InputDoubt(Enum):
    """Something about an input that explains failed checks, whichever they are.

    Whoever finds it before the registration puts it into `RegistrationRequest.doubts`. It is named
    only where a check has failed; a pose that passes all of them needs no explanation.
    """

    INVERTED_IMAGE = 'inverted_image'
    CT_NOT_HOUNSFIELD = 'ct_not_hounsfield'


class JudgedCheck(Protocol):
    """A check as `registration.result.Check` and the worker's report of it have it."""

    @property
    def name(self) -> str:
        """Return what was checked."""

    @property
    def passed(self) -> bool:
        """Return whether it passed."""

    @property
    def reason(self) -> int:
        """Return the ErrorCode of its failure."""

    @property
    def found(self) -> str:
        """Return what was found, in words; '' where the figure says it."""


C = TypeVar('C', bound=JudgedCheck)

OF_DOUBTS: dict[InputDoubt, tuple[ErrorCode, Explanation]] = {
    InputDoubt.CT_NOT_HOUNSFIELD: (
        ErrorCode.CT_UNREADABLE,
        Explanation(
            "The CT's voxels do not seem to be Hounsfield units (air about -1000, water 0), so "
            'that its rendering does not look like an X-ray.',
            'Load the original DICOM series, or convert the voxels to Hounsfield units.',
        ),
    ),
    InputDoubt.INVERTED_IMAGE: (
        ErrorCode.IMAGE_CONTENT,
        Explanation(
            'The X-ray seems to be inverted: air is dark where it should be bright, or bright '
            'where it should be dark.',
            'Set image.bright_air to auto or to the opposite of what it is (command line: leave '
            'out --invert and --no-invert).',
        ),
    ),
}
"""The most fundamental one first: whether an image is a negative is judged by the CT."""

OF_CHECKS: dict[str | ErrorCode, Explanation] = {
    ErrorCode.CAMERA_INVALID: Explanation(
        'No C-arm has this camera, or this distance of the patient from the X-ray source: often a '
        'unit, the focal length, the pixel pitch or the image size is wrong.',
        'Check K, width and height of camera_info (command line: --sdd, --pixel-pitch), and that '
        'the lengths of the initial pose are in the unit that is asked for.',
    ),
    ErrorCode.LITTLE_OVERLAP: Explanation(
        'Only a small part of the X-ray shows what the CT holds.',
        'Check the initial pose, or load a CT that covers what the X-ray shows.',
    ),
    'mirror': Explanation(
        'The mirrored CT explains the X-ray as well or better: left and right of the CT or of the '
        'X-ray are exchanged, or the anatomy is too symmetric to tell.',
        'Check that the display is not flipped (command line: --flip) and that the CT says rightly '
        'how the patient lies; otherwise take an X-ray that shows an asymmetric part.',
    ),
    ErrorCode.RIVAL_POSE: Explanation(
        'Another pose, such as one vertebra further or half a turn, explains the X-ray at least '
        'as well.',
        'Give a better initial pose, or a view that shows more than one kind of bone.',
    ),
    'target_moved_mm': Explanation(
        'The target has moved against the rest of the CT since that was scanned: the pose is right '
        'for the rest, not for the target.',
        'Give the target as a body (--bodies, bodies.path): it gets a pose of its own.',
    ),
    ErrorCode.BODY_MOVED: Explanation(
        'A part of the patient has moved since the CT (moved: where, and by how much), so that the '
        'pose is right for the rest at best.',
        'Name the target that has to be right (registration.target, --target); give what moves as '
        'bodies (--bodies, bodies.path).',
    ),
    'target_visible': Explanation(
        'The X-ray shows too little of the target: it lies at the edge, or behind a collimator.',
        'Take an X-ray that shows all of the target.',
    ),
    'agreeing_patches': Explanation(
        'Few parts of the X-ray look like the CT at this pose: it is another patient or another '
        'part of the body, instruments or other bones cover much of it, or the pose is a wrong '
        'local optimum.',
        'Check that CT and X-ray belong together; give a better initial pose or a second view.',
    ),
    'focal_misfit': Explanation(
        'The X-ray fits the CT better through a camera of another focal length.',
        'Check the distance from source to detector, the pixel pitch, and that the image was not '
        'rescaled or cropped after its calibration.',
    ),
    'principal_point_misfit': Explanation(
        'The X-ray fits the CT better if the central ray meets the detector elsewhere.',
        'Check cx and cy of the camera, and that the image was not cropped, shifted or flipped '
        'after its calibration.',
    ),
    'aspect_misfit': Explanation(
        'The X-ray fits the CT better if its pixels are wider or higher than the camera says, or '
        'oblique.',
        'Check fx and fy of the camera (command line: both numbers of --pixel-pitch), and that the '
        'image was not stretched after its calibration.',
    ),
    'distortion_misfit': Explanation(
        'The X-ray fits the CT better through a lens or image intensifier that distorts more or '
        'less than the camera says.',
        'Calibrate the distortion of the imager and give it in D of camera_info; if the image was '
        'rectified already, say so (image.rectified).',
    ),
    ErrorCode.CAMERA_INCONSISTENT: Explanation(
        'The X-ray fits the CT better through another camera.',
        'Calibrate the C-arm again, and check that the image was not changed afterwards.',
    ),
    'views_disagree_mm': Explanation(
        'One X-ray wants another pose than the others: an imager pose is wrong, or the patient '
        'moved between the exposures.',
        'Check the imager poses, or take the X-rays again without any movement.',
    ),
    'patch_displacement_mm': Explanation(
        "The X-ray's patches disagree about the pose: other bones moved, the image is distorted, "
        'or it is a wrong local optimum.',
        'Give a better initial pose or a second view; check the calibration of the camera.',
    ),
    ErrorCode.SIMILARITY_TOO_LOW: Explanation(
        'The X-ray does not look like the CT at this pose.',
        'Check that CT and X-ray belong together; give a better initial pose or a second view.',
    ),
    ErrorCode.FAR_FROM_PRIOR: Explanation(
        'The pose lies farther from the initial pose than the stated error of that allows.',
        'Check the initial pose; if it is rough, say so: by its covariance on ROS, or by wider '
        'search_rotation_rad, search_in_plane_mm and search_depth_mm.',
    ),
    ErrorCode.SIMILARITIES_DISAGREE: Explanation(
        'A second measure of similarity leads to another pose.',
        'Look for instruments, text and overexposed parts in the image; give a second view or a '
        'better initial pose.',
    ),
    ErrorCode.STARTS_DISAGREE: Explanation(
        'From other starts nearby, the registration does not come back to this pose: it is a wrong '
        'local optimum, or the X-ray shows too little.',
        'Give a better initial pose, a larger field of view, or a second view.',
    ),
    'remaining_step_mm': Explanation(
        'The solver stopped although the similarity still asks for another pose.',
        'Give a better initial pose, or raise max_iterations.',
    ),
    ErrorCode.NOT_CONVERGED: Explanation(
        'The solver stopped before its steps had become negligible.',
        'Raise max_iterations, or give a better initial pose.',
    ),
    ErrorCode.NUMERICAL: Explanation(
        'The X-ray says nothing about one direction of the pose.',
        'Give a second view, or a larger field of view.',
    ),
    'sigma_along_beam_mm': Explanation(
        'The depth along the beam is too uncertain.',
        'Give a second view from another direction, or set max_tre_across_mm if the depth does not '
        'matter.',
    ),
    'sigma_across_beam_mm': Explanation(
        'The position across the beam is too uncertain: the X-ray shows too little of the bone.',
        'Check exposure and collimation, or take a view that shows more bone.',
    ),
    'frames_since_full_checks': Explanation(
        'The pose was followed from the X-ray before, and no X-ray of this sequence has passed all '
        'checks yet, or none since a pause or a doubt.',
        'Wait for the checks of one of the next X-rays; give a better initial pose if none passes.',
    ),
    'tre_p95_across_mm': Explanation(
        'The pose may be wrong across the beam by more than max_tre_across_mm allows.',
        'Take a view that shows more bone, or raise max_tre_across_mm if a larger error can be '
        'borne; calibrate the imager if its principal point is the reason (calibration).',
    ),
    'tre_p95_along_mm': Explanation(
        'The pose may be wrong along the beam by more than max_tre_along_mm allows.',
        'Give a second view, or raise max_tre_along_mm if a larger error can be borne; calibrate '
        'the imager if its focal length is the reason (calibration).',
    ),
    ErrorCode.POSE_UNCERTAIN: Explanation(
        'The pose may be wrong by more than max_tre_mm allows.',
        'Give a second view; set max_tre_across_mm if the depth along the beam does not matter, or '
        'raise max_tre_mm if a larger error can be borne; calibrate the imager, and say by '
        'calibration how well (exact, calibrated, nominal, unknown).',
    ),
}
"""By the name of a check, or by the code of those that are not listed by name. The most fundamental
one first: what stands higher explains what stands lower."""


@dataclass(frozen=True)
class Finding:
    """The most fundamental reason why a pose is not verified."""

    code: ErrorCode
    explanation: Explanation


def finding_of(checks: Iterable[JudgedCheck], doubts: Iterable[InputDoubt] = ()) -> Finding | None:
    """Return why a pose is not verified; None if no check has failed.

    Args:
        checks: of the pose.
        doubts: about the inputs; they come before every check.
    """
    failed = failures(checks)
    if not failed:
        return None
    present = set(doubts)
    for doubt, (code, explanation) in OF_DOUBTS.items():
        if doubt in present:
            return Finding(code, explanation)
    explanation = OF_CHECKS[_key(failed[0])]
    if failed[0].found:
        explanation = replace(explanation, reason=f'{explanation.reason} {failed[0].found}.')
    return Finding(ErrorCode(failed[0].reason), explanation)


def failures(checks: Iterable[C]) -> list[C]:
    """Return the checks that have failed, the most fundamental one first."""
    order = list(OF_CHECKS)
    failed = [check for check in checks if not check.passed]
    return sorted(failed, key=lambda check: order.index(_key(check)))


def _key(check: JudgedCheck) -> str | ErrorCode:
    return check.name if check.name in OF_CHECKS else ErrorCode(check.reason)
