"""Lecture 06: its layers are PyTorch Geometric's, its experiments hold on seeds they were not tuned on, and what it teaches is true."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import elsewhere
import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import fresh_seeds
from torch import Tensor, nn

from dlcourse_utils.instructor import course, runner

#: Errata of the inventory that this lecture has to treat.
ERRATA = {"E19"}

MOLECULES = (
    [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (4, 6), (6, 7), (7, 8), (8, 9), (9, 5)],
    [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 5)],
)


@pytest.fixture(scope="module")
def lecture() -> course.Lecture:
    return course.lectures(course.find_root(), ["06"])[0]


@pytest.fixture(scope="module")
def names(lecture: course.Lecture) -> dict[str, Any]:
    return runner.namespace(lecture, ["experiment-message", "experiment-limits", "experiment-karate", "experiment-smoothing", "widget-karate"])


@pytest.fixture(scope="module")
def geometric() -> ModuleType:
    """PyTorch Geometric's layers; the tests that compare with them are skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it scripts some classes with torch.jit, which torch is giving up
        pytest.importorskip("torch_geometric", reason="torch-geometric is not installed: pip install -e '.[dev]' -c constraints.txt")
        import torch_geometric.nn

    return torch_geometric.nn


@pytest.fixture(autouse=True)
def no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOURSE_PROGRESS", "off")


def directed_graph(n: int, share: float, rng: np.random.Generator) -> Tensor:
    """Random directed edges without repetition; some loops, some nodes without an edge."""
    linked = rng.random((n, n)) < share
    linked[-1], linked[:, -1] = False, False
    return torch.from_numpy(np.stack(np.nonzero(linked)))


# --- the layers are those of PyTorch Geometric, outputs and gradients ---


def gcn_pair(names: dict[str, Any], pyg: ModuleType) -> tuple[nn.Module, nn.Module]:
    ours, theirs = names["GCN"](5, 3), pyg.GCNConv(5, 3)
    theirs.load_state_dict({"lin.weight": ours.linear.weight, "bias": nn.init.normal_(ours.bias)})
    return ours, theirs


def sage_pair(names: dict[str, Any], pyg: ModuleType) -> tuple[nn.Module, nn.Module]:
    ours, theirs = names["SAGE"](5, 3), pyg.SAGEConv(5, 3)
    theirs.load_state_dict({"lin_l.weight": ours.neighbours.weight, "lin_l.bias": ours.neighbours.bias, "lin_r.weight": ours.itself.weight})
    return ours, theirs


def gin_pair(names: dict[str, Any], pyg: ModuleType) -> tuple[nn.Module, nn.Module]:
    mlp = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    return names["GIN"](mlp, eps=0.3), pyg.GINConv(mlp, eps=0.3)


def gat_pair(names: dict[str, Any], pyg: ModuleType) -> tuple[Callable[[Tensor, Tensor], Tensor], nn.Module]:
    theirs = pyg.GATConv(5, 3)
    nn.init.normal_(theirs.bias)
    return lambda x, ei: names["gat_layer"](x, ei, theirs.lin.weight.T, theirs.att_src.flatten(), theirs.att_dst.flatten(), theirs.bias), theirs


@pytest.mark.parametrize("pair", [gcn_pair, sage_pair, gin_pair, gat_pair], ids=["GCN", "SAGE", "GIN", "GAT"])
@pytest.mark.parametrize("seed", range(4))
def test_layers_equal_those_of_pytorch_geometric(names: dict[str, Any], geometric: ModuleType, pair: Callable[..., Any], seed: int) -> None:
    torch.manual_seed(seed)
    ours, theirs = pair(names, geometric)
    ei = directed_graph(9, 0.3, np.random.default_rng(seed))
    x = torch.randn(9, 5, requires_grad=True)
    upstream = torch.randn(9, 3)
    results = [layer(x, ei) for layer in (ours, theirs)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad((result * upstream).sum(), x)[0] for result in results]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-5)


def test_the_edge_weights_are_those_of_pytorch_geometric(names: dict[str, Any], geometric: ModuleType) -> None:
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    ei = directed_graph(8, 0.3, np.random.default_rng(5))
    theirs_ei, theirs = gcn_norm(ei, num_nodes=8)
    ours_ei, ours = names["gcn_norm"](ei, 8)
    as_matrix = [torch.zeros(8, 8).index_put(tuple(edges), weights, accumulate=True) for edges, weights in ((ours_ei, ours), (theirs_ei, theirs))]
    torch.testing.assert_close(as_matrix[0], as_matrix[1], rtol=0, atol=1e-6)


# --- laws ---


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 9), share=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_renumbering_the_nodes_renumbers_what_every_layer_gives(names: dict[str, Any], n: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ei, x = directed_graph(n, share, rng), torch.from_numpy(rng.normal(size=(n, 3))).float()
    new_number = torch.from_numpy(rng.permutation(n))
    renumbered = torch.empty_like(x).index_copy(0, new_number, x)
    torch.manual_seed(seed)
    for layer in (names["GCN"](3, 2), names["SAGE"](3, 2), names["GIN"](nn.Linear(3, 2))):
        torch.testing.assert_close(layer(renumbered, new_number[ei])[new_number], layer(x, ei), rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 8), share=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_attention_survives_scores_that_overflow_an_exponential(names: dict[str, Any], n: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, Wq, Wk, Wv = (torch.from_numpy(rng.normal(size=size)) for size in ((n, 3), (3, 2), (3, 2), (3, 4)))
    ei = directed_graph(n, share, rng)
    out = names["attention_as_gnn"](x, 1e4 * Wq, Wk, Wv, ei)
    assert torch.isfinite(out).all()
    values = x @ Wv
    for i in range(n):
        heard = values[ei[0, ei[1] == i]]
        low, high = (heard.amin(0), heard.amax(0)) if len(heard) else (torch.zeros(4), torch.zeros(4))
        assert ((out[i] >= low - 1e-9) & (out[i] <= high + 1e-9)).all()


@pytest.mark.filterwarnings("ignore:The hashes produced for graphs")
def test_colouring_agrees_with_networkx_on_every_pair_of_small_connected_graphs(names: dict[str, Any]) -> None:
    graphs = [graph for graph in nx.graph_atlas_g() if 2 <= len(graph) <= 6 and nx.is_connected(graph)]
    ours = [frozenset(names["wl_colors"](names["both_ways"](graph.edges), len(graph), 6).items()) for graph in graphs]
    theirs = [nx.weisfeiler_lehman_graph_hash(graph, iterations=6) for graph in graphs]
    assert len(graphs) == 142
    assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True)))
    assert len(set(ours)) < len(graphs)


# --- the experiments' bands, as the notebook states them ---


@fresh_seeds
def test_a_normalised_weight_is_no_message_and_the_pair_is(names: dict[str, Any], seed: int) -> None:
    measured = names["message_experiment"](seed)
    assert measured["slide"] >= 1e-3
    assert measured["pair"] == 0
    assert measured["gap"] <= 1e-10


@fresh_seeds
def test_sums_see_what_means_and_maxima_cannot_and_walks_see_more(names: dict[str, Any], seed: int) -> None:
    seen = names["limits_experiment"](seed)
    assert [seen[task][agg] for task in seen for agg in ("mean", "max")] == [0.5] * 6
    assert seen["degree"]["sum (GIN)"] >= 0.95
    assert seen["cycle"]["sum (GIN)"] >= 0.85
    assert seen["triangle"]["sum (GIN)"] == 0.5
    assert seen["triangle"]["sum + walks"] >= 0.9


@fresh_seeds
def test_gin_cannot_tell_the_two_molecules_apart_and_walks_can(names: dict[str, Any], seed: int) -> None:
    apart = names["blind_experiment"](seed)
    assert apart["GIN"] <= 1e-5
    assert apart["GIN + walks"] >= 1e-4


@fresh_seeds
def test_the_karate_club_is_learnt_from_two_labels_and_only_through_its_edges(names: dict[str, Any], seed: int) -> None:
    club = names["karate_experiment"](seed)
    assert club["graph"].mean() >= 0.9
    assert 0.4 <= club["no edges"].mean() <= 0.6
    assert float(club["Fiedler"]) == pytest.approx(32 / 34)


@fresh_seeds
def test_rounds_shrink_by_the_second_eigenvalue(names: dict[str, Any], seed: int) -> None:
    shrinking = names["shrinking_experiment"](seed)
    rest, factor = shrinking["rest"], float(shrinking["factor"])
    assert (rest[60] / rest[40]) ** (1 / 20) == pytest.approx(factor, rel=0.01)


@fresh_seeds
def test_deep_gcns_fail_where_a_linear_model_still_finds_the_classes(names: dict[str, Any], seed: int) -> None:
    accuracy = names["smoothing_experiment"](seed)
    assert accuracy["GCN"][2] >= 0.9
    assert accuracy["GCN"][16] <= 0.4
    assert accuracy["rounds, then linear"][16] >= 0.6
    assert accuracy["APPNP"][32] >= 0.8


def test_the_networks_are_trained_on_any_device(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere.pretend(monkeypatch):
        assert set(names["limits_experiment"](0, pairs=2, epochs=1)) == {"degree", "cycle", "triangle"}
        assert len(names["karate_experiment"](0, runs=1)["graph"]) == 1
        assert names["smoothing_experiment"](0, size=10, epochs=1)


# --- facts ---


def test_the_molecules_of_the_figure_are_a_pair_that_colouring_does_not_tell_apart(names: dict[str, Any]) -> None:
    decalin, bicyclopentyl = map(nx.Graph, MOLECULES)
    assert not nx.is_isomorphic(decalin, bicyclopentyl)
    counts = [names["wl_colors"](names["both_ways"](edges), 10, 10) for edges in MOLECULES]
    assert counts[0] == counts[1]
    assert sorted(counts[0].values()) == [2, 4, 4]
    assert [sorted(map(len, nx.minimum_cycle_basis(graph))) for graph in (decalin, bicyclopentyl)] == [[6, 6], [5, 5]]


def test_numbers_in_the_text_about_the_karate_club(names: dict[str, Any], lecture: course.Lecture) -> None:
    club = nx.karate_club_graph()
    eigenvalues = np.linalg.eigvalsh(nx.to_numpy_array(club, weight=None))
    assert f"{eigenvalues.max():.1f}" == "6.7"
    assert max(dict(club.degree).values()) == 17
    assert min(dict(club.degree).values()) == 1
    away = list(nx.single_source_shortest_path_length(club, 16).values())
    assert [away.count(hops) for hops in range(6)] == [1, 2, 3, 12, 8, 8]
    sides = {i: {club.nodes[j]["club"] for j in club[i]} for i in (2, 8, 19, 31)}
    assert all(len(side) == 2 for side in sides.values())
    assert [int((names["karate_club"] == club_number).sum()) for club_number in (0, 1)] == [17, 17]


def test_the_widget_says_in_words_what_it_draws(names: dict[str, Any]) -> None:
    _, before = names["spread_opinions"](0, True, "mean")
    assert "1 circles" in before
    assert "32 diamonds" in before
    told = [names["spread_opinions"](rounds, loops, collect)[1] for rounds, loops, collect in ((1, True, "mean"), (1, False, "mean"), (1, True, "sum"))]
    assert len({before, *told}) == 4


@pytest.mark.parametrize("erratum", sorted(ERRATA))
def test_errata_are_treated(lecture: course.Lecture, erratum: str) -> None:
    text = "\n".join(cell.source for cell in lecture.notebook.cells if course.role(cell) == "text")
    assert re.search(rf"\(erratum {erratum}\)", text)
