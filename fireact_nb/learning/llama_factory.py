"""Trains what `fireact-nb export llamafactory` wrote; a copy of this file lies beside it.

Runs in LLaMA-Factory's environment: python train.py. Its named templates, and the one it guesses,
may write a conversation in other tokens than this project does (it guesses a first token for every
turn). So the first that writes the checked rows in the same tokens is taken, else one of the
model's own pieces; if not even that does, nothing is trained. Imports nothing of this project.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> int:
    from llamafactory.train.tuner import run_exp

    lines = (HERE / "train.yaml").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(": ", 1) for line in lines)
    model = json.loads(settings["model_name_or_path"])
    name = choose_template(model)
    if name is None:
        print(
            "No template writes the checked rows in the tokens of this project. A model trained on "
            "others would be played otherwise than it was taught. Nothing was trained.",
            file=sys.stderr,
        )
        return 1
    print(f"template {name}: the same tokens on every checked row", flush=True)
    settings["template"] = json.dumps(name)
    chosen = HERE / "chosen.yaml"
    chosen.write_text("".join(f"{k}: {v}\n" for k, v in settings.items()), encoding="utf-8")
    sys.argv = [sys.argv[0], str(chosen)]
    run_exp()
    return 0


def choose_template(model: str) -> str | None:
    """The name of a template that writes the rows of expected.json as they stand there."""
    from llamafactory.data.formatter import EmptyFormatter, StringFormatter
    from llamafactory.data.template import TEMPLATES, register_template
    from transformers import AutoTokenizer

    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    rows = json.loads((HERE / "fireact.json").read_text(encoding="utf-8"))
    pieces = expected["pieces"]
    system = pieces["system"] or ["", ""]
    user = pieces["user"] + "{{content}}" + pieces["ask"]
    said = pieces["lead"] + "{{content}}" + pieces["end"] + pieces["space"]
    register_template(
        name="fireact",
        format_prefix=EmptyFormatter(slots=[pieces["first"]]),
        format_user=StringFormatter(slots=[user]),
        format_observation=StringFormatter(slots=[user]),
        format_assistant=StringFormatter(slots=[said]),
        format_system=StringFormatter(slots=["{{content}}".join(system)]),
    )
    for name, template in sorted(TEMPLATES.items(), key=lambda item: item[0] == "fireact"):
        tokenizer = AutoTokenizer.from_pretrained(model)  # a template may change it
        checked = zip(rows, expected["input_ids"], strict=False)
        if all(write(template, tokenizer, row["messages"]) == ids for row, ids in checked):
            return str(name)
    return None


def write(template: Any, tokenizer: Any, messages: list[dict[str, str]]) -> list[int] | None:
    """The tokens of a conversation as LLaMA-Factory trains on them; None where it cannot."""
    try:
        template.fix_special_tokens(tokenizer)
        pairs = template.encode_multiturn(tokenizer, messages)
    except Exception:  # a template for other kinds of conversations
        return None
    return [token for asked, said in pairs for token in (*asked, *said)]


if __name__ == "__main__":
    sys.exit(main())
