"""The tests on every Python and JAX that pyproject.toml allows, and lint.

`nox` runs all, and skips a Python that is not there; `nox -s tests-3.13 -- tests/ops` runs a part.
"""

import nox

# A Python that is not there is neither fetched nor, where CI is set, an error.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """The quick tests, with the pinned versions."""
    session.install("-c", "constraints.txt", "-e", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session(name="tests-jax-0.11", python="3.12")
def tests_jax_0_11(session: nox.Session) -> None:
    """The quick tests with the JAX between the two that constraints.txt pins."""
    session.install("-c", "constraints.txt", "-e", ".[test]")
    session.install("jax==0.11.*", "jaxlib==0.11.*")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format, import contracts and types."""
    session.install("-c", "constraints.txt", "-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("mypy")
