"""SerpAPI and Wikipedia over real HTTP, their cache, and paragraphs to search offline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTIONS, Dice, Pages
from servers import Answer
from services import LAGGING, NO_PAGE, NO_RESULT, Serp, Wiki, serp, serp_error, wiki

from fireact_nb import artifacts
from fireact_nb.agent import asking
from fireact_nb.agent.chat import Exhausted, Stop
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.search import NOTHING, UNRELATED, Condition, Unavailable
from fireact_nb.agent.trajectory import read_trajectories
from fireact_nb.errors import FireActError
from fireact_nb.realworld import Page, Paragraphs, open_search
from fireact_nb.realworld.cache import Kept
from fireact_nb.realworld.paragraphs import sentences_of, snippet
from fireact_nb.realworld.serpapi import SerpApi
from fireact_nb.realworld.wikipedia import Wikipedia

KEY = "0123456789abcdef0123456789abcdef"
BARE = Prompt("react", "test")
FULL = {
    "answer_box": {
        "answer": "an answer", "snippet": "a snippet", "snippet_highlighted_words": ["lit", "more"]
    },
    "organic_results": [{"title": "t", "snippet": "the first"}, {"snippet": "the second"}],
}  # fmt: skip


def google(service: Serp, folder: Path) -> Kept:
    return Kept(SerpApi(KEY, f"{service.url}/search.json"), folder)


def encyclopedia(service: Wiki, folder: Path) -> Kept:
    return Kept(Wikipedia(f"{service.url}/w/api.php"), folder)


def without(*parts: str) -> dict[str, Any]:
    box = {k: v for k, v in FULL["answer_box"].items() if k not in parts}  # type: ignore[union-attr]
    rows = [{"title": "t"}] if "first" in parts else FULL["organic_results"]
    return {"answer_box": box, "organic_results": rows}


# SerpAPI


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (serp(**FULL), "an answer"),
        (serp(**without("answer")), "a snippet"),
        (serp(**without("answer", "snippet")), "lit"),
        (serp(organic_results=FULL["organic_results"]), "the first"),
        (serp(answer_box={"answer": 42}), "42"),
        (serp(**without("answer", "snippet", "snippet_highlighted_words", "first")), NOTHING),
        (NO_RESULT, NOTHING),
        (serp(organic_results=[]), NOTHING),
        (serp(answer_box=[], organic_results=[None]), NOTHING),
    ],
)
def test_the_first_piece_in_the_papers_order_is_shown(
    answer: Answer, said: str, tmp_path: Path
) -> None:
    with Serp(KEY, lambda query, number: answer) as service:
        assert google(service, tmp_path).search("who") == said
    assert service.seen[0].query == {
        "engine": "google", "q": "who", "google_domain": "google.com", "gl": "us", "hl": "en",
        "api_key": KEY,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (serp_error(401, "Invalid API key."), FireActError, "does not accept the key"),
        (serp_error(403, "Account deleted"), FireActError, "does not accept the key"),
        (serp_error(429, "Your account has run out of searches"), FireActError, "searches left"),
        (serp_error(429, "You exceeded the hourly throughput", **{"Retry-After": "7"}), Unavailable,
         "answered 429"),
        (serp_error(400, "Missing query"), Exhausted, "refuses the query"),
        (serp_error(503, "Something went wrong"), Unavailable, "answered 503"),
        (Answer(b"<html>Bad gateway</html>", 502), Unavailable, "no JSON"),
        (Answer(b"<html>Welcome</html>"), Unavailable, "no JSON"),
        (Answer([1]), Unavailable, "answered 200"),
        (Answer({"search_metadata": {"status": "Error"}, "error": "Proxy"}), Unavailable, "Proxy"),
        (Answer(drop="before"), Unavailable, "cannot be reached"),
        (Answer(serp(**FULL).body, drop="within"), Unavailable, "cannot be reached"),
        (Answer(b"no", headers={"Content-Encoding": "gzip"}), Unavailable, "cannot be reached"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_apart_and_never_kept(
    answer: Answer, kind: type, words: str, tmp_path: Path
) -> None:
    with Serp(KEY, lambda query, number: answer) as service:
        with pytest.raises(FireActError, match=words) as caught:
            google(service, tmp_path).search("who")
        assert type(caught.value) is kind and KEY not in str(caught.value)
        assert service.url not in str(caught.value)
    assert not list(tmp_path.iterdir())
    if answer.headers.get("Retry-After"):
        assert caught.value.wait == 7  # type: ignore[attr-defined]


def test_a_service_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fireact_nb.realworld.web.SECONDS", 0.2)
    late = Answer(serp(**FULL).body, delay=5)
    with (
        Serp(KEY, lambda query, number: late) as service,
        pytest.raises(Unavailable, match="cannot be reached or breaks off .ReadTimeout"),
    ):
        google(service, tmp_path).search("who")


def test_a_wrong_or_missing_key_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key in (None, "", " ", "two words", "ä" * 20):
        with pytest.raises(FireActError, match="SERPAPI_API_KEY"):
            SerpApi(key)
    monkeypatch.setattr(artifacts, "RUNS", tmp_path)
    monkeypatch.setenv("SERPAPI_API_KEY", KEY)
    tool = open_search("serpapi")
    assert (tool.name, tool.remote, tool.may_cost) == (  # type: ignore[attr-defined]
        "google by serpapi", True, True,
    )  # fmt: skip
    assert KEY not in repr(vars(tool.engine))  # type: ignore[attr-defined]
    with pytest.raises(FireActError, match="bm25, serpapi, wikipedia"):
        open_search("bing")
    with pytest.raises(FireActError, match="no paragraphs"):
        open_search("bm25")
    assert open_search("bm25", pages=PAGES).search("Kenel sea").startswith("Kenel: Kenel is a city")


def test_a_long_query_is_cut() -> None:
    with Serp(KEY, lambda query, number: serp(**FULL)) as service:
        SerpApi(KEY, f"{service.url}/search.json").find("long " * 1000)
    assert len(service.seen[0].query["q"]) <= 400


# Wikipedia


def test_wikipedia_is_told_who_asks_and_shows_title_and_opening(tmp_path: Path) -> None:
    opening = "Ada Lovelace (1815–1852) was an English mathematician. " + "She wrote. " * 60
    with Wiki(lambda query, number: wiki("Ada Lovelace", opening)) as service:
        tool = encyclopedia(service, tmp_path)
        said = tool.search("Ada  Lovelace mathematician")
    assert said.startswith("Ada Lovelace: Ada Lovelace (1815–1852) was") and len(said) <= 300
    agent = service.seen[0].headers["user-agent"]
    assert agent.startswith("fireact-nb/") and "http" in agent
    assert service.seen[0].query["gsrsearch"] == "Ada Lovelace mathematician"
    assert (tool.remote, tool.may_cost) == (True, False)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (LAGGING, Unavailable, "7 seconds lagged"),
        (Answer({"error": {"code": "ratelimited", "info": "slow"}}), Unavailable, "slow"),
        (Answer(b"Too many", 429, {"Retry-After": "3"}), Unavailable, "answered 429"),
        (Answer(b"<html>", 503), Unavailable, "answered 503"),
        (Answer({"error": {"code": "cirrus", "info": "bad regex"}}), Exhausted, "bad regex"),
        (Answer(b"no", 403), FireActError, "User-Agent"),
        (Answer(b"<html>Hello</html>"), Unavailable, "no JSON"),
    ],
)
def test_wikipedias_troubles(answer: Answer, kind: type, words: str, tmp_path: Path) -> None:
    with (
        Wiki(lambda query, number: answer) as service,
        pytest.raises(FireActError, match=words) as caught,
    ):
        encyclopedia(service, tmp_path).search("who")
    assert type(caught.value) is kind and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "answer", [NO_PAGE, wiki("Empty", ""), Answer({"query": {}}), Answer({"query": {"pages": []}})]
)
def test_no_page_is_no_result(answer: Answer, tmp_path: Path) -> None:
    with Wiki(lambda query, number: answer) as service:
        assert encyclopedia(service, tmp_path).search("who") == NOTHING


def test_wikipedia_is_asked_in_series_and_left_alone_when_it_wants_a_pause(tmp_path: Path) -> None:
    def says(query: str, number: int) -> Answer:
        return LAGGING if number == 9 else Answer(wiki(query, "An opening.").body, delay=0.02)

    with Wiki(says) as service:
        tool = encyclopedia(service, tmp_path)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(tool.search, [f"thing {n}" for n in range(9)]))
        assert service.most_at_once == 1 and len(service.seen) == 9
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                tool.search("another")
        assert len(service.seen) == 10, "the pause holds for all who ask"
        assert 4 < caught.value.wait <= 5
        assert tool.search("thing 3") == "thing 3: An opening.", "what is kept needs no service"


# The cache


def test_a_query_is_asked_once_by_many_threads_runs_and_processes(tmp_path: Path) -> None:
    def says(query: str, number: int) -> Answer:
        return Answer(serp(answer_box={"answer": f"{query} {number}"}).body, delay=0.05)

    with Serp(KEY, says) as service:
        tool = google(service, tmp_path)
        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(tool.search, ["Żółć?", " Żółć? "] * 8))
        assert len(service.seen) == len(answers) == 1
        again = Kept(SerpApi("f" * 32, f"{service.url}/search.json"), tmp_path)
        assert {again.search("Żółć?", "other salt")} == answers, "another key, another run"
        assert google(service, tmp_path / "other").search("Żółć?") not in answers
    [file] = tmp_path.glob("*.json")
    record = json.loads(file.read_text("utf-8"))
    assert record["query"] == "Żółć?" and KEY not in file.read_text("utf-8") + file.name


def test_an_empty_result_is_kept_too(tmp_path: Path) -> None:
    with Serp(KEY, lambda query, number: NO_RESULT) as service:
        tool = google(service, tmp_path)
        assert [tool.search("x"), tool.search("x")] == [NOTHING, NOTHING]
        assert len(service.seen) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"query": "x"}'])
def test_a_damaged_file_is_asked_for_anew(damage: str, tmp_path: Path) -> None:
    with Serp(KEY, lambda query, number: serp(**FULL)) as service:
        google(service, tmp_path).search("x")
        [file] = tmp_path.glob("*.json")
        file.write_text(damage)
        assert google(service, tmp_path).search("x") == "an answer"
        assert google(service, tmp_path).search("x") == "an answer"
        assert len(service.seen) == 2


def test_an_answer_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    with (
        Serp(KEY, lambda query, number: serp(**FULL)) as service,
        pytest.warns(UserWarning, match="is used, but"),
    ):
        assert google(service, tmp_path / "taken").search("x") == "an answer"


# Paragraphs


PAGES = [
    Page("Ada Situs", ("Ada Situs was born in 1950.", "She married Otto Lelan.", "She paints.")),
    Page("Kenel", ("Kenel is a city.", "It lies by the sea.")),
    Page("Kenel", ("Kenel is a film of 1999.", "Ada Situs directed it.")),
]


def test_paragraphs_are_found_and_shown_within_bounds() -> None:
    tool = Paragraphs([*PAGES, PAGES[0]], limit=60)
    assert len(tool.pages) == 3 and "3 paragraphs" in tool.name
    assert tool.search("Situs married") == "Ada Situs: She married Otto Lelan. She paints."
    assert tool.search("film Kenel") == "Kenel: Kenel is a film of 1999. Ada Situs directed it."
    assert tool.search("quantum") == NOTHING
    assert all(len(text) <= 60 for text in tool.passages)
    assert Paragraphs(PAGES).name != Paragraphs(PAGES[:2]).name == Paragraphs(PAGES[:2]).name


def test_a_snippet_keeps_to_its_length_whatever_it_is_cut_from() -> None:
    words = sentences_of("One word. Two words!  Three? Dr. Who")
    assert words[:3] == ("One word.", "Two words!", "Three?")
    for limit in (20, 50, 300):
        for text in ("x" * 500, "word " * 200, "A b. " * 100, ""):
            assert len(snippet("A title", sentences_of(text), "b", limit)) <= limit
    assert snippet("", [], "") == NOTHING


# A whole run


class Hasty(Stop):
    """Notes the waits instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


def test_a_guarded_search_waits_as_long_as_it_is_asked_to(tmp_path: Path) -> None:
    busy = serp_error(429, "throughput", **{"Retry-After": "0.2"})

    def says(query: str, number: int) -> Answer:
        return busy if number < 2 else serp(**FULL)

    with Serp(KEY, says) as service:
        guard = asking.GuardedSearch(google(service, tmp_path), None, stop := Stop())
        started = time.monotonic()
        assert guard.search("x", "q/0") == "an answer"
        assert time.monotonic() - started >= 0.4 and not stop.is_set()
    with Wiki(lambda *_: LAGGING) as service:
        guard = asking.GuardedSearch(encyclopedia(service, tmp_path), None, hasty := Hasty())
        with pytest.raises(Exhausted, match="failed 4 times.*seconds lagged|failed 4 times.*pause"):
            guard.search("who", "q/0")
        assert [w is not None and w > 4 for w in hasty.waits] == [True] * 3


@pytest.mark.parametrize("condition", ["normal", "none 0.5", "random 0.5"])
def test_a_killed_run_pays_no_search_twice(condition: str, tmp_path: Path) -> None:
    """Cut after so many searches, then resumed: with the journal, and with the cache alone."""
    few = QUESTIONS[:10]
    troubles = {3: Answer(drop="before"), 5: serp_error(503, "no"), 8: Answer(b"<html>")}

    def says(query: str, number: int) -> Answer:
        return troubles.get(number) or serp(answer_box={"answer": f"{query} is colour 1."})

    class Cut(Journal):
        def put(self, key: str, value: dict, kind: str = "call") -> None:
            super().put(key, value, kind)
            if kind == "search" and len(self.keys("search")) >= 9:
                raise FireActError("cut")

    def play(journal: Journal | None, folder: Path) -> list:
        tool = Condition.parse(condition).apply(google(service, folder), 3)
        chat = Dice(local=False, batch_size=4)
        return generate(few, BARE, chat, tool, journal=journal, yes=True, progress=False)

    with Serp(KEY, says) as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking.random, "uniform", lambda low, high: high / 100)
        with Cut(tmp_path / "j") as journal, pytest.raises(FireActError, match="cut"):
            play(journal, tmp_path / "kept")
        with Journal(tmp_path / "j") as journal:
            played = play(journal, tmp_path / "kept")
        assert max(service.billed.values()) == 1, service.billed
        billed = service.billed.total()
        assert play(None, tmp_path / "kept") == played
        with Journal(tmp_path / "j") as journal:
            assert play(journal, tmp_path / "new") == played
        assert service.billed.total() == billed
        assert any(t.searches for t in played) and all(t.state != "failed" for t in played)


RUN = """
import sys
from doubles import QUESTIONS, Dice
from test_engines import BARE, KEY
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.trajectory import write_trajectories
from fireact_nb.realworld.cache import Kept
from fireact_nb.realworld.serpapi import SerpApi
url, folder = sys.argv[1:]
tool = Kept(SerpApi(KEY, url + "/search.json"), folder + "/kept")
with Journal(folder + "/j") as journal:
    played = generate(QUESTIONS[:20], BARE, Dice(local=False, batch_size=4), tool,
                      journal=journal, yes=True, progress=False)
write_trajectories(folder + "/result", played)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_what_is_kept_when_a_run_is_killed_is_never_asked_again(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    here = Path(__file__).parent
    folders = [str(here), str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}

    def says(query: str, number: int) -> Answer:
        return Answer(serp(answer_box={"answer": f"{query} is colour 1."}).body, delay=0.02)

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), service.url, str(tmp_path)]
        return subprocess.Popen(command, env=environment)

    with Serp(KEY, says) as service:
        for moment in (6, 17, 29):
            run = start()
            while len(service.seen) < moment:
                assert run.poll() is None
                time.sleep(0.001)
            run.send_signal(signal.SIGKILL)
            run.wait()
            texts = [f.read_text("utf-8") for f in (tmp_path / "kept").glob("*.json")]
            kept, before = {json.loads(text)["query"] for text in texts}, len(service.seen)
            assert len(kept) >= moment - 3 * 4, "what was answered was not kept"
            service.says = lambda query, number, kept=kept, before=before: (  # type: ignore[misc]
                says(query, number) if query not in kept else serp_error(400, f"again: {query}")
            )
        assert start().wait() == 0
        # Only what was under way at a kill may have been asked twice: four at a time, three kills.
        assert service.billed.total() <= len(service.billed) + 3 * 4
    played = read_trajectories(tmp_path / "result")
    assert len(played) == 20 and all(t.state != "failed" for t in played)


def test_a_random_answer_comes_from_any_tool() -> None:
    asked: list[str] = []

    class Watched(Pages):
        remote = may_cost = True

        def search(self, query: str, salt: str = "") -> str:
            asked.append(query)
            return f"about {query}"

    tool = Condition("random", 0.5).apply(Watched(), 1)
    said = [tool.search("Ada", f"q{n}/0") for n in range(200)]
    assert said == [tool.search("Ada", f"q{n}/0") for n in range(200)]
    assert (tool.remote, tool.may_cost) == (True, True)  # type: ignore[attr-defined]
    right = said.count("about Ada")
    assert 70 < right < 130 and set(asked) - {"Ada"} <= set(UNRELATED)
    assert len(set(asked)) > 10
    lost = Condition("random", 1).apply(Paragraphs(PAGES))
    assert {lost.search(f"{n}") for n in range(99)} == {
        "Ada Situs: Ada Situs was born in 1950. She married Otto Lelan. She paints.",
        "Kenel: Kenel is a city. It lies by the sea.",
        "Kenel: Kenel is a film of 1999. Ada Situs directed it.",
    }


def test_a_tool_that_fails_is_named_without_its_address(tmp_path: Path) -> None:
    class Leaky(Pages):
        remote = True

        def search(self, query: str, salt: str = "") -> str:
            raise OSError(f"GET https://engine.example/search?q={query}&api_key={KEY} failed")

    SerpApi(KEY)  # whoever has a key hides it
    guard = asking.GuardedSearch(Leaky(), None, Hasty())
    with pytest.raises(Exhausted, match=r"OSError: GET \[address\] failed") as caught:
        guard.search("who")
    assert KEY not in str(caught.value) and "engine.example" not in str(caught.value)
