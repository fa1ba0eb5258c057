"""The explorer: outcomes and trajectories as one page that opens anywhere, without a network.

Knows how rows become the page's data; how they are looked at stands in `templates/explorer/`. The
page's numbers follow its filters, so its script computes them anew: by the rules of `statistics`
and `selection`, which a test holds it to in a browser.

Nothing that a model, a tool or a file wrote stands in the page as text. The data are compressed and
in base64, of which no letter can end a script, and the page's own script writes them as text alone.
The same rows always give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agent.tasks import Question
from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import write_file
from .markup import render, visible
from .outcomes import Outcome
from .selection import implicit_method
from .viewer import describe_step

# Joined in this order: each may use what stands before it.
_SCRIPTS = (
    "numbers.js", "data.js", "state.js", "filters.js", "controls.js", "summary.js", "matrix.js",
    "panel.js", "start.js",
)  # fmt: skip
_CHUNK = 400_000  # characters of trajectories that one click unpacks: some milliseconds
_METHODS = ("cot", "react", "reflexion")


@dataclass(frozen=True)
class _Row:
    """One episode where it stands in the page: numbers of its question and column."""

    question: int
    column: int
    outcome: Outcome
    trajectory: Trajectory | None


def columns_of(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """The table's columns by label, each one agent under one condition, temperature and seed.

    A column is what `selection` calls an agent of a pool, but may hold several samples of a
    question. Raises FireActError where a sample stands there twice.
    """
    groups: dict[tuple[str, str, float, int], dict[tuple[str, int], Outcome]] = {}
    temperatures: dict[str, set[float]] = {}
    seeds: dict[str, set[int]] = {}
    for o in outcomes:
        group = groups.setdefault((o.agent, o.condition, o.temperature, o.seed), {})
        if (o.question_id, o.sample) in group:
            raise FireActError(
                f"Sample {o.sample} of {o.agent!r} (condition {o.condition!r}, temperature "
                f"{o.temperature:g}, seed {o.seed}) on {o.question_id!r} stands here twice. "
                "Give each file once, and different agents different names."
            )
        group[o.question_id, o.sample] = o
        temperatures.setdefault(o.agent, set()).add(o.temperature)
        seeds.setdefault(o.agent, set()).add(o.seed)
    columns = {}
    for (agent, condition, temperature, seed), group in groups.items():
        parts = [agent]
        parts += [condition] if condition != "normal" else []
        parts += [f"temperature {temperature:g}"] if temperature > min(temperatures[agent]) else []
        parts += [f"seed {seed}"] if len(seeds[agent]) > 1 else []
        columns[visible(", ".join(parts))] = list(group.values())
    return columns


def write_explorer(
    path: str | Path,
    outcomes: Iterable[Outcome],
    trajectories: Iterable[Trajectory] = (),
    questions: Iterable[Question] = (),
    title: str = "Outcomes",
) -> None:
    """Write the page, whole or not at all; see explorer_page."""
    write_file(path, explorer_page(outcomes, trajectories, questions, title))


def explorer_page(
    outcomes: Iterable[Outcome],
    trajectories: Iterable[Trajectory] = (),
    questions: Iterable[Question] = (),
    title: str = "Outcomes",
) -> str:
    """One HTML page of the table and of the trajectories that its rows name.

    `questions` give wording, gold answer and head or tail; without them a trajectory gives the
    first two. Raises FireActError for an empty table, and where no trajectory belongs to a row.
    """
    columns = columns_of(outcomes)
    if not columns:
        raise FireActError("There is nothing to explore: the outcomes table has no rows.")
    by_id = {t.id: t for t in trajectories}
    rows = _rows(columns, by_id)
    if by_id and not any(row.trajectory for row in rows):
        raise FireActError(
            f"None of the {len(by_id)} trajectories belongs to a row: the first is "
            f"{next(iter(by_id))!r}, the first row names {rows[0].outcome.trajectory_id!r}. Give "
            "the file that these outcomes were made from."
        )
    starts = _chunk_starts(rows)
    spans = zip(starts, [*starts[1:], len(rows)], strict=True)
    chunks = [_pack([_steps(row) for row in rows[a:b]]) for a, b in spans] if by_id else []
    table = {
        "title": title,
        "columns": [_column(label, group[0]) for label, group in columns.items()],
        "questions": _questions(rows, {q.id: q for q in questions}),
        "rows": _cells(rows),
        "chunks": starts if by_id else [],
    }
    style, script = _read("page.css"), "\n".join(map(_read, _SCRIPTS))
    # The browser runs what has these hashes and nothing else, and asks no server for anything.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    values = {"style": _own(style), "script": _own(script), "policy": _own(policy)}
    return render("explorer/page.html", title=title, table=_pack(table), chunks=chunks, **values)


def _rows(columns: Mapping[str, list[Outcome]], by_id: Mapping[str, Trajectory]) -> list[_Row]:
    """Every episode, those of one question together: they are looked at together."""
    numbers: dict[str, int] = {}
    rows = [
        _Row(numbers.setdefault(o.question_id, len(numbers)), c, o, by_id.get(o.trajectory_id))
        for c, group in enumerate(columns.values())
        for o in group
    ]
    return sorted(rows, key=lambda row: (row.question, row.column, row.outcome.sample))


def _column(label: str, first: Outcome) -> dict[str, Any]:
    # "hotpotqa react+hotpotqa cot", or "react+cot" where there is one task.
    words = [part.split(" ") for part in first.method_mix.split("+")]
    return {
        "label": label,
        "model": first.model,
        "mix": first.method_mix,
        "provenance": first.provenance,
        # Trained on several methods, it chooses one by itself; so do the authors' agents.
        "chooses": len({part[1 % len(part)] for part in words}) > 1 or words == [["fireact"]],
    }


def _questions(rows: Sequence[_Row], known: Mapping[str, Question]) -> dict[str, list[Any]]:
    first: dict[int, Outcome] = {}
    told: dict[int, Trajectory] = {}
    for row in rows:
        first.setdefault(row.question, row.outcome)
        if row.trajectory:
            told.setdefault(row.question, row.trajectory)
    asked = [known.get(first[n].question_id) for n in range(len(first))]
    texts = [
        q.question if q else told[n].question if n in told else "" for n, q in enumerate(asked)
    ]
    golds = [(q and q.answer) or (told[n].gold if n in told else "") for n, q in enumerate(asked)]
    outcomes = [first[n] for n in range(len(first))]
    return {
        "id": [o.question_id for o in outcomes],
        "task": [o.task for o in outcomes],
        "split": [o.split for o in outcomes],
        "type": [o.type for o in outcomes],
        "popularity": ["" if not q or q.head is None else "head" if q.head else "tail"
                       for q in asked],
        "text": texts,
        "gold": [gold or "" for gold in golds],
    }  # fmt: skip


def _cells(rows: Sequence[_Row]) -> dict[str, list[Any]]:
    """Column by column, as like values compress well next to each other."""
    outcomes = [row.outcome for row in rows]
    return {
        "question": [row.question for row in rows],
        "column": [row.column for row in rows],
        "sample": [o.sample for o in outcomes],
        "correct": [int(o.correct) for o in outcomes],
        "answer": [o.answer for o in outcomes],
        "state": [o.state for o in outcomes],
        "rounds": [o.rounds for o in outcomes],
        "searches": [o.searches for o in outcomes],
        "tokens": [o.prompt_tokens + o.completion_tokens for o in outcomes],
        "usd": [o.usd for o in outcomes],
        "seconds": [round(o.seconds, 3) for o in outcomes],
        "method": [_METHODS.index(_method(row)) for row in rows],
    }


def _method(row: _Row) -> str:
    """What the agent did; a reflection is seen in a trajectory alone."""
    if row.trajectory:
        return implicit_method(row.trajectory)
    return "cot" if row.outcome.rounds <= 1 and row.outcome.searches == 0 else "react"


def _chunk_starts(rows: Sequence[_Row]) -> list[int]:
    """Where a new chunk of trajectories begins; a question is never divided."""
    starts, size = [0], 0
    for number, row in enumerate(rows):
        if size > _CHUNK and row.question != rows[number - 1].question:
            starts.append(number)
            size = 0
        steps = row.trajectory.steps if row.trajectory else ()
        size += sum(len(step.text) + len(step.observation or "") for step in steps)
    return starts


def _steps(row: _Row) -> list[list[tuple[str, str]]] | None:
    if row.trajectory is None:
        return None
    return [describe_step(step, row.trajectory.method) for step in row.trajectory.steps]


def _pack(value: Any) -> str:
    """JSON, zlib, base64: what the page's data.js unpacks."""
    text = json.dumps(_seen(value), ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("utf-8"))).decode("ascii")


def _seen(value: Any) -> Any:
    """The value with every text in it made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {key: _seen(part) for key, part in value.items()}
    return [_seen(part) for part in value] if isinstance(value, list | tuple) else value


def _read(name: str) -> str:
    folder = Path(__file__).with_name("templates") / "explorer"
    return (folder / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _own(text: str) -> Any:
    """Our own text, not to be escaped."""
    from markupsafe import Markup

    return Markup(text)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
