"""Writes nets.json and published.json: what the five notebooks say, under this project's names.

    python tests/golden/make_nets.py REFERENCE.json

REFERENCE.json lists the nets as read off the notebooks (layers in order with shapes and parameter
counts, training settings, printed results). It is not part of the project; nets.json is what the
tests need of it, published.json what the notebooks printed when they trained. Nothing in either is
computed by this project's code.
"""

import json
import re
import sys
from pathlib import Path

# name here -> id in the reference; the pairs are named by their true number of convolutions
IDS = {
    "lenet3": "n001_lenet3",
    "vgg5": "n001_vgg5",
    "custom7": "n001_custom7",
    "kernels_cnn3": "n000_cnn3",
    "kernels_cnn5": "n000_cnn5",
    "kernels_cnn7": "n000_cnn7",
    "pairs_cnn6": "n002_cnn3",
    "pairs_cnn10": "n002_cnn5",
    "pairs_cnn14": "n002_cnn7",
    "pooling_cnn3": "n003_cnn3",
    "pooling_cnn5": "n003_cnn5",
    "pooling_cnn7": "n003_cnn7",
    "pooling_cnn3_late": "n003_cnn3_dropout",
    "ablation_cnn3": "n004_cnn3",
    "ablation_cnn3_dropout": "n004_cnn3_dropout",
    "ablation_cnn5": "n004_cnn5",
    "ablation_cnn5_dropout": "n004_cnn5_dropout",
    "ablation_cnn7": "n004_cnn7",
    "ablation_cnn7_dropout": "n004_cnn7_dropout",
}
STEMS = {"maxpool": "max_pool", "batchnorm": "batch_norm"}
FIELDS = (
    "kernel_shape",
    "kernel_init",
    "rate",
    "pool",
    "strides",
    "padding",
    "momentum",
    "epsilon",
)


def convert_layer(layer: dict, is_head: bool) -> dict:
    """One layer of the reference under its name here."""
    stem, number = layer["name"].rsplit("_", 1)
    return {
        "name": "head" if is_head else f"{STEMS.get(stem, stem)}_{number}",
        "type": layer["type"],
        "output_shape": layer["output_shape"],
        "params": layer["params"],
        **{field: layer[field] for field in FIELDS if field in layer},
    }


def convert_net(net: dict) -> dict:
    """What the tests need of one net."""
    optimizer = net["optimizer"]
    return {
        "notebook": net["seed"],
        "num_convolutions": net["n_conv_layers"],
        "params": net["params_computed"],
        "weights_without_gradient": net["dead_kernel_weights_computed"],
        "batch_size": net["batch_size"],
        "num_epochs": net["epochs"],
        "optimizer": optimizer["name"],
        "learning_rate": optimizer["learning_rate"],
        "epsilon": optimizer["epsilon"],
        "validation": {"validation_split": "holdout_last", "test_set_used_as_validation": "test"}[
            net["validation"]["scheme"]
        ],
        "published_accuracy": net["final_test_accuracy"],
        "layers": [
            convert_layer(layer, is_head=layer is net["layers"][-1]) for layer in net["layers"]
        ],
    }


def convert_results(net: dict) -> dict:
    """What the notebook printed when it trained the net; None: not printed, or cut off."""
    printed = net["history"]
    return {
        "notebook": net["seed"],
        "id": net["id"],
        "num_epochs": net["epochs"],
        "history": {
            "loss": printed["loss"],
            "accuracy": printed["acc"],
            "val_loss": printed["val_loss"],
            "val_accuracy": printed["val_acc"],
            "seconds": printed["seconds"],
        },
        "test": {"loss": net["final_test_loss"], "accuracy": net["final_test_accuracy"]},
        "seconds_per_epoch": net["mean_seconds_per_epoch"],
        "hardware": None,
        "uncertain_epochs": net["uncertain_epochs"],
        "wrong": [with_our_names(text) for text in net["inconsistencies"]],
    }


def with_our_names(text: str) -> str:
    """The text with each net's name here in place of its id in the reference."""
    names = {identifier: name for name, identifier in IDS.items()}
    return re.sub(r"n00\d_\w+", lambda found: names.get(found[0], found[0]), text)


def main() -> None:
    """Writes the two files."""
    reference = {net["id"]: net for net in json.loads(Path(sys.argv[1]).read_text())}
    nets = {name: convert_net(reference[identifier]) for name, identifier in IDS.items()}
    lines = []  # a line per layer: short, and a change shows in a diff
    for name, net in nets.items():
        layers = ",\n".join("    " + json.dumps(layer) for layer in net.pop("layers"))
        head = json.dumps(net)[1:-1]
        lines.append(f'"{name}": {{{head},\n  "layers": [\n{layers}\n  ]}}')
    content = "{\n" + ",\n".join(lines) + "\n}\n"
    (Path(__file__).parent / "nets.json").write_text(content)

    results = {name: convert_results(reference[identifier]) for name, identifier in IDS.items()}
    lines = []  # a line per fact
    for name, net in results.items():
        facts = ",\n".join(f"  {json.dumps(key)}: {json.dumps(fact)}" for key, fact in net.items())
        lines.append(f'"{name}": {{\n{facts}\n}}')
    published = Path(__file__).parents[2] / "zoo" / "reproduction" / "published.json"
    published.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
