"""Every format against Keras, through the agent's detector: one parity test for all."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.batch import STAND_IN, with_batch
from converters.calibration import calibration_rows
from converters.formats import Format
from converters.operators import forbidden, operators
from converters.strip import FILE_MARK
from edge_agent.contract.errors import ConversionError
from edge_agent.contract.runs import load_rows
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector, takes_bins
from edge_agent.detect.interpreter import load
from edge_agent.detect.judgement import top_family
from edge_agent.detect.trial import try_out
from tests.detect.synthetic import COLUMNS, FAMILIES

if TYPE_CHECKING:
    from tests.converters.conftest import Workshop

# Largest score difference to Keras. float32: another order of additions. float16 keeps 11 bits of
# each weight. 8 bits: a code per layer is 1/256 at best, and errors add up over the LSTM's steps.
TOLERANCE = {
    Format.FLOAT32: 1e-5,
    Format.FLOAT16: 5e-3,
    Format.DYNAMIC_RANGE: 0.1,
    Format.INT8: 0.2,
}
# Rows between the classes may change sides; the problem has next to none.
MIN_AGREEMENT = 0.995
# What the workshop calls what `to_flatbuffer` makes; static files are int8 alone.
FILES = [form.value + way for form in Format for way in ("", "-fused")] + ["int8-static"]


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def form_of(file: str) -> Format:
    return next(form for form in Format if file.startswith(form.value))


def detector_of(workshop: Workshop, file: str) -> Detector:
    return Detector(workshop.bundle(file), load(workshop.flatbuffer(file)))


def test_parity_with_keras(workshop: Workshop, file: str) -> None:
    form = form_of(file)
    detector = detector_of(workshop, file)
    scores = detector.score(workshop.rows().raw)
    full = workshop.scores("test")
    assert np.abs(scores - full).max() <= TOLERANCE[form]
    assert ((scores >= 0.5) == (full >= 0.5)).mean() >= MIN_AGREEMENT
    assert detector.bins_are_codes == (form is Format.INT8)


def test_a_score_depends_on_its_row_alone(workshop: Workshop, file: str) -> None:
    bundle, raw = workshop.bundle(file), workshop.rows().raw[:300]
    found = try_out(bundle, load(bundle.flatbuffer), raw, raw[:1])
    # float kernels for one row and for many add up in another order; integers do not care.
    assert found.batch_difference <= (0.0 if "int8" in file else 1e-6)
    assert found.order_difference == 0.0


def test_every_operator_is_built_in_and_none_asks_for_shapes(workshop: Workshop, file: str) -> None:
    found = operators(workshop.flatbuffer(file))
    # What an open batch is otherwise computed with.
    assert not forbidden(found)
    assert not found.keys() & {"SHAPE", "PACK", "FILL", "EXPAND_DIMS"}
    assert ("UNIDIRECTIONAL_SEQUENCE_LSTM" in found) == file.endswith("-fused")


def test_a_batch_is_open_unless_fixed(workshop: Workshop, file: str) -> None:
    model = schema.ModelT.InitFromPackedBuf(workshop.flatbuffer(file))
    graph = model.subgraphs[0]
    open_shapes = [
        tensor.shapeSignature.tolist()
        for tensor in graph.tensors
        if tensor.shapeSignature is not None and len(tensor.shapeSignature)
    ]
    signature = graph.tensors[graph.inputs[0]].shapeSignature
    if "-" in file.removeprefix(Format.DYNAMIC_RANGE.value):
        assert open_shapes == []
        assert graph.tensors[graph.inputs[0]].shape.tolist() == [1, len(COLUMNS)]
    else:
        assert signature.tolist() == [-1, len(COLUMNS)]
        assert all(shape.count(-1) == 1 for shape in open_shapes)
    assert not any(STAND_IN in tensor.shape for tensor in graph.tensors if tensor.shape is not None)


def test_int8_is_integer_from_end_to_end(workshop: Workshop) -> None:
    model = load(workshop.flatbuffer("int8"))
    assert model.input.dtype == np.int8
    assert model.output.dtype == np.int8
    assert model.input.scale == pytest.approx(1 / 255, rel=1e-6)
    assert model.input.zero_point == -128
    assert (model.output.scale, model.output.zero_point) == (1 / 256, -128)


def test_twins_compute_the_same(workshop: Workshop) -> None:
    twins = json.loads((workshop.folder / "twins.json").read_bytes())
    # The same arithmetic in another order.
    assert len(twins) == 10
    assert max(twins.values()) < 1e-5


def test_a_wide_layer_of_narrow_units_is_cut_and_no_other(workshop: Workshop) -> None:
    cut = json.loads((workshop.folder / "cut.json").read_bytes())
    kinds = {name: "BlockwiseDense" in layers for name, layers in cut.items()}
    assert kinds == {"banded": True, "full": False, "leaky": False, "seen twice": False}
    assert "ReLU" not in cut["banded"]
    found = operators(workshop.flatbuffer("banded"))
    # Four blocks and the score, each with its ReLU inside.
    assert found["FULLY_CONNECTED"] == 5
    assert not found.keys() & {"RELU", "RELU6"}


def test_functional_nested_and_bidirectional_models_convert(workshop: Workshop) -> None:
    detector = Detector(workshop.bundle("branched"), load(workshop.flatbuffer("branched")))
    scores = detector.score(workshop.rows().raw)
    assert np.abs(scores - workshop.scores("branched")).max() <= TOLERANCE[Format.INT8]


def test_what_cannot_be_converted_is_told_in_a_sentence(workshop: Workshop) -> None:
    told = workshop.sentences
    assert told["two scores"].startswith("ConversionError: the model gives an output of shape")
    assert "the run's 2 attack families" in told["one family too many"]
    assert told["pictures"].startswith("ConversionError: the model takes an input of shape")
    assert told["no such operator"].startswith("ConversionError: ")
    assert "the GRU layer 'gru' cannot become one operator" in told["no operator for a GRU"]
    assert "convert it unrolled." in told["no operator without a bias"]
    assert told["garbage"].startswith("RunError: ")
    assert "garbage.keras" in told["garbage"]
    for sentence in told.values():
        assert "\n" not in sentence
        assert sentence.endswith(".")


@pytest.mark.parametrize("form", [Format.FLOAT32, Format.INT8], ids=lambda form: form.value)
def test_families_survive_conversion(workshop: Workshop, form: Format) -> None:
    name = f"families-{form.value}"
    detector = Detector(workshop.bundle(name), load(workshop.flatbuffer(name)))
    rows, full = load_rows(workshop.family_run, "test"), workshop.family_outputs()
    outputs = detector.outputs(rows.raw)
    assert outputs.shape == full.shape == (len(rows.label), 1 + len(FAMILIES))
    assert np.abs(outputs - full).max() <= TOLERANCE[form]
    attacks = rows.label == 1
    assert (top_family(outputs[:, 1:]) == top_family(full[:, 1:]))[attacks].mean() >= MIN_AGREEMENT
    # And they are right: the problem is an easy one.
    assert (top_family(outputs[:, 1:]) == rows.family)[attacks].mean() > 0.98
    assert (detector.is_attack(outputs[:, 0]) == attacks).mean() > 0.96


def test_families_do_not_make_the_score_coarser(workshop: Workshop) -> None:
    model = load(workshop.flatbuffer("families-int8"))
    assert 1 / 256 <= model.output.scale <= 1 / 255 * (1 + 1e-6)
    assert model.output.zero_point == -128
    assert model.output.width == 1 + len(FAMILIES)
    assert takes_bins(model.input)


def test_a_constant_goes_with_any_batch_only_if_its_rows_are_equal() -> None:
    changed = schema.ModelT.InitFromPackedBuf(with_batch(constant(equal=True), None))
    assert [tensor.shape.tolist() for tensor in changed.subgraphs[0].tensors] == [[1, 2], [1, 2]]
    assert changed.buffers[1].data.tolist() == [3, 4]
    with pytest.raises(ConversionError, match="not the same for every row"):
        with_batch(constant(equal=False), None)


def constant(equal: bool) -> bytes:
    """A model that is a constant of two bytes a row, which two tensors point to."""
    data = np.tile(np.array([3, 4], np.uint8), STAND_IN)
    if not equal:
        data[-1] = 5
    tensors = [schema.TensorT(shape=np.array([STAND_IN, 2], np.int32), buffer=1) for _ in range(2)]
    model = schema.ModelT(
        operatorCodes=[],
        subgraphs=[schema.SubGraphT(tensors=tensors, operators=[])],
        buffers=[schema.BufferT(), schema.BufferT(data=data)],
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), FILE_MARK)
    return bytes(builder.Output())


def test_calibration_rows_reach_from_0_to_1() -> None:
    inner = np.full((4, 3), 0.5, np.float32)
    inner[1, 2], inner[3, 0] = 0.9, 0.1
    rows = calibration_rows(inner)
    assert np.array_equal(rows[:4], inner)
    assert rows.min() == 0.0
    assert rows.max() == 1.0
    assert rows[4].tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert rows[5].tolist() == pytest.approx([0.5, 0.5, 1.0])
    assert np.array_equal(calibration_rows(rows), rows), "nothing to add to rows that do"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.empty((0, 2), np.float32), "no calibration rows"),
        (np.array([[0.0, 1.1]], np.float32), "between 0 and 1"),
        (np.array([[0.0, np.nan]], np.float32), "between 0 and 1"),
    ],
)
def test_calibration_rows_that_do_not_serve_are_refused(rows: Any, said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        calibration_rows(rows)


def test_the_file_is_unknown_to_no_installed_runtime(workshop: Workshop) -> None:
    for runtime in interpreter.installed_runtimes():
        assert load(workshop.flatbuffer("int8"), runtime).runtime == runtime


def test_pruning_sets_the_share_to_zero_and_keeps_the_verdicts(workshop: Workshop) -> None:
    shares = json.loads((workshop.folder / "shares.json").read_bytes())
    assert shares["pruned"] == pytest.approx(0.5, abs=0.02)
    assert shares["full"] < 0.01
    assert shares["moved"] == 0.0, "the full model must stay as it was"
    detector = Detector(workshop.bundle("pruned"), load(workshop.flatbuffer("pruned")))
    attacks = detector.is_attack(detector.score(workshop.rows().raw))
    assert (attacks == (workshop.scores("test") >= 0.5)).mean() >= MIN_AGREEMENT
    packed = {name: len(gzip.compress(workshop.flatbuffer(name))) for name in ("int8", "pruned")}
    assert packed["pruned"] < packed["int8"]


def test_pruning_keeps_the_families(workshop: Workshop) -> None:
    rows = load_rows(workshop.family_run, "test")
    flatbuffer = workshop.flatbuffer("families-pruned")
    outputs = Detector(workshop.bundle("families-pruned"), load(flatbuffer)).outputs(rows.raw)
    # It learns from the full model, so that is what it is held against.
    full = workshop.family_outputs()
    attacks = full[:, 0] >= 0.5
    # Half of a toy's weights are missed more than half of a real network's.
    assert ((outputs[:, 0] >= 0.5) == attacks).mean() >= 0.985
    same = top_family(outputs[:, 1:]) == top_family(full[:, 1:])
    assert same[attacks].mean() >= MIN_AGREEMENT
