"""The pages, the README and CONTRIBUTING: their code runs, their commands are known.

What stands above a fenced block says how it is tested:

    <!-- run -->              bash: runs (with -m slow); its output is the text block that follows
    <!-- not run: REASON -->  bash: its commands and options are parsed; python: it is compiled;
                              cpp, js: it is read by people alone
    <!-- ci: NAME -->         bash: .ci/run runs it
    <!-- file: NAME -->       python: it is run, and saved under that name for the commands below

Python blocks without such a line are run. Blocks of a page run from its top to its bottom, in one
namespace and one empty directory.
"""

import contextlib
import dataclasses
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import ROOT

import zoo
import zoo.config
from zoo.analysis.summary import summarize, to_text
from zoo.cli import cli

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/guide").glob("*.md")),
    *sorted((ROOT / "docs/nets").glob("*.md")),
    *sorted((ROOT / "docs/api").glob("*.md")),
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    mark: str  # what the comment above it says

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        if self.language == "python":
            return not self.mark.startswith("not run: ")
        return self.language == "bash" and self.mark == "run"


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, but for directives such as ```{toctree}."""
    return [
        Block(found["language"], found["text"], found["mark"] or "")
        for found in _BLOCK.finditer(page.read_text())
    ]


def takes_long(page: Path) -> bool:
    """Whether something on the page trains, or starts a process."""
    return any(
        block.is_run
        and (
            block.language == "bash" or re.search(r"train_and_evaluate\(|train_step\(", block.text)
        )
        for block in blocks_of(page)
    )


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if takes_long(page) else [], id=name_of(page))
        for page in PAGES
        if any(block.is_run for block in blocks_of(page))
    ],
)
def test_what_a_page_shows_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train.py", "configs"):
        Path(name).symlink_to(ROOT / name)
    namespace: dict[str, Any] = {}
    blocks = blocks_of(page)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if not block.is_run:
            continue
        printed = run_python(block, namespace) if block.language == "python" else run_bash(block)
        if following and following.language == "text":
            check_output(following.text, printed)


def run_python(block: Block, namespace: dict[str, Any]) -> str:
    """What the block prints."""
    if block.mark.startswith("file: "):
        Path(block.mark.removeprefix("file: ")).write_text(block.text)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(block.text, namespace)
    return printed.getvalue()


def run_bash(block: Block) -> str:
    """What the commands print, which must all succeed."""
    commands = Path("commands")
    commands.mkdir(exist_ok=True)
    python = shlex.quote(sys.executable)
    for name, line in {
        "python": f'exec {python} "$@"',
        "zoo": f"exec {python} -c 'from zoo.cli import main; main()' \"$@\"",
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", block.text],
        env={
            **os.environ,
            "PATH": f"{commands.absolute()}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_output(shown: str, printed: str) -> None:
    """Checks that the lines are those that were printed, up to numbers; "..." leaves lines out."""
    printed = printed.replace("compiling …\n", "")  # which a terminal erases
    wanted, found = (Counter(map(without_numbers, text.splitlines())) for text in (shown, printed))
    is_cut = bool(wanted.pop("...", 0))
    assert not wanted - found, "shown, but not printed"
    assert is_cut or not found - wanted, "printed, but not shown"


def without_numbers(line: str) -> str:
    """The line without what depends on the machine: numbers, bars, the width of columns."""
    line = re.sub(r"^\w+ \(.*?\), jax", "DEVICE, jax", line)
    line = re.sub(r"-?\d[\d,.]*", "#", line)
    return re.sub(r"[\s█▏▎▍▌▋▊▉]+", " ", line).strip()


@every_page
def test_blocks_say_how_they_are_tested(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in ("bash", "python", "text", "cpp", "js"), block
        if block.language in ("cpp", "js"):
            assert re.fullmatch(r"not run: \S.*", block.mark), block
        if block.language == "bash":
            assert re.fullmatch(r"run|not run: \S.*|ci: (setup|train|test)", block.mark), block
        if block.language == "python":
            assert re.fullmatch(r"|not run: \S.*|file: \w+\.py", block.mark), block
            compile(block.text, page.name, "exec")


@every_page
def test_commands_and_their_options_are_known(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "bash":
            for words in commands_in(block.text):
                check_command(words)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command of a script."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def check_command(words: list[str]) -> None:
    """Checks what can be checked of a command without running it."""
    match words:
        case ["python", "train.py", "--config", file, *options]:
            check_training(file, options)
        case ["zoo", "train", name, *options] if ".py:" in name:  # a net of one's own
            check_training("configs/default.py", options)
        case ["zoo", "train", "shapes", *options]:  # a directory of images, which a page makes
            check_training("configs/default.py", options)
        case ["zoo", "train", name, *options]:
            check_training(name if name.endswith(".py") else f"configs/{name}.py", options)
        case ["zoo", name, *arguments]:
            cli.commands[name].make_context(name, arguments)  # parses, and calls nothing
        case ["python", script, *options]:
            source = (ROOT / script).read_text()
            for option in options:
                assert not option.startswith("--") or option.split("=")[0] in source, option
        case ["pip", "install", *options]:
            for extra in re.findall(r"[\w-]+", *re.findall(r"\[(.*)\]", " ".join(options))):
                assert extra in PROJECT["project"]["optional-dependencies"], extra
        case ["pytest", *options]:
            marks = [
                text.split(":")[0] for text in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
            ]
            for option, value in zip(options, [*options[1:], ""], strict=True):
                assert option != "-m" or value in marks, value
                assert not option.startswith("tests/") or (ROOT / option).exists(), option
        case ["sphinx-build", *_, source, target]:
            assert (ROOT / source / "conf.py").exists()
            assert f"{Path(target).parent}/" in (ROOT / ".gitignore").read_text()
        case ["python3", "-m", "venv", _] | [".", _] | ["export", _] | ["mv", _, _]:
            pass
        case ["ruff" | "lint-imports" | "mypy", *_]:
            pass
        case ["srun", *others]:
            check_command(others[others.index("zoo") :])
        case _:
            raise AssertionError(f"no test knows the command {shlex.join(words)}")


def check_training(file: str, options: list[str]) -> None:
    """Checks the options of `python train.py --config FILE`; configs of users are the default's."""
    known = (ROOT / file).is_file()
    assert known or file == "my_config.py", file
    config = importlib.import_module(
        f"zoo.configs.{Path(file).stem if known else 'default'}"
    ).get_config()
    options = iter(options)
    for option in options:
        if found := re.fullmatch(r"--config\.([\w.]+)=(.*)", option):
            key, value = found.groups()
            assert zoo.config.is_key(key), key
            kind = type(zoo.config.flatten(config)[key])
            value = {"True": True, "False": False}[value] if kind is bool else kind(value)
            config.update_from_flattened_dict({key: value})
        elif option == "--workdir":
            next(options)
        else:
            several = r"--(coordinator|num_processes|process_id)=[^ ]+"
            assert option in ("--quiet", "&") or re.fullmatch(several, option), option
    zoo.config.validate(config)


@every_page
def test_names_in_running_text_are_known(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`zoo ([a-z-]+)", text):
        assert name in cli.commands, name
    for key in re.findall(r"--config\.([a-z][\w.]*)=", text):
        assert zoo.config.is_key(key), key
    for path in re.findall(r"`((?:configs|docs|tests|benchmarks|zoo)/[\w./]+)`", text):
        assert (ROOT / path).exists() or "NAME" in path or "NET" in path, path


@every_page
def test_links_lead_to_files(page: Path) -> None:
    """In the repository; Sphinx checks them on the site."""
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_no_page_names_an_option_that_a_command_does_not_have() -> None:
    """In the tables of the guide, after `zoo NAME`."""
    checked = 0
    for page in PAGES:
        for span in re.findall(r"`(zoo [^`]*--[^`]*)`", page.read_text()):
            _, name, *words = span.split()
            if name == "COMMAND":  # stands for each
                continue
            known = {text for parameter in cli.commands[name].params for text in parameter.opts}
            for word in words:
                if word.startswith("--"):
                    assert word.split("=")[0] in known, span
                    checked += 1
    assert checked


def test_the_summary_shown_is_what_the_command_prints() -> None:
    shown = (ROOT / "docs/guide/nets.md").read_text()
    assert f"```text\n{to_text(summarize('pooling_cnn3'))}\n```" in shown


def test_every_command_is_in_the_guide() -> None:
    guide = (ROOT / "docs/guide/runs.md").read_text()
    for name, command in cli.commands.items():
        assert isinstance(command, click.Command)
        assert f"`zoo {name}" in guide, name


@pytest.mark.parametrize("package", ["models", "ops", "data", "export", "training"])
def test_every_public_name_is_in_the_reference(package: str) -> None:
    page = (ROOT / f"docs/api/{package}.md").read_text()
    module = importlib.import_module(f"zoo.{package}")
    missing = [name for name in module.__all__ if not re.search(rf"\b{name}\b", page)]
    assert not missing


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {zoo.__version__}\n" in citation
    assert f"\nlicense: {PROJECT['project']['license']}\n" in citation
