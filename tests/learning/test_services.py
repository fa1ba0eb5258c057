"""Exports for other trainers: what goes out can be taught there; the rest is counted or named."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from books import BOOKS as PLAYED

from fireact_nb.agent.native import TOOLS
from fireact_nb.agent.trajectory import Step, Trajectory, write_trajectories
from fireact_nb.artifacts import shipped
from fireact_nb.cli import main
from fireact_nb.errors import FireActError
from fireact_nb.learning.checking import check_rows, choose
from fireact_nb.learning.masking import encode
from fireact_nb.learning.recipe import Recipe
from fireact_nb.learning.services import TARGETS, export

BOOKS = [replace(t, answer="Ann") for t in PLAYED]
RECIPE = Recipe(kind="lora", rank=4, alpha=8, epochs=2, learning_rate=1e-5, max_length=200)
LONG = replace(BOOKS[0], question_id="long", steps=(
    Step("Thought: t\nAction: search[a]", "7 " * 300), BOOKS[0].steps[-1]))  # fmt: skip
ODD = {
    "no answer (out of rounds)": replace(BOOKS[0], state="out of rounds", answer=None),
    "a wrong answer": replace(BOOKS[0], correct=False),
    "an empty turn": replace(BOOKS[0], steps=(Step(" ", "x"), BOOKS[0].steps[-1])),
    "no question or no turn": replace(BOOKS[0], steps=()),
}


@pytest.fixture(scope="module")
def student() -> str:
    return str(shipped("student"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("target", TARGETS)
def test_what_teaches_nothing_is_left_out_and_counted(
    target: str, student: str, tmp_path: Path
) -> None:
    done = export(target, [*BOOKS, *ODD.values(), LONG], student, tmp_path, RECIPE)
    counted = dict.fromkeys(ODD, 1)
    if target in ("llamafactory", "trl", "axolotl"):
        counted["over 200 tokens"] = 1
    assert done.left_out == counted
    assert done.rows == len(BOOKS) + (target in ("openai", "together"))
    assert sorted(done.files) == sorted(p.name for p in tmp_path.iterdir())
    assert all(reason in str(done) for reason in counted) and done.command in str(done)


@pytest.mark.parametrize("target", TARGETS)
def test_too_few_are_refused_before_anything_is_written(
    target: str, student: str, tmp_path: Path
) -> None:
    with pytest.raises(FireActError, match="Only 9 .*10 are the least.*1 with a wrong answer"):
        export(target, [*BOOKS[:9], ODD["a wrong answer"]], student, tmp_path, RECIPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "settings", "expected"),
    [
        ("llamafactory", "train.yaml", {"finetuning_type": "lora", "lora_rank": 4, "lora_alpha": 8,
                                        "lora_target": "all", "cutoff_len": 200}),
        ("trl", "sft.yaml", {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "max_length": 200,
                             "assistant_only_loss": True, "bf16": False}),
        ("axolotl", "axolotl.yaml", {"adapter": "lora", "lora_r": 4, "lora_alpha": 8,
                                     "sequence_len": 200, "num_epochs": 2}),
    ],
)  # fmt: skip
def test_settings_are_those_of_the_recipe(
    target: str, settings: str, expected: dict[str, Any], student: str, tmp_path: Path
) -> None:
    export(target, BOOKS, student, tmp_path, RECIPE)
    read = yaml.safe_load((tmp_path / settings).read_text(encoding="utf-8"))
    assert {name: read[name] for name in expected} == expected
    assert read["learning_rate"] == 1e-5 and isinstance(read["learning_rate"], float)
    assert student in read.values()
    export(target, BOOKS, student, tmp_path, replace(RECIPE, kind="qlora"))
    text = (tmp_path / settings).read_text(encoding="utf-8")
    assert {"load_in_4bit: true", "quantization_bit: 4"} & set(text.splitlines())
    export(target, BOOKS, student, tmp_path, replace(RECIPE, kind="full"))
    assert "lora_r" not in (tmp_path / settings).read_text(encoding="utf-8")


def test_llama_factory_gets_our_tokens_to_compare_and_a_program_of_its_own(
    student: str, tokenizer: Any, tmp_path: Path
) -> None:
    export("llamafactory", BOOKS, student, tmp_path, RECIPE)
    expected = json.loads((tmp_path / "expected.json").read_text(encoding="utf-8"))
    data = json.loads((tmp_path / "fireact.json").read_text(encoding="utf-8"))
    assert expected["input_ids"] == [
        list(encode(t, tokenizer).input_ids) for t in BOOKS[: len(expected["input_ids"])]
    ]
    assert [row["messages"][0]["content"] for row in data] == [t.question for t in BOOKS]
    assert expected["pieces"]["first"] == "<|document|>", "once, not before every turn"
    program = (tmp_path / "train.py").read_text(encoding="utf-8")
    assert "fireact_nb" not in program.replace("`fireact-nb", "")
    compile(program, "train.py", "exec")


def test_trl_gets_tool_calls_as_objects_and_openai_as_text(student: str, tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="knows no tools"):
        export("trl", BOOKS, student, tmp_path / "trl", RECIPE, tools=True)
    export("openai", BOOKS, "gpt-4.1-mini", tmp_path, RECIPE, tools=True)
    for row, book in zip(rows(tmp_path / "fireact.jsonl"), BOOKS, strict=True):
        assert row["tools"] == list(TOOLS)
        calls = [c["function"] for m in row["messages"] for c in m.get("tool_calls", [])]
        assert json.loads(calls[-1]["arguments"]) == {"answer": book.answer}
    with pytest.raises(FireActError, match="trl, axolotl or openai"):
        export("llamafactory", BOOKS, student, tmp_path, RECIPE, tools=True)


def test_openai_s_job_is_told_to_have_ended_with_its_dates(tmp_path: Path) -> None:
    told = str(export("openai", BOOKS, "gpt-4.1-mini", tmp_path, RECIPE))
    assert "2027-01-06" in told and "2026-10-23" in told and "fine_tuning.jobs" not in told


def test_unknown_targets_are_named(tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="'unsloth'.*llamafactory, trl"):
        export("unsloth", BOOKS, "student", tmp_path)


def talk(*turns: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": said} | more for role, said in turns]}


ASK, SAY = ("user", "Who?"), ("assistant", "Ann.")
FAULTS = {
    "no assistant at the end": talk(ASK, SAY, ASK),
    "two users": talk(ASK, ASK, SAY),
    "two assistants": talk(ASK, SAY, SAY),
    "an unknown role": talk(ASK, ("narrator", "x"), SAY),
    "a system message within": talk(ASK, SAY, ("system", "x"), SAY),
    "nothing said": talk(ASK, ("assistant", "")),
    "words that are none": talk(ASK, ("assistant", 7)),
    "a weight on a user": talk(ASK, SAY, weight=1),
    "a weight of 2": {"messages": [talk(ASK)["messages"][0],
                                   {"role": "assistant", "content": "A", "weight": 2}]},
    "nothing learnt": {"messages": [talk(ASK)["messages"][0],
                                    {"role": "assistant", "content": "A", "weight": 0}]},
    "too long": talk(ASK, ("assistant", "word " * 70_000)),
    "no messages": {"prompt": "x"},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_that_a_service_would_refuse_are_named(fault: str) -> None:
    good = talk(("system", "Be short."), ASK, SAY)
    check_rows([good] * 10)
    with pytest.raises(FireActError, match="1 of 11 rows .*row 4: "):
        check_rows([*[good] * 3, FAULTS[fault], *[good] * 7])


def test_fewer_rows_than_a_service_takes_are_refused() -> None:
    with pytest.raises(FireActError, match="9 rows.*10"):
        check_rows([talk(ASK, SAY)] * 9)


def test_choosing_keeps_the_order_and_the_one_form() -> None:
    cot = Trajectory("c", "Who?", (Step("Thought: So.\nAnswer: c"),), method="cot", answer="c",
                     meta={"ending": "Observation: Episode finished, reward = 1"})  # fmt: skip
    chosen = choose([*ODD.values(), BOOKS[1], cot])
    assert [t.steps[-1].turn.action for t in chosen.fit] == ["finish", "finish"]
    assert chosen.fit[0] == BOOKS[1] and "ending" not in chosen.fit[1].meta


def test_the_command_writes_what_the_function_does(tmp_path: Path, capsys: Any) -> None:
    played = tmp_path / "played.jsonl"
    write_trajectories(played, [*BOOKS, ODD["a wrong answer"]])
    assert main(["export", "together", str(played), "--model", "maker/model",
                 "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "1 with a wrong answer" in told
    words = shlex.split(told.splitlines()[-1])
    assert words[:3] == ["together", "fine-tuning", "create"] and "maker/model" in words
    assert len(rows(tmp_path / "out" / "fireact.jsonl")) == len(BOOKS)
