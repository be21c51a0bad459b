# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Attention and the transformer
#
# Attention replaces every token by a weighted mean of tokens, and lets the tokens themselves decide the weights. This notebook builds it up from a kernel smoother to
# the transformer block, all in a few lines that you write. With the same parts you then train a small GPT, which learns logic as a next-token table, and a vision transformer,
# which reads digits. At the end you measure what attention pays for knowing so little about images.
#
# **You will be able to**
# - read attention as a kernel smoother, and say which number its scores must be divided by, and why;
# - mask what a token may not see, and train on the next token without leaking it;
# - write multi-head attention, layer norm and position codes that agree with torch's own;
# - say what attention knows about order (nothing), and give it what is missing;
# - cut images into tokens, assemble a vision transformer and train it;
# - tell from numbers when a transformer is the wrong tool.
#
# | | |
# |---|---|
# | Time and points | about 320 minutes, 36 points |
# | of which | exercises: 230 minutes, 32 points; written question: 20 minutes, 4 points; reading and experiments: 70 minutes |
# | Running time | about 40 seconds on one CPU core, once everything is filled in |
# | You need | PyTorch tensors and `nn.Module`; softmax and cross-entropy; residual connections help (04-resnet) |
#
# **Lecture sections it follows.** F. Minhas, *CS909 Data Mining* (Warwick), "Transformers", from "Background" on kernels to "Another way of thinking about GPTs".
# The lecture that closes the first set of lecture notes: "Vision Transformer (ViT, 2021)", "Vision Transformer (ViT) vs CNN". Y. M. Asano, *Deep Learning*, MLx Fundamentals 2024, "The current scaling of models".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
# Everything is torch. Compute in the dtype and on the device that you are given; change no argument; draw no random numbers except where a `seed` is given.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from collections.abc import Callable

import matplotlib.figure
import numpy as np
import torch
import torch.nn.functional as F
from scipy import special, stats
from scipy.spatial import distance
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dlcourse_utils import checks, claims, data, device, plotting, training, widgets
from dlcourse_utils.claims import Claim

torch.set_num_threads(1)  # these models are tiny: more threads only get in each other's way

# %% [markdown]
# ## 1  Attention looks things up by similarity
#
# Say you know the values $v_1, \dots, v_n$ at the places $x_1, \dots, x_n$, the **keys**, and want a value at a new place $x_q$, the **query**. A fair guess is the mean of the known values, where near keys count more:
#
# $$ y_q = \sum_{k} a_{qk}\, v_k, \qquad a_{qk} = \frac{\kappa(x_q, x_k)}{\sum_{k'} \kappa(x_q, x_{k'})}, \qquad \kappa(x_q, x_k) = \exp\!\big(-\theta^2\, \lVert x_q - x_k \rVert^2\big). $$
#
# The weights $a_{qk}$ of one query are positive and sum to 1 **over the keys**. So this is a softmax over $k$ of the scores $-\theta^2 \lVert x_q - x_k\rVert^2$. Large $\theta$ listens to the nearest key only, small $\theta$ to all alike.
# A **mask** says which keys a query may look at; the sums then run over those. CS909 calls this non-learnable attention ("Non-learnable attention"), and everything that follows only changes $\kappa$ and $v$.
#
# That lecture says that with $v_k = x_k$ this is "similar, in concept, to locally linear embeddings" (erratum E50). It is older and simpler: the formula is the **Nadaraya–Watson kernel smoother** (1964), and with $v_k = x_k$
# one step of **mean shift**. Locally linear embedding solves for the weights that rebuild $x_q$ best, negative ones included; attention's weights follow from distances alone and rebuild nothing. You will see the difference as a number.

# %% [markdown]
# **Exercise 5.1 · `kernel_attention`** (4 points · difficulty 2 of 5 · about 20 minutes)
#
# Write it for all queries at once. `mask` is `True` where a query may look at a key; a query that may look at nothing gets 0. It must also work where all keys are far away: at a distance of 1000 every $\kappa$ is 0 in floating point, and 0/0 is no weight.
#
# <details><summary>Hint 1: where to start</summary>
#
# A table of scores with one row a query and one column a key. `torch.cdist` gives distances (not their squares); or subtract with broadcasting, `xq[:, None] - xk`, and sum the squares over the last axis.
#
# </details>
#
# <details><summary>Hint 2: far keys and masks</summary>
#
# `softmax` subtracts the largest score first, so the weights of far keys come out right: give it the scores, not their exponentials. A score of $-\infty$ has weight 0. A row with nothing but $-\infty$ gives NaN; put zeros there.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "kernel_attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kernel_attention(xq: Tensor, xk: Tensor, v: Tensor, theta: float, mask: Tensor | None = None) -> Tensor:
    """Attention with a fixed Gaussian kernel: the Nadaraya-Watson smoother.

    Args:
        xq: queries, shape (m, d).
        xk: keys, shape (n, d).
        v: values, one a key, shape (n, e).
        theta: inverse width of the kernel exp(-theta**2 * squared distance), at least 0.
        mask: bool, shape (m, n); True where the query may look at the key. None: everywhere.

    Returns:
        Shape (m, e), dtype of ``v``. A query that may look at no key gets 0.
    """
    ### BEGIN SOLUTION
    scores = -(theta**2) * (xq[:, None] - xk).square().sum(-1)
    if mask is None:
        return scores.softmax(-1) @ v
    weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
    return weights.masked_fill(~mask, 0.0) @ v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-kernel_attention", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("kernel_attention", points=4)

with check("two queries by hand", points=1):
    places, values = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [10.0]])
    check.close(
        kernel_attention(torch.tensor([[0.0], [1.0]]), places, values, 0.5),
        [[2.68941], [5.0]],
        mistakes={
            "theta was not squared.": [[1.19203], [5.0]],
            "The distance was not squared.": [[3.77541], [5.0]],
            "Far keys weigh more than near ones: the minus sign is missing.": [[7.31059], [5.0]],
            "The weights of a query do not sum to 1. Divide by their sum over the keys.": [[3.67879], [7.78801]],
            "The weights sum to 1 over the queries. Each query's weights over the keys must: that is the last axis.": [[3.20821], [6.79179]],
            "theta was used as a width. Here it is the inverse of one: the exponent is theta squared times the squared distance.": [[0.00335], [5.0]],
        },
    )


### BEGIN HIDDEN TESTS
def smoother(xq, xk, v, theta, *, power=2, axis=1):
    """The same by scipy, in float64."""
    scores = -(float(theta) ** power) * distance.cdist(xq.double().numpy(), xk.double().numpy(), "sqeuclidean")
    return special.softmax(scores, axis=axis) @ v.double().numpy()


with check("fresh points of other sizes", points=1):
    for m, n, d, e, dtype in ((1, 1, 1, 1, torch.float64), (3, 5, 2, 4, torch.float64), (4, 4, 4, 4, torch.float32), (6, 2, 3, 1, torch.float32)):
        xq, xk, v = (torch.randn(shape, generator=check.gen, dtype=dtype) for shape in ((m, d), (n, d), (n, e)))
        v = v.mT.contiguous().mT  # as a transpose: not contiguous
        theta = float(check.rng.uniform(0.3, 0.9))
        with check.no_side_effects(xq, xk, v):
            got = kernel_attention(xq, xk, v, theta)
        check.dtype(got, dtype)
        check.close(
            got,
            smoother(xq, xk, v, theta),
            rtol=1e-4 if dtype == torch.float32 else 1e-9,
            mistakes={
                "theta was not squared.": lambda: smoother(xq, xk, v, theta, power=1),
                "The weights sum to 1 over the queries. Each query's weights over the keys must: that is the last axis.": lambda: smoother(
                    xq, xk, v, theta, axis=0
                ),
                "The distance was not squared.": lambda: special.softmax(-(theta**2) * distance.cdist(xq.numpy(), xk.numpy()), axis=1) @ v.numpy(),
            },
        )
    xq.requires_grad_(), xk.requires_grad_(), v.requires_grad_()
    got = kernel_attention(xq, xk, v, 0.7)
    check.law(got.requires_grad, "gradients flow back to the inputs; yours were cut off (detach, .data, or numpy)")
    for gradient in torch.autograd.grad(got.square().sum(), (xq, xk, v)):
        check.finite(gradient)

with check("far away, and with a narrow kernel", points=1):
    for offset, theta in ((1e3, 1.0), (0.0, 1e3), (1e3, 30.0)):
        xk = torch.randn(6, 2, generator=check.gen, dtype=torch.float64)
        xq = xk[:4] * 1.01 + offset
        v = torch.randn(6, 3, generator=check.gen, dtype=torch.float64)
        got = kernel_attention(xq, xk, v, theta)
        check.law(
            torch.isfinite(got).all(),
            f"finite values for distances near {offset:g} and theta = {theta:g}; got {got.flatten()[0].item()}",
            mistakes={"Every kernel value is 0 in floating point, and 0/0 is no weight. Take the softmax of the scores; it subtracts the largest first.": True},
        )
        check.close(
            got,
            smoother(xq, xk, v, theta),
            atol=1e-4,
            mistakes={"Far from all keys the result is 0. The weights still sum to 1: the nearest key gets most of them.": np.zeros((4, 3))},
        )

with check("masked keys count for nothing", points=1):
    xq, xk, v = (torch.randn(shape, generator=check.gen, dtype=torch.float64) for shape in ((5, 2), (7, 2), (7, 3)))
    mask = torch.as_tensor(check.rng.random((5, 7)) < 0.5)
    mask[0], mask[1], mask[2] = True, False, torch.arange(7) == 4
    with check.no_side_effects(xq, xk, v, mask):
        got = kernel_attention(xq, xk, v, 0.8, mask)
    check.law(
        not torch.isnan(got[1]).any(),
        "a query that may look at nothing gets 0; got nan",
        mistakes={"A softmax over nothing but minus infinity is NaN. Put zeros into such a row.": True},
    )
    check.close(
        got[1],
        np.zeros(3),
        atol=1e-12,
        mistakes={
            "The query that may look at nothing got the mean of all values. It gets 0.": lambda: v.mean(0),
            "The mask was ignored, or is the wrong way round: True is where a query may look.": lambda: kernel_attention(xq[1:2], xk, v, 0.8)[0],
        },
    )
    check.law(got[0].abs().max() > 0, "a query that may look at every key gets a mean of their values; yours is 0")
    for i in (0, 2, 3, 4):
        if mask[i].any():
            alone = kernel_attention(xq[i : i + 1], xk[mask[i]], v[mask[i]], 0.8)[0]
            check.close(
                got[i],
                alone,
                mistakes={
                    "The mask is the wrong way round: True is where a query may look.": lambda i=i: kernel_attention(
                        xq[i : i + 1], xk[~mask[i]], v[~mask[i]], 0.8
                    )[0],
                    "The mask came after the softmax, so the weights no longer sum to 1. Mask the scores.": lambda i=i: kernel_attention(
                        xq[i : i + 1], xk, v * mask[i][:, None], 0.8
                    )[0],
                    "The mask was ignored.": lambda i=i: kernel_attention(xq[i : i + 1], xk, v, 0.8)[0],
                },
            )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-smoother", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("kernel_attention"):
    rng = np.random.default_rng(3)
    places = torch.as_tensor(np.sort(rng.uniform(0, 6, 25)))[:, None]
    heights = torch.sin(places) + 0.2 * torch.as_tensor(rng.normal(size=(25, 1)))
    grid = torch.linspace(0, 6, 200, dtype=torch.float64)[:, None]
    fig, (smooth, rebuild) = plotting.subplots(2, width=10, height=3.8)
    smooth.scatter(places, heights, s=28, color="0.45", label="keys and their values")
    for theta, style, colour in ((0.3, "--", plotting.COLOURS[1]), (2.0, "-", plotting.COLOURS[0]), (30.0, ":", plotting.COLOURS[2])):
        smooth.plot(grid, kernel_attention(grid, places, heights, theta), linestyle=style, color=colour, label=f"θ = {theta:g}")
    smooth.set(xlabel="query $x_q$", ylabel="attention's answer", title="θ decides how far a query listens")
    smooth.legend(ncols=2, fontsize=9)
    angle = torch.linspace(0.1, 1.4, 9, dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin()], dim=1)
    query, others = arc[4:5], arc[[0, 1, 2, 3, 5, 6, 7, 8]]
    shifted = kernel_attention(query, others, others, 2.0)
    system = np.vstack([others.numpy().T, np.ones(8)])
    lle_weights = np.linalg.lstsq(system, np.append(query.numpy(), 1.0), rcond=None)[0]
    lle = lle_weights @ others.numpy()
    misses = float((shifted - query).norm()), float(np.linalg.norm(lle - query.numpy()))
    rebuild.scatter(*others.T, s=28, color="0.45", label="keys = values")
    rebuild.scatter(*query.T, s=70, marker="s", color=plotting.COLOURS[0], label="query")
    rebuild.scatter(*shifted.T, s=70, marker="^", color=plotting.COLOURS[1], label=f"attention, misses by {misses[0]:.2g}")
    rebuild.scatter(*lle, s=110, marker="x", color="black", label=f"LLE weights, misses by {misses[1]:.2f}", zorder=3)
    rebuild.set(aspect="equal", xlim=(-0.9, 1.2), ylim=(-0.1, 1.2), title="Attention pulls inwards, LLE rebuilds")
    rebuild.legend(fontsize=9, loc="lower left")
    plotting.show(
        fig,
        alt="Left: 25 noisy samples of a sine and your smoother through them. With theta 0.3 it is nearly flat, with 2 it follows the sine, with 30 it is a staircase from sample to sample. "
        f"Right: nine points on an arc. Rebuilt from the other eight, the middle one is missed by {misses[0]:.2g} with attention's weights, inside the arc, and by {misses[1]:.2f} with weights solved for as in locally linear embedding.",
    )

# %% [markdown]
# ## 2  Learned attention, and the number under the root
#
# Now let the model learn what is similar. Each token $x \in \mathbb{R}^d$ is mapped by three learned matrices to a query $q = xW_q$, a key $k = xW_k$ and a value $v = xW_v$. The score is a dot product, scaled:
#
# $$ \operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\Big(\frac{QK^\top}{\sqrt{d_k}}\Big)\, V \qquad\text{(Vaswani and others, 2017)}. $$
#
# The softmax runs along each row, over the keys. As queries and keys come from different matrices, $q_i \cdot k_j \ne q_j \cdot k_i$: as a function of two tokens the kernel $\exp(q \cdot k/\sqrt{d_k})$ is asymmetric, so it is no Mercer kernel.
#
# **Why the root?** If the entries of $q$ and $k$ are independent with mean 0 and variance 1, then $q \cdot k$ is a sum of $d_k$ terms of variance 1. It spreads like $\sqrt{d_k}$.
# Without the root a wide softmax starts *saturated*: one weight near 1, the others near 0, and hardly any gradient. With it the spread is 1 at every width.
#
# **Which $d$?** CS909 writes $\sqrt d$ where $d$ is the width of a token ("Learnable Attention as (asymmetric, non-Mercer) kernel transformations", erratum E51). It must be $d_k$, the width of the **queries and keys**: the sum has $d_k$ terms.
# With one head the two are the same. With $h$ heads of width $d_k = d/h$, dividing by $\sqrt d$ makes every score $\sqrt h$ times too small, and the heads start near a plain mean.
# One slide on ("Attention gives transformations") the sum in the denominator runs over $k'$, but its terms print $k$ (erratum E51). Taken at its word, all $n$ terms equal the numerator and every weight is $1/n$, whatever the tokens say.

# %% nbgrader={"grade": false, "grade_id": "figure-scale", "locked": true, "schema_version": 3, "solution": false, "task": false}
rng = np.random.default_rng(0)
widths = [4, 16, 64, 256, 1024]
spread, largest = [], {"no scaling": [], "divided by √dₖ": [], "divided by √d, d = 8 dₖ": []}
for width in widths:
    queries, keys = rng.normal(size=(400, 1, width)), rng.normal(size=(400, 16, width))
    dots = (queries * keys).sum(axis=2)
    spread.append(dots.std())
    for found, divisor in zip(largest.values(), (1.0, width**0.5, (8 * width) ** 0.5), strict=True):
        found.append(special.softmax(dots / divisor, axis=1).max(axis=1).mean())
fig, (left, right) = plotting.subplots(2, width=10, height=3.6)
plotting.curves(
    left, {"measured": spread, "$\\sqrt{d_k}$": np.sqrt(widths)}, x=widths, xlabel="width $d_k$", ylabel="standard deviation of $q\\cdot k$", log=True
)
plotting.curves(right, largest, x=widths, xlabel="width $d_k$", ylabel="largest of 16 weights, mean")
left.set(xscale="log")
right.set(xscale="log", ylim=(0, 1.05))
right.axhline(1 / 16, color="0.6", linestyle="-", linewidth=1)
right.annotate("plain mean, 1/16", (4, 1 / 16 - 0.045), fontsize=9)
plotting.show(
    fig,
    alt=f"Left: the standard deviation of the dot product of two random vectors grows from {spread[0]:.2g} at width 4 to {spread[-1]:.3g} at width 1024, on the line of the square root. "
    f"Right: the largest of 16 attention weights. Unscaled it rises from {largest['no scaling'][0]:.2g} to {largest['no scaling'][-1]:.2g}; divided by the root of the keys' width it stays near "
    f"{largest['divided by √dₖ'][-1]:.2g}; divided by the root of eight times that width it stays near {largest['divided by √d, d = 8 dₖ'][-1]:.2g}, close to a plain mean of 1/16.",
)

# %% [markdown]
# **Exercise 5.2 · `sdpa`** (5 points · difficulty 3 of 5 · about 25 minutes)
#
# Write scaled dot-product attention for any number of leading batch axes. `mask` is `True` where a query may look; a query that may look at nothing gets 0. `F.scaled_dot_product_attention` is off limits: yours will be held against it.
#
# <details><summary>Hint 1: where to start</summary>
#
# Write it for one query and two keys on paper; then find the matrix product that does all queries at once. `k.mT` transposes the last two axes and leaves the batch axes alone.
#
# </details>
#
# <details><summary>Hint 2: the mask</summary>
#
# As in `kernel_attention`: a weight of exactly zero after the softmax needs a score of $-\infty$ before it. Multiplying a score by 0 gives it the weight of $e^0 = 1$, which is not nothing.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "sdpa", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1).

    Args:
        q: queries, shape (..., m, d_k).
        k: keys, shape (..., n, d_k).
        v: values, shape (..., n, d_v).
        mask: bool, broadcastable to (..., m, n); True where the query may look at the key. None: everywhere.

    Returns:
        Shape (..., m, d_v), dtype of ``v``. A query that may look at no key gets 0.
    """
    ### BEGIN SOLUTION
    scores = q @ k.mT / math.sqrt(k.shape[-1])
    if mask is None:
        return scores.softmax(-1) @ v
    weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
    return weights.masked_fill(~mask, 0.0) @ v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-sdpa", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("sdpa", points=5)
READY_MADE = ("torch.nn.functional.scaled_dot_product_attention", "torch.nn.functional.multi_head_attention_forward")
### BEGIN HIDDEN TESTS
torch_sdpa = F.scaled_dot_product_attention  # the real one: the door is closed to the answer only
check.use(kernel_attention=lambda xq, xk, v, theta, mask=None: torch_sdpa(2 * theta**2 * xq, xk, v, attn_mask=-(theta**2) * xk.square().sum(1), scale=1.0))
### END HIDDEN TESTS

with check("two queries, three keys", points=1, off_limits=READY_MADE):
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, 0.0]])
    k = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    v = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    check.close(
        sdpa(q, k, v),
        [[1.0, 0.63582], [0.31952, 1.0]],
        mistakes={
            "The scores are not scaled. Divide them by the square root of the keys' width.": [[1.0, 0.31952], [0.05301, 1.0]],
            "The scores are divided by the keys' width. Divide by its square root.": [[1.0, 0.82221], [0.63582, 1.0]],
            "The scores are divided by the root of the values' width, or of the number of queries. Take the width of the keys.": [
                [1.0, 0.49074],
                [0.15857, 1.0],
            ],
            "The scores are divided by the root of the number of keys. Take the width of the keys.": [[1.0, 0.57993], [0.24858, 1.0]],
            "The softmax runs over the queries. Each query's weights over the keys (last axis) must sum to one.": [[1.73106, 1.1192], [1.26894, 1.8808]],
        },
    )


### BEGIN HIDDEN TESTS
def drawn(*shapes, dtype=torch.float64):
    return [torch.randn(shape, generator=check.gen, dtype=dtype) for shape in shapes]


with check("agrees with torch on fresh inputs", points=2, off_limits=READY_MADE):
    for batch, m, n, d_k, d_v, dtype in (
        ((), 1, 1, 1, 1, torch.float64),
        ((), 4, 7, 3, 5, torch.float64),
        ((2,), 5, 5, 5, 5, torch.float32),
        ((2, 3), 6, 2, 4, 9, torch.float64),
        ((1, 2, 2), 3, 8, 16, 1, torch.float32),
    ):
        q, k, v = drawn((*batch, m, d_k), (*batch, n, d_k), (*batch, d_v, n), dtype=dtype)
        v = v.mT  # not contiguous
        with check.no_side_effects(q, k, v):
            got = sdpa(q, k, v)
        check.shape(got, (*batch, m, d_v))
        check.dtype(got, dtype)
        check.close(
            got,
            torch_sdpa(q, k, v),
            mistakes={
                "The scores are not scaled. Divide them by the square root of the keys' width.": lambda: torch_sdpa(q, k, v, scale=1.0),
                "The scores are divided by the keys' width. Divide by its square root.": lambda: torch_sdpa(q, k, v, scale=1 / d_k),
                "The scores are divided by the root of the values' width. Take the width of the keys.": lambda: torch_sdpa(q, k, v, scale=d_v**-0.5),
                "The scores are divided by the root of the number of keys. Take the width of the keys.": lambda: torch_sdpa(q, k, v, scale=n**-0.5),
                "The softmax runs over the queries. Each query's weights over the keys (last axis) must sum to one.": lambda: (
                    (q @ k.mT / d_k**0.5).softmax(-2) @ v
                ),
            },
        )

with check("masked keys count for nothing", points=1, off_limits=READY_MADE):
    # Laws only: what sdpa says of the keys that are left is the yardstick, so that a wrong scale costs nothing here.
    q, k, v = drawn((2, 4, 3), (2, 6, 3), (2, 6, 5))
    mask = torch.as_tensor(check.rng.random((4, 6)) < 0.5)
    mask[0], mask[1, 2], mask[2] = True, True, torch.arange(6) < 3
    for shape in ((4, 6), (1, 4, 6), (2, 4, 6)):
        given = mask.expand(shape)
        with check.no_side_effects(q, k, v, given):
            got = sdpa(q, k, v, given)
        for i in range(3):
            kept, dropped = mask[i], ~mask[i]
            check.close(
                got[:, i],
                sdpa(q[:, i : i + 1], k[:, kept], v[:, kept])[:, 0],
                mistakes={
                    "The mask is the wrong way round: True is where a query may look.": lambda i=i, dropped=dropped: sdpa(
                        q[:, i : i + 1], k[:, dropped], v[:, dropped]
                    )[:, 0],
                    "The mask was ignored.": lambda i=i: sdpa(q[:, i : i + 1], k, v)[:, 0],
                    "The mask came after the softmax, so the weights no longer sum to 1. Mask the scores.": lambda i=i, kept=kept: sdpa(
                        q[:, i : i + 1], k, v * kept[:, None]
                    )[:, 0],
                    "The scores were multiplied by the mask. A score of 0 still has a weight; put minus infinity there.": lambda i=i, kept=kept: sdpa(
                        q[:, i : i + 1], k * kept[:, None], v
                    )[:, 0],
                },
            )
    check.law(got[:, 0].abs().max() > 0, "a query that may look at every key gets a mean of their values; yours is 0")
    mask = mask.clone()
    mask[3] = False
    got = sdpa(q, k, v, mask)
    check.law(
        (got[:, 3] == 0).all(),
        f"a query that may look at nothing gets 0; got {got[0, 3, 0].item():.4g}",
        mistakes={"A softmax over nothing but minus infinity is NaN. Put zeros into such a row.": lambda: torch.isnan(got[:, 3]).any()},
    )

with check("large scores stay finite, and gradients flow", points=1, off_limits=READY_MADE):
    for dtype in (torch.float32, torch.float64):
        q, k, v = drawn((5, 3), (7, 3), (7, 2), dtype=dtype)
        got = sdpa(1e3 * q, 1e3 * k, v)
        check.law(
            torch.isfinite(got).all(),
            "scores of a million give finite outputs; yours are not",
            mistakes={"The exponential overflowed. Use softmax, or subtract the largest score first.": True},
        )
        check.close(got, v[(q @ k.mT).argmax(1)], atol=1e-4)
        mask = torch.ones(5, 7, dtype=torch.bool)
        mask[0] = False
        leaves = [part.clone().requires_grad_() for part in (q, k, v)]
        out = sdpa(*leaves, mask)
        check.law(out.requires_grad, "gradients flow back to q, k and v; yours were cut off (detach, .data, or numpy)")
        for name, gradient in zip(("q", "k", "v"), torch.autograd.grad(out.square().sum(), leaves), strict=True):
            check.finite(gradient)
            check.law((gradient != 0).any(), f"the gradient for {name} is not all zeros")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 3  Do not look ahead
#
# A language model reads $t_1, t_2, \dots$ and gives, at every place, a probability for the token that comes **next**. All places are trained at once, in one pass. For that, place $i$ must not see the tokens after it: the mask of a
# *causal* model lets query $i$ look at keys $1, \dots, i$, itself included.
#
# With logits $z_i \in \mathbb{R}^V$ at place $i$ the loss is the mean cross-entropy of each logit row with the token **one place later**:
#
# $$ \mathcal{L} = -\frac{1}{T-1} \sum_{i=1}^{T-1} \log \operatorname{softmax}(z_i)_{t_{i+1}}. $$
#
# The last row has no target and the first token is never one. In a batch, short sequences are filled up with a pad token; a target that is padding counts neither above nor below the line.
#
# CS909 ("How is an attention layer used in Chat-GPT?") asks to maximise the probability of the target "while minimizing the probability of all other (non-target) tokens". That is one demand, not two: probabilities sum to 1.
# And its slide takes one next-word task at a time; thanks to the mask one pass does them all.

# %% [markdown]
# **Exercise 5.3a · `causal_mask`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# The mask that lets each place look at itself and at what came before, in the convention of `sdpa`.
#
# <details><summary>Hint 1: where to start</summary>
#
# Row $i$ belongs to query $i$. Write the 3 × 3 case on paper: the first row has one `True`.
#
# </details>
#
# <details><summary>Hint 2: which function</summary>
#
# `torch.tril` keeps the lower triangle, with the diagonal. The result must be bool.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "causal_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_mask(n: int) -> Tensor:
    """Which keys each query of a sequence may look at: itself and those before it.

    Args:
        n: length of the sequence, at least 1.

    Returns:
        Shape (n, n), bool: ``[i, j]`` is True where query i may look at key j.
    """
    ### BEGIN SOLUTION
    return torch.ones(n, n, dtype=torch.bool).tril()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-causal_mask", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("causal_mask", points=1)

with check("three tokens", points=0.5):
    check.equal(
        causal_mask(3),
        [[True, False, False], [True, True, False], [True, True, True]],
        mistakes={
            "The triangle is the upper one: each token sees only what comes after it.": [[True, True, True], [False, True, True], [False, False, True]],
            "A token does not see itself, and the first one sees nothing at all. Keep the diagonal.": [
                [False, False, False],
                [True, False, False],
                [True, True, False],
            ],
            "The mask is the wrong way round: True is where a query may look.": [[False, True, True], [False, False, True], [False, False, False]],
            "Everything is allowed.": [[True, True, True], [True, True, True], [True, True, True]],
            "This is a mask to add to the scores, 0 and minus infinity. Here a mask says True or False: True where a query may look.": [
                [0, -math.inf, -math.inf],
                [0, 0, -math.inf],
                [0, 0, 0],
            ],
        },
    )

### BEGIN HIDDEN TESTS
with check("other lengths, as bool", points=0.5):
    for n in (1, 2, 8):
        with check.no_side_effects():
            mask = causal_mask(n)
        check.shape(mask, (n, n))
        check.law(
            isinstance(mask, Tensor) and mask.dtype == torch.bool,
            f"a bool tensor is expected, True where a query may look; got {getattr(mask, 'dtype', type(mask).__name__)}",
            mistakes={"This is a mask to add to the scores, 0 and minus infinity. Here a mask says True or False.": lambda: torch.isinf(mask).any() or n == 1},
        )
        check.equal(mask, [[j <= i for j in range(n)] for i in range(n)])
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 5.3b · `lm_loss`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# The next-token loss of a batch. `F.cross_entropy` is allowed; the point is what you give it.
#
# <details><summary>Hint 1: where to start</summary>
#
# Which logits have a target, and which tokens are one? Cut one place from the end of the first and one from the beginning of the second; now they fit.
#
# </details>
#
# <details><summary>Hint 2: padding</summary>
#
# `F.cross_entropy` wants (rows, classes) and (rows,), so flatten batch and time together. It has an argument that leaves out targets of one value, also from the mean.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "lm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def lm_loss(logits: Tensor, tokens: Tensor, pad: int = -1) -> Tensor:
    """Mean cross-entropy of predicting each next token.

    Args:
        logits: shape (B, T, V); row i of a sequence is about token i + 1.
        tokens: int64, shape (B, T), T at least 2; values 0 to V - 1, or ``pad``.
        pad: token that fills up short sequences. As a target it counts for nothing. At least one target is no
            padding.

    Returns:
        A scalar: the mean over all targets that are not ``pad``.
    """
    ### BEGIN SOLUTION
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=pad)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-lm_loss", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("lm_loss", points=2)

with check("three tokens by hand", points=1):
    logits = torch.tensor([[[1.0, 3.0], [4.0, 1.0], [1.0, 9.0]]]).log()  # probabilities (1/4, 3/4), (4/5, 1/5), (1/10, 9/10)
    check.close(
        lm_loss(logits, torch.tensor([[0, 1, 1]])),
        0.948560,
        mistakes={
            "Each row was held against its own token. It predicts the next one: shift by one place.": 1.033698,
            "The shift goes the wrong way: row i + 1 was held against token i.": 0.164252,
            "Rows and tokens were cut at the same end, so nothing is shifted. Leave out the last row and the first token.": 1.497866,
            "This is the sum over the targets. Take their mean.": 1.897120,
            "The sum was divided by T. There are only T - 1 targets.": 0.632373,
            "The sign is wrong: this is the log-likelihood.": -0.948560,
        },
    )


### BEGIN HIDDEN TESTS
def next_token_loss(logits, tokens, pad, count_pads=False):
    """The same, token by token in numpy."""
    log_p, each, targets = special.log_softmax(logits.detach().double().numpy(), axis=-1), [], 0
    for row, sequence in zip(log_p, tokens.tolist(), strict=True):
        for place, target in zip(row, sequence[1:], strict=False):
            targets += 1
            each += [-place[target]] if target != pad else []
    return sum(each) / (targets if count_pads else len(each))


with check("fresh sequences", points=0.5):
    for B, T, V, dtype in ((1, 2, 2, torch.float64), (3, 5, 7, torch.float64), (4, 4, 4, torch.float32)):
        logits = torch.randn(T, B, V, generator=check.gen, dtype=dtype).transpose(0, 1) * 3  # not contiguous
        tokens = torch.randint(V, (B, T), generator=check.gen)
        with check.no_side_effects(logits, tokens):
            got = lm_loss(logits, tokens)
        check.shape(got, ())
        check.close(got, next_token_loss(logits, tokens, -1), rtol=1e-5)
    logits = (1e3 * logits).requires_grad_()
    got = lm_loss(logits, tokens)
    check.finite(got)
    check.law(got.requires_grad, "gradients flow back to the logits; yours were cut off")
    (gradient,) = torch.autograd.grad(got, logits)
    check.law(
        (gradient[:, -1] == 0).all() and (gradient[:, :-1] != 0).any(),
        "the last row of logits has no target, so it gets no gradient, and the others do",
    )

with check("padding counts for nothing", points=0.5):
    for pad in (-1, 0):
        logits = torch.randn(3, 6, 5, generator=check.gen, dtype=torch.float64)
        tokens = torch.randint(1, 5, (3, 6), generator=check.gen)
        tokens[0, 4:], tokens[1, 2:] = pad, pad
        # A yardstick that only needs the shift: the loss of each unpadded sequence, put together by the number of targets.
        parts = [(lm_loss(logits[i : i + 1, :n], tokens[i : i + 1, :n]), n - 1) for i, n in enumerate((4, 2, 6))]
        check.law(len({float(loss) for loss, _ in parts}) == 3, "three random sequences have three losses; yours have the same")
        check.close(
            lm_loss(logits, tokens, pad),
            sum(float(loss) * n for loss, n in parts) / sum(n for _, n in parts),
            mistakes={
                "Padding was counted in the mean: divide by the number of targets that are no padding.": lambda pad=pad: next_token_loss(
                    logits, tokens, pad, True
                ),
                "Padding was trained on as if it were a token.": lambda pad=pad: next_token_loss(logits, tokens % 5, -1),
                "Each sequence was averaged by itself first. Take one mean over all targets of the batch.": lambda parts=parts: (
                    sum(float(loss) for loss, _ in parts) / 3
                ),
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  Many heads
#
# One softmax can look in one way. **Multi-head attention** splits the $d$ numbers of each projected token into $h$ groups of $d_k = d/h$, runs attention in each group by itself, puts the results side by side again, and mixes them with a last matrix:
#
# $$ \operatorname{MHA}(X) = \big[\,\operatorname{head}_1, \dots, \operatorname{head}_h\,\big]\, W_o + b_o, \qquad \operatorname{head}_i = \operatorname{attention}(Q_i, K_i, V_i). $$
#
# Head $i$ gets the *consecutive* features $i\,d_k, \dots, (i+1)\,d_k - 1$ of $XW_q + b_q$, and so on. In code a head is one more batch axis: (B, n, d) → (B, n, h, $d_k$) → (B, h, n, $d_k$), attention, and the same way back.
# A `view` straight to (B, h, n, $d_k$) has the right shape and mixes tokens with features.
#
# It costs no more parameters than one head: four matrices of $d \times d$ and four biases, $4d(d+1)$.

# %% [markdown]
# **Exercise 5.4 · `mha`** (5 points · difficulty 4 of 5 · about 30 minutes)
#
# Write multi-head self-attention as the module `MHA`, on top of your `sdpa`. The names of its four linear layers are part of the contract: your weights and those of `nn.MultiheadAttention`, which is off limits, will be set equal and must give equal outputs.
#
# <details><summary>Hint 1: where to start</summary>
#
# `x.unflatten(-1, (h, d_k))` splits the last axis, `transpose` swaps two axes, `flatten(-2)` joins the last two. Print the shape after each step.
#
# </details>
#
# <details><summary>Hint 2: right shape, wrong numbers</summary>
#
# After `sdpa` you have (B, h, n, d_k). The heads belong *beside* each other in each token, so the axis of heads must go back behind the axis of tokens before you flatten. Which root `sdpa` divides by takes care of itself: it sees the width of one head.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mha", "locked": false, "schema_version": 3, "solution": true, "task": false}
class MHA(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    ``wq``, ``wk``, ``wv`` and ``wo`` are ``nn.Linear(d, d)`` with biases; head i works on the consecutive features
    i * d/h to (i + 1) * d/h - 1 of the first three's outputs.
    """

    def __init__(self, d: int, h: int) -> None:
        """Make the layers.

        Args:
            d: width of a token.
            h: number of heads.

        Raises:
            ValueError: ``d`` is no multiple of ``h``.
        """
        ### BEGIN SOLUTION
        super().__init__()
        if d % h:
            raise ValueError(f"{h} heads cannot share {d} features evenly: d must be a multiple of h.")
        self.h = h
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d, d) for _ in range(4))
        ### END SOLUTION

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let the tokens of each sequence attend to each other.

        Args:
            x: shape (B, n, d).
            mask: bool, shape (n, n); True where the query (row) may look at the key (column). None: everywhere.

        Returns:
            Shape (B, n, d).
        """
        ### BEGIN SOLUTION
        q, k, v = (layer(x).unflatten(-1, (self.h, -1)).transpose(1, 2) for layer in (self.wq, self.wk, self.wv))
        return self.wo(sdpa(q, k, v, mask).transpose(1, 2).flatten(2))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-mha", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("mha", points=5)
READY_MADE_HEADS = ("torch.nn.MultiheadAttention.__init__",)
### BEGIN HIDDEN TESTS
check.use(sdpa=lambda q, k, v, mask=None: F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
### END HIDDEN TESTS

with check("shapes, and a width that heads can share", points=1, off_limits=READY_MADE_HEADS):
    for d, h in ((6, 3), (8, 1), (4, 4)):
        with torch.random.fork_rng():
            layer = MHA(d, h)
        check.shape(layer(torch.ones(2, 5, d)), (2, 5, d))
        check.law(
            sum(p.numel() for p in layer.parameters()) == 4 * d * (d + 1),
            f"four linear layers of {d} to {d} with biases have {4 * d * (d + 1)} parameters; yours have {sum(p.numel() for p in layer.parameters())}",
            mistakes={"The biases are missing.": sum(p.numel() for p in layer.parameters()) == 4 * d * d},
        )
    check.raises(ValueError, lambda: MHA(6, 4))


### BEGIN HIDDEN TESTS
def pair(d, h, dtype=torch.float64):
    """torch's multi-head attention and one set of weights: {"wq": (W, b), ...}."""
    with torch.random.fork_rng():
        torch.manual_seed(int(check.rng.integers(2**31)))
        theirs = nn.MultiheadAttention(d, h, batch_first=True, dtype=dtype)
        nn.init.normal_(theirs.in_proj_bias)
        nn.init.normal_(theirs.out_proj.bias)
    weights, biases = theirs.in_proj_weight.detach().chunk(3), theirs.in_proj_bias.detach().chunk(3)
    parts = dict(zip(("wq", "wk", "wv"), zip(weights, biases, strict=True), strict=True))
    return theirs, {**parts, "wo": (theirs.out_proj.weight.detach(), theirs.out_proj.bias.detach())}


def given(layer, parts, dtype=torch.float64):
    """The layer with these weights."""
    layer = layer.to(dtype)
    layer.load_state_dict({f"{name}.{kind}": value for name, (W, b) in parts.items() for kind, value in (("weight", W), ("bias", b))}, strict=False)
    return layer


def slipped(x, parts, h, slip):
    """Multi-head attention with one slip, by torch's functions."""
    q, k, v = (F.linear(x, *parts[name]) for name in ("wq", "wk", "wv"))
    B, n, d = x.shape
    if slip == "view":
        q, k, v = (t.reshape(B, h, n, d // h) for t in (q, k, v))
    elif slip == "interleaved":
        q, k, v = (t.reshape(B, n, d // h, h).permute(0, 3, 1, 2) for t in (q, k, v))
    else:
        q, k, v = (t.reshape(B, n, h, d // h).transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, scale=d**-0.5 if slip == "root" else None)
    out = (
        out.reshape(B, n, d)
        if slip in ("view", "join")
        else out.permute(0, 2, 3, 1).reshape(B, n, d)
        if slip == "interleaved"
        else out.transpose(1, 2).reshape(B, n, d)
    )
    return out if slip == "wo" else F.linear(out, *parts["wo"])


SLIPS = {
    "view": "The heads were cut with one view, which mixes tokens with features. Split the last axis, then move the axis of heads before the tokens.",
    "join": "The heads were put together with a view alone, which mixes tokens with features. Move the axis of heads behind the tokens first.",
    "interleaved": "The heads take every h-th feature. Head i takes consecutive ones.",
    "root": "The scores are divided by the root of d. Each head is only d/h wide: that is the width under the root.",
    "wo": "The last layer, wo, is missing.",
}
ready = {
    (d, h, dtype): pair(d, h, dtype)
    for d, h, dtype in ((12, 3, torch.float64), (8, 2, torch.float32), (6, 6, torch.float64), (5, 1, torch.float64), (16, 4, torch.float64))
}

with check("agrees with torch on the same weights", points=2, off_limits=READY_MADE_HEADS):
    for (d, h, dtype), (theirs, parts) in ready.items():
        with torch.random.fork_rng():
            layer = given(MHA(d, h), parts, dtype)
        for B, n in ((1, 1), (2, 5), (3, h)):
            x = torch.randn(d, n, B, generator=check.gen, dtype=dtype).permute(2, 1, 0)  # not contiguous
            with check.no_side_effects(x):
                got = layer(x)
            check.shape(got, (B, n, d))
            check.close(
                got,
                theirs(x, x, x, need_weights=False)[0],
                mistakes={message: lambda slip=slip, x=x, parts=parts, h=h: slipped(x, parts, h, slip) for slip, message in SLIPS.items()},
            )

with check("what a mask forbids has no influence", points=1, off_limits=READY_MADE_HEADS):
    with torch.random.fork_rng():
        layer = given(MHA(12, 3), ready[12, 3, torch.float64][1])
    x = torch.randn(2, 6, 12, generator=check.gen, dtype=torch.float64)
    changed = x.clone()
    changed[:, 4:] += 1.0
    causal = torch.arange(6)[:, None] >= torch.arange(6)
    check.law(
        torch.allclose(layer(x, causal)[:, :4], layer(changed, causal)[:, :4]),
        "with a causal mask the first four outputs do not depend on the tokens after them; yours do",
        mistakes={"The mask is not passed on to sdpa.": lambda: torch.equal(layer(x, causal), layer(x))},
    )
    check.law(not torch.allclose(layer(x, causal)[:, 4:], layer(changed, causal)[:, 4:]), "the last two outputs do depend on their own tokens; yours do not")
    changed = x.clone()
    changed[:, 0] += 1.0
    check.law(not torch.allclose(layer(x, causal)[:, 4:], layer(changed, causal)[:, 4:]), "the last two outputs do depend on the first token; yours do not")
    check.close(layer(x, torch.ones(6, 6, dtype=torch.bool)), layer(x))

with check("every layer learns", points=1, off_limits=READY_MADE_HEADS):
    with torch.random.fork_rng():
        layer, other = MHA(8, 2), MHA(8, 2)
    x = torch.randn(2, 5, 8, generator=check.gen).requires_grad_()
    parameters = dict(layer.named_parameters())
    check.law(len(parameters) == 8, f"the module has eight parameters, a weight and a bias in each layer; it has {sorted(parameters)}")
    out = layer(x).square().sum()
    for name, gradient in zip([*parameters, "x"], torch.autograd.grad(out, [*parameters.values(), x], allow_unused=True), strict=True):
        check.law(
            gradient is not None and torch.isfinite(gradient).all() and (name.endswith("wk.bias") or (gradient != 0).any()),
            f"{name} gets a gradient; yours is None, zero or not finite",
        )
    check.law(
        not torch.equal(layer.wq.weight, layer.wk.weight) and not torch.equal(layer.wq.weight, other.wq.weight), "the layers start with weights of their own"
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### What attention does not know: order
#
# Nothing in these formulas says *where* a token stands. Shuffle the tokens and the outputs are shuffled likewise, otherwise unchanged: attention is **permutation-equivariant**. A mean over the tokens is then **invariant**: a bag of words.
# Order must come in from outside, by a position code added to each token (next section) or, weakly, by a causal mask. The next cell shows it, and settles one claim on the way.
#
# A **class token** is one more, learned token put before the others; after some blocks its output goes to the classifier. CS909 ("Key Components") says that class tokens "enable global sharing of information across examples" (erratum E18).
# Its *parameters* are shared across examples, like all parameters. The *information* it collects comes from the tokens of its own example: no attention here crosses from one example to another. Watch the last two rows.


# %% nbgrader={"grade": false, "grade_id": "experiment-order", "locked": true, "schema_version": 3, "solution": false, "task": false}
def order_experiment(seed: int) -> dict[str, float]:
    """How far outputs move, at most, when tokens are shuffled or changed; float64, 9 tokens of width 16, 4 heads."""
    generator = torch.Generator().manual_seed(seed)
    training.seed_everything(seed)
    layer = MHA(16, 4).double()
    x, code, class_token = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((1, 9, 16), (9, 16), (1, 1, 16)))
    order = torch.randperm(9, generator=generator)

    def moved(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max())

    with torch.no_grad():
        pair = torch.cat([class_token.expand(2, 1, 16), torch.cat([x, x.flip(2)])], dim=1)
        own, other = pair.clone(), pair.clone()
        own[0, 3] += 1.0
        other[1, 3] += 1.0
        return {
            "equivariance": moved(layer(x[:, order]), layer(x)[:, order]),
            "invariance": moved(layer(x[:, order]).mean(1), layer(x).mean(1)),
            "with positions": moved(layer(x[:, order] + code), layer(x + code)[:, order]),
            "causal": moved(layer(x[:, order], causal_mask(9)), layer(x, causal_mask(9))[:, order]),
            "class token, own": moved(layer(own)[0, 0], layer(pair)[0, 0]),
            "class token, other": moved(layer(other)[0, 0], layer(pair)[0, 0]),
        }


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-order-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("sdpa", "mha", "causal_mask"):
    measured = order_experiment(seed=0)
    claims.show(
        Claim("shuffle the tokens: outputs beyond the same shuffle", "compares every token with every other (CS909)", measured["equivariance"], at_most=1e-12),
        Claim("the same, mean over the tokens", "not in the lecture", measured["invariance"], at_most=1e-12),
        Claim("shuffle them under a position code", "“Positional Embedding: Where is it?” (CS909)", measured["with positions"], at_least=0.01),
        Claim("shuffle them under a causal mask", "not in the lecture", measured["causal"], at_least=0.01),
        Claim("class token's output when a token of its example changes", "not in the lecture", measured["class token, own"], at_least=0.001),
        Claim(
            "class token's output when another example changes", "“sharing of information across examples” (CS909)", measured["class token, other"], at_most=0
        ),
    )

# %% [markdown]
# ## 5  Layer norm, and a code for places
#
# **Layer norm** standardises each token by itself, over its $d$ features, and then gives every feature a learned gain and bias:
#
# $$ \operatorname{LN}(x) = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} \odot g + b, \qquad \mu = \frac1d \sum_j x_j, \quad \sigma^2 = \frac1d \sum_j (x_j - \mu)^2. $$
#
# Batch norm takes its mean and variance over the batch, so one example's output depends on the others. Layer norm does not, needs no running averages, and does the same in training and in use.

# %% [markdown]
# **Exercise 5.5a · `layer_norm`** (2 points · difficulty 2 of 5 · about 10 minutes)
#
# For any number of leading axes. `F.layer_norm` and its kin are off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Mean and variance over the last axis, with `keepdim=True`, so that they line up with `x` again.
#
# </details>
#
# <details><summary>Hint 2: nearly right</summary>
#
# torch's `var` divides by $d - 1$ unless told otherwise; the formula divides by $d$. And $\varepsilon$ stands under the root.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "layer_norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def layer_norm(x: Tensor, g: Tensor, b: Tensor, eps: float = 1e-5) -> Tensor:
    """Standardise every token over its features, then scale and shift (Ba, Kiros and Hinton 2016).

    Args:
        x: tokens, shape (..., d).
        g: gain, shape (d,).
        b: bias, shape (d,).
        eps: added to the variance, which divides by d.

    Returns:
        Like ``x``.
    """
    ### BEGIN SOLUTION
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * g + b
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-layer_norm", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("layer_norm", points=2)
READY_MADE_NORMS = (
    "torch.nn.functional.layer_norm",
    "torch.layer_norm",
    "torch.native_layer_norm",
    "torch.nn.functional.group_norm",
    "torch.nn.functional.batch_norm",
)
### BEGIN HIDDEN TESTS
torch_layer_norm = torch.layer_norm  # the real one: the door is closed to the answer only


def numpy_norm(x, g, b, eps, *, axis=-1, ddof=0, outside=False):
    """Layer norm with numpy's mean and var, for telling slips apart."""
    x, g, b = (t.detach().double().numpy() for t in (x, g, b))
    variance = x.var(axis=axis, ddof=ddof, keepdims=True)
    return (x - x.mean(axis=axis, keepdims=True)) / (np.sqrt(variance) + eps if outside else np.sqrt(variance + eps)) * g + b


### END HIDDEN TESTS

with check("two tokens by hand", points=1, off_limits=READY_MADE_NORMS):
    check.close(
        layer_norm(torch.tensor([[1.0, 3.0, 5.0, 7.0], [0.0, 0.0, 0.0, 8.0]]), torch.tensor([1.0, 2.0, 1.0, 1.0]), torch.tensor([0.0, 0.0, 1.0, 0.0]), eps=4.0),
        [[-1.0, -0.66667, 1.33333, 1.0], [-0.5, -1.0, 0.5, 1.5]],
        mistakes={
            "The variance divides by d - 1. Divide by d.": [[-0.91856, -0.61237, 1.30619, 0.91856], [-0.44721, -0.89443, 0.55279, 1.34164]],
            "eps was added to the standard deviation. Add it to the variance, under the root.": [
                [-0.48107, -0.32071, 1.16036, 0.48107],
                [-0.26795, -0.5359, 0.73205, 0.80385],
            ],
            "Mean and variance were taken over the tokens. Take them over the features of each token.": [
                [0.24254, 1.2, 1.78087, -0.24254],
                [-0.24254, -1.2, 0.21913, 0.24254],
            ],
            "Mean and variance were taken over everything. Each token has its own.": [[-0.54433, 0.0, 1.54433, 1.08866], [-0.8165, -1.63299, 0.1835, 1.36083]],
            "Gain and bias are missing.": [[-1.0, -0.33333, 0.33333, 1.0], [-0.5, -0.5, -0.5, 1.5]],
            "The root is missing: divide by the standard deviation.": [[-0.33333, -0.22222, 1.11111, 0.33333], [-0.125, -0.25, 0.875, 0.375]],
            "eps was ignored.": [[-1.34164, -0.89443, 1.44721, 1.34164], [-0.57735, -1.1547, 0.42265, 1.73205]],
        },
    )

### BEGIN HIDDEN TESTS
with check("agrees with torch on fresh inputs", points=1, off_limits=READY_MADE_NORMS):
    for shape, dtype, eps in (
        ((1, 2), torch.float64, 1e-5),
        ((4, 4), torch.float64, 0.3),
        ((2, 3, 5), torch.float32, 1e-5),
        ((2, 1, 3, 8), torch.float64, 1e-5),
        ((7,), torch.float64, 1e-3),
    ):
        x = (3 * torch.randn(shape[::-1], generator=check.gen, dtype=dtype) + 1).permute(*range(len(shape))[::-1])  # not contiguous
        g, b = (torch.randn(shape[-1], generator=check.gen, dtype=dtype) for _ in range(2))
        with check.no_side_effects(x, g, b):
            got = layer_norm(x, g, b, eps)
        check.dtype(got, dtype)
        check.close(
            got,
            torch_layer_norm(x, shape[-1:], g, b, eps),
            mistakes={
                "The variance divides by d - 1. Divide by d.": lambda: numpy_norm(x, g, b, eps, ddof=1),
                "eps was added to the standard deviation. Add it to the variance, under the root.": lambda: numpy_norm(x, g, b, eps, outside=True),
                "Mean and variance were taken over the first axis. Take them over the features of each token.": lambda: numpy_norm(x, g, b, eps, axis=0),
                "Mean and variance were taken over everything. Each token has its own.": lambda: numpy_norm(x, g, b, eps, axis=None),
            },
        )
    flat = torch.ones(2, 6, dtype=torch.float64)
    g, b = torch.rand(6, generator=check.gen, dtype=torch.float64), torch.rand(6, generator=check.gen, dtype=torch.float64)
    check.close(layer_norm(flat, g, b), b.expand(2, 6))
    leaves = [t.clone().requires_grad_() for t in (torch.randn(3, 6, generator=check.gen, dtype=torch.float64), g, b)]
    upstream = torch.randn(3, 6, generator=check.gen, dtype=torch.float64)
    out = layer_norm(*leaves)
    check.law(out.requires_grad, "gradients flow back; yours were cut off")
    for got, want in zip(
        torch.autograd.grad((out * upstream).sum(), leaves),
        torch.autograd.grad((torch_layer_norm(leaves[0], (6,), *leaves[1:]) * upstream).sum(), leaves),
        strict=True,
    ):
        check.close(
            got, want, atol=1e-8, mistakes={"Mean and variance were cut off from the graph. They depend on x, and so the gradient goes through them too.": got}
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# The **sinusoidal position code** gives place $t = 0, 1, 2, \dots$ the vector of
#
# $$ \sin(\omega_i t), \quad \cos(\omega_i t), \qquad \omega_i = 10000^{-2i/d}, \quad i = 0, \dots, \tfrac d2 - 1. $$
#
# It is a clock with $d/2$ hands, from one turn every 6 places to one turn every 60 000. A step of $k$ places turns every hand by a fixed angle, so $\mathrm{PE}(t + k)$ is a fixed *linear* function of $\mathrm{PE}(t)$, which a head can learn.
# In CS909's words a token is then $x_i = \phi(f_i, t_i)$, what it is and where it is; adding the two codes is one choice of $\phi$.

# %% [markdown]
# **Exercise 5.5b · `sinusoid`** (1 point · difficulty 2 of 5 · about 10 minutes)
#
# Two layouts are in use: sine and cosine of one frequency side by side, or all sines first and then all cosines. Either is accepted.
#
# <details><summary>Hint 1: where to start</summary>
#
# A column of places times a row of frequencies gives all the angles, shape (n, d/2).
#
# </details>
#
# <details><summary>Hint 2: the frequencies</summary>
#
# The exponent runs over $0, -2/d, -4/d, \dots$ The first place is 0, whose code is only zeros and ones.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "sinusoid", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sinusoid(n: int, d: int) -> Tensor:
    """Sinusoidal position codes (Vaswani et al. 2017, section 3.5).

    Args:
        n: number of places, 0 to n - 1.
        d: width of a code, even.

    Returns:
        Shape (n, d), float32: sin and cos of t * 10000**(-2i/d), side by side for each i or all sines first.
    """
    ### BEGIN SOLUTION
    angles = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-sinusoid", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("sinusoid", points=1)

with check("three places, width 4", points=0.5):
    code = sinusoid(3, 4)
    check.shape(code, (3, 4))
    all_sines_first = code[0, 1] == 0
    columns = [0, 2, 1, 3] if all_sines_first else [0, 1, 2, 3]
    check.close(
        code[:, columns],
        [[0.0, 1.0, 0.0, 1.0], [0.841471, 0.540302, 0.01, 0.99995], [0.909297, -0.416147, 0.019999, 0.9998]],
        atol=1e-5,
        mistakes={
            "The places start at 1. The first one is 0.": [
                [0.841471, 0.540302, 0.01, 0.99995],
                [0.909297, -0.416147, 0.019999, 0.9998],
                [0.14112, -0.989992, 0.029996, 0.99955],
            ],
            "The exponent is -i/d. It is -2i/d: the second frequency of a code of width 4 is 1/100.": [
                [0.0, 1.0, 0.0, 1.0],
                [0.841471, 0.540302, 0.099833, 0.995004],
                [0.909297, -0.416147, 0.198669, 0.980067],
            ],
            "The exponent of the second frequency is too large: i already runs to d/2 - 1.": [
                [0.0, 1.0, 0.0, 1.0],
                [0.841471, 0.540302, 0.0001, 1.0],
                [0.909297, -0.416147, 0.0002, 1.0],
            ],
        },
    )

### BEGIN HIDDEN TESTS
with check("other lengths and widths", points=0.5):
    for n, d in ((1, 2), (5, 8), (12, 6), (40, 32)):
        with check.no_side_effects():
            code = sinusoid(n, d)
        check.shape(code, (n, d))
        check.dtype(code, torch.float32)
        turns = np.exp(1j * np.outer(np.arange(n), [1 / 10000 ** (2 * i / d) for i in range(d // 2)]))  # e^{iωt}
        side_by_side = np.stack([turns.imag, turns.real], axis=-1).reshape(n, d)
        sines_first = np.hstack([turns.imag, turns.real])
        layout = min((side_by_side, sines_first), key=lambda want, code=code: np.abs(code.detach().numpy() - want).max())
        check.close(
            code,
            layout,
            atol=2e-5,
            mistakes={
                "The exponent is -i/d. It is -2i/d.": lambda n=n, d=d: np.stack(
                    [f(np.outer(np.arange(n), 10000.0 ** (-np.arange(d // 2) / d))) for f in (np.sin, np.cos)], axis=-1
                ).reshape(n, d),
            },
        )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-positions", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("sinusoid"):
    code = sinusoid(48, 32)
    fig, (bands, similar) = plotting.subplots(2, width=10, height=3.6)
    bands.imshow(code, aspect="auto")
    bands.set(xlabel="feature", ylabel="place $t$", title="The code of 48 places, width 32")
    bands.grid(visible=False)
    dots = code @ code.mT
    near, far = float(dots[20, 21]), float(dots[20, 40])
    plotting.curves(similar, {"place 5": dots[5], "place 20": dots[20]}, x=np.arange(48), xlabel="place $t$", ylabel="dot product with the code of $t$")
    similar.set_title("Near places have similar codes")
    plotting.show(
        fig,
        alt="Left: a heat map of the position codes, one row a place. The first features change from row to row, the last hardly at all. Right: the dot product of the codes of places 5 and 20 "
        f"with all others peaks at 16 at the place itself and falls off on both sides, in small waves: from place 20 it is {near:.3g} one place away and {far:.3g} twenty places away.",
    )

# %% [markdown]
# ## 6  From images to tokens
#
# A **vision transformer** (Dosovitskiy and others, 2021) cuts an image into patches of $p \times p$ pixels, row by row, and takes each patch, with all its channels, as one token of $C p^2$ numbers. A 224 × 224 image in patches of 16 gives 196 tokens of 768 numbers.
# From there on nothing knows that there was an image, except what the position codes say.

# %% [markdown]
# **Exercise 5.6a · `patchify`** (2 points · difficulty 3 of 5 · about 15 minutes)
#
# Cut images into patches. Patches go row by row, from the top left; the numbers of one patch go channel by channel, and in a channel row by row. What does not divide evenly is an error, not a crop.
#
# <details><summary>Hint 1: where to start</summary>
#
# No loop is needed. Reshape (N, C, H, W) so that each of H and W becomes two axes: which patch, and where in it. That gives six axes.
#
# </details>
#
# <details><summary>Hint 2: the order of six axes</summary>
#
# Then `permute` them to (N, patch row, patch column, C, row in patch, column in patch), and reshape to three. A reshape straight from four axes to three never moves a number, so it cannot be right.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "patchify", "locked": false, "schema_version": 3, "solution": true, "task": false}
def patchify(x: Tensor, p: int) -> Tensor:
    """Cut images into square patches.

    Args:
        x: images, shape (N, C, H, W).
        p: side of a patch in pixels.

    Returns:
        Shape (N, (H/p) * (W/p), C*p*p): patches row by row, each as its channels, rows and columns in this order.

    Raises:
        ValueError: ``p`` does not divide H and W.
    """
    ### BEGIN SOLUTION
    N, C, H, W = x.shape
    if H % p or W % p:
        raise ValueError(f"Images of {H}×{W} pixels cannot be cut into patches of {p}×{p}.")
    return x.reshape(N, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).reshape(N, -1, C * p * p)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-patchify", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("patchify", points=2)

with check("a 4 × 4 image", points=1):
    check.equal(
        patchify(torch.arange(16.0).reshape(1, 1, 4, 4), 2),
        [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0], [8.0, 9.0, 12.0, 13.0], [10.0, 11.0, 14.0, 15.0]]],
        mistakes={
            "These are strips, not squares: reshape alone moves nothing. Permute between two reshapes.": [
                [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0], [12.0, 13.0, 14.0, 15.0]]
            ],
            "The patches go column by column. They go row by row.": [
                [[0.0, 1.0, 4.0, 5.0], [8.0, 9.0, 12.0, 13.0], [2.0, 3.0, 6.0, 7.0], [10.0, 11.0, 14.0, 15.0]]
            ],
            "Each patch is transposed.": [[[0.0, 4.0, 1.0, 5.0], [2.0, 6.0, 3.0, 7.0], [8.0, 12.0, 9.0, 13.0], [10.0, 14.0, 11.0, 15.0]]],
        },
    )

### BEGIN HIDDEN TESTS
with check("several channels, not square", points=0.5):
    for N, C, H, W, p in ((1, 1, 2, 2, 1), (2, 3, 4, 6, 2), (1, 2, 9, 3, 3), (3, 4, 4, 8, 4), (2, 2, 2, 2, 2)):
        x = torch.randn(W, H, C, N, generator=check.gen).permute(3, 2, 1, 0)  # not contiguous
        with check.no_side_effects(x):
            got = patchify(x, p)
        check.shape(got, (N, (H // p) * (W // p), C * p * p))
        columns = F.unfold(x, p, stride=p)
        check.equal(
            got,
            columns.mT,
            mistakes={
                "A pixel's channels lie side by side. The order in a patch is channel, row, column.": lambda: columns.mT.reshape(N, -1, C, p * p).mT.reshape(
                    N, -1, C * p * p
                ),
                "The patches go column by column. They go row by row.": lambda: (
                    columns.mT.reshape(N, H // p, W // p, -1).transpose(1, 2).reshape(N, -1, C * p * p)
                ),
                "Each patch is transposed.": lambda: columns.mT.reshape(N, -1, C, p, p).mT.reshape(N, -1, C * p * p),
                "These are strips, not squares: reshape alone moves nothing. Permute between two reshapes.": lambda: x.reshape(N, -1, C * p * p),
            },
        )

with check("what does not divide evenly is an error", points=0.5):
    for H, W, p in ((6, 4, 4), (4, 6, 4), (3, 3, 2), (2, 2, 3)):
        check.raises(ValueError, lambda H=H, W=W, p=p: patchify(torch.zeros(1, 1, H, W), p))
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 5.6b · `unpatchify`** (1 point · difficulty 2 of 5 · about 10 minutes)
#
# The way back: `unpatchify(patchify(x, p), p, H, W)` is `x`, bit for bit. Masked autoencoders and diffusion transformers need it.
#
# <details><summary>Hint 1: where to start</summary>
#
# The same six axes in the opposite order of events: reshape three axes to six, permute, reshape to four.
#
# </details>
#
# <details><summary>Hint 2: the channels</summary>
#
# You know p, H and W; the number of channels is the width of a token divided by $p^2$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "unpatchify", "locked": false, "schema_version": 3, "solution": true, "task": false}
def unpatchify(t: Tensor, p: int, H: int, W: int) -> Tensor:
    """Put patches together to images: the inverse of ``patchify``.

    Args:
        t: patches as ``patchify`` gives them, shape (N, (H/p) * (W/p), C*p*p).
        p: side of a patch in pixels.
        H: height of the images.
        W: width of the images.

    Returns:
        Shape (N, C, H, W).
    """
    ### BEGIN SOLUTION
    N, C = len(t), t.shape[-1] // p**2
    return t.reshape(N, H // p, W // p, C, p, p).permute(0, 3, 1, 4, 2, 5).reshape(N, C, H, W)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-unpatchify", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("unpatchify", points=1)
### BEGIN HIDDEN TESTS
check.use(patchify=lambda x, p: F.unfold(x, p, stride=p).mT)
### END HIDDEN TESTS

with check("a 4 × 4 image comes back", points=0.5):
    patches = torch.tensor([[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0], [8.0, 9.0, 12.0, 13.0], [10.0, 11.0, 14.0, 15.0]]])
    check.equal(
        unpatchify(patches, 2, 4, 4),
        [[[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0], [12.0, 13.0, 14.0, 15.0]]]],
        mistakes={
            "Each patch became a row: reshape alone moves nothing. Permute between two reshapes.": [
                [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0], [8.0, 9.0, 12.0, 13.0], [10.0, 11.0, 14.0, 15.0]]]
            ],
            "The patches were laid out column by column.": [[[[0.0, 1.0, 8.0, 9.0], [4.0, 5.0, 12.0, 13.0], [2.0, 3.0, 10.0, 11.0], [6.0, 7.0, 14.0, 15.0]]]],
            "Each patch is transposed.": [[[[0.0, 4.0, 2.0, 6.0], [1.0, 5.0, 3.0, 7.0], [8.0, 12.0, 10.0, 14.0], [9.0, 13.0, 11.0, 15.0]]]],
        },
    )

### BEGIN HIDDEN TESTS
with check("several channels, not square", points=0.5):
    for N, C, H, W, p in ((1, 1, 2, 2, 1), (2, 3, 4, 6, 2), (1, 2, 9, 3, 3), (3, 4, 4, 8, 4), (2, 1, 6, 2, 2)):
        t = torch.randn(C * p * p, (H // p) * (W // p), N, generator=check.gen).permute(2, 1, 0)  # not contiguous
        with check.no_side_effects(t):
            got = unpatchify(t, p, H, W)
        check.shape(got, (N, C, H, W), mistakes={"Height and width are swapped.": (N, C, W, H), "The channels were lost.": (N, 1, H, W)})
        check.equal(
            got,
            F.fold(t.mT, (H, W), p, stride=p),
            mistakes={
                "A pixel's channels were taken side by side. The order in a patch is channel, row, column.": lambda: F.fold(
                    t.reshape(N, -1, p * p, C).mT.reshape(N, -1, C * p * p).mT, (H, W), p, stride=p
                ),
            },
        )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-patches", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("patchify", "unpatchify"):
    photo = torch.as_tensor(data.photo("camera"))[None, None]
    side = photo.shape[-1] // 8
    tokens = patchify(photo, side)
    shuffled = tokens[:, torch.as_tensor(np.random.default_rng(0).permutation(64))]
    fig, (whole, bag) = plotting.subplots(2, width=8, height=4)
    for ax, content, title in ((whole, tokens, "64 tokens with their places"), (bag, shuffled, "the same 64 tokens without")):
        ax.imshow(unpatchify(content, side, *photo.shape[-2:])[0, 0], cmap="gray")
        ax.set(title=title, xticks=np.arange(9) * side - 0.5, yticks=np.arange(9) * side - 0.5, xticklabels=[], yticklabels=[])
        ax.grid(visible=True, color="white", alpha=0.8)
    plotting.show(
        fig,
        alt="Left: a photograph of a man with a camera, cut into 8 by 8 square patches. Right: the same patches in random order; the man can no longer be made out. "
        "To a transformer without position codes both are the same image.",
    )

# %% [markdown]
# ## 7  The block, and a GPT that learns logic
#
# A **transformer block** does two things to a sequence, each added to what was there (a residual connection): the tokens look at each other, then each token is changed by itself.
#
# $$ x \leftarrow x + \operatorname{MHA}(\operatorname{LN}(x)), \qquad x \leftarrow x + \operatorname{MLP}(\operatorname{LN}(x)). $$
#
# The paper of 2017 normalised after the sum; GPT-2 and ViT do it before, as here, which trains more easily. The next cell puts your parts together, and makes a small **GPT** of them: token embedding plus position code, causal blocks,
# and a linear head that gives logits for the next token at every place.


# %% nbgrader={"grade": false, "grade_id": "setup-block", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Norm(nn.Module):
    """``layer_norm`` with a learned gain and bias for tokens of width ``d``."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.g, self.b = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.g, self.b)


class Block(nn.Module):
    """One transformer block, (B, n, d) to the same shape; ``h`` heads, and an MLP four times as wide as a token."""

    def __init__(self, d: int, h: int) -> None:
        super().__init__()
        self.norm1, self.attention = Norm(d), MHA(d, h)
        self.norm2, self.mlp = Norm(d), nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """A causal language model: tokens (B, T), T at most ``length``, to logits (B, T, vocabulary) for the token after each."""

    def __init__(self, vocabulary: int, length: int, d: int = 16, h: int = 2, depth: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d)
        self.register_buffer("positions", sinusoid(length, d))
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        x = self.embedding(tokens) + self.positions[:T]
        mask = causal_mask(T).to(tokens.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


# %% [markdown]
# **XOR as the next token.** CS909 ("Another way of thinking about GPTs") reads a Boolean function as a table of next tokens: after `0 1` comes `1` with probability 1, and so on. A model that gets the table right is a small finite-state machine.
# The first token says nothing about the second, so its row of logits cannot do better than the frequencies; the second row must know both bits, and for XOR no sum of the two will do.

# %% [markdown]
# **Exercise 5.7a · `train_fsm`** (2 points · difficulty 3 of 5 · about 25 minutes)
#
# Train a causal model with one or two blocks, the `GPT` above or one of your own, until it gives each right third token a probability of at least 0.95. From some starts a net this small gets stuck, at a probability of ½ for some input:
# notice it, and start again. Everything random must follow from `seed`. A few seconds must do.
#
# <details><summary>Hint 1: where to start</summary>
#
# Make one sequence of three tokens of each pair, and train on all of them at once with your `lm_loss`. `torch.optim.AdamW` with a learning rate of 0.01 needs 100 to 150 steps.
#
# </details>
#
# <details><summary>Hint 2: stuck at ln 2 or at one half</summary>
#
# The loss cannot reach 0: the second token is a coin toss, which costs $\tfrac12 \ln 2 = 0.347$ on average. So look at the probabilities of the third tokens instead, and go back to a fresh model when the least is too small.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_fsm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_fsm(pairs: list[tuple[tuple[int, int], int]], seed: int = 0) -> nn.Module:
    """Train a causal transformer on the next-token table of a Boolean function of two bits.

    Args:
        pairs: ((a, b), c) for each of the four inputs: after the tokens a, b comes c.
        seed: where everything random comes from; the same seed gives the same model.

    Returns:
        The trained module, on the CPU. It maps int64 tokens (B, T), T = 1 or 2, to logits (B, T, 2) for the token
        after each. A row of logits depends on its own token and those before it only.
    """
    ### BEGIN SOLUTION
    training.seed_everything(seed)
    tokens = torch.tensor([[a, b, c] for (a, b), c in pairs])
    for _ in range(10):
        model = GPT(vocabulary=2, length=3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for step in range(1, 161):
            optimizer.zero_grad()
            logits = model(tokens)
            lm_loss(logits, tokens).backward()
            optimizer.step()
            if step % 20 == 0 and logits[:, 1].softmax(-1).gather(1, tokens[:, 2:]).min() > 0.99:
                return model
    return model
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_fsm", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_fsm", points=2)


### BEGIN HIDDEN TESTS
class TorchBlock(nn.TransformerEncoderLayer):
    """torch's transformer block under the signature of Block."""

    def __init__(self, d, h):
        super().__init__(d, h, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True)

    def forward(self, x, mask=None):
        return super().forward(x, src_mask=None if mask is None else ~mask)


check.use(
    Block=TorchBlock,
    Norm=nn.LayerNorm,
    causal_mask=lambda n: torch.arange(n)[:, None] >= torch.arange(n),
    lm_loss=lambda logits, tokens, pad=-1: F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], ignore_index=pad),
    sinusoid=lambda n, d: torch.view_as_real(
        torch.polar(torch.ones(n, d // 2), torch.outer(torch.arange(n) * 1.0, torch.logspace(0, -4, d // 2 + 1)[:-1]))
    ).flatten(1),
)
### END HIDDEN TESTS
inputs = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])

with check("XOR: each third token with a probability of at least 0.95", points=0.5, seconds=30):
    with torch.random.fork_rng():
        model = train_fsm([((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 0)])
    logits = model(inputs).detach()
    check.shape(logits, (4, 2, 2))
    check.equal(
        logits[:, 1].argmax(-1),
        [0, 1, 1, 0],
        mistakes={
            "The second row of logits repeats the second input. It is about the token after it.": [0, 1, 0, 1],
            "This is OR.": [0, 1, 1, 1],
            "This is AND.": [0, 0, 0, 1],
        },
    )
    check.at_least(logits[:, 1].softmax(-1)[[0, 1, 2, 3], [0, 1, 1, 0]].min(), 0.95, "probability of the right token after each of the four inputs")

### BEGIN HIDDEN TESTS
with check("any table, with a probability of at least 0.95", points=1, seconds=60):
    answers = ([0, 0, 1, 0], [1, 1, 0, 1], [0, 1, 0, 0], [1, 0, 1, 1])[check.rng.integers(4)]  # 01 and 10 differ
    pairs, seed = [((a, b), answers[2 * a + b]) for a, b in ((1, 0), (0, 0), (1, 1), (0, 1))], check.seeds(1)[0]
    with torch.random.fork_rng():
        model = train_fsm(pairs, seed)
    logits = model(inputs).detach()
    p = logits[:, 1].softmax(-1)[torch.arange(4), torch.tensor(answers)]
    check.law(
        p.min() >= 0.95,
        f"after 00, 01, 10, 11 come {answers}: each with a probability of at least 0.95; yours are {[round(x, 3) for x in p.tolist()]}",
        mistakes={
            "XOR was learnt whatever the pairs say. Make the sequences from `pairs`.": logits[:, 1].argmax(-1).tolist() == [0, 1, 1, 0],
            "01 and 10 give the same although the table differs: the model does not know the order of its tokens. Add a position code.": lambda: torch.allclose(
                *logits[1:3, 1].softmax(-1), atol=0.02
            ),
            "Right, but not sure enough: train longer, or with longer steps.": bool(p.min() > 0.55),
            "It is stuck, with a probability of one half. Notice that, and start again from fresh weights.": bool(((p - 0.5).abs() < 0.1).any()),
        },
    )

with check("causal, computed, and decided by the seed", points=0.5, seconds=30):
    with torch.random.fork_rng():
        torch.manual_seed(int(check.rng.integers(2**31)))
        again = train_fsm(pairs, seed)
    logits = model(inputs)
    check.law(
        torch.allclose(logits[::2, 0], logits[1::2, 0], atol=1e-5),
        "the first row of logits does not depend on the second token; yours does",
        mistakes={"The model looks ahead. Give its blocks the causal mask.": True},
    )
    check.close(model(inputs[:, :1]), logits[:, :1], atol=1e-5)
    check.law(
        logits.requires_grad,
        "the logits are computed from trained parameters; yours have no gradient",
        mistakes={"The answers are looked up rather than computed.": True},
    )
    check.law(torch.allclose(again(inputs), logits, atol=1e-4), "the same seed gives the same model; yours differ")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Parity: think aloud, or in your head?
#
# The running parity of eight bits is the same machine with a longer input: one state bit, flipped by every 1. The lecture cites work on GPT as a Turing machine that makes a model *write down* each step. Two ways to ask a GPT for the parity of $x_1 \dots x_8$:
#
# - **in one go**: read `x1 x2 … x8`, then answer. All the work must happen inside, in one pass;
# - **step by step**: after each bit the model writes the parity so far, `x1 p1 x2 p2 … x8 p8`, and reads it again. Each $p_k$ is XOR of two tokens that stand nearby.
#
# Both models have one block, 390 steps, and see 192 of the 256 strings. They are tested on the other 64; step by step, the model reads its *own* parities.


# %% nbgrader={"grade": false, "grade_id": "experiment-machines", "locked": true, "schema_version": 3, "solution": false, "task": false}
def xor_experiment(seed: int) -> tuple[dict[str, float], np.ndarray]:
    """Least probability of a right next token for XOR, and the best loss of a model without attention to both tokens; and P(1) for the four inputs."""
    truth = [0, 1, 1, 0]
    model = train_fsm([((a, b), truth[2 * a + b]) for a in (0, 1) for b in (0, 1)], seed)
    with torch.no_grad():
        p = model(torch.as_tensor(data.booleans(2)).long())[:, 1].softmax(-1)
    x, y = torch.as_tensor(data.booleans(2)), torch.tensor(truth, dtype=torch.float64)[:, None]
    training.seed_everything(seed)
    line = nn.Linear(2, 1).double()
    training.fit(line, F.binary_cross_entropy_with_logits, x, y, epochs=300, optimizer=lambda q: torch.optim.Adam(q, lr=0.1), device="cpu", progress=False)
    with torch.no_grad():
        linear = float(F.binary_cross_entropy_with_logits(line(x), y))
    return {"gpt": float(p[torch.arange(4), torch.tensor(truth)].min()), "linear loss": linear}, p[:, 1].numpy()


def parity_experiment(seed: int, n: int = 8) -> dict[str, float]:
    """Share of strings whose parity a one-block GPT gets right, on the strings it was trained on and on 64 others, in one go and step by step."""
    where = device.pick()
    bits = torch.as_tensor(data.booleans(n)).long()[torch.as_tensor(np.random.default_rng(seed).permutation(2**n))]
    bits, parities = bits.to(where), (bits.cumsum(1) % 2).to(where)
    held_out = torch.arange(len(bits), device=where) >= len(bits) - 64
    one_go, by_steps = torch.cat([bits, parities[:, -1:]], dim=1), torch.stack([bits, parities], dim=2).flatten(1)
    found = {}
    for name, tokens in (("in one go", one_go), ("step by step", by_steps)):
        targets = tokens.clone()
        if name == "in one go":
            targets[:, :-1] = -1  # as padding: nothing is to be learnt from random bits
        training.seed_everything(seed)
        model = GPT(vocabulary=2, length=tokens.shape[1], d=32, h=4)
        for rate, epochs in ((0.01, 50), (0.002, 15)):
            optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
            training.fit(model, lm_loss, tokens[~held_out], targets[~held_out], epochs=epochs, batch_size=32, optimizer=optimizer, seed=seed, device=where)
        with torch.no_grad():
            if name == "in one go":
                answer = model(bits)[:, -1].argmax(-1)
            else:
                written = bits[:, :0]
                for k in range(n):
                    written = torch.cat([written, bits[:, k : k + 1]], dim=1)
                    answer = model(written)[:, -1].argmax(-1)
                    written = torch.cat([written, answer[:, None]], dim=1)
        right = (answer == parities[:, -1]).float()
        found |= {f"{name}, seen": float(right[~held_out].mean()), f"{name}, held out": float(right[held_out].mean())}
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-machines-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("sdpa", "mha", "layer_norm", "sinusoid", "causal_mask", "lm_loss", "train_fsm"):
    measured, p_one = xor_experiment(seed=0)
    parity = parity_experiment(seed=0)
    fig, (left, right) = plotting.subplots(2, width=10, height=3.6)
    plotting.bars(left, dict(zip(("00", "01", "10", "11"), p_one, strict=True)), xlabel="tokens so far", ylabel="P(next token is 1)", fmt="{:.3f}")
    left.set(title="XOR as a next-token table", ylim=(0, 1.15))
    plotting.bars(right, {name.replace(", ", "\n"): share for name, share in parity.items()}, ylabel="parities right", fmt="{:.2f}")
    right.axhline(0.5, color="black", linestyle="--", linewidth=1, zorder=0)
    for label in right.texts:
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    right.set(title="Parity of 8 bits, one block, 390 steps", ylim=(0, 1.15))
    plotting.show(
        fig,
        alt="Left: probability of a 1 after 00, 01, 10, 11: "
        + ", ".join(f"{value:.3f}" for value in p_one)
        + ". Right: share of parities right: "
        + ", ".join(f"{name} {share:.2f}" for name, share in parity.items())
        + "; guessing gives 0.5, drawn dashed.",
    )
    claims.show(
        Claim("XOR: least probability of a right token", "P = 0, 1, 1, 0 (CS909)", measured["gpt"], at_least=0.95),
        Claim("XOR: loss of a linear model, ln 2 = 0.6931 is guessing", "no line separates XOR (01-perceptron)", measured["linear loss"], at_least=0.6931),
        Claim("parity step by step, held-out strings", "GPT as a Turing machine (CS909)", parity["step by step, held out"], at_least=0.95),
        Claim("parity in one go, held-out strings", "not in the lecture", parity["in one go, held out"], at_most=0.65),
        Claim("parity in one go, strings it was trained on", "not in the lecture", parity["in one go, seen"]),
    )

# %% [markdown]
# Step by step the held-out strings are as easy as the others: the model has learnt the *machine*. In one go it does no better than guessing on strings it has not seen, and often worse: the nearest relatives of
# a held-out string, one bit away, all have the other parity, so what is remembered of them misleads. The same weights can run a program if they may write on a tape, and cannot in one pass. "GPT is becoming a Turing machine" is a statement about the tape.
#
# ## 8  What looking at everything costs
#
# Every query meets every key: $QK^\top$ and the product with $V$ take about $4n^2d$ floating-point operations for a sequence of $n$ tokens, and $n^2$ numbers must be kept. The **Performer** (Choromanski and others, 2021; CS909, "Computational Complexity") writes the kernel
# as an inner product of *random features*. With $w \sim \mathcal{N}(0, I)$,
#
# $$ e^{x \cdot y} = \mathbb{E}_w\Big[ e^{w \cdot x - \lVert x\rVert^2/2}\; e^{w \cdot y - \lVert y\rVert^2/2} \Big] \approx \phi(x) \cdot \phi(y), \qquad \phi(x) = \tfrac{1}{\sqrt m}\Big( e^{w_i \cdot x - \lVert x\rVert^2/2} \Big)_{i=1}^{m}. $$
#
# All features are positive, so no weight can turn negative and no denominator vanish. Then $\sum_k \phi(q) \cdot \phi(k)\, v_k = \phi(q) \cdot \big(\sum_k \phi(k)\, v_k\big)$: the sum in brackets is the same for every query.
# The cost grows like $n$ instead of $n^2$, and the error shrinks like $1/\sqrt m$.

# %% [markdown]
# **Exercise 5.7b · `favor`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Write the features $\phi$ for many points at once; the rows of `W` are the random $w_i$. (The name is the paper's: fast attention via positive orthogonal random features. Orthogonal rows would make the error a little smaller; here any `W` will do.)
#
# <details><summary>Hint 1: where to start</summary>
#
# One matrix product gives all $w_i \cdot x$, shape (n, m). What is subtracted depends on the point only: it needs shape (n, 1).
#
# </details>
#
# <details><summary>Hint 2: the factor in front</summary>
#
# The dot product of two feature vectors sums $m$ terms and has to be their mean. Each of the two contributes the root of that factor.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "favor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def favor(x: Tensor, W: Tensor) -> Tensor:
    """Positive random features of the exponential kernel (Choromanski et al. 2021).

    Args:
        x: points, shape (n, d).
        W: random directions, shape (m, d); for the kernel their entries are standard normal.

    Returns:
        Shape (n, m), dtype of ``x``: ``favor(x, W) @ favor(y, W).mT`` has the expectation exp(x @ y.mT).
    """
    ### BEGIN SOLUTION
    return torch.exp(x @ W.mT - x.square().sum(-1, keepdim=True) / 2) / math.sqrt(len(W))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-favor", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("favor", points=2)

with check("one point, four directions", points=1):
    check.close(
        favor(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])),
        [[0.5, 0.5, 1.359141, 0.067668]],
        mistakes={
            "Half the squared norm of x is missing in the exponent.": [[1.359141, 1.359141, 3.694528, 0.18394]],
            "The whole squared norm was subtracted. Subtract half of it.": [[0.18394, 0.18394, 0.5, 0.024894]],
            "The norm was not squared.": [[0.670149, 0.670149, 1.821653, 0.090695]],
            "The factor 1/√m is missing.": [[1.0, 1.0, 2.718282, 0.135335]],
            "The factor is 1/m. Each of the two feature vectors carries the root of it.": [[0.25, 0.25, 0.67957, 0.033834]],
        },
    )

### BEGIN HIDDEN TESTS
with check("the features are ratios of normal densities", points=0.5):
    # A density with mean x over one with mean 0, at w: exp(w·x - ‖x‖²/2).
    for n, m, d, dtype in ((1, 1, 1, torch.float64), (3, 5, 2, torch.float64), (4, 4, 4, torch.float64), (6, 2, 3, torch.float32)):
        x, W = torch.randn(d, n, generator=check.gen, dtype=dtype).mT, torch.randn(m, d, generator=check.gen, dtype=dtype)
        with check.no_side_effects(x, W):
            got = favor(x, W)
        check.shape(got, (n, m))
        check.dtype(got, dtype)
        ratio = [np.exp(stats.norm.logpdf(W.numpy(), loc=point).sum(1) - stats.norm.logpdf(W.numpy()).sum(1)) for point in x.numpy()]
        check.close(
            got,
            np.array(ratio) / np.sqrt(m),
            rtol=1e-4,
            mistakes={
                "The factor 1/√m is missing.": np.array(ratio),
                "The factor is 1/m. Each of the two feature vectors carries the root of it.": np.array(ratio) / m,
                "Half the squared norm of x is missing in the exponent.": lambda: torch.exp(x @ W.mT) / m**0.5,
            },
        )
    leaf = x.clone().requires_grad_()
    out = favor(leaf, W)
    check.law(out.requires_grad, "gradients flow back to x; yours were cut off")
    check.finite(torch.autograd.grad(out.sum(), leaf)[0])

with check("their dot products estimate the kernel", points=0.5):
    m = 40_000
    for d in (2, 6):
        x, y = (0.5 * torch.randn(3, d, generator=check.gen, dtype=torch.float64) / d**0.5 for _ in range(2))
        W = torch.randn(m, d, generator=check.gen, dtype=torch.float64)
        kernel = torch.exp(x @ y.mT)
        # The variance of one term is exp(2 x·y) (exp(‖x + y‖²) - 1); 5 standard errors: 1 false alarm in 10 000 runs of this check.
        error = 5 * kernel * torch.expm1((x[:, None] + y).square().sum(-1)).sqrt() / m**0.5
        estimate = favor(x, W) @ favor(y, W).mT
        check.law(
            ((estimate - kernel).abs() <= error).all(),
            f"the dot product of two feature vectors estimates exp(x·y): expected {kernel[0, 0].item():.4f} within {error[0, 0].item():.4f}, got {estimate[0, 0].item():.4f}",
            mistakes={
                "The factor 1/√m is missing.": lambda: ((estimate / m - kernel).abs() <= error).all(),
                "Half the squared norm of x is missing in the exponent.": lambda: (estimate > kernel + error).all(),
                "Too small: look at what is subtracted in the exponent, and at the factor in front.": lambda: (estimate < kernel - error).all(),
            },
        )
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "experiment-cost", "locked": true, "schema_version": 3, "solution": false, "task": false}
def favor_attention(q: Tensor, k: Tensor, v: Tensor, W: Tensor) -> Tensor:
    """Attention of one head in time linear in the number of tokens: q (m, d), k (n, d), v (n, e), random directions W (r, d)."""
    phi_q, phi_k = favor(q / q.shape[-1] ** 0.25, W), favor(k / k.shape[-1] ** 0.25, W)
    return phi_q @ (phi_k.mT @ v) / (phi_q @ phi_k.sum(0))[:, None]


def operations(call: Callable[[], object]) -> int:
    """Floating-point operations in matrix products during ``call()``, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def cost_experiment(seed: int) -> dict[str, np.ndarray]:
    """Operations of exact and of linear attention for sequences of 64 to 2048 tokens of width 32; error of the linear one for 16 to 4096 random features."""
    generator = torch.Generator().manual_seed(seed)
    lengths, features = 2 ** np.arange(6, 12), 2 ** np.arange(4, 13, 2)
    exact, linear = [], []
    for n in lengths.tolist():
        q, k, v, W = (torch.randn(rows, 32, generator=generator) for rows in (n, n, n, 64))
        exact.append(operations(lambda q=q, k=k, v=v: sdpa(q, k, v)))
        linear.append(operations(lambda q=q, k=k, v=v, W=W: favor_attention(q, k, v, W)))
    q, k, v = (torch.randn(128, 8, generator=generator, dtype=torch.float64) * s for s in (0.5, 0.5, 1.0))
    want = sdpa(q, k, v)
    errors = []
    for r in features.tolist():
        draws = [favor_attention(q, k, v, torch.randn(r, 8, generator=generator, dtype=torch.float64)) for _ in range(20)]
        errors.append(float(np.mean([((got - want).norm() / want.norm()).item() for got in draws])))
    return {"lengths": lengths, "exact": np.array(exact), "linear": np.array(linear), "features": features, "errors": np.array(errors)}


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Exponent of the power law through the points, by least squares in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-cost-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("sdpa", "favor"):
    measured = cost_experiment(seed=0)
    fig, (left, right) = plotting.subplots(2, width=10, height=3.6)
    plotting.curves(
        left,
        {"exact, sdpa": measured["exact"], "64 random features": measured["linear"]},
        x=measured["lengths"],
        xlabel="tokens $n$",
        ylabel="operations",
        log=True,
    )
    plotting.curves(
        right, {"favor": measured["errors"]}, x=measured["features"], xlabel="random features $m$", ylabel="relative error of the outputs", log=True
    )
    left.set(xscale="log", title="Quadratic against linear")
    right.set(xscale="log", title=f"Error falls like $m^{{{slope(measured['features'], measured['errors']):.2f}}}$")
    plotting.show(
        fig,
        alt=f"Left: operations against sequence length, both axes logarithmic. Exact attention rises with slope {slope(measured['lengths'], measured['exact']):.2f}, from {measured['exact'][0]:.2g} at 64 tokens to "
        f"{measured['exact'][-1]:.2g} at 2048; with 64 random features the slope is {slope(measured['lengths'], measured['linear']):.2f}. "
        f"Right: the relative error falls from {measured['errors'][0]:.2g} with 16 features to {measured['errors'][-1]:.2g} with 4096.",
    )
    claims.show(
        Claim(
            "exact attention: operations grow like n to the power",
            "compares each token against every other (CS909)",
            slope(measured["lengths"], measured["exact"]),
            at_least=1.99,
            at_most=2.01,
        ),
        Claim(
            "random features: operations grow like n to the power",
            "kernel approximation reduces complexity (CS909)",
            slope(measured["lengths"], measured["linear"]),
            at_least=0.99,
            at_most=1.01,
        ),
        Claim(
            "random features: error grows like m to the power",
            "not in the lecture",
            slope(measured["features"], measured["errors"]),
            at_least=-0.7,
            at_most=-0.35,
        ),
        Claim("relative error with 64 features", "not in the lecture", float(measured["errors"][1])),
    )

# %% [markdown]
# Three cautions. With 64 features of width-32 tokens the linear way is the dearer one below 128 tokens, where the lines cross. The linear layers of `MHA` cost $8nd^2$, so the quadratic part is only a share $n/(n + 2d)$ of the whole: 11 % for 16 tokens of width 64. And the approximation needs many features before its error is small: exact attention is what most models still use.
#
# Where do a large model's parameters sit? In each block $4d^2$ of them in attention and $8d^2$ in the MLP, biases and norms apart; the embedding adds $d$ for each word. Asano's "The current scaling of models" prints "BERT model (354M parameters)" (erratum E45).
# Count: 24 blocks of width 1024, with biases and norms, have 302 million. With a vocabulary of 30 522, 512 places and the layers at the ends that makes **335 million, BERT-large**. 355 million is **RoBERTa-large**: the same blocks with a vocabulary of 50 265.

# %% [markdown]
# ## 9  A vision transformer, from your own parts
#
# Everything is there. A ViT is: patches, a linear layer that makes tokens of width $d$ of them, position codes added, blocks without a mask, a last norm, and then **one vector for the image**: the output of a class token, or simply the mean over the tokens.
# Both work; the mean is shorter. A linear head turns the vector into logits.

# %% [markdown]
# **Exercise 5.8a · `vit`** (3 points · difficulty 3 of 5 · about 25 minutes)
#
# Assemble the module `ViT` from `patchify`, `sinusoid`, `Block` and `Norm`. With `positions=False` the position codes are left out and nothing else changes. A learned position code in place of `sinusoid`, and a class token in place of the mean, are accepted.
#
# <details><summary>Hint 1: where to start</summary>
#
# Read `GPT` again: embedding, positions, blocks, norm, head. What replaces the embedding of a token number, when a token is a patch of $C p^2$ numbers? Where does the sequence become one vector?
#
# </details>
#
# <details><summary>Hint 2: layers that do not learn</summary>
#
# Blocks in a plain Python list are invisible to the optimiser: use `nn.ModuleList`, one `Block(d, h)` for each of `depth`. A tensor that is not learned belongs into `register_buffer`, so that it moves to the GPU with the module.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "vit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ViT(nn.Module):
    """Vision transformer (Dosovitskiy et al. 2021): patches, position codes, blocks, norm, one vector, logits."""

    def __init__(
        self,
        channels: int,
        size: int,
        p: int,
        classes: int,
        d: int = 32,
        h: int = 4,
        depth: int = 1,
        positions: bool = True,
    ) -> None:
        """Make the layers.

        Args:
            channels: of the images.
            size: height and width of the images in pixels, a multiple of ``p``.
            p: side of a patch in pixels.
            classes: number of logits.
            d: width of a token, even, and a multiple of ``h``.
            h: heads of each block.
            depth: number of blocks.
            positions: whether tokens are told where they stand.
        """
        ### BEGIN SOLUTION
        super().__init__()
        self.p = p
        self.embedding = nn.Linear(channels * p * p, d)
        places = (size // p) ** 2
        self.register_buffer("positions", sinusoid(places, d) if positions else torch.zeros(places, d))
        self.blocks = nn.ModuleList(Block(d, h) for _ in range(depth))
        self.norm, self.head = Norm(d), nn.Linear(d, classes)
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images.

        Args:
            x: shape (N, channels, size, size).

        Returns:
            Shape (N, classes).
        """
        ### BEGIN SOLUTION
        tokens = self.embedding(patchify(x, self.p)) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(dim=1))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-vit", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("vit", points=3)
### BEGIN HIDDEN TESTS
check.use(
    Block=lambda d, h: nn.TransformerEncoderLayer(d, h, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True),
    Norm=nn.LayerNorm,
    patchify=lambda x, p: F.unfold(x, p, stride=p).mT,
    sinusoid=lambda n, d: torch.view_as_real(
        torch.polar(torch.ones(n, d // 2), torch.outer(torch.arange(n) * 1.0, torch.logspace(0, -4, d // 2 + 1)[:-1]))
    ).flatten(1),
)
### END HIDDEN TESTS

with check("logits of the right shape", points=1):
    for channels, size, p, classes, N in ((1, 8, 2, 10, 3), (3, 6, 3, 4, 1), (2, 4, 4, 2, 2)):
        with torch.random.fork_rng():
            model = ViT(channels, size, p, classes, d=16, h=2)
        logits = model(torch.ones(N, channels, size, size))
        check.shape(
            logits,
            (N, classes),
            mistakes={
                "There are logits for every token. Take the mean over the tokens, or the class token's output, before the head.": (
                    N,
                    (size // p) ** 2,
                    classes,
                ),
                "The images were averaged too. Take the mean over the tokens only.": (classes,),
            },
        )
        check.law(
            logits.min() < 0 or not torch.allclose(logits.sum(1), torch.ones(N), atol=1e-3),
            "logits are expected; these are probabilities. Leave the softmax to the loss",
        )


### BEGIN HIDDEN TESTS
def small_vit(seed, *shape, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ViT(*shape, **options)


with check("without positions a bag of patches, with them not", points=1):
    for channels, size, p in ((1, 8, 2), (2, 6, 2), (3, 8, 4)):
        x = torch.randn(3, channels, size, size, generator=check.gen)
        moved = x.roll((p, p), dims=(2, 3))  # whole patches change places
        seed = check.seeds(1)[0]
        bag, placed = (small_vit(seed, channels, size, p, 5, d=16, h=2, positions=flag) for flag in (False, True))
        with torch.no_grad():
            check.close(
                bag(moved),
                bag(x),
                atol=1e-4,
                mistakes={
                    "The argument `positions` is not used: the position codes are always there.": lambda bag=bag, moved=moved: bag(moved),
                },
            )
            check.law(
                not torch.allclose(placed(moved), placed(x), atol=1e-4),
                "with positions=True the logits change when the patches are moved around; yours do not",
                mistakes={"The position codes are missing, or the same for every patch.": True},
            )

with check("depth as asked, each image by itself, every parameter learns", points=1):
    sizes = []
    for depth in (1, 2, 3):
        model = small_vit(check.seeds(1)[0], 2, 6, 2, 5, d=16, h=2, depth=depth)
        sizes.append(sum(parameter.numel() for parameter in model.parameters()))
    block = sum(parameter.numel() for parameter in Block(16, 2).parameters())
    check.law(
        sizes[1] - sizes[0] == sizes[2] - sizes[1] == block,
        f"each block adds its {block} parameters; depth 1, 2 and 3 give {sizes}",
        mistakes={
            "The blocks lie in a plain list, or depth is not used: use nn.ModuleList, with one block for each of `depth`.": sizes[0] == sizes[2],
        },
    )
    check.law(sizes[0] > block, f"depth 1 is one block of {block} parameters; your model has {sizes[0]} in all, so a block is missing")
    x = torch.randn(4, 2, 6, 6, generator=check.gen)
    with check.no_side_effects(x):
        logits = model(x)
    check.close(
        model(x[2:3]),
        logits[2:3],
        atol=1e-5,
        mistakes={"An image's logits depend on the other images in the batch. The mean goes over the tokens.": model(x[2:3])},
    )
    gradients = torch.autograd.grad(logits.square().sum(), list(model.parameters()), allow_unused=True)
    dead = [name for (name, _), g in zip(model.named_parameters(), gradients, strict=True) if g is None or not torch.isfinite(g).all()]
    check.law(not dead, f"every parameter gets a gradient; these do not: {dead[:5]}")
    longer = small_vit(1, 2, 6, 2, 5, d=16, h=2, depth=3)
    with torch.no_grad():
        before = longer(x)
        for parameter in list(longer.parameters()):
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=check.gen))
        check.law(not torch.allclose(longer(x), before, atol=1e-6), "other parameters give other logits; yours stay the same")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 5.8b · `train_vit`** (2 points · difficulty 3 of 5 · about 25 minutes)
#
# Train your `ViT` on labelled images. Optimiser, batch size and learning rate are yours. Six epochs on 1347 digits in patches of 4 × 4 must give an accuracy of at least 0.90 on digits that it has not seen, in a few seconds. Everything random must follow from `seed`.
#
# <details><summary>Hint 1: where to start</summary>
#
# Seed, make the model, move it to the device of `x`, and then the loop you know: a fresh permutation each epoch, batches of 64, `F.cross_entropy`, backward, step.
#
# </details>
#
# <details><summary>Hint 2: it learns too slowly</summary>
#
# Six epochs are 130 steps. AdamW with a learning rate of 0.01 makes them count, if it warms up first and calms down at the end: `torch.optim.lr_scheduler.OneCycleLR` does both; call its `step` after every batch.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_vit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_vit(
    x: Tensor,
    y: Tensor,
    p: int = 2,
    d: int = 32,
    h: int = 4,
    depth: int = 1,
    epochs: int = 10,
    positions: bool = True,
    seed: int = 0,
) -> nn.Module:
    """Train a vision transformer from scratch.

    Args:
        x: square images, shape (N, C, size, size), values around 0 to 1.
        y: classes, int64 from 0 to K - 1, each of which occurs; shape (N,).
        p: side of a patch; it divides the size.
        d: width of a token.
        h: heads of each block.
        depth: number of blocks.
        epochs: passes over the images.
        positions: whether the model is told where its patches stand.
        seed: of the weights and of the order of the images; the same seed gives the same model.

    Returns:
        The trained ``ViT``, on the device of ``x``.
    """
    ### BEGIN SOLUTION
    training.seed_everything(seed)
    model = ViT(x.shape[1], x.shape[-1], p, int(y.max()) + 1, d, h, depth, positions).to(x.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batches = -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=epochs * batches)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).to(x.device).chunk(batches):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    return model
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_vit", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_vit", points=2)


### BEGIN HIDDEN TESTS
class TorchViT(nn.Module):
    """A ViT of torch's own encoder layers, under the signature of ViT."""

    def __init__(self, channels, size, p, classes, d=32, h=4, depth=1, positions=True):
        super().__init__()
        self.cut = nn.Conv2d(channels, d, p, stride=p)
        angles = torch.outer(torch.arange((size // p) ** 2) * 1.0, torch.logspace(0, -4, d // 2 + 1)[:-1])
        self.register_buffer("places", positions * torch.cat([angles.sin(), angles.cos()], dim=1))
        self.layers = nn.Sequential(*(nn.TransformerEncoderLayer(d, h, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(depth)))
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, classes))

    def forward(self, x):
        return self.out((self.layers(self.cut(x).flatten(2).mT + self.places)).mean(1))


check.use(ViT=TorchViT)
### END HIDDEN TESTS


def accuracy_on(model, images, labels):
    return float((model(images).argmax(1) == labels).float().mean())


with check("two epochs: better than guessing", points=0.5, seconds=60):
    split = data.load("digits", flat=False).torch()
    with torch.random.fork_rng():
        model = train_vit(split.x_train[:600], split.y_train[:600], p=4, epochs=2, seed=1)
    check.at_least(accuracy_on(model, split.x_test, split.y_test), 0.2, "accuracy on 450 unseen digits, where guessing gives 0.1")

### BEGIN HIDDEN TESTS
with check("six epochs: at least 0.90 of unseen digits", points=1, seconds=60):
    seed = check.seeds(1)[0]
    split = data.load("digits", flat=False, seed=seed).torch()
    with torch.random.fork_rng():
        model = train_vit(split.x_train, split.y_train, p=4, epochs=6, seed=seed)
    share = accuracy_on(model, split.x_test, split.y_test)
    check.at_least(
        share,
        0.90,
        "accuracy on 450 unseen digits",
        mistakes={
            "No better than guessing. Do the steps go downhill, do the labels fit their images, do the weights move?": share < 0.2,
            "It learns, but too little in six epochs. Try smaller batches, a higher learning rate with a warm-up, and one step a batch.": True,
        },
    )

with check("the arguments are used, and the seed decides", points=0.5, seconds=60):
    centres = torch.rand(3, 2, 4, 4, generator=check.gen)
    y = torch.arange(60) % 3
    x = centres[y] + 0.1 * torch.randn(60, 2, 4, 4, generator=check.gen)
    seed, other = check.seeds(2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = train_vit(x, y, p=2, d=16, h=2, depth=2, epochs=2, seed=seed)
        torch.manual_seed(2)
        again, different = (train_vit(x, y, p=2, d=16, h=2, depth=2, epochs=2, seed=s) for s in (seed, other))
        longer = train_vit(x, y, p=2, d=16, h=2, depth=2, epochs=4, seed=seed)
        bag = train_vit(x, y, p=2, d=16, h=2, depth=2, epochs=2, positions=False, seed=seed)
    with torch.no_grad():
        logits = model(x)
        check.shape(logits, (60, 3))
        check.law(
            torch.allclose(again(x), logits, atol=1e-4),
            "the same seed gives the same model; yours differ. Call torch.manual_seed or training.seed_everything first",
        )
        check.law(not torch.allclose(different(x), logits, atol=1e-3), "another seed gives another model; yours does not depend on `seed`")
        check.law(not torch.allclose(longer(x), logits, atol=1e-3), "more epochs give another model; yours does not depend on `epochs`")
        check.law(
            torch.allclose(bag(x.roll(2, dims=3)), bag(x), atol=1e-4),
            "`positions`, `p` and the sizes are passed on to ViT; with positions=False yours still depends on the order of the patches",
        )
        wanted = sum(parameter.numel() for parameter in ViT(2, 4, 2, 3, 16, 2, 2).parameters())
        found = sum(parameter.numel() for parameter in model.parameters())
        check.law(found == wanted, f"`d`, `h` and `depth` are passed on to ViT: {wanted} parameters are expected, got {found}")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### ViT against CNN: who needs more data?
#
# A convolution knows two things about images before it has seen one: near pixels belong together, and what is worth detecting here is worth detecting there. A ViT must learn both. Hence the rule of thumb in the first set of lecture notes ("Vision Transformer (ViT) vs CNN"):
# below ten million images or so, use a convolutional net. We cannot train on ten million, but the *gap* can be seen from the other end: 100 images against 1000. Every model gets about 300 steps. To the contest come
#
# - your ViT without position codes, to see what places are worth;
# - an **MLP-Mixer** ("Are convolutions and attention really necessary?"): the same patches, and in place of attention an MLP *across* the tokens, with weights that do not depend on what the tokens say.


# %% nbgrader={"grade": false, "grade_id": "experiment-data", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Mixer(nn.Module):
    """MLP-Mixer with one block: patches to tokens of width d, an MLP over the tokens of each feature, an MLP over the features of each token."""

    def __init__(self, channels: int, tokens: int, p: int, d: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(channels, d, p, stride=p)
        self.across = nn.Sequential(nn.LayerNorm(tokens), nn.Linear(tokens, 4 * tokens), nn.GELU(), nn.Linear(4 * tokens, tokens))
        self.within = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 10))

    def forward(self, x: Tensor) -> Tensor:
        features = self.embedding(x).flatten(2)  # (N, d, tokens)
        tokens = (features + self.across(features)).mT
        return self.head((tokens + self.within(tokens)).mean(1))


def small_cnn(channels: int, size: int) -> nn.Module:
    """Two convolutions with pooling and a linear layer, for images of ``size`` × ``size``, a multiple of 4."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * size**2, 10),  # 32 channels of a sixteenth of the pixels
    )


def data_experiment(seed: int, name: str = "digits", p: int = 2, steps: int = 300) -> dict[tuple[str, int], float]:
    """Accuracy on 450 unseen images after about so many steps, by model and number of training images; p × p pixels make a token."""
    x, y, x_test, y_test = data.load(name, flat=False, seed=seed).torch(device.pick())
    channels, size = x.shape[1], x.shape[-1]
    epochs = {n: round(steps / math.ceil(n / 64)) for n in (100, 1000)}

    def fitted(make: Callable[[], nn.Module], n: int) -> nn.Module:
        training.seed_everything(seed)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
        training.fit(
            model,
            F.cross_entropy,
            x[:n],
            y[:n],
            epochs=epochs[n],
            batch_size=64,
            optimizer=optimizer,
            seed=seed,
            device=x.device,
        )
        return model

    def vit(n: int, positions: bool = True) -> nn.Module:
        return train_vit(x[:n], y[:n], p=p, epochs=epochs[n], positions=positions, seed=seed)

    models = {
        ("CNN", 100): lambda: fitted(lambda: small_cnn(channels, size), 100),
        ("CNN", 1000): lambda: fitted(lambda: small_cnn(channels, size), 1000),
        ("ViT", 100): lambda: vit(100),
        ("ViT", 1000): lambda: vit(1000),
        ("ViT without positions", 1000): lambda: vit(1000, positions=False),
        ("Mixer", 1000): lambda: fitted(lambda: Mixer(channels, (size // p) ** 2, p), 1000),
    }
    found = {}
    for key, train in training.progress(models.items(), desc="models", total=len(models)):
        model = train().eval()
        with torch.no_grad():
            found[key] = float((model(x_test).argmax(1) == y_test).float().mean())
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-data-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("sdpa", "mha", "layer_norm", "sinusoid", "patchify", "vit", "train_vit"):
    accuracy = data_experiment(seed=0)
    gap = {n: accuracy["CNN", n] - accuracy["ViT", n] for n in (100, 1000)}
    fig, ax = plotting.subplots(width=9, height=3.6)
    plotting.bars(
        ax,
        {f"{name.replace(' without', chr(10) + 'without')}\n{n} images": share for (name, n), share in accuracy.items()},
        ylabel="accuracy on unseen digits",
        fmt="{:.3f}",
    )
    ax.set(ylim=(0, 1.12))
    plotting.show(fig, alt="Accuracy on 450 unseen digits: " + ", ".join(f"{name} with {n} images {share:.3f}" for (name, n), share in accuracy.items()) + ".")
    claims.show(
        Claim("CNN above ViT, 100 images", "ViTs need more data (first set of notes)", gap[100], at_least=0.08),
        Claim("the gap at 100 images less the gap at 1000", "ViTs need more data (first set of notes)", gap[100] - gap[1000], at_least=0.05),
        Claim("ViT, 1000 images", "not in the lecture", accuracy["ViT", 1000], at_least=0.85),
        Claim("the same without positions", "“Where is it?” (CS909)", accuracy["ViT without positions", 1000], at_most=0.75),
        Claim("Mixer less ViT, 1000 images", "attention is not necessary (CS909)", accuracy["Mixer", 1000] - accuracy["ViT", 1000], at_least=-0.05),
    )

# %% [markdown]
# With 100 images the CNN is far ahead, with 1000 the gap is small: what the convolution knew in advance, the ViT has by then mostly learned. The gap is what "needs more data" means, measured. The crossing at ten million images is *not* measured here, nor is anything about photographs;
# on 8 × 8 digits the CNN stays ahead at every size we have. And the Mixer does as well as the ViT on these well-centred digits: mixing tokens is necessary, attention is one way to do it. It earns its price where *which* tokens matter depends on what they say, as in language.
# For larger images call `data_experiment(seed=0, name="mnist", p=7)`, or `"fashion-mnist"`, or `"cifar10"` with `p=8`. They are downloaded once and take longer.
#
# The translation scores in the lecture (28.4 and 41.8 BLEU) are the paper's, at a size that no notebook reaches.

# %% [markdown]
# ## 10  Turn the knobs
#
# Left, the kernel smoother of section 1: θ decides how far a query listens. Right, the weights of causal dot-product attention for ten random tokens, from your `sdpa` with the identity as values, so that each output *is* its row of weights.
# The **temperature** divides the scores: below 1 it sharpens the rows, above 1 it flattens them. Dividing by $\sqrt d$ where $\sqrt{d_k}$ is right is a temperature of $\sqrt h$. Take off the mask, and the upper triangle fills.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-attention", "locked": true, "schema_version": 3, "solution": false, "task": false}
def attention_map(theta: float, temperature: float, causal: bool) -> tuple[matplotlib.figure.Figure, str]:
    """Nadaraya-Watson smoothing with inverse width theta, and a heat map of (causal) attention at a temperature."""
    rng = np.random.default_rng(5)
    places = torch.as_tensor(np.sort(rng.uniform(0, 6, 15)))[:, None]
    heights = torch.sin(places) + 0.2 * torch.as_tensor(rng.normal(size=(15, 1)))
    grid = torch.linspace(0, 6, 150, dtype=torch.float64)[:, None]
    curve = kernel_attention(grid, places, heights, theta)
    q, k = torch.as_tensor(rng.normal(size=(2, 10, 16)))
    weights = sdpa(q / temperature, k, torch.eye(10, dtype=torch.float64), causal_mask(10) if causal else None)
    fig, (left, right) = plotting.subplots(2, width=7.2, height=3.3)
    left.scatter(places, heights, s=24, color="0.45")
    left.plot(grid, curve, color=plotting.COLOURS[0], linestyle="-")
    left.set(xlabel="query", ylabel="answer", ylim=(-1.6, 1.6), title=f"θ = {theta:g}")
    image = right.imshow(weights, vmin=0, vmax=1)
    right.set(xlabel="key", ylabel="query", title=f"temperature {temperature:g}")
    right.grid(visible=False)
    fig.colorbar(image, ax=right, label="weight")
    rows = float(weights[5:].max(1).values.mean())
    return fig, (
        f"Left: 15 noisy samples of a sine, smoothed with theta = {theta:g}; the curve runs from {float(curve.min()):.2f} to {float(curve.max()):.2f}. "
        f"Right: attention weights of ten tokens at temperature {temperature:g}, {'lower triangle only' if causal else 'without a mask'}; the largest weight of a row is {rows:.2f} on average over the last five."
    )


with checks.uses("kernel_attention", "sdpa", "causal_mask"):
    widgets.explore(
        attention_map,
        sliders={"theta": (0.1, 10.0, 0.1, 2.0), "temperature": (0.1, 5.0, 0.1, 1.0), "causal": True},
        twin=[
            {"theta": 0.3, "temperature": 5.0},
            {"theta": 2.0, "temperature": 1.0},
            {"theta": 10.0, "temperature": 0.2},
            {"theta": 2.0, "temperature": 1.0, "causal": False},
        ],
        title="Attention, narrow and wide",
    )

# %% [markdown]
# ## 11  Written question
#
# (a) CS909 divides the scores by $\sqrt d$, with $d$ the width of a token. Derive which number belongs under the root, and say what goes wrong with the lecture's when there are $h = 16$ heads. (2 points)
#
# (b) CS909 lists "'Class' tokens: add global features to each example to enable global sharing of information across examples". Correct this sentence. Say what is shared across examples and what is not, and how you would test it on a trained model. (2 points)
#
# Five to ten sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) Let the entries of $q$ and $k$ be independent with mean 0 and variance 1. Then $q \cdot k = \sum_{i=1}^{d_k} q_i k_i$ has mean 0, and as each term has variance $\mathbb{E}[q_i^2]\,\mathbb{E}[k_i^2] = 1$, it has variance $d_k$.
# Dividing by $\sqrt{d_k}$ makes the scores spread by 1 at every width, so that the softmax neither saturates nor flattens as the model grows. The number of terms in the sum is the width of queries and keys, not of tokens.
# With $h = 16$ heads $d_k = d/16$. Divided by $\sqrt d = 4\sqrt{d_k}$ the scores spread by only $\tfrac14$: a temperature of 4. The weights start close to $1/n$, every head computes nearly the mean of all values, and $W_q, W_k$ must grow fourfold in all to make up for it.
#
# (b) A class token is one more token, with a learned start, that is put before the tokens of each example. In the blocks it attends to the other tokens of *its own* example, so its output pools global information across the **tokens of one example**, for the classifier to read.
# Across examples only the learned parameters are shared: the class token's starting vector and the weights, as in every layer. No activation passes from one example to another. To test it, change one example of a batch and compare the logits of the others before and after: they must be equal
# (here the difference was 0); or evaluate an example alone and in a batch. Change one patch of the example itself, and its logits move.
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: the variance of the dot product is $d_k$, derived as a sum of $d_k$ terms of variance 1 (independence and zero mean named); half a point for "keeps the softmax from saturating" without the derivation.
# - (a) 1 point: with 16 heads $\sqrt d = 4\sqrt{d_k}$ (half), so scores are 4 times too small and the weights too even at the start (half).
# - (b) 1 point: it pools across the tokens of one example; across examples only parameters are shared.
# - (b) 1 point: a test that would tell: change one example and watch the others' outputs, or alone against in a batch.
#
# Accept the mean over tokens named as an alternative to class tokens. Batch norm as a layer that does mix examples is a good remark, not required.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - Attention is a kernel smoother: a softmax over the keys of the scores of one query, times the values. With a Gaussian kernel it is Nadaraya–Watson.
# - Scores are divided by $\sqrt{d_k}$, the spread of a dot product of width $d_k$. Masked scores are $-\infty$ before the softmax, not 0.
# - Next-token training shifts by one place, masks what comes later, and leaves padding out of the mean.
# - Heads split the features, not the tokens; they cost no parameters. Attention is permutation-equivariant: order comes from position codes.
# - Layer norm works on one token, a class token pools one example. Neither sees the rest of the batch.
# - A one-block GPT learns XOR as a table, and parity if it may write down its steps. In one pass it does not.
# - Cost grows like $n^2$; positive random features make it $n$, with an error like $1/\sqrt m$.
# - A ViT knows less about images than a CNN and pays in data.
#
# **Next:** attention is message passing on a complete graph. Other graphs follow in 06-gnn.
