"""What the README says is so.

python tests/test_readme.py writes its table of nets anew, after `zoo reproduce`.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- table of nets -->\n).*?(?=\n<!-- end of the table -->)", re.DOTALL)


def table_of_nets() -> str:
    """The nets with their published accuracy, and ours as docs/results/reproduction.json has it."""
    import zoo.reproduction.published
    from zoo.analysis.summary import summarize
    from zoo.models import MODELS
    from zoo.models.layers import Conv
    from zoo.reproduction.published import TITLES
    from zoo.reproduction.results import by_notebook, read
    from zoo.system.text import mean_text

    runs = read(ROOT / "docs/results/reproduction.json")
    lines = [
        "| net | notebook | convolutions | parameters | published | reproduced |",
        "|---|---|---:|---:|---:|---|",
    ]
    for net, published in zoo.reproduction.published.load().items():
        own = [run.test["accuracy"] for run in by_notebook(runs, net)]
        cells = (
            f"`{net}`",
            f"{published.notebook}: {TITLES[published.notebook]}",
            str(sum(isinstance(layer, Conv) for layer in MODELS[net])),
            f"{summarize(net).parameters:,}",
            f"{published.accuracy:.2%}",
            f"{mean_text(own, '.2%')} (n = {len(own)})" if own else "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_table_of_nets_is_that_of_the_results() -> None:
    """If it is not: python tests/test_readme.py"""
    assert TABLE.findall(README.read_text()) == [table_of_nets()]


def test_the_table_of_nets_equals_the_goldens() -> None:
    """Beside the test above, which shares the package's code: these counts are the notebooks'."""
    from conftest import GOLDEN

    rows = re.findall(
        r"^\| `(\w+)` \| (\d+): .*? \| (\d+) \| ([\d,]+) \| ([\d.]+%) \| .* \|$",
        README.read_text(),
        re.MULTILINE,
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
    assert len(rows) == len(GOLDEN)


def test_it_can_be_read_at_one_sitting() -> None:
    assert len(README.read_text().splitlines()) <= 150


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    README.write_text(TABLE.sub(lambda _: table_of_nets(), README.read_text()))
