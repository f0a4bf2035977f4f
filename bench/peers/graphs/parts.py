"""A graph of ONNX that is being written, and the parts that several models have."""
import pathlib

from onnx import TensorProto, helper, save

HERE = pathlib.Path(__file__).parent
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    def __init__(self):
        self.nodes, self.inputs, self.initialisers, self.more, self.count = [], [], [], [], 0

    def input(self, name, shape, kind=FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, name, shape):
        """An initialiser whose data comes from outside."""
        t = TensorProto(name=name, data_type=FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        t.external_data.add(key="location", value=name)
        self.initialisers.append(t)
        return name

    def constant(self, values, kind=INT64, shape=None):
        self.count += 1
        name = f"c{self.count}"
        shape = [len(values)] if shape is None else shape
        self.initialisers.append(helper.make_tensor(name, kind, shape, values))
        return name

    def __call__(self, op, *inputs, output=None, more=(), domain="", **attributes):
        self.count += 1
        output = output or f"v{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [output, *more], domain=domain, **attributes))
        return output

    def keep(self, name, shape):
        """A result beside y: what a next call is given."""
        self.more.append(helper.make_tensor_value_info(name, FLOAT, shape))
        return name

    def save(self, name, shape, kind=FLOAT):
        y = helper.make_tensor_value_info("y", kind, shape)
        graph = helper.make_graph(self.nodes, name, self.inputs, [y, *self.more], self.initialisers)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        save(helper.make_model(graph, opset_imports=opsets, ir_version=10), HERE / f"{name}.onnx")


def attend(g, q, k, v, D, mask=None, **last):
    """As torch exports it: the scale on both factors. q, k, v [B, H, L, D]."""
    scale = g.constant([D**-0.25], FLOAT, [])
    scores = g("MatMul", g("Mul", q, scale), g("Mul", g("Transpose", k, perm=[0, 1, 3, 2]), scale))
    if mask:
        scores = g("Add", scores, mask)
    return g("MatMul", g("Softmax", scores, axis=-1), v, **last)


def norm(g, x, name, D):
    w, b = g.weight(f"{name}.weight", [D]), g.weight(f"{name}.bias", [D])
    return g("LayerNormalization", x, w, b, epsilon=1e-5, axis=-1)


def dense(g, x, name, K, N, bias=True, **last):
    """x W, with W [K, N]: exporters transpose the weights of linear layers. Their data is given transposed."""
    y = g("MatMul", x, g.weight(f"{name}.weight", [K, N]), **({} if bias else last))
    return g("Add", y, g.weight(f"{name}.bias", [N]), **last) if bias else y
