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
# # 07 · Autoencoders and the VAE
#
# An autoencoder learns to copy its input through a bottleneck. What comes out depends on what the bottleneck asks for: with linear layers it is principal component analysis, with noise at the input
# a denoiser, with a distribution in the middle a generative model. This notebook starts from PCA done right, shows which part of it gradient descent finds by itself, and ends with a variational
# autoencoder made of your own parts, which draws digits that nobody wrote. On the way you measure what autoencoders are often credited with and do not have.
#
# **You will be able to**
# - do PCA and compute its reconstruction error, with every transpose where it belongs;
# - say what a linear autoencoder shares with PCA (the subspace) and what not (the axes);
# - train a denoising autoencoder, and tell the noise from the target;
# - derive and code the KL divergence, the reparametrisation and the ELBO, and say when the bound is tight;
# - assemble a VAE and train it;
# - sample from a model that has no prior, and quantise a code without losing the gradient.
#
# | | |
# |---|---|
# | Time and points | about 330 minutes, 35 points |
# | of which | exercises: 235 minutes, 31 points; written question: 25 minutes, 4 points; reading and experiments: 70 minutes |
# | Running time | about 60 seconds on one CPU core, once everything is filled in |
# | You need | PyTorch tensors, autograd and `nn.Module`; eigenvectors; the density of a normal distribution |
#
# **Lecture sections it follows.** F. Minhas, *CS909 Data Mining* (Warwick): "Autoencoders", from "REO For Auto-Encoders" to "Other types of autoencoders", and "Generating Data with Autoencoders".
# M. A. Nicolaou, *Deep Learning & Computer Vision (and more)*: "Discovering (Latent) Representations" to "From Principal Component Analysis (PCA) to autoencoders (AE)".
# *Deep Learning for Everything in Computer Vision*, in the set of lecture notes that ends with the vision transformer: "Latent variable models" to "Difference with PCA", and "Auto-encoding models" to "In practice".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
# Everything is torch. Compute in the dtype and on the device that you are given, change no argument, and draw random numbers only from the generator (`gen`) or the seed that you are given.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from collections.abc import Callable

import matplotlib.figure
import numpy as np
import torch
import torch.nn.functional as F
from scipy import linalg, spatial
from sklearn import decomposition, linear_model, neighbors, pipeline, preprocessing
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from dlcourse_utils import checks, claims, data, device, metrics, plotting, training, widgets
from dlcourse_utils.claims import Claim

torch.set_num_threads(1)  # these models are tiny: more threads only get in each other's way

# %% [markdown]
# ## 1  The best flat bottleneck
#
# An **autoencoder** is two functions trained as one: an encoder $E$ from $\mathbb R^D$ to a smaller $\mathbb R^k$, a decoder $D$ back, and a loss that asks for the input itself:
#
# $$ \min_{\theta_E, \theta_D}\; \frac1N \sum_{i=1}^N \bigl\lVert x_i - \hat x_i \bigr\rVert^2, \qquad z_i = E(x_i; \theta_E), \quad \hat x_i = D(z_i; \theta_D). $$
#
# The slides print this with some arguments exchanged: $D(\cdot\,;\theta_E)$ and $E(x;\theta_E)$ without the index in CS909 ("REO For Auto-Encoders"), $\hat g(x_i)$ for $\hat g(z_i)$ and once $g(\hat g(X))$ in
# Nicolaou's ("Discovering (Latent) Representations", erratum E32). The decoder has its own weights, and it sees only the code.
#
# What is the best that can be done with a code of $k$ numbers, if everything is *linear*? K. Pearson asked in 1901 for the plane that lies closest to given points (one slide says 1910, erratum E53).
# The answer is **principal component analysis**. Subtract the mean $\mu$. Of the sample covariance $S = \frac1{N-1}\sum_i (x_i-\mu)(x_i-\mu)^\top$ take the $k$ eigenvectors with the largest eigenvalues
# $\lambda_1 \ge \dots \ge \lambda_k$, as the columns of $W \in \mathbb R^{D\times k}$. They are orthonormal: $W^\top W = I_k$. The eigenvalue $\lambda_j$ is the variance along column $j$.
#
# You need not form $S$. With the singular value decomposition of the centred data, $X - \mu = U \operatorname{diag}(s)\, V^\top$, the columns of $V$ are the eigenvectors and $\lambda_j = s_j^2/(N-1)$.

# %% [markdown]
# **Exercise 7.1 · `pca`** (4 points · difficulty 2 of 5 · about 20 minutes)
#
# Write PCA for $N \ge 2$ points in $D$ dimensions; $N$ may be smaller than $D$. Columns may come with either sign. `torch.linalg` is yours to use; `torch.pca_lowrank` and scikit-learn's `PCA` are off limits: yours will be held against it.
#
# <details><summary>Hint 1: where to start</summary>
#
# Centre first. Then either `torch.linalg.eigh` of the covariance, or `torch.linalg.svd` of the centred data with `full_matrices=False`. Check the shape of what you return: $W$ has one column a component.
#
# </details>
#
# <details><summary>Hint 2: order and scale</summary>
#
# `eigh` sorts its eigenvalues upwards, `svd` its singular values downwards. A singular value is no variance: square it and divide by $N - 1$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "pca", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pca(X: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal component analysis (Pearson 1901).

    Args:
        X: data, shape (N, D), one example a row, N at least 2.
        k: number of components.

    Returns:
        The mean, shape (D,); the components as orthonormal columns, shape (D, k), by falling variance; and their
        variances, with N - 1 in the denominator, shape (k,). All in the dtype of ``X``.

    Raises:
        ValueError: ``k`` is not between 1 and min(N, D).
    """
    ### BEGIN SOLUTION
    if not 1 <= k <= min(X.shape):
        raise ValueError(f"k={k}: {len(X)} points in {X.shape[1]} dimensions have 1 to {min(X.shape)} components.")
    mu = X.mean(0)
    _, s, Vh = torch.linalg.svd(X - mu, full_matrices=False)
    return mu, Vh[:k].mT, s[:k].square() / (len(X) - 1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-pca", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("pca", points=4)
READY_PCA = ("torch.pca_lowrank", "torch.svd_lowrank", "sklearn.decomposition.PCA.__init__")

with check("five points around (3, 3), one component", points=1, off_limits=READY_PCA):
    X = torch.tensor([[0.0, 0.0], [3.0, 3.0], [6.0, 6.0], [2.0, 4.0], [4.0, 2.0]])
    mu, W, lam = pca(X, 1)
    check.close(mu, [3.0, 3.0])
    check.shape(W, (2, 1), mistakes={"W is transposed: a component is a column, so its shape is (D, k).": (1, 2)})
    check.close(
        lam,
        [9.0],
        mistakes={
            "The variance is divided by N. Divide by N - 1.": [7.2],
            "This is the smallest eigenvalue. eigh sorts upwards; take the largest.": [1.0],
            "This is a singular value. Square it, and divide by N - 1.": [6.0],
            "This is a standard deviation. lam holds variances.": [3.0],
            "The eigenvalue was not divided by N - 1.": [36.0],
            "The data were not centred. Subtract the mean first.": [31.5],
        },
    )
    across = [[0.5, -0.5], [-0.5, 0.5]]
    check.close(
        W @ W.mT,
        [[0.5, 0.5], [0.5, 0.5]],
        mistakes={"This is the direction of the smallest variance. eigh sorts upwards; take the last columns.": across},
    )


### BEGIN HIDDEN TESTS
def cloud(N, D, dtype=torch.float64, offset=5.0):
    """Points whose variances along random axes are well apart, far from the origin, as a transpose: not contiguous."""
    Q = torch.linalg.qr(torch.randn(D, D, generator=check.gen, dtype=torch.float64))[0]
    X = torch.randn(N, D, generator=check.gen, dtype=torch.float64) * torch.logspace(0.7, -0.5, D, dtype=torch.float64) @ Q + offset
    return X.to(dtype).mT.contiguous().mT


def sklearn_pca(X, k, centred=True):
    """Mean, components and variances by scikit-learn; without centring, of the data and their mirror image."""
    X = X.double().numpy()
    found = decomposition.PCA(k, svd_solver="full").fit(X if centred else np.concatenate([X, -X]))
    return found.mean_, found.components_.T, found.explained_variance_


pca_runs = [
    (X, k, *sklearn_pca(X, k), *sklearn_pca(X, k, centred=False)[1:])
    for X, k in (
        (cloud(50, 6), 2),
        (cloud(9, 9), 4),
        (cloud(40, 3, torch.float32), 3),
        (cloud(2, 1), 1),
        (cloud(6, 11), 3),
        (cloud(4, 9, torch.float32), 2),
    )
]

with check("mean, and orthonormal columns", points=1, off_limits=READY_PCA):
    for X, k, mean, *_ in pca_runs:
        with check.no_side_effects(X):
            mu, W, lam = pca(X, k)
        for part, shape in ((mu, (X.shape[1],)), (W, (X.shape[1], k)), (lam, (k,))):
            check.shape(part, shape)
            check.dtype(part, X.dtype)
        check.close(mu, mean, atol=1e-5, mistakes={"This is the mean of the centred data. Return the mean of X.": np.zeros(X.shape[1])})
        check.close(W.mT @ W, np.eye(k), atol=1e-5)

with check("scikit-learn's subspace and variances", points=1.5, off_limits=READY_PCA):
    for X, k, _, components, variances, crooked, moments in pca_runs:
        N = len(X)
        _, W, lam = pca(X, k)
        check.close(
            lam,
            variances,
            rtol=1e-4,
            mistakes={
                "The variances are divided by N. Divide by N - 1.": variances * (N - 1) / N,
                "The variances come in rising order. The largest is the first.": variances[::-1],
                "These are singular values. Square them, and divide by N - 1.": np.sqrt(variances * (N - 1)),
                "These are standard deviations. lam holds variances.": np.sqrt(variances),
                "The eigenvalues were not divided by N - 1.": variances * (N - 1),
                "The data were not centred. Subtract the mean first.": lambda moments=moments, N=N: moments * (2 * N - 1) / (2 * N - 2),
            },
        )
        check.close(
            W @ W.mT,
            components @ components.T,
            atol=1e-3 if X.dtype == torch.float32 else 1e-8,
            mistakes={"The data were not centred. Subtract the mean first.": crooked @ crooked.T},
        )
        along = (X.double() - X.double().mean(0)) @ W.double()
        check.close(
            along.square().sum(0) / (N - 1),
            lam,
            rtol=1e-3,
            mistakes={"The columns and the variances are in different orders.": lambda lam=lam: lam.flip(0)},
        )

with check("as many components as points, and one too many", points=0.5, off_limits=READY_PCA):
    for N, D in ((4, 9), (9, 4), (3, 3)):
        X = cloud(N, D)
        _, W, lam = pca(X, min(N, D))
        check.close(W.mT @ W, np.eye(min(N, D)), atol=1e-6)
        check.close(lam.sum(), X.var(0).sum(), rtol=1e-6, mistakes={"All variances together are the data's total variance; yours are not.": lam.sum()})
        check.raises(ValueError, lambda X=X, N=N, D=D: pca(X, min(N, D) + 1))
        check.raises(ValueError, lambda X=X: pca(X, 0))
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-pca", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("pca"):
    split = data.load("digits").torch()
    mu, W, lam = pca(split.x_train, 64)
    fig, axes = plotting.subplots(8, 1, width=11, height=1.9)
    for ax, picture, title in zip(axes, (mu, *W.mT[:6]), ("mean", *(f"{j}: λ = {lam[j - 1]:.2f}" for j in range(1, 7))), strict=False):
        ax.imshow(picture.reshape(8, 8))
        ax.set(title=title, xticks=[], yticks=[])
        ax.title.set_fontsize(10)
        ax.grid(visible=False)
    axes[7].plot(range(1, 65), lam.cumsum(0) / lam.sum())
    axes[7].set(xlabel="k", title="variance kept", ylim=(0, 1.05), xticks=[1, 64])
    axes[7].title.set_fontsize(10)
    kept = [float(lam[:k].sum() / lam.sum()) for k in (2, 8, 32)]
    plotting.show(
        fig,
        alt="The mean of 1347 digits and their first six principal components as images, the first with a variance of "
        f"{lam[0]:.2f}, the sixth of {lam[5]:.2f}; and the share of the variance that k components keep: {kept[0]:.2f} with 2, {kept[1]:.2f} with 8, {kept[2]:.2f} with 32 of 64.",
    )

# %% [markdown]
# ## 2  What the projection loses
#
# The code of $x$ is $z = W^\top(x-\mu)$, and the point of the plane closest to $x$ is $\hat x = \mu + Wz = \mu + W W^\top (x-\mu)$. The mean squared norm of what is left,
#
# $$ \mathcal E_k = \frac1N \sum_i \lVert x_i - \hat x_i \rVert^2 = \frac{N-1}{N} \sum_{j>k} \lambda_j, $$
#
# is the variance in the directions that were thrown away, and no other plane of dimension $k$ has less. (The factor is there because $\lambda_j$ has $N-1$ below and $\mathcal E_k$ has $N$.)
#
# CS909 ("Refresher PCA: Reconstruction") has this with $\hat x = (W^\top)^{-1} z$, with $WW^\top = I$ as the reason and as the constraint (erratum E12), and an error of un-squared norms (erratum E33). For $k < D$ none of it can be:
# $W^\top$ is $k \times D$ and has no inverse, and $WW^\top$ has rank $k$, so it cannot be the identity of $\mathbb R^D$. It misses it by $\lVert WW^\top - I \rVert_F = \sqrt{D-k}$, which is 7.87 for two components of 64 pixels,
# whatever $W$ is. What holds is $W^\top W = I_k$, and $WW^\top$ is the *projection* on the plane. Without the squares it is another problem, with another plane as its solution (a robust PCA; section 3 measures how far it is tilted).
# On Nicolaou's slide ("From Principal Component Analysis (PCA) to autoencoders (AE)") the constraint is right, and the trace is missing: what is maximised is $\operatorname{tr}(W^\top \Sigma W)$ (erratum E33).

# %% [markdown]
# **Exercise 7.2a · `reconstruct`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# Project points on the plane through $\mu$ that $W$'s columns span.
#
# <details><summary>Hint 1: where to start</summary> Write the formula for one point, as a column. Your points are rows: transpose both sides. </details>
#
# <details><summary>Hint 2: the plane does not go through the origin</summary> Subtract the mean before you project, and add it again afterwards. </details>


# %% nbgrader={"grade": false, "grade_id": "reconstruct", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reconstruct(X: Tensor, mu: Tensor, W: Tensor) -> Tensor:
    """The points of an affine plane closest to ``X``.

    Args:
        X: points, shape (N, D).
        mu: a point of the plane, shape (D,).
        W: orthonormal columns along the plane, shape (D, k).

    Returns:
        Shape (N, D).
    """
    ### BEGIN SOLUTION
    return mu + (X - mu) @ W @ W.mT
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-reconstruct", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("reconstruct", points=1)
with check("one point and a line", points=0.5):
    check.close(
        reconstruct(torch.tensor([[3.0, 1.0]]), torch.tensor([1.0, 1.0]), torch.tensor([[0.6], [0.8]])),
        [[1.72, 1.96]],
        mistakes={
            "The mean was not added back.": [[0.72, 0.96]],
            "The mean was added, but not subtracted before.": [[2.56, 3.08]],
            "The mean is missing: the line goes through mu, not through the origin.": [[1.56, 2.08]],
            "This is the code. Go back to the space of the points with W.": [[1.2]],
        },
    )

### BEGIN HIDDEN TESTS
with check("the closest points of fresh planes", points=0.5):
    for N, D, k, dtype in ((1, 5, 2, torch.float64), (7, 4, 1, torch.float32), (4, 4, 2, torch.float64), (3, 6, 6, torch.float64)):
        X, mu, W = (torch.randn(shape, generator=check.gen, dtype=torch.float64) for shape in ((D, N), (D,), (D, k)))
        W = torch.linalg.qr(W)[0]
        closest = mu.numpy() + (W.numpy() @ linalg.lstsq(W.numpy(), (X.mT - mu).mT.numpy())[0]).T
        X, mu, W = X.to(dtype).mT, mu.to(dtype), W.to(dtype)
        with check.no_side_effects(X, mu, W):
            got = reconstruct(X, mu, W)
        check.dtype(got, dtype)
        check.close(
            got,
            closest,
            atol=1e-4 if dtype == torch.float32 else 1e-8,
            mistakes={
                "The mean was not added back.": closest - mu.double().numpy(),
                "The projection stands on the wrong side: points are rows, so multiply by it from the right.": lambda X=X, mu=mu, W=W: mu + W @ W.mT @ (X - mu),
                "The mean is missing: the plane goes through mu, not through the origin.": lambda X=X, W=W: X @ W @ W.mT,
            },
        )
    X.requires_grad_()
    (gradient,) = torch.autograd.grad(reconstruct(X, mu, W).sum(), X)
    check.finite(gradient)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 7.2b · `rec_error`** (2 points · difficulty 1 of 5 · about 10 minutes)
#
# The error $\mathcal E_k$: the squared norm of the difference, summed over the entries of an example, and the mean over the examples.
#
# <details><summary>Hint 1: where to start</summary> Call `reconstruct`. </details>
#
# <details><summary>Hint 2: which axis is summed</summary> The norm runs over the entries of one example: <code>sum(1)</code>. A mean over everything would be smaller by the factor D. </details>


# %% nbgrader={"grade": false, "grade_id": "rec_error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rec_error(X: Tensor, mu: Tensor, W: Tensor) -> Tensor:
    """Mean squared distance of points from an affine plane.

    Args:
        X: points, shape (N, D).
        mu: a point of the plane, shape (D,).
        W: orthonormal columns along the plane, shape (D, k).

    Returns:
        A scalar tensor: the mean over the points of the squared Euclidean distance.
    """
    ### BEGIN SOLUTION
    return (X - reconstruct(X, mu, W)).square().sum(1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-rec_error", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("rec_error", points=2)
### BEGIN HIDDEN TESTS
check.use(reconstruct=lambda X, mu, W: mu + torch.einsum("nd,dk,ek->ne", X - mu, W, W))
### END HIDDEN TESTS

with check("two points and a line", points=0.5):
    check.close(
        rec_error(torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([1.0, 1.0]), torch.tensor([[0.6], [0.8]])),
        2.9,
        mistakes={
            "The norms were not squared.": 1.7,
            "The squared norms were added up. Take their mean over the points.": 5.8,
            "The mean runs over all entries. Sum over an example's entries, then average over the examples.": 1.45,
            "This is the root of the mean. Leave the mean squared norm as it is.": 1.702939,
        },
    )

### BEGIN HIDDEN TESTS
with check("the variance that was thrown away", points=1):
    for N, D, k in ((30, 5, 2), (8, 8, 3), (5, 9, 2), (12, 4, 4)):
        X = (torch.randn(D, N, generator=check.gen, dtype=torch.float64) + 3).mT
        found = decomposition.PCA(min(N, D), svd_solver="full").fit(X.numpy())
        lost = found.explained_variance_[k:].sum() * (N - 1) / N
        mu, W = torch.as_tensor(found.mean_), torch.as_tensor(found.components_[:k].T)
        with check.no_side_effects(X, mu, W):
            got = rec_error(X, mu, W)
        check.close(
            got,
            lost,
            rtol=1e-6,
            atol=1e-9,
            mistakes={
                "The mean runs over all entries. Sum over an example's entries, then average over the examples.": lost / D,
                "The squared norms were added up. Take their mean over the points.": lost * N,
                "The sum was divided by N - 1. It is a mean over N points.": lost * N / (N - 1),
            },
        )

with check("Pythagoras on planes that are not PCA's", points=0.5):
    for N, D, k, dtype in ((1, 4, 2, torch.float64), (6, 3, 1, torch.float32), (5, 5, 4, torch.float64)):
        X, mu = torch.randn(N, D, generator=check.gen, dtype=dtype), torch.randn(D, generator=check.gen, dtype=dtype)
        W = torch.linalg.qr(torch.randn(D, k, generator=check.gen, dtype=dtype))[0]
        got = rec_error(X, mu, W)
        check.shape(got, ())
        check.dtype(got, dtype)
        legs = np.linalg.norm((X - mu).numpy(), axis=1) ** 2 - np.linalg.norm(((X - mu) @ W).numpy(), axis=1) ** 2
        check.close(got, legs.mean(), rtol=1e-4, mistakes={"The norms were not squared.": np.sqrt(legs).mean()})
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 3  A linear autoencoder finds PCA's plane, and not its axes
#
# Now let gradient descent do it: an encoder $E \in \mathbb R^{k\times D}$, a decoder $D_m \in \mathbb R^{D\times k}$, centred data, and the loss $\frac1N\sum_i \lVert x_i - D_m E\, x_i\rVert^2$. Nothing else.
# CS909 ("How to Train Autoencoders?") calls this equivalent to PCA under three assumptions: centred data, squared error, "along with an orthogonality constraint $W_E W_D = I$". The third is not needed, nor is it orthogonality (erratum E13).
#
# P. Baldi and K. Hornik showed in 1989 that, for a covariance of full rank, the loss has no local minimum besides the global one: all other stationary points are saddles. At the minimum the columns of $D_m$ span PCA's plane.
# For a given decoder of full rank the best encoder is its pseudo-inverse, $E = (D_m^\top D_m)^{-1} D_m^\top$, so that $E D_m = I_k$ **comes out by itself**. But any invertible $A$ gives another minimum,
# $E' = AE$, $D_m' = D_m A^{-1}$, with the same loss. So the columns of $D_m$ are neither orthonormal nor ordered by variance, nor is any of them a principal component. You get the plane. For the axes you need more, for example PCA.

# %% [markdown]
# **Exercise 7.3 · `linear_ae`** (5 points · difficulty 3 of 5 · about 30 minutes)
#
# Train a linear autoencoder by gradient descent. On data whose first $k$ variances stand out, 600 steps must bring the loss within 0.1 % of PCA's and the plane within half a degree. Optimiser, learning rate and start are yours; tied weights ($E = D_m^\top$) are allowed.
# Decompositions and solvers (`svd`, `eigh`, `lstsq`, `pinv`, …) are off limits, for they would find the plane without any descent.
#
# <details><summary>Hint 1: where to start</summary>
#
# Two leaf tensors with small random numbers, `requires_grad=True`, and an optimiser that holds both. The data may lie far from the origin: centre them, or give the model biases. All data at once, `steps` times.
#
# </details>
#
# <details><summary>Hint 2: it gets stuck at 1.01 times PCA's loss</summary>
#
# Plain gradient descent is slow along directions of small variance. Adam with a learning rate of 0.1 gets there if the rate falls to zero at the end: `torch.optim.lr_scheduler.CosineAnnealingLR`, one step a step.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "linear_ae", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_ae(X: Tensor, k: int, steps: int = 1500, seed: int = 0) -> tuple[Tensor, Tensor, list[float]]:
    """A linear autoencoder, trained by gradient descent on the mean squared norm of what it misses.

    Args:
        X: data, shape (N, D); they need not be centred.
        k: width of the code.
        steps: number of gradient steps, with all data in each.
        seed: of the initial weights; the same seed gives the same result.

    Returns:
        The encoder E, shape (k, D), and the decoder Dm, shape (D, k), for centred data and without a gradient, in the
        dtype of ``X``; and the loss before each step, ``steps`` numbers: the mean over the examples of the squared norm.
    """
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    centred = X - X.mean(0)
    D = X.shape[1]
    E = (torch.randn(k, D, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    Dm = (torch.randn(D, k, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    optimizer = torch.optim.Adam([E, Dm], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        loss = (centred - centred @ E.mT @ Dm.mT).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return E.detach(), Dm.detach(), losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-linear_ae", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("linear_ae", points=5)
DECOMPOSITIONS = (
    *("torch.linalg.svd", "torch.linalg.eigh", "torch.linalg.eig", "torch.linalg.lstsq", "torch.linalg.pinv"),
    *("torch.svd", "torch.pca_lowrank", "torch.svd_lowrank", "torch.lobpcg", "torch.pinverse"),
    *("numpy.linalg.svd", "numpy.linalg.eigh", "numpy.linalg.eig", "numpy.linalg.lstsq"),
    *("scipy.linalg.svd", "scipy.linalg.eigh", "sklearn.decomposition.PCA.__init__"),
)

with check("shapes, and a loss that falls", points=1, seconds=60, off_limits=DECOMPOSITIONS):
    X = torch.tensor([[2.0, 1.0, 0.0], [-2.0, -1.0, 0.0], [4.0, 2.0, 1.0], [-4.0, -2.0, -1.0]])
    with torch.random.fork_rng():
        E, Dm, losses = linear_ae(X, 1, 60)
    check.shape(E, (1, 3), mistakes={"Encoder and decoder are exchanged: E is (k, D), Dm is (D, k).": (3, 1)})
    check.shape(Dm, (3, 1))
    check.dtype(E, torch.float32)
    check.law(len(losses) == 60, f"one loss a step: expected 60 losses, got {len(losses)}")
    check.law(
        losses[-1] < 0.5 * losses[0],
        f"the loss falls; yours went from {losses[0]:.4g} to {losses[-1]:.4g}",
        mistakes={
            "It does not move. Do both weights get gradients, and does the optimiser step?": losses[-1] == losses[0],
        },
    )


### BEGIN HIDDEN TESTS
def stretched(N, D, k, offset=0.0, dtype=torch.float64):
    """Points with k large variances and D - k small ones along random axes, with PCA's loss and plane."""
    Q = torch.linalg.qr(torch.randn(D, D, generator=check.gen, dtype=torch.float64))[0]
    scales = torch.cat([torch.linspace(3, 2, k, dtype=torch.float64), torch.linspace(0.6, 0.3, D - k, dtype=torch.float64)])
    X = torch.randn(N, D, generator=check.gen, dtype=torch.float64)
    X = (X - X.mean(0)) * scales @ Q + offset
    found = decomposition.PCA(svd_solver="full").fit(X.numpy())
    return X.to(dtype).mT.contiguous().mT, found.explained_variance_[k:].sum() * (N - 1) / N, found.components_[:k].T


def left_over(X, E, Dm):
    centred = (X - X.mean(0)).double()
    return float((centred - centred @ E.double().mT @ Dm.double().mT).square().sum(1).mean())


linear_ae_near, linear_ae_far = stretched(60, 8, 3), stretched(50, 6, 2, offset=4.0, dtype=torch.float32)

with check("as good as PCA, in PCA's plane", points=2.5, seconds=60, off_limits=DECOMPOSITIONS):
    X, best, plane = linear_ae_near
    before = X.clone()
    with torch.random.fork_rng():
        E, Dm, losses = linear_ae(X, 3, 600, check.seeds(1)[0])
    check.law(torch.equal(X, before), "the data were changed in place. Work on a copy")
    check.dtype(Dm, X.dtype)
    check.law(not (E.requires_grad or Dm.requires_grad), "the weights come back without a gradient: detach them")
    ratio = left_over(X, E, Dm) / best
    check.at_most(
        ratio,
        1.001,
        "loss over PCA's loss",
        mistakes={
            "The losses are not those of E and Dm alone: is there a nonlinearity left in?": abs(losses[-1] / best / ratio - 1) > 0.05
            and losses[-1] > 1.05 * best,
            "It learned nothing. Does the loss depend on both weights, and does the optimiser hold both?": ratio > 5,
            "It has not arrived. Take larger steps, with Adam, and let the learning rate fall to zero at the end.": True,
        },
    )
    angle = float(np.rad2deg(linalg.subspace_angles(Dm.double().numpy(), plane).max()))
    check.at_most(angle, 0.5, "largest angle in degrees between the decoder's columns and PCA's plane")
    check.close(E.double() @ Dm.double(), np.eye(3), atol=0.01)

with check("the losses are what they are said to be", points=0.5, seconds=60, off_limits=DECOMPOSITIONS):
    X = linear_ae_near[0]
    total = float((X - X.mean(0)).square().sum(1).mean())
    with torch.random.fork_rng():
        E, Dm, losses = linear_ae(X, 3, steps=100, seed=check.seeds(1)[0])
    check.law(len(losses) == 100, f"one loss a step: expected 100 losses, got {len(losses)}")
    check.close(
        losses[-1],
        left_over(X, E, Dm),
        rtol=0.05,
        mistakes={
            "The mean runs over all entries. Sum over an example's entries, then average over the examples.": lambda: (
                losses[-1] if abs(losses[-1] * X.shape[1] / left_over(X, E, Dm) - 1) < 0.05 else None
            ),
            "The losses are sums over the examples. Take the mean.": lambda: losses[-1] if abs(losses[-1] / len(X) / left_over(X, E, Dm) - 1) < 0.05 else None,
        },
    )
    check.at_least(losses[0] / total, 0.3, "first loss over the total variance (a random start explains little)")

with check("data far from the origin", points=1, seconds=60, off_limits=DECOMPOSITIONS):
    X, best, _ = linear_ae_far
    seed, other = check.seeds(2)
    with torch.random.fork_rng():
        E, Dm, _ = linear_ae(X, 2, 600, seed)
        again, repeated, different = (linear_ae(X, 2, 20, s)[0] for s in (seed, seed, other))
    check.dtype(E, torch.float32)
    check.at_most(
        left_over(X, E, Dm) / best,
        1.001,
        "loss over PCA's loss, for data around (4, …, 4)",
        mistakes={
            "The data were not centred, so one direction is wasted on the mean. Centre them, or give the model biases.": lambda: (
                np.sin(linalg.subspace_angles(Dm.double().numpy(), X.double().mean(0)[:, None].numpy())[0]) < 0.1
            ),
            "It has not arrived. Take larger steps, with Adam, and let the learning rate fall to zero at the end.": True,
        },
    )
    check.close(repeated, again)
    check.law(not torch.allclose(different, again), "another seed starts from other weights; yours does not depend on `seed`")
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "experiment-linear", "locked": true, "schema_version": 3, "solution": false, "task": false}
def plane_without_squares(centred: np.ndarray, W: np.ndarray, rounds: int = 20) -> np.ndarray:
    """The plane of least mean distance, not squared: from PCA's columns W on, weighted anew by one over the distance."""
    D, k = W.shape
    for _ in range(rounds):
        distance = np.linalg.norm(centred - centred @ W @ W.T, axis=1, keepdims=True).clip(1e-6)
        W = linalg.eigh(centred.T @ (centred / distance), subset_by_index=(D - k, D - 1))[1]
    return W


def linear_experiment(seed: int, name: str = "digits") -> dict[str, float]:
    """A linear autoencoder with 8 numbers against PCA with 8 components, on the training images."""
    X = data.load(name, seed=seed).torch(device.pick()).x_train
    mu, W, _ = pca(X, 8)
    E, Dm, _ = linear_ae(X, 8, seed=seed)
    centred = X - X.mean(0)
    left = (centred - centred @ E.mT @ Dm.mT).square().sum(1).mean()
    columns = Dm / Dm.norm(dim=0)
    eye = torch.eye(8, device=X.device)
    plane = W.cpu().numpy()
    tilted = plane_without_squares(centred.cpu().numpy(), plane)
    return {
        "ratio": float(left / rec_error(X, mu, W)),
        "angle": float(np.rad2deg(linalg.subspace_angles(Dm.cpu().numpy(), plane).max())),
        "angle without squares": float(np.rad2deg(linalg.subspace_angles(tilted, plane).max())),
        "E Dm": float((E @ Dm - eye).abs().max()),
        "Dm' Dm": float((Dm.mT @ Dm - eye).norm()),
        "nearest axis": float((W.mT @ columns).abs().amax(0).mean()),
        "W W'": float((W @ W.mT - torch.eye(len(W), device=X.device)).norm()),
    }


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-linear-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("pca", "reconstruct", "rec_error", "linear_ae"):
    measured = linear_experiment(seed=0)
    claims.show(
        Claim("loss of the linear autoencoder over PCA's, k = 8", "equivalent to PCA (CS909)", measured["ratio"], at_most=1.001),
        Claim("largest angle between the two planes", "equivalent to PCA (CS909)", measured["angle"], at_most=0.5, unit="°"),
        Claim(
            "E Dm, largest distance from the identity, with no constraint",
            "a constraint, W_E W_D = I (CS909)",
            measured["E Dm"],
            at_most=0.01,
        ),
        Claim("Dm'Dm, distance from the identity (0 if orthonormal)", "“orthogonality” (CS909)", measured["Dm' Dm"], at_least=0.1),
        Claim(
            "|cosine| of a decoder column and the component nearest to it",
            "not in the lecture",
            measured["nearest axis"],
            at_most=0.9,
        ),
        Claim("WW', distance from the identity, for PCA's W", "WW' = I (CS909)", measured["W W'"], at_least=7.48, at_most=7.49),
        Claim(
            "angle to the plane of least un-squared error",
            "un-squared (CS909)",
            measured["angle without squares"],
            at_least=2,
            unit="°",
        ),
    )

# %% [markdown]
# The plane is PCA's, to the fourth digit of the loss, and the encoder inverts the decoder on it without being asked. The columns of the decoder are far from orthonormal, and none of them is a principal component: another seed gives other columns and the same plane.
# And $WW^\top$ misses the identity by $\sqrt{64-8} = 7.48$, as it must. The last row is erratum E33: leave the squares out, as the slide does, and the best plane is another one, some degrees away.
#
# For larger images call `linear_experiment(seed=0, name="mnist")`, or `"fashion-mnist"`, or `"cifar10"`; the experiments of sections 4, 5 and 7 take a `name`, too. They are downloaded once and take longer.

# %% [markdown]
# ## 4  Deeper: better codes, and how useful they are
#
# With nonlinear layers in between, the image of the decoder is no plane any more but a curved surface, and it can follow the data more closely (G. Hinton and R. Salakhutdinov 2006, "Deep Auto-encoder" in CS909).
#
# All deep models from here on are trained by the same loop, so it is given: `minimise(loss, model, x, …)` goes through the examples in a fresh order each epoch, and takes one Adam step a batch on `loss(batch)`, with a learning rate that rises first and falls to zero at the end.


# %% nbgrader={"grade": false, "grade_id": "setup-minimise", "locked": true, "schema_version": 3, "solution": false, "task": false}
def minimise(
    loss: Callable[[Tensor], Tensor],
    model: nn.Module,
    x: Tensor,
    *,
    epochs: int,
    lr: float = 0.01,
    batch_size: int = 32,
    seed: int = 0,
    desc: str = "",
) -> list[float]:
    """Train ``model`` in place: one step of Adam a batch, with a one-cycle learning rate.

    Args:
        loss: gives the mean loss of a batch, a scalar tensor that depends on the model's parameters.
        model: what holds the parameters.
        x: data, shape (N, ...).
        epochs: how often every example is seen.
        lr: the largest learning rate.
        batch_size: examples a step.
        seed: of the order of the examples.
        desc: words for a progress bar over the epochs; none is shown without them.

    Returns:
        The mean loss of each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = -(-len(x) // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * batches)
    history = []
    for _ in training.progress(range(epochs), desc) if desc else range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x), generator=generator).to(x.device).chunk(batches):
            value = loss(x[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item() * len(batch)
        history.append(total / len(x))
    return history


# %% [markdown]
# The other claim to measure is that codes are good *features*. The lecture is sober about it: "The features learnt from a simple auto-encoder are not extremely useful" ("In practice"). Two judges: a 5-nearest-neighbour classifier that knows all 1347 labels, and a logistic regression that knows 100.


# %% nbgrader={"grade": false, "grade_id": "experiment-deep", "locked": true, "schema_version": 3, "solution": false, "task": false}
class AE(nn.Module):
    """Autoencoder with two hidden layers on either side of its code."""

    def __init__(self, D: int, d: int, hidden: int = 128) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, D))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def fitted_ae(x: Tensor, d: int, *, epochs: int, seed: int) -> AE:
    """An autoencoder trained on the squared error."""
    training.seed_everything(seed)
    model = AE(x.shape[1], d).to(x.device)
    minimise(
        lambda batch: F.mse_loss(model(batch), batch),
        model,
        x,
        epochs=epochs,
        lr=0.005,
        batch_size=64,
        seed=seed,
        desc=f"autoencoder, {d} numbers",
    )
    return model


def deep_experiment(seed: int, name: str = "digits") -> tuple[dict[str, float], dict[str, Tensor], Tensor]:
    """Deep autoencoders against PCA on 450 unseen images.

    Returns:
        Reconstruction errors, and the accuracy of classifiers on the codes; the codes of two numbers; the labels.
    """
    split = data.load(name, seed=seed).torch(device.pick())
    x, x_test, y, y_test = split.x_train, split.x_test, split.y_train.cpu(), split.y_test.cpu()
    found, codes = {}, {"pixels": (x, x_test)}
    for k in (2, 8):
        mu, W, _ = pca(x, k)
        model = fitted_ae(x, k, epochs=40, seed=seed)
        with torch.no_grad():
            found[f"PCA, k = {k}"] = float(rec_error(x_test, mu, W))
            found[f"AE, k = {k}"] = float((x_test - model(x_test)).square().sum(1).mean())
            codes[f"PCA, k = {k}"] = (x - mu) @ W, (x_test - mu) @ W
            codes[f"AE, k = {k}"] = model.encoder(x), model.encoder(x_test)
    for title, (known, new) in codes.items():
        known, new = known.cpu(), new.cpu()
        found[f"{title}, 5 neighbours"] = neighbors.KNeighborsClassifier(5).fit(known, y).score(new, y_test)
        few = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=500))
        found[f"{title}, 100 labels"] = few.fit(known[:100], y[:100]).score(new, y_test)
    return found, {title: codes[title][1].cpu() for title in ("PCA, k = 2", "AE, k = 2")}, y_test


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-deep-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("pca", "reconstruct", "rec_error"):
    measured, plane_codes, labels = deep_experiment(seed=0)
    fig, axes = plotting.subplots(2, width=10, height=4.2)
    for ax, (name, code) in zip(axes, plane_codes.items(), strict=True):
        for digit in range(10):
            here = code[labels == digit]
            ax.scatter(*here.T, s=14, marker=f"${digit}$", color=plotting.COLOURS[digit % 7])
        ax.set(title=f"{name}: error {measured[name]:.2f}", xlabel="first number of the code", ylabel="second")
    plotting.show(
        fig,
        alt="Codes of 450 unseen digits in two numbers, each point drawn as its digit. Left PCA: the classes overlap, except for 0, 4 and 6 at the rim. Right the autoencoder: 0, 1, 2, 4 and 6 form groups of their own, the others are crowded in the middle. "
        f"Error per image {measured['PCA, k = 2']:.2f} against {measured['AE, k = 2']:.2f}.",
    )
    features = ("pixels", "PCA, k = 2", "AE, k = 2", "PCA, k = 8", "AE, k = 8")
    fig, axes = plotting.subplots(2, width=10, height=3.4)
    for ax, judge, title in zip(axes, ("5 neighbours", "100 labels"), ("5 neighbours, 1347 labels", "logistic regression, 100 labels"), strict=True):
        plotting.bars(ax, {name.replace(", ", "\n"): measured[f"{name}, {judge}"] for name in features}, ylabel="accuracy on unseen digits")
        ax.set(title=title, ylim=(0, 1.15))
    plotting.show(
        fig,
        alt="Accuracy on 450 unseen digits. "
        + "; ".join(f"{judge}: " + ", ".join(f"{name} {measured[f'{name}, {judge}']:.3f}" for name in features) for judge in ("5 neighbours", "100 labels"))
        + ".",
    )
    claims.show(
        Claim(
            "error of a deep AE over PCA's, k = 2",
            "deep beats PCA (Hinton and Salakhutdinov)",
            measured["AE, k = 2"] / measured["PCA, k = 2"],
            at_most=0.8,
        ),
        Claim("the same, k = 8", "not in the lecture", measured["AE, k = 8"] / measured["PCA, k = 8"], at_most=0.8),
        Claim(
            "5 neighbours, k = 2: AE less PCA",
            "for visualisation (CS909)",
            measured["AE, k = 2, 5 neighbours"] - measured["PCA, k = 2, 5 neighbours"],
            at_least=0.1,
        ),
        Claim(
            "5 neighbours: pixels less AE with k = 8",
            "not in the lecture",
            measured["pixels, 5 neighbours"] - measured["AE, k = 8, 5 neighbours"],
            at_least=-0.01,
        ),
        Claim(
            "100 labels: AE with k = 8 less pixels",
            "“not extremely useful” (“In practice”)",
            measured["AE, k = 8, 100 labels"] - measured["pixels, 100 labels"],
            at_most=0.08,
        ),
    )

# %% [markdown]
# So the code of two numbers is much better than two components, for looking at data and for a classifier that must live on two numbers. With eight the gain over PCA is one to four points. Over raw pixels there is none that lasts: with all labels pixels are as good or better, and with 100 labels the code was three points better on one split and four points worse on another. That is mildly useful, as the lecture says: the error that an autoencoder minimises is not about classes. Features that *are* better than pixels take another task; see 10-contrastive.

# %% [markdown]
# ## 5  Noise at the input
#
# A bottleneck is one way to keep an autoencoder from copying. Another is to spoil the input and ask for the clean one: a **denoising autoencoder** (P. Vincent et al. 2008) minimises
#
# $$ \mathbb E_{x}\; \mathbb E_{\tilde x \sim c(\cdot \mid x)}\; \tfrac1D\, \bigl\lVert f(\tilde x) - x \bigr\rVert^2 . $$
#
# The model sees $\tilde x$, the target is $x$, and the corruption is drawn anew each time an example is seen. The best possible $f$ is the conditional mean $\mathbb E[x \mid \tilde x]$, so the code may even be wider than the input: copying is no longer good.
# The lecture lists it as a warm-up for other tasks ("Transfer learning"); in 09-diffusion the same loss, at many noise levels, becomes a generative model.

# %% [markdown]
# **Exercise 7.4 · `dae_loss`** (3 points · difficulty 2 of 5 · about 15 minutes)
#
# Write the loss of one batch. `corrupt` is given: Gaussian noise, a mask, or whatever the caller likes.
#
# <details><summary>Hint 1: where to start</summary> Three lines: corrupt, run the model, compare. Which of the two images is compared with the output? </details>
#
# <details><summary>Hint 2: fresh noise</summary> Hand <code>gen</code> on to <code>corrupt</code> and leave it alone otherwise: it moves on by itself, so that the next call gets other noise. </details>


# %% nbgrader={"grade": false, "grade_id": "dae_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dae_loss(
    model: nn.Module,
    x: Tensor,
    corrupt: Callable[[Tensor, torch.Generator], Tensor],
    gen: torch.Generator,
) -> Tensor:
    """The loss of a denoising autoencoder on one batch (Vincent et al. 2008).

    Args:
        model: maps images to images of the same shape.
        x: clean images, shape (N, ...).
        corrupt: ``corrupt(x, gen)`` gives spoiled images of the same shape and leaves ``x`` alone.
        gen: what ``corrupt`` draws from.

    Returns:
        A scalar tensor: the squared error, its mean over all entries.
    """
    ### BEGIN SOLUTION
    return F.mse_loss(model(corrupt(x, gen)), x)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-dae_loss", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("dae_loss", points=3)


class Halve(nn.Module):
    """Halves what it sees; its weight lets gradients be seen."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return x * self.weight


with check("a corruption that does nothing", points=1):
    check.close(
        dae_loss(Halve(), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), lambda x, gen: x, torch.Generator()),
        1.875,
        mistakes={
            "The squared errors were added up. Take their mean over all entries.": 7.5,
            "The squared errors of an example were added up. Take the mean over all entries.": 3.75,
            "There is a half too much: the loss is the mean squared error.": 0.9375,
            "This is the mean absolute error.": 1.25,
            "This is the root of the mean squared error.": 1.369306,
        },
    )


### BEGIN HIDDEN TESTS
def gaussian(x, gen):
    return x + 0.5 * torch.randn(x.shape, generator=gen, dtype=x.dtype)


def masked(x, gen):
    return x * (torch.rand(x.shape, generator=gen) < 0.6)


with check("the model sees the noise, the target is clean", points=1):
    for shape, dtype, corrupt in (((1, 3), torch.float64, gaussian), ((5, 2), torch.float32, masked), ((3, 1, 4, 2), torch.float32, gaussian)):
        x = torch.randn(shape, generator=check.gen, dtype=dtype).transpose(0, -1).contiguous().transpose(0, -1)
        gen, twin, model = check.gen, torch.Generator(), Halve()
        spoiled = corrupt(x, twin.set_state(gen.get_state()))
        with check.no_side_effects(x):
            got = dae_loss(model, x, corrupt, gen)
        check.shape(got, ())
        check.law(len(model.seen) > 0, "the model is called; yours is not")
        check.close(
            model.seen[0],
            spoiled,
            mistakes={
                "The model saw the clean images. Give it the corrupted ones.": x,
                "The noise does not come from `gen`. Hand it on to corrupt as it is.": model.seen[0],
            },
        )
        check.close(
            got,
            ((spoiled / 2 - x) ** 2).mean(),
            mistakes={
                "The output was compared with the corrupted images. The target is clean.": lambda spoiled=spoiled: ((spoiled / 2) ** 2).mean(),
                "Something was squared over the batch and not averaged: the loss is a mean over all entries.": lambda spoiled=spoiled, x=x: (
                    (spoiled / 2 - x) ** 2
                ).sum(),
            },
        )

with check("fresh noise each call, and a gradient for the model", points=1):
    x, gen, model = torch.randn(6, 4, generator=check.gen), check.gen, Halve()
    first, second = dae_loss(model, x, gaussian, gen), dae_loss(model, x, gaussian, gen)
    check.law(
        not torch.equal(model.seen[0], model.seen[1]),
        "two calls in a row draw different noise; yours draw the same",
        mistakes={"The noise does not come from `gen`, or the generator is set back. Hand `gen` on to corrupt.": True},
    )
    check.law(first.requires_grad, "gradients flow to the model's weights; yours were cut off (no_grad, detach, item)")
    (slope,) = torch.autograd.grad(second, model.weight)
    check.close(slope, (2 * (model.seen[1] / 2 - x) * model.seen[1]).mean(), rtol=1e-3)
    model.eval()
    check.law(
        not torch.equal(dae_loss(model, x, gaussian, gen), F.mse_loss(x / 2, x)),
        "in eval mode the images are corrupted as well: how well a model denoises is measured on noise",
    )
### END HIDDEN TESTS
check.report()


# %% [markdown]
# How good can a denoiser be? Among the *linear* ones the best is the Wiener filter, $\mu + S(S + \tau^2 I)^{-1}(\tilde x - \mu)$, with the data's covariance $S$ and the noise's variance $\tau^2$. A network trained on your loss may bend.


# %% nbgrader={"grade": false, "grade_id": "experiment-denoise", "locked": true, "schema_version": 3, "solution": false, "task": false}
def add_noise(x: Tensor, gen: torch.Generator) -> Tensor:
    """Gaussian noise with a standard deviation of a half, as much as the digits themselves vary in a busy pixel."""
    return x + 0.5 * torch.randn(x.shape, generator=gen).to(x)


def denoising_experiment(seed: int, name: str = "digits") -> tuple[dict[str, float], dict[str, Tensor]]:
    """Mean squared errors per pixel on unseen noisy images, and the pictures of the first eight."""
    split = data.load(name, seed=seed).torch(device.pick())
    x, x_test = split.x_train, split.x_test
    D = x.shape[1]
    training.seed_everything(seed)
    model, gen = AE(D, D, hidden=256).to(x.device), torch.Generator().manual_seed(seed)
    minimise(
        lambda batch: dae_loss(model, batch, add_noise, gen),
        model,
        x,
        epochs=40,
        lr=0.005,
        batch_size=64,
        seed=seed,
        desc="denoising autoencoder",
    )
    noisy = add_noise(x_test, gen)
    mu, S = x.mean(0), x.mT.cov()
    wiener = mu + (noisy - mu) @ torch.linalg.solve(S + 0.25 * torch.eye(D, device=x.device), S)
    with torch.no_grad():
        pictures = {"clean": x_test, "noisy": noisy, "Wiener filter": wiener, "denoising AE": model(noisy)}
    errors = {title: float(F.mse_loss(picture, x_test)) for title, picture in pictures.items()}
    return errors, {title: picture[:8].cpu() for title, picture in pictures.items()}


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-denoise-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("dae_loss"):
    measured, pictures = denoising_experiment(seed=0)
    fig, axes = plotting.subplots(8, 4, width=8, height=4.2)
    for row, (name, images) in zip(axes, pictures.items(), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image.reshape(8, 8), vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    plotting.show(
        fig,
        alt="Eight unseen digits: clean, with noise that nearly hides them, after the Wiener filter, blurred with grey ghosts around, and after the denoising autoencoder, with clear strokes. "
        f"Squared error per pixel {measured['noisy']:.3f}, {measured['Wiener filter']:.3f} and {measured['denoising AE']:.3f}.",
    )
    claims.show(
        Claim("squared error per pixel of the noisy images", "not in the lecture", measured["noisy"]),
        Claim("of the Wiener filter, over that", "not in the lecture", measured["Wiener filter"] / measured["noisy"], at_most=0.25),
        Claim(
            "of the denoising autoencoder, over the Wiener filter's",
            "one of the “other types of autoencoders” (CS909)",
            measured["denoising AE"] / measured["Wiener filter"],
            at_most=0.85,
        ),
    )

# %% [markdown]
# ## 6  A latent variable and a bound on the likelihood
#
# So far a code was whatever came out. A **latent variable model** starts at the other end: draw $z \sim \mathcal N(0, I_d)$, then $x \sim p_\theta(x\mid z) = \mathcal N\bigl(x;\, \hat x_\theta(z),\, \sigma^2 I_D\bigr)$. To fit it one wants $\ln p_\theta(x)$, an integral over all $z$.
# Plain Monte Carlo over the prior needs far too many draws ("Density networks"). The way out is to draw where it matters, from some $q(z \mid x)$:
#
# $$ \ln p(x) = \ln \int \frac{q(z\mid x)}{q(z\mid x)}\, p(x\mid z)\, p(z)\, dz \;=\; \ln \mathbb E_{q}\!\left[\frac{p(x\mid z)\,p(z)}{q(z\mid x)}\right] \;\ge\; \mathbb E_{q}\!\left[\ln \frac{p(x\mid z)\,p(z)}{q(z\mid x)}\right] \;=\; \underbrace{\mathbb E_{q}\bigl[\ln p(x\mid z)\bigr] - D_{KL}\bigl[q(z\mid x)\,\Vert\, p(z)\bigr]}_{\text{ELBO}} . $$
#
# The first step, to divide and multiply by $q$, is **importance sampling**. The inequality is **Jensen's**, for the logarithm is concave. The last step only splits the logarithm. On the slide ("Variational auto-encoders") these labels each stand one line too low (erratum E42); the bound itself is right.
# What Jensen's step loses is exactly $D_{KL}\bigl[q(z\mid x)\,\Vert\,p(z\mid x)\bigr]$. So the bound is tight if and only if $q$ is the true posterior.
#
# Take $q(z\mid x) = \mathcal N\bigl(\mu, \operatorname{diag}(e^{\ell})\bigr)$, with $\mu$ and the log-variance $\ell$ from an encoder. The logarithm is there so that a network may output any number. Then the second term is
#
# $$ D_{KL}\bigl[q\,\Vert\,\mathcal N(0,I_d)\bigr] = \tfrac12 \sum_{j=1}^{d} \bigl(\mu_j^2 + e^{\ell_j} - 1 - \ell_j\bigr). $$

# %% [markdown]
# **Exercise 7.5a · `kl_std_normal`** (2 points · difficulty 2 of 5 · about 10 minutes)
#
# The divergence of each example's $q$ from the standard normal. `torch.distributions` is off limits here.
#
# <details><summary>Hint 1: where to start</summary> It must be 0 for $\mu = 0$, $\ell = 0$, and positive everywhere else. </details>
#
# <details><summary>Hint 2: one number an example</summary> Dimensions of a code are independent under q, so their divergences add up. Sum over the last axis; leave the batch alone. </details>


# %% nbgrader={"grade": false, "grade_id": "kl_std_normal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_std_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mu, diag(exp(logvar))) from N(0, I) (Kingma and Welling 2014, appendix B).

    Args:
        mu: means, shape (N, d).
        logvar: logarithms of the variances, shape (N, d).

    Returns:
        Shape (N,), in nats.
    """
    ### BEGIN SOLUTION
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-kl_std_normal", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("kl_std_normal", points=2)
READY_KL = ("torch.distributions.kl_divergence", "torch.distributions.kl.kl_divergence")

with check("zero at the prior, and by hand", points=1, off_limits=READY_KL):
    check.close(
        kl_std_normal(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.3862944]])),
        [0.0, 3.306853],
        mistakes={
            "The sign is wrong: a divergence is never negative.": [0.0, -3.306853],
            "The factor ½ is missing.": [0.0, 6.613706],
            "logvar was taken for the log of the standard deviation. exp(logvar) is the variance.": [0.0, 8.613706],
            "The mean was taken over the dimensions. Their divergences add up.": [0.0, 1.653426],
            "Everything was added up. Return one number an example.": 3.306853,
            "The mean was taken over the examples. Return one number an example.": 1.653426,
            "The -1 is missing, so that the divergence from itself is not 0.": [1.0, 4.306853],
        },
    )

### BEGIN HIDDEN TESTS
with check("agrees with torch.distributions", points=1):
    for N, d, dtype, spread in ((1, 1, torch.float64, 1), (5, 3, torch.float32, 1), (4, 4, torch.float64, 3), (3, 7, torch.float64, 10)):
        mu, logvar = (spread * torch.randn(d, N, generator=check.gen, dtype=dtype).mT for _ in range(2))
        want = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))
        with check.no_side_effects(mu, logvar):
            got = kl_std_normal(mu, logvar)
        check.dtype(got, dtype)
        check.close(
            got,
            want.sum(1),
            rtol=1e-4 if dtype == torch.float32 else 1e-9,
            mistakes={
                "The sign is wrong: a divergence is never negative.": -want.sum(1),
                "logvar was taken for the log of the standard deviation. exp(logvar) is the variance.": lambda mu=mu, logvar=logvar: kl_divergence(
                    Normal(mu, logvar.exp()), Normal(0.0, 1.0)
                ).sum(1),
                "The divergence is the other way round: q comes first, the prior second.": lambda mu=mu, logvar=logvar: kl_divergence(
                    Normal(0.0, 1.0), Normal(mu, (logvar / 2).exp())
                ).sum(1),
                "The sum runs over the examples. Sum over the dimensions of the code, the last axis.": want.sum(0),
                "The mean was taken over the dimensions. Their divergences add up.": want.mean(1),
            },
        )
    mu.requires_grad_(), logvar.requires_grad_()
    got = kl_std_normal(mu, logvar)
    check.law(got.requires_grad, "gradients flow back to mu and logvar; yours were cut off")
    slopes = torch.autograd.grad(got.sum(), (mu, logvar))
    check.close(slopes[0], mu)
    check.close(slopes[1], torch.expm1(logvar) / 2, rtol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# The other term, $\mathbb E_q[\ln p(x\mid z)]$, is estimated with one draw $z \sim q$. Its gradient must reach $\mu$ and $\ell$ *through the draw*. A draw from a box called `normal` lets nothing through.
# Written as $z = \mu + e^{\ell/2} \odot \varepsilon$ with $\varepsilon \sim \mathcal N(0, I)$ it is a plain function of $\mu$ and $\ell$, and the randomness comes in from the side. This is the **reparametrisation trick**.

# %% [markdown]
# **Exercise 7.5b · `reparam`** (1 point · difficulty 2 of 5 · about 10 minutes)
#
# Draw one code an example, so that gradients flow.
#
# <details><summary>Hint 1: where to start</summary> <code>torch.randn(mu.shape, generator=gen, …)</code>, in the dtype of mu. </details>
#
# <details><summary>Hint 2: the scale</summary> A variance is e<sup>ℓ</sup>. Noise is multiplied by a standard deviation. </details>


# %% nbgrader={"grade": false, "grade_id": "reparam", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reparam(mu: Tensor, logvar: Tensor, gen: torch.Generator) -> Tensor:
    """One draw from each N(mu, diag(exp(logvar))), as a differentiable function of both (Kingma and Welling 2014).

    Args:
        mu: means, shape (N, d).
        logvar: logarithms of the variances, shape (N, d).
        gen: what the noise is drawn from, a generator on the CPU.

    Returns:
        Shape (N, d), in the dtype and on the device of ``mu``.
    """
    ### BEGIN SOLUTION
    noise = torch.randn(mu.shape, generator=gen, dtype=mu.dtype).to(mu.device)
    return mu + (logvar / 2).exp() * noise
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-reparam", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("reparam", points=1)

with check("a variance of nearly nothing, and two draws", points=0.5):
    mu = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    check.close(reparam(mu, torch.full((2, 2), -60.0), check.gen), mu)
    gen = check.gen
    check.law(
        not torch.equal(reparam(mu, torch.zeros(2, 2), gen), reparam(mu, torch.zeros(2, 2), gen)),
        "two draws from the same generator differ; yours are equal",
        mistakes={"Nothing is drawn, or the generator was set back to its seed.": True},
    )

### BEGIN HIDDEN TESTS
with check("mean, variance and gradients", points=0.5):
    N = 20_000
    for d, dtype in ((3, torch.float64), (1, torch.float32)):
        mu = torch.randn(d, generator=check.gen, dtype=dtype).expand(N, d).clone().requires_grad_()
        logvar = torch.linspace(-2, 1, d, dtype=dtype).expand(N, d).clone().requires_grad_()
        gen = check.gen
        with check.no_side_effects(mu, logvar):
            z = reparam(mu, logvar, gen)
        check.shape(z, (N, d))
        check.dtype(z, dtype)
        check.law(
            z.requires_grad,
            "gradients flow back to mu and logvar; yours were cut off",
            mistakes={"torch.normal lets no gradient through. Write z as mu plus standard deviation times noise.": True},
        )
        noise = (z.detach() - mu.detach()) / (logvar.detach() / 2).exp()
        # Six standard errors: a right answer fails once in 10^8 draws.
        check.close(
            noise.mean(0),
            np.zeros(d),
            atol=6 / math.sqrt(N),
            mistakes={"All examples got the same noise. Draw one for every entry.": noise.mean(0) if (noise.var(0) < 1e-6).all() else None},
        )
        check.close(
            noise.var(0),
            np.ones(d),
            rtol=0,
            atol=6 * math.sqrt(2 / N),
            mistakes={
                "The noise is uniform. It must be standard normal: torch.randn.": lambda noise=noise: noise.var(0) if noise.abs().max() < 2 else None,
                "The noise was multiplied by the variance. Its factor is the standard deviation, exp(logvar / 2).": lambda noise=noise, logvar=logvar: (
                    noise.var(0) if torch.allclose(noise.var(0), logvar[0].detach().exp(), rtol=0.2) else None
                ),
                "The noise was multiplied by logvar itself.": lambda noise=noise: noise.var(0) if noise.var(0)[0] > 5 else None,
            },
        )
        if d > 1:
            check.close(np.corrcoef(noise.numpy().T) - np.eye(d), np.zeros((d, d)), atol=6 / math.sqrt(N))
        slope_mu, slope_logvar = torch.autograd.grad(z.sum(), (mu, logvar), allow_unused=True)
        check.law(slope_mu is not None and slope_logvar is not None, "both mu and logvar get a gradient; yours leave one out")
        check.close(slope_mu, torch.ones(N, d))
        check.close(slope_logvar, (z - mu) / 2, rtol=1e-3, atol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# With $\hat x$ the decoded draw, the one-draw estimate of the ELBO of an example is
#
# $$ \ln \mathcal N\bigl(x;\, \hat x, \sigma^2 I_D\bigr) - D_{KL} \;=\; -\frac{\lVert x - \hat x\rVert^2}{2\sigma^2} \;-\; \frac D2 \ln\bigl(2\pi\sigma^2\bigr) \;-\; D_{KL}. $$
#
# The constant changes no gradient, but without it this is no bound on anything. And $\lVert\cdot\rVert^2$ is a **sum** over the pixels: with a mean in its place the KL term weighs $D$ times too much, and the code dies.

# %% [markdown]
# **Exercise 7.5c · `elbo`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Write the estimate, one number an example. Use your `kl_std_normal`. `torch.distributions` is off limits here too.
#
# <details><summary>Hint 1: where to start</summary> First the log-density of one pixel under a normal of standard deviation σ. How do the pixels' log-densities combine? </details>
#
# <details><summary>Hint 2: a check on paper</summary> For a perfect copy, σ = 1 and q equal to the prior, it must be −(D/2) ln 2π. </details>


# %% nbgrader={"grade": false, "grade_id": "elbo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def elbo(x: Tensor, x_hat: Tensor, mu: Tensor, logvar: Tensor, sigma: float) -> Tensor:
    """One-draw estimate of the evidence lower bound of a VAE with decoder N(x_hat, sigma^2 I).

    Args:
        x: data, shape (N, D).
        x_hat: decoded draws from q, shape (N, D).
        mu: means of q, shape (N, d).
        logvar: logarithms of the variances of q, shape (N, d).
        sigma: standard deviation of the decoder's noise, above 0.

    Returns:
        Shape (N,), in nats.
    """
    ### BEGIN SOLUTION
    log_likelihood = -0.5 * ((x - x_hat) / sigma).square() - math.log(sigma) - 0.5 * math.log(2 * math.pi)
    return log_likelihood.sum(1) - kl_std_normal(mu, logvar)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-elbo", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("elbo", points=2)
READY_ELBO = (
    "torch.distributions.kl_divergence",
    "torch.distributions.kl.kl_divergence",
    "torch.distributions.Normal.log_prob",
)
### BEGIN HIDDEN TESTS
check.use(kl_std_normal=lambda mu, logvar: (mu**2 + torch.expm1(logvar) - logvar).sum(-1) / 2)
### END HIDDEN TESTS

with check("two pixels by hand, with q at and beside the prior", points=0.5, off_limits=READY_ELBO):
    x, x_hat = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    mu, logvar = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.0]])
    check.close(
        elbo(x, x_hat, mu, logvar, 0.5),
        [-1.451583, -1.951583],
        mistakes={
            "The constant -D/2 ln(2πσ²) is missing.": [-1.0, -1.5],
            "The term with ln 2π is missing.": [0.386294, -0.113706],
            "The term with ln σ is missing.": [-2.837877, -3.337877],
            "The constant counts one pixel. Every one of the D pixels has it.": [-1.225791, -1.725791],
            "The log-density is a mean over the pixels. It is a sum.": [-0.725791, -1.225791],
            "The divergence was added. It is subtracted.": [-1.451583, -0.951583],
            "The divergence is missing.": [-1.451583, -1.451583],
            "The sign is wrong: this is the loss, minus the ELBO.": [1.451583, 1.951583],
            "The squared error was divided by σ, not σ².": [-0.951583, -1.451583],
            "The factor ½ of the squared error is missing.": [-2.451583, -2.951583],
        },
    )

### BEGIN HIDDEN TESTS
with check("agrees with torch.distributions", points=0.5):
    for N, D, d, sigma, dtype in ((1, 1, 1, 1.0, torch.float64), (4, 6, 2, 0.3, torch.float32), (3, 3, 3, 2.0, torch.float64), (2, 5, 7, 0.1, torch.float64)):
        x, x_hat = (torch.randn(D, N, generator=check.gen, dtype=dtype).mT for _ in range(2))
        mu, logvar = (torch.randn(N, d, generator=check.gen, dtype=dtype) for _ in range(2))
        fit, divergence = Normal(x_hat, sigma).log_prob(x), kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)
        with check.no_side_effects(x, x_hat, mu, logvar):
            got = elbo(x, x_hat, mu, logvar, sigma)
        check.dtype(got, dtype)
        check.close(
            got,
            fit.sum(1) - divergence,
            rtol=1e-4,
            mistakes={
                "The constant -D/2 ln(2πσ²) is missing.": fit.sum(1) - divergence + D / 2 * math.log(2 * math.pi * sigma**2),
                "The log-density is a mean over the pixels. It is a sum.": fit.mean(1) - divergence,
                "The mean was taken over the examples. Return one number an example.": (fit.sum(1) - divergence).mean(),
                "The divergence was added. It is subtracted.": fit.sum(1) + divergence,
            },
        )
    leaves = [part.clone().requires_grad_() for part in (x_hat, mu, logvar)]
    got = elbo(x, *leaves, sigma)
    check.law(got.requires_grad, "gradients flow back to x_hat, mu and logvar; yours were cut off")
    for slope in torch.autograd.grad(got.sum(), leaves):
        check.finite(slope)
        check.law((slope != 0).any(), "no gradient is all zeros")


def averaged_elbo(x, W, mean, mu, logvar, sigma):
    """The exact expectation of ``elbo`` over q, for x_hat = W z + mean: the log-density is quadratic in z, so 2 d points placed symmetrically will do."""
    d = W.shape[1]
    steps = math.sqrt(d) * torch.cat([torch.eye(d), -torch.eye(d)]).to(x)
    return sum(elbo(x, (mu + step * (logvar / 2).exp()) @ W.mT + mean, mu, logvar, sigma) for step in steps) / (2 * d)


def averaged_elbos(x, W, mean, mus, logvars, sigma):
    """The same for one q after the other."""
    return torch.stack([averaged_elbo(x, W, mean, mu, logvar, sigma) for mu, logvar in zip(mus, logvars, strict=True)])


with check("never above ln p(x), and equal to it at the posterior", points=1, off_limits=READY_ELBO[:2]):
    for N, D, d in ((3, 4, 2), (2, 5, 1)):
        W = torch.linalg.qr(torch.randn(D, d, generator=check.gen, dtype=torch.float64))[0] * torch.linspace(2, 1, d, dtype=torch.float64)
        mean = torch.randn(D, generator=check.gen, dtype=torch.float64)
        sigma = float(check.rng.uniform(0.3, 0.8))
        x = torch.randn(N, D, generator=check.gen, dtype=torch.float64)
        exact = MultivariateNormal(mean, W @ W.mT + sigma**2 * torch.eye(D, dtype=torch.float64)).log_prob(x)
        precision = W.square().sum(0) / sigma**2 + 1  # of the posterior: W's columns are orthogonal, so it is diagonal
        best_mu, best_logvar = (x - mean) @ W / sigma**2 / precision, -precision.log().expand(N, d)
        check.close(
            check.run(averaged_elbo, x, W, mean, best_mu, best_logvar, sigma),
            exact,
            rtol=1e-6,
            mistakes={
                "The constant -D/2 ln(2πσ²) is missing, so this is no bound on the likelihood.": lambda exact=exact, D=D, sigma=sigma: (
                    exact + D / 2 * math.log(2 * math.pi * sigma**2)
                ),
            },
        )
        mus, logvars = (best + torch.randn(25, N, d, generator=check.gen) for best in (best_mu, best_logvar))
        for bound in check.run(averaged_elbos, x, W, mean, mus, logvars, sigma):
            over = float((bound - exact).max())
            check.law(over <= 1e-9, f"a lower bound is never above ln p(x); yours exceeds it by {over:.3g}")
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "figure-elbo", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_bound():
    """ln p(x) of a linear-Gaussian model in two dimensions, and what the ELBO says for other q."""
    W, mean, sigma = torch.tensor([[2.0], [1.0]]), torch.zeros(2), 0.5
    x = torch.tensor([[1.5, 1.5]])
    exact = float(MultivariateNormal(mean, W @ W.mT + sigma**2 * torch.eye(2)).log_prob(x))
    precision = float(W.square().sum() / sigma**2 + 1)
    best = float(x @ W / sigma**2 / precision)

    def bound(mu, logvar):
        draws = torch.tensor([1.0, -1.0]) * (logvar / 2).exp() + mu  # exact: the log-density is quadratic in z
        return float(sum(elbo(x, z.reshape(1, 1) @ W.mT, mu.reshape(1, 1), logvar.reshape(1, 1), sigma) for z in draws)) / 2

    fig, axes = plotting.subplots(2, width=9.5, height=3.4)
    spread, shift = torch.linspace(-2, 2, 41), torch.linspace(-0.6, 0.6, 41)
    by_shift = [bound(best + s, torch.tensor(-math.log(precision))) for s in shift]
    by_spread = [bound(torch.tensor(best), -math.log(precision) + s) for s in spread]
    for ax, at, values, label in zip(axes, (shift, spread), (by_shift, by_spread), ("shift of q's mean", "added to q's log-variance"), strict=True):
        ax.axhline(exact, color="black", linestyle="--", label=f"ln p(x) = {exact:.2f}")
        ax.plot(at, values, label="ELBO")
        ax.set(xlabel=label, ylabel="nats", ylim=(exact - 4, exact + 0.4))
        ax.legend(loc="lower center")
    plotting.show(
        fig,
        alt=f"Two panels with the logarithm of p(x), {exact:.2f}, as a dashed line, and the ELBO below it. It touches the line, at {max(by_shift):.2f}, only where q has the mean and the "
        f"variance of the true posterior, and falls to {min(by_shift):.2f} where the mean is off by 0.6 and to {min(by_spread):.2f} where the log-variance is off by 2.",
    )


with checks.uses("kl_std_normal", "elbo"):
    draw_bound()

# %% [markdown]
# ## 7  A variational autoencoder, from your own parts
#
# A **VAE** puts it together: an encoder network gives $\mu$ and $\ell$ for each image, one draw is decoded, and both networks climb the ELBO. Unlike any model before in this notebook it has a prior: to get a new image, draw $z \sim \mathcal N(0, I_d)$ and decode it.

# %% [markdown]
# **Exercise 7.6a · `vae`** (2 points · difficulty 3 of 5 · about 25 minutes)
#
# Assemble the module. The layers in between are yours: two hidden layers of `hidden` units with `nn.GELU()` on either side work well. `forward` draws its code with your `reparam`, and `forward` and `sample` both go through `decode`.
#
# <details><summary>Hint 1: where to start</summary>
#
# One `nn.Sequential` for the encoder, with $2d$ outputs, one for the decoder. `.chunk(2, dim=1)` cuts the encoder's output in two.
#
# </details>
#
# <details><summary>Hint 2: the last layers</summary>
#
# $\mu$ and $\ell$ may be any number, so no activation stands behind the encoder's last layer: a ReLU there forbids every variance below 1. Behind the decoder's last layer a sigmoid is allowed for images in [0, 1], and not needed.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "vae", "locked": false, "schema_version": 3, "solution": true, "task": false}
class VAE(nn.Module):
    """Variational autoencoder with a Gaussian code (Kingma and Welling 2014)."""

    def __init__(self, D: int, d: int, hidden: int = 128) -> None:
        """Make the layers.

        Args:
            D: entries of an example.
            d: entries of a code.
            hidden: width of the layers in between.
        """
        ### BEGIN SOLUTION
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, D))
        ### END SOLUTION

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each of shape (N, d), for data of shape (N, D)."""
        ### BEGIN SOLUTION
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar
        ### END SOLUTION

    def decode(self, z: Tensor) -> Tensor:
        """Mean of p(x | z), shape (N, D), for codes of shape (N, d)."""
        ### BEGIN SOLUTION
        return self.decoder(z)
        ### END SOLUTION

    def forward(self, x: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One draw from q, decoded.

        Args:
            x: data, shape (N, D).
            gen: what ``reparam`` draws from.

        Returns:
            The decoded draws, shape (N, D); and the mean and log-variance of q, each of shape (N, d).
        """
        ### BEGIN SOLUTION
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, logvar, gen)), mu, logvar
        ### END SOLUTION

    def sample(self, n: int, gen: torch.Generator) -> Tensor:
        """New examples: ``n`` draws from the prior N(0, I), decoded.

        Args:
            n: how many.
            gen: what the codes are drawn from, a generator on the CPU.

        Returns:
            The means of p(x | z), shape (n, D), on the device of the model.
        """
        ### BEGIN SOLUTION
        z = torch.randn(n, self.d, generator=gen)
        return self.decode(z.to(next(self.parameters())))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-vae", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("vae", points=2)


class Spy:
    """Stands in for reparam and remembers what it was given and what it gave."""

    def __init__(self):
        self.calls = []

    def __call__(self, mu, logvar, gen):
        z = mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=gen, dtype=mu.dtype)
        self.calls.append((mu, logvar, z))
        return z


### BEGIN HIDDEN TESTS
spy = Spy()
check.use(reparam=spy)
### END HIDDEN TESTS

with check("shapes", points=0.5):
    for N, D, d in ((3, 6, 2), (1, 5, 1), (4, 4, 7)):
        with torch.random.fork_rng():
            model = VAE(D, d, 16)
        x = torch.ones(N, D)
        mu, logvar = model.encode(x)
        check.shape(mu, (N, d))
        check.shape(logvar, (N, d))
        check.shape(model.decode(mu), (N, D))
        x_hat, mu, logvar = model(x, check.gen)
        for part, shape in ((x_hat, (N, D)), (mu, (N, d)), (logvar, (N, d)), (model.sample(9, check.gen), (9, D))):
            check.shape(part, shape)


### BEGIN HIDDEN TESTS
def fresh_vae(*sizes, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VAE(*sizes)


with check("forward draws with reparam, and everything learns", points=0.75):
    for N, D, d in ((5, 6, 2), (1, 3, 1), (4, 4, 4)):
        model, x = fresh_vae(D, d, 24, seed=check.seeds(1)[0]), torch.randn(N, D, generator=check.gen)
        spy.calls.clear()
        with check.no_side_effects(x):
            x_hat, mu, logvar = model(x, check.gen)
        check.law(len(spy.calls) == 1, f"forward calls reparam once; yours called it {len(spy.calls)} times")
        for got, want, name in zip((mu, logvar), model.encode(x), ("mean", "log-variance"), strict=True):
            check.law(torch.allclose(got, want, atol=1e-5), f"forward returns the {name} that encode gives; yours differ")
        given_mu, given_logvar, z = spy.calls[0]
        check.close(given_mu, mu, atol=1e-5)
        check.close(given_logvar, logvar, atol=1e-5, mistakes={"reparam got a variance or a standard deviation. Give it the log-variance.": given_logvar})
        check.close(x_hat, model.decode(z), atol=1e-5, mistakes={"The mean was decoded. Decode the draw.": lambda model=model, mu=mu: model.decode(mu)})
        parameters = dict(model.named_parameters())
        loss = (x_hat * torch.randn(x_hat.shape, generator=check.gen)).sum() + mu.square().sum() + logvar.square().sum()
        slopes = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        dead = [name for name, slope in zip(parameters, slopes, strict=True) if slope is None]
        check.law(not dead, f"every parameter gets a gradient; these do not: {dead[:5]}")

with check("mean and log-variance may be any number", points=0.25):
    model, x = fresh_vae(6, 5, 24, seed=check.seeds(1)[0]), 3 * torch.randn(200, 6, generator=check.gen)
    with torch.no_grad():
        for name, part, turned in zip(("mean", "log-variance"), model.encode(x), model.encode(x.flip(0)), strict=True):
            check.law(torch.allclose(turned, part.flip(0), atol=1e-4), f"the {name} of an example is its own, whatever its place; yours is not")
            check.law(
                part.min() < 0 < part.max(),
                f"over 200 inputs the {name} takes both signs; yours lies between {float(part.min()):.3g} and {float(part.max()):.3g}",
                mistakes={"There is an activation behind the encoder's last layer. Leave it off.": True},
            )
    sizes = [sum(p.numel() for p in fresh_vae(6, 2, hidden, seed=1).parameters()) for hidden in (8, 16)]
    check.law(sizes[0] < sizes[1], "a larger `hidden` gives more parameters; yours does not use it")

with check("samples are decoded draws from the prior", points=0.5):
    n, seen = 20_000, []
    model = fresh_vae(3, 2, 8, seed=check.seeds(1)[0])
    decode = model.decode
    model.decode = lambda z: (seen.append(z.detach()), decode(z))[1]
    gen = check.gen
    with torch.no_grad(), check.no_side_effects():
        samples, others = model.sample(n, gen), model.sample(n, gen)
    check.law(len(seen) == 2, f"sample goes through decode once; yours called it {len(seen) / 2:g} times")
    check.close(samples, decode(seen[0]), atol=1e-5)
    z = seen[0].double()
    check.law(not torch.equal(samples, others), "two calls draw different codes; yours are equal")
    # Six standard errors: a right answer fails once in 10^8 draws.
    check.close(
        z.mean(0),
        np.zeros(2),
        atol=6 / math.sqrt(n),
        mistakes={"The codes are uniform on [0, 1]. The prior is standard normal: torch.randn.": z.mean(0) if z.min() >= 0 else None},
    )
    check.close(z.mT.cov(), np.eye(2), atol=6 * math.sqrt(2 / n))
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 7.6b · `train_vae`** (3 points · difficulty 3 of 5 · about 20 minutes)
#
# Train your `VAE` on images by climbing the ELBO. Ten epochs on 1347 digits must give a mean ELBO above 0 nats on digits that it has not seen, in a few seconds; a model that says nothing about the digit reaches about −85. Use `minimise`, or your own loop. Everything random must follow from `seed`.
#
# <details><summary>Hint 1: where to start</summary>
#
# Seed, make the model, move it to the device of `x`. The loss of a batch is minus the mean of `elbo(batch, *model(batch, gen), sigma)`, with one generator for the whole training.
#
# </details>
#
# <details><summary>Hint 2: it learns too slowly</summary>
#
# Ten epochs in batches of 32 are 430 steps, and `minimise` as it stands makes enough of them. If the divergence falls to 0 and all samples look alike, look for a mean over pixels.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_vae", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_vae(x: Tensor, d: int = 8, sigma: float = 0.12, epochs: int = 25, seed: int = 0, desc: str = "") -> VAE:
    """Train a variational autoencoder from scratch.

    Args:
        x: flat images, shape (N, D), values around 0 to 1.
        d: entries of a code.
        sigma: standard deviation of the decoder's noise.
        epochs: passes over the images.
        seed: of the weights, the order and the noise; the same seed gives the same model.
        desc: words for a progress bar; none is shown without them.

    Returns:
        The trained ``VAE``, on the device of ``x``.
    """
    ### BEGIN SOLUTION
    training.seed_everything(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)
    minimise(lambda batch: -elbo(batch, *model(batch, gen), sigma).mean(), model, x, epochs=epochs, seed=seed, desc=desc)
    return model
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_vae", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_vae", points=3)


### BEGIN HIDDEN TESTS
def true_kl(mu, logvar):
    return kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)


def true_reparam(mu, logvar, gen):
    return torch.addcmul(mu, (logvar / 2).exp(), torch.randn(mu.shape, generator=gen).to(mu))


class TrueVAE(nn.Module):
    """A VAE under the signature of the exercise; the last layers of its encoder are apart."""

    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.size = d
        self.up = nn.Sequential(nn.Linear(D, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.mean, self.spread = nn.Linear(hidden, d), nn.Linear(hidden, d)
        self.down = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, D))

    def encode(self, x):
        h = self.up(x)
        return self.mean(h), self.spread(h)

    def decode(self, z):
        return self.down(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.down(true_reparam(mu, logvar, gen)), mu, logvar

    def sample(self, n, gen):
        return self.down(torch.randn(n, self.size, generator=gen))


check.use(
    kl_std_normal=true_kl,
    reparam=true_reparam,
    elbo=lambda x, x_hat, mu, logvar, sigma: Normal(x_hat, sigma).log_prob(x).sum(1) - true_kl(mu, logvar),
    VAE=TrueVAE,
)
### END HIDDEN TESTS


def measured(model, x, sigma, gen):
    """Mean ELBO and mean divergence over images."""
    with torch.no_grad():
        x_hat, mu, logvar = model(x, gen)
        return float(elbo(x, x_hat, mu, logvar, sigma).mean()), float(kl_std_normal(mu, logvar).mean())


with check("a few steps: the bound rises", points=0.5, seconds=60):
    split = data.load("digits").torch()
    with torch.random.fork_rng():
        model, start = train_vae(split.x_train[:640], d=2, sigma=0.3, epochs=4, seed=1), VAE(64, 2)
    check.at_least(
        measured(model, split.x_test, 0.3, check.gen)[0] - measured(start, split.x_test, 0.3, check.gen)[0],
        20.0,
        "ELBO after 40 steps, less the ELBO of an untrained model",
    )

### BEGIN HIDDEN TESTS
with check("ten epochs: above 0 nats on unseen digits", points=1.5, seconds=60):
    seed = check.seeds(1)[0]
    split = data.load("digits", seed=seed).torch()
    with torch.random.fork_rng():
        model = train_vae(split.x_train, epochs=10, seed=seed)
    bound, divergence = measured(model, split.x_test, 0.12, check.gen)
    check.at_most(
        divergence,
        22.0,
        "mean divergence of q from the prior, in nats",
        mistakes={"The divergence is huge: its term is missing from the loss, or has the wrong sign.": True},
    )
    check.at_least(
        bound,
        0.0,
        "mean ELBO of 450 unseen digits, in nats",
        mistakes={
            "The code says nothing about the image. Is the squared error a mean over the pixels? Does the decoder learn?": divergence < 1,
            "It learns, but too little in ten epochs. Try smaller batches and a higher learning rate, and one step a batch.": True,
        },
    )

with check("the arguments are used, and the seed decides", points=1, seconds=60):
    x = torch.rand(96, 5, generator=check.gen)
    seed, other = check.seeds(2)
    gen_seed = check.seeds(1)[0]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = train_vae(x, 3, 0.2, 2, seed)
        torch.manual_seed(2)
        again, different, longer, rough = (
            train_vae(x, **({"d": 3, "sigma": 0.2, "epochs": 2, "seed": seed} | change)) for change in ({}, {"seed": other}, {"epochs": 4}, {"sigma": 2.0})
        )

    def outputs(model):
        with torch.no_grad():
            return torch.cat([part.flatten() for part in model(x, torch.Generator().manual_seed(gen_seed))])

    check.shape(model.encode(x)[0], (96, 3))
    check.law(
        torch.allclose(outputs(again), outputs(model), atol=1e-4),
        "the same seed gives the same model; yours differ. Seed torch first, and reparam's generator, too",
    )
    check.law(not torch.allclose(outputs(different), outputs(model), atol=1e-3), "another seed gives another model; yours does not depend on `seed`")
    check.law(not torch.allclose(outputs(longer), outputs(model), atol=1e-3), "more epochs give another model; yours does not depend on `epochs`")
    check.law(not torch.allclose(outputs(rough), outputs(model), atol=1e-3), "another sigma gives another model; yours does not depend on `sigma`")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### What it has learned
#
# Trained for 25 epochs, on the same 1347 digits as every generative model in 07 to 09. Two numbers say whether the bound is any good. The **importance-weighted** bound, $\ln \frac1K \sum_k p(x\mid z_k)\,p(z_k)/q(z_k\mid x)$ with $K$ draws from $q$, lies between the ELBO and $\ln p(x)$
# and rises with $K$ (it is the lecture's importance sampling, before Jensen's step). And the **divergence**, in nats, is what the code says about an image.
#
# The quality of samples is measured as everywhere in this course: the Fréchet distance between samples and training images in the features of a small digits classifier (`dlcourse_utils.metrics`), between the ends *real images* and *noise*.


# %% nbgrader={"grade": false, "grade_id": "experiment-vae", "locked": true, "schema_version": 3, "solution": false, "task": false}
def digits() -> Tensor:
    """The training images of every generative model."""
    return data.load("digits").torch(device.pick()).x_train


def vae_quality(seed: int, model: nn.Module | None = None) -> metrics.Quality:
    """How good a VAE's samples are; it is trained first if none is given."""
    model = train_vae(digits(), seed=seed, desc="VAE") if model is None else model
    with torch.no_grad():
        return metrics.quality(model.sample(metrics.SAMPLES, torch.Generator().manual_seed(seed)), real=digits())


def vae_experiment(seed: int, name: str = "digits", sigma: float = 0.12, draws: int = 50) -> tuple[dict[str, float], nn.Module]:
    """Bounds on the likelihood of unseen images, in nats, and the model."""
    split = data.load(name).torch(device.pick())
    x = split.x_test
    model = train_vae(split.x_train, sigma=sigma, seed=seed, desc="VAE")
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        mu, logvar = model.encode(x)
        bounds, weights = [], []
        for _ in range(draws):
            z = reparam(mu, logvar, gen)
            x_hat = model.decode(z)
            bounds.append(elbo(x, x_hat, mu, logvar, sigma))
            weights.append(Normal(x_hat, sigma).log_prob(x).sum(1) + Normal(0.0, 1.0).log_prob(z).sum(1) - Normal(mu, (logvar / 2).exp()).log_prob(z).sum(1))
        found = {
            "ELBO": float(torch.stack(bounds).mean()),
            "importance-weighted": float((torch.stack(weights).logsumexp(0) - math.log(draws)).mean()),
            "divergence": float(kl_std_normal(mu, logvar).mean()),
            "least used": float(mu.std(0).min()),
        }
    return found, model


def grid(rows: dict[str, Tensor], columns: int, height: float) -> matplotlib.figure.Figure:
    """Images of 64 pixels, ``columns`` in a line; a name may have several lines."""
    lines = [(name if i == 0 else "", images[i : i + columns]) for name, images in rows.items() for i in range(0, len(images), columns)]
    fig, axes = plotting.subplots(1, len(lines), width=9, height=height)
    for ax, (name, images) in zip(np.atleast_1d(axes), lines, strict=True):
        plotting.sheet(ax, images.detach().cpu().reshape(-1, 8, 8), columns=columns, cmap=None)
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return fig


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-vae-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("kl_std_normal", "reparam", "elbo", "vae", "train_vae"):
    measured, vae = vae_experiment(seed=0)
    vae_found = vae_quality(0, vae)
    unseen = data.load("digits").torch(device.pick()).x_test[:16]
    with torch.no_grad():
        rows = {
            "unseen": unseen,
            "copied": vae.decode(vae.encode(unseen)[0]),
            "samples": vae.sample(48, torch.Generator().manual_seed(0)),
        }
    plotting.show(
        grid(rows, 16, 3.2),
        alt="Sixteen unseen digits; the VAE's copies of them, recognisable and a little blurred; and 48 samples from the prior, of which most are digits, some blurred or between two digits.",
    )
    claims.show(
        Claim("ELBO of unseen digits", "the bound (“Variational auto-encoders”)", measured["ELBO"], at_least=10, unit="nats"),
        Claim(
            "importance-weighted bound, less the ELBO",
            "importance sampling comes before Jensen’s step",
            measured["importance-weighted"] - measured["ELBO"],
            at_least=0,
            unit="nats",
        ),
        Claim(
            "divergence: what a code says about its image",
            "not in the lecture",
            measured["divergence"],
            at_least=5,
            at_most=25,
            unit="nats",
        ),
        Claim("Fréchet distance of the samples", "“can be used as a sampler”", vae_found.frechet, at_most=25),
    )

# %% [markdown]
# **What one sees.** The copies are right and slightly blurred. Of the samples most can be read as a digit; some are blurred, and some lie between two digits, as a 4 that is half a 9 does. The codes of real images do not fill the prior evenly: a draw from $\mathcal N(0, I)$ may fall between two groups,
# and a Gaussian decoder that is unsure answers with the mean. Nothing is copied from the training set: the distance to the nearest training image is larger than that of real unseen digits (table below).

# %% [markdown]
# ## 8  What if there is no prior?
#
# CS909 ("Generative Models") lists the vanilla autoencoder under *implicit density estimation*, as a model that one can sample from. As it stands it is not one: nothing in its loss says where codes lie, so a draw from $\mathcal N(0, I)$ is decoded from a place where no code may ever have been.
# It can be *made* one afterwards. Encode the training data, fit a density to the codes, and draw from that. The simplest density is a Gaussian with the codes' mean $m$ and full covariance $C$:
# with any matrix $L$ such that $LL^\top = C$, and $\varepsilon \sim \mathcal N(0, I)$, the draw is $z = m + L\,\varepsilon$.

# %% [markdown]
# **Exercise 7.7a · `sample_ae`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Fit the Gaussian to the codes of `X`, and decode fresh draws from it. A dimension of the code may be dead (the same for all examples): your draws must then be the same there too, and not fail.
#
# <details><summary>Hint 1: where to start</summary> <code>torch.cov</code> wants variables as rows. A root of the covariance comes from <code>torch.linalg.eigh</code>, or from Cholesky. </details>
#
# <details><summary>Hint 2: a dead dimension</summary> Then the covariance has an eigenvalue of 0, which rounding may make a little negative, and Cholesky fails. Clamp the eigenvalues at 0 before you take their roots,
# or add a millionth to the diagonal. </details>


# %% nbgrader={"grade": false, "grade_id": "sample_ae", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sample_ae(
    enc: Callable[[Tensor], Tensor],
    dec: Callable[[Tensor], Tensor],
    X: Tensor,
    n: int,
    gen: torch.Generator,
) -> Tensor:
    """New examples from an autoencoder that has no prior: a Gaussian is fitted to its codes.

    Args:
        enc: maps examples, shape (N, D), to codes, shape (N, d).
        dec: maps codes, shape (n, d), to examples, shape (n, D).
        X: the examples whose codes are fitted, at least two.
        n: how many to draw.
        gen: what the codes are drawn from, a generator on the CPU.

    Returns:
        Shape (n, D), without a gradient.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        codes = enc(X)
        variances, axes = torch.linalg.eigh(torch.cov(codes.mT).reshape(codes.shape[1], -1))
        noise = torch.randn(n, codes.shape[1], generator=gen).to(codes)
        return dec(codes.mean(0) + noise * variances.clamp(min=0).sqrt() @ axes.mT)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-sample_ae", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("sample_ae", points=2)

with check("shape, and a decoder that is used", points=0.5):
    X = torch.tensor([[1.0, 2.0, 0.0], [3.0, 5.0, 1.0], [-1.0, 0.0, 4.0], [0.0, 2.0, 2.0]])
    got = sample_ae(lambda x: x[:, :2], lambda z: torch.cat([z, 7 + 0 * z[:, :1]], dim=1), X, 5, check.gen)
    check.shape(
        got,
        (5, 3),
        mistakes={
            "These are codes. Decode them.": (5, 2),
            "There are as many samples as training examples. Draw n.": (4, 3),
        },
    )
    check.close(got[:, 2], torch.full((5,), 7.0))


### BEGIN HIDDEN TESTS
def codes_of(N, d, dtype):
    """Correlated codes away from the origin, as a transpose."""
    mixed = torch.randn(N, d, generator=check.gen, dtype=dtype) @ torch.randn(d, d, generator=check.gen, dtype=dtype)
    return (mixed + torch.linspace(-4, 4, d, dtype=dtype)).mT.contiguous().mT


def untouched_codes(x):
    return x


with check("the codes' mean and covariance", points=1):
    n = 40_000
    for N, d, dtype in ((60, 3, torch.float64), (30, 1, torch.float32), (25, 2, torch.float64)):
        X = codes_of(N, d, dtype)
        gen = check.gen
        with check.no_side_effects(X):
            Z = sample_ae(untouched_codes, untouched_codes, X, n, gen)
            others = sample_ae(untouched_codes, untouched_codes, X, 5, gen)
        check.shape(Z, (n, d))
        check.dtype(Z, dtype)
        check.finite(Z)
        check.law(not torch.equal(Z[:5], others), "two calls draw different codes; yours are equal")
        check.law(
            spatial.cKDTree(X.numpy()).query(Z[:500].numpy())[0].max() > 1e-6,
            "new codes are drawn; yours are the training codes again",
            mistakes={"The training examples were handed back. Draw from the fitted Gaussian.": True},
        )
        # In units of the codes' own spread; six standard errors, so that a right answer fails less than once in 10^7 draws.
        mean, root = X.double().mean(0), np.linalg.cholesky(np.cov(X.double().numpy().T).reshape(d, d))
        white = linalg.solve_triangular(root, (Z.double() - mean).numpy().T, lower=True)
        prior = linalg.solve_triangular(root, -mean.numpy(), lower=True)
        check.close(
            white.mean(1),
            np.zeros(d),
            atol=6 / math.sqrt(n),
            mistakes={
                "The mean of the codes is missing: the draws lie around the origin.": lambda prior=prior, white=white: (
                    white.mean(1) if np.abs(white.mean(1) - prior).max() < 0.1 * np.abs(prior).max() else None
                ),
            },
        )
        spread = np.cov(white).reshape(d, d)
        # 1/(N - 1) and 1/N are both taken for the codes' covariance.
        apart = np.cov(linalg.solve_triangular(root, np.diag(X.double().numpy().std(0, ddof=1)), lower=True) @ np.random.default_rng(0).normal(size=(d, 9999)))
        check.close(
            spread,
            np.eye(d),
            atol=1.2 / N + 6 * math.sqrt(2 / n),
            mistakes={
                "The draws are independent in each dimension. Use the full covariance of the codes.": lambda apart=apart, spread=spread, d=d: (
                    spread if np.abs(spread - apart.reshape(d, d)).max() < 0.1 * max(1, np.abs(apart).max()) else None
                ),
                "The noise was multiplied by the covariance itself. It takes a root of it.": lambda spread=spread, root=root: (
                    spread if np.abs(spread - root.T @ root).max() < 0.1 * np.abs(spread).max() else None
                ),
                "The root was multiplied from the wrong side: draws are rows, so the noise meets L transposed.": lambda spread=spread: (
                    spread if abs(np.linalg.det(spread) - 1) < 0.1 else None
                ),
            },
        )

with check("dead dimensions, and encoder and decoder in their places", points=0.5):
    X = torch.cat([codes_of(40, 2, torch.float32), torch.full((40, 1), 3.0)], dim=1)
    Z = sample_ae(untouched_codes, untouched_codes, X, 200, check.gen)
    check.finite(Z)
    check.close(Z[:, 2], torch.full((200,), 3.0), atol=0.02)
    check.law(Z[:, :2].var(0).min() > 0, "the living dimensions still vary; yours do not")
    X = 5 + torch.randn(50, 4, generator=check.gen)
    weight = torch.ones(1, requires_grad=True)
    got = sample_ae(lambda x: weight * x.mean(1, keepdim=True), lambda z: -z.expand(-1, 4), X, 100, check.gen)
    check.shape(got, (100, 4))
    check.law(not got.requires_grad, "the samples come without a gradient")
    check.at_most(got.max(), 0, "largest entry of samples decoded by a function that is negative on every code")
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "experiment-prior", "locked": true, "schema_version": 3, "solution": false, "task": false}
def plain_quality(seed: int) -> tuple[dict[str, metrics.Quality], dict[str, Tensor]]:
    """Samples of a plain autoencoder with 8 numbers, by where its codes are drawn: their quality, and 16 of each."""
    x = digits()
    model = fitted_ae(x, 8, epochs=40, seed=seed)
    gen = torch.Generator().manual_seed(seed)
    model, x = model.cpu(), x.cpu()  # not every device decomposes matrices
    with torch.no_grad():
        samples = {
            "AE, codes from N(0, I)": model.decoder(torch.randn(metrics.SAMPLES, 8, generator=gen)),
            "AE, codes from a fitted Gaussian": sample_ae(model.encoder, model.decoder, x, metrics.SAMPLES, gen),
        }
    return {name: metrics.quality(images, real=x) for name, images in samples.items()}, {name: images[:16] for name, images in samples.items()}


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-prior-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("kl_std_normal", "reparam", "elbo", "vae", "train_vae", "sample_ae"):
    plain_found, plain_samples = plain_quality(seed=0)
    with torch.no_grad():
        rows = dict(zip(("plain AE,\nN(0, I)", "plain AE,\nfitted Gaussian"), plain_samples.values(), strict=True)) | {
            "VAE,\nN(0, I)": vae.sample(16, torch.Generator().manual_seed(1))
        }
    plotting.show(
        grid(rows, 16, 2.2),
        alt="Sixteen samples each. From the plain autoencoder with codes from N(0, I): faint and broken strokes, few digits. With codes from a Gaussian fitted to its codes: full strokes, many digits. From the VAE: digits, somewhat smoother.",
    )
    metrics.show(plain_found | {"VAE, codes from N(0, I)": vae_found})
    drawn, fitted = (plain_found[f"AE, codes from {where}"].frechet for where in ("N(0, I)", "a fitted Gaussian"))
    claims.show(
        Claim(
            "plain AE, Fréchet distance of a fitted Gaussian over that of N(0, I)",
            "“Generating Data with Autoencoders” (CS909)",
            fitted / drawn,
            at_most=0.6,
        ),
        Claim("VAE over the plain AE with N(0, I)", "“can be used as a sampler”", vae_found.frechet / drawn, at_most=0.6),
        Claim("VAE over the plain AE with a fitted Gaussian", "not in the lecture", vae_found.frechet / fitted),
    )

# %% [markdown]
# **What one sees.** Decoding $\mathcal N(0, I)$ gives faint scraps, in Fréchet distance about as far from digits as pure noise is (27 to 39 over five seeds; noise 36). The same decoder, fed from a Gaussian that was fitted to its codes, draws digits that are no worse than the VAE's, and by Fréchet distance even a little better in all five seeds that we tried (8 to 11 against 10 to 14): the lecture's "sampling from an autoencoder" works, once a density has been fitted.
# What the VAE adds is not better pictures at this size. It is a model: a prior that need not be fitted afterwards, a code that says how sure it is, and a bound on $\ln p(x)$, which the plain autoencoder cannot give at all.

# %% [markdown]
# ## 9  A code of words instead of numbers
#
# A **VQ-VAE** (A. van den Oord et al. 2017) writes an image with a few words from a **codebook** $C \in \mathbb R^{K\times d}$: each vector $z$ that comes out of the encoder is replaced by the nearest row, $e = C_{i}$ with $i = \arg\min_k \lVert z - C_k\rVert$. Two things are hard about it.
#
# 1. *The nearest row has no gradient in $z$.* So the decoder's gradient is simply handed on, as if the step had not been there: the **straight-through** estimator, forward $e$, backward the identity.
# 2. *Rows and vectors must meet.* With $\operatorname{sg}$ for "no gradient through here", the loss gets $\;\lVert \operatorname{sg}(z) - e \rVert^2 + \beta\, \lVert z - \operatorname{sg}(e) \rVert^2$: the first term moves the rows towards the vectors, the second, slower, the vectors towards their rows.
#
# The code of an image is now a short sentence of whole numbers. Like the plain autoencoder it comes without a prior; but sentences are what a next-token model learns (05-transformer).

# %% [markdown]
# **Exercise 7.7b · `vq`** (4 points · difficulty 4 of 5 · about 30 minutes)
#
# Quantise a batch of vectors. Means in the loss run over all entries of `z`.
#
# <details><summary>Hint 1: where to start</summary> <code>torch.cdist</code> gives a table of distances, one row a vector. Then <code>argmin</code>, and <code>C[idx]</code>. </details>
#
# <details><summary>Hint 2: forward one thing, backward another</summary> <code>a + (b − a).detach()</code> has the value of b and the gradient of a. In the loss, <code>detach</code> is sg: decide for each term who may move. </details>


# %% nbgrader={"grade": false, "grade_id": "vq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def vq(z: Tensor, C: Tensor, beta: float = 0.25) -> tuple[Tensor, Tensor, Tensor]:
    """Vector quantisation with a straight-through gradient (van den Oord et al. 2017).

    Args:
        z: vectors, shape (N, d).
        C: codebook, shape (K, d).
        beta: weight of the commitment term, which moves the vectors.

    Returns:
        The nearest rows of the codebook, shape (N, d), through which gradients pass to ``z`` unchanged and to ``C`` not
        at all; their indices, int64 of shape (N,); and the loss, a scalar tensor: the mean squared difference with only
        ``C`` moving, plus beta times the same with only ``z`` moving.
    """
    ### BEGIN SOLUTION
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    loss = F.mse_loss(e, z.detach()) + beta * F.mse_loss(z, e.detach())
    return z + (e - z).detach(), idx, loss
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-vq", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("vq", points=4)

with check("two vectors, two words", points=1):
    zq, idx, loss = vq(torch.tensor([[0.8, 0.2], [0.1, 0.1]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]), 0.25)
    check.equal(idx, [1, 0], mistakes={"These are the farthest words. Take the nearest.": [0, 1]})
    check.close(
        zq,
        [[1.0, 0.0], [0.0, 0.0]],
        mistakes={"The vectors came back as they were. Return the words.": [[0.8, 0.2], [0.1, 0.1]]},
    )
    check.close(
        loss,
        0.03125,
        mistakes={
            "The squared differences were added up. Take the mean over all entries.": 0.125,
            "The squared differences of a vector were added up. Take the mean over all entries.": 0.0625,
            "beta is not used.": 0.05,
            "The commitment term is missing.": 0.025,
            "The codebook's term is missing.": 0.00625,
        },
    )


### BEGIN HIDDEN TESTS
def vq_inputs(N, K, d, dtype):
    z = torch.randn(d, N, generator=check.gen, dtype=dtype).mT.requires_grad_()
    return z, torch.randn(K, d, generator=check.gen, dtype=dtype).requires_grad_(), float(check.rng.uniform(0.1, 0.4))


VQ_SIZES = ((1, 4, 3, torch.float64), (7, 5, 2, torch.float32), (6, 1, 3, torch.float64), (5, 5, 5, torch.float64), (9, 40, 4, torch.float32))

with check("the nearest words on fresh inputs", points=1):
    for N, K, d, dtype in VQ_SIZES:
        z, C, beta = vq_inputs(N, K, d, dtype)
        with check.no_side_effects(z, C):
            zq, idx, loss = vq(z, C, beta)
        nearest = spatial.cKDTree(C.detach().numpy()).query(z.detach().numpy())[1]
        check.shape(idx, (N,))
        check.dtype(idx, torch.int64)
        check.equal(
            idx,
            nearest,
            mistakes={
                "The nearest vector of each word is given, not the nearest word of each vector.": spatial.cKDTree(z.detach().numpy()).query(C.detach().numpy())[
                    1
                ]
            },
        )
        check.dtype(zq, dtype)
        check.close(zq, C.detach()[nearest], rtol=1e-4)

with check("the gradient passes straight through", points=1):
    for N, K, d, dtype in VQ_SIZES:
        z, C, beta = vq_inputs(N, K, d, dtype)
        weight = torch.randn(N, d, generator=check.gen, dtype=dtype)
        zq = vq(z, C, beta)[0]
        check.law(
            zq.requires_grad,
            "the quantised vectors carry z's gradient; yours carry none",
            mistakes={"Everything was detached. Detach only the difference between the word and z.": True},
        )
        slope_z, slope_C = torch.autograd.grad((zq * weight).sum(), (z, C), allow_unused=True)
        check.law(
            slope_z is not None,
            "the gradient of the quantised vectors reaches z; yours does not",
            mistakes={"The words themselves were returned: argmin has no gradient, so the encoder would learn nothing from the decoder.": True},
        )
        check.close(slope_z, weight)
        check.law(
            slope_C is None or not slope_C.any(),
            "the codebook gets no gradient through the quantised vectors; yours does",
            mistakes={"Detach the whole difference between the word and z, the word included.": True},
        )

with check("each term of the loss moves only its own", points=1):
    for N, K, d, dtype in VQ_SIZES:
        z, C, beta = vq_inputs(N, K, d, dtype)
        _, idx, loss = vq(z, C, beta)
        check.shape(loss, ())
        check.law(loss.requires_grad, "the loss carries gradients; yours was cut off")
        slope_z, slope_C = torch.autograd.grad(loss, (z, C), allow_unused=True)
        check.law(slope_z is not None and slope_C is not None, "both z and C get a gradient from the loss; yours leaves one out")
        # By hand: the pull between a vector and its word, in units of 2 / (N d).
        pull = (2 / (N * d)) * (C[idx] - z).detach().numpy()
        for_z, for_C = -pull, np.zeros((K, d))
        np.add.at(for_C, idx.numpy(), pull)
        check.close(
            slope_z,
            beta * for_z,
            rtol=1e-3,
            mistakes={
                "beta stands at the wrong term: it weighs the one that moves z.": for_z,
                "A stop-gradient is missing: both terms move z.": (1 + beta) * for_z,
                "The squared differences were added up. Take the mean over all entries.": N * d * beta * for_z,
            },
        )
        check.close(
            slope_C,
            for_C,
            rtol=1e-3,
            mistakes={
                "beta stands at the wrong term: it weighs the one that moves z.": beta * for_C,
                "A stop-gradient is missing: both terms move the codebook.": (1 + beta) * for_C,
                "The squared differences were added up. Take the mean over all entries.": N * d * for_C,
            },
        )
### END HIDDEN TESTS
check.report()


# %% [markdown]
# ### A codebook that collapses, and one that does not
#
# Nothing in the loss pulls a word that is never the nearest. It gets no gradient, stays where it is, and is never the nearest again: the codebook **collapses** to the few words that were lucky at the start. The cure used in practice is blunt: a word that has not been used for a while **restarts** at a vector that the encoder just gave.
#
# With sentences of 8 words out of 32 an image has 40 bits. As a prior take a small recurrent net that predicts the next word. For comparison, draw each word by itself, as often as it occurs at its place.


# %% nbgrader={"grade": false, "grade_id": "experiment-vq", "locked": true, "schema_version": 3, "solution": false, "task": false}
class VQVAE(nn.Module):
    """Writes an image of 64 pixels as a sentence of ``length`` words out of ``words``, each a vector of ``d`` numbers."""

    def __init__(self, words: int = 32, length: int = 8, d: int = 8, hidden: int = 128, restarts: bool = True) -> None:
        super().__init__()
        self.length, self.restarts = length, restarts
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, length * d))
        self.decoder = nn.Sequential(nn.Linear(length * d, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 64))
        self.codebook = nn.Parameter(torch.randn(words, d))
        self.register_buffer("usage", torch.ones(words))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, 64) to images (N, 64), sentences (N, length) and the loss of the codebook."""
        z = self.encoder(x).reshape(len(x) * self.length, -1)
        zq, idx, loss = vq(z, self.codebook)
        if self.training and self.restarts:
            self.restart(z.detach(), idx)
        return self.decoder(zq.reshape(len(x), -1)), idx.reshape(len(x), -1), loss

    @torch.no_grad()
    def restart(self, z: Tensor, idx: Tensor) -> None:
        """Words that were hardly used over the last batches start again at vectors of this one."""
        self.usage.lerp_(torch.bincount(idx, minlength=len(self.usage)).to(z), 0.05)
        dead = self.usage < 0.1
        self.codebook[dead] = z[torch.randint(len(z), (int(dead.sum()),)).to(z.device)]
        self.usage[dead] = 1.0


class NextWord(nn.Module):
    """A prior over sentences: a recurrent net that predicts each word from those before it."""

    def __init__(self, words: int, hidden: int = 64) -> None:
        super().__init__()
        self.embedding, self.memory, self.head = (
            nn.Embedding(words + 1, hidden),
            nn.GRU(hidden, hidden, batch_first=True),
            nn.Linear(hidden, words),
        )

    def forward(self, sentences: Tensor) -> Tensor:
        """Logits (N, length, words) of each word of sentences (N, length), given the words before it."""
        start = torch.full_like(sentences[:, :1], self.embedding.num_embeddings - 1)  # no word: it stands for the start
        return self.head(self.memory(self.embedding(torch.cat([start, sentences[:, :-1]], dim=1)))[0])

    @torch.no_grad()
    def sample(self, n: int, length: int, gen: torch.Generator) -> Tensor:
        """Sentences, int64 of shape (n, length)."""
        sentences = torch.zeros(n, length, dtype=torch.int64)
        where = self.head.weight.device
        for place in range(length):
            odds = self(sentences[:, : place + 1].to(where))[:, -1].softmax(-1).cpu()
            sentences[:, place] = torch.multinomial(odds, 1, generator=gen)[:, 0]
        return sentences.to(where)


def fitted_vqvae(x: Tensor, seed: int, *, restarts: bool = True, epochs: int = 40) -> tuple[VQVAE, Tensor]:
    """A VQ-VAE and the sentences it writes for its training images."""
    training.seed_everything(seed)
    model = VQVAE(restarts=restarts).to(x.device)

    def loss(batch: Tensor) -> Tensor:
        x_hat, _, codebook_loss = model(batch)
        return F.mse_loss(x_hat, batch) + codebook_loss

    minimise(loss, model, x, epochs=epochs, lr=0.005, batch_size=64, seed=seed, desc=f"VQ-VAE with{'' if restarts else 'out'} restarts")
    with torch.no_grad():
        return model, model.eval()(x)[1]


def vqvae_samples(seed: int, model: VQVAE, sentences: Tensor) -> dict[str, Tensor]:
    """Images from a VQ-VAE, by the prior over its sentences."""
    training.seed_everything(seed)
    prior, gen = NextWord(len(model.codebook)).to(sentences.device), torch.Generator().manual_seed(seed)
    minimise(
        lambda batch: F.cross_entropy(prior(batch).flatten(0, 1), batch.flatten()),
        prior,
        sentences,
        epochs=10,
        batch_size=64,
        seed=seed,
        desc="prior over sentences",
    )
    shuffled = torch.stack(
        [column[torch.randint(len(column), (metrics.SAMPLES,), generator=gen).to(column.device)] for column in sentences.mT],
        dim=1,
    )
    drawn = {"VQ-VAE, each word by itself": shuffled, "VQ-VAE, next-word prior": prior.sample(metrics.SAMPLES, model.length, gen)}
    with torch.no_grad():
        return {name: model.decoder(model.codebook[words].flatten(1)) for name, words in drawn.items()}


def vqvae_quality(seed: int) -> metrics.Quality:
    """How good the samples of a VQ-VAE with a next-word prior are."""
    return metrics.quality(vqvae_samples(seed, *fitted_vqvae(digits(), seed))["VQ-VAE, next-word prior"], real=digits())


def perplexity(sentences: Tensor, words: int) -> float:
    """How many words are in use, in effect: the exponential of the entropy of their frequencies."""
    share = torch.bincount(sentences.flatten().cpu(), minlength=words) / sentences.numel()
    return float(torch.special.entr(share).sum().exp())


def vq_experiment(seed: int) -> tuple[dict[str, float], dict[str, metrics.Quality], dict[str, Tensor]]:
    """Words in use with and without restarts; the quality of samples by their prior; and pictures."""
    x, unseen = digits(), data.load("digits").torch(device.pick()).x_test
    found = {"without restarts": perplexity(fitted_vqvae(x, seed, restarts=False, epochs=10)[1], 32)}
    model, sentences = fitted_vqvae(x, seed)
    images = vqvae_samples(seed, model, sentences)
    with torch.no_grad():
        copies = model(unseen)[0]
    found |= {"with restarts": perplexity(sentences, 32), "at all": len(sentences.unique()), "error": float((copies - unseen).square().sum(1).mean())}
    return (
        found,
        {name: metrics.quality(part, real=x) for name, part in images.items()},
        {"unseen": unseen, "in 8 words": copies, **images},
    )


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-vq-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("kl_std_normal", "reparam", "elbo", "vae", "train_vae", "sample_ae", "vq"):
    measured, vq_found, pictures = vq_experiment(seed=0)
    rows = {name.replace(", ", ",\n"): images[:16] for name, images in pictures.items()}
    plotting.show(
        grid(rows, 16, 2.7),
        alt="Sixteen unseen digits; their copies through eight words each, which look nearly the same; sixteen samples whose words were drawn each by itself, of which several are broken; and sixteen from the next-word prior, most of which are digits.",
    )
    metrics.show(plain_found | {"VAE": vae_found} | vq_found)
    alone, by_prior = (vq_found[f"VQ-VAE, {how}"].frechet for how in ("each word by itself", "next-word prior"))
    claims.show(
        Claim("words in use, of 32, without restarts", "not in the lecture", measured["without restarts"], at_most=8),
        Claim("words in use, of 32, with restarts", "“Vector-Quantized” (CS909)", measured["with restarts"], at_least=20),
        Claim("words that occur at all, with restarts", "not in the lecture", measured["at all"], at_least=30),
        Claim(
            "Fréchet distance of the next-word prior, over that of each word by itself",
            "not in the lecture",
            by_prior / alone,
            at_most=0.7,
        ),
        Claim("Fréchet distance with the next-word prior", "not in the lecture", by_prior, at_most=15),
    )

# %% [markdown]
# **What one sees.** Without restarts nearly all of the codebook is dead: all images get the same sentence, and the decoder has nothing left to say but the mean digit. With restarts all 32 words occur; counted by how often they do (the exponential of their entropy) they are worth 24 to 31 words, over ten seeds. Words drawn each by itself give parts that do not belong together;
# with a prior that knows the words before, most samples are digits, with a Fréchet distance of 5 to 11 over the seeds that we tried, below the VAE's in each. The prior is stopped after ten epochs, because from there on the loss on unseen sentences rises: it would learn the training sentences by heart, and a Fréchet distance that falls further would praise the copying.
# Every row is one model of one seed, at 8 × 8 pixels. 08-gan and 09-diffusion add theirs.

# %% [markdown]
# ## 10  Walk through the codes
#
# Take an unseen digit, encode it, and set one number of its code to any value, in standard deviations: of the component for PCA, of the prior for the VAE. The directions are ordered by how much the codes of the training images vary along them. What stays a digit? The number above an image is what the digits classifier reads.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-walk", "locked": true, "schema_version": 3, "solution": false, "task": false}
def latent_walk(model: str, digit: int, direction: int, position: float) -> tuple[matplotlib.figure.Figure, str]:
    """One number of an unseen digit's code moved from -3 to 3, decoded by the VAE or by PCA."""
    split = data.load("digits").torch(device.pick())
    x = split.x_test[split.y_test == digit][:1]
    steps = torch.cat([torch.linspace(-3, 3, 7), torch.tensor([position])]).to(x)
    with torch.no_grad():
        if model == "VAE":
            order = vae.encode(split.x_train)[0].std(0).argsort(descending=True)
            codes = vae.encode(x)[0].repeat(8, 1)
            codes[:, order[direction - 1]] = steps
            images = vae.decode(codes)
        else:
            mu, W, lam = pca(split.x_train, 8)
            codes = ((x - mu) @ W).repeat(8, 1)
            codes[:, direction - 1] = steps * lam[direction - 1].sqrt()
            images = mu + codes @ W.mT
    images, read = images.cpu().clamp(0, 1), metrics.classify(images).tolist()
    fig, axes = plotting.subplots(5, 2, width=5.2, height=2.9)
    titles = [
        "unseen",
        *(f"{step:+d}: reads {label}" for step, label in zip(range(-3, 4), read[:7], strict=True)),
        f"{position:+g}: reads {read[7]}",
    ]
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, [x[0].cpu(), *images], titles, strict=False):
        ax.imshow(image.reshape(8, 8), vmin=0, vmax=1)
        ax.set_title(title, fontsize=9)
    return fig, (
        f"{model}: an unseen {digit}, and its code with direction {direction} set to -3, -2, -1, 0, 1, 2 and 3 standard deviations and decoded. The classifier reads "
        f"{', '.join(map(str, read[:7]))}. Last, at {position:g}, it reads {read[7]}."
    )


with checks.uses("pca", "kl_std_normal", "reparam", "elbo", "vae", "train_vae"):
    vae.eval()  # the model of section 7; without it there is nothing to walk through
    widgets.explore(
        latent_walk,
        sliders={"model": ["VAE", "PCA"], "digit": (0, 9, 1, 3), "direction": (1, 8, 1, 1), "position": (-5.0, 5.0, 0.25, 0.0)},
        twin=[{"model": name, "direction": direction, "position": 5.0} for direction in (1, 8) for name in ("VAE", "PCA")],
        title="Walk along one number of a code",
    )


# %% [markdown]
# ## 11  Written question
#
# (a) CS909's slide "Refresher PCA: Reconstruction" starts from $z = W^\top x$ for centred $x$ and a $W$ of shape $(d, k)$. It gets $\hat x = (W^\top)^{-1} z = W z$ from $WW^\top = I$, and measures the error by $\sum_i \lVert \hat x^i - x^i \rVert$. Put right what is not true in it, and prove the step from $z$ to $\hat x$. (2 points)
#
# (b) The lecture's homework: what is the link between the VAE and probabilistic PCA, $x \mid z \sim \mathcal N(Wz + \mu, \sigma^2 I)$, $z \sim \mathcal N(0, I)$? Derive the posterior $p(z\mid x)$, and say which encoder makes the ELBO tight, and why a VAE with a diagonal covariance can or cannot be that encoder. (2 points)
#
# Eight to twelve lines, with formulas.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
# (a) Let $x$ be centred and $W \in \mathbb R^{d\times k}$ with orthonormal columns, $W^\top W = I_k$. The code is $z = W^\top x$. $W^\top$ has no inverse for $k < d$; $\hat x$ is the point of the plane $\{Wz\}$ nearest to $x$. The gradient of $\lVert x - Wz\rVert^2$ in $z$ is $-2W^\top(x - Wz)$;
# it vanishes where $W^\top W z = W^\top x$, and as $W^\top W = I_k$ that is $z = W^\top x$. So $\hat x = Wz = WW^\top x$, where $WW^\top$ is the projection on the plane and not the identity (its rank is $k$). The reconstruction error is
# $E_{rec} = \sum_i \lVert \hat x^i - x^i \rVert^2$, with squares, and the problem is $\min_W E_{rec}$ subject to $W^\top W = I_k$.
#
# (b) The joint density of $(x, z)$ is Gaussian. In $z$, $\ln p(z\mid x) = -\frac1{2\sigma^2}\lVert x - \mu - Wz\rVert^2 - \frac12\lVert z\rVert^2 + \text{const}$, which is quadratic with the matrix $-\frac1{2\sigma^2}(W^\top W + \sigma^2 I)$.
# With $M = W^\top W + \sigma^2 I$, completing the square gives $p(z \mid x) = \mathcal N\bigl(M^{-1}W^\top(x-\mu),\; \sigma^2 M^{-1}\bigr)$. The gap of the ELBO is $D_{KL}[q(z\mid x)\Vert p(z\mid x)]$, so it is tight exactly for this $q$: a *linear* encoder for the mean, and a covariance that does not depend on $x$.
# PPCA is thus the VAE with linear networks. A diagonal covariance suffices if and only if $M$ is diagonal, that is if the columns of $W$ are orthogonal. As $W R$ with any rotation $R$ gives the same $p(x)$, training can choose such a $W$: the gap it would pay otherwise turns the columns towards the principal axes.
### END SOLUTION
### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: $W^\top W = I_k$ in place of $WW^\top = I$, with the reason (rank, or shapes), and the squares in the error.
# - (a) 1 point: $\hat x = WW^\top x$ derived (least squares, or orthogonality of the residual), not only stated.
# - (b) 1 point: the posterior with $M = W^\top W + \sigma^2 I$, derived by completing the square or by the rules for conditional Gaussians.
# - (b) 1 point: the gap is the divergence from the posterior, so the ELBO is tight for this linear encoder (half); a diagonal covariance needs orthogonal columns, or the rotation that makes them so (half).
#
# The remark that the limit $\sigma \to 0$ gives PCA's projection is good, not required.
### END MARK SCHEME


# %% [markdown]
# ## Summary
#
# - PCA: $z = W^\top(x-\mu)$ and $\hat x = \mu + Wz$ with $W^\top W = I_k$. $WW^\top$ is the projection, never the identity for $k < D$. Its error is the discarded variance.
# - A linear autoencoder finds PCA's plane and $ED_m = I_k$ without any constraint. It does not find the axes.
# - Deep autoencoders nearly halve PCA's error at the same $k$. For classification the codes are only mildly useful: two numbers gain a lot over two components, eight gain a few points over eight components, and nothing reliable over pixels.
# - A denoising autoencoder sees noise, is asked for the clean image, and beats the best linear filter.
# - The ELBO is the log-density of the decoded draw, summed over the pixels and with its constant, minus the divergence. It is tight if and only if $q$ is the posterior.
# - A VAE is a decoder with a prior. A plain autoencoder has no $p(z)$: decode $\mathcal N(0, I)$ and you get scraps; fit a Gaussian to its codes and it samples as well as the VAE.
# - Vector quantisation passes the gradient straight through. Without restarts the codebook collapses. A prior over words must know their order.
#
# **Next:** a generator that is trained by an opponent instead of a likelihood, in 08-gan.
