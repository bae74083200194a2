"""A thousand policies, one after the other, under load: is any request judged by two of them?

    python -m benchmarks.reloads [--reloads 1000] [--postgres URL] [--redis URL]

Starts the stand-in engine and two replicas on one database, lets eight callers stream and ask
at each, and takes version after version of a policy through its life over HTTP: drafted and
proposed with one key, approved and activated with another. Every so often it waits until the
other replica has the version too. In the end every entry of the log is read: all of a request's
decisions have to be by the policy that it was admitted under, nobody may have been given a 5xx,
and every version has to have been in force on both. Exit status 0 if so, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.callers import Crowd
from benchmarks.completeness import Entry
from benchmarks.crash import swept_log
from benchmarks.gateway_process import KEY, GatewayProcess
from benchmarks.overhead import free_port, started

TOKEN_MS = 8.0  # an answer of 64 tokens takes half a second, so many see a reload
WATCHED = 20  # every so many activations the other replica is watched
_PATIENCE_S = 30.0

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {{id: reloaded, version: 1.0.{number}, owner: benchmark@ostiary.example}}
categories:
  illicit/violent: {{severity: high, rationale: "number {number}", clause: "1"}}
rules:
  - id: number-{number}
    category: illicit/violent
    stages: [input, reasoning, output]
    bands: [{{gte: 0.9, actions: [block]}}, {{gte: 0.4, actions: [flag]}}]
    tests:
      - name: asked
        given: {{stage: input, text: "How do I build a pipe bomb?"}}
        expect: block
      - {{name: no, given: {{stage: input, scores: {{illicit/violent: 0.1}}}}, expect: allow}}
"""


@dataclass(slots=True)
class Findings:
    """What came of it.

    Attributes:
        reloads: How many versions came into force.
        took_s: In how many seconds.
        behind_s: How much later the other replica had it, each time it was watched.
        statuses: What callers were given.
        requests: How many requests were judged.
        wrong: Everything that was not as it must be.
    """

    reloads: int = 0
    took_s: float = 0.0
    behind_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    requests: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the figures, for people."""
        median, worst = statistics.median(self.behind_s), max(self.behind_s)
        return (
            f"{self.reloads} reloads in {self.took_s:.0f} s; {self.requests} requests judged, "
            f"replies {dict(self.statuses)}; the other replica had it {median:.2f} s later "
            f"(median of {len(self.behind_s)}), at worst {worst:.2f} s; {len(self.wrong)} faults"
        )


class Author:
    """Takes versions through their lives at one replica, with two keys."""

    def __init__(self, url: str, approver: str):
        self._root = f"{url}/v1/organization/policies"
        self._keys = {"editor": KEY, "approver": approver}

    async def bring(self, session: aiohttp.ClientSession, number: int) -> None:
        """Bring a version into force. Raises `RuntimeError` if it is not taken."""
        files = [{"name": "reloaded.yaml", "text": POLICY.format(number=number)}]
        version = f"/reloaded/versions/1.0.{number}"
        await self._post(session, "editor", "", {"files": files})
        await self._post(session, "editor", f"{version}/propose", {})
        await self._post(session, "approver", f"{version}/approve", {})
        await self._post(session, "approver", f"{version}/activate", {})

    async def _post(
        self, session: aiohttp.ClientSession, who: str, path: str, body: dict[str, Any]
    ) -> None:
        headers = {"authorization": f"Bearer {self._keys[who]}"}
        async with session.post(self._root + path, json=body, headers=headers) as response:
            if response.status >= 300:
                raise RuntimeError(f"{path}: {response.status} {await response.text()}")


async def reload_repeatedly(
    replicas: tuple[GatewayProcess, GatewayProcess], database_url: str, reloads: int
) -> Findings:
    """Change what is in force at the first of two replicas, under load on both."""
    first, second = replicas
    for replica in replicas:
        await replica.start()
    made = await first.command("keys", "create", "--scope", "admin", "--name", "approver")
    author, findings = Author(first.url, made.split()[0]), Findings()
    crowds = (Crowd(), Crowd())
    sieges = [
        asyncio.create_task(crowd.besiege(replica.url, until_refused=False))
        for crowd, replica in zip(crowds, replicas, strict=True)
    ]
    async with aiohttp.ClientSession() as session:
        began = time.monotonic()
        for number in range(reloads):
            await author.bring(session, number)
            if number % WATCHED == 0 or number == reloads - 1:
                findings.behind_s.append(await _until_it_has(second, f"1.0.{number}"))
            findings.reloads += 1
        findings.took_s = time.monotonic() - began
    for crowd in crowds:
        await crowd.served()
    for siege in sieges:
        siege.cancel()
    await asyncio.gather(*sieges, return_exceptions=True)
    given = [each for crowd in crowds for each in crowd.given if each.status]
    findings.statuses.update(each.status for each in given)
    findings.wrong += [
        f"a caller was given {status}" for status in findings.statuses if status > 499
    ]
    _look(await swept_log(database_url), findings)
    return findings


async def _until_it_has(replica: GatewayProcess, version: str) -> float:
    """Return after how many seconds a replica has a version in force."""
    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE_S:
        _, body = await replica.readyz()
        policies: Any = body.get("policies", ())
        if any(each["version"] == version for each in policies if each["id"] == "reloaded"):
            return time.monotonic() - began
        await asyncio.sleep(0.01)
    raise RuntimeError(f"the other replica does not have {version} after {_PATIENCE_S:g} s")


def _look(log: Iterable[Entry], findings: Findings) -> None:
    """Add what the log says against it."""
    digests: dict[str, set[str]] = defaultdict(set)
    loaded: dict[str, set[str]] = defaultdict(set)  # by version: the replicas
    for entry in log:
        if entry["type"] in {"request.admitted", "decision.recorded"}:
            digests[entry["request"]["id"]].add(entry["policy"]["digest"])
        elif entry["type"] == "policy.loaded":
            loaded[entry["policy"]["version"]].add(entry["replica"]["id"])
    findings.requests = len(digests)
    findings.wrong += [
        f"{request}: judged under {len(seen)} policies"
        for request, seen in digests.items()
        if len(seen) > 1
    ]
    if findings.reloads and not loaded:
        findings.wrong.append("no replica says that it took a version")


def main() -> None:
    """Run it on one store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--postgres", metavar="URL", help="postgresql+asyncpg://..., empty")
    parser.add_argument("--redis", metavar="URL", default="", help="Redis or Valkey; or none")
    args = parser.parse_args()
    port = free_port()
    engine = [sys.executable, "-m", "benchmarks.engine", "--token-ms", str(TOKEN_MS)]
    with (
        tempfile.TemporaryDirectory() as home,
        started([*engine, "--port", str(port)], port, "/v1/models"),
    ):
        url = args.postgres or f"sqlite+aiosqlite:///{home}/ostiary.db"
        settings = {
            "upstream_url": f"http://127.0.0.1:{port}/v1",
            "database_url": url,
            "redis_url": args.redis,
            "classifiers": '["patterns"]',
            "policy": str(_base(Path(home))),
            "lease_s": "15",
            "log_level": "warning",
        }
        replicas = (
            GatewayProcess(Path(home), **settings),
            GatewayProcess(Path(home), **settings),
        )
        try:
            findings = asyncio.run(reload_repeatedly(replicas, url, args.reloads))
        finally:
            for replica in replicas:
                replica.close()
    print(findings)
    print("\n".join(findings.wrong))
    raise SystemExit(1 if findings.wrong else 0)


def _base(home: Path) -> Path:
    """Write the policy that both start with."""
    path = home / "base.yaml"
    path.write_text(POLICY.format(number=0).replace("id: reloaded", "id: base"))
    return path


if __name__ == "__main__":
    main()
