"""Small programs over a world, with their output: what a code model reads."""

from __future__ import annotations

import random

from .world import World


def write_code(world: World, rng: random.Random) -> str:
    """A small program over a fresh world, its output in comments: what a code model reads."""
    kind = rng.choice(("person", "film", "book", "company"))
    sample = rng.sample(world.kind(kind), rng.randint(3, 5))
    entities = list({e.name: e for e in sample}.values())  # no namesakes: names are keys
    relation = rng.choice([r for r in entities[0].facts if all(r in e.facts for e in entities)])
    year = "birth_year" if kind == "person" else "year"
    rows = {
        e.name: {relation: _plain(e.facts[relation]), year: int(e.facts[year])} for e in entities
    }
    table = "\n".join(f"    {name!r}: {row}," for name, row in rows.items())
    a, b = rng.sample(entities, 2)
    lines = [f"{kind}s = {{\n{table}\n}}"]
    for _ in range(rng.randint(1, 2)):
        task = rng.randrange(4)
        if task == 0:
            lines += [
                f"def get_{relation}(name):\n    return {kind}s[name][{relation!r}]",
                f"print(get_{relation}({a.name!r}))  # {a.facts[relation]}",
            ]
        elif task == 1:
            same = a.facts[relation] == b.facts[relation]
            lines += [
                f"left = {kind}s[{a.name!r}][{relation!r}]\n"
                f"right = {kind}s[{b.name!r}][{relation!r}]",
                f"print(left == right)  # {same}",
            ]
        elif task == 2:
            first = min(entities, key=lambda e: int(e.facts[year]))
            lines += [
                f"first = min({kind}s, key=lambda name: {kind}s[name][{year!r}])",
                f"print(first)  # {first.name}",
            ]
        else:
            later = [e.name for e in entities if int(e.facts[year]) > int(a.facts[year])]
            lines += [
                f"later = [name for name, x in {kind}s.items() if x[{year!r}] > {a.facts[year]}]",
                f"print(later)  # {later}",
            ]
    return "\n".join(lines)


def _plain(value: str) -> str | int:
    return int(value) if value.isdigit() else value
