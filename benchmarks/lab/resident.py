"""One host's daily life: runs the host's benign activities until it is told to end.

Started by the recorder inside the host's namespace, once per host, so that starting a short
program costs one fork and no entering of namespaces.
``python -m benchmarks.lab.resident PLAN HOST SHARED_FOLDER SUMMARY_FILE``
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from benchmarks.lab import activities
from benchmarks.lab.plan import Activity, Host, Plan, load

# Many programs at once on one small machine would blur the timing of all of them.
PARALLEL_PROGRAMS = 12


class Resident:
    """Runs the activities of one host."""

    def __init__(self, plan: Plan, host: Host, shared: Path) -> None:
        self.plan = plan
        self.host = host
        self.shared = shared
        self.slots = asyncio.Semaphore(PARALLEL_PROGRAMS)
        self.running: set[asyncio.subprocess.Process] = set()
        self.outcomes: Counter[str] = Counter()

    async def live(self) -> None:
        """Run all activities side by side, for ever."""
        numbered = enumerate(self.host.activities)
        await asyncio.gather(*(self._repeat(number, activity) for number, activity in numbered))

    async def _repeat(self, number: int, activity: Activity) -> None:
        rng = random.Random(f"{self.plan.seed}/{self.host.name}/{number}")
        turn = activities.Turn(self.plan, self.host, activity, self.shared, rng)
        await asyncio.sleep(rng.uniform(0.0, activity.every_s))
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            for _ in range(rng.randint(*activity.burst)):
                await self._do(activities.errand(turn))
            gap_s = activity.every_s
            if activity.steady:
                gap_s *= rng.uniform(0.95, 1.05)
            else:
                gap_s = 0.2 * gap_s + rng.expovariate(1 / (0.8 * gap_s))
            await asyncio.sleep(max(0.05, begun + gap_s - loop.time()))

    async def _do(self, errand: activities.Errand) -> None:
        async with self.slots:
            process = await asyncio.create_subprocess_exec(
                *errand.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        # A long-lived program must not hold a slot: only starting is rationed.
        self.running.add(process)
        try:
            talk = process.communicate(errand.stdin.encode())
            await asyncio.wait_for(talk, errand.timeout_s)
        except TimeoutError:
            end(process)
        finally:
            self.running.discard(process)
        program = Path(errand.arguments[0]).name
        self.outcomes[f"{program} {process.returncode}"] += 1

    def stop(self) -> None:
        """End every program that still runs."""
        for process in self.running:
            end(process)


def end(process: asyncio.subprocess.Process) -> None:
    """End a program and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def live(plan: Plan, host: Host, shared: Path) -> Counter[str]:
    """Live until SIGTERM; returns how the programs ended."""
    resident = Resident(plan, host, shared)
    task = asyncio.ensure_future(resident.live())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        resident.stop()
    return resident.outcomes


def main(arguments: list[str]) -> None:
    """Run the host named on the command line."""
    plan_path, name, shared, summary = arguments
    plan = load(Path(plan_path))
    outcomes = asyncio.run(live(plan, plan.host(name), Path(shared)))
    Path(summary).write_text(json.dumps(dict(sorted(outcomes.items())), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
