"""The flows of all recordings side by side, each with its recording and campaign."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.contract.features import CONTEXT, FEATURE_SETS
from edge_agent.contract.profiles import PROFILES
from edge_agent.contract.scaling import recompute_rates
from trainer.datasets.captures import TRUTH_NAME, label_capture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CAPTURE_NAME: Final = "capture.pcap.gz"
FEATURE_SET: Final = "edge-gateway"
BENIGN: Final = -1

_PROFILE: Final = PROFILES["gateway"]
_COLUMNS: Final = FEATURE_SETS[FEATURE_SET][1]
N_CONTEXT: Final = len(CONTEXT)
"""The feature set's last columns are the context."""

# Neighbouring flows resemble each other and share their context: what is held out is whole minutes.
_BLOCK_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Attack:
    """One campaign, as far as the tables tell it."""

    id: str
    recording: str
    family: str
    tool: str


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows of all recordings, each recording in the order in which its flows are given out.

    Attributes:
        recordings: Names, in file order.
        attacks: All campaigns.
        raw: The feature set's columns, float32, shape (n_flows, n_features).
        recording: Index into `recordings`, shape (n_flows,), as all that follow.
        attack: Index into `attacks`; `BENIGN` for the others.
        source, destination: Addresses as integers.
        service: Destination port and protocol as one integer.
        start_us: Since the recording began.
    """

    recordings: tuple[str, ...]
    attacks: tuple[Attack, ...]
    raw: NDArray[np.float32]
    recording: NDArray[np.int64]
    attack: NDArray[np.int64]
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    service: NDArray[np.int64]
    start_us: NDArray[np.int64]

    @property
    def benign(self) -> NDArray[np.bool_]:
        """Whether no campaign explains the flow."""
        benign: NDArray[np.bool_] = self.attack == BENIGN
        return benign

    @property
    def target(self) -> NDArray[np.float32]:
        """1 for attacks."""
        target: NDArray[np.float32] = (self.attack != BENIGN).astype(np.float32)
        return target

    @property
    def block(self) -> NDArray[np.int64]:
        """Number of the minute in which the flow began."""
        return self.start_us // _BLOCK_US

    @property
    def tool(self) -> NDArray[np.str_]:
        """The tool behind each flow; "" for benign ones."""
        names = np.array([attack.tool for attack in self.attacks] + [""])
        return names[self.attack]


def read(folders: Sequence[Path], progress: Callable[[str], None]) -> Flows:
    """Meter and label recordings.

    Args:
        folders: Each with a capture and its truth file.
        progress: Called with a line.

    Raises:
        CaptureError: A capture cannot be metered.
        TableError: A truth file cannot be read or does not fit.
    """
    attacks: list[Attack] = []
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    for number, folder in enumerate(folders):
        truth_path = folder / TRUTH_NAME
        progress(f"{folder}: metering ...")
        capture = label_capture(folder / CAPTURE_NAME, truth_path, _PROFILE, _COLUMNS)
        # `Truth` has no use for tools; the file names them.
        facts = json.loads(truth_path.read_bytes())["campaigns"]
        tools = {item["id"]: item["tool"] for item in facts}
        first = len(attacks)
        numbers = {c.id: first + i for i, c in enumerate(capture.truth.campaigns)}
        attacks += [
            Attack(c.id, folder.name, c.family, tools[c.id]) for c in capture.truth.campaigns
        ]
        ends = capture.ends
        columns["raw"].append(recompute_rates(capture.raw, _COLUMNS))
        columns["recording"].append([number] * len(ends))
        columns["attack"].append([numbers[c.id] if c else BENIGN for c in capture.campaigns])
        columns["source"].append(ends["source"])
        columns["destination"].append(ends["destination"])
        columns["service"].append(ends["destination_port"].astype(np.int64) << 8 | ends["protocol"])
        columns["start_us"].append(ends["start_us"] - capture.truth.start_us)
    raw = np.concatenate(columns.pop("raw")).astype(np.float32)
    whole = {name: np.concatenate(parts).astype(np.int64) for name, parts in columns.items()}
    names = tuple(folder.name for folder in folders)
    return Flows(recordings=names, attacks=tuple(attacks), raw=raw, **whole)


def windows(flows: Flows, length: int) -> NDArray[np.int64]:
    """The last flows of each flow's source, itself the last.

    Only what the gateway has already given out counts, as it would there.

    Returns:
        Indexes of flows, shape (n_flows, length), oldest first; -1 where the source had fewer.
    """
    result = np.full((len(flows.source), length), -1, dtype=np.int64)
    history: dict[tuple[int, int], list[int]] = defaultdict(list)
    keys = zip(flows.recording.tolist(), flows.source.tolist(), strict=True)
    for index, key in enumerate(keys):
        past = history[key]
        past.append(index)
        del past[:-length]
        result[index, length - len(past) :] = past
    return result
