"""The sample clusters and the derived profiles that come with the repository."""

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from stagewright.model.cluster_file import read_cluster_yaml
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.profile import read_profile
from stagewright.model.server_file import ClusterFile, read_server_file
from stagewright.profile.devices import Device
from stagewright.profile.roofline import Work
from stagewright.scenarios.minkvgg import Clouds, Kind, MinkLayer, Tensor
from stagewright.scenarios.roofline import (
    BANDWIDTH_EFFICIENCY,
    COMPUTE_EFFICIENCY,
    GPUS,
    LAUNCH_S,
    Launched,
    derive_profile,
    main,
    profile_files,
    work,
)

SAMPLES = Path(__file__).parents[1] / "hete_files"
PROFILES = SAMPLES / "profiles"
REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
CLOUDS = Clouds()
SLOW = Device("slow", 1e9, 1e9, memory_bytes=1e9, clock_hz=1e9)


@pytest.fixture(scope="module")
def graphs() -> list[LayerGraph]:
    return [read_profile(path) for path in sorted(PROFILES.iterdir())]


def _instance(samples: ClusterFile) -> Instance:
    profiles = {gpu: read_profile(path) for gpu, path in samples.profiles.items()}
    return build_instance(profiles, samples.cluster)


def _timeless(layer: Layer) -> Layer:
    return dataclasses.replace(layer, forward_ms=0.0, backward_ms=0.0)


def test_files_equal_what_the_command_writes(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in PROFILES.iterdir()}
    assert result.output.split() == [str(tmp_path / name) for name in profile_files()]


def test_command_names_a_folder_that_it_cannot_write(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    result = CliRunner().invoke(main, ["-o", str(taken)])
    assert result.exit_code == 2
    assert f"{taken}: is a file; expected a folder to write into" in result.output
    assert taken.read_text() == "a file"


def test_each_profile_is_a_chain_of_the_known_size(graphs: list[LayerGraph]) -> None:
    assert len(graphs) == len(GPUS)
    for graph in graphs:
        assert len(graph.layers) == 53
        assert graph.edges == tuple((f"node{i}", f"node{i + 1}") for i in range(1, 53))
        assert graph.parameter_bytes == 252_731_296
        assert graph.inputs == {"node1"}
        assert graph.by_id["node1"].total_ms == 0


def test_profiles_differ_in_times_only(graphs: list[LayerGraph]) -> None:
    first, *others = graphs
    for graph in others:
        assert graph.edges == first.edges
        assert [_timeless(x) for x in graph.layers] == [_timeless(x) for x in first.layers]
    totals = {graph.total_ms for graph in graphs}
    assert len(totals) == len(graphs)


def test_a_faster_card_is_no_slower_on_any_layer() -> None:
    slow, fast = (derive_profile(g) for g in (SLOW, dataclasses.replace(SLOW, fp32_flop_per_s=2e9)))
    faster = [a.total_ms > b.total_ms for a, b in zip(slow.layers, fast.layers, strict=True)]
    assert all(a.total_ms >= b.total_ms for a, b in zip(slow.layers, fast.layers, strict=True))
    assert any(faster)
    assert not all(faster)


def test_the_larger_of_the_two_times_counts() -> None:
    launches_ms = 3 * LAUNCH_S * 1000
    arithmetic = Launched(Work(flops=1e9, moved_bytes=1), launches=3).time_ms(SLOW)
    traffic = Launched(Work(flops=1, moved_bytes=1e9), launches=3).time_ms(SLOW)
    assert arithmetic == pytest.approx(1000 / COMPUTE_EFFICIENCY + launches_ms, abs=1e-3)
    assert traffic == pytest.approx(1000 / BANDWIDTH_EFFICIENCY + launches_ms, abs=1e-3)


def test_work_of_a_convolution() -> None:
    layer = MinkLayer(Kind.CONVOLUTION, Tensor(64, 2), Tensor(128, 2))
    forward, backward = work(layer, CLOUDS)
    pairs = 106_500 * 12.5
    assert layer.parameter_bytes == 884_736
    moved_bytes = pairs * (3 * 64 + 4 * 128) * 4 + 884_736
    assert forward == Launched(Work(2 * pairs * 64 * 128, moved_bytes), 81)
    assert backward == Launched(forward.work.times(2), 162)


def test_a_convolution_without_voxels_is_refused() -> None:
    layer = MinkLayer(Kind.CONVOLUTION, Tensor(64, None), Tensor(64, None))
    with pytest.raises(ValueError, match="a sparse convolution needs voxels"):
        work(layer, CLOUDS)


def test_activations_carry_coordinates_until_the_global_pooling() -> None:
    assert CLOUDS.activation_bytes(Tensor(64, 1)) == 202_000 * (64 * 4 + 16)
    assert CLOUDS.activation_bytes(Tensor(512, None)) == 64 * 512 * 4


def test_readme_states_the_figures_of_the_script() -> None:
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for gpu in GPUS:
        peak, bandwidth = gpu.fp32_flop_per_s / 1e12, gpu.memory_bytes_per_s / 1e9
        total_ms = derive_profile(gpu).total_ms
        assert f"\n| {gpu.name} | {peak:g} | {bandwidth:g} | {total_ms:.1f} |\n" in text
    for stride in (1, 2, 4, 8, 16):
        voxels, neighbours = CLOUDS.voxels(stride), CLOUDS.neighbours(stride)
        assert f"\n| {stride} | {voxels:,} | {neighbours:.1f} |\n" in text
    assert f"\n| 32 | {CLOUDS.voxels(32):,} | no convolution |\n" in text
    formula = (
        f"time = max(flops / ({COMPUTE_EFFICIENCY} × peak flop/s), "
        f"bytes / ({BANDWIDTH_EFFICIENCY} × memory bandwidth)) "
        f"+ launches × {LAUNCH_S * 1e6:g} µs\n"
    )
    assert formula in text


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("test_server.txt", "Server0: TitanV×1, TitanXP×3"),
        ("titanv4_titanxp3.txt", "Server0: TitanV×4, TitanXP×3"),
    ],
)
def test_server_files_make_instances(name: str, described: str) -> None:
    instance = _instance(read_server_file(SAMPLES / name))
    assert instance.cluster.describe() == described
    assert len(instance.nodes) == 52
    assert instance.time_s[0].sum() < instance.time_s[1].sum()
    assert instance.notes == ()


def test_two_servers_make_an_instance() -> None:
    instance = _instance(read_cluster_yaml(SAMPLES / "two_servers.yaml"))
    cluster = instance.cluster
    assert cluster.describe() == "Server0: TitanV×2, TitanXP×2; Server1: RTX2080Ti×4"
    assert [g.memory_bytes for g in cluster.groups] == [12e9, 12e9, 11e9]
    assert cluster.bandwidth.tolist() == [[12e9, 1.1e9], [1.1e9, 12e9]]
    assert cluster.latency.tolist() == [[0, 5e-5], [5e-5, 0]]
    assert instance.notes == ()


@pytest.mark.reference
def test_everything_but_times_and_activations_equals_the_measured_network(
    graphs: list[LayerGraph],
) -> None:
    path = REFERENCE / "profiles" / "minkvgg_b64_RTX.txt"
    if not path.is_file():
        pytest.skip(f"no reference data at {path}")
    measured = read_profile(path)
    for graph in graphs:
        assert graph.edges == measured.edges
        ours = [(x.id, x.description, x.parameter_bytes) for x in graph.layers]
        assert ours == [(x.id, x.description, x.parameter_bytes) for x in measured.layers]
