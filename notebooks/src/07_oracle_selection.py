# %% [markdown]
# # 07 · Oracle selection: what would the right choice of the method be worth?
#
# **The promise:** you measure how far choosing the right method could take an agent, how much of
# that is only luck and more tries, and you build a first honest selector.
#
# After this notebook you can
#
# 1. compute random, best fixed, implicit and oracle choice from a table of outcomes;
# 2. put a *pass@k* control beside an oracle, and say what survives it;
# 3. learn a rule for choosing on one half of the questions and measure it on the other half;
# 4. say where a gain comes from: from knowledge, from guessing, or from an accident;
# 5. make the same figures for a table of your own.
#
# | | |
# |---|---|
# | Time | about 5 seconds on 2 free CPU cores (measured); a GPU is not used |
# | Needs | no GPU, no key, no network, no money; nothing is trained here |
# | Before this | helpful: 01 (the methods) and 05 (mixing them); it runs alone |

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
seed = 0  # divides the questions into halves
splits = 50  # how many times the halves are drawn anew
my_outcomes = ""  # path of an outcomes table of your own, .csv, .csv.gz or .parquet
my_agents = ["student, react 500", "student_code, react 500", "student_large, react 500"]
my_task = "hotpotqa"  # which rows of that table: their task ...
my_condition = "normal"  # ... and their condition
quick = False  # smallest sizes, to see whether every cell runs

# %% [markdown]
# The cell above holds the notebook's *parameters*; section 7 explains those that begin with `my`.
# The next cell loads the **study**: a table with one row for each agent and question. It is yours,
# if you made one, else the shipped one. The agents played *test* questions of our invented world.
# Nothing is played here: everything below is arithmetic on that table.

# %%
from fireact_nb.analysis import read_outcomes
from fireact_nb.lab import open_lab
from fireact_nb.study import open_study, study_lab

if quick:
    splits = 4
lab = open_lab(profile)
results = open_study()
questions = {q.id: q for q in study_lab().questions("test")}
print(f"{lab}\nstudy: {results.origin}")

# %% [markdown]
# ## 1. Who is right where?
#
# Three methods run through this series. *CoT* (chain of thought) reasons once and answers. *ReAct*
# lets thoughts and searches take turns. *Reflexion* is ReAct with a pause to reflect. No method is
# best for every question. FireAct hopes that an agent trained on all of them chooses well by
# itself.
#
# How much is there to gain? That needs a **pool**: some agents, all of which played the same
# questions. We look at two:
#
# * the **teacher**: one model, asked by three different prompts;
# * the **student**: one small model, fine-tuned three times, on 500 ReAct, 187 CoT or 47 Reflexion
#   trajectories (these are the paper's numbers).
#
# An answer counts if it is an *exact match* (EM) with the right one. The study holds 600 test
# questions. We work on the first 300, because only there the control of section 3 was played, and
# we keep the other 300 for later.

# %%
from fireact_nb.study import MAIN, prompted, tuned

samples = results.of(tuned(MAIN, "react"), sampled=True)  # section 3 needs these
asked = sorted({o.question_id for o in samples})
agents = {
    "teacher": {m: prompted("teacher", m.lower()) for m in ("ReAct", "CoT", "Reflexion")},
    "student": {
        "ReAct": tuned(MAIN, "react"),
        "CoT": tuned(MAIN, "cot"),
        "Reflexion": tuned(MAIN, "reflexion"),
    },
}
all_600 = {who: {m: results.of(a, seed=0) for m, a in pool.items()} for who, pool in agents.items()}


# %%
def on(ids, pool):
    """The rows of a pool that belong to these questions."""
    return {m: [o for o in rows if o.question_id in set(ids)] for m, rows in pool.items()}


pools = {who: on(asked, pool) for who, pool in all_600.items()}

# %% [markdown]
# Here are some questions, one a line, with a mark for each method that got it right. **Look for** a
# line where only one method is right. That is where a choice would matter.

# %%
marks = {
    who: {m: {o.question_id: o.correct for o in rows} for m, rows in pool.items()}
    for who, pool in all_600.items()
}
print("teacher  student   (ReAct, CoT, Reflexion)")
for q in asked[:10]:
    line = ["".join(" x" if right[q] else " ." for right in marks[who].values()) for who in pools]
    print("  ".join(line), " ", questions[q].question)

# %% [markdown]
# Now all of them. **Guess first:** for what share of the questions is *exactly one* method right?

# %%
from collections import Counter

from fireact_nb.analysis.figures import plot_bars, with_alt


def overlap(pool):
    """How many questions several, only one, or none of the agents get right."""
    who_is_right = {o.question_id: [] for rows in pool.values() for o in rows}
    for name, rows in pool.items():
        for o in rows:
            who_is_right[o.question_id] += [name] if o.correct else []
    counts = Counter()
    for right in who_is_right.values():
        counts["several" if len(right) > 1 else f"only {right[0]}" if right else "none"] += 1
    parts = ["several", *(f"only {name}" for name in pool), "none"]
    return {part: counts[part] for part in parts}


# %%
with_alt(
    plot_bars(
        [(who, overlap(pool)) for who, pool in pools.items()],
        "Who is right: several methods, only one, or none",
        "number of test questions",
        results.origin.label,
    )
)

# %% [markdown]
# ### Exercise 07.1 · The oracle
#
# *Difficulty: 1 of 3 · about 5 minutes*
#
# An **oracle** knows for every question which method will be right, and picks it. Write
# `oracle(marks)`, its score. `marks` maps each method to a list with a mark for each question:
# `{"cot": [True, False], "react": [False, False]}` gives `0.5`.

# %% tags=["exercise"]
from fireact_nb.course import check


def oracle(marks):
    return ...  # your code here


check("07.1", oracle)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `zip(*marks.values())` goes through the questions: each time it gives the marks of all methods for
# one question. `any` asks whether one of them is right.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def oracle(marks):
#     by_question = list(zip(*marks.values()))
#     return sum(any(row) for row in by_question) / len(by_question)
#
#
# check("07.1", oracle)
# ```
#
# It is an upper limit. No selector can do better with these methods, however clever it is.
#
# </details>

# %% [markdown]
# ## 2. Four ways to choose
#
# * **random**: pick a method by chance. Its expected score is the mean over methods and questions.
# * **best fixed**: the method that is right most often, for every question. (We choose and measure
#   it on the same questions, which flatters it a little.)
# * **implicit**: the agent that was trained on a mix of methods and chooses by itself.
# * **oracle**: for each question, a method that is right, if there is one.
#
# ![Three ways from a question to an answer. Random draws one method before it plays. Implicit is
# one student trained on all methods, which decides as it plays. Oracle plays all three and takes a
# right one: an upper bound, no agent.](figures/selection.svg)
#
# ### Exercise 07.2 · Chance, without dice
#
# *Difficulty: 1 of 3 · about 5 minutes*
#
# Write `random_choice(marks)`: the expected score when a method is picked by chance for each
# question. Use no random numbers: work out what they give on average. Example:
# `{"a": [True, True], "b": [False, True]}` gives `0.75`.

# %% tags=["exercise"]
from fireact_nb.course import check


def random_choice(marks):
    return ...  # your code here


check("07.2", random_choice)

# %% [markdown]
# <details><summary>Hint</summary>
#
# For one question, the chance to pick a right method is the share of methods that are right there.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def random_choice(marks):
#     chances = [sum(row) / len(row) for row in zip(*marks.values())]
#     return sum(chances) / len(chances)
#
#
# check("07.2", random_choice)
# ```
#
# A weak method in the pool pulls this number down. So "better than random choice" says little:
# add a bad method, and everything looks good beside chance.
#
# </details>

# %% [markdown]
# The paper gives three numbers in its Table 4: random choice 32.4, its agent's own choice 41.0, and
# the oracle 52.0 (paper, as reported). What its pool was is not known to us. Here they are beside
# ours. The lines with pass@k are the subject of the next section.

# %%
from fireact_nb.study import show_table
from fireact_nb.study.tables import table_selection

tables = table_selection(results)
show_table(tables[1], results.origin.label)

# %%
show_table(tables[0], results.origin.label)

# %% [markdown]
# The order is that of the paper: random, a middle row, oracle. (The paper's middle row is its
# agent's own choice, ours the best fixed method.) But that proves nothing. For random, best fixed
# and oracle it *must* be so in any pool: a mean is never above its largest part, and no choice
# beats the oracle. Only the sizes of the steps tell something.
#
# One line is missing in our table: the *implicit* choice. Our students that were trained on mixes:

# %%
from fireact_nb.analysis import accuracy
from fireact_nb.analysis.selection import best_fixed, oracle_choice

implicit = {mix: results.of(tuned(MAIN, mix), seed=0) for mix in ("react+cot", "all")}
implicit = on(asked, implicit)
for mix, rows in implicit.items():
    print(f"implicit choice, trained on {mix:<10} {accuracy(rows)}")
name, fixed = best_fixed(pools["student"])
print(f"best fixed: {name:<28} {fixed}")
print(f"oracle over three methods:{'':<14}{oracle_choice(pools['student'])}")

# %% [markdown]
# The *95% intervals* in brackets say how much another set of such questions could move a number.
# Does the student that was trained on a mix come near the oracle? Or does it stay where the best
# fixed method is? In notebook 05 you could see why: it chooses by the form of the question, not by
# what it knows.
#
# ## 3. The control: is it the method, or only the number of tries?
#
# The measure and its estimate without bias come from [Chen and others,
# 2021](https://arxiv.org/abs/2107.03374).
#
# An oracle over three methods has **three tries**. Three tries of *one* method would also get more
# questions right, if there is some chance in it. So we need a control: **pass@k**, the chance that
# at least one of k tries of the same agent is right. Our agents repeated each question three times
# at *temperature* 0.6 (a setting that lets chance into the choice of words).
#
# ### Exercise 07.3 · pass@k without bias
#
# *Difficulty: 3 of 3 · about 10 minutes*
#
# You have `n` tries of a question, `c` of them right. Draw `k` *different* ones of the n. Write
# `pass_at_k(n, c, k)`: the chance that at least one of the drawn is right. Examples:
# `pass_at_k(3, 1, 2)` gives `2/3`, and `pass_at_k(3, 1, 3)` gives `1.0`.

# %% tags=["exercise"]
from fireact_nb.course import check


def pass_at_k(n, c, k):
    return ...  # your code here


check("07.3", pass_at_k)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Count the opposite: in how many ways can all k drawn tries be wrong ones? `math.comb(a, b)` counts
# the ways to draw b out of a.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from math import comb
#
# from fireact_nb.course import check
#
#
# def pass_at_k(n, c, k):
#     return 1 - comb(n - c, k) / comb(n, k)
#
#
# check("07.3", pass_at_k)
# ```
#
# `1 - (1 - c / n) ** k` looks simpler and is too low: it may draw the same try twice.
#
# </details>

# %% [markdown]
# Now both in one picture: the oracle over one, two and three methods, and one, two and three tries
# of ReAct alone. **Guess first:** which curve is higher, for the teacher and for the student?

# %%
from fireact_nb.analysis.figures import plot_curve
from fireact_nb.analysis.selection import oracle_beyond_samples
from fireact_nb.analysis.selection import pass_at_k as pass_rate

tries = {"teacher": results.of(prompted("teacher", "react"), sampled=True), "student": samples}
curves = {}
for who, pool in pools.items():
    members = list(pool.items())  # ReAct first
    curves[f"{who}, methods"] = [(k, oracle_choice(dict(members[:k]))) for k in (1, 2, 3)]
    curves[f"{who}, tries of ReAct"] = [(k, pass_rate(tries[who], k)) for k in (1, 2, 3)]
with_alt(
    plot_curve(
        curves,
        "More methods or more tries: both find more right answers",
        "how many methods, or how many tries",
        "share of questions where at least one is right",
        source=results.origin.label,
    )
)

# %% [markdown]
# The control is a little unkind to the tries: at temperature 0.6 a single try is worse than ReAct
# without chance. And it is a little unkind to the methods: some of the student's are weak. What is
# left after the control, taken question by question?

# %%
for who, pool in pools.items():
    left = oracle_beyond_samples(pool, tries[who])
    verdict = "clear of zero" if left.low > 0 or left.high < 0 else "NOT clear of zero"
    print(f"{who}: oracle over 3 methods minus pass@3 of ReAct: {left}, {verdict}")
print(f"({results.origin.label}, 300 test questions)")

# %% [markdown]
# There is a second control: three *models* instead of three methods. The authors released the
# answers of three fine-tuned models to 500 HotpotQA questions. Alone they are right on 40.0, 34.4
# and 26.2 percent; on **50.0** percent at least one is right (recomputed from the paper's released
# files). The paper's oracle over methods is 52.0. So 52.0 by itself does not show that *methods*
# complement each other: agents that err differently for any reason do nearly as well. Ours:

# %%
models = ("student", "student_code", "student_large")
crowd = on(asked, {model: results.of(tuned(model, "react"), seed=0) for model in models})
print("alone:", ", ".join(f"{m} {accuracy(rows).value:.3f}" for m, rows in crowd.items()))
print(f"oracle over three models, one method: {oracle_choice(crowd)}")
print(f"oracle over three methods, one model: {oracle_choice(pools['student'])}")

# %% [markdown]
# ## 4. Where does the gap come from?
#
# Some questions have only two possible answers: "Did A and B study at the same place?", "Which film
# is older, A or B?" Somebody who knows nothing is right on half of them. Three who know nothing,
# and guess independently, cover 1 - (1/2)^3 = 7/8 of them. An oracle over guessers looks clever.
#
# So let us divide the questions by their form. Anybody can read it off the words:


# %%
def form(text):
    """What a reader sees without knowing the answer."""
    if " or " in text:
        return "choice"
    return "yes/no" if text.split()[0] in ("Are", "Did", "Do", "Was") else "open"


# %%
forms = {q: form(text.question) for q, text in questions.items()}
print(f"forms of the 300 questions: {dict(Counter(forms[q] for q in asked))}")
for who, pool in pools.items():
    for kind in ("open", "yes/no", "choice"):
        ids = [q for q in asked if forms[q] == kind]
        alone = ", ".join(f"{m} {accuracy(r).value:.2f}" for m, r in on(ids, pool).items())
        [again] = on(ids, {"tries": tries[who]}).values()
        limits = oracle_choice(on(ids, pool)).value, pass_rate(again, 3).value
        print(f"{who}, {kind:<6} {alone}; oracle {limits[0]:.2f}, pass@3 {limits[1]:.2f}")

# %% [markdown]
# Read the rows of the *open* questions first. There, guessing does not pay, and the oracle hardly
# rises above the best method. Most of the gap lies where two answers are possible. And look at the
# teacher's pass@3 on *yes/no* questions, beside 7/8: three tries look like three guesses.
#
# An oracle credits a lucky guess like a known fact.
#
# ## 5. A first honest selector
#
# A selector may use what can be known *before* the answer: here, the form of the question. The rule
# is simple: for each form, take the method that did best. But "did best" on which questions? If on
# the same ones that we measure on, the rule has seen the answers. So we learn it on one half and
# measure it on the other, then the other way round. That is called *cross-fitting*.
#
# ### Exercise 07.4 · Learn on A, measure on B
#
# *Difficulty: 3 of 3 · about 15 minutes*
#
# Write `half_and_half(rows)`. Each row is `(half, kind, marks)`, for example
# `("A", "choice", {"cot": True, "react": False})`. On half `"A"`, find the best method for each
# kind. Return the score of that rule on half `"B"`. Every kind of B occurs in A.

# %% tags=["exercise"]
from fireact_nb.course import check


def half_and_half(rows):
    return ...  # your code here


check("07.4", half_and_half)

# %% [markdown]
# <details><summary>Hint</summary>
#
# First build the rule: a dictionary from kind to method, from the rows of half A alone. Only then
# look at half B.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def half_and_half(rows):
#     rule = {}
#     for kind in {kind for _, kind, _ in rows}:
#         seen = [marks for half, k, marks in rows if half == "A" and k == kind]
#         rule[kind] = max(seen[0], key=lambda m: sum(marks[m] for marks in seen))
#     test = [marks[rule[kind]] for half, kind, marks in rows if half == "B"]
#     return sum(test) / len(test)
#
#
# check("07.4", half_and_half)
# ```
#
# On half A such a rule always looks at least as good as the best fixed method. Half B decides.
#
# </details>

# %% [markdown]
# The same for our pools, with both halves in turn: for each question, the method is picked by a
# rule that never saw this question.

# %%
import random

from fireact_nb.analysis import paired_bootstrap


def learn(marks, kinds, seen):
    """The best method for each kind, on the questions seen."""
    rule = {}
    for kind in sorted(set(kinds.values())):
        ids = [q for q in seen if kinds[q] == kind]
        rule[kind] = max(marks, key=lambda m, ids=ids: sum(marks[m][q] for q in ids))
    return rule


def cross_fit(marks, kinds, seed):
    """A method for each question asked, by a rule learnt on the other half."""
    ids = random.Random(seed).sample(asked, len(asked))
    a, b = ids[::2], ids[1::2]
    by_a, by_b = learn(marks, kinds, a), learn(marks, kinds, b)
    return {q: by_b[kinds[q]] for q in a} | {q: by_a[kinds[q]] for q in b}


# %%
for who, pool in pools.items():
    picked = cross_fit(marks[who], forms, seed)
    name, fixed = best_fixed(pool)
    by_rule = [marks[who][picked[q]][q] for q in asked]
    gain = paired_bootstrap([marks[who][name][q] for q in asked], by_rule)
    closed = gain.value / (oracle_choice(pool).value - fixed.value)
    print(f"{who}: always {name} {fixed.value:.3f}, by the rule {sum(by_rule) / len(asked):.3f}")
    print(f"  gain {gain}, {closed:.0%} of the gap to the oracle")
    print(f"  learnt on all 300: {learn(marks[who], forms, asked)}")

# %% [markdown]
# Is a gain clear of zero? For which pool? It looks like a success for selection. One split into
# halves is a matter of chance, so let us draw the halves many times. Beside it stand two other
# things. A rule that also knows **head or tail** (whether the facts were mentioned often in the
# models' training text): *no agent can know this*, it is a fact about how we made the world. And a
# **coin** for choice questions, with ReAct for all others.

# %%
from statistics import fmean, pstdev

head = {q: (forms[q], questions[q].head) for q in questions}
for who in pools:
    for label, kinds in (("form", forms), ("form and head or tail", head)):
        scores = []
        for n in range(splits):
            picked = cross_fit(marks[who], kinds, n)
            scores.append(fmean(marks[who][picked[q]][q] for q in asked))
        print(f"{who}: rule by {label:<22}{fmean(scores):.3f}, sd over halves {pstdev(scores):.3f}")
    coin = [0.5 if forms[q] == "choice" else marks[who]["ReAct"][q] for q in asked]
    print(f"{who}: a coin for choice questions {fmean(coin):.3f}")

# %% [markdown]
# More knowledge did not make a better rule here: with more kinds, each has fewer questions to learn
# from. Head and tail would be an upper limit only with endless data. And if the **coin** does as
# well as the rule, then the rule has found a hole in ReAct, not a strength of CoT.
#
# Now the real test. We still have 300 questions that this notebook has not touched. **Write down
# your guess:** how large is the rule's gain there?

# %%
fresh = sorted(set(questions) - set(asked))
for who in pools:
    rule = learn(marks[who], forms, asked)
    name, _ = best_fixed(pools[who])
    always = [marks[who][name][q] for q in fresh]
    by_rule = [marks[who][rule[forms[q]]][q] for q in fresh]
    print(f"{who}: always {name} {fmean(always):.3f}, by the rule {fmean(by_rule):.3f}")
    print(f"  gain {paired_bootstrap(always, by_rule)}")
print(f"({results.origin.label}, the other {len(fresh)} test questions)")

# %% [markdown]
# In the shipped table the gain is gone. How can that be? The rule was cross-fitted, and its
# interval was clear of zero for the student. Let us look at what the methods actually *say*. For a
# choice question: the first of the two names, the second, or neither (a name from elsewhere)?


# %%
def said(question, answer):
    """Which of the two things to choose from an answer names."""
    first, second = question.question.rstrip("?").split(", ")[-1].split(" or ")
    return {first: "first", second: "second"}.get(answer, "neither")


# %%
choice = [q for q in questions if forms[q] == "choice"]
for who, pool in all_600.items():
    for m in ("ReAct", "CoT"):
        rows = on(choice, pool)[m]
        habit = Counter(said(questions[o.question_id], o.answer) for o in rows)
        print(f"{who}, {m:<5} says: {dict(habit.most_common())}")
for label, ids in (("the first 300", asked), ("the other 300", fresh)):
    golds = Counter(said(questions[q], questions[q].answer) for q in ids if q in set(choice))
    print(f"right among {label}: {dict(golds.most_common())}")

# %% [markdown]
# There are two stopped clocks. Where they name one of the two, ReAct mostly names the first and CoT
# mostly the second, whatever the question. (And the student often writes a name that is not in the
# question at all: it miscopies.) Together two such clocks are right on many questions, and neither
# has to know anything. Look back at the table by form: on choice questions lies most of the
# oracle's gap, and most of what the student kept after the pass@3 control.
#
# And among the first 300 questions the second thing happened to be right more often. Both halves
# shared this accident, because both came from the same 300. So the rule "CoT for choice questions"
# passed the test, and it stood on an accident.
#
# The lesson is not that selection cannot work. It is this: **look at why a rule works before you
# believe that it does**, and keep questions that nobody touched.
#
# ## 6. How good must a selector be, and what does it cost?
#
# Suppose a selector picks a right method with probability p wherever there is one, and picks by
# chance otherwise. Then its expected score is
#
# random + p x (oracle - random).
#
# That is a straight line. The distance to the oracle is called *regret*. How large must p be to
# beat "always the best fixed method"?

# %%
from fireact_nb.analysis import Interval
from fireact_nb.analysis.selection import random_choice as chance

pool, by = pools["student"], marks["student"]
line = []
for p in (0, 0.25, 0.5, 0.75, 1):
    values = [p * any(by[m][q] for m in by) + (1 - p) * fmean(by[m][q] for m in by) for q in asked]
    line.append((p, paired_bootstrap([0.0] * len(asked), values)))
name, fixed = best_fixed(pool)
flat = Interval(fixed.value, fixed.value, fixed.value)
with_alt(
    plot_curve(
        {"selector, right with probability p": line, f"always {name}": [(0, flat), (1, flat)]},
        "A selector has to be good before it is worth having (student)",
        "p, the probability to pick a right method where there is one",
        source=results.origin.label,
    )
)

# %%
low, high = chance(pool).value, oracle_choice(pool).value
print(f"random {low:.3f}, oracle {high:.3f}; to reach another score, p must be:")
for label, rows in {f"always {name}": pool[name], **implicit}.items():
    score = accuracy(rows).value
    print(f"  {label:<14}{score:.3f}: p = {(score - low) / (high - low):.2f}")

# %% [markdown]
# In a pool with one strong method, a mediocre selector is worse than none. The implicit agents have
# a p, too. It may be no higher than that of "always the same".
#
# Selection also has a **price**. Prompt tokens are what the model must read in all rounds together;
# with a paid model you pay for each. A selector that picks before it acts pays for one method. An
# oracle that first tries all of them pays for all.

# %%
rows = {m: {o.question_id: o for o in pool[m]} for m in pool}
rows["implicit"] = {o.question_id: o for o in implicit["react+cot"]}
plans = {f"always {m}": {q: m for q in asked} for m in pool}
plans["implicit (react+cot)"] = {q: "implicit" for q in asked}
plans["rule by form"] = cross_fit(by, forms, seed)
plans["oracle, cheapest right"] = {
    q: min(pool, key=lambda m: (not by[m][q], rows[m][q].prompt_tokens)) for q in asked
}
for label, plan in plans.items():
    chosen = [rows[m][q] for q, m in plan.items()]
    em, rounds = fmean(o.correct for o in chosen), fmean(o.rounds for o in chosen)
    tokens = fmean(o.prompt_tokens for o in chosen)
    print(f"{label:<23} EM {em:.3f} {rounds:>5.1f} rounds {tokens:>6.0f} prompt tokens")
tokens = sum(o.prompt_tokens for m in pool for o in pool[m]) / len(asked)
print(f"trying all three to find out {'':<9}{tokens:>12.0f} prompt tokens")

# %% [markdown]
# Here selection shows something that accuracy does not: wherever a one-round method is picked, most
# of the tokens are never read. For a paid model that may be the better reason to select. (The
# rule's EM is the cross-fitted one from above: you know by now what it is worth.)
#
# ## 7. Bring your own table
#
# Any table in the outcomes format will do: the one from `make study`, one that you wrote with
# `fireact_nb.analysis.outcomes.write_outcomes`, or a CSV from elsewhere with the same columns. Set
# `my_outcomes` to its path, and `my_agents` to the names of the agents that make up the pool (an
# empty list takes all of the file). All of them must have played the same questions. Without a
# path, the cell takes our study and the pool of three models from section 3, now on all 600.

# %%
from pathlib import Path

rows = read_outcomes(my_outcomes) if my_outcomes else results.rows
label = f"your own run ({Path(my_outcomes).name})" if my_outcomes else results.origin.label
rows = [o for o in rows if o.task == my_task and o.condition == my_condition]
names = my_agents or sorted({o.agent for o in rows})
mine = {}
for name in names:
    first = {}
    for o in sorted((o for o in rows if o.agent == name), key=lambda o: (o.temperature, o.seed)):
        first.setdefault(o.question_id, o)  # one row a question: without chance if there is one
    mine[name] = list(first.values())
best, fixed = best_fixed(mine)
print(f"{len(mine[best])} questions ({label})\nrandom {chance(mine)}\nbest fixed {fixed}: {best}")
print(f"oracle {oracle_choice(mine)}")

# %%
with_alt(
    plot_bars(
        [("this pool", overlap(mine))],
        "Your own pool: who is right where",
        "number of questions",
        label,
    )
)

# %% [markdown]
# ### The authors' three runs
#
# The files behind the 50.0 of section 3 are public. With a profile that has a network, this cell
# fetches them and counts them itself. Each agent was asked 500 questions. One file lacks the
# episodes that did not finish, so we count over all 500.

# %%
asked_in_paper, right_by = 500, {}
for name in ("GPT-3.5", "Llama-2-13B, LoRA", "Llama-2-7B, LoRA"):
    if (run_of := lab.released(name)) is None:
        continue
    right_by[name] = {t.question_id for t in run_of.trajectories if t.correct}
    share = len(right_by[name]) / asked_in_paper
    print(f"{name:<18} {share:.3f}, {len(run_of.trajectories)} episodes in {run_of.label}")

# %%
if right_by:
    print(f"one of them right: {len(set.union(*right_by.values())) / asked_in_paper:.3f}")
else:
    print("not run here: offline (profile tiny). With profile = 'colab' it is")

# %% [markdown]
# Before you believe an oracle of your own, ask the questions of this notebook. Is there a pass@k
# control with as many tries as the pool has agents? How many questions have only two answers? Do
# the agents have habits that oppose each other? Was a rule measured on untouched questions?
#
# ## Open questions
#
# * **Does a model know what it knows?** Our rule reads the form of a question. A better one would
#   read the model's own doubt before it acts. Is that doubt of any use?
# * **How large is the gap without guessing?** On open questions ours is small. Is it larger for
#   models that know more, as GPT-3.5 does?
# * **Must one choose before the first word?** One may begin by CoT and search when the thought
#   looks weak, or stop searching when it leads nowhere.
# * **Does a rule travel?** From one student to another, from dev to test, from a good tool to a
#   failing one?
# * **What is a right answer worth?** With a price on tokens, another choice may be best.
# * **What was the paper's pool?** Without it, 52.0 cannot be reproduced, only discussed.
#
# ## In this notebook you have
#
# * computed random, best fixed, implicit and oracle choice, and read them beside the paper's;
# * seen how much of an oracle gap more tries, other models and lucky guesses explain;
# * built a selector, saw it pass one test and fail the next, and found out why;
# * found how good a selector must be to be worth having, and what each choice costs;
# * brought the same questions to a table of your own.
#
# **Further reading**
#
# * Chen and others, [Evaluating Large Language Models Trained on
#   Code](https://arxiv.org/abs/2107.03374), 2021: pass@k and its estimate without bias.
# * Wang and others, [Self-Consistency Improves Chain of Thought Reasoning in Language
#   Models](https://arxiv.org/abs/2203.11171), ICLR 2023.
#
# **Next:** that is the end of the series so far. The open questions are yours: the table is in
# `data/outcomes/`, and `make study` makes every agent in it again.
