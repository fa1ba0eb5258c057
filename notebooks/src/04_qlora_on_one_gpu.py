# %% [markdown]
# # 04 · QLoRA on one GPU: thin matrices, four-bit weights
#
# **The promise:** you build LoRA and 4-bit weights by hand, work out the memory of a fine-tuning
# before you measure it, and train a QLoRA student that you hold against the shipped one.
#
# After this notebook you can
#
# 1. read LoRA's equation, say why one of its matrices starts at zero, and count what it trains;
# 2. store real weights in 4 bits by hand, and say what that costs in error and in loss;
# 3. work out what full fine-tuning, LoRA and QLoRA need, for any model and any card;
# 4. tell by a tolerance band whether your run is the run you meant to repeat;
# 5. merge an adapter into the right weights, and say what goes wrong with others.
#
# | | |
# |---|---|
# | Time | about half a minute on 2 free CPU cores (measured), less on a T4 (estimated, untried) |
# | Needs | no GPU, no key, no network, no money |
# | Before this | nothing; notebook 03 shows where the training data come from |

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
seed = 0  # draws the training trajectories and the first matrices
cells = 1  # trained live: 1 is QLoRA, 2 adds LoRA, 3 adds full fine-tuning
train_on = 150  # trajectories; the shipped cells have 150
epochs = 3  # how often each is read; the shipped cells have 3
test_on = 100  # dev questions to play, 100 at most
check_on = 40  # trajectories kept out of training, to measure the loss on
quick = False  # smallest sizes, to see whether every cell runs

# %% [markdown]
# The cell above holds the notebook's *parameters*. Change one and run all cells again.
#
# The next cell loads **trajectories**: conversations in which a larger model, the *teacher*,
# answered training questions with a search tool, and got them right. If you made enough of your own
# in notebook 02, they are used. It also loads the **outcomes** of the study, and those of the small
# *live agents*, made with five *seeds* each. (A seed fixes all random choices of a run.)

# %%
from dataclasses import replace

from fireact_nb.lab import open_lab
from fireact_nb.learning import mix
from fireact_nb.study import live, open_live, open_study, study_lab

if quick:
    train_on, epochs, test_on, check_on = 16, 1, 8, 8
lab = open_lab(profile)
home = study_lab()  # what is done by hand is done on its small student, whatever the profile
student = home.student
written = home.written("react", least=train_on + check_on)  # your own, if there are so many
kept, group = written.kept, "hotpotqa react"
study = open_study()
shipped_live = open_live()
print(f"{lab}\n{len(kept)} right trajectories: {written.origin}")
print(f"study: {study.origin}\nlive cells: {shipped_live.origin.label}")

# %% [markdown]
# ## 1. What LoRA trains
#
# A language model is mostly matrices. *Full fine-tuning* changes every *weight* (every number in
# every matrix). **LoRA** (*low-rank adaptation*, [paper](https://arxiv.org/abs/2106.09685)) leaves
# a matrix $W$ with $d_{out}$ rows and $d_{in}$ columns alone, and adds a product of two thin ones:
#
# $$W' = W + \frac{\alpha}{r} \, B A, \qquad A: r \times d_{in}, \quad B: d_{out} \times r$$
#
# The *rank* $r$ is small, such as 8. The number $\alpha$ sets how strongly the product counts. $W$
# is *frozen*: it is read and never changed. $A$ and $B$ are trained; together they are the
# *adapter*. They hold $r \, (d_{in} + d_{out})$ weights, and $W$ holds $d_{in} \cdot d_{out}$.
#
# ![The input x takes two ways. Above it goes through the large frozen matrix W. Below it goes
# through A, flat, with r rows, then through B, thin, with r columns, and is scaled by alpha over r.
# The two results are added: h.](figures/lora.svg)
#
# Here are the matrices of our student's first *layer*. It has six layers, all alike. **Guess:**
# with $r = 8$, what share of the student's weights will LoRA train?

# %%
from fireact_nb.models import load_base

network, tokenizer = load_base(student)
network = network.float()
for place, layer in network.model.layers[0].named_modules():
    if hasattr(layer, "in_features"):
        print(f"{place:<18} {layer.out_features:>4} x {layer.in_features}")
print(f"{network.num_parameters():,} weights in all, {home.profile.student}")

# %% [markdown]
# ### Exercise 04.1 · The largest rank
#
# *Difficulty: 1 of 3 · about 5 minutes*
#
# Write `largest_rank(shapes, budget)`. `shapes` is a list of matrices as `(outputs, inputs)`. LoRA
# is put on all of them with the same rank. Return the largest whole rank at which it trains no more
# than `budget` weights (0 if not even rank 1 fits). Example: `([(96, 96)], 1920)` gives `10`.

# %% tags=["exercise"]
from fireact_nb.course import check


def largest_rank(shapes, budget):
    return ...  # your code here


check("04.1", largest_rank)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What does rank 1 cost for all matrices? Every further rank costs the same again.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def largest_rank(shapes, budget):
#     return budget // sum(outputs + inputs for outputs, inputs in shapes)
#
#
# check("04.1", largest_rank)
# ```
#
# LoRA's cost grows with the *sides* of a matrix, its size with their product. So the larger the
# model, the smaller the share that is trained.
#
# </details>

# %% [markdown]
# Now we count twice. First by the formula, with `LIVE`, the settings of the shipped live agents:

# %%
import torch

from fireact_nb.study.grid import LIVE

lora = replace(LIVE, kind="lora", seed=seed, epochs=epochs)
matrices = [m for m in network.model.modules() if isinstance(m, torch.nn.Linear)]
formula = sum(lora.rank * (m.out_features + m.in_features) for m in matrices)
print(f"{len(matrices)} matrices, rank {lora.rank}, alpha {lora.alpha}: {formula:,} weights")

# %% [markdown]
# Then on the real thing. `prepare` is what our training calls: it loads the student and lets the
# library *peft* put LoRA on every matrix. The numbers have to agree to the last weight.

# %%
from fireact_nb.learning import prepare

torch.manual_seed(seed)
adapted = prepare(student, lora)[0].float()
counted = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
print(f"peft trains {counted:,}, the same: {counted == formula}")
print(f"{counted / network.num_parameters():.1%} of the student's weights")

# %% [markdown]
# A tenth is a lot for LoRA, since the sides of our tiny matrices are not much longer than the rank.
# Section 5 shows this share with seven billion weights.
#
# ## 2. LoRA in ten lines
#
# The whole of LoRA fits into one small class. An input `x` goes through the frozen matrix, and
# beside it through $A$ and $B$. Note how $A$ and $B$ begin.


# %%
class Lora(torch.nn.Module):
    def __init__(self, frozen, rank, alpha):
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.A = torch.nn.Parameter(torch.randn(rank, frozen.in_features) / rank)
        self.B = torch.nn.Parameter(torch.zeros(frozen.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.frozen(x) + self.scale * (x @ self.A.T @ self.B.T)


# %% [markdown]
# Is it the same as peft's? We take one of peft's layers and fill its $B$ with random numbers, as if
# it had been trained. Then we put its $A$ and $B$ into ours, and send the same input through both.

# %%
theirs = adapted.base_model.model.model.layers[0].self_attn.q_proj
A, B = theirs.lora_A["default"].weight, theirs.lora_B["default"].weight
ours = Lora(theirs.base_layer, lora.rank, lora.alpha)
with torch.no_grad():
    B.normal_()
    ours.A.data, ours.B.data = A.data, B.data
    x = torch.randn(5, theirs.in_features, device=A.device)
    print(f"largest difference: {(ours(x) - theirs(x)).abs().max():.1e}")

# %% [markdown]
# One and the same, apart from rounding at most.
#
# Why does $B$ begin at zero? Then $BA$ is zero, and training starts from exactly the student that
# was there. But why not $A$ as well? We draw the training trajectories and look at the *gradients*.
# For each weight, its gradient says which way to move so that the loss falls. (The *loss* says how
# surprised the student is by the words it should have written.)

# %%
from fireact_nb.learning import encode

chosen = mix({group: kept}, {group: train_on}, seed, held_out=home.held_out())


def tensors(trajectory):
    rows = encode(trajectory, tokenizer)  # its tokens, and which of them are to be learnt
    return [torch.tensor([row], device=A.device) for row in (rows.input_ids, rows.labels)]


# %% [markdown]
# **Before you run the next cell:** one of the two matrices has a gradient of exactly zero at the
# first step. Which one?

# %%
B.data.zero_()  # as it was
ids, labels = tensors(chosen[0])
out = adapted(input_ids=ids, labels=labels)
out.loss.backward()
change = (out.logits - network(input_ids=ids).logits).abs().max()
print(f"at step 0 the adapter changes the student's outputs by {change:.0f}")
print(f"gradient of A: {A.grad.abs().max():.1g}, gradient of B: {B.grad.abs().max():.1g}")

# %% [markdown]
# A change in $A$ does nothing while $B$ is zero, so $A$'s gradient is zero. $B$ moves first, and
# from the second step on both do. Were both zero, neither would ever move.
#
# ## 3. Sixteen levels
#
# LoRA trains little, but the frozen weights still lie in memory, 4 bytes each in *float32*, 2 in
# half precision. **QLoRA** ([arXiv 2305.14314](https://arxiv.org/abs/2305.14314)) stores them in 4
# *bits*. Four bits tell 16 numbers apart, so each weight is rounded to one of 16 *levels*. Its way
# to do that is called **NF4** (*4-bit NormalFloat*):
#
# 1. Cut the weights into *blocks* of 64. Store each block's largest size, its *scale*.
# 2. Divide by the scale. Now all weights of the block lie between -1 and 1.
# 3. Round each to the nearest of 16 fixed levels, and store the level's number.
#
# Trained weights follow roughly a bell curve (*normal distribution*): most are near zero. So the
# levels are *quantiles* of that curve: between two of them lies about the same share of it. Zero is
# a level, too.

# %%
from statistics import NormalDist

edge = (2 - 1 / 30 - 1 / 32) / 2  # how far out the curve is used: bitsandbytes' choice
above = [NormalDist().inv_cdf(0.5 + (edge - 0.5) * k / 8) for k in range(1, 9)]
below = [-NormalDist().inv_cdf(0.5 + (edge - 0.5) * k / 7) for k in range(1, 8)]
levels = torch.tensor(sorted([*below, 0.0, *above])) / max(above)
print([round(level, 3) for level in levels.tolist()])

# %% [markdown]
# *bitsandbytes* is the library that does this for QLoRA. Are ours its levels?

# %%
from bitsandbytes.functional import get_4bit_type

print(f"off by {(levels - get_4bit_type('nf4', device='cpu')).abs().max():.0e} at most")

# %% [markdown]
# ### Exercise 04.2 · Round a block
#
# *Difficulty: 2 of 3 · about 10 minutes*
#
# Write `quantise(block, levels)` for one block, in plain Python. Return two things: the scale (the
# largest *size* in the block) and a list with the number of the nearest level for each weight,
# counted from 0. Example: `([0.2, -0.4, 0.05, 0.35], [-1.0, -0.5, 0.0, 0.5, 1.0])` gives
# `(0.4, [3, 0, 2, 4])`. For a block of zeros the scale is `0.0`, and the numbers are those of the
# level 0.0.

# %% tags=["exercise"]
from fireact_nb.course import check


def quantise(block, levels):
    return ...  # your code here


check("04.2", quantise)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `min(range(len(levels)), key=...)` finds the number of the level for which something is smallest.
# What should be smallest? And what may you not divide by?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def quantise(block, levels):
#     scale = max(abs(weight) for weight in block)
#     numbers = []
#     for weight in block:
#         share = weight / scale if scale else 0.0
#         numbers.append(min(range(len(levels)), key=lambda n: abs(levels[n] - share)))
#     return scale, numbers
#
#
# check("04.2", quantise)
# ```
#
# To get the weights back, take `scale * levels[number]`. What is lost is the distance to the level.
#
# </details>

# %% [markdown]
# Here is the same for all blocks of a matrix at once. It returns the level numbers and what comes
# back from them. For comparison there are 16 evenly spaced levels.


# %%
def round_to(levels, weight, block=64):
    blocks = weight.reshape(-1, block)
    scales = blocks.abs().amax(dim=1, keepdim=True)
    numbers = (blocks / scales).unsqueeze(-1).sub(levels).abs().argmin(dim=-1)
    return numbers, (levels[numbers] * scales).reshape(weight.shape)


even = torch.linspace(-1, 1, 16)

# %% [markdown]
# Now one matrix of the student, divided by the scales of its blocks. The histogram says where its
# weights lie. The line says how far each is from its nearest level: that is its error. Where the
# line touches zero, there is a level.

# %%
from fireact_nb.analysis.figures import COLOURS, new_figure, with_alt

blocks = network.model.layers[3].mlp.up_proj.weight.detach().cpu().reshape(-1, 64)
scaled = (blocks / blocks.abs().amax(dim=1, keepdim=True)).flatten().sort().values
figure, axes = new_figure("NF4 is finer where most weights are, and coarser where few are", 2.4)
axes.hist(scaled, bins=50, color="#cfd8df", antialiased=False)
axes.grid(False)
axes.set(xlabel="weight / largest size in its block (measured in this run)")
axes.set(ylabel="number of weights", xticks=(-1, -0.5, 0, 0.5, 1), yticks=(0, 500, 1000))
axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
lost = axes.twinx()
distance = (scaled.unsqueeze(-1) - levels).abs().amin(dim=-1)
lost.plot(scaled, distance, color=COLOURS[0], antialiased=False, label="error with NF4")
lost.axhline(1 / 15, color=COLOURS[1], linestyle="--", label="largest error with 16 even levels")
lost.set(ylabel="error, same unit", ylim=(0, 0.2), yticks=(0, 0.1, 0.2))
lost.legend(loc="upper center", ncols=2, frameon=False)
lost.spines["top"].set_visible(False)
with_alt(
    figure,
    f"Histogram of {len(scaled):,} weights of one matrix, divided by the largest size in their "
    "block: a bell around zero with spikes at -1 and 1. Over it each weight's distance to NF4's "
    "nearest level, a row of teeth: small around zero, large outside. With 16 even levels all "
    "teeth would be 0.067 high. Measured in this run.",
)

# %% [markdown]
# The spikes at -1 and 1 are the largest weights of the blocks. They are kept exactly. NF4's errors
# are small where the bell is high.
#
# ## 4. Does the library do what we think?
#
# `load_base(..., quantized=True)` lets bitsandbytes round all matrices of the student. It packs two
# level numbers into a byte. We unpack them and compare them with ours. (A few may differ: a weight
# right between two levels goes either way with the last rounding.)

# %%
packed, _ = load_base(student, quantized=True)
layers = [m for m in packed.model.modules() if isinstance(m, torch.nn.Linear)]
differ = 0
for frozen, layer in zip(matrices, layers, strict=True):
    stored = layer.weight.data.cpu().flatten()
    numbers = torch.stack([stored >> 4, stored & 15], dim=1).flatten()
    differ += (numbers != round_to(levels, frozen.weight.cpu())[0].flatten()).sum().item()
print(f"{differ} of {sum(m.weight.numel() for m in matrices):,} level numbers differ")

# %% [markdown]
# But what counts is what comes *back*. One difference is meant to be there: bitsandbytes stores the
# scales in 8 bits instead of 32 (*double quantisation*). So it may do a little worse. The *relative
# error* is the size of what was lost, as a share of the size of the weights.

# %%
unpacked = packed.dequantize().float()
returned = [m.weight.cpu() for m in unpacked.model.modules() if isinstance(m, torch.nn.Linear)]
weights = [m.weight.detach().cpu() for m in matrices]


def relative_error(restored, weight):
    return ((restored - weight).norm() / weight.norm()).item()


# %%
errors = {
    "NF4 by hand": [relative_error(round_to(levels, w)[1], w) for w in weights],
    "NF4 by bitsandbytes": list(map(relative_error, returned, weights)),
    "16 even levels": [relative_error(round_to(even, w)[1], w) for w in weights],
}
for label, found in errors.items():
    print(f"{label:<20} relative error {min(found):.2%} to {max(found):.2%}")

# %% [markdown]
# This comparison was worth its lines. When we first ran it, most matrices came back from
# bitsandbytes with a far larger error than from our own hands. Its code for processors with AVX-512
# instructions (version 0.50.2) gave blocks the scale of a neighbour, wherever the rows of a matrix
# do not hold whole blocks; most of ours have 96 columns. Until then we had blamed NF4 for a weaker
# student. Now our package goes around it (`repair_nf4` in `fireact_nb/models/quirks.py`). **Check a
# library against something that you understand.**
#
# So NF4 loses about a tenth of the size of these weights, and 16 even levels lose more. The picture
# above shows why.
#
# Is a tenth much? What we care about is the loss, not the weights. We measure it in *nats* (a unit
# of surprise; lower is better), on trajectories outside the training draw, with the student as it
# was before any fine-tuning. **Guess:** by how many percent do 4 bits raise its loss?

# %%
drawn = {t.question for t in chosen}
unseen = [tensors(t) for t in [t for t in kept if t.question not in drawn][:check_on]]


def held_out_losses(model):
    with torch.no_grad():
        return [model(input_ids=x, labels=y).loss.item() for x, y in unseen]


# %%
from copy import deepcopy

from fireact_nb.analysis import paired_bootstrap

spaced = deepcopy(network)
for layer in [m for m in spaced.model.modules() if isinstance(m, torch.nn.Linear)]:
    layer.weight.data = round_to(even.to(A.device), layer.weight.data)[1]
exact = held_out_losses(network)
print(f"{'as it was':<21} loss {sum(exact) / len(exact):.4f}")
for label, model in {"NF4, by bitsandbytes": unpacked, "16 even levels": spaced}.items():
    losses = held_out_losses(model)
    more = paired_bootstrap(exact, losses)
    print(f"{label:<21} loss {sum(losses) / len(losses):.4f}, more by {more}")
print(f"({len(unseen)} trajectories, measured in this run; in brackets: 95% intervals)")

# %% [markdown]
# (A *95% interval* holds the true value 95 times out of 100.) The weights lost a tenth of their
# size. The loss rose by a far smaller share: divide what was added by the first line. Many small
# errors cancel out. And an adapter trained on top can make up for some of the rest.
#
# ## 5. Memory, worked out before it is measured
#
# A training step keeps four kinds of numbers:
#
# * **activations**: what the forward pass keeps for the backward pass. They grow with the number of
#   *tokens* (words or pieces of words) in a batch;
# * **weights**, frozen or trained;
# * a **gradient** for each *trained* weight;
# * two **moments** for each *trained* weight: AdamW, the rule that turns gradients into steps,
#   remembers a mean of past gradients and one of their squares.
#
# Write $d$ for the width (96 here) and $f$ for the MLP's (256). For each token and layer, a Llama
# (the kind of model that our student is) keeps about 8 lists of length $d$ (10 if its norms are
# trained, too) and 4 of length $f$. At the end it keeps one list as long as the vocabulary. The
# rest is multiplication.


# %%
def worked_out(kind, shape, tokens, half, rank=8):
    d, f, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    big = layers * (4 * d * d + 3 * d * f)  # the matrices that LoRA and NF4 are about
    rest = shape.vocab_size * d * (1 if shape.tie_word_embeddings else 2) + (2 * layers + 1) * d
    adapter = rank * layers * (4 * (d + d) + 3 * (d + f))
    trained = big + rest if kind == "full" else adapter
    store = {"full": (4, 4), "lora": (half, half), "int8 lora": (1, half), "qlora": (33 / 64, 4)}
    weights = store[kind][0] * big + store[kind][1] * rest
    per_token = layers * ((10 if kind == "full" else 8) * d + 4 * f) + shape.vocab_size
    return {
        "activations": half * tokens * per_token,
        "weights": weights + (0 if kind == "full" else 4 * adapter),
        "gradients": 4 * trained,
        "moments": 8 * trained,
    }


# %% [markdown]
# `store` holds the bytes for each weight. QLoRA's 33/64 is half a byte, and one byte for the scale
# of 64 weights. The `rest` is not quantised, and beside 4-bit matrices it is kept in 4 bytes: the
# *embeddings* (a list of numbers for each word of the vocabulary) and the *norms* (a factor for
# each column). **Guess** the largest part.

# %%
bytes_each = load_base(student)[0].dtype.itemsize  # 4 on a CPU, 2 on a GPU
tokens = ids.numel()
for kind in ("full", "lora", "qlora"):
    parts = worked_out(kind, network.config, tokens, bytes_each)
    print(f"{kind:<6}", ", ".join(f"{part} {size / 1e6:.2f} MB" for part, size in parts.items()))

# %% [markdown]
# Now we measure. `measure_memory` makes one real training step and adds up the bytes of weights,
# gradients and moments. For the activations it uses a *hook*: PyTorch calls it for every piece of
# memory that is kept for the backward pass.

# %%
from fireact_nb.analysis.figures import plot_bars
from fireact_nb.learning import measure_memory

rows = []
for kind in ("full", "lora", "qlora"):
    guess = worked_out(kind, network.config, tokens, bytes_each)
    measured = measure_memory(student, [chosen[0]], replace(lora, kind=kind))
    rows += [(f"{kind}, worked out", {part: size / 1e6 for part, size in guess.items()})]
    rows += [(f"{kind}, measured", {part: measured[part] / 1e6 for part in guess})]
title = f"One step, {tokens} tokens: the arithmetic is nearly right"
source = "measured in this run, or worked out, as each row says"
with_alt(plot_bars(rows, title, "megabytes", source, "{:.1f}"))

# %% [markdown]
# The arithmetic is right to a few percent. (What is measured is a little more: our count leaves out
# some small activations, and the tables that bitsandbytes keeps with each matrix.)
#
# LoRA saves gradients and moments. QLoRA saves on the weights as well. **Neither saves
# activations**. With a tiny model these weigh most, and they grow with the batch. So here we use
# QLoRA to learn it, not because we need it.
#
# ### Seven billion weights
#
# The paper fine-tuned Llama-2-7B. Its shape is public, so the same function says what it takes: in
# half precision, with one trajectory of 512 tokens (the cut-off in the authors' released script).
# We leave a tenth of a card free for what we did not count.

# %%
from types import SimpleNamespace

llama = SimpleNamespace(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                        vocab_size=32000, tie_word_embeddings=False)  # fmt: skip
for kind in ("full", "lora", "int8 lora", "qlora"):
    parts = worked_out(kind, llama, 512, 2)
    total = sum(parts.values()) / 1e9
    fits = {card: "fits" if total < 0.9 * card else "does NOT fit" for card in (15, 24)}
    words = ", ".join(f"{part} {size / 1e9:.1f}" for part, size in parts.items())
    print(f"{kind:<9} {total:>6.1f} GB: {words}")
    print(f"{'':>10} {fits[15]} on a T4 with 15 GB, {fits[24]} on a card with 24 GB")
share = worked_out("qlora", llama, 1, 2)["gradients"] / 4 / 6.74e9
print(f"LoRA of rank 8 trains {share:.1%} of it. All of this is worked out, not measured.")

# %% [markdown]
# This is the reason for QLoRA: on the free GPU of a hosted notebook, only the compressed ones have
# room. (One can keep fewer activations, see section 8. Plain LoRA would still fill a T4 nearly to
# the brim.) The paper's LoRA is said to have used 8 bits (second-hand), and its full fine-tuning
# four GPUs. Which ones and for how long, we do not know; nor do we know its rank. The authors'
# released script has rank 8 on two matrices a layer.
#
# ### Exercise 04.3 · Will it fit?
#
# *Difficulty: 1 of 3 · about 10 minutes*
#
# Write the rule of thumb, without activations: `bytes_needed(kind, weights, adapter)`. A *trained*
# weight takes 4 bytes for itself, 4 for its gradient and 4 for each of two moments. `"full"` trains
# all `weights` and has no adapter. `"lora"` keeps the `weights` frozen in 2 bytes each and trains
# `adapter` further ones. `"qlora"` keeps them in 4 bits each. Example: `("lora", 1000, 10)` gives
# `2160`.

# %% tags=["exercise"]
from fireact_nb.course import check


def bytes_needed(kind, weights, adapter):
    return ...  # your code here


check("04.3", bytes_needed)

# %% [markdown]
# <details><summary>Hint</summary>
#
# How many bytes does a trained weight take in all? And how many bytes are 4 bits?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def bytes_needed(kind, weights, adapter):
#     if kind == "full":
#         return 16 * weights
#     frozen = {"lora": 2, "qlora": 0.5}[kind]
#     return frozen * weights + 16 * adapter
#
#
# check("04.3", bytes_needed)
# ```
#
# Try it with the model you would like to train, and with the card you have.
#
# </details>

# %% [markdown]
# ## 6. One agent of the study, live
#
# We train the student by QLoRA on the trajectories drawn above. Then it plays *dev* questions.
# (These are for trying things out; the *test* questions are kept for the study.) One student, one
# recipe, one set of questions: that is one *agent* of the study. We ship the outcomes of this very
# agent, so you can find out whether your run is the same experiment.

# %%
from fireact_nb.study.grid import FULL_RATE, live_recipe

recipe = live_recipe(lab.student, seed=seed, epochs=epochs)
recipes = {
    live("qlora").name: replace(recipe, kind="qlora"),
    live("react").name: replace(recipe, kind="lora"),  # the standard of the study
    live("full").name: replace(recipe, kind="full", learning_rate=FULL_RATE),
}

# %% [markdown]
# Full fine-tuning gets a smaller step (its `learning_rate`), because it moves every weight. Both
# rates were chosen on dev questions, each for its own kind, so that none is a strawman. What will
# it take?

# %%
from fireact_nb.learning import forecast_training

pool = lab.written("react", least=train_on)
drawn_here = mix({group: pool.kept}, {group: train_on}, seed, held_out=lab.held_out())
print(forecast_training(lab.student, drawn_here, recipes[live("qlora").name]))

# %% [markdown]
# Now the training, and the game. The student gets the bare question, without any example in its
# prompt, and the search tool.

# %%
from fireact_nb.agent import generate
from fireact_nb.analysis import outcomes_of
from fireact_nb.learning import fine_tune
from fireact_nb.study.runner import BARE_BATCH

dev, prompt = lab.questions("dev", test_on), lab.prompt("fireact")


def train_and_play(label):
    recipe = recipes[label]
    folder = lab.runs / "04" / f"{recipe.kind}-{train_on}-seed{seed}"
    done = fine_tune(lab.student, drawn_here, folder, recipe, progress=False)
    chat = lab.chat(folder, batch_size=BARE_BATCH)
    played = generate(dev, prompt, chat, lab.search(), progress=False)
    return done, outcomes_of(played, dev, label, chat.name)


runs = {label: train_and_play(label) for label in list(recipes)[:cells]}

# %%
from fireact_nb.analysis.figures import plot_loss

for label, (done, _) in runs.items():
    print(f"{label}: {done.trained_parameters:,} weights trained in {done.seconds:.0f} s")
curves = {recipes[label].kind: done.losses for label, (done, _) in runs.items()}
with_alt(plot_loss(curves, "The student learns the teacher's turns", "training step"))

# %% [markdown]
# How well does it play? Two runs with different seeds rarely score the same. So we ask whether
# yours lies in a *tolerance band*: the mean of the shipped seeds, plus and minus three standard
# deviations (how far a run typically lies from their mean).

# %%
from fireact_nb.analysis import tolerance_band
from fireact_nb.study.grid import LIVE_COUNT

same_cell = (train_on, epochs, lab.world) == (LIVE_COUNT, LIVE.epochs, home.world)
for label, (_, outcomes) in runs.items():
    got = sum(o.correct for o in outcomes) / len(outcomes)
    verdict = f"{got:.2f}, another run than the shipped: no band"
    if same_cell:
        verdict = tolerance_band(shipped_live.of(label), outcomes).compare(got)
    print(f"{label}: {verdict}")
print(f"(exact match, measured in this run; the band: {shipped_live.origin.label})")

# %% [markdown]
# *Exact match* counts an answer only if it is the right one, apart from case, articles and
# punctuation. "Inside" means that nothing speaks against this being the same experiment. It does
# not prove it: a band from five seeds is wide. (On trajectories of your own it is a sister of that
# experiment.) Set `cells = 3` to try LoRA and full fine-tuning.
#
# Here are all shipped seeds of the three kinds. **Guess first:** in which order will they come?

# %%
for label in recipes:
    scores = {}
    for o in shipped_live.of(label):
        scores.setdefault(o.seed, []).append(o.correct)
    words = "  ".join(f"{sum(marks) / len(marks):.2f}" for _, marks in sorted(scores.items()))
    print(f"{recipes[label].kind:<6} {words}")
print(f"(exact match on 100 dev questions, a column for each seed; {shipped_live.origin.label})")

# %% [markdown]
# Look along a line first, then down a column. If the numbers in one line differ as much as the
# lines do, a single run cannot tell the kinds apart.
#
# ## 7. LoRA, QLoRA and full fine-tuning in the study
#
# The study trained each kind on 500 trajectories and asked 600 *test* questions. The paper reports
# LoRA and full fine-tuning of Llama-2-7B. Other world, other model: compare **directions**.

# %%
from fireact_nb.study import show_table
from fireact_nb.study.tables import table_kinds

[table] = table_kinds(study)
show_table(table, study.origin.label)

# %% [markdown]
# The differences are *paired*: both students answered the same questions. "Not resolved" means that
# the interval includes zero, so that we cannot tell.

# %%
from fireact_nb.analysis.figures import plot_differences

title = "What does it cost to train less, or in fewer bits?"
unit = "difference in exact match, share of questions"
with_alt(plot_differences(table.differences, title, unit, study.origin.label))

# %% [markdown]
# In the paper, as reported, full fine-tuning beats LoRA by four points. Why might ours differ?
#
# * LoRA trains a tenth of our student, and well under one percent of a 7B model.
# * The recipes differ. For how long and at what rate the paper trained every weight, we do not
#   know.
# * We compare one seed of each kind, and the intervals are about *questions* only. Above you saw
#   how much seeds differ.
# * The paper's 26.2 and 30.2 come without intervals. With 500 questions, each would reach about
#   four points to either side.
#
# QLoRA has no row in the paper. One might expect 4 bits to hurt a small model more than a large
# one, since fewer errors can cancel out. Our interval is about the small one; it says nothing about
# 7B.
#
# What about time and size? Both are in the study's costs.

# %%
from fireact_nb.study import MAIN, tuned

agents = {"LoRA": tuned(MAIN, "react")}
agents |= {kind: tuned(MAIN, "react", kind) for kind in ("qlora", "full")}
spent = {label: study.trainings[agent.name, 0] for label, agent in agents.items()}
for label in agents:
    time, size = (spent[label][k] / spent["LoRA"][k] for k in ("seconds", "saved_bytes"))
    print(f"{label:<6} {time:.2f} times LoRA's seconds, {size:>5.2f} times its size on disk")
print(f"({study.costs_origin.label}; the cores were shared with other work)")

# %% [markdown]
# Read the seconds with care, since other work ran on the same cores. They say one thing all the
# same: LoRA is no shortcut in time. It goes through every matrix forward and backward, and through
# its own on top. What LoRA saves is memory and disk. (The sizes need care, too: the study keeps an
# adapter in 2 bytes a number and a full model in 4. Kept alike, the full model is about nine times
# the size: its weights against the adapter's, 787,680 to 87,552.)
#
# ## 8. The same agents on a GPU
#
# The code asks what the machine can do, and chooses. You change no cell.
#
# | | on a CPU | on a GPU |
# |---|---|---|
# | numbers | float32 | bfloat16 from *compute capability* 8 on; below, as on a T4 (7.5), float16 |
# | 4-bit weights | unpacked to float32 for each use | unpacked to that half precision |
# | gradient checkpointing | off | on |
# | QLoRA's adapter, at play | merged | merged, or on 4 bits where that fills half the memory |
# | paged optimiser | no | no |
#
# *Compute capability* is a GPU's version number. A T4 has no real bfloat16, even where software
# reports it, so we go by the number. *Gradient checkpointing* keeps only each layer's input and
# computes the other activations again: less memory, more time. A *paged optimiser*, proposed by
# QLoRA's authors, moves AdamW's moments to main memory when the GPU is full. An adapter's moments
# are small, so our code does without.
#
# **We had no T4.** All numbers here come from CPUs. The GPU column says what the code does, not
# what we measured. On any GPU `python benchmarks/students.py` measures real models of 0.1 to 4
# billion weights under a cap of 15 GiB, beside what we compute for them: **not run** so far. This
# is what the code finds on your machine:

# %%
gpu = torch.cuda.is_available()
print(f"GPU: {torch.cuda.get_device_name() if gpu else 'none'}")
print(f"capability: {torch.cuda.get_device_capability() if gpu else 'none'}")
print(f"the student is loaded on: {A.device.type}, {bytes_each} bytes a number")

# %% [markdown]
# ## 9. What lies on the disk
#
# An adapter is small, and useless without its base model. Its `recipe.json` remembers how it was
# trained and on which weights. Ten adapters for ten tasks can share one model. (Below, the adapter
# is stored in 4 bytes a number, and the student, as we ship it, in 2.)

# %%
folder = home.runs / "04" / f"qlora-{train_on}-seed{seed}"
if lab.world != home.world:  # else it is there already
    fine_tune(student, chosen, folder, replace(lora, kind="qlora"), progress=False)
for path in sorted(folder.iterdir()):
    print(f"{path.stat().st_size:>9,} bytes  {path.name}")
print(f"{(student / 'model.safetensors').stat().st_size:>9,} bytes  the student's own weights")

# %% [markdown]
# For use, an adapter can be **merged**: $W' = W + \frac{\alpha}{r} BA$ is computed once, and then
# there is one matrix again, as fast as before. But which $W$? A QLoRA adapter was trained on the
# *rounded* weights. It has learnt to live with their errors.
#
# ### Exercise 04.4 · Merge
#
# *Difficulty: 2 of 3 · about 5 minutes*
#
# Write `merge(W, A, B, alpha)` for PyTorch matrices: `A` is rank x inputs, `B` is outputs x rank.
# Return a **new** matrix and leave `W` as it is.

# %% tags=["exercise"]
from fireact_nb.course import check


def merge(W, A, B, alpha):
    return ...  # your code here


check("04.4", merge)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `@` multiplies matrices. The rank is the number of rows of `A`, which is `len(A)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from fireact_nb.course import check
#
#
# def merge(W, A, B, alpha):
#     return W + alpha / len(A) * (B @ A)
#
#
# check("04.4", merge)
# ```
#
# `W + ...` makes a new matrix. `W += ...` would have changed the frozen one.
#
# </details>

# %% [markdown]
# Three models, one adapter: beside the rounded weights it was trained on; merged into these, as our
# `load_model` does; and merged into the student's original weights, which looks just as natural.

# %%
from peft import PeftModel

from fireact_nb.models import load_model

rounded = load_base(student, quantized=True)[0].dequantize()
beside = PeftModel.from_pretrained(rounded, str(folder)).eval()
merged, _ = load_model(student, folder)
original = PeftModel.from_pretrained(load_base(student)[0], str(folder)).merge_and_unload().eval()

# %% [markdown]
# Do they say the same? *Logits* are the raw scores of every possible next token. The losses are
# those on the unseen trajectories again.

# %%
before = held_out_losses(beside)
for label, model in {"the rounded weights": merged, "the original weights": original}.items():
    with torch.no_grad():
        off = (model(ids).logits - beside(ids).logits).abs().max()
    more = paired_bootstrap(before, held_out_losses(model))
    print(f"merged into {label:<20}: logits off by up to {off:.1e}, loss changed by {more}")

# %% [markdown]
# Into the weights it was trained on, the merge changes nothing but the last digits. Into the
# original weights it makes **another model**. Its loss may hardly move; that is the danger. No
# error, no warning, and yet no number that you measured belongs to it.
#
# ## In this notebook you have
#
# * counted what LoRA trains, by its equation and on the model, and built it in ten lines;
# * rounded real weights to 16 levels, and checked the library that does it for you;
# * worked out memory before measuring it, and found out which card a 7B model needs;
# * trained a QLoRA student and held it against a tolerance band;
# * seen the study's three kinds beside the paper's two, with intervals;
# * merged an adapter, and learnt into which weights.
#
# **Further reading**
#
# * Hu and others, [LoRA: Low-Rank Adaptation of Large Language
#   Models](https://arxiv.org/abs/2106.09685), ICLR 2022.
# * Dettmers and others, [QLoRA: Efficient Finetuning of Quantized
#   LLMs](https://arxiv.org/abs/2305.14314), NeurIPS 2023.
#
# **Next:** notebook 05 asks what to train on: ReAct alone, or several methods mixed.
