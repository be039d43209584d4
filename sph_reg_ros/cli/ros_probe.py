"""Probes the ROS 2 installation, in a process of its own; prints JSON.

A broken ROS installation may abort the process that imports it.
"""

import json
from importlib import import_module
from importlib.util import find_spec

MODULES = (
    'rclpy',
    'sph_reg_ros.msg',
    'sensor_msgs.msg',
    'geometry_msgs.msg',
    'diagnostic_msgs.msg',
    'std_srvs.srv',
    'tf2_msgs.msg',
    'tf2_ros',
    'cv_bridge',
)


def probe() -> dict[str, str]:
    """Return 'ok', 'absent' or an error text for each module, and the RMW under 'rmw'."""
    found = {name: state_of(name) for name in MODULES}
    if found['rclpy'] == 'ok':
        try:
            found['rmw'] = import_module('rclpy').get_rmw_implementation_identifier()
        except Exception as error:  # whatever the middleware's loader raises
            found['rmw'] = f'error: {error}'
    return found


def state_of(name: str) -> str:
    """Import a module and return 'ok', 'absent' or the error."""
    try:
        if find_spec(name) is None:
            return 'absent'
        import_module(name)
    except ModuleNotFoundError as error:
        return 'absent' if name.startswith(str(error.name)) else f'error: {error}'
    except Exception as error:  # a library that does not load raises many types
        return f'error: {error}'
    return 'ok'


if __name__ == '__main__':
    print(json.dumps(probe()))
