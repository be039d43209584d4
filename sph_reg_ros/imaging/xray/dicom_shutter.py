"""Pixels that a DICOM header declares unusable: padding, display shutter, collimator."""

import torch
from jaxtyping import Bool, Float
from pydicom import Dataset
from torch import Tensor

from sph_reg_ros.errors import CameraError, ErrorCode, ImageError
from sph_reg_ros.imaging.dicom.decode import padding_range
from sph_reg_ros.imaging.dicom.tags import read_numbers, read_words, tag_label
from sph_reg_ros.imaging.xray.masks import inside_circle, inside_polygon, inside_rectangle


def declared_mask(dataset: Dataset, stored: Float[Tensor, 'H W']) -> Bool[Tensor, 'H W']:
    """Return True where the header lets a pixel count.

    Args:
        dataset: header with PixelPaddingValue, the Display Shutter (DICOM PS3.3 C.7.6.11) and the
            X-Ray Collimator module (C.8.7.3), any of them absent.
        stored: stored values [H, W], before any rescaling.

    Raises:
        ImageError: a shape is given without its size, or nothing is left.
    """
    mask = ~_padded(dataset, stored)
    size = (stored.shape[0], stored.shape[1])
    try:
        for name in ('Shutter', 'Collimator'):
            for shape in read_words(dataset, f'{name}Shape'):
                mask &= _open_area(dataset, name, shape, size)
    except CameraError as error:
        raise ImageError(ErrorCode.IMAGE_LAYOUT, str(error)) from None
    if not mask.any():
        raise ImageError(
            ErrorCode.IMAGE_CONTENT, 'padding and shutters leave no pixel: correct the file'
        )
    return mask


def _padded(dataset: Dataset, stored: Float[Tensor, 'H W']) -> Bool[Tensor, 'H W']:
    padding = padding_range(dataset)
    if padding is None:
        return torch.zeros(stored.shape, dtype=torch.bool)
    return (stored >= padding[0]) & (stored <= padding[1])


def _open_area(
    dataset: Dataset, name: str, shape: str, size: tuple[int, int]
) -> Bool[Tensor, 'H W']:
    # DICOM counts rows and columns from 1.
    if shape == 'RECTANGULAR':
        edges = [
            _needed(dataset, f'{name}{edge}Edge', 1)[0] - 1
            for edge in ('UpperHorizontal', 'LowerHorizontal', 'LeftVertical', 'RightVertical')
        ]
        return inside_rectangle(size, (edges[0], edges[1]), (edges[2], edges[3]))
    if shape == 'CIRCULAR':
        row, column = _needed(dataset, f'CenterOfCircular{name}', 2)
        radius = _needed(dataset, f'RadiusOfCircular{name}', 1)[0]
        return inside_circle(size, (row - 1, column - 1), radius)
    if shape == 'POLYGONAL':
        numbers = _needed(dataset, f'VerticesOfThePolygonal{name}', None)
        if len(numbers) < 6 or len(numbers) % 2:
            raise _missing(f'VerticesOfThePolygonal{name}', name)
        vertices = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 2) - 1
        return inside_polygon(size, vertices)
    # BITMAP shutters and unknown shapes: nothing is known to be closed.
    return torch.ones(size, dtype=torch.bool)


def _needed(dataset: Dataset, keyword: str, count: int | None) -> tuple[float, ...]:
    numbers = read_numbers(dataset, keyword, count)
    if not numbers:
        raise _missing(keyword, 'shutter' if 'Shutter' in keyword else 'collimator')
    return numbers


def _missing(keyword: str, name: str) -> ImageError:
    return ImageError(
        ErrorCode.IMAGE_LAYOUT,
        f'{tag_label(keyword)} is missing or incomplete although the file has a {name.lower()}',
    )
