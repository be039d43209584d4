"""Charts over time for the report's template, which draws them as SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sph_reg_ros.messages.conversions import NANOSECONDS
from sph_reg_ros.replay.record import ImageRow

WIDTH, HEIGHT = 720, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 24
_COLOURS = {'registered': '#12a37a', 'at the start': '#e2703a', 'bound': '#8a8f98'}
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Point:
    """One image in a chart: pixels, and what it shows."""

    x: float
    y: float
    number: int
    text: str


@dataclass(frozen=True)
class Series:
    """One curve; where an image has no figure, it is interrupted.

    Attributes:
        label: of the curve.
        colour: that shows on light and dark paper.
        runs: points that follow each other without a gap.
    """

    label: str
    colour: str
    runs: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class Chart:
    """Curves with their axes.

    Attributes:
        title: with the unit.
        series: curves.
        x_ticks: (pixel, text) along the time axis, seconds since the first image.
        y_ticks: (pixel, text).
    """

    title: str
    series: tuple[Series, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


NAN = math.nan
SIMILARITY = 'similarity'
Figure = Callable[[ImageRow], float]


def charts_of(rows: Sequence[ImageRow]) -> list[Chart]:
    """Return the charts that the images have figures for: error, similarity, time."""
    wanted: list[tuple[str, list[tuple[str, Figure]]]] = [
        (
            'target registration error, mm',
            [
                ('at the start', lambda row: row.start_error.mtre_mm if row.start_error else NAN),
                ('bound', lambda row: row.bound_mm),
                ('registered', lambda row: row.error.mtre_mm if row.error else NAN),
            ],
        ),
        (
            'rotation error, degrees',
            [
                ('at the start', lambda r: r.start_error.rotation_deg if r.start_error else NAN),
                ('registered', lambda row: row.error.rotation_deg if row.error else NAN),
            ],
        ),
        (
            SIMILARITY,
            [
                ('at the start', lambda row: row.similarity_before),
                ('registered', lambda row: row.similarity_after),
            ],
        ),
        ('computation, seconds', [('registered', lambda row: row.seconds)]),
    ]
    made = (_chart(title, rows, curves) for title, curves in wanted)
    return [chart for chart in made if chart is not None]


def _chart(
    title: str, rows: Sequence[ImageRow], curves: Sequence[tuple[str, Figure]]
) -> Chart | None:
    known = [(label, figure) for label, figure in curves if any(_known(rows, figure))]
    values = [value for _, figure in known for value in _known(rows, figure)]
    if not values:
        return None
    times = _times_s(rows)
    x_ticks = [tick for tick in ticks(0.0, times[-1]) if tick <= times[-1]]
    # A similarity is near 1, whatever its scale: there the differences count.
    y_ticks = ticks(min(values) if title == SIMILARITY else 0.0, max(values))
    across = _scale(0.0, max(times[-1], 1e-9), LEFT, WIDTH - RIGHT)
    up = _scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    return Chart(
        title,
        tuple(
            Series(label, _COLOURS[label], _runs(rows, times, figure, across, up))
            for label, figure in known
        ),
        tuple((across(tick), f'{tick:g}') for tick in x_ticks),
        tuple((up(tick), f'{tick:g}') for tick in y_ticks),
    )


def _times_s(rows: Sequence[ImageRow]) -> list[float]:
    """Return the time of each image since the first; it goes on where stamps start again."""
    times, last_ns = [0.0], 0
    for row in rows:
        # A stamp that says nothing would move all others to the edge.
        passed_ns = max(row.stamp_ns - last_ns, 0) if last_ns and row.stamp_ns > 0 else 0
        times.append(times[-1] + passed_ns / NANOSECONDS)
        last_ns = max(row.stamp_ns, 0) or last_ns
    return times[1:]


def _runs(
    rows: Sequence[ImageRow],
    times: Sequence[float],
    figure: Figure,
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> tuple[tuple[Point, ...], ...]:
    runs: list[list[Point]] = [[]]
    for row, time in zip(rows, times, strict=True):
        value = figure(row)
        if math.isfinite(value):
            text = f'image {row.number}, {time:.2f} s: {value:.4g}'
            runs[-1].append(Point(across(time), up(value), row.number, text))
        elif runs[-1]:
            runs.append([])
    return tuple(tuple(run) for run in runs if run)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers that reach from `low` or below to `high` or above; at least two."""
    span = max(high - low, 1e-6)
    magnitude = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(s * magnitude for s in _STEPS if s * magnitude * wanted >= span * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _known(rows: Sequence[ImageRow], figure: Figure) -> list[float]:
    return [value for value in map(figure, rows) if math.isfinite(value)]


def _scale(low: float, high: float, first_px: float, last_px: float) -> Callable[[float], float]:
    def pixel(value: float) -> float:
        return round(first_px + (value - low) / (high - low) * (last_px - first_px), 2)

    return pixel
