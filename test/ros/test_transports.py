"""Compressed X-rays into the real node, and what it says while an input is silent."""

import io
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from diagnostic_msgs.msg import DiagnosticArray
from PIL import Image as Picture
from ros.actions import OFFSET
from ros.harness import RELIABLE, Client, error_mm, moved, sound_node
from sensor_msgs.msg import CompressedImage
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.conversions import matrix_from_pose
from sph_reg_ros.messages.image_conversions import array_from_image

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def node(ct_path, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    settings = {'ct__path': ct_path, 'autostart': True, 'diagnostics__period': 0.2}
    with sound_node(log, image__transport='compressed', **settings) as process:
        yield process


@pytest.fixture(scope='module')
def client(node, scene):
    with Client() as client:
        yield client


@pytest.fixture(scope='module')
def packed(client, scene):
    publisher = client.node.create_publisher(CompressedImage, 'image/compressed', RELIABLE)
    others = (client.publishers.camera_info, client.publishers.imager_pose)
    client.spin_until(lambda: all(p.get_subscription_count() for p in (publisher, *others)), 60)
    client.publish_initial_pose(moved(scene.fixed_from_patient, *OFFSET))
    return publisher


def instead_of_raw(packed, form: str, transport: str, spoil=lambda data: data):
    """Return an edit that publishes the image compressed, and no raw one."""

    def edit(messages):
        pixels = array_from_image(messages.image)
        if form == 'JPEG':
            pixels = (pixels // 256).astype(np.uint8)
        buffer = io.BytesIO()
        Picture.fromarray(pixels).save(buffer, format=form)
        message = CompressedImage(header=messages.image.header, format=transport)
        message.data = spoil(buffer.getvalue())
        edit.later, messages.image = message, None

    return edit


def publish(client, scene, packed, *how):
    edit = instead_of_raw(packed, *how)
    stamp = client.publish_xray(scene, edit=edit)
    packed.publish(edit.later)
    return client.result_of(stamp)


def images_part(client):
    arrays = client.received['diagnostics']
    parts = {part.name.rpartition(': ')[2]: part for part in arrays[-1].status} if arrays else {}
    return parts.get('images')


def test_a_silent_input_is_named_within_five_seconds_until_it_speaks(client, scene, packed):
    client.listen(DiagnosticArray, '/diagnostics', 'diagnostics')
    begun = time.monotonic()
    status = client.spin_until(
        lambda: next((s for s in client.received['status'][-1:] if s.error.code), None)
    )
    assert time.monotonic() - begun < 5 and status.state == RegistrationStatus.READY
    assert status.error.code == ErrorCode.IMAGE_MISSING
    assert '/image/compressed' in status.error_message
    assert '/camera_info' in status.error_message and '/imager_pose' in status.error_message
    client.spin_until(lambda: getattr(images_part(client), 'level', b'') == b'\x01')
    assert '/image/compressed' in images_part(client).message
    publish(client, scene, packed, 'PNG', 'mono16; png compressed ')
    client.spin_until(lambda: images_part(client).level == b'\0')


def test_a_png_of_16_bit_is_as_good_as_the_raw_image(client, scene, packed):
    result = publish(client, scene, packed, 'PNG', 'mono16; png compressed ')
    assert result.verdict == RegistrationResult.VERIFIED, result.error_message
    pose = matrix_from_pose(result.pose.pose)
    assert error_mm(pose, scene.camera_from_ct, scene) < 1.0
    assert not any('JPEG' in text for text in result.warnings)


def test_a_jpeg_is_registered_and_said_to_have_lost_detail(client, scene, packed):
    result = publish(client, scene, packed, 'JPEG', 'mono16; jpeg compressed mono8')
    assert any('JPEG' in text for text in result.warnings)
    pose = matrix_from_pose(result.pose.pose)
    assert error_mm(pose, scene.camera_from_ct, scene) < 4.0


@pytest.mark.parametrize(
    ('transport', 'spoil', 'code'),
    [
        ('mono16; png compressed ', lambda data: data[:-200], ErrorCode.IMAGE_UNREADABLE),
        ('mono16; png compressed ', lambda data: b'', ErrorCode.IMAGE_ENCODING),
        ('16UC1; compressedDepth png', lambda data: data, ErrorCode.IMAGE_ENCODING),
    ],
)
def test_broken_or_foreign_data_is_a_typed_refusal(client, scene, packed, transport, spoil, code):
    result = publish(client, scene, packed, 'PNG', transport, spoil)
    assert (result.verdict, result.error.code) == (RegistrationResult.REJECTED, code)
    good = publish(client, scene, packed, 'PNG', 'mono16; png compressed ')
    assert good.verdict == RegistrationResult.VERIFIED
