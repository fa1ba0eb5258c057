"""Sources of trajectories: their names, their files, and what of them may be trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from stories import STORIES

from fireact_nb.agent.sources import Source, load_source
from fireact_nb.agent.trajectory import write_trajectories

SOLVED = ["t0", "t1", "t2", "t3"]


@pytest.mark.parametrize(
    ("source", "name", "artifact", "ids"),
    [
        (Source("hotpotqa", "react"), "hotpotqa react", "teacher_hotpotqa_react", SOLVED),
        (Source("mmlu", "cot"), "mmlu cot", "teacher_mmlu_cot", SOLVED),
        (Source("hotpotqa", "react", filtered=False), "hotpotqa react unfiltered",
         "teacher_hotpotqa_react", [f"t{n}" for n in range(6)]),
        # Rescued at or after the reflection.
        (Source("hotpotqa", "reflexion"), "hotpotqa reflexion", "teacher_hotpotqa_reflexion",
         ["t2", "t3"]),
    ],
)  # fmt: skip
def test_a_source_has_a_name_a_file_and_a_filter(source, name, artifact, ids, tmp_path):
    assert (source.name, source.artifact) == (name, artifact)
    assert [t.question_id for t in source.select(iter(STORIES))] == ids
    write_trajectories(tmp_path / f"{artifact}.jsonl.gz", STORIES)

    def find(artifact: str) -> Path:
        return tmp_path / f"{artifact}.jsonl.gz"

    assert load_source(source, find) == source.select(STORIES)
