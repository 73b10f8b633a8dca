"""The model card of saved weights: README.md as the Hugging Face Hub shows it."""

import json
from typing import Any

from zoo.models.net import ConvNet, layer_macs, places


def model_card(model: ConvNet, config: dict[str, Any], dtype: str) -> str:
    """Markdown with the Hub's header."""
    name = config["net"] or "a convolutional net"
    height, width, channels = config["image_shape"]
    macs = sum(layer_macs(model.net, config["image_shape"], model.num_classes).values())
    header = [
        "library_name: jax-cnn-zoo",
        "pipeline_tag: image-classification",
        "tags: [jax, flax, cnn]",
    ]
    header += [
        f"{key}: {json.dumps(value)}"
        for key, value in (
            ("license", config.get("license")),
            ("datasets", [config["dataset"]] if config.get("dataset") else None),
        )
        if value
    ]
    lines = [
        *("---", *header, "---", "", f"# {name}", ""),
        f"A net of the JAX CNN zoo for images of {height}x{width}x{channels} and "
        f"{model.num_classes} classes, {macs:,} multiply-adds per image, weights in {dtype}.",
        "",
        "```python",
        "import zoo.models",
        "",
        'model, variables = zoo.models.from_pretrained("DIRECTORY")  # or "hf://OWNER/NAME"',
        f"# images: [B, {height}, {width}, {channels}]",
        "logits = model.apply(variables, images, train=False)",
        "```",
        "",
        "Layers:",
        "",
        *(
            f"- `{place.path}`: `{place.layer!r}`"
            for place in places(model.net, config["image_shape"])
        ),
        *([f"- `head`: {model.num_classes} logits"] if model.num_classes else []),
    ]
    for key in ("input", "test", "training"):
        facts = config.get(key)
        if isinstance(facts, dict) and facts:
            told = [f"- {name}: {_told(value)}" for name, value in facts.items() if value != ""]
            lines += ["", f"{key.capitalize()}:", "", *told]
    return "\n".join([*lines, "", "All of this is in `config.json`."]) + "\n"


def _told(value: Any) -> str:
    """One line: numbers to four digits, the pairs of a mapping separated by commas."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split())
