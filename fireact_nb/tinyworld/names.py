"""Every name and word that the tiny world is made of: invented, so that nobody can know it."""

from __future__ import annotations

OCCUPATIONS = ("director", "actor", "writer", "engineer", "painter", "singer")
GENRES = ("crime", "love", "travel", "war", "ghost", "sea")
CONSONANTS = "BDFGHJKLMNPRSTVZ"
ONSETS = tuple(c + v for c in CONSONANTS for v in "aeio")
CODAS = tuple(c + v for c in "bdfglmnrstvz" for v in ("an", "el", "in", "or", "us"))
REAL_WORDS = frozenset(
    """
    Milan Satan Venus Minus Genus Minor Manor Tenor Razor Donor Pagan
    """.split()
)
FIRST_NAMES = tuple(
    """
    Ada Bruno Clara Dario Elsa Felix Greta Hugo Irma Jonas Kira Leo Mara Nils Olga Paul Rosa
    Sven Tilda Uwe Vera Wim Yara Zeno Anton Berta Carl Dina Emil Frida Gustav Hanna Ivo Jutta
    Kurt Lena Milo Nora Otto Pia
    """.split()
)
TITLE_WORDS = tuple(
    """
    Silver Golden Crimson Hidden Broken Silent Distant Frozen Burning Hollow Early Little Last
    Quiet Bitter Gentle Northern Southern Iron Paper Glass Amber Second Empty
    """.split()
)
FIRM_WORDS = ("Works", "Group", "Motors", "Foods", "Systems", "Bank", "Airlines", "Press")
