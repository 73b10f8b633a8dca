"""Web pages: templates, style and scripts, combined into self-contained pages."""

import base64
import functools
import hashlib
import importlib.resources

import jinja2
from markupsafe import Markup


def render(template: str, **content: object) -> str:
    """Renders a template of this directory to a page or a part of a page."""
    return _environment().get_template(template).render(content)


@functools.cache
def policy() -> str:
    """The Content-Security-Policy of a page: it loads nothing and runs only our scripts."""
    names = sorted(file.name for file in importlib.resources.files(__name__).iterdir())
    scripts = [_read(name) for name in names if name.endswith(".js")]
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.web", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Our own files, so they need no escaping.
    environment.globals["script"] = lambda name: Markup(f"<script>{_read(name)}</script>")
    environment.globals["style"] = lambda name: Markup(f"<style>{_read(name)}</style>")
    environment.globals["policy"] = policy
    return environment


@functools.cache
def _read(name: str) -> str:
    return importlib.resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
