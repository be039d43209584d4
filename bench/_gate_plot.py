"""What the gate says of each pose, as a picture: true error against the bound."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _gate_report import claimed
from _gate_trials import ALWAYS_WRONG, CORRECT_MM, WRONG_MM, GateTrial

# Colour-blind safe (M. Okabe and K. Ito, Color Universal Design, 2008).
STYLES = {
    'VERIFIED': {'color': '#009E73', 'marker': 'o', 's': 12},
    'UNVERIFIED': {'color': '#E69F00', 'marker': 's', 's': 14},
    'REJECTED': {'color': '#CC3311', 'marker': 'x', 's': 10, 'linewidths': 0.6},
}


def plot(trials: Sequence[GateTrial], file: Path) -> None:
    """Write a PNG; what has no bound is left out."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout='constrained')
    some = [trial for trial in claimed(trials) if trial.bound_mm > 0]
    own = [trial for trial in some if trial.kind not in ALWAYS_WRONG]
    foreign = [trial for trial in some if trial.kind in ALWAYS_WRONG]
    # The many first, so that none of the few hides behind them.
    verdicts = ', '.join(sorted({trial.verdict for trial in foreign}))
    _scatter(axes, foreign, f'wrong or mirrored CT: {verdicts}', color='#BBBBBB', marker='+', s=10)
    for verdict, style in reversed(STYLES.items()):
        _scatter(axes, [trial for trial in own if trial.verdict == verdict], verdict, **style)
    limits = (0.02, 500)
    axes.plot(limits, limits, color='black', lw=0.8, label='error = bound')
    for size, text in ((CORRECT_MM, 'correct below'), (WRONG_MM, 'wrong from here on')):
        axes.axvline(size, color='grey', lw=0.8, ls=':')
        side = 'right' if size == CORRECT_MM else 'left'
        axes.text(size, limits[1], f' {text} ', ha=side, va='bottom', color='grey', fontsize=8)
    axes.set(
        xscale='log', yscale='log', xlim=limits, ylim=(0.1, limits[1]),
        xlabel='mean target registration error, mm', ylabel='95 % bound, mm',
    )  # fmt: skip
    axes.legend(loc='lower right')
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _scatter(axes: Any, trials: Sequence[GateTrial], label: str, **style: Any) -> None:
    points = [trial.error_mm for trial in trials], [trial.bound_mm for trial in trials]
    axes.scatter(*points, label=f'{label} ({len(trials)})', **style)
