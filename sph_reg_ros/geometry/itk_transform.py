"""Rigid transforms as ITK writes them in text (.tfm): 3D Slicer, ANTs, SimpleITK.

ITK's coordinates are LPS in millimetres. A transform in a file maps points of the space that an
image is resampled *into* to points of the space that it comes *from*. 3D Slicer takes the file the
same way: it is the transform "from parent", so that a node to which it is applied moves the other
way round. To move the CT into the camera's frame a file must therefore hold `ct_from_camera`.
"""

import re

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.geometry import se3

HEADER = '#Insight Transform File V1.0'
_KIND = 'AffineTransform_double_3_3'
_LINEAR_KINDS = (_KIND, 'MatrixOffsetTransformBase_double_3_3')


def is_itk_transform(text: str) -> bool:
    """Return whether a file's text says that it is one."""
    return text.lstrip().startswith('#Insight Transform File')


def itk_transform_text(
    source_from_target: Float64[Tensor, '4 4'], comments: tuple[str, ...]
) -> str:
    """Return a file that moves what it is applied to from `source` to `target`.

    Args:
        source_from_target: maps points [4, 4] (mm) of the space that is moved into to points of the
            space that is left.
        comments: lines for human readers.
    """
    R, t = source_from_target[:3, :3], source_from_target[:3, 3]
    numbers = torch.cat([R.reshape(-1), t]).double().tolist()
    lines = [
        HEADER,
        *(f'# {comment}' for comment in comments),
        '#Transform 0',
        f'Transform: {_KIND}',
        f'Parameters: {" ".join(map(repr, numbers))}',
        'FixedParameters: 0 0 0',
    ]
    return '\n'.join(lines) + '\n'


def parse_itk_transform(text: str) -> Float64[Tensor, '4 4']:
    """Return the matrix of a file with one linear transform: the inverse of `itk_transform_text`.

    Raises:
        PoseError: it holds another kind of transform, several, or other numbers than it should.
    """
    kinds = re.findall(r'^Transform:\s*(\S+)', text, re.MULTILINE)
    if len(kinds) != 1 or kinds[0] not in _LINEAR_KINDS:
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'the file holds {", ".join(kinds) or "no transform"}, not one linear transform '
            f'({_KIND})',
        )
    numbers = _numbers(text, 'Parameters', 12)
    centre = _numbers(text, 'FixedParameters', 3)
    A = numbers[:9].reshape(3, 3)
    return se3.from_parts(A, numbers[9:] + centre - A @ centre)


def _numbers(text: str, name: str, count: int) -> Float64[Tensor, ' n']:
    found = re.search(rf'^{name}:(.*)$', text, re.MULTILINE)
    try:
        numbers = [float(word) for word in found[1].split()] if found else []
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise PoseError(ErrorCode.POSE_INVALID, f'{name} of the transform are not {count} numbers')
    return torch.tensor(numbers, dtype=torch.float64)
