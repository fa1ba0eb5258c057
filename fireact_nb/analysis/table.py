"""Bring your own: outcomes from whatever file holds them, and a file to fill in.

Knows how to tell files apart, and what rows make a pool; each format is read where it is known:
`outcomes` (CSV, Parquet), `foreign` (inspect_ai, lm-eval), `realworld.released` (the authors').
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..agent.tasks import Question
from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import read_json, read_json_lines, read_text
from ..realworld.released import read_released_trajectories
from .foreign import Row, looks_like, read_inspect, read_lm_eval
from .outcomes import QUESTION, Outcome, outcome_of, read_rows
from .pools import Pool

KINDS = (
    "a table (.csv, .csv.gz, .parquet), trajectories or a journal of ours, the authors' released "
    "episodes, an inspect_ai log (.eval, .json), lm-eval's samples_*.jsonl"
)


@dataclass(frozen=True)
class Table:
    """Outcomes with what else their files hold: questions' texts by id, trajectories by id."""

    outcomes: tuple[Outcome, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    trajectories: Mapping[str, Trajectory] = field(default_factory=dict)


def open_tables(paths: Iterable[str | Path]) -> Table:
    """All files' outcomes as one table; "NAME=PATH" calls the file's agent by that name.

    Raises FireActError naming file, line or row, and column or field.
    """
    outcomes: list[Outcome] = []
    texts: dict[str, str] = {}
    trajectories: dict[str, Trajectory] = {}
    for given in paths:
        name, path = _named(given)
        table = open_table(path)
        renamed = (replace(o, agent=name) for o in table.outcomes)
        outcomes += renamed if name else table.outcomes
        texts |= table.texts
        trajectories |= table.trajectories
    return Table(tuple(outcomes), texts, trajectories)


def _named(given: str | Path) -> tuple[str, Path]:
    name, equals, path = str(given).partition("=")
    return (name, Path(path)) if equals and not Path(given).exists() else ("", Path(given))


def open_table(path: str | Path) -> Table:
    """One file's outcomes, whatever of `KINDS` it is; see `open_tables`."""
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz", ".parquet")):
        return _table(read_rows(path))
    if name.endswith(".eval"):
        return _table(read_inspect(path))
    if name.endswith(".json"):
        return _open_json(path)
    if name.endswith((".jsonl", ".journal", ".jsonl.gz")):
        return _open_lines(path)
    raise FireActError(f"{path} is no file that outcomes can be read from. Give {KINDS}.")


def _open_json(path: Path) -> Table:
    value = read_json(path, dict)
    if looks_like(value) == "inspect_ai":
        return _table(read_inspect(path))
    if all(isinstance(entry, dict) and "traj" in entry for entry in value.values()):
        return _table_of(read_released_trajectories(path), path)
    raise FireActError(
        f"{path} is neither an inspect_ai log nor the authors' released episodes. Give {KINDS}."
    )


def _open_lines(path: Path) -> Table:
    number, first = next(read_json_lines(path))
    if {"key", "kind", "value"} <= first.keys():
        return _table_of(_journalled(path), path)
    if {"question_id", "steps"} <= first.keys():
        rows = [(f"{path}, line {n}", row) for n, row in read_json_lines(path)]
        return _table_of([_trajectory(where, row) for where, row in rows], path)
    if looks_like(first) == "lm-eval":
        return _table(read_lm_eval(path))
    raise FireActError(
        f"{path}, line {number} has the fields {', '.join(first)[:80]}: no trajectory, no record "
        f"of a journal and no sample of lm-eval. Give {KINDS}."
    )


def _journalled(path: Path) -> list[Trajectory]:
    """The finished episodes of a journal, read without opening it for writing.

    A last line that a kill cut short is left out, as the journal itself does.
    """
    lines = read_text(path).rstrip("\0\n").split("\n")
    found: dict[str, Trajectory] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError as error:
            if number == len(lines):
                break
            raise FireActError(
                f"{where} is no whole record ({error}). Run the step that wrote the journal once "
                "more: it sets damaged lines aside."
            ) from error
        if record.get("kind") == "trajectory":
            found[str(record.get("key"))] = _trajectory(where, record.get("value"))
    if not found:
        raise FireActError(
            f"{path} is a journal without a finished episode. Let the run go on, or give the file "
            "that it writes at its end."
        )
    return list(found.values())


def _trajectory(where: str, row: Any) -> Trajectory:
    try:
        return Trajectory.from_dict(row)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise FireActError(
            f"{where} is not a trajectory ({error}). Remove the line, or make the file again."
        ) from error


def _table(rows: Sequence[Row]) -> Table:
    return Table(tuple(o for o, _ in rows), {o.question_id: text for o, text in rows if text})


def _table_of(trajectories: Sequence[Trajectory], path: Path) -> Table:
    outcomes = [
        _outcome(t, f"{path}, episode {n}", path.stem) for n, t in enumerate(trajectories, 1)
    ]
    return Table(
        tuple(outcomes),
        {t.question_id: t.question for t in trajectories},
        {t.id: t for t in trajectories},
    )


def _outcome(t: Trajectory, where: str, stem: str) -> Outcome:
    """An episode's row: scored here where the gold answer is known, else as its file says.

    The agent is who wrote it and by which method; of an imported file, the file's name.
    """
    if t.gold is None and t.correct is None:
        raise FireActError(
            f"{where} ({t.question_id}) has neither a gold answer nor a verdict, so it is neither "
            "right nor wrong. Give the outcomes table that was made of it."
        )
    task = t.task or "hotpotqa"
    split = next((p for p in t.question_id.replace("-", ":").split(":")
                  if p in ("train", "dev", "test")), "")  # fmt: skip
    own = t.source and not Path(t.source).suffix.startswith(".json")
    agent = f"{t.source}, {t.method}" if own else stem
    question = Question(t.question_id, t.question, t.gold or "", task, split)
    row = outcome_of(t, question, agent, t.source, t.method, "normal", f"read from {stem}")
    verdict = bool(t.correct)
    return row if t.gold is not None else replace(row, correct=verdict, f1=float(verdict))


# -- from rows to a pool ------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """A pool, and how many questions were filled in as wrong for each agent that lacked some."""

    pool: Pool
    missing: Mapping[str, int]


def pool_of(outcomes: Iterable[Outcome], agents: Sequence[str] = (), asked: int = 0) -> Chosen:
    """The rows of some agents (or all) as a pool; a question that an agent lacks counts as wrong.

    `asked` is how many questions there were, where no agent's rows hold all of them: the authors'
    two files hold 465 and 499 of 500. Raises FireActError for rows of several tasks or conditions,
    for no rows, and for more questions than were asked.
    """
    rows = list(outcomes)
    by_agent: dict[str, list[Outcome]] = {name: [] for name in agents}
    for row in rows:
        if not agents or row.agent in by_agent:
            by_agent.setdefault(row.agent, []).append(row)
    if empty := [name for name, found in by_agent.items() if not found] or not by_agent:
        there = "; ".join(sorted({o.agent for o in rows})) or "none"
        raise FireActError(f"There are no outcomes of {empty}. The agents are: {there}.")
    for column in ("task", "condition", "split"):
        values = {getattr(o, column) for found in by_agent.values() for o in found}
        if len(values) > 1:
            raise FireActError(
                f"The column '{column}' holds {', '.join(sorted(map(repr, values)))}: a pool is of "
                f"one. Keep the rows of one {column}."
            )
    questions = dict.fromkeys(o.question_id for found in by_agent.values() for o in found)
    if asked and asked < len(questions):
        raise FireActError(
            f"{asked} questions were asked, but the rows hold {len(questions)}. Give the number "
            "asked, or the rows of those questions alone."
        )
    extra = [f"question {n + 1} of {asked}" for n in range(len(questions), asked)]
    whole, missing = {}, {}
    for name, found in by_agent.items():
        filled = _fill(found, [*questions, *extra])
        whole[name] = [*found, *filled]
        if filled:
            missing[name] = len(filled)
    return Chosen(whole, missing)


def _fill(rows: Sequence[Outcome], questions: Sequence[str]) -> list[Outcome]:
    """A wrong row for every question that a seed and sample of an agent lacks."""
    there: dict[tuple[int, int], set[str]] = defaultdict(set)
    models: dict[tuple[int, int], Outcome] = {}
    for row in rows:
        there[row.seed, row.sample].add(row.question_id)
        models[row.seed, row.sample] = row
    return [
        replace(
            models[place], question_id=question, correct=False, f1=0.0, answer=None,
            state="failed", rounds=0, searches=0, prompt_tokens=0, completion_tokens=0, usd=0.0,
            seconds=0.0, trajectory_id="", type="",
        )
        for place, known in there.items() for question in questions if question not in known
    ]  # fmt: skip


# -- a file to fill in --------------------------------------------------------------------------

_EXAMPLE = Outcome(
    question_id="q1", task="hotpotqa", split="test", type="bridge", agent="my agent, react",
    model="my model", method_mix="react", condition="normal", seed=0, sample=0, temperature=0.0,
    correct=True, f1=1.0, answer="an answer", state="finished", rounds=3, searches=2,
    prompt_tokens=1200, completion_tokens=90, usd=0.0, seconds=2.5, trajectory_id="",
    provenance="my own run",
)  # fmt: skip


def template() -> str:
    """A CSV to fill in: every column, two agents on two questions, the questions' texts."""
    other = replace(_EXAMPLE, agent="my agent, cot", method_mix="cot", rounds=1, searches=0,
                    prompt_tokens=300, completion_tokens=40, seconds=0.8)  # fmt: skip
    rows = [(row, "Which moon has the planet Vell?") for row in (_EXAMPLE, other)]
    rows += [
        (replace(row, question_id="q2", correct=False, f1=0.0), "Who was born first, Ann or Bo?")
        for row, _ in rows
    ]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*(f.name for f in fields(Outcome)), QUESTION])
    writer.writerows([*astuple(row), text] for row, text in rows)
    return sink.getvalue()
