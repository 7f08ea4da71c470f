"""The emitted C: compiled strictly, and run beside what it stands for."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import arena, c_source, c_text, micro
from converters.arena import Arena
from converters.c_scaler import compact_edges, table_bytes
from converters.c_source import c_files
from edge_agent.contract.bundle import Bundle, ModelFeature
from edge_agent.contract.errors import ConversionError, InterpreterError
from edge_agent.contract.scaling import SCALERS, Scaler
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector
from tests.converters.data import MICRO_FORMS, micro_bundle
from tests.detect.synthetic import family_problem, problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

DATA = Path(__file__).parent.parent / "detect" / "data"
ARENA = Arena(8192, measured=False, how="Made up.")

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow")
# Names that end comments, strings, lines or macros where they are not escaped.
HOSTILE = '*/ int x; /* "q" \\ ??/ ??) // %d\n#error \x00\x7f µs 字 \\u0041 $stem'

LARGEST = float(np.finfo(np.float32).max)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, -1e-45, 1e9, 1e30, LARGEST, -LARGEST)
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))


class Compiled:
    """`STEM_quantize` of emitted C, called through a shared library."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle = bundle
        self.detector = Detector(bundle, interpreter.load(bundle.flatbuffer))
        write(bundle, folder)
        library = folder / "model.so"
        compile_c(folder / "model.c", "-std=c99", "-O1", "-shared", "-fPIC", "-o", str(library))
        self._quantize = ctypes.CDLL(str(library)).model_quantize

    def __call__(self, raw: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        codes = np.empty(raw.shape, dtype=np.int8)
        usable = np.empty(len(raw), dtype=bool)
        for index, row in enumerate(np.ascontiguousarray(raw, dtype=np.float32)):
            usable[index] = self._quantize(
                row.ctypes.data_as(ctypes.c_void_p),
                codes[index].ctypes.data_as(ctypes.c_void_p),
            )
        return codes, usable

    def agent(self, raw: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """What edge-agent makes of the rows: codes, and whether it gives them a verdict."""
        # Sums of infinities, and floats that are too large for int8's codes before they are cut.
        with np.errstate(invalid="ignore", over="ignore"):
            return self.detector.model_input(raw), ~np.isnan(self.detector.score(raw))


def write(bundle: Bundle, folder: Path, name: str = "model") -> None:
    for file, content in c_files(name, bundle, bundle.flatbuffer, ARENA).items():
        (folder / file).write_bytes(content)


def compile_c(source: Path, *options: str, compiler: str = "gcc") -> None:
    command = [compiler, *WARNINGS, *options, str(source), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def check_compiles(folder: Path, standard: str) -> None:
    """`model.c` as an object file of "c99", "c++17" and the like."""
    compiler, language = ("g++", "c++") if "+" in standard else ("gcc", "c")
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    options = ("-x", language, f"-std={standard}", "-c", "-o", str(folder / "model.o"))
    compile_c(folder / "model.c", *options, compiler=compiler)


def run_c(text: str, folder: Path) -> bytes:
    """Compile a program with `model.c` and give back what it writes."""
    main, program = folder / "main.c", folder / "main"
    main.write_text(text)
    compile_c(main, str(folder / "model.c"), "-std=c99", "-o", str(program))
    return subprocess.run([str(program)], capture_output=True, check=True).stdout


def with_fixed_shapes(flatbuffer: bytes) -> bytes:
    """The model with the shapes that it has for a batch of one, and no others."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def macro(header: str, name: str) -> str:
    found = re.search(rf"^#define MODEL_{name} (.+)$", header, re.MULTILINE)
    assert found
    return found[1].strip("()")


@pytest.fixture(scope="module", params=SCALERS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    bundle = micro_bundle("fused")
    scaler = Scaler.fit(request.param, family_problem(3000, seed=21)[0])
    return Compiled(dataclasses.replace(bundle, scaler=scaler), tmp_path_factory.mktemp("c"))


def check(compiled: Compiled, raw: NDArray[np.float32]) -> None:
    codes, usable = compiled(raw)
    wanted, judged = compiled.agent(raw)
    assert np.array_equal(usable, judged)
    kind = compiled.bundle.scaler.kind
    if kind == "quantile":
        assert np.array_equal(codes, wanted)
        return
    # What becomes of a NaN between floats and integers, no standard says; it gets no verdict.
    distance = np.abs(codes.astype(int) - wanted)[usable]
    # numpy's log1p and the C library's differ in the last bit, which may turn a half.
    assert distance.max(initial=0) <= (kind == "log1p")
    assert np.count_nonzero(distance) <= 1 + distance.size // 1000


def test_codes_of_flows_are_the_agents(compiled: Compiled) -> None:
    raw = family_problem(2000, seed=22)[0]
    check(compiled, raw)


def test_flows_of_no_duration_get_their_rates(compiled: Compiled) -> None:
    raw = family_problem(200, seed=23)[0]
    names = compiled.bundle.feature_names
    raw[:100, names.index("Flow Duration")] = np.linspace(-1, 0.999, 100)
    for rate in ("Flow Bytes/s", "Flow Packets/s"):
        raw[:50, names.index(rate)] = np.resize((*NOT_FINITE, -1, 0), 50)
    check(compiled, raw)
    codes, usable = compiled(raw)
    assert usable.all()
    # Not for nothing: without the repair they would be others.
    plain = compiled.bundle.scaler.transform(np.nan_to_num(raw))
    assert not np.array_equal(codes, compiled.detector._model.input.quantize(plain))


def test_edges_and_their_neighbours(compiled: Compiled) -> None:
    table = compiled.bundle.scaler.table
    for direction in (-np.inf, None, np.inf):
        with np.errstate(over="ignore"):
            rows = table.T if direction is None else np.nextafter(table.T, np.float32(direction))
        check(compiled, rows)


def test_hostile_values(compiled: Compiled) -> None:
    values = np.array((*SPECIAL, *NOT_FINITE), dtype=np.float32)
    width = len(compiled.bundle.features)
    check(compiled, np.repeat(values[:, None], width, axis=1))
    check(compiled, np.random.default_rng(3).choice(values, (500, width)))
    # One at a time among good ones.
    raw = np.resize(family_problem(50, seed=24)[0], (width * len(values), width)).copy()
    for row in range(len(raw)):
        raw[row, row % width] = values[row // width]
    check(compiled, raw)


# A float, or the number of one of the column's own edges.
VALUE = st.one_of(st.floats(width=32), st.sampled_from(SPECIAL), st.integers(0, 254))


@settings(max_examples=60, deadline=None)
@given(row=st.lists(VALUE, min_size=14, max_size=14))
def test_any_row(compiled: Compiled, row: list[float]) -> None:
    table = compiled.bundle.scaler.table
    values = [
        edges[value % len(edges)] if isinstance(value, int) else value
        for value, edges in zip(row, table, strict=True)
    ]
    check(compiled, np.array([values], dtype=np.float32))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=255),
        min_size=1,
        max_size=4,
    )
)
def test_compact_edges_hold_the_whole_table(columns: list[list[float]]) -> None:
    rows = [np.sort(np.resize(np.array(column or [0.0], np.float32), 255)) for column in columns]
    table = np.stack(rows) + np.float32(0)
    edges, counts, bins = (part.tolist() for part in compact_edges(table))
    for row, count in zip(table, counts, strict=True):
        own, edges = edges[:count], edges[count:]
        begins = list(range(1, 256))
        if count < 255:
            begins, bins = bins[:count], bins[count:]
            assert 5 * count < 4 * 255
        with np.errstate(over="ignore"):
            neighbours = np.nextafter(np.array(own, np.float32), np.float32(-np.inf))
        for value in (*own, *neighbours):
            below = int(np.searchsorted(own, value, side="right"))
            found = begins[below - 1] if below else 0
            assert found == np.searchsorted(row, value, side="right")
    assert not edges
    assert not bins


def test_few_values_take_little_flash() -> None:
    flags = Scaler.fit("quantile", np.resize([0.0, 1.0], (100, 20)))
    # An edge with its bin, and how many there are: 6 bytes instead of 1020.
    assert table_bytes(flags) == 20 * 6
    many = Scaler.fit("quantile", np.arange(1000.0)[:, None])
    assert table_bytes(many) == 255 * 4 + 1


@pytest.mark.parametrize("form", MICRO_FORMS)
def test_the_array_is_the_flatbuffer(form: str, tmp_path: Path) -> None:
    bundle = micro_bundle(form)
    write(bundle, tmp_path)
    written = run_c(
        '#include <stdio.h>\n#include "model.h"\n'
        "int main(void)\n{\n"
        "    if ((uintptr_t)model_model % 16 != 0) { return 1; }\n"
        "    return fwrite(model_model, 1, MODEL_MODEL_BYTES, stdout) != MODEL_MODEL_BYTES;\n}\n",
        tmp_path,
    )
    assert written == bundle.flatbuffer


def test_the_words_survive_any_name(tmp_path: Path) -> None:
    bundle = micro_bundle("fused")
    last = bundle.features[-1]
    hostile = dataclasses.replace(
        bundle,
        name=HOSTILE,
        classes=(HOSTILE, "attack"),
        threshold_rule=HOSTILE,
        families=("dos*/", HOSTILE),
        features=(*bundle.features[:-1], ModelFeature(f"{last.name}{HOSTILE}", HOSTILE)),
    )
    write(hostile, tmp_path)
    # String literals end at a null byte for printf, not for sizeof: all of it must be there.
    words = run_c(
        '#include <stdio.h>\n#include "model.h"\n'
        "int main(void)\n{\n    unsigned i;\n"
        "    fwrite(MODEL_NAME, 1, sizeof MODEL_NAME - 1, stdout);\n"
        "    for (i = 0; i < MODEL_FEATURES; i++) { puts(model_feature_names[i]); }\n"
        "    puts(MODEL_FINGERPRINT);\n"
        "    puts(model_family_names[0]);\n    return 0;\n}\n",
        tmp_path,
    )
    assert words.startswith(HOSTILE.encode() + bundle.features[0].name.encode())
    assert words.endswith(f"{hostile.fingerprint}\ndos*/\n".encode())
    check_compiles(tmp_path, "c11")
    check_compiles(tmp_path, "c++17")


@pytest.mark.parametrize("form", MICRO_FORMS)
@pytest.mark.parametrize("standard", ["c99", "c11", "c++11", "c++17"])
def test_it_compiles_as_c_and_as_cpp(form: str, standard: str, tmp_path: Path) -> None:
    write(micro_bundle(form), tmp_path)
    check_compiles(tmp_path, standard)


def test_without_families_none_are_declared(tmp_path: Path) -> None:
    bundle = Bundle.open(DATA / "tiny.tflite")
    static = dataclasses.replace(bundle, flatbuffer=with_fixed_shapes(bundle.flatbuffer))
    compiled = Compiled(static, tmp_path)
    assert macro((tmp_path / "model.h").read_text(), "FAMILIES") == "0"
    assert "family_names" not in (tmp_path / "model.c").read_text()
    check(compiled, problem(200, seed=25)[0])


def test_a_model_of_another_run_is_refused() -> None:
    with pytest.raises(InterpreterError, match="features"):
        c_files("model", Bundle.open(DATA / "tiny.tflite"), micro_bundle("fused").flatbuffer, ARENA)


def test_threshold_as_a_code() -> None:
    bundle = micro_bundle("fused")
    detector = Detector(bundle, interpreter.load(bundle.flatbuffer))
    output = detector._model.output
    for threshold in (0.0, 1e-6, 0.25, 0.5, 0.9999, 1.0):
        changed = dataclasses.replace(bundle, threshold=threshold)
        header = c_files("model", changed, bundle.flatbuffer, ARENA)["model.h"].decode()
        code = int(macro(header, "THRESHOLD_CODE"))
        codes = np.arange(-128, 128)
        agent = Detector(changed, detector._model)
        scores = np.clip(output.dequantize(codes.astype(np.int8)), 0, 1)
        assert np.array_equal(codes >= code, agent.is_attack(scores))
        assert np.float32(macro(header, "THRESHOLD").rstrip("f")) == np.float32(threshold)
        scale = np.float32(macro(header, "OUTPUT_SCALE").rstrip("f"))
        assert scale == np.float32(output.scale)
        assert int(macro(header, "OUTPUT_ZERO_POINT")) == output.zero_point


def test_a_threshold_above_every_output_is_never_reached() -> None:
    bundle = micro_bundle("fused")
    detector = Detector(
        dataclasses.replace(bundle, threshold=1.0), interpreter.load(bundle.flatbuffer)
    )
    low = interpreter.Tensor(np.dtype(np.int8), 3, 1 / 512, -128)
    assert c_source._threshold_code(detector, low) == 128


def test_the_header_tells_the_firmware(tmp_path: Path) -> None:
    for form in MICRO_FORMS:
        bundle = micro_bundle(form)
        header = c_files("model", bundle, bundle.flatbuffer, ARENA)["model.h"].decode("ascii")
        calls = micro.resolver_calls(bundle.flatbuffer)
        assert re.findall(r"resolver\.(\w+)\(\);", header) == list(calls)
        assert macro(header, "OPERATORS") == str(len(calls))
        assert macro(header, "ARENA_BYTES") == "8192"
        assert macro(header, "FAMILIES") == "2"
        assert "an arena of 8192 bytes. Made up." in header
        # Only an LSTM that keeps its state must be told to forget it.
        assert ("interpreter.Reset()" in header) == (form == "fused")
        for feature in bundle.features:
            assert re.search(rf"{re.escape(feature.name)} +{re.escape(feature.unit)}\n", header)


def test_same_model_same_bytes() -> None:
    first, second = (
        c_files("model", bundle, bundle.flatbuffer, ARENA)
        for bundle in (micro_bundle("fused"), micro_bundle("fused"))
    )
    assert first == second


def test_floats_and_open_shapes_are_refused() -> None:
    bundle = Bundle.open(DATA / "tiny.tflite")
    with pytest.raises(ConversionError, match="batch of 1"):
        c_files("model", bundle, bundle.flatbuffer, ARENA)


class FloatModel:
    """A model that takes floats."""

    def __init__(self, model: Any) -> None:
        self.input = interpreter.Tensor(np.dtype(np.float32), model.input.width, 0.0, 0)
        self.output = model.output


class CoarseModel(FloatModel):
    """A model whose input has another scale than the scaler's bins."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.input = dataclasses.replace(model.input, scale=1 / 200)


@pytest.mark.parametrize(("kind", "sentence"), [(FloatModel, "--int8"), (CoarseModel, "1/255")])
def test_models_without_fitting_codes_are_refused(
    kind: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = micro_bundle("fused")
    spoiled = kind(interpreter.load(bundle.flatbuffer))
    monkeypatch.setattr(interpreter, "load", lambda flatbuffer: spoiled)
    with pytest.raises(ConversionError, match=sentence):
        c_files("model", bundle, bundle.flatbuffer, ARENA)


@given(st.text())
def test_any_stem_becomes_an_identifier(stem: str) -> None:
    name = c_text.identifier(stem)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
    assert "__" not in name
    assert c_text.identifier(name) == name


def test_stems_that_would_do_harm() -> None:
    assert c_text.identifier("cnn-lstm.int8") == "cnn_lstm_int8"
    assert c_text.identifier("9 lives") == "model_9_lives"
    assert c_text.identifier("__init__") == "init"
    assert c_text.identifier("字") == "model"
    # string.h in an include path would be found in place of the system's.
    assert c_text.identifier("String") == "model_String"


@given(st.text())
def test_no_text_leaves_its_comment(text: str) -> None:
    told = c_text.comment_text(text)
    assert told.isascii()
    assert told.isprintable() or not told
    assert not re.search(r"\*/|/\*|\?\?", told)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_are_exact(value: float) -> None:
    literal = c_text.float_literal(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", literal)
    assert "." in literal or "e" in literal
    assert np.float32(literal.rstrip("f")) == np.float32(value)


def test_the_compiler_reads_floats_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    values = rng.integers(0, 2**31, 3000).astype(np.uint32).view(np.float32)
    values = np.append(values[np.isfinite(values)], np.array(SPECIAL, np.float32))
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(
        "#include <stdio.h>\nstatic const float VALUES[] = {\n"
        f"{c_text.floats_list(values)}\n}};\n"
        "int main(void)\n{\n    return fwrite(VALUES, sizeof VALUES, 1, stdout) != 1;\n}\n"
    )
    compile_c(main, "-std=c99", "-o", str(program))
    read = subprocess.run([str(program)], capture_output=True, check=True).stdout
    assert np.array_equal(np.frombuffer(read, np.float32), values)


@pytest.mark.skipif(not micro.installed(), reason="tflite-micro is not installed")
@pytest.mark.parametrize("form", MICRO_FORMS)
def test_verdicts_of_the_firmware_are_the_agents(form: str, tmp_path: Path) -> None:
    """The whole way of a row: C codes, TFLM in the arena that was measured, threshold's code."""
    bundle = micro_bundle(form)
    found = arena.measured(bundle.flatbuffer)
    header = c_files("model", bundle, bundle.flatbuffer, found)["model.h"].decode()
    assert macro(header, "ARENA_BYTES") == str(found.bytes)
    compiled = Compiled(bundle, tmp_path)
    raw = family_problem(500, seed=92)[0]
    codes, usable = compiled(raw)
    output = micro.MicroModel(bundle.flatbuffer, found).predict(codes)
    attacks = usable & (output[:, 0] >= int(macro(header, "THRESHOLD_CODE")))
    agent = compiled.detector.is_attack(compiled.detector.score(raw))
    # Kernels round differently: a row at the very threshold may change sides.
    assert (attacks != agent).sum() <= 1
    assert 0 < attacks.sum() < len(attacks)
