import threading
import time
from concurrent.futures import wait

import pytest

from classifiers.batching import Batcher


class Recorder:
    """Runs jobs that are their own size; holds its first run back until it is told."""

    def __init__(self):
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.running = threading.Event()

    def __call__(self, jobs):
        self.batches.append(list(jobs))
        self.running.set()
        self.gate.wait(5)
        return [job * 10 for job in jobs]


def batcher(run, capacity=100, threads=1):
    return Batcher(run, lambda job: job, capacity=capacity, threads=threads)


def test_jobs_that_gather_while_a_thread_is_busy_run_together():
    run = Recorder()
    queue = batcher(run)
    first = queue.submit(10)
    run.running.wait(5)
    rest = [queue.submit(10) for _ in range(5)]
    assert queue.waiting() == 5
    run.gate.set()
    assert [future.result(5) for future in [first, *rest]] == [100] * 6
    assert run.batches == [[10], [10] * 5]


def test_a_batch_holds_no_more_than_its_capacity_padding_included():
    run = Recorder()
    queue = batcher(run, capacity=40)
    first = queue.submit(10)
    run.running.wait(5)
    rest = [queue.submit(size) for size in (10, 12, 20, 12, 10)]
    run.gate.set()
    wait([first, *rest], 5)
    assert all(max(batch) * len(batch) <= 40 or len(batch) == 1 for batch in run.batches)
    assert sorted(job for batch in run.batches for job in batch) == [10, 10, 10, 12, 12, 20]


def test_short_and_long_jobs_do_not_share_a_batch():
    run = Recorder()
    queue = batcher(run, capacity=1000)
    first = queue.submit(1)
    run.running.wait(5)
    rest = [queue.submit(size) for size in (10, 100, 12, 90)]
    run.gate.set()
    wait([first, *rest], 5)
    assert run.batches[1:] == [[10, 12], [100, 90]]


def test_a_job_too_large_for_any_batch_runs_alone():
    run = Recorder()
    run.gate.set()
    assert batcher(run, capacity=5).submit(50).result(5) == 500


def test_a_cancelled_job_is_never_run():
    run = Recorder()
    queue = batcher(run)
    first = queue.submit(1)
    run.running.wait(5)
    unwanted, wanted = queue.submit(7), queue.submit(8)
    assert unwanted.cancel()
    run.gate.set()
    assert wanted.result(5) == 80
    assert first.result(5) == 10
    assert 7 not in [job for batch in run.batches for job in batch]


def test_all_who_wait_for_a_failed_run_learn_of_it():
    def fail(jobs):
        raise RuntimeError("out of memory")

    futures = [batcher(fail).submit(1) for _ in range(3)]
    for future in futures:
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result(5)


def test_several_threads_run_side_by_side():
    barrier = threading.Barrier(2)

    def meet(jobs):
        barrier.wait(5)
        return jobs

    queue = batcher(meet, capacity=1, threads=2)
    assert [future.result(5) for future in [queue.submit(1), queue.submit(1)]] == [1, 1]


def test_no_job_is_lost_under_many_submitters():
    queue = batcher(lambda jobs: [job + 1 for job in jobs], capacity=64, threads=3)
    found: list[int] = []

    def submit(start):
        futures = [queue.submit(start + number) for number in range(200)]
        found.extend(future.result(10) - 1 for future in futures)

    threads = [threading.Thread(target=submit, args=(1 + 1000 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    time.sleep(0)
    assert sorted(found) == sorted(1 + 1000 * n + k for n in range(6) for k in range(200))
