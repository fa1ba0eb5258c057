"""What somebody who did not write the checks tries: right answers in odd styles, and wrong ones.

By exercise; answers_NN.py holds the typical ones with their messages.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from fractions import Fraction
from functools import reduce
from statistics import NormalDist, fmean, mean, pstdev, stdev
from typing import Any

import answers_01
import answers_02
import answers_03
import answers_04
import answers_05
import answers_06
import answers_07
import answers_08
import numpy
import torch

from fireact_nb.agent.tasks import normalize_answer as norm

ACTION = re.compile(r"^Action:\s*(\w+)\[(.*)\]", re.MULTILINE)


def walk_to_action(turn):
    for line in turn.split("\n"):
        if line.startswith("Action:"):
            cut = line.index("[")
            return line[7:cut].strip(), line[cut + 1 : line.rindex("]")]
    return "none", ""


def scan(turn, pattern, flags=0):
    found = re.search(pattern, turn, flags)
    return found.groups() if found else ("none", "")


def by_pieces(thought):
    found = re.search(r"(?:^|\. )((?:(?!\. ).)+) and ((?:(?!\. ).)+) are (the same|diff)", thought)
    return found is not None and (found[1] != found[2]) == (found[3] == "the same")


def names(thought, pattern=r"([A-Z][\w ]*) and ([A-Z][\w ]*) are (the same|different)", same=None):
    found = re.search(pattern, thought)
    equal = found and (same or str.__eq__)(found[1], found[2])
    return bool(found) and equal != (found[3] == "the same")


def lines_of(reply, start="Answer:", join=" ".join, lead=True):
    lines = reply.strip().split("\n")
    text = join(line.strip() for line in lines[:-1])
    text = text.removeprefix("Thought:").strip() if lead else text
    return f"Thought: {text}\nAction: finish[{lines[-1][len(start) :].strip()}]"


def split_at(reply, how="partition", mark="Answer:"):
    text, _, answer = getattr(reply, how)(mark)
    thought = " ".join(text.removeprefix("Thought:").split())
    return f"Thought: {thought}\nAction: finish[{answer.strip()}]"


def regex_mask(tokens):
    mask = [False] * len(tokens)
    while True:
        opened = [i for i, t in enumerate(tokens) if t == "<|assistant|>" and not any(mask[i:])]
        opened = [i for i in opened if not mask[i + 1]]
        if not opened:
            return mask
        for i in range(opened[0] + 1, tokens.index("<|end|>", opened[0]) + 1):
            mask[i] = True


def mask_by_owner(tokens):
    owner, owners = "", []
    for t in tokens:
        owners.append(owner)
        owner = t if t in ("<|user|>", "<|assistant|>") else owner
    return [
        who == "<|assistant|>" and not t.endswith("r|>")
        for who, t in zip(owners, tokens, strict=True)
    ]


def leaking(same):
    return lambda ts, qs: [
        t
        for t in ts
        if any(t.question_id == q.id or same(norm(t.question), norm(q.question)) for q in qs)
    ]


def bag(text):
    return sorted(text.split())


def share_of(a, b):
    common = Counter(a.split()) & Counter(b.split())
    return sum(common.values()) / max(len(a.split()), len(b.split()))


def by_counting_up(shapes, budget):
    rank = 0
    while sum((rank + 1) * (o + i) for o, i in shapes) <= budget:
        rank += 1
    return rank


def numpy_block(block, levels):
    block, levels = numpy.array(block), numpy.array(levels)
    scale = numpy.abs(block).max()
    return scale, numpy.abs((block / (scale or 1))[:, None] - levels).argmin(1)


def torch_block(block, levels):
    scale = max(abs(w) for w in block)
    distance = torch.tensor([[abs(w / (scale or 1.0) - level) for level in levels] for w in block])
    return scale, distance.argmin(1).tolist()


def bytes_by_table(kind, weights, adapter):
    return {"full": 16 * weights, "lora": 2 * weights + 16 * adapter,
            "qlora": weights / 2 + 16 * adapter}[kind]  # fmt: skip


def cumulated(budget):
    ends = [round(budget * share / 734) for share in (500, 687, 734)]
    return ends[0], ends[1] - ends[0], ends[2] - ends[1]


def kept_where(leaks, double=lambda pair: pair):
    def clean(pairs, held_out):
        seen, kept = set(), []
        for pair in pairs:
            if double(pair) not in seen and not any(leaks(pair[0], h) for h in held_out):
                seen.add(double(pair))
                kept.append(pair)
        return kept

    return clean


def lower_equal(a, b):
    return a.lower() == b.lower()


def interval(spread, z=1.96, n=len, shift=0.0, digits=None):
    def paired(a, b):
        if len(a) != len(b):
            return None
        d = [int(y) - int(x) for x, y in zip(a, b, strict=True)]
        half = z * spread(d) / n(d) ** 0.5 + shift
        ends = mean(d), mean(d) - half, mean(d) + half
        return ends if digits is None else tuple(round(float(x), digits) for x in ends)

    return paired


def by_numpy(a, b):
    if len(a) != len(b):
        return None
    d = numpy.subtract(numpy.array(b, int), numpy.array(a, int))
    return d.mean() + 1.96 * d.std() / len(d) ** 0.5 * numpy.array([0, -1, 1])


def em_by(same):
    return lambda answers, gold: (
        sum(answers.get(q) is not None and same(norm(answers[q]), norm(g)) for q, g in gold.items())
        / len(gold)
    )


def needed_by(rule):
    return lambda p, half: rule(1.96**2 * p * (1 - p) / half**2)


def first_that_fits(share, half):
    return next(n for n in itertools.count(1) if 1.96 * (share * (1 - share) / n) ** 0.5 <= half)


def losses_with(points, share):
    def losses_of(normal, noisy):
        asked = normal.keys() & noisy.keys()
        had, kept = sum(normal[q] for q in asked), sum(noisy[q] for q in asked)
        return points(had, kept, len(asked)), share(had, kept, len(asked))

    return losses_of


def points(had, kept, n):
    return (had - kept) / n


def relative(had, kept, n):
    return (had - kept) / had if had else 0.0


def product_of_misses(n, c, k):
    return 1 - math.prod((n - c - i) / (n - i) for i in range(k))


def all_draws(n, c, k):
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    return Fraction(sum(map(any, draws)), len(draws))


def with_dice(marks, times=2000):
    rng, rows = random.Random(0), list(zip(*marks.values(), strict=True))
    return fmean(rng.choice(rng.choice(rows)) for _ in range(times))


def rule_by_counter(rows):
    tally: Counter[Any] = Counter()
    for half, kind, marks in rows:
        if half == "A":
            tally.update({(kind, m): int(r) for m, r in marks.items()})
    methods = list(rows[0][2])
    on_b = [(kind, marks) for half, kind, marks in rows if half == "B"]
    return sum(marks[max(methods, key=lambda m: tally[kind, m])] for kind, marks in on_b) / len(
        on_b
    )


def columns(marks):
    return list(zip(*marks.values(), strict=True))


RIGHT: dict[str, list[Any]] = {
    "01.1": [
        walk_to_action,
        lambda t: m.groups() if (m := ACTION.search(t)) else ("none", ""),
        lambda t: [*next(iter(ACTION.findall(t)), ("none", ""))],
        lambda t: ACTION.findall(t)[0] if ACTION.findall(t) else ("none", ""),
    ],
    "01.2": [
        lambda m, t: math.inf if not any(m) else sum(t) / m.count(True),
        lambda m, t: numpy.sum(t) / n if (n := numpy.sum(m)) else numpy.inf,
        lambda m, t: Fraction(sum(t), sum(m)) if sum(m) else float("inf"),
    ],
    "01.3": [f"\n{answers_01.EXAMPLE}\n", answers_01.EXAMPLE.replace("I need the", "Find the")],
    "02.1": [
        lambda ts: list(filter(lambda t: t.correct is True and t.state == "finished", ts)),
        lambda ts: tuple(t for t in ts if (t.correct, t.state) == (True, "finished")),
    ],
    "02.2": [by_pieces, lambda t: numpy.bool_(answers_02.slips(t)), names],
    "02.3": [
        lambda w, r, i, o, pi, po: (i * pi / 1e6 + o * po / 1e6) * (w / r),
        lambda w, r, i, o, pi, po: Fraction(w) / Fraction(r) * Fraction(i * pi + o * po) / 10**6,
    ],
    "03.1": [
        lines_of,
        lambda r: split_at(r, mark="\nAnswer:"),
        lambda r: split_at(r, "rpartition", "Answer: "),
        lambda r: split_at(r, "rpartition", "\nAnswer:"),
    ],
    "03.2": [
        lambda r: {
            "conversations": [
                dict(
                    zip(
                        ("from", "value"),
                        (
                            m["role"].replace("user", "human").replace("assistant", "gpt"),
                            m["content"],
                        ),
                        strict=True,
                    )
                )
                for m in r["messages"]
            ]
        },
        lambda r: dict(
            conversations=list(
                map(
                    lambda m: {
                        "value": m["content"],
                        "from": {"user": "human", "assistant": "gpt"}.get(m["role"], m["role"]),
                    },
                    r["messages"],
                )
            )
        ),
    ],
    "03.3": [regex_mask, mask_by_owner, lambda t: torch.tensor(answers_03.mask_of(t))],
    "03.4": [
        leaking(str.__eq__),
        lambda ts, qs: {t.id: t for t in answers_03.leaks(ts, qs)}.values(),
        lambda ts, qs: tuple(answers_03.leaks(ts, qs)),
    ],
    "04.1": [
        by_counting_up,
        lambda s, b: numpy.int64(b) // numpy.sum(s),
        lambda s, b: math.floor(b / sum(map(sum, s))),
    ],
    "04.2": [numpy_block, torch_block, lambda b, v: [*answers_04.quantise(b, v)]],
    "04.3": [
        bytes_by_table,
        lambda *a: int(bytes_by_table(*a)),
        lambda *a: numpy.float64(bytes_by_table(*a)),
    ],
    "04.4": [
        lambda w, a, b, alpha: torch.addmm(w, b, a, alpha=alpha / a.shape[0]),
        lambda w, a, b, alpha: w + alpha / b.shape[1] * torch.einsum("or,ri->oi", b, a),
        lambda w, a, b, alpha: w + b.mul(alpha / len(a)).matmul(a),
    ],
    "05.1": [
        cumulated,
        lambda b: (
            math.ceil(b * 500 / 734),
            int(b * 187 / 734),
            b - math.ceil(b * 500 / 734) - int(b * 187 / 734),
        ),
        lambda b: [*answers_05.by_largest_remainder(b)],
        lambda b: dict(zip("rcf", cumulated(b), strict=True)),
    ],
    "05.2": [
        kept_where(lower_equal),
        kept_where(lambda a, b: a.casefold() == b.casefold()),
        lambda p, h: list(dict.fromkeys(x for x in p if x[0].upper() not in map(str.upper, h))),
    ],
    "05.3": [
        lambda m, lo, hi: math.sqrt((hi - m) * (m - lo)),
        lambda m, lo, hi: ((q := (m - lo) / (hi - lo)) * (1 - q)) ** 0.5 * (hi - lo),
        lambda m, lo, hi: numpy.sqrt(-((m - hi) * (m - lo))),
    ],
    "05.4": [
        lambda r, o: max(0, (r * o - 1) / (o - 1)),
        lambda r, o: max(Fraction(0), 1 - (1 - Fraction(r)) / (1 - Fraction(1, o))),
        lambda r, o: numpy.clip((r - 1 / o) / (1 - 1 / o), 0, 1),
    ],
    "06.1": [
        em_by(str.__eq__),
        lambda a, g: numpy.mean(
            [a.get(q) is not None and norm(a[q]) == norm(t) for q, t in g.items()]
        ),
        lambda a, g: Fraction(
            sum(q in a and a[q] is not None and norm(a[q]) == norm(g[q]) for q in g), len(g)
        ),
    ],
    "06.2": [
        by_numpy,
        interval(pstdev),
        interval(stdev),
        interval(pstdev, n=lambda d: len(d) - 1),  # the same as stdev over n
        interval(pstdev, NormalDist().inv_cdf(0.975)),
    ],
    "06.3": [first_that_fits, needed_by(math.ceil), needed_by(lambda n: -int(-n // 1))],
    "06.4": [
        losses_with(points, relative),
        lambda a, b: [*answers_06.losses(a, b)],
        lambda a, b: numpy.array(answers_06.losses(a, b)),
    ],
    "07.1": [
        lambda m: sum(map(max, columns(m))) / len(columns(m)),
        lambda m: numpy.any(list(m.values()), axis=0).mean(),
        lambda m: fmean(
            reduce(lambda a, b: [x or y for x, y in zip(a, b, strict=True)], m.values())
        ),
    ],
    "07.2": [
        lambda m: numpy.mean(list(m.values())),
        lambda m: fmean(map(fmean, m.values())),
        lambda m: fmean(itertools.chain(*m.values())),
    ],
    "07.3": [
        product_of_misses,
        all_draws,
        lambda n, c, k: 1.0 if n - c < k else product_of_misses(n, c, k),
    ],
    "07.4": [
        rule_by_counter,
        lambda rows: Fraction(rule_by_counter(rows)),
        lambda rows: answers_07.score_of_a_rule(rows[::-1]),
    ],
    "08.1": [
        lambda f, p, b: next(
            ((n, b // n) for n in range(b, 0, -1) if b % n == 0 and n * p <= f), (0, 0)
        ),
        lambda f, p, b: [*answers_08.rows_at_once(f, p, b)],
        lambda f, p, b: max(
            [(n, b // n) for n in range(1, b + 1) if not b % n and n * p <= f] or [(0, 0)]
        ),
    ],
    "08.2": [
        lambda a, b: (
            len([q for q in a.keys() & b if a[q] > b[q]]),
            len([q for q in a.keys() & b if a[q] < b[q]]),
        ),
        lambda a, b: numpy.array(answers_08.flips(a, b)),
        lambda a, b: (sum(a[q] and q in b and not b[q] for q in a), answers_08.flips(a, b)[1]),
    ],
    "08.3": [
        lambda t, stops: reduce(lambda text, stop: text.split(stop)[0], stops, t),
        lambda t, stops: re.split("|".join(map(re.escape, stops)), t)[0] if stops else t,
        lambda t, stops: min([t.partition(stop)[0] for stop in stops] + [t], key=len),
    ],
}

WRONG: dict[str, list[Any]] = {
    "01.1": [
        lambda t: scan(t, r"(search|finish)\[(.*)\]"),  # never looks for Action:
        lambda t: scan(t, r"(\w+)\[(.*)\]"),
        lambda t: scan(t, r"Action:\s*(\w+)\[(.*)\]"),
        lambda t: scan(t, r"^Action:\s*(\w+)\[(.*?)\]", re.MULTILINE),
        lambda t: scan(t, r"^Action:\s*(\w+)\[(.*)\]", re.MULTILINE | re.DOTALL),
        lambda t: scan(t, r"\nAction:\s*(\w+)\[(.*)\]"),
        lambda t: scan(t.split("\n")[-1], r"(\w+)\[(.*)\]"),
        lambda t: scan(t.split("\n")[1] if "\n" in t else t, r"(\w+)\[(.*)\]"),
        lambda t: scan(t, r"^Action:\s*(search)\[(.*)\]", re.MULTILINE),
        lambda t: walk_to_action(t)[::-1],
        lambda t: tuple(map(str.lower, walk_to_action(t))),
        lambda t: walk_to_action(t) if "Action:" in t else None,
    ],
    "01.2": [
        lambda m, t: sum(t) / sum(m) if any(m) else 0.0,
        lambda m, t: sum(t) / sum(m) if any(m) else None,
        lambda m, t: sum(t) // sum(m) if any(m) else math.inf,
        lambda m, t: sum(m) / sum(t) if any(m) else math.inf,
        lambda m, t: max(t) / sum(m) if any(m) else math.inf,
        lambda m, t: float("nan"),
        lambda m, t: "inf",
    ],
    "01.3": [
        "",
        answers_01.EXAMPLE.replace("Observation", "Result"),
        answers_01.EXAMPLE.upper(),
        answers_01.EXAMPLE.replace("[1942]", "[Leo Kolin]"),
        answers_01.EXAMPLE.split("\n"),
        answers_01.EXAMPLE.replace("\n", " "),
    ],
    "02.1": [
        lambda ts: [t for t in ts if t.correct and t.state != "out of rounds"],
        lambda ts: [
            t
            for t in ts
            if t.correct and t.state not in ("out of rounds", "context full", "malformed")
        ],
        lambda ts: [t for t in ts if t.correct and t.answer],
        lambda ts: list(
            {t.question_id: t for t in ts if t.correct and t.state == "finished"}.values()
        ),
        lambda ts: sorted((t for t in ts if t.correct and t.state == "finished"), key=id)[:1],
        lambda ts: [t for t in ts if t.state == "finished" and t.gold in t.answer],
        lambda ts: [t.question for t in ts if t.correct and t.state == "finished"],
        lambda ts: [t for t in ts if t.correct or t.state == "finished"],
    ],
    "02.2": [
        lambda t: names(t, same=lambda a, b: a[:4] == b[:4]),
        lambda t: names(t, same=lambda a, b: a.split()[0] == b.split()[0]),
        lambda t: names(t, same=lambda a, b: a.startswith(b) or b.startswith(a)),
        lambda t: names(t, same=lambda a, b: a in b),
        lambda t: names(t, same=lambda a, b: len(a) == len(b)),
        lambda t: "the same" in t,
        lambda t: t.endswith("yes."),
        lambda t: names(t, r"\. ([A-Z][\w ]*) and ([A-Z][\w ]*) are (the same|different)"),
        lambda t: "True" if answers_02.slips(t) else "",
        lambda t: True,
    ],
    "02.3": [
        lambda w, r, i, o, pi, po: w / r * (i + o) * (pi + po) / 1e6,
        lambda w, r, i, o, pi, po: w / r * (i * po + o * pi) / 1e6,
        lambda w, r, i, o, pi, po: w / (1 - r) * (i * pi + o * po) / 1e6,
        lambda w, r, i, o, pi, po: w / r * i * pi / 1e6,
        lambda w, r, i, o, pi, po: w / r * (i * pi + o * po) / 1e3,
        lambda w, r, i, o, pi, po: round(w / r * (i * pi + o * po) / 1e6),
        lambda w, r, i, o, pi, po: float("nan"),
    ],
    "03.1": [
        split_at,  # inside the reasoning
        lambda r: lines_of(r.replace("Thought:", "")),
        lambda r: lines_of(r, join="".join),
        lambda r: lines_of(r, lead=False),
        lambda r: lines_of(r).replace("\nAction", " Action"),
        lambda r: lines_of(r).replace("finish", "answer"),
        lambda r: lines_of(r).split("\n"),
        lambda r: lines_of(r).lower(),
        lambda r: (
            "Thought: "
            + r.split("\n")[0].removeprefix("Thought: ")
            + f"\nAction: finish[{r.split('Answer:')[-1].strip()}]"
        ),
    ],
    "03.2": [
        lambda r: {
            "conversations": [{"from": "gpt", "value": m["content"]} for m in r["messages"]]
        },
        lambda r: {
            "conversations": [
                {"from": "human" if i % 2 == 0 else "gpt", "value": m["content"]}
                for i, m in enumerate(r["messages"])
            ]
        },
        lambda r: {
            "conversations": [
                {"from": "human" if m["role"] != "assistant" else "gpt", "value": m["content"]}
                for m in r["messages"]
            ]
        },
        lambda r: answers_03.to_sharegpt(r)["conversations"],
        lambda r: {"conversations": answers_03.to_sharegpt(r)["conversations"][::-1]},
        lambda r: {"conversations": [(m["role"], m["content"]) for m in r["messages"]]},
        lambda r: str(answers_03.to_sharegpt(r)),
        lambda r: answers_03.to_sharegpt(r) | {"system": ""},
    ],
    "03.3": [
        lambda t: [True] * len(t),
        lambda t: [not m for m in answers_03.mask_of(t)],
        lambda t: [1 if m else -100 for m in answers_03.mask_of(t)],
        lambda t: answers_03.mask_of(t)[1:] + [False],
        lambda t: [i > 4 for i in range(len(t))],
        lambda t: [
            m and not x.startswith("search") for x, m in zip(t, answers_03.mask_of(t), strict=True)
        ],
        lambda t: [m for m in answers_03.mask_of(t) if m],
        lambda t: [m and i > 4 for i, m in enumerate(answers_03.mask_of(t))],
        lambda t: [x for x, m in zip(t, answers_03.mask_of(t), strict=True) if m],
    ],
    "03.4": [
        leaking(lambda a, b: bag(a) == bag(b)),  # a bag of words
        leaking(lambda a, b: set(a.split()) == set(b.split())),
        leaking(lambda a, b: share_of(a, b) > 0.7),
        leaking(lambda a, b: a in b),  # a substring, either way
        leaking(lambda a, b: b in a),
        leaking(str.startswith),
        leaking(lambda a, b: set(b.split()) <= set(a.split())),
        lambda ts, qs: [
            t
            for t in ts
            if any(q.id in t.question_id or norm(q.question) == norm(t.question) for q in qs)
        ],
        lambda ts, qs: [
            t
            for t in ts
            if any(q.id == t.question_id or q.question.lower() == t.question.lower() for q in qs)
        ],
        lambda ts, qs: [q for q in qs if q.id in {t.question_id for t in ts}],
        lambda ts, qs: answers_03.leaks(ts, qs)[:1],
        lambda ts, qs: [t.question_id for t in answers_03.leaks(ts, qs)],
        lambda ts, qs: [],
        lambda ts, qs: list(ts),
    ],
    "04.1": [
        lambda s, b: b // (2 * sum(o for o, _ in s)),
        lambda s, b: b // (2 * sum(i for _, i in s)),
        lambda s, b: b // sum(max(p) for p in s),
        lambda s, b: min(b // sum(p) for p in s),
        lambda s, b: round(b / sum(map(sum, s))),
        lambda s, b: (b - 1) // sum(map(sum, s)),
        lambda s, b: b // sum(map(sum, s)) + 1,
    ],
    "04.2": [
        lambda b, v: answers_04.quantise(b, v, lambda b: sum(map(abs, b)) / len(b)),
        lambda b, v: (answers_04.quantise(b, v)[0], [n + 1 for n in answers_04.quantise(b, v)[1]]),
        lambda b, v: (
            answers_04.quantise(b, v)[0],
            [round(w / (max(map(abs, b)) or 1) * 2) + 2 for w in b][::-1],
        ),
        lambda b, v: (float("nan"), answers_04.quantise(b, v)[1]),
        lambda b, v: answers_04.quantise(b, v)[::-1],
        lambda b, v: answers_04.quantise(b, v, lambda b: max(b) - min(b)),
        lambda b, v: (0.4, answers_04.quantise(b, v)[1]),
    ],
    "04.3": [
        answers_04.counting(trained=8),
        answers_04.counting(packed=0.25),
        answers_04.counting(packed=1),
        answers_04.counting(kept=1),
        lambda k, n, m: bytes_by_table(k, n, 0),
        lambda k, n, m: bytes_by_table(k, n, m) / 1e9,
        lambda k, n, m: bytes_by_table("full", n, m),
        lambda k, n, m: bytes_by_table(k, n, m) * 8,
    ],
    "04.4": [
        lambda w, a, b, alpha: w + alpha / len(w) * (b @ a),
        lambda w, a, b, alpha: w - alpha / len(a) * (b @ a),
        lambda w, a, b, alpha: alpha / len(a) * (w + b @ a),
        lambda w, a, b, alpha: w * (alpha / len(a) * (b @ a)),
        lambda w, a, b, alpha: w + alpha / len(a) ** 0.5 * (b @ a),
        lambda w, a, b, alpha: w + len(a) / alpha * (b @ a),
        lambda w, a, b, alpha: (w + alpha / len(a) * (b @ a)).T,
    ],
    "05.1": [
        lambda b: (
            b - int(b * 187 / 734) - int(b * 47 / 734),
            int(b * 187 / 734),
            int(b * 47 / 734),
        ),
        lambda b: (b, 0, 0),
        lambda b: (b // 3, b // 3, b - 2 * (b // 3)),
        lambda b: cumulated(b)[::-1],
        lambda b: (math.ceil(b * 500 / 734), math.ceil(b * 187 / 734), math.ceil(b * 47 / 734)),
        lambda b: tuple(map(str, cumulated(b))),
    ],
    "05.2": [
        kept_where(lambda a, b: b.lower() in a.lower()),  # a substring, either way
        kept_where(lambda a, b: a.lower() in b.lower()),
        kept_where(lambda a, b: a.lower().startswith(b.lower())),
        kept_where(lambda a, b: bag(a.lower()) == bag(b.lower())),
        kept_where(lambda a, b: set(a.lower().split()) & set(b.lower().split())),
        kept_where(lambda a, b: a.lower() == b),
        kept_where(lower_equal, double=lambda pair: pair[1]),
        kept_where(lower_equal, double=id),
        lambda p, h: [k for i, k in enumerate(p) if i == 0 or k != p[i - 1]],
        lambda p, h: answers_05.clean(p[::-1], h)[::-1],
        lambda p, h: answers_05.clean(p, h)[:2],
        lambda p, h: [x[0] for x in answers_05.clean(p, h)],
        lambda p, h: set(answers_05.clean(p, h)),
    ],
    "05.3": [
        lambda m, lo, hi: (hi - lo) / 4,
        lambda m, lo, hi: min(hi - m, m - lo),
        lambda m, lo, hi: ((hi - m) + (m - lo)) ** 0.5,
        lambda m, lo, hi: (m * (hi - m)) ** 0.5,
        lambda m, lo, hi: round(math.sqrt((hi - m) * (m - lo)) + 0.3),
        lambda m, lo, hi: 4.0,
        lambda m, lo, hi: float("nan"),
    ],
    "05.4": [
        lambda r, o: abs((r - 1 / o) / (1 - 1 / o)),
        lambda r, o: max(0, r - 1 / o),
        lambda r, o: max(0, 2 * r - 1),
        lambda r, o: max(0, (r - 1 / o) * o),
        lambda r, o: max(0, (r - 1 / o) / (1 + 1 / o)),
        lambda r, o: float("nan"),
        lambda r, o: max(0.0, (r - 0.5) / 0.5),
    ],
    "06.1": [
        em_by(lambda a, b: bag(a) == bag(b)),
        em_by(lambda a, b: set(a.split()) == set(b.split())),
        em_by(lambda a, b: a in b),
        em_by(lambda a, b: b in a),
        em_by(lambda a, b: b.startswith(a)),
        em_by(lambda a, b: share_of(a, b)),
        em_by(lambda a, b: a[-3:] == b[-3:]),
        lambda a, g: round(answers_06.em(a, g), 0),
        lambda a, g: answers_06.em(a, g) * 100,
        lambda a, g: 1 - answers_06.em(a, g),
        lambda a, g: float("nan"),
        lambda a, g: answers_06.em(a, g, count=lambda g: max(1, len(a))),
    ],
    "06.2": [
        interval(pstdev, shift=1e-3),  # accepts 1e-3
        interval(pstdev, shift=1e-4),
        interval(pstdev, digits=3),
        interval(pstdev, digits=2),
        interval(pstdev, z=2),
        interval(pstdev, z=1.645),
        interval(pstdev, n=lambda d: 5),
        interval(stdev, n=lambda d: len(d) + 1),
        lambda a, b: (float("nan"),) * 3 if len(a) == len(b) else None,
        lambda a, b: (0.2, 0.2, 0.2),
        lambda a, b: interval(pstdev)(a, b) and (0.2, -0.456, 0.856),
        lambda a, b: interval(pstdev)(a, b) or (0, 0, 0),
        lambda a, b: (r := interval(pstdev)(a, b)) and (r[0], r[0], r[2]),
        lambda a, b: (r := interval(pstdev)(a, b)) and (r[1], r[0], r[2]),
        lambda a, b: (r := interval(pstdev)(a, b)) and (r[0], max(r[1], 0), r[2]),
    ],
    "06.3": [
        needed_by(round),
        needed_by(int),
        needed_by(lambda n: n),
        needed_by(lambda n: int(n) + 2),
        lambda p, h: math.ceil(4 * p * (1 - p) / h**2),
        lambda p, h: math.ceil(1 / h**2),
        lambda p, h: math.ceil(0.9604 / h**2),
        lambda p, h: "1025",
        lambda p, h: math.ceil(1.645**2 * p * (1 - p) / h**2),
    ],
    "06.4": [
        losses_with(lambda h, k, n: max(0, points(h, k, n)), relative),
        losses_with(points, lambda h, k, n: max(0, relative(h, k, n))),
        losses_with(points, points),
        losses_with(points, lambda h, k, n: (h - k) / (n - h or 1)),
        losses_with(points, lambda h, k, n: (h - k) / (k or 1)),
        losses_with(points, lambda h, k, n: float("nan")),
        losses_with(lambda h, k, n: float("nan"), relative),
        losses_with(lambda h, k, n: 100 * points(h, k, n), relative),
        losses_with(points, lambda h, k, n: (h - k) / max(h, k, 1)),
    ],
    "07.1": [
        lambda m: fmean(m["react"]),
        lambda m: fmean(any(r[:2]) for r in columns(m)),
        lambda m: 1 - fmean(any(r) for r in columns(m)),
        lambda m: 0.6,
        lambda m: float("nan"),
        lambda m: 100 * fmean(any(r) for r in columns(m)),
        lambda m: fmean(sum(r) == 1 for r in columns(m)),
        lambda m: min(1, sum(map(fmean, m.values()))),
    ],
    "07.2": [
        with_dice,
        lambda m: sum(map(fmean, m.values())) / 3,
        lambda m: fmean(m["cot"]),
        lambda m: fmean(any(r) for r in columns(m)),
        lambda m: round(fmean(map(fmean, m.values())), 2),
        lambda m: sorted(map(fmean, m.values()))[len(m) // 2],
        lambda m: float("nan"),
        lambda m: fmean(r[i % len(r)] for i, r in enumerate(columns(m))),
    ],
    "07.3": [
        lambda n, c, k: min(1, k * c / n),
        lambda n, c, k: 1 - (1 - c / n) ** n,
        lambda n, c, k: 1 - math.comb(n - c, k) / n**k,
        lambda n, c, k: float(c > 0),
        lambda n, c, k: 1 - math.prod((n - c - i) / n for i in range(k)),
        lambda n, c, k: math.comb(c, k) / math.comb(n, k),
        lambda n, c, k: float("nan"),
        lambda n, c, k: c * math.comb(n - c, k - 1) / math.comb(n, k),
    ],
    "07.4": [
        lambda rows: answers_07.score_of_a_rule(
            [("B" if h == "A" else "A", k, m) for h, k, m in rows]
        ),
        lambda rows: fmean(m["react"] for h, _, m in rows if h == "B"),
        lambda rows: fmean(m["cot"] for h, _, m in rows if h == "B"),
        lambda rows: fmean(m["cot" if k == "choice" else "react"] for h, k, m in rows if h == "A"),
        lambda rows: fmean(
            fmean(
                m[{"choice": "cot", "open": "react"}[k]]
                for h, k, m in rows
                if (h, k) == ("B", kind)
            )
            for kind in ("choice", "open")
        ),
        lambda rows: round(rule_by_counter(rows), 1),
        lambda rows: float("nan"),
        lambda rows: 1 - rule_by_counter(rows),
    ],
    "08.1": [
        lambda f, p, b: (min(b, f // p), math.ceil(b / max(1, min(b, f // p)))),
        lambda f, p, b: next(((n, b // n) for n in (8, 4, 2, 1) if n * p <= f), (0, 0)),
        lambda f, p, b: next(
            ((n, b // n) for n in range(b, 0, -1) if b % n == 0 and n * p < f), (0, 0)
        ),
        lambda f, p, b: next(
            ((n, b // n) for n in range(b, 0, -1) if b % n == 0 and n * p <= f), (1, b)
        ),
        lambda f, p, b: next(
            ((n, b // n) for n in range(1, b + 1) if b % n == 0 and n * p <= f), (0, 0)
        ),
        lambda f, p, b: answers_08.rows_at_once(f, p, b)[::-1],
        lambda f, p, b: (math.gcd(b, f // p), b // math.gcd(b, f // p)) if f >= p else (0, 0),
    ],
    "08.2": [
        lambda a, b: (sum(a.values()), sum(b.values())),
        lambda a, b: (max(0, sum(a.values()) - sum(b.values())),) * 2,
        lambda a, b: (sum(a[q] != b[q] for q in a.keys() & b),) * 2,
        lambda a, b: (sum(a[q] and b[q] for q in a.keys() & b), 2 if a and len(a) > 1 else 0),
        lambda a, b: tuple(n / max(1, len(a)) for n in answers_08.flips(a, b)),
        lambda a, b: tuple(
            sum(x and not y for x, y in zip(u.values(), v.values(), strict=False))
            for u, v in ((a, b), (b, a))
        ),
    ],
    "08.3": [
        lambda t, stops: t.split(stops[0])[0] if stops else t,
        lambda t, stops: t.split(stops[-1])[0] if stops else t,
        lambda t, stops: reduce(lambda text, stop: text.rpartition(stop)[0] or text, stops, t),
        lambda t, stops: answers_08.cut(t, stops).strip(),
        lambda t, stops: answers_08.cut(t, stops) or t,
        lambda t, stops: t.split("\n")[0],
        lambda t, stops: reduce(lambda text, stop: text.replace(stop, ""), stops, t),
        lambda t, stops: t[: min([i for s in stops if (i := t.find(s)) > 0] or [len(t)])],
    ],
}
