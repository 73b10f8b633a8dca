"""The quick start under environments that others have met: the same numbers, or one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

QUICK_START = ("--config=configs/default.py", "--config.num_epochs=1", "--quiet")

# What stands before `train.py` in the process, to be what no variable can say.
WITHOUT_LOCKS = """
import errno, fcntl
def refuse(file, how):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
"""
WITHOUT_HOME = """
import os
os.environ.pop("HOME", None)
os.path.expanduser = lambda path: path  # as for a user that the system does not know
"""
START = """
import runpy, sys
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path("train.py", run_name="__main__")
"""

# Environment, preamble, parts of the notes. Variables that have nothing to do with each other stand
# together: each start costs many seconds.
SAME = [
    ({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, "", []),
    (
        {
            "MPLBACKEND": "bogus",
            "PYTHONIOENCODING": "ascii",
            "LC_ALL": "C",
            "PYTHONWARNINGS": "error",
            "TERM": "dumb",
            "COLUMNS": "0",
            "TMPDIR": "/nonexistent",
        },
        "",
        [],
    ),
    ({"JAX_ENABLE_X64": "1"}, "", []),
    ({"JAX_DISABLE_JIT": "1"}, "", []),
    ({"JAX_DEFAULT_PRNG_IMPL": "rbg"}, "", []),
    (
        {
            "JAX_THREEFRY_PARTITIONABLE": "0",
            "JAX_NUMPY_DTYPE_PROMOTION": "strict",
            "JAX_NUMPY_RANK_PROMOTION": "raise",
            "JAX_TRANSFER_GUARD": "disallow",
        },
        "",
        [],
    ),
    ({"JAX_COMPILATION_CACHE_DIR": "/dev/null/cache"}, "", ["cache of compiled programs"]),
    ({}, WITHOUT_LOCKS, ["cannot lock it (No locks available)"]),
    ({"JAX_COMPILATION_CACHE_DIR": ""}, WITHOUT_HOME, ["programs are not cached"]),
]
REFUSED = [
    ({"JAX_PLATFORMS": "cuda"}, "JAX cannot use JAX_PLATFORMS=cuda"),
    ({"JAX_PLATFORMS": "cpuu"}, "JAX cannot use JAX_PLATFORMS=cpuu"),
    ({"JAX_PLATFORM_NAME": "gpu"}, "JAX cannot use JAX_PLATFORM_NAME=gpu"),
    ({"JAX_ENABLE_X64": "maybe"}, "JAX_ENABLE_X64"),
    ({"TQDM_NCOLS": "wide"}, "'wide'"),
]
QUICK = ("module://matplotlib_inline.backend_inline", "1", "cuda")  # the others: with -m slow


def of(rows: list[tuple]) -> list[object]:
    """The rows as parameters, named by their variables."""
    return [
        pytest.param(
            *row,
            id=" ".join(f"{key}={value}" for key, value in row[0].items()) or row[1].split("\n")[1],
            marks=() if set(QUICK) & {*row[0].values()} else pytest.mark.slow,
        )
        for row in rows
    ]


def train(workdir: Path, environment: dict[str, str], preamble: str = "") -> tuple[int, str, str]:
    """(status, output, errors) of the quick start."""
    result = subprocess.run(
        [sys.executable, "-c", preamble + START, *QUICK_START, f"--workdir={workdir}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The result line of the quick start as it is."""
    status, output, errors = train(tmp_path_factory.mktemp("plain") / "run", {})
    assert (status, errors) == (0, "")
    return output


@pytest.mark.parametrize(("environment", "preamble", "notes"), of(SAME))
def test_the_result_is_the_same(
    tmp_path: Path, plain: str, environment: dict[str, str], preamble: str, notes: list[str]
) -> None:
    status, output, errors = train(tmp_path / "run", environment, preamble)
    assert (status, output) == (0, plain), errors
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("note: ")]
    assert len(lines) == len(notes), errors
    for line, note in zip(lines, notes, strict=True):
        assert note in line
    assert (tmp_path / "run/history.png").exists()


@pytest.mark.parametrize(("environment", "sentence"), of(REFUSED))
def test_what_cannot_work_is_one_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    status, output, errors = train(tmp_path / "run", environment)
    assert (status, output) == (2, "")
    assert errors.startswith("train.py: ")
    assert errors.count("\n") == 1
    assert sentence in errors
    assert not (tmp_path / "run").exists()


def test_a_picture_that_cannot_be_drawn_ends_nothing(tmp_path: Path, plain: str) -> None:
    broken = "import matplotlib.figure; matplotlib.figure.Figure.savefig = None\n"
    status, output, errors = train(tmp_path / "run", {}, broken)
    assert (status, output) == (0, plain)
    assert errors.startswith("note: history.png could not be drawn (TypeError: ")
    assert errors.count("\n") == 1
    assert train(tmp_path / "run", {}) == (0, plain, "")  # complete: drawn now
    assert (tmp_path / "run/history.png").exists()


def test_an_unexpected_error_is_a_sentence_that_leads_to_its_traceback(tmp_path: Path) -> None:
    broken = "import zoo.data; zoo.data.load = None\n"
    status, _, errors = train(tmp_path / "run", {}, broken)
    assert (status, errors.count("\n")) == (2, 1)
    assert errors.startswith("train.py: unexpected error (TypeError: 'NoneType' object is not ")
    status, _, errors = train(tmp_path / "run", {"ZOO_TRACEBACK": "1"}, broken)
    assert "Traceback" in errors


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "run"),
        pytest.param(("evaluate", "lenet3"), marks=pytest.mark.slow),
        pytest.param(("predict", "lenet3", "x.png"), marks=pytest.mark.slow),
        pytest.param(("summary", "vgg5"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_readers_refuse_a_device_that_is_not_there(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """With the sentence of training, not as an unexpected error; what needs no device works."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/history.json").write_text("{}")
    result = subprocess.run(
        [sys.executable, "-m", "zoo.cli", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if command[0] == "summary":
        assert (result.returncode, result.stderr) == (0, "")
    else:
        assert result.returncode == 2
        assert result.stderr.startswith("zoo: JAX cannot use JAX_PLATFORMS=cuda")
