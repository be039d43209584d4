"""A patient who moves is followed by the live node, and withdrawn when he is lost."""

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ros.harness import FIXED, Scene, error_mm, moved, sound_node
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def node(ct_path, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    # Other work on the machine must not make a pause of what is none.
    tracking = {'tracking__enabled': True, 'tracking__max_gap': 10.0, 'tracking__validity': 60.0}
    with sound_node(log, ct__path=ct_path, autostart=True, **tracking) as process:
        yield process


def moving(scene: Scene, number: int) -> Scene:
    patient = moved(scene.fixed_from_patient, 0.004 * number, 0, 0, 0.5 * number, 0, 0)
    return replace(scene, fixed_from_patient=patient)


def test_xrays_are_followed_with_transforms_of_their_own_stamps(client, scene):
    results = []
    for number in range(6):
        seen = moving(scene, number)
        stamp = client.publish_xray(seen, number)
        results.append(client.result_of(stamp))
        assert results[-1].verdict == RegistrationResult.VERIFIED
        patient = client.lookup(FIXED, 'patient', stamp)
        assert error_mm(patient, seen.fixed_from_patient, scene) < 6.0
    assert [result.method == 'tracking' for result in results] == [False, *[True] * 5]
    assert results[0].frames_since_full_checks == 0
    assert all(result.frames_since_full_checks > 0 for result in results[1:])


def test_the_last_one_is_registered_by_itself_once_no_newer_one_comes(client, scene):
    last = client.publish_xray(moving(scene, 6), 6)

    def of_last() -> list[RegistrationResult]:
        return [r for r in client.received['result'] if stamp_of(r) == last]

    client.spin_until(lambda: len(of_last()) > 1)
    followed, checked = of_last()
    assert followed.method == 'tracking' and checked.method != 'tracking'
    assert checked.frames_since_full_checks == 0
    assert checked.verdict == RegistrationResult.VERIFIED
    client.status(RegistrationStatus.VERIFIED, stamp_ns=last)


def test_a_black_image_withdraws_and_light_checks_alone_do_not_bring_the_patient_back(
    client, scene
):
    def black(messages) -> None:
        messages.image.data = np.zeros(len(messages.image.data), np.uint8).tobytes()

    refused = client.result_of(client.publish_xray(scene, 7, edit=black))
    assert refused.verdict == RegistrationResult.REJECTED
    stamp = client.publish_xray(moving(scene, 7), 8)
    doubted = client.result_of(stamp)
    assert doubted.verdict == RegistrationResult.UNVERIFIED
    assert doubted.frames_since_full_checks == -1
    # All checks are made meanwhile, or once nothing newer comes.
    deadline = time.monotonic() + 30
    while client.result_of(client.publish_xray(moving(scene, 7), 9)).verdict != 1:
        assert time.monotonic() < deadline


def stamp_of(result: RegistrationResult) -> int:
    return result.header.stamp.sec * 10**9 + result.header.stamp.nanosec
