"""Whatever a file or an argument holds, a reader gives a value or one sentence."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import targets
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """A good input with a few bytes changed, cut out, doubled or put in; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    content = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 40))
        other = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"", b"null", b"-1", b"NaN", b"1e999", b"9" * 40, b"[", b'"', b"\n"]
                ),
                st.just(bytes(content[at : at + length])),
            )
        )
        content[at : at + length * draw(st.booleans())] = other
    return bytes(content)


def feed(name: str, count: int) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(targets.SEEDS[name]))
    def check(content: bytes) -> None:
        targets.run(name, content)

    argv = sys.argv
    try:
        check()
    finally:
        sys.argv = argv


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_damaged_inputs_give_a_value_or_one_sentence(name: str) -> None:
    refused = 1 if name in ("npz", "checkpoint") else 0  # of two files that each input makes
    for content in targets.SEEDS[name]:
        assert len(targets.run(name, content)) == refused  # a good input is read
    feed(name, 300)


@pytest.mark.full
@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_hundred_thousand_damaged_inputs(name: str) -> None:
    feed(name, 100_000)


@pytest.mark.parametrize(
    "count",
    [pytest.param(3_000, marks=pytest.mark.slow), pytest.param(100_000, marks=pytest.mark.full)],
)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="needs atheris: pip install -e '.[fuzz]'"
)
@pytest.mark.parametrize("name", targets.TARGETS)
def test_inputs_guided_by_coverage_give_a_value_or_one_sentence(
    name: str, count: int, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "tests/fuzz/guided.py", name, str(count), tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    done = re.search(r"stat::number_of_executed_units: (\d+)", result.stderr)
    assert done
    assert int(done[1]) >= count
    print(f"{name}: {int(done[1]):,} inputs, no fault")


def test_a_gif_that_ends_within_a_frame() -> None:
    """Which the fuzzer found: Pillow raises struct.error of it."""
    start = b"GIF87a\x14\0\x91\0\0\xc8\xc8\xc8\0\0\xff\xff\xff\xff"
    targets.run("image", start + b",\0\0\0\0\x14\0\x14\0@,\0\0\x14\0@,\0\0\0G\r5\0")
