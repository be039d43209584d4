"""Message types of bags, ROS 2's and our own, without ROS.

The classes are those of the library `rosbags`; they have the attributes of the ROS classes.
"""

import array
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.networks.shipped import shipped_folders

_DEFAULTS = {'geometry_msgs/msg/Quaternion': {'w': 1.0}}
"""As geometry_msgs has them; no other type that is built here names a default."""
_ZEROS = {'string': '', 'bool': False}


@cache
def bag_types() -> Typestore:
    """Return the message types of ROS 2, and ours as the .msg files have them.

    Raises:
        BagError: BAG_UNREADABLE if the .msg files were not installed with the software.
    """
    store = get_typestore(Stores.LATEST)
    for path in sorted(message_folder().glob('*.msg')):
        name = f'sph_reg_ros/msg/{path.stem}'
        store.register(get_types_from_msg(path.read_text(encoding='utf-8'), name))
    return store


def message_folder() -> Path:
    """Return the folder of our .msg files: of a checkout, of pip or of a ROS workspace."""
    for folder in shipped_folders('msg'):
        if (folder / 'RegistrationResult.msg').is_file():
            return folder
    raise BagError(ErrorCode.BAG_UNREADABLE, 'the .msg files are missing: install sph_reg_ros anew')


def bag_message(kind: str, /, **fields: Any) -> Message:
    """Return a message of a type such as 'geometry_msgs/Pose'; what is not given is zero."""
    package, name = kind.split('/')
    return _message(f'{package}/msg/{name}', fields)


def _message(kind: str, fields: dict[str, Any]) -> Message:
    store = bag_types()
    _, described = store.fielddefs[kind]
    fields = _DEFAULTS.get(kind, {}) | fields
    values = {
        name: _value(description, fields[name]) if name in fields else _zero(description)
        for name, description in described
    }
    unknown = fields.keys() - values.keys()
    if unknown:
        raise TypeError(f'{kind} has no {", ".join(sorted(unknown))}')
    return store.types[kind](**values)


def _value(description: Any, value: Any) -> Any:
    """Return numbers as the NumPy array that `rosbags` asks for, other values as they are."""
    node, detail = description
    if node in (Nodetype.ARRAY, Nodetype.SEQUENCE) and _is_number(detail[0]):
        plain = np.frombuffer(value, np.uint8) if isinstance(value, array.array) else value
        return np.asarray(plain, dtype=_dtype(detail[0]))
    return value


def _zero(description: Any) -> Any:
    node, detail = description
    if node == Nodetype.BASE:
        return _ZEROS.get(detail[0], 0.0 if detail[0].startswith('float') else 0)
    if node == Nodetype.NAME:
        return _message(detail, {})
    element, length = detail
    count = length if node == Nodetype.ARRAY else 0
    if _is_number(element):
        return np.zeros(count, _dtype(element))
    return [_zero(element) for _ in range(count)]


def _is_number(description: Any) -> bool:
    return description[0] == Nodetype.BASE and description[1][0] != 'string'


def _dtype(description: Any) -> np.dtype:
    name = description[1][0]
    return np.dtype({'byte': 'uint8', 'octet': 'uint8', 'char': 'uint8'}.get(name, name))
