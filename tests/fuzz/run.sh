#!/bin/bash
# Fuzzes the compiled meter, and the compiled indexes of captures and of rings.
#
#   tests/fuzz/run.sh [SECONDS]   each harness for so long; a minute unless told
#   tests/fuzz/run.sh runs=N      each harness so often
#   tests/fuzz/run.sh merge       puts what was found into the corpus, minimised
#   tests/fuzz/run.sh coverage    which lines of edge_agent/native the corpus reaches
#   tests/fuzz/run.sh memcheck    the corpus under valgrind: reads of what was never written
#
# Needs clang, with llvm for `coverage` and valgrind for `memcheck`. Another clang: CLANG=clang-16.
# A finding ends the run; its input is kept in build/fuzz/findings. To look at it again:
# build/fuzz/packets build/fuzz/findings/packets-crash-...
set -euo pipefail
cd "$(dirname "$0")/../.."

CLANG=${CLANG:-clang}
BUILD=build/fuzz
CORPUS=tests/fuzz/corpus
HARNESSES="packets captures rings"
# Longer inputs only say the same again, slower.
MAX_LENGTH=${MAX_LENGTH:-2048}
FLAGS="-std=c11 -g -Wall -Wextra -Iedge_agent/native"
SANITIZERS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
# Watching comparisons halves the speed, mostly for the sanitizers' own; seeds know the magic numbers.
WATCH="-fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp"

need() {
    command -v "$1" > /dev/null || {
        echo "$1 is not installed; on Debian: apt-get install $2" >&2
        exit 1
    }
}

# Only the code under test is watched for coverage: branches of the checks say nothing about it.
build_fuzzers() {
    need "$CLANG" clang
    mkdir -p "$BUILD/objects"
    local file harness
    for file in edge_agent/native/*.c; do
        # shellcheck disable=SC2086
        "$CLANG" $FLAGS -O2 $SANITIZERS $WATCH -c "$file" -o "$BUILD/objects/$(basename "$file" .c).o"
    done
    for harness in $HARNESSES; do
        # shellcheck disable=SC2086
        "$CLANG" $FLAGS -O2 $SANITIZERS -fsanitize=fuzzer "tests/fuzz/$harness.c" \
            tests/fuzz/checking.c "$BUILD"/objects/*.o -lm -o "$BUILD/$harness"
    done
}

# Builds the programs that replay the corpus: build_replays SUFFIX FLAG...
build_replays() {
    need "$CLANG" clang
    mkdir -p "$BUILD"
    local suffix=$1 harness
    shift
    for harness in $HARNESSES; do
        # shellcheck disable=SC2086
        "$CLANG" $FLAGS "$@" "tests/fuzz/$harness.c" tests/fuzz/checking.c tests/fuzz/replay.c \
            edge_agent/native/*.c -lm -o "$BUILD/$harness-$suffix"
    done
}

fuzz() {
    build_fuzzers
    mkdir -p "$BUILD/findings"
    local harness
    for harness in $HARNESSES; do
        mkdir -p "$BUILD/found-$harness"
        # A small quarantine: what is freed here is not kept for long, and caches stay warm.
        ASAN_OPTIONS=quarantine_size_mb=4 "$BUILD/$harness" "$1" -max_len=$MAX_LENGTH -timeout=10 \
            -print_final_stats=1 -artifact_prefix="$BUILD/findings/$harness-" \
            "$BUILD/found-$harness" "$CORPUS/$harness"
    done
}

merge() {
    build_fuzzers
    local harness counters
    for harness in $HARNESSES; do
        # How often a line ran is a difference worth a file once: of the meter, in `packets`.
        counters=$([ "$harness" = packets ] && echo 1 || echo 0)
        rm -rf "$BUILD/merged"
        mkdir -p "$BUILD/merged" "$BUILD/found-$harness" "$CORPUS/$harness"
        "$BUILD/$harness" -set_cover_merge=1 -use_counters="$counters" \
            -max_len=$MAX_LENGTH "$BUILD/merged" \
            "$CORPUS/$harness" "$BUILD/found-$harness"
        # Made by hand, see seeds.py: what they are for is no difference in coverage.
        find "$CORPUS/$harness" -name 'cut-*' -exec cp -t "$BUILD/merged" {} +
        rm -rf "${CORPUS:?}/$harness"
        mv "$BUILD/merged" "$CORPUS/$harness"
    done
    du -sh --apparent-size "$CORPUS"
}

coverage() {
    need llvm-profdata llvm
    build_replays coverage -O1 -fprofile-instr-generate -fcoverage-mapping
    local harness
    for harness in $HARNESSES; do
        LLVM_PROFILE_FILE="$BUILD/$harness.profraw" \
            "$BUILD/$harness-coverage" "$CORPUS/$harness"/* 2> "$BUILD/$harness.log"
    done
    llvm-profdata merge -o "$BUILD/all.profdata" "$BUILD"/*.profraw
    llvm-cov report "$BUILD/packets-coverage" -object "$BUILD/captures-coverage" \
        -object "$BUILD/rings-coverage" -instr-profile="$BUILD/all.profdata" edge_agent/native
}

memcheck() {
    need valgrind valgrind
    # Older valgrinds cannot read the debug information that clang writes unless told.
    build_replays memcheck -O1 -gdwarf-4
    local harness
    for harness in $HARNESSES; do
        valgrind --quiet --error-exitcode=1 --leak-check=full --track-origins=yes \
            "$BUILD/$harness-memcheck" "$CORPUS/$harness"/* 2> "$BUILD/$harness.log" || {
            cat "$BUILD/$harness.log" >&2
            exit 1
        }
        echo "$harness: valgrind found nothing"
    done
}

case ${1:-60} in
    merge | coverage | memcheck) "$1" ;;
    runs=*) fuzz "-$1" ;;
    *[!0-9]*)
        sed -n '2,/^set/{/^#/p}' "$0" >&2
        exit 2
        ;;
    *) fuzz "-max_total_time=${1:-60}" ;;
esac
