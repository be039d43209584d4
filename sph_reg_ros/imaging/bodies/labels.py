"""Label maps: NIfTI, NRRD, MetaImage and DICOM segmentations, with the names of their labels."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int16

from sph_reg_ros.errors import BodyError, CTError, ErrorCode, missing_package
from sph_reg_ros.imaging.bodies.totalsegmentator import STRUCTURES
from sph_reg_ros.imaging.ct.hounsfield import Empty
from sph_reg_ros.imaging.ct.volume_file import load_volume_file, volume_suffix
from sph_reg_ros.imaging.dicom.files import is_dicom

MAX_NAMES_BYTES = 1 << 20


@dataclass(frozen=True)
class LabelMap:
    """Which structure each voxel belongs to.

    Attributes:
        labels: [K, J, I]; 0 belongs to none.
        lps_from_index: [4, 4]; index (i, j, k, 1) to LPS (mm).
        names: of labels, as the file gives them; {} if it gives none.
    """

    labels: Int16[np.ndarray, 'K J I']
    lps_from_index: Float64[np.ndarray, '4 4']
    names: dict[int, str] = field(default_factory=dict)


def is_label_map(path: Path) -> bool:
    """Return whether a file is one that can be read as label map, by its name or DICOM's mark."""
    return volume_suffix(path) is not None or is_dicom(path)


def parse_labels(path: Path, empty: Empty = np.empty) -> LabelMap:
    """Read a label map.

    Args:
        path: .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, or DICOM SEG.
        empty: reserves memory for the voxels.

    Raises:
        BodyError: BODY_UNREADABLE if it cannot be read or places its voxels nowhere; BODY_LABELS if
            it holds no labels, or several of them in one voxel.
        RuntimeUnavailableError: a package that reads it is missing.
    """
    if volume_suffix(path) is None:
        return _dicom_segmentation(path)
    try:
        found = load_volume_file(path, empty=empty)
    except CTError as error:
        raise BodyError(
            ErrorCode.BODY_UNREADABLE, f'{path.name} cannot be read as label map: {error}'
        ) from None
    low, high = found.range_hu
    if found.hounsfield.dtype != np.int16 or low < 0:
        raise BodyError(
            ErrorCode.BODY_LABELS,
            f'{path.name} is no label map: its values, {low:g} to {high:g}, are not whole numbers '
            'from 0 to 32767',
        )
    return LabelMap(found.hounsfield, found.ct_from_index, _names_in(path))


def _dicom_segmentation(path: Path) -> LabelMap:
    try:
        import highdicom
    except ImportError as error:
        raise missing_package(error) from None
    try:
        segmentation = highdicom.seg.segread(path)
        names = {
            int(number): str(segmentation.get_segment_description(number).segment_label)
            for number in segmentation.segment_numbers
        }
        volume = segmentation.get_volume(combine_segments=True, dtype=np.int16)
    except RuntimeError:
        raise BodyError(
            ErrorCode.BODY_LABELS,
            f'segments of {path.name} overlap: export them without overlap, or one a file',
        ) from None
    except Exception:  # decoders raise nearly any type; the text may quote the header
        raise BodyError(
            ErrorCode.BODY_UNREADABLE,
            f'{path.name} is no DICOM segmentation of a regular stack of slices, or is damaged: '
            'export it again, or as NIfTI or NRRD',
        ) from None
    # highdicom counts slices first and columns last.
    order = [2, 1, 0, 3]
    return LabelMap(np.asarray(volume.array), np.asarray(volume.affine)[:, order], names)


def _names_in(path: Path) -> dict[int, str]:
    """Return the names that 3D Slicer or TotalSegmentator wrote into a header."""
    try:
        if volume_suffix(path) == '.nrrd':
            with path.open('rb') as file:
                head = file.read(MAX_NAMES_BYTES).split(b'\n\n')[0].decode('utf-8', 'replace')
            return _slicer_names(head)
        if volume_suffix(path) in ('.nii', '.nii.gz'):
            import nibabel

            extensions = nibabel.Nifti1Image.from_filename(path).header.extensions
            return _caret_names(''.join(e.text[:MAX_NAMES_BYTES] for e in extensions if e.text))
    except Exception:  # names are a help; the voxels were read
        pass
    return {}


def _slicer_names(header: str) -> dict[int, str]:
    fields = dict(re.findall(r'^(Segment\d+_(?:Name|LabelValue)):=(.*?)\r?$', header, re.MULTILINE))
    return {
        int(value): fields[name]
        for key, value in fields.items()
        if key.endswith('LabelValue') and (name := key.replace('LabelValue', 'Name')) in fields
    }


def _caret_names(xml: str) -> dict[int, str]:
    """Return the label table of a Caret extension, without what else XML may do."""
    found = re.findall(r'<Label Key="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?([^<\]]+)', xml)
    return {int(key): name.strip() for key, name in found if int(key) > 0}


def names_of(label_map: LabelMap) -> dict[int, str]:
    """Return the names of the labels in a file; TotalSegmentator's if it gives none."""
    return label_map.names or dict(enumerate(STRUCTURES, 1))
