"""The book: built once from the committed pages; complete, whole, and in no need of a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote

import furo
import nbformat
import pytest
from bs4 import BeautifulSoup

from fireact_nb.analysis import markup
from fireact_nb.analysis.explorer import columns_of
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.artifacts import ROOT
from fireact_nb.course import series

pytestmark = pytest.mark.slow  # whole builds and whole trainings

BOOK = series.NOTEBOOKS / "book"
KIT = [f"workshop/{page.stem}" for page in sorted((series.NOTEBOOKS / "workshop").glob("*.md"))]
PAGES = ["README", "GLOSSARY", "INSTRUCTOR", *KIT]

# Forms that a lesson may take, in one more notebook: a formula, folded code, an output that folds.
FORMS = r"""# 99 · Forms

Inline $\frac{\alpha}{r} B A$ costs \$5, and

$$
\begin{aligned}
\hat{w} &= q \cdot s \\
s &= \max_i |w_i|
\end{aligned}
$$

<details><summary>Solution</summary>

```python
def twice(x):
    return 2 * x
```

</details>
"""


def build(pages: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """As `make book` does it."""
    command = re.search(r"-m sphinx (.+) -d \S+ -c \S+ ", (ROOT / "Makefile").read_text())[1]
    places = ["-d", str(out.parent / "cache"), "-c", str(BOOK), str(pages), str(out)]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *command.split(), *places], capture_output=True, text=True
    )


def write_notebook(path: Path, *texts: str) -> None:
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    output = nbformat.v4.new_output("stream", text="executed\n")
    cells.append(nbformat.v4.new_code_cell("1 / 0", execution_count=1, outputs=[output]))
    metadata = series.read_source(series.sources()[0]).metadata
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy of the pages with the notebook of forms added to them."""
    folder = tmp_path_factory.mktemp("book")
    shutil.copytree(series.NOTEBOOKS, folder / "pages", ignore=shutil.ignore_patterns(".*"))
    write_notebook(folder / "pages" / "99_forms.ipynb", FORMS)
    done = build(folder / "pages", folder / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(book: Path) -> dict[str, BeautifulSoup]:
    return {
        path.name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in book.glob("*.html")
    }


def stems() -> list[str]:
    return sorted(path.stem for path in series.NOTEBOOKS.glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("stem", stems())
def test_notebook_is_there_with_its_title_and_outputs(stem, pages) -> None:
    notebook = nbformat.read(series.NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    title = re.match(r"# (.+)", notebook.cells[0].source)[1]
    page = pages[f"{stem}.html"]
    assert page.h1.get_text().rstrip("¶").replace("’", "'") == title  # set as in print
    assert page.title.get_text().replace("’", "'").startswith(title)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert len(page.select("div.cell_input")) == len(code)
    assert len(page.select("div.cell_output")) == len([cell for cell in code if cell.outputs])
    pictures = [i for cell in code for o in cell.outputs for i in re.findall("<img", str(o))]
    assert len(page.select("div.cell_output img[alt]")) == len(pictures)


def test_contents_lead_to_every_page(pages) -> None:
    for name, page in pages.items():
        listed = [a["href"].partition("#")[0] for a in page.select(".sidebar-tree a[href]")]
        wanted = {f"{stem}.html" for stem in stems() + PAGES[1:]} - {name}
        assert wanted <= set(listed), name
        series_part = [link for link in listed if link[:1].isdigit()]
        assert series_part == sorted(series_part), name


def test_the_folder_opens_at_the_map(book: Path, pages) -> None:
    assert (book / "index.html").read_bytes() == (book / "README.html").read_bytes()
    assert len(pages["index.html"].select('article img[src$="map.svg"][alt]')) == 1


def test_each_notebook_can_be_downloaded_and_opened_elsewhere(book: Path, pages) -> None:
    for stem in stems():
        page = pages[f"{stem}.html"]
        (button,) = page.select("article a[download]")
        assert (book / button["href"]).read_bytes() == (
            series.NOTEBOOKS / f"{stem}.ipynb"
        ).read_bytes()
        assert [a for a in page.select("article a") if "colab.research" in a["href"]], stem


def test_the_front_page_tells_how_to_begin(pages) -> None:
    page = pages["index.html"]
    assert "make lab" in page.article.pre.get_text()
    assert [a for a in page.select("article a[href='workshop/README.html']")]


def test_links_inside_lead_somewhere(book: Path, pages) -> None:
    lost = []
    for name, page in pages.items():
        for element in page.select("[href], [src]"):
            link = element.get("href", element.get("src"))
            if re.match(r"[a-z]+:", link):
                continue
            path, _, place = unquote(link).partition("#")
            target = path.partition("?")[0] or name
            known = target not in pages or not place or pages[target].find(id=place)
            if not (book / target).exists() or not known:
                lost.append(f"{name}: {link}")
    assert lost == []


def test_the_studys_explorer_opens_on_agents_that_it_holds(book: Path, pages) -> None:
    (link,) = pages["index.html"].select('article a[href^="explorer/"]')
    path, _, view = link["href"].partition("#")
    shown = parse_qs(view)["show"]
    assert len(shown) == 4 and (book / path).stat().st_size > 100_000
    columns = columns_of(read_outcomes(ROOT / "data/outcomes/study.csv.gz"))
    assert set(shown) <= columns.keys()


def test_reading_needs_no_network(book: Path, pages) -> None:
    away = re.compile(r"\s*(?:https?:)?//")
    for name, page in pages.items():
        for element in page.find_all(True):
            loads = ["src", "srcset", "data", "poster"] + ["href"] * (element.name != "a")
            links = [element[x] for x in loads if element.get(x) and element.name != "meta"]
            assert not [link for link in links if away.match(link)], f"{name}: {element}"
            check_style(element.get("style", ""), name)
        for element in page.find_all("style"):
            check_style(element.get_text(), name)
        for element in page.find_all("script"):
            assert "://" not in element.get_text(), f"{name}: {element}"
    for sheet in book.rglob("*.css"):
        check_style(sheet.read_text(encoding="utf-8"), sheet.name)
    for script in book.rglob("*.js"):
        if script.name != "searchindex.js":  # words of the pages, and their titles
            addresses = re.findall(r"[\"'`]https?://[^\"'`]+", script.read_text(encoding="utf-8"))
            assert all("//www.w3.org/" in address for address in addresses), script.name


def check_style(css: str, place: str) -> None:
    found = re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", css)
    assert not found, f"{place} loads {found}"


def test_formulas_are_drawn_by_the_browser_itself(pages) -> None:
    page = pages["99_forms.html"]
    assert [formula.get("display") for formula in page.find_all("math")] == [None, "block"]
    assert len(page.select("math[display=block] mtr")) == 2
    assert "costs $5, and" in page.get_text()
    assert "\\" not in page.article.p.get_text()


def test_folded_solutions_hold_highlighted_code(pages) -> None:
    (details,) = pages["99_forms.html"].select("article details")
    assert details.summary.get_text() == "Solution" and not details.has_attr("open")
    assert details.select_one("div.highlight-python pre").get_text().startswith("def twice(x):")
    folded = [
        cell.source.count("<details>")
        for stem in stems()
        for cell in nbformat.read(series.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
        if cell.cell_type == "markdown"
    ]
    found = [len(pages[f"{stem}.html"].select("article details")) for stem in stems()]
    assert sum(found) == sum(folded)


def test_nothing_is_executed(pages) -> None:
    assert pages["99_forms.html"].select_one("div.cell_output").get_text().strip() == "executed"


def test_outputs_take_their_colours_from_the_page() -> None:
    """Each colour an output borrows from JupyterLab is one of the theme's, in light and in dark."""
    sheet = (BOOK / "book.css").read_text(encoding="utf-8")
    card = Path(markup.__file__).with_name("templates") / "card.css"
    borrowed = re.findall(r"var\((--jp-[\w-]+)", card.read_text(encoding="utf-8"))
    given = dict(re.findall(r"(--jp-[\w-]+): var\((--color-[\w-]+)\);", sheet))
    assert borrowed and set(borrowed) == given.keys()
    theme = (Path(furo.__file__).parent / "theme/furo/static/styles/furo.css").read_text("utf-8")
    for look in (r"body\{", r"body\[data-theme=dark\]\{"):
        defined = "".join(re.findall(look + r"([^}]*)\}", theme))
        assert [colour for colour in given.values() if f"{colour}:" not in defined] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](nowhere.md)", "nowhere.md"),
        (r"$\nosuchcommand{x}$", r"\nosuchcommand"),
        ("![gone](nowhere.png)", "nowhere.png"),
    ],
)
def test_a_fault_stops_the_build(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "pages" / "workshop").mkdir(parents=True)
    (tmp_path / "pages" / "README.md").write_text(f"# Map\n\n{text}\n", encoding="utf-8")
    for name in PAGES[1:]:
        (tmp_path / "pages" / f"{name}.md").write_text(f"# {name}\n", encoding="utf-8")
    write_notebook(tmp_path / "pages" / "00_start.ipynb", "# Start")
    done = build(tmp_path / "pages", tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stderr
    assert len(re.findall("WARNING", done.stderr)) == 1, done.stderr
