"""The repository's one address, in every notebook: in its first cell and in its link to Colab.

Knows notebooks as documents; executes none.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..artifacts import ROOT
from ..errors import FireActError
from ..files import read_text, write_file
from .series import NOTEBOOKS, read_source, repository, sources


def set_repository(name: str) -> list[Path]:
    """Make "owner/name" on GitHub the address everywhere; gives the files that were written.

    Raises FireActError, and writes nothing, for what is no such name, or when a notebook differs
    from its source in more than the address.
    """
    import nbformat

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[\w.-]{1,100}", name):
        raise FireActError(
            f"{name!r} is no name of a repository. Give it as owner/name, as in the address "
            "https://github.com/owner/name."
        )
    old, new = repository(), f"https://github.com/{name}"
    texts = {ROOT / name: read_text(ROOT / name) for name in ("pyproject.toml", "CITATION.cff")}
    texts |= {page: read_text(page) for page in sorted(NOTEBOOKS.glob("*.md"))}
    texts = {path: text.replace(old, new) for path, text in texts.items() if old in text}
    for source in sources():
        path = NOTEBOOKS / f"{source.stem}.ipynb"
        notebook = nbformat.reads(read_text(path), as_version=4)
        before, after = read_source(source, address=old), read_source(source, address=new)
        if [c.source for c in notebook.cells] != [c.source for c in before.cells]:
            raise FireActError(
                f"{path.name} is not what its source says. Renew it first: fireact-nb build "
                f"{source.stem[:2]}"
            )
        for cell, written in zip(notebook.cells, after.cells, strict=True):
            cell["source"] = written.source
        texts[path] = nbformat.writes(notebook) + "\n"
    for path, text in texts.items():
        write_file(path, text)
    return list(texts)
