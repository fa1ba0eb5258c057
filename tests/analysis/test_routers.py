"""Routers: known truths are found, and no router may see the marks that it is tested on."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from rows import TRAJECTORY, mark

from fireact_nb.agent.trajectory import Step
from fireact_nb.analysis import routers as rooms
from fireact_nb.analysis.evidence import Case, cases_of, check_blind, popularity, see
from fireact_nb.analysis.routers import BackOff, Nearest, Signals, Words
from fireact_nb.analysis.routing import NoShare, entropy, families, route, share_closed
from fireact_nb.analysis.statistics import Interval
from fireact_nb.analysis.votes import agreement, ended, own_signals, vote
from fireact_nb.errors import FireActError

# Two kinds of question: CoT is right on films, ReAct on rivers, nine times of ten.
KINDS = {"film": ("Which film did", "directed"), "river": ("Which river flows", "near")}


def world(count=60, splits=("train", "dev", "test"), sure=0.9, seeds=1):
    """A pool, and the questions' texts, in which the words tell whom to ask."""
    dice = random.Random(0)
    pool, texts = {"cot": [], "react": []}, {}
    for split in splits:
        for n in range(count):
            kind = ("film", "river")[n % 2]
            question = f"{split}-{n:03}"
            texts[question] = f"{KINDS[kind][0]} Name{n} {KINDS[kind][1]} {split}{n}?"
            for agent in pool:
                p = sure if (agent == "cot") == (kind == "film") else 1 - sure
                price = 10 if agent == "cot" else 100
                pool[agent] += [
                    mark(question, dice.random() < p, agent=agent, split=split, seed=seed,
                         prompt_tokens=price, completion_tokens=0)
                    for seed in range(seeds)
                ]  # fmt: skip
    return pool, texts


def test_routers_on_words_find_what_the_words_tell():
    pool, texts = world(seeds=2)
    found = route(pool, lambda _: cases_of(texts), families())
    assert [r.name for r in found] == ["nearest questions", "the question's words"]
    for r in found:
        assert r.how == "fitted on train, chosen on dev"
        assert [*r.chosen] == sorted(q for q in texts if q.startswith("test"))
        right = [r.chosen[q] == ("cot" if "film" in texts[q] else "react") for q in r.chosen]
        assert np.mean(right) > 0.9
        assert r.gain.low > 0.2 and r.gap.low > 0.2
        assert 0.7 < r.closed.low < r.closed.value < r.closed.high < 1.05
        assert 0.9 < r.entropy <= 1
        share = np.mean([agent == "cot" for agent in r.chosen.values()])
        assert r.cost == pytest.approx(10 * share + 100 * (1 - share))
        assert r.score.value == pytest.approx(
            np.mean([
                o.correct for a, rows in pool.items() for o in rows
                if r.chosen.get(o.question_id) == a
            ])
        )  # fmt: skip


def test_nested_folds_test_every_question_once_and_keep_equal_texts_together():
    pool, texts = world(count=80, splits=("test",))
    texts["test-002"] = texts["test-000"]  # two ids, one question
    [r] = route(pool, lambda _: cases_of(texts), {"words": [Words(0.1), Words(1.0)]})
    assert r.how == "nested cross-validation" and len(r.picked) == 5
    assert sorted(r.chosen) == sorted(texts)
    assert r.chosen["test-002"] == r.chosen["test-000"]
    assert r.gain.low > 0
    with pytest.raises(FireActError, match="too few to be divided twice"):
        route({a: rows[:9] for a, rows in pool.items()}, lambda _: cases_of(texts), {})


def test_words_that_tell_nothing_gain_nothing():
    pool, texts = world()
    shuffled = dict(zip(texts, random.Random(1).sample([*texts.values()], len(texts)), strict=True))
    for r in route(pool, lambda _: cases_of(shuffled), families()):
        assert r.gain.low < 0.05 and r.score.value < 0.7


def test_no_share_where_the_gap_is_under_five_points():
    pool, texts = world(count=30)
    alike = {"cot": pool["cot"], "react": [replace(o, agent="react") for o in pool["cot"]]}
    [r] = route(alike, lambda _: cases_of(texts), {"nearest": [Nearest(5)]})
    assert r.closed == NoShare(0.0)
    assert str(r.closed) == "no share: the gap to the oracle is 0.0 points, under 5"
    assert r.entropy == 0 and r.gain == Interval(0, 0, 0)


def test_the_share_is_that_of_the_means_and_as_wide_as_questions_make_it():
    rng = np.random.default_rng(0)
    gap = (rng.random((1, 400)) < 0.4).astype(float)
    assert share_closed(gap, gap) == Interval(1, 1, 1)
    assert share_closed(0 * gap, gap) == Interval(0, 0, 0)
    half = gap * (rng.random(gap.shape) < 0.5)
    found = share_closed(half, gap)
    n, share = gap.sum(), half.sum() / gap.sum()
    assert found.value == pytest.approx(share)
    assert (found.high - found.low) / 2 == pytest.approx(
        1.96 * math.sqrt(share * (1 - share) / n), rel=0.1
    )


def test_entropy_in_bits():
    assert entropy("aaaa") == 0
    assert entropy("abab") == 1
    assert entropy("abcd") == 2


# -- no leak ------------------------------------------------------------------------------------


def marks_of(pool):
    return {o.question_id: {"hint": float(o.correct)} for o in pool["cot"]}


def test_evidence_made_of_marks_is_refused():
    pool, texts = world(count=20)
    with pytest.raises(FireActError, match="of test-000 changes .* it has seen who is right"):
        route(pool, lambda p: cases_of(texts, marks_of(p)), families(("hint",)))
    # F1 gives the mark away as well; what train and dev tell is no secret.
    with pytest.raises(FireActError, match="seen who is right"):
        see(
            lambda p: cases_of(texts, {o.question_id: {"f1": o.f1} for o in p["cot"]}), pool, "test"
        )
    known = {q: s for q, s in marks_of(pool).items() if not q.startswith("test")}
    assert see(lambda p: cases_of(texts, known), pool, "test")
    honest = {o.question_id: {"said": float(len(o.answer))} for o in pool["cot"]}
    assert see(lambda p: cases_of(texts, honest), pool)["test-000"].signals == {"said": 9.0}
    with pytest.raises(FireActError, match="no text .first: dev-000.*column 'question'"):
        see(lambda _: {}, pool)


@dataclass(frozen=True)
class Cheat:
    """Looks the right agent up by the question's words: what no router may do."""

    right: dict

    pays = ()

    def fit(self, cases, shares, agents):
        return lambda asked: np.array([agents.index(self.right[c.text]) for c in asked])


def test_a_router_that_could_see_test_labels_fails_the_check():
    pool, texts = world(count=20)

    def honest(p):
        [r] = route(p, lambda _: cases_of(texts), {"words": [Words()]})
        return r.chosen

    def cheating(p):
        right = {texts[o.question_id]: "cot" if o.correct else "react" for o in p["cot"]}
        [r] = route(p, lambda _: cases_of(texts), {"cheat": [Cheat(right)]})
        return r.chosen

    assert check_blind(honest, pool, "test") == honest(pool)
    with pytest.raises(FireActError, match="20 of 20 choices change .*has seen who is right"):
        check_blind(cheating, pool, "test")


def test_a_question_of_test_may_not_stand_in_train():
    pool, texts = world(count=20)
    texts["test-004"] = texts["train-002"]
    with pytest.raises(FireActError, match="1 questions of test stand word for word .*test-004"):
        route(pool, lambda _: cases_of(texts), families())
    some = {a: [o for o in rows if o.split != "dev"] for a, rows in pool.items()}
    with pytest.raises(FireActError, match="'test', 'train': routers need train, dev and test"):
        route(some, lambda _: cases_of(texts), families())


# -- signals ------------------------------------------------------------------------------------


def test_signals_choose_and_one_that_is_missing_counts_as_the_mean():
    dice = np.random.default_rng(0)
    doubt = dice.random(200)
    shares = np.column_stack([doubt < 0.5, doubt >= 0.5]).astype(float)
    cases = [Case("", {"doubt": d, "other": 1.0}) for d in doubt]
    choose = Signals(("doubt", "other")).fit(cases, shares, ["a", "b"])
    assert list(choose([Case("", {"doubt": 0.1}), Case("", {"doubt": 0.9}), Case("")]))[:2] == [
        0,
        1,
    ]
    # An agent that was always right is asked, without a model of it.
    sure = Signals(("doubt",)).fit(cases, np.column_stack([shares[:, 0], np.ones(200)]), ["a", "b"])
    assert list(sure(cases[:5])) == [1] * 5


def test_back_offs_pay_for_what_they_tried():
    pool, texts = world()
    hints = {q: {"agree": 0.9 if "film" in text else 0.2} for q, text in texts.items()}
    rule = BackOff("cot", "react", "agree")
    [r] = route(pool, lambda _: cases_of(texts, hints), {"CoT-SC -> ReAct": [rule]})
    assert all((a == "cot") == ("film" in texts[q]) for q, a in r.chosen.items())
    assert r.cost == pytest.approx(10 + 100 / 2)  # CoT always, ReAct where it is asked
    back = BackOff("react", "cot", "came to an answer", below=1.0)
    ends = {q: {"came to an answer": float("river" in text)} for q, text in texts.items()}
    [r] = route(pool, lambda _: cases_of(texts, ends), {"ReAct -> CoT-SC": [back]})
    assert r.cost == pytest.approx(100 + 10 / 2) and r.gain.low > 0.2
    assert all((a == "cot") == ("film" in texts[q]) for q, a in r.chosen.items())
    [r] = route(pool, lambda _: cases_of(texts), {"no signal": [rule]})
    assert set(r.chosen.values()) == {"cot"}
    with pytest.raises(FireActError, match="no agent 'sc' to back off"):
        route(pool, lambda _: cases_of(texts), {"x": [BackOff("sc", "react", "agree")]})


def test_a_vote_takes_the_most_frequent_answer_and_pays_for_all():
    samples = [
        mark("q1", False, sample=0, answer="Rome"),
        mark("q1", True, sample=1, answer="the cat"),
        mark("q1", True, sample=2, answer="Cat."),
        mark("q2", False, sample=0, answer=None, state="malformed"),
        mark("q2", True, sample=1, answer="cat"),
        mark("q2", False, sample=2, answer=None),
        mark("q3", False, sample=0, answer=None),
    ]
    first, second, third = vote(samples)
    assert (first.correct, first.answer, first.prompt_tokens, first.sample) == (
        True,
        "the cat",
        210,
        0,
    )
    assert (second.correct, third.correct, first.agent) == (True, False, "CoT-SC")
    assert agreement(samples) == {"q1": 2 / 3, "q2": 1 / 3, "q3": 0}
    assert ended([samples[0], samples[3]]) == {"q1": 1.0, "q2": 0.0}


def test_own_signals_are_read_off_the_words_and_not_off_the_verdict():
    def sample(n, thought, answer, **change):
        step = Step.of(thought, "finish", answer)
        return replace(TRAJECTORY, steps=(step,), answer=answer, sample=n, **change)

    group = [
        sample(0, "It is a cat.", "cat", meta={"mean_logprob": -1.0, "first_logprob": -0.5}),
        sample(1, "it is a cat", "the Cat", meta={"mean_logprob": -2.0}),
        sample(2, "It purrs.", "cat", completion_tokens=30),
        sample(3, "It purrs loudly.", "dog"),
    ]
    signals = own_signals(group)["q1"]
    assert signals == {
        "reasoning": 0.5, "answer": 0.75, "length": (9 + 9 + 30 + 9) / 4,
        "mean_logprob": -1.5, "first_logprob": -0.5,
    }  # fmt: skip
    turned = [replace(t, correct=not t.correct, gold="dog") for t in group]
    assert own_signals(turned) == own_signals(group)


def test_popularity_counts_the_rarest_name():
    corpus = ["The film of Ann Bo was seen by Cid.", "A page on Ann Bo.", "Nobody is here."]
    asked = {"q1": "Who knows Ann Bo and Cid?", "q2": "Who knows Dora Em?", "q3": "who knows?"}
    found = popularity(asked, corpus)
    assert found["q1"]["popularity"] == pytest.approx(math.log(2))
    assert found["q2"]["popularity"] == 0 and "q3" not in found


def test_without_scikit_learn_it_is_said_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(FireActError, match="pip install scikit-learn"):
        rooms.Nearest().fit([Case("a")], np.ones((1, 1)), ["a"])
