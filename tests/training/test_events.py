"""What a run tells others while it goes on: the log hook, TensorBoard's event files."""

import shutil
import struct
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from tensorboardX.proto.event_pb2 import Event

import zoo.training.history
from zoo.training import train_and_evaluate
from zoo.training.events import DIRECTORY

Logged = list[tuple[dict[str, float], int]]


def read_events(workdir: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each scalar, by its tag, from TFRecords without checking their CRCs."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((workdir / DIRECTORY).glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_the_hook_gets_each_epoch_once_and_the_test(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    logged: Logged = []
    history = train_and_evaluate(
        tiny_config, tmp_path, quiet=True, log=lambda *arguments: logged.append(arguments)
    )
    assert history.test is not None
    assert [step for _, step in logged] == [5, 10, 10]
    assert [numbers for numbers, _ in logged[:2]] == history.epochs
    tested = {f"test_{name}": history.test[name] for name in ("loss", "accuracy")}
    assert logged[2][0] == tested
    tiny_config.num_epochs = 3
    train_and_evaluate(tiny_config, tmp_path, quiet=True, log=lambda *new: logged.append(new))
    assert [step for _, step in logged[3:]] == [5, 10, 15, 15]  # the whole run again
    assert logged[3:5] == logged[:2]
    train_and_evaluate(tiny_config, tmp_path, quiet=True, log=lambda *new: logged.append(new))
    assert logged[7:] == logged[3:7]  # of a complete run too


def test_of_many_seeds_the_means_and_each(tiny_config: ConfigDict, tmp_path: Path) -> None:
    tiny_config.update(num_seeds=2, seed=3, num_epochs=1)
    logged: Logged = []
    history = train_and_evaluate(
        tiny_config, tmp_path, quiet=True, log=lambda *arguments: logged.append(arguments)
    )
    numbers, losses = logged[0][0], history.epochs[0]["loss"]
    assert [numbers["seed_3/loss"], numbers["seed_4/loss"]] == losses
    assert numbers["loss"] == pytest.approx(sum(losses) / 2)
    assert all(isinstance(value, int | float) for value in numbers.values())


def test_event_files_hold_each_epoch_once_wherever_the_run_was_stopped(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(numbers: dict[str, float], step: int) -> None:
        raise StopError

    tiny_config.tensorboard = True
    with pytest.raises(StopError):  # after the first epoch was saved, before it was written
        train_and_evaluate(tiny_config, tmp_path, quiet=True, log=stop)
    train_and_evaluate(tiny_config, tmp_path, quiet=True)
    history = zoo.training.history.read(tmp_path)
    assert history.test is not None
    events = read_events(tmp_path)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        expected = [(record["step"], pytest.approx(record[name])) for record in history.epochs]
        assert events[name] == expected
    assert events["test_accuracy"] == [(10, pytest.approx(history.test["accuracy"]))]


def test_without_the_option_there_are_no_event_files(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path, quiet=True)
    assert not (tmp_path / DIRECTORY).exists()
    tiny_config.update(num_epochs=2, tensorboard=True)  # it may be asked for later
    train_and_evaluate(tiny_config, tmp_path, quiet=True)
    assert [step for step, _ in read_events(tmp_path)["loss"]] == [5, 10]
    shutil.rmtree(tmp_path / DIRECTORY)
    train_and_evaluate(tiny_config, tmp_path, quiet=True)  # nor need it go on for that
    assert [step for step, _ in read_events(tmp_path)["loss"]] == [5, 10]
