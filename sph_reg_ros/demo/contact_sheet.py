"""One picture of the demo: edges of the rendered CT on every X-ray, before and after; no ROS."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image, ImageDraw, ImageFont

from sph_reg_ros.evaluation.overlay import BODY_COLOURS, EDGE_COLOUR, overlay
from sph_reg_ros.evaluation.result_overlay import draw_body

BACKGROUND, TEXT, FAINT = (16, 18, 22), (235, 238, 242), (150, 156, 166)
BEFORE, AFTER = (255, 112, 67), EDGE_COLOUR
COLUMNS, TILE, GAP, MARGIN = 5, 256, 10, 20
TITLE_HEIGHT, LABEL_HEIGHT, CAPTION_HEIGHT = 66, 30, 24
_COLOURS = 256
PICTURE_STEP_MM = 2.0
"""Step of the renderings: coarser than the registration's own, they are only looked at."""


@dataclass(frozen=True)
class Tile:
    """One image of the contact sheet.

    Attributes:
        title: over the pair of pictures.
        counts: the X-ray [H, W].
        before: rendering [H, W] at the initial pose.
        after: rendering [H, W] at the registered pose; None if there is none.
        before_caption: under the first picture.
        after_caption: under the second.
        bodies: renderings [H, W] of what moved for itself, by name, for the second.
    """

    title: str
    counts: Shaped[np.ndarray, 'H W']
    before: Float32[np.ndarray, 'H W']
    after: Float32[np.ndarray, 'H W'] | None
    before_caption: str
    after_caption: str
    bodies: dict[str, Float32[np.ndarray, 'H W']] = field(default_factory=dict)


def save_contact_sheet(tiles: Sequence[Tile], path: Path) -> None:
    """Write the sheet as a PNG of few colours; the folder is made."""
    blocks = -(-len(tiles) // COLUMNS)
    block_height = LABEL_HEIGHT + 2 * (TILE + CAPTION_HEIGHT) + GAP
    width = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * GAP
    sheet = Image.new('RGB', (width, MARGIN + TITLE_HEIGHT + blocks * block_height), BACKGROUND)
    _draw_title(ImageDraw.Draw(sheet))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        corner = (MARGIN + column * (TILE + GAP), MARGIN + TITLE_HEIGHT + row * block_height)
        _draw_tile(sheet, tile, corner)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _draw_title(draw: ImageDraw.ImageDraw) -> None:
    draw.text((MARGIN, MARGIN), 'CT registered to simulated X-rays', TEXT, _font(26))
    x: float = MARGIN
    for text, colour in (
        ('edges of the rendered CT:   ', FAINT),
        ('before, at the pose that the encoders gave', BEFORE),
        ('   and   ', FAINT),
        ('after registration', AFTER),
    ):
        draw.text((x, MARGIN + 34), text, colour, _font(17))
        x += draw.textlength(text, _font(17))


def _draw_tile(sheet: Image.Image, tile: Tile, corner: tuple[int, int]) -> None:
    draw, (x, y) = ImageDraw.Draw(sheet), corner
    draw.text((x, y + 4), tile.title, TEXT, _font(17))
    y += LABEL_HEIGHT
    # Counts fall exponentially: their logarithm shows thick and thin tissue alike.
    dense = -np.log(np.maximum(tile.counts.astype(np.float32), 1.0))
    for drr, colour, caption in (
        (tile.before, BEFORE, tile.before_caption),
        (tile.after, AFTER, tile.after_caption),
    ):
        pixels = overlay(dense, drr, colour)
        if colour == AFTER:
            for (name, body), own in zip(tile.bodies.items(), BODY_COLOURS, strict=False):
                draw_body(pixels, body, name, own)
        picture = Image.fromarray(pixels)
        sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + TILE + 3), caption, colour, _font(15))
        y += TILE + CAPTION_HEIGHT


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
