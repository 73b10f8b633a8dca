"""Numbers that are not finite: stopped and explained, or skipped."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from test_training import files_of, last_state, untimed

import zoo.data
import zoo.training.divergence
import zoo.training.history
from zoo.models import ConvNet
from zoo.models.layers import BatchNorm, Context, Conv, Flatten, Head, Layer
from zoo.system.errors import DivergedError, ZooError
from zoo.training import programs, train_and_evaluate
from zoo.training.loop import Trainer
from zoo.training.programs import epoch_order, take_batch
from zoo.training.step import create_train_state, make_gradients, make_train_step
from zoo.training.terminal import Terminal


@pytest.fixture
def diverging(tiny_config: ConfigDict, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    """The decay is so strong that each step doubles the weights; a batch a piece."""
    monkeypatch.setattr(programs, "SECONDS_PER_PIECE", 0.0)
    tiny_config.update(num_epochs=50)
    tiny_config.optimizer.update(name="sgd", learning_rate=0.03, weight_decay=100.0)
    return tiny_config


def trainer_of(config: ConfigDict) -> Trainer:
    dataset = zoo.data.load("idx", manual_dir=config.manual_dir)
    return Trainer(config, dataset, Terminal(quiet=True))


def first_bad_step(config: ConfigDict) -> tuple[int, float, set[str]]:
    """(step, loss, layers with gradients that are not finite) by a loop of single steps."""
    trainer = trainer_of(config)
    gradients = jax.jit(make_gradients(trainer.model))
    step = jax.jit(make_train_step(trainer.model, trainer._tx))
    state = trainer.init()
    for number in range(config.num_epochs * trainer.steps_per_epoch):
        epoch, index = divmod(number, trainer.steps_per_epoch)
        data = trainer.feed.training(epoch + 1).at(index)
        batch = take_batch(data.split, data.batches[index])
        grads, _, metrics = gradients(state, batch)
        loss = float(metrics.loss_sum / metrics.num_examples)
        bad = {
            name
            for name, leaves in grads.items()
            if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(leaves))
        }
        if bad or not np.isfinite(loss):
            return number + 1, loss, bad
        state, _ = step(state, batch)
    raise AssertionError("it does not diverge")


@pytest.mark.slow
def test_a_divergence_names_step_rate_and_layer_and_keeps_the_last_good_checkpoint(
    diverging: ConfigDict, tmp_path: Path
) -> None:
    step, loss, layers = first_bad_step(diverging)
    assert step > 5, "it should have a checkpoint before"
    with pytest.raises(DivergedError) as caught:
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)
    text = str(caught.value)
    told = re.search(
        r"loss is not finite in epoch (\d+): at step (\d+) \(learning rate (\S+)\) the gradient "
        r"of (\w+) is the first that is not finite, with a loss of (\S+) \(seed 0\); use a lower "
        r"config\.optimizer\.learning_rate, .*on_nan=skip; what was saved before stays in",
        text,
    )
    assert told, text
    assert int(told[2]) == step
    assert float(told[3]) == 0.03
    assert told[4] in layers
    assert float(told[5]) == pytest.approx(loss, rel=1e-3, nan_ok=True)
    history = zoo.training.history.read(tmp_path / "run")
    assert history.test is None
    state = last_state(diverging, tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert int(state.step) == history.epochs[-1]["step"]
    assert int(state.step) < step


def test_the_layer_that_went_first_is_the_one_nearest_to_the_output(
    tiny_config: ConfigDict,
) -> None:
    trainer = trainer_of(tiny_config)
    grads = jax.tree.map(jnp.zeros_like, trainer.init().params)
    find = zoo.training.divergence._first_not_finite
    assert find(trainer, grads) is None
    grads["conv_1"]["kernel"] = grads["conv_1"]["kernel"].at[0].set(jnp.nan)
    assert find(trainer, grads) == "conv_1"
    grads["conv_3"]["bias"] = grads["conv_3"]["bias"].at[1].set(jnp.inf)
    assert find(trainer, grads) == "conv_3"
    grads["head"]["bias"] = grads["head"]["bias"].at[1].set(-jnp.inf)
    assert find(trainer, grads) == "head"


@pytest.mark.slow
def test_of_many_seeds_the_one_that_diverged_is_named(
    diverging: ConfigDict, tmp_path: Path
) -> None:
    steps = []
    for seed in (0, 1):
        diverging.seed = seed
        steps.append(first_bad_step(diverging)[0])
    diverging.update(seed=0, num_seeds=2)
    with pytest.raises(
        DivergedError, match=rf"at step {min(steps)} .* \(seed {np.argmin(steps)}\)"
    ):
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_the_same_run_goes_on_with_skip(diverging: ConfigDict, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="on_nan=skip"):
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)
    done = zoo.training.history.read(tmp_path / "run").epochs
    diverging.update(on_nan="skip", num_epochs=len(done) + 1)
    with pytest.raises(ZooError, match="num_epochs may only grow"):
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)
    diverging.num_epochs = 50
    with pytest.raises(DivergedError, match="is not finite in epoch") as caught:
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)  # weights this large
    assert "on_nan" not in str(caught.value)
    after = zoo.training.history.read(tmp_path / "run").epochs
    assert after[: len(done)] == done


MODEL = ConvNet((Conv(2, 3), BatchNorm(), Flatten(), Head()), num_classes=3)


def batch_of(image: Any) -> Any:
    return {
        "image": jnp.asarray(image, jnp.float32),
        "label": jnp.zeros(4, jnp.int32),
        "mask": jnp.ones(4, bool),
    }


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -np.inf])
def test_a_batch_with_such_a_pixel_is_skipped_whole(pixel: float) -> None:
    """Parameters, statistics and optimizer stay; the step is counted; its images are not."""
    tx = optax.adam(1e-2)
    step = jax.jit(make_train_step(MODEL, tx, skip_non_finite=True))
    images = np.random.default_rng(0).random((4, 5, 5, 1))
    state, metrics = step(create_train_state(MODEL, tx, 0, (5, 5, 1)), batch_of(images))
    assert int(metrics.num_examples) == 4
    images[1, 2, 2] = pixel
    after, metrics = step(state, batch_of(images))
    assert int(metrics.num_examples) == 0
    assert float(metrics.loss_sum) == 0
    assert int(after.step) == 2
    jax.tree.map(np.testing.assert_array_equal, after.replace(step=state.step), state)


@pytest.mark.slow
def test_without_such_a_batch_skipping_changes_nothing(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    stop = train_and_evaluate(tiny_config, tmp_path / "stop", quiet=True)
    tiny_config.on_nan = "skip"
    skip = train_and_evaluate(tiny_config, tmp_path / "skip", quiet=True)
    for one, other in zip(untimed(skip), untimed(stop), strict=True):
        assert one.pop("skipped") == 0
        assert one == pytest.approx(other, rel=1e-5)


@dataclasses.dataclass(frozen=True)
class NoWhiteImages(Layer):
    """Not a number for an image that is white everywhere."""

    kind = "no_white_images"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return jnp.where(jnp.min(x, (1, 2, 3), keepdims=True) > 0.99, jnp.nan, x)


def test_a_run_counts_the_images_of_a_batch_that_it_left_out(
    tiny_config: ConfigDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of its five batches has a white image."""
    given = zoo.data.load("idx", manual_dir=tiny_config.manual_dir)
    images = np.array(given.train.images)
    images[5] = 255
    dataset = zoo.data.from_arrays(images, given.train.labels, given.test.images, given.test.labels)
    tiny_config.update(on_nan="skip", num_epochs=1)
    (order,) = np.where((epoch_order(jnp.uint32(0), 1, 72, 16) == 5).any(1))
    model = ConvNet((NoWhiteImages(), Flatten(), Head()))
    history = train_and_evaluate(tiny_config, tmp_path / "run", model=model, dataset=dataset)
    size = 8 if order.item() == 4 else 16  # 72 images: the last batch is of 8
    assert history.epochs[0]["skipped"] == size
    assert f"note: {size} images were left out: the loss or the" in capsys.readouterr().err


def test_where_every_batch_is_skipped_the_run_says_so(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    tiny_config.optimizer.update(name="sgd", learning_rate=1e30)
    tiny_config.on_nan = "skip"
    with pytest.raises(DivergedError, match="is not finite in epoch 1; use a lower"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_a_stop_after_a_bad_gradient_saves_no_bad_state(
    diverging: ConfigDict, tmp_path: Path
) -> None:
    """Checkpoints after each piece: none of them may hold what is not finite."""
    diverging.checkpoint.every_minutes = 1e-9
    with pytest.raises(DivergedError, match=r"at step \d+ "):
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)
    state = last_state(diverging, tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    before = files_of(tmp_path / "run")
    with pytest.raises(DivergedError, match=r"at step \d+ "):
        train_and_evaluate(diverging, tmp_path / "run", quiet=True)
    checkpoints = [name for name in before if name.startswith("checkpoints")]
    assert checkpoints
    assert {name: files_of(tmp_path / "run")[name] for name in checkpoints} == {
        name: before[name] for name in checkpoints
    }
