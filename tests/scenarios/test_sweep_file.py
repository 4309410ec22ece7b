"""Sweep files: what multiplies, what is read, and what is refused with which words."""

from __future__ import annotations

import pytest

from builders import error_text
from stagewright.scenarios.sweep.cells import make_sweep
from stagewright.scenarios.sweep.expect import check_expectations
from stagewright.scenarios.sweep.tables import read_sweep
from sweep_cells import SMALL, small_sweep, write_sweep

HEAD = 'title = "t"\n[workloads]\nw = {profile = "even.txt"}\n'
FOUR = "[clusters]\nfour = {machines = [4]}\n"
CLUSTER_YAML = """\
gpus: {V: {profile: even.txt, memory_bytes: 5}}
servers:
  - {name: A, bandwidth_bytes_per_s: 9.0e+9, gpus: [{gpu: V, count: 2}]}
  - {name: B, bandwidth_bytes_per_s: 8.0e+9, gpus: [{gpu: V, count: 1}]}
links: {bandwidth_bytes_per_s: 1.0e+9, latency_s: 0.001}
"""


def test_every_list_multiplies(tmp_path):
    text = (
        HEAD
        + FOUR
        + "[constraints]\nfree = {}\nstraight = {straight_pipeline = true}\n"
        + "[axes]\nbandwidths_bytes_per_s = [1e8, 1e9]\nmemory_bytes = [1e9, 2e9]\n"
        + 'dispatch = ["equal", "proportional"]\ncompression_ratios = [1, 2]\n'
        + 'planners = ["cpsat", "exact-dp"]\n'
    )
    sweep = small_sweep(tmp_path, text)
    assert len(sweep.cells) == 2**6
    assert len({cell.key for cell in sweep.cells}) == 2**6
    assert len({cell.problem_key for cell in sweep.cells}) == 2**5
    for cell in sweep.cells:
        rules = cell.job.problem.instance.rules
        assert rules.use_memory
        assert rules.straight_pipeline == (cell.labels.constraints == "straight")


def test_bandwidths_of_a_cluster_replace_its_own_and_keep_its_latencies(tmp_path):
    (tmp_path / "c.yaml").write_text(CLUSTER_YAML, "utf-8")
    clusters = '[clusters]\nc = {file = "c.yaml"}\n'
    title = 'title = "t"\n'
    own = small_sweep(tmp_path, title + clusters).cells[0].job.problem.instance.cluster
    assert own.bandwidth.tolist() == [[9e9, 1e9], [1e9, 8e9]]
    axes = "[axes]\nbandwidths_bytes_per_s = [5e8, [4e9, 2e9]]\n"
    cells = small_sweep(tmp_path, title + clusters + axes).cells
    found = [cell.job.problem.instance.cluster for cell in cells]
    assert [x.bandwidth.tolist() for x in found] == [
        [[5e8, 5e8], [5e8, 5e8]],
        [[4e9, 2e9], [2e9, 4e9]],
    ]
    assert all(x.latency_s == own.latency_s for x in found)
    assert cells[0].labels.workload == "even"


def test_levels_take_a_bandwidth_each(tmp_path):
    text = HEAD + "[clusters]\nl = {machines = [2, 2]}\n[axes]\nbandwidths_bytes_per_s = "
    (cell,) = small_sweep(tmp_path, text + "[[4e9, 1e9]]\n").cells
    assert cell.job.problem.instance.cluster.bandwidth.tolist() == [[4e9, 1e9], [1e9, 4e9]]


def test_a_network_is_timed_by_a_roofline_for_each_gpu_type(tmp_path):
    text = (
        'title = "t"\n[workloads.n]\nnetwork = "minkunet"\n[workloads.n.gpus]\n'
        "V = {flops_per_s = 1e13, bytes_per_s = 1e12}\nX = {flops_per_s = 1e12, bytes_per_s = 1e11}"
        "\n[clusters]\nc = {servers = [{V = 1, X = 1}]}\n"
    )
    (cell,) = small_sweep(tmp_path, text).cells
    profiles = cell.job.problem.instance.profiles
    v, x = (sum(layer.forward_ms for layer in profiles[gpu].layers) for gpu in "VX")
    assert v < x < 10 * v + 1


BAD = {
    "no TOML": ("title = \n", "sweep.toml:1: not valid TOML"),
    "nothing": ("", "title: is missing"),
    "no clusters": ('title = "t"\n', "clusters: is missing. docs/sweep.md describes"),
    "an unknown table": (HEAD + FOUR + "[axis]\n", "axis: extra inputs are not permitted (found"),
    "an unknown key": (
        HEAD + FOUR + "[options]\ntime_limit = 3\n",
        "options.time_limit: extra inputs are not permitted (found 3)",
    ),
    "an unknown planner": (
        HEAD + FOUR + '[axes]\nplanners = ["cpsta"]\n',
        "axes.planners.0: expected some of cpsat, milp,",
    ),
    "a planner twice": (
        HEAD + FOUR + '[axes]\nplanners = ["cpsat", "cpsat"]\n',
        "axes: planners lists cpsat twice",
    ),
    "an unknown cost model": (
        HEAD + FOUR + '[axes]\ncost_models = ["magic"]\n',
        "axes.cost_models.0: input should be 'topology', 'pipedream' or 'sparsepipe' (found 'mag",
    ),
    "an empty axis": (
        HEAD + FOUR + "[axes]\nbandwidths_bytes_per_s = []\n",
        "axes.bandwidths_bytes_per_s: list should have at least 1 item",
    ),
    "bandwidth 0": (
        HEAD + FOUR + "[axes]\nbandwidths_bytes_per_s = [0]\n",
        "axes.bandwidths_bytes_per_s.0.0: input should be greater than 0 (found 0)",
    ),
    "a bandwidth in words": (
        HEAD + FOUR + '[axes]\nbandwidths_bytes_per_s = ["10 GB"]\n',
        "axes.bandwidths_bytes_per_s.0.0: input should be a valid number",
    ),
    "memory that is not finite": (
        HEAD + FOUR + "[axes]\nmemory_bytes = [inf]\n",
        "axes.memory_bytes.0: input should be",
    ),
    "three bandwidths": (
        'title = "t"\n[workloads]\nw = {profile = "even.txt"}\n[clusters]\n'
        "c = {servers = [{V = 1}]}\n[axes]\nbandwidths_bytes_per_s = [[1e9, 1e8, 1e7]]\n",
        "clusters.c: 3 bandwidths in one entry; expected one (all links) or two (inside a server",
    ),
    "no time": (HEAD + FOUR + "[options]\ntime_limit_s = 0\n", "options.time_limit_s: input"),
    "threads in words": (
        HEAD + FOUR + '[options]\nworkers = "2"\n',
        "options.workers: input should be a valid integer (found '2')",
    ),
    "a cluster of two kinds": (
        HEAD + '[clusters]\nc = {machines = [2], file = "x"}\n',
        "clusters.c: expected exactly one of file, servers, machines (found a mapping)",
    ),
    "a cluster of no kind": (HEAD + "[clusters]\nc = {}\n", "expected exactly one of file"),
    "no GPUs": (
        HEAD + "[clusters]\nc = {machines = [0]}\n",
        "clusters.c.machines.0: input should be greater than or equal to 1 (found 0)",
    ),
    "too many GPUs": (
        HEAD + "[clusters]\nc = {machines = [9999, 9]}\n",
        "clusters.c: 89,991 GPUs; expected at most 10,000",
    ),
    "a cluster file that is not there": (
        HEAD + '[clusters]\nc = {file = "gone.txt"}\n',
        "clusters.c: no file 'gone.txt', neither beside the sweep file nor in the working direct",
    ),
    "a profile that is not there": (
        'title = "t"\n[workloads]\nw = {profile = "gone.txt"}\n' + FOUR,
        "workloads.w: no file 'gone.txt'",
    ),
    "a profile that is none": (
        'title = "t"\n[workloads]\nw = {profile = "sweep.toml"}\n' + FOUR,
        "sweep.toml:1: found",
    ),
    "no profile for a type": (
        'title = "t"\n[workloads.w.profiles]\nV = "even.txt"\n[clusters]\n'
        "c = {servers = [{X = 1}]}\n",
        "workloads.w: no profile for 'X', which clusters.c has",
    ),
    "an unknown network": (
        'title = "t"\n[workloads]\nw = {network = "alexnet2"}\n' + FOUR,
        "workloads.w: no model 'alexnet2'. Take one of",
    ),
    "GPUs without workloads": (
        'title = "t"\n' + FOUR,
        "clusters.four names GPUs only, and there are no workloads. Write [workloads.NAME]",
    ),
    "memory that nobody stated": (
        HEAD + FOUR + "[constraints]\nc = {memory = {use = true}}\n",
        "the memory of GPUs in clusters.four is not known, but plans have to fit it",
    ),
    "a constraint that is none": (
        HEAD + FOUR + "[constraints]\nc = {max_gpu = 3}\n",
        "constraints.c.max_gpu: extra inputs",
    ),
    "a pin of an unknown layer": (
        HEAD + FOUR + "[constraints]\nc = {pin = {node99 = 'stage:0'}}\n",
        "workloads.w: no layer is called or described as 'node99'",
    ),
    "proportional with another model": (
        HEAD + FOUR + '[axes]\ncost_models = ["pipedream"]\ndispatch = ["proportional"]\n',
        "axes.dispatch: 'proportional' needs cost model 'topology' alone",
    ),
    "no transfers, compressed": (
        HEAD + FOUR + "[axes]\ncompression_ratios = [2]\n[options]\ntransfers = false\n",
        "options.transfers = false and axes.compression_ratios exclude each other",
    ),
    "an expectation of nothing": (
        HEAD + FOUR + '[[expect]]\nplanner = "cpsat"\n',
        "expect.0: expects nothing; write status, period_s, at_most_s, stages or gpus",
    ),
    "an expectation of no cell": (
        HEAD + FOUR + '[[expect]]\ncluster = "five"\nstages = 2\n',
        "expect.0: no cell has these labels",
    ),
    "too much text": ("#" * 300_000, "a sweep file has at most 262,144"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_line(tmp_path, case):
    text, expected = BAD[case]
    path = write_sweep(tmp_path, text)
    found = error_text(lambda: check_expectations(make_sweep(path, read_sweep(path))))
    assert str(path) in found
    assert expected in found
    assert "\n" not in found


def test_a_folder_is_no_sweep_file(tmp_path):
    assert "a folder; expected a sweep file" in error_text(lambda: read_sweep(tmp_path))


def test_too_many_cells_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("stagewright.scenarios.sweep.cells.MOST_CELLS", 59)
    text = error_text(lambda: small_sweep(tmp_path, SMALL))
    assert "more than 59 cells. Shorten an axis" in text
