"""Registers cases out of a file by the sph_reg_ros that PYTHONPATH leads to; see before_after.py.

Each line of the input, `time N` or `count N`, is answered by a line of JSON. It runs with the
package as it is and as it was at another commit, so that it uses what both have.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sph_reg_ros.geometry import Camera
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.request import RegistrationRequest, View

try:
    from sph_reg_ros.registration.register import register
except ImportError:
    from sph_reg_ros.registration.pipeline import register
try:
    from sph_reg_ros.imaging.load import load_ct
except ImportError:
    from sph_reg_ros.imaging.ct import load_ct


class Count(TorchDispatchMode):
    """Counts torch operations, and those that read a single number."""

    def __init__(self):
        super().__init__()
        self.operations = self.reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += 1
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def requests(ct: Path, cases: Path) -> list[RegistrationRequest]:
    """Return what is to be registered."""
    volume = attenuation_from_hounsfield(load_ct(ct))
    with np.load(cases) as stored:
        count = len(stored['starts'])
        return [_request(volume, {name: stored[name][n] for name in stored}) for n in range(count)]


def _request(volume, case: dict[str, np.ndarray]) -> RegistrationRequest:
    image = torch.from_numpy(case['images'])
    camera = Camera(torch.from_numpy(case['K']), *image.shape)
    view = View(image, camera, torch.from_numpy(case['masks']))
    rotation, in_plane, depth = case['widths'].tolist()
    config = RegistrationConfig(
        search_rotation_rad=rotation, search_in_plane_mm=in_plane, search_depth_mm=depth
    )
    start = torch.from_numpy(case['starts'])
    return RegistrationRequest(volume, (view,), start, config)


def main() -> None:
    """Answer until the input ends."""
    known = requests(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({'cases': len(known)}), flush=True)
    for line in sys.stdin:
        what, number = line.split()
        request = known[int(number)]
        began = time.perf_counter()
        with Count() if what == 'count' else torch.no_grad() as counted:
            result = register(request)
        answer = {
            'seconds': time.perf_counter() - began,
            'verdict': result.verdict.name,
            'pose': result.camera_from_ct[0].tolist(),
        }
        if isinstance(counted, Count):
            answer |= {'operations': counted.operations, 'reads': counted.reads}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
