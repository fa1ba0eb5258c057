# %% [markdown]
# # 00 · Start here: FireAct in one sitting
#
# **The promise:** in a minute or two, on this machine, you fine-tune a real language model into an
# agent, and you measure whether it got better.
#
# After this notebook you can
#
# 1. say what a *language agent* is and read one of its *trajectories*;
# 2. let a *teacher* model write trajectories and keep only its successes;
# 3. fine-tune a *student* model on them with QLoRA;
# 4. compare the student before and after, with an honest interval;
# 5. say what the fine-tuned student no longer needs.
#
# | | |
# |---|---|
# | Time | about 1.5 minutes on 2 free CPU cores (measured), less on a GPU (estimated) |
# | Needs | no GPU, no key, no network, no money |
# | Before this | nothing: start here |
#
# FireAct is a paper ([arXiv 2310.05915](https://arxiv.org/abs/2310.05915)). Its idea fits in one
# line: *let a strong model play many tasks with examples in its prompt, keep what worked, and train
# a small model on it until it needs no examples.* This notebook does exactly that, in miniature.
#
# ![Two rows. Training: a teacher with two examples in its prompt plays training questions; wrong
# trajectories are dropped; the successes fine-tune a student. Use: the student gets a bare
# question, without examples, and answers.](figures/pipeline.svg)

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
seed = 0  # drives every random choice below
train_on = 300  # trajectories the student is trained on
epochs = 5  # how often it reads each of them
test_on = 150  # dev questions for the comparison
quick = False  # smallest sizes, to see whether every cell runs

# %% [markdown]
# The cell above holds this notebook's *parameters*. Change one and run all cells again. The next
# cell loads what we need. Everything is shipped with the project. Each file is checked against its
# *hash* (a fingerprint of its content), so you know that it is what we measured.

# %%
from fireact_nb.lab import open_lab

if quick:
    train_on, epochs, test_on = 24, 1, 16
lab = open_lab(profile)
search = lab.search()
dev = lab.questions("dev", test_on)
written = lab.written("react", least=train_on)
print(lab)
print(f"{len(written.played)} teacher trajectories: {written.origin}")

# %% [markdown]
# ## 1. A world nobody has read about
#
# Real models have read the real Wikipedia. That makes it hard to tell *knowing* from *looking up*.
# So we made a small world up: people, films, novels, companies, cities. All names are invented.
#
# The world has an encyclopedia, and a *search tool*: a query goes in, one short snippet comes out.
# Try it. Change the query and run the cell again.

# %%
print(search.search("Northern Vomel film"))
print(search.search("who directed Northern Vomel"))
print(search.search("weather tomorrow"))

# %% [markdown]
# The first two queries name the same film and return different snippets. The third returns `None`:
# nothing matched. An agent has to live with all three.
#
# Here is what it will be asked. These are *dev* questions: kept apart from training, for trying
# things out. Most questions need **two** facts from two different pages. In a *bridge* question the
# first fact leads to the second. A *comparison* is about two things.

# %%
for question in dev[:4]:
    print(f"{question.question}\n   -> {question.answer}   ({question.type})")

# %% [markdown]
# ## 2. An agent: a model, a tool and a loop
#
# A *language model* continues text. A *language agent* is a language model in a loop with a tool:
#
# 1. the model writes a **Thought** and an **Action**;
# 2. if the action is `search[...]`, the tool's answer is added as an **Observation**;
# 3. this goes on until the model writes `finish[answer]`.
#
# ![A loop. The question goes to the model, which writes a Thought and an Action. The action search
# goes to the tool, whose Observation goes back to the model. The action finish leads out, to the
# answer.](figures/loop.svg)
#
# This way of working is called *ReAct* (from *reason* and *act*; [Yao and others,
# 2022](https://arxiv.org/abs/2210.03629)). One turn of the model, with
# the tool's answer, is a *round*. One pass from question to answer is an *episode*. The text it
# leaves behind is a *trajectory*.
#
# How does a model know this form? Its prompt shows two finished examples. That is called
# *few-shot prompting*. (Our tiny models also met this form in the text that they were pretrained
# on.) Here is the first of the two:

# %%
react = lab.prompt("react")
for message in react.messages[:8]:
    print(f"{message['role']:>9} | {message['content']}")

# %% [markdown]
# Now our **teacher** plays one question. It is a real, small language model. Nobody wrote its words
# for it. **Before you run the cell:** how many searches will it need?

# %%
from fireact_nb.agent import generate
from fireact_nb.analysis import show

teacher = lab.teacher()
[episode] = generate(dev[2:3], react, teacher, search, progress=False)
show(episode, title="The teacher, with two examples in its prompt")

# %% [markdown]
# Read it line by line. Each Thought says what is still missing. Each Action asks for just that. The
# answer comes out of the observations, not out of memory. The *gold answer* at the end is the right
# one. *Prompt tokens* are what the model had to read, over all rounds together. (A *token* is a
# word or a piece of one.)
#
# ## 3. The teacher writes the training data
#
# One episode is an anecdote. Let the teacher play some *training* questions. (Training questions
# and dev questions never overlap. A test of this project checks it.)

# %%
live = generate(
    lab.questions("train")[-(8 if quick else 32) :], react, teacher, search, progress=False
)
for episode in live[:12]:
    mark = "right" if episode.correct else "WRONG"
    print(f"{mark}  {episode.rounds:>2} rounds  {episode.state:<13} {episode.question}")
print(f"\n{sum(bool(e.correct) for e in live)} of {len(live)} right: measured in this run")

# %% [markdown]
# The teacher is far from perfect. So FireAct uses a **success filter**: keep a trajectory only if
# its final answer is right. We know the right answers, because these are training questions.
#
# We played more training questions before and ship *all* episodes, failures included. How many pass
# the filter?

# %%
from fireact_nb.agent import successes

kept = successes(written.played)
print(f"{len(kept)} of {len(written.played)} pass the filter ({written.origin.label})")

# %% [markdown]
# A right answer does not make every step right: a trajectory can be lucky. We keep it all the same,
# as the paper does. We take a sample for training, and check that no dev question slipped in.

# %%
from fireact_nb.learning import mix

train = mix({"react": kept}, {"react": train_on}, seed, held_out=lab.held_out())
print(f"{len(train)} trajectories, {sum(t.rounds for t in train) / len(train):.1f} rounds each")

# %% [markdown]
# ## 4. Fine-tuning: which words are to be learnt?
#
# The **student** is smaller than the teacher: 0.8 million weights against 2.9 million.
# *Fine-tuning* trains it a little further, so that it continues a bare question the way the
# trajectories do.
#
# Not every word of a trajectory should be learnt. The question comes from a user. The observation
# comes from the tool. Only Thought and Action are the agent's own. The *loss mask* marks them.
# Below, learnt words stand in capitals. (In the code, the label -100 says: not to be learnt.)

# %%
from fireact_nb.learning import encode

example = encode(train[0], lab.tokenizer)
for token, goal in zip(example.input_ids, example.labels, strict=True):
    word = lab.tokenizer.decode([token])
    print(word.upper() if goal != -100 else word, end="")

# %% [markdown]
# Now we train. *LoRA* leaves the model's weights alone and learns small extra matrices, called an
# *adapter*. *QLoRA* does the same on a model whose weights are stored in 4 bits instead of 32, so
# that big models fit on one GPU. Here we just use them.

# %%
from fireact_nb.learning import fine_tune, recipe_for

recipe = recipe_for(lab.student, kind="qlora", epochs=epochs, seed=seed)
folder = lab.runs / "00" / f"student-react-{train_on}-seed{seed}"
done = fine_tune(lab.student, train, folder, recipe, progress=False)
print(recipe)
print(f"{done.trained_parameters:,} weights were trained: those of the adapter")
print(f"{done.seconds:.0f} s, adapter of {done.saved_bytes / 1e6:.1f} MB")

# %% [markdown]
# The *loss* says how surprised the model is by the next word it should have written. It should
# fall.

# %%
from fireact_nb.analysis.figures import plot_loss, with_alt

with_alt(
    plot_loss(
        {"student, QLoRA": done.losses},
        "The student learns to write the teacher's turns",
        "training step",
    )
)

# %% [markdown]
# ## 5. Before and after
#
# Now the test. Both agents get the same dev questions and the same tool.
#
# * **Before:** the student as it was, with the two examples in its prompt.
# * **After:** the same student with its adapter, and **no** examples: the bare question.
#
# Answers are compared by *exact match* (EM): the answer has to be the same, apart from case,
# articles and punctuation. **What do you expect?** Write down two numbers before you run the cell.

# %%
fireact = lab.prompt("fireact")
before = lab.chat()
after = lab.chat(folder)
played_before = generate(dev, react, before, search, progress=False)
played_after = generate(dev, fireact, after, search, progress=False)

# %%
from fireact_nb.analysis import outcomes_of, paired_difference, summarize

rows_before = outcomes_of(played_before, dev, "prompted, 2 examples", lab.profile.student)
rows_after = outcomes_of(played_after, dev, "fine-tuned, no examples", lab.profile.student)
for row in summarize(rows_before + rows_after):
    print(f"{row['agent']:<24} EM {row['em']}   prompt tokens {row['prompt_tokens']:>5.0f}")
print(f"({test_on} dev questions, measured in this run; in brackets: 95% intervals)")

# %%
from fireact_nb.analysis import accuracy
from fireact_nb.analysis.figures import plot_scores

here = "measured in this run"
with_alt(
    plot_scores(
        [
            ("prompted, 2 examples", accuracy(rows_before), here),
            ("fine-tuned, no examples", accuracy(rows_after), here),
        ],
        f"The same student before and after, on {test_on} dev questions",
    )
)

# %% [markdown]
# The lines are *95% intervals*: with other questions of the same kind, the true share would lie
# inside such a line 95 times out of 100. Because both agents answered the *same* questions, we can
# do better and look at the difference question by question. Its interval comes from a *paired
# bootstrap*: we draw the questions again and again, the same ones for both agents, and see how much
# the difference moves.

# %%
difference = paired_difference(rows_before, rows_after)
tokens = [sum(r.prompt_tokens for r in rows) / test_on for rows in (rows_before, rows_after)]
verdict = "clear of zero" if difference.low > 0 or difference.high < 0 else "NOT clear of zero"
print(f"difference in EM: {difference}, {verdict} (paired bootstrap)")
print(f"prompt tokens a question: {tokens[0]:.0f} before, {tokens[1]:.0f} after")

# %% [markdown]
# If the interval is clear of zero, chance alone is an unlikely reason for the gap. The second line
# is the other half of the story: the fine-tuned student reads far fewer tokens, because the
# examples are gone from its prompt. With a paid model, every token costs.
#
# For comparison, the paper reports for Llama-2-7B on HotpotQA 14.8 prompted and 26.2 fine-tuned
# (paper, as reported). Other world, other model: compare the direction, not the numbers.
#
# ## 6. Read two trajectories side by side
#
# Numbers hide how it happened. Here is a dev question that changed.

# %%
from fireact_nb.analysis import show_side_by_side

pairs = list(zip(played_before, played_after, strict=True))
changed = [p for p in pairs if p[1].correct and not p[0].correct] or pairs
show_side_by_side(*changed[0], titles=("prompted", "fine-tuned"))

# %% [markdown]
# And the other way round: what does the fine-tuned student still get wrong? Find the line where it
# goes astray.

# %%
wrong = [t for t in played_after if not t.correct] or list(played_after)
show(wrong[0], title="The fine-tuned student, wrong")

# %% [markdown]
# ## In this notebook you have
#
# * seen a language agent: a model, a tool and a loop;
# * let a teacher write trajectories, and kept only those that ended right;
# * trained a student on them with QLoRA, with the loss on the agent's own words only;
# * measured before and after on the same questions, with a paired interval;
# * read where it helped and where it did not.
#
# **Your own trajectories.** In a terminal, `fireact-nb generate --count 500` lets the teacher play
# again, into `teacher_react.jsonl` in the folder `runs`. If that file holds at least `train_on`
# successes, this notebook uses it instead of the shipped one. About 7 in 10 episodes are successes.
#
# **Further reading**
#
# * Chen and others, [FireAct: Toward Language Agent
#   Fine-tuning](https://arxiv.org/abs/2310.05915), 2023: the paper.
# * Yao and others, [ReAct: Synergizing Reasoning and Acting in Language
#   Models](https://arxiv.org/abs/2210.03629), ICLR 2023.
#
# **Next:** notebook 01 opens the agent loop, and compares four ways to prompt.
