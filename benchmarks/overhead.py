"""What the gateway costs: the same load on an engine, direct and through Ostiary.

    python -m benchmarks.overhead [--seconds 5] [--rounds 3] [--profile FILE]

Starts the stand-in engine (`benchmarks.engine`: a raw ASGI app, 64-token answers) and a
gateway in front of it with every stage, the pattern classifiers and the durable log on,
then measures direct and gateway by turns in one run, unary and streamed, 8 clients.
Timings of a shared machine are noisy; the ratios within one run are what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from benchmarks.load import Load, run_load

CLIENTS = 8
KEY = "benchmark-key-0123456789"
MODEL = "stand-in"
PROMPT = "Write two sentences about the history of the bicycle for a school newsletter."


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(command: list[str], port: int, path: str, **environment: str) -> Iterator[int]:
    """Run a server until the block ends; yields its process id once it answers."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}{path}", process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server for {url} ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own loopback server
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no answer from {url}")


def chat_body(*, stream: bool) -> bytes:
    """Return the request that every party gets."""
    message = {"role": "user", "content": PROMPT}
    return json.dumps({"model": MODEL, "messages": [message], "stream": stream}).encode()


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used so far, seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    ports: dict[str, int], gateway_pid: int, modes: list[str], *, seconds: float, rounds: int
) -> dict[str, list[Load]]:
    """Measure every party by turns; returns the runs by `party mode`."""
    runs: dict[str, list[Load]] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(rounds):
            for mode in modes:
                for party, port in ports.items():
                    body = chat_body(stream=mode == "streamed")
                    url = f"http://127.0.0.1:{port}/v1/chat/completions"
                    before = cpu_seconds(gateway_pid)
                    run = run_load(url, body, KEY, clients=CLIENTS, seconds=seconds)
                    load = runner.run(run)
                    load.gateway_cpu_s = cpu_seconds(gateway_pid) - before
                    runs.setdefault(f"{party} {mode}", []).append(load)
    return runs


def report(runs: dict[str, list[Load]]) -> None:
    """Print the figures and the ratios."""
    rate = {
        name: statistics.median(load.per_second for load in loads) for name, loads in runs.items()
    }
    heads = ("requests/s", "of direct", "first token p50", "total p50", "p99", "gateway CPU")
    print(
        f"{'':18}{heads[0]:>12}{heads[1]:>11}{heads[2]:>17}{heads[3]:>11}{heads[4]:>9}{heads[5]:>13}"
    )
    for name, loads in runs.items():
        direct = rate["direct " + name.split()[1]]
        first = statistics.median(s for load in loads for s in load.first_word_s) * 1000
        totals = sorted(s * 1000 for load in loads for s in load.total_s)
        cpu_ms = (
            sum(load.gateway_cpu_s for load in loads) / sum(load.requests for load in loads) * 1000
        )
        p99 = totals[int(len(totals) * 0.99)]
        print(
            f"{name:18}{rate[name]:12.0f}{rate[name] / direct:11.1%}"
            f"{first:14.1f} ms{statistics.median(totals):8.1f} ms{p99:6.1f} ms{cpu_ms:10.2f} ms"
        )
        failures = {status: n for load in loads for status, n in load.failures.items()}
        if failures:
            print(f"{name:18}FAILED replies by status: {failures}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--modes", nargs="+", default=["unary", "streamed"], help="what to run")
    parser.add_argument("--profile", metavar="FILE", help="py-spy profile of the gateway")
    args = parser.parse_args()
    engine_port, gateway_port = free_port(), free_port()
    engine = [sys.executable, "-m", "benchmarks.engine", "--port", str(engine_port)]
    gateway = [sys.executable, "-m", "gateway.cli", "serve"]
    with (
        tempfile.TemporaryDirectory() as home,
        started(engine, engine_port, "/v1/models"),
        started(
            gateway,
            gateway_port,
            "/healthz",
            OSTIARY_HOME=str(Path(home)),
            OSTIARY_PORT=str(gateway_port),
            OSTIARY_MODEL=MODEL,
            OSTIARY_UPSTREAM_URL=f"http://127.0.0.1:{engine_port}/v1",
            OSTIARY_UPSTREAM_MODE="chat",
            OSTIARY_BOOTSTRAP_KEY=KEY,
            OSTIARY_REQUESTS_PER_MINUTE="100000000",
            OSTIARY_TOKENS_PER_MINUTE="10000000000",
            OSTIARY_LOG_LEVEL="warning",
        ) as gateway_pid,
    ):
        profiler = _profiler(args.profile, gateway_pid) if args.profile else None
        runs = measure(
            {"direct": engine_port, "ostiary": gateway_port},
            gateway_pid,
            args.modes,
            seconds=args.seconds,
            rounds=args.rounds,
        )
        if profiler is not None:
            profiler.wait(60)
    report(runs)


def _profiler(file: str, pid: int) -> subprocess.Popen[bytes]:
    command = [
        "py-spy",
        "record",
        "-p",
        str(pid),
        "-o",
        file,
        "-f",
        "raw",
        "-d",
        "16",
        "-r",
        "400",
        "--gil",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
