"""The whole analysis of a pool, and `fireact-nb select`: what is told, and what is refused."""

from __future__ import annotations

import pytest
from rows import drawn, mark

from fireact_nb import cli
from fireact_nb.agent.trajectory import Step, Trajectory, write_trajectories
from fireact_nb.analysis.outcomes import read_outcomes, write_outcomes
from fireact_nb.analysis.report import analyse, control, render
from fireact_nb.analysis.selection import best_fixed, oracle_choice, pass_at_k

CHANCES = {"know": [0.9] * 20 + [0.1] * 20, "look": [0.2] * 20 + [0.9] * 20}


def test_an_analysis_says_what_its_rooms_say():
    pool = drawn(CHANCES)
    a = analyse(pool)
    assert (a.questions, a.oracle, a.corrected) == (40, oracle_choice(pool), None)
    assert (a.best, a.best_score) == best_fixed(pool) and not a.best_on_dev
    assert sum(s.value for s in a.shares.values()) == pytest.approx(a.oracle.value)
    assert a.cheapest.score == a.oracle
    [other] = a.comparisons
    assert other.p_adjusted == other.test.p and 0 < other.detectable <= 1
    hot = drawn(CHANCES, samples=3, temperature=0.6)
    b = analyse(hot, dev=drawn(CHANCES, draw=1), controls=[control(hot, "know", hot["know"])])
    assert b.best_on_dev and b.cheapest is None
    assert b.best_score.value < b.corrected.value < b.oracle.value
    [tries] = b.controls
    assert tries.fair and tries.tries == 2 and tries.passed == pass_at_k(hot["know"], 2)
    for text in (render(a), render(b)):
        assert "know" in text and "oracle" in text and "nan" not in text


def table(tmp_path, *changes):
    path = tmp_path / "own.csv"
    rows = []
    for change in changes or ({},):
        rows += [o for found in drawn(CHANCES, **change).values() for o in found]
    write_outcomes(path, rows)
    return path


def test_select_prints_the_analysis_of_test_and_chooses_on_dev(tmp_path, capsys):
    path = table(
        tmp_path, {"split": "dev", "draw": 3}, {"split": "test"},
        {"split": "test", "samples": 4, "temperature": 0.6, "draw": 5},
    )  # fmt: skip
    out = tmp_path / "select.txt"
    assert cli.main(["select", str(path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said == out.read_text(encoding="utf-8")
    assert "40 questions, 2 agents" in said and "(chosen on dev)" in said
    assert said.count("pass@2") == 2 and "another temperature than the pool's" in said
    assert cli.main(["select", str(path), "--temperature", "0.6"]) == 0
    said = capsys.readouterr().out
    assert "luck taken out" in said and "another temperature" not in said


def test_select_fills_in_what_is_missing_and_says_so(tmp_path, capsys):
    path = tmp_path / "own.csv"
    write_outcomes(
        path, [mark(f"q{n}", True, agent="a") for n in range(3)] + [mark("q0", True, agent="b")]
    )
    assert cli.main(["select", str(path), f"c={path}", "--agent", "a", "--agent", "b"]) == 0
    said = capsys.readouterr().out
    assert "b: 2 questions missing, counted as wrong" in said
    # A table of dev alone has no other questions to choose on.
    assert "(chosen on these very questions" in said and "cost" in said
    assert cli.main(["select", str(path), "--asked", "6"]) == 0
    assert "a: 3 questions missing" in capsys.readouterr().out


def test_select_with_routers_needs_texts(tmp_path, capsys):
    path = table(tmp_path)
    assert cli.main(["select", str(path), "--routers"]) == 1
    assert "Add a column 'question'" in capsys.readouterr().err
    lines = path.read_text(encoding="utf-8").splitlines()
    words = [
        f"{line},{'film' if int(line[1:4]) < 20 else 'river'} {line[1:4]}?" for line in lines[1:]
    ]
    path.write_text("\n".join([lines[0] + ",question", *words]), encoding="utf-8")
    assert cli.main(["select", str(path), "--routers"]) == 0
    said = capsys.readouterr().out
    assert "routers, nested cross-validation" in said and "the question's words" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (({}, {"task": "mmlu"}), "several tasks: hotpotqa, mmlu. Name one by --task"),
        (({}, {"condition": "none 0.5"}), "several conditions: none 0.5, normal"),
        (({"split": "dev"}, {"split": "train"}), "several splits: dev, train"),
    ],
)
def test_select_asks_which_rows_are_meant(tmp_path, capsys, changes, says):
    assert cli.main(["select", str(table(tmp_path, *changes))]) == 1
    assert says in capsys.readouterr().err


def test_select_names_what_is_not_there(tmp_path, capsys):
    path = table(tmp_path)
    for arguments, says in (
        (["--task", "mmlu"], "no rows of the task 'mmlu', only of: hotpotqa"),
        (["--agent", "who"], "no outcomes of ['who']. The agents are: know; look"),
    ):
        assert cli.main(["select", str(path), *arguments]) == 1
        assert says in capsys.readouterr().err
    assert cli.main(["select", str(tmp_path / "no.csv")]) == 1
    assert "no.csv" in capsys.readouterr().err


def test_the_template_can_be_filled_in(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    assert cli.main(["outcomes", "template"]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["outcomes", "template", "--out", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == printed and len(read_outcomes(path)) == 4
    assert f"fireact-nb select {path}" in capsys.readouterr().out
    assert cli.main(["select", str(path)]) == 0


def test_select_reads_the_method_off_the_episodes(tmp_path, capsys):
    step = Step.of("I know.", "finish", "cat")
    look = (Step.of("I look.", "search", "a", "b"), step)
    rows = [
        Trajectory(f"q{n}", "Who?", (step,) if n < 2 else look, answer="cat",
                   gold="cat" if n % 2 else "dog", task="hotpotqa", source="me@1")
        for n in range(4)
    ]  # fmt: skip
    path = tmp_path / "run.jsonl"
    write_trajectories(path, rows)
    assert cli.main(["select", str(path)]) == 0
    said = capsys.readouterr().out
    assert "cot 50%, 0.500; react 50%, 0.500" in said
    assert "cost" not in said, "these episodes hold no tokens"
