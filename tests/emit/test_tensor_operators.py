"""Operators of transformers: what is written computes what the reference computes."""

from __future__ import annotations

import pytest
from emit_networks import Text, write

torch = pytest.importorskip("torch")

from stagewright.emit.verify import verify_package  # noqa: E402

CHAIN = (
    ("Linear(8, 24)", 1),
    ("Unsqueeze(1)", 1),
    ("Permute(1, 0, 2)", 1),
    ("Contiguous()", 1),
    ("Squeeze(0)", 1),
    ("MulNumber(0.5)", 1),
    ("AddNumber(-1)", 1),
    ("DivNumber(value=3.0)", 1),
    ("RMSNorm([24], eps=1e-05, elementwise_affine=True)", 1),
    ("Reshape(3, 8)", 2),
    ("Mean(-1, -2, keepdim=True)", 1),
)


def test_shapes_and_numbers(tmp_path):
    """Every operator in a chain, each in a stage of its own."""
    node = Text()
    x = node("Input0", stage=0)
    for stage, (description, operands) in enumerate(CHAIN):
        more = [node("Size(0)", x, stage=stage)] if operands == 2 else []
        x = node(description, x, *more, stage=stage)
    report = verify_package(write(node.graph(), tmp_path / "net"))
    assert report.first_difference is None
    assert len(report.stages) == len(CHAIN)


def test_attention_by_hand_and_at_once(tmp_path):
    node = Text()
    source = node("Input0", stage=0)
    x = node("Linear(8, 24)", source, stage=0)
    parts = [node(f"Chunk(3, -1, {k})", x, stage=0) for k in range(3)]
    turned = node("Transpose(-2, -1)", parts[1], stage=0)
    scores = node("Softmax(dim=-1)", node("MatMul", parts[0], turned, stage=0), stage=0)
    by_hand = node("MatMul", scores, parts[2], stage=1)
    heads = [node("Unsqueeze(0)", part, stage=1) for part in parts]
    at_once = node("Attention(is_causal=True)", *heads, stage=1)
    first = node("Select(0, -1)", at_once, stage=1)
    whole = node("MultiheadAttention(8, 2, batch_first=True)", by_hand, first, parts[2], stage=2)
    node("Div", node("Sub", whole, first, stage=2), node("Sigmoid()", whole, stage=2), stage=2)
    report = verify_package(write(node.graph(), tmp_path / "net"))
    assert report.first_difference is None
    assert "from .attention import Attention" in (tmp_path / "net" / "stage2.py").read_text()
    assert (tmp_path / "net" / "attention.py").is_file()
