"""Pictures of the benchmark of the learned method, with matplotlib."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _learned import SPHERICAL

Figures = dict[str, Any]
_COLOURS = ('#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#8c564b', '#e377c2', '#7f7f7f')


def draw(results: dict[str, list[Figures]], folder: Path) -> None:
    """Write a PNG for each part that was measured; says so if matplotlib is not installed."""
    drawers: dict[str, Callable[[list[Figures]], Any]] = {
        'methods': _success,
        'solvers': _convergence,
        'capture': _capture,
        'acceptance': _distances,
        'networks': _success,
    }
    try:
        import matplotlib
    except ImportError as error:
        print(f'no pictures: {error}')
        return
    matplotlib.use('Agg')
    folder.mkdir(parents=True, exist_ok=True)
    for part, entries in results.items():
        if part in drawers and entries:
            figure = drawers[part](entries)
            figure.savefig(folder / f'{part}.png', dpi=120)


def _success(rows: Sequence[Figures]) -> Any:
    """Draw bars of success, a panel for each condition."""
    conditions = _distinct(rows, 'condition')
    most = max(len([r for r in rows if r['condition'] == c]) for c in conditions)
    figure, panels = _panels(1, len(conditions), width=6.4, height=1.6 + 0.34 * most)
    for panel, condition in zip(panels, conditions, strict=True):
        some = [row for row in rows if row['condition'] == condition][::-1]
        places = range(len(some))
        for share, name, colour in (
            ('coarse_success_share', '< 10 mm', '#9ecae1'),
            ('success_share', '< 2 mm', '#08519c'),
        ):
            values = [100 * row['summary'][share] for row in some]
            panel.barh(places, values, label=name, color=colour)
        panel.set_yticks(places, [f'{row["protocol"]}: {row["method"]}' for row in some])
        panel.set(xlim=(0, 100), title=condition, xlabel=f'% of {len(some[0]["trials"])} cases')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', ncols=2)
    return figure


def _convergence(entries: Sequence[Figures]) -> Any:
    """Draw the median error after each step, a panel for each kind of start and condition."""
    from matplotlib.ticker import LogFormatter

    keys = list(dict.fromkeys((e['protocol'], e['condition']) for e in entries))
    figure, panels = _panels(-(-len(keys) // 2), min(2, len(keys)))
    for panel, key in zip(panels, keys, strict=False):
        some = [e for e in entries if (e['protocol'], e['condition']) == key]
        for entry, colour in zip(some, _COLOURS, strict=False):
            rate = '' if entry['rate'] is None else f', rate {entry["rate"]:.2g}'
            panel.plot(entry['curve_mm'], color=colour, label=entry['solver'] + rate)
            if entry['steps'] is not None:
                step = entry['steps']
                panel.plot(step, entry['curve_mm'][step], 'o', color=colour)
        panel.axhline(some[0]['goal_mm'], color='0.6', lw=0.8, ls='--')
        panel.set_xscale('symlog', linthresh=10)
        panel.set_yscale('log')
        panel.xaxis.set_major_formatter('{x:g}')
        panel.yaxis.set_major_formatter('{x:g}')
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        panel.set(title=', '.join(key), xlabel='steps', ylabel='median mTRE, mm')
        panel.legend(fontsize='small')
    return figure


def _capture(entries: Sequence[Figures]) -> Any:
    """Draw success by the distance of the start: below 10 mm without a polish, else below 2 mm."""
    conditions = _distinct(entries, 'condition')
    figure, panels = _panels(1, len(conditions))
    for panel, condition in zip(panels, conditions, strict=True):
        some = [e for e in entries if e['condition'] == condition]
        for entry, colour in zip(some, _COLOURS, strict=False):
            bins = [b for b in entry['bins'] if b['cases']]
            middles = [(b['from_mm'] + b['to_mm']) / 2 for b in bins]
            limit, style = ('<10 mm', '.:') if entry['method'] == SPHERICAL else ('<2 mm', '.-')
            values = [100 * b[limit] for b in bins]
            panel.plot(middles, values, style, color=colour, label=f'{entry["method"]}, {limit}')
        panel.set(title=condition, xlabel='mTRE of the start, mm', ylabel='success, %')
        panel.set(xlim=(0, 150), ylim=(-3, 103))
    names = panels[0].get_legend_handles_labels()
    figure.legend(*names, loc='outside lower center', ncols=2, fontsize='small')
    return figure


def _distances(entries: Sequence[Figures]) -> Any:
    """Draw learned against true distances, a panel for each similarity and condition."""
    conditions = _distinct(entries, 'condition')
    figure, panels = _panels(-(-len(entries) // len(conditions)), len(conditions))
    order = sorted(entries, key=lambda e: (e['similarity'], conditions.index(e['condition'])))
    for panel, entry in zip(panels, order, strict=False):
        panel.plot(entry['true_mm'], entry['learned_mm'], '.', ms=3, color=_COLOURS[0])
        farthest = max(entry['true_mm'])
        panel.plot([0, farthest], [0, farthest], color='0.6', lw=0.8)
        words = f'{entry["similarity"]}, {entry["condition"]}, r = {entry["correlation"]:.3f}'
        panel.set(title=words, xlabel='true distance, mm', ylabel='learned distance, mm')
    return figure


def _panels(rows: int, columns: int, width: float = 5.6, height: float = 3.8) -> tuple[Any, list]:
    from matplotlib.figure import Figure

    figure = Figure((width * columns, height * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    return figure, list(axes.flat)


def _distinct(entries: Sequence[Figures], name: str) -> list[str]:
    return list(dict.fromkeys(entry[name] for entry in entries))
