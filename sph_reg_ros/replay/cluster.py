"""Replays many bags on a Ray cluster with shared storage."""

import os
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from sph_reg_ros.errors import ErrorCode, RuntimeUnavailableError
from sph_reg_ros.replay.bag_replay import ReplayJob
from sph_reg_ros.replay.batch import replay_or_failure
from sph_reg_ros.replay.record import BagRecord, record_from_json

Report = Callable[[int, int], None]
REACHED_S = 5.0


def replay_on_cluster(
    jobs: Sequence[ReplayJob], address: str, report: Report = lambda done, of: None
) -> list[BagRecord]:
    """Replay bags on a cluster, a task each, and return their records in the order of the jobs.

    Args:
        jobs: with an output folder each.
        address: of the cluster, as `ray.init` has it; `local` starts one on this machine.
        report: called at the start and after each bag.

    Raises:
        RuntimeUnavailableError: BACKEND_UNAVAILABLE without Ray, or if the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise RuntimeUnavailableError(
            ErrorCode.BACKEND_UNAVAILABLE, "Ray is not installed: pip install 'sph_reg_ros[ray]'"
        ) from None
    # A Ray that is started here would report to its makers how it is used.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    already = ray.is_initialized()
    try:
        if not already:
            _require_reachable(address)
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise RuntimeUnavailableError(
            ErrorCode.BACKEND_UNAVAILABLE, f'no Ray cluster at {address}: {error}'
        ) from None
    try:
        # A bag that takes its worker down would do it again.
        task = ray.remote(max_retries=0)(_record_json)
        pending = [task.remote(job) for job in jobs]
        for done in range(len(jobs) + 1):
            report(done, len(jobs))
            if done < len(jobs):
                ray.wait(pending, num_returns=done + 1)
        return [_record(ray, job, task) for job, task in zip(jobs, pending, strict=True)]
    finally:
        if not already:
            ray.shutdown()


def _require_reachable(address: str) -> None:
    """Raise OSError if nobody listens there: Ray itself would try for minutes."""
    place = urlsplit(address if '://' in address else f'//{address}')
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), REACHED_S).close()


def _record_json(job: ReplayJob) -> str:
    return replay_or_failure(job).to_json()


def _record(ray: object, job: ReplayJob, task: object) -> BagRecord:
    try:
        return record_from_json(ray.get(task))  # type: ignore[attr-defined]
    except ray.exceptions.RayError as error:  # type: ignore[attr-defined]
        return BagRecord(job.name, failure=f'its worker failed: {type(error).__name__}')
