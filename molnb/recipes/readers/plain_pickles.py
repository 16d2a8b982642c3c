"""Values that were pickled, read without running anything: numbers, text, lists, maps, arrays.

A pickle may name any function and have it called. Here a fixed list of names is admitted, and none
of them is NumPy's or Python's own: arrays are put together from their bytes by the code below, so
that a made-up description of an array cannot reach memory that is not its own.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_ARRAY_BYTES = 1 << 30
MAX_DEPTH = 12  # of lists in lists
_PLAIN_KINDS = "biufcSU"


class RefusedPickleError(Exception):
    """A pickle holds what is not admitted; the text names it."""


class DamagedPickleError(Exception):
    """A pickle cannot be read, or describes no value."""


def load_plain(data: bytes) -> Any:
    """The value in a pickle; raises RefusedPickleError for any name that is not admitted."""
    try:
        value = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        return _finished(value, 0, {})
    except RefusedPickleError:
        raise
    except RecursionError:
        raise DamagedPickleError(f"lists lie in lists more than {MAX_DEPTH} deep") from None
    except Exception as error:  # whatever a made-up or damaged pickle leads to
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DamagedPickleError(text) from None


def admitted_names() -> list[str]:
    """The names that a pickle may hold, for messages."""
    return sorted({f"{module.replace('_core', 'core')}.{name}" for module, name in _ADMITTED})


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; only these names are looked up, nothing is imported."""
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise RefusedPickleError(f"{module}.{name}")
        return admitted

    def persistent_load(self, identifier: Any) -> Any:
        """Nothing outside of the pickle is read."""
        raise RefusedPickleError(f"an object outside of it ({identifier!r})")


class _Admitted:
    """A function that a pickle may call, and can neither change nor take apart."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise RefusedPickleError(f"a change of {name}")

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickleError("a change of a function")


# -------------------------------------------------------------------------------------- arrays


class _DType:
    """The type of an array's values: a letter and a size, and the order of bytes."""

    __slots__ = ("code", "order")

    def __init__(self, code: str):
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple) -> None:
        if state[2] is not None or state[3] is not None or state[4] is not None:
            raise RefusedPickleError("an array of records (numpy.dtype with fields)")
        self.order = {"<": "<", ">": ">"}.get(state[1], "=")

    def plain(self) -> np.dtype:
        """The NumPy type, where it is of numbers or text."""
        dtype = np.dtype(self.code)
        if dtype.kind not in _PLAIN_KINDS or dtype.fields or dtype.subdtype or not dtype.itemsize:
            raise RefusedPickleError(f"an array of type {self.code!r}")
        return dtype.newbyteorder(self.order)

    @property
    def is_object(self) -> bool:
        """Whether the values are Python objects, pickled one by one."""
        return np.dtype(self.code).kind == "O"


class _Array:
    """An array that is being put together: its state says what it holds."""

    __slots__ = ("shape", "dtype", "is_fortran", "data")

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.is_fortran, self.data = state


def _new_array(kind: Any, *start: Any) -> _Array:
    if kind is not _NDARRAY:
        raise RefusedPickleError("an array of a class of its own")
    return _Array()


def _array_from_buffer(buffer: Any, dtype: _DType, shape: tuple, order: str = "C") -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", _bytes(buffer)))
    return array


def _scalar(dtype: _DType, data: Any = b"") -> Any:
    values = np.frombuffer(_bytes(data), dtype.plain())
    if len(values) != 1:
        raise ValueError(f"{len(values)} values where one is described")
    return values[0].item()


def _bytes(data: Any, encoding: str = "latin1") -> bytes:
    if isinstance(data, str):
        return _latin1(data, encoding)
    if not isinstance(data, bytes | bytearray | memoryview | list | pickle.PickleBuffer):
        raise RefusedPickleError(f"bytes of {type(data).__name__}")
    return bytes(data)


def _dtype(code: Any, *options: Any) -> _DType:
    if not isinstance(code, str) or len(code) > 20:
        raise RefusedPickleError(f"an array of type {str(code)[:40]!r}")
    return _DType(code)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"_codecs.encode as {encoding!r}")
    return text.encode("latin1")


def _ordered(pairs: Any = ()) -> dict:
    return dict(pairs)


_NDARRAY = _Admitted(lambda *arguments: _refuse_call("numpy.ndarray"))


def _refuse_call(name: str) -> None:
    raise RefusedPickleError(f"a call of {name}")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Admitted(_dtype),
    ("collections", "OrderedDict"): _Admitted(_ordered),
    ("_codecs", "encode"): _Admitted(_latin1),
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Admitted(_new_array)
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _Admitted(_scalar)
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _Admitted(_array_from_buffer)
for _builtins in ("builtins", "__builtin__"):
    _ADMITTED[_builtins, "bytearray"] = _Admitted(lambda data=b"", *how: _bytes(data, *how))
    for _function in (set, frozenset, list, tuple, complex):
        _ADMITTED[_builtins, _function.__name__] = _Admitted(_function)


def _finished(value: Any, depth: int, done: dict[int, Any]) -> Any:
    """A value with the arrays in it put together; what stands in it twice is finished once."""
    if isinstance(value, str | bytes | int | float | complex | type(None)):
        return value
    if id(value) in done:
        return done[id(value)][1]
    if depth > MAX_DEPTH:
        raise ValueError(f"lists lie in lists more than {MAX_DEPTH} deep")
    finished = _finished_one(value, depth + 1, done)
    done[id(value)] = (value, finished)  # kept, so that no other takes its place in memory
    return finished


def _finished_one(value: Any, depth: int, done: dict[int, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _finished(item, depth, done) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_finished(item, depth, done) for item in value]
    if isinstance(value, _Array):
        return _finished_array(value, depth, done)
    if isinstance(value, bytearray | memoryview | pickle.PickleBuffer):
        return bytes(value)
    raise RefusedPickleError(f"a value of {type(value).__module__}.{type(value).__name__}")


def _finished_array(array: _Array, depth: int, done: dict[int, Any]) -> np.ndarray | list:
    shape = tuple(int(n) for n in array.shape)
    n_value = int(np.prod(shape, dtype=object)) if shape else 1
    if any(n < 0 for n in shape) or n_value > MAX_ARRAY_BYTES:
        raise ValueError(f"an array of shape {list(shape)}")
    if array.dtype.is_object:
        if not isinstance(array.data, list) or len(array.data) != n_value:
            raise ValueError("an array of objects without as many objects")
        values = np.empty(n_value, object)
        values[:] = [_finished(item, depth, done) for item in array.data]
        return values.reshape(shape, order="F" if array.is_fortran else "C").tolist()
    values = np.frombuffer(_bytes(array.data), array.dtype.plain())
    return values.reshape(shape, order="F" if array.is_fortran else "C")
