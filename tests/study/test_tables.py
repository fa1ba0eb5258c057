"""The study's tables: every cell of the paper, plain means, and verdicts by the interval alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from statistics import fmean

import pytest
from doubles import study_rows

from fireact_nb.analysis import selection, statistics
from fireact_nb.analysis.outcomes import Outcome
from fireact_nb.analysis.statistics import Interval
from fireact_nb.errors import FireActError
from fireact_nb.study import paper, results
from fireact_nb.study.grid import MAIN, NOISE, SEEDS, STUDENTS, VARIANT_SEEDS, agents
from fireact_nb.study.rendering import render_table, render_tables, show_table
from fireact_nb.study.results import Claim, Line, Table
from fireact_nb.study.tables import study_tables

ROWS = study_rows(lambda agent, play: 0.2 + len(agent.label) % 7 / 10)
COSTS = [
    {
        "agent": agent.name,
        "seed": agent.seed,
        "seconds": 90,
        "training": {
            "seconds": 61.4,
            "saved_bytes": 1_234_567,
            "trained_parameters": 54_321 + agent.seed,
        },
    }
    for agent in agents()
    if agent.parts
]


@pytest.fixture(scope="module")
def study() -> list[Table]:
    return study_tables(ROWS, COSTS)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bootstraps of few draws, where their intervals do not matter."""
    exact = statistics.paired_bootstrap
    for module in (statistics, selection, results):
        monkeypatch.setattr(module, "paired_bootstrap", lambda a, b, *_: exact(a, b, 5))


def find(study: list[Table], title: str) -> Table:
    (table,) = [t for t in study if t.title == title]
    return table


def labels(table: Table) -> list[str]:
    return [line.label for line in table.lines]


def theirs(table: Table) -> list[float | None]:
    return [line.paper for line in table.lines]


def claims(table: Table) -> dict[str, float | None]:
    """What the paper says of each difference, rounded as it is shown."""
    return {c.text: None if c.paper is None else round(c.paper, 1) for c in table.claims}


def played(
    agent: str,
    task: str = "hotpotqa",
    condition: str = "normal",
    seeds: tuple[int, ...] = SEEDS,
    sampled: bool = False,
) -> list[Outcome]:
    """The rows of a play, picked without the code under test."""
    found = [
        o
        for o in ROWS
        if (o.agent, o.task, o.condition) == (agent, task, condition)
        and o.seed in seeds
        and (o.temperature > 0) == sampled
    ]
    assert found, f"no rows of {agent} on {task}, {condition}"
    return found


# -- everything is there ------------------------------------------------------------------------

PROMPTING = "Prompting: IO, CoT, ReAct"
TUNING = "ReAct prompted and fine-tuned on 500 trajectories"
ROBUSTNESS = "A tool that fails half of the time, and another task"
KINDS = "LoRA, QLoRA and full fine-tuning"
SCALING = "Data scaling"
SELECTION = {
    "teacher": "Choosing the method: teacher, prompted by CoT, ReAct and Reflexion",
    MAIN: f"Choosing the method: {MAIN}, fine-tuned on ReAct, on CoT and on Reflexion",
}
TASKS = "Several tasks at once"
MASKS = "Masks and failures"


def test_every_experiment_of_the_paper_has_its_table(study):
    assert [t.title for t in study] == [
        PROMPTING,
        TUNING,
        ROBUSTNESS,
        KINDS,
        SCALING,
        *(f"Mixing methods: {model}" for model in STUDENTS),
        *SELECTION.values(),
        TASKS,
        MASKS,
    ]
    sources = " ".join(t.source for t in study)
    for name in ("Table 1", "Table 2", "Table 3", "Table 4", "Table 5", "Figure 3", "Figure 4"):
        assert f"paper, {name}" in sources
    assert all(t.lines and t.claims for t in study)


def test_table_1_prompting(study):
    table = find(study, PROMPTING)
    teacher = {"IO": 37.2, "CoT": 45.0, "ReAct": 42.0}
    main = {"IO": 22.4, "CoT": 28.0, "ReAct": 31.4}
    expected = {f"teacher, {method}": value for method, value in teacher.items()}
    expected["teacher, Reflexion"] = None  # the paper's Table 1 has no such row
    for model in STUDENTS:
        for method, value in main.items():
            expected[f"{model}, {method}"] = value if model == MAIN else None
    assert dict(zip(labels(table), theirs(table), strict=True)) == expected
    said = claims(table)
    assert (said["teacher: CoT minus IO"], said["teacher: ReAct minus CoT"]) == (7.8, -3.0)
    assert (said[f"{MAIN}: CoT minus IO"], said[f"{MAIN}: ReAct minus CoT"]) == (5.6, 3.4)
    assert said["teacher: Reflexion minus ReAct"] is None
    assert len(said) == 2 * 5 + 1
    assert said["student_code: CoT minus IO"] is None


def test_table_2_tuning(study):
    table = find(study, TUNING)
    values = {
        "student": (14.8, 26.2),
        "student_large": (21.2, 34.4),
        "student_code": (17.4, 27.8),
        "student_large_code": (20.8, 29.0),
    }
    assert sorted(values) == sorted(STUDENTS)
    assert labels(table) == [f"{m}, {w}" for m in STUDENTS for w in ("prompted", "fine-tuned")]
    assert theirs(table) == [value for m in STUDENTS for value in values[m]]
    assert claims(table) == {
        f"{m}: fine-tuned minus prompted": round(b - a, 1) for m, (a, b) in values.items()
    }
    before, after = (played(f"student, {w}") for w in ("react, 2 examples", "react 500"))
    gain = fmean(o.correct for o in after) / fmean(o.correct for o in before) - 1
    tokens, seconds = (fmean(getattr(o, f) for o in after) for f in ("prompt_tokens", "seconds"))
    line = table.lines[2 * STUDENTS.index("student") + 1]
    assert line.extra == (
        f"{gain:+.0%} (paper +77%); {tokens:,.0f} prompt tokens, "
        f"{fmean(o.rounds for o in after):.1f} rounds, {seconds:.2f} s a question"
    )


def test_a_gain_from_nothing_has_no_percentage(quick):
    rows = study_rows(lambda agent, play: float(bool(agent.parts)), questions=4)
    for line in find(study_tables(rows), TUNING).lines[1::2]:
        assert line.ours.value == 1 and "(paper +" in line.extra
        assert not re.search(r"\d{5,}%", line.extra), line.extra


def test_table_3_robustness(study):
    table = find(study, ROBUSTNESS)
    values = {
        "normal": (31.4, 39.2),
        "none 0.5": (20.8, 33.6),
        "random 0.5": (22.6, 37.2),
        "bamboogle": (40.8, 44.0),
    }
    who = ("prompted", "fine-tuned on ReAct", "fine-tuned on ReAct + CoT")
    assert labels(table) == [f"{c}: {w}" for c in values for w in who]
    assert theirs(table) == [v for pair in values.values() for v in (*pair, None)]
    assert all("prompt tokens" in line.extra for line in table.lines)
    said = claims(table)
    assert said["random 0.5: fine-tuned minus prompted"] == 14.6
    assert said["bamboogle: fine-tuned minus prompted"] == 3.2
    assert said["prompted: none 0.5 minus normal"] == -10.6
    assert said["fine-tuned on ReAct: random 0.5 minus normal"] == -2.0
    assert said["fine-tuned on ReAct + CoT: none 0.5 minus normal"] is None
    assert len(said) == 4 + 2 * 3


def test_lora_qlora_and_full(study):
    table = find(study, KINDS)
    assert labels(table) == ["LoRA", "QLoRA (NF4)", "full"]
    assert theirs(table) == [26.2, None, 30.2]
    assert claims(table) == {"full minus LoRA": 4.0, "QLoRA minus LoRA": None}
    words = "61 s on one core, 1.23 MB, 54,321 weights trained"
    assert [line.extra for line in table.lines] == [words] * 3


def test_without_costs_nothing_is_said_of_them(quick):
    assert {line.extra for line in find(study_tables(ROWS), KINDS).lines} == {""}


def test_figure_3_scaling(study):
    table = find(study, SCALING)
    assert labels(table) == [f"{n} trajectories" for n in (100, 200, 500, 1000)]
    assert theirs(table) == [35.0, None, None, None]
    assert list(claims(table).values()) == [None] * 3


def test_table_4_and_figure_4_mixing(study):
    for model in STUDENTS:
        table = find(study, f"Mixing methods: {model}")
        assert labels(table) == ["react", "react+cot", "react+reflexion", "all"]
        text = (f"{model}: {mix} minus react" for mix in ("react+cot", "react+reflexion", "all"))
        assert list(claims(table)) == list(text)
        if model == MAIN:
            assert theirs(table) == [39.4, 41.0, 38.8, 40.0]
            assert [*claims(table).values()] == [1.6, -0.6, 0.6]
            # The sd of 4.8 is shown as it was reported.
            assert "(paper 3.0, 4.8)" in table.lines[3].extra
            assert "GPT-3.5" in table.source
        else:
            assert theirs(table) == [None] * 4
            # Its directions are known, its sizes are not: CoT hurts CodeLlama and helps Llama.
            assert [*claims(table).values()] == [None] * 3
            sign = -1 if model.endswith("_code") else 1
            assert [claim.sign for claim in table.claims] == [sign, 0, 0]


def test_table_4_choosing_the_method(study):
    for model, title in SELECTION.items():
        table = find(study, title)
        methods = [
            played(name, seeds=(0,))
            for name in (
                [f"{model}, {m}, 2 examples" for m in ("cot", "react", "reflexion")]
                if model == "teacher"
                else [f"{model}, {label}" for label in ("react 500", "cot 187", "reflexion 47")]
            )
        ]
        react = "react, 2 examples" if model == "teacher" else "react 500"
        samples = played(f"{model}, {react}", seeds=(0,), sampled=True)
        asked = sorted({o.question_id for o in samples})
        assert len(asked) == 20, "the samples are of half of the questions"
        right = [{o.question_id: o.correct for o in rows} for rows in methods]
        drawn = {q: [o.correct for o in samples if o.question_id == q] for q in asked}
        some, best, oracle, once, often = table.lines
        assert (some.paper, best.paper, oracle.paper) == (32.4, 41.0, 52.0)
        assert {line.n for line in table.lines} == {20}
        assert some.ours.value == pytest.approx(fmean(r[q] for r in right for q in asked))
        assert best.ours.value == pytest.approx(max(fmean(r[q] for q in asked) for r in right))
        any_right = fmean(any(r[q] for r in right) for q in asked)
        assert oracle.ours.value == pytest.approx(any_right)
        assert once.label == "pass@1 of ReAct, temperature 0.6"
        assert once.ours.value == pytest.approx(fmean(map(fmean, drawn.values())))
        assert often.label == "pass@3 of ReAct, temperature 0.6"
        any_drawn = fmean(map(any, drawn.values()))
        assert often.ours.value == pytest.approx(any_drawn)
        (claim,) = table.claims
        assert (
            claim.text.endswith(": oracle over 3 methods minus pass@3 of one")
            and claim.paper is None
        )
        assert claim.ours.value == pytest.approx(any_right - any_drawn)


def test_table_5_tasks(study):
    table = find(study, TASKS)
    shown = dict(zip(labels(table), theirs(table), strict=True))
    assert len(shown) == 4 * 5
    for label, value in {
        "hotpotqa: hotpotqa only": 39.2, "bamboogle: hotpotqa only": 44.0,
        "mmlu: hotpotqa only": None, "hotpotqa: multi-task": 39.2, "strategyqa: multi-task": 55.5,
        "bamboogle: multi-task": 43.2, "mmlu: multi-task": 63.2, "hotpotqa: multi-task + cot": 39.6,
        "strategyqa: multi-task + cot": 72.9, "bamboogle: multi-task + cot": 50.4,
        "mmlu: multi-task + cot": 65.8, "mmlu: io prompting": 68.6, "mmlu: react prompting": None,
    }.items():  # fmt: skip
        assert shown[label] == value, label
    said = claims(table)
    assert said["strategyqa: multi-task + cot minus multi-task"] == 17.4
    assert said["mmlu: multi-task + cot minus io prompting"] == -2.8
    assert said["bamboogle: multi-task minus hotpotqa only"] == -0.8
    assert said["hotpotqa: multi-task minus hotpotqa only"] is None, "39.2 twice is no direction"
    assert said["strategyqa: multi-task minus hotpotqa only"] is None
    assert len(said) == 4 * 3


def test_masks_and_failures(study):
    table = find(study, MASKS)
    assert labels(table) == [
        "loss on the agent's words, failures filtered",
        "loss on observations too",
        "loss on everything",
        "failures kept",
    ]
    assert theirs(table) == [None] * 4 and len(table.claims) == 3
    assert "40 of the 734" in table.source


# -- plain means --------------------------------------------------------------------------------


def expected_lines() -> dict[tuple[str, str], list[Outcome]]:
    """(title, label) -> the rows behind it, for every line that is a plain mean."""
    lines = {}
    words = {"io": "IO", "cot": "CoT", "react": "ReAct"}
    for model in ("teacher", *STUDENTS):
        for method, word in words.items():
            lines[PROMPTING, f"{model}, {word}"] = played(f"{model}, {method}, 2 examples")
    lines[PROMPTING, "teacher, Reflexion"] = played("teacher, reflexion, 2 examples")
    mixes = {
        "react": "react 500",
        "react+cot": "react+cot 500+187",
        "react+reflexion": "react+reflexion 500+47",
        "all": "all 500+187+47",
    }
    for model in STUDENTS:
        lines[TUNING, f"{model}, prompted"] = played(f"{model}, react, 2 examples")
        lines[TUNING, f"{model}, fine-tuned"] = played(f"{model}, react 500")
        for mix, label in mixes.items():
            lines[f"Mixing methods: {model}", mix] = played(f"{model}, {label}")
    for condition in ("normal", *NOISE, "bamboogle"):
        where = ("bamboogle",) if condition == "bamboogle" else ("hotpotqa", condition)
        for who, label in (
            ("prompted", "react, 2 examples"),
            ("fine-tuned on ReAct", "react 500"),
            ("fine-tuned on ReAct + CoT", "react+cot 500+187"),
        ):
            lines[ROBUSTNESS, f"{condition}: {who}"] = played(
                f"{MAIN}, {label}", *where, seeds=VARIANT_SEEDS
            )
    for title, agents_of_it in {
        KINDS: {"LoRA": "react 500", "QLoRA (NF4)": "react 500, qlora", "full": "react 500, full"},
        SCALING: {f"{n} trajectories": f"react {n}" for n in (100, 200, 500, 1000)},
        MASKS: {
            "loss on the agent's words, failures filtered": "react 500",
            "loss on observations too": "react 500, mask all turns",
            "loss on everything": "react 500, mask off",
            "failures kept": "react 500, failures kept",
        },
    }.items():
        for line, label in agents_of_it.items():
            lines[title, line] = played(f"{MAIN}, {label}", seeds=VARIANT_SEEDS)
    for task in ("hotpotqa", "strategyqa", "bamboogle", "mmlu"):
        for who, label in {
            "io prompting": "io, 2 examples",
            "react prompting": "react, 2 examples",
            "hotpotqa only": "react 500",
            "multi-task": "multi-task",
            "multi-task + cot": "multi-task + cot",
        }.items():
            rows = played(f"{MAIN}, {label}", task, seeds=VARIANT_SEEDS)
            lines[TASKS, f"{task}: {who}"] = rows
    return lines


def test_every_line_is_the_plain_mean_of_its_rows(study):
    expected = expected_lines()
    seen = {(t.title, line.label): line for t in study for line in t.lines}
    chosen = {key for key in seen if key[0].startswith("Choosing")}
    assert seen.keys() - chosen == expected.keys()
    for key, rows in expected.items():
        line = seen[key]
        seeds = sorted({o.seed for o in rows})
        assert line.ours.value == pytest.approx(fmean(o.correct for o in rows)), key
        assert line.ours.low <= line.ours.value <= line.ours.high
        assert line.n == len({o.question_id for o in rows}) and len(rows) == line.n * len(seeds)
        assert line.n == (20 if "0.5" in key[1] else 40), key
        assert line.seeds == tuple(fmean(o.correct for o in rows if o.seed == s) for s in seeds)
    several = seen[TUNING, "student, fine-tuned"]
    assert len(several.seeds) == len(SEEDS) > 1
    assert len(seen[KINDS, "LoRA"].seeds) == len(VARIANT_SEEDS)


@pytest.mark.parametrize(
    ("title", "text", "before", "after"),
    [
        (PROMPTING, "teacher: CoT minus IO", "teacher, IO", "teacher, CoT"),
        (PROMPTING, "teacher: Reflexion minus ReAct", "teacher, ReAct", "teacher, Reflexion"),
        (TUNING, "student_code: fine-tuned minus prompted", "student_code, prompted",
         "student_code, fine-tuned"),
        (ROBUSTNESS, "random 0.5: fine-tuned minus prompted", "random 0.5: prompted",
         "random 0.5: fine-tuned on ReAct"),
        (KINDS, "full minus LoRA", "LoRA", "full"),
        (SCALING, "1000 minus 500 trajectories", "500 trajectories", "1000 trajectories"),
        (f"Mixing methods: {MAIN}", f"{MAIN}: all minus react", "react", "all"),
        (TASKS, "mmlu: multi-task + cot minus io prompting", "mmlu: io prompting",
         "mmlu: multi-task + cot"),
        (MASKS, "failures kept minus the standard", "loss on the agent's words, failures filtered",
         "failures kept"),
    ],
)  # fmt: skip
def test_a_claim_is_the_later_line_minus_the_earlier(study, title, text, before, after):
    table = find(study, title)
    (claim,) = [c for c in table.claims if c.text == text]
    value = {line.label: line.ours.value for line in table.lines}
    assert claim.ours.value == pytest.approx(value[after] - value[before])


def test_what_the_noise_takes_is_measured_on_the_questions_of_both(study):
    agent = f"{MAIN}, react 500"
    noisy = played(agent, condition="none 0.5", seeds=VARIANT_SEEDS)
    asked = {o.question_id for o in noisy}
    normal = [o for o in played(agent, seeds=VARIANT_SEEDS) if o.question_id in asked]
    assert len(noisy) == len(normal) == 20
    text = "fine-tuned on ReAct: none 0.5 minus normal"
    (claim,) = [c for c in find(study, ROBUSTNESS).claims if c.text == text]
    lost = fmean(o.correct for o in noisy) - fmean(o.correct for o in normal)
    assert claim.ours.value == pytest.approx(lost)


@pytest.mark.parametrize("model", STUDENTS)
def test_a_mix_is_compared_with_react_of_the_same_seeds(study, model):
    for claim, mix in zip(
        find(study, f"Mixing methods: {model}").claims,
        ("react+cot 500+187", "react+reflexion 500+47", "all 500+187+47"),
        strict=True,
    ):
        mixed = played(f"{model}, {mix}")
        react = played(f"{model}, react 500", seeds=tuple({o.seed for o in mixed}))
        assert len(react) == len(mixed)
        means = [fmean(o.correct for o in rows) for rows in (react, mixed)]
        assert claim.ours.value == pytest.approx(means[1] - means[0])


def test_seeds_are_averaged_by_question_before_the_interval(quick):
    """Two seeds that answer alike tell no more than one: n counts questions."""
    rows = played("student, react 500", seeds=(0,))
    twice = [*rows, *(replace(o, seed=1) for o in rows)]
    one, two = (results.Outcomes([]).line("x", some) for some in (rows, twice))
    assert (two.ours, two.n) == (one.ours, one.n) == (one.ours, 40)
    assert two.seeds == one.seeds * 2


# -- verdicts -----------------------------------------------------------------------------------

UP, DOWN = Interval(0.05, 0.01, 0.09), Interval(-0.05, -0.09, -0.01)


@pytest.mark.parametrize(
    ("said", "ours", "verdict"),
    [
        (2.0, UP, "agrees"),
        (-2.0, DOWN, "agrees"),
        (2.0, DOWN, "disagrees"),
        (-2.0, UP, "disagrees"),
        (2.0, Interval(0.05, -0.001, 0.1), "not resolved"),
        (-2.0, Interval(0.05, -0.001, 0.1), "not resolved"),
        (2.0, Interval(0.05, 0.0, 0.1), "not resolved"),
        (2.0, Interval(-0.05, -0.1, 0.0), "not resolved"),
        (2.0, Interval(0, 0, 0), "not resolved"),
        (None, UP, "up"),
        (None, DOWN, "down"),
        (None, Interval(0.05, -0.001, 0.1), "not resolved"),
    ],
)
def test_a_verdict_is_read_off_the_interval_and_its_sign(said, ours, verdict):
    assert Claim("b minus a", said, ours).verdict == verdict


@pytest.mark.parametrize(
    ("sign", "ours", "verdict"),
    [
        (1, UP, "agrees"),
        (-1, DOWN, "agrees"),
        (1, DOWN, "disagrees"),
        (-1, UP, "disagrees"),
        (1, Interval(0.05, -0.001, 0.1), "not resolved"),
        (0, UP, "up"),
    ],
)
def test_a_direction_of_unknown_size_is_judged_alike(sign, ours, verdict):
    assert Claim("b minus a", None, ours, sign).verdict == verdict


def verdicts(rate: Callable) -> dict[str, str]:
    return {c.text: c.verdict for t in study_tables(study_rows(rate)) for c in t.claims}


def test_plain_effects_agree_disagree_or_are_not_resolved(quick):
    """Each of two worlds is the other turned round; what is alike in both is not resolved."""

    def helped(agent, play):
        return float(bool(agent.parts))

    def harmed(agent, play):
        return float(not agent.parts)

    for model in STUDENTS:
        text = f"{model}: fine-tuned minus prompted"
        assert (verdicts(helped)[text], verdicts(harmed)[text]) == ("agrees", "disagrees")
    there = verdicts(helped)
    assert there["mmlu: multi-task + cot minus io prompting"] == "disagrees"
    assert there["strategyqa: multi-task + cot minus io prompting"] == "up"
    assert verdicts(harmed)["strategyqa: multi-task + cot minus io prompting"] == "down"
    assert there["full minus LoRA"] == there[f"{MAIN}: CoT minus IO"] == "not resolved"
    assert there["prompted: none 0.5 minus normal"] == "not resolved"


def test_adding_cot_is_judged_by_each_models_counterpart(quick):
    there = verdicts(lambda agent, play: float("react+cot" in agent.label))
    for model in STUDENTS:
        expected = "disagrees" if model.endswith("_code") else "agrees"
        assert there[f"{model}: react+cot minus react"] == expected


def test_noise_is_judged_against_the_same_agent_without_it(quick):
    there = verdicts(lambda agent, play: float(play.condition == "normal"))
    for condition in NOISE:
        assert there[f"prompted: {condition} minus normal"] == "agrees"
        assert there[f"fine-tuned on ReAct: {condition} minus normal"] == "agrees"
        assert there[f"fine-tuned on ReAct + CoT: {condition} minus normal"] == "down"
        assert there[f"{condition}: fine-tuned minus prompted"] == "not resolved"


# -- in words -----------------------------------------------------------------------------------


def cells(row: str) -> list[str]:
    assert row.startswith("|") and row.endswith("|"), row
    return [cell.strip() for cell in row[1:-1].split("|")]


def blocks(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text, as cells."""
    found: list[list[list[str]]] = [[]]
    for line in text.split("\n"):
        if line.startswith("|"):
            found[-1].append(cells(line))
        elif found[-1]:
            found.append([])
    return [block for block in found if block]


def test_all_of_it_renders_as_markdown_tables(study):
    text = render_tables(study, "shipped (1a2b3c4d)")
    assert "Ours: shipped (1a2b3c4d). The paper's: as reported" in text
    assert text.endswith("|\n") and not text.endswith("\n\n")
    titles = [line.removeprefix("### ") for line in text.split("\n") if line.startswith("### ")]
    assert titles == [t.title for t in study]
    drawn = blocks(text)
    assert len(drawn) == 2 * len(study)
    for table, lines, differences in zip(study, drawn[::2], drawn[1::2], strict=True):
        for block, rows, width in ((lines, table.lines, 6), (differences, table.claims, 4)):
            assert len(block) == len(rows) + 2
            assert {len(row) for row in block} == {width}
            assert set(block[1]) == {"---"}
        assert [row[0] for row in lines[2:]] == labels(table)
        assert [row[3] for row in differences[2:]] == [c.verdict for c in table.claims]
        assert f"Ours beside {table.source}." in text
    assert not re.search(r"\bnan\b|\binf\b|None\b", text)


def test_a_line_and_a_claim_in_words():
    line = Line("a", Interval(0.4, 0.312, 0.5), 40, (0.375, 0.425), 26.2, "some words")
    plain = Line("b", Interval(0.25, 0.125, 0.375), 40, (0.25,))
    table = Table("T", "the paper", (line, plain), (
        Claim("b minus a", -3, DOWN),
        Claim("c minus a", None, UP),
        Claim("d minus a", None, UP, -1),
        Claim("e minus a", None, UP, 1),
    ))  # fmt: skip
    lines, differences = blocks(render_table(table))
    assert lines[2:] == [
        ["a", "40.0 [31.2, 50.0]", "37.5, 42.5", "40", "26.2", "some words"],
        ["b", "25.0 [12.5, 37.5]", "", "40", "", ""],
    ]
    assert differences[2:] == [
        ["b minus a", "-5.0 [-9.0, -1.0]", "-3.0", "agrees"],
        ["c minus a", "+5.0 [+1.0, +9.0]", "", "up"],
        ["d minus a", "+5.0 [+1.0, +9.0]", "down", "disagrees"],
        ["e minus a", "+5.0 [+1.0, +9.0]", "up", "agrees"],
    ]
    assert len(blocks(render_table(Table("T", "the paper", (plain,))))) == 1


# -- to look at ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tables of a page as captions and rows of (tag, scope, text); every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.captions: list[str] = []
        self.tables: list[list[list[tuple[str, str | None, str]]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append((tag, dict(attrs).get("scope"), ""))
        elif tag == "caption":
            self.captions.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        where = self.open[-1] if self.open else ""
        if where in ("th", "td"):
            tag, scope, text = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (tag, scope, text + data)
        elif where == "caption":
            self.captions[-1] += data
        elif where != "style":
            self.text += data


WHOLE = Table(
    "T",
    "paper, Table 9",
    (
        Line("a", Interval(0.4, 0.312, 0.5), 40, (0.375, 0.425), 26.2, "some words"),
        Line("b", Interval(0.25, 0.125, 0.375), 40, (0.25,)),
    ),
    (
        Claim("b minus a", -3, DOWN),
        Claim("c minus a", None, UP, -1),
        Claim("d minus a", None, UP),
        Claim("e minus a", None, DOWN),
        Claim("f minus a", 1, Interval(0.05, -0.001, 0.1)),
    ),
)


def test_a_table_to_look_at_holds_the_same_cells_as_its_markdown(study):
    for table in (*study, WHOLE):
        shown = show_table(table, "measured in this run")
        lines, differences = Page(shown.html).tables
        drawn = blocks(shown.text)
        for seen, said in zip((lines, differences), drawn, strict=True):
            assert len(seen) == len(said) - 1  # without the rule under the head
            for row, cells_said in zip(seen[1:], said[2:], strict=True):
                words = [re.sub("^[✓✗○▲▼] ", "", text) for _, _, text in row]
                assert [w for w in words if w] == [c for c in cells_said if c]
        assert show_table(table, "measured in this run") == shown


def test_a_table_to_look_at_has_heads_for_each_row_and_column():
    page = Page(show_table(WHOLE, "shipped (1a2b)").html)
    assert page.tags == {"style", "section", "h4", "div", "table", "caption", "thead", "tbody",
                         "tr", "th", "td"}  # fmt: skip
    assert len(page.captions) == len(page.tables) == 2 and all(page.captions)
    for head, *rows in page.tables:
        assert {(tag, scope) for tag, scope, _ in head} == {("th", "col")}
        for row in rows:
            assert [(tag, scope) for tag, scope, _ in row] == [
                ("th", "row"),
                *[("td", None)] * (len(head) - 1),
            ]
    assert [text for _, _, text in page.tables[0][0]] == [
        "", "ours, EM [95%]", "seeds", "n", "paper, as reported", "also"
    ]  # fmt: skip


def test_a_verdict_to_look_at_has_a_word_and_a_mark_of_its_own():
    last = [row[-1][2] for row in Page(show_table(WHOLE, "shipped").html).tables[1][1:]]
    assert last == ["✓ agrees", "✗ disagrees", "▲ up", "▼ down", "○ not resolved"]


def test_a_table_says_where_both_sides_come_from():
    shown = show_table(WHOLE, "shipped (1a2b)")
    note = (
        "Ours: shipped (1a2b). Beside it: paper, Table 9. The paper's numbers are as reported, "
        "from another world with other models: compare directions, not numbers."
    )
    assert note in Page(shown.html).text and note in shown.text
    assert shown.text.startswith(render_table(WHOLE))


def test_empty_columns_are_left_out():
    bare = Table("T", "no table", (WHOLE.lines[1],), (Claim("d minus a", None, UP),))
    page = Page(show_table(bare, "measured in this run").html)
    assert [[text for _, _, text in table[0]] for table in page.tables] == [
        ["", "ours, EM [95%]", "n"],
        ["difference, paired", "ours, points [95%]", "does it agree?"],
    ]
    assert "as reported" not in page.text
    assert len(Page(show_table(replace(bare, claims=()), "shipped").html).tables) == 1


def test_a_table_to_look_at_trusts_no_text():
    bad = '<script>alert("x")</script>'
    line, claim = (replace(x[0], **{y: bad}) for x, y in (
        (WHOLE.lines, "label"), (WHOLE.claims, "text")
    ))  # fmt: skip
    table = Table(bad, bad, (replace(line, extra=bad),), (claim,))
    html = show_table(table, bad).html
    assert "<script" not in html and 'aria-label="&lt;script&gt;' in html
    steering = replace(table, title="\x1b[2J\u202e")
    for text in (show_table(steering, "x").html, show_table(steering, "x").text):
        assert not set(text) & {"\x1b", "\u202e"}
    page = Page(html)
    assert [table[1][0][2] for table in page.tables] == [bad, bad]


def test_the_differences_of_a_table_are_rows_of_a_figure(study):
    from fireact_nb.analysis.figures import plot_differences

    assert WHOLE.differences == [
        ("b minus a", DOWN, -0.03),
        ("c minus a", UP, None),
        ("d minus a", UP, None),
        ("e minus a", DOWN, None),
        ("f minus a", Interval(0.05, -0.001, 0.1), 0.01),
    ]
    rows = find(study, TUNING).differences
    assert [row[0] for row in rows] == [f"{m}: fine-tuned minus prompted" for m in STUDENTS]
    assert rows[0][2] == pytest.approx(0.114)
    alt = plot_differences(rows, "A title", "difference in EM", "shipped").get_label()
    assert all(text in alt for text, *_ in rows) and "paper, as reported +0.114" in alt


# -- what is missing ----------------------------------------------------------------------------

FEW = study_rows(questions=4)
PLAYS = sorted(
    {(a.name, p.task, p.condition, p.temperature > 0) for a in agents() for p in a.plays}
)


def test_the_whole_of_the_few_rows_is_enough(quick):
    assert study_tables(FEW)


@pytest.mark.parametrize(("agent", "task", "condition", "sampled"), PLAYS)
def test_a_missing_play_is_named_for_every_play_of_the_grid_is_shown(
    quick, agent, task, condition, sampled
):
    def is_it(o: Outcome) -> bool:
        where = (o.agent, o.task, o.condition, o.temperature > 0)
        return where == (agent, task, condition, sampled)

    with pytest.raises(FireActError) as caught:
        study_tables([o for o in FEW if not is_it(o)])
    assert f"no rows of '{agent}' on {task} ({condition})" in str(caught.value)


def test_an_agent_that_is_missing_altogether_is_not_among_those_there_are(quick):
    with pytest.raises(FireActError, match="no rows of 'teacher, cot, 2 examples'") as caught:
        study_tables([o for o in FEW if o.agent != "teacher, cot, 2 examples"])
    there = str(caught.value).partition("The agents are: ")[2]
    assert "teacher, io, 2 examples; " in there and "teacher, cot" not in there
    with pytest.raises(FireActError, match="no rows of 'teacher, io"):
        study_tables([])


# -- the paper's numbers ------------------------------------------------------------------------


def test_numbers_of_the_paper_that_were_checked():
    """Marked S in the card of the paper: from the released files, or stated in an article."""
    assert {26.2, 34.4, 40.0, 30.2, 32.4, 52.0} == paper.CHECKED
    assert paper.TUNING["Llama-2-7B"][1] == paper.LORA_AND_FULL[0] == 26.2
    assert paper.TUNING["Llama-2-13B"][1] == 34.4
    assert paper.LORA_AND_FULL[1] == 30.2
    assert paper.MIXES["all"][0] == 40.0
    assert (paper.RANDOM_CHOICE, paper.ORACLE_CHOICE) == (32.4, 52.0)


def test_a_checked_number_stands_for_nothing_unchecked():
    """`CHECKED` names numbers by value: none of them may be another's value, too."""
    second_hand = [
        *(v for methods in paper.PROMPTING.values() for v in methods.values()),
        *(v for pair in paper.TUNING.values() for v in pair),
        *(v for pair in paper.ROBUSTNESS.values() for v in pair),
        *(mix[0] for mix in paper.MIXES.values()),
        *(v for tasks in paper.MULTI_TASK.values() for v in tasks.values()),
    ]
    assert sorted(v for v in second_hand if v in paper.CHECKED) == [26.2, 34.4, 40.0]


def test_numbers_of_the_paper_that_are_second_hand():
    assert paper.PROMPTING["GPT-4"] == {"io": 37.2, "cot": 45.0, "react": 42.0}
    assert paper.PROMPTING["GPT-3.5"] == {"io": 22.4, "cot": 28.0, "react": 31.4}
    assert paper.TUNING["GPT-3.5"] == paper.ROBUSTNESS["normal"] == (31.4, 39.2)
    assert paper.TUNING["CodeLlama-34B"] == (22.2, 27.8)
    assert paper.MIXES["react+reflexion"] == (38.8, 3.8, 2.8)
    assert paper.MULTI_TASK["multi-task"]["strategyqa"] == 55.5
    assert "strategyqa" not in paper.MULTI_TASK["hotpotqa only"]
    assert "CodeLlama-34B" not in paper.COT_HELPS or paper.COT_HELPS["CodeLlama-34B"]


def test_every_model_of_ours_has_a_counterpart_in_the_paper():
    assert paper.COUNTERPARTS.keys() == {"teacher", *STUDENTS}
    assert len(set(paper.COUNTERPARTS.values())) == len(paper.COUNTERPARTS)
    for model in STUDENTS:
        assert paper.COUNTERPARTS[model] in paper.TUNING
        assert paper.COUNTERPARTS[model].startswith("Code") == model.endswith("_code")
