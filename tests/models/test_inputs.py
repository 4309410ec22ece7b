"""Input for the networks: of the asked size, from a seed, and accepted by their layers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stagewright.model.errors import InputError
from stagewright.scenarios.models import DENSE, MODELS, SPARSE, model
from stagewright.scenarios.models.clouds import cloud


def values(tensor):
    """All numbers of a dense or sparse tensor, as dense tensors."""
    return (tensor.C, tensor.F) if hasattr(tensor, "C") else (tensor,)


@pytest.fixture(params=MODELS)
def name(request):
    pytest.importorskip("torch")
    if request.param in SPARSE:
        pytest.importorskip("MinkowskiEngine")
    return request.param


# --- clouds, without torch ----------------------------------------------------------------


@pytest.mark.parametrize("points", [1, 17, 2_000, 20_000])
def test_cloud_has_the_asked_number_of_points(points):
    made = cloud(np.random.default_rng(0), points)
    assert made.points.shape == made.normals.shape == (points, 3)


def test_cloud_normals_are_unit_vectors():
    made = cloud(np.random.default_rng(1), 500)
    assert np.allclose(np.linalg.norm(made.normals, axis=1), 1)


def test_cloud_lies_on_surfaces():
    """Four times finer voxels hold about 16 times as many cells of a surface, not 64."""
    made = cloud(np.random.default_rng(2), 200_000)
    coarse, fine = (len(np.unique(np.floor(made.points / voxel), axis=0)) for voxel in (0.16, 0.04))
    assert 8 < fine / coarse < 24


def test_cloud_is_about_one_across():
    for seed in range(10):
        extent = np.ptp(cloud(np.random.default_rng(seed), 5_000).points, axis=0)
        assert 0.3 < extent.max() < 1.8


# --- minibatches --------------------------------------------------------------------------


def test_same_seed_gives_the_same_bits(name):
    torch = pytest.importorskip("torch")
    module = model(name)
    first, second, other = (module.make_input(seed) for seed in (5, 5, 6))
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(values(a), values(b), strict=True))
    assert any(
        x.shape != y.shape or not torch.equal(x, y)
        for x, y in zip(values(first[0]), values(other[0]), strict=True)
    )
    assert torch.equal(module.make_target(5), module.make_target(5))


def test_one_input_for_each_input_node(name):
    module = model(name)
    graph = module.layer_graph(module.SMALL)
    assert len(module.make_input(0)) == len(graph.inputs)


def test_target_classes_are_within_range(name):
    module = model(name)
    target = module.make_target(0)
    number = getattr(module.SMALL, "classes", None) or module.SMALL.vocabulary
    assert target.min() >= 0
    assert target.max() < number


@pytest.mark.parametrize("name", set(DENSE) - {"gnmt"})
def test_images(name):
    pytest.importorskip("torch")
    module = model(name)
    sizes = dataclasses.replace(module.SMALL, batch=3)
    (images,) = module.make_input(0, sizes)
    assert images.shape == (3, 3, sizes.image, sizes.image)
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-4)
    assert module.make_target(0, sizes).shape == (3,)


def test_sentences_are_sorted_and_padded():
    torch = pytest.importorskip("torch")
    module = model("gnmt")
    sizes = dataclasses.replace(module.SMALL, batch=16, source=20)
    source, lengths, target = module.make_input(0, sizes)
    assert source.shape == (20, 16)
    assert target.shape == (sizes.target, 16)
    assert torch.equal(lengths, lengths.sort(descending=True).values)
    assert torch.equal((source != 0).sum(dim=0), lengths)
    assert torch.equal(module.make_target(0, sizes)[:-1], target[1:])


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("points", [500, 5_000])
def test_points_become_occupied_voxels(name, points):
    ME = pytest.importorskip("MinkowskiEngine")  # noqa: N806
    torch = pytest.importorskip("torch")
    module = model(name)
    sizes = dataclasses.replace(module.SMALL, clouds=3, points=points)
    (voxels,) = module.make_input(0, sizes)
    assert isinstance(voxels, ME.SparseTensor)
    assert voxels.F.shape[1] == sizes.in_channels
    rows = torch.bincount(voxels.C[:, 0].long())
    assert len(rows) == 3
    assert all(points / 4 < x <= points for x in rows)
    assert len(voxels.C.unique(dim=0)) == len(voxels.C)
    assert voxels.F[:, 0].eq(1).all()


def test_voxel_classes_follow_height():
    pytest.importorskip("MinkowskiEngine")
    module = model("minkunet")
    (voxels,), target = module.make_input(0), module.make_target(0)
    assert len(target) == len(voxels)
    height = voxels.C[:, 3].float()
    means = [height[target == k].mean() for k in range(module.SMALL.classes)]
    assert means == sorted(means)


@pytest.mark.parametrize(
    "wrong", [{"clouds": 0}, {"points": 0}, {"voxel": 0.0}, {"in_channels": 0}, {"in_channels": 5}]
)
def test_impossible_clouds_are_refused(wrong):
    module = model("minkvgg16_bn")
    with pytest.raises(InputError, match="At least 1 cloud, 1 point"):
        module.make_input(0, dataclasses.replace(module.SMALL, **wrong))
