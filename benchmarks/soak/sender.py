"""Sends the soak's traffic, as a process: minutes, flows a second, flood a second, flood's seconds.

In every minute a flood begins at second 20, and a scan at second 45; in every second minute the
scan begins at second 22 instead, while the flood lasts. Each scan has a source of its own. What
happens is told on standard output, a JSON object a line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.live.batches import BATCH, Frames, Sender
from benchmarks.live.network import FAR
from benchmarks.soak.plan import everyday, flood_frames, scan

if TYPE_CHECKING:
    from benchmarks.soak.plan import Stretch

MINUTE_S: Final = 60.0
FLOOD_AT_S: Final = 20.0
SCAN_AT_S: Final = 45.0
SCAN_IN_FLOOD_AT_S: Final = 22.0
_NAP_S: Final = 0.0005


def scan_at_s(minute: int) -> float:
    """When the scan of a minute begins, in seconds after the minute's beginning."""
    return SCAN_IN_FLOOD_AT_S if minute % 2 else SCAN_AT_S


class _Timed:
    """A stretch on its way out."""

    def __init__(self, stretch: Stretch, begin_s: float) -> None:
        self._frames = Frames(stretch.data, stretch.offsets, stretch.lengths)
        self._at_s = stretch.at_s + begin_s
        self.sent = 0

    def send(self, sender: Sender, now_s: float) -> int:
        """Send what is due, a batch at most."""
        due = int(np.searchsorted(self._at_s, now_s, side="right")) - self.sent
        if due <= 0:
            return 0
        done = self._frames.send(sender, self.sent, min(due, BATCH))
        self.sent += done
        return done

    @property
    def over(self) -> bool:
        return self.sent == self._frames.count


class _Flood:
    """The flood: a rate to keep, for a time; as fast as it goes where it goes slower."""

    def __init__(self, per_s: float) -> None:
        stretch = flood_frames()
        self._frames = Frames(stretch.data, stretch.offsets, stretch.lengths)
        self._per_s = per_s
        self._place = 0
        self.begun_s = self.end_s = 0.0
        self.sent = 0

    def begin(self, now_s: float, seconds: float) -> None:
        self.begun_s, self.end_s, self.sent = now_s, now_s + seconds, 0

    def send(self, sender: Sender, now_s: float) -> int:
        if now_s >= self.end_s:
            return 0
        due = int((now_s - self.begun_s) * self._per_s) - self.sent
        if due <= 0:
            return 0
        done = self._frames.send(sender, self._place, min(due, BATCH))
        self._place = (self._place + done) % self._frames.count
        self.sent += done
        return done


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def run(minutes: float, flows_per_s: int, flood_per_s: float, flood_s: float) -> None:
    """Send it all."""
    flood = _Flood(flood_per_s)
    begun_s = time.monotonic()
    steady: list[_Timed] = []
    attack: _Timed | None = None
    second = flows = sent = scans = floods = 0
    flooding = False
    with Sender(FAR) as sender:
        while (now_s := time.monotonic() - begun_s) < minutes * MINUTE_S:
            if now_s >= second:
                # A conversation that begins in one second may end in the next.
                steady = [timed for timed in steady if not timed.over]
                behind_s = now_s - second
                stretch = everyday(flows, flows_per_s, 1.0)
                steady.append(_Timed(stretch, float(second)))
                flows += flows_per_s
                second += 1
                _tell(second=second, sent=sent, flows=flows, behind_s=round(behind_s, 4))
            minute, in_minute_s = divmod(now_s, MINUTE_S)
            if floods <= minute and in_minute_s >= FLOOD_AT_S:
                floods = int(minute) + 1
                flooding = True
                flood.begin(now_s, flood_s)
                _tell(flood=floods, at=time.time())
            if scans <= minute and in_minute_s >= scan_at_s(int(minute)):
                scans = int(minute) + 1
                source, stretch = scan(scans)
                attack = _Timed(stretch, now_s)
                _tell(scan=source, at=time.time(), in_flood=flooding)
            done = sum(timed.send(sender, now_s) for timed in steady)
            if attack is not None:
                done += attack.send(sender, now_s)
                attack = None if attack.over else attack
            if flooding:
                done += flood.send(sender, now_s)
                if now_s >= flood.end_s:
                    flooding = False
                    _tell(flood_over=floods, sent=flood.sent, seconds=now_s - flood.begun_s)
            sent += done
            if not done:
                time.sleep(_NAP_S)
    _tell(over=True, sent=sent, flows=flows)


def main() -> None:
    """Take the arguments."""
    minutes, flows, flood_per_s, flood_s = map(float, sys.argv[1:])
    run(minutes, int(flows), flood_per_s, flood_s)


if __name__ == "__main__":
    main()
