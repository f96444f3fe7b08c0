"""What MLflow's pages say of an experiment, a run, a model and its versions, kept in step with what is there.

MLflow shows the first words in its lists as they are, so each text begins with a plain sentence. It takes every line
break for one, and keeps links into its own pages. No column's values, and no reason of a check, which may repeat one,
is ever written here. See docs/decisions/0008-mlflow.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from starterkit.contract import Column, Contract, Lineage, Task, by_treatment
from starterkit.metrics import metrics_for
from starterkit.tracking.queries import MODE, VIEW, describe_experiment, describe_run, look_up
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.verdict import Verdict

if TYPE_CHECKING:
    from starterkit.problem import Problem

# --- The texts, as Markdown.

_FEW = 40
_MODE = f"?{MODE}"
_VIEW = f"&viewStateShareKey={VIEW}"  # the table of runs with the deciding metric
_GAP = " &emsp;"  # MLflow draws tables without any space between the columns, and takes no alignment
_NO_COMMIT = "unknown"  # what a lineage says outside of git


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where MLflow has what is described. `name` is the experiment's and the registered model's alike."""

    address: str
    name: str
    experiment: str = ""

    @property
    def experiment_link(self) -> str:
        return f"[experiment {self.name}](#/experiments/{self.experiment}/runs{_MODE}{_VIEW})"

    @property
    def model_link(self) -> str:
        return f"[registered model {self.name}](#/models/{self.name}{_MODE})"

    def run_link(self, run: str, name: str) -> str:
        return f"[run {_plain(name)}](#/experiments/{self.experiment}/runs/{run}{_MODE})"

    def version_link(self, number: int) -> str:
        return f"[version {number}](#/models/{self.name}/versions/{number}{_MODE})"


UNSTABLE, KEEPS_ROWS = "unstable", "keeps_rows"
"""The run's tags for rows at which its estimator contradicts itself, and for rows that its graph carries."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a run holds.

    `baseline_<metric>` among the metrics is the naive guess's, `model` its exported model.
    """

    lineage: Lineage
    name: str
    holdout_rows: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    model: str = ""
    careful: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is answered, from what, and by what it is judged. `better` says of each metric whether more is better."""

    title: str
    task: Task
    target: Column
    features: Sequence[Column]
    metric: str
    better: Mapping[str, bool]

    @classmethod
    def of(cls, problem: "Problem") -> "Subject":
        return cls(
            title=problem.title,
            task=problem.task,
            target=problem.target,
            features=problem.features,
            metric=problem.deciding_metric.name,
            better={metric.name: metric.greater_is_better for metric in problem.all_metrics},
        )

    @classmethod
    def of_version(cls, contract: Contract, tags: Mapping[str, str]) -> "Subject":
        """As a version and its run's tags tell it, without the project's code."""
        better = {metric.name: metric.greater_is_better for metric in metrics_for(contract.task)}
        metric = tags.get("metric", next(iter(better)))
        return cls(
            title=contract.title,
            task=contract.task,
            target=contract.target,
            features=contract.columns,
            metric=metric,
            better={metric: tags.get("greater_is_better") == "True"} | better,
        )


def experiment_text(subject: Subject, place: Place) -> str:
    """What all runs of an experiment are about."""
    metric = subject.metric
    return _paragraphs(
        _first_words(subject),
        f"Each run trains one estimator and is judged by **{metric}** on rows that are held out for good.",
        f"What came of the runs: the {place.model_link}.",
        _columns(subject),
    )


def run_text(subject: Subject, place: Place, trained: Trained, versions: Sequence[int] = ()) -> str:
    """One training: its data, its figures beside the naive guess's, and how to load what came of it."""
    run = trained.lineage.run
    if versions:
        became = ", ".join(map(place.version_link, versions))
        after = f"It became {became} of the {place.model_link}."
    else:
        step = "register" if trained.model else "export"
        after = f"It is no version yet: `starterkit {step} --run {run}` comes next."
    loaded = f"models:/{trained.model}" if trained.model else ""
    return _paragraphs(
        _in_short(subject, trained),
        _data(trained),
        f"{after} It belongs to the {place.experiment_link}.",
        _scores(subject, trained),
        _loading(place.address, loaded) if loaded else "",
    )


def version_text(
    subject: Subject, place: Place, number: int, trained: Trained | None, verdicts: Iterable[Verdict] | None = None
) -> str:
    """One version: where it comes from, its figures, what the gate said, how to load it."""
    origin = f"It comes from {place.run_link(trained.lineage.run, trained.name)}. " if trained else ""
    return _paragraphs(
        _in_short(subject, trained),
        _data(trained) if trained else "",
        f"{origin}It is a version of the {place.model_link}.",
        _scores(subject, trained) if trained else "",
        _said(number, verdicts),
        _loading(place.address, f"models:/{place.name}/{number}"),
        f"`starterkit lineage {number}` tells where it comes from, `starterkit reproduce {number}` trains it again.",
    )


def model_text(subject: Subject, place: Place, champion: int | None, trained: Trained | None) -> str:
    """A registered model: what it answers, what serves now, how to use it."""
    if champion is None:
        return _paragraphs(
            _first_words(subject), "**No version serves yet.** The gate has passed none.", _columns(subject)
        )
    origin = f", from {place.run_link(trained.lineage.run, trained.name)}" if trained else ""
    return _paragraphs(
        _in_short(subject, trained),
        f"**Serves now: {place.version_link(champion)}**{origin}. The alias `champion` points at it.",
        f"All trainings: the {place.experiment_link}." if place.experiment else "",
        _scores(subject, trained) if trained else "",
        _loading(place.address, f"models:/{place.name}@champion"),
        "`starterkit serve` answers over HTTP with it, `starterkit predict in.csv out.csv` scores a file.",
        _columns(subject),
    )


def _first_words(subject: Subject) -> str:
    target = subject.target
    unit = f" ({_plain(target.unit)})" if target.unit else ""
    return f"{_plain(subject.title)}: {subject.task} of {_plain(target.name)}{unit}."


def _in_short(subject: Subject, trained: Trained | None) -> str:
    """The subject with the deciding figure: a run's page shows three lines until somebody asks for more."""
    figures, metric = trained.metrics if trained else {}, subject.metric
    figure, naive = figures.get(metric), figures.get(f"baseline_{metric}")
    if figure is None or naive is None:
        return _first_words(subject)
    return f"{_first_words(subject)} Holdout {metric} {_number(figure)}, where a naive guess has {_number(naive)}."


def _data(trained: Trained) -> str:
    lineage = trained.lineage
    code = f"commit `{lineage.commit[:10]}`" + (", with changes" if lineage.dirty else "")
    if lineage.commit == _NO_COMMIT:
        code = "in no commit"
    rows = f"{lineage.rows:,} rows of {_plain(lineage.data_source)}, {trained.holdout_rows:,} of them held out"
    careful = f" **Careful:** {_plain(trained.careful)}." if trained.careful else ""
    return f"**Data:** {rows}.{_masked(lineage)} **Stage:** {lineage.stage}. **Code:** {code}.{careful}"


def _masked(lineage: Lineage) -> str:
    """What became of the columns that the stage does not see raw."""
    masked = by_treatment(lineage.policy).items()
    return "".join(f" {words.capitalize()}: {_plain(', '.join(columns))}." for words, columns in masked)


def _scores(subject: Subject, trained: Trained) -> str:
    """The deciding metric first, each beside the naive guess's."""
    deciding = subject.metric
    rows = []
    for name in sorted((name for name in subject.better if name in trained.metrics), key=lambda name: name != deciding):
        better = "more" if subject.better[name] else "less"
        words = f"**{name}** (decides; {better} is better)" if name == deciding else f"{name} ({better} is better)"
        naive = trained.metrics.get(f"baseline_{name}")
        rows.append((words, _number(trained.metrics[name]), "" if naive is None else _number(naive)))
    header = _heading(f"Metrics over {trained.holdout_rows:,} held-out rows")
    return _paragraphs(header, _table(("metric", "model", "naive guess"), rows)) if rows else ""


def _said(number: int, verdicts: Iterable[Verdict] | None) -> str:
    if verdicts is None:
        asking = f"`starterkit promote --version {number}` asks it."
        return _paragraphs(_heading("The gate has not spoken yet"), asking)
    shown = list(verdicts)
    asked = [verdict for verdict in shown if not verdict.off]
    refusals = sum(not verdict.passed for verdict in asked)
    outcome = f"refused by {refusals} of {len(asked)} checks" if refusals else f"passed all {len(asked)} checks"
    rows = []
    for verdict in shown:
        word = verdict.outcome if verdict.passed else f"**{verdict.outcome}**"
        rows.append((word, _plain(verdict.check), _amount(verdict.figure), _amount(verdict.limit)))
    return _paragraphs(
        _heading(f"The gate: {outcome}"),
        f"`starterkit gate --version {number}` tells each one's reason; so does `gate.html` among the run's artifacts.",
        _table(("verdict", "check", "figure", "limit"), rows),
    )


def _columns(subject: Subject) -> str:
    """The inputs in words. Bounds and categories stay out: those of a sensitive column are a person's."""
    rows = [
        (_plain(one.name), one.kind + (f" in {_plain(one.unit)}" if one.unit else ""), _plain(one.description))
        for one in subject.features[:_FEW]
    ]
    more = len(subject.features) - len(rows)
    return _paragraphs(
        _heading("Inputs"), _table(("column", "type", "meaning"), rows), f"… and {more} more." if more else ""
    )


def _loading(address: str, model: str) -> str:
    """As MLflow takes it: no whole number where a column is a float, nor pandas' own texts, unless converted.

    A missing text that is not made empty becomes the word nan or None on the way to the graph.
    """
    lines = (
        "import mlflow",
        f'mlflow.set_tracking_uri("{address}")',
        f'model = mlflow.pyfunc.load_model("{model}")',
        "schema = model.metadata.get_input_schema()",
        "types = dict(zip(schema.input_names(), schema.pandas_types()))",
        'empty = {name: "" for name, kind in types.items() if kind is object}  # a missing text is an empty one',
        "model.predict(rows[list(types)].astype(types).fillna(empty))  # rows as pandas.read_csv gives them",
    )
    over_http = (
        "Over HTTP without the kit: `PANDAS_FUTURE_INFER_STRING=0 mlflow models serve --env-manager local "
        f"-m {model}`; without the variable, JSON with texts gets a 400. "
        'A missing text is `""` there: null, or an empty field of a CSV, would be a word.'
    )
    beyond = "A number beyond the range in which the model is proven stops the call; `starterkit predict` names it."
    return _paragraphs(_heading("How to load it"), "\n".join(("```", *lines, "```")), over_http, beyond)


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _heading(text: str) -> str:
    """MLflow shows headings as plain text, and nothing between a table and what follows."""
    return f"<br>**{text}**"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    spaced = [[*(cell + _GAP for cell in row[:-1]), row[-1]] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (spaced[0], ["---"] * len(header), *spaced[1:]))


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _plain(text: str) -> str:
    """A project's words, with the signs that Markdown would take for its own as entities."""
    marks = {ord(mark): f"&#{ord(mark)};" for mark in "&\\|*_`<>[]@~#"}
    return " ".join(text.split()).translate(marks)


# --- The texts, kept in step with what is there.


class Describer:
    """Reads from MLflow what a page is about, puts it into words, and hands them to MLflow.

    Words follow from what is there. So each call writes them anew, and one that was interrupted is made good by the
    next.
    """

    def __init__(self, subject: Subject, registry: ModelRegistry) -> None:
        self._subject = subject
        self._registry = registry
        self._connection = registry.connection

    def run(self, run: str) -> None:
        """A run, and the experiment to which it belongs."""
        place, trained = self._look_up(run)
        if trained is None:
            return
        self._experiment(place)
        versions = sorted(version.number for version in self._registry.versions() if version.run == run)
        describe_run(self._connection, run, run_text(self._subject, place, trained, versions))

    def version(self, version: Version, verdicts: Iterable[Verdict] | None = None) -> None:
        """A version; `verdicts` are None where the gate was not asked yet."""
        place, trained = self._look_up(version.run)
        self._experiment(place)
        text = version_text(self._subject, place, version.number, trained, verdicts)
        self._registry.describe_version(version, text)

    def model(self) -> None:
        """The registered model, and which version serves now."""
        champion = self._registry.champion()
        place, trained = self._look_up(champion.run if champion else "")
        text = model_text(self._subject, place, champion.number if champion else None, trained)
        self._registry.describe(text, {"task": self._subject.task, "metric": self._subject.metric})

    def _experiment(self, place: Place) -> None:
        """To which all other pages lead."""
        if place.experiment:
            metric, text = self._subject.metric, experiment_text(self._subject, place)
            describe_experiment(self._connection, place.experiment, text, [metric, f"baseline_{metric}"])

    def _look_up(self, run: str) -> tuple[Place, Trained | None]:
        """What a run holds; None where this store does not have it, or where it is not one of the kit's."""
        record = look_up(self._connection, run) if run else None
        place = Place(address=self._connection.name, name=self._registry.model)
        try:
            lineage = Lineage.from_tags(record.tags) if record else None
        except (KeyError, ValueError):
            lineage = None
        if record is None or lineage is None:
            return place, None
        return replace(place, experiment=record.experiment), Trained(
            lineage=lineage,
            name=record.name,
            holdout_rows=int(record.tags.get("holdout_rows", 0)),
            metrics=record.metrics,
            model=record.tags.get("exported_model_id", ""),
            careful="; ".join(record.tags[name] for name in (UNSTABLE, KEEPS_ROWS) if name in record.tags),
        )
