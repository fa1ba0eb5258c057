"""The pages around the notebooks: complete, true to the series, and their arithmetic holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fireact_nb.artifacts import ROOT
from fireact_nb.course.series import NOTEBOOKS, sources
from fireact_nb.files import read_json

PAGES = {name: (NOTEBOOKS / name).read_text(encoding="utf-8")
         for name in ("README.md", "GLOSSARY.md", "INSTRUCTOR.md")}  # fmt: skip
PAGES["/README.md"] = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    folder = ROOT if name.startswith("/") else NOTEBOOKS
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[name])
    assert links or name == "GLOSSARY.md"
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("source", sources(), ids=lambda s: s.stem)
def test_every_notebook_stands_on_both_maps(source: Path) -> None:
    assert f"]({source.stem}.ipynb)" in PAGES["README.md"]
    assert f"](notebooks/{source.stem}.ipynb)" in PAGES["/README.md"]
    assert f">{source.stem[:2]}</text>" in (NOTEBOOKS / "map.svg").read_text(encoding="utf-8")


def test_the_readme_tells_the_times_that_were_measured() -> None:
    seconds = read_json(NOTEBOOKS / "times.json", dict)["seconds"]
    assert seconds.keys() == {s.stem for s in sources()}
    for stem, took in seconds.items():
        line = next(x for x in PAGES["/README.md"].splitlines() if f"/{stem}.ipynb" in x)
        assert line.endswith(f"| {took:.0f} |"), f"{stem} took {took:.0f} s: {line}"


def test_the_three_hours_are_three_hours_without_a_gap() -> None:
    plan = PAGES["INSTRUCTOR.md"].split("## Three hours")[1].split("## One day")[0]
    spans = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+)–(\d+) \|", plan, re.MULTILINE)]
    assert spans[0][0] == 0 and spans[-1][1] == 180
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_the_days_clock_and_minutes_agree() -> None:
    plan = PAGES["INSTRUCTOR.md"].split("## One day")[1].split("## ")[0]
    rows = re.findall(r"^\| (\d+):(\d\d) \|.*\| (\d+) \|$", plan, re.MULTILINE)
    starts = [60 * int(hour) + int(minute) for hour, minute, _ in rows]
    minutes = [int(row[2]) for row in rows]
    assert len(rows) >= 10
    assert [a + m for a, m in zip(starts, minutes, strict=True)][:-1] == starts[1:]


def test_the_glossary_is_in_order_and_says_each_term_once() -> None:
    terms = re.findall(r"^\*\*(.+?)\.?\*\*", PAGES["GLOSSARY.md"], re.MULTILINE)
    keys = [re.sub(r"\W", "", term).lower() for term in terms]
    assert len(terms) >= 50
    assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_glossary_terms_come_up_where_it_says() -> None:
    entries = re.findall(r"^\*\*(.+?)\*\* \((\d\d)\)", PAGES["GLOSSARY.md"], re.MULTILINE)
    texts = {s.stem[:2]: s.read_text(encoding="utf-8").lower().replace("*", "") for s in sources()}
    missing = []
    for term, number in entries:
        words = [w.strip(" .*").lower() for w in re.split(r",| and ", term.split(" (")[0])]
        if not any(word[:-1] in texts[number] for word in words):
            missing.append((term, number))
    assert missing == []
