"""What the worker does with networks: found with a CT, kept, and forgotten with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_files import PITCH_MM, SDD_MM, SIZE, Files, body, write_files
from ct_files import Phantom, write_volume
from PIL import Image
from tiny_networks import damage, write_networks
from torch.nn.modules.module import register_module_forward_hook

from sph_reg_ros.errors import ErrorCode, RegistrationError
from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.reasons import InputDoubt
from sph_reg_ros.service.protocol import CTLoaded, LoadCT, Register, Registered, RegisterView
from sph_reg_ros.service.session import NOT_LOOKED_FOR, RegistrationSession

CAMERA = Camera.from_geometry(SDD_MM, PITCH_MM, SIZE)


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> Files:
    return write_files(tmp_path_factory.mktemp('files'))


@pytest.fixture(scope='module')
def own(files, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('own')
    write_networks(folder / 'body', load_ct(files / 'ct.nii.gz'), CAMERA, files.near())
    return folder


@pytest.fixture
def session() -> RegistrationSession:
    return RegistrationSession()


def load(
    session: RegistrationSession,
    files: Files,
    weights: Path | str | None = '',
    backend: str | None = None,
) -> CTLoaded:
    request = LoadCT(str(files / 'ct.nii.gz'), '', 60.0, weights and str(weights), backend)
    return session.handle(request, print)


def register(
    session: RegistrationSession, files: Files, start=None, camera=CAMERA, **settings
) -> Registered:
    with Image.open(files / 'xray.png') as image:
        view = RegisterView(np.array(image), camera.K.numpy())
    config = RegistrationConfig(**settings)
    return session.handle(Register((view,), start, config=config), lambda progress: None)


def searched(session: RegistrationSession, files: Files, **settings) -> str:
    """Register without initial pose, by a search; return the warnings."""
    found = register(session, files, **settings)
    assert found.method == 'image'
    assert files.error_of(found.camera_from_ct[0])[0] < 0.5
    return ' '.join(found.warnings)


def test_networks_of_the_ct_need_no_initial_pose(session, files, own):
    assert load(session, files, own, 'auto').networks == 'body'
    for _ in range(2):
        found = register(session, files)
        assert found.method == 'spherical' and found.verdict == 1
        assert files.error_of(found.camera_from_ct[0])[0] < 0.5
    near = register(session, files, files.near().numpy())
    assert near.method == 'spherical' and NOT_LOOKED_FOR not in near.warnings


def test_without_networks_no_initial_pose_is_needed_and_one_is_used(session, files):
    assert load(session, files).networks == ''
    assert 'no networks for this CT' in searched(session, files)
    found = register(session, files, files.near().numpy())
    assert found.method == 'image'
    assert any('no networks for this CT' in text for text in found.warnings)


def test_a_ct_that_is_not_in_hounsfield_units_is_told_at_once_and_in_every_result(
    session, files, tmp_path
):
    assert load(session, files).doubts == ()
    phantom = body()
    stored = Phantom(phantom.hounsfield + 1024, phantom.ct_from_index)
    path = write_volume(tmp_path / 'ct.nrrd', stored)
    (doubt,) = session.handle(LoadCT(str(path), '', 60.0), print).doubts
    assert 'no air or no tissue: are these HU?' in doubt
    found = register(session, files, files.near().numpy())
    assert found.warnings[0] == doubt and found.doubts == (InputDoubt.CT_NOT_HOUNSFIELD,)


def test_networks_are_forgotten_with_their_ct(session, files, own):
    for weights in (None, ''):
        load(session, files, own)
        load(session, files, weights)
        assert 'no networks for this CT' in searched(session, files)


def test_both_networks_run_before_the_first_xray(session, files, own):
    ran = []
    hook = register_module_forward_hook(lambda network, *_: ran.append(type(network).__name__))
    try:
        load(session, files, own, 'auto')
    finally:
        hook.remove()
    assert {'PoseRegressor', 'SphericalEncoder'} <= set(ran)


def test_method_image_uses_no_networks_even_if_they_are_there(session, files, own):
    load(session, files, own)
    assert 'networks' not in searched(session, files, method='image')
    assert register(session, files, files.near().numpy(), method='image').method == 'image'


def test_networks_of_a_larger_field_of_view_are_not_used(session, files, own):
    load(session, files, own)
    K = CAMERA.K.clone()
    K[:2, :2] *= 1.2
    assert 'larger field of view' in searched(session, files, camera=replace(CAMERA, K=K))


def test_a_method_that_was_changed_after_loading_asks_for_the_ct_again(session, files, own):
    load(session, files, weights=None)
    found = register(session, files, files.near().numpy())
    assert found.method == 'image' and NOT_LOOKED_FOR in found.warnings
    assert not register(session, files, files.near().numpy(), method='image').warnings[1:]


def test_broken_networks_of_the_ct_are_no_ct(session, files, tmp_path):
    ct = load_ct(files / 'ct.nii.gz')
    damage(write_networks(tmp_path / 'body', ct, CAMERA, files.near()))
    for folder, code in (
        (tmp_path, ErrorCode.WEIGHTS_INVALID),
        (tmp_path / 'absent', ErrorCode.WEIGHTS_MISSING),
    ):
        with pytest.raises(RegistrationError) as caught:
            load(session, files, folder)
        assert caught.value.code == code
        with pytest.raises(RegistrationError) as caught:
            register(session, files)
        assert caught.value.code == ErrorCode.CT_NOT_LOADED


@pytest.mark.parametrize(
    'wrong', [{'path': 'absent.nii.gz'}, {'weights': 'absent'}, {'backend': 'no such renderer'}]
)
def test_what_cannot_be_loaded_leaves_ct_and_networks_as_they_are(session, files, own, wrong):
    load(session, files, own)
    before = register(session, files)
    asked = LoadCT(str(files / 'ct.nii.gz'), '', 70.0, None, 'auto')
    with pytest.raises(RegistrationError):
        session.handle(replace(asked, **wrong), print)
    after = register(session, files)
    assert after.method == 'spherical'
    assert np.array_equal(after.camera_from_ct[0], before.camera_from_ct[0])
    assert NOT_LOOKED_FOR not in after.warnings
