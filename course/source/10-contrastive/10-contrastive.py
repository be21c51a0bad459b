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
# # 10 · Contrastive learning
#
# Labels are dear and images are not. This notebook trains a network on images alone: two altered copies of the same image must get similar vectors, copies of different images must not.
# You write the loss exactly, the copies, the two usual ways to judge what was learned, and the training. Then you measure what each ingredient is worth, and what happens when one is left out.
#
# **You will be able to**
# - write the NT-Xent loss exactly, and say what its temperature, its negatives and its mean do;
# - make two views of an image, and say which alterations a task forbids;
# - judge features by their nearest neighbours and by a linear probe, without letting the test set or the encoder's own training leak in;
# - recognise collapse by a number, and say which term of the loss prevents it;
# - tell from numbers which augmentation teaches something, which one hurts, and that a solved pretext task proves nothing.
#
# | | |
# |---|---|
# | Time and points | about 230 minutes, 29 points |
# | of which | exercises: 150 minutes, 25 points; written question: 20 minutes, 4 points; reading and experiments: 60 minutes |
# | Running time | about 50 seconds on one CPU core, once everything is filled in |
# | You need | PyTorch tensors and `nn.Module`; cross-entropy; batch norm helps (04-resnet) |
#
# **Lecture sections it follows.** *Deep Learning for Computer Vision, Part I*: "Main idea: self-supervised learning with a pretext task", "Contrastive learning", "Contrastive loss".
# Y. M. Asano, *Deep Learning*, MLx Fundamentals 2024: "General procedure of self-supervised learning", "Why do we want to do self-supervised learning?", "Self-supervised labelling from three core ideas".
# The first set of lecture notes: "Self-supervised Learning". The third set: "Contrastive Learning".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
# Everything is torch. Compute in the dtype and on the device that you are given; change no argument; draw no random numbers except from the generator or the `seed` that you are given.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from collections import Counter
from collections.abc import Callable

import matplotlib.figure
import matplotlib.patches
import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import distance
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from dlcourse_utils import checks, claims, data, device, plotting, training, widgets
from dlcourse_utils.claims import Claim

torch.set_num_threads(1)  # these models are tiny: more threads only get in each other's way
digits = data.load("digits", flat=False).torch()  # images (N, 1, 8, 8) in [0, 1]

# %% [markdown]
# ## 1  Near and far, by angle
#
# Self-supervised learning has two phases. First an **encoder** $f$ is trained on unlabelled images, with a task whose answers come free with the data. Then the encoder is frozen, and a few labelled images
# show what its features $h = f(x)$ are worth. What the first task should be is the question of this notebook.
#
# The contrastive answer is: *tell this image from all the others*. For that we need to say how similar two vectors are. The usual measure is the cosine of the angle between them,
#
# $$ \operatorname{sim}(a, b) = \frac{a^\top b}{\lVert a\rVert\, \lVert b\rVert} \in [-1, 1]. $$
#
# It is 1 for the same direction, 0 at right angles, −1 for opposite directions, and blind to lengths: a network cannot lower its loss by making all vectors longer. The zero vector has no direction; we say that its similarity to anything is 0.

# %% [markdown]
# **Exercise 10.1 · `cosine`** (3 points · difficulty 1 of 5 · about 10 minutes)
#
# Write the table of similarities of every row of `A` with every row of `B`. `F.cosine_similarity` is off limits; norms and matrix products are yours. A row of zeros gives zeros, not NaN.
#
# <details><summary>Hint 1: where to start</summary>
#
# If all rows had length 1, one matrix product would be the whole answer. So first divide each row by its length.
#
# </details>
#
# <details><summary>Hint 2: shapes and zeros</summary>
#
# `A.norm(dim=1, keepdim=True)` has shape (n, 1) and divides row by row. `clamp_min` with a tiny number keeps 0/0 away and changes nothing else.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "cosine", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cosine(A: Tensor, B: Tensor) -> Tensor:
    """Cosine similarities of all pairs of rows.

    Args:
        A: vectors, shape (n, d), floating point.
        B: vectors, shape (m, d), same dtype.

    Returns:
        Shape (n, m), dtype of the inputs: ``[i, j]`` is the cosine of the angle between ``A[i]`` and ``B[j]``;
        0 where one of them is the zero vector.
    """
    ### BEGIN SOLUTION
    return F.normalize(A, dim=1) @ F.normalize(B, dim=1).mT
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-cosine", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("cosine", points=3)
READY_MADE = ("torch.nn.functional.cosine_similarity", "torch.cosine_similarity")

with check("two rows against three, by hand", points=1, off_limits=READY_MADE):
    check.close(
        cosine(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [5.0, 0.0], [-1.0, 0.0]])),
        [[0.0, 1.0, -1.0], [0.8, 0.6, -0.6]],
        mistakes={
            "These are dot products. Divide by the lengths of both vectors.": [[0.0, 5.0, -1.0], [8.0, 15.0, -3.0]],
            "The rows of B were not divided by their lengths.": [[0.0, 5.0, -1.0], [1.6, 3.0, -0.6]],
            "The rows of A were not divided by their lengths.": [[0.0, 1.0, -1.0], [4.0, 3.0, -3.0]],
            "The columns were normalised. A vector is a row here: take the norm over the last axis.": [
                [0.0, 0.310087, -0.062017],
                [1.0, 0.930261, -0.186052],
            ],
            "The table is transposed: each row of A gets a row.": [[0.0, 0.8], [1.0, 0.6], [-1.0, -0.6]],
            "These are distances. A similarity is 1 for the same direction.": [[1.0, 0.0, 2.0], [0.2, 0.4, 1.6]],
        },
    )

### BEGIN HIDDEN TESTS
with check("fresh vectors of other sizes", points=1, off_limits=READY_MADE):
    for n, m, d, dtype in ((1, 1, 1, torch.float64), (3, 5, 2, torch.float64), (4, 4, 4, torch.float64), (6, 2, 9, torch.float32)):
        A, B = (torch.randn(d, rows, generator=check.gen, dtype=dtype).mT for rows in (n, m))  # as transposes: not contiguous
        A = A * torch.logspace(0, 2, n, dtype=dtype)[:, None]
        with check.no_side_effects(A, B):
            got = cosine(A, B)
        check.shape(got, (n, m), mistakes={"Only row i of A was compared with row i of B. Compare every row with every row.": (n,)})
        check.dtype(got, dtype)
        check.close(
            got,
            1 - distance.cdist(A.double().numpy(), B.double().numpy(), "cosine"),
            rtol=1e-4,
            atol=1e-5,
            mistakes={
                "These are dot products. Divide by the lengths of both vectors.": lambda: A @ B.mT,
                "The rows of B were not divided by their lengths.": lambda: A / A.norm(dim=1, keepdim=True) @ B.mT,
                "The rows of A were not divided by their lengths.": lambda: A @ (B / B.norm(dim=1, keepdim=True)).mT,
                "The columns were normalised. A vector is a row here: take the norm over the last axis.": lambda: A / A.norm(dim=0) @ (B / B.norm(dim=0)).mT,
            },
        )

with check("zero rows give 0, and gradients flow", points=1, off_limits=READY_MADE):
    A, B = (torch.randn(rows, 3, generator=check.gen, dtype=torch.float64) for rows in (4, 5))
    A[1], B[2] = 0.0, 0.0
    got = cosine(A, B)
    check.law(
        torch.isfinite(got).all(),
        f"a row of zeros gives zeros; got {got[1, 0].item()}",
        mistakes={"0/0 is NaN. Keep the length away from 0, with clamp_min for instance.": lambda: torch.isnan(got[1]).all()},
    )
    check.close(got[1], np.zeros(5), atol=1e-9)
    check.close(got[:, 2], np.zeros(4), atol=1e-9)
    leaves = [torch.randn(rows, 3, generator=check.gen, dtype=torch.float64, requires_grad=True) for rows in (4, 5)]
    out = cosine(*leaves)
    check.law(out.requires_grad, "gradients flow back to A and B; yours were cut off (detach, .data, or numpy)")
    for leaf, gradient in zip(leaves, torch.autograd.grad(out.square().sum(), leaves), strict=True):
        check.law(
            torch.allclose((leaf * gradient).sum(1), torch.zeros(len(leaf), dtype=torch.float64), atol=1e-6) and (gradient != 0).any(),
            "making a vector longer changes no similarity, so the gradient stands at right angles to it; yours does not",
            mistakes={"The length was treated as a constant. Gradients must flow through it too.": True},
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 2  One positive among many
#
# A batch of $N$ images gives $2N$ embeddings, two of each image: $z_1, \dots, z_N$ from the first views and $z_{N+1}, \dots, z_{2N}$ from the second. Take one of them, $z_i$, the **anchor**. The other view of the same image, $z_{p(i)}$, is its **positive**;
# the other $2N - 2$, of either kind of view, are its **negatives**. Recognising the positive is a classification with $2N - 1$ classes, so we ask for it with a cross-entropy:
#
# $$ \ell_i = -\log \frac{\exp\big(\operatorname{sim}(z_i, z_{p(i)})/\tau\big)}{\sum_{j \ne i} \exp\big(\operatorname{sim}(z_i, z_j)/\tau\big)}, \qquad
# \mathcal{L} = \frac{1}{2N} \sum_{i=1}^{2N} \ell_i \qquad\text{(Chen and others, 2020).} $$
#
# The sum below the line holds the positive and all negatives, but not the anchor itself. This is the **NT-Xent** loss (normalised temperature-scaled cross-entropy), also called InfoNCE.
# The **temperature** $\tau$ decides how sharply the classes are told apart: the gradient on a negative is proportional to its softmax weight, so a small $\tau$ pushes only the most similar ones away, a large one all alike.
#
# Three values to remember: if all embeddings are the same, every $\ell_i = \log(2N - 1)$, at any $\tau$. For $N = 1$ there is no negative and the loss is 0, whatever the network does. And with $\tau = 0.01$ the exponentials reach $e^{100}$, too large for float32: take logarithms before they overflow.

# %% nbgrader={"grade": false, "grade_id": "figure-batch", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, (layout, push) = plotting.subplots(2, width=9.4, height=3.9)
kinds = np.ones((6, 6))
kinds[np.arange(6), np.arange(6)], kinds[np.arange(6), (np.arange(6) + 3) % 6] = 0, 2
layout.imshow(kinds, cmap="Blues", vmin=-1, vmax=4)
for (i, j), kind in np.ndenumerate(kinds):
    layout.text(j, i, ("×", "−", "+")[int(kind)], ha="center", va="center", fontsize=14, fontweight="bold" if kind == 2 else "normal")
views_of_three = ["1a", "2a", "3a", "1b", "2b", "3b"]
layout.set_xticks(range(6), views_of_three)
layout.set_yticks(range(6), views_of_three)
layout.set(xlabel="compared with", ylabel="anchor", title="+ positive, − negative, × left out")
layout.grid(visible=False)
s = np.linspace(-1, 1, 101)
plotting.curves(
    push,
    {f"τ = {tau:g}": np.exp(s / tau) / np.exp(s / tau).mean() for tau in (0.1, 0.5, 2.0)},
    x=s,
    xlabel="similarity of the negative",
    ylabel="push, relative to the mean",
)
push.set(ylim=(0, 8), xticks=[-1, -0.5, 0, 0.5, 1], title="How hard a negative is pushed")
plotting.show(
    fig,
    alt="Left: the table of similarities for three images with two views each, six rows and six columns. The diagonal is left out; in each row the column three places on is the positive and the other four are negatives. "
    "Right: how hard a negative is pushed away against its similarity, relative to the mean. At temperature 0.1 almost only negatives with similarity above 0.7 are pushed, at 0.5 the push grows steadily, at 2 it is nearly the same for all.",
)

# %% [markdown]
# **Exercise 10.2 · `nt_xent`** (6 points · difficulty 3 of 5 · about 30 minutes)
#
# Write the loss with your `cosine`. `F.cross_entropy` and `logsumexp` are allowed; the point is which numbers they get.
#
# <details><summary>Hint 1: where to start</summary>
#
# Put both views into one table of 2N rows and take its similarities with itself, divided by τ. Row $i$ holds the logits of anchor $i$. Which column must not take part, and which is the right class? Write them down for N = 3.
#
# </details>
#
# <details><summary>Hint 2: the diagonal and the target</summary>
#
# A logit of $-\infty$ has probability 0: `masked_fill` with `torch.eye(2 * N, dtype=torch.bool)`. The positive of row $i$ is row $i + N$ in the first half and $i - N$ in the second: `torch.arange(2 * N).roll(N)`. Now it is a plain cross-entropy.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "nt_xent", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nt_xent(z1: Tensor, z2: Tensor, tau: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1), the mean over all 2N anchors.

    Args:
        z1: embeddings of the first views, shape (N, d), of any length.
        z2: embeddings of the second views, shape (N, d); ``z2[i]`` belongs to the same image as ``z1[i]``.
        tau: temperature, above 0.

    Returns:
        A scalar, dtype of the inputs. 0 for N = 1.
    """
    ### BEGIN SOLUTION
    z, N = torch.cat([z1, z2]), len(z1)
    itself = torch.eye(2 * N, dtype=torch.bool, device=z.device)
    logits = (cosine(z, z) / tau).masked_fill(itself, -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * N, device=z.device).roll(N))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-nt_xent", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("nt_xent", points=6)
### BEGIN HIDDEN TESTS
check.use(cosine=lambda A, B: F.cosine_similarity(A[:, None], B[None], dim=-1))
### END HIDDEN TESTS

with check("two images by hand", points=1):
    check.close(
        nt_xent(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]), tau=0.5),
        0.758885,
        mistakes={
            "The anchor itself stands below the line. Leave out the diagonal.": 1.307907,
            "The anchor's own logit was set to 0, a weight of 1. Set it to minus infinity.": 0.856305,
            "The embeddings were not normalised: use cosines, not dot products.": 6.505953,
            "The wrong embedding was taken as the positive. It is row i + N, for second views i - N.": 1.558885,
            "The negatives from the same view are missing. All 2N - 2 count, of either view.": 0.454060,
            "The sum over 2N anchors was divided by N. That is twice the mean.": 1.517770,
            "This is the sum over the anchors. Take their mean.": 3.035541,
            "The similarities were multiplied by tau. Divide by it.": 0.979238,
            "tau was not used.": 0.885449,
            "The minus sign is missing: this loss would drive the views apart.": -0.758885,
            "The positive is missing below the line. All embeddings but the anchor stand there.": 0.038524,
            "Only the first views were anchors. The second views are, too.": 0.531209,
        },
    )

### BEGIN HIDDEN TESTS


def anchor_by_anchor(z1, z2, tau, *, itself=False, other_view_only=False, divide=None, positive=None, one_way=False):
    """The same loss by two loops in float64, and what becomes of it with a mistake."""
    z = np.concatenate([z1.detach().double().numpy(), z2.detach().double().numpy()])
    s, n = 1 - distance.cdist(z, z, "cosine"), len(z1)
    anchors = range(n if one_way else 2 * n)
    total = 0.0
    for i in anchors:
        right = (i + n) % (2 * n) if positive is None else positive(i, n)
        others = [s[i, j] / tau for j in range(2 * n) if (itself or j != i) and not (other_view_only and (i < n) == (j < n))]
        total += np.logaddexp.reduce(others) - s[i, right] / tau
    return total / (divide or len(anchors))


with check("fresh batches", points=2):
    for n, d, tau, dtype in ((2, 1, 1.0, torch.float64), (3, 4, 0.5, torch.float64), (4, 4, 0.1, torch.float64), (7, 3, 2.0, torch.float32)):
        z1, z2 = (3 * torch.randn(d, n, generator=check.gen, dtype=dtype).mT for _ in range(2))
        with check.no_side_effects(z1, z2):
            got = nt_xent(z1, z2, tau)
        check.shape(got, (), mistakes={"There is one loss an anchor. Take their mean.": (2 * n,)})
        check.dtype(got, dtype)
        check.close(
            got,
            anchor_by_anchor(z1, z2, tau),
            rtol=1e-4,
            mistakes={
                "The anchor itself stands below the line. Leave out the diagonal.": lambda: anchor_by_anchor(z1, z2, tau, itself=True),
                "The negatives from the same view are missing. All 2N - 2 count, of either view.": lambda: anchor_by_anchor(z1, z2, tau, other_view_only=True),
                "The sum over 2N anchors was divided by N. That is twice the mean.": lambda: anchor_by_anchor(z1, z2, tau, divide=len(z1)),
                "tau was not used.": lambda: anchor_by_anchor(z1, z2, 1.0),
                "The similarities were multiplied by tau. Divide by it.": lambda: anchor_by_anchor(z1, z2, 1 / tau),
                "The positives are off by one: row i + N belongs to row i.": lambda: anchor_by_anchor(
                    z1, z2, tau, positive=lambda i, n: (i + n + (1 if i < n else -1)) % (2 * n)
                ),
                "The wrong embedding was taken as the positive. It is row i + N, for second views i - N.": lambda: anchor_by_anchor(
                    z1, z2, tau, positive=lambda i, n: i ^ 1
                ),
                "Only the first views were anchors. The second views are, too.": lambda: anchor_by_anchor(z1, z2, tau, one_way=True),
            },
        )

with check("no negatives: 0; all embeddings equal: log(2N - 1)", points=1):
    z1, z2 = (torch.randn(1, 5, generator=check.gen, dtype=torch.float64) for _ in range(2))
    check.close(
        nt_xent(z1, z2, 0.3),
        0.0,
        atol=1e-9,
        mistakes={
            "The anchor itself stands below the line. With one image only the positive does, and the loss is 0.": lambda: anchor_by_anchor(
                z1, z2, 0.3, itself=True
            ),
        },
    )
    for n, tau in ((2, 0.5), (5, 0.1), (16, 3.0)):
        same = torch.randn(1, 6, generator=check.gen, dtype=torch.float64)
        lengths = torch.rand(n, 1, generator=check.gen, dtype=torch.float64) + 0.5
        check.close(
            nt_xent(same * lengths, same.expand(n, 6), tau),
            math.log(2 * n - 1),
            rtol=1e-5,
            mistakes={
                "The anchor itself stands below the line. Leave out the diagonal.": math.log(2 * n),
                "The negatives from the same view are missing. All 2N - 2 count, of either view.": math.log(n),
                "The positive is missing below the line. All embeddings but the anchor stand there.": math.log(2 * n - 2),
                "The sum over 2N anchors was divided by N. That is twice the mean.": 2 * math.log(2 * n - 1),
            },
        )

with check("a temperature of 0.01 in float32", points=1):
    for spread in (0.01, 1.0):
        centre = torch.randn(1, 8, generator=check.gen)
        z1, z2 = (centre + spread * torch.randn(6, 8, generator=check.gen) for _ in range(2))
        got = nt_xent(z1, z2, 0.01)
        check.law(
            torch.isfinite(got).all(),
            f"a finite loss at tau = 0.01; got {got.item() if got.numel() == 1 else got}",
            mistakes={"exp(100) overflows float32. Use cross_entropy or logsumexp, which subtract the largest logit first.": True},
        )
        check.close(got, anchor_by_anchor(z1, z2, 0.01), rtol=1e-2, atol=2e-3)

with check("its gradient, into both views", points=1):
    leaves = [torch.randn(4, 3, generator=check.gen, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    loss = nt_xent(*leaves, 0.4)
    check.law(loss.requires_grad, "the loss has a gradient; yours was cut off (detach, .item(), or numpy)")
    for view, (leaf, gradient) in enumerate(zip(leaves, torch.autograd.grad(loss, leaves, allow_unused=True), strict=True), start=1):
        check.law(gradient is not None, f"the gradient flows into both views; none came to z{view}", mistakes={"One view was detached.": True})
        slopes = torch.empty_like(leaf, requires_grad=False)
        with torch.no_grad():
            for index in np.ndindex(4, 3):
                step = torch.zeros(4, 3, dtype=torch.float64)
                step[index] = 1e-5
                up, down = ([part + sign * step * (k == view) for k, part in enumerate(leaves, start=1)] for sign in (1, -1))
                slopes[index] = (nt_xent(*up, 0.4) - nt_xent(*down, 0.4)) / 2e-5
        check.close(
            gradient,
            slopes,
            rtol=1e-4,
            atol=1e-7,
            mistakes={
                "Part of the gradient is cut off: a detach somewhere.": lambda gradient=gradient, slopes=slopes: gradient if (slopes != 0).any() else None
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### The lecture's formula, term by term
#
# *Deep Learning for Computer Vision, Part I* ("Contrastive loss") writes, for a positive pair $(\tilde x, \hat x)$ with $\tilde z = g_1(e(\tilde x))$ and $\hat z = g_1(e(\hat x))$,
#
# $$ l(\tilde x, \hat x) = -\log \frac{e^{\operatorname{sim}(\tilde z, \hat z)/\tau}}{e^{\operatorname{sim}(\tilde z, \hat z)/\tau} + \sum_{\tilde x \in \Lambda^-} e^{\operatorname{sim}(\tilde z, g_1(e(\tilde x)))/\tau}},
# \qquad L_g = \frac{1}{\lvert\Lambda^+\rvert} \sum_{(\tilde x, \hat x) \in \Lambda^+} \big[\, l(\tilde x, \hat x) + l(\hat x, \tilde x) \,\big]. $$
#
# Two things need care (erratum E41). First, $\tilde x$ is the anchor *and* the index of the sum. What is meant is clear: another letter for the negatives. But read to the letter, $\tilde z$ inside the sum is the embedding of that same $\tilde x$,
# so each negative is compared **with itself**: every term is $e^{1/\tau}$, and the negatives drop out of the gradient. Section 6 shows what such a loss learns. Second, $L_g$ adds both directions of each pair and divides by the number of *pairs*, so it is twice SimCLR's mean over $2N$ anchors.
# That changes no minimum, but it doubles the gradient, and with it what a learning rate means.


# %% nbgrader={"grade": false, "grade_id": "experiment-lecture-loss", "locked": true, "schema_version": 3, "solution": false, "task": false}
def attraction_only(z1: Tensor, z2: Tensor, tau: float = 0.5) -> Tensor:
    """The lecture's L_g to the letter, for N pairs: an anchor's 2N - 2 negatives are compared with themselves, exp(1/tau) each."""
    similarity = F.cosine_similarity(z1, z2, dim=1)
    return 2 * F.softplus((1 - similarity) / tau + math.log(2 * len(z1) - 2)).mean()


def lecture_experiment(seed: int) -> dict[str, float]:
    """The lecture's loss against your NT-Xent: their ratio for two pairs, and what other images matter to an anchor's gradient."""
    by_hand = 1.517770  # L_g as it is meant, for the two pairs below at tau = 0.5: each pair's two directions added, over two pairs
    ours = nt_xent(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]), tau=0.5)
    generator = torch.Generator().manual_seed(seed)
    z1, z2, elsewhere1, elsewhere2 = (torch.randn(32, 16, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(4))
    # Put other images into all rows but the first: a loss that has negatives pushes the first pair another way.
    moved = [torch.cat([z[:1], other[1:]]) for z, other in ((z1, elsewhere1), (z2, elsewhere2))]
    change = {}
    for name, loss in (("NT-Xent", nt_xent), ("to the letter", attraction_only)):
        before, after = (torch.autograd.grad(loss(*pair), z1)[0][0] for pair in ((z1, z2), moved))
        change[name] = float((after - before).norm() / before.norm())
    return {"ratio": by_hand / float(ours), **change}


# %% nbgrader={"grade": false, "grade_id": "experiment-lecture-loss-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("cosine", "nt_xent"):
    measured = lecture_experiment(seed=0)
    claims.show(
        Claim(
            "lecture's loss as meant / your NT-Xent",
            "“total loss over all positive pairs” (Part I)",
            measured["ratio"],
            at_least=1.9999,
            at_most=2.0001,
        ),
        Claim(
            "NT-Xent: change of an anchor's gradient with other negatives",
            "“negative pairs terms” (Part I)",
            measured["NT-Xent"],
            at_least=0.1,
        ),
        Claim("the same, lecture's loss to the letter", "“negative pairs terms” (Part I)", measured["to the letter"], at_most=1e-9),
    )

# %% [markdown]
# ## 3  Two views of an image
#
# What counts as "the same image"? That is where knowledge enters; Asano's lecture says that augmentations "infuse knowledge". Whatever the views differ in, the encoder learns to ignore; whatever they share, it may use to find the positive.
# A digit moved by a pixel, turned by ten degrees or written a little larger is the same digit, so a random **affine map** is a good view. Mirrored, a 2 is no digit at all, and a 6 turned by 180° is a 9 (the five nearest neighbours by pixels say so of 44 in 46): differences that an encoder of digits must *not* ignore.
# The recipe on the slide in the third set of notes (crop, flip, change the colours) was made for photographs, where a mirrored dog is a dog.
#
# The two views of an image must differ, every image of a batch needs draws of its own, and the network must never be told which draw it was.

# %% [markdown]
# **Exercise 10.3 · `two_views`** (4 points · difficulty 3 of 5 · about 25 minutes)
#
# Make two views of each image of a batch by small random shifts, turns, changes of size or crops; which and how strong is yours, and noise or changes of brightness may come on top. The digit must move, stay readable to you, and never be mirrored or turned by 90° or more. All randomness comes from `gen`.
# The transforms of torchvision draw from the global generator, so they will not do.
#
# <details><summary>Hint 1: where to start</summary>
#
# Write a helper that makes *one* view of every image, and call it twice. In it, draw one angle, one scale and one shift for each image: `torch.rand(N, generator=gen)` gives N numbers in [0, 1).
#
# </details>
#
# <details><summary>Hint 2: moving pixels</summary>
#
# `F.affine_grid(theta, list(x.shape), align_corners=False)` and `F.grid_sample(x, grid, align_corners=False)` move all images at once, each by its own 2 × 3 matrix in `theta`, shape (N, 2, 3): a rotation times a scale, and in the last column a shift, where the image reaches from −1 to 1.
# Simpler: pad by one pixel and cut out at a random place, image by image. The generator lives on the CPU; move what you draw to the device and dtype of `x`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "two_views", "locked": false, "schema_version": 3, "solution": true, "task": false}
def two_views(x: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two random views of every image, drawn for each image and each view anew.

    Args:
        x: grey images, shape (N, 1, H, W), floating point, values around 0 to 1.
        gen: generator on the CPU; the only source of randomness.

    Returns:
        Two tensors of the shape, dtype and device of ``x``. Row i of both shows image i.
    """
    ### BEGIN SOLUTION

    def view() -> Tensor:
        angle, scale, right, down = (2 * torch.rand(4, len(x), generator=gen) - 1).to(x)
        angle, scale = math.radians(15) * angle, 1 + 0.15 * scale
        turn = torch.stack([scale * angle.cos(), -scale * angle.sin(), scale * angle.sin(), scale * angle.cos()], dim=1)
        theta = torch.cat([turn.reshape(-1, 2, 2), 0.3 * torch.stack([right, down], dim=1)[..., None]], dim=2)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)

    return view(), view()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-two_views", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("two_views", points=4)

with check("two different views, shaped like the images", points=1):
    images = digits.x_train[:6]
    views = two_views(images, torch.Generator().manual_seed(0))
    check.law(isinstance(views, tuple | list) and len(views) == 2, "two tensors are returned, one for each view")
    for view in views:
        check.shape(view, (6, 1, 8, 8))
    altered = not torch.allclose(views[0], images, atol=1e-4)
    check.law(
        not torch.allclose(views[0], views[1], atol=1e-4),
        "the two views of an image differ; yours are the same",
        mistakes={"The same alteration was used for both views. Draw anew for the second one.": altered},
    )

### BEGIN HIDDEN TESTS


def closest(view, bank):
    """For each view the index of the picture in ``bank`` that it correlates with most, whatever its brightness and contrast."""
    flat, pictures = ((t.flatten(1).double() - t.flatten(1).double().mean(1, keepdim=True)) for t in (view, bank))
    return (F.normalize(flat, dim=1) @ F.normalize(pictures, dim=1).mT).argmax(1)


def moved(pictures, turns=(0,), sizes=(1.0,), steps=(-2, -1, 0, 1, 2)):
    """Every picture under small turns, sizes and shifts: (alterations, pictures, 1, H, W)."""
    found = []
    for degrees in turns:
        for size in sizes:
            c, s = math.cos(math.radians(degrees)) / size, math.sin(math.radians(degrees)) / size
            theta = torch.tensor([[c, -s, 0.0], [s, c, 0.0]]).expand(len(pictures), 2, 3)
            turned = F.pad(F.grid_sample(pictures, F.affine_grid(theta, list(pictures.shape), align_corners=False), align_corners=False), (2, 2, 2, 2))
            H, W = pictures.shape[2:]
            found += [turned[:, :, 2 + i : 2 + i + H, 2 + j : 2 + j + W] for i in steps for j in steps]
    return torch.stack(found)


with check("fresh draws for each image and view, from the generator only", points=1):
    x = digits.x_train[int(check.rng.integers(1000))][None].expand(8, 1, 8, 8)
    seed, other = check.seeds(2)
    gen = torch.Generator().manual_seed(seed)
    with check.no_side_effects(x):
        first, second = two_views(x, gen)
        third, _ = two_views(x, gen)
    check.law(
        all(not torch.allclose(v[0], v[k], atol=1e-4) for v in (first, second) for k in range(1, 8)),
        "every image of a batch is altered in its own way; here the same image eight times gave equal views",
        mistakes={"One draw was used for the whole batch. Draw N numbers, one an image.": True},
    )
    check.law(not torch.allclose(first, second, atol=1e-4), "the two views are drawn independently")
    check.law(not torch.allclose(first, third, atol=1e-4), "a second call with the same generator gives new views; seed nothing yourself")
    again = two_views(x, torch.Generator().manual_seed(seed))
    check.law(
        torch.equal(first, again[0]) and torch.equal(second, again[1]), "the same generator state gives the same views; yours have another source of randomness"
    )
    check.law(not torch.allclose(first, two_views(x, torch.Generator().manual_seed(other))[0], atol=1e-4), "another generator state gives other views")

with check("the image moves, and can still be recognised in its row", points=0.5):
    ink = torch.zeros(200, 1, 8, 8)
    ink[:, :, 2:5, 2:6] = 1.0
    for name, view in zip(("first", "second"), two_views(ink, check.gen), strict=True):
        place = (view.clamp_min(0).sum(2) @ torch.arange(8.0) / view.clamp_min(0).sum((2, 3)).clamp_min(1e-6))[:, 0]
        check.at_least(
            place.std(),
            0.15,
            f"spread of a patch's horizontal place in the {name} views, in pixels",
            mistakes={"The patch stays where it is, or nearly. Noise and brightness alone do not do: move the image, by about a pixel.": True},
        )
    # Right answers of four kinds reach 0.48 and more with an error of 0.025: 0.35 lies five of these below, one false alarm in five million.
    known: dict[str, list[float]] = {"first": [], "second": []}
    for chosen in check.rng.permutation(1200)[:400].reshape(4, 100):
        x = digits.x_train[torch.as_tensor(chosen)]
        bank = moved(x, turns=(-12, 0, 12), sizes=(0.85, 1.0, 1.15)).flatten(0, 1)
        for name, view in zip(known, two_views(x, check.gen), strict=True):
            known[name].append(float((closest(view, bank) % 100 == torch.arange(100)).float().mean()))
    for name, shares in known.items():
        check.at_least(
            np.mean(shares),
            0.35,
            f"share of {name} views that look more like their own image, moved a little, than like 99 others",
            mistakes={"Row i of a view must show image i: do not shuffle the batch, nor alter so much that the digit is lost.": True},
        )

with check("never mirrored, never turned by 90 degrees or more", points=1):
    F_shape = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0]] * 8).float()
    F_shape[1, 2:6], F_shape[1:7, 2], F_shape[3, 2:5] = 1.0, 1.0, 1.0
    poses = torch.stack([p.rot90(k, (0, 1)) for p in (F_shape, F_shape.flip(1)) for k in range(4)])[:, None]
    bank = moved(poses, turns=(-25, -12, 0, 12, 25), sizes=(0.8, 1.0, 1.25))
    for name, view in zip(("first", "second"), two_views(F_shape.expand(300, 1, 8, 8), check.gen), strict=True):
        check.at_least(view.flatten(1).std(1).mean(), 0.1, f"contrast (standard deviation of the pixels) of the {name} views of an F")
        pose = closest(view, bank.flatten(0, 1)) % 8
        check.at_least(
            (pose == 0).float().mean(),
            0.8,
            f"share of {name} views of an F that look like an F",
            mistakes={
                "Some views are mirrored. A mirrored 2 is no digit: leave flips out.": lambda pose=pose: (pose >= 4).float().mean() > 0.2,
                "Some views are turned by 90 or 180 degrees, which makes a 9 of a 6. Turn by less.": True,
            },
        )

with check("other sizes and dtypes, and real numbers", points=0.5):
    for shape, dtype in (((1, 1, 8, 8), torch.float64), ((12, 1, 9, 14), torch.float32), ((12, 1, 28, 28), torch.float64)):
        light = torch.linspace(0.2, 1.0, shape[0], dtype=dtype)  # from dark images to bright ones
        x = (light[:, None, None, None] * torch.rand(shape[0], 1, shape[3], shape[2], generator=check.gen, dtype=dtype)).mT
        with check.no_side_effects(x):
            views = two_views(x, check.gen)
        for view in views:
            check.shape(view, shape)
            check.dtype(view, dtype)
            check.finite(view)
            check.law(
                (view != view.round()).float().mean() > 0.3,
                "views hold real numbers between black and white; nearly all of yours are whole",
                mistakes={"Something rounded the pixels to whole numbers. Compute in the dtype of x.": True},
            )
            if len(x) > 1:  # right answers reach 0.9, over five errors above the bound on the scale where errors are even
                check.at_least(
                    np.corrcoef(light, view.mean((1, 2, 3)))[0, 1], 0.6, "correlation of the views' mean brightness with that of their images, dark to bright"
                )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-views", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("two_views"):
    chosen = torch.stack([digits.x_train[digits.y_train == label][which] for label, which in ((2, 8), (6, 5), (7, 0), (9, 1))])
    first, second = two_views(chosen, torch.Generator().manual_seed(4))
    columns = {
        "image": chosen,
        "view 1": first,
        "view 2": second,
        "mirrored": chosen.flip(3),
        "turned by 180°": chosen.flip((2, 3)),
    }
    fig, axes = plotting.subplots(5, 4, width=6.4, height=5.2)
    for column, (title, images) in enumerate(columns.items()):
        for row, image in enumerate(images[:, 0]):
            axes[row, column].imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axes[row, column].set_axis_off()
        axes[0, column].set_title(title)
    plotting.show(
        fig,
        alt="A 2, a 6, a 7 and a 9 in five columns: the image, your two views of it, mirrored, and turned by 180 degrees. In the views the digits are altered a little and stay readable. "
        "Mirrored, they are no digits any more; turned by 180 degrees, the 6 reads as a 9 and the 9 as a 6.",
    )

# %% [markdown]
# ## 4  Ask the neighbours
#
# Are the features any good? The cheapest test trains nothing at all: look up the $k$ labelled images whose features are most similar to a query's, by cosine, and let them vote. If images of one class lie together, the vote is right.
#
# $$ \hat y(q) = \text{the label that occurs most often among the } k \text{ images with the largest } \operatorname{sim}(h_q, h_i). $$
#
# Each neighbour has one vote, however near it is. Where two labels get equally many votes, either answer counts as right here. A query that is itself among the labelled images finds itself first, with similarity 1; that is as it should be, and a reason not to judge features on the images they were labelled with.

# %% [markdown]
# **Exercise 10.4 · `knn_predict`** (3 points · difficulty 2 of 5 · about 15 minutes)
#
# Write the vote for all queries at once, or query by query. Labels may be any whole numbers from 0 up. `KNeighborsClassifier` is off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Your `cosine` gives a table with one row a query. `topk` gives the columns of the k largest numbers of each row, and a tensor of labels can be indexed with them.
#
# </details>
#
# <details><summary>Hint 2: counting votes</summary>
#
# `F.one_hot` of the neighbours' labels has shape (queries, k, classes); summed over the neighbours it is the count of each label. `torch.mode` counts too.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "knn_predict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def knn_predict(Ztr: Tensor, ytr: Tensor, Zte: Tensor, k: int = 1) -> Tensor:
    """Labels by majority among the k most similar labelled vectors.

    Args:
        Ztr: features of the labelled images, shape (n, d), in no order.
        ytr: their labels, int64 from 0 up, shape (n,).
        Zte: features of the queries, shape (m, d).
        k: number of neighbours, 1 to n.

    Returns:
        Shape (m,), int64. Ties between labels may go either way.
    """
    ### BEGIN SOLUTION
    neighbours = cosine(Zte, Ztr).topk(k, dim=1).indices
    return F.one_hot(ytr)[neighbours].sum(1).argmax(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-knn_predict", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("knn_predict", points=3)
LIBRARY = ("sklearn.neighbors.KNeighborsClassifier.fit",)
### BEGIN HIDDEN TESTS
check.use(cosine=lambda A, B: F.cosine_similarity(A[:, None], B[None], dim=-1))
### END HIDDEN TESTS

with check("the nearest of four, by hand", points=1, off_limits=LIBRARY):
    vectors = torch.tensor([[9.0, 1.0], [0.2, 0.6], [-1.0, 0.5], [0.8, -0.9]])
    check.equal(
        knn_predict(vectors, torch.tensor([4, 7, 0, 2]), torch.tensor([[1.0, 0.2], [0.5, 1.0], [-3.0, 0.0]]), k=1),
        [4, 7, 0],
        mistakes={
            "The nearest by distance was taken. By the angle, the lengths do not matter.": [7, 7, 0],
            "The least similar one was taken. Similarities are large for neighbours: no minus, no argmin.": [0, 2, 4],
            "These are the places of the neighbours. Look up their labels.": [0, 1, 2],
            "The nearest one was skipped. Nothing has to be left out here.": [2, 4, 7],
            "The vectors with the largest dot product were taken. Divide by the lengths.": [4, 4, 0],
        },
    )

### BEGIN HIDDEN TESTS


def votes(Ztr, ytr, Zte, k, metric="cosine", skip=0):
    """For each query the counts of its neighbours' labels, by scipy."""
    near = distance.cdist(Zte.double().numpy(), Ztr.double().numpy(), metric).argsort(1)[:, skip : skip + k]
    return [Counter(row) for row in ytr.numpy()[near].tolist()]


def agree(got, counted):
    """Whether each label has as many votes as any other."""
    return [count[label] == max(count.values()) for label, count in zip(got, counted, strict=True)]


def problem(n, m, d, classes, k, dtype):
    """Labelled vectors of all lengths and queries, drawn again until no query's k-th neighbour is a matter of rounding."""
    while True:
        ytr = torch.randint(classes, (n,), generator=check.gen) * 3 + 1
        Ztr, Zte = (torch.randn(d, size, generator=check.gen, dtype=dtype).mT for size in (n, m))
        Ztr = (Ztr + ytr[:, None] % 2) * torch.rand(n, 1, generator=check.gen, dtype=dtype).add(0.05)
        far = np.sort(distance.cdist(Zte.double().numpy(), Ztr.double().numpy(), "cosine"), axis=1)
        if k == n or (far[:, k] - far[:, k - 1]).min() > 1e-5:
            return Ztr, ytr, Zte


with check("fresh vectors, several neighbours", points=1.5, off_limits=LIBRARY):
    for n, m, d, classes, k, dtype in (
        (1, 1, 1, 1, 1, torch.float64),
        (40, 30, 3, 3, 5, torch.float64),
        (25, 25, 4, 12, 1, torch.float32),
        (9, 20, 4, 3, 9, torch.float64),
    ):
        Ztr, ytr, Zte = problem(n, m, d, classes, k, dtype)
        with check.no_side_effects(Ztr, ytr, Zte):
            got = knn_predict(Ztr, ytr, Zte, k)
        check.shape(got, (m,))
        check.law(isinstance(got, Tensor) and not got.is_floating_point(), "labels are whole numbers, as an int64 tensor")
        given, right = got.tolist(), agree(got.tolist(), votes(Ztr, ytr, Zte, k))
        check.law(
            all(right),
            f"each query gets a label with the most votes among its {k} most similar vectors; {len(right) - sum(right)} of {len(right)} do not",
            mistakes={
                "The nearest by distance were taken. By the angle, the lengths do not matter.": lambda: all(agree(given, votes(Ztr, ytr, Zte, k, "euclidean"))),
                "The most similar one was skipped. Nothing has to be left out here.": lambda: all(agree(given, votes(Ztr, ytr, Zte, k, skip=1))),
                "Only the nearest was asked. All k of them vote.": lambda: k > 1 and all(agree(given, votes(Ztr, ytr, Zte, 1))),
                "A mean of labels is no label. Count the votes.": lambda: not set(given) <= set(ytr.tolist()),
            },
        )

with check("one neighbour, one vote", points=0.5, off_limits=LIBRARY):
    angle = torch.tensor([0.05, 1.2, 1.25, 1.32, 0.1], dtype=torch.float64)
    Ztr = torch.stack([angle.cos(), angle.sin()], dim=1) * torch.tensor([[1.0], [4.0], [0.5], [2.0], [3.0]], dtype=torch.float64)
    order = torch.as_tensor(check.rng.permutation(5))
    query = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    check.equal(
        knn_predict(Ztr[order], torch.tensor([8, 5, 5, 5, 8])[order], query, k=5),
        [5],
        mistakes={"The votes were weighted by their similarity. Here each neighbour has one vote.": [8], "A mean of labels is no label. Count the votes.": [6]},
    )
    check.equal(
        knn_predict(Ztr, torch.tensor([8, 5, 3, 4, 2]), Ztr, k=1),
        [8, 5, 3, 4, 2],
        mistakes={"A labelled vector that is asked about itself is its own nearest neighbour. Nothing has to be left out here.": [2, 3, 5, 3, 8]},
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 5  A linear probe that does not cheat
#
# The usual verdict on an encoder is a **linear probe**: freeze it, and train a linear classifier on the features of a few labelled images. A linear model can only use what the features already show plainly. There are three ways to fool yourself:
#
# - *The encoder learns along.* If its weights move, or its batch norms update their running statistics, another encoder is judged. And in training mode batch norm normalises by the batch, so that an image's features depend on who else is in it.
# - *The test images help.* A mean or spread taken over the test images, or over all of them, is knowledge that a single new image does not bring.
# - *More labels than stated.* "100 labels" means that the other labels are not looked at, in no step.
#
# So: features in eval mode and without gradients; a standardisation from the labelled images only, $\tilde h = (h - \mu)/\sigma$ feature by feature; then a linear model on these. A feature that happens not to vary among a handful of images has $\sigma = 0$; it is divided by 1 instead.

# %% [markdown]
# **Exercise 10.5 · `linear_probe`** (4 points · difficulty 3 of 5 · about 25 minutes)
#
# Write it. The labelled images are the first `n_per_class` of each class, in the order of `X`. scikit-learn's `LogisticRegression` with its default penalty is the usual linear model, and already imported; one of your own is fine if it draws no random numbers.
#
# <details><summary>Hint 1: where to start</summary>
#
# Choose the labelled images first: for each class, the first places where `y` is that class. Then two calls of the encoder, in eval mode and under `torch.no_grad()`, give all you need.
#
# </details>
#
# <details><summary>Hint 2: standardise</summary>
#
# Take mean and standard deviation over the labelled images, and use the same two for the test images. `torch.where(s > 0, s, 1.0)` mends a spread of 0. `.cpu().numpy()` hands tensors to scikit-learn, and `score` gives an accuracy.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "linear_probe", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_probe(enc: nn.Module, X: Tensor, y: Tensor, Xt: Tensor, yt: Tensor, n_per_class: int) -> float:
    """Test accuracy of a linear classifier on frozen features of a few labelled images.

    Args:
        enc: encoder of images (N, ...) to features (N, d). Its parameters and buffers stay as they are; it is put into
            eval mode.
        X: images to take the labelled ones from, shape (N, ...), on the encoder's device.
        y: their labels, int64, shape (N,). Only those of the first ``n_per_class`` images of each class are used.
        Xt: test images, shape (M, ...). Each is judged by itself, whatever the others are.
        yt: their labels, shape (M,); only compared with.
        n_per_class: labelled images of each class.

    Returns:
        Share of the test images that are classified correctly, 0 to 1.
    """
    ### BEGIN SOLUTION
    chosen = torch.cat([torch.nonzero(y == label)[:n_per_class, 0] for label in y.unique()])
    enc.eval()
    with torch.no_grad():
        labelled, test = enc(X[chosen]), enc(Xt)
    mean, spread = labelled.mean(0), labelled.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    labelled, test = (((features - mean) / spread).cpu().numpy() for features in (labelled, test))
    model = LogisticRegression(max_iter=1000).fit(labelled, y[chosen].cpu().numpy())
    return float(model.score(test, yt.cpu().numpy()))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-linear_probe", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("linear_probe", points=4)

with check("three clouds, two labels each", points=1):
    corners = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    nudges = torch.tensor([[0.3, -0.2], [-0.4, 0.1], [0.1, 0.4], [-0.2, -0.3]])
    labels = torch.tensor([2, 0, 1]).repeat(4)
    points = corners.repeat(4, 1) + nudges.repeat_interleave(3, dim=0)
    moved_labels = labels.clone()
    moved_labels[[0, 4, 8]] = torch.tensor([0, 1, 2])  # two of the twelve are now wrong, one is as it was
    moved_labels[4] = 2
    share = linear_probe(nn.Flatten(), points, labels, points.flip(0), moved_labels.flip(0), n_per_class=2)
    check.law(
        isinstance(share, float | int) or getattr(share, "ndim", 1) == 0,
        "one number is returned, the accuracy",
    )
    check.close(
        share,
        0.75,
        atol=1e-6,
        mistakes={
            "This is the accuracy on the labelled images, or ignores `yt`. Compare Xt's predictions with it.": 1.0,
            "This is the share of errors.": 0.25,
            "This is the number of hits. Divide by the number of test images.": 9.0,
            "This is a percentage. Return a share from 0 to 1.": 75.0,
        },
    )

### BEGIN HIDDEN TESTS


def clouds(n, classes, d, spread=0.6):
    """n points in d dimensions around one centre a class, in random order."""
    centres = 3 * torch.eye(classes, d, dtype=torch.float64)
    y = torch.arange(n) % classes
    order = torch.randperm(n, generator=check.gen)
    return (centres[y] + spread * torch.randn(n, d, generator=check.gen, dtype=torch.float64))[order], y[order]


class Watched(nn.Module):
    """An encoder with weights and batch norm that are not those of a beginner, to see what is done to it."""

    def __init__(self, d, width):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.layers = nn.Sequential(nn.Linear(d, width), nn.BatchNorm1d(width)).double()
            self.layers[1].running_mean.normal_()
            self.layers[1].running_var.uniform_(0.5, 2.0)

    def forward(self, x):
        return self.layers(x)


with check("only the first labels of each class", points=0.5):
    first, later = clouds(20, 4, 6), clouds(140, 4, 6)
    X, y = torch.cat([first[0], later[0]]), torch.cat([first[1], (later[1] + 1) % 4])  # five right labels a class, then wrong ones
    Xt, yt = clouds(240, 4, 6)  # right answers reach 0.97: six errors and more above the bound
    check.at_least(
        linear_probe(nn.Flatten(), X, y, Xt, yt, n_per_class=4),
        0.85,
        "test accuracy when only the first labels of each class are right",
        mistakes={"More than the first n_per_class labels of each class were used.": True},
    )
    first = [part[first[1].argsort()[::5]] for part in first]  # one right label a class
    X, y = (torch.cat(parts) for parts in zip(first, (later[0], (later[1] + 1) % 4), strict=True))
    check.at_least(
        linear_probe(nn.Flatten(), X, y, *first, n_per_class=1),
        1.0,
        "accuracy on the four labelled images themselves, when there is one a class",
        mistakes={"The first image of each class was left out, or one more was used. With n_per_class = 1 it is the first alone.": True},
    )

with check("the encoder is frozen, in eval mode", points=1):
    enc = Watched(6, 8)
    before = [t.clone() for t in (*enc.parameters(), *enc.buffers())]
    enc.train()
    X, y = clouds(90, 3, 6)
    Xt, yt = clouds(40, 3, 6)
    with check.no_side_effects(X, y, Xt, yt):
        share = linear_probe(enc, X, y, Xt, yt, n_per_class=8)
    frozen = [torch.equal(a, b) for a, b in zip(before, (*enc.parameters(), *enc.buffers()), strict=True)]
    check.law(
        all(frozen),
        "the encoder's parameters and buffers stay as they are; yours changed",
        mistakes={
            "Batch norm updated its running statistics: the encoder was in training mode. Call enc.eval() first.": lambda: all(
                frozen[: len(list(enc.parameters()))]
            ),
            "The encoder was trained along. Freeze it: features under torch.no_grad(), an optimiser for the linear layer only.": True,
        },
    )
    check.law(all(p.grad is None for p in enc.parameters()), "no gradient flows into the encoder; yours got one. Make the features under torch.no_grad()")
    check.at_least(share, 0.8, "test accuracy on three clouds far apart")

with check("nothing is learnt from the test set", points=1, seconds=30):
    enc = Watched(4, 6)
    X, y = clouds(60, 3, 4, spread=1.2)
    Xt, yt = clouds(12, 3, 4, spread=1.2)
    Xt = Xt + 0.5
    together = linear_probe(enc, X, y, Xt, yt, n_per_class=6)
    constant = [linear_probe(enc, X, y, Xt, torch.full_like(yt, label), n_per_class=6) for label in range(3)]
    check.law(
        abs(sum(constant) - 1) < 1e-6,
        f"the test labels are not learnt from: accuracies for all 0, all 1 and all 2 sum to 1; yours to {sum(constant):.3f}",
        mistakes={"The test labels were learnt from. They are for comparing only.": True},
    )
    alone = [linear_probe(enc, X, y, Xt[i : i + 1], yt[i : i + 1], n_per_class=6) for i in range(12)]
    # One more test image, far from all others, with a label that no class has: the hits stay the same.
    outlier = linear_probe(enc, X, y, torch.cat([Xt, torch.full((1, 4), 1e6, dtype=torch.float64)]), torch.cat([yt, torch.tensor([9])]), n_per_class=6)
    check.law(
        abs(np.mean(alone) - together) < 1e-6 and abs(13 * outlier - 12 * together) < 1e-6,
        f"each test image is judged by itself: of 12, {sum(alone):g} are right alone, {12 * together:g} together, {13 * outlier:g} beside a far-off one",
        mistakes={"The features were standardised with the test images. Use the mean and spread of the labelled ones.": True},
    )

with check("features of any scale, and one that does not vary", points=0.5, seconds=30):
    X, y = clouds(80, 4, 5)
    Xt, yt = clouds(80, 4, 5)
    scale, shift = 10.0 ** torch.as_tensor(check.rng.permutation([-4.0, -4.0, -3.0, 1.0, 2.0])), 2.0
    share, scaled = (linear_probe(nn.Flatten(), change(X), y, change(Xt), yt, n_per_class=10) for change in (lambda x: x, lambda x: x * scale + shift))
    check.at_least(share, 0.6, "test accuracy on four clouds far apart, with ten labels each")
    check.law(
        abs(share - scaled) <= 0.05,
        f"standardised features do not depend on their scale; the accuracy went from {share:.3f} to {scaled:.3f} with other units",
        mistakes={"The features were not standardised. Subtract their mean and divide by their spread over the labelled images.": True},
    )
    flat = [torch.cat([x, torch.full((80, 1), 0.3, dtype=torch.float64)], dim=1) for x in (X, Xt)]
    check.at_least(
        linear_probe(nn.Flatten(), flat[0], y, flat[1], yt, n_per_class=10),
        share - 0.05,
        "test accuracy with one more feature, the same for all images",
        mistakes={"A spread of 0 gave NaN or infinity. Divide by 1 there.": True},
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 6  Training, and how it can fail
#
# Look at the loss again. Its numerator pulls the two views of an image together. A network can please that term alone without looking at the image: it maps *every* image to the same vector. That is **collapse**, and the features are then worth nothing. What stands against it in NT-Xent are the negatives.
#
# The loss does not always show it, so measure it. Normalise the embeddings to length 1 and take the standard deviation of each coordinate over the images. If all are the same, it is 0. If they point evenly in all directions of $\mathbb{R}^d$, each coordinate has variance $1/d$. So
#
# $$ c(Z) = \sqrt{d}\; \frac1d \sum_{j=1}^{d} \operatorname{std}_i\!\Big( \frac{z_{ij}}{\lVert z_i\rVert} \Big) $$
#
# runs from 0, collapsed, to about 1, evenly spread (Chen and He, 2021). It is a smoke detector, not a microscope: embeddings on a single line through the origin, half of them pointing each way, can have $c = 1$.

# %% [markdown]
# **Exercise 10.6a · `collapse_score`** (2 points · difficulty 2 of 5 · about 10 minutes)
#
# Write the score. It is judged at its two ends, and by its order between them, so with either divisor of the standard deviation. Rows of zeros have no direction; leave them zeros.
#
# <details><summary>Hint 1: where to start</summary>
#
# `F.normalize` makes every row length 1 and leaves zeros alone. Over which axis must the standard deviation go, so that equal *rows* give 0?
#
# </details>
#
# <details><summary>Hint 2: about 1 at the upper end</summary>
#
# A unit vector's coordinates are of size $1/\sqrt d$. If your score for random vectors depends on $d$, the factor in front is missing.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "collapse_score", "locked": false, "schema_version": 3, "solution": true, "task": false}
def collapse_score(Z: Tensor) -> float:
    """How far the directions of embeddings are spread: 0 when they all agree, about 1 when they are even.

    Source: Chen and He 2021, section 4.1.

    Args:
        Z: embeddings, shape (N, d), N at least 2, of any length.

    Returns:
        The root of d times the mean over the coordinates of the standard deviation, over the rows, of the unit-length
        embeddings.
    """
    ### BEGIN SOLUTION
    return math.sqrt(Z.shape[1]) * float(F.normalize(Z, dim=1).std(0).mean())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-collapse_score", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("collapse_score", points=2)

with check("one direction, and every direction of the plane", points=0.5):
    lengths = torch.tensor([[1.0], [2.0], [0.5], [3.0]])
    rows = torch.tensor([[0.6, -0.8]]) * lengths
    check.close(
        collapse_score(rows),
        0.0,
        atol=1e-3,
        mistakes={"The lengths were counted. Make every row length 1 first.": lambda: collapse_score(rows)},
    )
    turn = torch.linspace(0, 2 * math.pi, 201)[:-1]
    score = collapse_score(torch.stack([turn.cos(), turn.sin()], dim=1))
    check.law(
        0.9 <= score <= 1.1,
        f"200 directions all around the circle score about 1; got {score:.3f}",
        mistakes={
            "The factor, the root of d, is missing.": lambda: abs(score - 0.709) < 0.02,
            "This is a variance. Take its root.": lambda: abs(score - 0.5) < 0.02,
        },
    )

### BEGIN HIDDEN TESTS
with check("0 at one end, 1 at the other", points=1):
    for n, d, dtype in ((2, 3, torch.float64), (50, 16, torch.float32), (400, 5, torch.float64)):
        direction = torch.randn(1, d, generator=check.gen, dtype=dtype)
        Z = direction * (0.1 + 5 * torch.rand(n, 1, generator=check.gen, dtype=dtype))
        with check.no_side_effects(Z):
            score = collapse_score(Z)
        check.finite(score)
        check.at_most(
            score,
            1e-3,
            f"score of {n} vectors of one direction in {d} dimensions",
            mistakes={
                "The lengths were counted. Make every row length 1 first.": lambda Z=Z, direction=direction: (
                    collapse_score(direction.expand(len(Z), -1)) < 1e-3
                ),
                "The standard deviation went over the coordinates of a vector. It must go over the vectors.": True,
            },
        )
    check.close(collapse_score(torch.zeros(5, 4)), 0.0, atol=1e-6)
    # The standard error of the score is below 0.007 here: the band ends 15 of them away.
    for n, d, dtype in ((3000, 2, torch.float64), (3000, 7, torch.float32), (1500, 64, torch.float64)):
        Z = torch.randn(d, n, generator=check.gen, dtype=dtype).mT * (0.5 + torch.rand(n, 1, generator=check.gen, dtype=dtype))
        score = collapse_score(Z)
        check.law(
            0.9 <= score <= 1.1,
            f"{n} vectors in random directions of {d} dimensions score about 1; got {score:.3f}",
            mistakes={
                "The factor, the root of d, is missing.": lambda d=d, score=score: abs(score * d**0.5 - 1) < 0.1,
                "This is a variance. Take its root.": lambda d=d, score=score: abs(score * d - 1) < 0.1,
                "Too large. Are all rows made length 1, and is the mean over the coordinates taken?": score > 1.1,
            },
        )

with check("in order between them", points=0.5):
    centre, noise = torch.randn(1, 10, generator=check.gen, dtype=torch.float64), torch.randn(500, 10, generator=check.gen, dtype=torch.float64)
    centre = 3 * centre / centre.norm()
    scores = [collapse_score(centre + spread * noise) for spread in (0.0, 0.1, 0.5, 1.0, 3.0, 30.0)]
    check.law(
        all(a < b for a, b in zip(scores, scores[1:], strict=False)),
        f"the wider the directions spread, the larger the score; got {[round(float(s), 3) for s in scores]}",
        mistakes={"It grows the wrong way: 0 is collapsed, 1 is spread evenly.": scores[0] > scores[-1]},
    )
    check.close(collapse_score(7 * (centre + noise)), scores[3], rtol=1e-4)
    check.close(collapse_score((centre + noise).flip(0)), scores[3], rtol=1e-4)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **The two heads of SimCLR.** The loss is not put on the features $h = f(x)$ themselves but on $z = g(h)$, with a small **projection head** $g$ behind the encoder. The loss makes $z$ forget all that differs between views, also what a later task may want; with a head between, $h$ can keep it.
# After training $g$ is thrown away: probes and neighbours get $h$. The encoder below is a small convolutional net with batch norm; its features come out of a last batch norm and a ReLU.


# %% nbgrader={"grade": false, "grade_id": "setup-encoder", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Encoder(nn.Module):
    """A small convolutional network: grey images (N, 1, H, W) to features (N, 64)."""

    def __init__(self, size: int = 8, width: int = 16, features: int = 64) -> None:
        super().__init__()
        side = size // 4
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * width * side * side, features), nn.BatchNorm1d(features), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def head(features: int = 64, out: int = 32) -> nn.Module:
    """A projection head with one hidden layer: features (N, 64) to embeddings (N, 32)."""
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, out))


Views = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
PairLoss = Callable[[Tensor, Tensor], Tensor]

# %% [markdown]
# **Exercise 10.6b · `train_simclr`** (3 points · difficulty 4 of 5 · about 35 minutes)
#
# Assemble SimCLR: at each step a random batch, two views of it, encoder and head, the loss, one step of the optimiser. `Encoder` and `head` are there for you; networks of your own, temperature, optimiser and batch size are yours to choose. With 80 steps on 1347 digits a probe of your encoder
# with ten labels a class must reach an accuracy of 0.85 (an untrained encoder gives about 0.8). `views` and `loss` may be replaced, which the experiments do. Everything random follows from `seed`. A few seconds must do.
#
# <details><summary>Hint 1: where to start</summary>
#
# Seed with `training.seed_everything(seed)`, make a generator of the same seed for the views, and one optimiser for the parameters of both networks. Batches of 64 are enough: `torch.randperm(len(X))[:64]`.
#
# </details>
#
# <details><summary>Hint 2: it learns too slowly</summary>
#
# AdamW with a learning rate of 0.005 under `torch.optim.lr_scheduler.OneCycleLR`, and τ = 0.3. Send both views through the network in one go, concatenated, so that batch norm sees them together, and keep the network in training mode meanwhile.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_simclr", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_simclr(
    X: Tensor,
    seed: int = 0,
    steps: int = 150,
    views: Views | None = None,
    loss: PairLoss | None = None,
) -> tuple[nn.Module, list[float]]:
    """Train an encoder on unlabelled images by telling them apart (Chen et al. 2020).

    Args:
        X: grey images, shape (N, 1, H, W), N at least 2.
        seed: where everything random comes from; the same seed gives the same encoder.
        steps: number of optimiser steps.
        views: ``views(batch, gen)`` gives two views of a batch; None is ``two_views``.
        loss: ``loss(z1, z2)`` of the two views' embeddings, a scalar; None is ``nt_xent`` with a temperature of your
            choice.

    Returns:
        The encoder without its projection head, a module from (n, 1, H, W) to features (n, d) with d at least 16, on
        the device of ``X``; and the loss at each step.
    """
    ### BEGIN SOLUTION
    training.seed_everything(seed)
    gen = torch.Generator().manual_seed(seed)
    views, loss = views or two_views, loss or (lambda z1, z2: nt_xent(z1, z2, tau=0.3))
    enc = Encoder(X.shape[-1]).to(X.device)
    model = nn.Sequential(enc, head().to(X.device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = X[torch.randperm(len(X), generator=gen)[:64].to(X.device)]
        z1, z2 = model(torch.cat(views(batch, gen))).chunk(2)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return enc, losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_simclr", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_simclr", points=3)


### BEGIN HIDDEN TESTS
def shaken(x, gen):
    """Two views by a random affine map, with all six numbers of it drawn."""
    found = []
    for _ in range(2):
        theta = torch.eye(2, 3).expand(len(x), 2, 3) + (2 * torch.rand(len(x), 2, 3, generator=gen) - 1) * torch.tensor([0.2, 0.2, 0.3])
        found.append(F.grid_sample(x, F.affine_grid(theta.to(x), list(x.shape), align_corners=False), align_corners=False))
    return tuple(found)


def contrast(z1, z2, tau=0.5):
    """NT-Xent from unit vectors and a log-sum-exp."""
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True)
    s = z @ z.mT / tau
    off = s.masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return (off.logsumexp(1) - s.diagonal(len(z1)).repeat(2)).mean()


check.use(two_views=shaken, nt_xent=contrast)
### END HIDDEN TESTS

with check("twenty steps: an encoder, and a loss that falls", points=0.5, seconds=60):
    with torch.random.fork_rng():
        enc, losses = train_simclr(digits.x_train[:256], seed=1, steps=20)
    check.law(len(losses) == 20, f"one loss a step: 20 are expected, got {len(losses)}")
    features = enc.eval()(digits.x_test[:7])
    check.law(
        features.ndim == 2 and features.shape[0] == 7 and features.shape[1] >= 16,
        f"features of shape (7, d) with d at least 16 are expected, got {tuple(features.shape)}",
    )
    check.at_most(
        np.mean(losses[-5:]),
        float(np.mean(losses[:3])),
        "mean of the last five losses, where the first three give the bound",
    )

### BEGIN HIDDEN TESTS
with check("80 steps, and a probe with ten labels a class reaches 0.85", points=1, seconds=60):
    seed = check.seeds(1)[0]
    split = data.load("digits", flat=False, seed=seed).torch()
    images = split.x_train.clone()
    with torch.random.fork_rng():
        enc, _ = train_simclr(images, seed=seed, steps=80)
    check.law(torch.equal(images, split.x_train), "the images stay as they are; yours were changed in place")
    with torch.no_grad():
        train_features, test_features = (enc.eval()(x).numpy() for x in (split.x_train, split.x_test))
    shares = []
    for _ in range(4):
        order = check.rng.permutation(len(split.y_train))
        chosen = np.concatenate([order[split.y_train.numpy()[order] == label][:10] for label in range(10)])
        mean, spread = train_features[chosen].mean(0), train_features[chosen].std(0) + 1e-6
        model = LogisticRegression(max_iter=1000).fit((train_features[chosen] - mean) / spread, split.y_train.numpy()[chosen])
        shares.append(model.score((test_features - mean) / spread, split.y_test.numpy()))
    check.at_least(
        np.mean(shares),
        0.85,
        "mean accuracy of four linear probes with ten labels a class",
        mistakes={
            "No better than an untrained encoder. Does it get gradients and steps? Does row i of both views show image i?": np.mean(shares) < 0.82,
            "It has learnt something, but too little. Try a higher learning rate with a warm-up, or a smaller tau.": True,
        },
    )

with check("views and loss as given, in training mode; the seed decides", points=1.5, seconds=60):
    X = digits.x_train[torch.as_tensor(check.rng.permutation(1000)[:96])]
    seen, shown, values, embedded = [], [], [], []

    def watched_views(batch, gen):
        seen.append(batch.detach().clone())
        shown.append(shaken(batch, gen))
        return shown[-1]

    def watched_loss(z1, z2):
        value = 3 + (1 - F.cosine_similarity(z1, z2)).mean()
        values.append((value.item(), tuple(z1.shape), tuple(z2.shape)))
        embedded.append(z1.detach())
        return value

    seed, other = check.seeds(2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        enc, losses = train_simclr(X, seed, 6, watched_views, watched_loss)
        calls = len(values)
        torch.manual_seed(2)
        again, repeated = train_simclr(X, seed, 6, watched_views, watched_loss)
        different, _ = train_simclr(X, other, 6, watched_views, watched_loss)
    check.law(
        calls == 6 and len(losses) == 6,
        f"`loss` is called once a step and `steps` is the number of steps: 6 are expected, got {calls} calls and {len(losses)} losses",
    )
    check.close(losses, [value for value, *_ in values[:6]], rtol=1e-4)
    check.law(all(a == b and len(a) == 2 for _, a, b in values), "`loss` gets the two views' embeddings, two tensors of the same shape (n, d)")
    check.law(
        len(seen) > 0 and all(any(torch.equal(image, x) for x in X) for image in seen[0][:5]),
        "`views` gets images of X as they are",
        mistakes={"The argument `views` is not used.": len(seen) == 0},
    )
    with torch.no_grad():
        mine, same, changed = (e.eval()(X) for e in (enc, again, different))
        features, z = different.train()(shown[-1][0]), embedded[-1]
    check.law(
        features.shape != z.shape or F.cosine_similarity(features, z).mean() < 0.9,
        "the encoder is returned without its projection head; yours gives what the loss got",
        mistakes={"The head is still on, or there is none. Keep the encoder in a variable of its own, and return that.": True},
    )
    norms = [m for m in enc.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    check.law(
        all(int(m.num_batches_tracked) > 0 for m in norms),
        "batch norm learns its running statistics during training; yours never did",
        mistakes={"The network was in eval mode while it was trained. Call train() first.": True},
    )
    check.law(torch.allclose(mine, same, atol=1e-4), "the same seed gives the same encoder; yours differ. Draw batches, weights and views from `seed`")
    check.law(not torch.allclose(mine, changed, atol=1e-3), "another seed gives another encoder; yours does not depend on `seed`")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Without negatives
#
# Now take the negatives away and keep all else: your training with `attraction_only`, the lecture's formula read to the letter (section 2). At each step the embeddings that reach the loss are scored with your `collapse_score`.


# %% nbgrader={"grade": false, "grade_id": "experiment-collapse", "locked": true, "schema_version": 3, "solution": false, "task": false}
def collapse_experiment(seed: int, name: str = "digits", steps: int = 100) -> dict[str, dict[str, np.ndarray]]:
    """Train with and without negatives: loss -> collapse score and loss at each step, and a probe with five labels a class."""
    split = data.load(name, flat=False, seed=seed).torch(device.pick())
    losses_of: dict[str, PairLoss] = {"NT-Xent": nt_xent, "no negatives": attraction_only}
    found = {}
    for title, loss in training.progress(losses_of.items(), desc="losses", total=2):
        scores: list[float] = []

        def watched(z1: Tensor, z2: Tensor, loss: PairLoss = loss, scores: list[float] = scores) -> Tensor:
            scores.append(collapse_score(z1.detach()))
            return loss(z1, z2)

        enc, losses = train_simclr(split.x_train, seed, steps, loss=watched)
        probe = linear_probe(enc, split.x_train, split.y_train, split.x_test, split.y_test, n_per_class=5)
        found[title] = {"score": np.array(scores), "loss": np.array(losses), "probe": np.array(probe)}
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-collapse-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("cosine", "nt_xent", "two_views", "linear_probe", "collapse_score", "train_simclr"):
    collapse = collapse_experiment(seed=0)
    fig, (left, right) = plotting.subplots(2, width=10, height=3.6)
    plotting.curves(left, {title: run["score"] for title, run in collapse.items()}, xlabel="step", ylabel="collapse score of $z$")
    left.set(ylim=(0, 1.1), title="0: all embeddings agree")
    plotting.curves(right, {title: run["loss"] for title, run in collapse.items()}, xlabel="step", ylabel="loss")
    right.set(title="Each has its own loss, and both fall")
    last = {title: run["score"][-1] for title, run in collapse.items()}
    plotting.show(
        fig,
        alt=f"Left: the collapse score of the embeddings over 100 steps. With NT-Xent it stays high and ends at {last['NT-Xent']:.2f}; without negatives it falls to {last['no negatives']:.3f}. "
        + "Right: the losses. "
        + ", ".join(f"{title} falls from {run['loss'][0]:.2f} to {run['loss'][-1]:.2f}" for title, run in collapse.items())
        + ".",
    )
    claims.show(
        Claim(
            "collapse score of z at the end, NT-Xent",
            "“no trivial solutions” (Asano, of balanced labels)",
            last["NT-Xent"],
            at_least=0.6,
        ),
        Claim("the same without negatives", "not in the lecture", last["no negatives"], at_most=0.1),
        Claim("probe with 5 labels a class, NT-Xent", "not in the lecture", float(collapse["NT-Xent"]["probe"]), at_least=0.8),
        Claim("probe without negatives", "not in the lecture", float(collapse["no negatives"]["probe"])),
    )

# %% [markdown]
# Without negatives the embeddings end up in one direction, and the loss, far from warning us, comes to rest at its least value, $2\log(2N - 1) = 2\log 127 \approx 9.69$ for batches of 64. For NT-Xent equal embeddings are among the worst; for this loss they are the best there is. That is collapse.
#
# And yet the probe is far above guessing. What collapsed is $z$, behind the head; the features $h$ come out of a batch norm, which holds each of them at unit variance whatever the loss wants. So do not read "collapsed" off a probe, nor off the loss: measure it, where the loss acts.
# Methods without negatives (BYOL, SimSiam, DINO) hold collapse off by other means: a stopped gradient and a predictor, a slowly moving teacher, centring. In Asano's table ("More recently...") DINO without its momentum teacher scores 0.1 with centring alone: collapse again.
#
# ## 7  What is worth what
#
# Eight encoders, one question: how well do ten labels a class do on their features? None has seen a label, and all that are trained get 300 steps: with 150, we found splits of the digits on which SimCLR had not yet caught up with the pixels.
#
# - **pixels**: no encoder at all; **untrained**: random weights;
# - **rotation**: the pretext task of both lectures: turn each image by 0, 90, 180 or 270° and predict by how much. It needs no negatives and no views;
# - **SimCLR** with *no* alteration, where both views are the image itself; with *brightness* and contrast only; with *noise* only; with *your* views; and with your views, half of them *mirrored*, the one that the recipe for photographs would add.


# %% nbgrader={"grade": false, "grade_id": "experiment-labels", "locked": true, "schema_version": 3, "solution": false, "task": false}
def no_change(x: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both views are the image."""
    return x, x


def brightness(x: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Contrast times 0.6 to 1.4, brightness plus -0.2 to 0.2."""
    gain, offset = (2 * torch.rand(2, 2, len(x), 1, 1, 1, generator=gen) - 1).to(x)
    return tuple(x * (1 + 0.4 * gain[i]) + 0.2 * offset[i] for i in (0, 1))


def noise(x: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gaussian noise of standard deviation 0.1 on every pixel."""
    drawn = torch.randn(2, *x.shape, generator=gen).to(x)
    return x + 0.1 * drawn[0], x + 0.1 * drawn[1]


def mirrored(x: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Your views, each mirrored left to right with probability one half."""
    flip = torch.rand(2, len(x), 1, 1, 1, generator=gen).to(x) < 0.5
    return tuple(torch.where(flip[i], view.flip(3), view) for i, view in enumerate(two_views(x, gen)))


SIMCLR = {"no change": no_change, "brightness": brightness, "noise": noise, "your views": None, "mirrored": mirrored}


def train_rotation(X: Tensor, seed: int, steps: int = 150) -> tuple[nn.Module, nn.Module]:
    """Train the encoder and a linear layer to tell by which multiple of 90 degrees an image was turned (Gidaris et al. 2018)."""
    training.seed_everything(seed)
    enc, classify = Encoder(X.shape[-1]).to(X.device), nn.Linear(64, 4).to(X.device)
    optimizer = torch.optim.AdamW([*enc.parameters(), *classify.parameters()], lr=0.003)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.003, total_steps=steps)
    for _ in range(steps):
        turned, turns = all_turns(X[torch.randperm(len(X))[:64].to(X.device)])
        optimizer.zero_grad()
        F.cross_entropy(classify(enc(turned)), turns).backward()
        optimizer.step()
        schedule.step()
    return enc.eval(), classify


def all_turns(x: Tensor) -> tuple[Tensor, Tensor]:
    """Every image turned by 0, 90, 180 and 270 degrees, and by how many quarters."""
    return torch.cat([x.rot90(k, (2, 3)) for k in range(4)]), torch.arange(4, device=x.device).repeat_interleave(len(x))


def labels_experiment(seed: int, name: str = "digits", steps: int = 300, draws: int = 4) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    """Probe accuracy by encoder and labels a class (1, 5, 10), a mean over ``draws`` choices of them; and three numbers besides."""
    split = data.load(name, flat=False, seed=seed).torch(device.pick())
    training.seed_everything(seed)
    encoders: dict[str, nn.Module] = {
        "pixels": nn.Flatten(),
        "untrained": Encoder(split.x_train.shape[-1]).to(split.x_train.device),
    }
    encoders["rotation"], classify = train_rotation(split.x_train, seed, steps)
    for title, views in training.progress(SIMCLR.items(), desc="SimCLR", total=len(SIMCLR)):
        encoders[title], _ = train_simclr(split.x_train, seed, steps, views)
    rng = np.random.default_rng(seed)
    orders = [torch.as_tensor(rng.permutation(len(split.y_train))) for _ in range(draws)]
    share = {
        title: {n: float(np.mean([linear_probe(enc, split.x_train[o], split.y_train[o], split.x_test, split.y_test, n) for o in orders])) for n in (1, 5, 10)}
        for title, enc in encoders.items()
    }
    with torch.no_grad():
        turned, turns = all_turns(split.x_test)
        besides = {"rotation task": float((classify(encoders["rotation"](turned)).argmax(1) == turns).float().mean())}
        for title in ("pixels", "your views"):
            labels = knn_predict(encoders[title](split.x_train), split.y_train, encoders[title](split.x_test), k=5)
            besides[f"kNN, {title}"] = float((labels == split.y_test).float().mean())
    return share, besides


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-labels-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("cosine", "nt_xent", "two_views", "knn_predict", "linear_probe", "train_simclr"):
    share, besides = labels_experiment(seed=0)
    ten = {title: by_labels[10] for title, by_labels in share.items()}
    fig, (left, right) = plotting.subplots(2, width=11, height=3.9)
    plotting.bars(left, {title.replace(" ", "\n"): value for title, value in ten.items()}, ylabel="accuracy of the probe", fmt="{:.3f}")
    left.tick_params(axis="x", labelrotation=35)
    left.set(ylim=(0, 1.12), title="Ten labels a class")
    plotting.curves(
        right,
        {title: list(share[title].values()) for title in ("your views", "pixels", "untrained", "rotation")},
        x=[1, 5, 10],
        xlabel="labels a class",
        ylabel="accuracy of the probe",
    )
    right.set(xticks=[1, 5, 10], title="Fewer labels")
    plotting.show(
        fig,
        alt="Left: accuracy of a linear probe with ten labels a class, by encoder: "
        + ", ".join(f"{title} {value:.3f}" for title, value in ten.items())
        + ". Right: the same with 1, 5 and 10 labels a class: "
        + "; ".join(f"{title} " + ", ".join(f"{value:.2f}" for value in share[title].values()) for title in ("your views", "pixels", "untrained", "rotation"))
        + ".",
    )
    claims.show(
        Claim(
            "SimCLR with your views, 10 labels a class",
            "68.2 on ImageNet with all labels; supervised 76.5 (Asano)",
            ten["your views"],
            at_least=0.9,
        ),
        Claim("less an untrained encoder", "not in the lecture", ten["your views"] - ten["untrained"], at_least=0.07),
        Claim("less pixels", "not in the lecture", ten["your views"] - ten["pixels"]),
        Claim("the same with 5 labels a class", "not in the lecture", share["your views"][5] - share["pixels"][5], at_least=0.02),
        Claim(
            "less SimCLR with brightness only",
            "augmentations “infuse knowledge” (Asano)",
            ten["your views"] - ten["brightness"],
            at_least=0.04,
        ),
        Claim("less SimCLR with noise only", "augmentations “infuse knowledge” (Asano)", ten["your views"] - ten["noise"]),
        Claim(
            "mirrored less your views",
            "crop, flip, change colours (third set of notes)",
            ten["mirrored"] - ten["your views"],
            at_most=-0.02,
        ),
        Claim("no change less an untrained encoder", "not in the lecture", ten["no change"] - ten["untrained"]),
        Claim(
            "rotation task: accuracy on unseen digits",
            "a pretext task gives features (Part I, Asano)",
            besides["rotation task"],
            at_least=0.88,
        ),
        Claim(
            "probe on the rotation features less pixels",
            "a pretext task gives features (Part I, Asano)",
            ten["rotation"] - ten["pixels"],
            at_most=-0.05,
        ),
        Claim(
            "5 nearest neighbours, all labels: SimCLR less pixels",
            "not in the lecture",
            besides["kNN, your views"] - besides["kNN, pixels"],
        ),
    )

# %% [markdown]
# Read it line by line.
#
# - **The views do the teaching.** With no change the positive is recognised by its pixels, and the features come out no better than random ones, usually worse. Brightness, which hardly varies in these scans, adds little. Moving the digit teaches most. Noise alone comes close: on 64 pixels it hides much the same details.
# - **A wrong view unteaches.** Mirrored views ask the encoder to ignore which way a stroke bends, which is what tells digits apart.
# - **A solved pretext task is not a good feature.** The encoder recognises rotations nine times in ten, yet its features are *worse than the pixels*, and than random ones. Knowing which way up a digit stands takes a few strokes, not its name. (For photographs rotation did help; Asano's lecture shows it as an example, not as a rule.)
# - **Pixels are a strong baseline here.** With all 1347 labels and five neighbours SimCLR does not beat them, as the last row says: small, centred, aligned digits leave little to learn. With ten labels a class the gain is a few points, with five it is about twice as much, and with one it depends on which images happen to be labelled. It shows where labels are few. Judge a method where it can fail.
#
# Asano's table sets SimCLR at 68.2 against 76.5 with full supervision, on ImageNet, and reports +2.4 points from more and smaller crops. We measure neither. For larger images call `labels_experiment(seed=0, name="mnist")`, or with `"fashion-mnist"`; `collapse_experiment` takes a `name`, too. They are downloaded once and take longer.

# %% [markdown]
# ## 8  Turn the temperature
#
# Four digits, two views each from your `two_views`, embedded without any network: the pixels, less their mean. Left the similarities, right the softmax weights of each row at temperature τ; the loss is your `nt_xent`. A row's positive is framed.
# At a small τ the weight gathers on the one or two most similar embeddings, right or wrong; at a large one all rows are flat, and the loss is near $\log(2N - 1) = \log 7 \approx 1.95$ whatever the embeddings. Take `collapsed`, and it is so at every τ.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-temperature", "locked": true, "schema_version": 3, "solution": false, "task": false}
def temperature_map(tau: float, draw: int, collapsed: bool) -> tuple[matplotlib.figure.Figure, str]:
    """Similarities of eight views and their softmax weights at a temperature."""
    labels = (0, 1, 4, 7)
    images = torch.stack([digits.x_train[digits.y_train == label][3] for label in labels])
    views = [torch.ones(4, 64) if collapsed else (view - digits.x_train.mean(0)).flatten(1) for view in two_views(images, torch.Generator().manual_seed(draw))]
    similarity = cosine(torch.cat(views), torch.cat(views))
    weights = (similarity / tau).masked_fill(torch.eye(8, dtype=torch.bool), -math.inf).softmax(1)
    loss = float(nt_xent(*views, tau))
    names = [f"{label}{view}" for view in "ab" for label in labels]
    fig, axes = plotting.subplots(2, width=7.2, height=3.7)
    for ax, table, title in zip(axes, (similarity, weights), ("similarity", f"weights at τ = {tau:g}"), strict=True):
        image = ax.imshow(table.masked_fill(torch.eye(8, dtype=torch.bool), math.nan), vmin=-1 if title == "similarity" else 0, vmax=1)
        for row in range(8):
            ax.add_patch(matplotlib.patches.Rectangle(((row + 4) % 8 - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=plotting.COLOURS[1], linewidth=2))
        ax.set_xticks(range(8), names)
        ax.set_yticks(range(8), names)
        ax.grid(visible=False)
        ax.set_title(title if title == "similarity" else f"{title}\nloss {loss:.3f}")
        fig.colorbar(image, ax=ax, shrink=0.75)
    positive = float(weights.diagonal(4).mean() / 2 + weights.diagonal(-4).mean() / 2)
    return fig, (
        f"Left: cosine similarities of eight views of the digits 0, 1, 4 and 7, from {float(similarity.min()):.2f} up; positives are framed. "
        f"Right: softmax weights at temperature {tau:g}; the positives get {positive:.2f} on average, the largest weight is {float(weights.max()):.2f}. The loss is {loss:.3f}, where log 7 = 1.946."
    )


with checks.uses("cosine", "nt_xent", "two_views"):
    widgets.explore(
        temperature_map,
        sliders={"tau": (0.05, 2.0, 0.05, 0.5), "draw": (0, 20, 1, 0), "collapsed": False},
        twin=[{"tau": 0.05}, {"tau": 0.5}, {"tau": 2.0}, {"tau": 0.05, "collapsed": True}],
        title="Similarities and what the temperature makes of them",
    )

# %% [markdown]
# ## 9  Written question
#
# (a) Rewrite the loss of Part I, $l(\tilde x, \hat x)$ and $L_g$ as printed in section 2, so that no letter has two meanings, for a batch of $N$ images with two views each. Say what the set of negatives is and how many it has. Then show that your $L_g$ is exactly twice SimCLR's mean over $2N$ anchors, and what that changes in training. (2 points)
#
# (b) Which of these are illegal views for digits, and why: shift by a pixel, mirror left to right, turn by 10°, turn by 180°, darken, crop to the upper half? Name one that is illegal here and right for photographs of animals, and one that would be illegal for a task of your own choice though it is fine here. (2 points)
#
# Five to ten sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
# (a) Let $z_1, \dots, z_{2N}$ be the embeddings of all views, $p(i)$ the index of the other view of the same image, and $s_{ij} = \operatorname{sim}(z_i, z_j)/\tau$. The negatives of anchor $i$ are $\Lambda^-_i = \{1, \dots, 2N\} \setminus \{i, p(i)\}$: the $2N - 2$ views of other images. With $k$ for the negatives,
# $$ \ell_i = -\log \frac{e^{s_{i\,p(i)}}}{e^{s_{i\,p(i)}} + \sum_{k \in \Lambda^-_i} e^{s_{ik}}}, \qquad L_g = \frac1N \sum_{\text{pairs } \{i,\, p(i)\}} \big[\ell_i + \ell_{p(i)}\big] = \frac1N \sum_{i=1}^{2N} \ell_i . $$
# There are $N$ pairs, and each contributes both its directions, so the sum has all $2N$ anchors. SimCLR divides the same sum by $2N$: $L_g = 2\,\mathcal{L}$. The minimum stays where it is; the gradient is doubled, so with plain gradient descent half the learning rate does the same, and a weight decay or another loss beside it weighs half as much. Adam, which divides by the gradient's size, hardly notices.
#
# (b) Illegal are mirroring (a 2 or a 7 becomes no digit, so the encoder must ignore which way strokes bend), the turn by 180° (6 and 9 become one), and the crop to the upper half (a 7 and a 9, or a 0 and a 9, cannot be told apart by it). A shift by a pixel, a turn by 10° and darkening keep every label. Mirroring is right for photographs of animals: a mirrored dog is a dog.
# Darkening is fine here and illegal where brightness is the answer, for instance in telling day from night, or in grading how dark a spot on the skin is. What is legal depends on the task, not on the image.
### END SOLUTION
### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: a formula in which anchor, positive and negatives have different letters (half), with $2N - 2$ negatives that leave out the anchor and its positive (half).
# - (a) 1 point: $N$ pairs with two directions are $2N$ terms, so the ratio is 2 (half); the minimum stays and the gradient, or effective learning rate, doubles (half).
# - (b) 1 point: mirror, 180° and half crop are illegal, each with a digit that shows it; half a point for two of them. A shift, 10° and darkening are legal.
# - (b) 1 point: a flip (or colour change) that photographs allow (half), and a task that forbids something legal here (half).
#
# Accept the two-sums form of the loss with two named encoders, and any reading of the negatives in (a) that is stated and counted correctly.
### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - Contrastive learning classifies: which of $2N - 1$ embeddings is the other view of this image? NT-Xent is the mean cross-entropy over all $2N$ anchors, of cosines divided by τ.
# - The anchor is left out below the line, negatives come from both views, and equal embeddings cost $\log(2N - 1)$ at every τ.
# - Views say what to ignore. Useful ones change what the task does not ask for; one that changes the answer hurts.
# - Judge features frozen, in eval mode, standardised with the labelled images alone, and with few labels: with many, raw pixels may win.
# - Without negatives the embeddings collapse while the loss falls. Measure the spread where the loss acts.
# - A pretext task can be solved nine times in ten and leave features worse than pixels.
#
# **Next:** let the two views be a picture and its caption, and you have CLIP; the loss is the same, without the negatives from the same side.
