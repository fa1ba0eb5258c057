"""Bring your own: every kind of file gives the same rows, and what is wrong is named."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import pytest
from rows import OUTCOME, TRAJECTORY, mark

from fireact_nb.agent.journal import Journal
from fireact_nb.agent.trajectory import write_trajectories
from fireact_nb.analysis.foreign import read_inspect, read_lm_eval
from fireact_nb.analysis.outcomes import Outcome, read_outcomes, write_outcomes
from fireact_nb.analysis.selection import oracle_choice
from fireact_nb.analysis.table import open_table, open_tables, pool_of, template
from fireact_nb.errors import FireActError

SCORED = replace(TRAJECTORY, gold="The Cat", correct=False, task="hotpotqa", source="teacher@1a")


def test_tables_come_with_texts_and_may_be_renamed(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(template(), encoding="utf-8")
    table = open_tables([path, f"other={path}"])
    assert [o.agent for o in table.outcomes].count("other") == 4 and len(table.outcomes) == 8
    assert table.texts["q1"].startswith("Which moon") and set(table.texts) == {"q1", "q2"}
    assert read_outcomes(path) == list(open_table(path).outcomes)
    chosen = pool_of(open_table(path).outcomes)
    assert [*chosen.pool] == ["my agent, react", "my agent, cot"] and not chosen.missing
    assert oracle_choice(chosen.pool).value == 0.5
    plain = tmp_path / "plain.csv"
    write_outcomes(plain, [OUTCOME])
    assert open_table(plain).texts == {}


def test_parquet_carries_the_texts_too(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "own.parquet"
    parquet.write_table(pa.Table.from_pylist([asdict(OUTCOME) | {"question": "Who?"}]), path)
    table = open_table(path)
    assert table.outcomes == (OUTCOME,) and table.texts == {"q1": "Who?"}


def test_trajectories_and_journals_are_scored_where_the_gold_is_known(tmp_path):
    lines, record = tmp_path / "run.jsonl", tmp_path / "run.journal"
    write_trajectories(lines, [SCORED])
    with Journal(record) as journal:
        journal.put("c", {"text": "call"})
        journal.put("a", replace(SCORED, answer="dog").to_dict(), "trajectory")
        journal.put("a", SCORED.to_dict(), "trajectory")
    with record.open("ab") as file:
        file.write(b'{"key": "b", "kind": "traj')  # a kill in the middle of a record
    for path in (lines, record):
        table = open_table(path)
        [row] = table.outcomes
        assert (row.agent, row.correct, row.prompt_tokens) == ("teacher@1a, react", False, 70)
        assert table.trajectories[row.trajectory_id] == SCORED and table.texts == {"q1": "Who?"}
    assert record.read_bytes().endswith(b"traj"), "reading mends nothing"
    write_trajectories(lines, [replace(SCORED, gold=None, correct=True)])
    assert open_table(lines).outcomes[0].correct
    write_trajectories(lines, [replace(SCORED, gold=None, correct=None)])
    with pytest.raises(FireActError, match=r"run.jsonl, episode 1 \(q1\) has neither a gold"):
        open_table(lines)
    record.write_bytes(b'{"key": "c", "kind": "call", "value": {}}\n{"key"\n{"key": "d"}\n')
    with pytest.raises(FireActError, match="run.journal, line 2 is no whole record"):
        open_table(record)
    record.write_bytes(b'{"key": "c", "kind": "call", "value": {}}\n')
    with pytest.raises(FireActError, match="without a finished episode"):
        open_table(record)


def test_the_authors_released_episodes(tmp_path):
    def episode(gold, answer):
        turns = ["Who?", f"Thought: t\nAction: finish[{answer}]"]
        roles = ("user", "assistant")
        traj = [{"role": r, "content": c} for r, c in zip(roles, turns, strict=True)]
        return {"gt": gold, "f1": 0, "traj": traj}

    one, two = tmp_path / "gpt.json", tmp_path / "llama.json"
    one.write_text(json.dumps({"7": episode("cat", "the cat")}), encoding="utf-8")
    two.write_text(
        json.dumps({"7": episode("cat", "x"), "9": episode("cat", "x")}), encoding="utf-8"
    )
    table = open_tables([one, two])
    chosen = pool_of(table.outcomes, asked=4)
    assert chosen.missing == {"gpt": 3, "llama": 2}
    assert oracle_choice(chosen.pool).value == 0.25
    assert {len(rows) for rows in chosen.pool.values()} == {4}
    assert {(o.split, o.method_mix) for o in table.outcomes} == {("dev", "fireact")}
    with pytest.raises(FireActError, match="1 questions were asked, but the rows hold 2"):
        pool_of(table.outcomes, asked=1)
    one.write_text('{"a": {"b": 1}}', encoding="utf-8")
    with pytest.raises(FireActError, match="neither an inspect_ai log nor the authors'"):
        open_table(one)


def test_a_pool_is_of_one_task_and_condition_and_its_gaps_are_wrong():
    rows = [mark("q1", True, agent="a"), mark("q2", True, agent="a"), mark("q2", True, agent="b")]
    chosen = pool_of(rows)
    assert chosen.missing == {"b": 1}
    [filled] = [o for o in chosen.pool["b"] if o.question_id == "q1"]
    assert (filled.correct, filled.state, filled.prompt_tokens) == (False, "failed", 0)
    assert [*pool_of(rows, ["b"]).pool] == ["b"]
    for column, value in (("task", "mmlu"), ("condition", "none 0.5"), ("split", "test")):
        with pytest.raises(FireActError, match=f"The column '{column}' holds"):
            pool_of([*rows, replace(rows[0], **{column: value})])
    with pytest.raises(FireActError, match=r"no outcomes of \['c'\]. The agents are: a; b"):
        pool_of(rows, ["c"])


def test_other_files_are_refused_by_name(tmp_path):
    for name, text in (("t.xlsx", "x"), ("t.jsonl", '{"a": 1, "b": 2}')):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(FireActError, match=f"{name}.*Give a table"):
            open_table(tmp_path / name)


# -- inspect_ai ---------------------------------------------------------------------------------


def inspect_log(**change):
    """As inspect_ai 0.3.285 writes it (EvalLog, version 2), cut down to what matters."""
    usage = {"input_tokens": 64, "output_tokens": 2, "total_tokens": 66,
             "input_tokens_cache_read": 10, "reasoning_tokens": 0}  # fmt: skip
    sample = {
        "id": 1, "epoch": 1, "input": "Who?", "target": "Yes",
        "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "x", "function": "search"}]},
            {"role": "tool", "content": "r"}, {"role": "assistant", "content": "Yes"},
        ],
        "output": {"model": "m", "choices": [
            {"message": {"role": "assistant", "content": "Yes"}, "stop_reason": "stop"}]},
        "scores": {"match": {"value": "C", "answer": "Yes", "explanation": "Yes"}},
        "model_usage": {"openai/gpt": usage, "other/judge": usage},
        "total_time": 0.664, "uuid": "G7q", "events": [], "attachments": {},
    }  # fmt: skip
    return {
        "version": 2, "status": "success",
        "eval": {
            "task": "popularity", "model": "openai/gpt", "solver": "react", "created": "2026-01-01",
            "dataset": {"name": "popular", "sample_ids": [1]},
            "model_generate_config": {"temperature": 0.6, "seed": 5}, "config": {"epochs": 1},
        },
        "samples": [sample],
    } | change  # fmt: skip


def write_json(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def changed(**change):
    log = inspect_log()
    log["samples"] = [log["samples"][0] | change]
    return log


def test_an_inspect_log_in_both_its_forms(tmp_path):
    path = write_json(tmp_path / "log.json", inspect_log())
    [(row, text)] = read_inspect(path)
    assert row == Outcome(
        question_id="popular:1", task="popular", split="", type="", agent="openai/gpt, react",
        model="openai/gpt", method_mix="react", condition="normal", seed=5, sample=0,
        temperature=0.6, correct=True, f1=1.0, answer="Yes", state="finished", rounds=2,
        searches=1, prompt_tokens=148, completion_tokens=4, usd=0.0, seconds=0.664,
        trajectory_id="G7q", provenance="inspect_ai, log.json",
    )  # fmt: skip
    assert text == "Who?" and open_table(path).texts == {"popular:1": "Who?"}
    log = inspect_log()
    packed = tmp_path / "log.eval"
    [sample] = log.pop("samples")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", json.dumps(log))
        file.writestr("_journal/start.json", json.dumps(log))
        file.writestr("summaries.json", "[]")
        file.writestr("samples/1_epoch_1.json", json.dumps(sample))
        shell = {k: v for k, v in sample.items() if k not in ("messages", "events")}
        file.writestr("samples/2_epoch_1/sample.json", json.dumps(shell | {"id": 2, "uuid": "H"}))
        file.writestr("samples/2_epoch_1/messages/0.json", "[]")
    first, second = open_table(packed).outcomes
    assert first == replace(row, provenance="inspect_ai, log.eval")
    assert (second.question_id, second.correct, second.rounds) == ("popular:2", True, 0)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"scores": {"match": {"value": "I"}}}, (False, 0.0, "finished")),
        ({"scores": {"match": {"value": 0.5}}}, (False, 0.5, "finished")),
        ({"scores": {"match": {"value": True}}}, (True, 1.0, "finished")),
        ({"scores": {"match": {"value": float("nan")}}}, (False, 0.0, "finished")),
        ({"scores": None, "error": {"message": "m"}}, (False, 0.0, "failed")),
        ({"limit": {"type": "message", "limit": 5}}, (True, 1.0, "out of rounds")),
        ({"limit": {"type": "context", "limit": 5}}, (True, 1.0, "context full")),
        ({"output": {"choices": [{"stop_reason": "content_filter"}]}}, (True, 1.0, "refused")),
    ],
)  # fmt: skip
def test_how_an_inspect_sample_ended(tmp_path, change, seen):
    [(row, _)] = read_inspect(write_json(tmp_path / "log.json", changed(**change)))
    assert (row.correct, row.f1, row.state) == seen


def test_inspect_samples_that_were_never_played_stay_in_the_denominator(tmp_path):
    log = inspect_log()
    log["eval"] |= {"dataset": {"name": "popular", "sample_ids": [1, 2]}, "config": {"epochs": 2}}
    rows = [row for row, _ in read_inspect(write_json(tmp_path / "log.json", log))]
    assert [(r.question_id[-1], r.sample, r.correct, r.state) for r in rows] == [
        ("1", 0, True, "finished"), ("1", 1, False, "failed"),
        ("2", 0, False, "failed"), ("2", 1, False, "failed"),
    ]  # fmt: skip


def test_inspect_inputs_of_several_parts(tmp_path):
    asked = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "attachment://a1"}]},
    ]
    log = changed(input=asked, attachments={"a1": "A long question?"})
    [(_, text)] = read_inspect(write_json(tmp_path / "log.json", log))
    assert text == "A long question?"


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (changed(epoch="one"), "log.json, sample 1, field 'epoch'"),
        (changed(scores={"m": {"value": {}}}), "sample 1, field 'scores.m.value' should be one"),
        (inspect_log(samples=[]), "holds no samples"),
        (inspect_log(samples=[3]), "sample 1 should be a JSON object"),
        (changed(scores=None), "never scored"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_inspect_log_is_named(tmp_path, log, says):
    with pytest.raises(FireActError, match=says):
        read_inspect(write_json(tmp_path / "log.json", log))
    with pytest.raises(FireActError, match="no scorer 'judge', only match"):
        read_inspect(write_json(tmp_path / "log.json", inspect_log()), scorer="judge")


def test_broken_inspect_archives_are_named(tmp_path):
    path = tmp_path / "log.eval"
    path.write_bytes(b"PK no zip")
    with pytest.raises(FireActError, match="log.eval cannot be read as an inspect_ai log"):
        open_table(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", "{")
    with pytest.raises(FireActError, match="log.eval, header.json is not whole JSON"):
        open_table(path)


def test_an_archive_as_inspect_packs_it_today(tmp_path):
    """Zstandard; in Pythons of their own, for what unpacks it changes zipfile for good."""
    path = tmp_path / "log.eval"
    pack = (
        "import sys, zipfile, zipfile_zstd\n"
        "with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_ZSTANDARD) as file:\n"
        "    file.writestr('samples/1_epoch_1.json', sys.argv[2])\n"
        "    file.writestr('header.json', sys.argv[3])\n"
    )
    read = (
        "import sys; from fireact_nb.analysis.foreign import read_inspect; "
        "[(row, text)] = read_inspect(sys.argv[1]); print(row.question_id, row.correct, text)"
    )
    log = inspect_log()
    [sample] = log.pop("samples")
    for code, texts in ((pack, (json.dumps(sample), json.dumps(log))), (read, ())):
        done = subprocess.run(
            [sys.executable, "-c", code, path, *texts], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["popular:1", "True", "Who?"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python unpacks Zstandard itself")
def test_an_archive_that_this_python_cannot_unpack(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zipfile_zstd", None)
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", "{}")
    data = path.read_bytes()
    # The method of packing, in the entry's own header and in the directory: 0 becomes 93.
    for mark_, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(mark_) + place
        data = data[:at] + b"\x5d\x00" + data[at + 2 :]
    path.write_bytes(data)
    with pytest.raises(FireActError, match="Zstandard.*pip install zipfile-zstd"):
        open_table(path)


# -- lm-evaluation-harness ----------------------------------------------------------------------


def lm_sample(**change):
    """As lm-eval 0.4.13 logs a generation (result_schema.py)."""
    return {
        "doc_id": 0, "doc": {"question": "Who?", "answer": "cat"}, "target": "cat",
        "arguments": {"gen_args_0": {
            "arg_0": "Q: Who?\nA:", "arg_1": {"until": ["\n"], "temperature": 0.6}}},
        "resps": [[" cat"]], "filtered_resps": ["cat"], "filter": "strict-match",
        "metrics": ["exact_match", "f1"], "doc_hash": "d", "prompt_hash": "p", "target_hash": "t",
        "exact_match": 1.0, "f1": 0.8,
    } | change  # fmt: skip


def lm_file(tmp_path, *rows):
    path = tmp_path / "org__model" / "samples_my_task_2026-01-02T03-04-05.123456.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_lm_eval_samples(tmp_path):
    path = lm_file(tmp_path, lm_sample(), lm_sample(doc_id=4, exact_match=0.0, f1=0.0))
    table = open_table(path)
    first, second = table.outcomes
    assert (first.agent, first.task, first.question_id) == ("org__model", "my_task", "my_task:0")
    assert (first.correct, first.f1, first.answer, first.temperature) == (True, 0.8, "cat", 0.6)
    assert not second.correct and table.texts == {"my_task:0": "Who?", "my_task:4": "Who?"}
    both = lm_file(tmp_path, lm_sample(), lm_sample(filter="flexible-extract", exact_match=0.0))
    assert [o.agent for o in open_table(both).outcomes] == [
        "org__model, strict-match", "org__model, flexible-extract",
    ]  # fmt: skip


def test_lm_eval_choices_and_older_files(tmp_path):
    choices = lm_sample(
        doc={"ctx": "A cat"}, metrics=["acc", "acc_norm"], acc=1.0, acc_norm=0.0,
        filtered_resps=[["-9.5", "False"], ["-2.25", "True"]],
        arguments={f"gen_args_{n}": {"arg_0": "A cat", "arg_1": " purrs"} for n in range(2)},
    )  # fmt: skip
    [(row, text)] = read_lm_eval(lm_file(tmp_path, choices))
    assert (row.correct, row.answer, row.temperature, text) == (True, "1", 0.0, "A cat")
    assert not read_lm_eval(lm_file(tmp_path, choices), metric="acc_norm")[0][0].correct
    old = {k: v for k, v in lm_sample().items() if k not in ("metrics", "filter", "f1")}
    [(row, _)] = read_lm_eval(lm_file(tmp_path, old))
    assert row.correct and row.f1 == 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"doc_id": "x"}, "line 2, field 'doc_id'"),
        ({"metrics": ["bleu"], "bleu": "high"}, "line 2, field 'bleu' should say"),
        ({"metrics": [], "exact_match": None}, "line 2, field 'exact_match' should say"),
    ],
)
def test_what_is_wrong_with_lm_eval_samples_is_named(tmp_path, change, says):
    with pytest.raises(FireActError, match=says):
        read_lm_eval(lm_file(tmp_path, lm_sample(), lm_sample(**change)))
