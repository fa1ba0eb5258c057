"""BM25 finds what it should and Unreliable fails as often as it says, both the same every time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact_nb.agent.search import NORMAL, NOTHING, Bm25, Condition
from fireact_nb.errors import FireActError
from fireact_nb.tinyworld import TinyWorld

WORLD = TinyWorld()
PASSAGES = [
    "Silver Kenel: Film of 1999.",
    "Silver Kenel: Directed by Ada Situs, starring Otto Lelan.",
    "Ada Situs: Works as director.",
    "Ada Situs: Born in Żółć in 1950.",
    "Otto Lelan (actor): Married to Ada Situs.",
    "Żółć: City in Ésia.",
    "東京: 日本の首都。",
]
QUERIES = [f"Ada Situs {i}" for i in range(400)]


@pytest.fixture(scope="module")
def tool() -> Bm25:
    return Bm25(PASSAGES, name="seven passages")


# -- Bm25 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("Silver Kenel", 0),
        ("who directed Silver Kenel", 1),
        ("Silver Kenel starring", 1),
        ("SILVER   kenel, film!", 0),
        ("Ada Situs born", 3),
        ("Otto Lelan actor", 4),
        ("What is the occupation of Ada Situs? director", 2),
        ("żółć", 5),
        ("ŻÓŁĆ city", 5),
        ("ésia", 5),
        ("東京", 6),
    ],
)
def test_finds_the_passage(tool, query, place):
    assert tool.search(query) == PASSAGES[place]


@pytest.mark.parametrize(
    "query", ["", " ", "?!…", "the of in", "nobody knows this", "\x00", "🦊", "Silv"]
)
def test_nothing_matched_is_none(tool, query):
    assert tool.search(query) == NOTHING == "None"


def test_ties_go_to_the_first():
    same = ["Kenel: one red thing.", "Kenel: two red thing.", "Kenel: six red thing."]
    assert Bm25(same).search("kenel red") == same[0]
    assert Bm25(same[::-1]).search("kenel red") == same[2]
    assert Bm25(["Other: word.", *same]).search("thing kenel") == same[0]


def test_word_order_and_repetition_do_not_matter(tool):
    assert tool.search("situs ada born") == tool.search("born born ada situs ada") == PASSAGES[3]


@given(st.text(max_size=60))
def test_any_query_has_one_answer(query):
    tool = WORLD.search()
    assert tool.search(query) in {*tool.passages, NOTHING}
    assert tool.search(query) == tool.search(query, salt="other")


def test_two_indexes_agree(tool):
    world = WORLD.search()
    rebuilt = Bm25(world.passages)
    for passage in world.passages[::20]:
        assert rebuilt.search(passage) == world.search(passage)


def test_titles_of_the_tiny_world_are_found():
    """A title finds its page or one that names it; a whole passage finds itself or its like.

    Two spouses' pages say the same words: the first of them is found.
    """
    tool = WORLD.search()
    titles = list(dict.fromkeys(p.partition(": ")[0] for p in tool.passages))
    assert len(titles) == 1004
    own = 0
    for title in titles:
        seen = tool.search(title)
        assert title.split()[0] in seen
        own += seen.startswith(f"{title}: ")
    assert own > 0.8 * len(titles)
    for passage in tool.passages[::7]:
        assert words(tool.search(passage)) == words(passage)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text)) - {"to"}


# -- conditions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["none", "random"])
def test_never_failing_is_the_tool_itself(tool, mode):
    search = Condition(mode, 0).apply(tool)
    for query in [*QUERIES[:50], "żółć", "nobody", ""]:
        assert search.search(query, "s") == tool.search(query)
    assert NORMAL.apply(tool, 5) is tool


def test_always_failing(tool):
    assert {Condition("none", 1).apply(tool).search(q) for q in QUERIES} == {NOTHING}
    said = {Condition("random", 1).apply(tool).search(q) for q in QUERIES}
    assert said == set(PASSAGES)


@pytest.mark.parametrize("mode", ["none", "random"])
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_fails_as_often_as_it_says(tool, mode, p):
    """Within four standard deviations of the binomial; a random passage may be the right one."""
    answer = tool.search("Ada Situs")
    search = Condition(mode, p).apply(tool, seed=3)
    missed = sum(search.search(q) != answer for q in QUERIES)
    share = p if mode == "none" else p * (1 - 1 / len(PASSAGES))
    assert abs(missed - 400 * share) < 4 * (400 * share * (1 - share)) ** 0.5


def test_the_dice_are_seed_salt_and_query(tool):
    half = Condition("random", 0.5)

    def dice(seed: int, salt: str) -> list[str]:
        search = half.apply(tool, seed)
        return [search.search(q, salt) for q in QUERIES[:60]]

    first = dice(0, "q1/0/1")
    assert dice(0, "q1/0/1") == first
    assert dice(1, "q1/0/1") != first
    assert dice(0, "q1/0/2") != first
    assert half.apply(tool).search(QUERIES[7], "q1/0/1") == first[7], (
        "an answer must not depend on the searches before it"
    )


def test_the_dice_are_those_of_the_shipped_episodes(tool):
    """Drawn before a condition was a value of its own."""
    search = Condition("random", 0.5).apply(tool, 3)
    places = [PASSAGES.index(search.search(q, "q1/0/0/1")) for q in QUERIES[:12]]
    assert places == [2, 5, 2, 0, 2, 2, 2, 2, 2, 2, 2, 2]


def test_the_tools_name_tells_the_condition(tool):
    assert Condition("none", 0.5).apply(tool).name == "seven passages, none with p=0.5"
    assert Condition("random", 1).apply(tool).name == "seven passages, random with p=1"
    assert NORMAL.apply(tool).name == "seven passages"


@pytest.mark.parametrize("text", ["normal", "none 0.5", "random 0.5", "none 0.3", "random 1"])
def test_a_condition_is_read_back_from_its_text(text):
    assert str(Condition.parse(text)) == text
    assert (Condition.parse(text) == NORMAL) == (text == "normal")
    assert Condition.parse("none 0.5") == Condition("none", 0.5)


@pytest.mark.parametrize("p", [-0.1, 1.01, float("nan"), float("inf")])
def test_p_is_a_probability(p):
    with pytest.raises(FireActError, match="0 to 1"):
        Condition("none", p)


@pytest.mark.parametrize("mode", ["None", "", "off", "normal"])
def test_unknown_mode(mode):
    with pytest.raises(FireActError, match="'none' or 'random'"):
        Condition(mode, 0.5)


@pytest.mark.parametrize("text", ["", "quiet 0.5", "none", "none half", "normal 0.5", "none 2"])
def test_a_text_that_is_no_condition_is_named(text):
    with pytest.raises(FireActError, match=f"no condition '{text}'"):
        Condition.parse(text)
