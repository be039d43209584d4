"""Trains the similarity with one setting changed at a time, each on as many X-rays.

The settings are those of a file but for what `_ablations.variants` changes. One training after the
other; Ctrl-C ends the program, and to start it again goes on. `bench/methods.py --parts networks
--ablations FOLDER` measures what is there.

A full run: --start models/chest_lidc/regressor --images 20000 --output FOLDER.
"""

import argparse
from pathlib import Path

from _ablations import begins_with_regressor, variants
from _trainings import folder_or_none, train

from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.training.config_file import read_config
from sph_reg_ros.training.job import TrainingJob, regressor_from

CONFIG = Path(__file__).parents[1] / 'config' / 'train_quick.yaml'
NOTHING = (None, '')


def main() -> None:
    """Train; what becomes of each network is printed."""
    arguments = _arguments()
    settings = variants(read_config(arguments.config), arguments.images)
    cts = (load_ct(arguments.ct or sample_ct_path()),)
    start = regressor_from(arguments.start) if arguments.start else NOTHING
    with folder_or_none(arguments.output) as folder:
        for name in arguments.only or settings:
            begun = start if begins_with_regressor(name) else NOTHING
            train(TrainingJob('similarity', cts, settings[name], *begun), folder / name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--ct', type=Path, help='the chest CT if not given')
    add('--config', type=Path, default=CONFIG, help='settings to start from')
    add('--start', type=Path, help='weights of a regressor, whose filters all but some begin with')
    add('--images', type=int, default=96, help='X-rays that each network learns from')
    add('--output', type=Path, help='folder of all trainings')
    add('--only', nargs='+', help='which of them')
    arguments = parser.parse_args()
    known = variants(read_config(arguments.config), arguments.images)
    unknown = sorted(set(arguments.only or ()) - set(known))
    if unknown:
        parser.error(f'--only: {", ".join(unknown)} unknown; known are {", ".join(known)}')
    return arguments


if __name__ == '__main__':
    main()
