"""Mixes: as many as asked, ordered by the seed, in one form, never with a held-out question."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireact_nb.agent.sources import Source, load_source
from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.errors import FireActError
from fireact_nb.learning.mixing import Mix, check_leaks, mix, share_out
from fireact_nb.tinyworld import TinyWorld

WORLD = TinyWorld()


HELD_OUT = tuple(WORLD.questions("dev") + WORLD.questions("test"))


def react(question: Question, query: str = "a", source: str = "teacher") -> Trajectory:
    steps = (
        Step.of("I look.", "search", query, "Kenel: City."),
        Step.of("Now I know.", "finish", question.answer),
    )
    return Trajectory(
        question.id,
        question.question,
        steps,
        "react",
        question.task,
        question.answer,
        question.answer,
        True,
        source=source,
    )


def cot(question: Question) -> Trajectory:
    step = Step(f"Thought: It is known.\nAnswer: {question.answer}")
    return replace(react(question), steps=(step,), method="cot")


TRAIN = WORLD.questions("train", 60)
REACT = [react(q) for q in TRAIN]
COT = [cot(q) for q in TRAIN[30:]]
GROUPS = {"react": REACT, "cot": COT}


# -- counts and seeds ---------------------------------------------------------------------------


def test_counts():
    mixed = mix(GROUPS, {"react": 20, "cot": 7})
    assert Counter(t.method for t in mixed) == {"react": 20, "cot": 7}
    assert len(set(mixed_keys(mixed))) == 27


def mixed_keys(mixed: list[Trajectory]) -> list[tuple]:
    return [(t.method, t.question_id, t.steps) for t in mixed]


def test_without_counts_all_of_them():
    mixed = mix(GROUPS)
    assert Counter(t.method for t in mixed) == {"react": 60, "cot": 30}
    assert [t.method for t in mixed] != ["react"] * 60 + ["cot"] * 30, "shuffled"


def test_a_group_without_a_count_gives_nothing():
    assert {t.method for t in mix(GROUPS, {"cot": 30})} == {"cot"}
    assert mix(GROUPS, {"react": 0}) == [] == mix({})


def test_the_seed_decides_the_draw_and_the_order():
    counts = {"react": 20, "cot": 7}
    first = mix(GROUPS, counts, seed=1)
    assert mix(GROUPS, counts, seed=1) == first
    other = mix(GROUPS, counts, seed=2)
    assert set(mixed_keys(other)) != set(mixed_keys(first)), "another draw"
    everything, again = mix(GROUPS, seed=1), mix(GROUPS, seed=2)
    assert mixed_keys(everything) != mixed_keys(again)
    assert sorted(mixed_keys(everything), key=str) == sorted(mixed_keys(again), key=str)


def test_one_group_is_drawn_alike_in_every_mix():
    alone = mix({"react": REACT}, {"react": 20}, seed=5)
    together = mix(GROUPS, {"react": 20, "cot": 7}, seed=5)
    assert set(mixed_keys(alone)) < set(mixed_keys(together))


REACT_PART = Mix(((Source("hotpotqa", "react"), 500),))
BOTH = REACT_PART + Mix(((Source("hotpotqa", "cot"), 187),))


def test_a_planned_mix_tells_its_sources_counts_and_sizes():
    assert BOTH.sources == (Source("hotpotqa", "react"), Source("hotpotqa", "cot"))
    assert BOTH.counts == {"hotpotqa react": 500, "hotpotqa cot": 187}
    assert (REACT_PART.sizes, BOTH.sizes, BOTH.of_size(150).sizes) == ("500", "500+187", "109+41")
    assert BOTH.of_size(150).counts == share_out(BOTH.counts, 150)
    assert BOTH.of_size(687) == BOTH


def test_what_the_shipped_adapters_learnt_from_is_drawn_again():
    """Drawn when a mix was still pairs of a text and a number."""
    small = BOTH.of_size(150)
    pools = {source.name: load_source(source) for source in small.sources}
    drawn = [t.id.rsplit("/", 2)[0] for t in mix(pools, small.counts, seed=1)]
    assert len(drawn) == 150 and drawn[:6] == [
        "hotpotqa-train-0616/react",
        "hotpotqa-train-0138/cot",
        "hotpotqa-train-0984/react",
        "hotpotqa-train-0117/cot",
        "hotpotqa-train-1236/react",
        "hotpotqa-train-0111/react",
    ]


@given(st.integers(0, 60), st.integers(0, 30), st.integers(0, 9))
def test_any_counts_that_there_are(of_react, of_cot, seed):
    mixed = mix(GROUPS, {"react": of_react, "cot": of_cot}, seed)
    methods = Counter(t.method for t in mixed)
    assert (methods["react"], methods["cot"]) == (of_react, of_cot)
    assert len(set(mixed_keys(mixed))) == len(mixed)


# -- the one form -------------------------------------------------------------------------------


def test_cot_is_unified():
    for t in mix({"cot": COT}):
        assert t.rounds == 1 and t.method == "cot"
        assert t.steps[0].text == f"Thought: It is known.\nAction: finish[{t.gold}]"


def test_duplicates_count_once():
    twice = [*REACT, *(replace(t, source="other run", sample=1) for t in REACT)]
    assert len(mix({"react": twice})) == 60
    assert {t.source for t in mix({"react": twice})} == {"teacher"}, "the first is kept"
    reworded = [*REACT, *(react(q, query="b") for q in TRAIN)]
    assert len(mix({"react": reworded})) == 120, "another way to solve it is another example"
    assert len(mix({"cot": [*COT, *mix({"cot": COT})]})) == 30, "unified before is no other way"


# -- too few ------------------------------------------------------------------------------------


def test_too_few():
    with pytest.raises(FireActError, match=r"asks for 61 react .* there are 60 distinct"):
        mix(GROUPS, {"react": 61})
    with pytest.raises(FireActError, match="there are 60 distinct"):
        mix({"react": REACT * 2}, {"react": 61})
    with pytest.raises(FireActError, match="there are 0 distinct"):
        mix({"react": []}, {"react": 1})


def test_a_count_for_a_group_that_is_not_there():
    with pytest.raises(FireActError, match="reflexion"):
        mix(GROUPS, {"react": 20, "reflexion": 47})


# -- leaks --------------------------------------------------------------------------------------


def test_training_questions_are_no_leak():
    assert len(mix(GROUPS, held_out=iter(HELD_OUT))) == 90
    check_leaks(REACT, ())
    check_leaks((), HELD_OUT)


# Ways in which a trajectory may answer a held-out question without saying so.
DISGUISES = {
    "as it is": lambda t: t,
    "by id alone": lambda t: replace(t, question="Who wrote something else altogether?"),
    "by wording alone": lambda t: replace(t, question_id="train-0000"),
    "without an id": lambda t: replace(t, question_id=""),
    "upper case": lambda t: replace(t, question_id="x", question=t.question.upper()),
    "no question mark": lambda t: replace(t, question_id="x", question=t.question.rstrip("?")),
    "more space": lambda t: replace(t, question_id="x", question=t.question.replace(" ", "  ")),
    "an article": lambda t: replace(t, question_id="x", question=f"The {t.question}"),
}


@pytest.mark.parametrize("disguise", DISGUISES)
@settings(max_examples=30)
@given(question=st.sampled_from(HELD_OUT), as_cot=st.booleans(), seed=st.integers(0, 3))
def test_any_held_out_question_is_a_leak(disguise, question, as_cot, seed):
    leak = DISGUISES[disguise](cot(question) if as_cot else react(question))
    group = {"cot" if as_cot else "react": [*(COT if as_cot else REACT), leak]}
    with pytest.raises(FireActError, match="1 training trajectories answer held-out questions"):
        mix(group, seed=seed, held_out=HELD_OUT)
    with pytest.raises(FireActError):
        check_leaks([leak], (q for q in HELD_OUT))


def test_a_leak_is_named_and_counted():
    leaks = [react(q) for q in HELD_OUT[:3]]
    with pytest.raises(FireActError) as caught:
        check_leaks([*REACT, *leaks], HELD_OUT)
    assert str(caught.value).startswith("3 training trajectories")
    assert HELD_OUT[0].id in str(caught.value)
    nameless = replace(leaks[1], question_id="")
    with pytest.raises(FireActError) as caught:
        check_leaks([nameless], HELD_OUT)
    assert HELD_OUT[1].question[:40] in str(caught.value)


# -- shares -------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from("abcde"), st.floats(0, 9), min_size=1).filter(
        lambda shares: sum(shares.values()) > 0.1
    ),
    st.integers(0, 2000),
)
def test_shares_add_up_and_are_kept(shares, total):
    counts = share_out(shares, total)
    assert sum(counts.values()) == total and counts.keys() == shares.keys()
    whole = sum(shares.values())
    assert all(abs(counts[name] - total * shares[name] / whole) <= 1 for name in shares)


def test_the_papers_shares():
    assert share_out({"react": 500, "cot": 187, "reflexion": 47}, 734) == {
        "react": 500, "cot": 187, "reflexion": 47,
    }  # fmt: skip


@pytest.mark.parametrize("shares", [{"a": 0.0}, {"a": -1.0, "b": 3.0}])
def test_shares_that_divide_nothing(shares):
    with pytest.raises(FireActError, match="do not divide anything"):
        share_out(shares, 10)


def test_a_trajectory_in_two_groups_is_drawn_once():
    mixed = mix({"react": REACT, "again": [*REACT[:10], *COT]}, {"react": 60, "again": 30})
    assert len({(t.question, t.steps) for t in mixed}) == 90
    with pytest.raises(FireActError, match="asks for 31 again trajectories and there are 30"):
        mix({"react": REACT, "again": [*REACT[:10], *COT]}, {"react": 60, "again": 31})
