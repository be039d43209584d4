"""The three pictures of the report: edges, blended, checkerboard."""

import io
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from sph_reg_ros.evaluation.overlay import blended, checkerboard, levelled, overlay
from sph_reg_ros.evaluation.result_overlay import draw_moved
from sph_reg_ros.files import write_together
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.service.parameters import ImageParameters
from sph_reg_ros.service.protocol import RegisterView
from sph_reg_ros.service.session import prepare_view

FOLDER = 'pictures'
LARGEST_PX = 384
_QUALITY = 85


def pictures(
    view: XRayView,
    drr: Float32[np.ndarray, 'H W'],
    parameters: ImageParameters,
    edges: UInt8[np.ndarray, 'H W 3'] | None = None,
    moved: Sequence[MovedPart] = (),
) -> dict[str, bytes]:
    """Return JPEGs by name: edges, blended, checkerboard.

    Args:
        view: the X-ray.
        drr: rendering at the pose that was found.
        parameters: how raw pixels become line integrals.
        edges: the first picture, if it is there already; else the edges of the rendering are drawn.
        moved: what has moved by itself, to be drawn into the first picture.
    """
    prepared = prepare_view(RegisterView(view.pixels, view.K, lens=view.lens), parameters)
    mask = None if prepared.mask is None else prepared.mask.numpy()
    xray = levelled(prepared.line_integrals.numpy(), mask)
    if edges is None:
        edges = overlay(xray, drr)
        draw_moved(edges, moved)
    made = {
        'edges': edges,
        'blended': blended(xray, drr),
        'checkerboard': checkerboard(xray, drr),
    }
    return {name: _jpeg(picture) for name, picture in made.items()}


def write_pictures(
    view: XRayView,
    drr: Float32[np.ndarray, 'H W'],
    parameters: ImageParameters,
    folder: Path,
    edges: UInt8[np.ndarray, 'H W 3'] | None = None,
    moved: Sequence[MovedPart] = (),
) -> dict[str, str]:
    """Write the pictures into a folder of this one; return their paths in it, by name."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    made = pictures(view, drr, parameters, edges, moved)
    names = {name: f'{FOLDER}/{_unused(view.stamp_ns, name, folder)}' for name in made}
    write_together({folder / names[name]: made[name] for name in made})
    return names


def _unused(stamp_ns: int, name: str, folder: Path) -> str:
    """Return the name of a file that is not there yet: two images may bear the same stamp."""
    names = chain([f'{stamp_ns}_{name}.jpg'], (f'{stamp_ns}-{n}_{name}.jpg' for n in count(2)))
    return next(one for one in names if not (folder / FOLDER / one).exists())


def _jpeg(pixels: UInt8[np.ndarray, 'H W 3']) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format='JPEG', quality=_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()
