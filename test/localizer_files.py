"""A small study: CT slices of an analytic body, and its localizers as several makers write them.

The localizers are chord lengths through the ellipsoids that the slices were filled from, so that
no renderer of ours took part in them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ct_files import PATIENT_ID, Phantom, decimals, slice_dataset, write_dicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from sph_reg_ros.imaging.ct.localizer import described
from sph_reg_ros.imaging.localizer import Localizer

SOURCE_MM, SPACING_MM, SIZE = 570.0, (2.0, 2.5), (96, 84)
ISOCENTRE = np.array([4.0, -150.0, 321.0])
"""In the middle of the body but for some millimetres; Siemens has y about -150 there."""
FRAME = generate_uid()
WATER_PER_MM = 0.02
AP, LATERAL = np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0])
"""From the isocentre to the source: in front of the patient, at the patient's left."""


@dataclass(frozen=True)
class Ellipsoid:
    """Density relative to water inside, added to what it lies in."""

    centre: np.ndarray
    radii: np.ndarray
    density: float


def ellipsoids() -> list[Ellipsoid]:
    """A trunk with an off-centre spine of blocks, ribs and an organ: no symmetry."""
    random = np.random.default_rng(11)
    found = [Ellipsoid(np.array([0.0, 0.0, 0.0]), np.array([78.0, 60.0, 150.0]), 1.0)]
    for k in range(-3, 4):
        found.append(Ellipsoid(np.array([3.0, 34.0, 26.0 * k]), np.array([17.0, 13.0, 9.0]), 0.9))
    for _ in range(14):
        centre = random.uniform(-1, 1, 3) * (44, 26, 70)
        found.append(Ellipsoid(centre, random.uniform(5, 13, 3), 0.8))
    return [Ellipsoid(e.centre + ISOCENTRE + (5, 4, -6), e.radii, e.density) for e in found]


def body(spacing: tuple[float, float, float] = (3.0, 2.8, 3.2)) -> Phantom:
    """The CT; it ends within the trunk, at 95 mm above and below its middle."""
    shape = np.array([60, 52, 62])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = ISOCENTRE + (2, 3, -4) - np.array(spacing) * (shape - 1) / 2
    axes = [affine[n, 3] + spacing[n] * np.arange(shape[n]) for n in range(3)]
    z, y, x = np.meshgrid(*reversed(axes), indexing='ij')
    density = np.zeros(z.shape)
    for e in ellipsoids():
        offsets = [(w - c) / r for w, c, r in zip((x, y, z), e.centre, e.radii, strict=True)]
        density += e.density * (sum(o**2 for o in offsets) < 1)
    return Phantom((1000 * density - 1000).clip(-1000, 2500).astype(np.int16), affine)


def chords(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the water-equivalent length of rays from source to target [..., 3] and beyond."""
    direction = target - source
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    total = np.zeros(target.shape[:-1])
    for e in ellipsoids():
        o, d = (source - e.centre) / e.radii, direction / e.radii
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        total += e.density * 2 * np.sqrt(np.maximum(b * b - a * c, 0)) / a
    return total


@dataclass(frozen=True)
class Shot:
    """Where the pixels of a localizer are.

    Attributes:
        source: unit vector from the isocentre to the source.
        column_step: LPS.
        row_step: LPS, along the table.
    """

    source: np.ndarray
    column_step: np.ndarray
    row_step: np.ndarray

    @property
    def position(self) -> np.ndarray:
        """Return the centre of the first pixel; the isocentre is the image's middle."""
        rows, columns = SIZE
        across = self.column_step * SPACING_MM[1] * (columns - 1) / 2
        return ISOCENTRE - across - self.row_step * SPACING_MM[0] * (rows - 1) / 2

    def image(self) -> np.ndarray:
        rows, columns = np.meshgrid(*map(np.arange, SIZE), indexing='ij')
        plane = (
            self.position
            + columns[..., None] * SPACING_MM[1] * self.column_step
            + rows[..., None] * SPACING_MM[0] * self.row_step
        )
        along = (rows - (SIZE[0] - 1) / 2)[..., None] * SPACING_MM[0] * self.row_step
        return chords(ISOCENTRE + along + SOURCE_MM * self.source, plane) * WATER_PER_MM


FRONTAL = Shot(AP, np.array([1.0, 0, 0]), np.array([0, 0, -1.0]))
SIDE = Shot(LATERAL, np.array([0, 1.0, 0]), np.array([0, 0, -1.0]))


def philips(dataset: Dataset, shot: Shot) -> None:
    """AngularPosition; rows counted from edge to edge of the image."""
    dataset.Manufacturer = 'Philips'
    dataset.AngularPosition = 0 if shot is FRONTAL else 90
    edge = shot.position - shot.row_step * SPACING_MM[0] / 2
    dataset.ImagePositionPatient = decimals(edge)
    dataset.SliceLocation = decimals([edge[2] - SIZE[0] * SPACING_MM[0]])[0]


def ge(dataset: Dataset, shot: Shot) -> None:
    """The angle of the tube in a private element."""
    dataset.Manufacturer = 'GE MEDICAL SYSTEMS'
    block = dataset.private_block(0x0019, 'GEMS_ACQU_01', create=True)
    block.add_new(0x26, 'SL', 0 if shot is FRONTAL else 90)


def siemens(dataset: Dataset, shot: Shot) -> None:
    """No angle at all."""
    dataset.Manufacturer = 'SIEMENS'
    dataset.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER', 'CT_SOM5 TOP']


def standard(dataset: Dataset, shot: Shot) -> None:
    """The attributes of the standard."""
    dataset.TubeAngle = 0.0 if shot is FRONTAL else 90.0
    dataset.DataCollectionCenterPatient = ISOCENTRE.tolist()


MAKERS: dict[str, Callable[[Dataset, Shot], None]] = {
    maker.__name__: maker for maker in (philips, ge, siemens, standard)
}


def localizer_dataset(shot: Shot, maker: Callable[[Dataset, Shot], None]) -> Dataset:
    """Return a localizer as a maker writes it."""
    pixels = shot.image()
    stored = Phantom((4000 / pixels.max() * pixels)[None].astype(np.int16) - 1024, np.eye(4))
    dataset = slice_dataset(stored, 0, generate_uid())
    dataset.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER']
    dataset.SeriesDescription, dataset.FrameOfReferenceUID = 'Scout', FRAME
    dataset.PatientPosition = 'HFS'
    dataset.PixelSpacing = decimals(list(SPACING_MM))
    dataset.ImagePositionPatient = decimals(shot.position)
    dataset.ImageOrientationPatient = decimals(np.concatenate([shot.column_step, shot.row_step]))
    dataset.DistanceSourceToPatient, dataset.DistanceSourceToDetector = SOURCE_MM, 1040
    maker(dataset, shot)
    return dataset


def write_study(folder: Path, *localizers: Dataset) -> Path:
    """Write the CT and localizers, each series in a folder of its own."""

    def edit(k: int, dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID = FRAME
        dataset.ImageType = ['ORIGINAL', 'PRIMARY', 'AXIAL']

    write_dicom(folder / 'axial', body(), edit=edit)
    for number, dataset in enumerate(localizers):
        assert dataset.PatientID == PATIENT_ID or number > 0
        place = folder / f'scout{number}'
        place.mkdir()
        dataset.save_as(place / 'image', enforce_file_format=True)
    return folder


def described_localizer(shot: Shot, maker: Callable[[Dataset, Shot], None] = standard) -> Localizer:
    """Return a localizer as it is read from a file."""
    pixels = shot.image().astype(np.float32)
    return Localizer.of(described(localizer_dataset(shot, maker), pixels, pixels >= 0))
