"""The study as tables: ours beside the paper's, and whether each effect of the paper shows.

Reads outcomes and the paper's numbers; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

from ..agent.search import NORMAL
from ..agent.tasks import TASKS
from ..analysis.figures import Picture, plot_scores, with_alt
from ..analysis.outcomes import Outcome
from ..analysis.selection import (
    best_fixed,
    oracle_beyond_samples,
    oracle_choice,
    pass_at_k,
    random_choice,
)
from ..analysis.statistics import paired_difference
from . import paper
from .grid import MAIN, MIXES, NOISE, SIZES, STUDENTS, TEMPERATURE, UNFILTERED, prompted, tuned
from .results import Claim, Line, Outcomes, Table, common_seeds, same_questions, same_seeds


def study_tables(rows: Iterable[Outcome], costs: Iterable[Mapping[str, Any]] = ()) -> list[Table]:
    """Every table and figure of the paper, from the study's outcomes and costs."""
    outcomes = Outcomes(rows, costs)
    return [table for make in TABLES for table in make(outcomes)]


_METHODS = {"io": "IO", "cot": "CoT", "react": "ReAct", "reflexion": "Reflexion"}
_BEFORE = {"cot": "io", "react": "cot", "reflexion": "react"}  # what each method is compared with


def table_prompting(o: Outcomes) -> list[Table]:
    """Table 1: IO, CoT and ReAct prompting; of the teacher Reflexion, too."""
    lines, claims = [], []
    for model in ("teacher", *STUDENTS):
        theirs = paper.PROMPTING.get({"teacher": "GPT-4", MAIN: "GPT-3.5"}.get(model, ""), {})
        for method, word in _METHODS.items():
            if method == "reflexion" and model != "teacher":
                continue
            rows, before = o.of(prompted(model, method)), _BEFORE.get(method)
            lines.append(o.line(f"{model}, {word}", rows, theirs.get(method)))
            if before:
                difference = paired_difference(o.of(prompted(model, before)), rows)
                gain = theirs[method] - theirs[before] if method in theirs else None
                text = f"{model}: {word} minus {_METHODS[before]}"
                claims.append(Claim(text, gain, difference))
    source = "paper, Table 1: the teacher beside GPT-4, the main student beside GPT-3.5"
    return [Table("Prompting: IO, CoT, ReAct", source, tuple(lines), tuple(claims))]


def table_tuning(o: Outcomes) -> list[Table]:
    """Table 2: prompted against fine-tuned, with what a question costs."""
    lines, claims = [], []
    for model in STUDENTS:
        before, after = o.of(prompted(model, "react")), o.of(tuned(model, "react"))
        theirs = paper.TUNING[paper.COUNTERPARTS[model]]
        base, gained = (fmean(x.correct for x in rows) for rows in (before, after))
        gain = f"{gained / base - 1:+.0%}" if base else "from nothing"
        lines += [
            o.line(f"{model}, prompted", before, theirs[0], _cost(before)),
            o.line(
                f"{model}, fine-tuned",
                after,
                theirs[1],
                f"{gain} (paper {theirs[1] / theirs[0] - 1:+.0%}); {_cost(after)}",
            ),
        ]
        claims.append(
            Claim(
                f"{model}: fine-tuned minus prompted",
                theirs[1] - theirs[0],
                paired_difference(before, after),
            )
        )
    source = "paper, Table 2: beside Llama-2 7B and 13B, CodeLlama 7B and 13B"
    return [Table("ReAct prompted and fine-tuned on 500 trajectories", source, tuple(lines),
                  tuple(claims))]  # fmt: skip


def draw_tuning(rows: Iterable[Outcome], origin: str) -> Picture:
    """Table 2 as a picture: each student prompted, and fine-tuned without any example."""
    o = Outcomes(rows)
    scores = []
    for model in STUDENTS:
        for label, agent in (
            (f"{model}, prompted", prompted(model, "react")),
            (f"{model}, fine-tuned", tuned(model, "react")),
        ):
            line = o.line(label, o.of(agent))
            scores.append((label, line.ours, origin, line.n))
    title = "Four students, prompted with 2 examples and fine-tuned without any"
    return with_alt(plot_scores(scores, title))


def _cost(rows: Sequence[Outcome]) -> str:
    prompt = fmean(o.prompt_tokens for o in rows)
    return (
        f"{prompt:,.0f} prompt tokens, {fmean(o.rounds for o in rows):.1f} rounds, "
        f"{fmean(o.seconds for o in rows):.2f} s a question"
    )


def table_robustness(o: Outcomes) -> list[Table]:
    """Table 3: cost, a noisy tool and Bamboogle, prompted and fine-tuned."""
    few, react, both = prompted(MAIN, "react"), tuned(MAIN, "react"), tuned(MAIN, "react+cot")
    lines, claims = [], []
    places = [(str(condition), "hotpotqa", condition) for condition in (NORMAL, *NOISE)]
    for title, task, condition in (*places, ("bamboogle", "bamboogle", NORMAL)):
        theirs = paper.ROBUSTNESS[title]
        for label, agent, value in (
            ("prompted", few, theirs[0]),
            ("fine-tuned on ReAct", react, theirs[1]),
            ("fine-tuned on ReAct + CoT", both, None),
        ):
            rows = same_seeds(o.of(agent, task, condition))
            lines.append(o.line(f"{title}: {label}", rows, value, _cost(rows)))
        claims.append(
            Claim(
                f"{title}: fine-tuned minus prompted",
                theirs[1] - theirs[0],
                paired_difference(
                    o.of(few, task, condition), same_seeds(o.of(react, task, condition))
                ),
            )
        )
    calm = paper.ROBUSTNESS["normal"]
    for condition in NOISE:
        rough = paper.ROBUSTNESS[str(condition)]
        claims += [
            Claim(
                f"{label}: {condition} minus normal",
                value,
                paired_difference(
                    *same_questions(
                        same_seeds(o.of(agent)), same_seeds(o.of(agent, "hotpotqa", condition))
                    )
                ),
            )
            for label, agent, value in (
                ("prompted", few, rough[0] - calm[0]),
                ("fine-tuned on ReAct", react, rough[1] - calm[1]),
                ("fine-tuned on ReAct + CoT", both, None),
            )
        ]
    source = f"paper, Table 3: {MAIN} beside GPT-3.5"
    return [Table("A tool that fails half of the time, and another task", source, tuple(lines),
                  tuple(claims))]  # fmt: skip


def table_kinds(o: Outcomes) -> list[Table]:
    """LoRA, QLoRA and full fine-tuning."""
    agents = {"LoRA": tuned(MAIN, "react"), "QLoRA (NF4)": tuned(MAIN, "react", "qlora"),
              "full": tuned(MAIN, "react", "full")}  # fmt: skip
    rows = {name: same_seeds(o.of(agent)) for name, agent in agents.items()}
    theirs = dict(zip(("LoRA", "full"), paper.LORA_AND_FULL, strict=True))
    lines = tuple(
        o.line(name, rows[name], theirs.get(name), o.training(agent))
        for name, agent in agents.items()
    )
    claims = (
        Claim("full minus LoRA", paper.LORA_AND_FULL[1] - paper.LORA_AND_FULL[0],
              paired_difference(rows["LoRA"], rows["full"])),
        Claim("QLoRA minus LoRA", None, paired_difference(rows["LoRA"], rows["QLoRA (NF4)"])),
    )  # fmt: skip
    return [Table("LoRA, QLoRA and full fine-tuning",
                  "paper: Llama-2-7B, LoRA 26.2 and full 30.2", lines, claims)]  # fmt: skip


def table_scaling(o: Outcomes) -> list[Table]:
    """Figure 3: how many trajectories are enough."""
    rows = {n: same_seeds(o.of(tuned(MAIN, "react", count=n))) for n in SIZES}
    lines = tuple(o.line(f"{n} trajectories", rows[n], paper.SCALING.get(n)) for n in SIZES)
    claims = tuple(
        Claim(f"{b} minus {a} trajectories", None, paired_difference(rows[a], rows[b]))
        for a, b in pairwise(SIZES)
    )
    return [Table("Data scaling", "paper, Figure 3, read off coarsely: GPT-3.5 near 35 at 100, "
                  "little gain past 200; Llama needs more", lines, claims)]  # fmt: skip


def table_mixes(o: Outcomes) -> list[Table]:
    """Table 4 and Figure 4: methods mixed, for each student."""
    tables = []
    for model in STUDENTS:
        rows = {mix: o.of(tuned(model, mix)) for mix in MIXES}
        main = model == MAIN
        lines = tuple(
            o.line(mix, rows[mix], paper.MIXES[mix][0] if main else None,
                   _rounds(rows[mix], paper.MIXES[mix][1:] if main else None))
            for mix in MIXES
        )  # fmt: skip
        claims = []
        for mix in ("react+cot", "react+reflexion", "all"):
            gain = paper.MIXES[mix][0] - paper.MIXES["react"][0] if main else None
            sign = 0
            if not main and mix == "react+cot":
                sign = 1 if paper.COT_HELPS[paper.COUNTERPARTS[model]] else -1
            difference = paired_difference(*common_seeds(rows["react"], rows[mix]))
            claims.append(Claim(f"{model}: {mix} minus react", gain, difference, sign))
        source = (
            f"paper, Table 4: {model} beside GPT-3.5"
            if main
            else f"paper, Figure 4, direction only: {model} beside {paper.COUNTERPARTS[model]}"
        )
        tables.append(Table(f"Mixing methods: {model}", source, lines, tuple(claims)))
    return tables


def _rounds(rows: Sequence[Outcome], theirs: Sequence[float] | None) -> str:
    rounds = [o.rounds for o in rows]
    text = f"rounds {fmean(rounds):.1f}, sd {pstdev(rounds):.1f}"
    return text + (f" (paper {theirs[0]}, {theirs[1]})" if theirs else "")


def table_selection(o: Outcomes) -> list[Table]:
    """Table 4's last rows: random and oracle choice, beside the control of repeated tries."""
    tables = []
    pools = {
        "teacher, prompted by CoT, ReAct and Reflexion": (
            {m: o.of(prompted("teacher", m)) for m in ("cot", "react", "reflexion")},
            o.of(prompted("teacher", "react"), sampled=True),
        ),
        f"{MAIN}, fine-tuned on ReAct, on CoT and on Reflexion": (
            {
                m: o.of(tuned(MAIN, m), seed=0)
                for m in ("react", "cot", "reflexion")
            },
            o.of(tuned(MAIN, "react"), sampled=True),
        ),
    }  # fmt: skip
    for name, (every, samples) in pools.items():
        asked = {o.question_id for o in samples}
        pool = {m: [o for o in rows if o.question_id in asked] for m, rows in every.items()}
        n = len(asked)
        best, value = best_fixed(pool)
        k = len(pool)
        lines = (
            Line("random choice", random_choice(pool), n, (), paper.RANDOM_CHOICE),
            Line(f"best fixed: {best}", value, n, (), paper.MIXES["react+cot"][0],
                 "the paper's is the agent's own, implicit choice (ReAct + CoT)"),
            Line("oracle choice", oracle_choice(pool), n, (), paper.ORACLE_CHOICE),
            Line(f"pass@1 of ReAct, temperature {TEMPERATURE}", pass_at_k(samples, 1), n, ()),
            Line(f"pass@{k} of ReAct, temperature {TEMPERATURE}", pass_at_k(samples, k), n, ()),
        )  # fmt: skip
        claims = (
            Claim(f"{name.split(',')[0]}: oracle over {k} methods minus pass@{k} of one", None,
                  oracle_beyond_samples(pool, samples)),
        )  # fmt: skip
        source = "paper, Table 4; what its oracle chooses from is not known to us"
        tables.append(Table(f"Choosing the method: {name}", source, lines, claims))
    return tables


def table_tasks(o: Outcomes) -> list[Table]:
    """Table 5: multi-task training, with IO prompting as a row."""
    agents = {
        "io prompting": prompted(MAIN, "io"),
        "react prompting": prompted(MAIN, "react"),
        "hotpotqa only": tuned(MAIN, "react"),
        "multi-task": tuned(MAIN, "multi-task"),
        "multi-task + cot": tuned(MAIN, "multi-task + cot"),
    }
    rows = {(name, task): same_seeds(o.of(agent, task))
            for name, agent in agents.items() for task in TASKS}  # fmt: skip
    lines = tuple(
        o.line(f"{task}: {name}", rows[name, task],
               paper.MULTI_TASK.get(name, {}).get(task), _rounds(rows[name, task], None))
        for task in TASKS for name in agents
    )  # fmt: skip
    pairs = (("hotpotqa only", "multi-task"), ("multi-task", "multi-task + cot"),
             ("io prompting", "multi-task + cot"))  # fmt: skip
    claims = []
    for task in TASKS:
        for before, after in pairs:
            old, new = (paper.MULTI_TASK.get(name, {}).get(task) for name in (before, after))
            gain = None if old is None or new is None else new - old
            claims.append(
                # Equal numbers of the paper, rounded as they are, say no direction.
                Claim(f"{task}: {after} minus {before}", gain or None,
                      paired_difference(rows[before, task], rows[after, task]))
            )  # fmt: skip
    source = f"paper, Table 5: {MAIN} beside GPT-3.5"
    return [Table("Several tasks at once", source, lines, tuple(claims))]


def table_masks(o: Outcomes) -> list[Table]:
    """What carries loss, and whether failures are filtered out."""
    agents = {
        "loss on the agent's words, failures filtered": tuned(MAIN, "react"),
        "loss on observations too": tuned(MAIN, "react", "mask all turns"),
        "loss on everything": tuned(MAIN, "react", "mask off"),
        "failures kept": tuned(MAIN, "react", UNFILTERED),
    }
    rows = {name: same_seeds(o.of(agent)) for name, agent in agents.items()}
    plain, *others = agents
    lines = tuple(o.line(name, rows[name]) for name in agents)
    claims = tuple(
        Claim(f"{name} minus the standard", None, paired_difference(rows[plain], rows[name]))
        for name in others
    )
    source = (
        "no table in the paper: its agents' training put loss on observations, and 40 of the 734 "
        "released trajectories are failures"
    )
    return [Table("Masks and failures", source, lines, claims)]


TABLES = (
    table_prompting,
    table_tuning,
    table_robustness,
    table_kinds,
    table_scaling,
    table_mixes,
    table_selection,
    table_tasks,
    table_masks,
)
