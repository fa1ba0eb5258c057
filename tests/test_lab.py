"""A profile opens: the same calls give questions, tool, prompts, models and trajectories."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from servers import ChatServer, says

from fireact_nb import artifacts, lab
from fireact_nb.agent import (
    NORMAL,
    Condition,
    Request,
    Source,
    Step,
    Trajectory,
    write_trajectories,
)
from fireact_nb.artifacts import find_model, shipped
from fireact_nb.cli import make_parser
from fireact_nb.errors import FireActError
from fireact_nb.lab import Lab, Written, open_lab
from fireact_nb.profiles import PROFILES, Profile, load_profile
from fireact_nb.tinyworld import TinyWorld

TINY = open_lab("tiny")


def solved(number: int) -> Trajectory:
    step = Step.of("I know.", "finish", "Ann")
    return Trajectory(f"q{number}", f"Who is {number}?", (step,), answer="Ann", correct=True)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(artifacts, "RUNS", tmp_path)
    return tmp_path


def test_an_unknown_profile_is_named_with_the_choices() -> None:
    with pytest.raises(FireActError, match="'large'.*tiny"):
        open_lab("large")


@pytest.mark.parametrize("name", PROFILES)
def test_printing_a_lab_shows_the_configuration(name: str) -> None:
    opened = open_lab(name)
    profile = PROFILES[name]
    for word in (profile.name, profile.world, profile.teacher, profile.student):
        assert word in str(opened)


def test_the_world_wears_the_face() -> None:
    """The real one: realworld/test_shelf."""
    world = TINY.world
    dev = world.questions("dev", 3)
    assert [q.split for q in dev] == ["dev"] * 3
    assert {q.id for q in dev} <= {q.id for q in world.held_out()}
    assert not {q.id for q in world.questions("train", 3)} & {q.id for q in world.held_out()}
    for method in ("io", "cot", "react", "reflexion", "fireact"):
        assert world.prompt(method).method == method
    sound, failing = world.search(), world.search(Condition("none", 1.0))
    assert failing.search(dev[0].question) == "None" != sound.search(dev[0].question)
    assert failing.name != sound.name, "a journal must tell them apart"
    assert world.written(Source("hotpotqa", "react"))[-1].path.exists()


def test_the_tools_dice_are_the_seeds() -> None:
    words = [q.question for q in TINY.questions("dev", 40)]
    half = Condition("none", 0.5)
    one, again, other = (
        [TINY.search(half, seed).search(w, "salt") for w in words] for seed in (1, 1, 2)
    )
    assert one == again != other
    assert TINY.search(NORMAL, 5) is TINY.search()


def test_models_are_found_by_name_or_folder(tmp_path: Path) -> None:
    assert TINY.student == find_model("student") == shipped("student")
    assert find_model(str(tmp_path)) == tmp_path
    assert find_model("world") == Path("world"), "what is shipped and no model is no model"
    elsewhere = Lab(replace(TINY.profile, student=str(tmp_path)), TinyWorld())
    assert elsewhere.student == tmp_path


def test_the_shipped_trajectories_are_those_of_the_source() -> None:
    found = TINY.written("reflexion", own=False)
    assert found.origin.label.startswith("shipped (")
    assert 0 < len(found.kept) < len(found.played)
    assert list(found.kept) == Source("hotpotqa", "reflexion").select(found.played)


@pytest.mark.parametrize(("task", "method"), [("hotpotqa", "react"), ("mmlu", "cot")])
def test_a_shipped_origin_says_how_to_make_ones_own(task: str, method: str) -> None:
    command = TINY.written(method, task, own=False).origin.hint
    options = make_parser().parse_args(command.split()[1:])
    assert (options.task, options.method, options.split) == (task, method, "train")
    assert options.out is None, "then it writes where the lab looks, from whichever folder"


def test_own_trajectories_are_taken_when_there_are_enough(runs: Path) -> None:
    def read(**more: int) -> Written:
        return TINY.written("react", **more)

    assert read().origin.label.startswith("shipped")
    write_trajectories(runs / "02" / "teacher_react.jsonl", [solved(1), solved(1), solved(2)])
    assert read(least=2).origin.label == f"your own run ({runs.name}/02/teacher_react.jsonl)"
    assert read(least=3).origin.label.startswith("shipped"), "the same twice counts once"
    write_trajectories(runs / "teacher_react.jsonl", [solved(n) for n in range(4)])
    assert read(least=2).origin.path == runs / "teacher_react.jsonl", "the larger file goes first"
    assert [len(read(least=4).kept), len(read(least=4).played)] == [4, 4]
    assert TINY.written("react", own=False).origin.label.startswith("shipped")


def test_own_failures_do_not_count(runs: Path) -> None:
    wrong = [replace(solved(n), correct=False) for n in range(9)]
    write_trajectories(runs / "teacher_react.jsonl", [*wrong, solved(9)])
    found = TINY.written("react", least=1)
    assert (len(found.played), len(found.kept)) == (10, 1)
    assert TINY.written("react", least=2).origin.label.startswith("shipped")


def test_a_tiny_world_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(TinyWorld())) == TinyWorld()


def test_a_new_world_is_a_new_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another profile plays another world through the same calls."""

    class Elsewhere(TinyWorld):
        def questions(self, split, count=None, task="hotpotqa"):
            return super().questions("train", count, task)

    monkeypatch.setitem(lab.WORLDS, "elsewhere", lambda profile: Elsewhere())
    monkeypatch.setitem(PROFILES, "other", Profile("other", "elsewhere", "teacher", "student"))
    assert {q.split for q in open_lab("other").questions("dev", 2)} == {"train"}


@pytest.mark.slow
def test_a_student_answers_as_it_is_and_with_an_adapter() -> None:
    bare = TINY.chat()
    tuned = TINY.chat(shipped("student_react_500_0"), batch_size=7)
    assert bare.name != tuned.name and tuned.name.startswith(bare.name)
    assert tuned.batch_size == 7
    whole = TINY.chat(shipped("student_code"))
    assert whole.name.startswith("student_code@"), "a folder with a model takes the student's place"


# -- profiles: the real ones, and a reader's own ------------------------------------------------


def write_profile(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_reader_changes_parts_of_a_profile(tmp_path: Path) -> None:
    mine = load_profile(write_profile(tmp_path, 'student = "Qwen/Qwen2.5-0.5B-Instruct"'))
    assert (mine.name, mine.world) == ("mine", PROFILES["colab"].world)
    assert mine.student == mine.teacher == "Qwen/Qwen2.5-0.5B-Instruct", "who plays both parts"
    other = load_profile(write_profile(tmp_path, 'base = "tiny"\nstudent = "student_code"'))
    assert (other.teacher, other.student) == ("teacher", "student_code")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('lerning_rate = "1"', "lerning_rate.*The parts are: base, name, world"),
        ("student = 3", "student should be a text"),
        ("max_usd = -1", "max_usd should be a number"),
        ("student = ", "not whole TOML"),
        ('base = "huge"', "no profile 'huge'"),
    ],
)
def test_a_broken_profile_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FireActError, match=words):
        load_profile(write_profile(tmp_path, text))


def test_an_unknown_world_is_named(tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="'mars'.*tiny, real"):
        open_lab(write_profile(tmp_path, 'world = "mars"'))


def test_profiles_do_not_share_what_the_learner_makes(runs: Path) -> None:
    assert (TINY.runs, open_lab("colab").runs) == (runs, runs / "colab")


@pytest.mark.parametrize("name", ["colab", "paper"])
def test_a_real_student_is_a_name_of_the_hub(name: str) -> None:
    opened = open_lab(name)
    assert opened.student == PROFILES[name].student and isinstance(opened.student, str)
    assert TINY.released() is None, "nothing is fetched under profile tiny"


def test_a_teacher_that_may_cost_needs_a_yes(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    text = 'base = "tiny"\nteacher = "gpt-x"\nbase_url = "https://api.example.com/v1"\n'
    with pytest.raises(FireActError, match="may cost money.*max_usd"):
        open_lab(write_profile(tmp_path, text)).teacher()
    with pytest.raises(FireActError, match="price of gpt-x.*unknown.*FIREACT_PRICES"):
        open_lab(write_profile(tmp_path, text + "max_usd = 2\n")).teacher()


def test_a_teacher_at_an_address_is_asked_once(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its replies are kept, so a cell that is run again pays nothing."""
    with ChatServer([says("Answer: Ann")]) as server:
        prices = tmp_path / "prices.toml"
        prices.write_text(f'["{server.url}"."gpt-x"]\nprompt = 1\ncompletion = 4\n')
        monkeypatch.setenv("FIREACT_PRICES", str(prices))
        text = f'base = "tiny"\nteacher = "gpt-x"\nbase_url = "{server.url}"\nmax_usd = 1\n'
        opened = open_lab(write_profile(tmp_path, text))
        assert "for $1.00 at most" in str(opened)
        asked = [Request(({"role": "user", "content": "Who?"},))]
        for _ in range(2):
            [reply] = opened.teacher().reply(asked)
            assert reply.text == "Answer: Ann"
        assert len(server.seen) == 1
        assert not getattr(opened.teacher(), "may_cost", True), "the cap is the yes"
