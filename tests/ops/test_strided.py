"""Strided, grouped and depthwise convolution, and average-pooling, against XLA's own."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import xla_ops
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.ops

CASES = {  # (images, kernel, padding, stride, groups)
    "3x3 stride 2": ((3, 9, 8, 5), (3, 3, 5, 4), "SAME", 2, 1),
    "3x3 stride 2 without padding": ((2, 9, 8, 6), (3, 3, 6, 4), "VALID", 2, 1),
    "5x5 stride 3 of one channel": ((2, 11, 12, 1), (5, 5, 1, 3), "SAME", 3, 1),
    "patches of 2x2": ((2, 7, 8, 5), (2, 2, 5, 4), "VALID", 2, 1),
    "every other pixel": ((2, 7, 8, 5), (1, 1, 5, 4), "SAME", 2, 1),
    "a kernel larger than the image": ((2, 3, 2, 5), (7, 6, 5, 4), "SAME", 2, 1),
    "two groups": ((2, 6, 5, 10), (3, 3, 5, 4), "SAME", 1, 2),
    "two groups, stride 2": ((2, 6, 5, 10), (3, 3, 5, 4), "SAME", 2, 2),
    "depthwise": ((3, 7, 6, 5), (3, 3, 1, 5), "SAME", 1, 5),
    "depthwise, stride 2": ((3, 7, 6, 5), (3, 3, 1, 5), "SAME", 2, 5),
    "depthwise, two features each": ((3, 7, 6, 5), (3, 2, 1, 10), "VALID", 1, 5),
    "depthwise, two features each, stride 2": ((3, 7, 6, 5), (3, 2, 1, 10), "SAME", 2, 5),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def assert_equal(actual, expected):
    """Within 1e-12 of the largest expected magnitude."""
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        scale = max(1.0, float(np.max(np.abs(other), initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * scale)


def arrays_of(case, seed=0):
    """Images with a blank border, a kernel, and a gradient with blank parts, in float64."""
    images, kernel, padding, stride, groups = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=images)
    x[:, : images[1] // 2] = 0
    x[:, :, -1:] = 0
    operands = jnp.asarray(x), jnp.asarray(rng.normal(size=kernel))
    conv = functools.partial(xla_ops.conv, padding=padding, stride=stride, groups=groups)
    dy = rng.normal(size=jax.eval_shape(conv, *operands).shape)
    return *operands, jnp.asarray(dy * (rng.random(dy.shape) < 0.5))


def products(conv, x, kernel, dy):
    """The output and both gradients."""
    y, transpose = jax.vjp(conv, x, kernel)
    return y, *transpose(dy)


def both(case):
    """The convolution here and that of XLA."""
    options = dict(zip(("padding", "stride", "groups"), case[2:], strict=True))
    return (functools.partial(module.conv, **options) for module in (zoo.ops, xla_ops))


@every_case
def test_output_and_gradients_equal_xla(case):
    with jax.enable_x64(True):
        arrays = arrays_of(case)
        own, xla = (jax.jit(functools.partial(products, conv))(*arrays) for conv in both(case))
        assert_equal(own, xla)
        for one, other in zip(own, xla, strict=True):  # XLA's are exact sums of products of zeros
            assert not np.asarray(one)[np.asarray(other) == 0].any()


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    taps=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 4),
    groups=st.sampled_from([1, 2, 6]),
    seed=st.integers(0, 2**16),
)
def test_any_geometry_equals_xla(size, taps, stride, groups, seed):
    case = ((2, *size, 6), (*taps, 6 // groups, 6), "SAME", stride, groups)
    with jax.enable_x64(True):
        arrays = arrays_of(case, seed)
        own, xla = (jax.jit(functools.partial(products, conv))(*arrays) for conv in both(case))
        assert_equal(own, xla)


def every_mode(conv, x, kernel, dy):
    """Derivatives in each mode, of each operand and of both."""

    def loss(x, kernel):
        return jnp.sum(jnp.sin(conv(x, kernel)) * dy)

    def slope(x, kernel):
        return jax.jvp(loss, (x, kernel), (jnp.cos(x), jnp.sin(kernel)))[1]

    stacked = jnp.stack([x, 2 * x]), jnp.stack([kernel, -kernel, jnp.cos(kernel)])
    gradient = jax.grad(loss, (0, 1))
    return {
        "jvp": jax.jvp(conv, (x, kernel), (jnp.cos(x), jnp.sin(kernel))),
        "forward over reverse": jax.jvp(gradient, (x, kernel), (jnp.cos(x), jnp.sin(kernel))),
        "reverse over forward": jax.grad(slope, (0, 1))(x, kernel),
        "reverse over reverse": jax.grad(
            lambda x, kernel: sum(jnp.sum(each**3) for each in gradient(x, kernel)), (0, 1)
        )(x, kernel),
        "vmap over images": jax.vmap(gradient, (0, None))(stacked[0], kernel),
        "vmap over kernels": jax.vmap(gradient, (None, 0))(x, stacked[1]),
        "vmap over both": jax.vmap(gradient)(stacked[0], stacked[1][:2]),
    }


@pytest.mark.parametrize(
    "name",
    [
        "depthwise, stride 2",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("3x3 stride 2", "two groups")),
    ],
)
def test_every_mode_of_differentiation_equals_xla(name):
    case = CASES[name]
    with jax.enable_x64(True):
        arrays = arrays_of(case)
        assert_equal(*(jax.jit(functools.partial(every_mode, c))(*arrays) for c in both(case)))


def test_depthwise_gradients_in_bfloat16_are_added_up_in_float32():
    """A sum of 128 x 64 ones is exact, which bfloat16 could not count to."""
    x, kernel = jnp.ones((128, 8, 8, 2), jnp.bfloat16), jnp.ones((1, 1, 1, 2), jnp.bfloat16)
    conv = functools.partial(zoo.ops.conv, padding="SAME", groups=2)
    gradient = jax.grad(lambda kernel: conv(x, kernel).astype(jnp.float32).sum())(kernel)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient.astype(jnp.float32), np.full((1, 1, 1, 2), 128 * 64))


def test_one_export_for_cpu_cuda_and_tpu():
    case = CASES["depthwise, stride 2"]
    own, _ = both(case)
    x, kernel, _ = (array.astype(np.float32) for array in arrays_of(case))
    exported = jax.export.export(jax.jit(own), platforms=["cpu", "cuda", "tpu"])(x, kernel)
    np.testing.assert_allclose(exported.call(x, kernel), own(x, kernel), rtol=1e-6, atol=1e-6)


def test_channels_that_groups_do_not_divide_are_refused():
    x, kernel = jnp.zeros((1, 5, 5, 6)), jnp.zeros((3, 3, 2, 4))
    with pytest.raises(ValueError, match="have 6 channels, the kernel 2 in 2 groups: use as many"):
        zoo.ops.conv(x, kernel, "SAME", groups=2)
    with pytest.raises(ValueError, match="4 features cannot be split into 3 groups"):
        zoo.ops.conv(x, kernel, "SAME", groups=3)


@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [(2, 2, "VALID"), (2, 2, "SAME"), (3, 2, "SAME"), (3, 1, "SAME"), (2, 3, "VALID")],
)
def test_average_pooling_and_its_gradients_equal_xla(window, stride, padding):
    with jax.enable_x64(True):
        x = arrays_of(((2, 7, 8, 3), (1, 1, 3, 3), "SAME", 1, 1))[0]

        def derivatives(pool, x):
            pool = functools.partial(pool, window=window, stride=stride, padding=padding)
            gradient = jax.grad(lambda x: jnp.sum(jnp.sin(pool(x)) ** 2))
            of_several = jax.vmap(gradient)(jnp.stack([x, jnp.cos(x)]))
            return pool(x), gradient(x), jax.jvp(gradient, (x,), (jnp.cos(x),)), of_several

        assert_equal(
            *(jax.jit(functools.partial(derivatives, m.avg_pool))(x) for m in (zoo.ops, xla_ops))
        )


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_stays_in_its_window(value):
    """With a stride below the window's side, its pixels are no whole number of blocks."""
    x, kernel = jnp.zeros((1, 7, 7, 2)), jnp.ones((3, 3, 1, 2))
    dy = jnp.zeros((1, 3, 3, 2)).at[0, 1, 1].set(value)
    pool = functools.partial(zoo.ops.avg_pool, window=3, stride=2, padding="VALID")
    conv = functools.partial(zoo.ops.conv, kernel=kernel, padding="VALID", stride=2, groups=2)
    covered = np.zeros((7, 7), bool)
    covered[2:5, 2:5] = True
    for function in (pool, conv):
        dx = jax.vjp(function, x)[1](dy)[0]
        np.testing.assert_array_equal(~np.isfinite(dx[0, :, :, 0]), covered)


def test_average_of_a_window_at_the_border_is_that_of_its_pixels():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    y = zoo.ops.avg_pool(x, 2, 2, "SAME")
    np.testing.assert_array_equal(np.reshape(y, (2, 2)), [[2, 3.5], [6.5, 8]])
    with pytest.raises(ValueError, match="a 3x3 image is smaller than the 4x4 window"):
        zoo.ops.avg_pool(x, 4, 4, "VALID")
    with pytest.raises(ValueError, match="padding must be VALID or SAME"):
        zoo.ops.avg_pool(x, 2, 2, "FULL")
