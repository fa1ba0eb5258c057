"""The grid of experiments: every cell of the paper, told apart, with all it is made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fireact_nb.agent.search import NORMAL, Condition
from fireact_nb.agent.sources import Source
from fireact_nb.agent.tasks import TASKS
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.artifacts import shipped
from fireact_nb.errors import FireActError
from fireact_nb.study.chain import LINKS, MODELS
from fireact_nb.study.grid import (
    COT,
    FULL_RATE,
    LIVE,
    LIVE_COUNT,
    LIVE_QUESTIONS,
    LIVE_SEEDS,
    MAIN,
    MIXES,
    MULTI_TASK_COT,
    NOISE,
    PROMPTED,
    RECIPE,
    SEEDS,
    SIZES,
    STUDENTS,
    TEACHER_PLAYS,
    UNFILTERED,
    VARIANT_SEEDS,
    VARIANTS,
    Agent,
    Play,
    Tuning,
    agents,
    dev_agents,
    live,
    live_agents,
    prompted,
    shipped_agents,
    tuned,
)
from fireact_nb.study.runner import Study

GRID = agents()
WORLD = Study().world


def tasks(agent: Agent) -> set[str]:
    """Where it is played as it is: nothing wrong with the tool, greedy, every question."""
    return {p.task for p in agent.plays if p == Play(p.task)}


def conditions(agent: Agent) -> set[str]:
    """The conditions it plays HotpotQA under; the noisy ones on half of the questions."""
    noisy = {Play(condition=c, count=300) for c in NOISE}
    return {str(p.condition) for p in agent.plays if p == Play() or p in noisy}


# -- the grid -----------------------------------------------------------------------------------


def test_agents_and_their_files_are_told_apart():
    assert len({(a.name, a.seed) for a in GRID}) == len(GRID)
    # Some disks do not tell upper from lower case.
    assert len({a.slug.casefold() for a in GRID}) == len(GRID)
    for agent in GRID:
        assert agent.slug.replace("_", "").isalnum() and agent.slug.isascii(), agent.slug
        assert agent.name.startswith(f"{agent.model}, ")
        assert len(set(agent.plays)) == len(agent.plays), f"{agent.name} plays one thing twice"
        assert agent.plays[0] == Play(), "the first play is the one that is reported"
        assert bool(agent.tuning) == (agent.method == "fireact")


def test_an_agent_of_one_name_is_the_same_whatever_its_seed():
    for agent in GRID:
        if agent.tuning and agent.seed:
            (first,) = [a for a in GRID if a.name == agent.name and a.seed == 0]
            recipe = replace(agent.tuning.recipe, seed=0)
            assert replace(agent.tuning, recipe=recipe) == first.tuning


def test_the_papers_counts():
    assert {name: mix.counts for name, mix in MIXES.items()} == {
        "react": {"hotpotqa react": 500},
        "react+cot": {"hotpotqa react": 500, "hotpotqa cot": 187},
        "react+reflexion": {"hotpotqa react": 500, "hotpotqa reflexion": 47},
        "all": {"hotpotqa react": 500, "hotpotqa cot": 187, "hotpotqa reflexion": 47},
    }
    both, plain = (tuned(MAIN, m).tuning.mix.counts for m in ("multi-task + cot", "multi-task"))
    assert plain == {"hotpotqa react": 500, "strategyqa react": 388, "mmlu react": 456}
    added = {"hotpotqa cot": 187, "strategyqa cot": 380, "mmlu cot": 469}
    assert both == {**plain, **added}


def test_four_students_four_mixes_and_more_seeds_where_differences_are_small():
    assert len(STUDENTS) == 4 and MAIN in STUDENTS and SEEDS[0] == 0 and len(SEEDS) > 1
    found = Counter((a.model, a.tuning) for a in GRID)
    for model in STUDENTS:
        for name, mix in MIXES.items():
            for seed in SEEDS if (model, name) == (MAIN, "react") else SEEDS[:1]:
                tuning = Tuning(mix, replace(RECIPE, seed=seed))
                assert found[model, tuning] == 1, (model, name, seed)
                assert tuned(model, name, seed=seed).tuning == tuning


def test_prompting_of_all_models():
    there = {(a.model, a.method) for a in GRID if not a.tuning}
    assert there == {
        *((model, method) for model in MODELS for method in ("io", "cot", "react")),
        ("teacher", "reflexion"),
    }
    for model, method in there:
        assert prompted(model, method).name == f"{model}, {method}, 2 examples"


@pytest.mark.parametrize("seed", VARIANT_SEEDS)
def test_variants_of_the_main_student(seed):
    assert set(VARIANT_SEEDS) <= set(SEEDS), "each is compared with the standard of its seed"
    standard = tuned(MAIN, "react", seed=seed)
    assert standard.name == f"{MAIN}, react 500" and standard == tuned(
        MAIN, "react", count=500, seed=seed
    )
    for count in SIZES:
        agent = tuned(MAIN, "react", count=count, seed=seed)
        assert agent.label == f"react {count}"
        assert agent.tuning == replace(standard.tuning, mix=agent.tuning.mix)
        assert agent.tuning.mix.counts == {"hotpotqa react": count}
    assert VARIANTS == {
        "qlora": {"kind": "qlora"},
        "full": {"kind": "full", "learning_rate": FULL_RATE},
        "mask all turns": {"mask": "all turns"},
        "mask off": {"mask": "off"},
    }
    for variant, change in VARIANTS.items():
        agent = tuned(MAIN, "react", variant, seed=seed)
        assert agent.label == f"react 500, {variant}"
        recipe = replace(standard.tuning.recipe, **change)
        assert agent.tuning == replace(standard.tuning, recipe=recipe) != standard.tuning
    kept = tuned(MAIN, "react", UNFILTERED, seed=seed)
    assert kept.name == f"{MAIN}, react 500, failures kept"
    assert kept.tuning.recipe == standard.tuning.recipe
    assert kept.tuning.mix.parts == ((Source("hotpotqa", "react", filtered=False), 500),)
    cot, reflexion = (tuned(MAIN, m, seed=seed) for m in ("cot", "reflexion"))
    assert (cot.label, cot.tuning.mix.counts) == ("cot 187", {"hotpotqa cot": 187})
    assert (reflexion.label, reflexion.method_mix) == ("reflexion 47", "hotpotqa reflexion")


@pytest.mark.parametrize(
    ("look", "says"),
    [
        (lambda: tuned("student_code", "react", "qlora"), "'student_code, react 500, qlora' .*"
         "it has io, 2 examples .seed 0.; .*react 500 .seed 0."),
        (lambda: tuned(MAIN, "all", seed=1), "'student, all 500.187.47' of seed 1"),
        (lambda: tuned("llama", "react"), "only of student, student_code"),
        (lambda: prompted(MAIN, "reflexion"), "'student, reflexion, 2 examples'.*react, 2 ex"),
        (lambda: live("react+io"), "'student, live react.io'.*live react.cot .seed 0."),
    ],
)  # fmt: skip
def test_an_agent_that_the_grid_has_not_is_told_with_those_it_has(look, says):
    with pytest.raises(FireActError, match=says):
        look()


def test_the_standard_is_lora_with_loss_on_the_agents_words():
    assert (RECIPE.kind, RECIPE.mask, RECIPE.seed) == ("lora", "agent", 0)
    assert RECIPE.learning_rate > FULL_RATE


def test_the_noise_is_met_prompted_and_fine_tuned():
    assert (Condition("none", 0.5), Condition("random", 0.5)) == NOISE
    noisy = [a for a in GRID if conditions(a) >= {"normal", "none 0.5", "random 0.5"}]
    assert {(a.name, a.seed) for a in noisy} == {
        (f"{MAIN}, react, 2 examples", 0),
        (f"{MAIN}, react 500", 0),
        (f"{MAIN}, react+cot 500+187", 0),
    }
    assert all(conditions(a) == {"normal"} for a in GRID if a not in noisy)
    for agent in noisy:
        assert "bamboogle" in tasks(agent)


def test_several_tasks_are_played_by_whom_they_concern():
    everywhere = {a.name for a in GRID if tasks(a) == set(TASKS)}
    assert everywhere == {
        f"{MAIN}, io, 2 examples",
        f"{MAIN}, react, 2 examples",
        f"{MAIN}, react 500",
        f"{MAIN}, multi-task",
        f"{MAIN}, multi-task + cot",
    }
    assert all("hotpotqa" in tasks(a) for a in GRID)


def test_one_method_again_and_again_against_three_methods():
    repeated = {a.name: p for a in GRID for p in a.plays if p.temperature > 0}
    assert repeated.keys() == {"teacher, react, 2 examples", f"{MAIN}, react 500"}
    for play in repeated.values():
        assert (play.samples, play.temperature, play.condition) == (3, 0.6, NORMAL)
    assert all(p.samples == 1 for a in GRID for p in a.plays if p.temperature == 0)


def test_every_play_can_be_played():
    """Prompts with as many examples as the label says, questions, a tool."""
    for agent in GRID:
        for play in agent.plays:
            assert WORLD.questions(play.split, play.count, play.task)
            assert play.split == "test", "the grid is measured on test alone"
            assert WORLD.search(play.condition).name
            messages = WORLD.prompt(agent.method, play.task).messages
            asked = [m for m in messages if m["role"] == "user"]
            examples = sum(not m["content"].startswith("Observation") for m in asked)
            assert examples == (0 if agent.tuning else 2), f"{agent.name} on {play.task}"


def test_dev_shows_what_was_chosen_on_it_with_agents_of_the_grid():
    assert [a.method for a in dev_agents()] == list(PROMPTED)
    for agent in dev_agents():
        assert agent.model == "teacher"
        assert replace(agent, plays=()) == replace(prompted("teacher", agent.method), plays=())


# -- what it is made from -----------------------------------------------------------------------


def test_every_source_is_played_by_the_teacher_often_enough():
    most: Counter = Counter()
    for agent in [a for a in GRID if a.tuning]:
        for source, count in agent.tuning.mix.parts:
            played = replace(source, filtered=True)
            assert count <= TEACHER_PLAYS[played], f"{agent.name} asks for too many {source.name}"
            assert source.artifact in agent.inputs and source.artifact in LINKS
            most[played] = max(most[played], count)
    assert most.keys() == TEACHER_PLAYS.keys(), "what the teacher plays is used, all of it"
    for source, count in TEACHER_PLAYS.items():
        # Or it says that there are too few.
        questions = WORLD.questions("train", count, source.task)
        assert {q.split for q in questions} == {"train"}
        assert WORLD.prompt(source.method, source.task).messages


def test_inputs_are_the_model_and_each_source_once():
    assert prompted("student", "cot").inputs == ("student",)
    assert tuned(MAIN, "react", UNFILTERED).inputs == (MAIN, "teacher_hotpotqa_react")
    assert tuned("student_code", "all").inputs == (
        "student_code",
        "teacher_hotpotqa_react",
        "teacher_hotpotqa_cot",
        "teacher_hotpotqa_reflexion",
    )


# -- what is trained live, what is shipped ------------------------------------------------------


def test_live_cells_are_small_on_dev_and_have_seeds_enough_for_a_band():
    cells = live_agents()
    labels = {a.label for a in cells}
    assert {f"live {mix}" for mix in MIXES} <= labels
    assert {"live qlora", "live full", "live mask all turns", "live mask off"} <= labels
    for label in labels:
        of_it = [a for a in cells if a.label == label]
        assert sorted(a.seed for a in of_it) == list(LIVE_SEEDS) and len(LIVE_SEEDS) >= 5
        for agent in of_it:
            assert sum(agent.tuning.mix.counts.values()) == LIVE_COUNT
            assert agent.tuning.recipe.epochs == LIVE.epochs and agent.model == MAIN
            assert live(label.removeprefix("live "), agent.seed) == agent
            assert {(play.split, play.count) for play in agent.plays} == {("dev", LIVE_QUESTIONS)}
    # The shares of the paper's mixes are kept: 500 + 187 + 47.
    assert live("all").tuning.mix.sizes == "102+38+10"
    assert not {a.slug for a in cells} & {a.slug for a in agents()}


def test_the_shipped_live_outcomes_are_those_cells():
    rows = read_outcomes(shipped("live"))
    asked = {q.id for q in WORLD.questions("dev", LIVE_QUESTIONS)}
    played = {(o.agent, o.seed, o.condition): set() for o in rows}
    for o in rows:
        played[o.agent, o.seed, o.condition].add(o.question_id)
    assert played.keys() == {
        (a.name, a.seed, str(p.condition)) for a in live_agents() for p in a.plays
    }
    assert all(questions == asked for questions in played.values())
    assert {o.split for o in rows} == {"dev"}
    assert {o.provenance for o in rows} == {"shipped, fireact-nb artifacts live"}


def test_the_adapters_that_notebooks_need_are_shipped():
    shipped = shipped_agents()
    assert {a.tuning.recipe for a in shipped} == {RECIPE}
    assert {a.model for a in shipped if a.label == "react 500"} == set(STUDENTS)
    assert {a.tuning.mix for a in shipped if a.model == MAIN} == {
        *MIXES.values(), COT, MULTI_TASK_COT,
    }  # fmt: skip
    assert len(shipped) == 9
