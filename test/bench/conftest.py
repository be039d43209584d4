"""The programs in bench/ import their modules from their own folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / 'bench'))
