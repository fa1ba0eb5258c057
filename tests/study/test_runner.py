"""A study at work: nothing is done twice, nothing stale is taken for new, a kill loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing import current_process

import pytest
from bench import FEW, Bench
from doubles import QUESTIONS

from fireact_nb.agent.prompting import parse_prompt
from fireact_nb.agent.search import Condition
from fireact_nb.agent.sources import Source
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.errors import FireActError
from fireact_nb.learning.mixing import Mix
from fireact_nb.learning.recipe import Recipe
from fireact_nb.study.grid import NOISE, Agent, Play, Tuning, agents, live, prompted, tuned
from fireact_nb.study.runner import Study, start_workers

TUNED, PROMPTED = tuned("student", "react+cot"), prompted("student", "react")
COT = replace(FEW, label="cot 3", plays=(Play(), Play(temperature=0.6, samples=3)))
PAIR = [FEW, COT]


def with_recipe(agent: Agent, **change: object) -> Agent:
    return replace(
        agent, tuning=replace(agent.tuning, recipe=replace(agent.tuning.recipe, **change))
    )


# -- what an agent is made from -----------------------------------------------------------------


def test_identities_and_plays_are_those_of_what_was_measured(bench):
    """Taken when a condition was a text and an agent's mix and recipe two fields."""
    study = replace(bench.study, world=Study().world)
    for agent, play, path in (
        (PROMPTED, Play(), "student_react_2_examples-8cc7ae1d/hotpotqa_test_normal_0_1_all_70200c"),
        (
            TUNED,
            Play(condition=NOISE[0], count=300),
            "student_react_cot_500_187_0-5da9a373/hotpotqa_test_none_0.5_0_1_300_81e4c3",
        ),
        (
            tuned("student", "react", "failures kept"),
            Play(),
            "student_react_500_failures_kept_0-e1186a19/hotpotqa_test_normal_0_1_all_81e4c3",
        ),
        (
            live("react+cot", 1),
            Play(split="dev", count=100),
            "student_live_react_cot_1-6632b008/hotpotqa_dev_normal_0_1_100_81e4c3",
        ),
    ):
        prompt = study.world.prompt(agent.method, play.task)
        assert study.play_file(agent, play, prompt) == (
            study.runs / "study" / "plays" / f"{path}.csv.gz"
        )


def test_an_identity_changes_with_all_an_agent_is_made_from(bench):
    identity = bench.study.identity
    seen = {identity(TUNED)}
    assert identity(replace(TUNED)) in seen
    for name in ("world", "student", "teacher_hotpotqa_react", "teacher_hotpotqa_cot"):
        bench.renew(name)
        seen.add(identity(TUNED))
    assert len(seen) == 5
    for change in ({"learning_rate": 1e-4}, {"kind": "qlora"}, {"mask": "off"}, {"epochs": 1}):
        seen.add(identity(with_recipe(TUNED, **change)))
    seen.add(identity(with_recipe(TUNED, seed=1)).replace("_1-", "_0-"))
    fewer = Mix(((Source("hotpotqa", "react"), 500), (Source("hotpotqa", "cot"), 186)))
    seen.add(identity(replace(TUNED, tuning=replace(TUNED.tuning, mix=fewer))))
    assert len(seen) == 11


def test_an_identity_changes_with_nothing_else(bench):
    identity = bench.study.identity
    before = {a: identity(a) for a in (TUNED, PROMPTED)}
    for name in ("teacher", "tokenizer", "student_large", "teacher_hotpotqa_reflexion"):
        bench.renew(name)
    assert {a: identity(a) for a in before} == before
    # What more is played leaves alone what was played.
    more = replace(TUNED, plays=(*TUNED.plays, Play("bamboogle")))
    assert identity(more) == identity(TUNED)


def test_prompted_agents_change_with_world_model_and_method(bench):
    identity = bench.study.identity
    seen = {identity(PROMPTED), identity(replace(PROMPTED, method="cot"))}
    for name in ("world", "student"):
        bench.renew(name)
        seen.add(identity(PROMPTED))
    assert len(seen) == 4
    bench.renew("teacher_hotpotqa_react")
    assert identity(PROMPTED) in seen


def test_no_two_agents_of_the_grid_share_a_folder(bench):
    assert len({bench.study.identity(a) for a in agents()}) == len(agents())


def test_what_the_manifest_lacks_is_named_with_its_command(bench):
    del bench.study.manifest["teacher_hotpotqa_cot"]
    with pytest.raises(FireActError, match="artifacts teacher_hotpotqa_cot"):
        bench.study.identity(TUNED)


# -- training -----------------------------------------------------------------------------------


def test_an_adapter_is_trained_once_and_rounded(bench):
    import torch
    from safetensors.torch import load_file

    folder = bench.study.train(FEW)
    ((model, chosen, recipe),) = bench.trained
    assert (model, len(chosen), recipe) == ("student", 3, FEW.tuning.recipe)
    assert set(chosen) <= {"t0", "t1", "t2", "t3"}
    assert "teacher_hotpotqa_react" in bench.looked_up
    weights = load_file(folder / "adapter_model.safetensors")["a"]
    assert weights.dtype == torch.float16
    assert torch.equal(weights, torch.full((8, 8), 1 / 3).half())
    record = json.loads((folder / "training.json").read_text("utf-8"))
    assert (record["agent"], record["seed"], record["folder"]) == (FEW.name, 4, "student_react_3_4")
    assert record["saved_bytes"] == (folder / "adapter_model.safetensors").stat().st_size > 1
    assert (record["examples"], record["trained_parameters"], record["seconds"]) == (3, 64, 2.5)
    assert record["recipe"]["rank"] == 2 and record["losses"] == [[1, 3.0], [5, 2.0]]
    assert bench.study.train(FEW) == folder and len(bench.trained) == 1
    other = bench.study.train(with_recipe(FEW, seed=5))
    assert other != folder and len(bench.trained) == 2


def test_a_training_without_its_record_was_cut_short_and_is_done_again(bench):
    folder = bench.study.train(FEW)
    (folder / "training.json").unlink()
    assert bench.study.train(FEW) == folder and len(bench.trained) == 2


def test_a_whole_model_is_left_in_full_precision(bench):
    import torch
    from safetensors.torch import load_file

    folder = bench.study.train(with_recipe(FEW, kind="full"))
    assert load_file(folder / "model.safetensors")["a"].dtype == torch.float32


def test_a_new_world_or_new_trajectories_are_trained_on_anew(bench):
    folders = {bench.study.train(FEW)}
    for name in ("world", "teacher_hotpotqa_react", "student"):
        bench.renew(name)
        folders.add(bench.study.train(FEW))
    assert len(folders) == len(bench.trained) == 4


def test_no_held_out_question_is_trained_on(bench):
    bench.world.held = [replace(QUESTIONS[0], id="t1")]
    all_four = Mix(((Source("hotpotqa", "react"), 4),))
    with pytest.raises(FireActError, match="answer held-out questions"):
        bench.study.train(replace(FEW, tuning=Tuning(all_four, Recipe())))
    assert not bench.trained


# -- a study that can be killed -----------------------------------------------------------------


def test_a_play_is_a_file_and_is_not_played_again(bench):
    noisy = Play(condition=Condition("none", 0.5))
    rows = bench.study.play(FEW, noisy)
    assert len(bench.asked) == len(rows) == 6
    (path,) = bench.plays()
    assert read_outcomes(path) == rows == bench.study.play(FEW, noisy)
    assert len(bench.asked) == 6 and (noisy.condition, 4) in bench.world.calls
    row = rows[0]
    model = f"model of {bench.study.identity(FEW)}"
    assert (row.agent, row.model, row.condition) == (FEW.name, model, "none 0.5")
    assert (row.method_mix, row.seed, row.task, row.split) == (
        "hotpotqa react", 4, "hotpotqa", "test",
    )  # fmt: skip
    assert row.correct == (QUESTIONS[0].answer == "colour 0")
    assert row.provenance == "measured in this run"


def test_each_task_split_condition_and_temperature_is_a_play_of_its_own(bench):
    different = (
        Play(),
        Play(split="dev"),
        Play("bamboogle"),
        Play(condition=NOISE[0]),
        Play(condition=NOISE[1]),
        Play(temperature=0.6),
    )
    for play in different:
        rows = bench.study.play(FEW, play)
        assert {(o.task, o.split, o.condition, o.temperature) for o in rows} == {
            (play.task, play.split, str(play.condition), play.temperature)
        }
    assert len(bench.plays()) == len(different) and len(bench.asked) == 6 * len(different)


def test_samples_are_told_apart_and_a_count_limits_the_questions(bench):
    rows = bench.study.play(FEW, Play(temperature=0.6, samples=3, count=2))
    assert [(o.question_id, o.sample) for o in rows] == [
        (f"hd0{n}", sample) for sample in range(3) for n in range(2)
    ]
    assert {o.temperature for o in rows} == {0.6}
    assert sorted({sample for _, _, sample in bench.asked}) == [0, 1, 2]


def test_a_play_of_other_samples_or_another_count_is_another_play(bench):
    play = Play(temperature=0.6, samples=3, count=2)
    assert len(bench.study.play(FEW, play)) == 6
    assert len(bench.study.play(FEW, replace(play, samples=4))) == 8
    assert len(bench.study.play(FEW, replace(play, count=None))) == 18


def test_an_edited_prompt_is_played_anew(bench):
    for text in ("Who?\nThought: t\nAction: finish[a]", "Who?\nThought: u\nAction: finish[a]"):
        bench.world.prompts = parse_prompt(f"Question: {text}", "react", "tiny")
        for _ in range(2):
            bench.study.play(PROMPTED, Play())
    assert len(bench.asked) == 2 * 6


def test_a_study_comes_in_the_order_of_its_grid_and_again_without_a_call(bench, capsys):
    rows = bench.study.run(PAIR, workers=3)
    assert len(bench.asked) == len(rows) == 6 * (3 + 1 + 3) and bench.pools == [3]
    assert [(o.agent, o.task, o.condition, o.temperature) for o in rows[::6]] == [
        (FEW.name, "hotpotqa", "normal", 0),
        (FEW.name, "hotpotqa", "none 0.5", 0),
        (FEW.name, "bamboogle", "normal", 0),
        (COT.name, "hotpotqa", "normal", 0),
        *[(COT.name, "hotpotqa", "normal", 0.6)] * 3,
    ]
    said = capsys.readouterr().out
    right = sum(q.answer == "colour 0" for q in QUESTIONS[:6])
    assert "[1/2] " in said and "[2/2] " in said
    assert f"{FEW.name}, seed 4: {right / 6:.1%} of 6" in said
    before = {path: path.stat().st_mtime_ns for path in bench.plays()}
    assert bench.study.run(PAIR) == rows
    assert len(bench.asked) == len(rows), "it asked again"
    assert {path: path.stat().st_mtime_ns for path in bench.plays()} == before


def test_only_the_play_that_is_missing_is_played(bench):
    rows = bench.study.run(PAIR)
    bench.asked.clear()
    (gone,) = [p for p in bench.plays() if "bamboogle" in p.name]
    gone.unlink()
    assert [replace(o, seconds=0) for o in bench.study.run(PAIR)] == [
        replace(o, seconds=0) for o in rows
    ]
    assert {name for name, _, _ in bench.asked} == {f"model of {bench.study.identity(FEW)}"}
    assert len(bench.asked) == 6 and len(bench.trained) == 2, "it was trained again"


def test_a_study_that_was_stopped_keeps_what_was_finished(bench):
    bench.stop = {"stop_at": 12}  # in the third play
    with pytest.raises(KeyboardInterrupt):
        bench.study.run(PAIR)
    assert len(bench.plays()) == 2 and len(bench.asked) == 12
    kept = bench.study.runs / "study" / "plays"
    assert not [p for p in kept.rglob("*") if "part" in p.name]
    bench.stop = {}
    rows = bench.study.run(PAIR)
    assert len(bench.asked) == len(rows) == 42, "what was finished was played again"


def test_the_error_of_one_agent_ends_the_study_and_is_told(bench):
    bench.stop = {"stop_at": 0, "error": FireActError}
    with pytest.raises(FireActError, match="The disk is full"):
        bench.study.run(PAIR)
    assert not bench.plays()


def test_results_of_earlier_artifacts_are_not_taken_for_new_ones(bench):
    bench.study.run(PAIR)
    bench.asked.clear()
    bench.renew("student")
    bench.study.run(PAIR)
    assert len(bench.asked) == 42 and len(bench.plays()) == 10


def test_a_full_model_is_played_without_and_an_adapter_with_its_base(bench):
    full = with_recipe(FEW, kind="full")
    for agent in (PROMPTED, FEW, full):
        bench.study.play(agent, Play())
    base = bench.folder / "student"
    trained = bench.study.train(FEW), bench.study.train(full)
    assert bench.chats == [(base,), (base, trained[0]), (trained[1],)]


# -- workers ------------------------------------------------------------------------------------


def _worker() -> tuple[str, int]:
    import torch

    return type(current_process()).__name__, torch.get_num_threads()


@pytest.mark.slow
def test_a_worker_is_a_process_of_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # what a worker would take by itself
    with start_workers(1) as pool:
        assert pool.submit(_worker).result() == ("SpawnProcess", 1)


def test_a_study_can_be_sent_to_its_workers():
    import pickle

    assert pickle.loads(pickle.dumps(Study())) == Study()


# -- costs and forecast -------------------------------------------------------------------------


def spend(bench: Bench, agent: Agent, *seconds: float) -> None:
    folder = bench.study.runs / "study" / "plays" / bench.study.identity(agent)
    folder.mkdir(parents=True)
    (folder / "seconds.txt").write_text("".join(f"{s}\n" for s in seconds))


def test_what_an_agent_took_is_added_up_over_its_plays(bench):
    assert bench.study.seconds(FEW) == 0.0
    spend(bench, FEW, 61.5, 8.5)
    assert bench.study.seconds(FEW) == 70.0
    bench.study.play(FEW, Play())
    assert 70.0 <= bench.study.seconds(FEW) < 75.0


def test_a_forecast_counts_what_is_left_by_what_it_took_before(bench):
    (bench.folder / "study_costs").write_text(
        json.dumps(
            [
                {"agent": PROMPTED.name, "seed": 0, "seconds": 3600},
                {"agent": TUNED.name, "seed": 0, "seconds": 1800},
                {"agent": TUNED.name, "seed": 1, "seconds": 99_999},
            ]
        )
    )
    forecast, grid = bench.study.forecast, [PROMPTED, TUNED]

    def mark(play: Play) -> None:
        prompt = bench.world.prompt(PROMPTED.method, play.task)
        bench.study.play_file(PROMPTED, play, prompt).write_text("played")

    assert forecast(grid, 1).startswith("2 of 2 agents")
    assert "about 1.5 hours on 1 cores" in forecast(grid, 1)
    assert "about 0.8 hours on 2 cores" in forecast(grid, 2)
    spend(bench, PROMPTED, 3000)
    for play in PROMPTED.plays[1:]:
        mark(play)
    assert forecast(grid, 1).startswith("2 of 2 agents"), "one play is missing"
    mark(PROMPTED.plays[0])
    assert forecast(grid, 1).startswith("1 of 2 agents")
    assert "about 0.5 hours" in forecast(grid, 1)
    unknown = [replace(TUNED, label=f"new {n}") for n in range(30)]
    assert "about 1.0 hours" in forecast(unknown, 1), "two minutes for what is unknown"


def test_costs_tell_what_each_agent_and_training_took(bench):
    spend(bench, PROMPTED, 12.4)
    spend(bench, FEW, 100.0, 50.6)
    few, prompted = bench.study.costs([FEW, PROMPTED])
    assert (few["agent"], few["seed"], few["seconds"]) == (FEW.name, 4, 151)
    assert (few["training"]["examples"], few["training"]["trained_parameters"]) == (3, 64)
    assert few["training"]["recipe"] == FEW.tuning.recipe.to_dict()
    assert prompted == {"agent": PROMPTED.name, "seed": 0, "seconds": 12}
    json.dumps([few, prompted])
