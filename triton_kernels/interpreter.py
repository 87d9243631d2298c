"""Runs Triton kernels on NumPy arrays, without a GPU, through Triton's own interpreter.

The interpreter runs one program of the grid after the other, each operation in NumPy: right for
tests on small arrays, at a few milliseconds a program. Kernels must have been decorated with
TRITON_INTERPRET=1 in the environment.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
from triton import knobs
from triton._C.libtriton import ir
from triton.runtime import interpreter

TRITON_TYPES = {
    np.dtype(np.float32): "fp32",
    np.dtype(np.float16): "fp16",
    np.dtype(ml_dtypes.bfloat16): "bf16",
    np.dtype(np.int32): "i32",
    np.dtype(np.uint8): "u8",
    np.dtype(np.bool_): "i1",
}

# The interpreter keeps the current program and the patched triton.language in globals.
_LOCK = threading.Lock()


def triton_type(name: str, array: Any) -> str:
    """Triton's name of the dtype of an array, which is called `name`.

    Raises:
        ValueError: for one that kernels do not know.
    """
    if array.dtype not in TRITON_TYPES:
        known = ", ".join(str(dtype) for dtype in TRITON_TYPES)
        raise ValueError(f"{name} is of type {array.dtype}, it must be one of {known}")
    return TRITON_TYPES[array.dtype]


def interpreting() -> bool:
    """Whether @triton.jit makes functions for the interpreter, as Triton reads TRITON_INTERPRET."""
    return bool(knobs.runtime.interpret)


def interpret(
    kernel: Any,
    grid: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, Any],
) -> None:
    """Runs every program of the grid on `arrays`, which the kernel modifies in place.

    May be called from several threads and from JAX callbacks; the calls run one at a time.
    Integers wrap and floats overflow silently, as on a GPU.

    As tensor cores do, tl.dot with input_precision="tf32" cuts the last 13 bits of float32 off.
    Two things differ from a GPU: it rounds sums as float32 whatever the input_precision, and a
    reduction, scan or atomic of bfloat16 is wrong (Triton's interpreter takes the bits for
    integers; cast to float32 first). Inline assembly and libdevice do not run.

    Args:
      kernel: A @triton.jit function, decorated with TRITON_INTERPRET=1.
      grid: One to three numbers of programs.
      arrays: The kernel's pointers by the names of its parameters: C-contiguous, of a type in
        TRITON_TYPES; writeable where the kernel writes.
      parameters: The other parameters by name: integers and tl.constexpr, the latter also device
        functions.

    Raises:
      ValueError: An array is not contiguous or has another type.
      triton.runtime.errors.InterpreterError: The kernel failed, also by reading outside `arrays`
        or writing outside the writeable ones.
    """
    pointers = {name: _Pointer(name, array) for name, array in arrays.items()}
    with _LOCK, _mended(_Builder(list(arrays.values()))), np.errstate(all="ignore"):
        kernel[grid](**pointers, **parameters)


class _Pointer:
    """A NumPy array as the interpreter wants its PyTorch tensors, with itself as host copy."""

    def __init__(self, name: str, array: np.ndarray):
        if not array.flags.c_contiguous:
            raise ValueError(
                f"{name} must be C-contiguous, got strides {array.strides} of shape {array.shape}"
            )
        self.array = array
        self.dtype = triton_type(name, array)

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def untyped_storage(self) -> "_Pointer":
        return self

    def cpu(self) -> "_Pointer":
        return self

    def new_empty(self, size: int, device: str) -> "_Pointer":
        return self

    def set_(self, storage: "_Pointer", offset: int, size: tuple, stride: tuple) -> None:
        """The array is its own host copy."""

    def copy_(self, host: "_Pointer") -> None:
        """The kernel has written into the array itself."""

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(step // self.array.itemsize for step in self.array.strides)


class _Builder(interpreter.InterpreterBuilder):
    """The interpreter's operations, with bfloat16 as numbers and memory accesses checked."""

    def __init__(self, arrays: list[np.ndarray]):
        super().__init__()
        # Checking every integer operation for overflow takes a fifth of the time.
        self.options = interpreter.InterpreterOptions(sanitize_overflow=False)
        self.arrays = arrays

    def get_bf16(self, value):
        # Triton 3.6 has none.
        return self.cast_impl(self.get_fp32(value), tl.bfloat16)

    def cast_impl(self, src, dst_type):
        # Triton truncates to bfloat16, where a GPU rounds to the nearest even.
        if src.dtype.scalar == tl.bfloat16:
            wide = src.data.view(ml_dtypes.bfloat16).astype(np.float32)
            src = interpreter.TensorHandle(wide, tl.float32)
        if dst_type.scalar == tl.bfloat16:
            narrow = src.data.astype(ml_dtypes.bfloat16).view(np.uint16)
            return interpreter.TensorHandle(narrow, tl.bfloat16)
        return super().cast_impl(src, dst_type)

    def binary_op(self, lhs, rhs, op):
        if lhs.dtype.scalar != tl.bfloat16:
            return super().binary_op(lhs, rhs, op)
        result = super().binary_op(self._widened(lhs), self._widened(rhs), op)
        # A comparison gives bool.
        return result if result.data.dtype == np.bool_ else self.cast_impl(result, tl.bfloat16)

    def create_dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        a, b = self._widened(a), self._widened(b)
        if input_precision == ir.INPUT_PRECISION.TF32:
            a, b = _cut_to_tf32(a), _cut_to_tf32(b)
        return super().create_dot(a, b, d, input_precision, max_num_imprecise_acc)

    def create_masked_load(self, ptrs, mask, *options):
        self._check_inside(self.arrays, ptrs, mask)
        return super().create_masked_load(ptrs, mask, *options)

    def create_masked_store(self, ptrs, value, mask, *options):
        self._check_inside(self._writeable(), ptrs, mask)
        return super().create_masked_store(ptrs, value, mask, *options)

    def create_atomic_rmw(self, operation, ptr, val, mask, sem, scope):
        self._check_inside(self._writeable(), ptr, mask)
        return super().create_atomic_rmw(operation, ptr, val, mask, sem, scope)

    def _widened(self, handle):
        return self.cast_impl(handle, tl.float32) if handle.dtype.scalar == tl.bfloat16 else handle

    def _writeable(self) -> list[np.ndarray]:
        return [array for array in self.arrays if array.flags.writeable]

    def _check_inside(self, arrays: list[np.ndarray], pointers, mask) -> None:
        addresses = pointers.data[np.broadcast_to(mask.data, pointers.data.shape)]
        outside = np.ones(addresses.shape, bool)
        for array in arrays:
            start = array.ctypes.data
            outside &= (addresses < start) | (addresses >= start + array.nbytes)
        if outside.any():
            raise IndexError(
                f"{outside.sum()} of {outside.size} elements lie outside the kernel's arrays, "
                f"or in read-only ones, in program {self.grid_idx}"
            )


def _cut_to_tf32(handle):
    if handle.dtype.scalar != tl.float32:
        return handle
    cut = (handle.data.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return interpreter.TensorHandle(cut, handle.dtype)


@contextmanager
def _mended(builder: _Builder) -> Iterator[None]:
    """Triton's interpreter with our builder, and with triton.language restored afterwards."""
    semantic = interpreter.interpreter_semantic
    original_builder = interpreter.interpreter_builder
    original_patch: Callable[[Any], Any] = interpreter._patch_lang
    scopes = {}

    def patch_once(function):
        # Triton patches triton.language for the kernel and again at every call of a device
        # function, which takes most of the time of a short one, and restores only the first.
        module = id(function.__globals__)
        if module not in scopes:
            scopes[module] = original_patch(function)
            # Triton 3.6 has int(array of one element), which NumPy 2.5 refuses.
            scopes[module].set_attr(
                tl.tensor, "__index__", lambda scalar: int(scalar.handle.data.item())
            )
        return interpreter._LangPatchScope()

    interpreter.interpreter_builder = semantic.builder = builder
    interpreter._patch_lang = patch_once
    try:
        yield
    finally:
        for scope in reversed(scopes.values()):
            scope.restore()
        interpreter._patch_lang = original_patch
        interpreter.interpreter_builder = semantic.builder = original_builder
