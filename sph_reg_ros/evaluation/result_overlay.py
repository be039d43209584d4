"""The picture of a result: an X-ray with the edges of the CT, and of each body in its colour."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from sph_reg_ros.evaluation.overlay import (
    BODY_COLOURS,
    EDGE_COLOUR,
    levelled,
    overlay,
    thin_edges,
)
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.registration.error_parts import VerdictFor
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.result import RegistrationResult, Verdict
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

_DOUBT = {
    VerdictFor.POSE: '',
    VerdictFor.ACROSS_BEAM: ' across only',
    VerdictFor.ALONG_BEAM: ' along only',
}
"""What follows a VERIFIED body's name."""
MOVED_COLOUR = (255, 80, 80)
ARROW_TIMES = 3.0
_FAINT = 0.02
"""Share of a body's darkest pixel below which a pixel is not its own."""


def result_overlay(
    view: View,
    volume: AttenuationVolume,
    bodies: Bodies | None,
    result: RegistrationResult,
    number: int = 0,
) -> UInt8[np.ndarray, 'H W 3']:
    """Return the X-ray with the edges of what was registered at the poses that were found.

    Each body has a colour of its own, and its name; one with a question mark is not VERIFIED,
    and one that is for a part of the pose only says so. Boxes with arrows show what has moved by
    itself, and to where.

    Args:
        view: the X-ray.
        volume: the CT.
        bodies: those of the request; None: the CT is one body.
        result: of the registration.
        number: of the view in it, from 0.
    """
    camera = view.camera
    xray = levelled(
        view.line_integrals.numpy(), None if view.mask is None else view.mask.cpu().numpy()
    )
    still = volume if bodies is None else bodies.rest
    drr = None if still is None else _rendered(still, result.camera_from_ct[number], camera)
    picture = overlay(xray, drr, EDGE_COLOUR)
    for n, (body, found) in enumerate(zip(bodies or (), result.bodies, strict=True)):
        drr = _rendered(body.volume, found.camera_from_body[number], camera)
        doubt = _DOUBT[found.verification.verdict_for] if found.verdict == Verdict.VERIFIED else '?'
        draw_body(picture, drr, f'{body.name}{doubt}', BODY_COLOURS[n % len(BODY_COLOURS)])
    draw_moved(picture, result.verification.moved, number)
    return picture


def _rendered(
    volume: AttenuationVolume, pose: Float64[Tensor, '4 4'], camera: Camera
) -> Float32[np.ndarray, 'H W']:
    return render(volume, pose, camera.K, camera.size).float().cpu().numpy()


def draw_body(
    picture: UInt8[np.ndarray, 'H W 3'],
    drr: Float32[np.ndarray, 'H W'],
    text: str,
    colour: tuple[int, int, int],
) -> None:
    """Draw the edges of a body into a picture, and a text at its middle.

    Args:
        picture: RGB; changed.
        drr: line integrals of the body alone.
        text: its name.
        colour: RGB.
    """
    # As dark as on film: inside of metal there is nothing to see but its outline.
    dark = -np.expm1(-drr)
    shape = cv2.dilate((dark > _FAINT * dark.max()).astype(np.uint8), np.ones((3, 3))) > 0
    if not shape.any():
        return
    picture[thin_edges(dark, shape)] = colour
    scale = max(0.4, min(drr.shape) / 900)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    row, column = np.argwhere(shape).mean(0)
    place = (round(column - width / 2), round(row + height / 2))
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def draw_moved(
    picture: UInt8[np.ndarray, 'H W 3'], moved: Sequence[MovedPart], number: int = 0
) -> None:
    """Draw a box around what has moved by itself, an arrow to where it is now, and its length.

    The arrow is drawn ARROW_TIMES as long as the way, to be seen.

    Args:
        picture: RGB; changed.
        moved: of all views.
        number: of the view that is shown, from 0.
    """
    height, width = picture.shape[:2]
    scale, font = max(0.4, min(height, width) / 900), cv2.FONT_HERSHEY_SIMPLEX
    for part in moved:
        if part.view != number:
            continue
        rows, columns = part.pixels((height, width))
        top_left, bottom_right = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
        cv2.rectangle(picture, top_left, bottom_right, MOVED_COLOUR, 1)
        middle = np.array([columns.start + columns.stop, rows.start + rows.stop]) / 2
        px_per_mm = (columns.stop - columns.start) / part.extent_mm[0]
        half = ARROW_TIMES * px_per_mm * np.array(part.shift_mm) / 2
        start, end = ((middle + sign * half).round().astype(int).tolist() for sign in (-1, 1))
        cv2.arrowedLine(picture, start, end, MOVED_COLOUR, 1, cv2.LINE_AA, tipLength=0.3)
        text, place = f'{part.size_mm:.1f} mm', (columns.start + 2, max(rows.start - 4, 12))
        cv2.putText(picture, text, place, font, scale, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, text, place, font, scale, MOVED_COLOUR, 1, cv2.LINE_AA)
