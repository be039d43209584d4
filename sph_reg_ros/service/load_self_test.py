"""The self-test when a CT is loaded: one registration of each of its own localizers."""

from pathlib import Path

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.load import load_localizers
from sph_reg_ros.imaging.localizer import Localizer
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.self_test.self_test import SelfTestSettings, self_test

IMPOSSIBLE = 'self-test not possible: {}'


def self_tests(
    path: Path, series_uid: str | None, volume: AttenuationVolume, config: RegistrationConfig
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a line for each localizer of a CT's folder, and the doubts that they raise.

    No localizer, no line; what goes wrong is a line, too, and never keeps a CT from being used.
    """
    if not path.is_dir():
        return (), ()
    try:
        localizers, left_out = load_localizers(path, series_uid=series_uid)
    except RegistrationError as error:
        return (IMPOSSIBLE.format(error),), ()
    lines, doubts = [], []
    for localizer in localizers:
        line, doubt = _line_and_doubt(volume, localizer, config)
        lines.append(line)
        doubts += doubt
    return (*lines, *left_out), tuple(doubts)


def _line_and_doubt(
    volume: AttenuationVolume, localizer: Localizer, config: RegistrationConfig
) -> tuple[str, list[str]]:
    try:
        found = self_test(volume, localizer, SelfTestSettings(starts=1), config)
    except RegistrationError as error:
        return IMPOSSIBLE.format(error), []
    line = (
        f'{found.verdict.name}: {found.localizer.name}: {found.best.error}; similarity '
        f'{found.best.result.similarity_after:.3f}'
    )
    if found.verdict == Verdict.VERIFIED:
        return line, []
    return line, [f'self-test on the {found.localizer.name}: {found.reason or found.verdict.name}']
