"""train.py and zoo plot as a user runs them, in processes of their own."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, write_idx, write_idx_dataset

import train
import zoo
import zoo.system.process
import zoo.training.history
from zoo.cli.arguments import parse
from zoo.data.idx import FILES
from zoo.system.errors import ZooError

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = "--config=configs/default.py"
DEFAULT = f"--config={ROOT / 'configs/default.py'}"  # from any directory


def tiny(idx_dir: Path, workdir: Path, *more: str) -> list[str]:
    """Arguments for a run of seconds."""
    return [
        "train.py",
        "--config=configs/pooling_cnn3.py",
        "--config.dataset=idx",
        f"--config.manual_dir={idx_dir}",
        "--config.batch_size=16",
        "--config.num_epochs=2",
        f"--workdir={workdir}",
        *more,
    ]


@pytest.fixture
def quickly_compiled(tmp_path: Path) -> str:
    """An option: a net that takes little time where nothing is cached."""
    (tmp_path / "small.py").write_text(
        "from zoo.models.layers import *\nNET = (Conv(2, 3, stride=3), Flatten(), Head())"
    )
    return f"--config.model={tmp_path / 'small.py'}:NET"


def test_a_run_from_the_command_line(run_python: Run, idx_dir: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "a run"
    arguments = tiny(idx_dir, workdir, "--config.optimizer.learning_rate=0.002")
    result = run_python(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("pooling_cnn3: 87,914 parameters, seed 0\n")
    assert "\r" not in result.stdout  # no bar where there is no terminal
    assert "\ncompiling …\nepoch 1/2 " in result.stdout
    assert f"wrote history.json, history.png and checkpoints to {workdir}" in result.stdout
    assert json.loads((workdir / "history.json").read_text())["config"]["optimizer"][
        "learning_rate"
    ] == pytest.approx(0.002)

    again = run_python(*arguments)
    assert again.returncode == 0
    assert again.stdout.startswith(f"{workdir} is complete (2 epochs): nothing to do\ntest: loss ")

    picture = tmp_path / "curves.svg"
    assert run_python("-m", "zoo", "plot", workdir, "-o", picture).returncode == 0
    assert picture.read_bytes().startswith(b"<?xml")


def test_a_second_start_compiles_nothing(
    run_python: Run,
    idx_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quickly_compiled: str,
) -> None:
    """All programs come from the folder of the first run: none is added to it."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    kept = []
    for name in ("first", "second"):
        more = (quickly_compiled, "--config.seed=3", "--config.num_epochs=1")
        arguments = tiny(idx_dir, tmp_path / name, *more)
        result = run_python(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        kept.append({path.name for path in (tmp_path / "caches").rglob("*-cache")})
    assert any(name.startswith("jit_run-") for name in kept[0])
    assert kept[0] == kept[1]


def test_a_cache_folder_that_cannot_be_written_costs_nothing_else(
    run_python: Run,
    idx_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quickly_compiled: str,
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "file/cache"))
    more = (quickly_compiled, "--config.num_epochs=1")
    result = run_python(*tiny(idx_dir, tmp_path / "run", *more))
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


def test_quiet(run_python: Run, idx_dir: Path, tmp_path: Path) -> None:
    result = run_python(*tiny(idx_dir, tmp_path / "run", "--quiet"))
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith("test: loss ")


@pytest.mark.parametrize(
    "columns",
    [80, pytest.param(0, marks=pytest.mark.slow)],  # some pseudo-terminals tell no width
)
def test_a_terminal_shows_a_live_bar(columns: int, tmp_path: Path) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=2000, num_test=20)
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    arguments = tiny(tmp_path / "idx", tmp_path / "run", "--config.num_epochs=1")
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    output = b""
    while select.select([main], [], [], 120)[0]:
        try:
            piece = os.read(main, 4096)
        except OSError:  # the process has closed its side
            break
        if not piece:
            break
        output += piece
    os.close(main)
    assert process.wait(timeout=60) == 0
    parts = output.decode().split("\r")
    bars = [part for part in parts if re.search(r"^epoch 1/1 .*, loss \d", part)]
    assert bars, parts
    assert re.search(
        r" 1/1 .{10,} \d+/1600, loss \d\.\d{4}, +[\d.]+ images/s, [\d:]+ left$", bars[-1]
    )
    lines = output.decode().replace("\r", "\n").splitlines()
    assert all(len(line) <= 80 for line in lines if line.startswith("epoch"))
    ended = (
        r"epoch 1/1  +[\d.]+ s  loss \d\.\d{4}  acc [\d.]+%  val_loss \d\.\d{4}  val_acc [\d.]+%"
    )
    assert any(re.fullmatch(ended, line) for line in lines), lines


def test_a_reader_that_leaves_is_no_error(idx_dir: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, *tiny(idx_dir, tmp_path / "run")]
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def broken_idx(folder: Path, damage: str) -> None:
    write_idx_dataset(folder, num_train=20, num_test=10)
    path = folder / FILES["train"][0]
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        write_idx(path, np.zeros(20))


NO_NETWORK = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config.nmu_epochs=3"], "unknown key config.nmu_epochs: did you mean num_epochs"),
        (["--config.optimizer.lr=1"], "unknown key config.optimizer.lr: "),
        (
            ["--config.num_epochs=three"],
            "config.num_epochs must be a whole number from 1 to 2,147,483,647",
        ),
        (
            ["--config.num_epochs=1.5"],
            "config.num_epochs must be a whole number from 1 to 2,147,483,647",
        ),
        (
            ["--config.num_epochs=-1"],
            "config.num_epochs must be a whole number from 1 to 2,147,483,647",
        ),
        (["--config.model=vgg6"], "config.model: unknown net 'vgg6': did you mean vgg5"),
        (["--config.dataset=cifar10"], "config.dataset must be one of digits, mnist"),
        (
            ["--config.validation=none"],
            "config.validation must be one of holdout, holdout_last, test",
        ),
        (
            ["--config=configs/vgg55.py"],
            "'configs/vgg55.py' does not exist: did you mean configs/vgg5.py",
        ),
        (["--config=SYNTAX"], "the configuration file cannot be loaded: SyntaxError: "),
        (["--config=TMP/text.csv"], "try zoo train pooling_cnn3 --config.dataset=csv:TMP/text.csv"),
        (["--config=TMP/x_train.npy"], "try zoo train pooling_cnn3 --config.dataset=npy:TMP\n"),
        (["--config=TMP/text"], "--config.dataset=KIND:TMP/text, KIND being one of images, npz, "),
        (["--config=STOP"], "the configuration file cannot be loaded: KeyboardInterrupt\n"),
        (["--config=NETS"], "NETS has nets, but no get_config(): try zoo train NETS:MY_NET\n"),
        (["--config=BROKEN"], "the configuration file cannot be loaded: ZeroDivisionError"),
        (["--config=EXIT"], "the configuration file cannot be loaded: SystemExit: 3"),
        (["--config=NONE"], "file's get_config() must return a ConfigDict"),
        (["--config="], "--config needs a file: try --config configs/default.py"),
        (["--config=configs"], "the configuration file 'configs' is a directory"),
        (["--config.optimizer=adam"], "config.optimizer is a group of keys: did you mean"),
        (["--config.model=VGG5"], "unknown net 'VGG5': did you mean vgg5"),
        (["--workdir=gs://bucket/run"], "a run's directory must be on this machine"),
        (["--config=EMPTY"], "the configuration file cannot be loaded: AttributeError"),
        (["--workdir"], "--workdir needs a directory: try --workdir runs/first"),
        (["--workdir="], "--workdir needs a directory: try"),
        (["--workdir", "--quiet"], "--workdir needs a directory: try"),
        (["--workdir=a", "--workdir=b"], "--workdir is given twice, 'a' and 'b': give it once"),
        (["--quiet=maybe"], "--quiet must be true or false, not 'maybe'"),
        (
            ["--flagfile=TMP/none"],
            "--flagfile cannot be read (No such file or directory: 'TMP/none",
        ),
        (["--flagfile=TMP"], "--flagfile cannot be read (Is a directory: 'TMP'): give a file"),
        (["--config.num_classes=5"], "unknown key config.num_classes: it follows from the dataset"),
        (["--workdri=x"], "Unknown command line flag 'workdri'. Did you mean: workdir"),
        (["configs/vgg5.py"], "unexpected argument 'configs/vgg5.py': options are --config FILE"),
        (["--workdir=/dev/null/run", "--config.dataset=digits"], "/dev/null/run"),
        (
            ["--config.dataset=kmnist", "--config.data_dir=TMP"],
            "kmnist is not prepared, no manual_dir was given, and http",
        ),
        (
            ["--config.dataset=mnist", "--config.manual_dir=TMP/none", "--config.data_dir=TMP"],
            "manual_dir is not a directory: TMP/none: name the one with the IDX files",
        ),
        (
            ["--config.dataset=idx", "--config.manual_dir=TMP/truncated"],
            "TMP/truncated/train-images-idx3-ubyte.gz is truncated: get it again",
        ),
        (
            ["--config.dataset=mnist", "--config.manual_dir=TMP/magic", "--config.data_dir=TMP"],
            "TMP/magic/train-images-idx3-ubyte.gz is not an IDX file of 3-axis bytes: it starts",
        ),
        (["--workdir=TMP/other"], "TMP/other holds a run with another configuration"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_is_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run_zoo: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
) -> None:
    """The same sentence from `train.py` and from `zoo train`."""
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    names = "".join(arguments)
    for damage in ("truncated", "magic"):
        if damage in names:
            broken_idx(tmp_path / damage, damage)
    if "other" in names:
        (tmp_path / "other").mkdir()
        from zoo.configs import vgg5

        config = vgg5.get_config().to_dict()
        model = {"name": config["model"], "num_params": 1}
        data = {"num_train": 1, "num_val": 1, "num_test": 1, "num_classes": 10}
        zoo.training.history.History(config, {}, model, data).write(tmp_path / "other")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "syntax.py").write_text("no Python at all")
    (tmp_path / "nets.py").write_text(
        "from zoo.models.layers import *\nMY_NET = (Flatten(), Head())"
    )
    (tmp_path / "stop.py").write_text("raise KeyboardInterrupt")
    for name in ("text.csv", "text", "x_train.npy"):  # data is never executed
        (tmp_path / name).write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    (tmp_path / "exit.py").write_text("raise SystemExit(3)")
    (tmp_path / "none.py").write_text("def get_config(): pass")
    replace = {
        "TMP": str(tmp_path),
        "BROKEN": str(tmp_path / "broken.py"),
        "EMPTY": str(tmp_path / "empty.py"),
        "SYNTAX": str(tmp_path / "syntax.py"),
        "NETS": str(tmp_path / "nets.py"),
        "STOP": str(tmp_path / "stop.py"),
        "EXIT": str(tmp_path / "exit.py"),
        "NONE": str(tmp_path / "none.py"),
    }

    def fill(text: str) -> str:
        for name, value in replace.items():
            text = text.replace(name, value)
        return text

    filled = [*map(fill, arguments)]
    if "--workdir" not in names:
        filled.append(f"--workdir={tmp_path / 'run'}")
    config = [argument for argument in filled if re.match("--config(=|$)", argument)]
    others = [argument for argument in filled if argument not in config]
    monkeypatch.setattr(sys, "argv", ["train.py", *(config or [CONFIG]), *others])
    status = zoo.system.process.status_of("train.py", train.main)
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, ""), printed
    assert fill(sentence) in printed.err
    assert printed.err.startswith("train.py: ")
    assert printed.err.count("\n") == 1
    file = (config or [CONFIG])[0].removeprefix("--config=")
    if file.endswith(".py"):
        same = printed.err.removeprefix("train.py").replace(" --config FILE,", "")
        assert run_zoo("train", file, *others) == (2, "", f"zoo{same}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing argument 'NET|FILE|DIRECTORY'"),
        (["vgg6"], "unknown net 'vgg6': did you mean vgg5?"),
        (["zzz"], "unknown net 'zzz': zoo list prints the names"),
        (["vgg5", "--config=configs/vgg5.py"], "unexpected argument '--config=configs/vgg5.py'"),
        (["--config.seed=3", "vgg5"], "NET must come before '--config.seed=3': try zoo train"),
        (["configs"], "the configuration file 'configs' is a directory"),
        (["benchmark"], "unknown net 'benchmark': did you mean benchmarks?"),
        (["no/data"], "there is no 'no/data': name a net, a configuration file or a directory of"),
        (
            ["data.csv"],
            "there is no 'data.csv': name a net, a configuration file or a directory of",
        ),
        (
            ["a.py:A", "--config.model=vgg5"],
            "a.py:A names the model, and so does '--config.model=vgg5': leave one out, such as zoo "
            "train pooling_cnn3 --config.model=a.py:A",
        ),
    ],
)
def test_a_wrong_name_for_zoo_train_is_one_sentence(
    run_zoo: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(ROOT)
    status, output, errors = run_zoo("train", *arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"zoo: {sentence}")


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        (["plot", "run"], "Missing option '-o' / '--output': try -o plot.png"),
        (["export", "lenet3"], "Missing option '-o' / '--output': try -o export.onnx"),
        (["report", "run"], "Missing option '-o' / '--output': try -o report.html"),
        (["compare"], "Missing argument 'RUN|RESULTS...': try zoo compare --help"),
    ],
)
def test_what_is_missing_is_told_with_an_example(
    run_zoo: Callable[..., tuple[int, str, str]], arguments: list[str], way: str
) -> None:
    assert run_zoo(*arguments) == (2, "", f"zoo: {way}\n")


def test_what_is_no_net_and_no_run_is_one_sentence(
    run_zoo: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for command in ("summary", "evaluate"):
        for name, sentence in (
            ("file", f"{tmp_path}/file is not a directory: name the directory of a run"),
            ("none", f"{tmp_path}/none/history.json does not exist: name the directory of a run"),
        ):
            assert run_zoo(command, tmp_path / name) == (2, "", f"zoo: {sentence}\n")


def test_zoo_train_trains_a_net_by_name_and_a_file(
    run_zoo: Callable[..., tuple[int, str, str]], idx_dir: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from zoo.configs import pooling_cnn3\n\n\ndef get_config():\n"
        "    config = pooling_cnn3.get_config()\n    config.seed = 7\n    return config\n"
    )
    options = ["--config.dataset=idx", f"--config.manual_dir={idx_dir}", "--config.num_epochs=1"]
    for name, seed in (("pooling_cnn3", 0), (own, 7)):
        workdir = tmp_path / str(seed)
        status, output, errors = run_zoo("train", name, *options, "--workdir", workdir, "--quiet")
        assert (status, errors) == (0, "")
        assert output.startswith("test: loss ")
        history = zoo.training.history.read(workdir)
        assert (history.config["seed"], history.config["model"]) == (seed, "pooling_cnn3")


@pytest.mark.parametrize("early", [True, False])
def test_a_flag_file_may_come_before_the_configuration(tmp_path: Path, early: bool) -> None:
    """And may name itself; keys may come before the configuration, too."""
    file = tmp_path / "flags"
    file.write_text(f"--config.num_epochs=3\n--quiet\n--flagfile={file}\n")
    options = [f"--flagfile={file}", "--config.seed=2"]
    found = parse([*options, DEFAULT] if early else [DEFAULT, *options])
    assert (found.config.num_epochs, found.config.seed, found.quiet) == (3, 2, True)


def test_of_a_key_given_twice_the_last_value_counts() -> None:
    found = parse([DEFAULT, "--config.num_epochs=1", "--config.num_epochs=2"])
    assert found.config.num_epochs == 2


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("--config.seed", "Missing value for flag --config.seed: options are --config FILE"),
        ("--undefok", "Missing value for flag --undefok: options are --config FILE"),
        ("--flagfile", "--flagfile needs a file: give a file with one option a line"),
        ("--workdir", "--workdir needs a directory: try --workdir runs/first"),
    ],
)
def test_an_option_without_its_value_is_one_sentence(last: str, sentence: str) -> None:
    with pytest.raises(ZooError, match=sentence):
        parse([DEFAULT, last])


def test_config_given_twice_is_one_sentence() -> None:
    with pytest.raises(ZooError, match=r"--config is given twice, '.*' and 'other\.py': give it"):
        parse([DEFAULT, "--config", "other.py"])


@pytest.mark.parametrize(
    ("option", "said"), [("--helpfull", "--workdir DIR:"), ("--version", zoo.__version__)]
)
def test_absls_options_for_help_print_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", option])
    assert train.main() == 0
    assert said in capsys.readouterr().out


def test_config_missing_is_one_sentence_and_status_2(run_python: Run) -> None:
    result = run_python("train.py")
    assert result.returncode == 2
    assert result.stderr == "train.py: --config is missing: try --config configs/default.py\n"


def test_help_names_every_option(run_python: Run) -> None:
    result = run_python("train.py", "--help")
    assert result.returncode == 0
    for option in ("--config", "--workdir", "--quiet"):
        assert option in result.stdout


def test_mnist_through_train_py(
    run_python: Run, mnist_manual_dir: Path, mnist_data_dir: Path | None, tmp_path: Path
) -> None:
    """The genuine images where ZOO_MNIST_DIR names their files; small ones, as idx, elsewhere."""
    dataset = "mnist" if mnist_data_dir else "idx"
    arguments: list[Any] = [
        "train.py",
        "--config=configs/ablation_cnn3.py",
        "--config.model=pooling_cnn3",
        f"--config.dataset={dataset}",
        f"--config.manual_dir={mnist_manual_dir}",
        f"--config.data_dir={mnist_data_dir or ''}",
        "--config.num_epochs=1",
        "--config.batch_size=500",
        f"--workdir={tmp_path / 'run'}",
    ]
    result = run_python(*arguments)
    assert result.returncode == 0, result.stderr
    history = zoo.training.history.read(tmp_path / "run")
    assert history.test is not None
    if mnist_data_dir:
        assert "mnist: 60,000 training images" in result.stdout
        assert history.test["num_examples"] == 10_000
        assert history.test["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("encoding", "spread"),
    [("ascii", "+-"), pytest.param("latin-1", "±", marks=pytest.mark.slow)],
)
def test_what_an_encoding_lacks_is_spelled(
    idx_dir: Path, tmp_path: Path, encoding: str, spread: str
) -> None:
    arguments = tiny(idx_dir, tmp_path / "run", "--config.num_seeds=2", "--config.num_epochs=1")
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "\ncompiling ...\n" in result.stdout
    assert re.search(rf"loss [\d.]+ {re.escape(spread)} [\d.]+, accuracy", result.stdout)
