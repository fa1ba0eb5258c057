"""Fine-tuning: what is learnt is saved, works elsewhere and says what it was made of."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from books import BOOKS, RECIPE, save_base

from fireact_nb.agent.chat import Request
from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import encode
from fireact_nb.learning.memory import memory_needed
from fireact_nb.learning.planning import (
    Job,
    TrainingForecast,
    forecast,
    forecast_training,
    time_step,
)
from fireact_nb.learning.recipe import prepare
from fireact_nb.learning.training import Training, fine_tune
from fireact_nb.models import weights
from fireact_nb.models.adapters import load_model, merge_adapter
from fireact_nb.models.local import LocalChat
from fireact_nb.models.weights import describe, load_base, load_tokenizer


@pytest.fixture(scope="module", params=["lora", "qlora", "full"])
def trained(
    request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Training]:
    recipe = replace(RECIPE, kind=request.param)
    folder = tmp_path_factory.mktemp("trained") / request.param
    return request.param, fine_tune(base, BOOKS, folder, recipe, progress=False)


def greedy(chat: LocalChat) -> str:
    question = {"role": "user", "content": "Who wrote book 3?"}
    return chat.reply([Request((question,), max_tokens=24)])[0].text


def test_the_loss_falls_and_is_kept(trained: tuple[str, Training]) -> None:
    _, done = trained
    assert [step for step, _ in done.losses] == [1, 5, 10, 15]
    assert done.losses[-1][1] < done.losses[0][1] - 0.5
    kept = json.loads((done.folder / "losses.json").read_text("utf-8"))
    assert kept == [list(pair) for pair in done.losses]
    assert done.examples == 12 and done.saved_bytes > 0 and done.seconds > 0


def test_only_the_adapter_is_trained_and_saved(trained: tuple[str, Training]) -> None:
    from safetensors import safe_open

    kind, done = trained
    if kind == "full":
        assert done.trained_parameters == done.all_parameters
        return
    assert 0 < done.trained_parameters < 0.1 * done.all_parameters
    with safe_open(done.folder / "adapter_model.safetensors", "pt") as weights:
        names = list(weights.keys())
        sizes = [weights.get_tensor(name).numel() for name in names]
    assert names and all("lora_" in name for name in names)
    assert sum(sizes) == done.trained_parameters


def test_what_was_trained_loads_again_and_answers_the_same_twice(
    trained: tuple[str, Training], base: Path
) -> None:
    kind, done = trained

    def load() -> LocalChat:
        return LocalChat(done.folder) if kind == "full" else LocalChat(base, done.folder)

    first, second = load(), load()
    assert first.name == second.name
    text = greedy(first)
    assert text and text == greedy(first) == greedy(second)
    assert text != greedy(LocalChat(base))


def test_the_recipe_names_the_base_by_its_hash_and_no_path_is_saved(
    trained: tuple[str, Training], base: Path
) -> None:
    kind, done = trained
    recipe = json.loads((done.folder / "recipe.json").read_text("utf-8"))
    assert recipe["base"] == describe(base) and re.fullmatch(r"base@[0-9a-f]{8}", recipe["base"])
    assert (recipe["kind"], recipe["rank"], recipe["examples"]) == (kind, 4, 12)
    for file in done.folder.iterdir():
        if file.suffix == ".json":
            text = file.read_text("utf-8")
            assert str(base.parent) not in text and str(done.folder.parent) not in text
            assert not re.search(r'": "/|[A-Z]:\\\\', text), f"{file.name} holds an absolute path"
    assert not (done.folder / "checkpoints").exists()
    assert not list(done.folder.glob("*.bin")), "safetensors only"


def test_a_qlora_adapter_is_merged_into_the_base_it_was_trained_on(
    base: Path, tmp_path: Path
) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from safetensors.torch import load_file

    recipe = replace(RECIPE, kind="qlora")
    folder = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False).folder
    merged = load_model(base, folder)[0].state_dict()
    quantized = dict(load_base(base, quantized=True)[0].named_modules())
    plain = load_base(base)[0].state_dict()
    adapter = load_file(folder / "adapter_model.safetensors")
    scale = RECIPE.alpha / RECIPE.rank
    names = [n.split(".lora_A")[0] for n in adapter if ".lora_A" in n]
    assert len(names) == 14  # seven linear layers in each of two blocks
    for name in names:
        layer = name.removeprefix("base_model.model.")
        weight = quantized[layer].weight
        seen = dequantize_4bit(weight.data, weight.quant_state).float().cpu()
        delta = scale * adapter[f"{name}.lora_B.weight"] @ adapter[f"{name}.lora_A.weight"]
        assert delta.abs().max() > 1e-3, "nothing was learnt here"
        result = merged[f"{layer}.weight"].float().cpu()
        torch.testing.assert_close(result, seen + delta.float().cpu(), atol=1e-5, rtol=1e-4)
        exact = plain[f"{layer}.weight"].float().cpu()
        assert (seen - exact).abs().max() > 1e-3, "the base was not quantised"


def test_a_qlora_adapter_also_plays_on_four_bits(tokenizer: Any, tmp_path: Path) -> None:
    """A 7B model merged into half precision would fill a T4; in four bits it says the same."""
    import torch

    base = save_base(
        tmp_path / "base", tokenizer, width=64
    )  # of whole blocks, as bitsandbytes asks
    recipe = replace(RECIPE, kind="qlora", epochs=2)
    folder = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False).folder
    merged, _ = load_model(base, folder)
    small, _ = load_model(base, folder, merged=False)
    kinds = [{type(p).__name__ for p in m.parameters()} for m in (merged, small)]
    assert "Params4bit" in kinds[1] - kinds[0]
    assert type(small) is type(merged), "no wrapper that hides what decoding asks for"
    ids = torch.arange(20)[None]
    with torch.no_grad():
        one, other, plain = (m(ids).logits for m in (merged, small, load_base(base)[0]))
    learnt = (plain - one).abs().mean()
    assert (other - one).abs().mean() < learnt / 10, "a CPU's kernel rounds scales to bfloat16"
    chat = LocalChat(small, tokenizer=load_tokenizer(base), name="small")
    assert chat.keeps and greedy(chat)
    written = merge_adapter(base, folder, tmp_path / "merged")
    with torch.no_grad():
        torch.testing.assert_close(load_base(written)[0](ids).logits, one, atol=1e-4, rtol=1e-4)


# -- the forecast -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_a_forecast_counts_tokens_and_steps(kind: str, base: Path, tokenizer: Any) -> None:
    recipe = replace(RECIPE, kind=kind, batch_size=5, epochs=3)
    told = forecast_training(base, BOOKS, recipe)
    lengths = [len(encode(t, tokenizer).input_ids) for t in BOOKS]
    assert (told.examples, told.tokens, told.steps) == (12, 3 * sum(lengths), 3 * 3)
    assert 0 < told.seconds < 60
    assert told.needed_gib == memory_needed(base, recipe, 5, max(lengths)) / 2**30 > 0
    assert told.free_gib > told.needed_gib


def test_longer_conversations_are_left_out_and_counted(
    base: Path, tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut, they would lose their finish. Fewer examples than a batch are a step."""
    lengths = sorted(len(encode(t, tokenizer).input_ids) for t in BOOKS)
    most = lengths[len(lengths) // 2]
    kept = sum(length <= most for length in lengths)
    assert 0 < kept < 12
    recipe = replace(RECIPE, kind="lora", max_length=most, epochs=1, batch_size=16)
    told = forecast_training(base, BOOKS, recipe)
    assert (told.examples, told.steps, told.left_out) == (kept, 1, 12 - kept)
    assert told.tokens == sum(length for length in lengths if length <= most)
    done = fine_tune(base, BOOKS, tmp_path / "a", recipe)
    assert (done.examples, done.tokens, done.left_out) == (kept, told.tokens, 12 - kept)
    assert f"{12 - kept} longer ones are left out" in capsys.readouterr().out
    with pytest.raises(FireActError, match="All 12 .*max_length=30 .*Raise max_length"):
        fine_tune(base, BOOKS, tmp_path / "b", replace(recipe, max_length=30))


def test_a_longer_training_is_forecast_to_take_longer(base: Path, tokenizer: Any) -> None:
    """A step takes a while and has 4 of 12 alike examples in it: 3 steps an epoch."""
    alike = [encode(BOOKS[0], tokenizer)] * 12
    network, _ = prepare(base, replace(RECIPE, kind="lora"))

    class Slow:
        """The network, a third of a second slower."""

        training, device = network.training, network.device
        train, zero_grad = network.train, network.zero_grad

        def __call__(self, **inputs: Any) -> Any:
            time.sleep(0.33)
            return network(**inputs)

    for epochs in (1, 5):
        recipe = replace(RECIPE, kind="lora", epochs=epochs)
        seconds = forecast(Job(base, Slow(), None, alike, 0, recipe, 4)).seconds
        assert 0.33 * 3 * epochs < seconds < 0.66 * 3 * epochs


def test_a_forecast_in_words() -> None:
    told = TrainingForecast(734, 1_234_567, 276, 0.35, 14.96, 200.0)
    assert str(told) == (
        "734 trajectories, 1,234,567 tokens in 276 steps: about 3.3 minutes (one step timed), "
        "0.3 of 15.0 GiB"
    )


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_timing_a_step_changes_no_weight(kind: str, base: Path) -> None:
    import torch

    network, tokenizer = prepare(base, replace(RECIPE, kind=kind))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    mode = network.training
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert time_step(network, [encode(t, tokenizer) for t in BOOKS[:4]]) > 0
    for name, weight in network.named_parameters():
        assert torch.equal(weight, before[name]), f"{name} was moved"
        assert weight.grad is None, f"{name} would be moved by the first step"
        assert weight.requires_grad == (name in trained)
    assert before and trained and network.training == mode


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_fine_tune_opens_with_its_forecast_and_trains_no_other_way_for_it(
    kind: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tokenizer: Any
) -> None:
    import torch
    from safetensors.torch import load_file

    # Dropout draws: a forecast that left the dice elsewhere would change every step after it.
    recipe = replace(RECIPE, kind=kind, epochs=2, dropout=0.2)
    quiet = fine_tune(base, BOOKS, tmp_path / "quiet", recipe, progress=False)
    assert "trajectories" not in capsys.readouterr().out
    told = fine_tune(base, BOOKS, tmp_path / "told", recipe, progress=True)
    said = capsys.readouterr().out.splitlines()
    tokens = 2 * sum(len(encode(t, tokenizer).input_ids) for t in BOOKS)
    assert said[0].startswith(f"12 trajectories, {tokens:,} tokens in 6 steps: about 0.")
    assert said[0].endswith(" GiB")
    assert told.tokens == tokens and told.losses[-1][0] == 5
    assert told.losses == quiet.losses
    one, other = (load_file(next(d.folder.glob("*model.safetensors"))) for d in (quiet, told))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_folder_is_trained_anew(base: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, kind="lora", epochs=2)
    first = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    again = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    assert again.losses == first.losses and again.losses


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_no_result_is_put_on_the_model_it_is_trained_from(kind: str, base: Path) -> None:
    before = describe(base)
    with pytest.raises(FireActError, match=r"base holds the model .* another folder"):
        fine_tune(base, BOOKS, base / ".." / "base", replace(RECIPE, kind=kind))
    assert describe(base) == before and not (base / "recipe.json").exists()


def test_nothing_to_train_on_is_told(base: Path, tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="no trajectory to train on.*success filter"):
        fine_tune(base, [], tmp_path / "a")
    assert not (tmp_path / "a").exists()


# -- memory that runs out --------------------------------------------------------------------------


def full_above(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU too small for batches of more rows, in the second epoch."""
    import torch

    from fireact_nb.learning import training

    known, passes = training.make_collator, []

    def make(tokenizer: Any) -> Any:
        collate = known(tokenizer)

        def guarded(features: Any) -> Any:
            passes.append(len(features))
            if len(passes) > 3 and len(features) > rows:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return collate(features)

        return guarded

    monkeypatch.setattr(training, "make_collator", make)


def ran_out(*_: Any) -> None:
    import torch

    raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_half_of_the_rows_are_computed_at_once_where_memory_runs_out(
    kind: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Each step still sees the recipe's batch, so that the same is learnt."""
    recipe = replace(RECIPE, kind=kind, epochs=2)
    whole = fine_tune(base, BOOKS, tmp_path / "whole", recipe, progress=False)
    full_above(2, monkeypatch)
    monkeypatch.setattr("fireact_nb.learning.training.forecast", ran_out)
    halved = fine_tune(base, BOOKS, tmp_path / "halved", recipe)
    assert (whole.rows, halved.rows) == (4, 2)
    said = capsys.readouterr().out
    assert "No forecast" in said and "going on with 2" in said
    assert [step for step, _ in halved.losses] == [step for step, _ in whole.losses]
    for (_, loss), (_, other) in zip(halved.losses, whole.losses, strict=True):
        assert loss == pytest.approx(other, rel=1e-3)


def test_memory_for_not_even_one_row_is_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_above(0, monkeypatch)
    with pytest.raises(FireActError, match="memory ran out .*base by lora with one .* Use"):
        fine_tune(base, BOOKS, tmp_path / "a", replace(RECIPE, kind="lora"), progress=False)


# -- identity and padding -----------------------------------------------------------------------


def test_weights_are_hashed_once_a_process(base: Path, tmp_path: Path) -> None:
    weights._digest.cache_clear()
    recipe = replace(RECIPE, kind="lora", epochs=1)
    folder = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False).folder
    names = {LocalChat(base, folder).name for _ in range(2)}
    assert weights._digest.cache_info().misses == 2, "the base and the adapter"
    fine_tune(base, BOOKS, folder, replace(recipe, seed=1), progress=False)
    assert LocalChat(base, folder).name not in names, "another adapter under an old name"


@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_a_tokenizer_without_padding_trains_to_the_same_weights(
    kind: str, base: Path, tmp_path: Path
) -> None:
    """As Llama's does; the batches hold rows of several lengths, so that padding is needed."""
    shutil.copytree(base, tmp_path / "base")
    tokenizer = load_tokenizer(DATA / "tokenizer")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "base")
    file = tmp_path / "base" / "config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**config, "pad_token_id": None}), encoding="utf-8")
    books = [replace(book, steps=book.steps[n % 2 :]) for n, book in enumerate(BOOKS)]
    recipe = replace(RECIPE, kind=kind, epochs=1)
    made = [
        fine_tune(folder, books, tmp_path / folder.parent.name, recipe, progress=False)
        for folder in (base, tmp_path / "base")
    ]
    assert made[0].losses == made[1].losses
    one, other = ((d.folder / "adapter_model.safetensors").read_bytes() for d in made)
    assert one == other
    assert greedy(LocalChat(tmp_path / "base", made[1].folder)) == greedy(
        LocalChat(base, made[0].folder)
    )
