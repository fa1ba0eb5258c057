"""Fine-tuning: the loss falls on the agent's words alone, and what is saved works elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ANY, STEPS

from fireact_nb.agent.chat import Request
from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import Example, encode
from fireact_nb.learning.memory import measure_memory, memory_needed
from fireact_nb.learning.recipe import Recipe, prepare
from fireact_nb.learning.training import Training, TrainingForecast, fine_tune, forecast_training
from fireact_nb.models.local import LocalChat
from fireact_nb.models.weights import describe, load_base, load_model

TOKENIZER = DATA / "tokenizer"
BOOKS = [
    Trajectory(
        f"q{n}",
        f"Who wrote book {n}?",
        (
            Step.of(f"I look up book {n}.", "search", f"book {n}", "Book: Novel by Ann."),
            Step.of("The author is Ann.", "finish", "Ann"),
        ),
    )
    for n in range(12)
]
RECIPE = Recipe(rank=4, alpha=12, batch=4, epochs=5, rate=1e-2)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TOKENIZER)


def learnt(example: Example, tokenizer: Any) -> list[str]:
    """The stretches of text that carry loss."""
    runs: list[list[int]] = [[]]
    for token, label in zip(example.input_ids, example.labels, strict=True):
        if label == -100:
            runs.append([])
        else:
            assert label == token
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs if run]


# -- the loss mask ------------------------------------------------------------------------------


def test_only_turns_of_the_agent_carry_loss(tokenizer: Any) -> None:
    assert learnt(encode(BOOKS[3], tokenizer), tokenizer) == [
        "Thought: I look up book 3.\nAction: search[book 3]<|end|>",
        "Thought: The author is Ann.\nAction: finish[Ann]<|end|>",
    ]


def test_masks_of_the_ablations(tokenizer: Any) -> None:
    assert learnt(encode(BOOKS[3], tokenizer, "all turns"), tokenizer) == [
        "Thought: I look up book 3.\nAction: search[book 3]<|end|>"
        "<|user|>Observation: Book: Novel by Ann.<|end|>",
        "Thought: The author is Ann.\nAction: finish[Ann]<|end|>",
    ]
    whole = encode(BOOKS[3], tokenizer, "off")
    assert whole.labels == whole.input_ids
    assert "Who wrote book 3?" in tokenizer.decode(whole.labels)
    with pytest.raises(ValueError, match="'agent', 'all turns' or 'off'"):
        encode(BOOKS[3], tokenizer, "everything")


@given(question=ANY, steps=STEPS.filter(bool), ended=st.booleans())
@settings(max_examples=60)
def test_no_trajectory_leaks_loss_to_question_or_tool(
    tokenizer: Any, question: str, steps: tuple[Step, ...], ended: bool
) -> None:
    if ended:
        steps = (*steps[:-1], Step(steps[-1].text, "Episode finished, reward = True"))
    trajectory = Trajectory("q", question, steps)
    expected, told = [], []
    for step in steps:
        expected.append(f"{step.text}<|end|>")
        heard = step.observation is not None and not step.observation.startswith("Episode finished")
        told.append(
            expected[-1] + (f"<|user|>Observation: {step.observation}<|end|>" if heard else "")
        )
    assert learnt(encode(trajectory, tokenizer, "agent", 10**6), tokenizer) == expected
    assert learnt(encode(trajectory, tokenizer, "all turns", 10**6), tokenizer) == told


def test_a_trajectory_without_turns_has_nothing_to_learn(tokenizer: Any) -> None:
    for mask in ("agent", "all turns"):
        with pytest.raises(ValueError, match=r"q9/react.*no token carries loss"):
            encode(Trajectory("q9", "Who?", ()), tokenizer, mask)


def test_a_long_conversation_loses_its_end(tokenizer: Any) -> None:
    whole = encode(BOOKS[0], tokenizer)
    cut = encode(BOOKS[0], tokenizer, max_length=30)
    assert (cut.input_ids, cut.labels) == (whole.input_ids[:30], whole.labels[:30])
    with pytest.raises(ValueError, match="within 5 tokens"):
        encode(BOOKS[0], tokenizer, max_length=5)


@pytest.fixture
def other_template(tokenizer: Any) -> Any:
    """The shipped tokenizer, its template free to be changed."""
    kept = tokenizer.chat_template
    yield tokenizer
    tokenizer.chat_template = kept


def test_another_template_teaches_the_same_words(other_template: Any) -> None:
    other_template.chat_template = (
        "<|document|>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    assert learnt(encode(BOOKS[3], other_template), other_template) == [
        f"{step.text}<|end|>" for step in BOOKS[3].steps
    ]


def test_a_template_that_rewrites_earlier_turns_is_refused(other_template: Any) -> None:
    other_template.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>"
        "{{ m.content if loop.last else m.content.split('Action')[-1] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    with pytest.raises(ValueError, match="chat template changes earlier turns"):
        encode(BOOKS[3], other_template)


# -- training -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest Llama that trains, with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    folder = tmp_path_factory.mktemp("models") / "base"
    LlamaForCausalLM(config).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["lora", "qlora", "full"])
def trained(
    request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Training]:
    recipe = Recipe(**{**vars(RECIPE), "kind": request.param})
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

    recipe = Recipe(**{**vars(RECIPE), "kind": "qlora"})
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


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_memory_is_what_the_parts_of_a_step_take(kind: str) -> None:
    """Of the shipped student: float32 weights, a gradient and two moments a trained weight."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("counts float32, which is the CPU's")
    recipe = Recipe(kind=kind, rank=8)  # type: ignore[arg-type]
    sizes = measure_memory(DATA / "models" / "student", BOOKS[:1], recipe)
    everything, matrices, adapter = 787_680, 663_552, 87_552
    trained = everything if kind == "full" else adapter
    assert sizes["gradients"] == 4 * trained
    assert sizes["moments"] == 8 * trained
    if kind == "qlora":
        packed = 4 * (everything - matrices + adapter) + matrices // 2 + matrices // 64
        assert packed < sizes["weights"] < packed + 50_000, "more than tables of levels"
    else:
        assert sizes["weights"] == 4 * (everything + (adapter if kind == "lora" else 0))
    tokenizer = prepare(DATA / "models" / "student", recipe)[1]
    tokens = len(encode(BOOKS[0], tokenizer).input_ids)
    lists = 6 * ((10 if kind == "full" else 8) * 96 + 4 * 256) + 1280  # Llama, a token
    assert sizes["activations"] == pytest.approx(4 * tokens * lists, rel=0.05)
    twice = measure_memory(DATA / "models" / "student", [BOOKS[0]] * 2, recipe)
    assert twice["activations"] == pytest.approx(2 * sizes["activations"], rel=0.1)
    assert {**twice, "activations": 0} == {**sizes, "activations": 0}


# -- the forecast -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_a_forecast_counts_tokens_and_steps(kind: str, base: Path, tokenizer: Any) -> None:
    recipe = Recipe(**{**vars(RECIPE), "kind": kind, "batch": 5, "epochs": 3})
    forecast = forecast_training(base, BOOKS, recipe)
    tokens = sum(len(encode(t, tokenizer).input_ids) for t in BOOKS)
    assert (forecast.examples, forecast.tokens, forecast.steps) == (12, 3 * tokens, 3 * 3)
    assert 0 < forecast.seconds < 60
    assert forecast.needed_gib == memory_needed(base, recipe) / 2**30 > 0
    assert forecast.free_gib > forecast.needed_gib


def test_a_forecast_is_of_what_is_trained(base: Path, tmp_path: Path, tokenizer: Any) -> None:
    """Tokens past the limit do not count; fewer examples than a batch are a step."""
    recipe = Recipe(**{**vars(RECIPE), "kind": "lora", "max_length": 30, "epochs": 1})
    forecast = forecast_training(base, BOOKS[:3], recipe)
    assert (forecast.tokens, forecast.steps) == (3 * 30, 1)
    done = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    forecast = forecast_training(base, BOOKS, recipe)
    assert (forecast.examples, forecast.tokens) == (done.examples, done.tokens)


def test_a_longer_training_is_forecast_to_take_longer(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that takes 2 s, 4 of 12 alike examples in it: 3 steps an epoch, 6 s."""
    from fireact_nb.learning import training

    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    alike = [Trajectory(**{**vars(BOOKS[0]), "question_id": f"q{n}"}) for n in range(12)]
    for epochs in (1, 5):
        recipe = Recipe(**{**vars(RECIPE), "kind": "lora", "epochs": epochs})
        assert forecast_training(base, alike, recipe).seconds == pytest.approx(6.0 * epochs)


def test_a_forecast_in_words() -> None:
    forecast = TrainingForecast(734, 1_234_567, 276, 0.35, 14.96, 200.0)
    assert str(forecast) == (
        "734 trajectories, 1,234,567 tokens in 276 steps: about 3.3 minutes (one step timed), "
        "0.3 of 15.0 GiB"
    )


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_timing_a_step_changes_no_weight(kind: str, base: Path) -> None:
    import torch

    from fireact_nb.learning import training

    recipe = Recipe(**{**vars(RECIPE), "kind": kind})
    network, tokenizer = training.prepare(base, recipe)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    mode = network.training
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    examples = [encode(t, tokenizer) for t in BOOKS]
    training._forecast(network, tokenizer, examples, base, recipe)
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
    recipe = Recipe(**{**vars(RECIPE), "kind": kind, "epochs": 2, "dropout": 0.2})
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


KILLED = """
import sys
from test_training import BOOKS, LONG
from fireact_nb.learning.training import fine_tune
fine_tune(sys.argv[1], BOOKS, sys.argv[2], LONG, progress=False)
"""
LONG = Recipe(**{**vars(RECIPE), "kind": "lora", "epochs": 30, "rate": 1e-3})


def kill_after_a_checkpoint(base: Path, folder: Path) -> int:
    """Train in a process of its own, kill it, and return the last complete checkpoint's step."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(base), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(folder.glob("checkpoints/*/trainer_state.json")):
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    states = folder.glob("checkpoints/*/trainer_state.json")
    return max(int(state.parent.name.split("-")[1]) for state in states)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import Trainer

    reached = kill_after_a_checkpoint(base, tmp_path / "killed")
    assert 0 < reached < 90
    torn = tmp_path / "killed" / "checkpoints" / "checkpoint-89"
    torn.mkdir()  # as a kill in the middle of saving leaves it

    steps: list[int] = []
    step = Trainer.training_step

    def counted(self: Trainer, *arguments: Any, **options: Any) -> Any:
        steps.append(self.state.global_step)
        return step(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "training_step", counted)
    done = fine_tune(base, BOOKS, tmp_path / "killed", LONG, progress=False)
    assert steps == list(range(reached, 90)), "it did not go on where it stopped"
    assert [s for s, _ in done.losses] == [1, *range(5, 91, 5)]
    assert not (tmp_path / "killed" / "checkpoints").exists()

    calm = fine_tune(base, BOOKS, tmp_path / "calm", LONG, progress=False)
    since = reached // 5 + 2  # the mean that was cut short by the kill is over fewer steps
    assert dict(calm.losses[since:]) == pytest.approx(dict(done.losses[since:]), rel=1e-3)
    for name, weight in load_file(calm.folder / "adapter_model.safetensors").items():
        resumed = load_file(done.folder / "adapter_model.safetensors")[name]
        torch.testing.assert_close(resumed, weight, atol=1e-4, rtol=1e-3)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_of_another_recipe_is_not_gone_on_with(base: Path, tmp_path: Path) -> None:
    kill_after_a_checkpoint(base, tmp_path / "a")
    other = Recipe(**{**vars(RECIPE), "rank": 2, "epochs": 1})
    done = fine_tune(base, BOOKS, tmp_path / "a", other, progress=False)
    fresh = fine_tune(base, BOOKS, tmp_path / "b", other, progress=False)
    assert done.losses == fresh.losses and done.losses


def test_a_finished_folder_is_trained_anew(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(**{**vars(RECIPE), "kind": "lora", "epochs": 2})
    first = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    again = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    assert again.losses == first.losses and again.losses


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_too_little_memory_is_told_before_the_start(
    kind: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    recipe = Recipe(**{**vars(RECIPE), "kind": kind})
    with pytest.raises(FireActError, match=rf"base by {kind} needs .* are free\. Use"):
        fine_tune(base, BOOKS, tmp_path / "a", recipe)
    assert not (tmp_path / "a").exists()


def test_nothing_to_train_on_is_told(base: Path, tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="no trajectory to train on.*success filter"):
        fine_tune(base, [], tmp_path / "a")
    assert not (tmp_path / "a").exists()
