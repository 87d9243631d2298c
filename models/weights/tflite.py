"""The weights in a .tflite file, named after the layers that use them.

The format is a FlatBuffer (tensorflow/lite/schema/schema.fbs). In it constants have the names of
all operations that were merged into the one that uses them; of these the convolution's own is
taken.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from .errors import WeightsError

KERNEL, BIAS = 1, 2
"""Which inputs of an operation with weights they are."""

KINDS = {
    "CONV_2D": ("Conv2D", "Kernel"),
    "DEPTHWISE_CONV_2D": ("depthwise", "Kernel"),
    "FULLY_CONNECTED": ("MatMul", "Kernel"),
    "Convolution2DTransposeBias": ("Kernel",),
}
"""Operations that have weights, and the last parts of the names of their kernels. The last one is
MediaPipe's own."""


def read_tflite(path: Path) -> dict[str, np.ndarray]:
    """The weights of the layers of a .tflite file.

    Returns:
        "LAYER/kernel" and "LAYER/bias" for each convolution and linear layer, as stored: kernels
        are [C_out, KH, KW, C_in], of depthwise convolutions [1, KH, KW, C].

    Raises:
        WeightsError: for a file that is damaged or of another format, or weights that are not
            floating.
        OSError: for a file that cannot be opened.
    """
    try:
        # Here, as it is an extra.
        import tflite
    except ImportError as error:
        raise WeightsError(
            f'{path}: reading it needs tflite: pip install "deltajax[weights]"'
        ) from error
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise WeightsError(f"{path} is no .tflite file: it does not begin like one")
    try:
        graph = _Graph(tflite, tflite.Model.GetRootAs(content, 0))
        return graph.weights(path)
    # Of damaged offsets: whatever they lead to.
    except (struct.error, ValueError, IndexError, TypeError, AttributeError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is damaged: {type(error).__name__}: {error}") from error


class _Graph:
    """The first subgraph of a model."""

    def __init__(self, tflite: Any, model: Any) -> None:
        self._tflite, self._model, self._graph = tflite, model, model.Subgraphs(0)
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        self._names = [self._name_of(code) for code in codes]
        operators = map(self._graph.Operators, range(self._graph.OperatorsLength()))
        self._operators = [(self._names[op.OpcodeIndex()], op) for op in operators]
        # Weights stored in half precision are widened by an operation.
        self._widened = {
            op.Outputs(0): op.Inputs(0) for name, op in self._operators if name == "DEQUANTIZE"
        }

    def weights(self, path: Path) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for kind, op in self._operators:
            if kind not in KINDS:
                continue
            layer = self._layer(kind, op.Inputs(KERNEL))
            for what, index in (("kernel", KERNEL), ("bias", BIAS)):
                if index < op.InputsLength() and op.Inputs(index) >= 0:
                    key = f"{layer}/{what}"
                    if key in found:
                        raise WeightsError(f"{path} has several layers named {layer!r}")
                    found[key] = self._constant(op.Inputs(index), key, path)
        return found

    def _name_of(self, code: Any) -> str:
        if code.CustomCode() is not None:
            return code.CustomCode().decode()
        # Older files have the code in a field that holds no more than 127.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        return self._tflite.opcode2name(builtin)

    def _layer(self, kind: str, tensor: int) -> str:
        name = self._graph.Tensors(tensor).Name().decode()
        for part in name.split(";"):
            *_, layer, last = ("", *part.removesuffix("_dequantize").split("/"))
            if last in KINDS[kind]:
                return layer
        return name

    def _constant(self, tensor: int, key: str, path: Path) -> np.ndarray:
        stored = self._graph.Tensors(self._widened.get(tensor, tensor))
        types = self._tflite.TensorType
        dtypes = {types.FLOAT32: np.float32, types.FLOAT16: np.float16}
        if stored.Type() not in dtypes:
            raise WeightsError(f"{path}: {key} is quantised; only floating weights are read")
        content = self._model.Buffers(stored.Buffer()).DataAsNumpy()
        if not isinstance(content, np.ndarray):
            raise WeightsError(f"{path}: {key} is no constant")
        return content.view(dtypes[stored.Type()]).reshape(stored.ShapeAsNumpy())
