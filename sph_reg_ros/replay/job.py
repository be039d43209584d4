"""One bag: replayed, and everything about it written into a folder."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from sph_reg_ros.errors import BagError, ErrorCode
from sph_reg_ros.evaluation.versions import versions
from sph_reg_ros.files import write_together
from sph_reg_ros.replay.bag_reader import BagInputs, opened
from sph_reg_ros.replay.bag_writer import new_bag
from sph_reg_ros.replay.offline_node import OfflineNode, Outcome
from sph_reg_ros.replay.pictures import write_pictures
from sph_reg_ros.replay.record import DROPPED, BagRecord, ImageRow
from sph_reg_ros.replay.result_bag import ResultBag
from sph_reg_ros.replay.rows import Judge, image_row, landmarks_of, numbered, tolerance_ns, truth_of
from sph_reg_ros.replay.written import record_files
from sph_reg_ros.ros.parameters import NodeParameters
from sph_reg_ros.ros.protocol import CTLoaded, LoadCT
from sph_reg_ros.ros.workbench import Workbench

Report = Callable[[int, int], None]
"""Gets the images done and how many there are."""
RESULT_BAG = 'bag'


@dataclass(frozen=True)
class ReplayJob:
    """What to replay, and how; plain data, so that it can travel to another process.

    Attributes:
        bag: folder of the bag.
        output: folder for what comes out; it must not hold an earlier replay.
        parameters: of the node; ct.path is the CT.
        truth: topic of true poses, or TUM file; '' if there is none.
        topics: names of topics where they are not those of the node.
        storage: of the new bag, mcap or sqlite3.
        seed: of all chance.
    """

    bag: Path
    output: Path
    parameters: NodeParameters = field(default_factory=NodeParameters)
    truth: str = ''
    topics: dict[str, str] = field(default_factory=dict)
    storage: str = 'mcap'
    seed: int = 0

    @property
    def name(self) -> str:
        """Return the name of the bag."""
        return self.bag.resolve().name


def replay(job: ReplayJob, report: Report = lambda done, of: None) -> BagRecord:
    """Register every image of a bag and write poses, pictures, messages and settings.

    Raises:
        BagError: the bag cannot be read, lacks images, or was replayed into this folder before.
        CTError: the CT cannot be read.
        PoseError: the truth is no pose.
    """
    if (job.output / RESULT_BAG).exists():
        raise BagError(
            ErrorCode.BAG_UNREADABLE, f'{job.output} holds a replay already: name another folder'
        )
    with opened(job.bag, job.topics) as inputs:
        run = _Run(job, inputs)
        job.output.mkdir(parents=True, exist_ok=True)
        with new_bag(job.output / RESULT_BAG, job.storage) as bag:
            rows = run.rows(ResultBag(bag, job.parameters, run.ct_hash), report)
    record = BagRecord(job.name, run.ct_hash, rows, versions())
    write_together(record_files(record, job.parameters, job.output))
    return record


class _Run:
    def __init__(self, job: ReplayJob, inputs: BagInputs) -> None:
        self._job, self._inputs = job, inputs
        parameters = job.parameters
        truth = truth_of(inputs, job.truth)
        self._workbench = Workbench()
        loaded = self._workbench.handle(_load_request(parameters), lambda progress: None)
        assert isinstance(loaded, CTLoaded)
        self.ct_hash = loaded.series_uid_hash
        tolerance = tolerance_ns(parameters.matching.max_time_difference)
        self._judge = Judge(landmarks_of(self._workbench.volume), truth, tolerance)
        self._rows: list[ImageRow] = []
        self._outcomes: list[Outcome] = []

    def rows(self, bag: ResultBag, report: Report) -> tuple[ImageRow, ...]:
        images = self._inputs.images
        node = OfflineNode(
            self._workbench, self.ct_hash, self._job.parameters, self._outcomes.append
        )
        _seed(self._job.seed)
        arrived: list[tuple[int, str]] = []
        for event in self._inputs.events():
            if event.name == 'image':
                arrived.append((event.stamp_ns, event.message.header.frame_id))
            node.take(event)
            self._note(bag)
            report(len(self._rows), images)
        node.finish()
        self._note(bag)
        return numbered([*self._rows, *_dropped(arrived, self._rows)])

    def _note(self, bag: ResultBag) -> None:
        for outcome in self._outcomes:
            bag.write(outcome)
            number = len(self._rows) + 1
            row = image_row(number, outcome.result, outcome.view, outcome.start, self._judge)
            self._rows.append(replace(row, pictures=self._pictures(outcome)))
        self._outcomes.clear()

    def _pictures(self, outcome: Outcome) -> dict[str, str]:
        view, registered = outcome.view, outcome.registered
        if view is None or registered is None or registered.drr is None:
            return {}
        return write_pictures(view, registered.drr, self._job.parameters.image, self._job.output)


def _load_request(parameters: NodeParameters) -> LoadCT:
    searches = parameters.registration.config.method == 'image'
    return LoadCT(
        parameters.ct.path,
        parameters.ct.series_uid,
        parameters.ct.energy_kev,
        None if searches else parameters.weights.path,
    )


def _dropped(arrived: list[tuple[int, str]], rows: list[ImageRow]) -> list[ImageRow]:
    """Return rows of images that came in and that nothing became of."""
    known = {row.stamp_ns for row in rows}
    reason = 'gave way to newer images while it waited for what belongs to it'
    return [
        ImageRow(0, stamp_ns, frame_id, DROPPED, reason)
        for stamp_ns, frame_id in arrived
        if stamp_ns not in known
    ]


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
