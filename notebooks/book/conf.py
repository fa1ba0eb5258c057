"""The book: the committed notebooks and the pages around them as a static site (`make book`).

Nothing is executed: the outputs stand as they are committed. Nothing needs a network, neither the
build nor the reader: formulas become MathML, which browsers show without a script.
"""

import shutil
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger

from fireact_nb.analysis.explorer import write_explorer
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.artifacts import DATA
from fireact_nb.tinyworld import TinyWorld

project = html_title = "FireAct, hands-on"
author = "FireAct hands-on contributors"

extensions = ["myst_nb"]
root_doc = "README"
exclude_patterns = ["src", "book", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_static_path = ["book.css"]
html_css_files = ["book.css"]
pygments_dark_style = "github-dark"  # the default one underlines names as if they were links
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False
html_math_renderer = "mathml"

# The pages are read on GitHub too, which shows no such lists: they are added here.
_CONTENTS = """

```{toctree}
:hidden:
:caption: The series
:glob:

[0-9][0-9]_*
```

```{toctree}
:hidden:
:caption: Around the series

GLOSSARY
INSTRUCTOR
workshop/README
```

```{toctree}
:hidden:
:caption: The workshop kit

workshop/MAIL
workshop/SLIDES_MORNING
workshop/SLIDES_AFTERNOON
workshop/QUESTIONS
workshop/QUIZ
workshop/PROJECT
workshop/RESET
workshop/CERTIFICATE
```

## Explore the study

<a href="EXPLORER">The explorer</a> shows every question of the shipped study against every agent:
who got it right, what choosing among them could reach, and how sure one can be. It is one page that
works offline; `fireact-nb explore` makes one of your own outcomes.
"""

_DOWNLOAD = (
    '<p class="page-links"><a href="{0}.ipynb" download>&#9661; Download this notebook</a></p>'
)

# It opens on what the paper asks: which way to prompt the teacher, beside the best one asked again.
_METHODS = ("io", "cot", "react", "reflexion")
_VIEW = {"task": "hotpotqa", "show": [f"teacher, {method}, 2 examples" for method in _METHODS]}
_EXPLORER = f"explorer/study.html#{urlencode(_VIEW, doseq=True)}"


def _add_contents(app, docname, content):
    if docname == app.config.root_doc:
        content[0] += _CONTENTS.replace("EXPLORER", escape(_EXPLORER))


def _write_math(translator, node):
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        getLogger(__name__).warning("cannot read the formula: %s", error, location=node)
        formula = f"<code>{translator.encode(node.astext())}</code>"
    tag = "div" if block else "span"
    translator.body.append(f'<{tag} class="math">{formula}</{tag}>')
    raise nodes.SkipNode


def _add_download(app, pagename, templatename, context, doctree):
    """Below a notebook's title. (The link to Colab stands in the notebook itself.)"""
    if pagename[:2].isdigit():
        button = f"</h1>\n{_DOWNLOAD.format(pagename)}"
        context["body"] = context["body"].replace("</h1>", button, 1)


def _add_files(app, error):
    """A folder opens at index.html, the book's first page is README; and the notebooks."""
    if not error and app.builder.format == "html":
        folder = Path(app.outdir)
        shutil.copyfile(folder / f"{app.config.root_doc}.html", folder / "index.html")
        for notebook in Path(app.srcdir).glob("[0-9][0-9]_*.ipynb"):
            shutil.copyfile(notebook, folder / notebook.name)


def _add_explorer(app, error):
    if not error and app.builder.format == "html":
        outcomes = read_outcomes(DATA / "outcomes" / "study.csv.gz")
        page = Path(app.outdir) / "explorer" / "study.html"
        write_explorer(
            page, outcomes, (), TinyWorld().held_out(), "The study, question by question"
        )


def setup(app):
    app.add_html_math_renderer("mathml", (_write_math, None), (_write_math, None))
    app.connect("source-read", _add_contents)
    app.connect("html-page-context", _add_download)
    app.connect("build-finished", _add_files)
    app.connect("build-finished", _add_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
