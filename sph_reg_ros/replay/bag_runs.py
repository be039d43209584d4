"""Splits bags whose stamps restart: a simulator that was reset, or a recording in a loop.

Each input is stamped and delayed in its own way. A run begins where the stamps of one input fall
back by more than a second, in order of arrival; those of the others follow within a second.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from sph_reg_ros.messages.conversions import NANOSECONDS

FALL_NS = NANOSECONDS
"""As much as matching.timeout is by default: after it, the live node starts again, too."""
SETTLED_NS = NANOSECONDS
"""How long after a new beginning messages of the run before may still arrive."""


def beginnings(arrivals: Iterable[tuple[str, int, int]]) -> list[int]:
    """Return when each run after the first one began: times of arrival (ns).

    Args:
        arrivals: input, stamp (ns) and time of arrival (ns) in order of arrival; stamps of 0 and
            below say nothing.
    """
    found: list[int] = []
    newest: dict[str, int] = {}
    run: dict[str, int] = {}
    for name, stamp_ns, received_ns in arrivals:
        if stamp_ns <= 0:
            continue
        run[name] = max(run.get(name, 0), bisect_right(found, received_ns - SETTLED_NS))
        if stamp_ns < newest.get(name, 0) - FALL_NS:
            if run[name] == len(found):
                found.append(received_ns)
            run[name] = len(found)
        newest[name] = stamp_ns
    return found


def runs_of(stamped: Iterable[tuple[int, int]], begun: Sequence[int]) -> list[int]:
    """Return the run, from 0, of each message of one input.

    Args:
        stamped: stamp (ns) and time of arrival (ns) in order of arrival.
        begun: as `beginnings` gives it.
    """
    runs: list[int] = []
    newest_ns = run = 0
    for stamp_ns, received_ns in stamped:
        arrived = bisect_right(begun, received_ns)
        if stamp_ns <= 0:
            runs.append(arrived)
            continue
        if newest_ns == 0:
            run = arrived
        elif stamp_ns < newest_ns - FALL_NS:
            # This input may have fallen back a little before the one that was noticed.
            run = max(run, bisect_right(begun, received_ns + SETTLED_NS))
        run = max(run, bisect_right(begun, received_ns - SETTLED_NS))
        newest_ns = stamp_ns
        runs.append(run)
    return runs
