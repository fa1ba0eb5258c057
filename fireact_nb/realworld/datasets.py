"""The real data sets on the hub: which file of which commit, its columns, and our fixed splits.

Knows parquet files and what their rows mean as questions; knows neither prompts nor search tools.
Every revision is pinned: the one place to set another is `DATASETS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .. import hub
from ..agent.tasks import LETTERS, Question
from ..errors import FireActError
from .loaders import ask_options

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A split of ours: rows `skip` to `skip + take` of a file, in the order that its name draws."""

    file: str
    skip: int = 0
    take: int | None = None

    def places(self, count: int) -> list[int]:
        """Which of the file's `count` rows belong to it, in the order in which they are asked."""
        order = random.Random(self.file).sample(range(count), count)
        return order[self.skip :][: self.take]


@dataclass(frozen=True)
class DataSet:
    """A data set of the hub at one commit; `columns` maps each needed one to its Arrow type."""

    task: str
    repo: str
    revision: str
    columns: Mapping[str, str]
    parts: Mapping[str, Part]
    read: Callable[[Row, str, int], Question]


def _hotpotqa(row: Row, split: str, place: int) -> Question:
    return Question(
        f"hotpotqa:{split}:{row['id']}", row["question"], row["answer"], "hotpotqa", split,
        row["type"], meta={"level": row["level"]},
    )  # fmt: skip


def _strategyqa(row: Row, split: str, place: int) -> Question:
    id, answer = f"strategyqa:{split}:{row['qid']}", "yes" if row["answer"] else "no"
    return Question(id, row["question"], answer, "strategyqa", split, "yes/no")


def _bamboogle(row: Row, split: str, place: int) -> Question:
    id = f"bamboogle:{split}:{place}"
    return Question(id, row["Question"], row["Answer"], "bamboogle", split, "bridge")


def _mmlu(row: Row, split: str, place: int) -> Question:
    options = tuple(row["choices"])
    if len(options) != len(LETTERS) or row["answer"] not in range(len(LETTERS)):
        raise FireActError(
            f"Row {place} of MMLU's {split} has {len(options)} choices and the answer "
            f"{row['answer']!r}; it should have four and a number from 0 to 3. Check the revision "
            "in fireact_nb/realworld/datasets.py."
        )
    id = f"mmlu:{split}:{row['subject']}:{place}"
    answer = LETTERS[row["answer"]]
    text = ask_options(row["question"], options)
    return Question(id, text, answer, "mmlu", split, row["subject"], options=options)


# HotpotQA's two settings have the same questions, and other paragraphs beside them.
SETTINGS = ("distractor", "fullwiki")
_CONTEXT = "struct<title: list<string>, sentences: list<list<string>>>"
_HOTPOTQA = {"id": "string", "question": "string", "answer": "string", "type": "string",
             "level": "string", "context": _CONTEXT}  # fmt: skip


def _make_hotpotqa(setting: str) -> DataSet:
    # One of the two training files: 45,000 questions are enough to draw 5,000 from.
    return DataSet(
        "hotpotqa", "hotpotqa/hotpot_qa", "1908d6afbbead072334abe2965f91bd2709910ab", _HOTPOTQA,
        {
            "train": Part(f"{setting}/train-00000-of-00002.parquet", take=5000),
            "dev": Part(f"{setting}/validation-00000-of-00001.parquet", take=500),
            "test": Part(f"{setting}/validation-00000-of-00001.parquet", skip=500, take=1000),
        },
        _hotpotqa,
    )  # fmt: skip


def find_datasets(setting: str = "distractor") -> Mapping[str, DataSet]:
    """The data set of each task, HotpotQA's in one of its `SETTINGS`."""
    if setting not in SETTINGS:
        raise FireActError(f"HotpotQA has no setting {setting!r}. Choose: {', '.join(SETTINGS)}.")
    return {data.task: data for data in (_make_hotpotqa(setting), *_OTHERS)}


_OTHERS = (
    DataSet(
        "strategyqa", "ChilleD/StrategyQA", "705562638fe1d8ca6bb98c66fc8f94d45fda8c83",
        {"qid": "string", "question": "string", "answer": "bool"},
        {
            "train": Part("data/train-00000-of-00001-506370352f622815.parquet", skip=300),
            "dev": Part("data/train-00000-of-00001-506370352f622815.parquet", take=300),
            "test": Part("data/test-00000-of-00001-bae602f3ee37f4ca.parquet"),
        },
        _strategyqa,
    ),
    DataSet(
        "bamboogle", "chiayewken/bamboogle", "5787baaae24a33baee4cf57a4cc743e8a02cd548",
        {"Question": "string", "Answer": "string"},
        {"test": Part("data/test-00000-of-00001-fd9def31e0acf72c.parquet")},
        _bamboogle,
    ),
    # MMLU's own training file holds other data sets; its five examples a subject stand in.
    DataSet(
        "mmlu", "cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe",
        {"question": "string", "subject": "string", "choices": "list<string>", "answer": "int64"},
        {
            "train": Part("all/dev-00000-of-00001.parquet"),
            "dev": Part("all/validation-00000-of-00001.parquet", take=500),
            "test": Part("all/test-00000-of-00001.parquet", take=1000),
        },
        _mmlu,
    ),
)  # fmt: skip


def load_split(task: str, split: str, setting: str = "distractor") -> list[Question]:
    """The questions of a split, fetched at the pinned commit, in an order fixed by a seed.

    Raises FireActError for an unknown split, a file that the hub does not give, and a column that
    is missing or of another type, which it names.
    """
    return list(_load_split(task, split, setting))


@cache
def _load_split(task: str, split: str, setting: str) -> tuple[Question, ...]:
    data = find_datasets(setting).get(task)
    part = data.parts.get(split) if data else None
    if data is None or part is None:
        there = [f"{d.task} {s}" for d in find_datasets(setting).values() for s in d.parts]
        raise FireActError(
            f"There is no split {split!r} of {task!r} here. There are: {', '.join(there)}."
        )
    table = _read(data, part.file, [name for name in data.columns if name != "context"])
    places = part.places(table.num_rows)
    rows = table.take(places).to_pylist()
    return tuple(data.read(row, split, n) for n, row in zip(places, rows, strict=True))


def read_paragraphs(split: str, setting: str = "distractor") -> Iterator[tuple[str, list[str]]]:
    """Title and sentences of every paragraph that comes with a HotpotQA split's questions.

    Those of dev and test come with all of their file, so that a search has more to choose from.
    """
    data = find_datasets(setting)["hotpotqa"]
    part = data.parts[split]
    file = hub.fetch(data.repo, part.file, data.revision, "dataset")
    _check_columns(data, part.file, file)
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as opened:
        wanted = set(part.places(opened.metadata.num_rows)) if split == "train" else None
        place = 0
        # In pieces: the whole of a training file would be two gigabytes.
        for batch in opened.iter_batches(1000, columns=["context"]):
            for row in batch.column(0):
                if wanted is None or place in wanted:
                    context = row.as_py()
                    yield from zip(context["title"], context["sentences"], strict=True)
                place += 1


def _read(data: DataSet, name: str, columns: list[str]) -> Any:
    """The named columns of a file as an Arrow table."""
    file = hub.fetch(data.repo, name, data.revision, "dataset")
    _check_columns(data, name, file)
    from pyarrow import parquet

    return parquet.read_table(file, columns=columns)


def _check_columns(data: DataSet, name: str, file: Any) -> None:
    """Raise FireActError that names the first column which is missing or of another type."""
    where = f"{data.repo}@{data.revision[:8]}, {name}"
    cure = "Check the revision in fireact_nb/realworld/datasets.py."
    try:
        from pyarrow import lib, parquet
    except ImportError as error:
        raise FireActError(
            "The real questions come as parquet files, which pyarrow reads, and it is not "
            "installed. Install it: pip install pyarrow"
        ) from error
    try:
        schema = parquet.read_schema(file)
    except (lib.ArrowException, OSError) as error:
        raise FireActError(
            f"{where} is no whole parquet file ({error}). Delete {file} and run it again."
        ) from error
    for column, kind in data.columns.items():
        if column not in schema.names:
            raise FireActError(
                f"{where} has no column {column!r}; it has: {', '.join(schema.names)}. {cure}"
            )
        found = _spell(schema.field(column).type)
        if found != kind:
            raise FireActError(f"{where}, column {column!r} holds {found}, not {kind}. {cure}")


def _spell(kind: Any) -> str:
    """An Arrow type without its sizes and the names of list items, which differ by who wrote it."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        return f"list<{_spell(kind.value_type)}>"
    if types.is_struct(kind):
        fields = [kind.field(n) for n in range(kind.num_fields)]
        return f"struct<{', '.join(f'{f.name}: {_spell(f.type)}' for f in fields)}>"
    return {"large_string": "string", "int32": "int64", "uint8": "int64"}.get(str(kind), str(kind))
