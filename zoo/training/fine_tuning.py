"""Training from given weights, and a part of them: pure functions of trees of parameters."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from zoo.models import paths

_PARAMS = "params/"
_HEAD = "params/head/"


def given_variables(variables: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """`fresh` with given values, in buffers of their own; a new head stays as it is.

    Args:
        variables: {"params": ..., "batch_stats": ... if the net has any}, trained.
        fresh: those of the net, of which structure, shapes and types are taken.

    Raises:
        ValueError: as `has_new_head`.
    """
    is_new = has_new_head(variables, fresh)
    given, taken = _flat(variables), _flat(fresh)
    for path, leaf in taken.items():
        if not (is_new and path.startswith(_HEAD)):
            taken[path] = jnp.array(given[path], leaf.dtype)
    return {**fresh, **unflatten_dict(taken, sep="/")}


def has_new_head(variables: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether the head of a net has another size than that of given variables, or they have none.

    Args:
        variables: as in `given_variables`.
        fresh: those of the net, or anything of their shapes.

    Raises:
        ValueError: anything but the head differs; it names the first parameter that does.
    """
    given, wanted = (
        {path: tuple(leaf.shape) for path, leaf in _flat(tree).items()}
        for tree in (variables, fresh)
    )
    for path in sorted({*given, *wanted}, key=lambda path: (not path.startswith(_PARAMS), path)):
        if path.startswith(_HEAD):
            continue
        name = path.removeprefix(_PARAMS)
        if path not in given:
            raise ValueError(f"it has no {name}, which this net has: name weights of the same net")
        if path not in wanted:
            raise ValueError(
                f"it has {name}, which this net does not have: name weights of the same net"
            )
        if given[path] != wanted[path]:
            raise ValueError(
                f"its {name} has shape {given[path]}, but this net's has {wanted[path]}: name "
                f"weights of the same net, for images of the same size"
            )
    heads = [
        {path: shape for path, shape in shapes.items() if path.startswith(_HEAD)}
        for shapes in (given, wanted)
    ]
    return bool(heads[1]) and heads[0] != heads[1]


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    """{"params/conv_1/kernel": leaf, ...}"""
    return flatten_dict({part: tree for part, tree in variables.items() if tree}, sep="/")


def split_params(params: Any, freeze: str) -> tuple[Any, Any]:
    """(the parameters that are trained, those that patterns freeze): nested dicts of each.

    Raises:
        PatternError: as `zoo.models.paths.frozen`.
    """
    if not freeze:
        return params, {}
    leaves = flatten_dict(params, sep="/")
    frozen = paths.frozen(leaves, freeze)
    parts = (
        {path: leaf for path, leaf in leaves.items() if (path in frozen) == is_frozen}
        for is_frozen in (False, True)
    )
    trained, kept = (unflatten_dict(part, sep="/") for part in parts)
    return trained, kept


def join_params(trained: Any, frozen: Any) -> Any:
    """All parameters again."""
    if not frozen:
        return trained
    return unflatten_dict({**flatten_dict(trained), **flatten_dict(frozen)})


@contextlib.contextmanager
def frozen_statistics(trained: Any, frozen: Any) -> Any:
    """Within it, a batch normalization whose parameters are all frozen does not learn statistics.

    It normalizes by its moving statistics, in training, too, and leaves them as they are.
    """
    if not frozen:
        yield
        return
    still = {path[:-1] for path in flatten_dict(frozen)}
    still -= {path[:-1] for path in flatten_dict(trained)}

    def intercept(call: Callable[..., Any], args: Any, options: Any, context: Any) -> Any:
        module = context.module
        is_call = isinstance(module, nn.BatchNorm) and context.method_name == "__call__"
        if not is_call or module.path not in still:
            return call(*args, **options)
        # Its argument use_running_average is set already, so a copy of it is applied.
        # It is Flax's own also where the module is that of a batch spread over devices.
        fields = {name: getattr(module, name) for name in nn.BatchNorm.__dataclass_fields__}
        copy = nn.BatchNorm(**fields | {"use_running_average": True, "parent": None, "name": None})
        return copy.apply(module.variables, args[0])

    with nn.intercept_methods(intercept):
        yield


def scale_rates(rates: str) -> optax.GradientTransformation:
    """Multiplies updates by factors; behind an optimizer, these are factors of its learning rate.

    Args:
        rates: as in `zoo.models.paths.factors`, such as `conv_.*=0.1, dense_1=0.5`.

    Returns:
        A transformation without a state: `optax.chain(optax.adam(1e-3), scale_rates(rates))`. Its
        `init` and `update` raise a PatternError if the patterns do not suit the parameters.
    """

    def factors_of(tree: Any) -> dict[str, float]:
        return paths.factors(flatten_dict(tree, sep="/"), rates)

    def init(params: Any) -> optax.EmptyState:
        factors_of(params)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factors = factors_of(updates)
        leaves = flatten_dict(updates, sep="/")
        scaled = {
            path: leaf if factors[path] == 1 else factors[path] * leaf
            for path, leaf in leaves.items()
        }
        return unflatten_dict(scaled, sep="/"), state

    return optax.GradientTransformation(init, update)
