"""The book: the committed notebooks and the pages around them as a static site (`make book`).

Nothing is executed: the outputs stand as they are committed. Nothing needs a network, neither the
build nor the reader: formulas become MathML, which browsers show without a script.
"""

import shutil
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger

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
```
"""


def _add_contents(app, docname, content):
    if docname == app.config.root_doc:
        content[0] += _CONTENTS


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


def _add_front_page(app, error):
    """A folder opens at index.html; the first page of the book is README."""
    if not error and app.builder.format == "html":
        folder = Path(app.outdir)
        shutil.copyfile(folder / f"{app.config.root_doc}.html", folder / "index.html")


def setup(app):
    app.add_html_math_renderer("mathml", (_write_math, None), (_write_math, None))
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _add_front_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
