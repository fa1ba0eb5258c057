"""The step in fewer products: the same losses and gradients as the plain one's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from books import BOOKS, RECIPE

from fireact_nb.artifacts import shipped
from fireact_nb.learning.masking import encode, features, make_collator
from fireact_nb.learning.recipe import prepare
from fireact_nb.learning.shortcuts import fold_lora, labelled_loss, only_labelled
from fireact_nb.learning.training import fine_tune

# Heads that do something to their logits, tied ones, biases, other matrices than Llama's.
KINDS = {
    "llama": {},
    "qwen2": {},
    "gemma2": {"final_logit_softcapping": 5.0, "head_dim": 16, "sliding_window": 8},
    "granite": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.2},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
}


def step(network: Any, batch: Any, short: bool) -> tuple[float, dict[str, Any]]:
    """The loss of one step and the gradient of every trained weight."""
    if short:
        with only_labelled(network, batch["labels"]):
            loss = labelled_loss(network(input_ids=batch["input_ids"]), batch["labels"])
    else:
        loss = network(**batch).loss
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad(set_to_none=True)
    return loss.item(), gradients


def compare(network: Any, other: Any, batch: Any) -> None:
    import torch

    loss, gradients = step(network, batch, short=False)
    short_loss, short_gradients = step(other, batch, short=True)
    assert (
        short_loss == pytest.approx(loss, abs=1e-5) and gradients.keys() == short_gradients.keys()
    )
    largest = max(g.abs().max().item() for g in gradients.values())
    assert largest > 0
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            short_gradients[name], gradient, atol=1e-4 * largest, rtol=1e-3, msg=name
        )


def batch_of(tokenizer: Any) -> Any:
    """Rows of two lengths, so that there is padding."""
    books = [replace(book, steps=book.steps[n % 2 :]) for n, book in enumerate(BOOKS[:4])]
    return make_collator(tokenizer)(features([encode(book, tokenizer) for book in books]))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_model_does_to_its_logits_the_loss_is_the_same(
    kind: str, tokenizer: Any
) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    common |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(tokenizer)}
    own = KINDS[kind]
    settings = {"vocab_size": len(tokenizer), **own} if kind == "gpt2" else {**common, **own}
    settings |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    compare(network, network, batch_of(tokenizer))


@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_a_folded_step_learns_what_the_plain_one_does(kind: str) -> None:
    import torch

    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        network, tokenizer = prepare(shipped("student"), replace(RECIPE, kind=kind))
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
        networks.append(network.train())
    assert fold_lora(networks[1]) == (42 if networks[1].device.type == "cpu" else 0)
    compare(*networks, batch_of(tokenizer).to(networks[0].device))


def test_only_small_quiet_layers_are_folded(base: Path) -> None:
    for change in ({"dropout": 0.1}, {"rank": 1, "alpha": 1}):
        network, _ = prepare(base, replace(RECIPE, kind="lora", **change))
        assert fold_lora(network) == (0 if "dropout" in change else 14)
    network, _ = prepare(shipped("student"), replace(RECIPE, kind="lora", rank=2))
    assert fold_lora(network) == 0, "96 is wider than 32 ranks of 2"


def test_a_training_goes_the_way_of_a_plain_loop(base: Path, tmp_path: Path) -> None:
    """AdamW, warm-up and cosine, clipped gradients; all examples are one batch, in one part."""
    import torch
    from transformers import get_cosine_schedule_with_warmup, set_seed

    recipe = replace(RECIPE, kind="lora", batch_size=12)
    done = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    set_seed(recipe.seed)
    network, tokenizer = prepare(base, recipe)
    network.train()
    batch = make_collator(tokenizer)(features([encode(book, tokenizer) for book in BOOKS]))
    trained = [p for p in network.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.0)
    rates = get_cosine_schedule_with_warmup(adam, 1, recipe.epochs)
    losses = []
    for _ in range(recipe.epochs):
        loss = network(**batch.to(network.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adam.step()
        rates.step()
        adam.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert dict(done.losses) == pytest.approx({1: losses[0], 5: sum(losses[1:]) / 4}, abs=1e-4)
