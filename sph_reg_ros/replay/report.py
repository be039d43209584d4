"""HTML report of a replay, one self-contained file."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sph_reg_ros.replay.charts import Chart, charts_of
from sph_reg_ros.replay.limits import Limit, figures_of
from sph_reg_ros.replay.record import BagRecord, ImageRow


@dataclass(frozen=True)
class ImagePart:
    """An image and its pictures as data URIs, by kind."""

    row: ImageRow
    pictures: dict[str, str]


@dataclass(frozen=True)
class BagPart:
    """What the page shows of one bag."""

    record: BagRecord
    figures: dict[str, float]
    charts: list[Chart]
    images: list[ImagePart]


def report_html(
    records: Sequence[tuple[BagRecord, Path]], limits: Sequence[Limit], settings: str
) -> str:
    """Return the page.

    Args:
        records: of each bag, and the folder with its pictures.
        limits: that were set.
        settings: of the node, as text.
    """
    known = [record for record, _ in records]
    figures = figures_of(known)
    environment = Environment(
        loader=PackageLoader('sph_reg_ros.replay', 'templates'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['figure'] = figure
    return environment.get_template('report.html.j2').render(
        bags=[_part(record, folder) for record, folder in records],
        figures=figures,
        limits=[(str(limit), limit.met(figures), limit.gap(figures)) for limit in limits],
        settings=settings,
        versions=next((record.versions for record in known if record.versions), {}),
    )


def figure(value: Any) -> str:
    """Return a number of four digits; a dash if it is not known."""
    if not isinstance(value, int | float) or math.isnan(value):
        return '–'
    return f'{value:.4g}'


def _part(record: BagRecord, folder: Path) -> BagPart:
    images = [ImagePart(row, _pictures(row, folder)) for row in record.rows]
    return BagPart(record, figures_of([record]), charts_of(record.rows), images)


def _pictures(row: ImageRow, folder: Path) -> dict[str, str]:
    return {
        name: 'data:image/jpeg;base64,' + base64.b64encode((folder / path).read_bytes()).decode()
        for name, path in row.pictures.items()
    }
