"""Replays one bag and writes its results into a folder."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from sph_reg_ros.evaluation.versions import versions
from sph_reg_ros.files import write_together
from sph_reg_ros.replay.bag_reader import BagInputs, Shot, opened
from sph_reg_ros.replay.bag_writer import new_bag
from sph_reg_ros.replay.offline_node import ImageResult, OfflineNode
from sph_reg_ros.replay.outputs import RESULT_BAG, record_files, require_unused
from sph_reg_ros.replay.per_image import (
    Judge,
    body_truths_of,
    image_row,
    landmarks_of,
    numbered,
    tolerance_ns,
    truths_of,
)
from sph_reg_ros.replay.pictures import write_pictures
from sph_reg_ros.replay.record import DROPPED, BagRecord, ImageRow
from sph_reg_ros.replay.result_bag import ResultBag
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.protocol import CTLoaded, LoadCT
from sph_reg_ros.service.session import RegistrationSession

Report = Callable[[int, int], None]
"""Gets the images done and how many there are."""


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
        seed: of all random numbers.
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
        PoseError: the truth is no pose, or no image has one.
    """
    require_unused(job.output)
    with opened(job.bag, job.topics, job.parameters) as inputs:
        run = _Run(job, inputs)
        job.output.mkdir(parents=True, exist_ok=True)
        with new_bag(job.output / RESULT_BAG, job.storage) as bag:
            rows = run.rows(ResultBag(bag, job.parameters, run.ct_hash, run.doubts), report)
    record = BagRecord(job.name, run.ct_hash, rows, versions(), doubts=run.doubts)
    write_together(record_files(record, job.parameters, job.output))
    return record


class _Run:
    def __init__(self, job: ReplayJob, inputs: BagInputs) -> None:
        self._job, self._inputs = job, inputs
        parameters = job.parameters
        tolerance = tolerance_ns(parameters.matching.max_time_difference)
        self._truths = truths_of(inputs, job.truth, tolerance)
        self._session = RegistrationSession()
        loaded = self._session.handle(_load_request(parameters), lambda progress: None)
        assert isinstance(loaded, CTLoaded)
        self.ct_hash, self.doubts = loaded.series_uid_hash, loaded.doubts
        self._judge = Judge(landmarks_of(self._session.volume), self._truths[0], tolerance)
        bodies = self._session.bodies or ()
        self._bodies = {body.name: landmarks_of(body.volume) for body in bodies}
        self._body_truths = body_truths_of(inputs, job.truth, self._bodies)
        self._body_judges: dict[str, Judge] = {}
        self._rows: list[ImageRow] = []
        self._outcomes: list[ImageResult] = []

    def rows(self, bag: ResultBag, report: Report) -> tuple[ImageRow, ...]:
        inputs, images = self._inputs, self._inputs.images
        node = OfflineNode(self._session, self.ct_hash, self._job.parameters, self._outcomes.append)
        _seed(self._job.seed)
        for run, events in groupby(inputs.events(), lambda event: event.run):
            self._judge = replace(self._judge, truth=self._truths[run])
            self._body_judges = {
                name: replace(self._judge, landmarks_mm=self._bodies[name], truth=truths[run])
                for name, truths in self._body_truths.items()
            }
            for event in events:
                node.take(event)
                self._note(bag, run)
                report(len(self._rows), images)
            node.finish()
            self._note(bag, run)
        return numbered([*self._rows, *_dropped(inputs.shots, self._rows)])

    def _note(self, bag: ResultBag, run: int) -> None:
        for outcome in self._outcomes:
            bag.write(outcome)
            number = len(self._rows) + 1
            row = image_row(
                number,
                outcome.result,
                outcome.view,
                outcome.start,
                self._judge,
                self._body_judges,
            )
            self._rows.append(replace(row, run=run, pictures=self._pictures(outcome)))
        self._outcomes.clear()

    def _pictures(self, outcome: ImageResult) -> dict[str, str]:
        view, registered = outcome.view, outcome.registered
        if view is None or registered is None or registered.drr is None:
            return {}
        image, folder = self._job.parameters.image, self._job.output
        made = registered.drr, image, folder, registered.overlay, registered.moved
        return write_pictures(view, *made)


def _load_request(parameters: NodeParameters) -> LoadCT:
    searches = parameters.registration.config.method == 'image'
    return LoadCT(
        parameters.ct.path,
        parameters.ct.series_uid,
        parameters.ct.energy_kev,
        None if searches else parameters.weights.path,
        assume_lps=parameters.ct.assume_lps,
        bodies=parameters.bodies.path,
        labels=parameters.ct.labels,
    )


def _dropped(shots: list[Shot], rows: list[ImageRow]) -> list[ImageRow]:
    """Return rows of images that were dropped."""
    known = {(row.run, row.stamp_ns) for row in rows}
    reason = 'gave way to newer images while it waited for what belongs to it'
    return [
        ImageRow(0, shot.stamp_ns, shot.frame_id, DROPPED, reason, run=shot.run)
        for shot in shots
        if (shot.run, shot.stamp_ns) not in known
    ]


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
