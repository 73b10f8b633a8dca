"""Parameters by regular expressions: which match, and what is said of patterns that do not do."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.models import paths

PATHS = [
    *(f"conv_{number}/{name}" for number in (1, 2, 10) for name in ("bias", "kernel")),
    "residual_1/conv_1/kernel",
    "dense_1/kernel",
    "head/bias",
    "head/kernel",
]


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ("", []),
        ("conv_1", PATHS[:2]),
        ("conv_1/kernel", ["conv_1/kernel"]),
        ("conv_.*", PATHS[:6]),
        ("conv_1, dense_1", [*PATHS[:2], "dense_1/kernel"]),
        ("conv_1|dense_1", [*PATHS[:2], "dense_1/kernel"]),
        (r"conv_\d{1,2}", PATHS[:6]),  # a comma within brackets separates nothing
        ("conv_[1,2]", PATHS[:4]),
        (".*/bias", [*PATHS[:6:2], "head/bias"]),
        ("residual_1", ["residual_1/conv_1/kernel"]),
        ("residual_.*/conv_1", ["residual_1/conv_1/kernel"]),
        ("(?!head).*", PATHS[:-2]),
    ],
)
def test_a_pattern_matches_a_path_or_its_first_parts(freeze: str, expected: list[str]) -> None:
    assert paths.frozen(PATHS, freeze) == set(expected)


def test_of_the_rates_that_match_the_first_counts() -> None:
    found = paths.factors(PATHS, "conv_1/bias=3, conv_.*=0.1,head=1e-2")
    assert found == {
        **dict.fromkeys(PATHS[:6], 0.1),
        "conv_1/bias": 3.0,
        "residual_1/conv_1/kernel": 1.0,
        "dense_1/kernel": 1.0,
        "head/bias": 0.01,
        "head/kernel": 0.01,
    }
    assert paths.factors(PATHS, "") == dict.fromkeys(PATHS, 1.0)
    assert paths.factors(PATHS, "(?=head).*=2")["head/bias"] == 2  # the last = is the sign


@pytest.mark.parametrize(
    ("freeze", "sentence"),
    [
        ("conf_1", r"freeze: 'conf_1' matches no parameter: did you mean conv_1 or conv_10"),
        ("conv_1/kernal", r"did you mean conv_1/kernel or conv_10/kernel"),
        ("zzz", r"there are conv_1, conv_2, conv_10, residual_1/conv_1, dense_1, head$"),
        ("conv", "freeze: 'conv' matches no parameter"),  # from end to end
        ("conv_1,,head", "has an empty pattern: leave out a comma"),
        ("conv_1,", "has an empty pattern"),
        ("(", r"freeze: '\(' is not a regular expression \(missing \)"),
        ("(" * 999, "is not a regular expression"),
        ("a{1}{2}", "is not a regular expression"),
        ("x" * 1001, "must be one line of at most 1,000 characters"),
        ("conv\n1", "must be one line"),
        (".*", r"freeze: '\.\*' leaves no parameter to train"),
        ("conv_.*,residual_.*,dense_.*,head", "leaves no parameter to train"),
    ],
)
def test_a_wrong_pattern_is_a_sentence(freeze: str, sentence: str) -> None:
    with pytest.raises(paths.PatternError, match=sentence) as error:
        paths.frozen(PATHS, freeze)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ("conv_1", r"rates: 'conv_1' must be PATTERN=FACTOR, such as conv_\.\*=0.1"),
        ("conv_1=", "must be PATTERN=FACTOR"),
        ("=1", "must be PATTERN=FACTOR"),
        ("conv_1=0", "0 would freeze: use freeze"),
        ("conv_1=-1", "with a factor above 0"),
        ("conv_1=nan", "with a factor above 0"),
        ("conv_1=inf", "up to 1,000,000"),
        ("cnv_1=1", r"'cnv_1' matches no parameter that is trained: did you mean conv_1"),
        ("conv_.*=2,conv_1=1", "'conv_1' has no effect, because patterns before it match all"),
        ("[=1", "is not a regular expression"),
    ],
)
def test_a_wrong_rate_is_a_sentence(rates: str, sentence: str) -> None:
    with pytest.raises(paths.PatternError, match=sentence):
        paths.factors(PATHS, rates)


@given(st.text(max_size=40))
def test_any_text_is_patterns_or_a_sentence(text: str) -> None:
    for function in (paths.freeze_patterns, paths.rate_patterns):
        with contextlib.suppress(paths.PatternError):
            function(text)
