"""Summary figures of a replay and limits on them."""

import difflib
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sph_reg_ros.errors import require_setting
from sph_reg_ros.replay.record import DROPPED, BagRecord, ImageRow

_ERRORS = {
    'mtre_mm': 'mtre_mm',
    'in_plane_mm': 'in_plane_mm',
    'depth_mm': 'depth_mm',
    'rotation_deg': 'rotation_deg',
}
_OF_TRUTH = (*_ERRORS, 'any_mtre_mm', 'bound_coverage')
_QUANTILES = {'median': 0.5, 'p95': 0.95, 'max': 1.0}
_COMPARISONS = {'<=': operator.le, '>=': operator.ge}
_LIMIT = re.compile(r'^\s*([\w.]+)\s*(<=|>=)\s*([-+\w.]+)\s*$')


@dataclass(frozen=True)
class Limit:
    """A figure that must lie on one side of a number, such as `mtre_mm.median<=1.5`."""

    name: str
    sign: str
    value: float

    def __str__(self) -> str:
        """Return it as it is written."""
        return f'{self.name}{self.sign}{self.value:g}'

    def met(self, figures: Mapping[str, float]) -> bool:
        """Return whether it is kept.

        A figure that is not known (NaN) keeps no limit, and an error none that is not of every
        verified image.
        """
        kept = bool(_COMPARISONS[self.sign](figures[self.name], self.value))
        return kept and not self.gap(figures)

    def gap(self, figures: Mapping[str, float]) -> str:
        """Return which images an error is not of; '' if it is of all that are verified."""
        measured, verified = figures['measured'], figures['verified']
        if self.name.split('.')[0] not in _OF_TRUTH or measured == verified:
            return ''
        return f'only {measured:g} of {verified:g} verified images have a truth'


def parse_limit(text: str) -> Limit:
    """Return a limit; raises ConfigError if it is none, or its figure is unknown."""
    match = _LIMIT.match(text)
    require_setting(match is not None, f'{text!r} is not NAME<=NUMBER or NAME>=NUMBER')
    assert match is not None
    known = list(figures_of(()))
    near = difflib.get_close_matches(match[1], known, n=1)
    hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(known)}'
    require_setting(match[1] in known, f'no figure is named {match[1]!r}: {hint}')
    try:
        value = float(match[3])
    except ValueError:
        value = math.nan
    require_setting(math.isfinite(value), f'{text!r}: {match[3]!r} is no number')
    return Limit(match[1], match[2], value)


def figures_of(records: Iterable[BagRecord]) -> dict[str, float]:
    """Return the figures of all images of the bags; NaN where nothing is known.

    Errors are those of verified poses with a truth, `measured` many; `any_mtre_mm` is of all that
    were found.
    """
    known = tuple(records)
    rows = [row for record in known for row in record.rows]
    verified = [row for row in rows if row.is_verified]
    measured = [row for row in verified if row.error is not None]
    figures: dict[str, float] = {
        'images': len(rows),
        'registered': sum(row.camera_from_ct is not None for row in rows),
        'verified': len(verified),
        'measured': len(measured),
        'verified_share': len(verified) / len(rows) if rows else math.nan,
        'dropped': sum(row.verdict == DROPPED for row in rows),
        'failed_bags': sum(bool(record.failure) for record in known),
    }
    for name, attribute in _ERRORS.items():
        values = [getattr(row.error, attribute) for row in measured]
        figures |= _quantiles(name, values)
    figures |= _quantiles('any_mtre_mm', [row.error.mtre_mm for row in rows if row.error])
    figures['bound_coverage'] = _coverage(measured)
    similarity = [row.similarity_after for row in rows if not math.isnan(row.similarity_after)]
    figures['similarity.median'] = float(np.median(similarity)) if similarity else math.nan
    figures |= _quantiles('seconds', [row.seconds for row in rows if not math.isnan(row.seconds)])
    return figures


def all_met(limits: Iterable[Limit], records: Sequence[BagRecord]) -> bool:
    """Return whether all bags were replayed within all limits, with any pose in each of them."""
    figures = figures_of(records)
    usable = not any(record.failure or record.all_refused for record in records)
    return usable and all(limit.met(figures) for limit in limits)


def _quantiles(name: str, values: Sequence[float]) -> dict[str, float]:
    return {
        f'{name}.{word}': float(np.quantile(values, share)) if values else math.nan
        for word, share in _QUANTILES.items()
    }


def _coverage(rows: Sequence[ImageRow]) -> float:
    """Return the share of errors below their own bound."""
    bounded = [row for row in rows if row.error is not None and not math.isnan(row.bound_mm)]
    if not bounded:
        return math.nan
    return float(np.mean([row.error.mtre_mm <= row.bound_mm for row in bounded if row.error]))
