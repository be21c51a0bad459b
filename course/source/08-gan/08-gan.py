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
# # 08 · Generative adversarial networks
#
# A generator turns noise into samples. A discriminator tries to tell them from real ones, and its gradient is all that the generator ever learns from. This notebook builds the game from its parts: the two losses, the two
# steps, the penalty that keeps it from going round in circles, and three distances that say how good the samples are. You play it first for a coin, then for handwritten digits, and see it fail before you see it work.
#
# **You will be able to**
# - turn uniform noise into samples of any distribution whose quantile function you know;
# - write the losses of both players so that they neither overflow nor starve the generator of gradient;
# - train two networks against each other so that a step of one leaves the other alone;
# - say what a perfect discriminator measures, and why that is little help when the two distributions do not overlap;
# - show why plain GAN training circles, and stop it with a gradient penalty;
# - measure samples by MMD, Wasserstein and Fréchet distance, and name what each one misses;
# - recognise mode collapse in numbers and in pictures, and condition a generator on a label.
#
# | | |
# |---|---|
# | Time and points | about 290 minutes, 29 points |
# | of which | exercises: 200 minutes, 25 points; written question: 25 minutes, 4 points; reading and experiments: 65 minutes |
# | Running time | about 80 seconds on one CPU core, once everything is filled in |
# | You need | PyTorch modules and optimisers, binary cross-entropy, backpropagation (02-backprop) |
#
# **Lecture sections it follows.** F. Minhas, *CS909 Data Mining* (Warwick), "Generative Machine Learning": from "Background: Introduction to Sampling" to "GANs Applications", with the notebook "A Barebones GAN in PyTorch for generating coin flips".
# *Deep Learning for Computer Vision, Part I*, "Generative adversarial networks". The lecture that closes the first set of lecture notes: "Interpreting the Latent Space of Generative Models".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
# Everything is torch. Compute in the dtype and on the device that you are given; change no argument; draw no random numbers except where a `seed` is given.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
import torchmetrics.image.fid  # noqa: F401  # takes seconds: better here than inside a check with a time limit
from matplotlib.figure import Figure
from scipy import integrate, special, stats
from scipy.spatial import distance
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dlcourse_utils import checks, claims, data, device, metrics, plotting, training, widgets
from dlcourse_utils.claims import Claim

torch.set_num_threads(1)  # these networks are tiny: more threads only get in each other's way

# %% [markdown]
# ## 1  From noise to data
#
# Count the observations H, T, H, T, H, and you have an **empirical distribution**: P(H) = 0.6, P(T) = 0.4. **Sampling** goes the other way, from a distribution to observations. A computer hands out only one kind of randomness, uniform numbers
# $u$ in $[0, 1)$. **Inverse transform sampling** makes all others from it: let $F$ be the distribution function of the target, and
#
# $$ Q(u) = \min\{x : F(x) \ge u\}, \qquad x = Q(u). $$
#
# $Q$ is the **quantile function**, the inverse of $F$. Then $P(x \le t) = P(u \le F(t)) = F(t)$, as wanted. For a table of probabilities $p_0, \dots, p_{K-1}$ it means: lay the classes side by side on a ruler of length 1, each as long as it is probable, and see on which one $u$ falls.
#
# CS909 ("Background: Generating samples") says that this needs "the formula for both probability distributions". With uniform noise the target's quantile function will do; from noise with another distribution function $F_z$, first compute $u = F_z(z)$.
# So a generator that turns normal $z$ into coin tosses with P(H) = 0.3 need only be a step: heads where $\Phi(z) > 0.7$, that is $z > 0.524$. Keep that in mind for section 5.
#
# **What a generative model knows.** If nobody tells us $Q$ we must learn it. An *explicit* model has a density $p_\theta(x)$ that can be evaluated, or bounded; an *implicit* one can only be sampled. CS909 ("Generative Models") puts vanilla autoencoders, GANs,
# diffusion models and normalizing flows all under implicit (erratum E16). Of these only the **GAN** is. A normalizing flow computes its density exactly, from the change of variables; that is its point. A diffusion model has a lower bound on its
# log-likelihood, like the variational autoencoder that the same slide rightly calls explicit. A vanilla autoencoder is no model of a density at all: nothing says which codes are likely.

# %% [markdown]
# **Exercise 8.1 · `inverse_transform`** (3 points · difficulty 2 of 5 · about 20 minutes)
#
# Turn uniform numbers into samples. The target is either a quantile function or a table of probabilities; for a table the samples are class numbers from 0. `torch.multinomial` and `torch.distributions.Categorical` are off limits: they would ignore your `u`.
#
# <details><summary>Hint 1: where to start</summary>
#
# A quantile function needs no more than a call; `callable(target)` tells it from a table. For a table, `cumsum` gives the right ends of the classes on the ruler. Which class is the first whose end lies beyond $u$?
#
# </details>
#
# <details><summary>Hint 2: both ends of the ruler</summary>
#
# `torch.searchsorted(ends, u, right=True)` counts the ends that are not beyond $u$. In float32 the last end can come out as 0.9999999, and a $u$ still nearer to 1 then falls off: work in float64 and divide the ends by the last one.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "inverse_transform", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverse_transform(u: Tensor, target: Callable[[Tensor], Tensor] | Tensor) -> Tensor:
    """Samples of a target distribution from uniform numbers.

    Args:
        u: uniform numbers in [0, 1), shape (n,).
        target: the quantile function, which maps tensors of any shape entry by entry; or a table of probabilities,
            shape (K,), whose sum is 1 up to rounding.

    Returns:
        Shape (n,): one sample for each entry of ``u``, in its order. For a quantile function its values; for a table
        class numbers, int64 from 0 to K - 1, never one of probability 0. At the very edge of two classes either will do.
    """
    ### BEGIN SOLUTION
    if callable(target):
        return target(u)
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u.double(), right=True)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-inverse_transform", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("inverse_transform", points=3)
READY_MADE_DRAWS = ("torch.multinomial", "torch.distributions.Categorical.sample", "numpy.random.choice")

with check("a coin, and a quantile function", points=1, off_limits=READY_MADE_DRAWS):
    got = inverse_transform(torch.tensor([0.1, 0.55, 0.65, 0.95]), torch.tensor([0.6, 0.4]))
    check.shape(got, (4,))
    turned = got.tolist() == [1, 0, 0, 0]  # 1 - u is as uniform as u
    check.close(
        got,
        [1, 0, 0, 0] if turned else [0, 0, 1, 1],
        mistakes={
            "The classes are counted from 1. The first one is 0.": [1, 1, 2, 2],
            "u was held against the probabilities. Hold it against their running sum.": [0, 1, 2, 2],
            "These are running sums. The answer is the number of the class.": [0.6, 0.6, 1.0, 1.0],
            "Every class got an equal share of the ruler. Class k is as long as its probability.": [0, 1, 1, 1],
            "This is the likeliest class each time. A sample must depend on u.": [0, 0, 0, 0],
        },
    )
    got = inverse_transform(torch.tensor([0.5, 0.25, 0.75]), lambda v: 2 * v + 1)
    turned = abs(float(got[1]) - 2.5) < 1e-6
    check.close(
        got,
        [2.0, 2.5, 1.5] if turned else [2.0, 1.5, 2.5],
        mistakes={
            "The quantile function was not applied: this is u itself.": [0.5, 0.25, 0.75],
            "The function was inverted, as if it were the distribution function. Apply it.": [-0.25, -0.375, -0.125],
            "The samples come out sorted. Each belongs to its own u.": [1.5, 2.0, 2.5],
        },
    )


### BEGIN HIDDEN TESTS
def on_the_ruler(u, table):
    """The class of each u by numpy, in float64."""
    ends = np.cumsum(np.asarray(table, dtype=np.float64))
    return np.searchsorted(ends / ends[-1], np.asarray(u, dtype=np.float64), side="right")


with check("fresh tables and quantile functions", points=1, off_limits=READY_MADE_DRAWS):
    for K, n, dtype in ((1, 3, torch.float64), (2, 1, torch.float32), (5, 40, torch.float64), (7, 7, torch.float64), (30, 200, torch.float32)):
        table = check.rng.random(K) * (check.rng.random(K) < 0.7)
        table[check.rng.integers(K)] += 0.1
        table = torch.as_tensor(table / table.sum(), dtype=dtype)
        u = torch.rand(2 * n, generator=check.gen, dtype=dtype)[::2]  # not contiguous
        with check.no_side_effects(u, table):
            got = inverse_transform(u, table)
        check.shape(got, (n,))
        check.dtype(got, torch.int64)
        turned = (got.numpy() == on_the_ruler(1 - u, table)).mean() > (got.numpy() == on_the_ruler(u, table)).mean()
        check.equal(
            got,
            on_the_ruler(1 - u if turned else u, table),
            mistakes={
                "The classes are counted from 1. The first one is 0.": lambda: on_the_ruler(u, table) + 1,
                "u was held against the probabilities. Hold it against their running sum.": lambda: (u[:, None] > table).sum(1),
                "The samples come out sorted. Each belongs to its own u.": lambda: np.sort(on_the_ruler(u, table)),
                "Every class got an equal share of the ruler. Class k is as long as its probability.": lambda: (u * K).long(),
            },
        )
    for law in (stats.expon(scale=0.5), stats.norm(loc=1.0), stats.uniform(loc=-2, scale=3)):
        u = torch.as_tensor(check.rng.uniform(0.01, 0.99, 50))
        got = inverse_transform(u, lambda v, law=law: torch.as_tensor(law.ppf(v.numpy())))
        turned = abs(float(got[0]) - law.ppf(1 - u[0].item())) < abs(float(got[0]) - law.ppf(u[0].item()))
        check.close(law.cdf(got.numpy()), 1 - u if turned else u, rtol=1e-6)

with check("both ends of the ruler", points=1, off_limits=READY_MADE_DRAWS):
    ends = torch.tensor([0.0, 1 - 2.0**-24])  # the least and the greatest number that torch.rand can give
    for _ in range(40):
        table = torch.as_tensor(check.rng.dirichlet(np.ones(9)), dtype=torch.float32)
        got = inverse_transform(ends, table)
        check.law(
            got.min() >= 0 and got.max() < 9,
            f"class numbers of a table of 9 lie from 0 to 8; got {got.tolist()}",
            mistakes={"A u near 1 fell off the end: in float32 the running sum can stop short of 1. Divide it by its last entry.": got.max() >= 9},
        )
        check.law(sorted(got.tolist()) == [0, 8], f"u = 0 and u = 0.99999994 fall on the two outer classes; got {got.tolist()}")
    for table in ([0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.25, 0.0, 0.75]):
        got = inverse_transform(ends, torch.tensor(table))
        check.law(
            all(table[k] > 0 for k in got.tolist()),
            f"a class of probability 0 is never drawn, not even for u = 0; the table {table} gave class {next((k for k in got.tolist() if not table[k]), None)}",
            mistakes={"u = 0 lies at the end of an empty class. Take the first class whose end lies beyond u: right=True, or ends > u.": True},
        )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-sampling", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("inverse_transform"):
    noise = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    waits = inverse_transform(noise, lambda u: -torch.log1p(-u))
    tosses = inverse_transform(noise, torch.tensor([0.7, 0.3]))
    normal = special.ndtri(noise.numpy())
    fig, (left, middle, right) = plotting.subplots(3, width=11, height=3.3)
    left.hist(noise, bins=20, range=(0, 1), density=True, color=plotting.COLOURS[5])
    left.set(title="2000 uniform numbers u", xlabel="u", ylabel="density", ylim=(0, 1.4))
    middle.hist(waits, bins=30, range=(0, 6), density=True, color=plotting.COLOURS[5], label="$Q(u)$")
    middle.plot(np.linspace(0, 6, 100), np.exp(-np.linspace(0, 6, 100)), color="black", linestyle="-", label="$e^{-x}$")
    middle.set(title="Q(u) = −ln(1 − u): exponential", xlabel="x")
    middle.legend()
    order = np.argsort(normal)
    right.plot(normal[order], tosses[torch.as_tensor(order)], color=plotting.COLOURS[0])
    right.axvline(special.ndtri(0.7), color="black", linestyle="--", linewidth=1)
    right.set(
        title="A coin from normal noise: a step",
        xlabel="z, where u = Φ(z)",
        ylabel="toss (heads = 1)",
        yticks=[0, 1],
        xlim=(-3, 3),
    )
    plotting.show(
        fig,
        alt="Left: a flat histogram of 2000 uniform numbers. Middle: the same numbers through the quantile function of the exponential distribution; their histogram follows the curve of exp(-x). "
        f"Right: the toss made of each u against z, where u is the normal distribution function of z: 0 up to z = 0.524 and 1 beyond; {float(tosses.double().mean()):.3f} of the tosses are heads.",
    )

# %% [markdown]
# ## 2  Two players, two losses
#
# The **generator** $G$ maps noise $z$ to a sample. The **discriminator** $D$ gives a sample's probability of being real. It is a classifier with one logit, $D(x) = \sigma(\ell(x))$, trained with binary cross-entropy on real ($x$, label 1) and generated samples ($G(z)$, label 0):
#
# $$ L_D = -\,\mathbb{E}_{x}\big[\log D(x)\big] - \mathbb{E}_{z}\big[\log(1 - D(G(z)))\big]. $$
#
# For the generator CS909 ("Adversarial Training in a GAN") gives two losses: label the fakes "real" and minimise, or maximise the discriminator's error on them. In formulas
#
# $$ L_G^{\text{ns}} = -\,\mathbb{E}_z\big[\log D(G(z))\big] \qquad\text{and}\qquad L_G^{\text{sat}} = \mathbb{E}_z\big[\log(1 - D(G(z)))\big], $$
#
# the **non-saturating** and the **saturating** loss. We write everything with logits: a sigmoid that has rounded to 0 or 1 has no logarithm to speak of, while $-\log\sigma(\ell) = \log(1 + e^{-\ell})$, the *softplus* of $-\ell$, is exact for every $\ell$.
#
# (*Deep Learning for Computer Vision, Part I*, prints $D(G(z))$ without the parameters $\phi$ of $D$, and its first expectation with "$(x)$" twice. The maximum is over $\phi$ in both terms.)

# %% [markdown]
# **Exercise 8.2a · `d_loss`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# The discriminator's loss on logits: the mean over the real ones plus the mean over the fake ones. The two batches may differ in size.
#
# <details><summary>Hint 1: where to start</summary>
#
# `F.binary_cross_entropy_with_logits` with targets of ones and of zeros; or write both terms with `F.softplus`.
#
# </details>
#
# <details><summary>Hint 2: which sign</summary>
#
# $-\log\sigma(\ell) = \operatorname{softplus}(-\ell)$ and $-\log(1 - \sigma(\ell)) = \operatorname{softplus}(\ell)$. A discriminator that is right and sure has a loss near 0.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "d_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def d_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss: binary cross-entropy with real samples labelled 1 and generated ones 0.

    Args:
        real: logits of real samples, shape (n,) or (n, 1).
        fake: logits of generated samples, shape (m,) or (m, 1).

    Returns:
        A scalar: the mean loss over the real samples plus the mean loss over the generated ones. Finite for logits of
        any size.
    """
    ### BEGIN SOLUTION
    return F.softplus(-real).mean() + F.softplus(fake).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-d_loss", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("d_loss", points=2)

with check("two real and three fake logits", points=1):
    check.close(
        d_loss(torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 2.0, 0.0])),
        1.454483,
        mistakes={
            "The labels are swapped: a real sample is to get 1 and a generated one 0.": 2.121150,
            "The fakes are labelled real, as the generator wishes. The discriminator labels them 0.": 1.121150,
            "These are sums over the batches. Take the mean of each.": 3.953412,
            "This is one mean over all five. Take the mean of each batch, then add.": 0.790682,
            "This is half of it: add the two means.": 0.727242,
            "The sign is wrong: a loss is to be minimised.": -1.454483,
            "The generated samples were left out.": 0.410038,
            "A sigmoid was applied to logits that are then taken for logits again. Leave it out.": 1.423159,
        },
    )


### BEGIN HIDDEN TESTS
def cross_entropy(logits, label):
    """Binary cross-entropy of each logit by numpy, in float64."""
    return np.logaddexp(0, (1 - 2 * label) * logits.detach().double().numpy())


with check("fresh logits, and their gradients", points=0.5):
    for n, m, dtype, column in ((1, 1, torch.float64, False), (3, 5, torch.float64, True), (6, 2, torch.float32, False), (4, 4, torch.float64, True)):
        real, fake = (3 * torch.randn(2 * k, generator=check.gen, dtype=dtype)[::2] for k in (n, m))  # not contiguous
        real, fake = ((t[:, None] if column else t).requires_grad_() for t in (real, fake))
        with check.no_side_effects(real, fake):
            loss = d_loss(real, fake)
        check.shape(loss, ())
        check.dtype(loss, dtype)
        check.close(
            loss,
            cross_entropy(real, 1).mean() + cross_entropy(fake, 0).mean(),
            rtol=1e-5,
            mistakes={
                "The labels are swapped: a real sample is to get 1 and a generated one 0.": lambda: (
                    cross_entropy(real, 0).mean() + cross_entropy(fake, 1).mean()
                ),
                "These are sums over the batches. Take the mean of each.": lambda: cross_entropy(real, 1).sum() + cross_entropy(fake, 0).sum(),
                "This is one mean over both batches. Take the mean of each, then add.": lambda: (
                    (cross_entropy(real, 1).sum() + cross_entropy(fake, 0).sum()) / (n + m)
                ),
            },
        )
        check.law(loss.requires_grad, "gradients flow back to the logits; yours were cut off")
        g_real, g_fake = torch.autograd.grad(loss, (real, fake))
        check.close(g_real, -special.expit(-real.detach().numpy()) / n, rtol=1e-4)
        check.close(g_fake, special.expit(fake.detach().numpy()) / m, rtol=1e-4)

with check("sure of itself, right or wrong", points=0.5):
    for size, dtype in ((60.0, torch.float32), (60.0, torch.float64), (1e4, torch.float32)):
        for real, fake, want in ((size, -size, 0.0), (-size, size, 2 * size), (size, size, size)):
            logits = torch.tensor([real], dtype=dtype, requires_grad=True), torch.tensor([fake], dtype=dtype, requires_grad=True)
            loss = d_loss(*logits)
            check.law(
                torch.isfinite(loss),
                f"a finite loss for logits of {real:g} and {fake:g}; got {loss.item()}",
                mistakes={"σ rounds to 0 or 1, whose logarithm is infinite. Use softplus, logsigmoid or the cross-entropy with logits.": True},
            )
            check.close(
                loss,
                want,
                rtol=1e-5,
                atol=1e-5,
                mistakes={
                    "The probabilities were kept away from 0 and 1, and so the loss stops growing. Compute it from the logits.": loss if loss < want else None
                },
            )
            gradients = torch.autograd.grad(loss, logits)
            check.close([g.item() for g in gradients], [-float(real < 0), float(fake > 0)], atol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 8.2b · `g_loss`** (2 points · difficulty 2 of 5 · about 10 minutes)
#
# The generator's loss on the logits of its samples, in both forms. Both are to be *minimised*.
#
# <details><summary>Hint 1: where to start</summary>
#
# The non-saturating one is the cross-entropy of the fakes with the label 1. The saturating one is what the generator can change of the discriminator's loss, with the opposite sign.
#
# </details>
#
# <details><summary>Hint 2: the saturating one without overflow</summary>
#
# $\log(1 - \sigma(\ell)) = -\operatorname{softplus}(\ell)$. It is negative, and has no lower end.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "g_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def g_loss(fake: Tensor, mode: str = "ns") -> Tensor:
    """The generator's loss (Goodfellow et al. 2014, sections 3 and 4).

    Args:
        fake: logits of generated samples, shape (m,) or (m, 1).
        mode: ``ns``, non-saturating: the mean of -log D; or ``sat``, saturating: the mean of log(1 - D).

    Returns:
        A scalar, to be minimised. Finite for logits of any size.

    Raises:
        ValueError: there is no such mode.
    """
    ### BEGIN SOLUTION
    if mode == "ns":
        return F.softplus(-fake).mean()
    if mode == "sat":
        return -F.softplus(fake).mean()
    raise ValueError(f"There is no mode {mode!r}. There are: ns, sat.")
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-g_loss", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("g_loss", points=2)

with check("two fake logits", points=1):
    logits = torch.tensor([-1.0, 3.0])
    check.close(
        g_loss(logits),
        0.680925,
        mistakes={
            "The two modes are swapped.": -1.680925,
            "The fakes are labelled 0, as the discriminator does. The generator wants them taken for real.": 1.680925,
            "This is the sum. Take the mean.": 1.361849,
            "The sign is wrong: minimising this makes the fakes easier to tell.": -0.680925,
        },
    )
    check.close(
        g_loss(logits, mode="sat"),
        -1.680925,
        mistakes={
            "The two modes are swapped.": 0.680925,
            "The saturating loss is not the other one with a minus sign: it is the mean of log(1 − D).": -0.680925,
            "The sign is wrong: this is −log(1 − D), the discriminator's loss. Minimise log(1 − D).": 1.680925,
            "This is the sum. Take the mean.": -3.361849,
        },
    )
    check.raises(ValueError, lambda: g_loss(logits, mode="wasserstein"))

### BEGIN HIDDEN TESTS
with check("gradients in closed form", points=0.5):
    for m, dtype, column in ((1, torch.float64, False), (5, torch.float64, True), (4, torch.float32, False)):
        fake = 3 * torch.randn(2 * m, generator=check.gen, dtype=dtype)[::2]  # not contiguous
        fake = (fake[:, None] if column else fake).requires_grad_()
        D = special.expit(fake.detach().double().numpy())
        for mode, value, slope in (("ns", -np.log(D).mean(), -(1 - D) / m), ("sat", np.log1p(-D).mean(), -D / m)):
            with check.no_side_effects(fake):
                loss = g_loss(fake, mode)
            check.shape(loss, ())
            check.dtype(loss, dtype)
            check.close(loss, value, rtol=1e-5)
            check.law(loss.requires_grad, "gradients flow back to the logits; yours were cut off")
            check.close(torch.autograd.grad(loss, fake)[0], slope, rtol=1e-4)

with check("a discriminator that is sure", points=0.5):
    for size, dtype in ((60.0, torch.float32), (60.0, torch.float64), (1e4, torch.float32)):
        for mode, logit, want, slope in (("ns", -size, size, -1.0), ("ns", size, 0.0, 0.0), ("sat", -size, 0.0, 0.0), ("sat", size, -size, -1.0)):
            fake = torch.tensor([logit], dtype=dtype, requires_grad=True)
            loss = g_loss(fake, mode)
            check.law(
                torch.isfinite(loss),
                f"a finite loss in mode {mode} for a logit of {logit:g}; got {loss.item()}",
                mistakes={"σ rounds to 0 or 1, whose logarithm is infinite. Use softplus, logsigmoid or the cross-entropy with logits.": True},
            )
            check.close(loss, want, rtol=1e-5, atol=1e-5)
            check.close(torch.autograd.grad(loss, fake)[0], [slope], atol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### "OR equivalently"
#
# CS909 joins the generator's two losses with "OR equivalently" (erratum E14). They agree on one thing: both are minimal where the fakes are taken for real, $D(G(z)) = 1$. But a generator does not see minima, it sees gradients, and those are
#
# $$ \frac{\partial L^{\text{ns}}}{\partial \ell} = -(1 - D), \qquad \frac{\partial L^{\text{sat}}}{\partial \ell} = -D. $$
#
# Early in training the fakes are easy to tell and $D$ is close to 0. There the first loss pulls with full strength, and the second hardly at all: the worse the generator, the less it is taught. That is what "saturating" means.


# %% nbgrader={"grade": false, "grade_id": "experiment-gradients", "locked": true, "schema_version": 3, "solution": false, "task": false}
def generator_gradients(D: Tensor) -> dict[str, Tensor]:
    """The derivative of both generator losses by the logit, at discriminator outputs D of shape (n,), in float64."""
    slopes = {}
    for mode in ("ns", "sat"):
        logit = torch.logit(D.double()).requires_grad_()
        loss = torch.stack([g_loss(entry[None], mode) for entry in logit]).sum()
        (slopes[mode],) = torch.autograd.grad(loss, logit)
    return slopes


# %% nbgrader={"grade": false, "grade_id": "experiment-gradients-run", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("g_loss"):
    outputs = torch.logspace(-5, np.log10(0.5), 60, dtype=torch.float64)
    slopes = generator_gradients(outputs)
    at_1e4 = {mode: float(slope[0]) for mode, slope in generator_gradients(torch.tensor([1e-4], dtype=torch.float64)).items()}
    fig, ax = plotting.subplots(width=6.5, height=3.6)
    plotting.curves(
        ax,
        {"non-saturating": slopes["ns"].abs(), "saturating": slopes["sat"].abs()},
        x=outputs,
        xlabel="D(G(z)), how real the fakes look to the discriminator",
        ylabel="|∂L/∂ℓ|",
        log=True,
    )
    ax.set(xscale="log", title="What the generator is taught with")
    ax.axvline(1e-4, color="black", linestyle="--", linewidth=1)
    plotting.show(
        fig,
        alt="Absolute gradient of both generator losses against the discriminator's output from 1e-5 to 0.5, on logarithmic axes. The non-saturating one stays near 1 and falls to 0.5 at the right end. "
        f"The saturating one rises in proportion to the output, from 1e-5 to 0.5. At an output of 1e-4 they are {abs(at_1e4['ns']):.4f} and {abs(at_1e4['sat']):.4f}.",
    )
    claims.show(
        Claim(
            "∂L/∂ℓ at D(G(z)) = 1e-4, non-saturating",
            "min over label 1 (CS909)",
            at_1e4["ns"],
            at_least=-0.999901,
            at_most=-0.999899,
        ),
        Claim(
            "the same, saturating",
            "“OR equivalently”, max over label 0 (CS909)",
            at_1e4["sat"],
            at_least=-0.000101,
            at_most=-0.000099,
        ),
        Claim("how many times stronger", "“equivalently”, so 1", at_1e4["ns"] / at_1e4["sat"], at_least=9998, at_most=10000),
    )

# %% [markdown]
# ## 3  One step each, and hands off the other
#
# Both networks are trained in turns. The discriminator's step must not move the generator, and the other way round; the optimisers see to that, if each is given the parameters of one network only. What is easily overlooked are the *gradients*:
#
# - In the discriminator's step the fakes are data like any other. Cut them off from the generator (`detach`, or make them under `torch.no_grad()`), or the backward pass runs through the generator too: wasted work, and gradients left in places where a later step may find them.
# - In the generator's step the gradient must run *through* the discriminator to reach the generator, so nothing may be cut there. Its own gradients are filled on the way. That is harmless as long as the discriminator's step empties them before it begins.
#
# A step may also add a `penalty` to the discriminator's loss. Section 5 will need that.


# %% nbgrader={"grade": false, "grade_id": "setup-players", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Small networks to try a step on; the checks below use them.
def line(weight: float) -> nn.Linear:
    """The module x -> weight * x, in float64."""
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(weight)
    return layer


def players(seed: int, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    """A small generator (2 -> 3) and a discriminator (3 -> 1)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        G = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))
        D = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    return G.to(dtype), D.to(dtype)


def flat(module: nn.Module) -> Tensor:
    """All parameters as one vector, cut off from the graph."""
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def moved(module: nn.Module, loss: Callable[[], Tensor], rate: float) -> Tensor:
    """All parameters as one vector after a step of gradient descent on ``loss()``; the module moves there."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= rate * gradient
    return flat(module)


# %% [markdown]
# **Exercise 8.3a · `d_step`** (3 points · difficulty 3 of 5 · about 20 minutes)
#
# One step of the discriminator on a batch of real samples and a batch of noise, with your `d_loss`.
#
# <details><summary>Hint 1: where to start</summary>
#
# The four lines of every training step: empty the gradients, compute the loss, `backward`, `step`. The loss needs the logits `D(x)` and those of the fakes.
#
# </details>
#
# <details><summary>Hint 2: the generator gets a gradient</summary>
#
# `G(z).detach()` has the same values and no history. Do not switch off `requires_grad` on the generator's parameters: its own step needs it.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "d_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def d_step(
    G: nn.Module,
    D: nn.Module,
    opt_d: torch.optim.Optimizer,
    x: Tensor,
    z: Tensor,
    penalty: Callable[[nn.Module, Tensor], Tensor] | None = None,
) -> float:
    """One step of the discriminator; the generator is left alone, its parameters and their ``.grad`` included.

    Args:
        G: generator, noise to samples.
        D: discriminator, samples to one logit each.
        opt_d: holds the parameters of ``D``. Gradients that ``D`` has from before count for nothing.
        x: real samples, shape (n, ...).
        z: noise for the fake ones, shape (m, ...).
        penalty: ``penalty(D, x)`` is a scalar that is added to the loss. None: nothing is.

    Returns:
        The loss before the step, penalty included.
    """
    ### BEGIN SOLUTION
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z).detach()))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss.item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-d_step", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("d_step", points=3)
### BEGIN HIDDEN TESTS
check.use(
    d_loss=lambda real, fake: F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
)
### END HIDDEN TESTS


with check("two straight lines, one step", points=1):
    with torch.random.fork_rng():
        G, D = line(2.0), line(0.5)
    one = torch.ones(1, 1, dtype=torch.float64)
    loss = d_step(G, D, torch.optim.SGD(D.parameters(), lr=0.1), one, one)
    check.close(
        float(loss),
        1.787339,
        rtol=1e-5,
        mistakes={
            "This is the loss after the step. Return the one that was minimised.": 1.675878,
            "The labels are swapped: real samples are to get 1.": 1.287339,
        },
    )
    check.close(
        D.weight.item(),
        0.391542,
        rtol=1e-5,
        mistakes={
            "The discriminator did not move. Is `backward` called before `step`, and after `zero_grad`?": 0.5,
            "The discriminator went uphill. It minimises its loss.": 0.608458,
            "The labels are swapped: real samples are to get 1.": 0.491542,
            "The noise itself was shown as the fake sample. Show G(z).": 0.475508,
        },
    )
    check.close(
        G.weight.item(),
        2.0,
        mistakes={"The generator moved. Each optimiser holds one network.": G.weight.item()},
    )


### BEGIN HIDDEN TESTS
def bce(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def pull(D, x):
    """A penalty to try with: the mean squared logit."""
    return 0.3 * D(x).square().mean()


with check("goes downhill, twice, from whatever gradients there were", points=1):
    for n, m, dtype, penalty in ((1, 1, torch.float64, None), (4, 7, torch.float64, pull), (6, 3, torch.float32, None)):
        G, D = players(check.seeds(1)[0], dtype)
        x, z = torch.randn(3, n, generator=check.gen, dtype=dtype).mT, torch.randn(m, 2, generator=check.gen, dtype=dtype)
        start, oracle = copy.deepcopy(D), copy.deepcopy(D)
        for parameter in D.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer = torch.optim.SGD(D.parameters(), lr=0.5)

        def loss_of(net, real=1.0, fake=0.0, use_penalty=True, x=x, z=z, G=G, penalty=penalty):
            value = bce(net(x), real) + bce(net(G(z).detach()), fake)
            return value + penalty(net, x) if penalty is not None and use_penalty else value

        def after(net, loss_of=loss_of, **slip):
            net = copy.deepcopy(net)
            return moved(net, lambda: loss_of(net, **slip), 0.5)

        for step in (1, 2):
            with check.no_side_effects(x, z):
                d_step(G, D, optimizer, x, z, penalty=penalty)
            want = moved(oracle, lambda oracle=oracle: loss_of(oracle), 0.5)
            ones = torch.ones_like(want)
            check.close(
                flat(D),
                want,
                rtol=1e-4,
                mistakes={
                    "The discriminator did not move. Is `backward` called before `step`, and after `zero_grad`?": flat(start),
                    "Gradients from before were added to the new ones. Empty them first, with zero_grad.": lambda want=want, ones=ones: want - 0.5 * ones,
                    "The penalty was not added to the loss.": lambda start=start: after(start, use_penalty=False),
                    "The labels are swapped: real samples are to get 1.": lambda start=start: after(start, real=0.0, fake=1.0),
                    "Right in the first step and wrong in the second: something is left over from it. Empty the gradients first.": step == 2 and flat(D),
                },
            )

with check("leaves the generator alone", points=1):
    G, D = players(check.seeds(1)[0])
    before, still, marks = flat(G), flat(D), [torch.randn(p.shape, generator=check.gen, dtype=p.dtype) for p in G.parameters()]
    for parameter, mark in zip(G.parameters(), marks, strict=True):
        parameter.grad = mark.clone()
    optimizer = torch.optim.SGD(D.parameters(), lr=0.1)
    x, z = (torch.randn(5, d, generator=check.gen, dtype=torch.float64) for d in (3, 2))
    loss = d_step(G, D, optimizer, x, z)
    check.close(flat(G), before, mistakes={"The generator's parameters moved.": flat(G)})
    check.law(not torch.equal(flat(D), still), "one step moves the discriminator; yours left it where it was")
    left = [p.grad for p in G.parameters()]
    check.law(
        all(p.requires_grad for p in (*G.parameters(), *D.parameters())),
        "both networks can still learn afterwards; requires_grad was switched off and not on again",
    )
    check.law(
        all(grad is not None and torch.equal(grad, mark) for grad, mark in zip(left, marks, strict=True)),
        "the generator's .grad stays as it was before the step; yours changed",
        mistakes={
            "The generator's gradients were emptied. That is the generator's own business, in its own step.": lambda: all(
                g is None or not g.any() for g in left
            ),
            "The backward pass ran through the generator. Cut the fakes off: G(z).detach().": True,
        },
    )
    check.law(
        not (isinstance(loss, Tensor) and loss.requires_grad),
        "the loss is returned as a plain number; yours holds on to the whole graph",
        mistakes={"Return loss.item(), or the memory of every step adds up when the losses are kept.": True},
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 8.3b · `g_step`** (2 points · difficulty 2 of 5 · about 10 minutes)
#
# One step of the generator on a batch of noise, with your non-saturating `g_loss`.
#
# <details><summary>Hint 1: where to start</summary>
#
# The same four lines as in `d_step`. No real samples are needed.
#
# </details>
#
# <details><summary>Hint 2: the generator does not move</summary>
#
# Here the fakes must keep their history: no `detach`, no `no_grad`. The gradient goes from the loss through the discriminator into the generator.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "g_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def g_step(G: nn.Module, D: nn.Module, opt_g: torch.optim.Optimizer, z: Tensor) -> float:
    """One step of the generator on the non-saturating loss; the discriminator's parameters stay as they are.

    Args:
        G: generator, noise to samples.
        D: discriminator, samples to one logit each. Its ``.grad`` may be filled on the way.
        opt_g: holds the parameters of ``G``. Gradients that ``G`` has from before count for nothing.
        z: noise, shape (m, ...).

    Returns:
        The loss before the step.
    """
    ### BEGIN SOLUTION
    opt_g.zero_grad()
    loss = g_loss(D(G(z)))
    loss.backward()
    opt_g.step()
    return loss.item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-g_step", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("g_step", points=2)
### BEGIN HIDDEN TESTS
check.use(g_loss=lambda fake, mode="ns": -F.logsigmoid(fake).mean() if mode == "ns" else F.logsigmoid(-fake).mean())
### END HIDDEN TESTS

with check("two straight lines, one step", points=1):
    with torch.random.fork_rng():
        G, D = line(2.0), line(0.5)
    loss = g_step(G, D, torch.optim.SGD(G.parameters(), lr=0.1), torch.ones(1, 1, dtype=torch.float64))
    check.close(
        float(loss),
        0.313262,
        rtol=1e-5,
        mistakes={"This is the loss after the step. Return the one that was minimised.": 0.311458},
    )
    check.close(
        G.weight.item(),
        2.013447,
        rtol=1e-5,
        mistakes={
            "The generator did not move. Was it cut off with `detach`, or is `backward` missing?": 2.0,
            "The generator went the wrong way: its samples are now easier to tell from real ones.": 1.986553,
            "This is a step on the saturating loss. Take the non-saturating one.": 2.036553,
            "The fakes are labelled 0, as the discriminator does. The generator wants them taken for real.": 1.963447,
        },
    )
    check.close(
        D.weight.item(),
        0.5,
        mistakes={"The discriminator moved. Each optimiser holds one network.": D.weight.item()},
    )

### BEGIN HIDDEN TESTS
with check("goes downhill, twice, and leaves the discriminator where it is", points=1):
    for m, dtype in ((1, torch.float64), (6, torch.float64), (4, torch.float32)):
        G, D = players(check.seeds(1)[0], dtype)
        z = torch.randn(2, m, generator=check.gen, dtype=dtype).mT  # not contiguous
        start, oracle, judge = copy.deepcopy(G), copy.deepcopy(G), flat(D)
        for parameter in G.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer = torch.optim.SGD(G.parameters(), lr=0.5)
        for step in (1, 2):
            with check.no_side_effects(z):
                loss = g_step(G, D, optimizer, z)
            want = moved(oracle, lambda oracle=oracle, z=z, D=D: -F.logsigmoid(D(oracle(z))).mean(), 0.5)
            check.close(
                flat(G),
                want,
                rtol=1e-4,
                mistakes={
                    "The generator did not move. Was it cut off with `detach`, or is `backward` missing?": flat(start),
                    "Gradients from before were added to the new ones. Empty them first, with zero_grad.": lambda want=want: want - 0.5,
                    "This is a step on the saturating loss. Take the non-saturating one.": lambda start=start, z=z, D=D: moved(
                        start, lambda: F.logsigmoid(-D(start(z))).mean(), 0.5
                    ),
                    "Right in the first step and wrong in the second: something is left over from it. Empty the gradients first.": step == 2 and flat(G),
                },
            )
        check.close(flat(D), judge, mistakes={"The discriminator's parameters moved.": flat(D)})
        check.law(
            all(p.requires_grad for p in (*G.parameters(), *D.parameters())),
            "both networks can still learn afterwards; requires_grad was switched off and not on again",
        )
        check.law(
            not (isinstance(loss, Tensor) and loss.requires_grad),
            "the loss is returned as a plain number; yours holds on to the whole graph",
            mistakes={"Return loss.item(), or the memory of every step adds up when the losses are kept.": True},
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  What a perfect discriminator knows
#
# Hold the generator still. Say real samples have the probabilities $p$ and fakes $q$. For every $x$ by itself the best output is the one that minimises $-p \log D - q \log(1 - D)$:
#
# $$ D^\star(x) = \frac{p(x)}{p(x) + q(x)}. $$
#
# It is ½ where both are equally likely. So a discriminator that has learned its task knows the *ratio* $p/q$: its logit is $\log p(x) - \log q(x)$. Put it back into the value of the game (*Deep Learning for Computer Vision, Part I*, "During training they compete"):
#
# $$ V(D^\star) = \sum_x p \log D^\star + q \log(1 - D^\star) = -\log 4 + 2\,\mathrm{JSD}(p, q), \qquad \mathrm{JSD}(p, q) = \tfrac12 \mathrm{KL}\big(p \,\|\, \tfrac{p+q}{2}\big) + \tfrac12 \mathrm{KL}\big(q \,\|\, \tfrac{p+q}{2}\big). $$
#
# The **Jensen–Shannon divergence** is 0 if and only if $p = q$, and at most $\log 2$. As always, $0 \log 0 = 0$.

# %% [markdown]
# **Exercise 8.4a · `optimal_D`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# The best discriminator for two known distributions on the same $K$ points.
#
# <details><summary>Hint 1: where to start</summary>
#
# Set the derivative of $-p \log D - q \log(1 - D)$ by $D$ to zero.
#
# </details>
#
# <details><summary>Hint 2: where both are zero</summary>
#
# 0/0 is NaN. No sample ever falls there, so any output from 0 to 1 will do.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "optimal_D", "locked": false, "schema_version": 3, "solution": true, "task": false}
def optimal_D(p: Tensor, q: Tensor) -> Tensor:
    """The discriminator that is right as often as can be.

    Args:
        p: probabilities of real samples, shape (K,).
        q: probabilities of generated samples, shape (K,).

    Returns:
        Shape (K,): the best probability of "real" at each point; where ``p`` and ``q`` are both 0 any number from 0
        to 1.
    """
    ### BEGIN SOLUTION
    total = p + q
    return torch.where(total > 0, p / total, 0.5)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-optimal_D", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("optimal_D", points=1)

with check("three points by hand", points=0.5):
    check.close(
        optimal_D(torch.tensor([0.4, 0.6, 0.0]), torch.tensor([0.4, 0.1, 0.5])),
        [0.5, 0.857143, 0.0],
        rtol=1e-5,
        mistakes={
            "This is the ratio p/q. A discriminator gives a probability: p over p + q.": [1.0, 6.0, 0.0],
            "This is the probability of a fake. D is that of a real sample.": [0.5, 0.142857, 1.0],
            "This says which is likelier. The best discriminator also says by how much.": [0.0, 1.0, 0.0],
            "This is p itself. How likely the fakes are counts as well.": [0.4, 0.6, 0.0],
            "This is half the sum, the mixture. The real part over the sum is asked for.": [0.4, 0.35, 0.25],
        },
    )

### BEGIN HIDDEN TESTS
with check("nothing beats it, on fresh distributions", points=0.5):
    for K, dtype in ((1, torch.float64), (5, torch.float64), (6, torch.float32)):
        p, q = (torch.as_tensor(check.rng.dirichlet(np.ones(K), size=2).T[:, 0], dtype=dtype) for _ in range(2))
        with check.no_side_effects(p, q):
            got = optimal_D(p, q)
        check.dtype(got, dtype)
        check.close(
            got,
            special.expit(np.log(p.double().numpy()) - np.log(q.double().numpy())),
            rtol=1e-4,
            mistakes={
                "This is the ratio p/q. A discriminator gives a probability: p over p + q.": lambda: p / q,
                "This is the probability of a fake. D is that of a real sample.": lambda: q / (p + q),
            },
        )
    got = optimal_D(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.5, 0.5, 0.0]))
    check.law(
        not torch.isnan(got).any() and 0 <= got[2] <= 1,
        f"where both probabilities are 0 any number from 0 to 1 will do; got {got[2].item()}",
        mistakes={"0/0 is NaN. Put a number where p + q is 0.": lambda: torch.isnan(got[2])},
    )
    check.close(got[:2], [0.0, 2 / 3], rtol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 8.4b · `gan_value`** (2 points · difficulty 3 of 5 · about 15 minutes)
#
# The value of the game against a perfect discriminator, in natural logarithms. Points where $p$ or $q$ is 0 must not make NaN of it.
#
# <details><summary>Hint 1: where to start</summary>
#
# Write the sum with your `optimal_D`, and look at what happens where $p = 0$: the term is $0 \cdot \log 0$.
#
# </details>
#
# <details><summary>Hint 2: zero times minus infinity</summary>
#
# `torch.xlogy(p, D)` is $p \log D$ with $0 \log 0 = 0$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "gan_value", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gan_value(p: Tensor, q: Tensor) -> Tensor:
    """The value of the game when the discriminator is optimal (Goodfellow et al. 2014, theorem 1).

    Args:
        p: probabilities of real samples, shape (K,).
        q: probabilities of generated samples, shape (K,).

    Returns:
        A scalar: the sum of p log D + q log(1 - D) for the best D, in natural logarithms; from -log 4 (p = q) to 0
        (nothing in common).
    """
    ### BEGIN SOLUTION
    best = optimal_D(p, q)
    return (torch.xlogy(p, best) + torch.xlogy(q, 1 - best)).sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-gan_value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("gan_value", points=2)
### BEGIN HIDDEN TESTS
check.use(optimal_D=lambda p, q: torch.sigmoid(torch.nan_to_num(p.log() - q.log(), nan=0.0, posinf=math.inf, neginf=-math.inf)))
### END HIDDEN TESTS

with check("equal, different, and with zeros", points=1):
    check.close(
        gan_value(torch.tensor([0.25, 0.75]), torch.tensor([0.25, 0.75])),
        -1.386294,
        rtol=1e-5,
        mistakes={
            "The logarithm has base 2. Take the natural one.": -2.0,
            "The sign is wrong.": 1.386294,
            "This is the divergence. The value of the game is −log 4 plus twice of it.": 0.0,
            "The term of the fakes is missing.": -0.693147,
            "This is the mean over the points. It is a sum, weighted with p and q.": -0.693147 / 2,
        },
    )
    check.close(
        gan_value(torch.tensor([0.4, 0.6, 0.0]), torch.tensor([0.4, 0.1, 0.5])),
        -0.841599,
        rtol=1e-5,
        mistakes={
            "0·log 0 became NaN. It counts as 0: see torch.xlogy.": float("nan"),
            "The logarithm has base 2. Take the natural one.": -1.214171,
            "The divergence counts twice: −log 4 + 2·JSD.": -1.113947,
            "The term of the fakes is missing.": -0.369749,
        },
    )

### BEGIN HIDDEN TESTS
with check("minus log 4, plus twice the Jensen–Shannon divergence", points=1):
    for K, dtype in ((1, torch.float64), (2, torch.float64), (7, torch.float64), (40, torch.float32)):
        p, q = (check.rng.random(K) * (check.rng.random(K) < 0.7) for _ in range(2))
        p[0], q[-1] = p[0] + 0.2, q[-1] + 0.2
        p, q = (torch.as_tensor(t / t.sum(), dtype=dtype) for t in (p, q))
        with check.no_side_effects(p, q):
            got = gan_value(p, q)
        check.shape(got, ())
        check.dtype(got, dtype)
        jsd = distance.jensenshannon(p.double().numpy(), q.double().numpy()) ** 2
        check.close(
            got,
            -math.log(4) + 2 * jsd,
            rtol=1e-4,
            atol=1e-6,
            mistakes={
                "0·log 0 became NaN. It counts as 0: see torch.xlogy.": float("nan"),
                "The divergence counts twice: −log 4 + 2·JSD.": -math.log(4) + jsd,
                "The logarithm has base 2. Take the natural one.": (-math.log(4) + 2 * jsd) / math.log(2),
            },
        )
    apart = torch.eye(2)
    check.close(
        gan_value(apart[0], apart[1]),
        0.0,
        atol=1e-5,
        mistakes={"0·log 0 became NaN. It counts as 0: see torch.xlogy.": float("nan")},
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Perfect, and useless
#
# Does a generator that fights a perfect discriminator minimise the Jensen–Shannon divergence? On paper, yes. But look at two distributions that do not overlap: the divergence is $\log 2$ whether they lie side by side or a mile apart, so its gradient is 0. The **Wasserstein distance** of section 6, the mean way that
# mass must be moved, still falls as they come nearer. Generated images start without any overlap with real ones. That training works at all is owed to discriminators that are *not* perfect: smooth functions, stopped early, and, next section, kept flat on purpose.

# %% nbgrader={"grade": false, "grade_id": "figure-optimal", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("optimal_D", "gan_value"):
    grid = torch.linspace(-4, 6, 501, dtype=torch.float64)
    real, fake = (torch.as_tensor(stats.norm.pdf(grid, centre, spread)) * 0.02 for centre, spread in ((0.0, 1.0), (2.0, 0.7)))
    fig, (left, right) = plotting.subplots(2, width=10, height=3.5)
    left.fill_between(grid, real / 0.02, alpha=0.35, color=plotting.COLOURS[0], label="real, p")
    left.fill_between(grid, fake / 0.02, alpha=0.35, color=plotting.COLOURS[1], hatch="//", label="generated, q")
    left.plot(grid, optimal_D(real, fake), color="black", linestyle="-", label="best discriminator")
    left.set(xlabel="x", ylim=(0, 1.25), title="It knows the ratio of the two")
    left.legend(loc="upper right", fontsize=9)
    shifts = torch.arange(0, 41)
    block = torch.zeros(80, dtype=torch.float64)
    block[:20] = 1 / 20
    jsd = [float(gan_value(block, block.roll(int(shift))) + math.log(4)) / 2 for shift in shifts]
    plotting.curves(
        right,
        {"Jensen–Shannon": jsd, "Wasserstein, in block widths": shifts / 20},
        x=shifts / 20,
        xlabel="shift, in widths of the block",
        ylabel="distance",
    )
    right.axhline(math.log(2), color="black", linestyle="--", linewidth=1)
    right.annotate("log 2", (1.75, math.log(2) + 0.05))
    right.set(title="Two blocks: no overlap beyond a shift of 1")
    right.legend(loc="upper left")
    plotting.show(
        fig,
        alt="Left: two bell curves, real at 0 and generated at 2, and the best discriminator between them: 1 far left, falling through 0.5 where the curves cross, near 0 around 2, and rising again far right, where the "
        f"wider real curve wins. Right: two equal blocks moved apart. The Jensen-Shannon divergence rises to {jsd[20]:.3f} at a shift of one width and stays there; the Wasserstein distance goes on rising in a straight line.",
    )

# %% [markdown]
# ## 5  Round in circles, and how to stop it
#
# The smallest GAN of all: the data is the single point 0, the generator is the single number $\theta$ (it always produces $\theta$), and the discriminator is the line $\ell(x) = \psi x$ (Mescheder, Geiger and Nowozin 2018, who call it the Dirac-GAN).
# The only equilibrium is $\theta = \psi = 0$. Let both players follow the gradient of the game's value, $\log\tfrac12 + \log\sigma(-\psi\theta)$, in continuous time:
#
# $$ \dot\theta = \sigma(\psi\theta)\,\psi, \qquad \dot\psi = -\sigma(\psi\theta)\,\theta. $$
#
# Then $\theta\dot\theta + \psi\dot\psi = 0$: the distance from the equilibrium never changes. The players chase each other in a circle for ever. Steps of finite size, taken at the same time, spiral outwards; taken in turns, they go on circling. No learning rate mends that.
# (With the non-saturating loss the first equation has $\sigma(-\psi\theta)$. Near the equilibrium that is the same; farther out it pulls inwards, ever more weakly as it gets there.)
#
# The cure is to make the discriminator pay for being steep on real data. **R1** is the mean squared norm of its gradient there:
#
# $$ R_1(D) = \mathbb{E}_x\big[\lVert \nabla_x \ell(x) \rVert^2\big], \qquad L_D + \tfrac{\gamma}{2} R_1. $$
#
# Here it adds $-\gamma\psi$ to $\dot\psi$: friction. The eigenvalues of the system near the equilibrium turn from $\pm\tfrac{i}{2}$ into $\tfrac12\big(-\gamma \pm \sqrt{\gamma^2 - 1}\big)$, whose real parts are negative for every $\gamma > 0$. At the equilibrium the penalty costs nothing, since a discriminator that cannot tell is flat.


# %% nbgrader={"grade": false, "grade_id": "figure-dirac", "locked": true, "schema_version": 3, "solution": false, "task": false}
def dirac_pull(_, state, gamma):
    """The velocity of (theta, psi)."""
    theta, psi = state
    slope = special.expit(psi * theta)
    return np.array([slope * psi, -slope * theta - gamma * psi])


def dirac_path(gamma, end=40.0):
    """Where the Dirac-GAN goes from (1, 0) in continuous time: theta and psi, shape (2, 400)."""
    return integrate.solve_ivp(dirac_pull, (0, end), (1.0, 0.0), t_eval=np.linspace(0, end, 400), rtol=1e-8, args=(gamma,)).y


def dirac_steps(gamma, rate=0.2, n=120):
    """The same by n steps that both players take at the same time: shape (2, n + 1)."""
    path = [np.array([1.0, 0.0])]
    for _ in range(n):
        path.append(path[-1] + rate * dirac_pull(None, path[-1], gamma))
    return np.array(path).T


fig, axes = plotting.subplots(2, width=10, height=4)
radius = {}
for ax, follow, title in zip(axes, (dirac_path, dirac_steps), ("Continuous time", "120 steps, learning rate 0.2"), strict=True):
    for gamma, colour, style in ((0.0, plotting.COLOURS[1], "--"), (0.3, plotting.COLOURS[0], "-")):
        theta, psi = follow(gamma)
        ax.plot(theta, psi, color=colour, linestyle=style, label=f"γ = {gamma:g}")
        radius[title, gamma] = math.hypot(theta[-1], psi[-1])
    ax.plot(0, 0, marker="P", markersize=10, color="black", linestyle="none", label="equilibrium")
    ax.plot(1, 0, marker="o", color="black", linestyle="none", label="start")
    ax.set(xlabel="θ (generator)", ylabel="ψ (discriminator)", title=title, aspect="equal", xlim=(-2.1, 2.1), ylim=(-2.1, 2.1))
axes[0].legend(loc="upper right", fontsize=9)
plotting.show(
    fig,
    alt="Two planes of the generator's theta against the discriminator's psi. Without a penalty the path from (1, 0) is a circle around the equilibrium at the origin in continuous time, and a spiral outwards, "
    f"to a radius of {radius['120 steps, learning rate 0.2', 0.0]:.2f}, in steps. With gamma = 0.3 both spiral in, to radii of {radius['Continuous time', 0.3]:.3f} and {radius['120 steps, learning rate 0.2', 0.3]:.3f}.",
)

# %% [markdown]
# **Exercise 8.5a · `r1_penalty`** (2 points · difficulty 4 of 5 · about 20 minutes)
#
# The mean over the batch of the squared norm of the gradient of the logit by the sample; without the factor $\gamma/2$. The discriminator will be trained on it, so it must be differentiable once more.
#
# <details><summary>Hint 1: where to start</summary>
#
# A fresh leaf, `x.detach().requires_grad_()`, goes through `D`. `torch.autograd.grad` wants a scalar: the *sum* of the logits. Each sample's logit depends on that sample only, so the gradient of the sum holds every sample's own gradient.
#
# </details>
#
# <details><summary>Hint 2: the penalty does not change the discriminator</summary>
#
# By default autograd forgets how it computed a gradient. `create_graph=True` keeps the graph, so that `backward` can go through it. Images have several axes: `flatten(1)` before the sum of squares.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "r1_penalty", "locked": false, "schema_version": 3, "solution": true, "task": false}
def r1_penalty(D: nn.Module, x: Tensor) -> Tensor:
    """How steep a discriminator is on real data (Mescheder, Geiger and Nowozin 2018).

    Args:
        D: discriminator, samples to logits of shape (n,) or (n, 1), each of which depends on its own sample only.
        x: real samples, shape (n, ...). They stay as they are; ``requires_grad`` is not switched on in place.

    Returns:
        A scalar with a gradient for the parameters of ``D``: the mean over the samples of the squared norm of the
        logit's gradient by the sample.
    """
    ### BEGIN SOLUTION
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.flatten(1).square().sum(1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-r1_penalty", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("r1_penalty", points=2)

with check("a paraboloid", points=1):
    points_four = torch.tensor([[1.0, 0.0], [0.0, 2.0], [2.0, 1.0], [0.0, 1.0]])
    check.close(
        r1_penalty(lambda x: x.square().sum(1, keepdim=True), points_four),
        11.0,
        mistakes={
            "The norms were not squared.": 3.118034,
            "This is the sum over the samples. Take the mean.": 44.0,
            "The gradient of the *mean* logit was taken, which is n times too small. Take that of the sum.": 0.6875,
            "The gradient of the mean logit was taken, and then the sum. Take that of the sum, then the mean.": 2.75,
            "This is a mean over all entries, or half of it. Take the mean of each sample's sum of squares.": 5.5,
            "This pulls the norm to 1, as WGAN-GP does. R1 pulls it to 0.": 5.763932,
            "This is the norm of the mean gradient. Take the mean of the squared norms.": 6.25,
        },
    )


### BEGIN HIDDEN TESTS
class Bowl(nn.Module):
    """The logit of a sample is the weighted sum of its squares; its gradient is 2 w x."""

    def __init__(self, shape, dtype, column):
        super().__init__()
        self.w = nn.Parameter(torch.rand(shape, generator=check.gen, dtype=dtype) + 0.5)
        self.column = column

    def forward(self, x):
        logits = (self.w * x.square()).flatten(1).sum(1)
        return logits[:, None] if self.column else logits


with check("the slope in closed form, and its own gradient", points=1):
    for n, shape, dtype, column in (
        (1, (3,), torch.float64, True),
        (5, (2,), torch.float32, False),
        (3, (1, 4, 5), torch.float64, True),
        (4, (4,), torch.float64, False),
    ):
        D = Bowl(shape, dtype, column)
        x = torch.randn(2 * n, *shape, generator=check.gen, dtype=dtype)[::2]  # not contiguous
        with check.no_side_effects(x):
            got = r1_penalty(D, x)
        check.law(
            not x.requires_grad,
            "the samples that were passed in stay as they are; yours had requires_grad switched on",
            mistakes={"Work on a fresh leaf: x.detach().requires_grad_().": True},
        )
        check.shape(got, ())
        check.dtype(got, dtype)
        slope = (2 * D.w.detach() * x).double().numpy().reshape(n, -1)
        check.close(
            got,
            (slope**2).sum(1).mean(),
            rtol=1e-4,
            mistakes={
                "The norms were not squared.": lambda: np.sqrt((slope**2).sum(1)).mean(),
                "This is the sum over the samples. Take the mean.": lambda: (slope**2).sum(),
                "This is a mean over all entries. Sum the squares of each sample's gradient, then take the mean over the samples.": lambda: (slope**2).mean(),
                "The gradient of the *mean* logit was taken, which is n times too small. Take that of the sum.": lambda: (slope**2).sum(1).mean() / n**2,
                "The factor ½ is not part of it.": lambda: (slope**2).sum(1).mean() / 2,
            },
        )
        check.law(
            got.requires_grad,
            "the penalty has a gradient for the parameters of D; yours has none",
            mistakes={"Autograd forgot how it computed the slope. Ask for create_graph=True.": True},
        )
        (gradient,) = torch.autograd.grad(got, D.w)
        check.close(gradient, (8 * D.w.detach() * x.square()).mean(0), rtol=1e-4)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        D = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    x, step = torch.randn(4, 3, generator=check.gen, dtype=torch.float64), 1e-5
    with torch.no_grad():  # central differences
        slopes = torch.stack([(D(x + step * axis) - D(x - step * axis)).flatten() / (2 * step) for axis in torch.eye(3, dtype=torch.float64)], dim=1)
    check.close(r1_penalty(D, x), slopes.square().sum(1).mean(), rtol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### The coin GAN
#
# CS909's "Barebones GAN" learns a coin from 1024 tosses. Which coin is not so clear: the slide "A Simple Generative Machine Learning Example" has $p(H) = 0.7$ and shows ten tosses, six of them heads; the code in "GAN Tutorial" tosses with `phead = 0.3` (erratum E30).
# All three can be had in peace. Ten tosses of a 0.7-coin have six heads or fewer in 35 % of all cases. But 1024 tosses of a coin with 0.3 have a standard error of 0.014, and 0.7 lies 28 of these away: the code's coin is a different one, or has its faces renamed. And whichever it is,
# **no generator ever sees $p$. It sees tosses, and can at best learn their share of heads**, $\hat p$. We hold ours against that.
#
# A toss is a number, 0 or 1; the generator maps $z \sim \mathcal N(0, 1)$ to a number from 0 to 1. There are two ways to get the mean right: a step (section 1), or the constant 0.3 for every $z$. The second fools a discriminator that is nearly a straight line, but is no toss. So look at two numbers:
# the mean of the samples, and the share of them above ½. Both must be $\hat p$.


# %% nbgrader={"grade": false, "grade_id": "setup-nets", "locked": true, "schema_version": 3, "solution": false, "task": false}
def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of these widths with leaky ReLUs in between."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def tosses_of(p: float, n: int, seed: int) -> Tensor:
    """n tosses of a coin that shows heads (1) with probability p, shape (n, 1), float32."""
    return (torch.rand(n, 1, generator=torch.Generator().manual_seed(seed)) < p).float()


def heads(G: nn.Module, n: int = 2000) -> tuple[float, float]:
    """Mean of a coin generator's samples and their share above one half, over n even quantiles of normal noise."""
    z = torch.special.ndtri((torch.arange(n) + 0.5) / n)[:, None]
    with torch.no_grad():
        samples = G(z)
    return float(samples.mean()), float((samples > 0.5).float().mean())


# %% [markdown]
# **Exercise 8.5b · `train_coin`** (3 points · difficulty 4 of 5 · about 30 minutes)
#
# Put it all together: train a generator of coin tosses with your `d_step`, `g_step` and `r1_penalty`, so that mean and share above ½ come within 0.05 of the share of heads in `flips`. `mlp` above makes networks; end the generator's with `nn.Sigmoid()`.
# Everything random must follow from `seed`. It should take a second or two.
#
# <details><summary>Hint 1: where to start</summary>
#
# Seed; make `G` from `mlp(1, 16, 1)` and `D` likewise; an optimiser each; then 150 rounds of one `d_step`, on a random batch of flips and fresh noise, and one `g_step` on fresh noise. Pass `lambda D, x: gamma / 2 * r1_penalty(D, x)` as the penalty, with `gamma = 1`.
#
# </details>
#
# <details><summary>Hint 2: it circles, or gives 0.3 for every z</summary>
#
# Momentum carries the players past the equilibrium. Adam without it, `betas=(0.0, 0.9)`, a learning rate of 0.03 and batches of 512 settle in 150 rounds. `fused=True` makes Adam several times faster on networks this small.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_coin", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_coin(flips: Tensor, seed: int) -> nn.Module:
    """Train a GAN on coin tosses.

    Args:
        flips: tosses, 0 or 1, shape (N, 1), float32.
        seed: where everything random comes from; the same seed gives the same generator.

    Returns:
        The generator: it maps standard normal noise, shape (n, 1), to tosses between 0 and 1, shape (n, 1). Nearly all
        of them are near 0 or near 1.
    """
    ### BEGIN SOLUTION
    training.seed_everything(seed)
    G, D = nn.Sequential(mlp(1, 16, 1), nn.Sigmoid()), mlp(1, 16, 1)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=0.03, betas=(0.0, 0.9), fused=True) for net in (G, D))
    for _ in range(150):
        x = flips[torch.randint(len(flips), (512,))]
        d_step(G, D, opt_d, x, torch.randn(512, 1), penalty=lambda D, x: r1_penalty(D, x) / 2)
        g_step(G, D, opt_g, torch.randn(512, 1))
    return G
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_coin", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_coin", points=3)
### BEGIN HIDDEN TESTS


def trusted_r1(D, x):
    leaf = x.clone().requires_grad_()
    logits = D(leaf)
    return torch.autograd.grad(logits, leaf, torch.ones_like(logits), create_graph=True)[0].square().flatten(1).sum(1).mean()


def trusted_d_step(G, D, opt_d, x, z, penalty=None):
    with torch.no_grad():
        fake = G(z)
    loss = -F.logsigmoid(D(x)).mean() - F.logsigmoid(-D(fake)).mean() + (0.0 if penalty is None else penalty(D, x))
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()
    return float(loss.detach())


def trusted_g_step(G, D, opt_g, z):
    loss = -F.logsigmoid(D(G(z))).mean()
    opt_g.zero_grad()
    loss.backward()
    opt_g.step()
    return float(loss.detach())


check.use(d_step=trusted_d_step, g_step=trusted_g_step, r1_penalty=trusted_r1)
### END HIDDEN TESTS


def trained_coin(flips, seed):
    """The answer's generator, and its samples for 2000 quantiles of normal noise."""
    with torch.random.fork_rng():
        G = train_coin(flips, seed)
    with torch.no_grad():
        return G, G(torch.special.ndtri((torch.arange(2000) + 0.5) / 2000)[:, None])


def judge(samples, want):
    """Hold the mean and the share above one half against the share of heads."""
    check.shape(samples, (2000, 1))
    mean, share = float(samples.mean()), float((samples > 0.5).float().mean())
    check.law(
        bool(((samples >= 0) & (samples <= 1)).all()),
        f"tosses lie between 0 and 1; yours from {float(samples.min()):.3g} to {float(samples.max()):.3g}",
    )
    near, one_face = abs(mean - want) <= 0.05, not 0.02 <= mean <= 0.98
    check.law(
        near and abs(share - want) <= 0.05,
        f"mean and share above ½ within 0.05 of {want:.3f}; got a mean of {mean:.3f} and a share of {share:.3f}",
        mistakes={
            "It makes the same of every z: a constant is no toss.": samples.std() < 0.1 and not one_face,
            "It always shows the same face: the players circle. Is the penalty added? Is there momentum?": one_face,
            "The mean is right and the tosses are grey: they lie in between, where no real one does.": near,
            "Heads and tails are swapped.": abs(1 - mean - want) <= 0.05 and abs(want - 0.5) > 0.06,
            "It has not settled. Train longer, with larger batches, or without momentum.": True,
        },
    )


with check("300 heads in 1000", points=1, seconds=30):
    flips = torch.cat([torch.ones(300, 1), torch.zeros(700, 1)])
    judge(trained_coin(flips, 0)[1], 0.3)

### BEGIN HIDDEN TESTS
with check("another coin, another seed", points=1.5, seconds=60):
    fresh = torch.as_tensor(check.rng.random((1024, 1)) < check.rng.choice([0.55, 0.6, 0.7])).float()
    given = fresh.clone()
    G, fresh_samples = trained_coin(given, check.seeds(1)[0])
    check.law(torch.equal(given, fresh), "the tosses stay as they are; yours were changed in place")
    judge(fresh_samples, float(fresh.mean()))
    learnt = [p for p in G.parameters() if p.requires_grad]
    check.law(len(learnt) > 0, "the generator is a module with trained parameters; yours has none")
    out = G(torch.tensor([[0.3], [-0.8]]))
    check.law(
        out.requires_grad and any((g != 0).any() for g in torch.autograd.grad(out.sum(), learnt, allow_unused=True) if g is not None),
        "the tosses are computed from the parameters; yours do not depend on them",
    )


def tracing_d_step(G, D, opt_d, x, z, penalty=None):
    """No step: the noise leaves a trace in the generator, and so shows in what comes back."""
    for parameter in G.parameters():
        parameter.data.add_(0.01 * torch.sin(z.sum()))
    return 1.0


def idle_g_step(G, D, opt_g, z):
    return 1.0


# Steps that train nothing make the next check cheap; an answer with steps of its own is simply run twice more.
check.use(d_step=tracing_d_step, g_step=idle_g_step)

with check("decided by its seed", points=0.5, seconds=60):
    runs = []
    for state, seed in ((1, 5), (2, 5), (2, 6)):
        with torch.random.fork_rng():
            torch.manual_seed(state)
            runs.append(trained_coin(flips, seed)[1])
    check.law(
        torch.allclose(runs[0], runs[1], atol=1e-3),
        "the same seed gives the same generator; yours differ. Call torch.manual_seed or training.seed_everything first",
    )
    check.law(
        not torch.allclose(runs[1], runs[2]),
        "another seed gives another generator, or other noise; yours does not depend on `seed`",
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Does it always work?
#
# Now the game with networks a little larger (a generator of 1-16-16-1 units) and with Adam as it comes, momentum included. Five coins of 1024 tosses each, 400 rounds, three ways: plain; plain but without momentum; with momentum and R1.


# %% nbgrader={"grade": false, "grade_id": "experiment-coin", "locked": true, "schema_version": 3, "solution": false, "task": false}
def play_coin(flips: Tensor, seed: int, gamma: float, momentum: float, rounds: int = 400) -> tuple[nn.Module, nn.Module, list[float]]:
    """A GAN on tosses (N, 1) after some rounds: the generator, the discriminator, and the mean toss after every tenth round."""
    training.seed_everything(seed)
    G, D = nn.Sequential(mlp(1, 16, 16, 1), nn.Sigmoid()), mlp(1, 16, 1)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=0.01, betas=(momentum, 0.999), fused=True) for net in (G, D))
    penalty = (lambda D, x: gamma / 2 * r1_penalty(D, x)) if gamma else None
    means = [heads(G)[0]]
    for step in range(1, rounds + 1):
        d_step(G, D, opt_d, flips[torch.randint(len(flips), (512,))], torch.randn(512, 1), penalty)
        g_step(G, D, opt_g, torch.randn(512, 1))
        if step % 10 == 0:
            means.append(heads(G)[0])
    return G, D, means


COIN_GAMES = {"plain": (0.0, 0.9), "plain, no momentum": (0.0, 0.0), "R1, γ = 1": (1.0, 0.9)}  # name -> γ, momentum


def coin_experiment(seed: int) -> dict[str, dict[str, list]]:
    """By game, over five coins with p = 0.3: how far the mean toss ends from the share of heads, D from ½, and the mean's way."""
    found: dict[str, dict[str, list]] = {name: {"off": [], "unsure": [], "way": []} for name in COIN_GAMES}
    for name, run in training.progress([(name, run) for name in COIN_GAMES for run in range(5)], desc="coin GANs"):
        flips = tosses_of(0.3, 1024, seed=10 * seed + run)
        _, D, way = play_coin(flips, 10 * seed + run, *COIN_GAMES[name])
        with torch.no_grad():
            unsure = (torch.sigmoid(D(torch.tensor([[0.0], [1.0]]))) - 0.5).abs().max()
        found[name]["off"].append(abs(way[-1] - float(flips.mean())))
        found[name]["unsure"].append(float(unsure))
        found[name]["way"].append(way)
    return found


# %% nbgrader={"grade": false, "grade_id": "experiment-coin-run", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("d_loss", "g_loss", "d_step", "g_step", "r1_penalty"):
    coins = coin_experiment(seed=0)
    failed = {name: sum(off > 0.1 for off in result["off"]) for name, result in coins.items()}
    fig, axes = plotting.subplots(3, width=11, height=3.2)
    for ax, (name, result) in zip(axes, coins.items(), strict=True):
        for i, way in enumerate(result["way"]):
            ax.plot(np.arange(len(way)) * 10, way, color=plotting.COLOURS[i], linestyle=plotting.LINES[i], linewidth=1.5)
        ax.axhline(0.3, color="black", linestyle=":", linewidth=1)
        ax.set(title=f"{name}: {failed[name]} of 5 fail", xlabel="round", ylim=(-0.03, 1.03))
    axes[0].set_ylabel("mean toss")
    plotting.show(
        fig,
        alt="The mean toss of five generators over 400 rounds, in three games. "
        + " ".join(
            f"{name}: the runs end at {', '.join(f'{way[-1]:.2f}' for way in result['way'])}; {failed[name]} of 5 end more than 0.1 off."
            for name, result in coins.items()
        )
        + " The plain game swings between 0 and 1; with R1 all runs come to rest near 0.3.",
    )
    claims.show(
        Claim(
            "plain: coins of 5 that end more than 0.1 off",
            "“a probability of 0.3” is learned (CS909)",
            failed["plain"],
            at_least=1,
        ),
        Claim("plain, no momentum: the same", "not in the lecture", failed["plain, no momentum"]),
        Claim("R1: the same", "not in the lecture", failed["R1, γ = 1"], at_most=0),
        Claim(
            "R1: how far the mean toss ends from the share of heads, worst of 5",
            "not in the lecture",
            max(coins["R1, γ = 1"]["off"]),
            at_most=0.1,
        ),
        Claim(
            "R1: how far D ends from ½, worst of 5",
            "“you (and its discriminator) wouldn't be able to tell” (CS909)",
            max(coins["R1, γ = 1"]["unsure"]),
            at_most=0.05,
        ),
    )

# %% [markdown]
# The plain game fails in most runs, and not for want of rounds: it swings from all heads to all tails and back, as the Dirac-GAN does. One penalty stops it. And note the middle: without momentum most runs come near even without R1, though some still swing. Momentum helps where a function is to be minimised. In a game it carries both players past the equilibrium.
# So what a GAN "does" is a statement about its optimiser as well; one run with one seed shows nothing.
#
# ## 6  How good are the samples?
#
# CS909 ("Performance Assessment of Generative Models") lists metrics. Two of its pairs are one thing each: the **earth mover's distance** *is* the 1-Wasserstein distance, and KID stands in two rows. Three ideas carry most of the list:
#
# **Maximum mean discrepancy.** Choose a similarity, here $k(x, y) = \exp\big(-\lVert x - y\rVert^2 / 2\sigma^2\big)$. If two sets come from one distribution, members of different sets are as similar as members of the same set. The unbiased estimate from $n$ and $m$ samples leaves out the pairs of a sample with itself:
#
# $$ \mathrm{MMD}^2 = \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j) - \frac{2}{nm} \sum_{i, j} k(x_i, y_j). $$
#
# Its expectation is 0 for equal distributions, so it comes out negative about half of the time (and always, between a set and itself). KID is this with a polynomial kernel, in the features of the Inception network.
#
# **Wasserstein distance.** In one dimension it is the area between the two distribution functions, $W_1 = \int \lvert F_x(t) - F_y(t)\rvert\, dt$. For sets of equal size: sort both, and take the mean distance of partners. It sees a far outlier, which MMD with a narrow kernel does not.
#
# **Fréchet distance.** Fit a Gaussian to each set, and take the 2-Wasserstein distance of the two, which has a closed form (Dowson and Landau 1982):
#
# $$ d^2 = \lVert \mu_x - \mu_y \rVert^2 + \operatorname{tr}\Sigma_x + \operatorname{tr}\Sigma_y - 2 \operatorname{tr}\big(\Sigma_x \Sigma_y\big)^{1/2}. $$
#
# In Inception features this is FID. It sees means and covariances, no more; it is *biased*: the fewer samples, the larger it comes out. Compare only what was measured with equal numbers.

# %% [markdown]
# **Exercise 8.6a · `mmd2`** (2 points · difficulty 3 of 5 · about 20 minutes)
#
# The unbiased estimate, with the Gaussian kernel above.
#
# <details><summary>Hint 1: where to start</summary>
#
# `torch.cdist` gives distances, not their squares. Three kernel matrices: x with x, y with y, x with y.
#
# </details>
#
# <details><summary>Hint 2: the diagonal</summary>
#
# A sample's similarity to itself is 1. So the sum without the diagonal is the whole sum minus $n$, and it has $n(n-1)$ terms.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mmd2", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mmd2(X: Tensor, Y: Tensor, sigma: float) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, lemma 6).

    Args:
        X: samples, shape (n, d), n at least 2.
        Y: samples, shape (m, d), m at least 2.
        sigma: width of the kernel exp(-squared distance / (2 sigma**2)).

    Returns:
        A scalar; 0 in expectation for samples of one distribution, and so negative at times.
    """
    ### BEGIN SOLUTION
    n, m = len(X), len(Y)

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a[:, None] - b).square().sum(-1) / (2 * sigma**2)).sum()

    return (similarity(X, X) - n) / (n * (n - 1)) + (similarity(Y, Y) - m) / (m * (m - 1)) - 2 * similarity(X, Y) / (n * m)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-mmd2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("mmd2", points=2)

with check("three points and two", points=1):
    check.close(
        mmd2(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.0], [2.0]]), 3.0),
        -0.082749,
        rtol=1e-3,
        mistakes={
            "The diagonal was kept: the estimate is biased. Leave out the pairs of a sample with itself.": 0.016135,
            "The kernel divides by σ². It is 2σ².": -0.126154,
            "The kernel divides by 2σ. It is 2σ².": -0.147935,
            "The distance was not squared.": -0.034133,
            "The mixed term counts twice.": 0.823810,
            "The diagonal was left out, but the sums are divided by n². There are n(n − 1) pairs.": -0.817199,
            "The sign is wrong: the mixed term is subtracted, the others are added.": 0.082749,
        },
    )


### BEGIN HIDDEN TESTS
def kernel_sums(X, Y, sigma, power=2):
    """Kernel matrices x-x, y-y, x-y by scipy, in float64."""
    X, Y = (np.asarray(t.detach(), dtype=np.float64) for t in (X, Y))
    return [np.exp(-(distance.cdist(a, b) ** power) / (2 * sigma**2)) for a, b in ((X, X), (Y, Y), (X, Y))]


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)].mean()


with check("fresh samples", points=0.5):
    for n, m, d, dtype in ((2, 2, 1, torch.float64), (3, 7, 2, torch.float64), (5, 5, 5, torch.float64), (6, 4, 3, torch.float32)):
        X, Y = (torch.randn(d, k, generator=check.gen, dtype=dtype).mT for k in (n, m))  # not contiguous
        sigma = float(check.rng.uniform(1.3, 2.5))
        with check.no_side_effects(X, Y):
            got = mmd2(X, Y, sigma)
        check.shape(got, ())
        check.dtype(got, dtype)
        xx, yy, xy = kernel_sums(X, Y, sigma)
        check.close(
            got,
            off_diagonal(xx) + off_diagonal(yy) - 2 * xy.mean(),
            rtol=1e-3,
            atol=1e-6,
            mistakes={
                "The diagonal was kept: the estimate is biased. Leave out the pairs of a sample with itself.": xx.mean() + yy.mean() - 2 * xy.mean(),
                "This is the root. The squared discrepancy is asked for.": math.sqrt(max(off_diagonal(xx) + off_diagonal(yy) - 2 * xy.mean(), 0)),
            },
        )
    X = X.clone().requires_grad_()
    value = mmd2(X, Y, 1.5)
    check.law(value.requires_grad, "gradients flow back to the samples; yours were cut off (detach, .data, or numpy)")
    gradient = torch.autograd.grad(value, X)[0]
    check.law(
        torch.isfinite(gradient).all() and (gradient != 0).any(),
        "the gradient is finite and not 0; a root of a distance of 0 has none",
        mistakes={
            "The root of 0 on the diagonal has no derivative. Square the differences without taking a root first.": lambda: torch.isnan(gradient).any(),
        },
    )

with check("zero on average for one distribution", points=0.5):
    # 300 pairs of sets of 5 and 4: the mean within 5.5 standard errors of 0, less than one false alarm in a million.
    sets = (torch.randn(300, k, 2, generator=check.gen, dtype=torch.float64) for k in (5, 4))
    values = check.run(lambda Xs, Ys: [float(mmd2(X, Y, 1.0)) for X, Y in zip(Xs, Ys, strict=True)], *sets)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    check.law(
        abs(np.mean(values)) <= 5.5 * error,
        f"between sets from one distribution the mean of 300 values is 0 up to {5.5 * error:.3f}; got {np.mean(values):.3f}",
        mistakes={"It is too large on average. Leave out the pairs of a sample with itself.": np.mean(values) > 0},
    )
    X = torch.randn(6, 2, generator=check.gen, dtype=torch.float64)
    check.law(mmd2(X, X, 1.0) < 0, f"between a set and itself the unbiased estimate is negative; got {float(mmd2(X, X, 1.0)):.4g}")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 8.6b · `w1`** (1 point · difficulty 3 of 5 · about 15 minutes)
#
# The 1-Wasserstein distance between two sets of numbers, also of different size. `scipy.stats.wasserstein_distance` is off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Both distribution functions are steps. Sort all $n + m$ numbers together; between two neighbours neither function changes, so the area is a sum of rectangles.
#
# </details>
#
# <details><summary>Hint 2: the heights of the rectangles</summary>
#
# `torch.searchsorted(sorted_x, t, right=True) / n` is the share of $x$ that is at most $t$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "w1", "locked": false, "schema_version": 3, "solution": true, "task": false}
def w1(x: Tensor, y: Tensor) -> Tensor:
    """1-Wasserstein (earth mover's) distance of two sets of numbers.

    Args:
        x: samples, shape (n,).
        y: samples, shape (m,).

    Returns:
        A scalar: the area between the two empirical distribution functions.
    """
    ### BEGIN SOLUTION
    ends = torch.cat([x, y]).sort().values
    below = [torch.searchsorted(t.sort().values, ends[:-1].contiguous(), right=True).to(x.dtype) / len(t) for t in (x, y)]
    return ((below[0] - below[1]).abs() * ends.diff()).sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-w1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("w1", points=1)
READY_MADE_W1 = ("scipy.stats.wasserstein_distance", "scipy.stats.wasserstein_distance_nd")

with check("three numbers and three, two and three", points=0.5, off_limits=READY_MADE_W1):
    check.close(
        w1(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([-1.0, 1.0, 7.0])),
        1.666667,
        rtol=1e-4,
        mistakes={
            "The numbers were paired as they came. Sort both first.": 3.666667,
            "This is the difference of the means. Mass that is moved left and right does not cancel.": 1.0,
            "The distances were squared. Take them as they are.": 5.666667,
            "This is a sum. Take the mean over the pairs.": 5.0,
            "This is the largest gap between the distribution functions. Take the area between them.": 0.333333,
        },
    )
    check.close(
        w1(torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 0.0, 4.0])),
        1.5,
        rtol=1e-4,
        mistakes={
            "The longer set was cut off. Each of the n numbers weighs 1/n, each of the m 1/m.": 1.0,
            "This is the difference of the means. Mass that is moved left and right does not cancel.": 0.5,
        },
    )

### BEGIN HIDDEN TESTS
scipy_w1 = stats.wasserstein_distance  # the real one: the door is closed to the answer only

with check("fresh numbers of different count", points=0.5, off_limits=READY_MADE_W1):
    for n, m, dtype in ((1, 1, torch.float64), (1, 6, torch.float64), (5, 3, torch.float64), (12, 12, torch.float64), (40, 23, torch.float32)):
        x = torch.randn(2 * n, generator=check.gen, dtype=dtype)[::2]  # not contiguous
        y = 2 * torch.randn(m, generator=check.gen, dtype=dtype).round(decimals=1) + 0.5  # with ties
        want = scipy_w1(x.numpy(), y.numpy())
        with check.no_side_effects(x, y):
            got = w1(x, y)
        check.shape(got, ())
        check.dtype(got, dtype)
        check.close(
            got,
            want,
            rtol=1e-4,
            mistakes={
                "The longer set was cut off. Each of the n numbers weighs 1/n, each of the m 1/m.": lambda: (
                    (x.sort().values[: min(n, m)] - y.sort().values[: min(n, m)]).abs().mean()
                ),
                "This is the difference of the means. Mass that is moved left and right does not cancel.": lambda: abs(x.mean() - y.mean()),
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 8.6c · `frechet`** (2 points · difficulty 4 of 5 · about 20 minutes)
#
# The (squared) Fréchet distance $d^2$ of two sets of vectors, with covariances that divide by $n - 1$. torchmetrics' FID and the course's own `metrics.quality` are off limits; torch.linalg and scipy.linalg are yours.
#
# <details><summary>Hint 1: where to start</summary>
#
# `torch.cov(X.T)` gives a covariance matrix for vectors in rows. The trace of $(\Sigma_x \Sigma_y)^{1/2}$ is the sum of the roots of the eigenvalues of $\Sigma_x \Sigma_y$, which are real and not negative, although the product is not symmetric.
#
# </details>
#
# <details><summary>Hint 2: complex numbers, NaN, and one dimension</summary>
#
# Rounding can make an eigenvalue $-10^{-17}$ or give it a tiny imaginary part: take the real part, and at least 0, before the root. Or use the symmetric $\Sigma_x^{1/2} \Sigma_y \Sigma_x^{1/2}$, which has the same eigenvalues. For $d = 1$ `torch.cov` returns a number: `torch.atleast_2d`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "frechet", "locked": false, "schema_version": 3, "solution": true, "task": false}
def frechet(X: Tensor, Y: Tensor) -> Tensor:
    """Fréchet distance of the Gaussians fitted to two sets of vectors (Heusel et al. 2017, without their network).

    Args:
        X: vectors, shape (n, d), n at least 2; n may be less than d.
        Y: vectors, shape (m, d), m at least 2.

    Returns:
        A real scalar, dtype of ``X``: squared distance of the means + tr(Sx) + tr(Sy) - 2 tr((Sx Sy)^(1/2)).
    """
    ### BEGIN SOLUTION
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    values, vectors = torch.linalg.eigh(Sx)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    shared = torch.linalg.eigvalsh(root @ Sy @ root).clamp(min=0).sqrt().sum()
    return (X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() - 2 * shared
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-frechet", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("frechet", points=2)
READY_MADE_FRECHET = (
    "dlcourse_utils.metrics.quality",
    "dlcourse_utils.metrics._frechet",
    "torchmetrics.image.fid.FrechetInceptionDistance.compute",
    "torchmetrics.image.fid._compute_fid",
)

with check("one dimension, and a set and itself", points=1, off_limits=READY_MADE_FRECHET):
    check.close(
        frechet(torch.tensor([[0.0], [2.0]], dtype=torch.float64), torch.tensor([[3.0], [7.0]], dtype=torch.float64)),
        18.0,
        rtol=1e-4,
        mistakes={
            "The covariances divide by n. Divide by n - 1.": 17.0,
            "The mixed term was added. It is subtracted.": 34.0,
            "The means were left out.": 2.0,
            "The distance of the means was not squared.": 6.0,
            "The mixed term is missing.": 26.0,
            "The mixed term counts twice.": 22.0,
            "This is the root. Fréchet distances are reported squared.": 4.242641,
            "The root is missing in the mixed term: it is the trace of the root of the product.": -6.0,
        },
    )
    line_of_three = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]], dtype=torch.float64)
    check.close(frechet(line_of_three, line_of_three), 0.0, atol=1e-5)


### BEGIN HIDDEN TESTS
def nuclear(X, Y, ddof=1):
    """The same from the singular values of the centred sets: tr (Sx Sy)^(1/2) is their nuclear norm."""
    X, Y = (np.asarray(t, dtype=np.float64) for t in (X, Y))
    a, b = ((t - t.mean(0)) / math.sqrt(len(t) - ddof) for t in (X, Y))
    return ((X.mean(0) - Y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()


def by_diagonals(X, Y):
    """What comes out if only the variances are looked at."""
    return float((X.mean(0) - Y.mean(0)).square().sum() + (X.std(0) - Y.std(0)).square().sum())


def entrywise(X, Y):
    """What comes out if the root is taken entry by entry."""
    Sx, Sy = torch.cov(X.mT), torch.cov(Y.mT)
    return float((X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() - 2 * (Sx @ Sy).sqrt().trace())


with check("fresh sets", points=0.5, off_limits=READY_MADE_FRECHET):
    for n, m, d, dtype in (
        (2, 2, 1, torch.float64),
        (9, 6, 3, torch.float64),
        (30, 30, 5, torch.float64),
        (3, 4, 6, torch.float64),
        (40, 25, 4, torch.float32),
    ):
        mix = torch.randn(d, d, generator=check.gen, dtype=dtype)
        X, Y = torch.randn(d, n, generator=check.gen, dtype=dtype).mT, torch.randn(m, d, generator=check.gen, dtype=dtype) @ mix + 0.5
        with check.no_side_effects(X, Y):
            got = frechet(X, Y)
        check.law(
            not isinstance(got, Tensor) or not got.is_complex(),
            "a real number; got a complex one",
            mistakes={"Take the real part of the eigenvalues, or of sqrtm.": True},
        )
        check.shape(got, ())
        check.dtype(got, dtype)
        check.finite(got)
        check.close(
            got,
            nuclear(X, Y),
            rtol=1e-3 if dtype == torch.float32 else 1e-5,
            atol=1e-5,
            mistakes={
                "The covariances divide by n. Divide by n - 1.": lambda: nuclear(X, Y, ddof=0),
                "Only the variances were compared. The covariances count as well.": lambda: by_diagonals(X, Y),
                "The root was taken entry by entry. It is the root of a matrix: the roots of its eigenvalues.": lambda: entrywise(X, Y),
            },
        )

with check("what a linear map costs, in closed form", points=0.5, off_limits=READY_MADE_FRECHET):
    for d in (1, 2, 4):
        # y = x A + b with a symmetric positive A is the cheapest way from one Gaussian to the other: its cost is |b|^2 + tr((A - 1) S (A - 1)) for centred x.
        X = torch.randn(20, d, generator=check.gen, dtype=torch.float64)
        X = X - X.mean(0)
        factor = torch.randn(d, d, generator=check.gen, dtype=torch.float64)
        A, b = factor @ factor.mT + 0.1 * torch.eye(d, dtype=torch.float64), torch.randn(d, generator=check.gen, dtype=torch.float64)
        want = b.square().sum() + (X @ A - X).square().sum() / 19
        check.close(frechet(X, X @ A + b), want, rtol=1e-5)
        check.close(frechet(X @ A + b, X), want, rtol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 7  Digits, and what collapse looks like
#
# From a coin to images: CS909 ("How to go from generating coin flips to images?") rightly warns against one GAN for each pixel. Pixels depend on each other; a generator with 64 outputs learns them together. Ours makes 8 × 8 digits from 32 numbers of noise, with two hidden layers of 128 units in both networks, your steps, and no labels.
# 1500 rounds with batches of 64 and Adam at the momentum of 0.5 that most GAN code uses; then we draw 450 images from a running mean of the generator's weights (each new one counts 0.5 %), which wobbles less than the generator itself.
#
# Four numbers judge them. They come from `dlcourse_utils.metrics`, the same for all lectures on generative models:
# - **Fréchet distance** to the training images, in 32 features of a small digits classifier. Yours on the same features must agree;
# - **accuracy**: how often the classifier sees the digit that was asked for (conditional models only);
# - **coverage**: the share of the rarest digit. 0.1 is even; 0 means that a digit has been lost;
# - **nearest**: mean distance to the nearest training image. Copies would be much nearer than new real digits are.
#
# Real test images and noise stand at the ends of the table. Everything is trained twice, without R1 and with it.


# %% nbgrader={"grade": false, "grade_id": "experiment-digits", "locked": true, "schema_version": 3, "solution": false, "task": false}
NOISE = 32  # numbers that an image is made of
digits = data.load("digits").torch()


class Labelled(nn.Module):
    """A generator of pairs: noise and a one-hot label (n, NOISE + 10) to an image and the same label (n, pixels + 10)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, noise: Tensor) -> Tensor:
        return torch.cat([self.net(noise), noise[:, NOISE:]], dim=1)


def noise_for(labels: Tensor, conditional: bool) -> Tensor:
    """Fresh noise, one row a label; with the one-hot label behind it if the model is conditional."""
    z = torch.randn(len(labels), NOISE, device=labels.device)
    return torch.cat([z, F.one_hot(labels, 10).to(z)], dim=1) if conditional else z


def train_gan(seed: int, gamma: float = 1.0, conditional: bool = False, momentum: float = 0.5, name: str = "digits", rounds: int = 1500) -> nn.Module:
    """A running mean of the generator of a GAN on the images of ``data.load(name)``; a conditional one makes pairs (see Labelled)."""
    where = device.pick()
    split = data.load(name).torch(where)
    real, classes = (torch.cat([split.x_train, F.one_hot(split.y_train, 10)], dim=1), 10) if conditional else (split.x_train, 0)
    training.seed_everything(seed)
    net = nn.Sequential(mlp(NOISE + classes, 128, 128, split.x_train.shape[1]), nn.Sigmoid())
    G, D = (Labelled(net) if conditional else net).to(where), mlp(real.shape[1], 128, 128, 1).to(where)
    opt_g, opt_d = (torch.optim.Adam(player.parameters(), lr=0.002, betas=(momentum, 0.9), fused=True) for player in (G, D))
    penalty = (lambda D, x: gamma / 2 * r1_penalty(D, x)) if gamma else None
    mean = AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    for _ in training.progress(range(rounds), desc=f"{'conditional ' if conditional else ''}GAN, γ = {gamma:g}"):
        labels = torch.randint(10, (2, 64), device=where)
        d_step(G, D, opt_d, real[torch.randint(len(real), (64,), device=where)], noise_for(labels[0], conditional), penalty)
        g_step(G, D, opt_g, noise_for(labels[1], conditional))
        mean.update_parameters(G)
    return mean.module


def draw_images(G: nn.Module, conditional: bool = False) -> tuple[Tensor, Tensor]:
    """``metrics.SAMPLES`` images (n, pixels) on the CPU, and the labels that were asked for: 0 to 9 in turns."""
    labels = torch.arange(metrics.SAMPLES, device=next(G.parameters()).device) % 10
    with torch.no_grad():
        made = G(noise_for(labels, conditional)).cpu()
    return (made[:, :-10] if conditional else made), labels.cpu()


def gan_quality(seed: int, gamma: float = 1.0) -> metrics.Quality:
    """Train the GAN on digits and judge 450 of its images."""
    images, _ = draw_images(train_gan(seed, gamma))
    return metrics.quality(images, real=digits.x_train)


def cgan_quality(seed: int) -> metrics.Quality:
    """Train the conditional GAN on digits and judge 450 of its images, with their labels."""
    images, labels = draw_images(train_gan(seed, conditional=True), conditional=True)
    return metrics.quality(images, real=digits.x_train, labels=labels)


# %% nbgrader={"grade": false, "grade_id": "experiment-digits-run", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("d_loss", "g_loss", "d_step", "g_step", "r1_penalty", "frechet"):
    made = {name: draw_images(train_gan(0, gamma))[0] for name, gamma in (("GAN without R1", 0.0), ("GAN with R1", 1.0))}
    ends = metrics.ends()
    rows = {name: metrics.quality(images, real=digits.x_train) for name, images in made.items()}
    shares = {name: torch.bincount(metrics.classify(images), minlength=10) / len(images) for name, images in made.items()}
    lost = {name: int((share < 0.01).sum()) for name, share in shares.items()}
    own = float(frechet(metrics.features(made["GAN with R1"]).double(), metrics.features(digits.x_train).double()))
    metrics.show(rows)

    fig, axes = plotting.subplots(3, 2, width=11, height=5.6)
    for ax, (name, images) in zip(axes[0], {"real": digits.x_train, **made}.items(), strict=True):
        plotting.sheet(ax, images[:70].reshape(-1, 8, 8))
        ax.set_title(name)
    for ax, (name, share) in zip(axes[1], {"real": torch.bincount(digits.y_train, minlength=10) / len(digits.y_train), **shares}.items(), strict=True):
        ax.bar(range(10), share, color=plotting.COLOURS[0])
        ax.axhline(0.1, color="black", linestyle="--", linewidth=1)
        ax.set(
            xticks=range(10),
            xlabel="digit, as the classifier sees it" if name != "real" else "digit",
            ylim=(0, max(0.2, float(share.max()) * 1.1)),
        )
    axes[1, 0].set_ylabel("share")
    plotting.show(
        fig,
        alt="Top: seventy real digits; seventy images of the GAN without R1, rough and of a few kinds only; seventy of the GAN with R1, which are varied and mostly legible. Bottom: the share of each digit. Real ones are even, near 0.1. "
        + " ".join(f"{name}: {', '.join(f'{float(s):.2f}' for s in share)}; {lost[name]} digits below 0.01." for name, share in shares.items()),
    )
    claims.show(
        Claim("Fréchet distance without R1", "not in the lecture", rows["GAN without R1"].frechet, at_least=10),
        Claim(
            "share of its rarest digit",
            "“coverage: how well the generated samples cover the variety” (CS909)",
            rows["GAN without R1"].coverage,
        ),
        Claim("Fréchet distance with R1", "not in the lecture", rows["GAN with R1"].frechet, at_most=8),
        Claim("share of the rarest digit with R1", "the same", rows["GAN with R1"].coverage, at_least=0.03),
        Claim(
            "distance to the nearest training image, by that of real test images",
            "not in the lecture",
            rows["GAN with R1"].nearest / ends["real test images"].nearest,
            at_least=0.95,
        ),
        Claim(
            "your `frechet` on the same features, by the library's",
            "not in the lecture",
            own / rows["GAN with R1"].frechet,
            at_least=0.99,
            at_most=1.01,
        ),
    )

# %% [markdown]
# This is **mode collapse**, and no picture is needed to find it: the coverage is near 0. (It was below 0.005 in four of six seeds. In the others the generator happened to be in between, at 0.02 and 0.05 with distances of 35 and 16, so only the distance is held to a band.) The discriminator without a penalty becomes steep, the generator runs to wherever it is fooled at the moment, and whole digits are never made again.
# Note two things. One by one, many of its images look more like digits than noise does, and yet the Fréchet distance is as bad as that of noise or worse: it judges a set, not its members. And the distance to the nearest training image is hardly larger than with R1. The optimiser has its say here, too: with `momentum=0.0` plain training escaped collapse in three of four seeds, at distances of 7 to 9, and with R1 it reached 2. Try `train_gan(1, 0.0, momentum=0.0)`.
# For larger images give it `name="mnist"`, or `"fashion-mnist"`, or `"cifar10"`. They are downloaded once and take longer; the four numbers are for 8 × 8 digits only.
#
# ## 8  Ask for a digit
#
# A **conditional** model learns $p(x \mid y)$ in place of $p(x)$ (CS909, "Unconditional vs Conditional Generation"). Both players get the label as ten more inputs (Mirza and Osindero 2014). We let the generator pass its label on, so that it makes *pairs* of image and label, and the discriminator judges whether the pair is real.
# A good 3 with the label 8 is then a fake like any other. Nothing else changes: your steps do not even notice.


# %% nbgrader={"grade": false, "grade_id": "experiment-conditional", "locked": true, "schema_version": 3, "solution": false, "task": false}
def walk(G: nn.Module, digit: int, steps: int = 9, seed: int = 0) -> Tensor:
    """Images (steps, 64) of one digit along the first principal direction of the last hidden layer, -2.5 to 2.5 deviations."""
    layers = G.net[0]
    training.seed_everything(seed)
    with torch.no_grad():
        hidden = layers[:-1](noise_for(torch.full((1000,), digit, device=next(G.parameters()).device), conditional=True))
        _, spread, directions = torch.linalg.svd(hidden - hidden.mean(0), full_matrices=False)
        scale = spread[0] / math.sqrt(len(hidden) - 1)
        along = torch.linspace(-2.5, 2.5, steps, device=hidden.device)[:, None]
        return torch.sigmoid(layers[-1](hidden.mean(0) + along * scale * directions[0])).cpu()


# %% nbgrader={"grade": false, "grade_id": "experiment-conditional-run", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("d_loss", "g_loss", "d_step", "g_step", "r1_penalty"):
    conditional = train_gan(0, conditional=True)
    asked, labels = draw_images(conditional, conditional=True)
    judged = metrics.quality(asked, real=digits.x_train, labels=labels)
    metrics.show({"conditional GAN, R1": judged} | rows)

    fig, (left, right) = plotting.subplots(2, width=11, height=3.6)
    plotting.sheet(left, asked[:40].reshape(-1, 8, 8))
    left.set_title("Asked for 0 to 9, four times")
    plotting.sheet(right, torch.cat([walk(conditional, digit) for digit in (0, 3, 4, 7)]).reshape(-1, 8, 8), columns=9)
    right.set_title("Along a principal direction of the last hidden layer")
    plotting.show(
        fig,
        alt=f"Left: four rows of the digits 0 to 9 as asked for; the classifier sees the right digit in {judged.accuracy:.3f} of 450. "
        "Right: four rows, the digits 0, 3, 4 and 7, each changing its slant and thickness smoothly from left to right while it stays that digit.",
    )
    claims.show(
        Claim("asked for and seen: accuracy", "“generating images for a given digit” (CS909)", judged.accuracy, at_least=0.9),
        Claim("Fréchet distance, conditional", "not in the lecture", judged.frechet, at_most=4),
        Claim("Fréchet distance, the GAN without labels", "not in the lecture", rows["GAN with R1"].frechet),
        Claim(
            "distance to the nearest training image, by that of real test images",
            "not in the lecture",
            judged.nearest / ends["real test images"].nearest,
            at_least=0.95,
        ),
    )

# %% [markdown]
# Labels help: the conditional GAN is told how many kinds of image there are. Its Fréchet distance comes close to that of *real* test images, or even below. That does not make its digits as good as real ones, as the accuracy says, and the grid: most can be read at once, but several of the 1s, 2s, 8s and 9s are smudged, as no real one is. The metric compares means and covariances of 32 features and is blind to the rest.
# No single number settles how good a generator is; look at the grid, too.
#
# On the right, the first principal direction of the activations of one digit: unsupervised, and yet it has a meaning to the eye. The first set of lecture notes ("Interpreting the Latent Space of Generative Models") shows the same with satellite images, where such a direction adds or removes buildings.
#
# ## 9  Turn the knobs
#
# The coin GAN of section 5, live. Left, the mean toss over the rounds; right, what the generator has made of $z$, and the step that it should be. Set γ to 0 and watch the players circle; then raise it, or take the momentum away. How small may γ be?


# %% nbgrader={"grade": false, "grade_id": "widget-coin", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
def draw_coin_gan(gamma: float, momentum: float, p: float, seed: int) -> tuple[Figure, str]:
    """One coin GAN of 200 rounds: the way of its mean toss, and its generator."""
    flips = tosses_of(p, 1024, seed)
    G, _, way = play_coin(flips, seed, gamma, momentum, rounds=200)
    share = float(flips.mean())
    z = torch.linspace(-3, 3, 121)[:, None]
    with torch.no_grad():
        curve = G(z).flatten()
    mean, above = heads(G)
    fig, (left, right) = plotting.subplots(2, width=7.2, height=3)
    left.plot(np.arange(len(way)) * 10, way, color=plotting.COLOURS[0], linestyle="-")
    left.axhline(share, color="black", linestyle="--", linewidth=1)
    left.set(xlabel="round", ylabel="mean toss", ylim=(-0.03, 1.03), title=f"ends {abs(mean - share):.2f} off")
    right.plot(z.flatten(), curve, color=plotting.COLOURS[0], linestyle="-", label="generator")
    edge = special.ndtri(1 - share if curve[-1] >= curve[0] else share)
    ideal = (z.flatten() > edge) if curve[-1] >= curve[0] else (z.flatten() < edge)
    right.plot(z.flatten(), ideal.float(), color="black", linestyle="--", linewidth=1, label="ideal step")
    right.set(xlabel="z", ylabel="toss", ylim=(-0.03, 1.03), title=f"{above:.0%} above ½")
    right.legend(loc="center left", fontsize=8)
    alt = (
        f"The mean toss swings between {min(way[5:]):.2f} and {max(way[5:]):.2f} after round 50 and ends at {mean:.2f}, where {share:.2f} of the tosses are heads. "
        f"The generator goes from {float(curve[0]):.2f} at z = -3 to {float(curve[-1]):.2f} at z = 3; {above:.2f} of its samples lie above one half."
    )
    return fig, alt


with checks.uses("d_loss", "g_loss", "d_step", "g_step", "r1_penalty"):
    widgets.explore(
        draw_coin_gan,
        sliders={
            "gamma": (0.0, 2.0, 0.1, 1.0),
            "momentum": (0.0, 0.9, 0.1, 0.9),
            "p": (0.1, 0.9, 0.1, 0.3),
            "seed": (0, 9, 1, 0),
        },
        twin=[{"gamma": 0.0}, {"gamma": 0.1}, {"gamma": 1.0}, {"gamma": 0.0, "momentum": 0.0}],
        title="The coin GAN, with and without its penalty",
    )

# %% [markdown]
# ## 10  Written question
#
# (a) CS909 gives two losses for the generator, joined by "OR equivalently". For one fake with $D(G(z)) = 10^{-4}$ compute the logit and both derivatives by the logit. In which sense are the two losses equivalent, and in which are they not? Would a learning rate 9999 times larger repair the saturating one? Think of a batch in which
# other fakes have $D(G(z)) = \tfrac12$. (2 points)
#
# (b) The slide's coin has $p(H) = 0.7$, its ten tosses show six heads, and the code tosses with 0.3. Which of these can a generator trained on the ten tosses reproduce at best, and why not the others? By what factor are the ten tosses likelier under 0.7 than under 0.3? Say how slide and code could both be right about one coin. (2 points)
#
# Five to ten sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
# (a) $\ell = \log\frac{10^{-4}}{1 - 10^{-4}} = -9.210$. With $L^{\text{ns}} = -\log\sigma(\ell)$ and $L^{\text{sat}} = \log(1 - \sigma(\ell))$ the derivatives are $-(1 - D) = -0.9999$ and $-D = -0.0001$: a factor of $(1 - D)/D = 9999$.
# Both fall as $D$ rises, so both have the same goal and, for *one* fake, the same direction in the generator's parameters, since $\partial L/\partial\theta = (\partial L/\partial\ell)\,(\partial\ell/\partial\theta)$. They are not equivalent for gradient descent, because the factor depends on $D$.
# A larger learning rate scales all fakes alike. In a batch where others have $D = \tfrac12$, both losses give those a derivative of $-\tfrac12$; times 9999 the saturating one would hurl them away while it moves the bad fake as the other loss does. Within a batch the saturating loss listens to the best fakes and the
# non-saturating one to the worst, so even the direction of the step differs.
#
# (b) The generator sees only the tosses. The best it can do is their share of heads, 0.6. It is not told 0.7: ten tosses of that coin have a standard error of $\sqrt{0.7 \cdot 0.3/10} = 0.145$, so 0.6 is an ordinary outcome. The 0.3 of the code belongs to other data.
# Likelihood ratio: $\frac{0.7^6\, 0.3^4}{0.3^6\, 0.7^4} = (7/3)^2 = 5.4$ in favour of 0.7. Slide and code agree if "heads" names opposite faces: a coin with $p(H) = 0.7$ has $p(T) = 0.3$, and the code encodes one face as 1. Otherwise they are two coins.
### END SOLUTION
### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: logit −9.21 (half) and both derivatives, −0.9999 and −0.0001 (half).
# - (a) 1 point: same minimum, or same direction for a single fake (half); the factor (1 − D)/D differs from fake to fake, so no learning rate makes up for it (half).
# - (b) 1 point: 0.6, the share in the data, is all that can be learned (half); 0.7 is within sampling error of it or 0.3 belongs to other data (half).
# - (b) 1 point: the likelihood ratio (7/3)² = 5.4 (half); heads and tails may be renamed (half).
#
# Accept for (a) that Adam's normalisation hides a constant factor, if it is said that the factor is not constant within a batch.
### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - Uniform numbers through a quantile function have its distribution. A GAN learns such a map from samples alone; it is an implicit model, with no density to evaluate.
# - Compute both losses from logits. The non-saturating generator loss has the derivative $-(1 - D)$, the saturating one $-D$: at $D = 10^{-4}$ nearly ten thousand times less.
# - Cut the fakes off in the discriminator's step, never in the generator's; empty the gradients before each.
# - The best discriminator is $p/(p+q)$, and the value of the game $-\log 4 + 2\,\mathrm{JSD}$, which does not say how far apart two distributions without overlap are.
# - Plain gradient play circles its equilibrium, momentum makes it worse, R1 is friction. One run of one seed shows nothing.
# - MMD compares similarities, $W_1$ moves mass, Fréchet compares Gaussians. Each is blind to something, so report several, with equal numbers of samples.
# - Mode collapse is a coverage near 0. Labels help.
#
# **Reading on** Goodfellow et al., NeurIPS 2014; Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", ICML 2018; Gidel et al., "Negative momentum for improved game dynamics", AISTATS 2019; Heusel et al., NeurIPS 2017; Gretton et al., JMLR 2012.
#
# **Next:** 09-diffusion learns to remove noise step by step, and needs no second player.
