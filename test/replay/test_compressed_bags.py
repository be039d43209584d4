"""Bags whose images are compressed."""

import io

import numpy as np
import pytest
from bags import SETTINGS, changed, read
from PIL import Image

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.messages.image_conversions import array_from_image
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.bag_reader import opened
from sph_reg_ros.replay.bag_replay import ReplayJob, replay
from sph_reg_ros.replay.params_file import read_parameters
from sph_reg_ros.service.parameters import ImageParameters, NodeParameters

PACKED = '/image/compressed'
COMPRESSED = NodeParameters(image=ImageParameters(transport='compressed'))


def packed(bag, path, topic=PACKED):
    """Write a copy with PNG images of 16 bit in place of the raw ones."""

    def compress(entry):
        if entry.topic == '/image':
            buffer = io.BytesIO()
            Image.fromarray(array_from_image(entry.message)).save(buffer, format='PNG')
            data = np.frombuffer(buffer.getvalue(), np.uint8)
            header, entry.topic = entry.message.header, topic
            entry.message = bag_message(
                'sensor_msgs/CompressedImage',
                header=header,
                format='mono16; png compressed ',
                data=data,
            )

    return changed(bag, path, compress)


def rows(bag, ct, folder, *parameters, **options):
    given = [word for word in SETTINGS if ':=' in word]
    settings = read_parameters(None, [*given, f'ct.path:={ct}', *parameters])
    return replay(ReplayJob(bag, folder, settings, **options)).rows


def test_compressed_images_give_the_same_poses_as_raw_ones(bag, ct, tmp_path):
    raw = rows(bag, ct, tmp_path / 'raw')
    small = packed(bag, tmp_path / 'bag')
    found = rows(small, ct, tmp_path / 'out', 'image.transport:=compressed')
    assert [row.camera_from_ct for row in found] == [row.camera_from_ct for row in raw]
    assert len(found) == 3 and all(row.camera_from_ct for row in found)


def test_a_bag_of_the_other_kind_of_images_says_which_parameter_reads_it(bag, tmp_path):
    small = packed(bag, tmp_path / 'bag')
    with pytest.raises(BagError, match=f'{PACKED} is CompressedImage.*transport:=compressed') as e:
        opened(small, {}).__enter__()
    assert e.value.code == ErrorCode.BAG_TOPIC_MISSING
    with pytest.raises(BagError, match='/image is Image.*transport:=raw'):
        opened(bag, {}, COMPRESSED).__enter__()
    with pytest.raises(BagError, match='must be Image; .*transport:=compressed'):
        opened(small, {'image': PACKED}).__enter__()


@pytest.mark.parametrize('named', ['/arm/shots', '/arm/shots/compressed'])
def test_a_compressed_topic_is_found_by_either_name(bag, tmp_path, named):
    small = packed(bag, tmp_path / 'bag', '/arm/shots/compressed')
    with opened(small, {'image': named}, COMPRESSED) as inputs:
        images = [event.message for event in inputs.events() if event.name == 'image']
    expected = [entry.message for entry in read(small) if entry.topic == '/arm/shots/compressed']
    assert [len(image.data) for image in images] == [len(image.data) for image in expected]
