"""Whole runs: every net trains, a resumed run equals one that was never interrupted."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import GOLDEN, write_idx_dataset
from ml_collections import ConfigDict

import zoo.data
import zoo.models
import zoo.training.history
from zoo import training
from zoo.models import list_models
from zoo.models.layers import Flatten, Head, Net
from zoo.system.errors import ZooError
from zoo.system.lock import locked
from zoo.training import programs, train_and_evaluate
from zoo.training.checkpoint import Checkpoints
from zoo.training.history import TIMINGS, History
from zoo.training.loop import Trainer
from zoo.training.nets import choose
from zoo.training.resume import first_snapshot
from zoo.training.terminal import Terminal


def untimed(history: History) -> list[dict[str, Any]]:
    """The epochs without what the clock says."""
    return [
        {key: value for key, value in record.items() if key not in TIMINGS}
        for record in history.epochs
    ]


def files_of(workdir: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(workdir)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(workdir.rglob("*"))
        if path.is_file()
    }


def last_state(config: ConfigDict, workdir: Path) -> Any:
    dataset = zoo.data.load("idx", manual_dir=config.manual_dir)
    trainer = Trainer(config, dataset, Terminal(quiet=True))
    like = first_snapshot(trainer)
    snapshot, notes = Checkpoints(workdir, 1, 1, "val_accuracy").newest(like)
    assert snapshot is not None
    assert not notes
    return snapshot.state


# Those that compile in a few seconds; the others take ten or more, all together too long for CI,
# which has the gradient of every weight of every net in tests/models.
SHORT = {"lenet3", "pooling_cnn3"}
MARKS = {**dict.fromkeys(SHORT, ()), "vgg5": pytest.mark.slow}
EVERY_NET = [pytest.param(name, marks=MARKS.get(name, pytest.mark.full)) for name in list_models()]


@pytest.mark.parametrize("name", EVERY_NET)
def test_every_net_trains_two_steps(name: str, tmp_path: Path, tiny_config: ConfigDict) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=4, num_test=2)
    tiny_config.update(
        model=name, manual_dir=str(tmp_path / "idx"), num_epochs=1, batch_size=2, eval_batch_size=2
    )
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert history.is_complete
    assert history.model == {"name": name, "num_params": GOLDEN[name]["params"]["total"]}
    assert history.epochs[0]["step"] == 2
    assert np.isfinite(history.epochs[0]["loss"])
    assert history.test is not None
    assert history.test["num_examples"] == 2
    assert (tmp_path / "run/checkpoints/2").is_dir()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_run_smooths_labels_as_its_configuration_says(
    share: float, tmp_path: Path, tiny_config: ConfigDict
) -> None:
    """Its first loss, of one batch of all images, and the gradients that explain a divergence."""
    tiny_config.update(label_smoothing=share, num_epochs=1, batch_size=72)
    net: Net = (Flatten(), Head())
    history = train_and_evaluate(tiny_config, tmp_path / "run", model=net, quiet=True)
    config, chosen = choose(tiny_config, net)
    dataset = zoo.data.load("idx", manual_dir=tiny_config.manual_dir)
    trainer = Trainer(config, dataset, Terminal(quiet=True), chosen)
    state, (images, labels) = trainer.init(), (dataset.train.images, dataset.train.labels)
    logits = trainer.model.apply({"params": state.params}, images, train=False)
    losses = -np.asarray(jax.nn.log_softmax(logits))
    plain = losses[np.arange(72), labels].mean()
    expected = (1 - share) * plain + share * losses.mean()
    assert abs(losses.mean() - plain) > 0.01 * plain  # so that 0.3 makes a difference
    assert history.epochs[0]["loss"] == pytest.approx(expected, rel=1e-5)
    batch = {"image": images, "label": labels, "mask": np.ones(72, bool)}
    assert float(trainer.gradients(state, batch)[2].loss_sum) / 72 == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("remat", [False, True])
def test_a_run_computes_activations_again_as_its_configuration_says(
    remat: bool, tiny_config: ConfigDict
) -> None:
    tiny_config.remat = remat
    dataset = zoo.data.load("idx", manual_dir=tiny_config.manual_dir)
    assert Trainer(tiny_config, dataset, Terminal(quiet=True)).model.remat is remat


def test_history_beyond_the_checkpoint_is_done_again(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    """As after a death between the history's write and the checkpoint's."""
    expected = train_and_evaluate(tiny_config, tmp_path / "whole", quiet=True)
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    history = zoo.training.history.read(tmp_path / "run")
    tiny_config.num_epochs = history.config["num_epochs"] = 2
    history.epochs.append({**history.epochs[0], "epoch": 2, "loss": 99.0})
    history.test = None
    history.write(tmp_path / "run")
    again = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert untimed(again) == untimed(expected)


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    expected = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    shutil.rmtree(tmp_path / "run/checkpoints")
    history = zoo.training.history.read(tmp_path / "run")
    history.test = None
    history.write(tmp_path / "run")
    assert untimed(train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)) == untimed(
        expected
    )


def test_a_complete_run_is_left_as_it_is(
    tmp_path: Path, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train_and_evaluate(tiny_config, tmp_path / "run")
    before = files_of(tmp_path / "run")
    capsys.readouterr()
    again = train_and_evaluate(tiny_config, tmp_path / "run")
    assert again == first
    assert files_of(tmp_path / "run") == before
    assert "is complete (2 epochs): nothing to do" in capsys.readouterr().out


def test_a_run_writes_history_checkpoints_and_picture(
    tmp_path: Path, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.validation = "holdout"
    workdir = tmp_path / "deep" / "run"
    history = train_and_evaluate(tiny_config, workdir)
    assert zoo.training.history.read(workdir) == history
    content = json.loads((workdir / "history.json").read_text())
    assert content["format"] == 2
    assert content["config"]["optimizer"]["name"] == "adam"
    assert {"jax", "flax", "optax", "platform", "device", "git_commit"} <= set(
        content["environment"]
    )
    assert list(content["epochs"][0]) == [
        "epoch",
        "step",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "seconds",
        "images_per_second",
    ]
    assert [record["step"] for record in content["epochs"]] == [4, 8]  # 57 images, batches of 16
    assert content["test"]["num_examples"] == 20
    assert (workdir / "history.png").read_bytes().startswith(b"\x89PNG")
    assert (workdir / "checkpoints/8").is_dir()

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pooling_cnn3: 87,914 parameters, seed 0"
    assert lines[1] == "idx: 57 training images, 15 held out, 20 test images"
    assert lines[3] == "compiling …"
    assert lines[4].startswith("epoch 1/2 ")
    assert "val_accuracy" in lines[4]
    assert lines[-1].startswith("test: loss ")


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_holdout_tests_the_best_epoch_once(
    tmp_path: Path, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str], metric: str
) -> None:
    """What is tested is the parameters after that epoch, also where the run was interrupted."""
    tiny_config.update(validation="holdout", num_epochs=2, checkpoint={"best_metric": metric})
    tiny_config.optimizer.learning_rate = 0.01  # jumps: the last epoch is not the best
    train_and_evaluate(tiny_config, tmp_path / "run")
    tiny_config.num_epochs = 6
    history = train_and_evaluate(tiny_config, tmp_path / "run")
    values = [record[metric] for record in history.epochs]
    best = 1 + values.index(max(values) if metric == "val_accuracy" else min(values))
    assert best < 6, "the test would say nothing"
    assert history.test is not None
    assert history.test["epoch"] == best
    said = f"of 20 images after epoch {best}, best on the held-out images"
    assert capsys.readouterr().out.splitlines()[-1].endswith(said)

    tiny_config.update(validation="holdout_last", num_epochs=best)
    last = train_and_evaluate(tiny_config, tmp_path / "last", quiet=True)
    assert last.test == history.test


def test_selection_by_test_data_is_said(
    tmp_path: Path, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "run")
    assert "the best checkpoint is chosen by test data" in capsys.readouterr().out


def test_quiet_prints_the_result_alone(
    tmp_path: Path, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    captured = capsys.readouterr()
    assert captured.out.startswith("test: loss ")
    assert len(captured.out.splitlines()) == 1
    assert captured.err == ""


def test_every_image_is_trained_on_and_scored(tmp_path: Path, tiny_config: ConfigDict) -> None:
    """The partial last batches count: 72 = 4 * 16 + 8 for training, 20 = 2 * 8 + 4 for scoring."""
    tiny_config.update(num_epochs=1, eval_batch_size=8)
    seen = []

    class Recorder(Trainer):
        def _train_epoch(self, *args: Any) -> Any:
            state, progress = super()._train_epoch(*args)
            seen.append(int(progress.sums.num_examples))
            return state, progress

    def evaluate(*args: Any) -> Any:
        metrics = evaluator(*args)
        seen.append(int(metrics.num_examples))
        return metrics

    dataset = zoo.data.load("idx", manual_dir=tiny_config.manual_dir)
    trainer = Recorder(tiny_config, dataset, Terminal(quiet=True))
    evaluator, trainer._evaluate = trainer._evaluate, evaluate
    _, record = trainer.run_epoch(trainer.init(), 1)
    assert seen == [72, 20]
    assert record["step"] == 5


def test_pieces_cover_the_epoch_and_grow_to_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock on which a step takes 20 ms, after a first one that compiles for 3 s."""
    now = 0.0
    monkeypatch.setattr(programs.time, "perf_counter", lambda: now)
    pieces = []
    for start, stop in programs.pieces(0, 200):
        now += 0.02 * (stop - start) + (3.0 if start == 0 else 0.0)
        pieces.append((start, stop))
    assert [start for start, _ in pieces[1:]] == [stop for _, stop in pieces[:-1]]
    assert (pieces[0], pieces[-1][1]) == ((0, 1), 200)
    lengths = [stop - start for start, stop in pieces]
    assert lengths[:4] == [1, 1, 4, 16]
    assert set(lengths[4:-1]) <= {24, 25}


def test_images_too_small_for_the_net_are_one_sentence(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=10, num_test=10, size=20)
    tiny_config.update(model="vgg5", manual_dir=str(tmp_path / "idx"))
    with pytest.raises(ZooError, match=r"vgg5 on idx: a 20x20 image is too small .* is 28x28"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)


def test_workdir_of_another_run_is_refused(tmp_path: Path, tiny_config: ConfigDict) -> None:
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    before = files_of(tmp_path / "run")
    tiny_config.seed = 7
    with pytest.raises(ZooError, match=r"another configuration, seed \(0 there, 7 here\)"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert files_of(tmp_path / "run") == before


@pytest.mark.slow
def test_more_epochs_of_a_warm_up_equal_uninterrupted_ones(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    """A warm-up longer than the first run: the schedule must not depend on num_epochs."""
    tiny_config.optimizer.warmup_epochs = 3.0
    whole = train_and_evaluate(tiny_config, tmp_path / "whole", quiet=True)
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "parts", quiet=True)
    tiny_config.num_epochs = 2
    parts = train_and_evaluate(tiny_config, tmp_path / "parts", quiet=True)
    assert untimed(parts) == untimed(whole)


def test_other_data_in_the_same_folder_is_another_run(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=20, num_test=10)
    tiny_config.update(manual_dir=str(tmp_path / "idx"), num_epochs=1)
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    write_idx_dataset(tmp_path / "idx", num_train=30, num_test=10)
    tiny_config.num_epochs = 2
    with pytest.raises(ZooError, match=r"a run on other data \(num_train 20 there, 30 here; sha"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)


def test_a_batch_larger_than_the_dataset_is_the_dataset(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    tiny_config.update(batch_size=2**31 - 1, num_epochs=1)
    history = train_and_evaluate(tiny_config, tmp_path / "run $x_1$", quiet=True)
    assert history.epochs[0]["step"] == 1
    assert (tmp_path / "run $x_1$/history.png").exists()


def test_a_second_process_in_the_same_workdir_is_refused(
    tmp_path: Path, tiny_config: ConfigDict
) -> None:
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"), pytest.raises(ZooError, match="another process is training"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_run_without_checkpoints_says_so_and_starts_again(
    tmp_path: Path, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.checkpoint.every_epochs = 0
    tiny_config.num_epochs = 1
    first = train_and_evaluate(tiny_config, tmp_path / "run")
    assert "wrote history.json, history.png to" in capsys.readouterr().out
    tiny_config.num_epochs = 2
    with pytest.raises(ZooError, match="complete run but no checkpoint from which it could go on"):
        train_and_evaluate(tiny_config, tmp_path / "run")
    assert zoo.training.history.read(tmp_path / "run") == first
    first.test = None  # as if it had been killed before its end
    first.write(tmp_path / "run")
    second = train_and_evaluate(tiny_config, tmp_path / "run")
    assert (
        "there is no good checkpoint, so the run starts from its beginning"
        in capsys.readouterr().err
    )
    assert untimed(second)[0] == untimed(first)[0]


def test_a_step_in_a_loop_of_ones_own() -> None:
    """What zoo.training offers to other code suffices for a loop."""
    model = zoo.models.create_model("pooling_cnn3")
    tx = optax.adam(1e-3)
    state = training.create_train_state(model, tx, seed=0, image_shape=(28, 28, 1))
    step = jax.jit(training.make_train_step(model, tx), donate_argnums=0)
    batch = {
        "image": jnp.zeros((2, 28, 28, 1), jnp.uint8),
        "label": jnp.zeros(2, jnp.int32),
        "mask": jnp.ones(2, bool),
    }
    old = state.params["conv_1"]["kernel"]
    state, metrics = step(state, batch)
    assert metrics.means()["loss"] > 0
    assert old.is_deleted()  # donated: no second copy of the state in memory


def test_bfloat16_trains(tmp_path: Path, tiny_config: ConfigDict) -> None:
    tiny_config.update(dtype="bfloat16", num_epochs=1)
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert np.isfinite(history.epochs[0]["val_loss"])
