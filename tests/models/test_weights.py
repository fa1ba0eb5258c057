"""Folders of weights: what loads, under which name, and what cannot be used says why."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from tiny import QUESTIONS, ask, same, tiny_chat, tiny_model

from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.models.adapters import merge_adapter, pull_adapter, push_adapter
from fireact_nb.models.local import LocalChat
from fireact_nb.models.weights import describe, load_base, load_tokenizer


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


@pytest.mark.parametrize("name", ["studnet", "data/modls/student", "./x", "a/b/c", r"..\\x", ""])
@pytest.mark.parametrize("load", [load_base, load_tokenizer])
def test_what_can_be_a_misspelt_folder_is_asked_of_no_hub(name, load, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("asked a hub"))
    monkeypatch.chdir(DATA.parent)
    with pytest.raises(FireActError, match="no model folder .*owner/model"):
        load(name)


# -- adapters and weights that do not fit ---------------------------------------------------------


def weights_of(folder):
    return next(folder.glob("*.safetensors"))


def change(edit):
    def changed(folder):
        from safetensors.torch import load_file, save_file

        save_file(edit(load_file(weights_of(folder))), weights_of(folder), {"format": "pt"})

    return changed


def first_of(weights):
    return min(name for name in weights if "q_proj" in name)


def renamed(weights):
    return {name.replace("q_proj", "query"): w for name, w in weights.items()}


def lacking(weights):
    return {name: w for name, w in weights.items() if name != first_of(weights)}


def with_more(weights):
    return weights | {
        first_of(weights).replace("layers.0", "layers.7"): weights[first_of(weights)] * 2
    }


def not_numbers(weights):
    weights[first_of(weights)][0, 0] = float("nan")
    return weights


def pickled(folder):
    import torch

    torch.save({"a": torch.zeros(1)}, folder / weights_of(folder).with_suffix(".bin").name)
    weights_of(folder).unlink()


def listed_pickles(folder):
    weights_of(folder).rename(folder / "part.safetensors")
    listed = {"metadata": {}, "weight_map": {"lm_head.weight": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(listed), "utf-8")


def of_another_base(folder):
    recipe = {"kind": "lora", "base": "student@00000000"}
    (folder / "recipe.json").write_text(json.dumps(recipe), "utf-8")


def emptied(folder):
    for file in folder.iterdir():
        file.unlink()


UNFIT = [
    ("adapter", change(renamed), "it lacks .*q_proj"),
    ("adapter", change(lacking), "it lacks .*q_proj"),
    ("adapter", change(with_more), r"no place for .*layers\.7"),
    ("adapter", change(lambda weights: {}), "it lacks"),
    ("adapter", change(not_numbers), "q_proj.* not finite"),
    ("adapter", pickled, "a pickle"),
    ("adapter", of_another_base, "trained on student@00000000 .* which is model@"),
    ("adapter", emptied, "adapter_config.json is missing"),
    ("model", change(not_numbers), "q_proj.* not finite"),
    ("model", pickled, "a pickle"),
    ("model", listed_pickles, "a pickle"),
]


@pytest.mark.parametrize(("part", "breaks", "says"), UNFIT)
def test_what_does_not_fit_is_refused_with_its_reason(
    folders, tmp_path, monkeypatch, recwarn, part, breaks, says
):
    places = {name: folders / name for name in ("model", "adapter")}
    places[part] = tmp_path / "broken"
    shutil.copytree(folders / part, places[part])
    breaks(places[part])
    monkeypatch.setattr("pickle.load", lambda *_: pytest.fail("unpickled"))
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(FireActError, match=says) as caught:
        LocalChat(places["model"], places["adapter"] if part == "adapter" else None)
    assert "broken" in str(caught.value) and "\n" not in str(caught.value)


def test_an_adapter_is_no_model(folders):
    with pytest.raises(FireActError, match="holds an adapter, not a model"):
        load_base(folders / "adapter")


@pytest.mark.parametrize("quantized", [False, True])
def test_weights_that_are_no_numbers_are_refused_at_any_precision(folders, tmp_path, quantized):
    shutil.copytree(folders / "model", tmp_path / "model")
    change(not_numbers)(tmp_path / "model")
    with pytest.raises(FireActError, match="q_proj.* not finite"):
        load_base(tmp_path / "model", quantized)


def test_a_quantised_model_is_off_by_a_tenth_at_most():
    exact, _ = load_base(DATA / "models" / "student")
    rounded = load_base(DATA / "models" / "student", quantized=True)[0].dequantize()
    before = dict(exact.named_parameters())
    for name, weight in rounded.named_parameters():
        lost = (weight - before[name]).norm() / before[name].norm()
        assert lost < 0.1, f"{name} is off by {lost:.0%}"
        assert (lost > 0.08) == name.endswith("proj.weight")


# -- big models in several files ------------------------------------------------------------------


def test_a_model_in_several_files_is_the_same_and_named_by_all_of_them(folders, tmp_path):
    whole, tokenizer = load_base(folders / "model")
    whole.save_pretrained(tmp_path / "parts", max_shard_size="30KB")
    tokenizer.save_pretrained(tmp_path / "parts")
    shards = sorted((tmp_path / "parts").glob("*.safetensors"))
    assert len(shards) > 2
    parts = dict(load_base(tmp_path / "parts")[0].named_parameters())
    assert all(w.equal(parts[name]) for name, w in whole.named_parameters())
    name = describe(tmp_path / "parts")
    assert re.fullmatch(r"parts@[0-9a-f]{8}", name)
    content = bytearray(shards[1].read_bytes())
    content[-1] ^= 1
    shards[1].write_bytes(content)
    assert describe(tmp_path / "parts") != name


# -- adapters ------------------------------------------------------------------------------------


@pytest.fixture
def old_torchao(tmp_path, monkeypatch):
    """As on Colab: torchao 0.10 is there, and peft will not work beside it."""
    from peft.import_utils import is_torchao_available

    (tmp_path / "site" / "torchao").mkdir(parents=True)
    (tmp_path / "site" / "torchao" / "__init__.py").touch()
    about = tmp_path / "site" / "torchao-0.10.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    is_torchao_available.cache_clear()
    yield
    is_torchao_available.cache_clear()


def test_an_old_torchao_is_named_and_no_folder_blamed(folders, old_torchao):
    from fireact_nb.learning.recipe import Recipe, prepare

    for begin in (
        lambda: LocalChat(folders / "model", folders / "adapter"),
        lambda: prepare(folders / "model", Recipe(kind="lora")),
    ):
        with pytest.raises(FireActError, match=r"torchao 0\.10\.0 .*pip install --no-deps") as it:
            begin()
        assert str(folders) not in str(it.value)


def test_an_adapter_is_neither_sent_nor_fetched_over_what_is_there(folders):
    with pytest.raises(FireActError, match="no adapter in .*model"):
        push_adapter(folders / "model", "me/adapter")
    with pytest.raises(FireActError, match="adapter holds an adapter already"):
        pull_adapter("me/adapter", folders / "adapter")
    with pytest.raises(FireActError, match="holds something already"):
        merge_adapter(folders / "model", folders / "adapter", folders / "model")


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
