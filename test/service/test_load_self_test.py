"""A CT with a localizer is tried on it when it is loaded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from localizer_files import SIDE, localizer_dataset, philips, standard, write_study

from sph_reg_ros.service.protocol import LoadCT
from sph_reg_ros.service.session import RegistrationSession


@pytest.fixture(scope='module')
def study(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp('study'), localizer_dataset(SIDE, philips))


def loaded(folder: Path, **options):
    torch.set_num_threads(1)
    return RegistrationSession().handle(LoadCT(str(folder), '', 60.0, None, **options), print)


def test_a_line_tells_verdict_and_error_and_doubts_tell_why_not(study):
    found = loaded(study, self_test=True)
    (line,) = found.self_test
    verdict, rest = line.split(': ', 1)
    assert rest.startswith("lateral localizer, source at the patient's left: 0.")
    assert 'mm along the table' in rest and 'similarity 0.9' in rest
    assert [text.startswith('self-test on the lateral') for text in found.doubts] == (
        [] if verdict == 'VERIFIED' else [True]
    )


def test_it_is_left_out_unless_asked_for_and_without_a_localizer(study):
    assert loaded(study).self_test == ()
    assert loaded(study / 'axial', self_test=True).self_test == ()


def test_a_localizer_that_cannot_be_used_never_keeps_a_ct_from_being_loaded(tmp_path):
    scout = localizer_dataset(SIDE, standard)
    scout.ImagePositionPatient = [0, 0, 5000]
    found = loaded(write_study(tmp_path, scout), self_test=True)
    assert found.self_test[0].startswith('self-test not possible: lateral localizer')
    assert np.prod(found.shape) > 0 and found.doubts == ()
