"""What the README says is so."""

import re
from typing import Any

from conftest import GOLDEN, ROOT

from zoo.analysis.summary import summarize, to_text
from zoo.models import list_models

README = (ROOT / "README.md").read_text()


def test_table_of_nets_equals_the_goldens() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+): .*? \| (\d+) \| ([\d,]+) \| ([\d.]+%) \|$", README, re.MULTILINE
    )
    assert {name: tuple(rest) for name, *rest in rows} == {
        name: (
            golden["notebook"],
            str(golden["num_convolutions"]),
            f"{golden['params']['total']:,}",
            f"{golden['published_accuracy']:.2%}",
        )
        for name, golden in GOLDEN.items()
    }
    assert len(rows) == len(list_models())


def test_python_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(block, namespace)
    assert namespace["logits"].shape == (1, 10)
    assert namespace["state"].step == 1


def test_every_linked_file_and_config_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    configs = re.findall(r"configs/[a-z0-9_]+\.py", README)
    assert links
    for path in [*links, *configs]:
        assert (ROOT / path).exists(), path


def test_the_summary_shown_is_what_the_command_prints() -> None:
    assert f"```text\n{to_text(summarize('pooling_cnn3'))}\n```" in README
