"""How Sphinx makes the site: `sphinx-build -W --keep-going -b html docs docs/_build/html`.

The build needs no network, and the pages ask no other site for anything: fonts are the reader's
own, and formulas are MathML, which browsers draw without a script.
"""

import base64
import json
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import zoo
from zoo.models import layer_lists, packaged, pretrained

project = "JAX CNN zoo"
author = "The jax-cnn-zoo maintainers"
copyright = author
release = zoo.__version__
version = release

extensions = [
    "myst_nb",  # Markdown and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",  # Google-style docstrings
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Pages
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tour's outputs are kept in the file, and a test executes it
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "tango"
pygments_dark_style = "github-dark"

# API reference: docstrings write `code` between single backticks, and types stand in signatures
default_role = "code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False


def _inline_formula(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _displayed_formula(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _is_left_out(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leaves out what Flax and NamedTuple add to a class."""
    text = getattr(member, "__doc__", None) or ""
    added = name in ("replace", "name", "parent", "scope") or text.startswith("Alias for field")
    return True if added else None


def _write_drawn_net(app: Sphinx) -> None:
    """Writes the net of the page `draw` as a script: opened from disk, a page may read no file."""
    if app.builder.format != "html":
        return
    net = pretrained.read_packaged("pooling_cnn3")
    content = {
        **{key: net.config[key] for key in ("image_shape", "num_classes", "framing")},
        "layers": layer_lists.to_content(net.model.net),
        "safetensors": base64.b64encode(
            (packaged.WEIGHTS / net.config["file"]).read_bytes()
        ).decode(),
    }
    folder = app.outdir / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drawn_net.js").write_text(f"const drawnNet = {json.dumps(content)};\n")


def _add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if page == "draw":
        app.add_css_file("draw.css")
        for name in ("drawn_net.js", "net.js", "framing.js", "draw.js"):
            app.add_js_file(name, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
    app.connect("autodoc-skip-member", _is_left_out)
    app.connect("builder-inited", _write_drawn_net)
    app.connect("html-page-context", _add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
