"""What the user asked for, and what that means for the data at hand."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.contract.features import CATEGORICAL, FEATURE_SETS
from trainer.datasets.cleaning import CleaningSettings
from trainer.datasets.sources import CAPTURE_PROFILE, Source, feature_set, find_files, plan
from trainer.experiment import Choice
from trainer.folder import check_free
from trainer.leaks import leaky
from trainer.search_space import SearchSpace
from trainer.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; see `edge-train --help`.

    Attributes:
        splits: The first one's models are kept, the others are measured only.
        max_far: False-alarm rate that the threshold may have on validation rows; None: best F1.
    """

    data: tuple[str, ...]
    output: Path
    labels: tuple[str, ...] = ()
    profile: str | None = None
    features: str | None = None
    one_hot: bool = False
    models: tuple[str, ...] = ("cnn-lstm",)
    scaler: str = "quantile"
    splits: tuple[str, ...] = ("dedup",)
    group_by: str = "auto"
    attempted: str = "drop"
    test_data: tuple[str, ...] = ()
    test_labels: tuple[str, ...] = ()
    ablation: bool = False
    epochs: int = 20
    batch_size: int = 256
    loss: str = "weighted"
    families: bool = True
    max_far: float | None = None
    flows_per_hour: float = Traffic().flows_per_hour
    search: Path | None = None
    seed: int = 0
    force: bool = False
    resume: bool = False


# What says where a run lies, or how it is begun, but not what comes out.
_PLACES: Final = frozenset({"output", "force", "resume"})


@dataclass(frozen=True, slots=True)
class Task:
    """Options that were held against the data.

    Attributes:
        options: As the user gave them.
        choices: The models.
        sources, test_sources: The files, all of one layout; the second to be measured on only.
        profile, features: Names of the flow profile and of the feature set.
        names: Feature columns in model order.
        space: Where to search the first model's hyper-parameters; None: nowhere.
    """

    options: Options
    choices: tuple[Choice, ...]
    sources: tuple[Source, ...]
    test_sources: tuple[Source, ...]
    profile: str
    features: str
    names: tuple[str, ...]
    space: SearchSpace | None

    @property
    def cleaning(self) -> CleaningSettings:
        """What to do with doubtful rows."""
        return CleaningSettings(attempted=self.options.attempted)

    @property
    def by_campaign(self) -> bool:
        """Whether campaigns count alike, not rows: in recordings for live detection."""
        return self.profile == CAPTURE_PROFILE

    @property
    def leaky(self) -> tuple[str, ...]:
        """Those of the columns that say who attacked: ports, windows, header sizes."""
        return leaky(self.profile, self.names)

    def plan(self) -> dict[str, Any]:
        """What decides the run's result, for telling whether an unfinished run is this one."""
        facts = {name: value for name, value in asdict(self.options).items() if name not in _PLACES}
        facts["search"] = self.options.search and self.options.search.read_text(encoding="utf-8")
        facts["files"] = [
            [str(source.path), source.path.stat().st_size]
            for source in (*self.sources, *self.test_sources)
        ]
        return facts


def prepare(options: Options) -> Task:
    """Find out what the data are, from their first lines.

    Raises:
        TableError: The data do not fit together.
        SearchSpaceError: The search space cannot be used.
        OutputError: The output is not free.
        ValueError: The feature set is of another profile, or a model is not known.
    """
    check_free(options.output, force=options.force, resume=options.resume)
    choices = tuple(Choice.of(text) for text in dict.fromkeys(options.models))
    sources = plan(find_files(options.data), options.labels, options.profile)
    profile = sources[0].layout.profile
    tests: list[Source] = []
    if options.test_data:
        tests = plan(find_files(options.test_data), options.test_labels, profile)
    features = feature_set(profile, options.features)
    names = FEATURE_SETS[features][1]
    return Task(
        options=options,
        choices=choices,
        sources=tuple(sources),
        test_sources=tuple(tests),
        profile=profile,
        features=features,
        names=(*names, *(feature.name for feature in CATEGORICAL)) if options.one_hot else names,
        space=SearchSpace.load(options.search, choices[0].kind, choices[0].size)
        if options.search
        else None,
    )
