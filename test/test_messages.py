import importlib
import re
from enum import IntEnum
from pathlib import Path

import pytest

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration.error_parts import VerdictFor
from sph_reg_ros.registration.result import TerminationReason, Verdict

REPOSITORY = Path(__file__).parents[1]
TF_MESSAGE_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
CONSTANT = re.compile(r'^u?int\d+ +([A-Z][A-Z0-9_]*) *= *(\d+)', re.MULTILINE)


def written_constants(message: str) -> dict[str, int]:
    text = (REPOSITORY / 'msg' / f'{message}.msg').read_text(encoding='utf-8')
    return {name: int(value) for name, value in CONSTANT.findall(text)}


def members(*enums: type[IntEnum]) -> dict[str, int]:
    return {member.name: member.value for enum in enums for member in enum}


def test_error_codes_are_the_same_in_python_and_in_the_message():
    assert written_constants('ErrorCode') == members(ErrorCode)


def test_verdicts_and_termination_reasons_are_the_same_in_python_and_in_the_message():
    assert written_constants('RegistrationResult') == members(
        Verdict, TerminationReason, VerdictFor
    )


@pytest.mark.ros
@pytest.mark.parametrize('message', ['ErrorCode', 'RegistrationResult', 'RegistrationStatus'])
def test_the_built_messages_are_those_of_the_repository(message):
    built = getattr(importlib.import_module('sph_reg_ros.msg'), message)
    items = vars(built).items()
    constants = {name: value for name, value in items if name.isupper() and type(value) is int}
    assert constants == written_constants(message)


@pytest.mark.ros
def test_tf_messages_have_the_official_type_hash_so_that_real_tf2_hears_us():
    rclpy = importlib.import_module('rclpy')
    message = importlib.import_module('tf2_msgs.msg').TFMessage
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node('hash_test', context=context, enable_rosout=False)
        node.create_publisher(message, 'hash_test', 1)
        info = node.get_publishers_info_by_topic('hash_test')[0]
    finally:
        rclpy.shutdown(context=context)
    if not hasattr(info, 'topic_type_hash'):
        pytest.skip('this ROS 2 is older than type hashes')
    assert str(info.topic_type_hash) == TF_MESSAGE_HASH
