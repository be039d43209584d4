"""CT: what its constructor refuses, and its orientation."""

import numpy as np
import pytest

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging.ct.volume import CT, orientation_letters

GRID = np.diag([0.7, 0.9, 2.5, 1.0])
VOXELS = np.zeros((3, 4, 5), np.int16)


def affine(**entries) -> np.ndarray:
    """GRID with entries changed, e.g. a01=2.0 for row 0, column 1."""
    changed = GRID.copy()
    for name, value in entries.items():
        changed[int(name[1]), int(name[2])] = value
    return changed


@pytest.mark.parametrize(
    'voxels, grid, code',
    [
        (VOXELS[:1], GRID, ErrorCode.CT_TOO_FEW_SLICES),
        (VOXELS[0], GRID, ErrorCode.CT_TOO_FEW_SLICES),
        (VOXELS[None], GRID, ErrorCode.CT_GEOMETRY),
        (VOXELS.astype(np.int32), GRID, ErrorCode.CT_UNREADABLE),
        (np.full((3, 4, 5), np.nan, np.float32), GRID, ErrorCode.CT_UNREADABLE),
        (VOXELS, affine(a01=np.nan), ErrorCode.CT_GEOMETRY),
        (VOXELS, affine(a22=0.0), ErrorCode.CT_GEOMETRY),
        (VOXELS, affine(a01=0.01), ErrorCode.CT_GEOMETRY),
        (VOXELS, affine(a30=1.0), ErrorCode.CT_GEOMETRY),
        (VOXELS, GRID[:3], ErrorCode.CT_GEOMETRY),
        (VOXELS, np.diag([7e-4, 9e-4, 2.5e-3, 1.0]), ErrorCode.CT_GEOMETRY),  # metres
        (VOXELS, np.diag([700.0, 900.0, 2500.0, 1.0]), ErrorCode.CT_GEOMETRY),  # micrometres
    ],
)
def test_a_broken_ct_is_refused(voxels, grid, code):
    with pytest.raises(CTError) as error:
        CT(voxels, grid, series_uid_hash='')
    assert error.value.code == code


def test_a_rounded_affine_is_accepted():
    assert CT(VOXELS, affine(a01=1e-5), series_uid_hash='').spacing_mm == pytest.approx(
        (0.7, 0.9, 2.5)
    )


@pytest.mark.parametrize(
    'columns, letters',
    [
        (([1, 0, 0], [0, 1, 0], [0, 0, 1]), 'LPS'),
        (([0, 0.8, 0.6], [0, 0.6, -0.8], [-1, 0, 0]), 'PIR'),
        (([-0.76, 0.49, 0.42], [0.64, 0.58, 0.5], [0, -0.64, 0.76]), 'RPS'),
        (([0.9, 0.3, 0.3], [0.8, 0.5, 0.33], [0.1, 0.2, 0.97]), 'LPS'),
    ],
)
def test_orientation_names_the_nearest_patient_directions(columns, letters):
    grid = np.eye(4)
    grid[:3, :3] = np.array(columns).T
    assert orientation_letters(grid) == letters


def test_the_content_hash_tells_voxels_and_geometry_but_not_the_type_of_numbers():
    ct = CT(VOXELS, GRID, 'name')
    assert len(ct.content_hash) == 64
    same = CT(VOXELS.astype(np.float32) + np.float32(0.3), affine(a03=1e-5), 'another name')
    assert ct.content_hash == same.content_hash
    changed = VOXELS.copy()
    changed[1, 2, 3] = 1
    others = [CT(changed, GRID, 'name'), CT(VOXELS, affine(a03=0.01), 'name')]
    others.append(CT(VOXELS.swapaxes(1, 2), GRID, 'name'))
    assert len({each.content_hash for each in (ct, *others)}) == 4
