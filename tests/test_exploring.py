"""`fireact-nb explore`: a page from files, and one paragraph for what is wrong with them."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import pytest
from rows import OUTCOME, TRAJECTORY

from fireact_nb import cli
from fireact_nb.agent.trajectory import write_trajectories
from fireact_nb.analysis.outcomes import write_outcomes
from fireact_nb.cli.exploring import shipped_questions


def test_a_page_is_written_from_tables_and_trajectories(tmp_path: Path, capsys) -> None:
    write_outcomes(tmp_path / "o.csv", [OUTCOME])
    write_trajectories(tmp_path / "t.jsonl", [TRAJECTORY])
    files = [str(tmp_path / name) for name in ("o.csv", "t.jsonl", "page.html")]
    assert cli.main(["explore", files[0], "--trajectories", files[1], "--out", files[2]]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>o.csv</title>" in page and 'id="chunk0"' in page
    assert "page.html in a browser" in capsys.readouterr().out


def test_trajectories_alone_are_enough_and_bring_their_questions(tmp_path: Path) -> None:
    scored = TRAJECTORY.from_dict({**TRAJECTORY.to_dict(), "gold": "The Cat"})
    write_trajectories(tmp_path / "t.jsonl", [scored])
    page = tmp_path / "page.html"
    assert cli.main(["explore", f"Ann={tmp_path / 't.jsonl'}", "--out", str(page)]) == 0
    packed = re.search(r'id="table">([^<]*)<', page.read_text(encoding="utf-8"))[1]
    table = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert table["columns"][0]["label"] == "Ann" and table["chunks"] == [0]
    assert (table["questions"]["text"], table["questions"]["gold"]) == (["Who?"], ["The Cat"])


@pytest.mark.parametrize(
    ("files", "said"),
    [(["gone.csv"], "gone.csv"), (["o.csv", "--trajectories", "t.jsonl"], "None of the 1 trajec")],
)
def test_what_is_wrong_is_said_and_nothing_written(files, said, tmp_path: Path, capsys) -> None:
    write_outcomes(tmp_path / "o.csv", [OUTCOME])
    strange = [TRAJECTORY.from_dict({**TRAJECTORY.to_dict(), "source": "another"})]
    write_trajectories(tmp_path / "t.jsonl", strange)
    given = [name if name.startswith("--") else str(tmp_path / name) for name in files]
    assert cli.main(["explore", *given, "--out", str(tmp_path / "page.html")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "page.html").exists()


def test_the_shipped_worlds_questions_are_found_and_others_are_no_error() -> None:
    found = shipped_questions([("hotpotqa", "test"), ("hotpotqa", "nowhere"), ("triviaqa", "dev")])
    assert {(q.task, q.split) for q in found} == {("hotpotqa", "test")}
    assert {q.head for q in found} == {True, False}
