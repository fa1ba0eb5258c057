"""Every artifact's recipe: what it is made from and what is kept of it."""

from __future__ import annotations


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


def test_what_is_shipped_of_an_adapter(trainings, tmp_path, monkeypatch):
    chain.write_adapter(FEW, tmp_path / "out")
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "recipe.json"}
    made = runner.train_agent(FEW) / "adapter_model.safetensors"
    assert (tmp_path / "out" / made.name).read_bytes() == made.read_bytes()


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
