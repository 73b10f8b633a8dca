"""A walk through the library, cell by cell: offline, in under a minute on two CPU cores.

Run it whole (`python docs/tour.py`), or open it in an editor that knows cells (`# %%`): VS Code,
PyCharm, Spyder, or Jupyter with Jupytext. Its pictures go to runs/tour.
"""

# %% The nets, by name
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import zoo.data
import zoo.models

folder = Path("runs/tour")
folder.mkdir(parents=True, exist_ok=True)

print(zoo.models.list_models())
print(zoo.models.list_models("ablation*"))

# %% One of them: a flax.linen.Module, and what it is made of
from zoo.analysis.summary import summarize, to_text

model = zoo.models.create_model("pooling_cnn3", num_classes=10)
print(to_text(summarize("pooling_cnn3")))

# %% Data as plain arrays: here scikit-learn's handwritten digits, which need no download
digits = zoo.data.load("digits")
images, labels = digits.train.images, digits.train.labels
print(images.shape, images.dtype, labels.shape)  # [N, 28, 28, 1] uint8, [N]

# %% Parameters are a tree of arrays; logits are a pure function of them and of images
variables = model.init(jax.random.key(0), images[:1], train=False)
print(jax.tree.map(jnp.shape, variables))
print(model.apply(variables, images[:2], train=False))  # [2, 10]

# %% Ten training steps by hand
tx = optax.adam(1e-3)
params, opt_state = variables["params"], tx.init(variables["params"])


@jax.jit
def train_step(params, opt_state, images, labels, key):
    """One step of one's own: any loss, any optimizer. (This net has no batch norm to update.)"""

    def mean_loss(params):
        logits = model.apply({"params": params}, images, train=True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(mean_loss)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


batch_size = 64
for step in range(10):
    batch = slice(step * batch_size, (step + 1) * batch_size)
    key = jax.random.fold_in(jax.random.key(1), step)
    params, opt_state, loss = train_step(params, opt_state, images[batch], labels[batch], key)
    print(f"step {step + 1:2}  loss {loss:.4f}")

# %% The features of an intermediate layer
_, outputs = model.apply({"params": params}, images[:1], train=False, mutable=["intermediates"])
features = outputs["intermediates"]["conv_1_output"][0]  # [1, 26, 26, 32]
print(features.shape)

# Without the head, the net as a whole gives features: for transfer learning, for a search
# of like images.
body = zoo.models.create_model("pooling_cnn3", num_classes=0)
without_head = {name: tree for name, tree in params.items() if name != "head"}
print(body.apply({"params": without_head}, images[:2], train=False).shape)  # [2, 128]

# %% The same training by the zoo, with a history, checkpoints, and exact resume
import zoo.config
from zoo.training import train_and_evaluate

config = zoo.config.load("pooling_cnn3")  # the notebook's settings
config.update(dataset="digits", num_epochs=5, batch_size=32)
logged = []  # what a tool that keeps numbers would be given: each epoch's, at last the test's
history = train_and_evaluate(
    config, folder / "run", log=lambda numbers, step: logged.append((step, numbers))
)
print(logged[0], logged[-1])
print(history.test)

# %% Pictures of what came out
import zoo.analysis.trained
from zoo.analysis import pictures
from zoo.system import figures
from zoo.training.curves import draw_histories

net = zoo.analysis.trained.load(folder / "run")
test = net.split("test")
figures.save(draw_histories({"my run": history}), folder / "curves.png")
figures.save(pictures.filters(net), folder / "filters.png")
figures.save(pictures.activations(net, test.images[0], "test image 0"), folder / "activations.png")
probabilities = net.probabilities(test.images)
figures.save(pictures.mistakes(net, test, probabilities), folder / "mistakes.png")
print(sorted(path.name for path in folder.glob("*.png")))
