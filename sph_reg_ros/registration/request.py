"""What a registration is asked."""

from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.errors import ErrorCode, ImageError, PoseError
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.plausible import require_possible
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.registration.prior import PosePrior
from sph_reg_ros.registration.reasons import InputDoubt
from sph_reg_ros.registration.target import Target
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.device import chosen_device

_COPIES: WeakKeyDictionary[AttenuationVolume, dict[torch.device, AttenuationVolume]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True)
class RegistrationRequest:
    """A CT, the X-rays, and where to start.

    Attributes:
        volume: attenuation of the CT.
        views: at least one; several need `fixed_from_camera` each.
        initial_camera_from_ct: first guess [4, 4] (mm) for the first view; None: networks or a
            search over all view directions find one.
        config: settings.
        prior: what is known of the first view's pose beside the X-rays; None: nothing.
        networks: trained on this CT (`networks.find_networks`); None: there are none.
        doubts: about CT and X-rays; they explain a pose that fails the checks.
        bodies: what moves for itself, and the rest of the CT; None: the CT is one rigid body.
        initial_bodies: where each body is expected [4, 4] in the first camera, such as where it was
            in the X-ray before; None, of one or of all: where it lay in the CT.
        target: what verdict and bound are about (`target.find_target`); None: the whole region.
    """

    volume: AttenuationVolume
    views: tuple[View, ...]
    initial_camera_from_ct: Float64[Tensor, '4 4'] | None = None
    config: RegistrationConfig = field(default_factory=RegistrationConfig)
    prior: PosePrior | None = None
    networks: Networks | None = None
    doubts: tuple[InputDoubt, ...] = ()
    bodies: Bodies | None = None
    initial_bodies: tuple[Float64[Tensor, '4 4'] | None, ...] | None = None
    target: Target | None = None

    def __post_init__(self) -> None:
        """Check units, and that the views belong together; raises Image-, Camera- or PoseError."""
        if not self.views:
            raise ImageError(ErrorCode.IMAGE_CONTENT, 'a registration needs at least one view')
        if len(self.views) > 1 and any(v.fixed_from_camera is None for v in self.views):
            raise PoseError(
                ErrorCode.IMAGER_POSE_MISSING, 'several views need fixed_from_camera for each'
            )
        for view in self.views:
            require_possible(view.camera.K, view.camera.size)
        if self.initial_camera_from_ct is not None:
            se3.require_rigid(self.initial_camera_from_ct, 'initial_camera_from_ct')

    def placed(self) -> 'RegistrationRequest':
        """Return the request with CT and networks on the device that its config chooses.

        Renderings and all that is made of them follow the CT. Poses stay on the host, where a
        solver's small matrices are, and X-rays until they are compared.

        Raises:
            ConfigError: as `chosen_device`.
        """
        volume = placed_volume(self.volume, self.config)
        bodies = None if self.bodies is None else placed_bodies(self.bodies, self.config)
        networks = None if self.networks is None else self.networks.to(volume.device)
        target = self.target
        if target is not None and target.part is not None:
            target = replace(target, part=placed_bodies(target.part, self.config))
        return replace(self, volume=volume, networks=networks, bodies=bodies, target=target)

    @property
    def start(self) -> Float64[Tensor, '4 4']:
        """Return the initial pose; raises PoseError POSE_INVALID if there is none."""
        if self.initial_camera_from_ct is None:
            raise PoseError(ErrorCode.POSE_INVALID, 'an initial pose is needed here')
        return self.initial_camera_from_ct.double()

    @property
    def distance_mm(self) -> float:
        """Return about how far the CT's middle is from the first view's source."""
        if self.initial_camera_from_ct is None:
            return self.config.search_distance_mm
        return float(se3.transform_points(self.start, self.volume.centre[None]).norm())


def placed_bodies(bodies: Bodies, config: RegistrationConfig) -> Bodies:
    """Return bodies and rest where `placed_volume` puts each."""
    rest = None if bodies.rest is None else placed_volume(bodies.rest, config)
    moved = (replace(body, volume=placed_volume(body.volume, config)) for body in bodies)
    return replace(bodies, bodies=tuple(moved), rest=rest)


def placed_volume(volume: AttenuationVolume, config: RegistrationConfig) -> AttenuationVolume:
    """Return a CT on the device that settings choose; it is moved once.

    `auto` does not move one that is on a device already. Raises ConfigError as `chosen_device`.
    """
    device = volume.device
    if device.type == 'cpu' or config.device != 'auto':
        device = chosen_device(config.device, config.backend)
    if volume.device == device:
        return volume
    copies = _COPIES.setdefault(volume, {})
    if device not in copies:
        copies[device] = volume.to(device)
    return copies[device]
