"""Settings that both networks share: machine, imager and CTs."""

from sph_reg_ros.errors import require_setting
from sph_reg_ros.geometry import Camera
from sph_reg_ros.settings import parameter, settings

ACCELERATORS = ('auto', 'cpu', 'cuda')


@settings
class Run:
    """Where a training runs.

    Attributes:
        accelerator: auto takes a GPU if there is one.
        devices: GPUs, or processes on the CPU, that share the work; 0 for all GPUs there are.
        overlap: make the next batch while the network learns from this one.
        renderer_threads: of the CPU renderer while it overlaps; 0 for as many as there are cores.
        network_threads: of torch on the CPU; 0 for its own choice.
        seed: of all random numbers.
    """

    accelerator: str = parameter('auto', choices=ACCELERATORS)
    devices: int = parameter(1, low=0)
    overlap: bool = True
    renderer_threads: int = parameter(0, low=0)
    network_threads: int = parameter(0, low=0)
    seed: int = parameter(0, low=0)


@settings
class Imager:
    """The C-arm whose images the networks take, at the resolution of the network.

    Attributes:
        sdd_mm: distance from source to detector.
        field_mm: height and width of the detector.
    """

    sdd_mm: float = 1020.0
    field_mm: tuple[float, float] = (300.0, 300.0)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        require_setting(
            self.sdd_mm > 0 and min(self.field_mm) > 0, 'sdd_mm and field_mm must be positive'
        )

    def camera(self, size: tuple[int, int]) -> Camera:
        """Return the camera with the whole detector on `size` pixels (rows, columns)."""
        rows_mm, columns_mm = (mm / n for mm, n in zip(self.field_mm, size, strict=True))
        return Camera.from_geometry(self.sdd_mm, (rows_mm, columns_mm), size)


@settings
class Anatomy:
    """How the CTs are prepared and varied.

    Attributes:
        energies_kev: photon energies; X-rays are rendered at one of them, the renderings that a
            similarity compares them with at the first.
        flips: take each CT mirrored left to right as well, as one more.
        crops: random parts of each CT to take as well.
        cube_voxels: edge of the cube that a regressor for several CTs sees of each.
        step_mm: distance of samples on a ray; 0: the size of a voxel.
    """

    energies_kev: tuple[float, ...] = (60.0, 50.0, 75.0)
    flips: bool = False
    crops: int = parameter(0, low=0, high=100)
    cube_voxels: int = parameter(64, low=16, high=256)
    step_mm: float = parameter(0.0, low=0.0)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        require_setting(len(self.energies_kev) > 0, 'energies_kev must name an energy')
