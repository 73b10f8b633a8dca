"""How Sphinx makes the site: `sphinx-build -W --keep-going -b html docs docs/_build/html`.

The build needs no network, but for the page `draw_onnx`, which says so if there was none. The pages
ask no other site for anything: fonts are the reader's own, and formulas are MathML, which browsers
draw without a script.
"""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

import zoo
import zoo.export
from zoo.models import layer_lists, packaged, pretrained
from zoo.system.errors import ZooError

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

# The page draw_onnx: npm's onnxruntime-web
ONNX_RUNTIME = "1.30.0"
ONNX_RUNTIME_FILES = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)

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


def _write_onnx(app: Sphinx) -> None:
    """Writes the net of the page `draw_onnx` and its runtime; or why they are missing."""
    if app.builder.format != "html":
        return
    folder = app.outdir / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    missing = ""
    try:
        net = pretrained.read_packaged("pooling_cnn3")
        zoo.export.export(net.model, net.variables, folder / "pooling_cnn3.onnx")
        for file in ONNX_RUNTIME_FILES:
            shutil.copy(_onnx_runtime(app.doctreedir) / file, folder / file)
    except ZooError as error:
        missing = str(error)
    except (OSError, subprocess.SubprocessError):
        missing = "npm could not fetch it when the page was built"
    if missing:
        logging.getLogger(__name__).info(f"the page draw_onnx is without its net: {missing}")
    script = f"const onnxIsMissing = {json.dumps(missing)};\n"
    (folder / "onnx_is_missing.js").write_text(script)


def _onnx_runtime(cache: Path) -> Path:
    """The directory of the runtime's scripts, fetched by npm unless the cache holds it."""
    cache = Path(cache, f"onnxruntime-web-{ONNX_RUNTIME}")
    found = cache / "node_modules/onnxruntime-web/dist"
    if not found.exists():
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", cache)
        npm = shutil.which("npm") or "npm"
        subprocess.run(
            [npm, "install", *options, f"onnxruntime-web@{ONNX_RUNTIME}"],
            check=True,
            capture_output=True,
            timeout=300,
        )
    return found


def _is_there(app: Sphinx, script: str) -> bool:
    """Whether the site has that script, or will have it."""
    return any(Path(folder, "_static", script).exists() for folder in (app.outdir, app.srcdir))


def _add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    of_onnx = ("onnx_is_missing.js", ONNX_RUNTIME_FILES[0], "draw_onnx.js")
    if page in ("draw", "draw_onnx"):
        app.add_css_file("draw.css")
        own = [name for name in of_onnx if page == "draw_onnx" and _is_there(app, name)]
        for name in ("drawn_net.js", "net.js", "framing.js", *own, "draw.js"):
            app.add_js_file(name, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
    app.connect("autodoc-skip-member", _is_left_out)
    app.connect("builder-inited", _write_drawn_net)
    app.connect("builder-inited", _write_onnx)
    app.connect("html-page-context", _add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
