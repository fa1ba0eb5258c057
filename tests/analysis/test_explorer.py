"""The explorer: its numbers are Python's, nothing in it is trusted, and keys alone are enough."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser import Browser, open_browser
from episodes import again, make_study
from rows import OUTCOME, TRAJECTORY, mark

from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.analysis.explorer import columns_of, explorer_page, write_explorer
from fireact_nb.analysis.outcomes import Outcome
from fireact_nb.analysis.selection import (
    best_fixed,
    oracle_beyond_samples,
    oracle_choice,
    pass_at_k,
    random_choice,
)
from fireact_nb.analysis.significance import mcnemar
from fireact_nb.analysis.statistics import accuracy, paired_difference
from fireact_nb.errors import FireActError

MADE = make_study(240, 4, words=12)
# The last agent did not play everything; the first was asked again, five times.
GONE = {q.id for q in MADE.questions[::17]}
OUTCOMES = [o for o in MADE.outcomes if o.agent != "agent 3" or o.question_id not in GONE]
OUTCOMES += again(MADE.outcomes, 5)
COLUMNS = columns_of(OUTCOMES)
AGAIN = "agent 0, temperature 0.6"
EVIL = "</script><script>window.caught = 1</script><img src=x onerror='window.caught = 1'>\u202e"


def table_of(page: str) -> dict[str, Any]:
    packed = re.search(r'id="table">([^<]*)<', page)[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


# -- the file --------------------------------------------------------------------------------------


def test_a_column_is_an_agent_under_one_condition_temperature_and_seed():
    rows = [
        OUTCOME,
        replace(OUTCOME, seed=4),
        replace(OUTCOME, agent="b", condition="none 0.5"),
        replace(OUTCOME, agent="b", temperature=0.6),
        replace(OUTCOME, agent="b", temperature=0.6, sample=1),
    ]
    assert {label: len(group) for label, group in columns_of(rows).items()} == {
        "student, seed 3": 1,
        "student, seed 4": 1,
        "b, none 0.5": 1,
        "b, temperature 0.6": 2,
    }


@pytest.mark.parametrize(
    ("mix", "chooses"),
    [
        ("react", False),
        ("react+cot", True),
        ("hotpotqa react+mmlu react", False),
        ("hotpotqa react+hotpotqa cot", True),
        ("fireact", True),
        ("", False),
    ],
)
def test_an_agent_trained_on_several_methods_chooses_by_itself(mix, chooses):
    page = explorer_page([replace(OUTCOME, method_mix=mix)])
    assert table_of(page)["columns"][0]["chooses"] is chooses


@pytest.mark.parametrize(
    ("rows", "trajectories", "message"),
    [
        ([OUTCOME, OUTCOME], [], "q1.*twice"),
        ([], [], "no rows"),
        ([OUTCOME], [replace(TRAJECTORY, source="another")], "None of the 1 trajectories"),
    ],
)
def test_what_cannot_be_shown_is_said(rows, trajectories, message):
    with pytest.raises(FireActError, match=message):
        explorer_page(rows, trajectories)


def test_nothing_from_outside_stands_in_the_page_as_text():
    rows = [replace(OUTCOME, agent=f"agent{EVIL}", answer=f"answer{EVIL}", type=f"type{EVIL}")]
    episode = replace(TRAJECTORY, question=f"question{EVIL}", steps=(Step(f"step{EVIL}"),))
    page = explorer_page(rows, [episode], title=f"title{EVIL}")
    assert "caught" not in page.replace(
        "title&lt;/script&gt;&lt;script&gt;window.caught", ""
    ).replace("onerror=&#39;window.caught", "")
    assert page.count("<script") == page.count("</script") == 3  # table, ours, one chunk
    assert table_of(page)["columns"][0]["label"].endswith(
        "\ufffd"
    )  # a mark, not a turn of direction


def test_the_page_runs_what_its_hashes_name_and_asks_for_nothing():
    page = explorer_page([OUTCOME])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for kind, text in (
        ("script-src", re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]),
        ("style-src", re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?://|@import|\burl\(|innerHTML|\beval\(", page)


def test_the_same_rows_give_the_same_bytes():
    assert explorer_page(OUTCOMES, MADE.trajectories) == explorer_page(OUTCOMES, MADE.trajectories)


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        opened.resize(1366, 900)
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    write_explorer(path, OUTCOMES, MADE.trajectories, MADE.questions, "Made up")
    return path


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    browser.open(page)
    yield browser
    assert browser.errors == [] and set(map(_bare, browser.requested)) <= {
        page.as_uri(),
        "about:blank",
    }


def _bare(url: str) -> str:
    return url.split("#")[0]


def change(browser: Browser, **state: Any) -> None:
    """The view that a link with this state shows."""
    browser.eval(f"location.hash = {json.dumps(urlencode(state, doseq=True))}")
    browser.wait(f"state.q === {json.dumps(state.get('q', ''))}")
    browser.eval("new Promise(done => setTimeout(done))")  # the event comes later


def ids(browser: Browser) -> list[str]:
    return browser.eval("selection.rows.map(q => table.questions.id[q])")


def number(browser: Browser, key: str) -> dict[str, float]:
    """A row of the numbers, as the page shows it."""
    told = browser.eval(f"({{...document.querySelector('[data-number={key}]').dataset}})")
    return {name: float(told[name]) for name in ("value", "low", "high", "n")}


def same(shown: dict[str, float], interval: Any, *, exactly: bool = False) -> bool:
    """The value is Python's; an interval of a mean is that of its bootstrap, which rolls dice."""
    near = 1e-9 if exactly else 0.002 + 1 / shown["n"]
    return (
        abs(shown["value"] - interval.value) < 1e-9
        and abs(shown["low"] - interval.low) < near
        and abs(shown["high"] - interval.high) < near
    )


BY_ID = {q.id: q for q in MADE.questions}
FIRST = {
    label: {o.question_id: o for o in group if o.sample == 0} for label, group in COLUMNS.items()
}


def marks(question_id: str) -> list[bool]:
    return [FIRST[label][question_id].correct for label in FIRST if question_id in FIRST[label]]


# A view, and which questions it should show.
VIEWS: list[tuple[dict[str, Any], Callable[[str], bool]]] = [
    ({}, lambda q: True),
    ({"type": "bridge"}, lambda q: BY_ID[q].type == "bridge"),
    (
        {"task": "bamboogle", "popularity": "tail"},
        lambda q: BY_ID[q].task == "bamboogle" and not BY_ID[q].head,
    ),
    ({"who": "agent 1", "low": 3, "high": 4}, lambda q: 3 <= FIRST["agent 1"][q].rounds <= 4),
    ({"who": "agent 2", "dear": 700}, lambda q: FIRST["agent 2"][q].prompt_tokens * 1.1 <= 700),
    ({"chip": "mixed"}, lambda q: 0 < sum(marks(q)) < len(marks(q))),
    ({"chip": "k:2", "sort": "hard"}, lambda q: sum(marks(q)) == 2),
    ({"chip": "only:agent 2"}, lambda q: sum(marks(q)) == 1 and FIRST["agent 2"][q].correct),
    (
        {"who": AGAIN, "hits": 3},
        lambda q: sum(o.correct for o in COLUMNS[AGAIN] if o.question_id == q) == 3,
    ),
    ({"show": ["agent 1", "agent 2"], "a": "agent 1", "b": "agent 2"}, lambda q: True),
    ({"missing": "wrong", "a": "agent 0", "b": "agent 3"}, lambda q: True),
]


def test_numbers_are_those_of_python_under_every_filter(opened):
    for state, passes in VIEWS:
        change(opened, **state)
        rows = ids(opened)
        assert sorted(rows) == [q for q in BY_ID if passes(q)], state
        assert rows, state
        missing = state.get("missing") == "wrong"
        labels = state.get("show", [*COLUMNS])
        columns = {label: dict(FIRST[label]) for label in labels}
        if missing:
            for column in columns.values():
                wrong = replace(next(iter(column.values())), correct=False)
                column.update({q: replace(wrong, question_id=q) for q in rows if q not in column})
        common = sorted(q for q in rows if all(q in column for column in columns.values()))
        pool = {label: [column[q] for q in common] for label, column in columns.items()}
        tries = [o for o in COLUMNS[AGAIN] if o.question_id in set(common)]

        label, best = best_fixed(pool)
        told = opened.eval("document.querySelector('[data-number=best] .note').textContent")
        assert accuracy(pool[told.split(";")[0]]).value == best.value, (state, label)
        assert same(number(opened, "best"), best, exactly=True), state
        assert same(number(opened, "random"), random_choice(pool)), state
        assert same(number(opened, "oracle"), oracle_choice(pool)), state
        assert same(number(opened, "control"), pass_at_k(tries, len(pool))), state
        assert same(number(opened, "beyond"), oracle_beyond_samples(pool, tries)), state
        if "agent 2" in labels:
            assert same(number(opened, "implicit"), accuracy(pool["agent 2"]), exactly=True), state
        assert number(opened, "oracle")["n"] == len(common)

        _check_pair(opened, state, rows, columns)


def _check_pair(browser, state, rows, columns) -> None:
    a, b = state.get("a", "agent 0"), state.get("b", "agent 1")
    both = [q for q in rows if q in columns[a] and q in columns[b]]
    pairs = [(columns[a][q].correct, columns[b][q].correct) for q in both]
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    assert browser.eval("['a', 'b'].map(k => Number(byId('pair-' + k).textContent))") == [
        only_a,
        only_b,
    ]
    exact = mcnemar([x for x, _ in pairs], [y for _, y in pairs]).p
    told = browser.eval("({...byId('verdict').dataset})")
    assert float(told["p"]) == pytest.approx(exact, rel=1e-9), state
    shown = {name: float(told[name]) for name in ("value", "low", "high", "n")}
    rows_a, rows_b = ([columns[name][q] for q in both] for name in (a, b))
    assert same(shown, paired_difference(rows_a, rows_b)), state


def test_mcnemar_and_pass_at_k_hold_far_out(opened):
    for b, c in [(0, 0), (0, 1), (1, 9), (7, 7), (40, 80), (900, 1100), (2400, 2600)]:
        n = b + c
        exact = min(1.0, 2 * sum(comb(n, i) for i in range(min(b, c) + 1)) / 2**n)
        assert opened.eval(f"mcnemar({b}, {c})") == pytest.approx(exact, rel=1e-9), (b, c)
    for k, n, c in [(1, 5, 2), (3, 5, 0), (3, 5, 5), (3, 5, 3), (10, 40, 1)]:
        exact = 1 - comb(n - c, k) / comb(n, k)
        assert opened.eval(f"passAt({k}, {n}, {c})") == pytest.approx(exact, abs=1e-12)


def test_a_click_opens_all_trajectories_with_the_steps_that_differ(opened):
    by_question: dict[str, list[Trajectory]] = {}
    for t in MADE.trajectories:
        if t.source != "agent 3" or t.question_id not in GONE:
            by_question.setdefault(t.question_id, []).append(t)
    # One whose second agent goes another way at once, although both search.
    place, (_, second, *_) = next(
        (n, ts)
        for n, ts in enumerate(by_question[q.id] for q in MADE.questions[:9])
        if min(ts[0].rounds, ts[1].rounds) > 1 and ts[0].steps[0].turn != ts[1].steps[0].turn
    )
    opened.click(f"#cell-{place}-1")
    opened.wait(f"document.body.dataset.opened === {json.dumps(second.question_id)}")
    panel = opened.eval("byId('panel').innerText")
    for t in by_question[second.question_id]:
        for step in t.steps:
            assert step.turn.thought in panel and step.turn.argument in panel
            assert step.observation is None or step.observation in panel
    heads = opened.eval("[...document.querySelectorAll('.sheet thead th')].map(h => h.innerText)")
    assert heads[0].startswith("agent 1") and "compared with" in heads[0]
    assert sorted(h.split("\n")[0] for h in heads) == sorted(
        label for label in COLUMNS if second.question_id in FIRST[label]
    )
    # Round by round against the first: told in words, not by colour alone.
    told = opened.eval(
        "[...document.querySelectorAll('.sheet tbody tr:nth-child(2) td')].map(c =>"
        " c.querySelector('.how')?.textContent ?? '')"
    )
    assert told[0] == "" and told[1] == "≠ other action"


def test_hostile_text_is_only_text(browser, tmp_path):
    rows = [replace(OUTCOME, agent=f"agent{EVIL}", answer=EVIL)]
    step = Step.of(EVIL, "search", EVIL.replace("]", ""), EVIL)
    episode = replace(TRAJECTORY, question=EVIL, steps=(step, *TRAJECTORY.steps))
    write_explorer(tmp_path / "evil.html", rows, [episode], title=EVIL)
    browser.open(tmp_path / "evil.html", "#open=q1")
    browser.wait("document.body.dataset.opened")
    assert browser.eval("window.caught") is None and browser.errors == []
    assert browser.eval("byId('panel').innerText").count("<img src=x") >= 4
    assert browser.eval("document.querySelectorAll('img, iframe, a[href^=http]').length") == 0


def test_search_reads_the_trajectories_and_marks_what_it_finds(opened):
    wanted = MADE.trajectories[50].steps[-1].turn.thought[:24]
    expected = {
        t.question_id
        for t in MADE.trajectories
        if any(wanted in s.text or wanted in (s.observation or "") for s in t.steps)
    }
    opened.press("/")
    opened.write(wanted.upper())
    opened.wait(f"document.body.dataset.searched === {json.dumps(wanted.upper())}")
    assert set(ids(opened)) == expected
    opened.press("Enter", "Enter")
    opened.wait("document.body.dataset.opened")
    assert opened.eval("document.querySelectorAll('.cell.hit').length") >= 1
    found = opened.eval("document.querySelector('#panel mark').textContent")
    assert found == wanted
    opened.press("/")
    opened.eval("byId('q').value = ''; byId('q').dispatchEvent(new Event('input'))")
    opened.wait("document.body.dataset.searched === 'nothing'")
    assert len(ids(opened)) == len(BY_ID)


def test_the_keyboard_is_enough(opened):
    at = "[cursor.row, cursor.column]"
    opened.press("Tab")  # first comes the way past the filters
    assert opened.eval("document.activeElement.id") == "skip"
    opened.press("Enter")
    assert opened.eval("document.activeElement.id") == "grid"
    opened.press("j", "j", "ArrowDown", "k", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert opened.eval(at) == [2, 1]
    opened.press("Enter")
    opened.wait("document.body.dataset.opened === table.questions.id[2]")
    assert "trajectories" in opened.eval("byId('live').textContent")
    opened.press("j")  # the open question goes along
    opened.wait("document.body.dataset.opened === table.questions.id[3]")
    opened.press("Escape")
    assert (
        opened.eval("byId('panel').hidden") and opened.eval("document.activeElement.id") == "grid"
    )
    opened.press("a", "ArrowRight", "b")
    assert opened.eval("[state.a, state.b]") == ["agent 1", "agent 2"]
    opened.press("End")
    assert opened.eval(at) == [len(BY_ID) - 1, 2]
    assert opened.eval(
        "byId(grid().getAttribute('aria-activedescendant')).className.includes('at')"
    )
    opened.press("o")
    assert all(sum(marks(q)) == 1 and FIRST["agent 2"][q].correct for q in ids(opened))
    opened.press("x")
    assert len(ids(opened)) == len(BY_ID)
    opened.press("?")
    assert opened.eval("byId('keys').open")
    opened.press("Escape")
    assert not opened.eval("byId('keys').open")
    opened.press("t", "t")
    assert opened.eval("document.documentElement.dataset.theme") == "dark"
    opened.press("t")


def test_the_address_brings_the_view_back(opened, page):
    opened.click("[data-chip=mixed]")
    opened.click("#cell-4-2")
    opened.wait("document.body.dataset.opened")
    opened.eval(
        "change({type: 'comparison', sort: 'split', a: 'agent 3', show: ['agent 0', 'agent 3']})"
    )
    before = opened.eval("[location.hash, selection.rows, state.open, byId('verdict').textContent]")
    opened.open(page, before[0])
    opened.wait("document.body.dataset.opened")
    assert (
        opened.eval("[location.hash, selection.rows, state.open, byId('verdict').textContent]")
        == before
    )
    opened.open(page, "#a=nobody&open=nothing&show=nobody&low=x")  # from another file
    assert opened.eval("[state.a, state.open, selection.columns.length]") == ["", "", len(COLUMNS)]
    assert len(ids(opened)) == len(BY_ID)  # what means nothing filters nothing


def test_what_is_shown_can_be_taken_away_as_csv(opened, tmp_path):
    opened.do("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    opened.eval("change({type: 'bridge', show: ['agent 0', 'agent 3']})")
    opened.press("e")
    for _ in range(200):
        if (tmp_path / "explorer.csv").exists():
            break
        opened.eval("new Promise(done => setTimeout(done, 50))")
    text = (tmp_path / "explorer.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["question_id"] for row in rows] == ids(opened)
    for row in rows:
        q = row["question_id"]
        assert row["question"] == BY_ID[q].question and row["gold"] == BY_ID[q].answer
        assert row["agent 0: correct"] == str(int(FIRST["agent 0"][q].correct))
        assert row["agent 0: answer"] == FIRST["agent 0"][q].answer
        assert (row["agent 3: correct"] == "") == (q in GONE)
    cells = ["=1+1", "'=1", "-5", 'say "a, b"', "@x"]
    told = opened.eval(f"{json.dumps(cells)}.map(csvCell)")
    assert told == ["'=1+1", "''=1", "-5", '"say ""a, b"""', "'@x"]


def test_a_screen_reader_hears_names_for_everything(opened):
    change(opened, open="q0003")
    opened.wait("document.body.dataset.opened")
    tree = opened.tree()
    roles = {role for role, _ in tree}
    assert {"grid", "row", "columnheader", "rowheader", "gridcell", "status", "table"} <= roles
    controls = {"button", "combobox", "checkbox", "searchbox", "spinbutton", "grid", "region",
                "gridcell", "columnheader", "link", "table", "dialog"}  # fmt: skip
    nameless = [role for role, name in tree if role in controls and not name.strip()]
    assert nameless == []
    cells = [name for role, name in tree if role == "gridcell"]
    assert any(name.startswith("right, agent") for name in cells)
    assert any(name.startswith("wrong, agent") for name in cells)
    assert any("of 5 samples right" in name for name in cells)
    assert opened.eval("grid().getAttribute('aria-rowcount')") == str(len(BY_ID) + 1)


CONTRAST = """(pairs => pairs.map(selector => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const light = colour => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let element = document.querySelector(selector);
  const ink = light(getComputedStyle(element).color);
  while (getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)')
    element = element.parentElement;
  const ground = light(getComputedStyle(element).backgroundColor);
  return [selector, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
}))(%s)"""


def test_it_is_legible_on_light_and_dark(opened):
    change(opened, open="q0003", chip="mixed")
    opened.wait("document.body.dataset.opened")
    looks = [".cell.ok", ".cell.no", ".cell.some", ".note", "[aria-pressed=true]", ".told", "dt",
             ".how", "td.action .how", "b.ok, b.no", "#count", ".question"]  # fmt: skip
    for theme in ("light", "dark"):
        opened.eval(f"state.theme = '{theme}'; showTheme()")
        poor = [(s, round(c, 2)) for s, c in opened.eval(CONTRAST % json.dumps(looks)) if c < 4.5]
        assert poor == [], theme


def test_only_rows_in_sight_exist(opened):
    assert opened.eval("document.querySelectorAll('.body .row').length") < 60
    opened.eval("grid().scrollTop = 30 * 150")
    opened.wait("byId('cell-155-0') !== null")
    assert opened.eval("document.querySelectorAll('.body .row').length") < 60
    assert opened.eval("byId('cell-0-0') !== null")  # where the cursor is


def test_a_table_without_trajectories_or_questions_is_shown_too(browser, tmp_path):
    rows: list[Outcome] = [mark(f"q{n}", n % 2 == 0) for n in range(5)]
    write_explorer(tmp_path / "bare.html", rows)
    browser.open(tmp_path / "bare.html", "#open=q2")
    browser.wait("document.body.dataset.opened")
    assert "no trajectories" in browser.eval("byId('panel').innerText")
    assert number(browser, "oracle")["value"] == 0.6
    assert browser.errors == []
