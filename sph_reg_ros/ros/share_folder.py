"""The folder of config/ and launch/."""

from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]


def share_folder() -> Path:
    """Return where config/ and launch/ are: the source tree, else the installed package."""
    if (_REPOSITORY / 'package.xml').is_file():
        return _REPOSITORY
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory('sph_reg_ros'))
