"""Derivatives of whole nets in every mode, against the same nets made of XLA's operations."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xla_ops

import zoo.ops
from zoo.models import create_model, list_models, min_image_size

SLOW = ("pooling_cnn3", "lenet3", "pooling_cnn5", "ablation_cnn3")


def derivatives(name: str) -> dict[str, Any]:
    """Of the loss of two images, in float64, along fixed directions."""
    model = create_model(name, dtype=jnp.float64)
    side = max(12, min_image_size(model.net))
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.random((2, side, side, 1)))
    variables = model.init(jax.random.key(0), images, train=False)
    stats = variables.get("batch_stats", {})
    params = jax.tree.map(lambda leaf: leaf + 0.01 * rng.random(leaf.shape), variables["params"])
    direction = jax.tree.map(lambda leaf: 0.1 * rng.normal(size=leaf.shape), params)

    def logits(params: Any, images: jax.Array) -> Any:
        return model.apply({"params": params, "batch_stats": stats}, images, train=False)

    def loss(params: Any) -> jax.Array:
        return jnp.mean(jax.nn.logsumexp(logits(params, images), axis=-1))

    def slope(params: Any) -> jax.Array:
        return jax.jvp(loss, (params,), (direction,))[1]

    def row(pixel: jax.Array) -> jax.Array:
        """The logits as the first image gets brighter at one place."""
        return logits(params, images[:1].at[0, side // 2, side // 2, 0].add(pixel))

    @jax.jit
    def every(params: Any) -> dict[str, Any]:
        ours = functools.partial(logits, images=images)
        tangents = jax.tree.map(lambda leaf: jnp.stack([leaf, -2 * leaf]), direction)
        return {
            "jvp": jax.jvp(ours, (params,), (direction,)),
            "linearize": jax.linearize(ours, params)[1](direction),
            "jacfwd over images": jax.jacfwd(row)(0.0),
            "forward over reverse": jax.jvp(jax.grad(loss), (params,), (direction,))[1],
            "reverse over forward": jax.grad(slope)(params),
            "vmap": jax.vmap(lambda tangent: jax.jvp(ours, (params,), (tangent,))[1])(tangents),
        }

    return jax.device_get(every(params))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.slow if name in SLOW else pytest.mark.full,
        )
        for name in list_models()
        if name != "custom7"  # 57 million parameters
    ],
)
def test_derivatives_of_a_net_equal_those_of_xla(name: str, monkeypatch: Any) -> None:
    with jax.enable_x64(True):
        actual = derivatives(name)
        monkeypatch.setattr(zoo.ops, "conv", xla_ops.conv)
        monkeypatch.setattr(zoo.ops, "max_pool", xla_ops.max_pool)
        expected = derivatives(name)
    for kind in expected:
        pairs = zip(jax.tree.leaves(actual[kind]), jax.tree.leaves(expected[kind]), strict=True)
        for one, other in pairs:
            scale = np.max(np.abs(other))
            assert np.isfinite(scale)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 * scale, err_msg=kind)
