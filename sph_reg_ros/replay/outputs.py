"""Output files of a replay, of one bag and of all of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.files import without_nan, write_together
from sph_reg_ros.replay.limits import Limit, figures_of
from sph_reg_ros.replay.params_file import parameters_text
from sph_reg_ros.replay.pose_files import bodies_csv_text, csv_text, tum_text
from sph_reg_ros.replay.record import BagRecord
from sph_reg_ros.replay.report import report_html
from sph_reg_ros.service.parameters import BodiesParameters, NodeParameters

RECORD, REPORT, METRICS = 'record.json', 'report.html', 'metrics.json'
RESULT_BAG = 'bag'
NOTICE = 'Research use only, not a medical device.'


def require_unused(folder: Path) -> None:
    """Raise BagError BAG_UNREADABLE if a folder holds files of a replay; none is replaced."""
    if any((folder / name).exists() for name in (RESULT_BAG, RECORD, METRICS, REPORT)):
        raise BagError(
            ErrorCode.BAG_UNREADABLE, f'{folder} holds a replay already: name another folder'
        )


def record_files(record: BagRecord, parameters: NodeParameters, folder: Path) -> dict[Path, bytes]:
    """Return poses, settings and record of one bag by the files that hold them."""
    texts = {
        'poses.csv': csv_text(record.rows),
        'bodies.csv': bodies_csv_text(record.rows),
        'poses.tum': tum_text(record.rows),
        'config.yaml': parameters_text(parameters),
        RECORD: record.to_json(),
    }
    if not parameters.bodies.path:
        del texts['bodies.csv']
    return {folder / name: text.encode() for name, text in texts.items()}


def write_summary(
    records: Sequence[tuple[BagRecord, Path]],
    limits: Sequence[Limit],
    parameters: NodeParameters,
    folder: Path,
) -> tuple[Path, Path]:
    """Write metrics.json and report.html, which needs no other file; return their paths.

    Args:
        records: of each bag, and the folder with its pictures.
        limits: that were set.
        parameters: of the node.
        folder: to write into; made if it is not there.
    """
    known = [record for record, _ in records]
    figures = figures_of(known)
    content = {
        'notice': NOTICE,
        'bags': [
            {'name': r.name, 'ct': r.ct, 'failure': r.failure, 'figures': figures_of([r])}
            for r in known
        ],
        'figures': figures,
        'limits': [
            {'limit': str(limit), 'met': limit.met(figures), 'gap': limit.gap(figures)}
            for limit in limits
        ],
        'versions': next((r.versions for r in known if r.versions), {}),
    }
    metrics, report = folder / METRICS, folder / REPORT
    folder.mkdir(parents=True, exist_ok=True)
    # A report is passed on, and the name of a folder may be that of a patient.
    shown = replace(parameters, ct=replace(parameters.ct, path=''), bodies=BodiesParameters())
    html = report_html(records, limits, parameters_text(shown))
    text = json.dumps(without_nan(content), indent=1, allow_nan=False)
    write_together({metrics: text.encode(), report: html.encode()})
    return metrics, report
