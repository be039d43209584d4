"""What all parts of the benchmark of the learned method measure on, and how they tell of it."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from _methods import Method
from _table import Row, heading, line
from rich.console import Console
from rich.progress import track

from sph_reg_ros.evaluation.cases import STARTS_PER_XRAY, BenchCT, Case, CaseMaker
from sph_reg_ros.evaluation.path_cache import PathCache
from sph_reg_ros.evaluation.protocols import Protocol
from sph_reg_ros.evaluation.trials import judge
from sph_reg_ros.registration.networks import Networks

T = TypeVar('T')


@dataclass(frozen=True, eq=False)
class Study:
    """One CT, its networks, and the cases to try.

    Attributes:
        name: of the CT, to print.
        bench_ct: the CT.
        networks: that know it.
        cache: of the path integrals.
        count: cases of each protocol and condition.
        conditions: of the X-rays, a selection of `cases.CONDITIONS`.
    """

    name: str
    bench_ct: BenchCT
    networks: Networks
    cache: PathCache
    count: int
    conditions: tuple[str, ...]

    def cases(
        self, protocol: Protocol, condition: str, numbers: Iterable[int] | None = None
    ) -> list[Case]:
        """Return the cases that are measured, or those of other numbers."""
        maker = CaseMaker(protocol, condition, self.cache)
        wanted = range(self.count) if numbers is None else list(numbers)
        made = maker.cases(self.bench_ct, wanted)
        return list(counted(made, f'X-rays, {condition}', len(wanted)))

    def spare_numbers(self, count: int) -> list[int]:
        """Return numbers of cases that are not measured, each with an X-ray pose of its own."""
        first = -(-self.count // STARTS_PER_XRAY) * STARTS_PER_XRAY
        return [first + STARTS_PER_XRAY * index for index in range(count)]

    def rows(
        self, protocol: str, condition: str, methods: Sequence[Method], cases: Sequence[Case]
    ) -> Iterator[Row]:
        """Try methods on cases; print and yield a line of the table for each."""
        print(f'\n{self.name}, {protocol}, {condition}\n{heading()}')
        for method in methods:
            method.register(cases[0])  # compiles, and coarsens the CT
            tried = counted(cases, method.name, len(cases))
            trials = [judge(case, self.bench_ct, method.register(case)) for case in tried]
            row = Row(self.name, protocol, condition, method.name, list(cases), trials)
            print(line(row), flush=True)
            yield row


def counted(items: Iterable[T], what: str, total: int) -> Iterable[T]:
    """Show on a terminal how many of the items are done."""
    console = Console(stderr=True)
    return track(
        items, what, total, console=console, transient=True, disable=not sys.stderr.isatty()
    )
