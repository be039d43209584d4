"""One picture of the demo: edges of the rendered CT on every X-ray, before and after; no ROS."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

BACKGROUND, TEXT, FAINT = (16, 18, 22), (235, 238, 242), (150, 156, 166)
BEFORE, AFTER = (255, 112, 67), (64, 224, 190)
COLUMNS, TILE, GAP, MARGIN = 5, 256, 10, 20
TITLE_HEIGHT, LABEL_HEIGHT, CAPTION_HEIGHT = 66, 30, 24
_EDGE_QUANTILE = 0.88
_COLOURS = 128


@dataclass(frozen=True)
class Tile:
    """What is shown of one image.

    Attributes:
        title: over the pair of pictures.
        counts: the X-ray [H, W].
        before: rendering [H, W] at the initial pose.
        after: rendering [H, W] at the registered pose; None if there is none.
        before_caption: under the first picture.
        after_caption: under the second.
    """

    title: str
    counts: Shaped[np.ndarray, 'H W']
    before: Float32[np.ndarray, 'H W']
    after: Float32[np.ndarray, 'H W'] | None
    before_caption: str
    after_caption: str


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
    for drr, colour, caption in (
        (tile.before, BEFORE, tile.before_caption),
        (tile.after, AFTER, tile.after_caption),
    ):
        picture = Image.fromarray(edges_on_xray(tile.counts, drr, colour))
        sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + TILE + 3), caption, colour, _font(15))
        y += TILE + CAPTION_HEIGHT


def edges_on_xray(
    counts: Shaped[np.ndarray, 'H W'],
    drr: Float32[np.ndarray, 'H W'] | None,
    colour: tuple[int, int, int],
) -> UInt8[np.ndarray, 'H W 3']:
    """Return the X-ray, bone bright, with thin edges of a rendering in colour."""
    dense = -np.log(np.maximum(counts.astype(np.float32), 1.0))
    low, high = np.quantile(dense, (0.002, 0.998))
    grey = np.clip((dense - low) / max(high - low, 1e-6), 0, 1)[..., None] * 210.0
    picture = np.repeat(grey, 3, axis=-1)
    if drr is not None:
        picture[thin_edges(drr)] = colour
    return picture.astype(np.uint8)


def thin_edges(image: Float32[np.ndarray, 'H W']) -> Bool[np.ndarray, 'H W']:
    """Return where the gradient is strong and largest along its own direction (Canny, 1986)."""
    down, right = np.gradient(_smoothed(_smoothed(image)))
    strength = np.hypot(down, right)
    padded = np.pad(strength, 1)
    # Octants of the gradient's direction, opposite ones together: 0, 45, 90, 135 degrees.
    direction = np.round(np.arctan2(down, right) / (np.pi / 4)).astype(int) % 4
    ridge = np.zeros(image.shape, bool)
    height, width = image.shape
    for number, (dv, du) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dv : 1 + dv + height, 1 + du : 1 + du + width]
        behind = padded[1 - dv : 1 - dv + height, 1 - du : 1 - du + width]
        ridge |= (direction == number) & (strength >= ahead) & (strength > behind)
    border = np.zeros_like(ridge)
    border[3:-3, 3:-3] = True
    return ridge & border & (strength > np.quantile(strength, _EDGE_QUANTILE))


def _smoothed(image: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode='edge')
        first, middle, last = (
            np.take(padded, range(start, start + image.shape[axis]), axis) for start in range(3)
        )
        image = 0.25 * first + 0.5 * middle + 0.25 * last
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
