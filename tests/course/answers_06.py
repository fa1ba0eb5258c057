"""Notebook 06's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

from math import ceil
from statistics import fmean, pstdev, pvariance
from typing import Any

from fireact_nb.agent.tasks import normalize_answer


def em(answers, gold, count=len, write=normalize_answer, same=lambda said, wanted: said == wanted):
    found = [(answers.get(question), wanted) for question, wanted in gold.items()]
    given = [(write(said), write(wanted)) for said, wanted in found if said is not None]
    return sum(same(said, wanted) for said, wanted in given) / count(gold)


def paired(a, b, spread=lambda a, b, d: pstdev(d) / len(d) ** 0.5, z=1.96):
    if len(a) != len(b):
        return None
    d = [after - before for before, after in zip(a, b, strict=True)]
    half = z * spread(a, b, d)
    return fmean(d), fmean(d) - half, fmean(d) + half


def backwards(a, b):
    return paired(b, a)


def zipped(a, b):
    n = min(len(a), len(b))
    return paired(a[:n], b[:n])


def needed(share, half, z=1.96**2, spread=lambda p: p * (1 - p), turn=ceil):
    return turn(z * spread(share) / half**2)


def losses(normal, noisy, both=lambda normal, noisy: [q for q in normal if q in noisy]):
    asked = both(normal, noisy)
    had, kept = sum(normal[q] for q in asked), sum(noisy.get(q, False) for q in asked)
    return (had - kept) / len(asked), (had - kept) / had if had else 0.0


def two_denominators(normal, noisy):
    points = fmean(normal.values()) - fmean(noisy.values())
    return points, points / fmean(normal.values())


RIGHT: dict[str, Any] = {"06.1": em, "06.2": paired, "06.3": needed, "06.4": losses}
WRONG: list[tuple[str, Any, str]] = [
    ("06.1", lambda a, g: em({q: a[q] for q in a if a[q]}, {q: g[q] for q in a if a[q]}), "2 of 3"),
    ("06.1", lambda a, g: em(a, {q: g[q] for q in a}), "35 rows got lost"),
    ("06.1", lambda a, g: em(a, g, write=str), "forgives capitals"),
    ("06.1", lambda a, g: em(a, g, write=str.lower), "forgives capitals"),
    ("06.1", lambda a, g: em(a, g, same=lambda said, wanted: wanted in said), "with =="),
    ("06.1", lambda a, g: em(a, g, count=lambda g: 1), "Return a share"),
    ("06.1", lambda a, g: fmean(normalize_answer(a[q]) == g[q] for q in g), "ask for None first"),
    ("06.1", lambda a, g: fmean(normalize_answer(a.get(q) or "") == g[q] for q in g), "both sides"),
    (
        "06.1",
        lambda a, g: fmean(normalize_answer(a.get(q) or "") == normalize_answer(g[q]) for q in g),
        "missing answer got a point",
    ),
    ("06.1", lambda a, g: fmean(a[q] == g[q] for q in g), r"answers\.get\(2\)"),
    ("06.2", backwards, "other way round"),
    ("06.2", zipped, "Return None"),
    ("06.2", lambda a, b: paired(a, b, spread=lambda a, b, d: pstdev(d)), "too wide"),
    ("06.2", lambda a, b: paired(a, b, spread=lambda a, b, d: pstdev(d) / len(d)), "Divide by its"),
    ("06.2", lambda a, b: paired(a, b, spread=lambda a, b, d: pvariance(d) / len(d) ** 0.5),
     "variance"),
    ("06.2", lambda a, b: paired(a, b, spread=lambda a, b, d: pstdev(b) / len(d) ** 0.5),
     "one side alone"),
    ("06.2", lambda a, b: paired(a, b, lambda a, b, d: ((pvariance(a) + pvariance(b)) / 5) ** 0.5),
     "unpaired formula"),
    ("06.2", lambda a, b: paired(a, b, z=1), "left out the 1.96"),
    ("06.2", lambda a, b: sum(b) - sum(a), "three numbers"),
    ("06.2", lambda a, b: (sum(b) - sum(a), 0, 0), "Divide it by the number"),
    ("06.2", lambda a, b: paired(a, b, z=-1.96), "changed places"),
    ("06.3", lambda p, h: needed(p, h, turn=int), "Round up"),
    ("06.3", lambda p, h: needed(p, h, turn=float), "Round up"),
    ("06.3", lambda p, h: needed(p, h, z=1), "left out the 1.96"),
    ("06.3", lambda p, h: needed(p, h, z=1.96), "squared, too"),
    ("06.3", lambda p, h: needed(p, h**0.5), "half\\*\\*2"),
    ("06.3", lambda p, h: ceil(1.96 * (p * (1 - p)) ** 0.5 / h), "Square it"),
    ("06.3", lambda p, h: needed(p, h / 2), "EITHER side"),
    ("06.3", lambda p, h: needed(p, h, spread=lambda p: 2 * p * (1 - p)), "two scores"),
    ("06.3", lambda p, h: needed(p, h, spread=lambda p: p), "forgot the"),
    ("06.3", lambda p, h: needed(p, h, turn=lambda n: float(ceil(n))), "questions are whole"),
    ("06.3", lambda p, h: 1025 if p == 0.4 else needed(0.5, h), "Use the share"),
    ("06.4", two_denominators, "6 questions with 4"),
    ("06.4", lambda a, b: losses(a, b, both=lambda a, b: list(a)), "leave them out"),
    ("06.4", lambda a, b: losses(b, a), "positive number"),
    ("06.4", lambda a, b: losses(dict(enumerate(a.values())), dict(enumerate(b.values()))),
     "0.5 and 2/3 are wanted"),
    ("06.4", lambda a, b: losses(a, b)[::-1], "changed places"),
    ("06.4", lambda a, b: losses(a, b)[0], "two numbers"),
    ("06.4", lambda a, b: (losses(a, b)[0],) * 2, "relative"),
    ("06.4", lambda a, b: (losses(a, b)[0], 1 - losses(a, b)[1]), "what it kept"),
    ("06.4", lambda a, b: (losses(a, b)[0], losses(a, b)[0] * 4 / sum(a[q] for q in b)),
     "had no right answer"),
]  # fmt: skip
