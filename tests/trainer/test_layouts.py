"""Which layout a header is of, and every way in which a header can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.contract.errors import TableError
from edge_agent.contract.profiles import PROFILES
from tests.trainer.flowfiles import SHORT, Csv, cse, cve, extract, improved, java, traffic
from trainer.datasets.headers import recognise
from trainer.datasets.layouts import LAYOUTS, capture_layout

PATH = Path("table.csv")

# As they stand in the published files: blanks and all.
PUBLISHED_CVE = """\
 Destination Port, Flow Duration, Total Fwd Packets, Total Backward Packets
Total Length of Fwd Packets, Total Length of Bwd Packets, Fwd Packet Length Max
 Fwd Packet Length Min, Fwd Packet Length Mean, Fwd Packet Length Std,Bwd Packet Length Max
 Bwd Packet Length Min, Bwd Packet Length Mean, Bwd Packet Length Std,Flow Bytes/s
 Flow Packets/s, Flow IAT Mean, Flow IAT Std, Flow IAT Max, Flow IAT Min,Fwd IAT Total
 Fwd IAT Mean, Fwd IAT Std, Fwd IAT Max, Fwd IAT Min,Bwd IAT Total, Bwd IAT Mean, Bwd IAT Std
 Bwd IAT Max, Bwd IAT Min,Fwd PSH Flags, Bwd PSH Flags, Fwd URG Flags, Bwd URG Flags
 Fwd Header Length, Bwd Header Length,Fwd Packets/s, Bwd Packets/s, Min Packet Length
 Max Packet Length, Packet Length Mean, Packet Length Std, Packet Length Variance,FIN Flag Count
 SYN Flag Count, RST Flag Count, PSH Flag Count, ACK Flag Count, URG Flag Count, CWE Flag Count
 ECE Flag Count, Down/Up Ratio, Average Packet Size, Avg Fwd Segment Size, Avg Bwd Segment Size
 Fwd Header Length,Fwd Avg Bytes/Bulk, Fwd Avg Packets/Bulk, Fwd Avg Bulk Rate
 Bwd Avg Bytes/Bulk, Bwd Avg Packets/Bulk,Bwd Avg Bulk Rate,Subflow Fwd Packets
 Subflow Fwd Bytes, Subflow Bwd Packets, Subflow Bwd Bytes,Init_Win_bytes_forward
 Init_Win_bytes_backward, act_data_pkt_fwd, min_seg_size_forward,Active Mean, Active Std
 Active Max, Active Min,Idle Mean, Idle Std, Idle Max, Idle Min, Label"""

PUBLISHED_CSE = """\
Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,Tot Bwd Pkts,TotLen Fwd Pkts
TotLen Bwd Pkts,Fwd Pkt Len Max,Fwd Pkt Len Min,Fwd Pkt Len Mean,Fwd Pkt Len Std,Bwd Pkt Len Max
Bwd Pkt Len Min,Bwd Pkt Len Mean,Bwd Pkt Len Std,Flow Byts/s,Flow Pkts/s,Flow IAT Mean
Flow IAT Std,Flow IAT Max,Flow IAT Min,Fwd IAT Tot,Fwd IAT Mean,Fwd IAT Std,Fwd IAT Max
Fwd IAT Min,Bwd IAT Tot,Bwd IAT Mean,Bwd IAT Std,Bwd IAT Max,Bwd IAT Min,Fwd PSH Flags
Bwd PSH Flags,Fwd URG Flags,Bwd URG Flags,Fwd Header Len,Bwd Header Len,Fwd Pkts/s,Bwd Pkts/s
Pkt Len Min,Pkt Len Max,Pkt Len Mean,Pkt Len Std,Pkt Len Var,FIN Flag Cnt,SYN Flag Cnt
RST Flag Cnt,PSH Flag Cnt,ACK Flag Cnt,URG Flag Cnt,CWE Flag Count,ECE Flag Cnt,Down/Up Ratio
Pkt Size Avg,Fwd Seg Size Avg,Bwd Seg Size Avg,Fwd Byts/b Avg,Fwd Pkts/b Avg,Fwd Blk Rate Avg
Bwd Byts/b Avg,Bwd Pkts/b Avg,Bwd Blk Rate Avg,Subflow Fwd Pkts,Subflow Fwd Byts
Subflow Bwd Pkts,Subflow Bwd Byts,Init Fwd Win Byts,Init Bwd Win Byts,Fwd Act Data Pkts
Fwd Seg Size Min,Active Mean,Active Std,Active Max,Active Min,Idle Mean,Idle Std,Idle Max
Idle Min,Label"""


def cells_of(text: str) -> list[str]:
    return text.replace("\n", ",").split(",")


def problem(cells: list[str]) -> TableError:
    with pytest.raises(TableError) as caught:
        recognise(cells, PATH)
    return caught.value


def test_machine_learning_cve_as_published() -> None:
    cells = cells_of(PUBLISHED_CVE)
    assert len(cells) == 79
    header = recognise(cells, PATH)
    assert header.layout.name == "MachineLearningCVE"
    # In file order, under this project's names.
    columns = [*PROFILES["cic2017"].columns, "Label"]
    assert [header.position[name] for name in columns] == list(range(79))
    assert header.label == "Label"


def test_cse_cic_ids2018_as_published() -> None:
    cells = cells_of(PUBLISHED_CSE)
    assert len(cells) == 80
    header = recognise(cells, PATH)
    assert (header.layout.name, header.layout.profile) == ("CSE-CIC-IDS2018", "cic2017")
    # The first feature, then protocol and time, then the others; the second copy of one is absent.
    names = [name for name in PROFILES["cic2017"].columns if name != "Fwd Header Length.1"]
    places = [header.position[name] for name in names]
    assert places == [0, *range(3, 79)]
    assert header.position["Fwd Header Length.1"] == header.position["Fwd Header Length"]
    assert header.position["Protocol"] == 1


def test_short_names_are_those_published() -> None:
    assert set(SHORT.values()) == set(cells_of(PUBLISHED_CSE)) - {"Protocol", "Timestamp", "Label"}


@pytest.mark.parametrize(
    ("made", "width", "name", "profile"),
    [
        (cve(["BENIGN"]), 79, "MachineLearningCVE", "cic2017"),
        (cve(["BENIGN"]).without("Fwd Header Length.1"), 78, "MachineLearningCVE", "cic2017"),
        (traffic(["BENIGN"]), 85, "TrafficLabelling", "cic2017"),
        (cse(["BENIGN"]), 80, "CSE-CIC-IDS2018", "cic2017"),
        (cse(["BENIGN"], addresses=True), 84, "CSE-CIC-IDS2018", "cic2017"),
        (improved(["BENIGN"]), 91, "improved", "improved"),
        (java(["BENIGN"]), 84, "CICFlowMeter", "improved"),
        (extract("cic2017", ["BENIGN"]), 86, "extract of cic2017", "cic2017"),
        (extract("improved", ["BENIGN"]), 88, "extract of improved", "improved"),
        (extract("gateway", ["BENIGN"]), 109, "extract of gateway", "gateway"),
    ],
)
def test_each_layout(made: Csv, width: int, name: str, profile: str) -> None:
    assert len(made.header) == width
    header = recognise(made.header, PATH)
    assert (header.layout.name, header.layout.profile) == (name, profile)
    assert header.width == width


def test_the_tool_since_2023_adds_columns() -> None:
    cells = [
        *improved(["BENIGN"]).without("Total TCP Flow Time", "Attempted Category", "id").header,
        "Bwd Act Data Pkts",
        "Bwd Seg Size Min",
        "Total Connection Flow Time",
        "Fwd TCP Retrans. Count",
        "Bwd TCP Retrans. Count",
        "Total TCP Retrans. Count",
    ]
    assert recognise(cells, PATH).layout.name == "improved"


@pytest.mark.parametrize("second", ["Fwd Header Length", "Fwd Header Length_duplicated_0"])
def test_the_second_of_two_equal_names(second: str) -> None:
    """As in the files, and as polars calls it; pandas' way is how this project calls it."""
    cells = cve(["BENIGN"]).header
    place = cells.index("Fwd Header Length.1")
    cells[place] = second
    assert recognise(cells, PATH).position["Fwd Header Length.1"] == place


def test_numbers_of_rows_are_no_column() -> None:
    cells = ["Unnamed: 0", *cve(["BENIGN"]).header, "__index_level_0__"]
    header = recognise(cells, PATH)
    assert header.layout.name == "MachineLearningCVE"
    assert header.position["Destination Port"] == 1


def test_missing_columns_are_named() -> None:
    error = problem(cve(["BENIGN"]).without("Flow Duration").header)
    assert error.where == "line 1"
    assert error.problem == "lacks 'Flow Duration' of the layout MachineLearningCVE"


def test_missing_columns_are_named_as_the_file_would() -> None:
    assert "'Pkt Size Avg'" in problem(cse(["BENIGN"]).without("Pkt Size Avg").header).problem


def test_many_missing_columns_are_counted() -> None:
    error = problem(cve(["BENIGN"]).header[20:])
    assert error.problem.count("'") == 12
    assert "and 14 more" in error.problem


def test_unknown_columns_are_named() -> None:
    error = problem([*cve(["BENIGN"]).header, "Surprise", ""])
    assert "'Surprise', 'column 81 (no name)'" in error.problem


def test_a_column_twice_is_unknown() -> None:
    assert "'Flow Duration'" in problem([*cve(["BENIGN"]).header, "Flow Duration"]).problem


def test_no_label_column() -> None:
    error = problem(cve(["BENIGN"]).header[:-1])
    assert "no 'Label' column" in error.problem
    assert "--labels" in error.remedy


def test_another_table_names_what_is_known() -> None:
    error = problem(["name", "age"])
    assert all(layout.name in error.problem for layout in LAYOUTS)


PYTHON_PACKAGE = """\
src_ip,dst_ip,src_port,dst_port,protocol,timestamp,flow_duration,flow_byts_s,flow_pkts_s,fwd_pkts_s
bwd_pkts_s,tot_fwd_pkts,tot_bwd_pkts,totlen_fwd_pkts,totlen_bwd_pkts,label"""
NFSTREAM = """\
id,expiration_id,src_ip,src_mac,src_port,dst_ip,dst_port,protocol,ip_version
bidirectional_first_seen_ms,bidirectional_packets,bidirectional_bytes,src2dst_packets"""


@pytest.mark.parametrize(
    ("header", "tool"),
    [(PYTHON_PACKAGE, "the Python package cicflowmeter"), (NFSTREAM, "nfstream")],
)
def test_tools_that_count_otherwise_are_told_from_unknown_ones(header: str, tool: str) -> None:
    error = problem(cells_of(header))
    assert f"was made by {tool}, which counts" in error.problem
    assert "edge-agent extract" in error.remedy


@pytest.mark.parametrize("profile", list(PROFILES))
def test_captures_are_as_extracts(profile: str) -> None:
    layout = capture_layout(profile)
    assert recognise(extract(profile, ["BENIGN"]).header, PATH).layout == layout
    assert layout.profile == profile
