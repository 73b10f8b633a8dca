"""The operations against XLA's own: outputs and gradients, in float64 and float32."""

import functools
import itertools
import math

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import xla_ops
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.ops
from zoo.ops import winograd
from zoo.ops.windows import output_shape, same_or_valid

PADDINGS = ["VALID", "SAME"]


def assert_close(actual, expected, dtype):
    """Within 1e-5 (float32) or 1e-12 (float64) of the largest expected magnitude."""
    expected = np.asarray(expected)
    scale = float(np.max(np.abs(expected), initial=0)) or 1.0
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def output_and_gradients(function, *arrays):
    """The function's output, alone and beside its gradients, and those of an uneven sum of it."""

    def weighted(*arrays):
        y = function(*arrays)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)), y

    @jax.jit
    def both(*arrays):
        gradients, y = jax.grad(weighted, tuple(range(len(arrays))), has_aux=True)(*arrays)
        return function(*arrays), y, *gradients

    return both(*arrays)


@st.composite
def convolutions(draw):
    """(images' shape, kernel's shape, padding), often with a map smaller than the kernel."""
    padding = draw(st.sampled_from(PADDINGS))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    smallest = (height, width) if padding == "VALID" else (1, 1)
    size = [draw(st.integers(low, 13)) for low in smallest]
    channels = draw(st.sampled_from([1, 2, 3, 10, 21, 32]))
    features = draw(st.sampled_from([1, 4, 20, 33]))
    batch = draw(st.sampled_from([1, 2, 5, 7, 13]))
    return (batch, *size, channels), (height, width, channels, features), padding


def check_conv(dtype, case, seed):
    """Output and both gradients."""
    images_shape, kernel_shape, padding = case
    rng = np.random.default_rng(seed)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(rng.normal(size=images_shape), dtype)
        kernel = jnp.asarray(rng.normal(size=kernel_shape), dtype)
        actual = output_and_gradients(lambda x, k: zoo.ops.conv(x, k, padding), x, kernel)
        exact = output_and_gradients(lambda x, k: xla_ops.conv(x, k, padding), x, kernel)
        for one, other in zip(actual, exact, strict=True):
            assert_close(one, other, dtype)


conv_cases = given(
    dtype=st.sampled_from(["float32", "float64"]), case=convolutions(), seed=st.integers(0, 2**16)
)


@pytest.mark.parametrize(
    ("dtype", "case"),
    [
        ("float32", ((5, 6, 11, 1), (4, 3, 1, 20), "VALID")),  # a sum of shifted images
        ("float64", ((2, 9, 8, 10), (3, 5, 10, 33), "SAME")),  # in bands of columns
        ("float64", ((13, 2, 3, 32), (5, 4, 32, 33), "SAME")),  # a map smaller than the kernel
    ],
    ids=repr,
)
def test_conv_and_its_gradients_equal_xla(dtype, case):
    """Kernels and maps that are not square, odd batches; random ones: with -m slow."""
    check_conv(dtype, case, seed=0)


def with_blank_parts(rng, shape, dtype):
    """Normal numbers, but zeros in a rectangle or outside of one, and in some channels."""
    _, height, width, channels = shape
    rows, columns = (np.sort(rng.integers(0, size + 1, 2)) for size in (height, width))
    inside = np.zeros(shape, bool)
    inside[:, slice(*rows), slice(*columns)] = True
    live = (inside ^ rng.integers(2, dtype=bool)) & (rng.random(channels) < 0.8)
    return jnp.asarray(rng.normal(size=shape) * live, dtype)


def any_in_window(live, window, pads):
    """[..., H', W'] whether any of a window is true, of [..., H, W]."""
    padded = np.pad(live, [(0, 0)] * (live.ndim - 2) + list(pads))
    view = np.lib.stride_tricks.sliding_window_view(padded, window, (-2, -1))
    return view.any((-2, -1))


def check_zeros_of_conv(dtype, case, seed):
    """A sum of products of zeros is exactly zero; the rest equals XLA's; eager and compiled."""
    images_shape, kernel_shape, padding = case
    size = kernel_shape[:2]
    pads = same_or_valid(np.empty(images_shape), size, 1, padding)
    turned = [(side - 1 - a, side - 1 - b) for side, (a, b) in zip(size, pads, strict=True)]
    rng = np.random.default_rng(seed)
    with jax.enable_x64(dtype == "float64"):
        x = with_blank_parts(rng, images_shape, dtype)
        kernel = jnp.asarray(rng.normal(size=kernel_shape), dtype)
        dy = with_blank_parts(rng, output_shape(images_shape, kernel_shape, pads), dtype)

        def products(conv, x, kernel, dy):
            y, transpose = jax.vjp(functools.partial(conv, padding=padding), x, kernel)
            return y, *transpose(dy)

        exact = jax.jit(functools.partial(products, xla_ops.conv))(x, kernel, dy)
        compiled = jax.jit(functools.partial(products, zoo.ops.conv))(x, kernel, dy)
        live_x, live_dy = np.asarray(x) != 0, np.asarray(dy) != 0
        live = [  # of output, of the images' gradient, of the kernel's
            any_in_window(live_x.any(3), size, pads)[..., None],
            any_in_window(live_dy.any(3), size, turned)[..., None],
            any_in_window(live_x.any(0).transpose(2, 0, 1), dy.shape[1:3], pads).transpose(1, 2, 0)[
                ..., None
            ],
        ]
        for actual in (products(zoo.ops.conv, x, kernel, dy), compiled):
            for one, other, is_live in zip(actual, exact, live, strict=True):
                assert_close(one, other, dtype)
                assert not np.where(is_live, 0, one).any()


@pytest.mark.parametrize(
    ("dtype", "case"),
    [
        ("float32", ((5, 10, 7, 21), (3, 4, 21, 33), "VALID")),  # by Winograd's algorithm
        ("float64", ((7, 9, 10, 10), (4, 3, 10, 20), "SAME")),  # and in bands of columns
    ],
    ids=repr,
)
def test_conv_of_blank_parts_is_exactly_zero(dtype, case):
    """A blank patch, a pixel with zero gradients in its outputs, a weight that meets only zeros."""
    check_zeros_of_conv(dtype, case, seed=0)


WIDE = [*itertools.product(["float32", "float64"], [2, 3, 4, 5], PADDINGS)]
QUICK_WIDE = [("float32", 3, "SAME")]


def marks_of_wide(dtype, side, padding):
    """In CI: all of float64, in which the smallest error shows, and the largest of float32."""
    if (dtype, side, padding) in QUICK_WIDE:
        return ()
    is_slow = dtype == "float64" or (side, padding) == (5, "VALID")
    return pytest.mark.slow if is_slow else pytest.mark.full


@pytest.mark.parametrize(
    ("dtype", "side", "padding"),
    [pytest.param(*case, marks=marks_of_wide(*case)) for case in WIDE],
)
def test_wide_conv_of_blank_parts_is_exactly_zero(dtype, side, padding):
    """With enough channels for Winograd's algorithm, also merged into bands."""
    for seed, (channels, features) in enumerate([(48, 40), (10, 10)]):
        case = (4, 11, 10, channels), (side, side, channels, features), padding
        check_zeros_of_conv(dtype, case, seed)


layers = given(
    seed=st.integers(0, 2**16),
    side=st.integers(2, 5),
    channels=st.sampled_from([1, 10, 32, 48]),
    ground=st.sampled_from([0.0, 0.5]),
    padding=st.sampled_from(PADDINGS),
    window=st.sampled_from([(2, 2), (3, 2), (3, 1)]),
)


def check_layers_on_a_ground(seed, side, channels, ground, padding, window, eager=True):
    """Two layers of convolution, zero bias, ReLU and pool, compiled or also eager, in float64."""
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        x = np.full((3, 14, 14, channels), ground)
        x[:, 4:9, 5:10] = rng.random((3, 5, 5, channels))
        params = [
            jnp.asarray(rng.normal(size=(side, side, channels, 48))),
            jnp.zeros(48),
            jnp.asarray(rng.normal(size=(side, side, 48, 40))),
            jnp.zeros(40),
        ]

        def loss(conv, pool, params):
            y = jnp.asarray(x)
            for kernel, bias in (params[:2], params[2:]):
                y = pool(jax.nn.relu(conv(y, kernel, padding) + bias), *window, "SAME")
            return jnp.sum(y * jnp.cos(jnp.arange(y.size)).reshape(y.shape))

        exact = jax.jit(jax.grad(functools.partial(loss, xla_ops.conv, xla_ops.max_pool)))(params)
        gradient = jax.grad(functools.partial(loss, zoo.ops.conv, zoo.ops.max_pool))
        for each in (jax.jit(gradient), gradient)[: 1 + eager]:
            actual = each(params)
            for one, other in zip(actual, exact, strict=True):
                assert_close(one, other, "float64")


def test_layers_on_a_constant_background_have_the_gradients_of_xla():
    """Zero biases before a ReLU, and pools of equal pixels, as with images of digits."""
    check_layers_on_a_ground(
        seed=0, side=3, channels=32, ground=0.0, padding="SAME", window=(3, 2), eager=False
    )


@pytest.mark.parametrize(
    ("side", "padding"),
    [
        *((side, "SAME") for side in (1, 2, 3, 5)),
        (3, "VALID"),
        *(pytest.param(side, "SAME", marks=pytest.mark.slow) for side in (4, 6, 7)),
        *(pytest.param(side, "VALID", marks=pytest.mark.slow) for side in (2, 5)),
    ],
)
def test_conv_equals_xla_for_every_square_kernel(side, padding):
    """From one channel (summed shifts), from a few (banded) and from many (Winograd)."""
    rng = np.random.default_rng(side)
    for channels in (1, 10, 64):
        x = jnp.asarray(rng.normal(size=(3, 9, 8, channels)), "float32")
        kernel = jnp.asarray(rng.normal(size=(side, side, channels, 40)), "float32")
        actual = output_and_gradients(lambda x, k: zoo.ops.conv(x, k, padding), x, kernel)
        exact = output_and_gradients(lambda x, k: xla_ops.conv(x, k, padding), x, kernel)
        for one, other in zip(actual, exact, strict=True):
            assert_close(one, other, "float32")


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.01), ("float16", 0.001)])
def test_conv_of_narrow_types_is_that_of_float32_rounded(dtype, tolerance):
    """Value and both gradients: without Winograd's sums, which need a digit more than they have."""
    rng = np.random.default_rng(0)
    x, dy = (jnp.asarray(rng.normal(size=(3, 12, 12, 48)), dtype) for _ in range(2))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 48, 48)), dtype)

    def products(conv, x, kernel, dy):
        y, transpose = jax.vjp(functools.partial(conv, padding="SAME"), x, kernel)
        return y, *transpose(dy)

    actual = jax.jit(functools.partial(products, zoo.ops.conv))(x, kernel, dy)
    wide = [array.astype("float32") for array in (x, kernel, dy)]
    exact = jax.jit(functools.partial(products, xla_ops.conv))(*wide)
    for one, other in zip(actual, exact, strict=True):
        assert one.dtype == dtype
        error = np.abs(np.asarray(one, np.float32) - other).max() / np.abs(other).max()
        assert error < tolerance


def test_taps_that_overlap_only_padding_are_skipped_exactly():
    """On a 1x1 map a 7x7 kernel is its middle tap; the other 48 have a gradient of zero."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 1, 1, 8)), "float32")
    kernel = jnp.asarray(rng.normal(size=(7, 7, 8, 5)), "float32")
    y, _, _, gradient = output_and_gradients(lambda x, k: zoo.ops.conv(x, k, "SAME"), x, kernel)
    np.testing.assert_allclose(y[:, 0, 0], x[:, 0, 0] @ kernel[3, 3], rtol=1e-5)
    dead = np.ones((7, 7), bool)
    dead[3, 3] = False
    assert not np.asarray(gradient)[dead].any()
    assert np.asarray(gradient)[3, 3].all()
    text = jax.jit(lambda x, k: zoo.ops.conv(x, k, "SAME")).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in text.split("case")[0]
    compiled = jax.jit(lambda x, k: zoo.ops.conv(x, k, "SAME")).lower(x, kernel).compile()
    if jax.default_backend() == "cpu":
        assert compiled.cost_analysis()["flops"] < 2 * 4 * 8 * 5 * 3


@st.composite
def pools(draw):
    """(images' shape, window, stride, padding)"""
    padding = draw(st.sampled_from(PADDINGS))
    window, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    smallest = window if padding == "VALID" else 1
    size = [draw(st.integers(smallest, 11)) for _ in range(2)]
    shape = (draw(st.sampled_from([1, 3, 7])), *size, draw(st.sampled_from([1, 5])))
    return shape, window, stride, padding


def check_max_pool(dtype, case, num_values, seed):
    """Output and gradient."""
    shape, window, stride, padding = case
    values = np.random.default_rng(seed).integers(0, num_values, shape)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(values - num_values // 2, dtype)
        pool = functools.partial(zoo.ops.max_pool, window=window, stride=stride, padding=padding)
        alone, y, gradient = output_and_gradients(pool, x)
        _, expected, expected_gradient = output_and_gradients(
            lambda x: xla_ops.max_pool(x, window, stride, padding), x
        )
        np.testing.assert_array_equal(alone, expected)
        np.testing.assert_array_equal(y, expected)
        assert_close(gradient, expected_gradient, dtype)


pool_cases = given(
    dtype=st.sampled_from(["float32", "float64"]),
    case=pools(),
    num_values=st.sampled_from([2, 5, 10**6]),
    seed=st.integers(0, 2**16),
)


@pytest.mark.parametrize(
    ("dtype", "case", "num_values"),
    [
        ("float32", ((3, 7, 8, 5), 2, 2, "VALID"), 2),  # touching, and a row is left over
        ("float32", ((3, 11, 9, 5), 3, 2, "SAME"), 2),  # overlapping
        ("float64", ((1, 5, 6, 5), 3, 1, "VALID"), 5),
        ("float64", ((7, 10, 7, 1), 2, 3, "SAME"), 5),  # with gaps
        ("float32", ((1, 9, 11, 1), 4, 2, "SAME"), 2),
        ("float32", ((3, 3, 3, 5), 4, 4, "SAME"), 10**6),  # larger than the image
        ("float64", ((3, 6, 5, 5), 1, 2, "VALID"), 10**6),
        ("float32", ((3, 4, 7, 1), 4, 3, "VALID"), 2),
    ],
    ids=repr,
)
def test_max_pool_and_its_gradient_equal_xla(dtype, case, num_values):
    """Overlapping, strided, ragged and padded windows; few values make many ties."""
    check_max_pool(dtype, case, num_values, seed=0)


@pytest.mark.parametrize("stride", [1, 16])
def test_max_pool_of_windows_of_more_than_255_pixels(stride):
    """A pixel's number within its window no longer fits into eight bits."""
    check_max_pool("float32", ((1, 33, 32, 1), 16, stride, "SAME"), num_values=10**6, seed=0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 1 / 3, 0.9, 1.0])
def test_dropout_keeps_the_stated_fraction_and_the_mean(rate):
    """A million elements: five standard deviations of a binomial count."""
    x = jnp.ones((1000, 1001))
    y = np.asarray(zoo.ops.dropout(x, rate, jax.random.key(3)))
    kept = np.count_nonzero(y) / y.size
    assert abs(kept - (1 - rate)) <= 5 * math.sqrt(rate * (1 - rate) / y.size) + 2**-16
    if rate < 1:
        assert y.max() == pytest.approx(1 / (1 - rate), rel=2e-4)
        assert abs(y.mean() - 1) <= 6 * math.sqrt(rate / (1 - rate) / y.size)


@pytest.mark.parametrize("rate", [0.2, 0.25, 0.5])
def test_dropout_is_independent_between_elements_and_keys(rate):
    """No correlation between neighbours along either axis, nor between two keys."""
    x = jnp.ones((997, 1024))
    masks = [np.asarray(zoo.ops.dropout(x, rate, jax.random.key(k)) > 0, float) for k in (0, 1)]
    mask = masks[0] - masks[0].mean()
    spread = mask.var()
    pairs = [
        (mask[1:], mask[:-1]),
        (mask[:, 1:], mask[:, :-1]),
        (mask, masks[1] - masks[1].mean()),
    ]
    for one, other in pairs:
        assert abs((one * other).mean()) / spread < 5 / math.sqrt(one.size)


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_padding_a_batch_does_not_change_the_mask_of_the_others(rate):
    """So a padded last batch is trained like an unpadded one."""
    key = jax.random.key(0)
    whole = zoo.ops.dropout(jnp.ones((9, 7, 5)), rate, key)
    np.testing.assert_array_equal(zoo.ops.dropout(jnp.ones((4, 7, 5)), rate, key), whole[:4])


def test_dropout_refuses_an_invalid_rate():
    """1.5 is not a probability."""
    with pytest.raises(ValueError, match=r"in \[0, 1\], not 1.5"):
        zoo.ops.dropout(jnp.ones(3), 1.5, jax.random.key(0))


def small_net(x, kernel):
    """A convolution and an overlapping pool, to a scalar."""
    y = zoo.ops.conv(x, kernel, "SAME")
    return jnp.sum(jnp.sin(zoo.ops.max_pool(y, 3, 2, "SAME")))


def reference_net(x, kernel):
    """The same with XLA's operations."""
    y = xla_ops.conv(x, kernel, "SAME")
    return jnp.sum(jnp.sin(xla_ops.max_pool(y, 3, 2, "SAME")))


@pytest.fixture(params=[1, 10, 24], ids="channels={}".format)
def arrays(request):
    """Images and a 5x5 kernel for each formulation."""
    rng = np.random.default_rng(0)
    channels = request.param
    x = jnp.asarray(rng.normal(size=(3, 8, 8, channels)), "float32")
    return x, jnp.asarray(rng.normal(size=(5, 5, channels, 6)) / 5, "float32")


def assert_trees_close(actual, expected):
    """Leaf by leaf, within 1e-5 of the largest magnitude."""
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(one, other, "float32")


def test_second_derivatives_equal_xla(arrays):
    """Reverse over reverse, and forward over reverse."""

    x, kernel = arrays

    def reverse_over_reverse(net):
        first = jax.grad(net, argnums=(0, 1))
        return jax.grad(lambda x, k: sum(jnp.sum(g**2) for g in first(x, k)), argnums=(0, 1))(
            x, kernel
        )

    def forward_over_reverse(net):
        return jax.jvp(jax.grad(net), arrays, (jnp.ones_like(x), jnp.ones_like(kernel)))

    for derivative in (reverse_over_reverse, forward_over_reverse):
        assert_trees_close(derivative(small_net), derivative(reference_net))


def test_every_mode_of_differentiation_of_conv_equals_xla(arrays):
    """Forward, forward over forward, and both Jacobians, in each operand."""
    with jax.enable_x64(True):
        x, kernel = (array.astype("float64") for array in arrays)
        x, direction = x[:1, :4, :4], jnp.cos(kernel)

        def derivatives(conv):
            of_kernel = functools.partial(conv, x, padding="SAME")

            def squares(kernel):
                return jnp.sum(of_kernel(kernel) ** 2)

            def slope(kernel):
                return jax.jvp(squares, (kernel,), (direction,))[1]

            yield jax.jvp(of_kernel, (kernel,), (direction,))
            yield jax.jvp(lambda x, k: conv(x, k, "SAME"), (x, kernel), (jnp.sin(x), direction))
            yield jax.jacfwd(lambda x: conv(x, kernel, "SAME"))(x)
            yield jax.jacrev(lambda x: conv(x, kernel, "SAME"))(x)
            yield jax.jvp(slope, (kernel,), (direction,))
            yield jax.grad(slope)(kernel)
            yield jax.grad(lambda k: jnp.sum(jax.grad(squares)(k) * direction))(kernel)

        pairs = zip(derivatives(zoo.ops.conv), derivatives(xla_ops.conv), strict=True)
        for actual, expected in pairs:
            for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
                assert_close(one, other, "float64")


@pytest.mark.parametrize(
    "stride", [2, *(pytest.param(stride, marks=pytest.mark.slow) for stride in (1, 3, 4))]
)
@pytest.mark.parametrize("padding", PADDINGS)
def test_every_mode_of_differentiation_of_max_pool_equals_xla(stride, padding):
    """Windows that overlap, touch and leave gaps, no ties (where XLA's own modes differ)."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(stride)
        x, direction, second = rng.permutation(3 * 2 * 7 * 8 * 3).reshape(3, 2, 7, 8, 3) / 100.0

        def derivatives(pool):
            def squares(x):
                return jnp.sum(jnp.sin(pool(x)) ** 2)

            def slope(x):
                return jax.jvp(squares, (x,), (direction,))[1]

            yield jax.jvp(pool, (x,), (direction,))
            yield jax.linearize(pool, x)[1](direction)
            yield jax.jacfwd(pool)(x[:1, :4, :5])
            yield jax.jacrev(pool)(x[:1, :4, :5])
            yield jax.jvp(slope, (x,), (second,))  # forward over forward
            yield jax.jvp(jax.grad(squares), (x,), (direction,))  # forward over reverse
            yield jax.grad(slope)(x)  # reverse over forward
            yield jax.grad(lambda x: jnp.sum(jax.grad(squares)(x) * direction))(x)
            yield jax.vmap(lambda d: jax.jvp(pool, (x,), (d,))[1])(jnp.stack([direction, second]))
            yield jax.vmap(jax.grad(slope))(jnp.stack([x, -x]))

        ours = derivatives(lambda x: zoo.ops.max_pool(x, 3, stride, padding))
        xlas = derivatives(lambda x: xla_ops.max_pool(x, 3, stride, padding))
        for actual, expected in zip(ours, xlas, strict=True):
            for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
                assert_close(one, other, "float64")


def test_modes_of_differentiation_of_max_pool_agree_where_pixels_are_equal():
    """Forward and reverse mode are transposes of each other: both take the first pixel."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 5, 6, 2)), "float32")
    for window, stride in ((2, 2), (3, 1), (3, 2), (2, 3)):
        pool = functools.partial(zoo.ops.max_pool, window=window, stride=stride, padding="SAME")
        np.testing.assert_array_equal(jax.jacfwd(pool)(x), jax.jacrev(pool)(x))


def test_forward_mode_of_a_net_equals_xla(arrays):
    """A convolution, a pool and a loss, along a direction in both operands."""
    with jax.enable_x64(True):
        arrays = tuple(array.astype("float64") for array in arrays)
        directions = tuple(jnp.cos(array) for array in arrays)
        actual = jax.jvp(small_net, arrays, directions)
        expected = jax.jvp(reference_net, arrays, directions)
        for one, other in zip(actual, expected, strict=True):
            assert_close(one, other, "float64")


def test_vmap_over_kernels_and_over_images(arrays):
    """As for an ensemble, and as for per-example gradients."""
    x, kernel = arrays
    kernels = jnp.stack([kernel, 2 * kernel, -kernel])
    gradient = jax.grad(small_net, argnums=1)
    actual = jax.jit(jax.vmap(gradient, (None, 0)))(x, kernels)
    assert_trees_close(actual, jnp.stack([gradient(x, k) for k in kernels]))
    actual = jax.jit(jax.vmap(lambda image: gradient(image[None], kernel)))(x)
    assert_trees_close(actual, jnp.stack([gradient(image[None], kernel) for image in x]))


def test_in_scan_under_checkpoint_and_jit(arrays):
    """Gradient steps in a loop, with the forward pass recomputed."""

    def train(net, x, kernel):
        def step(kernel, _):
            return kernel - 0.01 * jax.grad(jax.checkpoint(net), argnums=1)(x, kernel), None

        return jax.jit(lambda kernel: jax.lax.scan(step, kernel, length=3)[0])(kernel)

    with jax.enable_x64(True):
        x, kernel = (array.astype("float64") for array in arrays)
        # These steps multiply rounding by 60: of float32 that leaves four digits to compare, and
        # the last of them depends on the machine.
        actual, expected = train(small_net, x, kernel), train(reference_net, x, kernel)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)


def test_one_export_for_batches_of_any_size():
    """Which of two formulations is faster depends on the size, which is not known then."""

    def outputs(x, kernel):
        return zoo.ops.max_pool(zoo.ops.conv(x, kernel, "SAME"), 2, 2, "VALID")

    kernel = np.linspace(-1, 1, 3 * 3 * 2 * 3, dtype=np.float32).reshape(3, 3, 2, 3)
    (batch,) = jax.export.symbolic_shape("batch")
    of_any_size = jax.ShapeDtypeStruct((batch, 6, 6, 2), np.float32)
    exported = jax.export.export(jax.jit(outputs))(of_any_size, kernel)
    for count in (1, 5):
        x = np.linspace(0, 1, count * 72, dtype=np.float32).reshape(count, 6, 6, 2)
        np.testing.assert_allclose(exported.call(x, kernel), outputs(x, kernel), atol=1e-5)


def test_one_export_for_cpu_cuda_and_tpu(arrays):
    """The formulation is picked when the program is lowered, per platform."""
    gradient = jax.jit(jax.grad(small_net, argnums=(0, 1)))
    exported = jax.export.export(gradient, platforms=["cpu", "cuda", "tpu"])(*arrays)
    again = jax.export.deserialize(exported.serialize())
    assert again.platforms == ("cpu", "cuda", "tpu")
    assert_trees_close(again.call(*arrays), gradient(*arrays))


def test_gpu_and_tpu_get_the_convolution_of_xla(arrays):
    """No dilation, no custom gradient of pooling: their own best path."""
    gradient = jax.jit(jax.grad(small_net, argnums=(0, 1)))
    for platform in ("cuda", "tpu"):
        text = jax.export.export(gradient, platforms=[platform])(*arrays).mlir_module()
        assert "select_and_scatter" in text
        assert "lhs_dilate = [2, 2]" not in text


def test_a_net_can_be_debugged_without_compiling():
    """Under `jax.disable_jit` a primitive is still compiled by itself: there is no other way."""
    model = zoo.models.create_model("ablation_cnn3_dropout")
    images = jnp.asarray(np.random.default_rng(0).random((2, 28, 28, 1), np.float32))
    variables = model.init(jax.random.key(0), images, train=False)

    def loss(variables):
        return jnp.sum(model.apply(variables, images, train=False) ** 2)

    expected = jax.grad(loss)(variables)
    with jax.disable_jit():
        found = jax.grad(loss)(variables)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "FULL"])
def test_an_unknown_padding_is_refused(padding):
    """Only the two names of Keras, in capitals."""
    with pytest.raises(ValueError, match=f"VALID or SAME, not '{padding}'"):
        zoo.ops.conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), padding)


def test_too_small_images_are_named():
    """One sentence with both sizes."""
    with pytest.raises(ValueError, match="a 2x4 image is smaller than"):
        zoo.ops.conv(jnp.ones((1, 2, 4, 1)), jnp.ones((3, 3, 1, 1)), "VALID")
    with pytest.raises(ValueError, match="a 2x4 image is smaller than"):
        zoo.ops.max_pool(jnp.ones((1, 2, 4, 1)), 3, 3, "VALID")


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA's choice on a CPU")
def test_on_a_cpu_no_convolution_uses_a_slow_implementation():
    """Neither YNNPACK's nor plain loops: every convolution of a layer keeps Eigen's form.

    Eigen is used if the dimensions are in the order batch, rows, columns, channels.
    """
    x, kernel = jnp.ones((8, 10, 10, 32)), jnp.ones((3, 3, 32, 32))

    def loop(x, kernel):
        def step(kernel, _):
            return kernel - jax.grad(small_net, argnums=1)(x, kernel), None

        return jax.lax.scan(step, kernel, length=3)[0]

    text = jax.jit(loop).lower(x, kernel).compile().as_text()
    lines = [line for line in text.splitlines() if " convolution(" in line]
    assert len(lines) >= 2
    for line in lines:
        assert "lhs_dilate=2x2 rhs_dilate=2x2" in line
        assert "dim_labels=b01f_01io->b01f" in line


TILES = [(outputs, taps) for taps in range(1, 8) for outputs in range(1, 5) if outputs + taps <= 9]


@pytest.mark.parametrize(("outputs", "taps"), TILES)
def test_winograds_matrices_are_exact(outputs, taps):
    """Output o is the sum of tap t times pixel o + t, so each pair must come out as 0 or 1."""
    output_matrix, kernel_matrix, image_matrix = winograd.matrices(outputs, taps)
    for tap, pixel in itertools.product(range(taps), range(outputs + taps - 1)):
        products = [k[tap] * i[pixel] for k, i in zip(kernel_matrix, image_matrix, strict=True)]
        for output, row in enumerate(output_matrix):
            value = sum(a * b for a, b in zip(row, products, strict=True))
            assert value == (output + tap == pixel)


@pytest.mark.parametrize(
    ("outputs", "taps"),
    [
        *((4, 3), (4, 5), (2, 6)),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((2, 2), (4, 2), (3, 3))),
    ],
)
def test_winograd_equals_xla(outputs, taps):
    """Also where the last tile holds fewer rows, and where the padding is uneven."""
    rng = np.random.default_rng(taps)
    pads = ((1, taps - 2), (taps // 2, 0))
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(5, 11, 7, 3)))
        kernel = jnp.asarray(rng.normal(size=(taps, 3, 3, 4)))
        exact, transpose = jax.vjp(lambda x, k: xla_ops.conv(x, k, pads), x, kernel)
        dy = jnp.asarray(rng.normal(size=exact.shape))
        dx, dkernel = transpose(dy)
        assert_close(winograd.conv(x, kernel, pads, outputs), exact, "float64")
        actual = winograd.input_gradient(dy, kernel, pads, x.shape[1:3], outputs)
        assert_close(actual, dx, "float64")
        actual = winograd.kernel_gradient(x, dy, kernel.shape, pads, outputs)
        assert_close(actual, dkernel, "float64")


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@conv_cases
def test_conv_and_its_gradients_equal_xla_in_many_cases(dtype, case, seed):
    """As above."""
    check_conv(dtype, case, seed)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, derandomize=True)
@layers
def test_many_layers_on_a_constant_background_have_the_gradients_of_xla(**case):
    """As above."""
    check_layers_on_a_ground(**case)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@conv_cases
def test_conv_of_blank_parts_is_exactly_zero_in_many_cases(dtype, case, seed):
    """As above."""
    check_zeros_of_conv(dtype, case, seed)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@pool_cases
def test_max_pool_and_its_gradient_equal_xla_in_many_cases(dtype, case, num_values, seed):
    """As above."""
    check_max_pool(dtype, case, num_values, seed)
