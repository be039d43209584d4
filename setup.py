from pathlib import Path

from setuptools import setup

# `pip install` puts networks and message definitions where the ROS build puts them, too.
files: dict[str, list[str]] = {}
for path in sorted([*Path('models').rglob('*'), *Path('msg').glob('*.msg')]):
    if path.is_file():
        files.setdefault(f'share/sph_reg_ros/{path.parent}', []).append(str(path))
setup(data_files=list(files.items()))
