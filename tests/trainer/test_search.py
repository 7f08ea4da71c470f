"""Searches of hyper-parameters: what they try, how they stop, and that they can go on."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.errors import EdgeIdsError, OutputError, RunError
from tests.trainer.parts import part
from trainer.evaluate import best_threshold
from trainer.models.base import FitSettings
from trainer.models.registry import MODELS
from trainer.search import Outcome, SearchResult, search
from trainer.search_space import Dimension, SearchSpace, SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainer.search import Report

CNN = MODELS["cnn-lstm"]

GRID = """
method = "grid"
[space]
learning_rate = [0.001, 0.003]
dropout = { low = 0.0, high = 0.3, step = 0.1 }
lstm_units = [16, 32]
"""

TPE = """
method = "tpe"
trials = 12
epochs = 5
rows = 20000
[space]
learning_rate = { low = 1e-4, high = 1e-1, log = true }
dropout = { low = 0.0, high = 0.5 }
lstm_units = { low = 8, high = 64, step = 8 }
filters = [[8, 16], [16, 32], [32, 64]]
"""


def space(tmp_path: Path, text: str = TPE, **changes: Any) -> SearchSpace:
    path = tmp_path / "space.toml"
    path.write_text(text, encoding="utf-8")
    return SearchSpace.load(path, CNN, "edge", **changes)


def hill(parameters: Mapping[str, object], report: Report | None) -> Outcome:
    """Best at a rate of 0.01, no dropout and 32 units; a better one shows from its first epoch."""
    rate, dropout, units = (parameters[n] for n in ("learning_rate", "dropout", "lstm_units"))
    assert isinstance(rate, float)
    assert isinstance(dropout, float)
    assert isinstance(units, int)
    f1 = 0.95 - 0.1 * abs(math.log10(rate) + 2) - 0.2 * dropout - 0.001 * abs(units - 32)
    for epoch in range(1, 6):
        if report is not None and report(f1 * epoch / 5, epoch):
            return Outcome(f1 * epoch / 5, 1 - f1)
    return Outcome(f1, 1 - f1)


class Killed(BaseException):
    """What ends a process in the midst of a trial."""


def killed_in(number: int) -> Callable[[Mapping[str, object], Report | None], Outcome]:
    """`hill`, but the process dies in the n-th trial that it runs."""
    begun = 0

    def objective(parameters: Mapping[str, object], report: Report | None) -> Outcome:
        nonlocal begun
        begun += 1
        if begun == number:
            raise Killed
        return hill(parameters, report)

    return objective


def untimed(result: SearchResult) -> list[dict[str, Any]]:
    return [trial.to_json() | {"took_s": 0} for trial in result.trials]


def test_a_grid_tries_every_combination_once(tmp_path: Path) -> None:
    grid = space(tmp_path, GRID)
    lines: list[str] = []
    result = search(grid, hill, seed=0, tell=lines.append)
    tried = [tuple(trial.parameters.values()) for trial in result.trials]
    assert tried == [
        (rate, dropout, units)
        for rate in (0.001, 0.003)
        for dropout in (0.0, 0.1, 0.2, 0.3)
        for units in (16, 32)
    ]
    assert result.best == {"learning_rate": 0.003, "dropout": 0.0, "lstm_units": 32}
    assert result.value == max(trial.f1 or 0 for trial in result.trials)
    assert {trial.state for trial in result.trials} == {"finished"}
    assert len(lines) == grid.trials == 16
    assert lines[0] == (
        "search: trial 1 of 16: learning_rate 0.001, dropout 0, lstm_units 16: F1 0.8340"
        " (best 0.8340, trial 1)"
    )


def test_tpe_stays_within_its_ranges_and_gets_better(tmp_path: Path) -> None:
    tpe = space(tmp_path, trials=40)
    result = search(tpe, hill, seed=3)
    assert len(result.trials) == 40
    for trial in result.trials:
        rate, dropout, units, filters = trial.parameters.values()
        assert isinstance(rate, float)
        assert isinstance(dropout, float)
        assert 1e-4 <= rate <= 1e-1
        assert 0 <= dropout <= 0.5
        assert units in range(8, 65, 8)
        assert filters in ((8, 16), (16, 32), (32, 64))
    early = max(t.f1 or 0 for t in result.trials[:6])
    assert result.value is not None
    assert result.value > early
    assert result.value > 0.9


def test_trials_that_fall_behind_are_pruned(tmp_path: Path) -> None:
    result = search(space(tmp_path), hill, seed=3)
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    assert all(len(trial.epochs) < 5 for trial in pruned)
    assert all(trial.number > 4 for trial in pruned)
    assert result.winner not in pruned
    # Not so where the file says no, and not in a grid.
    whole = search(space(tmp_path, TPE.replace("rows", "prune = false\nrows")), hill, seed=3)
    assert {trial.state for trial in whole.trials} == {"finished"}
    assert not any(trial.epochs for trial in whole.trials)


def test_the_seed_decides_what_is_tried(tmp_path: Path) -> None:
    tpe = space(tmp_path)
    first = untimed(search(tpe, hill, seed=3))
    assert untimed(search(tpe, hill, seed=3)) == first
    assert untimed(search(tpe, hill, seed=4)) != first


@pytest.mark.parametrize("text", [TPE, GRID, GRID.replace("[space]", "prune = true\n[space]")])
@pytest.mark.parametrize("kills", [(1,), (2, 1, 3), (9,)])
def test_a_killed_search_goes_on_as_if_nothing_had_been(
    text: str, kills: tuple[int, ...], tmp_path: Path
) -> None:
    searched = space(tmp_path, text)
    wanted = untimed(search(searched, hill, seed=3))
    storage = tmp_path / "work" / "search.jsonl"
    done = 0
    for number in kills:
        with pytest.raises(Killed):
            search(searched, killed_in(number), seed=3, storage=storage)
        done += number - 1
        assert len(storage.read_text().splitlines()) == 1 + done
    # What a kill leaves of the line it was writing does not matter.
    with storage.open("a") as stream:
        stream.write('{"number": 1, "par')
    lines: list[str] = []
    result = search(searched, hill, seed=3, storage=storage, tell=lines.append)
    assert untimed(result) == wanted
    assert len(lines) == len(wanted) - done + (done > 0)
    # And once more, with nothing left to do.
    again = search(searched, killed_in(1), seed=3, storage=storage)
    assert again == result


def test_a_finished_search_can_be_given_more_trials(tmp_path: Path) -> None:
    storage = tmp_path / "search.jsonl"
    few = search(space(tmp_path, trials=5), hill, 3, storage)
    more = search(space(tmp_path, trials=8), hill, 3, storage)
    assert more.trials[:5] == few.trials
    assert len(more.trials) == 8
    assert search(space(tmp_path, trials=5), hill, 3, storage) == few


def test_another_search_does_not_go_on_with_these_trials(tmp_path: Path) -> None:
    storage = tmp_path / "search.jsonl"
    search(space(tmp_path, trials=2), hill, 3, storage)
    before = storage.read_bytes()
    with pytest.raises(SearchSpaceError, match=r"space\.toml: is not the search that .*jsonl"):
        search(space(tmp_path, trials=2), hill, 4, storage)
    with pytest.raises(SearchSpaceError, match="begin anew"):
        search(space(tmp_path, TPE.replace("0.5", "0.4")), hill, 3, storage)
    assert storage.read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: ["nonsense", *lines[1:]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[1].replace('"state"', '"stat"'), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace("finished", "begun"), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace('"filters": [', '"filters": [1, '), *lines[2:]],
        lambda lines: ["7", *lines[1:]],
    ],
)
def test_a_damaged_record_is_refused(
    spoil: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    storage = tmp_path / "search.jsonl"
    search(space(tmp_path, trials=3), hill, 3, storage)
    storage.write_text("\n".join([*spoil(storage.read_text().splitlines()), ""]))
    with pytest.raises(EdgeIdsError, match=r"search\.jsonl") as caught:
        search(space(tmp_path, trials=3), hill, 3, storage)
    assert isinstance(caught.value, RunError | SearchSpaceError)


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        search(space(tmp_path), hill, 0, tmp_path / "file" / "search.jsonl")


def test_stopping_keeps_whole_trials_only(tmp_path: Path) -> None:
    storage = tmp_path / "search.jsonl"
    begun: list[object] = []

    def objective(parameters: Mapping[str, object], report: Report | None) -> Outcome:
        begun.append(parameters)
        return hill(parameters, report)

    result = search(space(tmp_path), objective, 3, storage, stopping=lambda: len(begun) == 4)
    assert len(begun) == 4
    assert len(result.trials) == 3
    assert result.value is not None
    assert len(storage.read_text().splitlines()) == 4
    nothing = search(space(tmp_path), objective, 3, stopping=lambda: True)
    assert (nothing.best, nothing.value, nothing.trials) == ({}, None, ())


def test_a_trial_that_diverges_does_not_win(tmp_path: Path) -> None:
    def objective(parameters: Mapping[str, object], report: Report | None) -> Outcome:
        if parameters["lstm_units"] == 32:
            return Outcome(math.nan, math.nan)
        return hill(parameters, report)

    storage = tmp_path / "search.jsonl"
    grid = space(tmp_path, GRID)
    result = search(grid, objective, 0, storage)
    assert result.best["lstm_units"] == 16
    assert sum(trial.state == "failed" for trial in result.trials) == 8
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["best_trial"] == 9
    assert search(grid, objective, 0, storage) == result
    nothing = search(grid, lambda *_: Outcome(math.inf), 0)
    assert (nothing.best, nothing.value) == ({}, None)


def test_the_lower_loss_decides_between_equal_f1s(tmp_path: Path) -> None:
    losses = iter([0.3, 0.2, 0.2, None])
    grid = space(tmp_path, 'method = "grid"\n[space]\nkernel = [3, 5, 7, 9]\n')
    result = search(grid, lambda *_: Outcome(0.9, next(losses)), 0)
    assert result.best == {"kernel": 5}


def test_equal_proposals_are_not_trained_twice(tmp_path: Path) -> None:
    begun: list[object] = []

    def objective(parameters: Mapping[str, object], report: Report | None) -> Outcome:
        assert report is not None
        begun.append(parameters["kernel"])
        return Outcome(0.9)

    few = space(tmp_path, 'method = "tpe"\ntrials = 9\n[space]\nkernel = [3, 5, 7]\n')
    result = search(few, objective, 0)
    assert len(result.trials) == 9
    assert len(begun) == len(set(begun)) <= 3


def test_what_metrics_json_gets(tmp_path: Path) -> None:
    result = search(space(tmp_path, trials=3), hill, 3)
    facts = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert facts["method"] == "tpe"
    assert (facts["trials"], facts["epochs"], facts["rows"]) == (3, 5, 20000)
    assert facts["space"]["lstm_units"] == {"low": 8, "high": 64, "step": 8}
    assert facts["space"]["learning_rate"] == {"low": 1e-4, "high": 1e-1, "log": True}
    assert facts["space"]["filters"] == [[8, 16], [16, 32], [32, 64]]
    assert [trial["number"] for trial in facts["done"]] == [1, 2, 3]
    best = facts["done"][facts["best_trial"] - 1]
    assert best["f1"] == facts["f1"] == result.value
    assert best["parameters"] == facts["best"]
    assert result.best["filters"] == tuple(facts["best"]["filters"])


def test_what_wins_is_what_the_model_takes(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        'method = "grid"\n[space]\ncomponents = [60]\nregularisation = [100, 1e-4]\ngamma = [0.3]\n'
    )
    kind = MODELS["svm"]
    train, validation = part(600, 1), part(200, 2)

    def objective(parameters: Mapping[str, object], _: Report | None) -> Outcome:
        model = kind.make(FitSettings("kernel", 1, 64, seed=0, tuning=parameters))
        model.fit(train, validation)
        return Outcome(best_threshold(model.scores(validation), validation.target).f1)

    result = search(SearchSpace.load(path, kind, "kernel"), objective, 0)
    assert result.best["regularisation"] == 1e-4
    with pytest.raises(SearchSpaceError, match=r"space\.components: is not known of svm:linear; "):
        SearchSpace.load(path, kind, "linear")


REFUSED = [
    ("method =", "is not TOML"),
    ("", "method: None is no method"),
    ('method = "random"', 'method: \'random\' is no method; write "grid" or "tpe"'),
    ('method = "grid"', "space: there is nothing to search; add a table .space. of .*dropout"),
    ('method = "grid"\nspace = 3', "space: there is nothing to search"),
    ('method = "grid"\nepoch = 3\n[space]\nkernel = [3]', "epoch: is not known; there are method"),
    ('method = "grid"\nepochs = 0\n[space]\nkernel = [3]', "epochs: 0 is not a whole number"),
    ('method = "grid"\nrows = 1.5\n[space]\nkernel = [3]', "rows: 1.5 is not a whole number"),
    ('method = "grid"\ntrials = 3\n[space]\nkernel = [3]', "trials: a grid tries every"),
    ('method = "tpe"\ntrials = true\n[space]\nkernel = [3]', "trials: True is not a whole"),
    ('method = "tpe"\nprune = 1\n[space]\nkernel = [3]', "prune: 1 is not true or false"),
    (
        'method = "grid"\n[space]\nkernels = [3]',
        "space.kernels: is not known of cnn-lstm:edge; there are learning_rate, .*kernel",
    ),
    ('method = "grid"\n[space]\nkernel = []', "space.kernel: there are no choices"),
    ('method = "grid"\n[space]\nkernel = 3', "space.kernel: 3 is neither choices nor a range"),
    ('method = "grid"\n[space]\nkernel = [3, 3]', "space.kernel: a choice is there twice"),
    ('method = "grid"\n[space]\nkernel = ["a"]', "space.kernel: 'a' is not a whole number"),
    ('method = "grid"\n[space]\nkernel = [true]', "space.kernel: true is not a whole number"),
    ('method = "grid"\n[space]\nkernel = [2.0]', "space.kernel: 2.0 is not a whole number"),
    ('method = "grid"\n[space]\ndropout = [0.5, 1.5]', "space.dropout: 1.5 is not within 0 to"),
    ('method = "grid"\n[space]\nfilters = [16, 32]', "space.filters: its choices are lists"),
    ('method = "grid"\n[space]\nfilters = [[]]', "space.filters: .. is not a list"),
    ('method = "grid"\n[space]\nfilters = [[8]]', r"space.filters: \[8\] is not 2 numbers; write"),
    (
        'method = "grid"\n[space]\nfilters = { low = 1, high = 2 }',
        "space.filters: a list of numbers has no range",
    ),
    (
        'method = "grid"\n[space]\ndropout = { low = 0.1, high = 0.2 }',
        "space.dropout: a grid needs to know which values",
    ),
    ('method = "tpe"\n[space]\ndropout = { low = 0.1 }', "space.dropout: the range has no 'high'"),
    ('method = "tpe"\n[space]\ndropout = { low = 0.1, hi = 0.2 }', "space.dropout.hi: is not"),
    (
        'method = "tpe"\n[space]\ndropout = { low = 0.4, high = 0.1 }',
        "space.dropout: low 0.4 is not below high 0.1; exchange them",
    ),
    (
        'method = "tpe"\n[space]\ndropout = { low = 0, high = 0.1, log = true }',
        "space.dropout: a logarithmic range begins above 0",
    ),
    (
        'method = "tpe"\n[space]\ndropout = { low = 0, high = 0.1, log = 1 }',
        "space.dropout: log 1 is not true or false",
    ),
    (
        'method = "grid"\n[space]\ndropout = { low = 0, high = 0.1, step = 0 }',
        "space.dropout: step 0 does not fit the range",
    ),
    (
        'method = "grid"\n[space]\nkernel = { low = 1, high = 9, step = 0.5 }',
        "space.kernel: step 0.5 is not a whole number",
    ),
    (
        'method = "grid"\n[space]\ndropout = { low = 0, high = 0.5, step = 1e-12 }',
        "space: the grid has 500,000,000,001 combinations, more than 500; name fewer",
    ),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_spaces_that_make_no_sense_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SearchSpaceError, match=problem) as caught:
        space(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "space.toml"))
    assert message.endswith(".")


def test_a_space_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchSpaceError, match=r"none\.toml: cannot be read \(No such file"):
        SearchSpace.load(tmp_path / "none.toml", CNN)
    (tmp_path / "latin.toml").write_bytes(b'method = "\xe9"')
    with pytest.raises(SearchSpaceError, match="is not TOML"):
        SearchSpace.load(tmp_path / "latin.toml", CNN)


def test_a_grid_takes_no_number_of_trials(tmp_path: Path) -> None:
    with pytest.raises(SearchSpaceError, match="a grid tries every combination; leave it out"):
        space(tmp_path, GRID, trials=3)


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 7))
def test_whole_steps_reach_what_range_reaches(low: int, span: int, step: int) -> None:
    dimension = Dimension("x", low=low, high=low + span, step=step, whole=True)
    assert list(dimension.values()) == list(range(low, low + span + 1, step))
    assert dimension.count == len(dimension.values())


@given(st.integers(1, 400), st.integers(1, 3))
def test_decimal_steps_end_where_a_person_ends_them(count: int, digits: int) -> None:
    step = 10.0**-digits
    dimension = Dimension("x", low=0.0, high=count * step, step=step)
    assert dimension.values() == tuple(float(f"{n / 10**digits:.12g}") for n in range(count + 1))


def test_the_example_is_a_space_of_its_model() -> None:
    from pathlib import Path

    import trainer

    folder = Path(trainer.__file__).parent / "spaces"
    names = {path.stem for path in folder.glob("*.toml")}
    assert names
    for name in names:
        model = next(kind for kind in MODELS.values() if name.startswith(kind.name))
        assert SearchSpace.load(folder / f"{name}.toml", model, (*model.sizes, "")[0]).trials > 1
