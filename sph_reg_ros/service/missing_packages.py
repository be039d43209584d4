"""Reports missing packages in one line; imports none itself."""

import sys
from types import TracebackType

from sph_reg_ros.errors import missing_package


def name_missing_packages() -> None:
    """From now on an import that ends this process prints what to install, no traceback."""
    sys.excepthook = _say


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, ImportError):
        print(missing_package(error), file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
