"""Target, what has moved and the next view, from the loaded label map to messages and replay."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from body_files import attenuation, ct_phantom, front_pose, write_labels
from ct_files import write_volume

from sph_reg_ros.errors import BodyError, ErrorCode
from sph_reg_ros.evaluation.result_overlay import MOVED_COLOUR, draw_moved
from sph_reg_ros.geometry import Camera
from sph_reg_ros.messages.xray_view import XRayView
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.error_parts import ErrorParts
from sph_reg_ros.registration.moved_part import MovedPart
from sph_reg_ros.registration.suggested_view import SuggestedView
from sph_reg_ros.rendering.render import render
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.per_image import Judge, image_row
from sph_reg_ros.replay.record import BagRecord, record_from_json
from sph_reg_ros.replay.table import table_lines
from sph_reg_ros.service.parameters import ImageParameters
from sph_reg_ros.service.protocol import LoadCT, Register, RegisterView
from sph_reg_ros.service.result_messages import result_message
from sph_reg_ros.service.session import RegistrationSession

CAMERA = Camera.from_geometry(1000.0, (1.2, 1.2), (64, 64))
VIEW = XRayView(7, 'carm_optical', np.zeros((64, 64), np.uint16), CAMERA.K.numpy(), None)
PART = MovedPart(0, (0.25, 0.5, 0.75, 1.0), (10.0, -20.0, 30.0), (40.0, 40.0), (3.0, -4.0))
NEXT = SuggestedView(0.5, -0.1, 1.5, ErrorParts(1.2, 0.8, 0.9))


def loaded(tmp_path, labels: str | None = None) -> RegistrationSession:
    ct = write_volume(tmp_path / 'ct.nii.gz', ct_phantom())
    path = write_labels(tmp_path) if labels is None else labels
    session = RegistrationSession()
    session.handle(LoadCT(str(ct), '', 60.0, None, device='cpu', labels=str(path)), lambda _: None)
    return session


def request_for(target: str) -> Register:
    ct = attenuation()
    pose = front_pose(ct)
    image = render(ct, pose, CAMERA.K, CAMERA.size).float().numpy()
    config = RegistrationConfig(method='image', levels=(48, 64), starts=0)
    pixels = ImageParameters(intensity='line_integral', bright_air='false')
    view = RegisterView(image, CAMERA.K.numpy())
    return Register((view,), pose.numpy(), config=config, image=pixels, target=target)


@pytest.fixture(scope='module')
def session(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp('ct'))


@pytest.fixture(scope='module')
def registered(session):
    return session.handle(request_for('vertebrae_L3'), lambda _: None)


def test_a_session_judges_the_target_that_is_asked_for(registered):
    assert registered.target == 'vertebrae_L3'
    names = [check.name for check in registered.checks]
    assert 'target_moved_mm' in names and 'moved_part_mm' not in names


def test_a_target_that_the_label_map_lacks_is_refused(session):
    with pytest.raises(BodyError) as error:
        session.handle(request_for('liver of a cat'), lambda _: None)
    assert error.value.code == ErrorCode.BODY_LABELS


def test_a_ct_is_not_loaded_with_a_label_map_that_cannot_be_read(tmp_path):
    (tmp_path / 'broken.nii.gz').write_bytes(b'no volume')
    with pytest.raises(BodyError):
        loaded(tmp_path, str(tmp_path / 'broken.nii.gz'))


@pytest.fixture
def message(registered):
    found = replace(registered, moved=(PART,), next_view=NEXT)
    return result_message(found, (VIEW,), 'patient', bag_message)


def test_a_message_holds_target_what_moved_and_the_next_view_in_si_units(message):
    assert message.target == 'vertebrae_L3'
    (part,), (view,) = message.moved, message.next_view
    assert (part.centre.x, part.centre.y, part.centre.z) == (0.01, -0.02, 0.03)
    assert (part.width, part.shift_columns, part.shift_rows) == (0.04, 0.003, -0.004)
    assert list(part.box) == [0.25, 0.5, 0.75, 1.0]
    assert (view.primary, view.secondary, view.turned) == (0.5, -0.1, 1.5)
    assert view.tre_p95 == pytest.approx(0.0012)


def test_a_replay_tells_what_moved_and_which_xray_to_take_next(message):
    row = image_row(1, message, VIEW, None, Judge(torch.zeros(14, 3).double(), None, 0))
    record = BagRecord('bag', rows=(row,))
    assert record_from_json(record.to_json()).rows[0].moved == row.moved
    text = '\n'.join(table_lines(record))
    assert 'moved 5.0 mm: a part of 40 x 40 mm about (10, -20, 30) mm' in text
    assert 'an X-ray from LAO 28.6 / CAUD 5.7' in text and 'about 1.2 mm' in text


def test_the_picture_shows_a_box_around_what_moved_in_its_own_view_alone():
    first, second = np.zeros((2, 100, 100, 3), np.uint8)
    draw_moved(first, [PART])
    draw_moved(second, [PART], number=1)
    assert tuple(first[50, 25]) == MOVED_COLOUR and tuple(first[99, 74]) == MOVED_COLOUR
    assert not second.any()
    assert not first[:25].any()
