"""Replays many bags, a process each, so that failures and crashes stay isolated."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection

import numba
import torch

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.replay.bag_replay import ReplayJob, replay
from sph_reg_ros.replay.outputs import RECORD
from sph_reg_ros.replay.record import BagRecord, record_from_json

Report = Callable[[int, int], None]
"""Gets the bags done and how many there are."""


def replay_or_failure(job: ReplayJob) -> BagRecord:
    """Return the record of a bag, or one that tells why it could not be replayed."""
    try:
        return replay(job)
    except (RegistrationError, OSError) as error:
        name = error.code.name if isinstance(error, RegistrationError) else type(error).__name__
        return BagRecord(job.name, failure=f'{error} [{name}]')


def replay_all(
    jobs: Sequence[ReplayJob], processes: int, report: Report = lambda done, of: None
) -> list[BagRecord]:
    """Replay bags, some at a time, and return their records in the order of the jobs.

    Args:
        jobs: with an output folder each.
        processes: at a time.
        report: called at the start and after each bag.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    report(0, len(jobs))
    with ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(_in_process, job, threads) for job in jobs]
        for done, _ in enumerate(as_completed(futures), 1):
            report(done, len(jobs))
    return [future.result() for future in futures]


def _in_process(job: ReplayJob, threads: int) -> BagRecord:
    spawn = multiprocessing.get_context('spawn')
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(job, threads, theirs))
    process.start()
    theirs.close()
    try:
        failure = ours.recv()
    except EOFError:
        failure = None
    process.join()
    if failure == '':
        text = (job.output / RECORD).read_text(encoding='utf-8')
        return record_from_json(text)
    return BagRecord(job.name, failure=failure or f'its process ended with {process.exitcode}')


def _child(job: ReplayJob, threads: int, connection: Connection) -> None:
    # Left alone, each process would take all cores for itself.
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(threads)
    connection.send(replay_or_failure(job).failure)
