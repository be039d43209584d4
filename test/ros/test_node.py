"""The real node in its own process, over DDS."""

import os
import signal
import time
from functools import partial

import numpy as np
import pytest
import SimpleITK

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from ros.actions import OFFSET, good
from ros.harness import (
    BEST_EFFORT,
    FIXED,
    IMAGER,
    Client,
    error_mm,
    moved,
    sound_node,
    worker_pid,
    write_phantom_ct,
    xray_messages,
)
from sensor_msgs.msg import Image
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from sph_reg_ros.srv import LoadCT
from std_srvs.srv import Trigger

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.messages.conversions import PATIENT_FROM_RAS, matrix_from_pose
from sph_reg_ros.messages.image_conversions import array_from_image, image_from_array

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def node(ct_path, tmp_path_factory):
    log = tmp_path_factory.mktemp('log') / 'node.log'
    settings = {'ct__path': ct_path, 'autostart': True, 'diagnostics__period': 0.2}
    # Values of message fields are checked, as Humble always does.
    with sound_node(log, environment={'ROS_PYTHON_CHECK_FIELDS': '1'}, **settings) as process:
        yield process


def test_an_xray_becomes_a_transform_that_tf2_can_look_up(client, scene):
    stamp = client.publish_xray(scene)
    result = client.result_of(stamp)
    patient = client.lookup(FIXED, 'patient', stamp)
    assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0
    ras = client.lookup('patient', 'patient_ras', stamp)
    assert np.allclose(ras, PATIENT_FROM_RAS, atol=1e-9)
    assert result.header.frame_id == IMAGER and result.child_frame_id == 'patient'
    pose = matrix_from_pose(result.pose.pose)
    assert error_mm(pose, scene.camera_from_ct, scene) < 1.0


def test_a_result_carries_all_that_is_needed_to_judge_it(client, scene):
    result = good(client, scene)
    assert result.error.code == ErrorCode.NONE and result.error_message == ''
    assert result.termination == RegistrationResult.CONVERGED
    assert result.similarity_after > 0.99 > result.similarity_before > 0
    assert result.iterations > 0 and result.compute_time > 0 and result.views == 1
    assert {check.name for check in result.checks} >= {'convergence', 'held_out_mm'}
    assert 0 < result.tre_rms < result.tre_p95 < 0.003
    assert all(check.passed for check in result.checks)
    covariance = np.array(result.pose.covariance).reshape(6, 6)
    assert np.isfinite(covariance).all() and np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert len(result.ct_series_uid_hash) == 16 and result.software_version and result.backend
    assert result.method == 'image'  # there are no networks for the phantom


def test_intensities_below_zero_are_said_in_the_result(client, scene):
    def normalise(messages):
        counts = array_from_image(messages.image).astype(np.float32)
        normalised = (counts - counts.mean()) / counts.std()
        messages.image = image_from_array(normalised, messages.image.header)

    result = client.result_of(client.publish_xray(scene, edit=normalise))
    assert any('of the pixels are negative' in text for text in result.warnings), result.warnings
    assert not any('negative' in text for text in good(client, scene).warnings)


def test_the_patient_stays_where_it_is_when_the_c_arm_turns(client, scene):
    for angle in (0.0, 0.6):
        stamp = client.publish_xray(scene.turned(angle))
        assert client.result_of(stamp).verdict == RegistrationResult.VERIFIED
        patient = client.lookup(FIXED, 'patient', stamp)
        assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0


def test_pose_overlay_and_drr_come_with_the_stamp_of_the_xray(client, scene):
    for kind, name in (
        (PoseWithCovarianceStamped, 'pose'),
        (Image, 'overlay'),
        (Image, 'drr'),
    ):
        client.listen(kind, f'/registration/{name}', name)
    client.spin(0.5)
    result = good(client, scene)
    for name in ('pose', 'overlay', 'drr'):
        (message,) = client.spin_until(partial(client.received.get, name))
        assert message.header == result.header
    assert client.received['pose'][0].pose == result.pose
    assert client.received['overlay'][0].encoding == 'rgb8'
    drr = array_from_image(client.received['drr'][0])
    counts = scene.xray().astype(float)
    assert np.corrcoef(drr.ravel(), -np.log(counts).ravel())[0, 1] > 0.99


def spoil(**fields):
    """Return an edit of the messages of an X-ray: 'image.encoding' becomes 'image__encoding'."""

    def edit(messages):
        for name, value in fields.items():
            topic, _, attribute = name.partition('__')
            target = getattr(messages, topic)
            if not attribute:
                setattr(messages, topic, value)
            elif attribute == 'frame':
                target.header.frame_id = value
            elif attribute.startswith('k'):
                target.k[int(attribute[1:])] = value
            elif attribute == 'x':
                target.pose.position.x = value
            else:
                setattr(target, attribute, value)

    return edit


BAD = {
    'wrong encoding': (spoil(image__encoding='bayer_rggb16'), ErrorCode.IMAGE_ENCODING),
    'too little data': (spoil(image__data=b'123'), ErrorCode.IMAGE_LAYOUT),
    'no pixels': (spoil(image__height=0), ErrorCode.IMAGE_LAYOUT),
    'black': (spoil(image__data=bytes(96 * 96 * 2)), ErrorCode.IMAGE_CONTENT),
    'no frame': (spoil(image__frame=''), ErrorCode.IMAGE_LAYOUT),
    'K = 0': (spoil(camera_info__k0=0.0), ErrorCode.CAMERA_UNCALIBRATED),
    'K = NaN': (spoil(camera_info__k0=float('nan')), ErrorCode.CAMERA_INVALID),
    'f < 0': (spoil(camera_info__k4=-280.0), ErrorCode.CAMERA_INVALID),
    'distorted': (spoil(camera_info__d=[0.1]), ErrorCode.CAMERA_INVALID),
    'other size': (spoil(camera_info__width=95), ErrorCode.CAMERA_IMAGE_MISMATCH),
    'camera of another frame': (spoil(image__frame='x'), ErrorCode.CAMERA_MISSING),
    'no imager pose': (spoil(imager_pose=None), ErrorCode.IMAGER_POSE_MISSING),
    'imager pose in mm': (spoil(imager_pose__x=1200.0), ErrorCode.POSE_INVALID),
    'imager pose without frame': (spoil(imager_pose__frame=''), ErrorCode.POSE_INVALID),
    'pose in another frame': (spoil(imager_pose__frame='table'), ErrorCode.TRANSFORM_MISSING),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_input_gets_its_typed_error_and_the_node_lives_on(client, scene, name):
    edit, code = BAD[name]
    stamp = client.publish_xray(scene, edit=edit)
    result = client.result_of(stamp)
    assert result.error.code == code, result.error_message
    assert result.verdict == RegistrationResult.REJECTED and result.error_message
    assert np.isnan(result.pose.pose.position.x) and np.isnan(result.pose.covariance).all()
    status = client.status(RegistrationStatus.REJECTED, stamp_ns=stamp)
    assert status.error.code == code


def test_a_camera_that_is_published_once_serves_with_a_warning(client, scene):
    result = good(client, scene, edit=spoil(camera_info=None))
    assert any('older than the image' in warning for warning in result.warnings)


def test_after_all_that_a_good_image_is_registered(client, scene):
    good(client, scene)
    status = client.status(RegistrationStatus.VERIFIED)
    assert status.images_registered > 0 and status.images_refused > 0
    assert status.images_received >= status.images_registered
    assert status.error.code == ErrorCode.NONE


def test_nan_pixels_are_refused(client, scene):
    def edit(messages):
        pixels = scene.xray().astype(np.float32)
        pixels[3, 3] = np.nan
        messages.image.encoding, messages.image.step = '32FC1', 96 * 4
        messages.image.data = pixels.tobytes()

    assert client.result_of(client.publish_xray(scene, edit=edit)).error.code == 23


def test_a_wrong_pose_is_never_broadcast(client, scene):
    stamp = client.publish_xray(
        scene, edit=lambda messages: setattr(messages.image, 'data', noise_image())
    )
    result = client.result_of(stamp)
    assert result.verdict != RegistrationResult.VERIFIED
    assert result.error.code != ErrorCode.NONE
    for part in (' Advice: ', ' Figures: '):
        assert part in result.error_message
    client.spin(0.3)  # what was on its way
    last = client.tf._edges['patient'].stamps[-1]
    client.spin(0.3)
    assert client.tf._edges['patient'].stamps[-1] == last


def noise_image() -> bytes:
    return np.random.default_rng(1).integers(1, 60000, (96, 96)).astype('<u2').tobytes()


def test_a_bad_initial_pose_is_refused_and_the_one_before_kept(client, scene):
    for spoilt in ('covariance', 'quaternion', 'distance'):
        message = PoseWithCovarianceStamped()
        message.header.frame_id = FIXED
        if spoilt == 'covariance':
            message.pose.covariance = (-np.eye(6)).reshape(36)
        elif spoilt == 'quaternion':
            message.pose.pose.orientation.w = 0.9
        else:
            message.pose.pose.position.z = 900.0
        client.publishers.initial_pose.publish(message)
    client.spin(0.3)
    good(client, scene)


def test_a_late_comer_gets_the_status_at_once(client, scene):
    good(client, scene)
    client.status(RegistrationStatus.VERIFIED)
    with Client('late') as late:
        status = late.status(RegistrationStatus.VERIFIED, 5.0)
        assert status.result_stamp.sec > 0 and status.age.sec < 3600


def test_diagnostics_name_every_part_and_no_path(client, scene, ct_path):
    good(client, scene)
    client.listen(DiagnosticArray, '/diagnostics', 'diagnostics')
    array = client.spin_until(lambda: client.received['diagnostics'])[-1]
    parts = {status.name.rpartition(': ')[2]: status for status in array.status}
    assert set(parts) == {'registration', 'CT', 'images', 'worker'}
    assert all(status.level == b'\0' for status in array.status), array
    assert str(ct_path.parent) not in str(array)
    values = {pair.key: pair.value for status in array.status for pair in status.values}
    assert (values['networks'], values['method']) == ('none', 'image')


def test_services_answer_while_a_registration_runs(client, scene, node):
    pid = worker_pid(node)
    os.kill(pid, signal.SIGSTOP)  # a registration that takes its time
    try:
        stamp = client.publish_xray(scene)
        client.status(RegistrationStatus.REGISTERING)
        assert client.get_state() == 'active'
        start = time.monotonic()
        assert client.get_state() == 'active'
        assert time.monotonic() - start < 5.0
        assert client.received['status'][-1].state == RegistrationStatus.REGISTERING
    finally:
        os.kill(pid, signal.SIGCONT)
    assert client.result_of(stamp).verdict == RegistrationResult.VERIFIED


def test_images_that_come_too_fast_are_dropped_but_the_newest_is_registered(client, scene, node):
    before = client.status(RegistrationStatus.VERIFIED).images_dropped
    pid = worker_pid(node)
    os.kill(pid, signal.SIGSTOP)  # a registration that takes longer than the next images
    try:
        stamps = []
        for seed in range(4):
            stamps.append(client.publish_xray(scene, seed))
            client.spin(0.2)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert client.result_of(stamps[-1]).verdict == RegistrationResult.VERIFIED
    client.spin(0.5)
    # The first went to the worker; of those that waited, only the newest was worth its time.
    assert client.received['status'][-1].images_dropped == before + 2


@pytest.mark.parametrize('seconds', [-3_000_000_000, -3600, -70, 60, 3600])
def test_an_image_of_another_time_is_refused_and_the_next_registered(client, scene, seconds):
    stamp = client.new_stamp() + seconds * 10**9
    messages = xray_messages(scene, stamp)
    for name in ('imager_pose', 'camera_info', 'image'):
        getattr(client.publishers, name).publish(getattr(messages, name))
    code = ErrorCode.IMAGE_STAMP if stamp > 0 else ErrorCode.IMAGE_LAYOUT
    assert client.result_of(stamp).error.code == code
    good(client, scene)


def parameter(name: str, **value) -> Parameter:
    return Parameter(name=name, value=ParameterValue(**value))


def test_parameters_are_described_and_checked_together(client):
    names = ['matching.timeout', 'image.intensity', 'registration.max_iterations', 'autostart']
    described = client.call(
        DescribeParameters, 'describe_parameters', DescribeParameters.Request(names=names)
    ).descriptors
    assert all(descriptor.description for descriptor in described)
    assert described[0].floating_point_range[0].to_value == 60.0
    assert 'beer_lambert' in described[1].additional_constraints
    assert described[3].read_only
    number = {'type': ParameterType.PARAMETER_INTEGER}
    cases = [
        (parameter('registration.max_iterations', integer_value=0, **number), 'Max: 1000'),
        (
            parameter('use_imager_pose', type=ParameterType.PARAMETER_BOOL),
            'cannot be changed while active',
        ),
        (
            parameter('ct.path', type=ParameterType.PARAMETER_STRING, string_value='x'),
            'cannot be changed while configured',
        ),
    ]
    fine = parameter('registration.max_iterations', integer_value=29, **number)
    for wrong, reason in cases:
        request = SetParametersAtomically.Request(parameters=[fine, wrong])
        result = client.call(SetParametersAtomically, 'set_parameters_atomically', request).result
        assert not result.successful and reason in result.reason
    request = SetParametersAtomically.Request(parameters=[fine])
    assert client.call(
        SetParametersAtomically, 'set_parameters_atomically', request
    ).result.successful


def test_reset_forgets_the_result_and_keeps_ct_and_initial_pose(client, scene):
    good(client, scene)
    assert client.call(Trigger, 'reset', Trigger.Request()).success
    client.status(RegistrationStatus.READY)
    good(client, scene)


def test_a_killed_worker_comes_back_by_itself(client, scene, node):
    os.kill(worker_pid(node), signal.SIGKILL)
    node.wait_for_log('the worker process died and was started again')
    good(client, scene)


def newest_patient(client) -> int:
    return client.tf._edges['patient'].stamps[-1]


def load(client, path, uid='') -> LoadCT.Response:
    return client.call(LoadCT, 'load_ct', LoadCT.Request(path=str(path), series_uid=uid))


def test_a_ct_that_is_not_in_hounsfield_units_is_said_by_service_status_log_and_diagnostics(
    client, scene, ct_path, tmp_path, node
):
    image = SimpleITK.ReadImage(str(ct_path))
    stored = tmp_path / 'stored.nii.gz'
    SimpleITK.WriteImage(SimpleITK.Clamp(image, lowerBound=-1024) + 1024, str(stored))
    response = load(client, stored)
    assert response.success and 'are these HU?' in response.message
    client.spin_until(lambda: client.received['status'][-1].warnings)
    status = client.status(RegistrationStatus.READY)
    assert 'are these HU?' in status.warnings[0]
    node.wait_for_log('are these HU?')
    client.listen(DiagnosticArray, '/diagnostics', 'doubtful')
    array = client.spin_until(lambda: client.received['doubtful'])[-1]
    assert any('are these HU?' in part.message and part.level == b'\1' for part in array.status)
    assert load(client, ct_path).message == 'loaded'
    client.spin_until(lambda: not client.received['status'][-1].warnings)


def test_another_ct_can_be_loaded_and_a_failure_leaves_the_one_before(
    client, scene, ct_path, tmp_path
):
    ct_hash = client.received['result'][-1].ct_series_uid_hash
    one_slice = write_phantom_ct(tmp_path / 'slice.nii.gz', slices=1)
    (tmp_path / 'broken.nii.gz').write_bytes(b'no gzip')
    for path, code in (
        (tmp_path / 'missing', ErrorCode.CT_UNREADABLE),
        (tmp_path / 'broken.nii.gz', ErrorCode.CT_UNREADABLE),
        (one_slice, ErrorCode.CT_TOO_FEW_SLICES),
    ):
        good(client, scene)
        response = load(client, path)
        assert not response.success and response.error.code == code
        assert f'CT {ct_hash} stays in use' in response.message
        assert response.ct_series_uid_hash == ct_hash
        # As if nothing had been asked for, and for X-rays to come as well.
        status = client.status(RegistrationStatus.VERIFIED)
        assert status.ct_series_uid_hash == ct_hash and status.error.code == ErrorCode.NONE
        newest = newest_patient(client)
        client.spin_until(lambda: newest_patient(client) > newest)  # noqa: B023
        good(client, scene)
    response = load(client, ct_path)
    assert response.success and response.ct_series_uid_hash == ct_hash
    assert client.status(RegistrationStatus.READY).ct_series_uid_hash == ct_hash
    good(client, scene)


def test_deactivating_withdraws_and_activating_again_goes_on(client, scene):
    client.publish_xray(scene)
    client.status(RegistrationStatus.REGISTERING)
    assert client.change_state('deactivate')
    client.status(RegistrationStatus.INACTIVE)
    known = len(client.received['result'])
    client.spin_until(lambda: client.publishers.image.get_subscription_count() == 0)
    client.spin(1.0)
    assert len(client.received['result']) == known
    assert not client.change_state('configure')  # impossible here, and survived
    assert client.change_state('activate')
    client.wait_until_heard()
    client.spin(0.2)
    good(client, scene)


def test_an_image_of_a_best_effort_publisher_arrives_too(client, scene, node):
    with Client('sensor', image_qos=BEST_EFFORT) as sensor:
        node.wait_for_log('best_effort')
        sensor.wait_until_heard()
        sensor.spin(1.0)
        good(sensor, scene)
    client.spin_until(lambda: node.log.count('offer reliable delivery') >= 1)
    client.wait_until_heard()


def test_an_imager_pose_is_taken_at_the_time_of_the_image(client, scene):
    """The C-arm moves on before the image arrives; the older pose is the right one."""
    stamp = client.new_stamp()
    messages = xray_messages(scene, stamp)
    client.publishers.imager_pose.publish(messages.imager_pose)
    for later_ns in (30_000_000, 60_000_000):
        elsewhere = xray_messages(scene.turned(0.5), stamp + later_ns).imager_pose
        client.publishers.imager_pose.publish(elsewhere)
    client.publishers.camera_info.publish(messages.camera_info)
    client.publishers.image.publish(messages.image)
    assert client.result_of(stamp).verdict == RegistrationResult.VERIFIED
    patient = client.lookup(FIXED, 'patient', stamp)
    assert error_mm(patient, scene.fixed_from_patient, scene) < 1.0


def test_the_scene_is_a_test_worth_passing(scene):
    start = moved(scene.fixed_from_patient, *OFFSET)
    assert error_mm(start, scene.fixed_from_patient, scene) > 5.0
