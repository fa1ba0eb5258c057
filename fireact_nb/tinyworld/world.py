"""The tiny world: an invented encyclopedia, its pages and its search passages.

One seed makes all of it. Names are invented from syllables, so nothing here can be known from
elsewhere. Popularity follows Zipf's law: the *head* of each kind is what a pretrained model gets to
read often, the *tail* is what has to be looked up. Knows nothing of questions, models or agents.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .names import (
    CODAS,
    FIRM_WORDS,
    FIRST_NAMES,
    GENRES,
    OCCUPATIONS,
    ONSETS,
    REAL_WORDS,
    TITLE_WORDS,
)

SEED = 2310
HEAD_SHARE = 0.35
SIZES: Mapping[str, int] = {
    "country": 14,
    "city": 80,
    "university": 40,
    "person": 440,
    "film": 190,
    "book": 140,
    "company": 100,
}
_OCCUPATION_WEIGHTS = (20, 24, 20, 16, 10, 10)


@dataclass(frozen=True)
class Entity:
    """One page of the encyclopedia. `name` may be shared, `title` is unique.

    `facts` maps a relation to a string: the name of another entity, a year or a word. `links` maps
    a relation to the title of the entity it names.
    """

    kind: str
    name: str
    title: str
    rank: int
    head: bool
    facts: Mapping[str, str]
    links: Mapping[str, str]
    wording: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """The page's sentences, in the terse style of a search engine's snippets."""
        return tuple(
            variants[self.wording % len(variants)].format(**self.facts)
            for needed, variants in _SENTENCES[self.kind]
            if all(relation in self.facts for relation in needed)
        )

    @property
    def passages(self) -> tuple[str, ...]:
        """What a search can return: the title and one sentence."""
        return tuple(f"{self.title}: {sentence}" for sentence in self.sentences)

    def passage_with(self, relation: str) -> str:
        """The passage that states one fact."""
        kept = [n for n, _ in _SENTENCES[self.kind] if all(r in self.facts for r in n)]
        place = next(i for i, needed in enumerate(kept) if relation in needed)
        return self.passages[place]


# How often a page is worded in the first, second or third way. Search ranks by words, so a query in
# the words of the commonest way misses the other pages, and a second, reworded search pays.
_WORDINGS = (0.62, 0.24, 0.14)
# For each kind: (relations stated, wordings of the sentence).
_SENTENCES: Mapping[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "country": (
        ((), ("Country.",)),
        (("capital",), ("Capital: {capital}.", "The capital is {capital}.")),
        (("currency",), ("Currency: {currency}.", "The currency is the {currency}.")),
    ),
    "city": (
        (("country",), ("City in {country}.", "A city of {country}.")),
        (("year",), ("Founded in {year}.", "First settled in {year}.")),
    ),
    "university": (
        (("city",), ("University in {city}.", "A university in {city}.")),
        (("year",), ("Opened in {year}.", "Founded in {year}.")),
    ),
    "person": (
        (("occupation",), ("Works as {occupation}.", "Known as {occupation}.",
                           "Profession: {occupation}.")),
        (("birth_city", "birth_year"), ("Born in {birth_city} in {birth_year}.",
                                        "A native of {birth_city}, {birth_year}.",
                                        "Came to the world in {birth_city}, {birth_year}.")),
        (("university",), ("Studied at {university}.", "Graduated from {university}.",
                           "An old student of {university}.")),
        (("spouse",), ("Married to {spouse}.", "Husband or wife: {spouse}.",
                       "Shares a home with {spouse}.")),
    ),
    "film": (
        (("year",), ("Film of {year}.", "A film from {year}.")),
        (("director", "star"), ("Directed by {director}, starring {star}.",
                                "With {star}, a work by director {director}.",
                                "{star} plays, {director} made it.")),
    ),
    "book": (
        (("genre", "year"), ("Novel of {year}, a {genre} story.", "A {genre} novel from {year}.")),
        (("author",), ("Written by {author}.", "The author is {author}.",
                       "From the pen of {author}.")),
    ),
    "company": (
        (("city",), ("Company based in {city}.", "A company with its head office in {city}.")),
        (("founder", "year"), ("Founded in {year} by {founder}.",
                               "{founder} started it in {year}.",
                               "Since {year}, set up by {founder}.")),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Every entity, by title."""

    seed: str
    entities: Mapping[str, Entity]

    @cached_property
    def words(self) -> frozenset[str]:
        """The invented words in use; fresh worlds avoid those of the real one."""
        words = {w for e in self.entities.values() for w in e.name.split()}
        for country in self.kind("country"):
            words |= {country.name.removesuffix("ia"), country.facts["currency"].capitalize()}
        return frozenset(words)

    def kind(self, kind: str) -> list[Entity]:
        return [e for e in self.entities.values() if e.kind == kind]

    def linked(self, entity: Entity, relation: str) -> Entity:
        """The entity a fact names."""
        return self.entities[entity.links[relation]]

    @property
    def passages(self) -> list[str]:
        return [p for e in self.entities.values() for p in e.passages]


def make_world(
    seed: str | int = SEED, sizes: Mapping[str, int] = SIZES, avoid: frozenset[str] = frozenset()
) -> World:
    """Build a world from a seed, byte for byte the same everywhere.

    `avoid` lists invented words that must not be used: fresh worlds for the pretraining text keep
    clear of the real world's names.
    """
    return _Builder(f"world/{seed}", sizes, avoid).build()


class _Builder:
    def __init__(self, seed: str, sizes: Mapping[str, int], avoid: frozenset[str]) -> None:
        self.seed, self.sizes = seed, sizes
        self.random = random.Random(seed)
        self.used = set(avoid)
        self.drafts: dict[str, list[dict]] = {}

    def word(self) -> str:
        while True:
            word = self.random.choice(ONSETS) + self.random.choice(CODAS)
            if word not in self.used and word not in REAL_WORDS:
                self.used.add(word)
                return word

    def draft(self, kind: str, names: list[str]) -> None:
        heads = max(1, round(HEAD_SHARE * len(names)))
        self.drafts[kind] = [
            {"kind": kind, "name": name, "rank": rank, "head": rank < heads, "facts": {},
             "links": {}, "wording": self.random.choices((0, 1, 2), _WORDINGS)[0]}
            for rank, name in enumerate(names)
        ]  # fmt: skip

    def pick(self, kind: str, head: bool, **having: str) -> dict:
        """An entity by popularity; the head links to the head, so that two-hop head facts exist."""
        pool = [
            d for d in self.drafts[kind] if all(d["facts"].get(k) == v for k, v in having.items())
        ]
        pool = pool or self.drafts[kind]  # a small world may lack an occupation
        if head or self.random.random() < 0.85:
            pool = [d for d in pool if d["head"] == head] or pool
        return self.random.choices(pool, [1 / (d["rank"] + 10) ** 0.7 for d in pool])[0]

    def link(self, draft: dict, relation: str, target: dict) -> None:
        draft["facts"][relation] = target["name"]
        draft["links"][relation] = target

    def year(self, low: int, high: int) -> str:
        return str(self.random.randint(low, high))

    def build(self) -> World:
        n, rng = self.sizes, self.random
        self.draft("country", [self.word() + "ia" for _ in range(n["country"])])
        self.draft("city", [self.word() for _ in range(n["city"])])
        self.draft("university", [self.word() + " University" for _ in range(n["university"])])
        self.draft("person", self.person_names(n["person"]))
        titles = [f"{rng.choice(TITLE_WORDS)} {self.word()}" for _ in range(n["film"] + n["book"])]
        films, books = titles[: n["film"]], titles[n["film"] :]
        shared = rng.sample(films, min(len(films), len(books)) // 8)
        books[: len(shared)] = shared  # some novels share a film's title
        rng.shuffle(books)
        self.draft("film", films)
        self.draft("book", books)
        self.draft(
            "company", [f"{self.word()} {rng.choice(FIRM_WORDS)}" for _ in range(n["company"])]
        )
        self.facts()
        return World(self.seed, self.finish())

    def person_names(self, count: int) -> list[str]:
        names: list[str] = []
        for i in range(count):
            if i % 20 == 19:  # a namesake
                names.append(self.random.choice(names))
            else:
                names.append(f"{self.random.choice(FIRST_NAMES)} {self.word()}")
        return names

    def facts(self) -> None:
        rng = self.random
        for d in self.drafts["city"]:
            self.link(d, "country", self.pick("country", d["head"]))
            d["facts"]["year"] = self.year(1100, 1799)
        for d in self.drafts["country"]:
            own = [c for c in self.drafts["city"] if c["facts"]["country"] == d["name"]]
            self.link(d, "capital", own[0] if own else self.drafts["city"][0])
            d["facts"]["currency"] = self.word().lower()
        for d in self.drafts["university"]:
            self.link(d, "city", self.pick("city", d["head"]))
            d["facts"]["year"] = self.year(1800, 1949)
        for d in self.drafts["person"]:
            d["facts"]["occupation"] = rng.choices(OCCUPATIONS, _OCCUPATION_WEIGHTS)[0]
            self.link(d, "birth_city", self.pick("city", d["head"]))
            d["facts"]["birth_year"] = self.year(1930, 1989)
            self.link(d, "university", self.pick("university", d["head"]))
        for head in (True, False):
            single = [d for d in self.drafts["person"] if d["head"] == head]
            rng.shuffle(single)
            for a, b in zip(single[::2], single[1::2], strict=False):
                if a["name"] != b["name"] and rng.random() < 0.7:
                    self.link(a, "spouse", b)
                    self.link(b, "spouse", a)
        for d in self.drafts["film"]:
            self.link(d, "director", self.pick("person", d["head"], occupation="director"))
            self.link(d, "star", self.pick("person", d["head"], occupation="actor"))
            d["facts"]["year"] = self.year(1960, 2019)
        for d in self.drafts["book"]:
            self.link(d, "author", self.pick("person", d["head"], occupation="writer"))
            d["facts"]["genre"] = rng.choice(GENRES)
            d["facts"]["year"] = self.year(1960, 2019)
        for d in self.drafts["company"]:
            self.link(d, "founder", self.pick("person", d["head"], occupation="engineer"))
            self.link(d, "city", self.pick("city", d["head"]))
            d["facts"]["year"] = self.year(1950, 2015)

    def finish(self) -> dict[str, Entity]:
        drafts = [d for kind in self.drafts.values() for d in kind]
        shared: dict[str, int] = {}
        for d in drafts:
            shared[d["name"]] = shared.get(d["name"], 0) + 1
        taken: set[str] = set()
        for d in drafts:
            title = d["name"]
            if shared[title] > 1:
                title += f" ({d['facts'].get('occupation', d['kind'])})"
            if title in taken:  # namesakes of one occupation
                title = f"{title[:-1]} born {d['facts']['birth_year']})"
            if title in taken:
                raise ValueError(f"two pages would be titled {title!r}: choose another seed")
            taken.add(title)
            d["title"] = title
        return {
            d["title"]: Entity(**{**d, "links": {r: t["title"] for r, t in d["links"].items()}})
            for d in drafts
        }
