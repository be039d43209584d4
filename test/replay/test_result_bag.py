"""The messages of a replay: the patient is on /tf only where the registration is verified."""

import math

import numpy as np
from bags import messages_of, read

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.messages.conversions import matrix_from_transform, nanoseconds
from sph_reg_ros.messages.xray_view import FramedPose, XRayView
from sph_reg_ros.registration.result import TerminationReason, Verdict
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.bag_writer import new_bag
from sph_reg_ros.replay.offline_node import ImageResult
from sph_reg_ros.replay.result_bag import RESULT, STATUS, ResultBag
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.protocol import Registered
from sph_reg_ros.service.result_messages import refusal_message, result_message, view_header

CAMERA_FROM_CT = np.array([[0.0, -1, 0, 10], [1, 0, 0, -20], [0, 0, 1, 700], [0, 0, 0, 1]])
IMAGER = FramedPose('carm_base', np.diag([-1.0, -1, 1, 1]))
SECOND = 1_000_000_000


def view(second: int, imager: FramedPose | None = IMAGER) -> XRayView:
    return XRayView(second * SECOND, 'carm_optical', np.zeros((4, 4), np.uint16), np.eye(3), imager)


def outcome(xray: XRayView, verdict: Verdict) -> ImageResult:
    registered = Registered(
        ct_series_uid_hash='abc',
        camera_from_ct=(CAMERA_FROM_CT,),
        covariance=np.eye(6),
        centre_lps_mm=np.zeros(3),
        termination=int(TerminationReason.CONVERGED),
        verdict=int(verdict),
        similarity_before=0.5,
        similarity_after=0.9,
        iterations=3,
        compute_s=math.pi,
        checks=(),
        warnings=(),
        method='image',
        backend='torch',
    )
    result = result_message(registered, (xray,), 'patient', bag_message)
    return ImageResult(result, xray, None, registered)


def refused(xray: XRayView) -> ImageResult:
    error = ImageError(ErrorCode.IMAGE_CONTENT, 'nothing in it')
    header = view_header(xray, bag_message)
    return ImageResult(refusal_message(error, header, 'patient', 'abc', bag_message), xray)


def written(path, *outcomes: ImageResult):
    with new_bag(path, 'mcap') as writer:
        bag = ResultBag(writer, NodeParameters(), 'abc', ['CT: a doubt'])
        for one in outcomes:
            bag.write(one)
    return path


def test_only_a_verified_pose_is_on_tf_and_before_its_result(tmp_path):
    others = [outcome(view(n), v) for n, v in ((1, Verdict.UNVERIFIED), (2, Verdict.REJECTED))]
    verified = outcome(view(3), Verdict.VERIFIED)
    path = written(tmp_path / 'bag', *others, refused(view(4)), verified)
    assert [entry.received_ns for entry in read(path) if entry.topic == '/tf'] == [3 * SECOND]
    assert len(messages_of(path, RESULT)) == len(messages_of(path, STATUS)) == 4
    assert all(status.warnings == ['CT: a doubt'] for status in messages_of(path, STATUS))


def test_the_patient_is_in_the_fixed_frame_and_has_its_ras_twin(tmp_path):
    path = written(tmp_path / 'bag', outcome(view(3), Verdict.VERIFIED))
    patient, ras = messages_of(path, '/tf')[0].transforms
    assert (patient.header.frame_id, patient.child_frame_id) == ('carm_base', 'patient')
    assert (ras.header.frame_id, ras.child_frame_id) == ('patient', 'patient_ras')
    expected = IMAGER.matrix @ CAMERA_FROM_CT
    np.testing.assert_allclose(matrix_from_transform(patient.transform), expected, atol=1e-9)


def test_without_imager_pose_the_patient_is_in_the_imager_frame(tmp_path):
    path = written(tmp_path / 'bag', outcome(view(3, None), Verdict.VERIFIED))
    patient = messages_of(path, '/tf')[0].transforms[0]
    assert patient.header.frame_id == 'carm_optical'
    np.testing.assert_allclose(matrix_from_transform(patient.transform), CAMERA_FROM_CT, atol=1e-9)


def test_the_status_counts_images_and_says_until_when_a_pose_holds(tmp_path):
    path = written(tmp_path / 'bag', refused(view(1)), outcome(view(2), Verdict.VERIFIED))
    first, second = messages_of(path, STATUS)
    assert (first.state, second.state) == (first.REJECTED, second.VERIFIED)
    assert first.error.code == ErrorCode.IMAGE_CONTENT and second.error.code == ErrorCode.NONE
    assert (second.images_received, second.images_registered, second.images_refused) == (2, 1, 1)
    assert nanoseconds(first.valid_until) == 0 and nanoseconds(second.valid_until) == 62 * SECOND
