"""A study at work: nothing is done twice, nothing stale is taken for new, a kill loses nothing."""

from __future__ import annotations

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


# -- a study that can be killed -----------------------------------------------------------------


class Guess:
    """Answers every question at once; `asked` holds (agent, question, sample) of each call."""

    endpoint, batch = "local", 8

    def __init__(self, agent: Agent, asked: list[tuple[str, str, int]]) -> None:
        self.name, self.asked = f"model of {agent.slug}", asked

    def reply(
        self, requests: Sequence[Request], done: Callable[[int, Reply], None] | None = None
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

    def stopped(self: Guess, requests: Sequence[Request], done: Callable | None = None) -> list:
        if len(asked) >= 12:  # in the third play
            raise KeyboardInterrupt
        return answer(self, requests, done)

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
    monkeypatch.setattr(runner, "LocalChat", lambda *paths, batch=64: chats.append(paths))
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
