"""Constructor arguments: what a step's module is made with, settled once for code and reference."""

from __future__ import annotations

from stagewright.emit.coordinates import dimension_of, spatial_dimension
from stagewright.emit.layers import find_layer
from stagewright.emit.program import Program, Step, Tensor
from stagewright.model.describe import Call, Value
from stagewright.model.errors import InputError

Arguments = tuple[tuple[Value, ...], dict[str, Value]]


def constructor_arguments(program: Program, step: Step) -> Arguments:
    """Return the positional and the keyword arguments of a step's module.

    They are those of the description, but for four things: ``inplace`` is kept only where
    nothing else needs the tensor, MinkowskiEngine's ``bias=None`` and ``has_bias`` become
    ``bias``, equal sizes in all dimensions become one number, and a missing dimension is
    filled in.

    Raises
    ------
    InputError
        If the modules inside a composite module are not as expected.
    """
    if step.layer.parts:
        return _COMPOSITES[step.call.name](step.call)
    kwargs = dict(step.call.kwargs)
    kwargs.pop("inplace", None)
    if _overwrites(step) and may_overwrite(program, step):
        kwargs["inplace"] = True
    if step.layer.constructor.startswith("ME."):
        return _minkowski(program, step, kwargs)
    return step.call.args, kwargs


def _overwrites(step: Step) -> bool:
    return step.arguments.get("inplace") is True


def may_overwrite(program: Program, step: Step) -> bool:
    """Return whether a step may overwrite its operand.

    Nobody else may read it, it must be made in the same stage, and neither its producer's
    backward pass nor a view may depend on it.
    """
    operand = step.operands[0]
    if not isinstance(operand, Tensor) or operand.node in program.inputs or step.sparse:
        return False
    producer = program.by_node[operand.node]
    return (
        producer.stage == step.stage
        and operand.item is None
        and not producer.layer.saves_output
        and len(program.readers[operand]) == 1
        and operand not in program.outputs
    )


def _minkowski(program: Program, step: Step, kwargs: dict[str, Value]) -> Arguments:
    if "dimension" not in step.layer.parameters:
        return step.call.args, kwargs
    named = {"bias" if key == "has_bias" else key: x for key, x in step.arguments.items()}
    if "bias" in named:
        named["bias"] = bool(named["bias"])
    named.pop("dimension", None)
    named["dimension"] = dimension_of(step.arguments) or spatial_dimension(program)
    return (), {key: _one_number(value) for key, value in named.items()}


def _one_number(value: Value) -> Value:
    """Return one number for a size that is the same in all dimensions."""
    if isinstance(value, tuple) and value and all(x == value[0] for x in value):
        return value[0]
    return value


def _bidirectional(call: Call) -> Arguments:
    lstm = _part(call, "bidir", "LSTM")
    return (lstm["input_size"], lstm["hidden_size"]), {}


def _attention(call: Call) -> Arguments:
    rnn = _part(call, "rnn", "LSTM")
    attention = _inside(call, "attn")
    query, key = _part(attention, "linear_q", "Linear"), _part(attention, "linear_k", "Linear")
    if query["in_features"] != rnn["hidden_size"]:
        raise InputError("RecurrentAttention: linear_q does not take what rnn gives")
    kwargs = {
        "context_size": key["in_features"],
        "units": query["out_features"],
        "dropout": _part(call, "dropout", "Dropout").get("p", 0.5),
    }
    return (rnn["input_size"], rnn["hidden_size"]), kwargs


def _classifier(call: Call) -> Arguments:
    linear = _inside(call, "classifier")
    find_layer("Linear").arguments(linear)
    return linear.args, dict(linear.kwargs)


def _inside(call: Call, key: str) -> Call:
    child = call.child(key)
    if child is None:
        raise InputError(f"{call.name} lacks the module '{key}' inside it")
    return child


def _part(call: Call, key: str, name: str) -> dict[str, Value]:
    child = _inside(call, key)
    if child.name != name:
        raise InputError(f"{call.name}: '{key}' is a {child.name}; expected {name}")
    return find_layer(name).arguments(child)


_COMPOSITES = {
    "EmuBidirLSTM": _bidirectional,
    "RecurrentAttention": _attention,
    "Classifier": _classifier,
}
