"""The encoder as an ONNX graph, built from its int8 weights when they are loaded.

BERT with mean and maximum pooling and a two-layer head. A matrix product takes int8 weights as they
are stored and rounds its input to 8 bits *for each token by itself*: the scores of a text
are the same whatever it is batched with, and one large value in one token does not make
the others coarse. Attention, normalisation and the head stay in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from classifiers.encoder_weights import Array, Tensors

HEADS = 12  # of attention
STEPS = 127  # of the rounded input, on either side of 0
ABSENT = 1e4  # keeps padding from being the maximum
EPSILON = 1e-12  # of BERT's layer norms
_CONTRIB = "com.microsoft"  # ONNX Runtime's own operators


def build(tensors: Tensors) -> bytes:
    """Return the serialised graph.

    Inputs, all (batch, tokens): `ids` and `segments`, int64, and `mask`, int32, 1 where a
    token stands. Output: `logits`, (batch, heads), float32, before the sigmoid.

    Raises:
        KeyError: If a tensor is missing.
    """
    graph = _Graph(tensors)
    states = graph.embedded()
    depth = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})
    for layer in range(depth):
        states = graph.layer(states, f"encoder.layer.{layer}")
    graph.head(states)
    return graph.serialized()


class _Graph:
    """Collects nodes and constants; each method returns the name of what it computed."""

    def __init__(self, tensors: Tensors):
        self._tensors = tensors
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._step = self._constant("step", np.float32(1 / STEPS))
        self._middle = self._constant("middle", np.uint8(128))
        self._one = self._constant("one", np.float32(1))
        self._last = self._constant("last", np.array([-1]))

    def embedded(self) -> str:
        words = self._op("Cast", self._op("Gather", self._weight("word"), "ids"), to=1)
        words = self._op("Mul", words, self._op("Gather", self._scale("word"), "ids"))
        count = self._op("Gather", self._op("Shape", "ids"), self._constant("first", np.array([1])))
        zero = self._constant("0", np.array([0]))
        places = self._op("Slice", self._floats("position"), zero, count, zero)
        segments = self._op("Gather", self._floats("token_type"), "segments")
        summed = self._op("Add", words, self._op("Add", places, segments))
        return self._op("LayerNormalization", summed, *self._norm("embeddings"), epsilon=EPSILON)

    def layer(self, states: str, name: str) -> str:
        attention = f"{name}.attention"
        asked = [f"{attention}.self.{each}" for each in ("query", "key", "value")]
        parts = self._ops("Split", (self._linear(states, *asked),), 3, axis=-1, num_outputs=3)
        heard = self._op(
            "MultiHeadAttention",
            *(*parts, self._bias(*asked), "mask"),
            domain=_CONTRIB,
            num_heads=HEADS,
        )
        states = self._add_and_norm(heard, states, f"{attention}.output.dense")
        inner = f"{name}.intermediate.dense"
        inner = self._op(
            "BiasGelu", self._linear(states, inner), self._bias(inner), domain=_CONTRIB
        )
        return self._add_and_norm(inner, states, f"{name}.output.dense")

    def head(self, states: str) -> None:
        """Pool over the tokens that stand and add the classifier's two layers."""
        weight = self._op("Unsqueeze", self._op("Cast", "mask", to=1), self._last)
        second = self._constant("second", np.array([1]))
        total = self._op("ReduceSum", self._op("Mul", states, weight), second, keepdims=0)
        mean = self._op("Div", total, self._op("ReduceSum", weight, second, keepdims=0))
        absent = self._constant("absent", np.float32(ABSENT))
        away = self._op("Mul", self._op("Sub", weight, self._one), absent)
        most = self._op("ReduceMax", self._op("Add", states, away), second, keepdims=0)
        pooled = self._op("Concat", mean, most, axis=1)
        inner = self._op("Gelu", self._product(pooled, "head.inner"), domain=_CONTRIB)
        self._nodes.append(
            helper.make_node("Identity", [self._product(inner, "head.outer")], ["logits"])
        )

    def serialized(self) -> bytes:
        shape = ["batch", "tokens"]
        inputs = [
            helper.make_tensor_value_info("ids", TensorProto.INT64, shape),
            helper.make_tensor_value_info("segments", TensorProto.INT64, shape),
            helper.make_tensor_value_info("mask", TensorProto.INT32, shape),
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "heads"])
        graph = helper.make_graph(
            self._nodes, "encoder", inputs, [output], list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return bytes(model.SerializeToString())

    def _linear(self, states: str, *layers: str) -> str:
        """Multiply by int8 matrices side by side: the input is rounded once for all of them.

        The bias is left to the operator behind: each has a place for one. With short texts
        it is the number of operators that takes the time, not the products.
        """
        # Of a token that is 0 throughout the shares are no numbers; times 0 they do no harm.
        magnitude = self._op("ReduceMax", self._op("Abs", states), self._last, keepdims=1)
        shares = self._op("Div", states, magnitude)
        rounded = self._op("QuantizeLinear", shares, self._step, self._middle)
        matrix = self._join([f"{layer}.weight" for layer in layers], axis=1)
        scales = np.concatenate([self._tensors[f"{layer}.weight.scale"] for layer in layers], 1)
        product = self._op(
            "MatMulIntegerToFloat",
            *(rounded, matrix, self._one),
            self._constant("+".join(layers), scales[0] / np.float32(STEPS)),
            self._middle,
            domain=_CONTRIB,
        )
        return self._op("Mul", product, magnitude)

    def _bias(self, *layers: str) -> str:
        return self._join([f"{layer}.bias" for layer in layers], axis=0)

    def _product(self, states: str, name: str) -> str:
        weight = self._tensors[f"{name}.weight"] * self._tensors[f"{name}.weight.scale"]
        matrix = self._constant(f"{name}.float", weight.astype(np.float32))
        return self._op(
            "Add", self._op("MatMul", states, matrix), self._join([f"{name}.bias"], axis=0)
        )

    def _add_and_norm(self, inner: str, states: str, name: str) -> str:
        """Normalise the sum of `states` and what the linear layer `name` makes of `inner`."""
        return self._op(
            "SkipLayerNormalization",
            *(self._linear(inner, name), states),
            *self._norm(name.removesuffix(".dense")),
            self._bias(name),
            domain=_CONTRIB,
            epsilon=EPSILON,
        )

    def _norm(self, name: str) -> tuple[str, str]:
        found = [self._join([f"{name}.LayerNorm.{part}"], axis=0) for part in ("weight", "bias")]
        return found[0], found[1]

    def _weight(self, name: str) -> str:
        return self._join([f"embeddings.{name}_embeddings.weight"], axis=0)

    def _scale(self, name: str) -> str:
        return self._join([f"embeddings.{name}_embeddings.weight.scale"], axis=0)

    def _floats(self, name: str) -> str:
        """A small embedding table, as float32."""
        key = f"embeddings.{name}_embeddings.weight"
        values = self._tensors[key].astype(np.float32)
        return self._constant(key, values * self._tensors.get(f"{key}.scale", np.float32(1)))

    def _join(self, names: list[str], axis: int) -> str:
        parts = [self._tensors[name] for name in names]
        return self._constant("+".join(names), np.concatenate(parts, axis=axis))

    def _constant(self, name: str, value: Array | np.generic) -> str:
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        self._constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def _op(self, kind: str, *inputs: str, **attributes: int | float | str) -> str:
        return self._ops(kind, inputs, 1, **attributes)[0]

    def _ops(
        self, kind: str, inputs: tuple[str, ...], count: int, **attributes: int | float | str
    ) -> list[str]:
        outputs = [f"{kind}_{len(self._nodes)}_{index}" for index in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs
