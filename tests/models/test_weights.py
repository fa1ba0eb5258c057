"""Folders of weights: what loads, under which name, and what cannot be used says why."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from tiny import QUESTIONS, ask, same, tiny_chat, tiny_model

from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.models.local import LocalChat
from fireact_nb.models.weights import load_base, load_tokenizer


def together(chat, requests):
    return [same(reply) for reply in chat.reply(requests)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A saved model and a LoRA adapter that changes what it says."""
    import peft

    root = tmp_path_factory.mktemp("models")
    model, tokenizer = tiny_model()
    model.save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    lora = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(model, lora).save_pretrained(root / "adapter")
    return root


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_folders_load_and_their_name_holds_the_weights(folders):
    requests = [ask(question) for question in QUESTIONS]
    chat, base = tiny_chat(), LocalChat(folders / "model")
    tuned = LocalChat(str(folders / "model"), folders / "adapter")
    assert together(base, requests) == together(chat, requests)
    assert together(tuned, requests) != together(chat, requests)
    assert base.name.startswith("model@") and tuned.name.startswith(base.name + "+adapter@")
    assert base.endpoint == "local"


def half(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def pointer(file):
    file.write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")


def another_layer(file):
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "num_hidden_layers": 3}), encoding="utf-8")


BROKEN = [
    ("model", "model.safetensors", half, "could not be loaded"),
    ("model", "model.safetensors", pointer, "could not be loaded"),
    ("model", "model.safetensors", Path.unlink, "model.safetensors"),
    ("model", "config.json", Path.unlink, "config.json"),
    ("model", "config.json", another_layer, r"lack model\.layers\.2"),
    ("model", "tokenizer.json", Path.unlink, "tokenizer.json"),
    ("model", "chat_template.jinja", Path.unlink, "chat template"),
    ("adapter", "adapter_config.json", Path.unlink, "adapter_config.json is missing"),
    ("adapter", "adapter_config.json", pointer, "could not be put on"),
    ("adapter", "adapter_model.safetensors", half, "could not be put on"),
    ("adapter", "adapter_model.safetensors", Path.unlink, "could not be put on"),
    ("adapter", "recipe.json", pointer, "could not be put on"),
]


@pytest.mark.parametrize(("part", "file", "breaks", "says"), BROKEN)
def test_broken_folder_is_named(folders, tmp_path, part, file, breaks, says):
    places = {name: folders / name for name in ("model", "adapter")}
    places[part] = tmp_path / "broken"
    shutil.copytree(folders / part, places[part])
    breaks(places[part] / file)
    with pytest.raises(FireActError, match=says) as caught:
        LocalChat(places["model"], places["adapter"] if part == "adapter" else None)
    assert "broken" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [str, Path])
def test_missing_folder_is_named(tmp_path, folders, kind):
    missing = kind(tmp_path / "nowhere")
    with pytest.raises(FireActError, match="no model folder .*nowhere"):
        LocalChat(missing)
    with pytest.raises(FireActError, match="no LoRA adapter in .*nowhere"):
        LocalChat(folders / "model", missing)


def test_adapter_of_another_model_is_refused(folders, tmp_path):
    model, tokenizer = tiny_model(hidden_size=64)
    model.save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    with pytest.raises(FireActError, match="adapter could not be put on the model .*wide"):
        LocalChat(tmp_path / "wide", folders / "adapter")


def test_a_quantised_model_is_off_by_a_tenth_at_most():
    exact, _ = load_base(DATA / "models" / "student")
    rounded = load_base(DATA / "models" / "student", quantized=True)[0].dequantize()
    before = dict(exact.named_parameters())
    for name, weight in rounded.named_parameters():
        lost = (weight - before[name]).norm() / before[name].norm()
        assert lost < 0.1, f"{name} is off by {lost:.0%}"
        assert (lost > 0.08) == name.endswith("proj.weight")


# -- code in a model folder ---------------------------------------------------------------------

STRANGE = {"AutoConfig": "strange.Config", "AutoModelForCausalLM": "strange.Model"}


def add(file, **settings):
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **settings}), "utf-8")


def of_an_unknown_kind(folder):
    add(folder / "config.json", model_type="strange", auto_map=STRANGE)


def of_a_known_kind(folder):
    add(folder / "config.json", auto_map=STRANGE)


def with_a_tokenizer_of_its_own(folder):
    add(folder / "tokenizer_config.json", tokenizer_class="Strange",
        auto_map={"AutoTokenizer": ["strange.Strange", None]})  # fmt: skip


def with_a_generate_of_its_own(folder):
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "strange.py", folder / "custom_generate" / "generate.py")


@pytest.mark.parametrize("load", [load_base, load_tokenizer, LocalChat])
@pytest.mark.parametrize(
    "tries",
    [of_an_unknown_kind, of_a_known_kind, with_a_tokenizer_of_its_own, with_a_generate_of_its_own],
)
def test_no_code_of_a_model_folder_runs_though_standard_input_says_yes(
    folders, tmp_path, monkeypatch, tries, load
):
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(folders / "model", folder)
    (folder / "strange.py").write_text(f"open({str(ran)!r}, 'w').close()\n", "utf-8")
    tries(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    unknown = tries is of_an_unknown_kind and load is not load_tokenizer
    if unknown or tries is with_a_tokenizer_of_its_own:
        with pytest.raises(FireActError, match="code of its own .*never run here.* Use") as caught:
            load(folder)
        assert str(folder) in str(caught.value) and "trust_remote_code" not in str(caught.value)
    else:  # transformers has its own code for the rest
        assert load(folder)
    assert sys.stdin.tell() == 0, "it was asked for"
    assert not ran.exists(), "it was run"
