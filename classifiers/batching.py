"""Runs many small jobs of a model on a few threads, those of like length together.

There is no waiting for a batch to fill: a free thread takes what is there, so one text
alone is as quick as it can be, and under load texts gather while the threads are busy.
A job that was cancelled before a thread took it is never run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Owns the threads and the queue; any thread or event loop may submit.

    Args:
        run: Called on a worker thread with jobs of like size; returns a result for each.
        size: How long a job is, in the unit of `capacity`.
        capacity: What one run may hold: the longest job's size times the number of jobs.
        threads: How many runs go on at once.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Job]], Sequence[Result]],
        size: Callable[[Job], int],
        *,
        capacity: int,
        threads: int,
    ):
        self._run = run
        self._size = size
        self._capacity = capacity
        self._queue: deque[tuple[Job, Future[Result]]] = deque()
        self._lock = threading.Lock()  # guards `_queue`
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="classifier")

    def submit(self, job: Job) -> Future[Result]:
        """Queue a job; its future can be cancelled until a thread takes it."""
        future: Future[Result] = Future()
        with self._lock:
            self._queue.append((job, future))
        # One turn a job: a thread that finds the queue empty has nothing to do.
        self._threads.submit(self._turn)
        return future

    def waiting(self) -> int:
        """Return how many jobs no thread has taken yet."""
        return len(self._queue)

    def _turn(self) -> None:
        batch = self._take()
        if not batch:
            return
        try:
            results = self._run([job for job, _ in batch])
        except BaseException as error:  # noqa: BLE001 - whatever it was, those who wait must learn it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _take(self) -> list[tuple[Job, Future[Result]]]:
        """Take the oldest job, and others of like length from behind it."""
        batch: list[tuple[Job, Future[Result]]] = []
        left: list[tuple[Job, Future[Result]]] = []
        longest = 0
        with self._lock:
            while self._queue:
                job, future = self._queue.popleft()
                size = self._size(job)
                grown = max(longest, size)
                fits = not batch or (
                    grown * (len(batch) + 1) <= self._capacity and 2 * min(size, longest) >= grown
                )
                if not fits:
                    left.append((job, future))
                    if len(left) > 64:
                        break
                elif future.set_running_or_notify_cancel():
                    batch.append((job, future))
                    longest = grown
            self._queue.extendleft(reversed(left))
        return batch
