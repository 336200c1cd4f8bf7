"""How a public function takes what it is given: by its annotations, in one way and in words.

Where a tensor belongs, an array or a list of numbers will do; a number may be one of numpy's. What
is of another kind is refused by name, before any work is done.
"""

import functools
import inspect
import numbers
from collections.abc import Callable
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

__all__ = ["check_kinds", "door"]

P = ParamSpec("P")
R = TypeVar("R")
Rank = tuple[int, bool, str, bool]
NUMBERS: dict[Any, str] = {bool: "True or False", int: "an integer", float: "a number"}
NUMBERS[tuple[int, ...]] = "a tuple of integers"
TENSOR = "a tensor, an array or numbers in lists"


def door(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which takes its arguments by their annotations.

    Raises:
        TypeError: an argument of another kind.
        ValueError: none of these choices; tensors whose shapes do not go together.
    """
    parameters = inspect.signature(function).parameters
    named = {name: p.annotation for name, p in parameters.items() if _known(p)}
    ranks = {
        name: _rank(kind) for name, kind in named.items() if any(map(_is_tensor, _parts(kind)))
    }
    in_row = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    by_place = [name for name, p in parameters.items() if p.kind in in_row]
    places = [name if name in named else None for name in by_place]
    asks_a_model = any(_asks_a_model(p.annotation) for p in parameters.values())

    @functools.wraps(function)
    def taken(*args: P.args, **kwargs: P.kwargs) -> R:
        given = list(args)
        for i, value in enumerate(args):
            name = places[i] if i < len(places) else None
            if name is not None:
                given[i] = _take(name, value, named[name], ranks.get(name))
        for name, value in kwargs.items():
            if name in named:
                kwargs[name] = _take(name, value, named[name], ranks.get(name))
        try:
            return function(*given, **kwargs)  # type: ignore[arg-type]
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError) as error:
            if asks_a_model or torch.compiler.is_compiling():
                raise
            raise ValueError(_in_words(function, given, kwargs, error)) from error

    return taken


def check_kinds(settings: Any) -> None:
    """Refuse a dataclass whose values are of other kinds than its fields; a list is a tuple.

    Raises:
        TypeError: a value of another kind.
        ValueError: none of the choices.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        value = tuple(value) if isinstance(value, list) else value
        _as_allowed(field.name, value, field.type)


def _known(parameter: inspect.Parameter) -> bool:
    """Whether there is something to look at; an argument for *args is taken as it is."""
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return not variadic and parameter.annotation not in (parameter.empty, Any)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The kinds that an annotation allows."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _asks_a_model(annotation: Any) -> bool:
    return any(_is_callable(kind) for kind in _parts(annotation))


def _is_callable(kind: Any) -> bool:
    return getattr(kind, "_is_protocol", False) or (get_origin(kind) or kind) is Callable


def _is_tensor(kind: Any) -> bool:
    return kind is Tensor or getattr(kind, "array_type", None) is Tensor


def _rank(annotation: Any) -> Rank:
    """What a tensor must be: its dimensions, if there may be more, their names, if floats alone."""
    shaped = [kind for kind in _parts(annotation) if getattr(kind, "array_type", None) is Tensor]
    if len(shaped) != 1 or Tensor in _parts(annotation):
        return 0, True, "", False
    names = shaped[0].dim_str.split()
    fixed = [name for name in names if not name.startswith(("*", "..."))]
    kinds = shaped[0].dtypes
    real = isinstance(kinds, tuple) and "float64" in kinds and "int64" not in kinds
    return len(fixed), len(fixed) < len(names), ", ".join(names), real


def _take(name: str, value: Any, annotation: Any, rank: Rank | None) -> Any:
    """The value, or the tensor that it stands for, if it is of a kind that is allowed."""
    if rank is not None:
        least, more, shape, real = rank
        in_lists = isinstance(value, list | tuple)
        value = value if type(value) is Tensor else _as_allowed(name, value, annotation)
        if isinstance(value, Tensor):
            if real and not value.is_floating_point() and not value.is_complex():
                if not in_lists:
                    bytes_ = ": to_model_range maps grey levels" * (value.dtype == torch.uint8)
                    raise TypeError(f"{name} must be floating point, got {value.dtype}{bytes_}")
                value = value.to(torch.get_default_dtype())  # [1, 2] means [1.0, 2.0]
            if value.ndim < least or (value.ndim > least and not more):
                raise ValueError(f"{name} must be [{shape}], got {tuple(value.shape)}")
            if value.is_complex():
                raise TypeError(f"{name} must hold real numbers, got {value.dtype}")
        return value
    return _as_allowed(name, value, annotation)


def _as_allowed(name: str, value: Any, annotation: Any) -> Any:
    kinds = _parts(annotation)
    if value is None and NoneType in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not NoneType]
    for kind in wanted:
        taken = _as(value, kind)
        if taken is not NotImplemented:
            return taken
    words = [_described(kind) for kind in wanted]
    choices = [get_args(kind) for kind in wanted if get_origin(kind) is Literal]
    error = ValueError if choices and isinstance(value, str) else TypeError
    raise error(f"{name} must be {' or '.join(dict.fromkeys(words))}, got {_got(value)}")


def _as(value: Any, kind: Any) -> Any:
    """The value as one of this kind, or NotImplemented."""
    if _is_tensor(kind):
        return _tensor(value)
    if kind is bool:
        return bool(value) if isinstance(value, bool | np.bool_) else NotImplemented
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return int(value) if whole else NotImplemented
    if kind is float:
        if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
            return value  # a number of torch's, with its digits
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return (
            float(value)
            if real and not isinstance(value, int)
            else value
            if real
            else NotImplemented
        )
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else NotImplemented
    origin = get_origin(kind) or kind
    if _is_callable(kind):
        return value if callable(value) else NotImplemented
    if kind == tuple[int, ...]:
        whole = isinstance(value, tuple) and NotImplemented not in [_as(x, int) for x in value]
        return value if whole else NotImplemented
    if isinstance(origin, type):
        return value if isinstance(value, origin) else NotImplemented
    return value  # a kind that has no check


def _tensor(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.as_tensor(value)
    if isinstance(value, list | tuple):
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            return NotImplemented
    return NotImplemented


def _described(kind: Any) -> str:
    if _is_tensor(kind):
        return TENSOR
    if kind in NUMBERS:
        return NUMBERS[kind]
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if _is_callable(kind):
        return "something to call"
    return f"a {getattr(get_origin(kind) or kind, '__name__', kind)}"


def _got(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, str | numbers.Number):
        return f"{value!r} of type {type(value).__name__}"
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {tuple(value.shape)} and {value.dtype}"
    return f"{type(value).__name__}"


def _in_words(
    function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], error: Exception
) -> str:
    """Torch's own word, and what it was about: the shapes of all tensors that were given."""
    bound = inspect.signature(function).bind(*args, **kwargs).arguments
    shapes = [f"{n} {tuple(v.shape)} {v.dtype}" for n, v in bound.items() if isinstance(v, Tensor)]
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{function.__name__} cannot do with {', '.join(shapes) or 'what it got'}: {said}"
