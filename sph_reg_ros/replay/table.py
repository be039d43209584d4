"""The table at the end of a replay, 100 columns wide."""

import math
from collections import Counter
from collections.abc import Sequence

from sph_reg_ros.replay.limits import Limit, figures_of
from sph_reg_ros.replay.record import BagRecord, BodyRow, ImageRow, MovedRow

_HEADER = (
    f'{"image":>5}  {"view":19}  {"start mm":>8}  {"mm":>7}  {"in plane":>8}  {"depth":>7}  '
    f'{"deg":>6}  {"similarity":>10}  verdict'
)


def table_lines(record: BagRecord) -> list[str]:
    """Return one line an image, and a summary."""
    if record.failure:
        return [f'{record.name}: failed: {record.failure}']
    lines = [f'{record.name}: warning: {doubt}' for doubt in record.doubts]
    lines += ['mm: mean distance of 14 points of a box about the middle of the CT', _HEADER]
    lines += [line for row in record.rows for line in (_line(row), *_more_lines(row))]
    return [*lines, *_refusal_lines(record), summary_line([record])]


def _refusal_lines(record: BagRecord) -> list[str]:
    if not record.all_refused:
        return []
    reason, _ = Counter(row.reason for row in record.rows).most_common(1)[0]
    return [f'no image could be registered: {reason}']


def summary_line(records: Sequence[BagRecord]) -> str:
    """Return the medians over all images."""
    figures = figures_of(records)
    text = f'{figures["verified"]} of {figures["images"]} images verified'
    if not math.isnan(figures['mtre_mm.median']):
        text += (
            f', median error of {figures["measured"]} verified images with truth '
            f'{figures["mtre_mm.median"]:.2f} mm '
            f'({figures["in_plane_mm.median"]:.2f} mm in plane), '
            f'{figures["rotation_deg.median"]:.2f} deg'
        )
    return text


def limit_lines(limits: Sequence[Limit], records: Sequence[BagRecord]) -> list[str]:
    """Return whether each limit was kept."""
    figures = figures_of(records)
    return [_limit_line(limit, figures) for limit in limits]


def _limit_line(limit: Limit, figures: dict[str, float]) -> str:
    reason = '; '.join(filter(None, (f'{figures[limit.name]:.4g}', limit.gap(figures))))
    return f'limit {limit}: {"met" if limit.met(figures) else "MISSED"} ({reason})'


def _line(row: ImageRow) -> str:
    error, start = row.error, row.start_error
    figures = [
        _number(start.mtre_mm if start else math.nan, 8),
        _number(error.mtre_mm if error else math.nan, 7),
        _number(error.in_plane_mm if error else math.nan, 8),
        _number(error.depth_mm if error else math.nan, 7),
        _number(error.rotation_deg if error else math.nan, 6),
        _number(row.similarity_after, 10, 4),
    ]
    verdict = ' '.join(filter(None, (row.verdict, row.reason)))
    return f'{row.number:5d}  {row.view:19}  {"  ".join(figures)}  {verdict}'


def _more_lines(row: ImageRow) -> list[str]:
    asked = [f'       next: {row.next_view}'] if row.next_view else []
    return [*map(_moved_line, row.moved), *map(_body_line, row.bodies), *asked]


def _moved_line(part: MovedRow) -> str:
    (width, height), (x, y, z) = part.extent_mm, part.centre_lps_mm
    return (
        f'       moved {part.size_mm:.1f} mm: a part of {width:.0f} x {height:.0f} mm about '
        f'({x:.0f}, {y:.0f}, {z:.0f}) mm (LPS)'
    )


def _body_line(body: BodyRow) -> str:
    error = body.error
    figures = [
        _number(error.mtre_mm if error else math.nan, 7),
        _number(error.in_plane_mm if error else math.nan, 8),
        _number(error.depth_mm if error else math.nan, 7),
        _number(error.rotation_deg if error else math.nan, 6),
    ]
    moved = f'moved {body.translation_mm:.1f} mm {body.rotation_deg:.1f} deg'
    verdict = ' '.join(filter(None, (body.verdict, body.reason)))
    return f'       {body.name:12.12}  {moved:>23}   {"  ".join(figures)}              {verdict}'


def _number(value: float, width: int, digits: int = 2) -> str:
    return f'{"-":>{width}}' if math.isnan(value) else f'{value:{width}.{digits}f}'
