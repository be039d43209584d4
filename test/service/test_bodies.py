"""Bodies between worker and messages: what is read, what is sent, and under which frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from body_files import (
    attenuation,
    ct_phantom,
    front_pose,
    registration,
    write_bodies,
    write_labels,
)
from ct_files import write_volume

from sph_reg_ros.errors import BodyError, ConfigError, ErrorCode
from sph_reg_ros.imaging.bodies.entries import read_entries
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.messages.conversions import matrix_from_pose, matrix_from_transform
from sph_reg_ros.messages.xray_view import FramedPose, XRayView
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.service.body_frames import require_own_frames
from sph_reg_ros.service.parameters import FrameParameters, NodeParameters
from sph_reg_ros.service.protocol import LoadCT, Registered
from sph_reg_ros.service.result_messages import result_message, verified_transforms
from sph_reg_ros.service.session import RegistrationSession, _body_report

VIEW = XRayView(7, 'carm_optical', np.zeros((4, 4), np.uint16), np.eye(3), None)
L3 = {'name': 'L3', 'source': 'labels.nii.gz', 'label': 29}
S1 = {'name': 'S1', 'source': 'labels.nii.gz', 'label': 26, 'frame': 'sacrum'}


def registered(tmp_path, patient: Verdict, *verdicts: Verdict) -> Registered:
    write_labels(tmp_path)
    ct = attenuation()
    bodies = load_bodies(write_bodies(tmp_path, L3, S1), ct)
    result = registration(bodies, front_pose(ct), verdicts)
    return Registered(
        ct_series_uid_hash='abc',
        camera_from_ct=(result.camera_from_ct[0].numpy(),),
        covariance=np.eye(6),
        centre_lps_mm=np.zeros(3),
        termination=1,
        verdict=int(patient),
        similarity_before=0.5,
        similarity_after=0.9,
        iterations=3,
        compute_s=1.0,
        checks=(),
        warnings=(),
        method='image',
        backend='torch',
        bodies=tuple(map(_body_report, result.bodies)),
    )


def test_a_result_says_of_each_body_where_it_is_how_far_it_moved_and_why_it_may_not_be_used(
    tmp_path,
):
    found = registered(tmp_path, Verdict.VERIFIED, Verdict.VERIFIED, Verdict.REJECTED)
    message = result_message(found, (VIEW,), 'patient', bag_message)
    first, second = message.bodies
    assert (first.name, first.child_frame_id) == ('L3', 'patient/L3')
    assert (second.name, second.child_frame_id) == ('S1', 'sacrum')
    assert first.verdict == message.VERIFIED and first.error.code == ErrorCode.NONE
    assert second.verdict == message.REJECTED and second.error.code == ErrorCode.POSE_UNCERTAIN
    assert 'tre_p95_mm is 3, its limit 2' in second.error_message
    # Metres, as everything in ROS.
    assert second.translation == 0.002 and first.tre_p95 == 0.001
    np.testing.assert_allclose(
        matrix_from_pose(first.pose.pose), found.bodies[0].camera_from_body[0], atol=1e-9
    )
    assert first.verdict_for == message.POSE and first.tre_p95_along == 0.001
    across = {'verdict_for': 1, 'tre_p95_along_mm': 8.0, 'along': (0.0, 0.6, 0.8)}
    partly = result_message(replace(found, **across), (VIEW,), 'patient', bag_message)
    assert partly.verdict_for == partly.ACROSS_BEAM and partly.tre_p95_along == 0.008
    assert (partly.along.x, partly.along.y, partly.along.z) == (0.0, 0.6, 0.8)
    moved = matrix_from_transform(second.moved_from_rest)
    np.testing.assert_allclose(moved, found.bodies[1].moved_from_rest, atol=1e-9)


@pytest.mark.parametrize(
    ('patient', 'first', 'second', 'frames'),
    [
        ('VERIFIED', 'VERIFIED', 'VERIFIED', ['patient', 'patient_ras', 'patient/L3', 'sacrum']),
        ('VERIFIED', 'REJECTED', 'VERIFIED', ['patient', 'patient_ras', 'sacrum']),
        ('UNVERIFIED', 'VERIFIED', 'UNVERIFIED', ['patient/L3']),
        ('REJECTED', 'UNVERIFIED', 'REJECTED', []),
    ],
)
def test_patient_and_bodies_have_a_transform_each_for_itself(
    tmp_path, patient, first, second, frames
):
    found = registered(tmp_path, Verdict[patient], Verdict[first], Verdict[second])
    sent = verified_transforms(found, VIEW, FrameParameters(), bag_message)
    assert [transform.child_frame_id for transform in sent] == frames
    # A body does not hang on the patient, which may not be there.
    parents = [t.header.frame_id for t in sent if t.child_frame_id != 'patient_ras']
    assert set(parents) <= {'carm_optical'}


def test_bodies_lie_in_the_fixed_frame_where_the_imager_is_known(tmp_path):
    found = registered(tmp_path, Verdict.REJECTED, Verdict.VERIFIED, Verdict.REJECTED)
    imager = FramedPose('carm_base', np.diag([-1.0, -1, 1, 1]))
    view = replace(VIEW, imager=imager)
    (sent,) = verified_transforms(found, view, FrameParameters(), bag_message)
    assert sent.header.frame_id == 'carm_base'
    np.testing.assert_allclose(
        matrix_from_transform(sent.transform),
        imager.matrix @ found.bodies[0].camera_from_body[0],
        atol=1e-9,
    )


def load(ct, bodies, allowed):
    request = LoadCT(str(ct), '', 60.0, None, device='cpu', bodies=str(bodies), allowed=allowed)
    session = RegistrationSession()
    return session.handle(request, lambda progress: None), session


def test_a_ct_is_loaded_with_its_bodies_or_not_at_all(tmp_path):
    ct = write_volume(tmp_path / 'ct.nii.gz', ct_phantom())
    write_labels(tmp_path)
    _, session = load(ct, write_bodies(tmp_path, L3), None)
    assert [body.name for body in session._bodies] == ['L3']
    with pytest.raises(BodyError, match='no voxel of 40'):
        load(ct, write_bodies(tmp_path, {**L3, 'label': 40}), None)


def test_what_a_list_names_must_lie_in_the_allowed_folders(tmp_path):
    (tmp_path / 'in').mkdir()
    ct = write_volume(tmp_path / 'ct.nii.gz', ct_phantom())
    write_labels(tmp_path)
    allowed = (str(tmp_path / 'in'),)
    path = write_bodies(tmp_path / 'in', {**L3, 'source': '../labels.nii.gz'})
    with pytest.raises(ConfigError, match='may not be read') as error:
        load(ct, path, allowed)
    assert error.value.code == ErrorCode.PATH_NOT_ALLOWED
    write_labels(tmp_path / 'in')
    loaded, _ = load(ct, write_bodies(tmp_path / 'in', L3), allowed)
    assert loaded.series_uid_hash


def test_a_body_may_not_take_the_frame_of_the_patient(tmp_path):
    write_labels(tmp_path)
    entries = read_entries(write_bodies(tmp_path, S1))
    require_own_frames(entries, NodeParameters())
    for frame in ('sacrum', 'sacrum_ras'):
        frames = FrameParameters(patient=frame.removesuffix('_ras'))
        entries = read_entries(write_bodies(tmp_path, {**S1, 'frame': frame}))
        with pytest.raises(BodyError, match=f"frame '{frame}' is that of the patient"):
            require_own_frames(entries, replace(NodeParameters(), frames=frames))


def test_torch_and_bodies_travel_between_processes_as_plain_arrays(tmp_path):
    found = registered(tmp_path, Verdict.VERIFIED, Verdict.VERIFIED, Verdict.VERIFIED)
    values = [value for body in found.bodies for value in vars(body).values()]
    assert not any(isinstance(value, torch.Tensor) for value in values)
