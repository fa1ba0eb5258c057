"""The grid of experiments, the recipes of the artifacts, and a study that goes on after a kill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from doubles import QUESTIONS, Pages, study_rows

from fireact_nb.agent.chat import Reply, Request
from fireact_nb.agent.prompting import load_prompt, parse_prompt
from fireact_nb.agent.search import Bm25, Unreliable
from fireact_nb.agent.trajectory import Step, Trajectory, read_trajectories, write_trajectories
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.artifacts import Artifact, shipped
from fireact_nb.errors import FireActError
from fireact_nb.learning.recipe import Recipe
from fireact_nb.learning.training import Training
from fireact_nb.study import chain, grid, runner
from fireact_nb.study.chain import LINKS, MODELS
from fireact_nb.study.grid import (
    COT,
    LIVE,
    LIVE_COUNT,
    LIVE_QUESTIONS,
    LIVE_SEEDS,
    MAIN,
    MIXES,
    MULTI_TASK_COT,
    NOISE,
    RECIPE,
    SEEDS,
    STUDENTS,
    TEACHER_PLAYS,
    VARIANT_SEEDS,
    Agent,
    Play,
    agents,
    dev_agents,
    live_agents,
    shipped_agents,
)
from fireact_nb.study.rendering import render_tables
from fireact_nb.study.tables import study_tables
from fireact_nb.tinyworld import shelf
from fireact_nb.tinyworld.shelf import prompt_set, tiny_questions

GRID = agents()
TASKS = {"hotpotqa", "strategyqa", "bamboogle", "mmlu"}


def one(name: str, seed: int = 0) -> Agent:
    (agent,) = [a for a in GRID if (a.name, a.seed) == (name, seed)]
    return agent


def tasks(agent: Agent) -> set[str]:
    """Where it is played as it is: nothing wrong with the tool, greedy, every question."""
    return {p.task for p in agent.plays if p == Play(p.task)}


def conditions(agent: Agent) -> set[str]:
    """The conditions it plays HotpotQA under; the noisy ones on half of the questions."""
    whole = Play(condition="normal")
    noisy = {Play(condition=c, count=300) for c in NOISE}
    return {p.condition for p in agent.plays if p == whole or p in noisy}


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
        assert bool(agent.parts) == bool(agent.recipe) == (agent.method == "fireact")


def test_an_agent_of_one_name_is_the_same_whatever_its_seed():
    for agent in GRID:
        if agent.recipe and agent.seed:
            first = one(agent.name)
            assert agent.parts == first.parts
            assert replace(agent.recipe, seed=0) == first.recipe


def test_the_papers_counts():
    assert grid.MIXES == {
        "react": (("hotpotqa react", 500),),
        "react+cot": (("hotpotqa react", 500), ("hotpotqa cot", 187)),
        "react+reflexion": (("hotpotqa react", 500), ("hotpotqa reflexion", 47)),
        "all": (("hotpotqa react", 500), ("hotpotqa cot", 187), ("hotpotqa reflexion", 47)),
    }
    both = dict(one(f"{MAIN}, multi-task + cot").parts)
    plain = dict(one(f"{MAIN}, multi-task").parts)
    assert plain == {"hotpotqa react": 500, "strategyqa react": 388, "mmlu react": 456}
    added = {"hotpotqa cot": 187, "strategyqa cot": 380, "mmlu cot": 469}
    assert both == {**plain, **added}


def test_four_students_four_mixes_and_more_seeds_where_differences_are_small():
    assert len(STUDENTS) == 4 and MAIN in STUDENTS and SEEDS[0] == 0 and len(SEEDS) > 1
    found = Counter(
        (a.model, a.parts, a.seed) for a in GRID if a.recipe == replace(RECIPE, seed=a.seed)
    )
    for model in STUDENTS:
        for mix, parts in grid.MIXES.items():
            for seed in SEEDS if (model, mix) == (MAIN, "react") else SEEDS[:1]:
                assert found[model, parts, seed] == 1, (model, mix, seed)


def test_prompting_of_all_models():
    prompted = {(a.model, a.method) for a in GRID if not a.parts}
    assert prompted == {
        *((model, method) for model in MODELS for method in ("io", "cot", "react")),
        ("teacher", "reflexion"),
    }


@pytest.mark.parametrize("seed", VARIANT_SEEDS)
def test_variants_of_the_main_student(seed):
    assert set(VARIANT_SEEDS) <= set(SEEDS), "each is compared with the standard of its seed"
    standard = one(f"{MAIN}, react 500", seed)
    for count in (100, 200, 1000):
        agent = one(f"{MAIN}, react {count}", seed)
        assert agent.parts == (("hotpotqa react", count),) and agent.recipe == standard.recipe
    changes = {
        "qlora": {"kind": "qlora"},
        "full": {"kind": "full", "rate": grid.FULL_RATE},
        "mask all turns": {"mask": "all turns"},
        "mask off": {"mask": "off"},
    }
    for label, change in changes.items():
        agent = one(f"{MAIN}, react 500, {label}", seed)
        assert agent.recipe == replace(standard.recipe, **change) != standard.recipe
        assert agent.parts == standard.parts
    kept = one(f"{MAIN}, react 500, failures kept", seed)
    assert kept.parts == (("hotpotqa react unfiltered", 500),) and kept.recipe == standard.recipe
    assert one(f"{MAIN}, cot 187", seed).parts == (("hotpotqa cot", 187),)
    assert one(f"{MAIN}, reflexion 47", seed).parts == (("hotpotqa reflexion", 47),)


def test_the_standard_is_lora_with_loss_on_the_agents_words():
    assert (RECIPE.kind, RECIPE.mask, RECIPE.seed) == ("lora", "agent", 0)
    assert RECIPE.rate > grid.FULL_RATE


def test_the_noise_is_met_prompted_and_fine_tuned():
    assert NOISE == ("none 0.5", "random 0.5")
    noisy = [a for a in GRID if conditions(a) >= {"normal", *NOISE}]
    assert {(a.name, a.seed) for a in noisy} == {
        (f"{MAIN}, react, 2 examples", 0),
        (f"{MAIN}, react 500", 0),
        (f"{MAIN}, react+cot 500+187", 0),
    }
    assert all(conditions(a) == {"normal"} for a in GRID if a not in noisy)
    for agent in noisy:
        assert "bamboogle" in tasks(agent)


def test_several_tasks_are_played_by_whom_they_concern():
    everywhere = {a.name for a in GRID if tasks(a) == TASKS}
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
        assert (play.samples, play.temperature, play.condition) == (3, 0.6, "normal")
    assert all(p.samples == 1 for a in GRID for p in a.plays if p.temperature == 0)


def test_every_play_can_be_played():
    """Prompts with as many examples as the label says, questions, a tool."""
    for agent in GRID:
        for play in agent.plays:
            assert tiny_questions(play.split, play.count, play.task)
            assert play.split == "test", "the grid is measured on test alone"
            shelf.make_search(play.condition)
            messages = load_prompt(agent.method, prompt_set(play.task)).messages
            asked = [m for m in messages if m["role"] == "user"]
            examples = sum(not m["content"].startswith("Observation") for m in asked)
            assert examples == (0 if agent.parts else 2), f"{agent.name} on {play.task}"


def test_dev_shows_what_was_chosen_on_it_with_agents_of_the_grid():
    assert [a.method for a in dev_agents()] == list(grid.PROMPTED)
    for agent in dev_agents():
        assert agent.model == "teacher" and replace(agent, plays=()) == replace(
            one(agent.name), plays=()
        )


# -- what it is made from -----------------------------------------------------------------------


def test_every_source_is_played_by_the_teacher_often_enough():
    most: Counter = Counter()
    for agent in GRID:
        for source, count in agent.parts:
            task, method, *rest = source.split()
            assert rest in ([], ["unfiltered"])
            assert count <= TEACHER_PLAYS[task, method], f"{agent.name} asks for too many {source}"
            assert f"teacher_{task}_{method}" in agent.inputs
            assert f"teacher_{task}_{method}" in LINKS
            most[task, method] = max(most[task, method], count)
    assert most.keys() == TEACHER_PLAYS.keys(), "what the teacher plays is used, all of it"
    for (task, method), count in TEACHER_PLAYS.items():
        questions = tiny_questions("train", count, task)  # or it says that there are too few
        assert {q.split for q in questions} == {"train"}
        assert load_prompt(method, prompt_set(task)).messages


def test_inputs_are_the_model_and_each_source_once():
    assert one("student, cot, 2 examples").inputs == ("student",)
    assert one(f"{MAIN}, react 500, failures kept").inputs == (MAIN, "teacher_hotpotqa_react")
    assert one("student_code, all 500+187+47").inputs == (
        "student_code",
        "teacher_hotpotqa_react",
        "teacher_hotpotqa_cot",
        "teacher_hotpotqa_reflexion",
    )


def test_each_artifact_is_made_after_what_it_is_made_from():
    """In this order `artifacts all` makes them; so there is no cycle either."""
    made: set[str] = set()
    for name, link in LINKS.items():
        assert set(link.inputs) <= made, f"{name} before {set(link.inputs) - made}"
        assert len(set(link.inputs)) == len(link.inputs)
        made.add(name)
    paths = [link.path for link in LINKS.values()]
    assert len({p.casefold() for p in paths}) == len(paths)
    assert not [p for p in paths if p.startswith(("/", ".."))]


def test_the_chain_holds_every_artifact():
    teacher_plays = {f"teacher_{task}_{method}" for task, method in TEACHER_PLAYS}
    adapters = {a.slug for a in shipped_agents()}
    tables = {"dev_outcomes", "study", "study_costs", "study_tables", "study_picture", "live"}
    assert LINKS.keys() == {"world", "tokenizer", *MODELS, *teacher_plays, *adapters, *tables}
    assert set(MODELS) == {"teacher", *STUDENTS}
    for name in MODELS:
        assert LINKS[name].inputs == ("world", "tokenizer")
    for name in teacher_plays:
        assert LINKS[name].inputs == ("world", "teacher")
    for agent in shipped_agents():
        assert LINKS[agent.slug].inputs == agent.inputs
    # A measurement is stale as soon as any model, trajectory or adapter is.
    assert {"world", *MODELS, *teacher_plays, *adapters} == set(LINKS["study"].inputs)
    assert LINKS["dev_outcomes"].inputs == ("world", "teacher")
    plays = {"teacher_hotpotqa_react", "teacher_hotpotqa_cot", "teacher_hotpotqa_reflexion"}
    assert set(LINKS["live"].inputs) == {"world", MAIN, *plays}


def test_live_cells_are_small_on_dev_and_have_seeds_enough_for_a_band():
    grid = live_agents()
    labels = {a.label for a in grid}
    assert {f"live {mix}" for mix in MIXES} <= labels
    assert {"live qlora", "live full", "live mask all turns", "live mask off"} <= labels
    for label in labels:
        cells = [a for a in grid if a.label == label]
        assert sorted(a.seed for a in cells) == list(LIVE_SEEDS) and len(LIVE_SEEDS) >= 5
        for agent in cells:
            assert sum(count for _, count in agent.parts) == LIVE_COUNT
            assert agent.recipe.epochs == LIVE.epochs and agent.model == MAIN
            assert {(play.split, play.count) for play in agent.plays} == {("dev", LIVE_QUESTIONS)}
    # The shares of the paper's mixes are kept: 500 + 187 + 47.
    [every] = [a for a in grid if a.label == "live all" and a.seed == 0]
    assert [count for _, count in every.parts] == [102, 38, 10]
    assert not {a.slug for a in grid} & {a.slug for a in agents()}


def test_the_shipped_live_outcomes_are_those_cells():
    rows = read_outcomes(shipped("live"))
    asked = {q.id for q in tiny_questions("dev", LIVE_QUESTIONS)}
    played = {(o.agent, o.seed, o.condition): set() for o in rows}
    for o in rows:
        played[o.agent, o.seed, o.condition].add(o.question_id)
    assert played.keys() == {(a.name, a.seed, p.condition) for a in live_agents() for p in a.plays}
    assert all(questions == asked for questions in played.values())
    assert {o.split for o in rows} == {"dev"}
    assert {o.provenance for o in rows} == {"shipped, fireact-nb artifacts live"}


def test_the_adapters_that_notebooks_need_are_shipped():
    shipped = shipped_agents()
    assert {a.recipe for a in shipped} == {RECIPE}
    assert {a.model for a in shipped if a.label == "react 500"} == set(STUDENTS)
    assert {a.parts for a in shipped if a.model == MAIN} == {
        *MIXES.values(), COT, MULTI_TASK_COT,
    }  # fmt: skip
    assert len(shipped) == 9


def test_an_unknown_artifact_is_named_with_the_choices():
    with pytest.raises(FireActError, match="no artifact 'studnet'. There are: world, tokenizer, t"):
        chain.remake("studnet")


def test_remaking_enters_the_manifest(tmp_path, monkeypatch):
    entered = []
    monkeypatch.setattr(chain, "DATA", tmp_path)
    monkeypatch.setattr(chain, "register", lambda *entry: entered.append(entry))
    link = chain.Link("deep/er/a.txt", ("world",), lambda path: path.write_text("made"))
    monkeypatch.setitem(LINKS, "a", link)
    chain.remake("a")
    path = tmp_path / "deep" / "er" / "a.txt"
    assert path.read_text() == "made"
    assert entered == [("a", path, ("world",), "fireact-nb artifacts a")]


# -- fingerprints -------------------------------------------------------------------------------


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch) -> dict[str, Artifact]:
    """A manifest that holds everything, to be changed at will."""
    made = {
        name: Artifact(link.path, f"sha of {name}", {}, "make")
        for name, link in LINKS.items()
        if not link.path.startswith("outcomes/")
    }
    monkeypatch.setattr(runner, "read_manifest", lambda: made)
    return made


def renew(manifest: dict[str, Artifact], name: str) -> None:
    manifest[name] = replace(manifest[name], sha256=f"new {manifest[name].sha256}")


TUNED = one("student, react+cot 500+187")
PROMPTED = one("student, react, 2 examples")


def test_a_fingerprint_changes_with_all_an_agent_is_made_from(manifest):
    before = runner._fingerprint(TUNED)
    assert before == runner._fingerprint(replace(TUNED)) and len(before) == 8
    seen = {before}
    for name in ("world", "student", "teacher_hotpotqa_react", "teacher_hotpotqa_cot"):
        renew(manifest, name)
        seen.add(runner._fingerprint(TUNED))
    assert len(seen) == 5
    for change in ({"rate": 1e-4}, {"kind": "qlora"}, {"mask": "off"}, {"seed": 1}, {"epochs": 1}):
        seen.add(runner._fingerprint(replace(TUNED, recipe=replace(TUNED.recipe, **change))))
    fewer = (("hotpotqa react", 500), ("hotpotqa cot", 186))
    seen.add(runner._fingerprint(replace(TUNED, parts=fewer)))
    assert len(seen) == 11


def test_a_fingerprint_changes_with_nothing_else(manifest):
    agents_before = {a: runner._fingerprint(a) for a in (TUNED, PROMPTED)}
    for name in ("teacher", "tokenizer", "student_large", "teacher_hotpotqa_reflexion"):
        renew(manifest, name)
    assert {a: runner._fingerprint(a) for a in agents_before} == agents_before
    # What more is played leaves alone what was played.
    more = replace(TUNED, plays=(*TUNED.plays, Play("bamboogle")))
    assert runner._fingerprint(more) == runner._fingerprint(TUNED)


def test_prompted_agents_change_with_world_model_and_method(manifest):
    seen = {runner._fingerprint(PROMPTED), runner._fingerprint(replace(PROMPTED, method="cot"))}
    for name in ("world", "student"):
        renew(manifest, name)
        seen.add(runner._fingerprint(PROMPTED))
    assert len(seen) == 4
    renew(manifest, "teacher_hotpotqa_react")
    assert runner._fingerprint(PROMPTED) in seen


def test_no_two_agents_of_the_grid_share_a_folder(manifest):
    folders = {f"{a.slug}-{runner._fingerprint(a)}" for a in GRID}
    assert len(folders) == len(GRID)


# -- tools and sources --------------------------------------------------------------------------


def test_the_tool_under_its_conditions(monkeypatch):
    tool = Bm25(["Ann: Writer of novels.", "Bo: City of rain.", "Cy: River in Bo."], "few")
    monkeypatch.setattr(shelf, "tiny_search", lambda: tool)
    assert shelf.make_search("normal", 5) is tool
    for condition, mode in (("none 0.5", "none"), ("random 0.5", "random")):
        noisy = shelf.make_search(condition, 5)
        assert isinstance(noisy, Unreliable)
        assert (noisy.tool, noisy.p, noisy.mode, noisy.seed) == (tool, 0.5, mode, 5)
    with pytest.raises(ValueError, match="mode"):
        shelf.make_search("quiet 0.5")


def story(number: int, rounds: int, correct: bool = True, state: str = "finished") -> Trajectory:
    steps = [Step.of("I look.", "search", f"thing {n}", "Nothing.") for n in range(rounds - 1)]
    return Trajectory(
        f"t{number}",
        f"Who made thing {number}?",
        (*steps, Step.of("I know.", "finish", "Ann")),
        answer="Ann",
        gold="Ann",
        correct=correct,
        state=state,
    )


STORIES = [
    story(0, 2),
    story(1, 5),
    story(2, 6),
    story(3, 9),
    story(4, 7, correct=False),
    story(5, 3, correct=False, state="malformed"),
]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The same few trajectories for every source; holds the names that were asked for."""
    asked = []
    write_trajectories(tmp_path / "played.jsonl.gz", STORIES)

    def shipped(name: str) -> Path:
        asked.append(name)
        return tmp_path / "played.jsonl.gz" if name.startswith("teacher_") else tmp_path / name

    monkeypatch.setattr(runner, "shipped", shipped)
    return asked


def test_sources_are_filtered_unless_their_name_says_otherwise(sources):
    def ids(source: str) -> list[str]:
        return [t.question_id for t in runner.load_source(source)]

    assert ids("hotpotqa react") == ["t0", "t1", "t2", "t3"]
    assert ids("mmlu cot") == ["t0", "t1", "t2", "t3"]
    assert ids("hotpotqa react unfiltered") == [f"t{n}" for n in range(6)]
    assert ids("hotpotqa reflexion") == ["t2", "t3"], "rescued at or after the reflection"
    expected = ["hotpotqa_react", "mmlu_cot", "hotpotqa_react", "hotpotqa_reflexion"]
    assert sources == [f"teacher_{name}" for name in expected]


# -- training -----------------------------------------------------------------------------------

FEW = Agent(
    "student",
    "react 3",
    parts=(("hotpotqa react", 3),),
    recipe=Recipe(kind="lora", rank=2, seed=4),
    plays=(Play(), Play(condition="none 0.5"), Play("bamboogle")),
)


@pytest.fixture
def trainings(tmp_path, monkeypatch, manifest, sources) -> list[tuple]:
    """Fine-tuning that writes an adapter of float32 at once; holds what it was called with."""
    import torch
    from safetensors.torch import save_file

    called = []

    def fake(
        model: Path, chosen: Sequence[Trajectory], folder: Path, recipe: Recipe, progress: bool
    ) -> Training:
        called.append((model.name, sorted(t.question_id for t in chosen), recipe))
        folder.mkdir(parents=True, exist_ok=True)
        kind = "model" if recipe.kind == "full" else "adapter_model"
        save_file({"a": torch.full((8, 8), 1 / 3)}, folder / f"{kind}.safetensors")
        (folder / "adapter_config.json").write_text("{}")
        (folder / "recipe.json").write_text("{}")
        return Training(folder, len(chosen), 99, 64, 128, 1, 2.5, ((1, 3.0), (5, 2.0)))

    monkeypatch.setattr(runner, "fine_tune", fake)
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runner, "held_out_questions", lambda: QUESTIONS)
    return called


def test_an_adapter_is_trained_once_and_rounded(trainings):
    import torch
    from safetensors.torch import load_file

    folder = runner.train_agent(FEW)
    ((model, chosen, recipe),) = trainings
    assert (model, len(chosen), recipe) == ("student", 3, FEW.recipe)
    assert set(chosen) <= {"t0", "t1", "t2", "t3"}
    weights = load_file(folder / "adapter_model.safetensors")["a"]
    assert weights.dtype == torch.float16
    assert torch.equal(weights, torch.full((8, 8), 1 / 3).half())
    record = json.loads((folder / "training.json").read_text("utf-8"))
    assert (record["agent"], record["seed"], record["folder"]) == (FEW.name, 4, "student_react_3_4")
    assert record["saved_bytes"] == (folder / "adapter_model.safetensors").stat().st_size > 1
    assert (record["examples"], record["trained_parameters"], record["seconds"]) == (3, 64, 2.5)
    assert record["recipe"]["rank"] == 2 and record["losses"] == [[1, 3.0], [5, 2.0]]
    assert runner.train_agent(FEW) == folder and len(trainings) == 1
    other = runner.train_agent(replace(FEW, recipe=replace(FEW.recipe, seed=5)))
    assert other != folder and len(trainings) == 2


def test_a_training_without_its_record_was_cut_short_and_is_done_again(trainings):
    folder = runner.train_agent(FEW)
    (folder / "training.json").unlink()
    assert runner.train_agent(FEW) == folder and len(trainings) == 2


def test_a_whole_model_is_left_in_full_precision(trainings):
    import torch
    from safetensors.torch import load_file

    folder = runner.train_agent(replace(FEW, recipe=replace(FEW.recipe, kind="full")))
    assert load_file(folder / "model.safetensors")["a"].dtype == torch.float32


def test_a_new_world_or_new_trajectories_are_trained_on_anew(trainings, manifest):
    folders = {runner.train_agent(FEW)}
    for name in ("world", "teacher_hotpotqa_react", "student"):
        renew(manifest, name)
        folders.add(runner.train_agent(FEW))
    assert len(folders) == len(trainings) == 4


def test_no_held_out_question_is_trained_on(trainings, monkeypatch):
    leak = replace(QUESTIONS[0], id="t1")
    monkeypatch.setattr(runner, "held_out_questions", lambda: [leak])
    with pytest.raises(FireActError, match="answer held-out questions"):
        runner.train_agent(replace(FEW, parts=(("hotpotqa react", 4),)))
    assert not trainings


def test_what_is_shipped_of_an_adapter(trainings, tmp_path, monkeypatch):
    chain.write_adapter(FEW, tmp_path / "out")
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "recipe.json"}
    made = runner.train_agent(FEW) / "adapter_model.safetensors"
    assert (tmp_path / "out" / made.name).read_bytes() == made.read_bytes()


# -- a study that can be killed -----------------------------------------------------------------


class Guess:
    """Answers every question at once; `asked` holds (agent, question, sample) of each call."""

    endpoint, batch_size = "local", 8

    def __init__(self, agent: Agent, asked: list[tuple[str, str, int]]) -> None:
        self.name, self.asked = f"model of {agent.slug}", asked

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: object = None,
    ) -> list[Reply]:
        replies = []
        for place, request in enumerate(requests):
            question = request.messages[-1]["content"]
            self.asked.append((self.name, question, request.sample))
            text = f"Thought: I guess.\nAction: finish[colour {request.sample % 3}]"
            replies.append(Reply(text, 10, 5, "stop", 0.001))
            if done:
                done(place, replies[-1])
        return replies


PAIR = [FEW, replace(FEW, label="cot 3", plays=(Play(), Play(temperature=0.6, samples=3)))]


@pytest.fixture
def asked(trainings, monkeypatch) -> list[tuple[str, str, int]]:
    """A study of stand-ins: what is asked, over all agents, until it is cleared."""
    calls: list[tuple[str, str, int]] = []

    def questions(split: str, count: int | None = None, task: str = "hotpotqa") -> list:
        prefix = {"hotpotqa": "h", "bamboogle": "b"}[task]
        chosen = [replace(q, id=f"{prefix}{q.id}", task=task, split=split) for q in QUESTIONS[:6]]
        return chosen[:count]

    def chat(agent: Agent) -> Guess:
        if agent.parts:
            runner.train_agent(agent)
        return Guess(agent, calls)

    monkeypatch.setattr(runner, "tiny_questions", questions)
    monkeypatch.setattr(runner, "_chat", chat)
    monkeypatch.setattr(shelf, "tiny_search", Pages)
    # In this process, that the stand-ins are there; what it calls first would slow other tests.
    monkeypatch.setattr(
        "concurrent.futures.ProcessPoolExecutor", lambda n, *_: ThreadPoolExecutor(1)
    )
    return calls


def plays() -> list[Path]:
    return sorted((runner.RUNS / "study" / "plays").rglob("*.csv.gz"))


def test_a_play_is_a_file_and_is_not_played_again(asked):
    rows = runner.play_agent(FEW, Play(condition="none 0.5"))
    assert len(asked) == len(rows) == 6
    (path,) = plays()
    assert read_outcomes(path) == rows == runner.play_agent(FEW, Play(condition="none 0.5"))
    assert len(asked) == 6
    row = rows[0]
    assert (row.agent, row.model, row.condition) == (FEW.name, f"model of {FEW.slug}", "none 0.5")
    assert (row.method_mix, row.seed, row.task, row.split) == (
        "hotpotqa react", 4, "hotpotqa", "test",
    )  # fmt: skip
    assert row.correct == (QUESTIONS[0].answer == "colour 0")
    assert "shipped" in row.provenance


def test_each_task_split_condition_and_temperature_is_a_play_of_its_own(asked):
    different = (
        Play(),
        Play(split="dev"),
        Play("bamboogle"),
        Play(condition="none 0.5"),
        Play(condition="random 0.5"),
        Play(temperature=0.6),
    )
    for play in different:
        rows = runner.play_agent(FEW, play)
        assert {(o.task, o.split, o.condition, o.temperature) for o in rows} == {
            (play.task, play.split, play.condition, play.temperature)
        }
    assert len(plays()) == len(different) and len(asked) == 6 * len(different)


def test_samples_are_told_apart_and_a_count_limits_the_questions(asked):
    rows = runner.play_agent(FEW, Play(temperature=0.6, samples=3, count=2))
    assert [(o.question_id, o.sample) for o in rows] == [
        (f"hd0{n}", sample) for sample in range(3) for n in range(2)
    ]
    assert {o.temperature for o in rows} == {0.6}
    assert sorted({sample for _, _, sample in asked}) == [0, 1, 2]


def test_a_play_of_other_samples_or_another_count_is_another_play(asked):
    play = Play(temperature=0.6, samples=3, count=2)
    assert len(runner.play_agent(FEW, play)) == 6
    assert len(runner.play_agent(FEW, replace(play, samples=4))) == 8
    assert len(runner.play_agent(FEW, replace(play, count=None))) == 18


def test_an_edited_prompt_is_played_anew(asked, monkeypatch):
    for text in ("Who?\nThought: t\nAction: finish[a]", "Who?\nThought: u\nAction: finish[a]"):
        prompt = parse_prompt(f"Question: {text}", "react", "tiny")
        monkeypatch.setattr(runner, "load_prompt", lambda *_, prompt=prompt: prompt)
        for _ in range(2):
            runner.play_agent(PROMPTED, Play())
    assert len(asked) == 2 * 6


def test_a_study_comes_in_the_order_of_its_grid_and_again_without_a_call(asked, capsys):
    rows = runner.run_study(PAIR)
    assert len(asked) == len(rows) == 6 * (3 + 1 + 3)
    assert [(o.agent, o.task, o.condition, o.temperature) for o in rows[::6]] == [
        (FEW.name, "hotpotqa", "normal", 0),
        (FEW.name, "hotpotqa", "none 0.5", 0),
        (FEW.name, "bamboogle", "normal", 0),
        (PAIR[1].name, "hotpotqa", "normal", 0),
        *[(PAIR[1].name, "hotpotqa", "normal", 0.6)] * 3,
    ]
    said = capsys.readouterr().out
    right = sum(q.answer == "colour 0" for q in QUESTIONS[:6])
    assert "[1/2] " in said and "[2/2] " in said
    assert f"{FEW.name}, seed 4: {right / 6:.1%} of 6" in said
    before = {path: path.stat().st_mtime_ns for path in plays()}
    assert runner.run_study(PAIR) == rows
    assert len(asked) == len(rows), "it asked again"
    assert {path: path.stat().st_mtime_ns for path in plays()} == before


def test_only_the_play_that_is_missing_is_played(asked, trainings):
    rows = runner.run_study(PAIR)
    asked.clear()
    (gone,) = [p for p in plays() if "bamboogle" in p.name]
    gone.unlink()
    assert [replace(o, seconds=0) for o in runner.run_study(PAIR)] == [
        replace(o, seconds=0) for o in rows
    ]
    assert {name for name, _, _ in asked} == {f"model of {FEW.slug}"} and len(asked) == 6
    assert len(trainings) == 2, "it was trained again"


def test_a_study_that_was_stopped_keeps_what_was_finished(asked, monkeypatch):
    answer = Guess.reply

    def stopped(self: Guess, *call: object) -> list:
        if len(asked) >= 12:  # in the third play
            raise KeyboardInterrupt
        return answer(self, *call)  # type: ignore[arg-type]

    monkeypatch.setattr(Guess, "reply", stopped)
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(PAIR)
    kept = plays()
    assert len(kept) == 2 and len(asked) == 12
    assert not [p for p in (runner.RUNS / "study" / "plays").rglob("*") if "part" in p.name]
    monkeypatch.setattr(Guess, "reply", answer)
    rows = runner.run_study(PAIR)
    assert len(asked) == len(rows) == 42, "what was finished was played again"


def test_the_error_of_one_agent_ends_the_study_and_is_told(asked, monkeypatch):
    def fails(self: Guess, *_: object) -> list:
        raise FireActError("The disk is full.")

    monkeypatch.setattr(Guess, "reply", fails)
    with pytest.raises(FireActError, match="The disk is full"):
        runner.run_study(PAIR)
    assert not plays()


def test_results_of_earlier_artifacts_are_not_taken_for_new_ones(asked, manifest):
    runner.run_study(PAIR)
    asked.clear()
    renew(manifest, "student")
    runner.run_study(PAIR)
    assert len(asked) == 42 and len(plays()) == 10


def test_the_teachers_trajectories_are_kept_failures_too_and_asked_for_once(
    asked, tmp_path, monkeypatch
):
    teacher, conditions = Agent("teacher", "plays"), []
    monkeypatch.setattr(chain, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(chain, "shipped", lambda name: tmp_path / name)
    monkeypatch.setattr(chain, "LocalChat", lambda path: Guess(teacher, asked))
    monkeypatch.setattr(chain, "make_search", lambda c: conditions.append(c) or Pages())
    called = []

    def questions(*arguments: object) -> list:
        called.append(arguments)
        return QUESTIONS[:6]

    monkeypatch.setattr(chain, "tiny_questions", questions)
    for name in ("one", "again"):
        LINKS["teacher_mmlu_react"].make(tmp_path / f"{name}.jsonl.gz")
    assert called == [("train", TEACHER_PLAYS["mmlu", "react"], "mmlu")] * 2
    assert len(asked) == 6, "the journal was not used"
    one, again = (tmp_path / f"{name}.jsonl.gz" for name in ("one", "again"))
    assert one.read_bytes() == again.read_bytes()
    played = read_trajectories(one)
    assert [t.question_id for t in played] == [q.id for q in QUESTIONS[:6]]
    assert {t.method for t in played} == {"react"}
    assert {bool(t.correct) for t in played} == {True, False}
    # Reflexion has something to reflect on where the tool fails; every other play has a good tool.
    LINKS["teacher_hotpotqa_reflexion"].make(tmp_path / "reflexion.jsonl.gz")
    assert conditions == ["normal", "normal", grid.REFLEXION_SEARCH]
    assert isinstance(shelf.make_search(grid.REFLEXION_SEARCH), Unreliable)


def test_the_tables_are_made_of_the_shipped_outcomes_and_costs(tmp_path, monkeypatch):
    rows = study_rows(questions=4)
    full = f"{MAIN}, react 500, full"
    training = {"seconds": 7.0, "saved_bytes": 10, "trained_parameters": 4321}
    costs = [{"agent": full, "seed": 0, "seconds": 9, "training": training}]
    monkeypatch.setattr(chain, "run_study", lambda: rows)
    monkeypatch.setattr(chain, "study_costs", lambda: costs)
    monkeypatch.setattr(chain, "shipped", lambda name: tmp_path / Path(LINKS[name].path).name)
    monkeypatch.setattr(chain, "provenance", lambda name: f"shipped {name}")
    for name in ("study", "study_costs", "study_tables"):
        LINKS[name].make(chain.shipped(name))
    kept = read_outcomes(tmp_path / "study.csv.gz")
    assert kept == [replace(row, seconds=round(row.seconds, 3)) for row in rows]
    rows = kept
    text = (tmp_path / "study.md").read_text("utf-8")
    assert text == render_tables(study_tables(rows, costs), "shipped study")
    assert "4,321 weights trained" in text


def test_what_was_played_on_dev_says_how_it_was_made(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "dev_agents", lambda: [FEW])
    LINKS["dev_outcomes"].make(tmp_path / "dev.csv.gz")
    rows = read_outcomes(tmp_path / "dev.csv.gz")
    assert len(rows) == 6 and {o.split for o in rows} == {"dev"}
    assert {o.provenance for o in rows} == {"shipped, fireact-nb artifacts dev_outcomes"}


# -- costs and forecast -------------------------------------------------------------------------


def spend(agent: Agent, *seconds: float) -> None:
    folder = runner.RUNS / "study" / "plays" / f"{agent.slug}-{runner._fingerprint(agent)}"
    folder.mkdir(parents=True)
    (folder / "seconds.txt").write_text("".join(f"{s}\n" for s in seconds))


def test_what_an_agent_took_is_added_up_over_its_plays(asked):
    assert runner.spent_seconds(FEW) == 0.0
    spend(FEW, 61.5, 8.5)
    assert runner.spent_seconds(FEW) == 70.0
    runner.play_agent(FEW, Play())
    assert 70.0 <= runner.spent_seconds(FEW) < 75.0


def test_a_forecast_counts_what_is_left_by_what_it_took_before(
    trainings, tmp_path, monkeypatch, manifest
):
    costs = tmp_path / "costs.json"
    costs.write_text(
        json.dumps(
            [
                {"agent": PROMPTED.name, "seed": 0, "seconds": 3600},
                {"agent": TUNED.name, "seed": 0, "seconds": 1800},
                {"agent": TUNED.name, "seed": 1, "seconds": 99_999},
            ]
        )
    )
    monkeypatch.setattr(runner, "shipped", lambda name: {"study_costs": costs}[name])
    grid = [PROMPTED, TUNED]
    assert runner.forecast_study(grid, 1).startswith("2 of 2 agents")
    assert "about 1.5 hours on 1 cores" in runner.forecast_study(grid, 1)
    assert "about 0.8 hours on 2 cores" in runner.forecast_study(grid, 2)
    spend(PROMPTED, 3000)
    for play in PROMPTED.plays[1:]:
        runner._play_file(PROMPTED, play).write_text("played")
    assert runner.forecast_study(grid, 1).startswith("2 of 2 agents"), "one play is missing"
    runner._play_file(PROMPTED, PROMPTED.plays[0]).write_text("played")
    assert runner.forecast_study(grid, 1).startswith("1 of 2 agents")
    assert "about 0.5 hours" in runner.forecast_study(grid, 1)
    unknown = [replace(TUNED, label=f"new {n}") for n in range(30)]
    assert "about 1.0 hours" in runner.forecast_study(unknown, 1), "two minutes for what is unknown"


def test_costs_tell_what_each_agent_and_training_took(asked, monkeypatch):
    monkeypatch.setattr(runner, "agents", lambda: [FEW, PROMPTED])
    spend(PROMPTED, 12.4)
    spend(FEW, 100.0, 50.6)
    few, prompted = runner.study_costs()
    assert (few["agent"], few["seed"], few["seconds"]) == (FEW.name, 4, 151)
    assert (few["training"]["examples"], few["training"]["trained_parameters"]) == (3, 64)
    assert prompted == {"agent": PROMPTED.name, "seed": 0, "seconds": 12}
    json.dumps([few, prompted])


def test_a_full_model_is_played_without_and_an_adapter_with_its_base(trainings, monkeypatch):
    chats = []
    monkeypatch.setattr(runner, "LocalChat", lambda *paths, batch_size=64: chats.append(paths))
    full = replace(FEW, recipe=replace(FEW.recipe, kind="full"))
    for agent in (PROMPTED, FEW, full):
        runner._chat(agent)
    base = runner.shipped("student")
    assert chats == [(base,), (base, runner.train_agent(FEW)), (runner.train_agent(full),)]


def test_a_worker_takes_one_thread(monkeypatch):
    import torch

    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    made = SimpleNamespace()

    def pool(workers: int, context: object, initializer: Callable) -> ThreadPoolExecutor:
        made.workers, made.method = workers, context.get_start_method()
        return ThreadPoolExecutor(1, initializer=initializer)

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", pool)
    monkeypatch.setattr(runner, "_work", lambda agent: (1, 2, 3.0))
    assert runner.run_study([replace(FEW, plays=())], workers=3) == []
    assert (made.workers, made.method, taken) == (3, "spawn", [1])
