"""Description of a CT: `sph-reg ct-info`."""

from pathlib import Path

import numpy as np

from sph_reg_ros.cli.ct_file import read_ct
from sph_reg_ros.imaging.ct.hounsfield import range_text
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import list_series


def ct_info_lines(path: Path, series_uid: str | None, *, assume_lps: bool = False) -> list[str]:
    """Return the series of a folder, and the geometry of the one that is meant.

    Raises:
        CTError: the CT cannot be read.
    """
    series = list_series(path)
    lines = [f'{info.modality:<4}{info}' for info in series]
    if series_uid is None and sum(info.modality == 'CT' for info in series) > 1:
        return [*lines, 'several CT series: choose one by --series UID']
    return lines + geometry_lines(read_ct(path, series_uid, assume_lps=assume_lps))


def geometry_lines(ct: CT) -> list[str]:
    """Return size, spacing, orientation, position and range of a CT, one a line."""
    columns_rows_slices = ct.hounsfield.shape[::-1]
    sizes = zip(columns_rows_slices, ct.spacing_mm, strict=True)
    extent = ' x '.join(f'{n * spacing:.1f}' for n, spacing in sizes)
    centre = ct.ct_from_index @ [*((np.array(columns_rows_slices) - 1) / 2), 1]
    handed = 'right' if np.linalg.det(ct.ct_from_index[:3, :3]) > 0 else 'left'
    return [
        f'size         {" x ".join(map(str, columns_rows_slices))} voxels, {ct.hounsfield.dtype}',
        f'spacing      {" x ".join(f"{mm:.4g}" for mm in ct.spacing_mm)} mm',
        f'extent       {extent} mm',
        f'orientation  {ct.orientation} (where i, j, k grow to; {handed}-handed storage)',
        f'centre       {" ".join(f"{mm:.2f}" for mm in centre[:3])} mm in LPS',
        f'values       {hounsfield_text(ct)}',
        *(f'assumed      {text}' for text in ct.assumptions),
        f'series hash  {ct.series_uid_hash}',
    ]


def hounsfield_text(ct: CT) -> str:
    """Return the range of values, and a doubt if it does not look like Hounsfield units."""
    return range_text(ct.hounsfield)
