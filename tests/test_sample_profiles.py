"""The sample clusters, and the profiles of theirs that ``make profiles`` writes."""

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from stagewright.cli.app import run
from stagewright.model.cluster_file import read_cluster_yaml
from stagewright.model.errors import NetworkError
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.profile import read_profile
from stagewright.model.profile_document import ProfileDocument, read_profile_document
from stagewright.model.server_file import ClusterFile, read_server_file
from stagewright.profile.device_file import read_devices
from stagewright.profile.devices import Device, known_device
from stagewright.scenarios import sample_profiles
from stagewright.scenarios.sample_profiles import (
    GPUS,
    RATES,
    main,
    measured_files,
    predicted_files,
    request,
)

SAMPLES = Path(__file__).parents[1] / "hete_files"
PROFILES = SAMPLES / "profiles"
README = (SAMPLES / "README.md").read_text(encoding="utf-8")
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(PROFILES.iterdir())}


@pytest.fixture(scope="module")
def document() -> ProfileDocument:
    return read_profile_document(PROFILES / "minkvgg.profile.json")


@pytest.fixture(scope="module")
def cpu() -> Device:
    (found,) = read_devices(PROFILES / RATES)
    return found


@pytest.fixture(scope="module")
def graphs() -> dict[str, LayerGraph]:
    """Profiles by GPU type, and the measured one as ``CPU``."""
    predicted = {gpu: read_profile(PROFILES / f"minkvgg_{gpu.lower()}.txt") for gpu in GPUS}
    return {"CPU": read_profile(PROFILES / "minkvgg.txt"), **predicted}


def _instance(samples: ClusterFile) -> Instance:
    profiles = {gpu: read_profile(path) for gpu, path in samples.profiles.items()}
    return build_instance(profiles, samples.cluster)


def _timeless(layer: Layer) -> Layer:
    return dataclasses.replace(layer, forward_ms=0.0, backward_ms=0.0)


# --- the files are what the command makes of one measurement ------------------------------------


def test_files_are_what_the_measurement_gives(document: ProfileDocument, cpu: Device) -> None:
    assert measured_files(document, cpu) | predicted_files(document, cpu) == FILES


def test_the_profile_command_carries_the_measured_profile_over_to_the_same_files(
    tmp_path: Path,
) -> None:
    measured, rates = str(PROFILES / "minkvgg.txt"), str(PROFILES / RATES)
    asked = ["--from", measured, "--measured-on", "SampleCPU", "--gpu-specs", rates]
    assert run(["profile", *asked, "--as", ",".join(GPUS), "-o", str(tmp_path)]) == 0
    for gpu in GPUS:
        for suffix in (".txt", ".prediction.json"):
            written = (tmp_path / f"minkvgg_{gpu}{suffix}").read_bytes()
            assert written == (PROFILES / f"minkvgg_{gpu.lower()}{suffix}").read_bytes()


def test_it_was_measured_as_the_command_measures(document: ProfileDocument) -> None:
    asked, how = request(), document.measurement
    assert (document.model, document.input) == (asked.model, asked.input)
    assert (document.arguments, document.input_arguments) == (
        asked.arguments,
        asked.input_arguments,
    )
    assert (how.warm_up, how.repeats, how.minibatches) == (
        asked.warm_up,
        asked.repeats,
        asked.minibatches,
    )
    assert (document.device.kind, document.device.threads, how.clock) == ("cpu", 1, "thread")


@pytest.mark.slow
def test_a_fresh_measurement_of_fewer_points_has_the_same_layers(
    tmp_path: Path, graphs: dict[str, LayerGraph]
) -> None:
    pytest.importorskip("MinkowskiEngine")
    smaller = ["--clouds", "1", "--points", "300", "--repeats", "1"]
    result = CliRunner().invoke(main, ["-o", str(tmp_path), *smaller])
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    for committed in graphs.values():
        fresh = read_profile(tmp_path / f"{committed.name}.txt")
        assert fresh.edges == committed.edges
        for ours, theirs in zip(fresh.layers, committed.layers, strict=True):
            assert (ours.id, ours.description) == (theirs.id, theirs.description)
            assert ours.parameter_bytes == theirs.parameter_bytes
            assert len(ours.activation_parts_bytes) == len(theirs.activation_parts_bytes)
            assert 0 < ours.activation_bytes < theirs.activation_bytes
        assert 0 < fresh.total_ms < committed.total_ms


def test_nothing_is_written_where_measuring_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NetworkError("'network' needs 'MinkowskiEngine', which is not installed")

    monkeypatch.setattr(sample_profiles, "profile", fail)
    result = CliRunner().invoke(main, ["-o", str(tmp_path / "profiles")])
    assert result.exit_code == 1
    assert "'network' needs 'MinkowskiEngine', which is not installed" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_profiles, "profile", None)
    taken = tmp_path / "taken"
    taken.write_text("a file")
    result = CliRunner().invoke(main, ["-o", str(taken)])
    assert result.exit_code == 2
    assert f"'{taken}' is a file" in result.output
    assert taken.read_text() == "a file"


# --- the files fit together, and the README ----------------------------------------------------


def test_each_profile_is_a_chain_of_the_known_size(graphs: dict[str, LayerGraph]) -> None:
    for graph in graphs.values():
        assert len(graph.layers) == 53
        assert graph.edges == tuple((f"node{i}", f"node{i + 1}") for i in range(1, 53))
        assert graph.parameter_bytes == 252_731_296
        assert graph.inputs == {"node1"}
        assert graph.by_id["node1"].total_ms == 0


def test_profiles_differ_in_times_only(graphs: dict[str, LayerGraph]) -> None:
    first, *others = graphs.values()
    for graph in others:
        assert graph.edges == first.edges
        assert [_timeless(x) for x in graph.layers] == [_timeless(x) for x in first.layers]
    assert len({graph.total_ms for graph in graphs.values()}) == len(graphs)


def test_readme_states_the_figures_of_the_files(
    graphs: dict[str, LayerGraph], document: ProfileDocument, cpu: Device
) -> None:
    for name, graph in graphs.items():
        device = cpu if name == "CPU" else known_device(name)
        peak, bandwidth = device.fp32_flop_per_s / 1e12, device.memory_bytes_per_s / 1e9
        how = "measured" if name == "CPU" else "predicted"
        row = f"\n| {name} | {how} | {peak:.4g} | {bandwidth:.4g} | {graph.total_ms:,.1f} |\n"
        assert row in README
    points = document.inputs[0][0].points
    assert points is not None
    assert f"{points.clouds} clouds of {points.mean:,.0f} points" in README
    assert f"`{document.device.name}`" in README
    step = document.step
    assert f"{step.total_ms / 1e3:.1f} s a step" in README
    assert f"ratio {step.ratio:.3f}" in README


@pytest.mark.reference
def test_everything_but_times_and_activations_equals_the_published_network(
    graphs: dict[str, LayerGraph], reference: Path
) -> None:
    published = read_profile(reference / "profiles" / "minkvgg_b64_RTX.txt")
    for graph in graphs.values():
        assert graph.edges == published.edges
        for ours, theirs in zip(graph.layers, published.layers, strict=True):
            assert (ours.id, ours.parameter_bytes) == (theirs.id, theirs.parameter_bytes)
            if "PoolingMode" not in theirs.description:
                assert ours.description == theirs.description


# --- the clusters -------------------------------------------------------------------------------


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
