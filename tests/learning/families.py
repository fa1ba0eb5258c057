"""Families of chat models: their real templates, and what of a conversation must carry loss.

The templates are those that trl carries; three that it lacks are written out, as their models ship
them. The tokens are added to the shipped tokenizer under the names they have in the models' own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NO_THOUGHT = "<think>\n\n</think>\n\n"
_LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set told = '<<SYS>>\\n' + messages[0]['content'] "
    "+ '\\n<</SYS>>\\n\\n' %}{% set rest = messages[1:] %}{% else %}{% set told = '' %}"
    "{% set rest = messages %}{% endif %}{% for m in rest %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + (told if loop.first else '') + "
    "m['content'].strip() + ' [/INST]' }}{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token "
    "}}{% endif %}{% endfor %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{% endfor %}"
)
_ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + eos_token + '\\n' }}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{% endfor %}"
)
_WRITTEN = {"llama2": _LLAMA_2, "mistral_v1": _MISTRAL, "zephyr": _ZEPHYR}


@dataclass(frozen=True)
class Family:
    """A template, the tokens it writes, and what must be learnt.

    end: what closes an agent's turn and is learnt; "" where the template must be refused.
    scaffold: what stands before an answer and before no earlier turn of the same conversation.
    first: what the loss begins with besides the agent's words.
    """

    tokens: str
    end: str
    system: bool = True
    scaffold: str = ""
    first: str = ""


_CHATML = "<|endoftext|> <|im_start|> <|im_end|> <think> </think> <tool_call> </tool_call>"
_LLAMA_3 = "<|end_of_text|> <|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|>"
_GEMMA = "<eos> <bos> <start_of_turn> <end_of_turn>"
_GEMMA_4 = "<eos> <bos> <|turn> <turn|> <|channel> <channel|>"
_PHI = "<|endoftext|> <|user|> <|assistant|> <|system|> <|end|>"
_DEEPSEEK = (
    "<｜end▁of▁sentence｜> <｜begin▁of▁sentence｜> <｜User｜> <｜Assistant｜> <think> </think>"
)
_COHERE = (
    "<|END_OF_TURN_TOKEN|> <BOS_TOKEN> <|START_OF_TURN_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|> "
    "<|SYSTEM_TOKEN|> <|START_RESPONSE|> <|END_RESPONSE|>"
)
_LFM = "<|im_end|> <|startoftext|> <|im_start|>"
_LLAMA_2_TOKENS = "</s> <s>"
# The first token is the tokenizer's own end, the second its beginning.
FAMILIES: dict[str, Family] = {
    "llama2": Family(_LLAMA_2_TOKENS, " </s>"),  # CodeLlama too
    "mistral_v1": Family(_LLAMA_2_TOKENS, "</s>", system=False),
    "zephyr": Family(_LLAMA_2_TOKENS, "</s>"),
    "llama3": Family(_LLAMA_3, "<|eot_id|>"),
    "llama3_1": Family(_LLAMA_3, "<|eot_id|>"),
    "llama3_2": Family(_LLAMA_3, "<|eot_id|>"),
    "qwen2_5": Family(_CHATML, "<|im_end|>"),
    "qwen3": Family(_CHATML, "<|im_end|>", scaffold=NO_THOUGHT),
    "qwen3_training": Family(_CHATML, "<|im_end|>", first=NO_THOUGHT),
    "qwen3_instruct_2507": Family(_CHATML, "<|im_end|>"),
    "qwen3_instruct_2507_training": Family(_CHATML, "<|im_end|>"),
    "qwen3_5_think": Family(_CHATML, "<|im_end|>", scaffold=NO_THOUGHT),
    "qwen3_5_nothink": Family(_CHATML, "<|im_end|>", scaffold=NO_THOUGHT),
    "qwen3_6": Family(_CHATML, "<|im_end|>", scaffold=NO_THOUGHT),
    "qwen3_8": Family(_CHATML, "<|im_end|>"),
    "gemma": Family(_GEMMA, "<end_of_turn>", system=False),
    "gemma3": Family(_GEMMA, "<end_of_turn>"),
    "gemma4_v5": Family(_GEMMA_4, "<turn|>"),
    "phi3": Family(_PHI, "<|end|>"),
    "phi3_5": Family(_PHI, "<|end|>"),
    "lfm2_v2": Family(_LFM, "<|im_end|>"),
    "lfm2_2_5_v2": Family(_LFM, "<|im_end|>"),
    "deepseek_r1_distill": Family(_DEEPSEEK, "<｜end▁of▁sentence｜>"),
    "deepseekv3": Family(_DEEPSEEK, "<｜end▁of▁sentence｜>"),
    "cohere": Family(_COHERE, "<|END_OF_TURN_TOKEN|>"),
    "cohere2": Family(_COHERE, "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"),
    "nemotron_3_nano": Family(_CHATML, "<|im_end|>"),
    "muse_glimmer": Family("<|eot|> <|bos|> <|start|> <|message|>", "<|eot|>"),
    # The next role's marker closes a turn; two tokens do; pictures alone are read.
    "glm4moe": Family("<|endoftext|> [gMASK] <sop> <|user|> <|assistant|> <|observation|>", ""),
    "gptoss": Family("<|return|> <|startoftext|> <|start|> <|end|> <|message|> <|channel|>", ""),
    "smolvlm": Family("<end_of_utterance> <|im_start|>", ""),
    "idefics3": Family("<end_of_utterance> <|begin_of_text|>", ""),
    "llava_next": Family(_LLAMA_2_TOKENS, ""),
}


def make_tokenizer(name: str, shipped: Any) -> Any:
    """The shipped tokenizer with a family's tokens and its template."""
    from transformers import AddedToken

    tokens = FAMILIES[name].tokens.split()
    tokenizer = copy.deepcopy(shipped)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in tokens])
    tokenizer.eos_token, tokenizer.bos_token = tokens[:2]
    tokenizer.chat_template = _WRITTEN.get(name) or _carried(name)
    return tokenizer


def _carried(name: str) -> str:
    found = find_spec("trl")
    assert found and found.origin
    path = Path(found.origin).parent / "chat_templates" / f"{name}.jinja"
    return path.read_text(encoding="utf-8")
