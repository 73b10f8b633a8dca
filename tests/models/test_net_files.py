"""Nets in files of one's own, FILE.py:NAME."""

import os
import sys
from pathlib import Path

import pytest

from zoo.models import net_files
from zoo.models.layers import Conv, Flatten, Head

NETS = """\
from zoo.models.layers import Conv, Dense, Flatten, Head
from jax.nn.initializers import zeros
from widths import WIDTH

MY_NET = (Conv(WIDTH, 3), Flatten(), Head())
NO_HEAD = MY_NET[:-1]
LAYERS = list(MY_NET)
MISMATCH = (Conv(4, 3), Dense(4), Head())
FUNCTION = (Flatten(), Head(zeros))
TWICE = MY_NET + MY_NET
LONG = (*MY_NET[:2], *[Dense(1)] * 199, Head())
NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("widths.py").write_text("WIDTH = 4\n")
    Path("my_nets.py").write_text(NETS)
    yield tmp_path
    sys.modules.pop("widths", None)


def test_a_net_is_found_in_its_file_which_may_import_its_neighbours(folder: Path) -> None:
    path = list(sys.path)
    assert net_files.find("my_nets.py:MY_NET") == (Conv(4, 3), Flatten(), Head())
    assert net_files.find(f"{folder}/my_nets.py:MY_NET") == (Conv(4, 3), Flatten(), Head())
    assert sys.path == path


def test_a_file_is_executed_once_for_each_content(folder: Path) -> None:
    file = folder / "counted.py"
    text = f"with open({str(folder / 'count')!r}, 'a') as file:\n    file.write('x')\n{NETS}"
    for content in (text, text, text.replace("Conv(WIDTH, 3)", "Conv(7, 3)")):
        file.write_text(content)
        net = net_files.find("counted.py:MY_NET")
    assert (folder / "count").read_text() == "xx"
    assert net[0] == Conv(7, 3)


def test_a_file_may_do_what_programs_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dataclasses with annotations as text; printing, which is not output; another directory."""
    Path("odd.py").write_text(
        "from __future__ import annotations\nimport dataclasses\nimport os\n"
        "@dataclasses.dataclass\nclass Width:\n    value: int = 4\n"
        f"print('hello')\nos.chdir('/')\n{NETS.replace('WIDTH,', 'Width().value,')}"
    )
    assert net_files.find("odd.py:MY_NET") == (Conv(4, 3), Flatten(), Head())
    assert Path.cwd() == folder
    assert capsys.readouterr() == ("", "hello\n")


def test_a_name_of_the_zoo_is_that_net(folder: Path) -> None:
    assert len(net_files.find("vgg5")) == 19
    assert net_files.short_name("vgg5") == "vgg5"
    assert net_files.short_name("a/my_nets.py:MY_NET") == "MY_NET"


@pytest.mark.parametrize(
    ("name", "sentence"),
    {
        "nothing.py:X": r"cannot read nothing.py \(No such file or directory\): name a net of",
        ".py:X": "unknown net '.py:X'",
        "folder.py:X": r"cannot read folder.py \(Is a directory\)",
        "my_nets.py": "my_nets.py needs the name of a net in it: did you mean my_nets.py:MY_NET or",
        "my_nets.py:MYNET": "my_nets.py has no 'MYNET': did you mean my_nets.py:MY_NET?",
        "my_nets.py:NO_HEAD": r"NO_HEAD of my_nets.py: the last layer must be Head\(\), not Flatt",
        "my_nets.py:LAYERS": r"LAYERS of my_nets.py: a net must be a tuple of layers, not \[Conv",
        "my_nets.py:LONG": "LONG of my_nets.py: layers must be a list of 1 to 200 layers, not 202",
        "my_nets.py:NUMBER": "NUMBER of my_nets.py: a net must be a tuple of layers, not 3",
        "my_nets.py:MISMATCH": "MISMATCH of my_nets.py: dense_1 needs vectors, not images: put Fl",
        "my_nets.py:FUNCTION": "FUNCTION of my_nets.py: the initializer of Head.* is a function",
        "my_nets.py:TWICE": "TWICE of my_nets.py: Head must be the last layer",
        "broken.py:X": "broken.py cannot be run: ZeroDivisionError: division by zero",
        "syntax.py:X": r"syntax.py cannot be run: SyntaxError: .*line 1",
        "leaving.py:X": "leaving.py cannot be run: SystemExit: 1",
        "empty.py:X": "empty.py has no 'X': it has no tuple of layers",
        "binary.py:X": "binary.py cannot be run: SyntaxError",
        "stopped.py:X": "stopped.py cannot be run: KeyboardInterrupt$",
        "pipe.py:X": r"cannot read pipe.py \(it is not a file\): name a net of your own as",
        "vgg6": "unknown net 'vgg6': did you mean vgg5",
    }.items(),
)
def test_what_is_wrong_with_a_file_is_one_sentence(name: str, sentence: str, folder: Path) -> None:
    Path("folder.py").mkdir()
    Path("broken.py").write_text("1 / 0\n")
    Path("syntax.py").write_text("def\n")
    Path("leaving.py").write_text("import sys\nsys.exit(1)\n")
    Path("stopped.py").write_text("raise KeyboardInterrupt\n")
    os.mkfifo("pipe.py")
    Path("empty.py").write_text("")
    Path("binary.py").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=sentence) as caught:
        net_files.find(name)
    assert "\n" not in str(caught.value)
