"""`edge-agent extract`: what stands in its tables, whatever their form."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent import row_writers
from edge_agent.capture.pcap import read_frames
from edge_agent.contract.profiles import PROFILES, Profile
from edge_agent.extraction import Extraction
from edge_agent.extraction_jobs import Metering
from edge_agent.flow import reference
from edge_agent.flow.packets import PacketReader
from edge_agent.flow.rows import ROW_COLUMNS, FlowRow
from edge_agent.progress import Progress, Reached, progress_text
from edge_agent.row_writers import Form, open_writer
from tests.agent.mixed_traffic import FRAMES, rotated_captures, whole_capture
from tests.packets import ETHERNET, pcap

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Result

    EdgeAgent = Callable[..., Result]

WITHOUT_POLARS = "import sys; sys.modules['polars'] = None; from edge_agent.cli import main; main()"
needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)
needs_polars = pytest.mark.skipif(
    importlib.util.find_spec("polars") is None, reason="polars is not installed"
)
FORMS = [
    pytest.param(Form.CSV, id="csv"),
    pytest.param(Form.CSV_GZIP, id="csv.gz"),
    pytest.param(Form.PARQUET, id="parquet", marks=[needs_polars, needs_pyarrow]),
]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return whole_capture(tmp_path)


@pytest.fixture
def rotated(tmp_path: Path) -> list[Path]:
    return rotated_captures(tmp_path)


def reference_rows(path: Path, profile: Profile) -> list[FlowRow]:
    meter, reader = reference.meter(profile), PacketReader(profile.padding)
    rows = []
    for frame in read_frames(path):
        packet = reader.decode(frame.time_us, frame.link_type, frame.data, frame.wire_length_bytes)
        if packet is not None:
            rows += meter.add(packet)
    return rows + meter.flush()


def table_of(path: Path) -> tuple[list[str], list[list[str]]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    names, *rows = csv.reader(io.StringIO(text))
    return names, rows


def content_of(path: Path) -> Any:
    """What a table says, whatever its form."""
    if path.suffix != ".parquet":
        return table_of(path)
    import polars

    frame = polars.read_parquet(path)
    return frame.columns, frame.rows()


def spelled(value: float) -> str | float:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(["-m", "edge_agent.cli"], id="polars", marks=needs_polars),
        pytest.param(["-c", WITHOUT_POLARS], id="csv module"),
    ],
)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_csv_says_what_the_reference_meter_says(
    capture: Path, tmp_path: Path, profile: Profile, program: list[str]
) -> None:
    output = tmp_path / "flows.csv"
    arguments = ["extract", str(capture), "--profile", profile.name, "-o", str(output)]
    subprocess.run([sys.executable, *program, *arguments], check=True, capture_output=True)
    names, rows = table_of(output)
    expected = reference_rows(capture, profile)
    assert len(rows) == len(expected) > 50
    integral = profile.integral_columns
    for cells, row in zip(rows, expected, strict=True):
        found = dict(zip(names, cells, strict=True))
        assert found.pop("IP Version") == ("6" if ":" in row.source_address else "4")
        assert [found[name] for name in ROW_COLUMNS] == [
            row.source_address,
            str(row.source_port),
            row.destination_address,
            str(row.destination_port),
            str(row.protocol),
            str(row.start_us),
        ]
        for name, value in zip(profile.columns, row.values, strict=True):
            if name in integral or name in ROW_COLUMNS:
                assert found[name] == str(int(value)), name
            elif math.isfinite(value):
                # Decay is by another libm in the compiled meter: last bits may differ.
                assert math.isclose(float(found[name]), value, rel_tol=1e-12, abs_tol=1e-9), name
            else:
                assert found[name] == spelled(value), name


def test_the_traffic_has_what_is_special(capture: Path) -> None:
    rows = reference_rows(capture, PROFILES["cic2017"])
    # Infinity, not a number and IPv6.
    assert any(math.isinf(value) for row in rows for value in row.values)
    assert any(math.isnan(value) for row in rows for value in row.values)
    assert any(":" in row.source_address for row in rows)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_column_is_of_integers_where_its_formula_is(capture: Path, profile: Profile) -> None:
    # The reference's formulas divide only where a value may be no integer.
    rows = reference_rows(capture, profile)
    integral = {
        name
        for index, name in enumerate(profile.columns)
        if all(isinstance(row.values[index], int) for row in rows)
    }
    assert profile.integral_columns == integral


def test_gzip_is_the_same_text_and_the_same_bytes_again(capture: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("flows.csv", "flows.csv.gz", "again.csv.gz")]
    for output in outputs:
        Extraction((capture,), output, Metering(PROFILES["gateway"])).run()
    plain, zipped, again = (output.read_bytes() for output in outputs)
    assert gzip.decompress(zipped) == plain
    assert zipped == again


@needs_polars
@needs_pyarrow
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_parquet_has_the_rows_of_the_csv_in_fixed_types(
    capture: Path, tmp_path: Path, profile: Profile
) -> None:
    import polars

    for ending in ("csv", "parquet"):
        Extraction((capture,), tmp_path / f"flows.{ending}", Metering(profile)).run()
    frame = polars.read_parquet(tmp_path / "flows.parquet")
    names, rows = table_of(tmp_path / "flows.csv")
    own = dict.fromkeys(set(profile.columns) - profile.integral_columns, polars.Float64)
    texts = {"Src IP": polars.String, "Dst IP": polars.String}
    assert frame.schema == dict.fromkeys(names, polars.Int64) | texts | own
    for found, cells in zip(frame.rows(), rows, strict=True):
        for value, cell in zip(found, cells, strict=True):
            same = value if isinstance(value, str) else spelled(value)
            assert type(same)(cell) == same


@needs_polars
@needs_pyarrow
def test_tables_of_many_writes_are_one(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars

    profile = PROFILES["improved"]
    tables: dict[int, list[bytes]] = {}
    for size in (7, 10_000):
        monkeypatch.setattr(row_writers, "_TEXT_ROWS", size)
        monkeypatch.setattr(row_writers, "_GROUP_ROWS", size)
        for form in (Form.CSV, Form.PARQUET):
            stream = io.BytesIO()
            writer = open_writer(form, profile, stream)
            for rows in Metering(profile).open([capture]).batches():
                writer.add(rows)
            writer.finish()
            tables.setdefault(size, []).append(stream.getvalue())
    (few_csv, few), (one_csv, one) = tables.values()
    assert few_csv == one_csv
    assert len(few) > 2 * len(one)
    assert polars.read_parquet(io.BytesIO(few)).equals(polars.read_parquet(io.BytesIO(one)))
    # Positions and statistics are right: a reader skips row groups by them.
    last = polars.read_parquet(io.BytesIO(one))["Start us"].max()
    lazy = polars.scan_parquet(io.BytesIO(few)).filter(polars.col("Start us") == last)
    assert lazy.collect().height >= 1


@pytest.mark.parametrize("form", FORMS)
def test_a_capture_without_flows_is_a_table_without_rows(tmp_path: Path, form: Form) -> None:
    path, output = tmp_path / "arp.pcap", tmp_path / f"flows{form.value}"
    path.write_bytes(pcap([(0, ETHERNET + b"\x08\x06" + bytes(28))]))
    Extraction((path,), output, Metering(PROFILES["improved"])).run()
    assert content_of(output) == (row_writers.header(PROFILES["improved"]), [])


@pytest.mark.parametrize("form", FORMS)
def test_rotated_files_are_one_capture(
    edge_agent: EdgeAgent, capture: Path, rotated: list[Path], tmp_path: Path, form: Form
) -> None:
    whole, joined = tmp_path / f"whole{form.value}", tmp_path / f"joined{form.value}"
    Extraction((capture,), whole, Metering(PROFILES["gateway"])).run()
    done = edge_agent("extract", *rotated, "-o", joined, "--json")
    assert joined.read_bytes() == whole.read_bytes()
    assert json.loads(done.stdout)["packets"] == len(FRAMES)


@pytest.mark.parametrize("form", FORMS)
def test_jobs_meter_each_file_by_itself_in_order(
    edge_agent: EdgeAgent, rotated: list[Path], tmp_path: Path, form: Form
) -> None:
    names: list[str] = []
    rows: list[Any] = []
    for path in rotated:
        alone = tmp_path / f"alone{form.value}"
        Extraction((path,), alone, Metering(PROFILES["gateway"])).run()
        names, more = content_of(alone)
        rows += more
    outputs = [tmp_path / f"jobs-{jobs}{form.value}" for jobs in (2, 3)]
    for jobs, output in zip((2, 3), outputs, strict=True):
        done = edge_agent("extract", *rotated, "--jobs", jobs, "-o", output, "--json")
        assert done.returncode == 0, done.stderr
        counts = json.loads(done.stdout)
        assert (counts["packets"], counts["flows"]) == (len(FRAMES), len(rows))
    assert content_of(outputs[0]) == (names, rows)
    assert len({output.read_bytes() for output in outputs}) == 1
    assert {path.suffix for path in tmp_path.iterdir()} <= {".pcap", outputs[0].suffix}


def test_progress_tells_how_much_and_how_long() -> None:
    reached = Reached(250, 1_000_000, 5_000)
    assert progress_text(reached, None, 60) == "1,000,000 packets, 5,000 flows"
    assert progress_text(reached, 1000, 20) == (
        "[#####...............]  25%  1,000,000 packets, 5,000 flows, 1 min 00 s left"
    )
    assert progress_text(reached, 1000, 7200).endswith(" 6 h 00 min left")
    assert progress_text(reached, 1000, 0.5).endswith(" flows")
    assert "100%" in progress_text(reached, 200, 9)


def test_progress_is_asked_for_only_when_it_is_time() -> None:
    now_s, asked = 0.0, 0

    def reached() -> Reached:
        nonlocal asked
        asked += 1
        return Reached()

    progress = Progress(100, lambda: now_s)
    for step in range(100):
        now_s = step / 100
        progress.show(reached)
    assert asked == 3
