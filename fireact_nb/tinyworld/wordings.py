"""How the tiny world's questions are worded.

Knows sentences with gaps; what fills them stands in `questions`.
"""

from __future__ import annotations

from collections.abc import Mapping

# How a relation is named inside a longer question: "the director of the film X".
PHRASES = {
    ("film", "director"): "the director of {s}",
    ("film", "star"): "the star of {s}",
    ("book", "author"): "the author of {s}",
    ("company", "founder"): "the founder of {s}",
    ("person", "spouse"): "the spouse of {s}",
}
# How a relation is asked of the one who is named or described as {s}.
ASKS = {
    "birth_city": ("In which city was {s} born?", "Where was {s} born?"),
    "birth_year": ("In which year was {s} born?", "When was {s} born?"),
    "university": ("Which university did {s} attend?", "Where did {s} study?"),
    "spouse": ("Who is {s} married to?", "Who married {s}?"),
    "occupation": ("What does {s} work as?", "What is {s} known as?"),
}
# Two hops that need a wording of their own.
LONG_ASKS = {
    ("person", "birth_city", "country"): (
        "In which country was {s} born?",
        "{s} was born in a city of which country?",
    ),
    ("person", "university", "city"): (
        "In which city is the university that {s} attended?",
        "{s} studied in which city?",
    ),
    ("company", "city", "country"): (
        "In which country is {s} based?",
        "The head office of {s} is in which country?",
    ),
    ("person", "birth_city", "year"): (
        "In which year was the city where {s} was born founded?",
        "{s} was born in a city founded in which year?",
    ),
    ("person", "university", "year"): (
        "In which year did the university that {s} attended open?",
        "{s} studied at a university that opened in which year?",
    ),
}
TWO_HOPS = (
    *((k, via, what) for k, via in (("film", "director"), ("film", "star"), ("book", "author"))
      for what in ("birth_city", "birth_year", "university")),
    ("film", "director", "spouse"),
    ("book", "author", "spouse"),
    ("company", "founder", "birth_city"),
    ("company", "founder", "university"),
    ("company", "founder", "spouse"),
    ("person", "spouse", "birth_city"),
    ("person", "spouse", "occupation"),
    *LONG_ASKS,
)  # fmt: skip
# Relation pairs kept for the Bamboogle-like task: in no other split and in no pretraining text.
HELD_OUT = (
    ("film", "star", "university"),
    ("film", "director", "spouse"),
    ("book", "author", "birth_city"),
    ("company", "founder", "spouse"),
    ("person", "spouse", "occupation"),
)
BRIDGES = tuple(t for t in TWO_HOPS if t not in HELD_OUT)
# (kind, relation, wordings): which of two is the earlier one?
EARLIER = (
    (
        "film",
        "year",
        ("Which film came out first, {a} or {b}?", "Which is the older film, {a} or {b}?"),
    ),
    (
        "book",
        "year",
        ("Which book came out first, {a} or {b}?", "Which is the older novel, {a} or {b}?"),
    ),
    (
        "company",
        "year",
        ("Which company was founded first, {a} or {b}?", "Which is the older company, {a} or {b}?"),
    ),
    ("person", "birth_year", ("Who was born first, {a} or {b}?", "Who is older, {a} or {b}?")),
)
# (kind, relation, wordings): do two share something?
SAME = (
    (
        "person",
        "birth_city",
        ("Were {a} and {b} born in the same city?", "Do {a} and {b} come from the same city?"),
    ),
    (
        "person",
        "university",
        ("Did {a} and {b} attend the same university?", "Did {a} and {b} study at the same place?"),
    ),
    (
        "person",
        "occupation",
        ("Do {a} and {b} have the same occupation?", "Do {a} and {b} do the same work?"),
    ),
    (
        "film",
        "director",
        ("Do {a} and {b} have the same director?", "Was one director behind both {a} and {b}?"),
    ),
    (
        "company",
        "city",
        (
            "Are {a} and {b} based in the same city?",
            "Do {a} and {b} have their head office in one city?",
        ),
    ),
)
# The StrategyQA-like task: the relations to look up are not named.
# (kinds, relations, wordings): is the first year before the second?
BEFORE = (
    (("person", "film"), ("birth_year", "year"),
     ("Could {a} have seen the film {b} when it was new?",
      "Was {a} alive at the premiere of the film {b}?")),
    (("person", "book"), ("birth_year", "year"),
     ("Could {a} have bought the book {b} on its first day?",
      "Was {a} alive when the book {b} reached the shops?")),
    (("person", "company"), ("birth_year", "year"),
     ("Could {a} have been a guest when {b} opened its doors?",
      "Did {a} live to see the first day of {b}?")),
    (("person", "person"), ("birth_year", "birth_year"),
     ("Could {a} have held {b} as a newborn?",
      "Could {a} have sent a card for the birth of {b}?")),
)  # fmt: skip
# (kinds, relations, wordings): do two share something?
SHARED = (
    (("person", "person"), ("university", "university"),
     ("Could {a} and {b} meet at a reunion of old students?",
      "Would {a} and {b} cheer for one team of students?")),
    (("person", "person"), ("birth_city", "birth_city"),
     ("Would {a} and {b} call the same town their first home?",
      "Could {a} and {b} have begun life as neighbours?")),
)  # fmt: skip
# The MMLU-like task: one fact, four options.
CHOICES: Mapping[tuple[str, str], tuple[str, str]] = {
    **{("person", relation): wordings for relation, wordings in ASKS.items()},
    ("film", "director"): ("Who directed the film {s}?", "The film {s} is by which director?"),
    ("film", "star"): ("Who is the star of the film {s}?", "Who plays in the film {s}?"),
    ("film", "year"): ("In which year did the film {s} come out?", "How old is the film {s}?"),
    ("book", "author"): ("Who wrote the book {s}?", "Who is the author of the book {s}?"),
    ("book", "genre"): ("What kind of story is the book {s}?", "What is the book {s} about?"),
    ("book", "year"): ("In which year did the book {s} come out?", "How old is the book {s}?"),
    ("company", "founder"): ("Who founded {s}?", "Who is the founder of {s}?"),
    ("company", "city"): ("In which city is {s} based?", "Where is the head office of {s}?"),
    ("company", "year"): ("In which year was {s} founded?", "How old is {s}?"),
    ("university", "city"): ("In which city is {s}?", "Where is {s}?"),
    ("university", "year"): ("In which year did {s} open?", "How old is {s}?"),
    ("city", "country"): ("In which country is {s}?", "{s} lies in which country?"),
    ("city", "year"): ("In which year was {s} founded?", "How old is the city {s}?"),
    ("country", "capital"): ("What is the capital of {s}?", "Which city is the capital of {s}?"),
    ("country", "currency"): ("What is the currency of {s}?", "How does one pay in {s}?"),
}
