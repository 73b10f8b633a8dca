"""Web pages: templates, style and scripts, put together into pages that load nothing else."""

import functools
import importlib.resources

import jinja2
import markupsafe


def render(template: str, **content: object) -> str:
    """The page or part of a page that a template of this folder makes of its content."""
    return _environment().get_template(template).render(content)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["include_file"] = _include_file
    return environment


def _include_file(name: str) -> markupsafe.Markup:
    """A style sheet or script of this folder as it is, to stand within the page."""
    text = importlib.resources.files("zoo.pages").joinpath(name).read_text(encoding="utf-8")
    return markupsafe.Markup(text)  # our own file, so nothing in it needs escaping
