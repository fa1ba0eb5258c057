"""The checks of the notebooks' exercises: an instant answer that says what to do next.

Knows what a right answer does; knows nothing of how it was written. A check never raises, whatever
the learner wrote, so an unsolved exercise never breaks a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, NoReturn

from .errors import FireActError

_MARKS = {
    "waiting": "\N{HORIZONTAL ELLIPSIS}",
    "not yet": "\N{BALLOT X}",
    "solved": "\N{CHECK MARK}",
}


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check found; the last expression of a cell shows it."""

    number: str
    state: Literal["waiting", "not yet", "solved"]
    message: str

    def __repr__(self) -> str:
        return f"{_MARKS[self.state]} Exercise {self.number}, {self.state}. {self.message}"


class _NotYet(Exception):
    """The answer is not right; the text says why, and what to look at."""


class _Waiting(Exception):
    """Nothing was written yet."""


Judge = Callable[[Any], str]
_JUDGES: dict[str, Judge] = {}


def check(number: str, answer: Any) -> Verdict:
    """Try out what the learner wrote for exercise `number`, such as "01.1".

    Raises FireActError for a number that no exercise has, and nothing else.
    """
    if number not in _JUDGES:
        raise FireActError(f"There is no exercise {number!r}. There are: {', '.join(_JUDGES)}.")
    try:
        if answer is ...:
            raise _Waiting
        return Verdict(number, "solved", _JUDGES[number](answer))
    except _Waiting:
        return Verdict(number, "waiting", "Replace the three dots, then run the cell again.")
    except _NotYet as problem:
        return Verdict(number, "not yet", str(problem))
    except Exception as error:  # a judge that trips over an unforeseen kind of answer
        return Verdict(
            number, "not yet",
            f"The check could not use your answer ({type(error).__name__}: {error}). Compare what "
            "kind of thing it is (a number, a text, a list) with what the card asks for.",
        )  # fmt: skip


def _exercise(number: str) -> Callable[[Judge], Judge]:
    """Enter a judge: it gets the answer, says what is wrong by `_wrong`, or returns a last word."""

    def enter(judge: Judge) -> Judge:
        _JUDGES[number] = judge
        return judge

    return enter


def _wrong(message: str) -> NoReturn:
    raise _NotYet(message)


def _run(answer: Any, arguments: tuple[Any, ...], hint: str = "") -> Any:
    """What the learner's function gives; its errors become messages, with `hint` behind them."""
    if not callable(answer):
        _wrong("Hand the function itself to check, without calling it: check(number, name).")
    shown = _shown(arguments)
    try:
        got = answer(*arguments)
        got = list(got) if isinstance(got, Iterator) else got  # a generator runs only now
    except Exception as error:
        _wrong(f"For ({shown}) your code raised {type(error).__name__}: {error}. {hint}".strip())
    if got is ...:
        raise _Waiting
    return got


def _call(answer: Any, *arguments: Any, hint: str = "") -> Any:
    """The same for copies of the arguments, where something must come back; arrays become lists."""
    got = _run(answer, deepcopy(arguments), hint)
    if got is None:
        _wrong(f"For ({_shown(arguments)}) your function gave None. Is there a return on every "
               "path?")  # fmt: skip
    return got.tolist() if hasattr(got, "tolist") else got


def _expect(answer: Any, arguments: tuple[Any, ...], wanted: Any, hint: str = "") -> None:
    """Call the learner's function and compare; `hint` says what this case is about."""
    got = _call(answer, *arguments, hint=hint)
    if isinstance(wanted, float) and isinstance(got, Real):
        right = _close(got, wanted)
    elif isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        right = [*got] == [*wanted]
    else:
        right = got == wanted
    if not right:
        _wrong(f"For ({_shown(arguments)}) it gave {_short(got)}; {_short(wanted)} is wanted. "
               f"{hint}".strip())  # fmt: skip


def _foresee(got: Any, slips: Mapping[float, str]) -> None:
    """Say what went wrong, if the number is one to which a typical slip leads."""
    if isinstance(got, Real) and not isinstance(got, bool):
        for value, message in slips.items():
            if _close(got, value):
                _wrong(message)


def _close(got: Any, wanted: float) -> bool:
    return abs(got - wanted) <= 1e-6 * max(1.0, abs(wanted))


def _shown(arguments: tuple[Any, ...]) -> str:
    return ", ".join(map(_short, arguments))


def _short(value: Any) -> str:
    text = repr(value).replace("\n", "")  # a matrix has several lines
    return text if len(text) <= 160 else f"{text[:157]}..."


# -- 01 ReAct prompting ---------------------------------------------------------------------------


@_exercise("01.1")
def _read_action(answer: Any) -> str:
    """Action and argument of a turn; the first action counts, brackets may be nested."""
    plain = "Thought: hm.\nAction: search[Paper Lalor]"
    if isinstance(_call(answer, plain), str):
        _wrong("Return two texts, as in: return name, argument. Yours returned one.")
    if tuple(_call(answer, plain)) == ("search", "Paper Lalor]"):
        _wrong("The closing bracket is still there. The argument ends before the last ].")
    _expect(answer, (plain,), ("search", "Paper Lalor"))
    _expect(answer, ("Thought: so\nAction: finish[1942]",), ("finish", "1942"),
            "The action may be finish, too.")  # fmt: skip
    _expect(answer, ("Thought: I am lost.",), ("none", ""), "There is no line with Action: here.")
    _expect(answer, ("Thought: x\nAction: search[Lalor [film]]",), ("search", "Lalor [film]"),
            "The argument goes on to the last bracket of the line, not to the first.")  # fmt: skip
    _expect(answer, ("Thought: x\nAction: search[A B]\nAction: finish[C]",), ("search", "A B"),
            "Only the first action counts.")  # fmt: skip
    _expect(answer, ("Thought: an Action: is a word\nAction: finish[yes]",), ("finish", "yes"),
            "Look at the beginning of a line: a Thought may mention the word.")  # fmt: skip
    return "Five lines turn a text into something a program can do."


@_exercise("01.2")
def _tokens_per_right_answer(answer: Any) -> str:
    """All tokens spent, over the number of right answers; infinity without any."""
    got = _call(answer, [True, False], [100, 300])
    if got == 200:
        _wrong("200 is the mean over all questions. Divide by the number of RIGHT answers.")
    if got == 100:
        _wrong("You left out what the wrong answer cost. Its 300 tokens were read, too.")
    _expect(answer, ([True, False], [100, 300]), 400.0)
    _expect(answer, ([True, True, False, True], [10, 20, 30, 40]), 100 / 3)
    nothing = _call(answer, [False, False], [5, 5],
                    hint='If nothing was right, return float("inf").')  # fmt: skip
    if nothing != float("inf"):
        _wrong(f'If nothing was right, the price is float("inf"). Yours gave {_short(nothing)}.')
    return "A cheap method that is seldom right may be the dearest of all."


@_exercise("01.3")
def _worked_example(answer: Any) -> str:
    """A ReAct example with two searches that the tool really answered so, and the right answer."""
    from .agent.tasks import normalize_answer
    from .agent.trajectory import parse_text
    from .tinyworld.shelf import tiny_search

    if not isinstance(answer, str):
        _wrong('Put the whole example into one text between """ and """.')
    try:
        steps = parse_text("", answer.strip()).steps
    except ValueError as error:
        _wrong(f"This does not read as an episode: {error}. Begin each line with Thought:, "
               "Action: or Observation:, without blanks before it.")  # fmt: skip
    turns = [step.turn for step in steps]
    for number, turn in enumerate(turns, 1):
        if turn.action is None:
            _wrong(f"Round {number} has no readable action: {turn.problem}.")
        if not turn.thought:
            _wrong(f"Round {number} has no Thought. The model copies what it sees: show one.")
    if not turns or turns[-1].action != "finish":
        _wrong("The last round must end with Action: finish[...]. Or it never learns to stop.")
    if len(turns) < 3:
        _wrong(f"It has {len(turns) - 1} search; this question needs the author and then a year.")
    for number, (step, turn) in enumerate(zip(steps[:-1], turns[:-1], strict=True), 1):
        real = tiny_search().search(turn.argument)
        if step.observation is None or step.observation.strip() != real:
            _wrong(f"In round {number} the tool really says: {real!r}. Yours: "
                   f"{step.observation!r}.")  # fmt: skip
    if normalize_answer(turns[-1].argument) != "1942":
        _wrong(
            f"The answer is not {turns[-1].argument!r}. Read your own observations again: is each "
            "about the book's author, or about somebody with the same name?"
        )
    if not any("1942" in (step.observation or "") for step in steps):
        _wrong(
            "1942 stands in no observation: this example would teach to guess. Search once more."
        )
    return "The model can copy this form, and every observation in it is true."


# -- 02 trajectory generation ---------------------------------------------------------------------


@_exercise("02.1")
def _keep(answer: Any) -> str:
    """A success filter: right and finished, by the marks that the trajectories carry."""
    from .agent.trajectory import Step, Trajectory

    def played(name: str, correct: bool | None, state: str = "finished") -> Trajectory:
        step = Step.of("So it is The Jasin.", "finish", "The Jasin")
        return Trajectory(name, "Where?", (step,), answer="The Jasin", gold="Jasin",
                          correct=correct, state=state)  # fmt: skip

    right, wrong, unscored = played("a", True), played("b", False), played("c", None)
    cut = [played(s, True, s) for s in ("out of rounds", "context full", "malformed")]
    got = _call(answer, [right, wrong])
    if isinstance(got, Real):
        _wrong("Return the trajectories themselves, in a list, not how many there are.")
    got = list(got)
    if len(got) == 2 and all(isinstance(mark, bool) for mark in got):
        _wrong("That is a mark for each trajectory. Return a list of those that are kept.")
    if not got:
        _wrong(
            "A right one in the state 'finished' was dropped. Its answer is 'The Jasin' and its "
            "gold 'Jasin': exact match forgives the article. Trust t.correct, do not compare texts."
        )
    if wrong in got:
        _wrong("One with t.correct = False was kept. That is how the 40 rows got in.")
    if unscored in list(_call(answer, [right, unscored])):
        _wrong("One with t.correct = None was kept. Nobody scored it: ask for True, not for 'not "
               "False'.")  # fmt: skip
    for t in cut:
        if t in list(_call(answer, [t, right])):
            _wrong(f"One in the state {t.state!r} was kept. It has no finish to learn from: look "
                   "at t.state, too.")  # fmt: skip
    if list(_call(answer, [cut[0], right, wrong, right])) != [right, right]:
        _wrong("Keep every right and finished one, in the order in which they came.")
    return "One line, six traps. The authors' released file fell into one of them."


@_exercise("02.2")
def _slips(answer: Any) -> str:
    """Does a Thought call two different things the same, or one thing different?"""
    facts = "The city of Badel Motors is {}. The city of Jisel Press is {}. "
    end = "{} and {} are {}, so the answer is {}."

    def thought(first: str, second: str, word: str, said: str) -> str:
        return facts.format(first, second) + end.format(first, second, word, said)

    slip = thought("Hosel", "Sobel", "the same", "yes")
    fine = thought("Hosel", "Hosel", "the same", "yes")
    got = _call(answer, slip), _call(answer, fine)
    if got == (False, True):
        _wrong("The other way round: True is for a Thought that contradicts itself.")
    if got == (False, False):
        _wrong("'Hosel and Sobel are the same' slips by. Compare what stands on both sides of the "
               "'and'; the rest of the Thought has other names in it.")  # fmt: skip
    if got == (True, True):
        _wrong("'Hosel and Hosel are the same' is no slip. Is your first name cut off cleanly? The "
               "sentences before it do not belong to it.")  # fmt: skip
    _expect(answer, ("The birth year of Ivo Mafus is 1930. So the answer is 1930.",), False,
            "It compares nothing: return False when neither phrase is there.")  # fmt: skip
    _expect(answer, (thought("Hevel", "Hevel", "different", "no"),), True,
            "Calling one and the same thing different is a slip, too.")  # fmt: skip
    _expect(answer, (thought("Hosel", "Sobel", "different", "no"),), False, "This is true.")
    _expect(answer, (thought("Fovus University", "Divus University", "the same", "yes"),), True,
            "Names may have several words; the last words alone are equal here.")  # fmt: skip
    _expect(answer, ("Hosel and Sobel are the same, so the answer is yes.",), True,
            "The comparison may be the first sentence.")  # fmt: skip
    return "A few lines of reading find what the success filter lets through."


@_exercise("02.3")
def _price_of(answer: Any) -> str:
    """Dollars for kept trajectories: failures are paid for, prices are per million tokens."""
    case = (500, 0.5, 2000, 150, 1.0, 4.0)
    got = _call(answer, *case)
    if not isinstance(got, Real):
        _wrong(f"Return one number, the dollars. Yours gave {_short(got)}.")
    slips = {
        1.3: "You paid only for the 500 that are kept. The failures were played, too: how many "
        "episodes does it take until 500 pass?",
        0.65: "You multiplied by the rate. A lower pass rate must make it dearer: divide.",
        2_600_000.0: "The prices are for a MILLION tokens. Divide by 1,000,000.",
        2.15: "Written tokens have a price of their own, and they cost more here.",
        0.0026: "That is the price of one episode. How many have to be played until 500 pass?",
    }
    _foresee(got, slips)
    _expect(answer, case, 2.6)
    _expect(answer, (47, 0.25, 4000, 200, 2.0, 10.0), 47 / 0.25 * (8000 + 2000) / 1e6,
            "Reading and writing have prices of their own.")  # fmt: skip
    return "You pay for episodes and get trajectories: the pass rate stands below the line."


# -- 03 format unification ------------------------------------------------------------------------


@_exercise("03.1")
def _cot_to_react(answer: Any) -> str:
    """A CoT reply as one ReAct turn: reasoning on one line, then finish[answer]."""
    reply = "Thought: The author is Leo Kolin.\nHe was born in 1942.\nAnswer: 1942"
    wanted = "Thought: The author is Leo Kolin. He was born in 1942.\nAction: finish[1942]"
    got = _call(answer, reply)
    if not isinstance(got, str):
        _wrong(f"Return one text of two lines. Yours gave {_short(got)}.")
    if "Answer:" in got:
        _wrong("'Answer:' is still in it. The action finish[...] takes the place of that line.")
    if got.count("Thought:") > 1:
        _wrong("'Thought:' is in it twice: the reply has one already. Take it off first.")
    if "finish[ 1942]" in got or "finish(" in got:
        _wrong("The action reads finish[1942]: square brackets, and no blank inside.")
    if "Kolin.\n" in got:
        _wrong("The reasoning still stands on two lines. Put it on one.")
    _expect(answer, (reply,), wanted)
    _expect(answer, ("It is 7.\nAnswer: 7",), "Thought: It is 7.\nAction: finish[7]",
            "This reply came without 'Thought:', and the result always has it.")  # fmt: skip
    _expect(answer, ("Thought: 7 is before 9.\nAnswer: Golden Jatin ",),
            "Thought: 7 is before 9.\nAction: finish[Golden Jatin]",
            "An answer may have several words, and a blank behind it.")  # fmt: skip
    return "Now a student can answer in its first round, if it believes that it knows."


@_exercise("03.2")
def _to_sharegpt(answer: Any) -> str:
    """A chat row in the oldest ShareGPT form: conversations, from, value."""
    turns = [("system", "Be brief."), ("user", "Who?"), ("assistant", "Action: search[x]"),
             ("user", "Observation: y"), ("assistant", "Action: finish[y]")]  # fmt: skip
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    got = _call(answer, {"messages": row["messages"][1:]})
    if not isinstance(got, dict) or "conversations" not in got:
        _wrong("Return a dictionary with the key 'conversations'. Yours gave " + _short(got) + ".")
    if any("role" in m or "content" in m for m in got["conversations"]):
        _wrong("The fields of a message are called 'from' and 'value' here.")
    if {m.get("from") for m in got["conversations"]} & {"user", "assistant"}:
        _wrong("The speakers are called 'human' and 'gpt' here. Translate the roles.")
    if len(got["conversations"]) != 4:
        _wrong(f"4 messages went in and {len(got['conversations'])} came out. The observation is a "
               "message like the others: keep it.")  # fmt: skip
    speaker = {"user": "human", "assistant": "gpt", "system": "system"}
    wanted = {"conversations": [{"from": speaker[r], "value": t} for r, t in turns]}
    if "messages" in got:
        _wrong("'messages' is still in the row beside 'conversations'. Return only the new list.")
    _expect(answer, (row,), wanted, "A conversation may open with a message of the role 'system'.")
    return "Formats with roles say the same thing in other words."


@_exercise("03.3")
def _mask_of(answer: Any) -> str:
    """Which tokens carry loss: the agent's words and its end-of-turn token, in every turn."""
    tokens = ["<|user|>", "Who", "?", "<|end|>", "<|assistant|>", "search[x]", "<|end|>"]
    tokens += ["<|user|>", "y", "<|end|>", "<|assistant|>", "finish", "[y]", "<|end|>"]
    marks = [False] * 5 + [True] * 2 + [False] * 4 + [True] * 3
    got = _call(answer, tokens)
    if not isinstance(got, (list, tuple)) or len(got) != len(tokens):
        _wrong(f"Return a list with one True or False for each of the {len(tokens)} tokens. Yours "
               f"gave {_short(got)}.")  # fmt: skip
    got = [bool(mark) for mark in got]
    if not any(got):
        _wrong("Nothing is learnt at all: an empty mask. Where does the agent's turn begin?")
    if not got[6] and not got[13]:
        _wrong("The agent's <|end|> is not learnt. Then nothing teaches it to stop: it would write "
               "the observation itself.")  # fmt: skip
    if got[4] or got[10]:
        _wrong("<|assistant|> is learnt. The program writes that mark; the agent's turn begins "
               "behind it.")  # fmt: skip
    if got[3] or got[9]:
        _wrong("The <|end|> behind the question or the observation is learnt. It is not the "
               "agent's.")  # fmt: skip
    if got[8]:
        _wrong("The observation is learnt: that is the mask 'all turns'. The tool wrote it.")
    if not got[5]:
        _wrong("Only the last turn is learnt. The searches are the agent's words, too.")
    if got != marks:
        place = next(i for i, (a, b) in enumerate(zip(got, marks, strict=True)) if a != b)
        _wrong(f"Token {place}, {tokens[place]!r}, should be {marks[place]}.")
    _expect(answer, (["<|user|>", "Hm", "<|end|>"],), [False] * 3, "Here the agent says nothing.")
    return "Your mask teaches the agent's words, all of its turns, and when to stop."


@_exercise("03.4")
def _leaks(answer: Any) -> str:
    """Trajectories that answer a held-out question, by its id or by its normalised words."""
    from .agent.tasks import Question
    from .agent.trajectory import Step, Trajectory

    def played(number: str, text: str) -> Trajectory:
        return Trajectory(number, text, (Step.of("So", "finish", "x"),), answer="x")

    held = [Question("dev-1", "Who made the film Jasin?", "x", "hotpotqa", "dev"),
            Question("dev-2", "Where is Hosel?", "y", "hotpotqa", "dev")]  # fmt: skip
    by_id, by_words = played("dev-1", "Who directed Jasin?"), played("a", "Where is Hosel?")
    by_form, clean = played("b", "who made film Jasin"), played("c", "Who made the film Jasin Two?")
    got = _call(answer, [by_id, clean], held)
    if isinstance(got, Real):
        _wrong("Return the trajectories that leak, in a list: one has to look at them.")
    got = list(got)
    if by_id not in got and clean in got:
        _wrong("You returned those that are clean. Wanted are those that leak.")
    if by_id not in got:
        _wrong("One with the id of a held-out question got through. Compare t.question_id, too.")
    found = list(_call(answer, [by_words, by_form, clean], held))
    if by_words not in found:
        _wrong("One with an id of its own and the same words got through. Compare t.question, too.")
    if by_form not in found:
        _wrong("'who made film Jasin' got through. Capitals, articles and the question mark must "
               "not matter: use normalize_answer on both sides.")  # fmt: skip
    if clean in got or clean in found:
        _wrong("'Who made the film Jasin Two?' is another question. Compare whole questions, not "
               "parts of them.")  # fmt: skip
    if len(got) != 1 or len(found) != 2:
        _wrong("A leak is reported twice. Ask once for each trajectory: id or words.")
    return "The check is cheap, and without it no later number means anything."


# -- 04 QLoRA -------------------------------------------------------------------------------------


@_exercise("04.1")
def _largest_rank(answer: Any) -> str:
    """The largest rank at which LoRA on all these matrices trains no more than a budget."""
    square = ([(96, 96)], 1920)
    got = _call(answer, *square)
    if got == 0:
        _wrong("One matrix of 96 x 96 and a budget of 1,920 gave 0. Did you multiply the sides? A "
               "is rank x inputs, B outputs x rank: rank * (inputs + outputs) in all.")  # fmt: skip
    if got == 20:
        _wrong("20 counts only one of the two matrices. LoRA trains A *and* B.")
    _expect(answer, square, 10)
    several = ([(96, 96), (256, 96)], 5000)
    got = _call(answer, *several)
    if got == 26:
        _wrong("26 would be right for the first matrix alone. Add up what all matrices cost.")
    if isinstance(got, float) and got != int(got):
        _wrong(f"{got:.2f} is no rank. A rank is a whole number that fits: divide with //.")
    if got == 10:
        _wrong("With rank 10 it would train 5,440 weights, more than 5,000. Round down, not up.")
    _expect(answer, several, 9)
    _expect(answer, ([(4096, 4096), (4096, 4096)], 4_194_304), 256)
    _expect(answer, ([(96, 96)], 100), 0, "Not even rank 1 fits into 100 weights.")
    return "The cost grows with the sides of a matrix, not with its area: that is the saving."


@_exercise("04.2")
def _quantise_block(answer: Any) -> str:
    """The scale of a block and the number of the nearest level for each of its weights."""
    levels = [-1.0, -0.5, 0.0, 0.5, 1.0]
    block = [0.2, -0.4, 0.05, 0.35]
    got = _call(answer, block, levels)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        _wrong("Return two things: the scale, and the list of level numbers.")
    scale, numbers = got
    numbers = [*numbers]
    if scale == 0.35:
        _wrong("The scale is 0.35, the largest weight. -0.4 is larger in *size*: use abs().")
    if any(n not in range(len(levels)) for n in numbers):
        _wrong("Numbers of levels are wanted, whole and counted from 0, not the levels' values.")
    if numbers == [2, 1, 2, 3]:
        _wrong("The numbers belong to the weights as they are. Divide them by the scale first.")
    if numbers == [3, 0, 2, 3]:
        _wrong("0.35 / 0.4 is 0.875: nearer to 1.0 than to 0.5. Take the nearest level, do not "
               "round down.")  # fmt: skip
    if abs(scale - 0.4) > 1e-6:
        _wrong(f"The scale of {block} is 0.4, its largest size. Yours is {_short(scale)}.")
    if numbers != [3, 0, 2, 4]:
        _wrong(f"For {block} the numbers are [3, 0, 2, 4]. Yours are {_short(numbers)}.")
    hint = "A block of zeros has the scale 0: do not divide by it."
    scale, numbers = _call(answer, [0.0, 0.0], levels, hint=hint)
    if scale != 0 or [*numbers] != [2, 2]:
        _wrong("For a block of zeros the scale is 0.0, and every number that of the level 0.0: "
               f"(0.0, [2, 2]). Yours gave {_short((scale, numbers))}.")  # fmt: skip
    _expect_levels(answer, [1.0, -2.0, 0.3], levels, 2.0, [3, 0, 2])
    return "That is NF4, apart from its choice of levels: 16 of them, and 64 weights in a block."


def _expect_levels(
    answer: Any, block: list[float], levels: list[float], scale: float, numbers: list[int]
) -> None:
    got = _call(answer, block, levels)
    if abs(got[0] - scale) > 1e-6 or [*got[1]] != numbers:
        _wrong(f"For {block} it gave {_short(got)}; ({scale}, {numbers}) is wanted.")


@_exercise("04.3")
def _bytes_needed(answer: Any) -> str:
    """Bytes for weights, gradients and moments of full fine-tuning, LoRA and QLoRA."""
    full = _call(answer, "full", 1000, 10)
    if full in (12_000, 12_120):
        _wrong("12 bytes a weight leave something out. AdamW keeps *two* moments, 4 bytes each: "
               "4 + 4 + 8.")  # fmt: skip
    if full in (4_000, 8_000):
        _wrong("A trained weight takes more than its own 4 bytes: a gradient and two moments, too.")
    if full == 16_160:
        _wrong("Full fine-tuning has no adapter: every weight is trained itself. Leave it out.")
    _expect(answer, ("full", 1000, 10), 16_000.0)
    lora = _call(answer, "lora", 1000, 10)
    if lora == 160:
        _wrong("The frozen weights need no gradient, but they are there: 2 bytes each.")
    if lora in (16_160, 14_160, 6_160):
        _wrong("Frozen weights get no gradient and no moments, and they stay in 2 bytes here.")
    if lora in (4_160, 2_040):
        _wrong("LoRA: 2 bytes for each frozen weight, 16 for each trained one.")
    _expect(answer, ("lora", 1000, 10), 2_160.0)
    qlora = _call(answer, "qlora", 1000, 10)
    if qlora in (4_160, 4_000):
        _wrong("4 bits are not 4 bytes. A byte has 8 bits, so a frozen weight takes half a byte.")
    if qlora in (505, 540):
        _wrong("Only the frozen weights are in 4 bits. The adapter is trained: 16 bytes a weight.")
    _expect(answer, ("qlora", 1000, 10), 660.0)
    _expect(answer, ("qlora", 7_000_000_000, 20_000_000), 3_820_000_000.0)
    return "Three lines of arithmetic, and you know before you rent a card."


@_exercise("04.4")
def _merge(answer: Any) -> str:
    """One matrix that does what a frozen matrix and its adapter do together."""
    import torch

    w = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    a = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    before, alpha = w.clone(), 6.0
    got = _run(answer, (w, a, b, alpha),
               "B is outputs x rank, A is rank x inputs: B stands on the left, B @ A.")  # fmt: skip
    if not isinstance(got, torch.Tensor) or got.shape != w.shape:
        _wrong(f"A matrix of the shape of W is wanted, {tuple(w.shape)}. Yours: {_short(got)}.")
    if not torch.equal(w, before):
        _wrong("Your function changed W itself. Return a new matrix: the frozen one may be needed "
               "again.")  # fmt: skip
    update, got = b @ a, got.to(w)
    if torch.allclose(got, w + update):
        _wrong("Nearly. The update has to be scaled by alpha / r.")
    if torch.allclose(got, w + alpha * update):
        _wrong("You scaled by alpha. Divide it by the rank r, too: the number of rows of A.")
    if torch.allclose(got, alpha / 2 * update) or torch.allclose(got, update):
        _wrong("That is the update alone. Add it to W.")
    if torch.allclose(got, w + alpha / w.shape[1] * update):
        _wrong("You divided alpha by 3, the number of inputs. The rank is the number of rows of A.")
    if not torch.allclose(got, w + alpha / 2 * update):
        _wrong(f"Not W + alpha/r B A. Wanted: {(w + alpha / 2 * update).tolist()}, yours: "
               f"{got.tolist()}.")  # fmt: skip
    return "After merging, the adapter costs nothing: one matrix, as fast as before."


# -- 05 multi-method mixing -----------------------------------------------------------------------


@_exercise("05.1")
def _counts_for(answer: Any) -> str:
    """Whole numbers in the shares of 500, 187 and 47 that add up to the budget."""
    shares = (500, 187, 47)
    for budget in (734, 150, 100, 7, 1000, 1):
        got = _call(answer, budget)
        if isinstance(got, Real) or len(got) != 3:
            _wrong("Return three numbers: ReAct, CoT, Reflexion, as in: return a, b, c.")
        got = list(got.values()) if isinstance(got, dict) else list(got)
        if any(isinstance(n, bool) or n != int(n) for n in got):
            _wrong(f"For {budget} it gave {_short(tuple(got))}. Nobody can train on a piece of a "
                   "trajectory: whole numbers are wanted.")  # fmt: skip
        exact = [budget * share / 734 for share in shares]
        if sum(got) != budget and got == [round(value) for value in exact]:
            _wrong(f"Rounding each share by itself gives {sum(got)} in all for a budget of "
                   f"{budget}. Round down first, then hand out what is missing.")  # fmt: skip
        if sum(got) != budget and got == [int(value) for value in exact]:
            _wrong(f"Rounded down, and then? {budget - sum(got)} of {budget} are handed to nobody. "
                   "Who lost most by rounding?")  # fmt: skip
        if sum(got) != budget:
            _wrong(f"For {budget} the three numbers add up to {sum(got)}.")
        off = [abs(n - value) for n, value in zip(got, exact, strict=True)]
        if max(off) >= 1:
            worst = ("ReAct", "CoT", "Reflexion")[off.index(max(off))]
            _wrong(f"For {budget} it gave {_short(tuple(got))}, the exact shares are "
                   f"{', '.join(f'{value:.2f}' for value in exact)}: {worst} is off by a whole one "
                   "or more.")  # fmt: skip
    return "The sum is exact, and no method is off by a whole trajectory."


@_exercise("05.2")
def _clean(answer: Any) -> str:
    """Pairs of question and words, without later doubles and without held-out questions."""
    a, b, c = ("Who is older?", "search"), ("Who is older?", "think"), ("Where is B?", "search")
    leak = ("Where is D?", "search")
    got = list(_call(answer, [a, b], []))
    if got != [a, b]:
        _wrong("One question, solved in two ways: both may stay. A double has the same question "
               "AND the same words.")  # fmt: skip
    if list(_call(answer, [a, a], [])) == [a, a]:
        _wrong("The same question in the same words stands twice: drop the later one.")
    if list(_call(answer, [a, leak], ["Where is D?"])) == [a, leak]:
        _wrong("A held-out question is still in the mix. Compare pair[0] with them.")
    if list(_call(answer, [a, leak], ["WHERE is d?"])) != [a]:
        _wrong("'Where is D?' leaks 'WHERE is d?'. Compare both in lower case.")
    many = [(f"Is {i} even?", "think") for i in range(9, 0, -1)]
    if list(_call(answer, many, [])) != many:
        _wrong("The pairs came back in another order. A set forgets the order: use a list.")
    _expect(answer, ([c, a, c, leak, b, a], ["where is d?"]), [c, a, b])
    return "Two lines of care; without them a table of results may be worth nothing."


@_exercise("05.3")
def _largest_sd(answer: Any) -> str:
    """The largest standard deviation of numbers within limits, for a given mean."""
    got = _call(answer, 3, 1, 11)
    slips = {
        16.0: "16 is the mean of the SQUARED distances (the variance). Take its root.",
        5.0: "5 is half of the range. That needs a mean in the middle, and the mean is 3: most "
        "numbers must sit at the low end.",
        8.0: "8 is the distance of the far end. Not every number can sit there, or the mean would "
        "be 11.",
        10 / 12**0.5: "That is the spread of numbers spread evenly. Numbers at the two ends are "
        "further from the mean.",
    }
    _foresee(got, slips)
    _expect(answer, (3, 1, 11), 4.0)
    _expect(answer, (5, 0, 10), 5.0)
    _expect(answer, (2, 0, 10), 4.0)
    _expect(answer, (1, 1, 11), 0.0, "If the mean is at an end, every number is there.")
    return "For the paper's row that is 4.0: an sd of 4.8 cannot be."


@_exercise("05.4")
def _known_share(answer: Any) -> str:
    """What share is known, when the rest is guessed."""
    got = _call(answer, 0.75, 2)
    slips = {
        0.25: "0.75 - 0.5 is what lies above chance. Divide it by what could lie above chance, "
        "1 - 0.5.",
        0.375: "You multiplied by the chance. A model that knows 0.375 and guesses the rest would "
        "be right on 0.6875, not 0.75.",
        0.875: "That is the other direction: what a model that knows 0.75 gets right. Solve it for "
        "k.",
    }
    _foresee(got, slips)
    _expect(answer, (0.75, 2), 0.5)
    _expect(answer, (0.7, 4), 0.6, "With four options chance is 1/4.")
    _expect(answer, (1.0, 2), 1.0)
    below = _call(answer, 0.4, 2)
    if isinstance(below, Real) and below < 0:
        _wrong("For (0.4, 2) it gave a share below zero. Nobody knows less than nothing: use max.")
    _expect(answer, (0.4, 2), 0.0, "Fewer right than by guessing: nothing is known.")
    return "Half of a two-answer test is free. Look at what lies above it."


# -- 06 evaluation --------------------------------------------------------------------------------


@_exercise("06.1")
def _em(answer: Any) -> str:
    """Share of right answers over every question asked; missing and None are wrong."""
    gold = {1: "Jatin", 2: "Hosel", 3: "New Order", 4: "1942"}
    got = _call(answer, {1: "Jatin", 2: None, 3: "Old", 4: "1942"}, gold,
                hint="An answer may be None, and normalize_answer wants a text: ask for None "
                "first, and count it as wrong.")  # fmt: skip
    if got in (2, 50):
        _wrong("Return a share between 0 and 1: divide by the number of questions asked.")
    if got == 0.25:
        _wrong(
            "'Jatin' is right where gold says 'Jatin'. Normalise both sides, or neither matches."
        )
    _foresee(got, {2 / 3: "2 of 3? Four questions were asked, one of them without an answer."})
    _expect(answer, ({1: "Jatin", 2: None, 3: "Old", 4: "1942"}, gold), 0.5)
    got = _call(answer, {1: "Jatin", 4: "1942"}, gold,
                hint="Question 2 is missing in answers. answers.get(2) gives None.")  # fmt: skip
    if got == 1:
        _wrong("2 right of 4 asked gave 1.0: you divided by the answers there are. That is how 35 "
               "rows got lost. Divide by len(gold).")  # fmt: skip
    _expect(answer, ({1: "Jatin", 4: "1942"}, gold), 0.5, "Missing answers are wrong answers.")
    got = _call(answer, {1: "The Jatin.", 2: "hosel"}, gold)
    if got in (0, 0.25):
        _wrong("'The Jatin.' and 'hosel' are right: exact match forgives capitals, articles and "
               "punctuation. Compare what normalize_answer makes of both.")  # fmt: skip
    _expect(answer, ({1: "The Jatin.", 2: "hosel"}, gold), 0.5)
    got = _call(answer, {1: "It is Jatin", 3: "Order"}, gold)
    if got:
        _wrong("'It is Jatin' or 'Order' got a point. EM wants the whole answer and nothing else: "
               "compare with ==, not with 'in'.")  # fmt: skip
    got = _call(answer, {1: "jatin", 2: "Hosel"}, {1: "Jatin", 2: "the Hosel"})
    if got != 1:
        _wrong("'Hosel' is right where gold says 'the Hosel'. Normalise both sides.")
    if _call(answer, {}, {1: "The", 2: "Jatin"}):
        _wrong("A missing answer got a point: 'The' normalises to an empty text, and so does the "
               "text you put in place of None. Ask for None first.")  # fmt: skip
    return "Nobody was dropped, so your score can be compared with anyone's."


@_exercise("06.2")
def _paired(answer: Any) -> str:
    """Mean difference b - a of marks on the same questions, with its 95% interval."""
    a, b = [True, False, False, False, True], [True, True, True, False, False]
    got = _call(answer, a, b)
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        _wrong("Return three numbers: the mean difference and the two ends of its interval.")
    m, low, high = got
    if abs(m + 0.2) < 1e-9:
        _wrong("The sign is the other way round: b - a says how much better the second one is.")
    if abs(m - 1) < 1e-9:
        _wrong("That is the sum of the differences. Divide it by the number of questions.")
    if abs(m - 0.2) > 1e-9:
        _wrong(f"The mean of b - a is 0.2 here: +1, +1, -1 and twice 0 over five. Yours is "
               f"{_short(m)}.")  # fmt: skip
    s = 0.56**0.5  # of 0, 1, 1, 0, -1
    half = 1.96 * s / 5**0.5
    reach = (high - low) / 2
    slips = {
        1.96 * s: "The interval is too wide: divide s by n**0.5. A mean of many varies less than "
        "one question does.",
        1.96 * s / 5: "You divided by n. Divide by its root, n**0.5.",
        s / 5**0.5: "You left out the 1.96: this holds the truth only two times in three.",
        1.96 * (0.24 / 5) ** 0.5: "That is the spread of one side alone. Take the spread of the "
        "differences.",
        1.96 * (0.48 / 5) ** 0.5: "That is the unpaired formula: it adds up what both sides "
        "vary. Take the spread of the differences.",
        1.96 * 0.56 / 5**0.5: "0.56 is the variance. Its root is the standard deviation.",
    }
    _foresee(reach, slips)
    if high < low:
        _wrong("The ends have changed places: the low end is m - ..., the high end m + ....")
    fine = (half, 1.96 * 0.7**0.5 / 5**0.5)  # stdev, over n - 1, is as good as pstdev
    if min(abs(reach - x) for x in fine) > 1e-9 or abs((low + high) / 2 - m) > 1e-9:
        _wrong(f"For ({a}, {b}) the interval is 0.2 plus and minus {half:.3f}. Yours goes from "
               f"{_short(low)} to {_short(high)}.")  # fmt: skip
    same = _call(answer, [True, False, True], [True, False, True])
    if max(abs(x) for x in same) > 1e-9:
        _wrong("Twice the same marks: every difference is 0, and so is the interval. Does yours "
               "look at the questions one by one?")  # fmt: skip
    if _run(answer, ([True, False], [True]), "They are no pairs: return None.") is not None:
        _wrong("Two marks against one gave an interval. zip drops what is left over without a "
               "word. Return None when the lengths differ.")  # fmt: skip
    return "Only questions on which the two disagree make it wider: that is what pairing buys."


@_exercise("06.3")
def _questions_needed(answer: Any) -> str:
    """Smallest n whose 95% interval reaches no more than `half` to either side of `share`."""
    got = _call(answer, 0.4, 0.03)
    if isinstance(got, Real):
        for values, message in (
            ((1024, 1024.4), "With 1024 the interval is a little wider than 0.03. Round up, to a "
             "whole question."),
            ((30, 31, 30.7), "You divided by half. Divide by half**2."),
            ((32, 33, 32.0), "That is the root of n. Square it."),
            ((15, 16, 15.7), "Solve for n with the squares: half**2 and 1.96**2."),
            ((256, 257, 256.1), "0.03 is what lies on EITHER side. You doubled it."),
            ((4097, 4098, 4097.7), "0.03 is what lies on EITHER side. You took it for the whole "
             "width."),
            ((2049, 2048, 2048.8), "That is for the difference of two scores, unpaired. Here it is "
             "one score."),
            ((266, 267, 266.7), "You left out the 1.96."),
            ((522, 523, 522.7), "The 1.96 has to be squared, too."),
            ((1707, 1708, 1707.4), "You forgot the (1 - share)."),
        ):  # fmt: skip
            if any(abs(got - value) <= 0.06 for value in values):
                _wrong(message)
    _expect(answer, (0.4, 0.03), 1025)
    if not isinstance(got, int):
        _wrong(f"{got!r} is right, but questions are whole: return an int (math.ceil gives one).")
    _expect(answer, (0.5, 0.1), 97)
    got = _call(answer, 0.9, 0.02)
    if got == 2401:
        _wrong("For a score of 0.9 it gave 2401, which is for 0.5. Use the share.")
    _expect(answer, (0.9, 0.02), 865)
    return "Half the width costs four times the questions. Plan before you pay."


@_exercise("06.4")
def _losses_of(answer: Any) -> str:
    """Points and share of right answers lost under noise, over the questions both hold."""
    normal = {"e": True, "f": True, "a": True, "b": True, "c": True, "d": False}
    noisy = {"a": True, "b": False, "c": False, "d": False}
    got = _call(answer, normal, noisy)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        _wrong("Return two numbers: the points lost, and the share of the right answers lost.")
    points, share = got
    if abs(points - 2) < 1e-9:
        _wrong("2 questions were lost. Return them as a share of the questions both hold.")
    if points < 0 or share < 0:
        _wrong("The signs are the other way round: a loss is a positive number here.")
    if abs(points - 2 / 3) < 1e-9 and abs(share - 0.5) < 1e-9:
        _wrong("The two numbers have changed places: first the points, then the share of what it "
               "had.")  # fmt: skip
    slips = {
        5 / 6 - 1 / 4: "You compared 6 questions with 4 others. The two that were not played with "
        "noise must not count on one side only.",
        4 / 6: "e and f were not played with noise. They are not wrong, they are not there: leave "
        "them out.",
        2 / 6: "Two of FOUR: only four questions are in both.",
    }
    _foresee(points, slips)
    if abs(points - 0.5) < 1e-9:
        slips = {
            1 / 3: "1/3 is what it kept. What did it lose?",
            2.0: "You divided by what it kept. Divide by what it had: 3 right answers.",
            0.4: "It had 3 right answers among the common questions, not 5.",
            0.5: "Both numbers are the same. The second one is relative: divide by the right "
            "answers it had, 3.",
        }
        _foresee(share, slips)
    if abs(points - 0.5) > 1e-9 or abs(share - 2 / 3) > 1e-9:
        _wrong(f"For ({_short(normal)}, {_short(noisy)}) it gave {_short(tuple(got))}; 0.5 and "
               "2/3 are wanted.")  # fmt: skip
    nothing = _call(answer, {"a": False}, {"a": False},
                    hint="It had no right answer. Nothing can be lost then: 0.0.")  # fmt: skip
    if tuple(nothing) != (0, 0):
        _wrong(f"Who had nothing right loses nothing: (0.0, 0.0). Yours gave {_short(nothing)}.")
    got = _call(answer, {"a": False, "b": True}, {"a": True, "b": True, "c": True})
    if abs(got[0] + 0.5) > 1e-9:
        _wrong("Noise may help by luck: with one right before and two after, the loss is -0.5. And "
               "a question that only the noisy side has does not count.")  # fmt: skip
    return "Points and shares can tell two stories. Say which one you tell."


# -- 07 oracle selection --------------------------------------------------------------------------


_MARKS_07 = {
    "cot": [True, False, False, False],
    "react": [True, True, True, False],
    "reflexion": [False, True, False, False],
}


@_exercise("07.1")
def _oracle(answer: Any) -> str:
    """Share of questions that at least one method answers right."""
    marks = {"cot": [True, False, False, False, False], "react": [True, True, False, False, False],
             "reflexion": [False, False, True, False, False]}  # fmt: skip
    got = _call(answer, marks)
    slips = {
        3.0: "3 questions have a right answer. Return their SHARE of all questions.",
        0.4: "0.4 is the best single method. The oracle may take another one each time.",
        0.8: "0.8 is the sum of the three scores. A question that two methods get right counts "
        "once.",
        0.0: "You ask for ALL methods to be right. One is enough for the oracle.",
        4 / 15: "That is the mean of the marks: choosing by chance. The oracle takes a right "
        "method where there is one.",
    }
    _foresee(got, slips)
    _expect(answer, (marks,), 0.6)
    _expect(answer, ({"cot": [False, True]},), 0.5, "A pool of one method.")
    _expect(answer, (_MARKS_07,), 0.75)
    return "An upper limit: no way of choosing can do better with these methods."


@_exercise("07.2")
def _random_choice(answer: Any) -> str:
    """Expected score of picking a method by chance for each question, without dice."""
    tries = {_call(answer, _MARKS_07) for _ in range(12)}
    if len(tries) > 1:
        _wrong("It gives another number each time. Use no dice: work out what they give on "
               "average.")  # fmt: skip
    got = tries.pop()
    slips = {
        0.75: "0.75 is the best method (and the oracle). Chance also picks the others.",
        5 / 4: "More than 1 cannot be a score. You added the methods up: divide by how many "
        "there are.",
        5.0: "5 is the number of right marks. How many marks are there in all?",
        5 / 3: "You divided by the methods. Divide by the questions, too.",
        0.5: "That looks like a vote of the majority. Chance picks one method and keeps its "
        "answer.",
    }
    _foresee(got, slips)
    _expect(answer, (_MARKS_07,), 5 / 12)
    _expect(answer, ({"a": [True, True], "b": [False, True]},), 0.75)
    return "It is the mean of the methods' scores: a weak method pulls it down."


@_exercise("07.3")
def _pass_at_k(answer: Any) -> str:
    """1 - C(n - c, k) / C(n, k)."""
    got = _call(answer, 3, 1, 2)
    slips = {
        1 - (2 / 3) ** 2: "You draw the same try twice: 1 - (1 - c/n)^k is for drawing WITH "
        "putting back, and it comes out too low. Draw k different tries out of n.",
        1 / 3: "That does not depend on k, or it is the chance that ALL k are wrong. Wanted is "
        "the chance that at least one is right.",
        2 / 3 * 2: "A chance above 1 cannot be.",
    }
    _foresee(got, slips)
    _expect(answer, (3, 1, 2), 2 / 3)
    _expect(answer, (3, 1, 3), 1.0, "All three tries are looked at, and one is right.")
    _expect(answer, (3, 2, 2), 1.0, "Only one try is wrong: two tries cannot both be.")
    _expect(answer, (10, 3, 1), 0.3, "One try: the share of right ones.")
    _expect(answer, (10, 3, 4), 5 / 6)
    _expect(answer, (5, 0, 2), 0.0, "Nothing right, nothing found.")
    return "Without it, an oracle over methods is compared with a single try."


@_exercise("07.4")
def _half_and_half(answer: Any) -> str:
    """A rule (kind -> method) learnt on half A, its score on half B."""

    def rows(half: str, kind: str, cot: str, react: str) -> list[Any]:
        return [(half, kind, {"cot": a == "1", "react": b == "1"})
                for a, b in zip(cot, react, strict=True)]  # fmt: skip

    first = [*rows("A", "choice", "1111", "0001"), *rows("A", "open", "0001", "1110"),
             *rows("B", "choice", "11000", "00111"),
             *rows("B", "open", "00001", "11110")]  # fmt: skip
    got = _call(answer, first)
    if isinstance(got, dict):
        _wrong("That is the rule. Return its score: the share of right answers on half B.")
    slips = {
        0.7: "The rule was learnt on half B, where it is measured. It knew the answers: learn "
        "on the rows of half A only.",
        0.875: "That is the score on half A, where the rule was chosen. Measure on half B.",
        13 / 18: "You measured on both halves. On half A the rule was chosen: leave it out.",
        0.3: "One method for all: you chose the best of half A over all kinds. Choose for each "
        "kind.",
        1.0: "That is the oracle: it looks at each row's marks before it chooses.",
        6.0: "6 rows of half B are right. Return their share.",
    }
    _foresee(got, slips)
    _expect(answer, (first,), 0.6)
    second = [*rows("A", "choice", "110", "001"), *rows("A", "open", "001", "110"),
              *rows("B", "choice", "100000", "011111"), *rows("B", "open", "00", "11")]  # fmt: skip
    got = _call(answer, second)
    if got == 7 / 8:
        _wrong("The rule was learnt on both halves together. Half B must not help to choose.")
    _expect(answer, (second,), 3 / 8, "Half A says cot for choice; half B would not agree.")
    return "A rule that fails on half B was luck on half A."
