# %% [markdown]
# # 02 · Trajectory generation: who writes the training data, and what it costs
#
# **The promise:** you let a teacher write training data, look closely at what it got wrong, and
# learn what the *success filter* keeps, what it loses, and what a larger run would cost.
#
# After this notebook you can
#
# 1. forecast a run, play it, lose it half way, and resume it without asking anything twice;
# 2. filter trajectories by success, and check the filter;
# 3. sort failures into kinds, and find right answers that were reached for wrong reasons;
# 4. show what the filter does to the mix of questions and answers;
# 5. put a price on the trajectories you keep.
#
# | | |
# |---|---|
# | Time | about half a minute on 2 free CPU cores (measured), less on a T4 (estimated) |
# | Needs | no GPU, no key, no network, no money |
# | Before this | notebook 01, or some idea of what ReAct and CoT prompts look like |

# %%
# On Colab this fetches the project and what Colab lacks; on a laptop it only looks for it.
import sys
from importlib.util import find_spec
from subprocess import run

if "google.colab" in sys.modules and not find_spec("fireact_nb"):
    run("git clone --depth 1 @REPOSITORY@ fireact || git -C fireact pull", shell=True)
    run([sys.executable, "fireact/fireact_nb/course/colab.py"], check=True)
    sys.path.insert(0, "fireact")
if not find_spec("fireact_nb"):
    sys.exit("FireAct is not here. Type: git clone @REPOSITORY@ fireact, then: make -C fireact lab")

# %% tags=["parameters"]
profile = "tiny"  # which models, prompts and questions
seed = 0  # draws the questions that are played live
play_react = 48  # training questions the teacher plays live by ReAct
play_cot = 32  # of them, also by CoT
play_reflexion = 16  # of them, also by Reflexion
price_prompt = 1.0  # dollars a million prompt tokens: an assumption, set your provider's
price_completion = 4.0  # dollars a million written tokens: an assumption, too
quick = False  # smallest sizes, to see whether every cell runs

# %% [markdown]
# The cell above holds the notebook's *parameters*. Change one and run all cells again.
#
# The next cell loads the **teacher** (a real, tiny language model) and the search tool over our
# invented encyclopedia. It also loads *trajectories*. A trajectory is the text that one *episode*
# (one play of one question; some say *rollout*) leaves: Thoughts, Actions and Observations. The
# teacher wrote these earlier, for three tasks. We ship all of them, failures included. If you made
# some of your own, yours are taken.

# %%
from fireact_nb.agent import read_trajectories
from fireact_nb.lab import open_lab
from fireact_nb.study.grid import TEACHER_PLAYS

if quick:
    play_react, play_cot, play_reflexion = 8, 8, 4
lab = open_lab(profile)
print(lab)
search, teacher = lab.search(), lab.teacher()
spelt = {"hotpotqa": "HotpotQA", "strategyqa": "StrategyQA", "mmlu": "MMLU",
         "react": "ReAct", "cot": "CoT", "reflexion": "Reflexion"}  # fmt: skip
origins, written, names = {}, {}, {}
for source in TEACHER_PLAYS:
    task, method = source.task, source.method
    found = lab.written(method, task)
    origins[task, method], written[task, method] = found.origin, found.played
    names[task, method] = f"{spelt[task]}, {spelt[method]}"
    print(f"{len(written[task, method]):>5} {names[task, method]}: {found.origin.label}")
print(f"For your own, run: {lab.written('react', own=False).origin.hint}")

# %% [markdown]
# The tasks are named after the data sets they are modelled on. *HotpotQA* needs two facts from two
# pages. *StrategyQA* wants yes or no. *MMLU* offers four options. *ReAct* searches before it
# answers. *CoT* (chain of thought) only thinks. *Reflexion* is ReAct with a pause to reflect.
#
# ## 1. Forecast, then play
#
# Which questions? We draw training questions that none of the shipped trajectories has played. A
# *prompt* holds the finished examples that show the teacher what to do.

# %%
import random

from fireact_nb.agent import load_prompt

asked = random.Random(seed).sample(lab.questions("train")[1500:], play_react)
prompts = {m: lab.prompt(m) for m in ("cot", "react", "reflexion")}
print(f"{len(asked)} questions, such as: {asked[0].question}")

# %% [markdown]
# With a paid teacher, each call costs money. So the first habit is: **forecast before you play.**
# The forecast below has not asked the model anything. It takes the length of the prompt, counts
# four letters as one *token* (a word or a piece of one), and assumes 3.2 rounds a question. That is
# the mean the paper reports for its agent trained on ReAct. The prices are those of the parameters
# cell.

# %%
from fireact_nb.agent import forecast

prices = (price_prompt, price_completion)
expected = forecast(asked, prompts["react"], prices)
print(expected)

# %% [markdown]
# Write down a guess: by how much will this rule of thumb be wrong? Section 7 compares.
#
# ### What a journal is for
#
# Long runs get killed: a laptop sleeps, a connection drops, a budget ends. A **journal** is a file
# in which each reply is recorded *before* it is used. When the same run starts again, it reads what
# it has from the journal, and asks the model only for the rest.
#
# Let us check this claim. We put the teacher behind a turnstile. It counts the calls, and it can be
# closed in the middle of a run. (Anything with a name, an endpoint, a batch size and a `reply` can
# be a teacher. That is all the package asks of a model.)


# %%
class PowerCut(Exception):
    pass


class Turnstile:
    def __init__(self, chat, closes_after=None):
        self.chat, self.calls, self.closes_after = chat, 0, closes_after
        self.name, self.endpoint, self.batch_size = chat.name, chat.endpoint, chat.batch_size

    def reply(self, requests, done=None, stop=None):
        if self.closes_after is not None and self.calls >= self.closes_after:
            raise PowerCut(f"the power went off after {self.calls} calls")
        self.calls += len(requests)
        return self.chat.reply(requests, done, stop)


# %% [markdown]
# `play` opens the journal, plays, and closes it again. Open a journal only while you use it: a
# second program that wants to write to it is refused, so that two runs never mix.

# %%
from fireact_nb.agent import Journal, generate

book = lab.runs / "02" / "journal.jsonl"


def play(questions, method, model, tool=search):
    with Journal(book) as journal:
        return generate(questions, prompts[method], model, tool, journal=journal, progress=False)


# %% [markdown]
# First we play until the power goes off, after two rounds. No episode is finished by then. What is
# left of the work?

# %%
cut = Turnstile(teacher, closes_after=2 * play_react)
try:
    play(asked, "react", cut)
except PowerCut as problem:
    print(f"PowerCut: {problem}")
with Journal(book) as journal:
    print(f"{cut.calls} calls made, {len(journal.keys('call'))} replies in the journal")

# %% [markdown]
# Every call that was made is in the journal. (If you have run this notebook before, the journal
# still holds that run. Then no call is made at all, and the power has no chance to go off.)
#
# Now the same command twice more. **Guess first:** how many calls will each of them make?

# %%
import time

for attempt in ("started again", "and once more"):
    counted, started = Turnstile(teacher), time.monotonic()
    live = play(asked, "react", counted)
    seconds = time.monotonic() - started
    print(f"{attempt}: {counted.calls:>4} calls, {seconds:5.1f} s, {len(live)} episodes")

# %% [markdown]
# The second run asks only what is missing. The third asks nothing: it reads finished episodes. With
# a paid teacher the same holds for money: nothing in the journal is paid twice.
#
# How does the journal know that a request is *the same*? Its key is a hash (a fingerprint) of the
# whole request and of the model's weights. Change one word of the prompt, and the request is new.
#
# Now the other two methods. Reflexion gets a search tool that fails three times in ten. Section 6
# says why.

# %%
from fireact_nb.study.grid import REFLEXION_SEARCH

fresh = {"react": live, "cot": play(asked[:play_cot], "cot", teacher)}
flaky = lab.search(REFLEXION_SEARCH)
fresh["reflexion"] = play(asked[:play_reflexion], "reflexion", teacher, flaky)
for method, episodes in fresh.items():
    print(f"{method:<9} {sum(t.correct for t in episodes)} of {len(episodes)} right")

# %% [markdown]
# ## 2. The success filter
#
# FireAct keeps a trajectory if its final answer is right (paper, section 3). We know the right
# answers, because these are training questions. The rule takes one line, and one line can be wrong.
#
# The authors' own released training file shows it. It has 734 rows: 500 ReAct, 187 CoT and 47
# Reflexion trajectories. Each row ends with its *reward* (was the answer right?). We counted: **40
# of the 47 Reflexion rows end in `reward = False`.** They are failures, in data described as
# successes. Perhaps that is one reason why adding Reflexion did not help in the paper. We cannot
# know. So check your filter.
#
# ### Exercise 02.1 · The filter, and its check
#
# *Difficulty: 1 of 3 · about 5 minutes*
#
# Write `keep(trajectories)`. It returns the list of those that are right **and** finished. A
# trajectory `t` has `t.correct` (`True`, `False`, or `None` if nobody scored it), `t.state`
# (`"finished"`, `"out of rounds"`, `"malformed"`, ...), `t.answer` and `t.gold`, the right answer.
# A file from elsewhere may call an episode right that was cut off before its end. It has no
# `finish` to learn from, so leave it out.

# %% tags=["exercise"]
from fireact_nb.course import check


def keep(trajectories):
    return ...  # your code here


check("02.1", keep)

# %% [markdown]
# <details><summary>Hint</summary>
#
# One list comprehension with two conditions. Do not compare the answers yourself: `t.correct` was
# set by the rule of the task, which forgives capitals and articles.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def keep(trajectories):
#     return [t for t in trajectories if t.correct and t.state == "finished"]
#
#
# check("02.1", keep)
# ```
#
# This is `fireact_nb.agent.rollouts.successes`. The check is as important as the line: feed your
# filter
# failures that look like successes, and see whether it lets them through.
#
# </details>

# %% [markdown]
# How much of what we just played passes? The numbers in brackets are a *95% interval*: with other
# questions of the same kind, the true share would lie inside such an interval 95 times out of 100.

# %%
from fireact_nb.agent import successes
from fireact_nb.analysis import wilson


def share_kept(trajectories):
    return wilson(len(successes(trajectories)), len(trajectories))


for method, episodes in fresh.items():
    print(f"{spelt[method]:<10} {share_kept(episodes)} of {len(episodes)}, measured in this run")

# %% [markdown]
# So few questions give wide intervals. Here is the live ReAct share beside all that was played
# earlier. Each dot is a share, its line the interval. The words under each name say where the
# number comes from.

# %%
from fireact_nb.analysis.figures import plot_scores, with_alt

rows = [("HotpotQA, ReAct, live", share_kept(live), "measured in this run", len(live))]
for pair, ts in written.items():
    rows.append((names[pair], share_kept(ts), origins[pair].label, len(ts)))
with_alt(plot_scores(rows, "What the success filter keeps", "share of episodes kept"))

# %% [markdown]
# Live and shipped ReAct should agree within their intervals. The live interval is wide, because it
# rests on few questions. Two things to remember. A yes/no question is answered right half of the
# time by guessing, and one with four options a quarter of the time. So equal shares do not mean
# equal skill.
#
# ## 3. What the failures look like
#
# A filter throws failures away. Look at them first: they tell you what your teacher cannot do.
#
# Every episode ends in a *state*: finished, out of rounds, malformed (two unreadable turns in a
# row), and so on.

# %%
from collections import Counter

failed = [t for t in written["hotpotqa", "react"] if not t.correct]
failed = failed or [t for t in live if not t.correct] or live  # elsewhere failures may lack
print(f"{len(failed)} failed ReAct episodes: {dict(Counter(t.state for t in failed))}")

# %% [markdown]
# State alone says little: most failures finish, with a wrong answer. What went wrong can often be
# told **from the trajectory alone**. Was the right answer ever on the screen? Was it a choice
# between two? The next function asks just that.


# %%
def kind_of_failure(t):
    told = " ".join(step.observation or "" for step in t.steps)
    if t.state != "finished":
        return t.state
    if t.gold in ("yes", "no"):
        other = t.answer not in ("yes", "no")
        return "said neither yes nor no" if other else f"said {t.answer}, right was {t.gold}"
    if t.gold in t.question:
        return "picked the wrong one of two names"
    return "read it, answered otherwise" if t.gold in told else "never read the right answer"


# %% [markdown]
# Read the function again. `t.gold in t.question` means a question such as "Which film is older, A
# or B?": the right answer is one of two names that it mentions. **Before you run the next cell:**
# is your teacher more likely to fail because it *finds* nothing, or because it *concludes* wrongly?

# %%
from fireact_nb.analysis.figures import plot_bars

kinds = Counter(map(kind_of_failure, failed)).most_common()
title = "Failed ReAct episodes: most conclude wrongly, few find nothing"
react_label = origins["hotpotqa", "react"].label
with_alt(plot_bars(kinds, title, "failed episodes, HotpotQA's training questions", react_label))

# %% [markdown]
# Numbers point; reading explains. Here are two failures next to each other. On the left a wrong
# conclusion, on the right an answer that was never read. Find the line where each goes astray.

# %%
from fireact_nb.analysis import show_side_by_side

by_kind = {}
for t in sorted(failed, key=lambda t: t.rounds):
    by_kind.setdefault(kind_of_failure(t), t)
concluded = by_kind.get("said yes, right was no", failed[0])
unread = by_kind.get("never read the right answer", failed[-1])
show_side_by_side(concluded, unread, titles=("a wrong conclusion", "the answer was never read"))

# %% [markdown]
# The left one reads two facts correctly, writes both down, and then calls two different things the
# same. The search worked, the last step did not. On the right, compare each name with the
# observation above it: one was copied wrongly, or the page is about somebody else. What follows is
# done with care, and is about the wrong person.
#
# Both matter for what a student will learn. A teacher that says *yes* whatever it has read will
# teach just that. Unless the filter catches it. Does it?
#
# ## 4. A right answer for a wrong reason
#
# The filter looks at the answer, never at the reasoning. A *lucky* success is one whose answer is
# right although its reasoning is not. Can we find them? A first idea: the right answer should stand
# in some observation. If it does not, it was guessed.


# %%
import re


def sort_of(t):
    if t.gold in ("yes", "no"):
        return f"answer {t.gold}"
    return "one of two names" if t.gold in t.question else "to be found"


def was_read(t):
    words = re.compile(rf"\b{re.escape(t.gold)}\b")
    return any(words.search(step.observation or "") for step in t.steps)


# %% [markdown]
# The first function sorts questions by how their answer comes about. The second looks for the right
# answer in the observations. Now count, over all ReAct successes:

# %%
kept = successes(written["hotpotqa", "react"])
for sort, count in Counter(map(sort_of, kept)).most_common():
    unread = sum(not was_read(t) for t in kept if sort_of(t) == sort)
    print(f"{sort:<17} {count:>4} successes, {unread:>3} whose answer was never read")
print(f"({react_label})")

# %% [markdown]
# Where an answer has to be *found*, the idea works well, and the teacher is honest: you cannot hit
# upon a year or a city by luck. For *yes or no* it is useless, because no page says "yes". For *one
# of two names* it is useless, too: both names stand on the pages anyway. And these are the very
# questions where luck is likely. So we must read the reasoning itself.
#
# (*Self-consistency*, [Wang and others, 2022](https://arxiv.org/abs/2203.11171), asks a model
# several times and keeps the answer that comes most often. It looks at answers only, as our filter
# does.)
#
# ### Exercise 02.2 · Does the Thought contradict itself?
#
# *Difficulty: 2 of 3 · about 10 minutes*
#
# Our teacher concludes in set phrases, such as `Hosel and Sobel are the same, so the answer is
# yes.` Write `slips(thought)`. It returns `True` if the Thought calls two different things *the
# same*, or one and the same thing *different*. Otherwise it returns `False`, also for a Thought
# that compares nothing. Names may have several words. Sentences end with a full stop and a space.

# %% tags=["exercise"]
from fireact_nb.course import check


def slips(thought):
    return ...  # your code here


check("02.2", slips)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Split the Thought at `". "` and look at the sentence with `" are the same"` or `" are different"`.
# What stands before it is `A and B`: split that at `" and "`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def slips(thought):
#     for sentence in thought.split(". "):
#         for words, equal in ((" are the same", True), (" are different", False)):
#             if words in sentence:
#                 first, _, second = sentence.split(words)[0].partition(" and ")
#                 return (first == second) != equal
#     return False
#
#
# check("02.2", slips)
# ```
#
# Such checks are cheap and blunt. They find a slip that is plain in the words. They cannot tell
# whether the words are true.
#
# </details>

# %% [markdown]
# Here is our own, larger check. It has three parts. `A and B are the same`, as in the exercise.
# `1972 is before 1948`, a false comparison. And `The city of X is Y`: is there any page in the
# encyclopedia that mentions both? This last part only works because we *own* the whole world. For
# the real Wikipedia nobody has such a list. And it only reads the set phrases of our teacher.

# %%
from functools import cache

SAME = re.compile(r"([^.]+) and ([^.]+) are (the same|different)")
YEARS = re.compile(r"(\d+) is (before|after) (\d+)")
FACT = re.compile(r"The [\w ]+? of ([^.]+) is ([^.]+)\.")
pages = lab.pages()


@cache
def on_a_page(name, value):
    return name != value and any(name in p and value in p for p in pages)


# %% [markdown]
# These three *patterns* pick the sentences out of a Thought. `false_steps` goes through what they
# find, and names each sentence that does not hold.


# %%
def false_steps(t):
    thoughts = " ".join(step.turn.thought or step.text for step in t.steps)
    for a, b, word in SAME.findall(thoughts):
        if (a.strip() == b) != (word == "the same"):
            yield f"{a.strip()} and {b} are {word}"
    for a, word, b in YEARS.findall(thoughts):
        if not (a < b if word == "before" else a > b):
            yield f"{a} is {word} {b}"
    for name, value in FACT.findall(thoughts):
        if not on_a_page(name, value):
            yield f"{name}: {value}"


# %% [markdown]
# Now the question. These are **successes only**: everything below has passed the filter. What share
# of them holds at least one false step? Write down a guess for ReAct and one for CoT.

# %%
rows = []
for pair, ts in written.items():
    kept = successes(ts)
    lucky = sum(any(false_steps(t)) for t in kept)
    rows.append((names[pair], wilson(lucky, len(kept)), origins[pair].label, len(kept)))
title = "Right answers for wrong reasons: CoT on questions that can be guessed"
with_alt(plot_scores(rows, title, "share of kept episodes with a false step"))

# %% [markdown]
# The picture has a pattern. **ReAct** reads its facts from pages, so few of its successes are built
# on sand. **CoT** recalls its facts. Where the answer is yes, no, or one of two names, wrong facts
# still give a right answer about half of the time, and the filter keeps it. On MMLU the answer *is*
# the fact, so a false one cannot pass.
#
# Such a trajectory teaches a student to state invented facts with confidence. Notebooks 05 and 06
# measure what CoT data do to our students. Keep this picture in mind as one possible reason.
#
# One of them, word by word:

# %%
from fireact_nb.analysis import show

guessed = [t for t in successes(written["strategyqa", "cot"]) if len([*false_steps(t)]) > 1]
guessed = guessed or written["strategyqa", "cot"]
print(*false_steps(guessed[0]), sep="\n")
show(guessed[0], title="Passed the filter")

# %% [markdown]
# Our check is a lower bound. It cannot see what is *missing*. The next episode passed the filter,
# and it passed our check, too. Every sentence in it is true. Where is the mistake?

# %%
reflexion = successes(written["hotpotqa", "reflexion"])
named = [t for t in reflexion if "Early Vagan and Frozen Nelel" in t.question]
missed = (named or reflexion)[0]
print(len([*false_steps(missed)]), "false steps found")
show(missed, title="Passed the filter and our check")

# %% [markdown]
# It looked up one film again and again, and never the other. Then it compared a director with
# himself. No word is false, and the answer is right by luck.
#
# ## 5. What the filter does to the mix
#
# A filter that keeps what the teacher can do also changes **what the data are about**. That is
# called *selection bias*. Some sorts of questions pass often and grow in share; others nearly
# vanish. Below, each pair of bars shows what was asked and what was kept.


# %%
def sorts_in(trajectories):
    counts = Counter(map(sort_of, trajectories))
    return {s: counts[s] for s in ("answer yes", "answer no", "one of two names", "to be found")}


mixes = {}
for pair in (("hotpotqa", "react"), ("strategyqa", "react"), ("strategyqa", "cot")):
    mixes[f"{names[pair]}: asked"] = sorts_in(written[pair])
    mixes[f"{names[pair]}: kept"] = sorts_in(successes(written[pair]))
title = "The filter keeps most of the yes answers and drops most of the no answers"
origin = f"{react_label}; the others: see the load cell"
with_alt(plot_bars([*mixes.items()], title, "episodes", origin))

# %% [markdown]
# Compare the parts for *yes* and *no* in each pair. As shares of the yes-or-no questions alone:

# %%
for label, counts in mixes.items():
    yes, no = counts["answer yes"], counts["answer no"]
    print(f"{label:<26} {yes / max(1, yes + no):4.0%} of its yes-or-no answers are yes")

# %% [markdown]
# The questions were nearly balanced. The kept ones are not: after the filter, *yes* is the right
# answer most of the time. The teacher leans towards yes, so its yes-answers pass and its
# no-questions fail. On what is left, a student would do well by always saying yes.
#
# Accuracy alone hides this. What helps: look at the mix before you train, draw equal numbers of
# each sort, or sample the teacher several times on what it finds hard. As far as we know the paper
# did none of this, and the later notebooks do not either. But now you have seen it.
#
# ## 6. Three methods, three prices
#
# What does each method use? *Prompt tokens* are what the model reads, *completion tokens* what it
# writes. An agent reads the whole conversation again in every round, so its prompt tokens grow
# faster than its rounds.

# %%
from statistics import fmean

costs = ("rounds", "prompt_tokens", "completion_tokens")
for method in ("cot", "react", "reflexion"):
    ts = written["hotpotqa", method]
    rounds, read, wrote = (fmean(getattr(t, cost) for t in ts) for cost in costs)
    print(f"{spelt[method]:<10}{rounds:>5.1f} rounds {read:>7,.0f} read {wrote:>5,.0f} written")
print(f"(means per HotpotQA episode; ReAct: {react_label}; the others: see the load cell)")

# %% [markdown]
# Reflexion looks worse than ReAct here, but the two did not play under the same conditions.
# Reflexion played with a tool that answers `None` three times in ten. Why would anyone do that?
#
# Reflexion differs from ReAct only from round 6 on. That is when the harness (our program around
# the model) writes the first words of a reflection. With a good tool few episodes last so long.
# Then Reflexion data are ReAct data under another name. So we made the tool worse, to get episodes
# in which there is something to reflect on. And we keep only those that **reached** a reflection
# and were still solved.

# %%
from fireact_nb.study import open_dev

good = [o for o in open_dev().rows if o.method_mix == "reflexion"]
bad = written["hotpotqa", "reflexion"]
for label, rows in (("a good tool, dev", good), ("a failing tool, train", bad)):
    reached = [r for r in rows if r.rounds >= 6]
    right = sum(r.correct for r in reached)
    print(f"{label:<22} {len(rows)} episodes, {len(reached)} reflected, {right} of these right")

# %% [markdown]
# The last number of the second line is what there is to train on. The study behind the later
# notebooks makes the same choice, and `lab.written` keeps its word:

# %%
print(f"{len(lab.written('reflexion', own=False).kept)} Reflexion trajectories to train on")
print(f"(dev: {open_dev().origin.label}; train: see the load cell)")

# %% [markdown]
# This is a choice of ours, and it has a price: those trajectories show a bad tool. A student may
# learn from them to expect one. Notebook 05 looks at that. (How the paper's Reflexion episodes came
# to be so long, we do not know.)
#
# ## 7. What would a large run cost?
#
# First: how good was the forecast? The prices are **assumptions** from the parameters cell, not
# anybody's price list. Put in your own.


# %%
def tell(label, prompt_tokens, completion_tokens):
    dollars = (prompt_tokens * price_prompt + completion_tokens * price_completion) / 1e6
    price = f"${dollars:.2f}"
    print(f"{label:<40}{prompt_tokens:>10,.0f} read {completion_tokens:>8,.0f} written {price:>6}")


read = sum(t.prompt_tokens for t in live)
wrote = sum(t.completion_tokens for t in live)
tell(f"{play_react} episodes, rule of thumb", expected.prompt_tokens, expected.completion_tokens)
tell(f"{play_react} episodes, measured in this run", read, wrote)

# %% [markdown]
# How far off is that, in relation? And were the rounds to blame?

# %%
print(f"read: {read / expected.prompt_tokens - 1:+.0%} against the forecast")
print(f"rounds: {fmean(t.rounds for t in live):.1f} a question, 3.2 were assumed")

# %% [markdown]
# A rule of thumb errs for two reasons. Episodes are longer or shorter than assumed. And four
# letters a token fits English text and a large *vocabulary* (the list of tokens that a model
# knows). Our teacher knows only about 1,500 tokens, and the invented names break into many pieces.
#
# The cure is cheap: **play a small pilot and scale it up.** The next cell does so for 500 questions
# and for as many as were played for the series, and then shows what those really took.

# %%
real = written["hotpotqa", "react"]
for count in (500, len(real)):
    rule, scale = forecast(lab.questions("train")[:count], prompts["react"]), count / len(live)
    tell(f"{count:,} questions, rule of thumb", rule.prompt_tokens, rule.completion_tokens)
    tell(f"{count:,} questions, scaled from the pilot", read * scale, wrote * scale)

# %%
took = sum(t.prompt_tokens for t in real) or 1  # files from elsewhere do not say
tell(f"{len(real):,} questions, as really played", took, sum(t.completion_tokens for t in real))
print(f"({react_label})")
print(f"read: the rule is off by {rule.prompt_tokens / took - 1:+.0%}")
print(f"read: the pilot is off by {read * scale / took - 1:+.0%}")

# %% [markdown]
# A pilot of a few dozen questions comes closer than the rule. Note also what you pay for: the
# *examples in the prompt* make up most of what is read, in every round of every question. The
# examples for the real HotpotQA are longer than ours. The rule of thumb again, for 500 questions
# with those:

# %%
longer = load_prompt("react", "hotpotqa")
print(forecast(lab.questions("train")[:500], longer, prices))

# %% [markdown]
# And you do not pay per question. You pay per trajectory that you **keep**. The paper trained on
# 500 ReAct, 187 CoT and 47 Reflexion trajectories (paper, as reported). How many questions must our
# teacher play for as many?

# %%
reflected = [t for t in successes(bad) if t.rounds >= 6]
wanted = {"react": 500, "cot": 187, "reflexion": 47}
for method, count in wanted.items():
    ts = written["hotpotqa", method]
    rate = len(reflected if method == "reflexion" else successes(ts)) / len(ts)
    print(f"{count} {method:<9} at a pass rate of {rate:3.0%}: {count / rate:>4.0f} questions")

# %% [markdown]
# ### Exercise 02.3 · The price of what you keep
#
# *Difficulty: 1 of 3 · about 10 minutes*
#
# Write `price_of(wanted, rate, read, written, price_read, price_written)`. It gives the dollars you
# expect to pay for `wanted` *kept* trajectories. `rate` is the share that passes the filter, `read`
# and `written` are mean tokens of one episode, and the prices are dollars for a **million** tokens.
# Example: 500 wanted, rate 0.5, 2,000 read, 150 written, prices 1 and 4 make 2.60 dollars.

# %% tags=["exercise"]
from fireact_nb.course import check


def price_of(wanted, rate, read, written, price_read, price_written):
    return ...  # your code here


check("02.3", price_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# How many episodes have to be played so that 500 are kept, if half of them fail? Then: what does
# one episode cost?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def price_of(wanted, rate, read, written, price_read, price_written):
#     episodes = wanted / rate
#     return episodes * (read * price_read + written * price_written) / 1_000_000
#
#
# check("02.3", price_of)
# ```
#
# A better teacher at twice the price a token can be the cheaper one, if far more of its episodes
# pass.
#
# </details>

# %% [markdown]
# ### With a paid teacher
#
# Nothing here calls a paid model. If you hold a key, this is how to swap the teacher. The key is
# read from the variable `OPENAI_API_KEY` and never shown. The forecast comes first. Then an
# explicit yes, a journal, and a cap on the spending:
#
# ```python
# from fireact_nb.models.api import OpenAIChat
#
# strong = OpenAIChat("name-of-a-model", prices=(1.0, 4.0))  # your provider's prices
# few = asked[:20]  # a pilot first
# print(forecast(few, prompts["react"], strong.prices))
#
# agreed = False  # read the forecast, then write True; until then `generate` refuses
# with Journal(lab.runs / "02" / "paid.jsonl") as journal:
#     pilot = generate(
#         few, prompts["react"], strong, search, journal=journal, max_usd=1.0, yes=agreed
#     )
# ```
#
# The command line asks in the same way: `fireact-nb generate` with `--base-url`, `--model` and
# `--prices` prints its forecast and stops, unless you add `--yes`. A server on your own machine
# (vLLM, llama.cpp, Ollama) costs nothing and works alike.
#
# ### What the authors released
#
# The authors put the trajectories that they trained on into their repository. A profile with a
# network fetches them at a fixed commit, checks the file's hash, and reads them in. What ended in a
# wrong answer is flagged. A row that cannot be read is left out and told. (`tiny` stays offline, so
# there is nothing to see here.)

# %%
released = lab.released("hotpotqa")
if released is None:
    print("not run here: offline (profile tiny). With profile = 'colab' it is")
else:
    rows = Counter((t.method, t.correct) for t in released.trajectories)
    for (method, correct), count in sorted(rows.items()):
        print(f"{count:>4} {spelt[method]:<10}{'right' if correct else 'WRONG, and trained on'}")
    print(f"{len(released.odd)} rows left out as unreadable ({released.label})")

# %% [markdown]
# ## 8. Keep what you made
#
# The live ReAct episodes go to `runs/02/teacher_react.jsonl`, failures included. The rule for this
# file is simple: **it only grows.** Episodes that it does not hold yet are added at its end, and
# nothing in it is ever changed or removed. Another seed adds other questions. With `quick`, it is
# not touched.

# %%
from fireact_nb.agent import write_trajectories

mine = lab.runs / "02" / "teacher_react.jsonl"
before = read_trajectories(mine) if mine.exists() else []
known = {t.id for t in before}
new = [t for t in live if t.id not in known]
if not quick:
    write_trajectories(mine, before + new)
print(f"{lab.runs.name}/02/teacher_react.jsonl: {len(before)} episodes before, {len(new)} new")
print(f"enough to train on? {len(successes(before + new))} successes; 150 to 500 are wanted")

# %% [markdown]
# Notebooks 03 to 06 use your own trajectories if there are enough of them, and the shipped ones if
# not. Their load cells say which. A few dozen are too few to train on. For a large set, let the
# teacher play for some minutes in a terminal:
#
#     fireact-nb generate --count 1500
#
# If you stop it, the same command goes on where it stopped: it keeps a journal, too.
#
# ## In this notebook you have
#
# * forecast a run, cut it short, and seen that a journal asks nothing twice;
# * filtered successes, and sorted failures into kinds by reading trajectories;
# * found right answers with wrong reasons, and seen that CoT on yes-or-no questions is full of
#   them;
# * seen that the filter turns a balanced set of questions into one that mostly says yes;
# * put a price on kept trajectories, and learnt to trust a pilot more than a rule of thumb.
#
# **Further reading**
#
# * Chen and others, [FireAct: Toward Language Agent
#   Fine-tuning](https://arxiv.org/abs/2310.05915), 2023: the paper.
# * Zelikman and others, [STaR: Bootstrapping Reasoning With
#   Reasoning](https://arxiv.org/abs/2203.14465), NeurIPS 2022: keep what ended right, and train on
#   it.
# * Wang and others, [Self-Consistency Improves Chain of Thought Reasoning in Language
#   Models](https://arxiv.org/abs/2203.11171), ICLR 2023.
#
# **Next:** notebook 03 brings CoT and Reflexion trajectories into the one form that a student is
# trained on, and decides which words carry loss.
