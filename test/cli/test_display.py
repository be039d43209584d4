"""X-rays as a display shows them: negatives, mirrored and distorted pictures."""

import json

import cv2
import numpy as np
import pytest
import yaml
from cli_files import camera_content
from PIL import Image


@pytest.fixture
def picture(files, tmp_path):
    """Write a changed copy of the X-ray and return its path."""

    def write(change):
        with Image.open(files / 'xray.png') as image:
            pixels = np.array(image)
        Image.fromarray(np.ascontiguousarray(change(pixels))).save(tmp_path / 'shown.png')
        return tmp_path / 'shown.png'

    return write


def result_of(files, xray, *options):
    camera = [] if '--camera' in options else ['--camera', files / 'alone.yaml']
    given = [*camera, '--initial', files / 'near.yaml', *options]
    done = files.register(*given, '--json', xray=xray)
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def negative_8_bit(pixels):
    lengths = -np.log(pixels / pixels.max())
    return np.clip(255 * lengths / lengths.max(), 0, 255).astype(np.uint8)


def close(files, result):
    in_plane_mm, rotation_deg = files.error_of(result['camera_from_ct'][0])
    return in_plane_mm < 0.5 and rotation_deg < 0.5


@pytest.mark.parametrize('change', [lambda pixels: pixels.max() - pixels, negative_8_bit])
def test_a_negative_is_found_and_said(files, picture, change):
    result = result_of(files, picture(change))
    assert close(files, result)
    assert any('the X-ray is a negative' in text for text in result['warnings'])


def test_a_negative_that_is_announced_is_verified_without_a_word(files, picture):
    result = result_of(files, picture(lambda pixels: 65535 - pixels), '--invert')
    assert result['verdict'] == 'VERIFIED' and close(files, result)
    assert not any('negative' in text for text in result['warnings'])


def test_an_image_as_the_detector_has_it_is_no_negative(files):
    result = result_of(files, 'xray.png')
    assert result['verdict'] == 'VERIFIED'
    assert not any('negative' in text for text in result['warnings'])


@pytest.mark.parametrize(('option', 'turned'), [('--invert', False), ('--no-invert', True)])
def test_a_wrong_polarity_that_was_given_is_the_first_reason(files, picture, option, turned):
    xray = picture(lambda pixels: pixels.max() - pixels if turned else pixels)
    result = result_of(files, xray, option)
    assert result['verdict'] != 'VERIFIED'
    assert 'inverted' in json.dumps(result) and '--invert' in json.dumps(result)


@pytest.mark.parametrize(('flip', 'axes'), [('horizontal', 1), ('vertical', 0), ('both', (0, 1))])
def test_a_mirrored_picture_is_mirrored_back(files, picture, flip, axes):
    result = result_of(files, picture(lambda pixels: np.flip(pixels, axes)), '--flip', flip)
    straight = result_of(files, 'xray.png')
    assert result['verdict'] == 'VERIFIED'
    assert result['camera_from_ct'] == straight['camera_from_ct']
    assert result['cameras'][0]['K'] == straight['cameras'][0]['K']


def test_another_flip_is_refused(files):
    done = files.register('--flip', 'sideways', '--camera', files / 'alone.yaml')
    assert done.exit_code == 2 and 'horizontal, vertical, both' in done.output


def test_a_distorted_picture_is_straightened_by_its_camera_file(files, picture, tmp_path):
    content = yaml.safe_load((files / 'alone.yaml').read_text())
    K = np.reshape(content['camera_matrix']['data'], (3, 3))
    D = np.array([8.0, 20.0, 0.01, -0.01, 0.0])
    size = (content['image_height'], content['image_width'])

    def distort(pixels):
        v, u = np.mgrid[: size[0], : size[1]].astype(np.float32)
        ideal = cv2.undistortPoints(np.dstack([u, v]).reshape(-1, 1, 2), K, D, P=K)
        u, v = np.moveaxis(ideal.reshape(*size, 2).astype(np.float32), -1, 0)
        assert np.abs(u - np.arange(size[1])).max() > 1.5
        return cv2.remap(pixels, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    xray = picture(distort)
    camera = tmp_path / 'camera.yaml'
    camera.write_text(yaml.safe_dump(camera_content(K, size, None, D.tolist())))
    straightened, left = result_of(files, xray, '--camera', camera), result_of(files, xray)
    assert close(files, straightened)
    errors = [files.error_of(found['camera_from_ct'][0]) for found in (straightened, left)]
    assert sum(errors[0]) < sum(errors[1])
    assert straightened['similarity_after'] > left['similarity_after']
