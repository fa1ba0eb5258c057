# %% [markdown]
# # 01 · ReAct prompting: one model, four ways to ask
#
# **The promise:** you read a whole language agent in under 40 lines, run it, and find out by
# counting when thinking is enough and when a model has to look things up.
#
# After this notebook you can
#
# 1. write a few-shot prompt for IO, CoT, ReAct and Reflexion, and say how they differ;
# 2. explain every line of the agent loop, and where it can go wrong;
# 3. tell questions that a model *knows* from questions it has to *look up*, by its results;
# 4. compare methods on the same questions with intervals, and put a price on a right answer.
#
# | | |
# |---|---|
# | Time | about 40 seconds on 2 free CPU cores (measured), less on a T4 (estimated) |
# | Needs | no GPU, no key, no network, no money |
# | Before this | nothing; notebook 00 shows where all this leads |

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
test_on = 64  # dev questions that each method plays live
max_rounds = 11  # the paper's limit on rounds
quick = False  # smallest sizes, to see whether every cell runs

# %% [markdown]
# The cell above holds the notebook's *parameters*. Change one and run all cells again.
#
# The next cell loads a **teacher**: a real but tiny language model, with 2.9 million weights. It
# also loads a search tool over an invented encyclopedia, and *dev questions*. (A *dev* set is for
# trying things out. A *test* set is kept for the final measurement.) Last come the outcomes of
# earlier runs: the teacher's on dev, as shipped, and those of the study, yours if you made one.

# %%
from fireact_nb.lab import open_lab
from fireact_nb.study import open_dev, open_study, study_lab

if quick:
    test_on = 8
lab = open_lab(profile)
teacher = lab.teacher()
search = lab.search()
dev = lab.questions("dev")
home, on_dev, study = study_lab(), open_dev(), open_study()  # home: where these were played
print(f"{lab}\ndev outcomes: {on_dev.origin}\nstudy: {study.origin}")

# %% [markdown]
# ## 1. Four prompts
#
# Nobody tells the model in words how to behave. We show it **two finished examples** and then ask.
# That is *few-shot prompting*. What the examples look like is called the *method*:
#
# * **IO** (input, output): the question, then the answer.
# * **CoT** (*chain of thought*; [Wei and others, 2022](https://arxiv.org/abs/2201.11903)): the
#   question, then a line of reasoning, then the answer.
# * **ReAct** (*reason* and *act*; [Yao and others, 2022](https://arxiv.org/abs/2210.03629)):
#   thoughts and searches take turns, until an answer is given.
# * **Reflexion**: ReAct, and after some rounds without an answer the agent is told to *reflect*.
#
# All four prompts use worked examples over training questions. Here are the second examples of the
# first two, as the model sees them.

# %%
prompts = {m: lab.prompt(m) for m in ("io", "cot", "react", "reflexion")}
for method in ("io", "cot"):
    print(f"--- {method}")
    for message in prompts[method].messages[-2:]:
        print(f"{message['role']:>9} | {message['content']}")

# %% [markdown]
# A prompt is a list of *messages*. Each has a *role*: the `user` asks, the `assistant` answers. In
# ReAct the tool's answers (**Observations**) come from the `user`, because the model must read them
# and must not write them. Find the Thought, the Action and the Observation:

# %%
for message in prompts["react"].messages[-6:]:
    print(f"{message['role']:>9} | {message['content']}")

# %% [markdown]
# Reflexion's examples look the same. Its difference is a **cue**. At rounds 6 and 10 we write the
# first words of the Thought ourselves, and the model goes on from there. The cue never looks at the
# right answer. It only knows that there is no answer *yet*.
#
# The *Reflexion* that gave this method its name ([Shinn and others,
# 2023](https://arxiv.org/abs/2303.11366)) goes further: when a whole attempt has failed, the agent
# writes down why, and begins a *new attempt* with that note in its prompt. There something must say
# that it failed. FireAct's cue works *inside* one attempt, and nothing tells the agent whether it
# is wrong.

# %%
for number, cue in prompts["reflexion"].cues.items():
    print(f"round {number:>2}: Thought: {cue} ...")

# %% [markdown]
# ## 2. The whole agent
#
# Now the loop. This is all of it: ask the model, read its action, run the tool, put the observation
# into the conversation, ask again. Read it slowly. Three lines deserve a question. Why `stop`? Why
# `cut_turn`? What happens when the action cannot be read?
#
# Note what grows: `messages`. A model remembers nothing from round to round, so it reads everything
# again. That is what the examples cost, and what a fine-tuned student saves.
#
# ![The prompt of rounds one, two and three, each a row of boxes: examples, question, and all turns
# and observations so far; it grows by one turn and one observation a round. A fine-tuned student's
# prompt has no examples in any round.](figures/growing_prompt.svg)

# %%
from fireact_nb.agent import Request, Step, Trajectory
from fireact_nb.agent.trajectory import clean_observation, cut_turn, parse_turn


def run_agent(question, prompt, model, tool):
    messages = prompt.ask(question)  # the two examples, then the question
    steps, answer, state = [], None, "out of rounds"
    for number in range(1, max_rounds + 1):
        cue = prompt.cues.get(number)
        start = f"Thought: {cue}" if cue else ""
        request = Request(messages, max_tokens=96, stop=("\nObservation",), prefix=start)
        [reply] = model.reply([request])
        turn = parse_turn(reply.text)  # its thought, its action, the action's argument
        text = cut_turn(reply.text)
        if turn.action == "finish":
            steps.append(Step(text))
            answer, state = turn.argument, "finished"
            break
        if turn.action == "search":
            observation = clean_observation(tool.search(turn.argument))
        else:
            observation = f"Not understood: {turn.problem}."
        steps.append(Step(text, observation))
        messages.append({"role": "assistant", "content": text})
        messages.append({"role": "user", "content": f"Observation: {observation}"})
    return Trajectory("", question, tuple(steps), prompt.method, answer=answer, state=state)


# %% [markdown]
# Try it on one question. **Before you run the cell:** how many searches will it need?

# %%
from fireact_nb.analysis import show

played = run_agent(dev[1].question, prompts["react"], teacher, search)
show(played, title="ReAct, by our own loop")

# %% [markdown]
# Nobody scripted these words. The model wrote them, because its prompt shows how such a
# conversation goes, and because it read such conversations when it was pretrained. The verdict says
# "not scored", because our loop does not know the right answer. An agent never does.
#
# The package's own loop is `fireact_nb.agent.episode.play`. It has the same logic, and two more
# rules: two unreadable turns in a row end the episode, and so does a full *context* (the longest
# text that the model can read). It also plays many questions side by side, which saves a lot of
# time. Does it agree with ours?

# %%
from fireact_nb.agent import generate

few = dev[:4]
theirs = generate(few, prompts["react"], teacher, search, progress=False)
for asked, other in zip(few, theirs, strict=True):
    ours = run_agent(asked.question, prompts["react"], teacher, search)
    same = "same words" if ours.steps == other.steps else "DIFFERENT"
    print(f"{same}: {other.rounds} rounds, answer {ours.answer!r}")

# %% [markdown]
# ### What a model may write
#
# Our teacher was trained on conversations, so it ends its turn by itself. A model that was not may
# write on, and **invent the Observation**. Then it would believe its own fiction. So we stop at
# `\nObservation`, and `cut_turn` drops everything behind the first action. The text below is made
# up for this demonstration; no model wrote it.

# %%
runaway = """Thought: I need the director of Silver Gate.
Action: search[Silver Gate director]
Observation: Silver Gate was directed by Anna Berg.
Thought: So it is Anna Berg.
Action: finish[Anna Berg]"""
print(cut_turn(runaway))
print(parse_turn("Thought: I am lost.\nAction: look up the film"))

# %% [markdown]
# An action that cannot be read is no crash. The second line shows its `problem`, which the agent
# gets to read as its observation. It can mend it in its next turn.
#
# ### Exercise 01.1 · Read an action
#
# *Difficulty: 1 of 3 · about 10 minutes*
#
# Write the heart of a parser. `read_action(turn)` gets one turn and returns two words: what to do
# and with what. For `"Thought: hm.\nAction: search[Paper Lalor]"` it returns
# `("search", "Paper Lalor")`. If no line starts with `Action:`, it returns `("none", "")`. Only the
# **first** action counts. Names may hold brackets: `search[Lalor [film]]` asks for `Lalor [film]`.

# %% tags=["exercise"]
from fireact_nb.course import check


def read_action(turn):
    return ...  # your code here


check("01.1", read_action)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through the lines until one starts with `Action:`. The name of the action ends at the first
# `[`. Its argument ends at the **last** `]` of that line.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def read_action(turn):
#     for line in turn.splitlines():
#         if line.startswith("Action:"):
#             name, _, rest = line.removeprefix("Action:").strip().partition("[")
#             return name, rest.rpartition("]")[0]
#     return "none", ""
#
#
# check("01.1", read_action)
# ```
#
# A parser for real models has to forgive more: missing brackets, capitals, two actions in a line.
# `fireact_nb.agent.trajectory.parse_turn` does, and never raises an error.
#
# </details>

# %% [markdown]
# ## 3. Knowing or looking up
#
# The teacher has *read* about this world before. Some people and films were mentioned often in that
# text: the **head**. Most were hardly mentioned: the **tail**. A model may know the head by heart.
# It has to look up the tail.
#
# Below are two questions, one with head facts and one with tail facts, answered by CoT. Both need
# two facts from two pages (a *bridge* question). **Guess first:** which one goes wrong?

# %%
from fireact_nb.analysis import show_side_by_side

bridge = [q for q in home.questions("dev") if q.type == "bridge"]
head = next(q for q in bridge if q.head)
tail = next(q for q in bridge if not q.head)
reader = home.teacher()  # of it we know what it has read
thought = generate([head, tail], home.prompt("cot"), reader, home.search(), progress=False)
show_side_by_side(*thought, titles=("CoT, head facts", "CoT, tail facts"))

# %% [markdown]
# Look at the reasoning on the right. It is fluent and certain. If it is wrong, nothing in its tone
# tells you so. Two questions are an anecdote, though. So let us count over all dev questions. The
# label under each row says where the number comes from.

# %%
from fireact_nb.analysis import accuracy
from fireact_nb.analysis.figures import plot_scores, with_alt

kind = {q.id: (q.type, q.head) for q in home.questions("dev")}
names = {"cot": "CoT", "react": "ReAct"}


def bridge_rows(method, known):
    wanted = ("bridge", known)
    return [o for o in on_dev.rows if o.method_mix == method and kind[o.question_id] == wanted]


parts = [(m, known) for m in ("cot", "react") for known in (True, False)]
bars = []
for method, known in parts:
    label = f"{names[method]}, {'head' if known else 'tail'} facts"
    rows = bridge_rows(method, known)
    bars.append((label, accuracy(rows), on_dev.origin.label, len(rows)))
with_alt(plot_scores(bars, "Thinking is enough for what the model knows; the rest it looks up"))

# %% [markdown]
# This picture is the seed of the whole series. **No method is best for every question.** For head
# facts CoT is nearly as good as ReAct, and it takes one round instead of four. For tail facts it is
# helpless. An agent that knew when to think and when to search would get both. Notebooks 05 and 07
# come back to this.
#
# ## 4. All four methods on the same questions
#
# Now live: the same dev questions, four prompts, one model. An answer counts if it is an *exact
# match* (EM) with the right one, apart from case, articles and punctuation.

# %%
import random

from fireact_nb.analysis import outcomes_of, summarize

asked = random.Random(seed).sample(dev, test_on)
live = []
for method, prompt in prompts.items():
    played = generate(asked, prompt, teacher, search, progress=False)
    live += outcomes_of(played, asked, f"teacher, {method}", "teacher")
for row in summarize(live):
    print(
        f"{row['agent']:<18} EM {row['em']}   {row['rounds']:.1f} rounds   "
        f"{row['prompt_tokens']:>5,.0f} prompt tokens"
    )
print(f"({test_on} dev questions each, measured in this run; in brackets: 95% intervals)")

# %% [markdown]
# The brackets hold *95% intervals*: with other questions of the same kind, the true share would lie
# inside such an interval 95 times out of 100. *Prompt tokens* are what the model had to read for
# one question, over all rounds together. (A *token* is a word or a piece of one.) They are what you
# pay for with a model behind an API.
#
# ### Exercise 01.2 · What does a right answer cost?
#
# *Difficulty: 1 of 3 · about 5 minutes*
#
# ReAct reads many tokens and is right often. IO reads few and is wrong often. Write
# `tokens_per_right_answer(marks, tokens)`. `marks` says for each question whether it was right,
# `tokens` how many prompt tokens it took. Wrong answers cost tokens, too. If nothing was right,
# return `float("inf")` (infinity). Example: `([True, False], [100, 300])` gives `400.0`.

# %% tags=["exercise"]
from fireact_nb.course import check


def tokens_per_right_answer(marks, tokens):
    return ...  # your code here


check("01.2", tokens_per_right_answer)

# %% [markdown]
# <details><summary>Hint</summary>
#
# You pay for every question, and you get something only for the right ones. In Python,
# `sum([True, False, True])` is 2.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def tokens_per_right_answer(marks, tokens):
#     return sum(tokens) / sum(marks) if any(marks) else float("inf")
#
#
# check("01.2", tokens_per_right_answer)
# ```
#
# Try it on `live`. Per question, CoT reads more than twice what IO reads. Per *right answer* the
# two are close.
#
# </details>

# %% [markdown]
# ## 5. Table 1 of the paper, and ours
#
# The paper's first question is the same: how far do prompts alone get? It asked GPT-4 and GPT-3.5.
# Our teacher plays GPT-4's part, our small student GPT-3.5's. The worlds differ, the models differ
# even more. So compare **directions**, not numbers. These are *test* questions, measured once.
#
# The table also holds our other students. `student_large` is bigger, and the two `code` students
# were pretrained on text with program code between it. `n` is the number of questions.

# %%
from fireact_nb.study import show_table
from fireact_nb.study.tables import table_prompting

[table] = table_prompting(study)
show_table(table, study.origin.label)

# %% [markdown]
# The second half of the table lists *differences*. They are *paired*: both methods answered the
# same questions, and the difference is taken question by question. "Agrees" means that our whole
# interval lies on the paper's side of zero. "Not resolved" means that it includes zero: we cannot
# tell. "Up" and "down" tell our direction where the paper reports no number.

# %%
from fireact_nb.analysis.figures import plot_differences

teacher_only = [row for row in table.differences if row[0].startswith("teacher")]
with_alt(
    plot_differences(
        teacher_only,
        "Thinking helps the teacher; searching helps it still more",
        "difference in EM, share of questions",
        study.origin.label,
    )
)

# %% [markdown]
# What agrees: for the strong model, CoT beats IO in the paper and here. What does **not** agree: in
# the paper GPT-4 does a little *worse* with ReAct than with CoT. Our teacher does far better with
# it.
#
# Why might that be? GPT-4 has read the real Wikipedia. For many questions it knows the answer, and
# a search can only distract it. Our teacher knows a small head of an invented world. For most
# questions it must search. Both results fit one rule: **search pays where knowledge ends.**
#
# The students are another matter: no difference of theirs lies clearly above zero, and for three of
# the four, ReAct is worse than CoT. Perhaps they are too small to follow an example well. Whether
# training can do what prompting cannot is the question of this series.
#
# We see no gain from Reflexion over ReAct here. No wonder: few episodes last six rounds. It gets
# its chance when the tool is bad: see notebooks 02 and 05.
#
# ## 6. Write a prompt yourself
#
# The examples in a prompt are not decoration. The model copies their form to the letter.
#
# ### Exercise 01.3 · A worked example
#
# *Difficulty: 2 of 3 · about 10 minutes*
#
# Write a ReAct example for the question below, as one text. It needs at least two searches (each
# with a Thought, an Action and the tool's Observation) and then a finish. Copy each Observation
# from what the tool really says: call `search.search("...")` to find out. Two people may share a
# name: mind the word in round brackets behind it. An invented observation teaches the model to
# trust what it did not read.

# %% tags=["exercise"]
from fireact_nb.course import check

task = "In which year was the author of the book Paper Lalor born?"
example = ...  # """Thought: I need ...\nAction: search[...]\nObservation: ..."""

check("01.3", example)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Start with `print(search.search("Paper Lalor author"))`. The next search is about the person whom
# that snippet names. The last line of the text is `Action: finish[...]`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
# example = """Thought: I need the author of Paper Lalor.
# Action: search[Paper Lalor author]
# Observation: Paper Lalor: The author is Leo Kolin.
# Thought: The author is Leo Kolin. Next I need the birth year of Leo Kolin.
# Action: search[when was Leo Kolin writer born]
# Observation: Leo Kolin (writer): Born in Nizus in 1942.
# Thought: Leo Kolin was born in 1942. So the answer is 1942.
# Action: finish[1942]"""
#
#
# check("01.3", example)
# ```
#
# To use a prompt of your own, put a text file into `fireact_nb/agent/prompts/`, in a folder with a
# name of your choice, and load it by `load_prompt("react", that_name)` from `fireact_nb.agent`.
# Choose on dev, never on test.
#
# </details>

# %% [markdown]
# ## In this notebook you have
#
# * seen four prompts, and that a method is what its examples look like;
# * read and run a whole agent, and checked it against the package's;
# * found that CoT answers what the model knows and ReAct what it can look up;
# * compared four methods with intervals, counted tokens, and read Table 1 beside ours.
#
# **Further reading**
#
# * Yao and others, [ReAct: Synergizing Reasoning and Acting in Language
#   Models](https://arxiv.org/abs/2210.03629), ICLR 2023.
# * Wei and others, [Chain-of-Thought Prompting Elicits Reasoning in Large Language
#   Models](https://arxiv.org/abs/2201.11903), NeurIPS 2022.
# * Shinn and others, [Reflexion: Language Agents with Verbal Reinforcement
#   Learning](https://arxiv.org/abs/2303.11366), NeurIPS 2023.
#
# **Next:** in notebook 02 the teacher plays many questions, and we keep what ended right.
