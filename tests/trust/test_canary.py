"""R9: keys and passwords appear in nothing that is printed, logged, raised or written."""

from __future__ import annotations

import base64
import html
import json
import re
import traceback
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from doubles import QUESTIONS, Pages
from servers import Answer, ChatServer, fails, says
from tiny import ask

from fireact_nb import cli
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import load_prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.trajectory import write_trajectories
from fireact_nb.analysis.outcomes import outcomes_of, write_outcomes
from fireact_nb.course.doctor import check_keys
from fireact_nb.errors import FireActError
from fireact_nb.models.api import OpenAIChat

KEY = "cnry0Zq7/Wm3+Lx9.Rt5-Vb8=Nj2"  # of no provider's form, with all that gets encoded
STYLED = "sk-proj-Canary_4Hs8Kd2-Gf6Tz1"
PASSWORD = "pw/Canary7+Qz:93@x"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
SECRETS = (KEY, STYLED, PASSWORD, BASIC)
WINDOW = 9  # letters and digits in a row that betray a secret


def letters(text: str) -> str:
    """Letters and digits alone, whatever encoding or line breaks were around them."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
    text = html.unescape(unquote(unquote(text)))
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\\+[nrt]", "", text).lower())


def hits(text: str) -> list[str]:
    """The pieces of secrets in a text."""
    seen = letters(text)
    pieces = [
        secret[i : i + WINDOW]
        for secret in map(letters, SECRETS)
        for i in range(len(secret) - WINDOW + 1)
    ]
    return [piece for piece in pieces if piece in seen]


WRITINGS = {
    "plain": lambda s: s,
    "percent-encoded": lambda s: quote(s, safe=""),
    "twice encoded": lambda s: quote(quote(s, safe=""), safe=""),
    "split over lines": lambda s: f"{s[:9]}\n{s[9:15]}\r\n  {s[15:]}",
    "in JSON": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "in HTML": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "shouted": str.upper,
    "in quotes": lambda s: f"'{s[:8]}' + '{s[8:]}'",
}
PLACES = {
    "the reply": lambda s: says(f"Thought: It is {s}.\nAction: finish[{s}]"),
    "a refusal": lambda s: says(None, refusal=f"Not with {s}"),
    "401": lambda s: fails(401, f"Incorrect API key provided: {s}.", "invalid_api_key"),
    "400": lambda s: fails(400, f"Bad header Authorization: Bearer {s}"),
    "the code": lambda s: fails(400, "no", code=s, kind=s),
    "403": lambda s: Answer({"detail": [{"loc": ["header"], "msg": s}]}, 403),
    "404": lambda s: Answer(f"<h1>No {s}</h1>".encode(), 404),
    "500": lambda s: Answer({"error": s}, 500),
    "429": lambda s: fails(429, "x" * 280 + s, retry_after="0"),
    "broken JSON": lambda s: Answer(f'{{"id": "{s}", "choices'.encode()),
    "no choices": lambda s: Answer({"id": s, "object": s, "choices": [], "model": s}),
    "headers": lambda s: Answer(
        says("Thought: x\nAction: finish[x]").body,
        headers={"X-Echo": s.replace("\n", " ").replace("\r", " "), "Set-Cookie": f"k={s[:5]}"},
    ),
}


def connect(source: str, url: str, monkeypatch: pytest.MonkeyPatch, **settings) -> OpenAIChat:
    """A chat that got its secret in one of the ways there are."""
    settings = {"retries": 1, **settings}
    if source == "argument":
        return OpenAIChat("double", url, KEY, **settings)
    if source == "environment":
        monkeypatch.setenv("OPENAI_API_KEY", STYLED)
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        return OpenAIChat("double", **settings)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    url = url.replace("://", f"://me:{quote(PASSWORD, safe='')}@")
    return OpenAIChat("double", url, **settings)


SOURCES = {"argument": KEY, "environment": STYLED, "address": PASSWORD}


def files(folder: Path) -> str:
    return "\n".join(p.read_text("utf-8") for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("source", SOURCES)
def test_a_server_that_echoes_the_secret(source, monkeypatch, tmp_path, capfd, logged, recwarn):
    """In twelve places, in eight writings each, to a whole run with journal and artifacts."""
    monkeypatch.setattr("fireact_nb.models.api._delay", lambda _: 0.0)
    secrets = [SOURCES[source], *([BASIC] if source == "address" else [])]
    echoes = [
        (place, place_of(write(secret)))
        for secret in secrets
        for write in WRITINGS.values()
        for place, place_of in PLACES.items()
        if not (place == "headers" and write is WRITINGS["split over lines"])
    ]
    now: list[Answer] = []
    shown: list[str] = []
    with ChatServer(lambda *_: now[-1]) as server:
        chat = connect(source, server.url, monkeypatch)
        assert chat.name == "double" and "@" not in chat.endpoint
        for number, (place, answer) in enumerate(echoes):
            now.append(answer)
            request = ask(f"question {number}?")
            try:
                (reply,) = chat.reply([request])
                shown.append(repr(reply))
            except FireActError as error:
                shown.append("".join(traceback.format_exception(error)))
                shown.append(repr(error) + repr(error.__cause__) + repr(error.__context__))
            assert not hits(shown[-1]), (place, answer)
        now.append(PLACES["the reply"](secrets[0]))
        with Journal(tmp_path / "run.journal") as journal:
            played = generate(
                QUESTIONS[:2], load_prompt("react"), chat, Pages(), journal=journal, progress=True
            )
        write_trajectories(tmp_path / "run.jsonl", played)
        rows = outcomes_of(played, QUESTIONS[:2], agent=chat.name, model="double")
        write_outcomes(tmp_path / "run.csv", rows)
        sent = server.seen[-1].headers["authorization"]
    expected = f"Basic {BASIC}" if source == "address" else f"Bearer {secrets[0]}"
    assert sent == expected, "the secret reaches the server, and only it"
    assert len(server.seen) > len(echoes) and len(logged.getvalue()) > 10_000
    assert not hits(files(tmp_path)) and "[key]" in files(tmp_path)
    assert not hits(logged.getvalue()), [x for x in logged.getvalue().split("\n") if hits(x)][:3]
    printed = capfd.readouterr()
    assert not hits(printed.out + printed.err)
    assert not hits(repr(chat) + repr(vars(chat)) + str([str(w.message) for w in recwarn]))


CELLS = """
from fireact_nb.models.api import OpenAIChat
chat = OpenAIChat("double", retries=0)
chat
vars(chat)
from fireact_nb.agent.chat import Request
chat.reply([Request(({"role": "user", "content": "Who?"},))])
OpenAIChat("double", "https://api.invalid/v1", "  ").reply([])
""".strip().splitlines()


@pytest.mark.parametrize("mode", ["Context", "Verbose"])
def test_a_notebook_that_fails_shows_no_key(mode, monkeypatch, capsys):
    """Verbose tracebacks print the value of every name they pass."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer([PLACES["401"](KEY)]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        shell = InteractiveShell(history_length=0)
        shell.run_line_magic("xmode", mode)
        failed = [not shell.run_cell(cell).success for cell in CELLS]
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY} {KEY}")
        failed.append(not shell.run_cell(CELLS[1]).success)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://me:{PASSWORD}@[/v1")
        failed.append(not shell.run_cell(CELLS[1]).success)
    said = capsys.readouterr()
    assert failed == [False] * 5 + [True] * 4, said
    assert "FireActError" in said.out + said.err
    assert not hits(said.out + said.err), said.out + said.err


def test_commands_show_no_secret(monkeypatch, tmp_path, capfd, logged):
    monkeypatch.setattr("fireact_nb.models.api._delay", lambda _: 0.0)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    login = f"me:{quote(PASSWORD, safe='')}@"
    with ChatServer(lambda *_: PLACES["401"](KEY)) as server:
        good = server.url.replace("://", f"://{login}")
        for url in (
            good,
            good.replace("/v1", f"/v1?key={KEY}"),
            f"http://{login}127.0.0.1:1/v1",  # nobody listens
            f"http://{login}[/v1",
            f"{login}localhost/v1",
            f"http://me:{PASSWORD}@localhost:99999/v1",
        ):
            out = tmp_path / "out.jsonl"
            asked = ["generate", "--base-url", url, "--count", "1", "--yes", "--out", str(out)]
            monkeypatch.setattr("fireact_nb.models.api.OpenAIChat.reply", REPLY)
            assert cli.main(asked) == 1, url
    said = capfd.readouterr()
    assert said.err.count("fireact-nb generate: ") == 6
    assert not hits(said.out + said.err) and not hits(logged.getvalue())
    assert not hits(files(tmp_path))


REPLY = OpenAIChat.reply


def test_the_doctor_says_whether_a_key_is_set_and_nothing_of_it():
    environment = dict.fromkeys(("OPENAI_API_KEY", "SERPAPI_API_KEY", "HF_TOKEN"), KEY)
    assert not hits("".join(map(str, check_keys(environment))))


def test_the_net_itself_catches():
    """Were `hits` blind, all of the above would pass."""
    for secret in (KEY, STYLED, PASSWORD):
        for name, write in WRITINGS.items():
            assert hits(f"before {write(secret)} after"), (name, secret)
            assert hits(json.dumps({"x": write(secret)})), (name, secret)
    assert not hits("There is nothing here but words. [key]")
