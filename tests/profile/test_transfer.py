"""Carrying times over: exact where the model holds, and monotone where it may not."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import chain, graph_of, layer
from stagewright.model.graph import LayerGraph
from stagewright.profile.devices import DEVICES, Device, Kind, Precision, known_device
from stagewright.profile.roofline import Limit, Work, limit_of, roof_s
from stagewright.profile.transfer import (
    ATTAINABLE,
    LAUNCH_MS,
    Transfer,
    carry_over,
    disturbed,
)
from stagewright.profile.work import LayerWork

CPU = Device("CPU", 1e11, 2e10, math.inf, clock_hz=0.0, kind=Kind.CPU)

devices = st.sampled_from(DEVICES)
works = st.builds(
    Work,
    flops=st.floats(0, 1e13),
    moved_bytes=st.floats(1, 1e11),
    on_chip_bytes=st.sampled_from([0.0, 1e9, 1e12]),
)
times_ms = st.floats(1e-4, 1e4)


@given(devices, devices, works, st.floats(ATTAINABLE, 1))
def test_times_on_the_roofline_are_recovered_exactly(source, target, work, share):
    here_ms, there_ms = (1e3 * roof_s(work, _rates(x, work)) / share for x in (source, target))
    assert Transfer(source, target).pass_ms(here_ms, work) == pytest.approx(there_ms, rel=1e-9)


@given(devices, devices, works, st.floats(0, 1e9))
def test_latency_beyond_the_roofline_is_recovered_in_cycles(source, target, work, cycles):
    here_ms, there_ms = (
        1e3 * (roof_s(work, _rates(x, work)) / ATTAINABLE + cycles / x.clock_hz)
        for x in (source, target)
    )
    assert Transfer(source, target).pass_ms(here_ms, work) == pytest.approx(there_ms, rel=1e-9)


@given(devices, works, times_ms)
def test_the_measured_device_gets_its_times_back_bit_for_bit(device, work, measured_ms):
    assert Transfer(device, device).pass_ms(measured_ms, work) == measured_ms


@given(
    devices,
    devices,
    works,
    times_ms,
    st.sampled_from(["fp32_flop_per_s", "memory_bytes_per_s", "multiprocessors", "clock_hz"]),
)
def test_a_target_twice_as_fast_is_never_slower(source, target, work, measured_ms, what):
    twice = dataclasses.replace(target, **{what: 2 * getattr(target, what)})
    slow_ms = Transfer(source, target).pass_ms(measured_ms, work)
    assert Transfer(source, twice).pass_ms(measured_ms, work) <= slow_ms * (1 + 1e-12)


def test_a_target_twice_as_fast_is_faster_where_that_binds():
    source, target = known_device("V100"), known_device("TitanXP")
    twice = dataclasses.replace(target, fp32_flop_per_s=2 * target.fp32_flop_per_s)
    product, copy = Work(flops=1e12), Work(moved_bytes=1e9)
    whole_ms = 1e3 * roof_s(product, source.rates())
    ratio = Transfer(source, twice).pass_ms(whole_ms, product) / Transfer(source, target).pass_ms(
        whole_ms, product
    )
    assert ratio == pytest.approx(0.5)
    assert Transfer(source, twice).pass_ms(3, copy) == Transfer(source, target).pass_ms(3, copy)


@given(devices, devices, works, times_ms)
def test_twice_the_work_in_twice_the_time_takes_twice_the_time(source, target, work, measured_ms):
    transfer = Transfer(source, target)
    once_ms = transfer.pass_ms(measured_ms, work)
    twice_ms = transfer.pass_ms(2 * measured_ms, work.times(2))
    assert twice_ms == pytest.approx(2 * once_ms, rel=1e-9)


@given(devices, devices, works, times_ms)
def test_predicted_times_are_positive_and_finite(source, target, work, measured_ms):
    assert 0 < Transfer(source, target).pass_ms(measured_ms, work) < math.inf


def test_a_time_that_beats_the_chip_shows_another_kernel():
    source, target = known_device("RTX2080Ti"), known_device("TitanV")
    tiled = Work(flops=1e12, on_chip_bytes=2.5e12)
    faster_ms = 0.99e3 * tiled.on_chip_bytes / source.on_chip_bytes_per_s
    slower_ms = 1.01 / 0.99 * faster_ms
    transfer = Transfer(source, target)
    assert transfer.explain(faster_ms, tiled)[0] == Limit.ARITHMETIC
    assert transfer.explain(slower_ms, tiled)[0] == Limit.ON_CHIP
    assert transfer.pass_ms(faster_ms, tiled) == transfer.pass_ms(faster_ms, Work(flops=1e12))
    assert transfer.pass_ms(slower_ms, tiled) < transfer.pass_ms(slower_ms, Work(flops=1e12))


def test_where_one_chip_is_unknown_neither_counts():
    source, target = known_device("V100"), known_device("A100")
    unknown = dataclasses.replace(target, load_store_units=0)
    tiled, plain = Work(1e12, 1e9, 2.5e12), Work(1e12, 1e9)
    assert Transfer(source, unknown).pass_ms(400, tiled) == Transfer(source, target).pass_ms(
        400, plain
    )
    assert Transfer(source, target).pass_ms(400, tiled) != Transfer(source, target).pass_ms(
        400, plain
    )


def test_without_work_only_the_clock_counts():
    source, target = known_device("V100"), known_device("A100")
    assert Transfer(source, target).pass_ms(1.41, Work()) == pytest.approx(1.53)
    unknown = dataclasses.replace(target, clock_hz=0.0)
    assert Transfer(source, unknown).pass_ms(1.41, Work()) == 1.41


def test_from_a_cpu_the_reached_share_is_kept_and_launches_come_on_top():
    target = known_device("V100")
    work = Work(flops=1e11)
    predicted_ms = Transfer(CPU, target).pass_ms(4000, work)
    assert predicted_ms == pytest.approx(1e3 * 4 * 1e11 / 15.7e12 + LAUNCH_MS)
    assert Transfer(CPU, target).pass_ms(0, work) == 0
    assert Transfer(CPU, target).pass_ms(3, Work()) == LAUNCH_MS
    assert Transfer(CPU, CPU).pass_ms(3, work) == 3
    tiled = Work(flops=1e11, on_chip_bytes=2.5e11)
    tiled_ms = Transfer(CPU, target).pass_ms(4000, tiled) - LAUNCH_MS
    assert tiled_ms == pytest.approx(1e3 * 4 * 2.5e11 / target.on_chip_bytes_per_s)


def test_tensor_cores_speed_up_dense_layers_only():
    source, target = known_device("V100"), known_device("A100")
    dense, sparse = Work(flops=1e12), Work(flops=1e12, on_chip_bytes=1.0)
    for work, peak in ((dense, 156e12), (sparse, 19.5e12)):
        measured_ms = 1e3 * 1e12 / 15.7e12
        predicted_ms = Transfer(source, target, Precision.TF32).pass_ms(measured_ms, work)
        assert predicted_ms == pytest.approx(1e3 * 1e12 / peak)


def test_a_profile_keeps_everything_but_its_times():
    graph = graph_of(
        [
            layer("x", 5.0, 0.0, 64.0, description="Input0"),
            layer("a", 2.0, 4.0, [64.0, 32.0], 128.0, "Linear(in_features=4, out_features=4)"),
            layer("b", 1.0, 1.0, 64.0),
        ],
        "x->a a->b",
        "net",
    )
    works = {x.id: LayerWork(Work(flops=1e10), Work(flops=2e10)) for x in graph.layers}
    transfer = Transfer(known_device("TitanV"), known_device("H100"))
    carried = carry_over(graph, works, transfer)
    assert carried.name == "net_H100"
    assert carried.edges == graph.edges
    for before, after in zip(graph.layers, carried.layers, strict=True):
        assert dataclasses.replace(after, forward_ms=0, backward_ms=0) == dataclasses.replace(
            before, forward_ms=0, backward_ms=0
        )
    assert carried.by_id["x"] == graph.by_id["x"]
    assert carried.by_id["a"].forward_ms == transfer.pass_ms(2.0, Work(flops=1e10))
    assert carried.by_id["a"].backward_ms == transfer.pass_ms(4.0, Work(flops=2e10))


def test_the_same_device_returns_the_same_profile():
    graph = chain([1.234567, 0.0, 3.3], [10, 20, 30], 5)
    works = {x.id: LayerWork(Work(1e9, 1e8), Work(2e9, 1e8)) for x in graph.layers}
    device = known_device("TitanXP")
    assert carry_over(graph, works, Transfer(device, device)) == graph


def equals(*backward_ms: float, forward_ms: tuple[float, ...] = ()) -> LayerGraph:
    """Layers of one kind on tensors of one size, one after the other."""
    layers = [layer("node0", 1.0, 1.0, 64.0, description="Input0")]
    forward = forward_ms or (1.0,) * len(backward_ms)
    for k, (f, b) in enumerate(zip(forward, backward_ms, strict=True), start=1):
        layers.append(layer(f"node{k}", f, b, 64.0, 16.0, "Conv(4, 4)"))
    edges = " ".join(f"node{k}->node{k + 1}" for k in range(len(backward_ms)))
    return graph_of(layers, edges)


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (equals(284.0, 109.0), {"node1": (1.0, 109.0)}),
        (equals(3.0, 3.2, 9.0, 2.9), {"node3": (1.0, 3.0)}),
        (equals(3.0, 5.9, 1.5), {}),
        (equals(0.0, 5.9), {}),
        (equals(1.0, 1.0, 1.0, forward_ms=(9.0, 3.0, 2.5)), {}),
        (equals(1.0, 1.0, 1.0, forward_ms=(3.0, 9.0, 2.5)), {"node2": (3.0, 1.0)}),
    ],
)
def test_a_time_that_stands_out_among_equals_is_not_carried_over(graph, found):
    mended = disturbed(graph)
    assert {x.id: (x.forward_ms, x.backward_ms) for x in mended.values()} == found
    works = {x.id: LayerWork(Work(1e9, 1e8), Work(2e9, 1e8)) for x in graph.layers}
    transfer = Transfer(known_device("TitanV"), known_device("TitanXP"))
    carried = carry_over(graph, works, transfer)
    for node, (forward_ms, backward_ms) in found.items():
        assert carried.by_id[node].forward_ms == transfer.pass_ms(forward_ms, Work(1e9, 1e8))
        assert carried.by_id[node].backward_ms == transfer.pass_ms(backward_ms, Work(2e9, 1e8))
    own = Transfer(transfer.source, transfer.source)
    assert carry_over(graph, works, own).layers == graph.layers


@pytest.mark.parametrize(
    "other",
    [
        layer("b", 1.0, 1.0, 65.0, 16.0, "Conv(4, 4)"),
        layer("b", 1.0, 1.0, 64.0, 17.0, "Conv(4, 4)"),
        layer("b", 1.0, 1.0, 64.0, 16.0, "Conv(4, 4, 3)"),
    ],
)
def test_layers_that_do_other_work_are_no_equals(other):
    graph = graph_of([layer("a", 1.0, 9.0, 64.0, 16.0, "Conv(4, 4)"), other])
    assert disturbed(graph) == {}


def test_layers_on_tensors_of_another_size_are_no_equals():
    first, second = (layer(x, 1.0, 1.0, size) for x, size in (("x", 1.0), ("y", 2.0)))
    slow, fast = (layer(x, 1.0, t, 64.0, 16.0, "Conv(4, 4)") for x, t in (("a", 9.0), ("b", 1.0)))
    assert disturbed(graph_of([first, second, slow, fast], "x->a y->b")) == {}


def test_what_binds_is_named():
    rates = known_device("V100").rates()
    assert limit_of(Work(flops=1e12, moved_bytes=1), rates) == Limit.ARITHMETIC
    assert limit_of(Work(flops=1, moved_bytes=1e9), rates) == Limit.MEMORY
    assert limit_of(Work(), rates) == Limit.NOTHING


def _rates(device, work):
    assert not work.on_chip_bytes or device.on_chip_bytes_per_s < math.inf
    return device.rates()
