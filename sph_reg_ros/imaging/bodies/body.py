"""What moves each for itself in one X-ray, and the CT without it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.bodies.materials import Material
from sph_reg_ros.imaging.bodies.mesh import TriangleMesh


@dataclass(frozen=True)
class MotionPrior:
    """How far a body may have moved against its parent since the CT: standard deviations.

    Attributes:
        rotation_rad: about each axis.
        translation_mm: of the pivot along each axis.
        pivot_mm: what it turns about, such as the centre of a joint, in body coordinates; None: the
            middle of the body.
    """

    rotation_rad: float = 0.1
    translation_mm: float = 5.0
    pivot_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body.

    Attributes:
        name: unique among the bodies.
        volume: attenuation of the body, air around it, in body coordinates (mm). Of a part of a CT
            these are the CT's (LPS), of a mesh its own. Where there is a CT, it is what the body
            attenuates beyond the soft tissue that it displaces.
        ct_from_body: [4, 4] where the body lay in the CT; the identity for a part of a CT.
        mesh: surface in body coordinates; None for a part of a CT.
        material: of a mesh; None: attenuation as in the CT.
        parent: name of the body that it hangs on; None: on the rest.
        prior: how far it may have moved against its parent.
        frame: tf frame of the body coordinates; None: <patient>/<name>.
    """

    name: str
    volume: AttenuationVolume
    ct_from_body: Float64[Tensor, '4 4'] = field(
        default_factory=lambda: torch.eye(4, dtype=torch.float64)
    )
    mesh: TriangleMesh | None = None
    material: Material | None = None
    parent: str | None = None
    prior: MotionPrior = MotionPrior()
    frame: str | None = None

    @property
    def is_metal(self) -> bool:
        """Return whether the body is opaque in X-rays, so that only its contour says something."""
        return self.material is not None and self.material.is_metal


@dataclass(frozen=True, eq=False)
class Bodies:
    """Bodies and the rest of the patient; where nothing has moved, their sum is the CT.

    Attributes:
        bodies: at least one; a parent comes before its children.
        rest: the CT with soft tissue in place of the bodies, CT coordinates; None without a CT.
        notes: what was assumed or repaired, a sentence each.
    """

    bodies: tuple[Body, ...]
    rest: AttenuationVolume | None
    notes: tuple[str, ...] = ()

    @property
    def has_metal(self) -> bool:
        """Return whether one of them is opaque."""
        return any(body.is_metal for body in self.bodies)

    def __iter__(self) -> Iterator[Body]:
        """Iterate over the bodies."""
        return iter(self.bodies)

    def __len__(self) -> int:
        """Return the number of bodies."""
        return len(self.bodies)

    def __getitem__(self, name: str) -> Body:
        """Return the body of a name; raises KeyError."""
        for body in self.bodies:
            if body.name == name:
                return body
        raise KeyError(name)
