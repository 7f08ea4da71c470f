"""A model and its scaler as C source, for TensorFlow Lite Micro.

A microcontroller has no files: the flatbuffer, the scaler's table and all that the agent reads in a
model file are compiled into the firmware. Two files are written, plain C99 that is C++ as well and
depends on nothing, together with what a firmware must know to run them: the operators to register,
the memory to give, the features in order and unit, and the threshold as the output's own code.
"""

from __future__ import annotations

import textwrap
from string import Template
from typing import TYPE_CHECKING, Final

import numpy as np

from converters.c_scaler import quantizer, table_bytes
from converters.c_text import (
    bytes_list,
    comment_text,
    float_literal,
    identifier,
    string_literal,
    strings_list,
)
from converters.micro import keeps_state, resolver_calls, static_graph
from edge_agent.contract.errors import ConversionError
from edge_agent.detect import interpreter
from edge_agent.detect.detector import Detector

if TYPE_CHECKING:
    from converters.arena import Arena
    from edge_agent.contract.bundle import Bundle
    from edge_agent.detect.interpreter import Tensor

# One above the largest int8: no output reaches it.
_NEVER: Final = 128

_HEADER: Final = Template("""\
/*
 * $name
 *
 * A classifier of network flows for TensorFlow Lite Micro, written by edge-convert.
 *
$memory
 *
 * How to use it, in C++, checking what each call returns:
 *
 *     #include "$stem.h"
 *     alignas(16) static uint8_t arena[${STEM}_ARENA_BYTES];
 *
 *     tflite::MicroMutableOpResolver<${STEM}_OPERATORS> resolver;
$calls
 *     tflite::MicroInterpreter interpreter(
 *         tflite::GetModel(${stem}_model), resolver, arena, sizeof arena);
 *     interpreter.AllocateTensors();
 *
 *     float features[${STEM}_FEATURES] = {...};  in the order and the units of the table below
$reset *     int usable = ${stem}_quantize(features, interpreter.input(0)->data.int8);
 *     interpreter.Invoke();
 *     bool attack = usable && interpreter.output(0)->data.int8[0] >= ${STEM}_THRESHOLD_CODE;
 *
$outputs
 *
$threshold_rule
 *
 * Features:
 *
$feature_table
 */
#ifndef ${STEM}_H
#define ${STEM}_H

#include <stdint.h>

#define ${STEM}_NAME $name_literal
#define ${STEM}_FINGERPRINT $fingerprint_literal

#define ${STEM}_MODEL_BYTES $model_bytes
#define ${STEM}_ARENA_BYTES $arena_bytes
#define ${STEM}_OPERATORS $operators

#define ${STEM}_FEATURES $features
#define ${STEM}_CLASSES $classes
#define ${STEM}_FAMILIES $families

#define ${STEM}_THRESHOLD $threshold
#define ${STEM}_THRESHOLD_CODE ($threshold_code)
#define ${STEM}_OUTPUT_SCALE $output_scale
#define ${STEM}_OUTPUT_ZERO_POINT ($output_zero_point)

#ifdef __cplusplus
extern "C" {
#endif

/* The TFLite flatbuffer, aligned to 16 bytes. */
extern const unsigned char ${stem}_model[${STEM}_MODEL_BYTES];

/* Words for people; a linker that collects garbage drops what is not used. */
extern const char *const ${stem}_feature_names[${STEM}_FEATURES];
extern const char *const ${stem}_feature_units[${STEM}_FEATURES];
extern const char *const ${stem}_class_names[${STEM}_CLASSES];
$family_declaration
/*
 * From ${STEM}_FEATURES raw features to the codes of the model's input, as edge-agent does it;
 * rates of flows shorter than 1 us may be anything. Gives 0 where another feature is infinite or no
 * number: the codes are then of no use, and edge-agent gives no verdict. Else gives 1.
 * Compile it without -ffast-math.
 */
int ${stem}_quantize(const float *features, int8_t *codes);

#ifdef __cplusplus
}
#endif

#endif
""")

_SOURCE: Final = Template("""\
/* $name, written by edge-convert; see $stem.h. */
#include "$stem.h"

$includes

#if defined(__cplusplus) && __cplusplus >= 201103L
#define ALIGNED_16 alignas(16)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ALIGNED_16 _Alignas(16)
#elif defined(__GNUC__) || defined(__clang__)
#define ALIGNED_16 __attribute__((aligned(16)))
#else
#error "Say here how this compiler aligns an array to 16 bytes."
#endif

ALIGNED_16 const unsigned char ${stem}_model[${STEM}_MODEL_BYTES] = {
$model
};

const char *const ${stem}_feature_names[${STEM}_FEATURES] = {
$feature_names
};

const char *const ${stem}_feature_units[${STEM}_FEATURES] = {
$feature_units
};

const char *const ${stem}_class_names[${STEM}_CLASSES] = {
$class_names
};

$family_names$quantizer""")

_FAMILY_NAMES: Final = Template("""\
const char *const ${stem}_family_names[${STEM}_FAMILIES] = {
$names
};

""")

_RESET: Final = """\
 *     interpreter.Reset();  or the LSTM starts from where the last flow left it
"""


def c_files(stem: str, bundle: Bundle, flatbuffer: bytes, arena: Arena) -> dict[str, bytes]:
    """Write a model as C.

    Args:
        stem: Any text; identifiers and file names begin with what `identifier` makes of it.
        bundle: All that belongs to the model. Its threshold is taken as it is, its own flatbuffer
            is not looked at.
        flatbuffer: The int8 model with every shape fixed, batch 1.
        arena: The memory it needs.

    Returns:
        Contents by file name, a header and a source.

    Raises:
        ConversionError: The model is not int8, has an open shape, or an operator that TensorFlow
            Lite Micro lacks.
        InterpreterError: No interpreter is installed, or the model does not fit the bundle.
    """
    static_graph(flatbuffer)
    calls = resolver_calls(flatbuffer)
    model = interpreter.load(flatbuffer)
    detector = Detector(bundle, model)
    _check_codes(detector, model)
    name = identifier(stem)
    text, headers = quantizer(name, bundle.scaler, bundle.feature_names, model.input)
    families = bundle.families
    common = {"stem": name, "STEM": name.upper(), "name": comment_text(bundle.name)}
    header = _HEADER.substitute(
        common,
        fingerprint=bundle.fingerprint,
        model_bytes=len(flatbuffer),
        arena_bytes=arena.bytes,
        memory=_paragraph(
            f"Flash: {len(flatbuffer)} bytes of model, {table_bytes(bundle.scaler)} of scaler."
            f" Memory: an arena of {arena.bytes} bytes. {arena.how}"
        ),
        calls="\n".join(f" *     resolver.{call}();" for call in calls),
        reset=_RESET if keeps_state(flatbuffer) else "",
        outputs=_paragraph(_outputs(bundle)),
        threshold_rule=_paragraph(f"Threshold {bundle.threshold:.6g}: {bundle.threshold_rule}."),
        feature_table=_feature_table(bundle),
        name_literal=string_literal(bundle.name),
        fingerprint_literal=string_literal(bundle.fingerprint),
        operators=len(calls),
        features=len(bundle.features),
        classes=len(bundle.classes),
        families=len(families),
        threshold=float_literal(bundle.threshold),
        threshold_code=_threshold_code(detector, model.output),
        output_scale=float_literal(model.output.scale),
        output_zero_point=model.output.zero_point,
        family_declaration=f"extern const char *const {name}_family_names"
        f"[{name.upper()}_FAMILIES];\n"
        if families
        else "",
    )
    source = _SOURCE.substitute(
        common,
        includes="\n".join(f"#include <{header}>" for header in headers),
        model=bytes_list(flatbuffer),
        feature_names=strings_list(bundle.feature_names),
        feature_units=strings_list(feature.unit for feature in bundle.features),
        class_names=strings_list(bundle.classes),
        family_names=_FAMILY_NAMES.substitute(common, names=strings_list(families))
        if families
        else "",
        quantizer=text,
    )
    return {f"{name}.h": header.encode("ascii"), f"{name}.c": source.encode("ascii")}


def _check_codes(detector: Detector, model: interpreter.Model) -> None:
    if model.input.dtype != np.int8 or model.output.dtype != np.int8:
        raise ConversionError(
            f"the model takes {model.input.dtype} and gives {model.output.dtype}, and a"
            " microcontroller gets int8; convert it with --int8."
        )
    if detector.bundle.scaler.kind == "quantile" and not detector.bins_are_codes:
        raise ConversionError(
            f"the model's input has scale {model.input.scale:g} and zero point"
            f" {model.input.zero_point} instead of 1/255 and -128, so that bins are not its codes;"
            " convert the run again."
        )


def _threshold_code(detector: Detector, output: Tensor) -> int:
    """The smallest output code that the agent calls an attack; `_NEVER` where none is."""
    codes = np.arange(-128, 128, dtype=np.int8)
    scores = np.clip(output.dequantize(codes), 0.0, 1.0)
    attacks = codes[detector.is_attack(scores)]
    return int(attacks[0]) if len(attacks) else _NEVER


def _feature_table(bundle: Bundle) -> str:
    rows = [
        (str(index), comment_text(feature.name), comment_text(feature.unit))
        for index, feature in enumerate(bundle.features)
    ]
    return "\n".join(" *     {:>3}  {:<30}  {}".format(*row).rstrip() for row in rows)


def _outputs(bundle: Bundle) -> str:
    benign, attack = bundle.classes[0], bundle.classes[-1]
    told = f"Output 0 is the score, from 0 ({benign}) to 1 ({attack})."
    if bundle.families:
        shares = "; ".join(f"{index} {name}" for index, name in enumerate(bundle.families, 1))
        told += f" The others are shares of attack families, if it is an attack: {shares}."
    return f"{told} An output is worth OUTPUT_SCALE * (code - OUTPUT_ZERO_POINT)."


def _paragraph(text: str) -> str:
    lines = textwrap.wrap(
        comment_text(text), width=96, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(f" * {line}" for line in lines)
