"""Bodies of the live node: a verdict and a frame each; a wrong list is refused."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import torch
from body_files import write_bodies
from ct_files import Phantom, write_volume
from ros.actions import OFFSET
from ros.harness import IMAGER, Client, moved, sound_node
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import matrix_from_pose

pytestmark = pytest.mark.ros
SPACE = '/bodies'


@pytest.fixture(scope='module')
def bodies(ct_path, tmp_path_factory):
    """Return a list with the dense half of the phantom as a body."""
    folder, ct = tmp_path_factory.mktemp('bodies'), load_ct(ct_path)
    dense = (ct.hounsfield > 300).astype(np.int16)
    dense[: len(dense) // 2] = 0
    write_volume(folder / 'upper.nii.gz', Phantom(dense, ct.ct_from_index))
    return write_bodies(folder, {'name': 'upper', 'source': 'upper.nii.gz'})


@pytest.fixture(scope='module')
def node(ct_path, bodies, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    given = {'ct__path': ct_path, 'bodies__path': bodies, 'namespace': SPACE}
    with sound_node(log, autostart=True, **given) as process:
        yield process


@pytest.fixture(scope='module')
def client(node, scene):
    with Client(namespace=SPACE) as client:
        client.wait_until_heard()
        client.publish_initial_pose(moved(scene.fixed_from_patient, *OFFSET))
        yield client


def test_a_body_has_its_place_in_the_result_and_on_tf_only_if_it_is_verified(client, scene):
    stamp_ns = client.publish_xray(scene)
    result = client.result_of(stamp_ns)
    (body,) = result.bodies
    assert (body.name, body.child_frame_id) == ('upper', 'patient/upper')
    found = torch.from_numpy(matrix_from_pose(body.pose.pose))
    truth = torch.from_numpy(scene.camera_from_ct)
    centre = torch.tensor([[-210.0, 100.0, -590.0]], dtype=torch.float64)
    off = se3.transform_points(found, centre) - se3.transform_points(truth, centre)
    assert float(off[0, :2].norm()) < 3.0  # nothing has moved
    if body.verdict == RegistrationResult.VERIFIED:
        np.testing.assert_allclose(
            client.lookup(IMAGER, 'patient/upper', stamp_ns), found, atol=0.1
        )
    else:
        assert body.error.code != ErrorCode.NONE and 'Advice' in body.error_message


def test_a_wrong_list_is_named_and_the_node_does_not_start(client, bodies):
    assert client.change_state('deactivate') and client.change_state('cleanup')
    write_bodies(bodies.parent, {'name': 'upper', 'source': 'none.nii.gz'})
    assert not client.change_state('configure')
    status = client.status(RegistrationStatus.ERROR)
    assert status.error.code == ErrorCode.BODY_UNREADABLE
    assert "body 'upper': there is no file none.nii.gz" in status.error_message
