# %% [markdown]
# # 06 · Graph networks
#
# An image is a grid and a sentence is a line. A molecule, a road map, a circle of friends is neither: it is a graph. A graph network computes along the edges, whatever they
# are, and gives the same answer however the nodes are numbered. This notebook builds one from a list of edges up, shows that attention is one of its kind, trains it from two
# labels, and finds two things that it cannot do.
#
# **You will be able to**
# - store a graph as a list of edges, and collect along it with one operation, scatter;
# - say why a graph convolution is normalised, and by what;
# - write any layer of the kind "message, aggregate, update", and say what renumbering the nodes does to it;
# - write attention as message passing, and tell what may and what may not be a message;
# - colour a graph as the Weisfeiler–Leman test does, and predict which graphs no such network tells apart;
# - train a graph convolutional network from your own parts, and measure what too many rounds do.
#
# | | |
# |---|---|
# | Time and points | about 240 minutes, 34 points |
# | of which | exercises: 165 minutes, 30 points; written question: 20 minutes, 4 points; reading and experiments: 55 minutes |
# | Running time | about 40 seconds on one CPU core, once everything is filled in |
# | You need | PyTorch tensors, indexing with an index tensor, softmax, training by gradient descent |
#
# **Lecture sections it follows.** F. Minhas, *CS909 Data Mining* (Warwick), "Neural Networks and Deep Learning": "Graph Neural Networks", "Graphs",
# "How does a graph neural network layer work?", "Implementing Different Graph Neural Network Layers", "Message Passing Based Graph Neural Networks",
# "Are Transformers (secretly) GNNs?", "Reading on Graph Neural Networks".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
# PyTorch is yours to use; graph libraries are off limits in your answers. None of your functions may change its inputs or draw from a global random generator.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import networkx as nx
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor, nn

from dlcourse_utils import checks, device, plotting, training, widgets
from dlcourse_utils.claims import Claim, show

torch.set_num_threads(1)  # these graphs are tiny: more threads only get in each other's way


def both_ways(pairs: Iterable[tuple[int, int]]) -> Tensor:
    """The edge list (2, 2 * pairs) of an undirected graph: every pair once in each direction, int64."""
    there = torch.tensor(list(pairs), dtype=torch.int64).reshape(-1, 2).T
    return torch.cat([there, there.flip(0)], dim=1)


def tint(colour: str, share: float = 0.45) -> tuple[float, float, float]:
    """A paler colour, on which black letters can be read."""
    red, green, blue = to_rgb(colour)
    return 1 - share * (1 - red), 1 - share * (1 - green), 1 - share * (1 - blue)


def draw_graph(
    ax: Axes,
    ei: Tensor,
    place: np.ndarray,
    names: Sequence[object],
    *,
    colours: Sequence = (),
    markers: Sequence[str] = (),
    arrows: bool = False,
    size: float = 330,
) -> None:
    """Draw nodes at ``place`` (n, 2) with their names, and the edges ``ei`` (2, E) between them, as arrows from source to target if asked for."""
    pairs = ei.T.tolist()
    for a, b in pairs:
        if arrows and a != b:
            bend = 0.18 if [b, a] in pairs else 0.0  # keeps the two directions apart
            style = {"arrowstyle": "-|>", "color": "0.35", "lw": 1.4, "shrinkA": 11, "shrinkB": 11, "connectionstyle": f"arc3,rad={bend}"}
            ax.annotate("", place[b], place[a], arrowprops=style)
        elif a < b:
            ax.plot(*place[[a, b]].T, color="0.7", linestyle="-", linewidth=1, zorder=1)
    for i, name in enumerate(names):
        ax.scatter(
            *place[i],
            s=size,
            color=[colours[i] if len(colours) else tint(plotting.COLOURS[0])],
            marker=markers[i] if len(markers) else "o",
            edgecolor="0.2",
            zorder=3,
        )
        ax.annotate(str(name), place[i], ha="center", va="center", fontsize=9, zorder=4)
    ax.margins(0.12)
    ax.set_axis_off()


# The example of the lecture's slide "Graphs", with its nodes numbered from 0: e12, e13, e32, e34, e43.
lecture_ei = torch.tensor([[0, 0, 2, 2, 3], [1, 2, 1, 3, 2]])

# A karate club of 34 people, who were friends with whom, and which of two clubs each joined when it split (W. W. Zachary, 1977).
karate = nx.karate_club_graph()
karate_ei = both_ways(karate.edges)  # (2, 156)
karate_club = torch.tensor([int(karate.nodes[i]["club"] == "Officer") for i in karate])  # 0: with the teacher, node 0; 1: with the president, node 33
karate_place = np.array(list(nx.kamada_kawai_layout(karate, weight=None).values()))

# %% [markdown]
# ## 1  A graph is a list of edges
#
# A graph has nodes $0, \dots, n-1$ and edges. Each node carries a row of features $x_i$. An edge leads from a **source** $j$ to a **target** $i$, and what the source says arrives at the target.
# We store the edges as an integer array `ei` of shape $(2, E)$: row 0 holds the sources, row 1 the targets. A friendship, which has no direction, is two edges.
#
# The **adjacency matrix** says the same with $n^2$ numbers: $A_{st}$ is how many edges lead from $s$ to $t$. Most of it is zeros. Its column sums are the **in-degrees**, its row sums the **out-degrees**:
#
# $$ A_{st} = \#\{e : e = (s, t)\}, \qquad d^{\text{in}}_t = \sum_s A_{st}, \qquad d^{\text{out}}_s = \sum_t A_{st}. $$
#
# The slide "Graphs" has four nodes, called 1 to 4, and five edges, so here `ei` has shape $(2, 5)$. The line of PyTorch Geometric beside it, `Data(edge_index=[2, 4], x=[3, 1])`, prints the shapes of
# another graph, with three nodes and four edges. Later the slides write $e_{j,i}$ for the features of the edge *from* $j$ *to* $i$: the order is the same, source first.

# %% nbgrader={"grade": false, "grade_id": "figure-edges", "locked": true, "schema_version": 3, "solution": false, "task": false}
square = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
fig, (picture, listed, matrix) = plotting.subplots(3, width=10.5, height=3.2)
draw_graph(picture, lecture_ei, square, range(4), arrows=True, size=420)
picture.set_title("five edges")
plotting.heatmap(listed, lecture_ei.numpy(), rows=["source", "target"], columns=[f"e{k}" for k in range(5)], fmt="{:.0f}")
listed.set_title("ei, (2, 5)")
plotting.heatmap(
    matrix, [[0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]], rows=list("0123"), columns=list("0123"), xlabel="target", ylabel="source", fmt="{:.0f}"
)
matrix.set_title("A, (4, 4)")
plotting.show(
    fig,
    alt="The lecture's graph in three forms. Left: four nodes with arrows 0 to 1, 0 to 2, 2 to 1, 2 to 3 and 3 to 2. Middle: the edge list, sources 0 0 2 2 3 above "
    "targets 1 2 1 3 2. Right: the adjacency matrix with sources as rows; row 0 has ones at 1 and 2, row 1 is empty, row 2 has ones at 1 and 3, row 3 has a one at 2.",
)

# %% [markdown]
# **Exercise 6.1a · `edges_to_adj`** (2 points · difficulty 1 of 5 · about 10 minutes)
#
# Write the adjacency matrix of an edge list. Two edges between the same nodes count twice, and a node without edges still has its row and column. Off limits: `networkx` and `scipy`.
#
# <details><summary>Hint 1: where to start</summary>
#
# Begin with $n \times n$ zeros: `n` is given because the last nodes may have no edge. Row is source, column is target.
#
# </details>
#
# <details><summary>Hint 2: two edges between the same nodes</summary>
#
# `A[src, dst] += 1` reads, adds and writes once, so the second of two equal edges is lost. `index_put_` has an argument `accumulate`; a loop over the edges does it, too.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "edges_to_adj", "locked": false, "schema_version": 3, "solution": true, "task": false}
def edges_to_adj(ei: Tensor, n: int) -> Tensor:
    """The adjacency matrix of a graph.

    Args:
        ei: edges, shape (2, E), int64; sources in row 0, targets in row 1, nodes numbered from 0.
        n: number of nodes.

    Returns:
        Shape (n, n), whole numbers of any dtype; entry [s, t] is how many edges lead from s to t.

    Example:
        ``edges_to_adj(torch.tensor([[0, 0], [1, 1]]), 2)`` gives ``[[0, 2], [0, 0]]``.
    """
    ### BEGIN SOLUTION
    adjacency = torch.zeros(n, n, device=ei.device)
    return adjacency.index_put((ei[0], ei[1]), adjacency.new_ones(ei.shape[1]), accumulate=True)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-edges_to_adj", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("edges_to_adj", points=2)

with check("the lecture's graph", points=1, off_limits=("networkx.to_numpy_array", "networkx.adjacency_matrix")):
    check.close(
        edges_to_adj(lecture_ei, 4),
        [[0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]],
        mistakes={
            "Sources and targets are swapped. Row 0 of ei holds the sources, and the source is the row of A.": [
                [0, 0, 0, 0],
                [1, 0, 1, 0],
                [1, 0, 0, 1],
                [0, 0, 1, 0],
            ],
            "Every edge was entered in both directions. These edges have one: from source to target.": [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 2], [0, 0, 2, 0]],
            "The matrix is symmetric: each edge was entered in both directions. These edges lead one way, from source to target.": [
                [0, 1, 1, 0],
                [1, 0, 1, 0],
                [1, 1, 0, 1],
                [0, 0, 1, 0],
            ],
            "The nodes are numbered from 0 already. Do not subtract 1.": [[0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]],
        },
    )

### BEGIN HIDDEN TESTS
import scipy.sparse

with check(
    "other graphs: edges between the same nodes count each, nodes without edges stay",
    points=1,
    off_limits=("networkx.to_numpy_array", "networkx.adjacency_matrix"),
):
    for n, count in ((1, 0), (1, 2), (6, 0), (5, 4), (4, 30), (9, 12)):
        ei = torch.from_numpy(check.rng.integers(0, max(1, n - 1), size=(2, count)))  # the last node has no edge
        want = scipy.sparse.coo_matrix((np.ones(count), (ei[0].numpy(), ei[1].numpy())), shape=(n, n)).toarray()
        for edges in (ei, ei.T.contiguous().T):
            with check.no_side_effects(edges):
                got = edges_to_adj(edges, n)
            check.shape(
                got,
                (n, n),
                mistakes={"The size was read from the edges. Nodes without an edge count, too: A is n by n.": lambda: 2 * (int(ei.max()) + 1 if count else 0,)},
            )
            check.close(
                got,
                want,
                mistakes={
                    "Sources and targets are swapped. Row 0 of ei holds the sources, and the source is the row of A.": want.T,
                    "Edges between the same nodes were counted once. A counts each of them; `+=` with an index does not add twice.": np.minimum(want, 1),
                },
            )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 6.1b · `degree`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# Count the edges that arrive at each node (`"in"`) or leave it (`"out"`).
#
# <details><summary>Hint 1: where to start</summary>
#
# Which row of `ei` names the nodes at which edges arrive? Count how often each node occurs in it.
#
# </details>
#
# <details><summary>Hint 2: nodes that never occur</summary>
#
# `torch.bincount` counts; its argument `minlength` makes room for the nodes without edges. Column sums of your adjacency matrix are another way.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "degree", "locked": false, "schema_version": 3, "solution": true, "task": false}
def degree(ei: Tensor, n: int, kind: str) -> Tensor:
    """How many edges each node has.

    Args:
        ei: edges, shape (2, E), int64; sources in row 0, targets in row 1.
        n: number of nodes.
        kind: ``"in"`` counts the edges that arrive, ``"out"`` those that leave.

    Returns:
        Shape (n,), whole numbers of any dtype.

    Raises:
        ValueError: ``kind`` is neither.
    """
    ### BEGIN SOLUTION
    if kind not in ("in", "out"):
        raise ValueError(f"kind={kind!r}: choose 'in' or 'out'.")
    return torch.bincount(ei[1 if kind == "in" else 0], minlength=n)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-degree", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("degree", points=1)
### BEGIN HIDDEN TESTS
check.use(edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense())
### END HIDDEN TESTS

with check("the lecture's graph", points=0.5):
    check.close(
        degree(lecture_ei, 4, "in"),
        [0, 2, 2, 1],
        mistakes={
            "In and out are swapped. An edge arrives at its target, which stands in row 1.": [2, 0, 2, 1],
            "Both ends of the edges were counted. Take the sources for out, the targets for in.": [2, 2, 4, 2],
        },
    )
    check.close(
        degree(lecture_ei, 4, "out"), [2, 0, 2, 1], mistakes={"In and out are swapped. An edge leaves its source, which stands in row 0.": [0, 2, 2, 1]}
    )

### BEGIN HIDDEN TESTS
with check("other graphs", points=0.5):
    for n, count in ((1, 0), (5, 0), (2, 9), (8, 5), (7, 40)):
        ei = torch.from_numpy(check.rng.integers(0, max(1, n - 1), size=(2, count)))
        for row, kind in enumerate(("out", "in")):
            want = [sum(node == i for node in ei[row].tolist()) for i in range(n)]
            with check.no_side_effects(ei):
                got = degree(ei, n, kind)
            check.shape(
                got,
                (n,),
                mistakes={"Only nodes that occur in ei were counted. Nodes without an edge have degree 0.": lambda: (int(ei[row].max()) + 1 if count else 0,)},
            )
            check.close(
                got,
                want,
                mistakes={
                    "Edges between the same nodes were counted once. Each of them counts.": lambda: [
                        len({tuple(e) for e in ei.T.tolist() if e[row] == i}) for i in range(n)
                    ],
                    "Both ends of the edges were counted. Take the sources for out, the targets for in.": lambda: [
                        sum(node == i for node in ei.flatten().tolist()) for i in range(n)
                    ],
                },
            )
    check.raises(ValueError, lambda: degree(lecture_ei, 4, "both"))
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 2  Collecting what arrives
#
# Every edge delivers one **message**, a row of numbers, to its target. A node may get none, one or many, so the messages make no rectangle. **Scatter** collects them: message $e$ goes to the node
# $\texttt{dst}_e$, and each node reduces what it got, column by column:
#
# $$ \text{sum: } \sum_{e:\,\texttt{dst}_e = i} m_e, \qquad \text{mean: } \frac{1}{\#\{e : \texttt{dst}_e = i\}} \sum_{e:\,\texttt{dst}_e = i} m_e, \qquad \text{max: } \max_{e:\,\texttt{dst}_e = i} m_e. $$
#
# All three give the same answer in whatever order the messages come: that is what lets a graph network ignore how nodes and edges are numbered. A node that gets nothing gets **zeros**.

# %% nbgrader={"grade": false, "grade_id": "figure-scatter", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, ax = plotting.subplots(width=8.5, height=3.4)
arriving = [(0, 1, 4), (0, 2, -3), (2, 1, -1), (2, 3, 2), (3, 2, -5)]
collected = ["nothing arrives: 0, 0, 0", "sum 3, mean 1.5, max 4", "sum −8, mean −4, max −3", "sum 2, mean 2, max 2"]
for e, (source, target, message) in enumerate(arriving):
    height, node_height = 4 - e, 3.7 - 1.15 * target
    ax.annotate("", (1.95, node_height), (1.02, height), arrowprops={"arrowstyle": "-|>", "color": plotting.COLOURS[target], "lw": 1.6})
    ax.text(1, height, f"edge {e}: {source} → {target}   message {message:+d}".replace("-", "−"), ha="right", va="center")
for node, text in enumerate(collected):
    ax.text(
        2, 3.7 - 1.15 * node, f"node {node}:  {text}", va="center", bbox={"facecolor": tint(plotting.COLOURS[node]), "edgecolor": "0.4", "boxstyle": "round"}
    )
ax.set(xlim=(0, 3.2), ylim=(-0.5, 4.5))
ax.set_axis_off()
plotting.show(
    fig,
    alt="Five messages on the edges of the lecture's graph go to their targets. Node 0 gets nothing and has 0 three times. Node 1 gets 4 and -1: sum 3, mean 1.5, max 4. "
    "Node 2 gets -3 and -5: sum -8, mean -4, max -3, which is below zero. Node 3 gets 2 alone: 2 three times.",
)

# %% [markdown]
# **Exercise 6.2 · `scatter`** (4 points · difficulty 2 of 5 · about 20 minutes)
#
# Write the three ways to collect. Gradients must flow back through all of them. A tensor's own indexed operations are allowed.
#
# <details><summary>Hint 1: where to start</summary>
#
# Begin with `msg.new_zeros(n, d)`: right dtype, right device. `index_add` adds rows at given places, as often as a place occurs. The mean is a sum divided by a count; count the messages of a node in the same way.
#
# </details>
#
# <details><summary>Hint 2: the maximum, and nodes without messages</summary>
#
# `scatter_reduce` with `"amax"` wants an index of the shape of `msg`: `dst[:, None].expand_as(msg)`. With `include_self=False` the zeros you began with do not take part, and stay where nothing arrives.
# A loop over the nodes with `msg[dst == i]` is slower and just as right. A mean divides by a count of at least 1.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "scatter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def scatter(msg: Tensor, dst: Tensor, n: int, agg: str) -> Tensor:
    """Collect messages at their targets.

    Args:
        msg: messages, shape (E, d), floating point; E may be 0.
        dst: target of each message, shape (E,), int64, in any order.
        n: number of nodes.
        agg: ``"sum"``, ``"mean"`` or ``"max"``, each taken column by column.

    Returns:
        Shape (n, d), dtype and device of ``msg``; zeros where no message arrives.

    Raises:
        ValueError: ``agg`` is none of the three.

    Example:
        ``scatter(torch.tensor([[1.0], [2.0]]), torch.tensor([2, 2]), 3, "sum")`` gives ``[[0.], [0.], [3.]]``.
    """
    ### BEGIN SOLUTION
    if agg not in ("sum", "mean", "max"):
        raise ValueError(f"agg={agg!r}: choose 'sum', 'mean' or 'max'.")
    place = dst[:, None].expand_as(msg)
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, place, msg, "amax" if agg == "max" else agg, include_self=False)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-scatter", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("scatter", points=4)
### BEGIN HIDDEN TESTS
check.use(
    edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense(),
    degree=lambda ei, n, kind: torch.bincount(ei[1 if kind == "in" else 0], minlength=n),
)
### END HIDDEN TESTS

with check("a star: three messages to node 0", points=1):
    star, centre = torch.tensor([[1.0, 10.0], [2.0, 20.0], [6.0, -30.0]]), torch.tensor([0, 0, 0])
    check.close(
        scatter(star, centre, 2, "sum"),
        [[9.0, 0.0], [0.0, 0.0]],
        mistakes={"Only one message a node was kept. Messages to the same node add up; `out[dst] += msg` adds only one of them.": [[6.0, -30.0], [0.0, 0.0]]},
    )
    check.close(
        scatter(star, centre, 2, "mean"),
        [[3.0, 0.0], [0.0, 0.0]],
        mistakes={
            "This is the sum. Divide it by how many messages the node got.": [[9.0, 0.0], [0.0, 0.0]],
            "The mean divides by the number of nodes. Divide each node's sum by the number of messages that this node got.": [[4.5, 0.0], [0.0, 0.0]],
            "The mean counts the zeros that the result began with as one more message.": [[2.25, 0.0], [0.0, 0.0]],
            "A node that gets no message has zeros: mind 0/0 in a mean.": [[3.0, 0.0], [math.nan, math.nan]],
        },
    )
    check.close(
        scatter(star, centre, 2, "max"),
        [[6.0, 20.0], [0.0, 0.0]],
        mistakes={"A node that gets no message has zeros: mind the −∞ that a maximum starts from.": [[6.0, 20.0], [-math.inf, -math.inf]]},
    )
    check.raises(ValueError, lambda: scatter(star, centre, 2, "median"))


### BEGIN HIDDEN TESTS
def scatter_cases(agg):
    """Fresh messages, some nodes without any, and what a loop over the nodes makes of them."""
    reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[agg]
    for n, count, d, dtype in (
        (1, 1, 1, torch.float32),
        (4, 0, 3, torch.float64),
        (6, 17, 3, torch.float64),
        (9, 5, 1, torch.float32),
        (5, 40, 5, torch.float32),
    ):
        msg = torch.from_numpy(check.rng.normal(-1, 1, size=(count, d))).to(dtype)
        dst = torch.from_numpy(check.rng.integers(0, n, size=count))
        rows = [reduce(msg[dst == i].numpy(), axis=0) if (dst == i).any() else np.zeros(d) for i in range(n)]
        for laid_out in (msg, msg.T.contiguous().T):
            yield laid_out, dst, n, np.stack(rows), len(set(dst.tolist())) == n


scatter_told = {
    "sum": {
        "Only one message a node was kept. Messages to the same node add up; `out[dst] += msg` adds only one of them.": lambda msg, dst, n: msg.new_zeros(
            n, msg.shape[1]
        ).index_put((dst,), msg),
    },
    "mean": {
        "The mean divides by all edges. Divide each node's sum by the number of messages that this node got.": lambda msg, dst, n: (
            msg.new_zeros(n, msg.shape[1]).index_add(0, dst, msg) / len(msg)
        ),
        "The mean divides by the number of nodes. Divide each node's sum by the number of messages that this node got.": lambda msg, dst, n: (
            msg.new_zeros(n, msg.shape[1]).index_add(0, dst, msg) / n
        ),
        "This is the sum. Divide it by how many messages the node got.": lambda msg, dst, n: msg.new_zeros(n, msg.shape[1]).index_add(0, dst, msg),
        "The mean counts the zeros that the result began with as one more message.": lambda msg, dst, n: msg.new_zeros(n, msg.shape[1]).index_reduce(
            0, dst, msg, "mean"
        ),
    },
    "max": {
        "The maximum starts at 0, so negative messages never win. A node whose messages are all negative has a negative maximum.": lambda msg, dst, n: (
            msg.new_zeros(n, msg.shape[1]).index_reduce(0, dst, msg, "amax")
        ),
    },
}
for scatter_agg in ("sum", "mean", "max"):
    with check(f"{scatter_agg} of fresh messages", points=0.75):
        for msg, dst, n, want, all_reached in scatter_cases(scatter_agg):
            with check.no_side_effects(msg, dst):
                got = scatter(msg, dst, n, scatter_agg)
            check.shape(got, want.shape)
            check.dtype(got, msg.dtype)
            check.law(
                all_reached or bool(torch.isfinite(torch.as_tensor(got)).all()),
                "expected finite numbers, got NaN or infinity.\nA node that gets no message has zeros: mind 0/0 in a mean and the −∞ that a maximum starts from.",
            )
            check.close(got, want, mistakes={text: (lambda f=f, m=msg, d=dst, n=n: f(m, d, n)) for text, f in scatter_told[scatter_agg].items()})

with check("gradients flow back to the messages", points=0.75):
    for agg in ("sum", "mean", "max"):
        msg = torch.from_numpy(check.rng.normal(size=(9, 2))).requires_grad_()
        dst = torch.from_numpy(check.rng.integers(0, 5, size=9))
        upstream = torch.from_numpy(check.rng.normal(size=(5, 2)))
        got = scatter(msg, dst, 5, agg)
        check.law(
            got.requires_grad,
            f"{agg}: the result hangs on the messages, so it carries a gradient.\nThe messages were detached, by numpy, .item() or .data. Stay in torch.",
        )
        (gradient,) = torch.autograd.grad((got * upstream).sum(), msg)
        want = torch.zeros_like(gradient)
        for e, target in enumerate(dst.tolist()):
            among = msg.detach()[dst == target]
            share = {"sum": torch.ones(2), "mean": torch.full((2,), 1 / len(among)), "max": (msg.detach()[e] == among.amax(0)).double()}[agg]
            want[e] = upstream[target] * share
        check.close(gradient, want)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 3  Why a graph convolution is normalised
#
# The simplest layer sums what the neighbours hold: $x' = A^\top x$. Stack a few of them and the numbers explode: each round multiplies them by up to the greatest eigenvalue of $A$, 6.7 for the karate club.
# Means do not grow, but give a hub with 17 friends the same say as a newcomer with one. Kipf and Welling (2017) take the geometric middle. They give each node a **loop**, so that it hears itself too, and divide by the roots of both degrees:
#
# $$ \hat A = \tilde D^{-1/2} (A + I)\, \tilde D^{-1/2}, \qquad\text{that is, the weight of edge } (j, i) \text{ is } \frac{1}{\sqrt{\tilde d_j\, \tilde d_i}}, $$
#
# where $\tilde d_i$ counts the edges that arrive at $i$, **the loop included**. Without the loop an isolated node would have degree 0. For an undirected graph $\hat A$ is symmetric and its eigenvalues lie in $(-1, 1]$:
# however many rounds, nothing explodes.

# %% nbgrader={"grade": false, "grade_id": "figure-norm", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, (growth, matrix) = plotting.subplots(2, width=9.5, height=3.6)
dense = nx.to_numpy_array(karate, weight=None)
rounds = {"sum, $A$": dense, "mean, $D^{-1}A$": dense / dense.sum(1, keepdims=True)}
with_loops = nx.Graph([*karate.edges, *((i, i) for i in karate)])
rounds["GCN, $\\hat{A}$"] = np.eye(34) - nx.normalized_laplacian_matrix(with_loops, nodelist=range(34)).toarray()
start = np.random.default_rng(0).normal(size=34)
sizes = {name: [np.linalg.norm(np.linalg.matrix_power(step, k) @ start) for k in range(13)] for name, step in rounds.items()}
plotting.curves(growth, sizes, x=range(13), xlabel="rounds", ylabel="length of the features", log=True)
growth.set_title("karate club, random features")
plotting.heatmap(
    matrix, [[0.5, 1 / np.sqrt(6), 0], [1 / np.sqrt(6), 1 / 3, 1 / np.sqrt(6)], [0, 1 / np.sqrt(6), 0.5]], rows=list("012"), columns=list("012"), fmt="{:.3f}"
)
matrix.set_title("$\\hat{A}$ of the path 0 – 1 – 2")
plotting.show(
    fig,
    alt="Left: length of random features on the karate club after 0 to 12 rounds, on a logarithmic axis. With plain sums it grows from 5 to two thousand million; with means and with the GCN's weights "
    "it falls below 1 and levels off. Right: the GCN's weights for a path of three nodes: 0.5, 0.333, 0.5 on the diagonal, 0.408 for each edge, 0 between the ends.",
)

# %% [markdown]
# **Exercise 6.3 · `gcn_norm`** (4 points · difficulty 2 of 5 · about 20 minutes)
#
# Add the missing loops and compute the weight of every edge. Work on the edge list: an $n \times n$ matrix is what it is there to avoid, though the checks accept one. For a directed graph, both degrees in the
# formula are in-degrees.
#
# <details><summary>Hint 1: where to start</summary>
#
# Three steps: append the loops $(i, i)$ to `ei`, count how many edges arrive at each node *of the new list*, and look up both ends of every edge.
#
# </details>
#
# <details><summary>Hint 2: a loop that is there already</summary>
#
# A second one would count the node twice. Find the nodes $i$ with an edge $(i, i)$, where `ei[0] == ei[1]`, and give loops only to the others.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "gcn_norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gcn_norm(ei: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Loops and weights of a graph convolution (Kipf and Welling 2017, eq. 2).

    Args:
        ei: edges, shape (2, E), int64, no edge twice; it may hold some loops already, and E may be 0.
        n: number of nodes.

    Returns:
        ``(ei, w)``: the edges with one loop at every node, shape (2, E'), in any order, and the weight of each,
        shape (E',), float32: ``1 / sqrt(d_source * d_target)``, where d counts the edges that arrive, loops included.

    Example:
        ``gcn_norm(torch.tensor([[0, 1], [1, 0]]), 2)`` gives the edges 0→1, 1→0, 0→0 and 1→1, each of weight 0.5.
    """
    ### BEGIN SOLUTION
    without_loop = torch.ones(n, dtype=torch.bool, device=ei.device)
    without_loop[ei[0, ei[0] == ei[1]]] = False
    ei = torch.cat([ei, without_loop.nonzero().T.expand(2, -1)], dim=1)
    scale = degree(ei, n, "in").to(torch.float32).rsqrt()
    return ei, scale[ei[0]] * scale[ei[1]]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-gcn_norm", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("gcn_norm", points=4)
### BEGIN HIDDEN TESTS
check.use(
    edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense(),
    degree=lambda ei, n, kind: torch.bincount(ei[1 if kind == "in" else 0], minlength=n),
    scatter=lambda msg, dst, n, agg: msg.new_zeros(n, msg.shape[1]).scatter_reduce(
        0, dst[:, None].expand_as(msg), msg, {"max": "amax"}.get(agg, agg), include_self=False
    ),
)
### END HIDDEN TESTS

with check("the path 0 – 1 – 2", points=1):
    path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    edges, weights = gcn_norm(path, 3)
    pairs = sorted(map(tuple, torch.as_tensor(edges).T.tolist()))
    check.equal(
        [list(pair) for pair in pairs],
        [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 1], [2, 2]],
        mistakes={"The loops are missing. Add one edge (i, i) for every node.": [[0, 1], [1, 0], [1, 2], [2, 1]]},
    )
    check.close(
        sorted(torch.as_tensor(weights).tolist()),
        [0.333333333, 0.408248290, 0.408248290, 0.408248290, 0.408248290, 0.5, 0.5],
        rtol=1e-5,
        mistakes={
            "The degrees do not count the loops. Add the loops first, then count.": [0.5, 0.707106781, 0.707106781, 0.707106781, 0.707106781, 1.0, 1.0],
            "Each weight is 1/d of the target: a mean. Divide by the roots of both degrees.": [0.333333333, 0.333333333, 0.333333333, 0.5, 0.5, 0.5, 0.5],
            "The roots are missing. The weight is 1 over the square root of the product of both degrees.": [
                0.111111111,
                0.166666667,
                0.166666667,
                0.166666667,
                0.166666667,
                0.25,
                0.25,
            ],
            "There are only four weights. The loops have weights, too.": [0.408248290, 0.408248290, 0.408248290, 0.408248290],
        },
    )


### BEGIN HIDDEN TESTS
def weight_matrix(edges, weights, n):
    """Entry [s, t]: what the edges from s to t weigh together."""
    matrix = np.zeros((n, n))
    np.add.at(matrix, tuple(torch.as_tensor(edges).numpy()), torch.as_tensor(weights).numpy())
    return matrix


def check_norm(linked):
    """Compare with the formula on the adjacency matrix ``linked`` (0 or 1), which may hold loops."""
    n = len(linked)
    ei = torch.from_numpy(np.stack(np.nonzero(linked)))[:, check.rng.permutation(int(linked.sum()))]
    with check.no_side_effects(ei):
        edges, weights = gcn_norm(ei, n)
    check.finite(weights)
    check.dtype(weights, torch.float32)
    looped = np.maximum(linked, np.eye(n))

    def scaled(matrix, left, right):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(matrix / left[:, None] / right[None, :], posinf=0.0)

    arrive, leave = looped.sum(0), looped.sum(1)
    check.close(
        weight_matrix(edges, weights, n),
        scaled(looped, arrive**0.5, arrive**0.5),
        rtol=1e-5,
        atol=1e-6,
        mistakes={
            "A node that has a loop already got a second one. Give loops only to nodes without.": lambda: scaled(
                linked + np.eye(n), (linked + np.eye(n)).sum(0) ** 0.5, (linked + np.eye(n)).sum(0) ** 0.5
            ),
            "The degrees do not count the loops. Add the loops first, then count.": lambda: scaled(looped, linked.sum(0) ** 0.5, linked.sum(0) ** 0.5),
            "Each weight is 1/d of the target: a mean. Divide by the roots of both degrees.": lambda: scaled(looped, np.ones(n), arrive),
            "Each weight is 1/d of the source. Divide by the roots of both degrees.": lambda: scaled(looped, arrive, np.ones(n)),
            "In- and out-degrees are mixed. Both degrees count the edges that arrive.": lambda: scaled(looped, leave**0.5, arrive**0.5),
            "The degrees count the edges that leave. They should count those that arrive.": lambda: scaled(looped, leave**0.5, leave**0.5),
            "The roots are missing. The weight is 1 over the square root of the product of both degrees.": lambda: scaled(looped, arrive, arrive),
            "The loops are missing. Add one edge (i, i) for every node.": lambda: scaled(linked, linked.sum(0) ** 0.5, linked.sum(0) ** 0.5),
        },
    )
    return weight_matrix(edges, weights, n)


with check("undirected graphs, some nodes isolated: the formula, and no eigenvalue beyond 1", points=1):
    for n, share in ((1, 0.0), (2, 1.0), (6, 0.3), (11, 0.25), (4, 0.0)):
        upper = np.triu(check.rng.random((n, n)) < share, 1).astype(int)
        spectrum = np.linalg.eigvalsh(check_norm(upper + upper.T))
        check.law(spectrum.max() <= 1 + 1e-5 and spectrum.min() > -1, f"the eigenvalues lie in (-1, 1]; got {spectrum.min():.4f} to {spectrum.max():.4f}")

with check("directed graphs: both degrees count arriving edges", points=1):
    for n in (2, 5, 8):
        directed = (check.rng.random((n, n)) < 0.4).astype(int) * (1 - np.eye(n, dtype=int))
        directed[0, 1], directed[1, 0] = 1, 0
        check_norm(directed)

with check("a loop that is there already is not doubled", points=1):
    for n in (2, 5, 7):
        upper = np.triu(check.rng.random((n, n)) < 0.4, 1).astype(int)
        loops = np.diag(np.arange(n) % 2)
        check_norm(upper + upper.T + loops)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  Message, aggregate, update
#
# Nearly every graph layer has one form. With $j \to i$ for "there is an edge from $j$ to $i$":
#
# $$ x_i' = \gamma\Big(x_i,\; \bigoplus_{j \to i} \phi(x_i, x_j)\Big). $$
#
# $\phi$ makes the **message** from what the two ends of an edge know, $\bigoplus$ **aggregates** with a sum, mean or maximum, and $\gamma$ **updates** the node. The weights inside $\phi$ and $\gamma$ are shared by
# all edges and all nodes, so the layer fits a graph of any size. What a message needs beyond the two features, such as the degrees, is put into the features.
#
# | layer | message $\phi(x_i, x_j)$ | aggregate | update $\gamma(x_i, m)$ |
# |---|---|---|---|
# | GCN (Kipf and Welling, 2017), with loops | $W x_j / \sqrt{\tilde d_i \tilde d_j}$ | sum | $m + b$ |
# | GraphSAGE (Hamilton et al., 2017) | $x_j$ | mean | $W_1 m + W_2 x_i + b$ |
# | GIN (Xu et al., 2019) | $x_j$ | sum | $\mathrm{MLP}\big((1 + \varepsilon)\, x_i + m\big)$ |
#
# **Renumbering the nodes** renumbers the result and changes nothing else: the layer is *equivariant*. It holds because $\phi$ and $\gamma$ never see a node's number and $\bigoplus$ no order.
#
# **One layer is one hop.** The slide "How does a graph neural network layer work?" says that several layers take in information "from multiple layers"; what is meant is several *hops*. After $k$ layers a node has heard of the nodes
# within $k$ edges and of no other, so the derivative of its output with respect to anything further away is exactly zero.

# %% nbgrader={"grade": false, "grade_id": "figure-hops", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, ax = plotting.subplots(width=8.5, height=4.6)
away = nx.single_source_shortest_path_length(karate, 16)
shades = [tint(colour, 0.6) for colour in (plotting.COLOURS[1], plotting.COLOURS[4], plotting.COLOURS[2], plotting.COLOURS[5], plotting.COLOURS[0], "#FFFFFF")]
draw_graph(ax, karate_ei, karate_place, [away[i] for i in karate], colours=[shades[away[i]] for i in karate])
ax.set_title("Hops from node 16: it hears of a node only after that many layers")
plotting.show(
    fig,
    alt="The karate club with each node's number of hops from node 16: 2 nodes are 1 hop away, 3 are 2, 12 are 3, 8 are 4 and 8 are 5. "
    "A network of two layers lets node 16 hear of 6 of the 34 people, itself included; only the fifth layer reaches all.",
)

# %% [markdown]
# **Exercise 6.4 · `message_passing`** (5 points · difficulty 3 of 5 · about 25 minutes)
#
# Write the layer for any $\phi$ and $\gamma$. The first argument of $\phi$ belongs to the target $i$, the second to the source $j$; every node is updated, whether or not anything arrives.
#
# <details><summary>Hint 1: where to start</summary>
#
# Indexing with an index tensor repeats rows: `x[ei[1]]` has one row an edge, the features of its target. Then three lines: make the messages, collect them, update.
#
# </details>
#
# <details><summary>Hint 2: shapes</summary>
#
# $\phi$ maps (E, d) and (E, d) to (E, m); your `scatter` makes (n, m) of that; $\gamma$ maps (n, d) and (n, m) to the result. The three widths may all differ.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "message_passing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def message_passing(
    x: Tensor,
    ei: Tensor,
    phi: Callable[[Tensor, Tensor], Tensor],
    gamma: Callable[[Tensor, Tensor], Tensor],
    agg: str,
) -> Tensor:
    """One layer of message passing (Gilmer et al. 2017).

    Args:
        x: node features, shape (n, d).
        ei: edges, shape (2, E), int64; sources in row 0, targets in row 1.
        phi: ``phi(x_i, x_j)`` makes messages, row by row: (E, d) features of the targets and (E, d) of the sources
            give (E, m).
        gamma: ``gamma(x, collected)`` updates the nodes, row by row: (n, d) and (n, m) give (n, d').
        agg: ``"sum"``, ``"mean"`` or ``"max"``; a node that gets no message has zeros collected.

    Returns:
        Shape (n, d').
    """
    ### BEGIN SOLUTION
    source, target = ei
    messages = phi(x[target], x[source])
    return gamma(x, scatter(messages, target, len(x), agg))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-message_passing", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("message_passing", points=5)
### BEGIN HIDDEN TESTS
check.use(
    edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense(),
    degree=lambda ei, n, kind: torch.bincount(ei[1 if kind == "in" else 0], minlength=n),
    scatter=lambda msg, dst, n, agg: msg.new_zeros(n, msg.shape[1]).scatter_reduce(
        0, dst[:, None].expand_as(msg), msg, {"max": "amax"}.get(agg, agg), include_self=False
    ),
)
### END HIDDEN TESTS

with check("two messages to node 1", points=0.5):
    three, to_one = torch.tensor([[1.0], [10.0], [100.0]]), torch.tensor([[0, 2], [1, 1]])
    check.close(
        message_passing(three, to_one, lambda x_i, x_j: x_j, lambda x, m: 2 * x + m, "sum"),
        [[2.0], [121.0], [200.0]],
        mistakes={
            "The target sent its own features. A message comes from the source, x_j.": [[2.0], [40.0], [200.0]],
            "The messages went from target to source. Row 0 of ei holds the sources, row 1 the targets.": [[12.0], [20.0], [210.0]],
            "Messages went both ways along each edge. They go from source to target only.": [[12.0], [121.0], [210.0]],
            "gamma was left out: these are the collected messages.": [[0.0], [101.0], [0.0]],
            "Only nodes that got a message are there. gamma updates every node.": [[121.0]],
            "gamma was applied to single messages, before they were collected. First collect, then update each node once.": [[0.0], [141.0], [0.0]],
        },
    )

with check("a graph convolution: features and 1/√d side by side, loops in the edges", points=0.5):
    looped_path = torch.tensor([[0, 1, 1, 2, 0, 1, 2], [1, 0, 2, 1, 0, 1, 2]])
    beside = torch.tensor([[1.0, 0.707107], [0.0, 0.577350], [-2.0, 0.707107]])
    check.close(
        message_passing(beside, looped_path, lambda x_i, x_j: x_i[..., 1:] * x_j[..., 1:] * x_j[..., :1], lambda x, m: m, "sum"),
        [[0.5], [-0.408248], [-1.0]],
        atol=1e-5,
        mistakes={
            "The arguments of phi are swapped. The first belongs to the target, the second to the source.": [[0.908248], [0.0], [-1.816497]],
            "phi got the source's features twice. Its first argument belongs to the target.": [[0.5], [-0.5], [-1.0]],
        },
    )


### BEGIN HIDDEN TESTS
def random_layer(d, m, out, dtype):
    """A phi and a gamma with random weights that treat their two arguments differently."""
    to_target, to_source, to_node, to_collected = (torch.from_numpy(check.rng.normal(size=size)).to(dtype) for size in ((d, m), (d, m), (d, out), (m, out)))

    def phi(x_i, x_j):
        return torch.tanh(x_i @ to_target - 2 * x_j @ to_source)

    def gamma(x, collected):
        return torch.sin(x @ to_node) * (1 + collected @ to_collected) + collected @ to_collected

    return phi, gamma


def node_by_node(x, ei, phi, gamma, agg):
    """The formula, read one node and one edge at a time."""
    rows = []
    for i in range(len(x)):
        got = [phi(x[i : i + 1], x[j : j + 1])[0] for j, target in ei.T.tolist() if target == i]
        width = phi(x[:1], x[:1]).shape[1]
        reduce = {"sum": lambda t: t.sum(0), "mean": lambda t: t.mean(0), "max": lambda t: t.amax(0)}[agg]
        rows.append(gamma(x[i : i + 1], (reduce(torch.stack(got)) if got else x.new_zeros(width))[None])[0])
    return torch.stack(rows)


def one_way_graph(n, count):
    """Random edges without repetition, some nodes without any, never symmetric."""
    pairs = [(s, t) for s in range(n) for t in range(n) if s < t or (s == t and s % 2)]
    chosen = check.rng.choice(len(pairs), size=min(count, len(pairs)), replace=False)
    return torch.tensor([pairs[k] for k in chosen]).T


def layer_told(x, ei, phi, gamma, agg):
    """What the usual misconceptions give for this layer."""

    def layer(x_i, x_j, dst, agg=agg, gamma=gamma, phi=phi):
        collected = phi(x_i, x_j)
        return gamma(
            x,
            collected.new_zeros(len(x), collected.shape[1]).scatter_reduce(
                0, dst[:, None].expand_as(collected), collected, {"max": "amax"}.get(agg, agg), include_self=False
            ),
        )

    source, target = ei
    both = torch.cat([ei, ei.flip(0)], 1)
    return {
        "The arguments of phi are swapped. The first belongs to the target, the second to the source.": lambda: layer(x[source], x[target], target),
        "The target sent its own features. phi takes x_i of the target and x_j of the source.": lambda: layer(x[target], x[target], target),
        "phi got the source's features twice. Its first argument belongs to the target.": lambda: layer(x[source], x[source], target),
        "The messages went from target to source. Row 0 of ei holds the sources, row 1 the targets.": lambda: layer(x[source], x[target], source),
        "Messages went both ways along each edge. They go from source to target only.": lambda: layer(x[both[1]], x[both[0]], both[1]),
        "gamma was left out: these are the collected messages.": lambda: layer(x[target], x[source], target, gamma=lambda _, collected: collected),
        "gamma was applied to single messages, before they were collected. First collect, then update each node once.": lambda: layer(
            x[target], x[source], target, gamma=lambda _, collected: collected, phi=lambda x_i, x_j: gamma(x_i, phi(x_i, x_j))
        ),
        "The messages were summed. Collect them by the argument agg.": lambda: layer(x[target], x[source], target, agg="sum"),
    }


for layer_agg in ("sum", "mean", "max"):
    with check(f"any phi and gamma, collected by {layer_agg}", points=0.5):
        for n, count, d, m, out, dtype in (
            (1, 1, 2, 3, 1, torch.float64),
            (5, 6, 3, 3, 3, torch.float32),
            (7, 9, 1, 4, 2, torch.float64),
            (4, 1, 2, 1, 5, torch.float64),
        ):
            x, ei = torch.from_numpy(check.rng.normal(size=(d, n))).to(dtype).T, one_way_graph(max(n, 2), count) % n
            phi, gamma = random_layer(d, m, out, dtype)
            with check.no_side_effects(x, ei):
                got = message_passing(x, ei, phi, gamma, layer_agg)
            check.shape(
                got,
                (n, out),
                mistakes={"Only nodes that got a message are there. gamma updates every node.": lambda ei=ei, out=out: (len(set(ei[1].tolist())), out)},
            )
            check.dtype(got, dtype)
            check.close(got, node_by_node(x, ei, phi, gamma, layer_agg), mistakes=layer_told(x, ei, phi, gamma, layer_agg))

with check("renumbering the nodes renumbers the result", points=1):
    for n in (3, 6, 9):
        x, ei = torch.from_numpy(check.rng.normal(size=(n, 2))), one_way_graph(n, 2 * n)
        phi, gamma = random_layer(2, 3, 2, torch.float64)
        new_number = torch.from_numpy(check.rng.permutation(n))
        renumbered = torch.empty_like(x)
        renumbered[new_number] = x
        before, after = message_passing(x, ei, phi, gamma, "mean"), message_passing(renumbered, new_number[ei], phi, gamma, "mean")
        check.shape(after, (n, 2))
        check.close(after[new_number], before, mistakes=layer_told(renumbered, new_number[ei], phi, gamma, "mean"))
        fewer = message_passing(x, ei[:, :1], phi, gamma, "mean")
        check.law(not torch.allclose(fewer, before), "the result depends on which edges there are; yours does not")


def slopes(x, ei, phi, gamma, k):
    """The Jacobian of k layers, (n, 2, n, 2)."""

    def layers(x):
        for _ in range(k):
            x = message_passing(x, ei, phi, gamma, "sum")
        return x

    return torch.autograd.functional.jacobian(layers, x)


with check("after k layers a node depends on nodes within k hops, and on no others", points=1.5):
    n = 6
    chain = torch.tensor([[i, i + 1] for i in range(n - 1)]).T
    phi, gamma = random_layer(2, 2, 2, torch.float64)
    for k in (1, 2, 3):
        reach = check.run(slopes, torch.from_numpy(check.rng.normal(size=(n, 2))), chain, phi, gamma, k).abs().sum((1, 3)) > 0
        check.equal(
            reach.int().tolist(),
            [[int(0 <= i - j <= k) for j in range(n)] for i in range(n)],
            mistakes={
                "Messages went both ways along each edge. They go from source to target only.": [[int(abs(i - j) <= k) for j in range(n)] for i in range(n)],
                "The messages went from target to source. Row 0 of ei holds the sources, row 1 the targets.": [
                    [int(0 <= j - i <= k) for j in range(n)] for i in range(n)
                ],
                "No node depends on another. A message comes from the source, x_j.": [[int(i == j) for j in range(n)] for i in range(n)],
                "The result does not depend on the features by gradient. Stay in torch, without detach, numpy or no_grad.": [[0] * n for _ in range(n)],
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# With it, three published layers take a few lines each. The next cell gives them to you; use them where you like. In the course's test suite they equal those of PyTorch Geometric to five decimals, outputs and gradients.


# %% nbgrader={"grade": false, "grade_id": "setup-layers", "locked": true, "schema_version": 3, "solution": false, "task": false}
class GCN(nn.Module):
    """A graph convolution (Kipf and Welling 2017): ``forward(x, ei)`` maps (n, d_in) to (n, d_out) and adds the loops itself."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_in, d_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(d_out))

    def forward(self, x: Tensor, ei: Tensor) -> Tensor:
        ei, _ = gcn_norm(ei, len(x))
        scale = degree(ei, len(x), "in").to(x.dtype).rsqrt()[:, None]
        beside = torch.cat([self.linear(x), scale], dim=1)
        return message_passing(beside, ei, lambda x_i, x_j: x_i[:, -1:] * x_j[:, -1:] * x_j[:, :-1], lambda x, m: m + self.bias, "sum")


class SAGE(nn.Module):
    """GraphSAGE with means (Hamilton et al. 2017): ``forward(x, ei)`` maps (n, d_in) to (n, d_out)."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(d_in, d_out)
        self.itself = nn.Linear(d_in, d_out, bias=False)

    def forward(self, x: Tensor, ei: Tensor) -> Tensor:
        return message_passing(x, ei, lambda x_i, x_j: x_j, lambda x, m: self.neighbours(m) + self.itself(x), "mean")


class GIN(nn.Module):
    """A layer of the graph isomorphism network (Xu et al. 2019), ``mlp((1 + eps) x_i + sum of x_j)``. Its sum is what matters: see section 6 for other ``agg``."""

    def __init__(self, mlp: nn.Module, eps: float = 0.0, agg: str = "sum") -> None:
        super().__init__()
        self.mlp, self.eps, self.agg = mlp, eps, agg

    def forward(self, x: Tensor, ei: Tensor) -> Tensor:
        return message_passing(x, ei, lambda x_i, x_j: x_j, lambda x, m: self.mlp((1 + self.eps) * x + m), self.agg)


# %% [markdown]
# ## 5  Attention is message passing, with the right message
#
# Let every node of a graph be a token. Query, key and value are $q_i = x_i W_q$, $k_j = x_j W_k$, $v_j = x_j W_v$, and node $i$ attends to the nodes with an edge to $i$:
#
# $$ x_i' = \frac{\sum_{j \to i} s_{ij}\, v_j}{\sum_{j \to i} s_{ij}}, \qquad s_{ij} = \exp\big(q_i \cdot k_j / \sqrt{d_k}\,\big). $$
#
# On the complete graph this is the self-attention of a transformer; leave out the edges from the future and it is causal attention. **Every mask is a graph.**

# %% nbgrader={"grade": false, "grade_id": "figure-masks", "locked": true, "schema_version": 3, "solution": false, "task": false}
masks = {"everyone: complete": np.ones((5, 5)), "GPT: from the past": np.tril(np.ones((5, 5))), "window of 3": np.tri(5, k=1) * np.tri(5, k=1).T}
ring = np.array([[np.sin(2 * np.pi * i / 5), np.cos(2 * np.pi * i / 5)] for i in range(5)])
fig, panels = plotting.subplots(3, 2, width=9, height=5.6)
for (title, mask), above, below in zip(masks.items(), *panels, strict=True):
    above.imshow(mask, cmap="Blues", vmin=0, vmax=1.6)
    above.set(title=title, xticks=range(5), yticks=range(5), xlabel="key j", ylabel="query i")
    above.grid(visible=False)
    draw_graph(below, torch.from_numpy(np.stack(np.nonzero(mask.T))), ring, range(5), arrows=True, size=380)
plotting.show(
    fig,
    alt="Three masks of five tokens, each as a matrix of query by key and below it as a graph with arrows from key to query; loops are not drawn. Complete: all 25 entries, arrows both ways "
    "between all nodes. From the past: the lower triangle, 15 entries, arrows only from smaller to greater numbers. Window of 3: the diagonal and its neighbours, 13 entries, arrows between numbers that follow each other.",
)

# %% [markdown]
# The slide "Are Transformers (secretly) GNNs?" concludes the same, but its message does not do it (erratum E19). It sends $\phi(x_i, x_j) = a(x_i, x_j)\, v(x_j)$ with $\gamma(a, b) = b$, where $a$ is the attention weight.
# That weight is already divided by a sum over **all** neighbours of $i$, so it is no function of $x_i$ and $x_j$ alone, and an edge cannot compute it. What an edge *can* send is the pair (unnormalised value, weight).
# Sums of both arrive, and the division happens in the update. You will measure the difference below the exercise.

# %% [markdown]
# **Exercise 6.5a · `attention_as_gnn`** (4 points · difficulty 3 of 5 · about 25 minutes)
#
# Write attention along the edges of a graph. Off limits: `F.scaled_dot_product_attention`. You may build on `message_passing` or on `scatter`.
#
# <details><summary>Hint 1: where to start</summary>
#
# Put $q$, $k$ and $v$ of each node side by side into one feature row. In $\phi$, cut the target's row for $q$ and the source's row for $k$ and $v$.
#
# </details>
#
# <details><summary>Hint 2: the division</summary>
#
# A message is $s\,v$ with $s$ as one more column. After the sum, $\gamma$ divides all columns but the last by the last. A node without messages has 0/0: divide by something that is never 0.
#
# </details>
#
# <details><summary>Hint 3: large scores</summary>
#
# $e^{100}$ does not fit into float32. Subtracting from every score of a target the greatest of them changes no quotient. The greatest one takes a round of messages of its own, with `"max"`. The checks stay with moderate scores.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "attention_as_gnn", "locked": false, "schema_version": 3, "solution": true, "task": false}
def attention_as_gnn(x: Tensor, Wq: Tensor, Wk: Tensor, Wv: Tensor, ei: Tensor) -> Tensor:
    """Scaled dot-product attention along the edges of a graph: node i looks at the nodes with an edge to i.

    Args:
        x: node features, shape (n, d).
        Wq: weights of the queries ``x @ Wq``, shape (d, d_k).
        Wk: weights of the keys, shape (d, d_k).
        Wv: weights of the values, shape (d, d_v).
        ei: edges, shape (2, E), int64, no edge twice; keys and values come from row 0, queries from row 1.

    Returns:
        Shape (n, d_v); zeros for a node at which no edge arrives.
    """
    ### BEGIN SOLUTION
    d_k = Wq.shape[1]

    def score(x_i: Tensor, x_j: Tensor) -> Tensor:
        return (x_i[:, :d_k] * x_j[:, d_k : 2 * d_k]).sum(1, keepdim=True) / math.sqrt(d_k)

    def phi(x_i: Tensor, x_j: Tensor) -> Tensor:
        weight = (score(x_i, x_j) - x_i[:, -1:]).exp()
        return torch.cat([weight * x_j[:, 2 * d_k : -1], weight], dim=1)

    def gamma(x: Tensor, total: Tensor) -> Tensor:
        return total[:, :-1] / total[:, -1:].clamp_min(torch.finfo(total.dtype).tiny)

    tokens = torch.cat([x @ Wq, x @ Wk, x @ Wv], dim=1)
    greatest = message_passing(tokens, ei, score, lambda x, top: top, "max").detach()  # keeps exp from overflowing; it cancels in the quotient
    return message_passing(torch.cat([tokens, greatest], dim=1), ei, phi, gamma, "sum")
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-attention_as_gnn", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("attention_as_gnn", points=4)


### BEGIN HIDDEN TESTS
def trusted_scatter(msg, dst, n, agg):
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, {"max": "amax"}.get(agg, agg), include_self=False)


check.use(
    edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense(),
    degree=lambda ei, n, kind: torch.bincount(ei[1 if kind == "in" else 0], minlength=n),
    scatter=trusted_scatter,
    message_passing=lambda x, ei, phi, gamma, agg: gamma(x, trusted_scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg)),
)
### END HIDDEN TESTS

with check("three nodes, two of them heard by node 0", points=1, off_limits=("torch.nn.functional.scaled_dot_product_attention",)):
    nodes, one = torch.tensor([[1.0], [2.0], [-2.0]]), torch.tensor([[1.0]])
    check.close(
        attention_as_gnn(nodes, one, one, 10 * one, torch.tensor([[1, 2], [0, 0]])),
        [[19.2805516], [0.0], [0.0]],
        rtol=1e-5,
        mistakes={
            "The weighted values are not divided by the sum of the weights.": [[145.0744], [0.0], [0.0]],
            "The edges are the wrong way round. Row 0 of ei holds the sources, whose values are handed over to the targets in row 1.": [[0.0], [10.0], [10.0]],
            "The values come from the target. They are handed over by the source.": [[10.0], [0.0], [0.0]],
            "The scores are divided by the root of the number of nodes. It is the keys' width that counts.": [[16.3861046], [0.0], [0.0]],
            "The weights sum to one over the edges that leave a source. They must, over the edges that arrive at a target.": [[0.0], [0.0], [0.0]],
            "A node at which no edge arrives has zeros: divide by something that is never 0.": [[19.2805516], [math.nan], [math.nan]],
        },
    )

### BEGIN HIDDEN TESTS
exact_attention = F.scaled_dot_product_attention


def attention_told(x, Wq, Wk, Wv, allowed):
    """What the usual misconceptions give; ``allowed`` is (target, source), True where there is an edge."""
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    edge = allowed.to(x.dtype)

    def weights(scale, q=q, k=k):
        return (q @ k.T / scale).exp() * edge

    def over(matrix, axis):
        return matrix / matrix.sum(axis, keepdim=True).clamp_min(1e-300)

    root = math.sqrt(Wq.shape[1])
    return {
        "The scores are not scaled. Divide them by the square root of the keys' width.": lambda: over(weights(1.0), 1) @ v,
        "The scores are divided by the root of the number of nodes. It is the keys' width that counts.": lambda: over(weights(math.sqrt(len(x))), 1) @ v,
        "The scores are divided by the keys' width. Divide by its square root.": lambda: over(weights(float(Wq.shape[1])), 1) @ v,
        "The weights of all edges together sum to one. For each target, the weights of its own edges must.": lambda: weights(root) / weights(root).sum() @ v,
        "The weights sum to one over the edges that leave a source. They must, over the edges that arrive at a target.": lambda: over(weights(root), 0) @ v,
        "The weighted values are not divided by the sum of the weights.": lambda: weights(root) @ v,
        "Keys and queries are swapped. The target asks: its query meets the keys of its sources.": lambda: over(weights(root, k, q), 1) @ v,
        "The values come from the target. They are handed over by the source.": lambda: edge.amax(1, keepdim=True) * v,
        "The edges are the wrong way round. Row 0 of ei holds the sources, whose values are handed over to the targets in row 1.": lambda: (
            over((q @ k.T / root).exp() * edge.T, 1) @ v
        ),
    }


def attention_inputs(n, d, d_k, d_v, dtype=torch.float64):
    return [torch.from_numpy(check.rng.normal(size=size)).to(dtype) for size in ((n, d), (d, d_k), (d, d_k), (d, d_v))]


with check("on the complete graph it is self-attention", points=1, off_limits=("torch.nn.functional.scaled_dot_product_attention",)):
    for n, d, d_k, d_v, dtype in ((1, 2, 2, 2, torch.float64), (5, 3, 4, 2, torch.float64), (6, 2, 3, 5, torch.float32), (4, 4, 9, 4, torch.float64)):
        x, Wq, Wk, Wv = inputs = attention_inputs(n, d, d_k, d_v, dtype)
        complete = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
        with check.no_side_effects(*inputs, complete):
            got = attention_as_gnn(*inputs, complete)
        check.dtype(got, dtype)
        check.close(got, exact_attention(x @ Wq, x @ Wk, x @ Wv), mistakes=attention_told(*inputs, torch.ones(n, n, dtype=torch.bool)))

with check(
    "on any graph it is masked attention, and a node that hears nobody has zeros", points=1, off_limits=("torch.nn.functional.scaled_dot_product_attention",)
):
    for n, share in ((3, 0.5), (6, 0.4), (9, 0.2)):
        allowed = torch.from_numpy(check.rng.random((n, n)) < share)
        allowed[0], allowed[1, 0], allowed[2, :2] = False, True, True
        x, Wq, Wk, Wv = inputs = attention_inputs(n, 3, 2, 4)
        target, source = allowed.nonzero().T
        got = attention_as_gnn(*inputs, torch.stack([source, target])[:, torch.from_numpy(check.rng.permutation(len(source)))])
        check.law(
            bool(torch.isfinite(torch.as_tensor(got)).all()),
            "expected finite numbers, got NaN or infinity.\nA node at which no edge arrives has zeros: divide by something that is never 0.",
        )
        want = torch.where(allowed.any(1, keepdim=True), exact_attention(x @ Wq, x @ Wk, x @ Wv, attn_mask=allowed | ~allowed.any(1, keepdim=True)), 0.0)
        check.close(got, want, mistakes=attention_told(*inputs, allowed))

with check("gradients are those of attention", points=1, off_limits=("torch.nn.functional.scaled_dot_product_attention",)):
    x, Wq, Wk, Wv = inputs = [part.requires_grad_() for part in attention_inputs(5, 3, 4, 2)]
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    upstream = torch.from_numpy(check.rng.normal(size=(5, 2)))
    got = attention_as_gnn(*inputs, causal.nonzero().T.flip(0))
    check.law(
        got.requires_grad, "the result hangs on the weights, so it carries a gradient.\nSomething was detached, by numpy, .item() or .data. Stay in torch."
    )
    gradients = torch.autograd.grad((got * upstream).sum(), inputs)
    want = torch.autograd.grad((exact_attention(x @ Wq, x @ Wk, x @ Wv, attn_mask=causal) * upstream).sum(), inputs)
    told = {text: (lambda f=f: list(torch.autograd.grad((f() * upstream).sum(), inputs))) for text, f in attention_told(*inputs, causal).items()}
    check.close(list(gradients), list(want), mistakes=told)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Is it a message?
# A message on the edge $j \to i$ may depend on nothing but its two ends. So move a *third* node, and look at what travels between the others. The first row is the slide's message, the second the pair that you sent.
# The last rows compare your layer with PyTorch's attention on the complete graph.


# %% nbgrader={"grade": false, "grade_id": "experiment-message", "locked": true, "schema_version": 3, "solution": false, "task": false}
def message_experiment(seed: int) -> dict[str, float]:
    """How far two kinds of message between nodes 0, 1, 3 and 4 change when node 2 moves, and how far attention along edges is from PyTorch's."""
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 4, generator=gen, dtype=torch.float64)
    Wq, Wk, Wv = torch.randn(3, 4, 4, generator=gen, dtype=torch.float64) / 2  # queries and keys of spread 1: the softmax is not saturated
    complete = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T
    moved, others = x.clone(), torch.tensor([0, 1, 3, 4])
    moved[2] += torch.randn(4, generator=gen, dtype=torch.float64)

    def slide(x: Tensor) -> Tensor:
        return ((x @ Wq) @ (x @ Wk).T / 2).softmax(1)[:, :, None] * (x @ Wv)

    def pair(x: Tensor) -> Tensor:
        weight = ((x @ Wq) @ (x @ Wk).T / 2).exp()[:, :, None]
        return torch.cat([weight * (x @ Wv), weight], dim=2)

    def change(message: Callable[[Tensor], Tensor]) -> float:
        before, after = (message(features)[others][:, others] for features in (x, moved))
        return float(((after - before).norm(dim=2) / before.norm(dim=2)).max())

    exact = F.scaled_dot_product_attention(x @ Wq, x @ Wk, x @ Wv)
    return {
        "slide": change(slide),
        "pair": change(pair),
        "gap": float((attention_as_gnn(x, Wq, Wk, Wv, complete) - exact).abs().max()),
    }


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-message-table", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("message_passing", "attention_as_gnn"):
    message = message_experiment(seed=0)
    show(
        Claim(
            "largest relative change of a slide's message between others when node 2 moves",
            lecture="none: φ is a function of x_i, x_j, e_ji (CS909)",
            measured=message["slide"],
            at_least=1e-3,
        ),
        Claim("the same of the pair (s v, s)", lecture="not in the lecture", measured=message["pair"], at_most=0.0),
        Claim(
            "largest gap to PyTorch's attention, complete graph",
            lecture="“an attention layer is a special case of a GNN layer” (CS909)",
            measured=message["gap"],
            at_most=1e-10,
        ),
    )

# %% [markdown]
# **Graph attention** (GAT; Veličković et al., 2018) is the same sum with another score. With $h_i = x_i W$ and two vectors $a_{\text{src}}$, $a_{\text{dst}}$:
#
# $$ s_{ij} = \exp\Big(\mathrm{LeakyReLU}_{0.2}\big(a_{\text{src}} \cdot h_j + a_{\text{dst}} \cdot h_i\big)\Big), \qquad x_i' = \frac{\sum_{j \to i} s_{ij}\, h_j}{\sum_{j \to i} s_{ij}} + b, $$
#
# where every node has a loop, as in the GCN, so that it also hears itself.

# %% [markdown]
# **Exercise 6.5b · `gat_layer`** (2 points · difficulty 3 of 5 · about 15 minutes)
#
# Write this layer with one head. Add a loop to every node that has none; `gcn_norm` has done that before.
#
# <details><summary>Hint 1: where to start</summary>
#
# Each half of the score belongs to one node. Put $h_i$, $a_{\text{src}} \cdot h_i$ and $a_{\text{dst}} \cdot h_i$ side by side; an edge then takes one half from each of its ends.
#
# </details>
#
# <details><summary>Hint 2: the rest</summary>
#
# From the score on, it is your attention: send $(s\,h_j, s)$, sum, divide. With loops nothing is ever divided by 0. The bias comes last.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "gat_layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gat_layer(x: Tensor, ei: Tensor, W: Tensor, a_src: Tensor, a_dst: Tensor, b: Tensor) -> Tensor:
    """A graph attention layer with one head (Velickovic et al. 2018); loops are added where they are missing.

    Args:
        x: node features, shape (n, d).
        ei: edges, shape (2, E), int64, no edge twice; sources in row 0, targets in row 1.
        W: weights, shape (d, e).
        a_src: the source's half of the score, shape (e,).
        a_dst: the target's half of the score, shape (e,).
        b: bias, shape (e,).

    Returns:
        Shape (n, e). The slope of the leaky ReLU is 0.2.
    """
    ### BEGIN SOLUTION

    def phi(x_i: Tensor, x_j: Tensor) -> Tensor:
        weight = F.leaky_relu(x_j[:, -2:-1] + x_i[:, -1:], 0.2).exp()
        return torch.cat([weight * x_j[:, :-2], weight], dim=1)

    h = x @ W
    beside = torch.cat([h, (h @ a_src)[:, None], (h @ a_dst)[:, None]], dim=1)
    looped, _ = gcn_norm(ei, len(x))
    return message_passing(beside, looped, phi, lambda x, total: total[:, :-1] / total[:, -1:] + b, "sum")
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-gat_layer", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("gat_layer", points=2)


### BEGIN HIDDEN TESTS
def trusted_scatter(msg, dst, n, agg):
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, {"max": "amax"}.get(agg, agg), include_self=False)


def trusted_norm(ei, n):
    linked = torch.eye(n)
    linked[ei[0], ei[1]] = 1.0
    root = linked.sum(0).sqrt()
    return linked.nonzero().T, (linked / root / root[:, None])[linked > 0]


check.use(
    edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense(),
    degree=lambda ei, n, kind: torch.bincount(ei[1 if kind == "in" else 0], minlength=n),
    scatter=trusted_scatter,
    gcn_norm=trusted_norm,
    message_passing=lambda x, ei, phi, gamma, agg: gamma(x, trusted_scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg)),
)
### END HIDDEN TESTS

with check("two nodes, one edge", points=0.5):
    check.close(
        gat_layer(
            torch.tensor([[1.0], [3.0]]), torch.tensor([[0], [1]]), torch.tensor([[1.0]]), torch.tensor([-1.0]), torch.tensor([0.5]), torch.tensor([10.0])
        ),
        [[11.0], [11.620051]],
        rtol=1e-5,
        mistakes={
            "The loops are missing: every node hears itself, too.": [[10.0], [11.0]],
            "The bias is missing. Add b at the end.": [[1.0], [1.620051]],
            "a_src and a_dst are swapped. a_src belongs to the node that sends.": [[11.0], [12.099668]],
            "The slope of the leaky ReLU is 0.01, PyTorch's default. Here it is 0.2.": [[11.0], [11.748044]],
            "The leaky ReLU is missing. It acts on the score, before the exponential.": [[11.0], [11.238406]],
            "The weights of all edges together sum to one. For each target, the weights of its own edges must.": [[10.274661], [11.175086]],
        },
    )

### BEGIN HIDDEN TESTS
with check("other graphs", points=1.5):
    for n, d, e, share, dtype in ((1, 2, 3, 0.0, torch.float64), (5, 3, 2, 0.4, torch.float64), (8, 2, 4, 0.2, torch.float32), (6, 4, 1, 0.5, torch.float64)):
        allowed = torch.from_numpy(check.rng.random((n, n)) < share)  # (target, source), a few loops among them
        x, W, a_src, a_dst, b = inputs = [torch.from_numpy(check.rng.normal(size=size)).to(dtype) for size in ((n, d), (d, e), (e,), (e,), (e,))]
        ei = allowed.nonzero().T.flip(0)
        with check.no_side_effects(x, ei, W, a_src, a_dst, b):
            got = gat_layer(x, ei, W, a_src, a_dst, b)

        looped = allowed | torch.eye(n, dtype=torch.bool)

        def dense(slope=0.2, mask=looped, axis=1, to_source=a_src, to_target=a_dst, bias=b, x=x, W=W):
            score = F.leaky_relu((x @ W @ to_source)[None, :] + (x @ W @ to_target)[:, None], slope)
            weight = score.exp() * mask
            return weight / (weight.sum() if axis is None else weight.sum(axis, keepdim=True)) @ (x @ W) + bias

        check.dtype(got, dtype)
        check.close(
            got,
            dense(),
            mistakes={
                "a_src and a_dst are swapped. a_src belongs to the node that sends.": lambda: dense(to_source=a_dst, to_target=a_src),
                "The loops are missing: every node hears itself, too.": lambda: torch.nan_to_num(dense(mask=allowed, bias=torch.zeros(e))) + b,
                "The slope of the leaky ReLU is 0.01, PyTorch's default. Here it is 0.2.": lambda: dense(slope=0.01),
                "The leaky ReLU is missing. It acts on the score, before the exponential.": lambda: dense(slope=1.0),
                "The weights of all edges together sum to one. For each target, the weights of its own edges must.": lambda: dense(axis=None),
                "The weights sum to one over the edges that leave a source. They must, over the edges that arrive at a target.": lambda: dense(axis=0),
                "The bias is missing. Add b at the end.": lambda: dense(bias=torch.zeros(e)),
                "The target's half of the score is missing.": lambda: dense(to_target=torch.zeros(e, dtype=dtype)),
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 6  What message passing cannot see
#
# Chemists draw molecules as graphs, and the lecture's first use of a graph network is to classify them. Can it tell any two apart? Weisfeiler and Leman (1968) asked how far one gets by **colouring**. All nodes begin with one colour. In each
# round a node's new colour is a name for the pair
#
# $$ c_i \leftarrow \big(c_i,\; \{\!\{ c_j : j \to i \}\!\}\big), $$
#
# its own colour and the **multiset** of its neighbours' colours: which ones, and how many of each. Different pairs get different names, in whatever graph they occur. Two graphs whose multisets of node colours differ after some round are certainly different. If they never differ, the test does not know.
#
# A layer of message passing computes a function of the same pair. So **no network of this kind, with equal features at the start, tells apart two graphs that colouring does not** (Xu et al., 2019; Morris et al., 2019). It can be as good as colouring only if its aggregate is
# injective on multisets. A sum (with an MLP behind it) can be. A mean forgets how many there are, and a maximum forgets all but one.

# %% nbgrader={"grade": false, "grade_id": "figure-molecules", "locked": true, "schema_version": 3, "solution": false, "task": false}
decalin = both_ways([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (4, 6), (6, 7), (7, 8), (8, 9), (9, 5)])
bicyclopentyl = both_ways([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 5)])
hexagons = np.array([(-1.73, 0.5), (-1.73, -0.5), (-0.87, -1), (0, -0.5), (0, 0.5), (-0.87, 1)])
two_sixes = np.array([(-0.87, -1), (-1.73, -0.5), (-1.73, 0.5), (-0.87, 1), (0, 0.5), (0, -0.5), (0.87, 1), (1.73, 0.5), (1.73, -0.5), (0.87, -1)])
fives = [(np.cos(2 * np.pi * k / 5), np.sin(2 * np.pi * k / 5)) for k in range(5)]
two_fives = np.array([(c - 1.6, s) for c, s in (fives[k] for k in (1, 2, 3, 4, 0))] + [(1.6 - c, s) for c, s in fives])
fig, panels = plotting.subplots(2, width=9.5, height=3.2)
by_degree = {3: ("a", 1), 2: ("b", 2), 0: ("c", 0)}
for ax, ei, place, title in (
    (panels[0], decalin, two_sixes, "decalin: two rings of six"),
    (panels[1], bicyclopentyl, two_fives, "bicyclopentyl: two rings of five"),
):
    joint = torch.bincount(ei[0]) == 3
    beside_joint = torch.zeros(10, dtype=torch.bool).index_put((ei[1, joint[ei[0]]],), torch.tensor(True)) & ~joint
    kinds = ["a" if joint[i] else "b" if beside_joint[i] else "c" for i in range(10)]
    draw_graph(ax, ei, place, kinds, colours=[tint(plotting.COLOURS["cba".index(kind)]) for kind in kinds])
    ax.set(title=title, aspect="equal")
plotting.show(
    fig,
    alt="The carbon skeletons of two molecules with ten atoms each. Decalin is two rings of six atoms that share a bond, bicyclopentyl two rings of five joined by a bond. "
    "The colours at which the Weisfeiler-Leman test stops are written on the atoms: in both, 2 atoms are a, with three bonds, 4 are b, beside an a, and 4 are c. The colour counts are the same.",
)

# %% [markdown]
# The two molecules above are different, and colouring ends with 2 atoms a, 4 b and 4 c in both: an a has the neighbours a, b, b; a b has a, c; a c has b, c.

# %% [markdown]
# **Exercise 6.6 · `wl_colors`** (4 points · difficulty 3 of 5 · about 20 minutes)
#
# Write the colouring. Return how many nodes have each colour, so that the results of two calls, for two graphs, can be compared. Off limits: networkx's `weisfeiler_lehman_graph_hash` and its relatives.
#
# <details><summary>Hint 1: where to start</summary>
#
# List the neighbours of each node once. Then, in each round, build all the new colours from the old ones; only after that replace the old. `sorted` makes a multiset comparable; `Counter` counts.
#
# </details>
#
# <details><summary>Hint 2: names for colours</summary>
#
# Numbering the pairs 0, 1, 2 within one graph will not do: another graph would use the same numbers for other pairs. A pair can be its own name, as a nested tuple, but it grows with every round;
# `hashlib.sha256(repr(pair).encode()).hexdigest()` keeps it short. Python's `hash` of a string changes from one process to the next.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "wl_colors", "locked": false, "schema_version": 3, "solution": true, "task": false}
def wl_colors(ei: Tensor, n: int, iters: int) -> Counter[Hashable]:
    """Colour a graph by the one-dimensional Weisfeiler-Leman test.

    Args:
        ei: edges, shape (2, E), int64; an undirected graph has each edge in both directions.
        n: number of nodes.
        iters: number of rounds; 0 leaves every node with the first colour.

    Returns:
        Colour -> number of nodes that have it after ``iters`` rounds. The same pair of own colour and neighbours'
        colours has the same name in every graph and every call, so that two results are equal exactly if the test
        does not tell the graphs apart.
    """
    ### BEGIN SOLUTION
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for source, target in ei.T.tolist():
        neighbours[target].append(source)
    colours = [""] * n
    for _ in range(iters):
        pairs = [(colours[i], sorted(colours[j] for j in neighbours[i])) for i in range(n)]
        colours = [hashlib.sha256(repr(pair).encode()).hexdigest() for pair in pairs]
    return Counter(colours)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-wl_colors", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("wl_colors", points=4)
networkx_colouring = ("networkx.weisfeiler_lehman_graph_hash", "networkx.weisfeiler_lehman_subgraph_hashes")

with check("a path and a star of five nodes", points=1, off_limits=networkx_colouring):
    path, star = both_ways([(0, 1), (1, 2), (2, 3), (3, 4)]), both_ways([(0, 1), (0, 2), (0, 3), (0, 4)])
    check.equal(
        sorted(Counter(wl_colors(path, 5, 0)).values()),
        [5],
        mistakes={
            "The result says which colours there are, and not how many nodes have each.": [1],
            "Before the first round all nodes have the same colour. Degrees come in with the first round.": [2, 3],
            "Before the first round all nodes have the same colour. The number of a node is none.": [1, 1, 1, 1, 1],
        },
    )
    check.equal(
        sorted(Counter(wl_colors(path, 5, 1)).values()),
        [2, 3],
        mistakes={
            "All five look alike still: one round too few, or the neighbours' colours went into a set. A set forgets how often; sort a list instead.": [5],
            "One round too many was made.": [1, 2, 2],
            "Some nodes met colours that were new in this round. Work out all new colours from the old ones, then replace them together.": [1, 1, 1, 1, 1],
        },
    )
    check.equal(
        sorted(Counter(wl_colors(path, 5, 2)).values()),
        [1, 2, 2],
        mistakes={
            "The result says which colours there are, and not how many nodes have each.": [1, 1, 1],
            "The neighbours' colours were compared in the order of the edges. A multiset has no order: sort them.": [1, 1, 1, 2],
        },
    )
    check.equal(
        sorted(Counter(wl_colors(star, 5, 2)).values()),
        [1, 4],
        mistakes={"A neighbour's colour counts as often as it occurs. A set forgets how often; sort a list instead.": [5]},
    )

### BEGIN HIDDEN TESTS
import scipy.optimize


def colours_of(graph, rounds):
    """The answer for a graph given as networkx graph, in a random numbering and order of edges."""
    nodes = list(graph)
    new_number = dict(zip(nodes, check.rng.permutation(len(nodes)).tolist(), strict=True))
    ei = both_ways([(new_number[a], new_number[b]) for a, b in graph.edges])
    return Counter(wl_colors(ei[:, torch.from_numpy(check.rng.permutation(ei.shape[1]))], len(nodes), rounds))


def fractionally_isomorphic(a, b):
    """Whether a doubly stochastic X has A X = X B: by Tinhofer (1986) exactly the pairs that colouring does not tell apart."""
    A, B, eye = nx.to_numpy_array(a), nx.to_numpy_array(b), np.eye(len(a))
    ones = np.ones((1, len(a)))
    system = np.vstack([np.kron(A, eye) - np.kron(eye, B.T), np.kron(eye, ones), np.kron(ones, eye)])
    wanted = np.concatenate([np.zeros(len(a) ** 2), np.ones(2 * len(a))])
    return scipy.optimize.linprog(np.zeros(len(a) ** 2), A_eq=system, b_eq=wanted, bounds=(0, 1)).status == 0


def renumbered_only(rounds=4):
    """Whether two numberings of one graph get different results: then the order of nodes or edges was looked at."""
    wheel = nx.barbell_graph(3, 2)
    return any(colours_of(wheel, rounds) != colours_of(wheel, rounds) for _ in range(3))


def must_see_neighbours():
    """Any colouring at all tells nodes with a neighbour from those without."""
    pair_and_three = nx.Graph([(0, 1)])
    pair_and_three.add_nodes_from((2, 3, 4))
    check.equal(sorted(colours_of(pair_and_three, 4).values()), [2, 3])


with check("the numbering of nodes and edges does not matter", points=0.5, off_limits=networkx_colouring):
    for n, share in ((1, 0.5), (5, 0.5), (8, 0.4), (12, 0.2)):
        graph = nx.gnp_random_graph(n, share, seed=int(check.rng.integers(2**31)))
        check.law(
            all(colours_of(graph, rounds) == colours_of(graph, rounds) for rounds in (1, 2, 4)),
            "the same graph in two numberings gets the same colours; it got different ones.\nThe order of nodes or edges slipped in. A multiset has no order: sort the neighbours' colours.",
        )
    must_see_neighbours()

with check("one more round sees one step further", points=0.5, off_limits=networkx_colouring):
    for n in (7, 9, 12):
        found = [len(colours_of(nx.path_graph(n), rounds)) for rounds in range(6)]
        check.equal(
            found,
            [min(rounds + 1, (n + 1) // 2) for rounds in range(6)],
            mistakes={
                "One round too few was made.": [min(max(rounds, 1), (n + 1) // 2) for rounds in range(6)],
                "One round too many was made.": [min(rounds + 2, (n + 1) // 2) for rounds in range(6)],
                "A neighbour's colour counts as often as it occurs. A set forgets how often; sort a list instead.": [1] * 6,
                "Colours of this round were used within this round. Build all new colours from the old ones, then replace them.": lambda: found[1] > 2,
            },
        )

with check("pairs that colouring does not tell apart get equal results", points=1, off_limits=networkx_colouring):
    hexagon, triangles = nx.cycle_graph(6), nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    molecules = (
        nx.Graph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (4, 6), (6, 7), (7, 8), (8, 9), (9, 5)]),
        nx.Graph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 5)]),
    )
    cubic = [nx.random_regular_graph(3, 8, seed=int(check.rng.integers(2**31))) for _ in range(2)]
    for (a, b), name in (
        ((hexagon, triangles), "a ring of six and two triangles"),
        (molecules, "decalin and bicyclopentyl"),
        (cubic, "two graphs in which every node has three neighbours"),
    ):
        check.law(
            colours_of(a, 5) == colours_of(b, 5),
            f"{name}: the results should be equal, and differ.",
            mistakes={"The order of nodes or edges slipped in. A multiset has no order: sort the neighbours' colours.": renumbered_only},
        )
    must_see_neighbours()

with check("pairs that it tells apart get different results", points=1, off_limits=networkx_colouring):
    forgets = "A neighbour's colour counts as often as it occurs. A set forgets how often; sort a list instead."
    check.law(
        colours_of(nx.random_regular_graph(3, 8, seed=1), 3) != colours_of(nx.random_regular_graph(4, 8, seed=1), 3),
        "3 neighbours everywhere and 4 neighbours everywhere: the results should differ, and are equal.",
        mistakes={
            forgets: lambda: len(colours_of(nx.star_graph(4), 2)) == 1,
            "Colours were numbered afresh in each graph, so that 0 means one thing here and another there. A name must say which pair it stands for.": lambda: (
                len(colours_of(nx.star_graph(4), 2)) == 2
            ),
        },
    )
    # two rounds of sums give these two the same colours
    a = nx.Graph([(0, 5), (1, 3), (1, 6), (1, 7), (2, 3), (2, 4), (2, 6), (3, 7), (4, 5), (5, 6), (6, 7)])
    b = nx.Graph([(0, 2), (0, 7), (1, 5), (2, 3), (2, 4), (3, 4), (3, 6), (3, 7), (4, 5), (5, 6), (6, 7)])
    check.law(
        colours_of(a, 2) != colours_of(b, 2),
        "two graphs of 8 nodes that differ after two rounds got equal results.",
        mistakes={"The neighbours' colours were added up or averaged, and 1 + 3 is 2 + 2. Keep the whole multiset.": True},
    )
    for n in (6, 7, 8, 8, 9):
        a = nx.cycle_graph(n)
        a.add_edges_from(check.rng.permutation(list(nx.non_edges(a)))[:3].tolist())
        b = nx.double_edge_swap(a.copy(), 4, max_tries=10_000, seed=int(check.rng.integers(2**31)))  # the same degrees
        expected = fractionally_isomorphic(a, b)
        check.law(
            (colours_of(a, n) == colours_of(b, n)) == expected,
            f"two graphs of {n} nodes with the same degrees should get {'equal' if expected else 'different'} results, and do not.",
            mistakes={forgets: not expected},
        )
    must_see_neighbours()
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### What the networks see
# Three tasks on graphs whose nodes all have the same feature, a one. Every graph of one class has a partner of the other class with as many nodes.
#
# - *degree*: three neighbours everywhere, or four?
# - *cycle*: a tree, or a tree with one more edge?
# - *triangle*: three neighbours everywhere; is there a triangle?
#
# Four networks of two GIN layers, alike but for the aggregate: mean, maximum, sum (that is GIN), and a sum with more to start from. The last one's nodes get the **return probabilities** of a random walk, $(D^{-1}A)^k_{ii}$ for $k = 3, 4, 5$: features
# that colouring does not compute. The lecture's second reading (Kanatsoulis and Ribeiro, 2022) makes a similar point: with better features the same layers see more.


# %% nbgrader={"grade": false, "grade_id": "experiment-limits", "locked": true, "schema_version": 3, "solution": false, "task": false}
def returns(ei: Tensor, n: int) -> Tensor:
    """Probability that a random walk is back at its start after 3, 4 and 5 steps, shape (n, 3)."""
    step = torch.zeros(n, n).index_put((ei[0], ei[1]), torch.tensor(1.0))
    step = step / step.sum(1, keepdim=True)
    return torch.stack([torch.linalg.matrix_power(step, k).diagonal() for k in (3, 4, 5)], dim=1)


def random_graph(task: str, label: int, n: int, rng: np.random.Generator) -> nx.Graph:
    """A graph of ``n`` nodes (an even number) of class ``label`` in one of the three tasks."""
    while True:
        seed = int(rng.integers(2**31))
        if task == "degree":
            return nx.random_regular_graph(3 + label, n, seed)
        if task == "cycle":
            graph = nx.random_labeled_tree(n, seed=seed)
            missing = list(nx.non_edges(graph))
            graph.add_edges_from([missing[rng.integers(len(missing))]] * label)
            return graph
        graph = nx.random_regular_graph(3, n, seed)
        if (sum(nx.triangles(graph).values()) > 0) == bool(label):
            return graph


def batch_of_graphs(task: str, pairs: int, walks: bool, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Many graphs as one: features, edges, the graph of each node, the label of each graph. Graphs without an edge between them do not hear each other."""
    features, edges, graph_of, labels, first = [], [], [], [], 0
    for _ in range(pairs):
        n = 2 * int(rng.integers(4, 8))
        for label in (0, 1):
            ei = both_ways(random_graph(task, label, n, rng).edges)
            features.append(torch.cat([torch.ones(n, 1), returns(ei, n) if walks else torch.zeros(n, 3)], dim=1))
            edges.append(ei + first)
            graph_of += [len(labels)] * n
            labels.append(label)
            first += n
    return torch.cat(features), torch.cat(edges, dim=1), torch.tensor(graph_of), torch.tensor(labels)


class GraphClassifier(nn.Module):
    """Two GIN layers with a chosen aggregate; the graph's features are the sum over its nodes."""

    def __init__(self, agg: str, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GIN(nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()), agg=agg) for d in (4, width))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor, ei: Tensor, graph_of: Tensor, graphs: int) -> Tensor:
        for layer in self.layers:
            x = layer(x, ei)
        return self.head(scatter(x, graph_of, graphs, "sum"))


def limits_experiment(seed: int, pairs: int = 20, epochs: int = 200, rate: float = 0.01) -> dict[str, dict[str, float]]:
    """Test accuracy, task -> network -> share of new graphs classified right."""
    networks = {"mean": ("mean", False), "max": ("max", False), "sum (GIN)": ("sum", False), "sum + walks": ("sum", True)}
    accuracy: dict[str, dict[str, float]] = {task: {} for task in ("degree", "cycle", "triangle")}
    where = device.pick()
    for task, (name, (agg, walks)) in training.progress(list(itertools.product(accuracy, networks.items())), "tasks and networks"):
        rng = np.random.default_rng(seed)
        learn, judge = ([part.to(where) for part in batch_of_graphs(task, pairs, walks, rng)] for _ in range(2))
        training.seed_everything(seed)
        model = GraphClassifier(agg).to(where)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(epochs):
            optimizer.zero_grad()
            F.cross_entropy(model(*learn[:3], 2 * pairs), learn[3]).backward()
            optimizer.step()
        accuracy[task][name] = float((model(*judge[:3], 2 * pairs).argmax(1) == judge[3]).float().mean())
    return accuracy


def blind_experiment(seed: int) -> dict[str, float]:
    """Largest difference between what an untrained GIN makes of two molecules that colouring does not tell apart, without and with walks."""
    molecules = [
        [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (4, 6), (6, 7), (7, 8), (8, 9), (9, 5)],
        [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 5)],
    ]
    training.seed_everything(seed)
    model, apart = GraphClassifier("sum"), {}
    for name, walks in (("GIN", 0.0), ("GIN + walks", 1.0)):
        outputs = [
            model(torch.cat([torch.ones(10, 1), walks * returns(ei, 10)], dim=1), ei, torch.zeros(10, dtype=torch.int64), 1) for ei in map(both_ways, molecules)
        ]
        apart[name] = float((outputs[0] - outputs[1]).detach().abs().max())
    return apart


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-limits-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("scatter", "message_passing"):
    seen, apart = limits_experiment(seed=0), blind_experiment(seed=0)
    fig, ax = plotting.subplots(width=7.5, height=3)
    plotting.heatmap(
        ax, [list(row.values()) for row in seen.values()], rows=list(seen), columns=list(seen["degree"]), xlabel="network", ylabel="task", fmt="{:.3f}"
    )
    ax.set_title("Accuracy on new graphs (chance 0.5)")
    described = "; ".join(f"{task}: " + ", ".join(f"{name} {value:.2f}" for name, value in row.items()) for task, row in seen.items())
    plotting.show(fig, alt=f"Accuracy of four networks on three tasks, chance being 0.5. {described}.")
    show(
        Claim("GIN, 3 or 4 neighbours", lecture="GIN is as powerful as 1-WL (Xu et al.)", measured=seen["degree"]["sum (GIN)"], at_least=0.95),
        Claim("mean, 3 or 4 neighbours", lecture="a mean is not", measured=seen["degree"]["mean"], at_least=0.5, at_most=0.5),
        Claim("maximum, 3 or 4 neighbours", lecture="a maximum is not", measured=seen["degree"]["max"], at_least=0.5, at_most=0.5),
        Claim("GIN, tree or one more edge", lecture="GIN is as powerful as 1-WL", measured=seen["cycle"]["sum (GIN)"], at_least=0.85),
        Claim("GIN, is there a triangle", lecture="nor is anything beyond 1-WL", measured=seen["triangle"]["sum (GIN)"], at_least=0.5, at_most=0.5),
        Claim(
            "GIN + walks, is there a triangle",
            lecture="GNNs are “more powerful than we think” (Kanatsoulis and Ribeiro)",
            measured=seen["triangle"]["sum + walks"],
            at_least=0.9,
        ),
        Claim("GIN, decalin − bicyclopentyl", lecture="equal under 1-WL, so equal", measured=apart["GIN"], at_most=1e-5),
        Claim("GIN + walks, decalin − bicyclopentyl", lecture="not in the lecture", measured=apart["GIN + walks"], at_least=1e-4),
    )

# %% [markdown]
# Exactly one half is no bad luck in training. With equal features a mean or a maximum of equal rows is that row again, so each network gives both partners of a pair the same answer: it is right about one of them. No width, depth or training time changes that.
#
# ## 7  Learning from two labels
#
# The karate club split in two after a quarrel between its teacher (node 0) and its president (node 33). Suppose we know only where these two went. Who followed whom? There are **no features** but each person's own number: $X = I$, one row a node. All
# that is known about the others is whom they were friends with.

# %% nbgrader={"grade": false, "grade_id": "figure-karate", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, ax = plotting.subplots(width=8.5, height=4.6)
went = karate_club.tolist()
shades = [tint(plotting.COLOURS[club], 0.9 if i in (0, 33) else 0.35) for i, club in enumerate(went)]
draw_graph(ax, karate_ei, karate_place, range(34), colours=shades, markers=["os"[club] for club in went])
for i, who in ((0, "teacher"), (33, "president")):
    ax.annotate(
        who,
        karate_place[i],
        xytext=(0, 15 if i == 0 else -24),
        textcoords="offset points",
        ha="center",
        fontweight="bold",
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
ax.set_title("The truth: circles went with the teacher, squares with the president")
plotting.show(
    fig,
    alt="The karate club: 34 numbered people and 78 friendships. 17 circles went with the teacher, node 0, mostly on one side of the picture, 17 squares with the president, node 33, on the other. "
    "A few people in the middle, such as 2, 8, 19 and 31, have friends on both sides.",
)

# %% [markdown]
# **Exercise 6.7 · `train_karate`** (4 points · difficulty 4 of 5 · about 25 minutes)
#
# Train a graph convolutional network of two layers on a graph whose nodes have no features, from the labels of a few of its nodes; the others have the label −1. Put it together from your own parts: `gcn_norm` and `scatter`, `message_passing`, or the
# class `GCN` above. It is judged by what it predicts for the nodes without a label: on the karate club, on other graphs, and on a chain for which one layer is too short.
#
# <details><summary>Hint 1: where to start</summary>
#
# The network is $\hat A\,\mathrm{ReLU}(\hat A X W_1)\,W_2$ with $X = I$, so the first product $X W_1$ is $W_1$ itself. 16 hidden units, Adam with a learning rate of 0.05, weight decay 0.005 and 100 steps will do.
#
# </details>
#
# <details><summary>Hint 2: labels of −1</summary>
#
# Run the network on **all** nodes, and compute the cross-entropy on those with `labels >= 0` only. The number of classes is one more than the greatest label.
#
# </details>
#
# <details><summary>Hint 3: seeds</summary>
#
# Either draw the first weights from a `torch.Generator` seeded with `seed`, or call `torch.manual_seed(seed)` before you make the layers: here, and only here, the global generator may be used.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_karate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_karate(ei: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Train a graph convolutional network of two layers on a graph without features, and predict every node.

    Args:
        ei: edges, shape (2, E), int64, each friendship in both directions; E may be 0.
        labels: class of each node, shape (n,), int64; -1 where it is not known.
        seed: of the first weights; the same seed gives the same result.

    Returns:
        Scores of the classes, shape (n, K) with K one more than the greatest label; a node's prediction is the class
        of its greatest score.
    """
    ### BEGIN SOLUTION
    n, classes, known = len(labels), int(labels.max()) + 1, labels >= 0
    gen = torch.Generator().manual_seed(seed)
    weights = [(torch.randn(a, b, generator=gen) * math.sqrt(2 / (a + b))).to(ei.device).requires_grad_() for a, b in ((n, 16), (16, classes))]
    looped, w = gcn_norm(ei, n)

    def spread(h: Tensor) -> Tensor:
        return scatter(w[:, None] * h[looped[0]], looped[1], n, "sum")

    def network() -> Tensor:
        return spread(spread(weights[0]).relu() @ weights[1])

    optimizer = torch.optim.Adam(weights, lr=0.05, weight_decay=5e-3)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(network()[known], labels[known]).backward()
        optimizer.step()
    return network().detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_karate", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_karate", points=4)


### BEGIN HIDDEN TESTS
def trusted_scatter(msg, dst, n, agg):
    return msg.new_zeros(n, msg.shape[1]).scatter_reduce(0, dst[:, None].expand_as(msg), msg, {"max": "amax"}.get(agg, agg), include_self=False)


def trusted_norm(ei, n):
    linked = torch.eye(n)
    linked[ei[0], ei[1]] = 1.0
    root = linked.sum(0).sqrt()
    return linked.nonzero().T, (linked / root / root[:, None])[linked > 0]


check.use(
    edges_to_adj=lambda ei, n: torch.sparse_coo_tensor(ei, torch.ones(ei.shape[1]), (n, n)).to_dense(),
    degree=lambda ei, n, kind: torch.bincount(ei[1 if kind == "in" else 0], minlength=n),
    scatter=trusted_scatter,
    gcn_norm=trusted_norm,
    message_passing=lambda x, ei, phi, gamma, agg: gamma(x, trusted_scatter(phi(x[ei[1]], x[ei[0]]), ei[1], len(x), agg)),
)
### END HIDDEN TESTS

with check("the karate club from two labels", points=1, seconds=60):
    two_labels = torch.full((34,), -1)
    two_labels[0], two_labels[33] = 0, 1
    scores = train_karate(karate_ei, two_labels, 0)
    check.shape(
        scores,
        (34, 2),
        mistakes={
            "The label -1 was counted as a class of its own. It means that the class is not known.": (34, 3),
            "These are classes. Return the scores of all classes.": (34,),
        },
    )
    check.finite(scores)
    right = (torch.as_tensor(scores).argmax(1) == karate_club)[1:33].float().mean()
    check.at_least(right, 0.9, "share of the 32 other people predicted right")


### BEGIN HIDDEN TESTS
def community_graph(sizes, within, between):
    """A graph of communities with a ring in each, in a random numbering, and the community of every node."""
    community = np.repeat(np.arange(len(sizes)), sizes)
    linked = check.rng.random((len(community),) * 2) < np.where(community[:, None] == community, within, between)
    for c in range(len(sizes)):
        members = np.flatnonzero(community == c)
        linked[members, np.roll(members, 1)] = True
    linked |= linked.T
    np.fill_diagonal(linked, False)
    order = check.rng.permutation(len(community))
    return torch.from_numpy(np.stack(np.nonzero(linked[order][:, order]))), torch.from_numpy(community[order])


def some_labels(truth, count):
    """``count`` labels a class, -1 elsewhere."""
    labels = torch.full_like(truth, -1)
    for c in range(int(truth.max()) + 1):
        members = (truth == c).nonzero()[:, 0]
        labels[members[torch.from_numpy(check.rng.permutation(len(members)))[:count]]] = c
    return labels


def score_of(ei, labels, truth, seeds):
    """Mean share of unlabelled nodes predicted right."""
    unknown = labels < 0
    shares = []
    for seed in seeds:
        scores = train_karate(ei, labels, seed)
        check.shape(
            scores,
            (len(labels), int(labels.max()) + 1),
            mistakes={"The label -1 was counted as a class of its own. It means that the class is not known.": (len(labels), int(labels.max()) + 2)},
        )
        check.finite(scores)
        shares.append(float((torch.as_tensor(scores).argmax(1) == truth)[unknown].float().mean()))
    return np.mean(shares)


def karate_told():
    """What a bad result on fresh graphs can come from."""
    lonely = torch.zeros(2, 0, dtype=torch.int64)

    def predicted(ei, labels):
        return torch.as_tensor(train_karate(ei, labels, 1)).argmax(1)

    return {
        "The labelled nodes themselves are predicted wrong: the network was not trained, or not on them.": lambda: (
            predicted(karate_ei, two_labels)[[0, 33]].tolist() != [0, 1]
        ),
        "The result does not depend on the labels that are given. Train on exactly those; the others are not to be known.": lambda: torch.equal(
            predicted(karate_ei, two_labels), predicted(karate_ei, torch.where(two_labels < 0, two_labels, 1 - two_labels))
        ),
        "The result does not depend on the edges. Each layer must collect along them.": lambda: torch.equal(
            predicted(karate_ei, two_labels), predicted(lonely, two_labels)
        ),
    }


with check("the karate club in another numbering, with the classes swapped", points=1, seconds=60):
    order = torch.from_numpy(check.rng.permutation(34))
    swapped = torch.full((34,), -1)
    swapped[order[0]], swapped[order[33]] = 1, 0
    truth = torch.empty_like(karate_club)
    truth[order] = 1 - karate_club
    share = score_of(order[karate_ei], swapped, truth, check.seeds(3))
    check.at_least(share, 0.9, "share of people without a label predicted right, mean of 3 seeds", mistakes=karate_told())

with check("other graphs: three communities, two labels each", points=1, seconds=60):
    for sizes in ((20, 20, 20), (25, 15, 18)):
        edges, truth = community_graph(sizes, 0.35, 0.02)
        share = score_of(edges, some_labels(truth, 2), truth, check.seeds(2))
        check.at_least(share, 0.85, "share of nodes without a label predicted right, mean of 2 seeds", mistakes=karate_told())

with check("a chain of nine with a label at each end: two layers reach far enough", points=0.5, seconds=60):
    chain, ends = both_ways([(i, i + 1) for i in range(8)]), torch.tensor([0, -1, -1, -1, -1, -1, -1, -1, 1])
    shares = []
    for seed in check.seeds(2):
        predicted = torch.as_tensor(train_karate(chain, ends, seed)).argmax(1).tolist()
        shares.append(np.mean([predicted[i] == (i > 4) for i in (1, 2, 3, 5, 6, 7)]))
    check.at_least(
        np.mean(shares),
        0.95,
        "share of the nodes nearer to one end predicted right",
        mistakes={"Nodes three steps from a label are missed: one layer does not reach them. Make it two.": 0.6 < np.mean(shares) < 0.95} | karate_told(),
    )

with check("the same seed gives the same scores", points=0.5, seconds=60):
    (seed,) = check.seeds(1)
    first, second = train_karate(karate_ei, two_labels, seed), train_karate(karate_ei, two_labels, seed)
    check.law(
        np.allclose(torch.as_tensor(first).detach().numpy(), torch.as_tensor(second).detach().numpy(), atol=1e-5),
        "two calls with the same seed gave different scores.\nThe first weights do not come from the seed. Seed the generator at the start of the function.",
    )
    turned = train_karate(karate_ei, torch.where(two_labels < 0, two_labels, 1 - two_labels), seed)
    check.law(not torch.allclose(torch.as_tensor(first), torch.as_tensor(turned)), "other labels give other scores; yours do not depend on the labels")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### What the graph is worth
# Train on two labels and predict the other 32, ten times with other first weights. Then take away every edge: `gcn_norm` leaves each node its loop, and the network becomes a multilayer perceptron that knows a person only by number.
# The third row learns nothing at all. It cuts the club in two by the sign of the **Fiedler vector**, the eigenvector of the second smallest eigenvalue of the Laplacian $D - A$, which graph theory has offered since 1973.


# %% nbgrader={"grade": false, "grade_id": "experiment-karate", "locked": true, "schema_version": 3, "solution": false, "task": false}
def karate_experiment(seed: int, runs: int = 10) -> dict[str, np.ndarray]:
    """Share of the 32 unlabelled people predicted right: ``graph`` and ``no edges``, shape (runs,); ``Fiedler`` of all 34, a number."""
    where = device.pick()
    labels = torch.full((34,), -1)
    labels[0], labels[33] = 0, 1
    lonely = torch.zeros(2, 0, dtype=torch.int64)
    seeds = np.random.default_rng(seed).integers(2**31, size=runs).tolist()
    accuracy: dict[str, list[float]] = {"graph": [], "no edges": []}
    for run_seed in training.progress(seeds, "runs"):
        for name, ei in (("graph", karate_ei), ("no edges", lonely)):
            predicted = train_karate(ei.to(where), labels.to(where), run_seed).argmax(1).cpu()
            accuracy[name].append(float((predicted == karate_club)[1:33].float().mean()))
    _, vectors = np.linalg.eigh(nx.laplacian_matrix(karate, weight=None).toarray().astype(float))
    agreement = np.mean((vectors[:, 1] > 0) == karate_club.numpy().astype(bool))
    return {**{name: np.array(values) for name, values in accuracy.items()}, "Fiedler": np.array(max(agreement, 1 - agreement))}


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-karate-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("gcn_norm", "train_karate"):
    club = karate_experiment(seed=0)
    fig, ax = plotting.subplots(width=5.5, height=3.2)
    plotting.bars(ax, {"GCN, 2 labels": club["graph"], "no edges": club["no edges"], "Fiedler, no labels": club["Fiedler"]}, ylabel="share predicted right")
    ax.axhline(0.5, color="0.3", linestyle=":", linewidth=1.5)
    plotting.show(
        fig,
        alt=f"Share predicted right, bars with lines from least to greatest of ten runs: GCN from two labels {club['graph'].mean():.3f}, "
        f"the same without edges {club['no edges'].mean():.3f} (chance 0.5), Fiedler vector without labels {float(club['Fiedler']):.3f}.",
    )
    show(
        Claim("GCN from 2 labels, mean of 10", lecture="a node's neighbours are its context (CS909)", measured=club["graph"].mean(), at_least=0.9),
        Claim("the same without edges, mean of 10", lecture="not in the lecture", measured=club["no edges"].mean(), at_least=0.4, at_most=0.6),
        Claim("sign of the Fiedler vector, no labels", lecture="not in the lecture", measured=float(club["Fiedler"])),
    )

# %% [markdown]
# The graph is worth everything here: without it, the network can only guess. But most of that worth was in the graph before any learning: a vector from linear algebra comes within one person of the network, with no label at all. A baseline that costs nothing is worth a row in every table.

# %% [markdown]
# ## 8  Too many rounds
#
# A mean of neighbours makes neighbours alike. Repeat it, and everyone ends up alike: **over-smoothing** (Li et al., 2018). For $\hat A$ this is linear algebra. Of the features, what lies along the eigenvector of eigenvalue 1 stays; it is proportional to $\sqrt{\tilde d_i}$ and knows only
# degrees. All the rest shrinks in each round, in the long run by the second greatest absolute eigenvalue, $\lvert\lambda_2\rvert$.
#
# It is often told as the whole reason why deep graph networks fail. Three measurements on a graph of four communities, with five labels each and noisy features, from 1 to 32 rounds:
# - a **GCN** with one layer a round;
# - the same propagation with **no weights between** the rounds; the features are then scaled to unit variance, and a *linear* classifier is trained on them (as SGC, Wu et al., 2019). What it can use is still there;
# - **APPNP** (Gasteiger et al., 2019): a perceptron first, then rounds that mix a tenth of its output back in, $z \leftarrow 0.9\,\hat A z + 0.1\,h$.

# %% nbgrader={"grade": false, "grade_id": "experiment-smoothing", "locked": true, "schema_version": 3, "solution": false, "task": false}
DEPTHS = (1, 2, 4, 8, 16, 32)


def propagation(ei: Tensor, n: int) -> Tensor:
    """The matrix of one GCN round, row by target; for graphs small enough to write it down."""
    ei, w = gcn_norm(ei, n)
    return torch.zeros(n, n, device=w.device).index_put((ei[1], ei[0]), w)


def shrinking_experiment(seed: int, rounds: int = 60) -> dict[str, np.ndarray]:
    """Karate club, random features: length of what is not along the first eigenvector after 0, 1, ... rounds, shape (rounds + 1,), and the predicted factor a round."""
    step = propagation(karate_ei, 34).double()
    values, vectors = torch.linalg.eigh((step + step.T) / 2)
    first = vectors[:, -1:]
    x = torch.randn(34, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    lengths = []
    for _ in range(rounds + 1):
        lengths.append(float((x - first @ (first.T @ x)).norm() / x.norm()))
        x = step @ x
    return {"rest": np.array(lengths), "factor": np.array(float(values[:-1].abs().max()))}


def smoothing_experiment(seed: int, size: int = 50, epochs: int = 100) -> dict[str, dict[int, float]]:
    """Four communities of ``size`` nodes, five labels each: network -> rounds -> share of the other nodes predicted right."""
    where, gen = device.pick(), torch.Generator().manual_seed(seed)
    truth = torch.arange(4).repeat_interleave(size)
    n = len(truth)
    degrees = 10 / size, 1 / size  # probability of an edge within and between communities: about 13 friends each, at any size
    upper = torch.triu(torch.rand(n, n, generator=gen) < torch.where(truth[:, None] == truth, *degrees), diagonal=1)
    step = propagation(both_ways(upper.nonzero().tolist()), n).to(where)
    features = (F.one_hot(truth, 4).float() @ torch.randn(4, 16, generator=gen) + 3 * torch.randn(n, 16, generator=gen)).to(where)
    known = torch.cat([c * size + torch.randperm(size, generator=gen)[:5] for c in range(4)])
    unknown = torch.ones(n, dtype=torch.bool).index_fill(0, known, False)

    def train(sizes: Sequence[int], x: Tensor, forward: Callable[[Tensor, list[tuple[Tensor, Tensor]]], Tensor]) -> float:
        layers = [
            ((torch.randn(a, b, generator=gen) * math.sqrt(2 / (a + b))).to(where).requires_grad_(), torch.zeros(b, device=where, requires_grad=True))
            for a, b in itertools.pairwise(sizes)
        ]
        optimizer = torch.optim.Adam(itertools.chain(*layers), lr=0.01, weight_decay=5e-4)
        for _ in range(epochs):
            optimizer.zero_grad()
            F.cross_entropy(forward(x, layers)[known], truth[known].to(where)).backward()
            optimizer.step()
        return float((forward(x, layers).argmax(1).cpu() == truth)[unknown].float().mean())

    def perceptron(x: Tensor, layers: list[tuple[Tensor, Tensor]], spread: Callable[[Tensor], Tensor] = lambda h: h) -> Tensor:
        for k, (W, b) in enumerate(layers):
            x = spread(x @ W) + b
            x = x.relu() if k < len(layers) - 1 else x
        return x

    def gcn(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        return perceptron(x, layers, lambda h: step @ h)

    accuracy: dict[str, dict[int, float]] = {"GCN": {}, "rounds, then linear": {}, "APPNP": {}}
    for depth in training.progress(DEPTHS, "rounds"):

        def appnp(x: Tensor, layers: list[tuple[Tensor, Tensor]], depth: int = depth) -> Tensor:
            h = z = perceptron(x, layers)
            for _ in range(depth):
                z = 0.9 * step @ z + 0.1 * h
            return z

        smooth = torch.linalg.matrix_power(step, depth) @ features
        accuracy["GCN"][depth] = train([16, *[32] * (depth - 1), 4], features, gcn)
        accuracy["rounds, then linear"][depth] = train([16, 4], (smooth - smooth.mean(0)) / smooth.std(0), perceptron)
        accuracy["APPNP"][depth] = train([16, 32, 4], features, appnp)
    return accuracy


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-smoothing-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("gcn_norm"):
    shrinking, depth_accuracy = shrinking_experiment(seed=0), smoothing_experiment(seed=0)
    rest, factor = shrinking["rest"], float(shrinking["factor"])
    fig, (left, right) = plotting.subplots(2, width=10.5, height=3.8)
    plotting.curves(
        left,
        {"measured": rest, f"factor {factor:.3f} a round": rest[20] * factor ** (np.arange(61.0) - 20)},
        x=range(61),
        xlabel="rounds",
        ylabel="what differs from $\\sqrt{d}$",
        log=True,
    )
    left.set_title("Karate club, random features, no weights")
    for k, (name, by_depth) in enumerate(depth_accuracy.items()):
        right.plot(DEPTHS, list(by_depth.values()), label=name, marker=plotting.MARKERS[k])
    right.axhline(0.25, color="0.3", linestyle=":", linewidth=1.5)
    right.set(
        xscale="log", xticks=DEPTHS, xticklabels=DEPTHS, xlabel="rounds", ylabel="share predicted right", title="Four communities (chance 0.25)", ylim=(0, 1.03)
    )
    right.minorticks_off()
    right.legend(loc="lower left")
    described = "; ".join(
        f"{name}: " + ", ".join(f"{depth} rounds {value:.2f}" for depth, value in by_depth.items()) for name, by_depth in depth_accuracy.items()
    )
    plotting.show(
        fig,
        alt=f"Left: after 60 rounds on the karate club, {rest[60]:.1e} of the features is not along the first eigenvector; on a logarithmic axis it falls along a straight line of factor {factor:.3f} a round. "
        f"Right: share predicted right on four communities, chance being 0.25. {described}.",
    )
    show(
        Claim(
            "shrinking a round after 40 rounds, over |λ₂|",
            lecture="over-smoothing goes with |λ₂|ᵏ (Li et al.)",
            measured=(rest[60] / rest[40]) ** (1 / 20) / factor,
            at_least=0.99,
            at_most=1.01,
        ),
        Claim("GCN, 2 rounds", lecture="not in the lecture", measured=depth_accuracy["GCN"][2], at_least=0.9),
        Claim("GCN, 16 rounds (chance 0.25)", lecture="several layers see more hops (CS909)", measured=depth_accuracy["GCN"][16], at_most=0.4),
        Claim(
            "16 rounds without weights, then linear",
            lecture="smoothing has wiped the classes out (folklore)",
            measured=depth_accuracy["rounds, then linear"][16],
            at_least=0.6,
        ),
        Claim("APPNP, 32 rounds", lecture="not in the lecture", measured=depth_accuracy["APPNP"][32], at_least=0.8),
    )

# %% [markdown]
# So the folklore is half right. Smoothing is real, and its speed is $\lvert\lambda_2\rvert$. But after 16 rounds the classes were still there for a *linear* classifier that sees rescaled features, where the GCN of 16 layers does no better than guessing: it fails to **train**.
# The differences between nodes reach it too small, and so do its gradients. After 32 rounds the linear one begins to lose them, too. Keeping a share of the start, as APPNP does, helps with both.

# %% [markdown]
# ## 9  One round at a time
#
# Give the teacher the number +1, the president −1, all others 0, and let everyone take in their friends' numbers, round after round, with your `message_passing` and nothing learnt. The sign of a
# number says where its owner is expected to go; the colour is stronger the greater it is, compared with the greatest; the *spread* is the greatest number minus the least. Watch what the first three rounds do, and what is left after thirty.
# Then leave out the loops, and change how messages are collected.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-karate", "locked": true, "schema_version": 3, "solution": false, "task": false}
def spread_opinions(rounds: int, loops: bool, collect: str) -> tuple[Figure, str]:
    """Opinions on the karate club after some rounds of messages, from +1 at the teacher and -1 at the president."""
    own = torch.arange(34).expand(2, -1)
    ei = torch.cat([karate_ei, own], dim=1) if loops else karate_ei
    opinion = torch.zeros(34, 1, dtype=torch.float64)
    opinion[0], opinion[33] = 1.0, -1.0
    for _ in range(rounds):
        opinion = message_passing(opinion, ei, lambda x_i, x_j: x_j, lambda x, m: m, collect)
    spread = float(opinion.max() - opinion.min())
    values = (opinion / opinion.abs().max()).flatten().numpy()
    leaning = np.where(np.abs(values) < 1e-12, 0, np.sign(values)).astype(int)
    right = int((leaning == 1 - 2 * karate_club.numpy()).sum())
    split = {name: int((leaning == sign).sum()) for name, sign in (("circle", 1), ("square", -1), ("diamond", 0))}

    fig, ax = plotting.subplots(width=5.6, height=4.4)
    strong = [plotting.COLOURS[1] if value < 0 else plotting.COLOURS[0] for value in values]
    colours = [tint(colour, 0.08 + 0.82 * abs(value) ** 0.5) if sign else (1, 1, 1) for colour, value, sign in zip(strong, values, leaning, strict=True)]
    draw_graph(ax, karate_ei, karate_place, range(34), colours=colours, markers=[{1: "o", -1: "s", 0: "D"}[sign] for sign in leaning], size=230)
    ax.set_title(f"{right} of 34 on the right side; spread {spread:.2g}")
    alt = (
        f"Karate club: {split['circle']} circles lean to the teacher, {split['square']} squares to the president, {split['diamond']} diamonds are undecided; "
        f"{right} of 34 lean to the side they took. The numbers spread over {spread:.2g}."
    )
    return fig, alt


widgets.explore(
    spread_opinions,
    sliders={"rounds": (0, 40, 1, 1), "loops": True, "collect": ["mean", "sum", "max"]},
    twin=[{"rounds": 0}, {"rounds": 1}, {"rounds": 3}, {"rounds": 30}, {"rounds": 3, "loops": False}, {"rounds": 6, "collect": "sum"}],
    title="Messages on the karate club (circle: teacher, square: president, diamond: undecided)",
)

# %% [markdown]
# ## 10  Written question
#
# The slide "Are Transformers (secretly) GNNs?" takes $\gamma(a, b) = b$ and the message $\phi(x_i, x_j, e_{j,i}) = a(x_i, x_j)\, v(x_j)$, where $a$ is the softmax weight of attention.
#
# (a) Show that this $\phi$ is not a valid pairwise message. (2 points)
#
# (b) Repair it: give a $\phi$, an aggregate and a $\gamma$ with which one layer of message passing *is* attention. (1 point)
#
# (c) Say in one sentence why the repaired layer cannot tell decalin from bicyclopentyl, whatever its weights, if all atoms start with equal features. (1 point)
#
# Five to ten sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The softmax weight is $a(x_i, x_j) = s_{ij} / \sum_{k \to i} s_{ik}$ with $s_{ij} = \exp(q_i \cdot k_j / \sqrt{d_k})$. Its denominator contains every neighbour $k$ of $i$. Change $x_k$ of a third node and $a$ changes, though $x_i$, $x_j$ and $e_{j,i}$ are as before.
# A function of the two ends of an edge cannot do that, so $\phi$ as written is none: it would need to know the neighbourhood before the aggregate has collected it.
#
# Repair: send the pair $\phi(x_i, x_j) = (s_{ij}\, v_j,\; s_{ij})$, which depends on the two ends only. Aggregate with a sum: node $i$ gets $(N_i, Z_i) = (\sum_j s_{ij} v_j, \sum_j s_{ij})$. Update with $\gamma(x_i, (N, Z)) = N / Z$. That is attention; the slide's $\gamma(a, b) = b$ has to go.
#
# The repaired layer is message passing, so it never tells apart what Weisfeiler and Leman's colouring does not, and that gives both molecules 2, 4 and 4 atoms of its three colours. (With equal features a weighted mean even gives all atoms of both molecules the same row.)
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# 1 point: the weight contains a sum over all neighbours (the softmax denominator).
# 1 point: therefore the value on an edge changes with a third node, shown in symbols or by an example; or: it cannot be computed before aggregating.
# 1 point: a working repair with all three parts: message (s v, s), sum, quotient in the update. Two rounds (first the denominators, then the values) are as good. Half a point if the division is there but its place is unclear.
# 1 point: bounded by 1-WL, or: equal features stay equal under a weighted mean, so both molecules give the same. Half a point for "both have the same degrees" alone.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - A graph is a list of edges. **Scatter** collects messages at targets; a node without any gets zeros.
# - A layer is **message, aggregate, update**. It is equivariant to renumbering, and $k$ layers see $k$ hops.
# - A **GCN** adds loops and divides by the roots of both degrees, so that nothing explodes: the eigenvalues lie in $(-1, 1]$.
# - **Attention is message passing** if each edge sends (value times weight, weight) and the update divides. A normalised weight is no message (erratum E19).
# - With equal features nothing of this kind tells apart what **1-WL colouring** does not. A sum can reach that limit; a mean or a maximum cannot. Better features go beyond it.
# - From two labels a GCN predicts 31 of 32 people, a perceptron guesses, and the Fiedler vector, without any label, does nearly as well.
# - Rounds smooth by $\lvert\lambda_2\rvert$ each; deep GCNs fail at that, and at being trained.
#
# **Next:** networks that learn without labels, by rebuilding what goes in, in 07-autoencoder.
