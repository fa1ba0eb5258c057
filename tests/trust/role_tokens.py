"""The role tokens of chat models, family by family, and a short template that uses them.

Names as in the models' own tokenizers; the templates are cut down to turns of a user and an agent.
"""

from __future__ import annotations


def turns(user: str, agent: str, end: str, begin: str = "") -> str:
    """A chat template of two roles, in Jinja."""
    return (
        f"{begin}{{% for m in messages %}}{{% if m.role == 'assistant' %}}{agent}"
        f"{{% else %}}{user}{{% endif %}}{{{{ m.content }}}}{end}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{agent}{{% endif %}}"
    )


def headed(begin: str, end: str) -> tuple[str, str]:
    return f"{begin}user{end}", f"{begin}assistant{end}"


FAMILIES: dict[str, tuple[list[str], str]] = {
    "chatml, qwen": (
        ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</tool_call>",
         "<tool_response>", "</tool_response>", "<think>", "</think>", "<|fim_prefix|>"],
        turns(*headed("<|im_start|>", "\n"), "<|im_end|>\n"),
    ),
    "llama 2": (
        ["<s>", "</s>", "<unk>"],  # [INST] and <<SYS>> are plain text there
        turns("<s>[INST] ", " [/INST] ", " </s>"),
    ),
    "llama 3": (
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
         "<|eot_id|>", "<|eom_id|>", "<|python_tag|>", "<|finetune_right_pad_id|>",
         "<|reserved_special_token_0|>"],
        turns(*headed("<|start_header_id|>", "<|end_header_id|>\n\n"), "<|eot_id|>",
              "<|begin_of_text|>"),
    ),
    "llama 4": (
        ["<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|image_start|>"],
        turns(*headed("<|header_start|>", "<|header_end|>\n\n"), "<|eot|>"),
    ),
    "mistral v3": (
        ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]",
         "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]",
         "[/SYSTEM_PROMPT]", "[ARGS]", "[THINK]"],
        turns("[INST]", "[/INST]", "</s>", "<s>"),
    ),
    "gemma": (
        ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<unused0>"],
        turns("<start_of_turn>user\n", "<start_of_turn>model\n", "<end_of_turn>\n", "<bos>"),
    ),
    "gemma 4": (
        ["<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>"],
        turns("<|turn>user\n", "<|turn>model\n", "<turn|>\n", "<bos>"),
    ),
    "phi": (
        ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>", "<|im_sep|>"],
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    "deepseek": (
        ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
         "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
         "<think>", "</think>", "<|EOT|>"],
        turns("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"),
    ),
    "glm": (
        ["[gMASK]", "<sop>", "<eop>", "<|user|>", "<|assistant|>", "<|system|>", "<|observation|>",
         "<|endoftext|>", "<tool_call>", "<arg_key>", "<arg_value>", "/nothink"],
        turns("<|user|>\n", "<|assistant|>\n", "", "[gMASK]<sop>"),
    ),
    "command r": (
        ["<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
         "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"],
        turns("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
              "<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>"),
    ),
    "granite": (
        ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>"],
        turns(*headed("<|start_of_role|>", "<|end_of_role|>"), "<|end_of_text|>\n"),
    ),
    "gpt-oss": (
        ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>",
         "<|call|>", "<|startoftext|>"],
        turns("<|start|>user<|message|>", "<|start|>assistant<|channel|>final<|message|>",
              "<|end|>"),
    ),
    "kimi": (
        ["<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|im_end|>", "[BOS]",
         "[EOS]", "<|tool_calls_section_begin|>"],
        turns("<|im_user|>user<|im_middle|>", "<|im_assistant|>assistant<|im_middle|>",
              "<|im_end|>"),
    ),
}  # fmt: skip
