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
# # 09 · Diffusion models
#
# Adding noise to a picture is easy, and a picture with a little noise taken off is nearly a picture. A diffusion model is trained on nothing but that: to say which noise was added. Applied a hundred times, from pure noise on, it draws pictures
# that nobody has seen. In this notebook you write every part of one, train it to write digits on demand, and measure how good they are, how few steps will do, and whether it only remembers what it was shown.
#
# **You will be able to**
# - jump to any noise level in one step, and choose a schedule that ends in noise;
# - derive and code the loss, the posterior of one step back, and the sampler that walks all of them;
# - say why the lecture's one-step formula cannot work, whatever the network;
# - skip steps with DDIM, read a noise predictor as a score, and guide it towards a class;
# - train a class-conditional diffusion model from your own parts;
# - tell a model that generalises from one that memorises, by a number.
#
# | | |
# |---|---|
# | Time and points | about 280 minutes, 36 points |
# | of which | exercises: 195 minutes, 32 points; written question: 25 minutes, 4 points; reading and experiments: 60 minutes |
# | Running time | about 35 seconds on one CPU core, once everything is filled in |
# | You need | PyTorch tensors and `nn.Module`; the normal distribution; 07-autoencoder and 08-gan help, to compare with |
#
# **Lecture sections it follows.** F. Minhas, *CS909 Data Mining* (Warwick), "Generative machine learning" and "Diffusion Models". Y. M. Asano, *Deep Learning*, MLx Fundamentals 2024, the slide on text-to-image models.
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
# Everything is torch. Compute in the dtype and on the device that you are given; change no argument; draw random numbers from the generator `gen` that you are given, never from the global one.
#
# **Steps are counted from 0.** `t = 0` is the least noise and `t = T - 1` the most; the papers count from 1 to $T$. Where a formula asks for the level *before* step 0 it means no noise at all: $\bar\alpha_{-1} = 1$.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import functools
import math
from collections.abc import Callable

import matplotlib.figure
import numpy as np
import torch
import torch.nn.functional as F
from scipy import optimize, stats
from torch import Tensor, nn

from dlcourse_utils import checks, claims, data, device, metrics, plotting, training, widgets
from dlcourse_utils.claims import Claim

Schedule = tuple[Tensor, Tensor, Tensor]  # (beta, alpha, abar), each float64 of shape (T,)
NoisePredictor = Callable[[Tensor, Tensor], Tensor]  # (x, t) -> eps: x of shape (N, ...), t int64 (N,), eps like x

torch.set_num_threads(1)  # these models are tiny: more threads only get in each other's way
digits = data.load("digits").torch()  # 1347 images of 8x8 to learn from, 450 to compare with; pixels from 0 to 1

# %% [markdown]
# ## 1  How fast to forget
#
# The **forward process** takes data $x_0$ and adds a little noise, $T$ times. Step $t$ keeps a share $\alpha_t = 1 - \beta_t$ of the variance and fills up with fresh noise:
#
# $$ x_t = \sqrt{\alpha_t}\; x_{t-1} + \sqrt{\beta_t}\; \epsilon_t, \qquad \epsilon_t \sim \mathcal N(0, I). $$
#
# The roots make variances add up to one: $\alpha_t + \beta_t = 1$, so data of unit variance keeps it. What is left of $x_0$ after steps $0 \dots t$ is the product of what each step keeps,
#
# $$ \bar\alpha_t = \alpha_0\, \alpha_1 \cdots \alpha_t . $$
#
# A **schedule** chooses the $\beta_t$. It has to end in noise, $\bar\alpha_{T-1} \approx 0$, because sampling will *start* from pure noise. Two are common:
#
# - **linear** (Ho and others, 2020): $\beta_t$ equally spaced. They used $10^{-4} \dots 0.02$ for $T = 1000$. With fewer steps each must do more: from $0.1/T$ to $20/T$, which is the same at $T = 1000$. Their numbers at $T = 100$ leave $\bar\alpha_{T-1} = 0.36$: the model would never see pure noise.
# - **cosine** (Nichol and Dhariwal, 2021): choose $\bar\alpha$ and let $\beta$ follow, $\bar\alpha_t = f(t+1)/f(0)$ with $f(k) = \cos^2\!\big(\tfrac{k/T + 0.008}{1.008}\cdot\tfrac{\pi}{2}\big)$, hence $\beta_t = 1 - f(t+1)/f(t)$. The last $\beta$ would be 1, and $\bar\alpha$ exactly 0: later formulas divide by it.
#
# So in either kind $\beta_t$ is **at most 0.999**, and $\bar\alpha$ is the product of the $\alpha_t = 1 - \beta_t$ after that.

# %% [markdown]
# **Exercise 9.1 · `schedule`** (3 points · difficulty 1 of 5 · about 15 minutes)
#
# Write both schedules, in float64: `abar` is a product of up to a thousand factors, and $1 - \bar\alpha_0$ is a small difference.
#
# <details><summary>Hint 1: where to start</summary>
#
# `torch.linspace(…, dtype=torch.float64)` gives the linear one. For the cosine, compute $f$ at all $T + 1$ points at once and divide neighbours: `f[1:] / f[:-1]`.
#
# </details>
#
# <details><summary>Hint 2: the product</summary>
#
# Clip `beta` first; `alpha` and then `abar` (a cumulative product, `cumprod`) follow from the clipped one.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "schedule", "locked": false, "schema_version": 3, "solution": true, "task": false}
def schedule(T: int, kind: str = "linear") -> Schedule:
    """A noise schedule of T steps.

    Args:
        T: number of steps, at least 2.
        kind: ``linear`` (beta equally spaced from 0.1/T to 20/T) or ``cosine`` (with offset 0.008).

    Returns:
        beta, alpha = 1 - beta, and abar, the cumulative product of alpha: each float64 of shape (T,), on the CPU. No
        beta is above 0.999.

    Raises:
        ValueError: there is no schedule of that kind.
    """
    ### BEGIN SOLUTION
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = 1 - f[1:] / f[:-1]
    else:
        raise ValueError(f"There is no schedule {kind!r}. There are: linear, cosine.")
    beta = beta.clamp(max=0.999)
    alpha = 1 - beta
    return beta, alpha, alpha.cumprod(0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-schedule", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("schedule", points=3)

with check("linear with 25 steps, cosine with 4", points=1):
    beta, alpha, abar = schedule(25, "linear")
    check.close(
        beta[[0, 1, 24]],
        [0.004, 0.0371667, 0.8],
        atol=1e-6,
        mistakes={
            "The end points do not grow as T shrinks. They are 0.1/T and 20/T.": [0.0001, 0.0009292, 0.02],
            "The steps start from 0. The first beta is 0.1/T.": [0.0, 0.0333333, 0.8],
        },
    )
    check.close(alpha[[0, 1, 24]], [0.996, 0.9628333, 0.2], atol=1e-6)
    check.close(
        abar[[0, 1, 24]],
        [0.996, 0.958982, 0.0000002],
        atol=1e-6,
        mistakes={
            "abar is shifted by one step: abar[0] is alpha[0], not 1.": [1.0, 0.996, 0.0000012],
            "abar is the product of the betas. Take the alphas.": [0.004, 0.0001487, 0.0],
            "abar is a sum. Each step keeps a share of what is left: shares multiply.": [0.996, 1.9588333, 14.95],
        },
    )
    beta, alpha, abar = schedule(4, "cosine")
    check.close(
        abar,
        [0.8470122, 0.4938436, 0.1442721, 0.0001443],
        atol=1e-6,
        mistakes={
            "beta was not clipped to 0.999: the last abar is 0. Clip it first.": [0.8470122, 0.4938436, 0.1442721, 0.0],
            "The offset 0.008 is missing.": [0.8535534, 0.5, 0.1464466, 0.0001464],
            "abar is shifted by one step: it starts at f(0)/f(0) = 1.": [1.0, 0.8470122, 0.4938436, 0.1442721],
            "The cosine was not squared.": [0.9203326, 0.7027401, 0.3798317, 0.0003798],
        },
    )
    check.raises(ValueError, lambda: schedule(10, "square"))

### BEGIN HIDDEN TESTS
with check("linear: as many steps as asked for, in float64", points=1):
    for T in (20, 2, 1000, int(check.rng.integers(30, 400))):
        want = np.minimum(0.1 / T + np.arange(T) * (19.9 / T) / (T - 1), 0.999)
        with check.no_side_effects():
            beta, alpha, abar = schedule(T, "linear")
        for part in (beta, alpha, abar):
            check.dtype(part, torch.float64)
        check.close(beta, want, rtol=1e-10, mistakes={"The end points do not grow as T shrinks. They are 0.1/T and 20/T.": lambda: np.linspace(1e-4, 0.02, T)})
        check.close(alpha, 1 - want, rtol=1e-9)
        logs = np.cumsum(np.log1p(-want))
        check.close(
            abar,
            np.exp(logs),
            rtol=1e-8,
            atol=1e-300,
            mistakes={
                "abar is shifted by one step: abar[0] is alpha[0], not 1.": lambda: np.exp(np.append(0.0, logs[:-1])),
                "abar is the product of the betas. Take the alphas.": lambda: np.cumprod(want),
            },
        )
        check.law(abar[-1] < 0.01, f"the schedule ends in noise: the last abar is below 0.01; with T = {T} yours is {float(abar[-1]):.3g}")

with check("cosine: as many steps as asked for, in float64", points=1):
    for T in (1000, 5, int(check.rng.integers(30, 400))):
        f = np.cos((np.arange(T) / T + 0.008) / 1.008 * np.pi / 2) ** 2  # the factors telescope, all but the clipped last one
        want = np.append(f[1:], 0.001 * f[-1]) / f[0]
        beta, alpha, abar = schedule(T, kind="cosine")
        for part in (beta, alpha, abar):
            check.dtype(part, torch.float64)
        check.close(
            abar,
            want,
            rtol=1e-8,
            atol=1e-12,
            mistakes={
                "beta was not clipped to 0.999: the last abar is 0, and later formulas divide by it.": lambda: np.append(f[1:], 0) / f[0],
                "abar is shifted by one step: it starts at f(0)/f(0) = 1.": lambda: f / f[0],
            },
        )
        check.close(abar[1:] / abar[:-1], alpha[1:], rtol=1e-8)
        check.close(alpha + beta, np.ones(T), rtol=1e-12)
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "figure-schedules", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_schedules():
    T = 100
    linear, cosine = (schedule(T, kind)[2] for kind in ("linear", "cosine"))
    unscaled = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    ends = {"linear": linear, "cosine": cosine, "1e-4 … 0.02, not rescaled": (1 - unscaled).cumprod(0)}
    fig, ax = plotting.subplots(width=7.5, height=3.4)
    plotting.curves(ax, ends, xlabel="step t", ylabel=r"what is left, $\bar\alpha_t$", x=np.arange(T))
    ax.set(title="100 steps: two schedules that end in noise, and one that does not")
    plotting.show(
        fig,
        alt="What is left of the data's variance against the step, for 100 steps. "
        + " ".join(f"{name}: {float(abar[25]):.2f} at step 25, {float(abar[50]):.2f} at 50, {float(abar[-1]):.2g} at the end." for name, abar in ends.items()),
    )


with checks.uses("schedule"):
    draw_schedules()

# %% [markdown]
# ## 2  Any noise level in one step
#
# The lecture says that $x_t$ is $x_0$ with noise added, and gives no formula. There is a good one. A sum of independent normal variables is normal, so all the small noises together are *one* noise $\epsilon \sim \mathcal N(0, I)$:
#
# $$ x_t = \sqrt{\bar\alpha_t}\; x_0 + \sqrt{1 - \bar\alpha_t}\; \epsilon . $$
#
# No loop over steps: training can pick any $t$ it likes. Note that the noise does not only come *on top*; the data shrinks too. Without the shrinking no number of steps would end in a distribution that we can sample from.

# %% [markdown]
# **Exercise 9.2 · `q_sample`** (4 points · difficulty 2 of 5 · about 15 minutes)
#
# Every example of a batch has its own step. The data may have any number of axes, as points (N, 2), rows (N, 64) or images (N, C, H, W); `t` belongs to the first.
#
# <details><summary>Hint 1: where to start</summary>
#
# `abar[t]` picks one number an example, shape (N,). For images it has to be (N, 1, 1, 1), or it lines up with the last axis, silently if the sizes happen to fit.
#
# </details>
#
# <details><summary>Hint 2: dtype</summary>
#
# `abar` is float64, and float64 times float32 is float64. `abar.to(x0)` gives it the dtype and the device of `x0`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "q_sample", "locked": false, "schema_version": 3, "solution": true, "task": false}
def q_sample(x0: Tensor, t: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """Data at noise level t (Ho et al. 2020, eq. 4).

    Args:
        x0: data, floating point, shape (N, ...).
        t: the step of each example, int64 from 0 to T - 1, shape (N,).
        eps: standard normal noise, like ``x0``.
        abar: what each step leaves of the data's variance, shape (T,), any floating dtype.

    Returns:
        x_t, with the shape and dtype of ``x0``.
    """
    ### BEGIN SOLUTION
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return left.sqrt() * x0 + (1 - left).sqrt() * eps
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-q_sample", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("q_sample", points=4)

with check("two examples by hand", points=1):
    check.close(
        q_sample(
            torch.tensor([[1.0, 2.0], [0.0, -1.0]]),
            torch.tensor([0, 1]),
            torch.tensor([[10.0, 0.0], [10.0, 10.0]]),
            torch.tensor([0.64, 0.36], dtype=torch.float64),
        ),
        [[6.8, 1.6], [8.0, 7.4]],
        mistakes={
            "The roots are missing: abar is a share of the variance.": [[4.24, 1.28], [6.4, 6.04]],
            "The two coefficients are swapped: step 0 has the least noise.": [[8.6, 1.2], [6.0, 5.2]],
            "t lines up with the last axis. Give abar[t] the shape (N, 1, …).": [[6.8, 1.2], [6.0, 7.4]],
            "The noise is scaled by 1 - sqrt(abar), not sqrt(1 - abar). Variances add up.": [[2.8, 1.6], [4.0, 3.4]],
            "The data does not shrink: x0 is multiplied by sqrt(abar).": [[7.0, 2.0], [8.0, 7.0]],
            "The noise does not shrink: eps is multiplied by sqrt(1 - abar).": [[10.8, 1.6], [10.0, 9.4]],
            "All examples got the step of the first. Each has its own.": [[6.8, 1.6], [6.0, 5.2]],
        },
    )


### BEGIN HIDDEN TESTS
def noised(x0, t, eps, abar):
    """One example after the other, in float64."""
    rows = [math.sqrt(abar[k]) * x0[i].double() + math.sqrt(1 - abar[k]) * eps[i].double() for i, k in enumerate(t.tolist())]
    return torch.stack(rows)


with check("fresh data with other shapes", points=2):
    for shape, dtype in (
        ((1, 3), torch.float64),
        ((4, 4, 4, 4), torch.float32),
        ((3, 3), torch.float64),
        ((5, 1, 2, 3), torch.float64),
        ((6,), torch.float32),
    ):
        x0, eps = (torch.randn(shape[::-1], generator=check.gen, dtype=dtype).permute(*range(len(shape))[::-1]) for _ in range(2))  # not contiguous
        abar = torch.rand(9, generator=check.gen, dtype=torch.float64).sort(descending=True).values
        t = torch.randint(9, (len(x0),), generator=check.gen)
        t[0] = 8
        with check.no_side_effects(x0, t, eps, abar):
            got = q_sample(x0, t, eps, abar)
        check.shape(got, shape)
        check.law(
            got.dtype == dtype,
            f"expected dtype {dtype}, got {got.dtype}",
            mistakes={"abar is float64, and made everything float64. Use abar.to(x0), or convert the result.": got.dtype == torch.float64},
        )

        def across(x0=x0, t=t, eps=eps, abar=abar):
            left = abar[t].to(x0)  # lines up with the last axis
            return left.sqrt() * x0 + (1 - left).sqrt() * eps

        check.close(
            got,
            noised(x0, t, eps, abar),
            rtol=1e-4 if dtype == torch.float32 else 1e-9,
            atol=1e-5,
            mistakes={
                "t lines up with the last axis. Give abar[t] the shape (N, 1, …).": across,
                "The two coefficients are swapped: step 0 has the least noise.": lambda x0=x0, t=t, eps=eps, abar=abar: noised(eps, t, x0, abar),
                "All examples got the step of the first. Each has its own.": lambda x0=x0, t=t, eps=eps, abar=abar: noised(x0, t * 0 + t[0], eps, abar),
            },
        )
    leaf = torch.randn(3, 2, generator=check.gen, dtype=torch.float64, requires_grad=True)
    out = q_sample(leaf, torch.tensor([0, 4, 8]), torch.zeros(3, 2, dtype=torch.float64), abar)
    check.law(out.requires_grad, "gradients flow back to x0; yours were cut off (detach, no_grad or numpy)")
    check.close(torch.autograd.grad(out.sum(), leaf)[0], np.sqrt(abar[[0, 4, 8]].numpy())[:, None] * np.ones((1, 2)))

with check("the same as walking there step by step", points=1):
    alpha = 1 - 0.4 * torch.rand(12, generator=check.gen, dtype=torch.float64)
    mean, variance, walked = 1.0, 0.0, []
    for a in alpha.tolist():  # x becomes sqrt(a) x + sqrt(1 - a) noise
        mean, variance = math.sqrt(a) * mean, a * variance + 1 - a
        walked.append((mean, variance))
    one, none, t = torch.ones(12, 1, dtype=torch.float64), torch.zeros(12, 1, dtype=torch.float64), torch.arange(12)
    for got, want, what in ((q_sample(one, t, none, alpha.cumprod(0)), 0, "data"), (q_sample(none, t, one, alpha.cumprod(0)) ** 2, 1, "noise's variance")):
        expected = np.array([step[want] for step in walked])[:, None]
        check.law(
            np.allclose(got.numpy(), expected, rtol=1e-8),
            f"one jump gives the same share of {what} as {len(walked)} small steps; yours differs by {np.abs(got.numpy() - expected).max():.3g}",
        )
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "figure-noising", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_noising():
    abar, steps = schedule(100)[2], [0, 10, 20, 30, 40, 60, 80, 99]
    gen = torch.Generator().manual_seed(3)
    chosen = torch.stack([digits.x_train[digits.y_train == digit][0] for digit in (2, 3, 7)])
    x0 = (2 * chosen - 1).repeat_interleave(len(steps), 0)  # from -1 to 1, as noise is centred on 0
    x = q_sample(x0, torch.tensor(steps * 3), torch.randn(x0.shape, generator=gen), abar)
    fig, axes = plotting.subplots(len(steps), 3, width=10, height=4.2)
    for ax, picture in zip(axes.flat, x, strict=True):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=-1.5, vmax=1.5)
        ax.set_axis_off()
    for ax, t in zip(axes[0], steps, strict=True):
        ax.set_title(f"t = {t}\n" + rf"$\bar\alpha$ = {float(abar[t]):.2g}", fontsize=10)
    kept = ", ".join(f"{float(abar[t]):.2g} at t = {t}" for t in steps)
    plotting.show(
        fig,
        alt=f"A 2, a 3 and a 7 at eight noise levels of the linear schedule. The share of variance left: {kept}. They can be made out up to about t = 20.",
    )


with checks.uses("schedule", "q_sample"):
    draw_noising()

# %% [markdown]
# ## 3  Learn to say which noise it was
#
# The network $\epsilon_\theta(x_t, t)$ sees the noisy data and the step, and predicts the noise. The lecture's objective, with the square of the 2-norm spelt out, is
#
# $$ \min_\theta\ \mathbb E_{x_0,\, t,\, \epsilon}\ \big\lVert \epsilon - \epsilon_\theta(x_t, t) \big\rVert_2^2, \qquad t \text{ uniform on } 0 \dots T-1,\quad x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon . $$
#
# So training is regression, with targets that we draw ourselves. There is no adversary as in 08-gan and no encoder to train as in 07-autoencoder. As always with squared error, the best predictor is a mean: $\epsilon^*(x, t) = \mathbb E[\epsilon \mid x_t = x]$, the mean of all noises
# that could have led to $x$. Its loss is not 0, since many pairs of data and noise give the same $x_t$. Answering 0 costs 1 a coordinate; that is the number to beat.

# %% [markdown]
# **Exercise 9.3 · `ddpm_loss`** (4 points · difficulty 2 of 5 · about 15 minutes)
#
# Draw a step for *each* example and fresh noise, make $x_t$ with your `q_sample`, and return the mean squared error over all coordinates of all examples.
#
# <details><summary>Hint 1: where to start</summary>
#
# `torch.randint(len(abar), …, generator=gen, device=x0.device)`: its upper end is not included. The noise is like `x0` in shape, dtype and device.
#
# </details>
#
# <details><summary>Hint 2: what goes where</summary>
#
# The model gets $x_t$ and $t$, never $x_0$. The target is the very $\epsilon$ that made $x_t$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "ddpm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ddpm_loss(model: NoisePredictor, x0: Tensor, abar: Tensor, gen: torch.Generator) -> Tensor:
    """The noise-prediction loss on a batch, with every step weighted alike (Ho et al. 2020, eq. 14).

    Args:
        model: called once, as model(x_t, t), with t int64 of shape (N,); gives the predicted noise, like x_t.
        x0: data, shape (N, ...).
        abar: what each step leaves of the data's variance, shape (T,).
        gen: on the device of ``x0``; steps and noise are drawn from it.

    Returns:
        The mean squared error over all coordinates of the batch, a scalar.
    """
    ### BEGIN SOLUTION
    t = torch.randint(len(abar), (len(x0),), generator=gen, device=x0.device)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype, device=x0.device)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-ddpm_loss", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("ddpm_loss", points=4)


### BEGIN HIDDEN TESTS
def trusted_q_sample(x0, t, eps, abar):
    left = abar[t].to(x0.dtype).view(len(x0), *(1 for _ in x0.shape[1:]))
    return torch.sqrt(left) * x0 + torch.sqrt(1 - left) * eps


check.use(q_sample=trusted_q_sample)
### END HIDDEN TESTS

with check("answering 0 costs 1 a coordinate", points=1):
    abar, gen = torch.tensor([0.9, 0.5, 0.1]), torch.Generator().manual_seed(0)
    loss = ddpm_loss(lambda x, t: 0 * x, torch.full((400, 16), 3.0), abar, gen)
    check.shape(loss, ())
    check.law(
        0.89 <= loss <= 1.11,
        f"a model that answers 0 has a loss of about 1; yours is {float(loss):.4g}",
        mistakes={
            "The target is x0. It is the noise that was added.": abs(float(loss) - 9) < 0.2,
            "The squares were summed over the coordinates. Take the mean over everything.": 14 < float(loss) < 18,
            "This is a sum over all examples. Take the mean over everything.": float(loss) > 1000,
            "The error was not squared.": abs(float(loss) - 0.798) < 0.06,
            "This is half the squared error; drop the half.": 0.4 < float(loss) < 0.6,
        },
    )


### BEGIN HIDDEN TESTS
def listening(x0, abar, heard, extra=lambda t: 0.0 * t):
    """A model that knows x0 and so the noise; it notes what it is given, and adds an error of its own that depends on t."""

    def model(x, t):
        heard.append((x, t))
        left = abar[t].reshape(-1, *[1] * (x.ndim - 1))
        return (x - left.sqrt() * x0) / (1 - left).sqrt() + extra(t).reshape(left.shape)

    return model


with check("the model gets x_t and t, and the noise is the target", points=1):
    for shape in ((64, 3), (7, 2, 3, 3), (1, 5)):
        x0 = 2 + torch.randn(shape, generator=check.gen, dtype=torch.float64)
        abar, heard, gen = torch.linspace(0.95, 0.05, 6, dtype=torch.float64), [], check.gen
        with check.no_side_effects(x0, abar):
            loss = ddpm_loss(listening(x0, abar, heard), x0, abar, gen)
        check.equal(len(heard), 1)
        x, t = heard[0]
        check.shape(t, (shape[0],))
        check.dtype(t, torch.int64)
        check.dtype(x, torch.float64)
        check.shape(x, shape)
        check.at_most(
            loss,
            1e-12,
            "loss of a model that knows the noise exactly",
            mistakes={
                "The model was given x0. It sees x_t only.": lambda x=x, x0=x0: torch.allclose(x, x0),
                "The target is x0. It is the noise that was added.": lambda x=x, x0=x0, t=t, loss=loss, abar=abar: torch.allclose(
                    (listening(x0, abar, [])(x, t) - x0).square().mean(), loss
                ),
                "The target is not the noise that made x_t. Was it drawn twice, or taken from another distribution?": True,
            },
        )

with check("steps are uniform, one an example, and noise is fresh", points=1):
    abar, heard, gen = torch.linspace(0.95, 0.05, 7, dtype=torch.float64), [], check.gen
    x0 = torch.zeros(20_000, 1, dtype=torch.float64)
    spy = listening(x0, abar, heard)
    with check.no_side_effects(x0):
        ddpm_loss(spy, x0, abar, gen), ddpm_loss(spy, x0, abar, gen)
    counts = torch.bincount(heard[0][1], minlength=7).double()
    check.law(counts.numel() == 7, f"steps are 0 to 6 where abar has 7 entries; yours go up to {counts.numel() - 1}")
    expected = len(x0) / 7
    # A right answer is turned away here once in 10^9 draws, and below, at six standard errors, once in 10^8.
    check.law(
        ((counts - expected) ** 2 / expected).sum() < stats.chi2.isf(1e-9, 6),
        f"20000 examples draw the steps 0 to 6 equally often; yours came {counts.int().tolist()} times",
        mistakes={
            "The last step is never drawn. The upper end of randint is not included.": bool(counts[-1] == 0 and counts[0] > 0),
            "Step 0 is never drawn. Steps are counted from 0.": bool(counts[0] == 0 and counts[-1] > 0),
            "The whole batch got one step. Draw one for each example.": bool((counts > 0).sum() == 1),
        },
    )
    noise = heard[0][0] / (1 - abar[heard[0][1]]).sqrt()[:, None]
    check.law(
        abs(noise.mean()) < 6 / math.sqrt(20_000) and abs(noise.var() - 1) < 6 * math.sqrt(2 / 20_000),
        f"the noise is standard normal; yours has mean {float(noise.mean()):.3f} and variance {float(noise.var()):.3f}",
        mistakes={"The noise is uniform. Use randn.": abs(float(noise.var()) - 1 / 12) < 0.02},
    )
    check.law(not torch.equal(heard[0][0], heard[1][0]), "a second call with the same generator draws new noise; yours repeats it")
    seed = check.seeds(1)[0]
    same = [float(ddpm_loss(lambda x, t: 0 * x, x0, abar, torch.Generator().manual_seed(seed))) for _ in range(2)]
    check.law(same[0] == same[1], "two generators with the same seed give the same loss; yours differ. Draw everything from gen")

with check("every step counts alike, and the gradient reaches the model", points=1):
    for N, d in ((50, 4), (9, 1), (1, 3)):
        x0, heard = torch.randn(N, d, generator=check.gen, dtype=torch.float64), []
        weight = torch.ones((), dtype=torch.float64, requires_grad=True)
        loss = ddpm_loss(listening(x0, abar, heard, extra=lambda t, weight=weight: weight * (t.double() + 1)), x0, abar, check.gen)
        error = heard[0][1].double() + 1
        check.close(
            loss,
            error.square().mean(),
            rtol=1e-6,
            mistakes={
                "The squares were summed over the coordinates. Take the mean over everything.": lambda error=error, d=d: d * error.square().mean(),
                "The squares were summed over everything. Take the mean.": lambda error=error, d=d: d * error.square().sum(),
                "The error was not squared.": lambda error=error: error.abs().mean(),
                "The root of the mean square: leave out the root.": lambda error=error: error.square().mean().sqrt(),
            },
        )
        check.law(loss.requires_grad, "the loss can be differentiated with respect to the model's parameters; yours is cut off from them")
        check.close(torch.autograd.grad(loss, weight)[0], 2 * error.square().mean(), rtol=1e-6)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  One step back, if we knew where we came from
#
# To go backwards we need $x_{t-1}$ given $x_t$. Given $x_0$ as well, everything is normal, and Bayes' rule has a closed form. Going forward from $x_{t-1}$ is a measurement of it with noise $\beta_t$; what we know before is $x_{t-1} \sim \mathcal N(\sqrt{\bar\alpha_{t-1}}\,x_0,\ 1-\bar\alpha_{t-1})$. Together:
#
# $$ q(x_{t-1} \mid x_t, x_0) = \mathcal N(\tilde\mu_t,\ \tilde\beta_t I), \qquad
#    \tilde\mu_t = \frac{\sqrt{\bar\alpha_{t-1}}\;\beta_t}{1-\bar\alpha_t}\; x_0 + \frac{\sqrt{\alpha_t}\;(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\; x_t, \qquad
#    \tilde\beta_t = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t}\;\beta_t . $$
#
# At the last step, $t = 0$, there is no noise level below: $\bar\alpha_{-1} = 1$, so $\tilde\mu_0 = x_0$ and $\tilde\beta_0 = 0$. We have arrived.

# %% [markdown]
# **Exercise 9.4 · `posterior`** (5 points · difficulty 3 of 5 · about 25 minutes)
#
# It is given $\bar\alpha$ only: $\alpha_t = \bar\alpha_t / \bar\alpha_{t-1}$. Steps may differ from example to example, and some may be 0.
#
# <details><summary>Hint 1: where to start</summary>
#
# Get two columns, $\bar\alpha_t$ and $\bar\alpha_{t-1}$, each reshaped to (N, 1, …). Everything else follows from the two.
#
# </details>
#
# <details><summary>Hint 2: before step 0</summary>
#
# `abar[t - 1]` at `t = 0` is `abar[-1]`: the *last* entry, and no error. Put a 1 in front of `abar` and shift the index, or use `torch.where`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "posterior", "locked": false, "schema_version": 3, "solution": true, "task": false}
def posterior(xt: Tensor, x0: Tensor, t: Tensor, abar: Tensor) -> tuple[Tensor, Tensor]:
    """The distribution of x_{t-1} given x_t and x_0 (Ho et al. 2020, eqs. 6 and 7).

    Args:
        xt: data at noise level t, shape (N, ...).
        x0: clean data, like ``xt``.
        t: the step of each example, int64 from 0 to T - 1, shape (N,).
        abar: what each step leaves of the data's variance, shape (T,), any floating dtype.

    Returns:
        The mean, with the shape and dtype of ``xt``, and the variance, of shape (N, 1, ..., 1) with as many axes as
        ``xt``, or expanded to its shape. At t = 0 they are ``x0`` and 0.
    """
    ### BEGIN SOLUTION
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)
    return mean, (1 - alpha) * (1 - before) / (1 - now)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-posterior", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("posterior", points=5)

with check("one number, one step back", points=1):
    xt, x0, abar = torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([0.8, 0.4])
    mean, variance = posterior(xt, x0, torch.tensor([1]), abar)
    check.close(
        mean,
        [[1.726414]],
        mistakes={
            "The two coefficients are swapped: which of the two is multiplied by beta?": [[1.216760]],
            "The roots are missing in the coefficients: sqrt(abar of the step before) and sqrt(alpha).": [[1.5]],
            "abar was not taken one step back: x_t goes with 1 - abar[t - 1], x_0 with its root.": [[1.761200]],
            "The coefficients must be divided by 1 - abar at t.": [[1.035849]],
        },
    )
    check.close(
        variance,
        [[0.166667]],
        atol=1e-5,
        mistakes={
            "This is beta. Knowing x_0 makes it smaller: multiply by (1 - abar at t - 1) / (1 - abar at t).": [[0.5]],
            "This is the standard deviation. Return the variance.": [[0.408248]],
            "The quotient is upside down.": [[1.5]],
        },
    )

### BEGIN HIDDEN TESTS


def conditioned(xt, x0, t, abar, *, wrap=False):
    """Condition the joint normal distribution of (x_{t-1}, x_t) on x_t, one example after the other, in float64."""
    means, variances = [], []
    for i, k in enumerate(t.tolist()):
        now, before = float(abar[k]), float(abar[k - 1]) if k or wrap else 1.0
        start = x0[i].double().numpy()
        covariance, variance = math.sqrt(now / before) * (1 - before), 1 - now
        means.append(math.sqrt(before) * start + covariance / variance * (xt[i].double().numpy() - math.sqrt(now) * start))
        variances.append(np.full(xt[i].shape, (1 - before) - covariance**2 / variance))
    return np.array(means), np.array(variances)


def judge(got, want, misread, rtol):
    """Compare a mean and a variance, the variance expanded to the mean's shape."""
    mean, variance = got
    check.close(mean, want[0], rtol=rtol, atol=rtol, mistakes={message: value[0] for message, value in misread.items()})
    small = (len(mean), *[1] * (mean.ndim - 1))
    check.law(
        tuple(variance.shape) in (small, tuple(mean.shape)),
        f"the variance has shape {small} or that of x_t, {tuple(mean.shape)}; yours has {tuple(variance.shape)}",
        mistakes={"It lacks the axes of size 1, and lines up with the last axis of x_t, not with the examples.": tuple(variance.shape) == small[:1]},
    )
    check.close(variance.expand(mean.shape), want[1], rtol=rtol, atol=rtol, mistakes={message: value[1] for message, value in misread.items()})


with check("a normal distribution conditioned", points=2):
    for shape, dtype in (((1, 2), torch.float64), ((3, 3), torch.float64), ((4, 4, 4, 4), torch.float32), ((5, 2, 3), torch.float64), ((6,), torch.float64)):
        xt, x0 = (torch.randn(shape[::-1], generator=check.gen, dtype=dtype).permute(*range(len(shape))[::-1]) for _ in range(2))  # not contiguous
        abar = (1 - 0.1 - 0.5 * torch.rand(7, generator=check.gen, dtype=torch.float64)).cumprod(0)
        t = torch.randint(1, 7, (len(xt),), generator=check.gen)
        with check.no_side_effects(xt, x0, t, abar):
            got = posterior(xt, x0, t, abar)
        check.dtype(got[0], dtype)
        check.dtype(got[1], dtype)
        mean, variance = want = conditioned(xt, x0, t, abar)
        now, before = (abar[t - k].reshape(-1, *[1] * (xt.ndim - 1)).expand(shape).numpy() for k in (0, 1))
        beta = 1 - now / before
        swapped = (np.sqrt(before) * beta * xt.double().numpy() + np.sqrt(now / before) * (1 - before) * x0.double().numpy()) / (1 - now)
        judge(
            got,
            want,
            {
                "The two coefficients are swapped: x_0 is multiplied by beta.": (swapped, variance * 0 - 1),
                "The variance is beta. Knowing x_0 makes it smaller.": (mean * np.inf, beta),
                "This is the standard deviation. Return the variance.": (mean * np.inf, np.sqrt(variance)),
            },
            1e-4 if dtype == torch.float32 else 1e-8,
        )
    leaf = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    mean, _ = posterior(leaf, leaf, torch.tensor([1, 2]), abar)
    check.law(mean.requires_grad, "gradients flow back to x_t and x_0; yours were cut off (detach, no_grad or numpy)")

with check("at step 0 it is x0, without noise", points=1):
    for shape in ((3, 2), (1, 1, 2, 2), (5,)):
        xt, x0 = (torch.randn(shape, generator=check.gen, dtype=torch.float64) for _ in range(2))
        t = torch.zeros(shape[0], dtype=torch.int64)
        t[1:2] = 3  # other steps may stand beside it
        abar = torch.tensor([0.9, 0.6, 0.3, 0.1], dtype=torch.float64)
        judge(
            posterior(xt, x0, t, abar),
            conditioned(xt, x0, t, abar),
            {
                "At t = 0 the index t - 1 is -1, which is the last entry of abar. Before step 0 nothing is lost: abar is 1.": conditioned(
                    xt, x0, t, abar, wrap=True
                )
            },
            1e-9,
        )

with check("two ways to x_{t-1}", points=1):
    abar = (1 - 0.05 - 0.3 * torch.rand(9, generator=check.gen, dtype=torch.float64)).cumprod(0)
    t, one, none = torch.arange(1, 9), torch.ones(8, 1, dtype=torch.float64), torch.zeros(8, 1, dtype=torch.float64)
    (from_x0, variance), (from_xt, _) = posterior(none, one, t, abar), posterior(one, none, t, abar)
    now, before = abar[t][:, None], abar[t - 1][:, None]
    check.close(from_x0 + from_xt * now.sqrt(), before.sqrt(), rtol=1e-8)  # forth by one jump and back by one step: the mean,
    check.close(from_xt**2 * (1 - now) + variance, 1 - before, rtol=1e-8)  # and the variance of the level before
    eps = torch.randn(8, 1, generator=check.gen, dtype=torch.float64)
    guess = (one - (1 - now).sqrt() * eps) / now.sqrt()
    alpha = now / before
    check.close(posterior(one, guess, t, abar)[0], (one - (1 - alpha) / (1 - now).sqrt() * eps) / alpha.sqrt(), rtol=1e-7)
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "figure-posterior", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_posterior():
    T = 100
    beta, _, abar = schedule(T)
    t = torch.arange(T)
    one, none = torch.ones(T, 1, dtype=torch.float64), torch.zeros(T, 1, dtype=torch.float64)
    (from_x0, variance), (from_xt, _) = posterior(none, one, t, abar), posterior(one, none, t, abar)
    fig, (left, right) = plotting.subplots(2, width=10, height=3.4)
    plotting.curves(
        left,
        {"of $x_0$": from_x0[:, 0], "of $x_t$": from_xt[:, 0]},
        xlabel="step t",
        ylabel="coefficient in the mean",
        x=np.arange(T),
    )
    left.set(title="Most of a step back is staying where you are")
    plotting.curves(right, {r"$\beta_t$": beta, r"$\tilde\beta_t$": variance[:, 0]}, xlabel="step t", ylabel="variance", x=np.arange(T))
    right.set(title=r"Knowing $x_0$ hardly narrows it, except near 0")
    right.set_yscale("symlog", linthresh=1e-3)
    plotting.show(
        fig,
        alt=f"Left: the coefficients of x0 and xt in the posterior mean for 100 steps. That of x0 is 1 at step 0, {float(from_x0[5]):.2f} at step 5 and {float(from_x0[50]):.3f} at step 50; "
        f"that of xt is 0 at step 0, {float(from_xt[5]):.2f} at 5 and {float(from_xt[50]):.2f} at 50. Right: beta and the posterior variance, equal from about step 20 on; at step 0 they are {float(beta[0]):.3f} and 0.",
    )


with checks.uses("schedule", "posterior"):
    draw_posterior()

# %% [markdown]
# ## 5  Walk all the way back
#
# When sampling we do not know $x_0$. But a guess of the noise is a guess of $x_0$: solve $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$ for it,
#
# $$ \hat x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\;\epsilon_\theta(x_t, t)}{\sqrt{\bar\alpha_t}} . $$
#
# **Ancestral sampling** starts from $x_{T-1} \sim \mathcal N(0, I)$ and, for $t = T-1, \dots, 0$, draws $x_{t-1}$ from the posterior with $\hat x_0$ in the place of $x_0$. Put together, the mean is
#
# $$ \mu_t = \frac{1}{\sqrt{\alpha_t}} \Big( x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\; \epsilon_\theta(x_t, t) \Big), \qquad x_{t-1} = \mu_t + \sigma_t z, \quad z \sim \mathcal N(0, I) \text{ fresh in each step, none at } t = 0. $$
#
# $\hat x_0$ is a poor guess at first, the mean of everything that might be there. That does no harm: the step that relies on it is small, and the next one makes a new guess from a slightly clearer picture. For $\sigma_t^2$ both $\tilde\beta_t$ and $\beta_t$ are in use, and differ less the more steps there are.

# %% [markdown]
# **Exercise 9.5 · `p_sample_loop`** (6 points · difficulty 4 of 5 · about 35 minutes)
#
# Either variance is accepted. Your `posterior` gives $\mu_t$ and $\tilde\beta_t$ at once; the formula above will do as well.
#
# <details><summary>Hint 1: where to start</summary>
#
# `x = torch.randn(shape, generator=gen, device=gen.device)`, then a loop over `reversed(range(T))`. The predictor wants `t` as a tensor with one entry an example: `torch.full((shape[0],), step, device=…)`.
#
# </details>
#
# <details><summary>Hint 2: the last step</summary>
#
# Noise has variance $\sigma_t^2$, so $z$ is multiplied by its root. At $t = 0$ the result is the mean: $\tilde\beta_0 = 0$ sees to that by itself, $\beta_0$ does not.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "p_sample_loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def p_sample_loop(eps_fn: NoisePredictor, shape: tuple[int, ...], sched: Schedule, gen: torch.Generator) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2).

    Args:
        eps_fn: called once a step, as eps_fn(x, t), with t int64 of shape (N,), the same step for all; gives the noise
            in x.
        shape: of the samples, (N, ...).
        sched: beta, alpha and abar, each of shape (T,).
        gen: everything random is drawn from it; its device is that of the samples.

    Returns:
        Samples of the given shape, float32.
    """
    ### BEGIN SOLUTION
    abar = sched[2].to(gen.device, torch.float32)
    x = torch.randn(shape, generator=gen, device=gen.device)
    for step in reversed(range(len(abar))):
        t = torch.full((shape[0],), step, device=gen.device)
        x0 = (x - (1 - abar[step]).sqrt() * eps_fn(x, t)) / abar[step].sqrt()
        mean, variance = posterior(x, x0, t, abar)
        x = mean + variance.sqrt() * torch.randn(shape, generator=gen, device=gen.device)  # variance 0 at step 0
    return x
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-p_sample_loop", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("p_sample_loop", points=6)
three_steps = (
    torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64),
    torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64),
    torch.tensor([0.9, 0.45, 0.045], dtype=torch.float64),
)


### BEGIN HIDDEN TESTS
def trusted_posterior(xt, x0, t, abar):
    """Bayes' rule for two normal distributions: precisions add up."""
    views = (len(xt), *(1 for _ in xt.shape[1:]))
    left = torch.cat([torch.ones(1), abar.float().cpu()])
    now, before = left[t + 1].view(views), left[t].view(views)
    alpha = now / before
    prior, seen = 1 / (1 - before).clamp_min(1e-12), alpha / (1 - alpha)
    return (prior * before.sqrt() * x0 + seen * xt / alpha.sqrt()) / (prior + seen), torch.where(before < 1, 1 / (prior + seen), 0.0)


check.use(posterior=trusted_posterior)
### END HIDDEN TESTS


def all_data_zero(x, t):
    """The noise in x where all data is 0."""
    return x / torch.tensor([0.3162278, 0.7416198, 0.9772410])[t].reshape(-1, *[1] * (x.ndim - 1))


with check("three steps, from the last to the first", points=1):
    asked, gen = [], torch.Generator().manual_seed(0)
    samples = p_sample_loop(lambda x, t: asked.append(t) or all_data_zero(x, t), (1000, 2), three_steps, gen)
    check.shape(samples, (1000, 2))
    check.equal(
        [int(t.flatten()[0]) for t in asked],
        [2, 1, 0],
        mistakes={
            "There was one step only. Walk through all of them.": [2],
            "The steps go up. Sampling starts from the most noise, at T - 1, and goes down.": [0, 1, 2],
            "The steps are counted from T. The last one is T - 1.": [3, 2, 1],
            "Step 0 was left out: the loop must include it.": [2, 1],
        },
    )
    check.equal(
        [t.shape for t in asked],
        [(1000,)] * 3,
        mistakes={"t is a tensor with one entry for each example, shape (N,).": [()] * 3},
    )

with check("where all data is 0, all samples are 0", points=1):
    samples = p_sample_loop(all_data_zero, (1000, 2), three_steps, torch.Generator().manual_seed(1))
    check.law(
        samples.abs().max() < 1e-5,
        f"data that is 0 gives samples that are 0; yours reach {float(samples.abs().max()):.3g}",
        mistakes={
            "Noise was added in the last step. At t = 0 the mean is the result.": 0.2 < float(samples.std()) < 0.45,
            "Some of the noise is left. Is eps multiplied by beta / sqrt(1 - abar), the mean divided by sqrt(alpha)?": True,
        },
    )

### BEGIN HIDDEN TESTS
steps = 20
betas = np.linspace(0.1 / steps, 20 / steps, steps).clip(max=0.999)
sched = tuple(torch.as_tensor(part) for part in (betas, 1 - betas, np.cumprod(1 - betas)))


def sampled(eps_fn, shape, gen):
    return p_sample_loop(eps_fn, shape, sched, gen)


def normal_noise(mean, variance, heard=None):
    """E[noise | x_t] for data that is normal."""

    def eps_fn(x, t):
        if heard is not None:
            heard.append((x.clone(), t))
        left = sched[2].to(x.dtype)[t].reshape(-1, *[1] * (x.ndim - 1))
        return (1 - left).sqrt() * (x - left.sqrt() * mean) / (left * variance + 1 - left)

    return eps_fn


def recursion(mean, variance, sigma2, *, scale=True):
    """Mean and variance of the samples: each step maps x to a x + b + noise."""
    m, v = 0.0, 1.0
    for k in reversed(range(steps)):
        left = float(sched[2][k])
        slope = math.sqrt(1 - left) / (left * variance + 1 - left)
        shrink = betas[k] / math.sqrt(1 - left)
        root = math.sqrt(1 - betas[k]) if scale else 1.0
        a, b = (1 - shrink * slope) / root, shrink * slope * math.sqrt(left) * mean / root
        m, v = a * m + b, a * a * v + (sigma2[k] if k else 0.0)
    return m, v


with check("normal data: mean and variance as the algebra says", points=2):
    centre, spread = float(check.rng.uniform(-2, 2)), float(check.rng.uniform(0.2, 0.6))
    n = 40_000
    samples = check.run(sampled, normal_noise(centre, spread**2), (n, 1), check.gen).double()
    found = float(samples.mean()), float(samples.var())
    before = np.append(1.0, np.cumprod(1 - betas)[:-1])
    tilde = betas * (1 - before) / (1 - before * (1 - betas))

    def near(want):  # 6 standard errors: a false alarm once in 10^8
        return abs(found[0] - want[0]) < 6 * math.sqrt(want[1] / n) and abs(found[1] - want[1]) < 6 * want[1] * math.sqrt(2 / n)

    (m, narrow), (_, wide) = recursion(centre, spread**2, tilde), recursion(centre, spread**2, betas)
    check.law(
        near((m, narrow)) or near((m, wide)),
        f"for such data samples have mean {m:.3f} and variance {narrow:.4f} or {wide:.4f}; yours have {found[0]:.3f} and {found[1]:.4f}",
        mistakes={
            "beta is a variance; the noise is multiplied by its root.": near(recursion(centre, spread**2, betas**2))
            or near(recursion(centre, spread**2, tilde**2)),
            "No noise was added on the way. Every step but the last draws some.": near(recursion(centre, spread**2, betas * 0)),
            "The mean is not divided by sqrt(alpha).": near(recursion(centre, spread**2, betas, scale=False))
            or near(recursion(centre, spread**2, tilde, scale=False)),
            "Everything ends near 0: this is the lecture's single step, or one like it.": found[1] < 0.02,
        },
    )

with check("all data in one point, and samples of any shape", points=1):
    for shape in ((300,), (1, 2), (2, 3, 4, 4)):
        point = float(check.rng.uniform(1, 2))
        samples = check.run(sampled, normal_noise(point, 0.0), shape, check.gen)
        check.shape(samples, shape)
        check.dtype(samples, torch.float32)
        check.close(
            samples,
            np.full(shape, point),
            rtol=1e-3,
            mistakes={
                "Noise was added in the last step. At t = 0 the mean is the result.": samples if abs(float((samples - point).std()) - 0.07) < 0.03 else np.inf
            },
        )

with check("the generator decides, noise is fresh, and T calls suffice", points=1):
    heard, seed = [], check.seeds(1)[0]
    with check.no_side_effects(*sched):
        samples = p_sample_loop(normal_noise(0.0, 1.0, heard), (4000, 3), sched, torch.Generator().manual_seed(seed))
    check.equal(len(heard), steps)
    check.law(
        all((t == steps - 1 - i).all() and t.dtype == torch.int64 for i, (_, t) in enumerate(heard)),
        "t is int64 and runs from T - 1 down to 0 for all examples alike",
    )
    start = heard[0][0]
    # Six standard errors again. Fresh noise of 12 000 numbers has a correlation of 0.5 practically never: 50 of its standard errors.
    check.law(
        abs(start.mean()) < 6 / math.sqrt(start.numel()) and abs(start.var() - 1) < 6 * math.sqrt(2 / start.numel()),
        f"sampling starts from standard normal noise; yours has mean {float(start.mean()):.3f} and variance {float(start.var()):.3f}",
    )
    jumps = [(b[0] - a[0]).flatten() for a, b in zip(heard[1:4], heard[2:5])]
    similar = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(jumps, jumps[1:])]
    check.law(max(similar) < 0.5, f"each step draws fresh noise; yours moves alike from step to step (correlation {max(similar):.2f})")
    again = check.run(sampled, normal_noise(0.0, 1.0), (4000, 3), torch.Generator().manual_seed(seed))
    check.close(again, samples, mistakes={"Two generators with the same seed give other samples: something is not drawn from gen.": again})
    check.law(not samples.requires_grad, "samples need no gradient; leave the no_grad in place")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Is one step enough?
#
# The lecture draws samples by $x = x_T - \epsilon_\theta(x_T, T)$ with $x_T \sim \mathcal N(0, 1)$: one step, without scales, without noise (erratum E15). Is that an abbreviation, or wrong? To leave training out of it, take data for which the best predictor is known exactly:
# eight normal distributions on a ring. $\epsilon^*(x, t) = \mathbb E[\epsilon \mid x_t = x]$ has a closed form there, so what follows is what a *perfect* network would give.
#
# Beside it stands the one step done as well as can be, $\hat x_0$ with its scales. The distance is the exact Wasserstein-1 distance between 500 samples and 500 points of the data; the floor is that of 500 other points of the data.


# %% nbgrader={"grade": false, "grade_id": "experiment-onestep", "locked": true, "schema_version": 3, "solution": false, "task": false}
RING = torch.stack([torch.tensor([math.cos(a), math.sin(a)]) for a in torch.arange(8) * math.pi / 4]) * 1.5
WIDTH = 0.15  # standard deviation of each of the eight


def ring_noise(abar: Tensor) -> NoisePredictor:
    """E[noise | x_t = x] for the ring, in closed form: each centre's answer, weighted by how likely x came from it."""

    def eps_fn(x: Tensor, t: Tensor) -> Tensor:
        left = abar.to(x)[t][:, None]
        spread = left * WIDTH**2 + 1 - left
        away = x[:, None] - left.sqrt()[:, None] * RING.to(x)  # (N, 8, 2)
        weight = (-away.square().sum(-1) / (2 * spread)).softmax(1)
        return (1 - left).sqrt() * (weight[..., None] * away).sum(1) / spread

    return eps_fn


def wasserstein(x: Tensor, y: Tensor) -> float:
    """Exact Wasserstein-1 distance between equally many points: the cheapest way to pair them up."""
    cost = torch.cdist(x, y).cpu().numpy()
    return float(cost[optimize.linear_sum_assignment(cost)].mean())


def onestep_experiment(seed: int, n: int = 500, T: int = 100) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Wasserstein-1 distance to the ring of points drawn in four ways, and of other points of the ring; and the points."""
    gen = torch.Generator().manual_seed(seed)
    sched = schedule(T)
    abar, eps_fn, t = sched[2], ring_noise(sched[2]), torch.full((n,), T - 1)

    def ring() -> Tensor:
        return RING[torch.randint(8, (n,), generator=gen)] + WIDTH * torch.randn(n, 2, generator=gen)

    noise = torch.randn(n, 2, generator=gen)
    last = float(abar[-1])
    points = {
        "data": ring(),
        "ancestral sampling": p_sample_loop(eps_fn, (n, 2), sched, gen),
        "pure noise": noise,
        "one step, as in the lecture": noise - eps_fn(noise, t),
        "one step, with scales": (noise - math.sqrt(1 - last) * eps_fn(noise, t)) / math.sqrt(last),
    }
    target = ring()
    return {name: wasserstein(x, target) for name, x in points.items()}, points


# %% nbgrader={"grade": false, "grade_id": "experiment-onestep-result", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("schedule", "posterior", "p_sample_loop"):
    distance, points = onestep_experiment(seed=0)
    fig, axes = plotting.subplots(5, width=11, height=2.7)
    for ax, (name, x) in zip(axes, points.items(), strict=True):
        ax.scatter(*x.T, s=4, color=plotting.COLOURS[0])
        ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        ax.set_title(name.replace(", ", ",\n"), fontsize=10)
        ax.set_xlabel(f"$W_1$ = {distance[name]:.2f}")
    plotting.show(
        fig,
        alt="500 points each: the data on a ring of eight spots; ancestral samples, which look the same; pure noise, a round cloud; the lecture's one step, a dot at the origin; one step with scales, a dot there as well. "
        + "Wasserstein-1 distances to the data: "
        + ", ".join(f"{name} {value:.2f}" for name, value in distance.items())
        + ".",
    )
    claims.show(
        Claim("W₁, other points of the data", "not in the lecture", distance["data"], at_most=0.35),
        Claim("W₁, ancestral sampling", "not in the lecture", distance["ancestral sampling"], at_most=0.35),
        Claim("W₁, pure noise", "not in the lecture", distance["pure noise"], at_least=0.45),
        Claim("W₁, one step as in the lecture", "generates data (CS909)", distance["one step, as in the lecture"], at_least=1.2),
        Claim(
            "its spread (standard deviation)",
            "not in the lecture",
            float(points["one step, as in the lecture"].std()),
            at_most=0.02,
        ),
    )

# %% [markdown]
# The lecture's step is *worse than doing nothing*: it takes pure noise, whose $W_1$ is bad, to a dot at the origin, which is worse. At $t = T-1$ hardly anything of $x_0$ is left, so the noise predicted is $x_T$ itself, and the difference is about 0 whatever the network. You will derive it in the written question.
# With its scales put right, one step gives $\mathbb E[x_0 \mid x_T]$: the mean of the data, for every sample much the same. A mean of eight spots is none of them. That is why there is no way around many steps: each guesses anew, from a picture in which a little more has been decided.

# %% [markdown]
# ## 6  Skip, steer, and read the score
#
# ### DDIM: fewer steps
#
# Nothing in the training says that sampling must visit every step, or that it must be random. What a step from $t$ to any earlier $s$ has to do is to land on the right noise level. **DDIM** (Song, Meng and Ermon, 2021) puts $\hat x_0$ back to level $s$, with partly the old noise and partly fresh:
#
# $$ x_s = \sqrt{\bar\alpha_s}\;\hat x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\;\epsilon_\theta(x_t, t) + \sigma z, \qquad
#    \sigma = \eta\, \sqrt{\frac{1-\bar\alpha_s}{1-\bar\alpha_t}}\, \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}} . $$
#
# With $\eta = 0$ nothing is random: the sample is a function of $x_T$ alone. With $\eta = 1$ and $s = t - 1$ it is the ancestral step with $\tilde\beta_t$. The end is called $s = -1$, with $\bar\alpha_{-1} = 1$: there $x_{-1} = \hat x_0$.

# %% [markdown]
# **Exercise 9.6a · `ddim_step`** (2 points · difficulty 3 of 5 · about 20 minutes)
#
# Here `t` and `s` are plain integers, the same for all examples.
#
# <details><summary>Hint 1: where to start</summary>
#
# Two numbers, $\bar\alpha_t$ and $\bar\alpha_s$, and three lines: $\hat x_0$, $\sigma$, $x_s$. Mind `s = -1`: `abar[-1]` is the last entry, and no error.
#
# </details>
#
# <details><summary>Hint 2: no noise</summary>
#
# `gen` may be None where `eta` is 0. Draw noise only if $\sigma > 0$; `torch.randn(xt.shape, generator=gen, dtype=xt.dtype, device=xt.device)`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "ddim_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ddim_step(
    xt: Tensor,
    eps: Tensor,
    t: int,
    s: int,
    abar: Tensor,
    eta: float = 0.0,
    gen: torch.Generator | None = None,
) -> Tensor:
    """One DDIM step from level t to level s (Song et al. 2021, eqs. 12 and 16).

    Args:
        xt: data at noise level t, shape (N, ...).
        eps: the noise predicted in it, like ``xt``.
        t: the present step, 0 to T - 1.
        s: the step to go to, -1 to t; -1 is the end, without noise.
        abar: what each step leaves of the data's variance, shape (T,), any floating dtype.
        eta: how random the step is, from 0 (not at all) to 1 (like ancestral sampling).
        gen: where noise is drawn from; may be None where eta is 0.

    Returns:
        x_s, with the shape and dtype of ``xt``.
    """
    ### BEGIN SOLUTION
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    xs = math.sqrt(after) * x0 + math.sqrt(max(1 - after - sigma**2, 0.0)) * eps
    if sigma > 0:
        xs = xs + sigma * torch.randn(xt.shape, generator=gen, dtype=xt.dtype, device=xt.device)
    return xs
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-ddim_step", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("ddim_step", points=2)

with check("two numbers by hand, and to the end", points=0.5):
    xt, eps, abar = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -0.5]]), torch.tensor([0.64, 0.36])
    check.close(
        ddim_step(xt, eps, 1, 0, abar),
        [[1.1, 2.9]],
        mistakes={
            "The roots are missing: abar is a share of the variance.": [[1.3888889, 3.9444444]],
            "The noise is missing: x_s is not clean yet, unless s is -1.": [[0.8, 3.2]],
            "This is the guess of x_0. Put it back to level s.": [[1.0, 4.0]],
            "The noise of level t was put back. Level s has sqrt(1 - abar[s]).": [[1.2, 2.8]],
        },
    )
    check.close(
        ddim_step(xt, eps, 1, 1, abar),
        xt,
        mistakes={"From t to t nothing changes. Is the guess of x_0 put back to level s?": [[1.0, 4.0]]},
    )
    check.close(
        ddim_step(xt, eps, 1, -1, abar),
        [[1.0, 4.0]],
        mistakes={"At s = -1 the index leads to abar's last entry. There abar is 1, for it is the end.": [[1.0, 2.0]]},
    )

### BEGIN HIDDEN TESTS
with check("with eta = 0 it lands on any level, and nothing is random", points=0.5):
    for shape, dtype in (((1, 3), torch.float64), ((4, 4), torch.float32), ((5, 1, 2, 3), torch.float64), ((3,), torch.float64)):
        x0, eps = (torch.randn(shape[::-1], generator=check.gen, dtype=dtype).permute(*range(len(shape))[::-1]) for _ in range(2))  # not contiguous
        abar = (1 - 0.05 - 0.3 * torch.rand(8, generator=check.gen, dtype=torch.float64)).cumprod(0)
        levels = [1.0, *abar.tolist()]  # at place k stands the level of step k - 1
        for t, s in ((7, 2), (4, 3), (1, 0), (0, -1), (6, -1)):
            here, there = ((math.sqrt(levels[k + 1]) * x0 + math.sqrt(1 - levels[k + 1]) * eps).to(dtype) for k in (t, s))
            with check.no_side_effects(here, eps, abar):
                got = ddim_step(here, eps, t, s, abar)
            check.dtype(got, dtype)
            check.close(
                got,
                there,
                rtol=1e-4 if dtype == torch.float32 else 1e-9,
                atol=1e-5,
                mistakes={
                    "At s = -1 the index leads to abar's last entry. There abar is 1, for it is the end.": lambda: (
                        0.0 * here + np.inf if s >= 0 else (math.sqrt(levels[-1]) * x0 + math.sqrt(1 - levels[-1]) * eps)
                    )
                },
            )
            check.close(ddim_step(here, eps, t, s, abar, eta=0.0, gen=torch.Generator().manual_seed(1)), got)

with check("with eta = 1 it is the ancestral step, between them a mixture", points=1):
    n = 40_000
    for eta, t, s in ((1.0, 5, 4), (0.5, 5, 4), (1.0, 6, 2)):
        start, noise = float(check.rng.uniform(-1, 1)), float(check.rng.uniform(-1, 1))
        now, after = float(abar[t]), float(abar[s])
        xt, eps = torch.full((n, 1), math.sqrt(now) * start + math.sqrt(1 - now) * noise, dtype=torch.float64), torch.full((n, 1), noise, dtype=torch.float64)
        seed = check.seeds(1)[0]
        with check.no_side_effects(xt, eps, abar):
            got = ddim_step(xt, eps, t, s, abar, eta, torch.Generator().manual_seed(seed))
        gain = math.sqrt(now / after) * (1 - after) / (1 - now)  # of conditioning x_s on x_t, both of them normal around x_0
        tilde = (1 - after) * (1 - now / after) / (1 - now)
        # Mean and variance to six standard errors: over all three settings a right answer fails once in 10^7 draws.
        mean = math.sqrt(after) * start + (gain * math.sqrt(1 - now) * noise if eta == 1 else math.sqrt(1 - after - eta**2 * tilde) * noise)
        found, variance = (float(got.mean()), float(got.var())), eta**2 * tilde
        check.law(
            abs(found[0] - mean) < 6 * math.sqrt(variance / n),
            f"mean of the step with eta = {eta:g}: expected {mean:.4f}, got {found[0]:.4f}",
            mistakes={
                "The fresh noise came on top of all the old: take sigma² off under the root.": abs(
                    found[0] - math.sqrt(after) * start - math.sqrt(1 - after) * noise
                )
                < 6 * math.sqrt(variance / n),
            },
        )
        check.law(
            abs(found[1] - variance) < 6 * variance * math.sqrt(2 / n),
            f"variance of the step with eta = {eta:g}: expected {variance:.4f}, got {found[1]:.4f}",
            mistakes={
                "No noise was added. With eta above 0 some is drawn from gen.": found[1] < 1e-9,
                "sigma was used as a variance, or the variance as sigma.": abs(found[1] - variance**2) < 0.1 * variance**2
                or abs(found[1] - math.sqrt(variance)) < 0.1 * math.sqrt(variance),
                "eta is a factor of sigma, not of the variance.": abs(found[1] - eta * tilde) < 0.05 * eta * tilde and eta < 1,
            },
        )
        check.close(ddim_step(xt, eps, t, s, abar, eta, torch.Generator().manual_seed(seed)), got)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### The score
#
# The lecture opens generative modelling with a paper on **score-based** models (Song and others, 2021). They learn the score $\nabla_x \log p_t(x)$, the direction in which noisy data gets more likely. A noise predictor has learnt the same thing: for the best one,
#
# $$ \nabla_x \log p_t(x) = -\,\frac{\epsilon^*(x, t)}{\sqrt{1-\bar\alpha_t}} . $$
#
# Where $x_t$ is one data point plus noise this is plain, since $\nabla_x \log \mathcal N(x;\, \sqrt{\bar\alpha_t}\,x_0,\, (1-\bar\alpha_t)I) = -(x - \sqrt{\bar\alpha_t}\,x_0)/(1-\bar\alpha_t) = -\epsilon/\sqrt{1-\bar\alpha_t}$; averaging over the data points that might be behind $x$ gives the rest. Taking off noise is climbing the density. No energy function and no normalising constant are needed.

# %% [markdown]
# **Exercise 9.6b · `score`** (1 point · difficulty 1 of 5 · about 10 minutes)
#
# Turn a noise prediction into a score, for any number of axes.
#
# <details><summary>Hint 1: where to start</summary>
#
# One division; the steps differ from example to example, as in `q_sample`.
#
# </details>
#
# <details><summary>Hint 2: sign and root</summary>
#
# Noise points away from the data, the score points towards it. The noise was multiplied by a standard deviation once, and a density divides by the variance.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "score", "locked": false, "schema_version": 3, "solution": true, "task": false}
def score(eps: Tensor, t: Tensor, abar: Tensor) -> Tensor:
    """The gradient of the log-density of noisy data, from the noise predicted in it.

    Args:
        eps: predicted noise, shape (N, ...).
        t: the step of each example, int64, shape (N,).
        abar: what each step leaves of the data's variance, shape (T,), any floating dtype.

    Returns:
        The score, with the shape and dtype of ``eps``.
    """
    ### BEGIN SOLUTION
    left = abar.to(eps)[t].reshape(-1, *[1] * (eps.ndim - 1))
    return -eps / (1 - left).sqrt()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-score", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("score", points=1)

with check("two examples by hand", points=0.5):
    eps, abar = torch.tensor([[3.0, 0.0], [1.0, -2.0]]), torch.tensor([0.64, 0.75], dtype=torch.float64)
    check.close(
        score(eps, torch.tensor([0, 1]), abar),
        [[-5.0, 0.0], [-2.0, 4.0]],
        mistakes={
            "The sign is wrong: noise points away from the data, the score towards it.": [[5.0, 0.0], [2.0, -4.0]],
            "The root is missing: divide by the standard deviation of the noise.": [[-8.3333333, 0.0], [-4.0, 8.0]],
            "It is divided, not multiplied, by the noise's standard deviation.": [[-1.8, 0.0], [-0.5, 1.0]],
            "t lines up with the last axis. Each example has its own step.": [[-5.0, 0.0], [-1.6666667, 4.0]],
            "This is divided by sqrt(abar). Take the noise's share.": [[-3.75, 0.0], [-1.1547005, 2.3094011]],
        },
    )

### BEGIN HIDDEN TESTS
with check("the gradient of a mixture's log-density", points=0.5):
    for N, shape in ((1, (3,)), (4, (4,)), (5, (2, 1, 2))):
        d = math.prod(shape)
        points = torch.randn(6, d, generator=check.gen, dtype=torch.float64)
        abar = torch.linspace(0.9, 0.1, 5, dtype=torch.float64)
        t = torch.randint(5, (N,), generator=check.gen)
        x = torch.randn(N, d, generator=check.gen, dtype=torch.float64, requires_grad=True)
        left = abar[t][:, None, None]
        logs = -(x[:, None] - left.sqrt() * points).square().sum(-1) / (2 * (1 - left[..., 0]))
        (want,) = torch.autograd.grad(torch.logsumexp(logs, 1).sum(), x)
        eps = (logs.softmax(1)[..., None] * (x[:, None] - left.sqrt() * points)).sum(1).detach() / (1 - left[:, 0]).sqrt()
        eps = eps.reshape(N, *shape)
        with check.no_side_effects(eps, t, abar):
            got = score(eps, t, abar)
        check.close(got, want.reshape(N, *shape), rtol=1e-7)
        check.dtype(score(eps.float(), t, abar), torch.float32)
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "figure-score", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_scores():
    abar = schedule(100)[2]
    eps_fn = ring_noise(abar)
    across = torch.linspace(-2.2, 2.2, 15)
    grid = torch.cartesian_prod(across, across)
    fig, axes = plotting.subplots(3, width=11, height=3.9)
    for ax, step in zip(axes[:2], (60, 15), strict=True):
        t = torch.full((len(grid),), step)
        arrows = score(eps_fn(grid, t), t, abar)
        arrows = arrows / (1 + arrows.norm(dim=1, keepdim=True))
        ax.quiver(*grid.T, *arrows.T, scale=18, width=0.005, color="0.35")
        ax.scatter(*(math.sqrt(abar[step]) * RING).T, s=40, color=plotting.COLOURS[1], zorder=3)
        ax.set(title=f"Score at t = {step}", aspect="equal", xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
    x = 1.2 * torch.randn(24, 2, generator=torch.Generator().manual_seed(4))
    path = [x]
    for t in reversed(range(100)):
        x = ddim_step(x, eps_fn(x, torch.full((len(x),), t)), t, t - 1, abar)
        path.append(x)
    for line in torch.stack(path, 1):
        axes[2].plot(*line.T, color="0.45", linestyle="-", linewidth=1)
    axes[2].scatter(*path[0].T, s=18, marker="x", color=plotting.COLOURS[0], label="start, noise", zorder=3)
    axes[2].scatter(*path[-1].T, s=24, color=plotting.COLOURS[1], label="end", zorder=3)
    axes[2].set(title="DDIM paths with η = 0", aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    axes[2].legend(loc="upper left", fontsize=9)
    far = float((path[-1][:, None] - RING).norm(dim=-1).min(1).values.max())
    plotting.show(
        fig,
        alt="Left: arrows of the score at step 60 on a square; all point inwards to the middle, where the eight shrunken centres lie close together. Middle: at step 15 they point to the nearest of eight centres. "
        f"Right: 24 smooth DDIM paths from noise to the ring; none ends farther than {far:.2f} from a centre.",
    )


with checks.uses("schedule", "ddim_step", "score"):
    draw_scores()

# %% [markdown]
# ### Guidance
#
# Give the network a label $y$ as well, and it predicts the noise in a picture *of that class*. Train it now and then without the label, and one network knows both, $\epsilon_\theta(x, t, y)$ and $\epsilon_\theta(x, t)$. **Classifier-free guidance** (Ho and Salimans, 2022) goes on from the one towards the other, and beyond:
#
# $$ \tilde\epsilon = \epsilon_\theta(x, t) + w\,\big(\epsilon_\theta(x, t, y) - \epsilon_\theta(x, t)\big) . $$
#
# As scores: the difference is $\nabla_x \log p_t(y \mid x)$, a classifier that nobody trained, and $w$ says how loud it speaks. $w = 0$ ignores the label, $w = 1$ is the plain conditional model, $w > 1$ exaggerates what is typical of the class. The paper counts from there, with its $w$ one less than ours.

# %% [markdown]
# **Exercise 9.6c · `cfg`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# One line. Mind which of the two predictions $w$ moves away from.
#
# <details><summary>Hint 1: where to start</summary>
#
# Check your line with $w = 0$ and with $w = 1$.
#
# </details>
#
# <details><summary>Hint 2: which convention</summary>
#
# $(1+w)\,\epsilon_{\text{cond}} - w\,\epsilon_{\text{uncond}}$ is the paper's, whose $w = 0$ is our $w = 1$. Write ours.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "cfg", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cfg(eps_cond: Tensor, eps_uncond: Tensor, w: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022), with w = 1 for the plain conditional prediction.

    Args:
        eps_cond: noise predicted with the label, any shape.
        eps_uncond: noise predicted without it, likewise.
        w: strength of guidance, at least 0.

    Returns:
        The guided prediction, like the two.
    """
    ### BEGIN SOLUTION
    return eps_uncond + w * (eps_cond - eps_uncond)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-cfg", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("cfg", points=1)

with check("three strengths by hand", points=0.5):
    with_label, without = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 2.0])
    for w, want, mistakes in (
        (
            0.0,
            [1.0, 2.0],
            {"w = 0 ignores the label. This is the paper's convention, one less than ours.": [3.0, 0.0]},
        ),
        (1.0, [3.0, 0.0], {"w = 1 is the plain conditional prediction. Yours is swapped.": [1.0, 2.0]}),
        (
            2.0,
            [5.0, -2.0],
            {
                "This is the paper's convention, one less than ours.": [7.0, -4.0],
                "The two predictions are swapped: start from the one without the label.": [-1.0, 4.0],
                "This is their weighted sum. Add w times the difference to the one without the label.": [7.0, 2.0],
            },
        ),
    ):
        check.close(cfg(with_label, without, w), want, mistakes=mistakes)

### BEGIN HIDDEN TESTS
with check("a straight line through both predictions", points=0.5):
    for shape, dtype in (((1,), torch.float64), ((3, 3), torch.float32), ((2, 1, 4, 4), torch.float64)):
        a, b = (torch.randn(shape[::-1], generator=check.gen, dtype=dtype).permute(*range(len(shape))[::-1]) for _ in range(2))
        w = float(check.rng.uniform(1.5, 4))
        with check.no_side_effects(a, b):
            got = cfg(a, b, w)
        check.dtype(got, dtype)
        check.close(cfg(a, b, 0.0), b)
        check.close(cfg(a, b, 1.0), a, atol=1e-5)
        check.close((got - b) / w, a - b, rtol=1e-4, atol=1e-5)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 7  A model that writes digits on demand
#
# The network is given: two hidden layers with a skip around each, told the step by a sinusoidal code as in 05-transformer and the label by a learnt vector. One more vector stands for "no label". Real image models put a U-net of convolutions in its place, the lecture's SORA a transformer, and
# **latent diffusion** (Stable Diffusion; also the brain-reading paper that the lecture cites) first compresses the images with an autoencoder and diffuses the codes; schedule, loss and sampler stay what you wrote.


# %% nbgrader={"grade": false, "grade_id": "setup-denoiser", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Denoiser(nn.Module):
    """Predicts the noise in x_t, with or without a label: (N, d), (N,), (N,) -> (N, d).

    Args:
        d: numbers an example.
        classes: number of classes. The label ``classes`` itself means "no label", and so does leaving it out.
        width: of the hidden layers.
        depth: number of hidden layers.
    """

    def __init__(self, d: int, classes: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("frequencies", torch.exp(-math.log(1000) * torch.arange(16) / 16))
        self.data, self.time = nn.Linear(d, width), nn.Linear(32, width)
        self.label = nn.Embedding(classes + 1, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.out = nn.Linear(width, d)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        angles = t[:, None] * self.frequencies
        label = torch.full_like(t, self.classes) if y is None else y
        h = self.data(x) + self.time(torch.cat([angles.sin(), angles.cos()], 1)) + self.label(label)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + layer(F.silu(norm(h)))
        return self.out(h)


# %% [markdown]
# **Exercise 9.7a · `guided`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# The samplers want a function of `x` and `t`. Make one from a model, labels and a strength: it asks the model twice and combines the answers with your `cfg`.
#
# <details><summary>Hint 1: where to start</summary>
#
# A function that defines a function and returns it: `def eps_fn(x, t): …` inside, `return eps_fn` at the end. It may use `model`, `y` and `w`.
#
# </details>
#
# <details><summary>Hint 2: without the label</summary>
#
# `model(x, t, y)` predicts with the label, `model(x, t)` without. `guided` itself calls neither: the inner function does, each time it is called.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "guided", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided(model: nn.Module, y: Tensor, w: float) -> NoisePredictor:
    """A guided noise predictor for the samplers.

    Args:
        model: called as model(x, t, y) with labels and as model(x, t) without.
        y: the label of each example, int64, shape (N,).
        w: strength of guidance; 0 ignores the labels, 1 is the plain conditional prediction.

    Returns:
        A function of x, shape (N, ...), and t, int64 of shape (N,), that gives the guided noise, like x.
    """

    ### BEGIN SOLUTION
    def eps_fn(x: Tensor, t: Tensor) -> Tensor:
        return cfg(model(x, t, y), model(x, t), w)

    return eps_fn
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-guided", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("guided", points=2)
### BEGIN HIDDEN TESTS
check.use(cfg=lambda eps_cond, eps_uncond, w: torch.lerp(eps_uncond, eps_cond, w))
### END HIDDEN TESTS

with check("a model that answers 3 with a label and 1 without", points=1):

    def three_or_one(x, t, y=None):
        return torch.full_like(x, 1.0 if y is None else 3.0)

    eps_fn = guided(three_or_one, torch.tensor([0, 1]), 2.0)
    check.close(
        eps_fn(torch.zeros(2, 2), torch.tensor([5, 5])),
        [[5.0, 5.0], [5.0, 5.0]],
        mistakes={
            "This is the prediction with the label. Guidance with w = 2 goes beyond it.": [[3.0, 3.0], [3.0, 3.0]],
            "The two predictions are swapped.": [[-1.0, -1.0], [-1.0, -1.0]],
            "The model got no label in either call.": [[1.0, 1.0], [1.0, 1.0]],
            "This is the paper's convention, one less than ours. Look at your cfg.": [[7.0, 7.0], [7.0, 7.0]],
        },
    )

### BEGIN HIDDEN TESTS
with check("each example its own label, x and t passed on, any strength", points=1):
    table = torch.randn(5, 3, generator=check.gen, dtype=torch.float64)  # row 4: no label

    def lookup(x, t, y=None):
        return table[torch.full_like(t, 4) if y is None else y] * (t[:, None] + 1) + x

    for N, w in ((4, 1.0), (1, 0.0), (6, 3.0)):
        y, t = torch.randint(4, (N,), generator=check.gen), torch.randint(9, (N,), generator=check.gen)
        eps_fn = guided(lookup, y, w)
        for _ in range(2):
            x = torch.randn(N, 3, generator=check.gen, dtype=torch.float64)
            with check.no_side_effects(x, t, y):
                got = eps_fn(x, t)
            check.close(
                got,
                (w * table[y] + (1 - w) * table[4]) * (t[:, None] + 1) + x,
                mistakes={
                    "The prediction does not depend on w.": lambda x=x, t=t, y=y: lookup(x, t, y),
                    "The labels were ignored.": lambda x=x, t=t: lookup(x, t),
                    "All examples got the label of the first.": lambda x=x, t=t, y=y, w=w: lookup(x, t) + w * (lookup(x, t, y * 0 + y[0]) - lookup(x, t)),
                    "x or t of the first call was kept. The returned function works on what it is given.": lambda got=got: (
                        got if got.shape == x.shape else np.inf
                    ),
                },
            )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 9.7b · `train_ddpm`** (4 points · difficulty 4 of 5 · about 40 minutes)
#
# Train a `Denoiser` with your `ddpm_loss`. In each step, a random batch; each example keeps its label but for a share `drop` of them, which is told "no label". Optimiser, batch size and learning rate are yours. 300 steps on the digits, two seconds, must do for samples of which, with guidance, at least half are the digit asked for, where guessing gives a tenth; 2000 steps, later, give nearly all. Everything random must follow from `seed`.
#
# <details><summary>Hint 1: where to start</summary>
#
# `ddpm_loss` wants a model of `x` and `t` only: give it `lambda xt, t: model(xt, t, labels)`, with the labels of this batch. "No label" is the label `model.classes`; `torch.where` puts it in at random places.
#
# </details>
#
# <details><summary>Hint 2: it learns too slowly</summary>
#
# AdamW with a learning rate of 0.01 makes 300 steps count, if it warms up first and calms down at the end: `torch.optim.lr_scheduler.OneCycleLR` does both; call its `step` after every batch. Batches of 128 are large enough.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_ddpm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_ddpm(
    x: Tensor,
    y: Tensor,
    abar: Tensor,
    steps: int = 2000,
    drop: float = 0.1,
    seed: int = 0,
) -> nn.Module:
    """Train a class-conditional diffusion model that can also do without labels.

    Args:
        x: data, float32 of shape (N, d), values around -1 to 1.
        y: classes, int64 from 0 to K - 1, each of which occurs; shape (N,).
        abar: what each step of the schedule leaves of the data's variance, shape (T,).
        steps: number of batches.
        drop: share of the examples whose label is left out, drawn anew in each batch.
        seed: of the weights and of everything drawn; the same seed gives the same model.

    Returns:
        The trained ``Denoiser``, on the device of ``x``.
    """
    ### BEGIN SOLUTION
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1).to(x.device)
    gen = torch.Generator(x.device).manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen, device=x.device)
        dropped = torch.rand(128, generator=gen, device=x.device) < drop
        labels = torch.where(dropped, model.classes, y[batch])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_ddpm", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_ddpm", points=4)


### BEGIN HIDDEN TESTS
def trusted_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    left, noise = abar.to(x0)[t, None], torch.empty_like(x0).normal_(generator=gen)
    return (model(torch.addcmul((1 - left).sqrt() * noise, left.sqrt(), x0), t) - noise).pow(2).mean()


check.use(ddpm_loss=trusted_loss)
### END HIDDEN TESTS
levels = torch.cumprod(1 - torch.linspace(0.002, 0.4, 50, dtype=torch.float64), 0)


def found_noise(model, xt, y=None):
    """The noise that the model finds at every step of the schedule, (steps, N, d) like the noisy data."""
    with torch.no_grad():
        steps = [torch.full((len(x),), k) for k, x in enumerate(xt)]
        return torch.stack([model(x, t) if y is None else model(x, t, y) for x, t in zip(xt, steps, strict=True)])


def held_out_loss(model, x, y=None):
    """Squared error of the predicted noise at every step of the schedule, on the data given."""
    eps, left = torch.randn(len(levels), *x.shape, generator=torch.Generator().manual_seed(5)), levels[:, None, None].float()
    return float((check.run(found_noise, model, left.sqrt() * x + (1 - left).sqrt() * eps, y) - eps).square().mean())


with check("50 steps: better than answering 0", points=1, seconds=30):
    with torch.random.fork_rng():
        model = train_ddpm(2 * digits.x_train - 1, digits.y_train, levels, steps=50, seed=1)
    check.at_most(
        held_out_loss(model, 2 * digits.x_test[:100] - 1, digits.y_test[:100]),
        0.4,
        "loss on unseen digits, where answering 0 gives 1",
    )

### BEGIN HIDDEN TESTS


def generate(model, x, y, w, steps=25):
    """Guided samples by DDIM from pure noise x, in pixels from 0 to 1."""
    when = [round(k) for k in np.linspace(len(levels) - 1, 0, steps)]
    with torch.no_grad():
        for k, after in zip(when, [*when[1:], None], strict=True):
            t = torch.full((len(y),), k)
            eps = torch.lerp(model(x, t), model(x, t, y), w)
            clean = (x - math.sqrt(1 - levels[k]) * eps) / math.sqrt(levels[k])
            x = clean if after is None else math.sqrt(levels[after]) * clean + math.sqrt(1 - levels[after]) * eps
    return ((x + 1) / 2).clamp(0, 1)


with check("300 steps: half of the guided samples are the digit asked for, at least", points=2, seconds=60):
    seed = check.seeds(1)[0]
    with torch.random.fork_rng():
        model = train_ddpm(2 * digits.x_train - 1, digits.y_train, levels, steps=300, seed=seed)
    x_test, y_test = 2 * digits.x_test[:150] - 1, digits.y_test[:150]
    labelled, unlabelled = held_out_loss(model, x_test, y_test), held_out_loss(model, x_test)
    wanted = torch.arange(200) % 10
    images = check.run(generate, model, torch.randn(200, 64, generator=check.gen), wanted, 2.0)
    check.law(
        torch.isfinite(images).all(),
        "the samples are finite numbers; yours are not",
        mistakes={"The weights have run away. Are old gradients cleared in each step, and is the learning rate not too high?": True},
    )
    right = (metrics.classify(images) == wanted).float()
    check.law(
        right.mean() >= 0.5,
        f"share of samples that are the digit asked for: expected at least 0.5, got {float(right.mean()):.3f}",
        mistakes={
            "The loss is hardly below that of answering 0. Do the steps go downhill?": min(labelled, unlabelled) > 0.6,
            "The model has never seen `no label`. Put model.classes in the place of a share `drop` of the labels.": unlabelled > 1.35 * labelled,
            "The model does not listen to the label. Are the labels those of the batch, and are they passed on to the model?": labelled > 0.98 * unlabelled,
            "It learns, but too little in 300 steps. Try a higher learning rate with a warm-up.": True,
        },
    )

with check("it can do without labels, and the arguments are used", points=1, seconds=60):
    check.law(
        1.03 * labelled < unlabelled < 1.35 * labelled,
        f"without labels the loss is a little higher; with them yours is {labelled:.3f}, without {unlabelled:.3f}",
        mistakes={
            "The model has never seen `no label`. Put model.classes in the place of a share `drop` of the labels.": unlabelled > 1.35 * labelled,
            "The label makes no difference. Is it passed on to the model?": True,
        },
    )
    centres = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]])
    y = torch.arange(90) % 3
    x = centres[y] + 0.1 * torch.randn(90, 2, generator=check.gen)
    seed, other = check.seeds(2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = train_ddpm(x, y, levels, steps=10, seed=seed)
        torch.manual_seed(2)
        again, different, longer, dropless = (
            train_ddpm(x, y, levels, steps=n, seed=s, drop=q) for n, s, q in ((10, seed, 0.1), (10, other, 0.1), (15, seed, 0.1), (10, seed, 1.0))
        )
    t = torch.full((90,), 20)
    with torch.no_grad():
        out = first(x, t, y)
        check.shape(out, (90, 2))
        check.law(
            torch.allclose(again(x, t, y), out, atol=1e-4),
            "the same seed gives the same model; yours differ. Seed the weights too: torch.manual_seed or training.seed_everything first",
        )
        for model_of, what in ((different, "seed"), (longer, "steps"), (dropless, "drop")):
            check.law(not torch.allclose(model_of(x, t, y), out, atol=1e-4), f"`{what}` makes a difference; in yours it does not")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### How good are its digits, and what does each choice cost?
#
# Now 2000 steps, and 450 samples from each of several samplers on the *same* network. The metric is that of 07-autoencoder and 08-gan: the **Fréchet distance** to the training images in the features of a small frozen classifier (less is better); the share of samples that the classifier takes for the digit asked for; and the mean distance to the nearest training image.
# The ends of the scale are 450 real test images, and noise.
#
# For larger images call `draw_digits(0, 20, W, name="mnist")`, or `"fashion-mnist"`: 450 samples by DDIM in 20 steps, after the training. They are downloaded once and take longer. The metric knows only 8 × 8 digits.


# %% nbgrader={"grade": false, "grade_id": "experiment-digits", "locked": true, "schema_version": 3, "solution": false, "task": false}
STEPS, W = 100, 1.5  # of the schedule; and the strength of guidance, chosen on other seeds
WANTED = torch.arange(metrics.SAMPLES) % 10
SAMPLERS = {  # name -> (number of steps, strength of guidance)
    "ancestral, no guidance (w = 1)": (STEPS, 1.0),
    "ancestral, w = 1.5": (STEPS, W),
    "ancestral, w = 4": (STEPS, 4.0),
    "DDIM, 5 steps, w = 1": (5, 1.0),
    "one step, as in the lecture": (0, 1.0),
}


@functools.cache
def digits_model(seed: int, name: str) -> nn.Module:
    """Your model after 2000 steps on the images of ``data.load(name)``, scaled to -1 ... 1."""
    where = device.pick()
    split = data.load(name).torch(where)
    abar = schedule(STEPS)[2].to(where, torch.float32)
    return train_ddpm(2 * split.x_train - 1, split.y_train, abar, seed=seed)


def ddim_sample(eps_fn: NoisePredictor, x: Tensor, start: int, steps: int) -> Tensor:
    """From noise level ``start`` to the end in equal strides, without randomness."""
    abar = schedule(STEPS)[2]
    levels = np.linspace(start, -1, min(steps, start + 1) + 1).round().astype(int).tolist()
    with torch.no_grad():
        for t, s in zip(levels[:-1], levels[1:], strict=True):
            x = ddim_step(x, eps_fn(x, torch.full((len(x),), t, device=x.device)), t, s, abar)
    return x


def draw_digits(seed: int, steps: int, w: float, name: str = "digits") -> Tensor:
    """450 samples, 45 of each class, in pixels from 0 to 1: ancestral for 100 steps, DDIM for fewer, the lecture's way for 0."""
    model = digits_model(seed, name)
    where = next(model.parameters()).device
    gen, shape = torch.Generator(where).manual_seed(seed), (len(WANTED), model.out.out_features)
    eps_fn = guided(model, WANTED.to(where), w)
    if steps == STEPS:
        x = p_sample_loop(eps_fn, shape, schedule(STEPS), gen)
    else:
        x = torch.randn(shape, generator=gen, device=where)
        with torch.no_grad():
            x = ddim_sample(eps_fn, x, STEPS - 1, steps) if steps else x - eps_fn(x, torch.full((len(x),), STEPS - 1, device=where))
    return ((x + 1) / 2).clamp(0, 1).cpu()


def ddpm_quality(seed: int) -> metrics.Quality:
    """Quality of 450 digits, drawn on demand by ancestral sampling with guidance."""
    return metrics.quality(draw_digits(seed, STEPS, W), real=digits.x_train, labels=WANTED)


def digits_experiment(seed: int) -> tuple[dict[str, metrics.Quality], dict[str, Tensor]]:
    """Quality of real test images, of every sampler and of noise; and the images."""
    images = {"real test images": digits.x_test}
    images |= {name: draw_digits(seed, *how) for name, how in training.progress(SAMPLERS.items(), desc="samplers")}
    images["noise"] = (torch.randn(len(WANTED), 64, generator=torch.Generator().manual_seed(seed)) / 2 + 0.5).clamp(0, 1)
    labels = dict.fromkeys(SAMPLERS, WANTED) | {"real test images": digits.y_test}
    return {name: metrics.quality(x, real=digits.x_train, labels=labels.get(name)) for name, x in images.items()}, images


# %% nbgrader={"grade": false, "grade_id": "experiment-digits-result", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("schedule", "q_sample", "ddpm_loss", "posterior", "p_sample_loop", "ddim_step", "cfg", "guided", "train_ddpm"):
    found, images = digits_experiment(seed=0)
    shown = [
        "real test images",
        "ancestral, w = 1.5",
        "ancestral, w = 4",
        "DDIM, 5 steps, w = 1",
        "ancestral, no guidance (w = 1)",
        "one step, as in the lecture",
    ]
    by_class = torch.stack([(digits.y_test == digit).nonzero()[:4, 0] for digit in range(10)], dim=1).flatten()  # four rows, a column a class
    fig, axes = plotting.subplots(3, 2, width=11, height=4.4)
    for ax, name in zip(axes.flat, shown, strict=True):
        plotting.sheet(ax, images[name][by_class if name == "real test images" else slice(40)].reshape(-1, 8, 8))
        ax.set_title(f"{name}\nFréchet {found[name].frechet:.3g}, as asked {found[name].accuracy:.3f}", fontsize=10)
    plotting.show(
        fig,
        alt="Six sheets of forty digits, a column a class. "
        + " ".join(f"{name}: Fréchet distance {found[name].frechet:.2f}, {found[name].accuracy:.3f} as asked." for name in shown)
        + " The guided samples can hardly be told from real ones; at w = 4 they are bold and all alike; without guidance a few are no digit; the lecture's single step gives flat grey squares.",
    )
    guided_quality, plain, loud = (found[f"ancestral, {name}"] for name in ("w = 1.5", "no guidance (w = 1)", "w = 4"))
    claims.show(
        Claim("Fréchet distance, real test images", "not in the lecture", found["real test images"].frechet),
        Claim("Fréchet distance, ancestral, w = 1.5", "not in the lecture", guided_quality.frechet, at_most=4),
        Claim("share as asked for", "not in the lecture", guided_quality.accuracy, at_least=0.96),
        Claim(
            "Fréchet, no guidance, over that with w = 1.5",
            "not in the lecture",
            plain.frechet / guided_quality.frechet,
            at_least=1.5,
        ),
        Claim("Fréchet, w = 4, over that with w = 1.5", "not in the lecture", loud.frechet / guided_quality.frechet, at_least=3),
        Claim("Fréchet distance, DDIM in 5 steps, w = 1", "not in the lecture", found["DDIM, 5 steps, w = 1"].frechet, at_most=5),
        Claim(
            "the same over ancestral sampling in 100 steps, w = 1",
            "not in the lecture",
            found["DDIM, 5 steps, w = 1"].frechet / plain.frechet,
        ),
        Claim("Fréchet distance, normal noise", "not in the lecture", found["noise"].frechet, at_least=15),
        Claim(
            "Fréchet distance, the lecture's step",
            "generates data (CS909)",
            found["one step, as in the lecture"].frechet,
            at_least=30,
        ),
    )

# %% [markdown]
# Look at the sheets, and at the numbers beside them.
#
# - With a little guidance the samples are nearly as close to the training images as other real images are, and practically all are the digit asked for. Without guidance a few are no digit; with much of it all are, but they lose their variety, and the Fréchet distance sees that. Guidance buys obedience with diversity.
# - DDIM gets by with a **twentieth of the steps**, five in place of a hundred, and does not get worse; here it even does better than ancestral sampling without guidance. A likely reason: near $t = 0$ the network is weak (its loss there is about 1, see section 8), so it cannot take off again the fresh noise that the last ancestral steps add. Look for grey specks.
# - The lecture's single step gives a flat grey square. It is *farther* from the data than noise is.
#
# **"Diffusion models beat GANs"** is the title of the paper that the lecture cites. It is a result on ImageNet at up to 512 × 512 pixels, with guidance by a classifier and after a long search for the architecture, and not a law. What can be said here is what was measured, on the same 1347 digits, with the same metric, 450 samples a model. Each row is the mean of three runs of that lecture's own model:

# %% nbgrader={"grade": false, "grade_id": "experiment-models", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
metrics.show(metrics.measured())

# %% [markdown]
# At this size the claim **does not hold** for the Fréchet distance. The conditional GAN and guided diffusion are level: of three runs each, 1.1 to 1.3 and 1.2 to 1.5, and the GAN draws in one pass. What the diffusion model does beat is both autoencoders, the GAN without labels, and the conditional GAN on drawing what was asked for. It was also the least trouble to train: no adversary, no balance to keep.
# (A Fréchet distance below that of real test images is no miracle: both are finite samples, and the generator was fitted to the very images that it is compared with.)
#
# ## 8  Why does it not just remember?
#
# Here is a puzzle. The training loss has an exact minimiser, and it needs no network. The training set is $N$ points $x^{(1)}, \dots, x^{(N)}$; then
#
# $$ \mathbb E[x_0 \mid x_t = x] = \sum_i w_i\, x^{(i)}, \qquad w = \operatorname{softmax}_i\Big( -\frac{\lVert x - \sqrt{\bar\alpha_t}\, x^{(i)} \rVert^2}{2\,(1 - \bar\alpha_t)} \Big), $$
#
# attention over the training images (05-transformer), and $\epsilon^*$ follows from it. Nothing has a lower training loss. Your sampler runs with it as with any other predictor. What does it draw?


# %% nbgrader={"grade": false, "grade_id": "experiment-memory", "locked": true, "schema_version": 3, "solution": false, "task": false}
def memory_noise(known: Tensor, abar: Tensor) -> NoisePredictor:
    """E[noise | x_t = x] where the data is one of the rows of ``known``: the exact minimiser of the training loss."""

    def eps_fn(x: Tensor, t: Tensor) -> Tensor:
        left = abar.to(x)[t][:, None]
        scores = (left.sqrt() * x @ known.T - left * known.square().sum(1) / 2) / (1 - left)  # up to what all i share
        return (x - left.sqrt() * scores.softmax(1) @ known) / (1 - left).sqrt()

    return eps_fn


def loss_by_step(eps_fn: NoisePredictor, x: Tensor, steps: range, gen: torch.Generator) -> np.ndarray:
    """Mean squared error of the predicted noise at each of the steps."""
    abar, losses = schedule(STEPS)[2], []
    with torch.no_grad():
        for step in steps:
            t, eps = torch.full((len(x),), step), torch.randn(x.shape, generator=gen)
            losses.append(float((eps_fn(q_sample(x, t, eps, abar), t) - eps).square().mean()))
    return np.array(losses)


def memory_experiment(seed: int) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, metrics.Quality], dict[str, Tensor]]:
    """Loss by step of the network and of the exact minimiser, on training and test images; their samples' quality; the samples."""
    train, test = 2 * digits.x_train - 1, 2 * digits.x_test - 1
    gen, sched = torch.Generator().manual_seed(seed), schedule(STEPS)
    exact, network = memory_noise(train, sched[2]), digits_model(seed, "digits").cpu()
    losses = {
        (who, what): loss_by_step(eps_fn, x, range(0, STEPS, 5), gen)
        for who, eps_fn in (("network", network), ("exact minimiser", exact))
        for what, x in (("training images", train[:450]), ("test images", test))
    }
    images = {
        "network": draw_digits(seed, STEPS, W),
        "exact minimiser": ((p_sample_loop(exact, (metrics.SAMPLES, 64), sched, gen) + 1) / 2).clamp(0, 1),
        "real test images": digits.x_test,
    }
    return losses, {who: metrics.quality(x, real=digits.x_train) for who, x in images.items()}, images


# %% nbgrader={"grade": false, "grade_id": "experiment-memory-result", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("schedule", "q_sample", "ddpm_loss", "posterior", "p_sample_loop", "cfg", "guided", "train_ddpm"):
    losses, copies, drawn = memory_experiment(seed=0)
    fig = matplotlib.figure.Figure(figsize=(11, 3.7), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
    plotting.curves(
        left,
        {f"{who}, {what}": values for (who, what), values in losses.items()},
        xlabel="step t",
        ylabel="loss",
        log=True,
        x=np.arange(0, STEPS, 5),
    )
    left.legend(fontsize=9)
    left.set(title="Best on what it has seen, worst on the rest", ylim=(1e-5, 300))
    rows = []
    for who in ("exact minimiser", "network"):
        chosen = drawn[who][:10]
        rows += [chosen, digits.x_train[torch.cdist(chosen, digits.x_train).argmin(1)]]
    plotting.sheet(right, torch.cat(rows).reshape(-1, 8, 8))
    right.set_yticks([4, 13, 22, 31], ["exact minimiser", "nearest training image", "network", "nearest training image"], fontsize=9)
    right.set_title("Ten samples, and what they are nearest to")
    means = {key: float(values.mean()) for key, values in losses.items()}
    plotting.show(
        fig,
        alt="Left: loss against step, logarithmic, for the network, whose two curves coincide, and the exact minimiser, whose curves part below step 30. Means over the steps: "
        + ", ".join(f"{who} on {what} {value:.3f}" for (who, what), value in means.items())
        + f". Right: ten samples of each with the nearest training image below. Those of the exact minimiser are the training images themselves, mean distance {copies['exact minimiser'].nearest:.2f}; the network's differ, {copies['network'].nearest:.2f}.",
    )
    claims.show(
        Claim(
            "training loss, exact minimiser over network",
            "not in the lecture",
            means["exact minimiser", "training images"] / means["network", "training images"],
            at_most=0.8,
        ),
        Claim(
            "test loss, exact minimiser over network",
            "not in the lecture",
            means["exact minimiser", "test images"] / means["network", "test images"],
            at_least=5,
        ),
        Claim("distance to the nearest training image: test images", "not in the lecture", copies["real test images"].nearest),
        Claim("the same: samples of the exact minimiser", "not in the lecture", copies["exact minimiser"].nearest, at_most=0.1),
        Claim("the same: samples of the network", "not in the lecture", copies["network"].nearest, at_least=0.8),
        Claim("Fréchet distance, exact minimiser", "not in the lecture", copies["exact minimiser"].frechet, at_most=3),
    )

# %% [markdown]
# The exact minimiser draws training images, every time. It is the best there is on the training loss and hopeless on images that it has not seen: near $t = 0$ it is *sure* that a test image is some training image with an odd noise on it. The network, with few weights and a short training, finds a smoother function instead, and that one fits unseen digits as well as seen ones: its two losses coincide. A diffusion model generalises **because** it fails to minimise its loss.
#
# Mind the last row, too. By the Fréchet distance the copier is superb. No metric that compares distributions notices copying: report the distance to the nearest training image with it, next to that of real images.
#
# ## 9  Noise it, and take the noise off
#
# An unseen digit is noised up to step $t$. Then the network guesses it in one go; the exact minimiser does; and DDIM walks back from there, ten steps at most. Move `t` and predict first: up to where is the digit recovered? What comes back above that, with the label told and without? And where does the exact minimiser start to show *somebody else's* digit? At `t = 99` the guess at once is worthless: it divides by $\sqrt{\bar\alpha_{99}} = 0.0045$, and so shows the network's small errors 220 times larger. The sampler survives that, as section 4's figure says: at such a step the guess counts for next to nothing.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-denoise", "locked": true, "schema_version": 3, "solution": false, "task": false}
def denoise(t: int, digit: int, tell_the_label: bool) -> tuple[matplotlib.figure.Figure, str]:
    """A test digit, noised up to step t; guessed by the network and by the exact minimiser; and walked back by DDIM."""
    abar, model = schedule(STEPS)[2], digits_model(0, "digits").cpu()
    x0 = 2 * digits.x_test[digits.y_test == digit][:1] - 1
    step = torch.tensor([t])
    x = q_sample(x0, step, torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)), abar)
    eps_fn = guided(model, torch.tensor([digit]), 1.5 if tell_the_label else 0.0)
    with torch.no_grad():
        guess, copy = (ddim_step(x, predict(x, step), t, -1, abar) for predict in (eps_fn, memory_noise(2 * digits.x_train - 1, abar)))
    pictures = {
        "a test digit": x0,
        f"noised, t = {t}": x,
        "guessed at once": guess,
        "exact minimiser": copy,
        "walked back": ddim_sample(eps_fn, x, t, 10),
    }
    seen = {name: int(metrics.classify((picture + 1) / 2)) for name, picture in pictures.items()}
    fig, axes = plotting.subplots(5, width=7.6, height=2.0)
    for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
        ax.set_title(f"{name}\nread as {seen[name]}", fontsize=10)
        ax.set_axis_off()
    away = {name: float((picture.clamp(-1, 1) - x0).norm() / 2) for name, picture in pictures.items()}
    return fig, (
        f"A {digit} from the test images, noised up to step {t}, where {float(abar[t]):.2g} of its variance is left. Distance to the original in pixels, and what the classifier reads: "
        + ", ".join(f"{name} {away[name]:.2f}, a {seen[name]}" for name in pictures if name != "a test digit")
        + "."
    )


widgets.explore(
    denoise,
    sliders={"t": (0, 99, 1, 30), "digit": (0, 9, 1, 3), "tell_the_label": True},
    twin=[
        {"t": 15},
        {"t": 40},
        {"t": 60, "tell_the_label": False},
        {"t": 99},
    ],
    title="From data to noise and back",
)

# %% [markdown]
# ## 10  Written question
#
# (a) CS909 generates data by $x = x_T - \epsilon_\theta(x_T, T)$ with $x_T \sim \mathcal N(0, 1)$. Let $\epsilon_\theta$ be the *best* predictor, $\mathbb E[\epsilon \mid x_T]$. Derive what $x$ is, in terms of $\bar\alpha_T$ and $\mathbb E[x_0 \mid x_T]$; say what it tends to, and what its size is for the 100-step schedule of this notebook. Then say why putting the scales right does not rescue a single step. (2.5 points)
#
# (b) The network of section 7 never reaches the lowest training loss. Someone trains one ten times as wide, ten times as long, on the same 1347 digits, and reports a Fréchet distance below yours. What do you suspect, what would you measure, and what would the result be in either case? (1.5 points)
#
# Eight to fifteen sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
# (a) Solve $x_T = \sqrt{\bar\alpha_T}\,x_0 + \sqrt{1-\bar\alpha_T}\,\epsilon$ for the noise and take the mean given $x_T$: $\mathbb E[\epsilon \mid x_T] = \big(x_T - \sqrt{\bar\alpha_T}\,\mathbb E[x_0 \mid x_T]\big)/\sqrt{1-\bar\alpha_T}$. Hence
# $$ x = x_T - \mathbb E[\epsilon \mid x_T] = \frac{\sqrt{\bar\alpha_T}}{\sqrt{1-\bar\alpha_T}}\,\mathbb E[x_0 \mid x_T] - \Big(\frac{1}{\sqrt{1-\bar\alpha_T}} - 1\Big)\,x_T . $$
# With $\bar\alpha_T \to 0$ the first factor behaves like $\sqrt{\bar\alpha_T}$ and the second like $\bar\alpha_T/2$, so $x \to 0$: the predictor answers $x_T$ itself, for hardly anything but noise is in it. A schedule has to end there, otherwise one could not start from $\mathcal N(0,1)$.
# With 100 linear steps $\bar\alpha_T \approx 2.0 \cdot 10^{-5}$, so $x \approx 0.0045\,\mathbb E[x_0 \mid x_T]$: a few thousandths of the data's size, for every $x_T$. With the scales put right the step is $\hat x_0 = \mathbb E[x_0 \mid x_T]$, and as $x_T$ tells nearly nothing about $x_0$ this is nearly $\mathbb E[x_0]$, the mean of all the data, whatever $x_T$ was:
# no sample, and no variety. Data of several classes has no member near its mean. One needs many steps so that each guess is made from a picture in which a little more has been decided, and fresh noise (or at least a different $x_T$) to decide it differently.
#
# (b) I suspect memorising. The exact minimiser of the training loss draws the training images themselves, a larger network trained longer comes closer to it, and the Fréchet distance rewards that: the copier's is excellent. I would measure the mean distance of the samples to their nearest training image, next to that of the real test images,
# and the loss on test images next to that on training images. If it memorises, the first is far below that of the test images (here about 0 against 1.04), and the test loss lies far above the training loss. If it is simply better, the samples are about as far from the training images as test images are, and the test loss has fallen as well.
### END SOLUTION
### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: $\mathbb E[\epsilon \mid x_T]$ from solving for the noise, and the difference written out. Half a point for "$\epsilon_\theta(x_T, T) \approx x_T$ because only noise is left" without the algebra.
# - (a) half a point: it tends to 0; its size is about $\sqrt{\bar\alpha_T}$ times the data's, with the number.
# - (a) 1 point: with scales one gets $\mathbb E[x_0 \mid x_T] \approx \mathbb E[x_0]$ (half), which is no sample and the same for all (half).
# - (b) half a point: memorising is suspected, since the exact minimiser copies.
# - (b) 1 point: nearest-neighbour distance *with the yardstick of real held-out images* (half), or train against test loss; and what either outcome would look like (half).
#
# Accept an argument for (a) by the score or by a normal $x_0$ worked out. "The network is too small" is no answer to (a): the predictor is the best there is.
### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - The forward process shrinks the data as it adds noise: $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$, one jump to any level. A schedule must end in noise; fewer steps need larger ones.
# - Training is regression on noise that we drew ourselves. The best answer is a conditional mean; it is the score up to a factor $-1/\sqrt{1-\bar\alpha_t}$.
# - One step back has a closed form given $x_0$. The sampler puts in its present guess, draws, and guesses again, down to $t = 0$, where no noise is added.
# - One step from noise gives 0 as the lecture writes it, and the mean of the data with the scales put right. Neither is a sample.
# - DDIM skips steps and needs no randomness; guidance trades variety for obedience.
# - The exact minimiser of the loss copies the training set. A distance to the nearest training image tells; the Fréchet distance does not.
#
# **Next:** representations without a generator, by telling pictures apart: 10-contrastive.
