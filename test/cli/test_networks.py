"""sph-reg register with networks: found, not found, not fitting, broken."""

import json

import pytest
import torch
from cli_files import PITCH_MM, SDD_MM, SIZE, Files
from tiny_networks import damage, write_networks

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.load import load_ct

CAMERA = Camera.from_geometry(SDD_MM, PITCH_MM, SIZE)


@pytest.fixture(scope='module')
def own(files, tmp_path_factory):
    """A folder with networks of the CT, made from its DICOM form."""
    folder = tmp_path_factory.mktemp('own')
    write_networks(folder / 'body', load_ct(files / 'dicom'), CAMERA, files.near())
    return folder


@pytest.fixture(scope='module')
def narrow(files, tmp_path_factory):
    """A folder with networks that want to see more than the X-rays show."""
    folder = tmp_path_factory.mktemp('narrow')
    wide = Camera.from_geometry(SDD_MM, (2 * PITCH_MM[0], 2 * PITCH_MM[1]), SIZE)
    write_networks(folder / 'body', load_ct(files / 'ct.nii.gz'), wide, files.near())
    return folder


def register(files: Files, *options):
    return files.register('--camera', files / 'alone.yaml', *options, '--json')


def test_networks_need_no_start(files, own):
    done = register(files, '--weights', own)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result['method'], result['networks']) == ('spherical', 'body')
    assert result['initial_camera_from_ct'] is None
    in_plane_mm, rotation_deg = files.error_of(result['camera_from_ct'][0])
    assert in_plane_mm < 0.5 and rotation_deg < 0.5


def test_a_folder_with_the_two_networks_themselves_serves_as_well(files, own, monkeypatch):
    monkeypatch.chdir(own / 'body')
    done = register(files, '--weights', '.', '--initial', files / 'near.yaml')
    result = json.loads(done.stdout)
    assert (result['method'], result['networks']) == ('spherical', 'body')
    assert result['initial_camera_from_ct'] is not None


def test_the_summary_names_method_and_networks(files, own):
    done = files.register('--camera', files / 'alone.yaml', '--weights', own)
    assert 'spherical, networks body' in done.stdout


def test_networks_of_a_larger_field_of_view_leave_it_to_the_search_and_say_so(files, narrow):
    done = register(files, '--weights', narrow, '--initial', files / 'near.yaml')
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result['method'], result['networks']) == ('image', None)
    assert any('larger field of view' in text for text in result['warnings'])


def refuse(done, code: str, *words: str) -> None:
    assert done.exit_code == 2, done.output
    said = json.loads(done.stdout)
    assert said['error'] == code
    for word in words:
        assert word in said['message']
    assert 'Traceback' not in done.output


def test_without_a_start_a_search_of_all_directions_does_what_networks_do_not(files, narrow, own):
    for options, said in (
        ((), 'no networks for this CT'),
        (('--weights', narrow), 'larger field of view'),
        (('--weights', own, '--method', 'image'), ''),
    ):
        done = register(files, *options)
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert (result['method'], result['initial_camera_from_ct']) == ('image', None)
        assert any(said in text for text in result['warnings'])
        in_plane_mm, rotation_deg = files.error_of(result['camera_from_ct'][0])
        assert in_plane_mm < 0.5 and rotation_deg < 0.5
    assert 'search of all directions' in files.register('--camera', files / 'alone.yaml').stdout


def test_a_folder_of_networks_that_is_not_there_is_refused(files, tmp_path):
    done = register(files, '--weights', tmp_path / 'absent', '--initial', files / 'near.yaml')
    refuse(done, 'WEIGHTS_MISSING', 'absent')


def test_broken_weights_are_refused_but_do_not_stand_in_the_way_of_method_image(files, tmp_path):
    ct = load_ct(files / 'ct.nii.gz')
    damage(write_networks(tmp_path / 'body', ct, CAMERA, files.near()))
    options = ['--weights', tmp_path, '--initial', files / 'near.yaml']
    refuse(register(files, *options), 'WEIGHTS_INVALID', 'model.safetensors')
    done = register(files, *options, '--method', 'image')
    assert done.exit_code == 0 and json.loads(done.stdout)['method'] == 'image'


def test_networks_of_another_ct_are_left_alone(files, tmp_path):
    ct = load_ct(files / 'ct.nii.gz')
    ct.hounsfield[0, 0, 0] += 1
    write_networks(tmp_path / 'other', ct, CAMERA, torch.eye(4, dtype=torch.float64))
    done = register(files, '--weights', tmp_path, '--initial', files / 'near.yaml')
    result = json.loads(done.stdout)
    assert result['method'] == 'image'
    assert any('no networks for this CT' in text for text in result['warnings'])
