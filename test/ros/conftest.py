"""The phantom, and a client that has told a module's `node` roughly where it is.

A module may have fixtures of its own by these names. Imported by need: ROS may not be installed.
"""

import pytest


@pytest.fixture(scope='module')
def ct_path(tmp_path_factory):
    from ros.harness import write_phantom_ct

    return write_phantom_ct(tmp_path_factory.mktemp('ct') / 'ct.nii.gz')


@pytest.fixture(scope='module')
def scene(ct_path):
    from ros.harness import make_scene

    return make_scene(ct_path)


@pytest.fixture(scope='module')
def client(node, scene):
    from ros.actions import OFFSET
    from ros.harness import Client, moved

    with Client() as client:
        client.wait_until_heard()
        client.publish_initial_pose(moved(scene.fixed_from_patient, *OFFSET))
        yield client
