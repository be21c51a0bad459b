# %% [markdown]
# # 02 · Backpropagation and automatic differentiation
#
# A network learns because we can compute, for every one of its weights, which way the loss moves when that weight moves. In this notebook you derive that
# computation, write it three times (by hand, as vector–Jacobian products, as a small autodiff engine), check it against finite differences, and train a
# classifier of handwritten digits with nothing but your own parts. Then you measure when gradients vanish, and find that the usual story is half a story.
#
# **You will be able to**
# - differentiate the usual activations and losses, and compute them without overflow;
# - derive and code the backward recursion of a multilayer perceptron;
# - tell a right gradient from a nearly right one with finite differences;
# - say why nobody stores a Jacobian, and what is computed in its place;
# - build reverse-mode autodiff for any graph of scalar operations;
# - predict from depth, activation and initialisation whether the gradient reaches the first layer.
#
# **About 240 minutes, 36 points**: 32 for nine exercises, 4 for the written question. "Run All" takes about 15 seconds of one CPU core (measured), half of it for importing.
#
# **Follows** Asano, MLx Fundamentals 2024, from "What is a module?" to "Chain rule visualized"; Minhas, CS909 (Warwick), from "Proof for the Learning Rule" to
# "How to fix / Good practice"; Deep Learning for Computer Vision, Part I, "Gradients via chain rule" and "Backpropagation". Where a slide is wrong, this notebook
# says so, shows it by a number, and gives the number of the erratum.
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.
#
# **Conventions** Examples are rows: $x$ has shape $(N, d)$. A layer has a weight $W$ of shape (out, in) and computes the *pre-activation* $a = xW^\top + b$, then
# $h = \sigma(a)$. The loss is $\mathcal L$ or $E$. The *error signal* of a layer is $\delta = \partial\mathcal L/\partial a$, with a plus sign; descent subtracts.
# Arrays are NumPy float64, except in section 6, where they are torch tensors. None of your functions may change its inputs or draw from a global random generator.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from dlcourse_utils import checks, data, plotting, training, widgets
from dlcourse_utils.claims import Claim, show

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Params = list[tuple[FloatArray, FloatArray]]  # one (W, b) a layer: W of shape (out, in), b of shape (out,)
Activation = Callable[[FloatArray], tuple[FloatArray, FloatArray]]  # a -> (value, derivative), both shaped like a

torch.set_num_threads(1)
digits = data.load("digits")  # 1347 images of 8x8 to learn from, 450 to be judged on

# %% [markdown]
# ## 1  Functions whose slope we know
#
# Backpropagation needs one thing of every module: its derivative, (almost) everywhere. That is all Asano's "Requirements" ask. For an activation, applied entry by
# entry, the derivative is a function of the pre-activation $a$:
#
# | name | value | derivative |
# |---|---|---|
# | `sigmoid` | $\sigma(a) = 1/(1+e^{-a})$ | $\sigma(a)\,(1-\sigma(a)) \le \tfrac14$ |
# | `tanh` | $\tanh a = 2\sigma(2a) - 1$ | $1-\tanh^2 a \le 1$ |
# | `relu` | $\max(0, a)$ | $1$ if $a>0$, $0$ if $a<0$ |
# | `leaky` | $a$ if $a>0$, else $\alpha a$ | $1$, else $\alpha$ |
# | `elu` | $a$ if $a>0$, else $\alpha(e^a-1)$ | $1$, else $\alpha e^a$ |
# | `gelu` | $a\,\Phi(a)$ | $\Phi(a) + a\,\varphi(a)$ |
# | `softplus` | $\log(1+e^a)$ | $\sigma(a)$ |
# | `arctan` | $\arctan a$ | $1/(1+a^2)$ |
#
# $\Phi$ and $\varphi$ are the distribution function and the density of the standard normal. At exactly 0, ReLU has no derivative; any number from 0 to 1 is a
# *subgradient* and will do. Minhas's table takes 1, Asano's slide and torch take 0.


# %% nbgrader={"grade": false, "grade_id": "figure-activations", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_activations():
    shapes = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": F.relu,
        "leaky, α = 0.1": lambda a: F.leaky_relu(a, 0.1),
        "elu, α = 1": F.elu,
        "gelu": F.gelu,
        "softplus": F.softplus,
        "arctan": torch.atan,
    }
    fig, axes = plotting.subplots(4, 2, width=11, height=5)
    for ax, (name, f) in zip(axes.flat, shapes.items(), strict=True):
        a = torch.linspace(-4, 4, 401, requires_grad=True)
        value = f(a)
        (slope,) = torch.autograd.grad(value.sum(), a)
        ax.plot(a.detach(), value.detach(), label="value")
        ax.plot(a.detach(), slope, label="derivative")
        ax.set(title=name, ylim=(-1.7, 2.2), xticks=[-4, 0, 4])
    axes[0, 0].legend(loc="lower right")
    plotting.show(
        fig,
        alt="Eight panels, each an activation (solid) and its derivative (dashed) for a from -4 to 4. The sigmoid's derivative peaks at 0.25 and tanh's at 1, both "
        "at 0, and both die away on either side. ReLU's derivative is 0 left of 0 and 1 right of it; leaky ReLU's is 0.1 and 1. ELU's falls smoothly to 0 on the "
        "left and is never negative. GELU's derivative is negative below -0.75 and overshoots 1 to the right. Softplus has the sigmoid as its derivative.",
    )


draw_activations()

# %% [markdown]
# **What the slides get wrong here**
# - Asano's "Exponential Linear Unit (ELU)" gives ELU a non-monotone bump and calls it BERT's default (erratum E03). Both are true of **GELU**. ELU's derivative is
#   $\alpha e^a > 0$: it only ever rises. GELU dips to $-0.16997$ at $a=-0.7518$ (figure below, left).
# - The link under the GELU slide leads to the paper on Swish, $a\,\sigma(a)$ (erratum E45); GELU is arXiv 1606.08415. They are cousins, not twins: at $a=1$ GELU is 0.841 and
#   Swish 0.731. GELU's two approximations on that slide are right: the one with tanh is off by at most 0.0005, the one with $\sigma(1.702a)$ by at most 0.02.
# - The ReLU slide writes $\partial h/\partial w$ for the derivative with respect to the *input* of ReLU (erratum E06). With $h=\mathrm{ReLU}(wx)$, $w=2$, $x=3$ the
#   slide's 1 is $\partial h/\partial a$; $\partial h/\partial w$ is $x = 3$ and $\partial h/\partial x$ is $w = 2$.
# - "$\sin(x)$" as the example of a product of small numbers should read $\sigma(x)$ (erratum E05). The sine's slope at 0 is 1. The sigmoid's is at most ¼, and ten
#   factors of ¼ make $9.5\cdot10^{-7}$. ReLU is not "scale-invariant" but positively homogeneous: $\mathrm{ReLU}(ca)=c\,\mathrm{ReLU}(a)$ for $c>0$.
# - "ReLU is the activation of infinitely many binary sigmoid units" (Deep Learning for Computer Vision, Part I) skips two steps (erratum E61):
#   $\sum_{i\ge1}\sigma(a-i+\tfrac12)$ is close to *softplus* (within 0.011), and softplus is close to ReLU only away from 0, where it is $\log 2 = 0.69$ and not 0 (figure, right).


# %% nbgrader={"grade": false, "grade_id": "figure-bumps", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_bumps():
    a = torch.linspace(-4, 4, 401, dtype=torch.float64)
    fig, (left, right) = plotting.subplots(2)
    left.plot(a, F.elu(a), label="ELU")
    left.plot(a, F.gelu(a), label="GELU")
    left.plot(a, F.silu(a), label="Swish")
    left.annotate("GELU's minimum\n−0.170 at −0.75", (-0.7518, -0.17), xytext=(-3.9, 0.45), arrowprops={"arrowstyle": "->"})
    left.set(title="The bump is GELU's, not ELU's", xlabel="a", ylim=(-1.1, 1.5))
    left.legend(loc="lower right")
    steps = torch.sigmoid(a[:, None] - torch.arange(1, 101) + 0.5).sum(1)
    right.plot(a, steps, label="sum of 100 shifted sigmoids")
    right.plot(a, F.softplus(a), label="softplus")
    right.plot(a, F.relu(a), label="ReLU")
    right.set(title="Many sigmoids add up to softplus", xlabel="a")
    right.legend()
    plotting.show(
        fig,
        alt="Left: ELU, GELU and Swish for a from -4 to 4. ELU rises all the way from -0.98; GELU falls to its minimum of -0.170 at -0.75 and rises after it; Swish dips to -0.28 "
        "at -1.28. Right: a sum of 100 shifted sigmoids lies on top of softplus everywhere; ReLU lies below both near 0, where they are about 0.69 and it is 0.",
    )


draw_bumps()

# %% [markdown]
# **Exercise 2.1 · `act`** (4 points · difficulty 2 of 5 · about 20 minutes)
#
# Write the eight activations with their derivatives. `gelu` is the exact one, $a\,\Phi(a)$. Everything must stay finite and right for $a$ as large as $\pm1000$.
# Use NumPy and `scipy.special`; torch is off limits.
#
# <details><summary>Hint 1: where to start</summary> Compute the value first: the derivatives of sigmoid, tanh and softplus can be written with a value you already have.
# <code>np.where(a > 0, …, …)</code> chooses entry by entry. </details>
#
# <details><summary>Hint 2: overflow, and the normal distribution</summary> <code>np.where</code> computes both branches, so give the exponential an argument that is never positive.
# <code>np.logaddexp(0, a)</code> is a softplus that cannot overflow; <code>scipy.special</code> has <code>expit</code>, <code>erf</code> and <code>ndtr</code> (which is Φ). </details>


# %% nbgrader={"grade": false, "grade_id": "act", "locked": false, "schema_version": 3, "solution": true, "task": false}
def act(name: str, a: FloatArray, alpha: float | None = None) -> tuple[FloatArray, FloatArray]:
    """An activation and its derivative, entry by entry.

    Args:
        name: ``sigmoid``, ``tanh``, ``relu``, ``leaky``, ``elu``, ``gelu`` (exact), ``softplus`` or ``arctan``.
        a: pre-activations, float64 of any shape.
        alpha: of ``leaky`` (None: 0.01) and ``elu`` (None: 1.0); the others ignore it.

    Returns:
        The value and the derivative at ``a``, both float64 and shaped like ``a``. At 0 any subgradient will do.

    Raises:
        ValueError: there is no activation of that name.

    Example:
        ``act("relu", np.array([-1.0, 2.0]))`` gives ``(array([0., 2.]), array([0., 1.]))``.
    """
    ### BEGIN SOLUTION
    if name == "sigmoid":
        value = special.expit(a)
        return value, value * (1 - value)
    if name == "tanh":
        value = np.tanh(a)
        return value, 1 - value**2
    if name == "relu":
        return np.maximum(a, 0), np.where(a > 0, 1.0, 0.0)
    if name == "leaky":
        slope = np.where(a > 0, 1.0, 0.01 if alpha is None else alpha)
        return slope * a, slope
    if name == "elu":
        alpha = 1.0 if alpha is None else alpha
        tail = np.minimum(a, 0)  # np.where computes both branches: keep the exponential small in the one not chosen
        return np.where(a > 0, a, alpha * np.expm1(tail)), np.where(a > 0, 1.0, alpha * np.exp(tail))
    if name == "gelu":
        below = special.ndtr(a)
        return a * below, below + a * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
    if name == "softplus":
        return np.logaddexp(0, a), special.expit(a)
    if name == "arctan":
        return np.arctan(a), 1 / (1 + a**2)
    raise ValueError(f"There is no activation {name!r}.")
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-act", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("act", points=4)

with check("sigmoid and relu at points known by heart", points=0.5, off_limits=("torch.autograd.grad", "torch.Tensor.backward")):
    check.close(act("sigmoid", np.array([0.0])), (np.array([0.5]), np.array([0.25])))
    check.raises(ValueError, lambda: act("sine", np.array([0.0])))
    check.close(
        act("relu", np.array([[-1.0, 2.0]])),
        (np.array([[0.0, 2.0]]), np.array([[0.0, 1.0]])),
        mistakes={"The derivative of ReLU is the slope, 0 or 1. It is not the value again.": (np.array([[0.0, 2.0]]), np.array([[0.0, 2.0]]))},
    )


### BEGIN HIDDEN TESTS
def act_oracle(f, a, alpha):
    x = torch.tensor(a, requires_grad=True)
    value = f(x, alpha)
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach().numpy(), slope.numpy()


# name -> torch's function of (x, alpha), misconceptions about its value, misconceptions about its slope
act_table = {
    "sigmoid": (lambda x, _: torch.sigmoid(x), {}, {"σ' is value·(1 − value): it takes the value, not a.": lambda a, _: a * (1 - a)}),
    "relu": (lambda x, _: F.relu(x), {}, {}),
    "leaky": (
        lambda x, alpha: F.leaky_relu(x, 0.01 if alpha is None else alpha),
        {"Leaky ReLU on the left is alpha·a, with the argument alpha; 0.01 is only its default.": lambda a, _: np.where(a > 0, a, 0.01 * a)},
        {"The slope of leaky ReLU on the left is the argument alpha; 0.01 is only its default.": lambda a, _: np.where(a > 0, 1, 0.01)},
    ),
    "tanh": (
        lambda x, _: torch.tanh(x),
        {"tanh a is 2σ(2a) − 1. The −1 is missing, so the values lie between 0 and 2.": lambda a, _: 2 * special.expit(2 * a)},
        {"tanh' is 1 − value²: it takes the value, not a.": lambda a, _: 1 - a**2},
    ),
    "elu": (
        lambda x, alpha: F.elu(x, 1.0 if alpha is None else alpha),
        {"ELU on the left is alpha·(exp(a) − 1). It has lost its alpha.": lambda a, _: np.where(a > 0, a, np.expm1(np.minimum(a, 0)))},
        {
            "The slope of ELU on the left is alpha·exp(a). It has lost its alpha.": lambda a, _: np.where(a > 0, 1, np.exp(np.minimum(a, 0))),
            "value + 1 is the slope of ELU only for alpha = 1. In general it is value + alpha.": lambda a, alpha: np.where(
                a > 0, 1, alpha * np.expm1(np.minimum(a, 0)) + 1
            ),
        },
    ),
    "gelu": (
        lambda x, _: F.gelu(x),
        {
            "This is the approximation with tanh, off by up to 0.0005. Use the exact Φ.": lambda a, _: F.gelu(torch.tensor(a), approximate="tanh").numpy(),
            "This is the approximation a·σ(1.702a), off by up to 0.02. Use the exact Φ.": lambda a, _: a * special.expit(1.702 * a),
        },
        {"GELU is a product, so its slope has two terms. The second, a·φ(a), is missing.": lambda a, _: special.ndtr(a)},
    ),
    "softplus": (
        lambda x, _: F.softplus(x),
        {},
        {"The slope of softplus is the sigmoid itself, not the sigmoid's derivative.": lambda a, _: special.expit(a) * special.expit(-a)},
    ),
    "arctan": (lambda x, _: torch.atan(x), {}, {"The slope of the arctangent is 1/(1 + a²), not 1 − value².": lambda a, _: 1 - np.arctan(a) ** 2}),
}
act_inputs = [check.rng.normal(0, 2, check.rng.integers(1, 5, n)) for n in (1, 2, 3)] + [check.rng.uniform(-1000, 1000, (7, 2))]
act_alphas = {"leaky": (None, 0.3), "elu": (None, float(check.rng.uniform(1.2, 1.8)))}
for act_names in (("sigmoid", "relu"), ("leaky",), ("tanh",), ("elu",), ("gelu",), ("softplus",), ("arctan",)):
    act_runs = [
        (name, alpha, a, *act_oracle(act_table[name][0], a, alpha)) for name in act_names for alpha in act_alphas.get(name, (None,)) for a in act_inputs
    ]
    with check(f"{' and '.join(act_names)} on fresh inputs up to ±1000", points=0.5, off_limits=("torch.autograd.grad", "torch.Tensor.backward")):
        for name, alpha, a, want, want_slope in act_runs:
            _, value_mistakes, slope_mistakes = act_table[name]
            with check.no_side_effects(a):
                got, got_slope = act(name, a) if alpha is None else act(name, a, alpha)
            check.law(
                all(np.isfinite(np.asarray(part, dtype=float)).all() for part in (got, got_slope)),
                f"{name}: expected finite numbers up to ±1000, got NaN or infinity.\n"
                "exp(a) overflows for large a. Rewrite the formula so that no large number is exponentiated.",
            )
            check.close(got, want, mistakes={text: f(a, alpha) for text, f in value_mistakes.items()})
            check.close(got_slope, want_slope, mistakes={text: f(a, alpha or 1.0) for text, f in slope_mistakes.items()})
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 2  Softmax and cross-entropy belong together
#
# Softmax turns $K$ logits into probabilities, $p_k = e^{z_k}/\sum_j e^{z_j}$. Its derivative is a matrix, $\partial p_i/\partial z_k = p_i(\mathbb 1[i=k]-p_k)$: every output
# depends on every input, so it is no activation that works entry by entry. Cross-entropy is the mean negative log-probability of the right classes:
#
# $$ \mathcal L = -\frac1N\sum_n \log p_{n,y_n},\qquad \frac{\partial\mathcal L}{\partial z_{nk}} = \frac1N\,\bigl(p_{nk} - \mathbb 1[k=y_n]\bigr). $$
#
# The logarithm undoes the exponential ("Cost functions", Asano), and what is left is a difference that lies between −1 and 1. The more confident a mistake, the larger its gradient.
# A squared error on the probabilities keeps the factor $p(1-p)$ and goes silent exactly there. The minus sign matters: Deep Learning for Computer Vision, Part I, prints
# $\mathcal L$ without it (erratum E01), and descending that loss makes every prediction worse.


# %% nbgrader={"grade": false, "grade_id": "figure-cross-entropy", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_cross_entropy():
    z = torch.linspace(-8, 8, 161, requires_grad=True)
    logits = torch.stack([z, torch.zeros_like(z)], dim=1)  # two classes, the first is right
    losses = {
        "cross-entropy": F.cross_entropy(logits, torch.zeros(len(z), dtype=torch.long), reduction="none"),
        "squared error of p": (1 - logits.softmax(1)[:, 0]) ** 2,
    }
    fig, axes = plotting.subplots(2)
    for label, loss in losses.items():
        (slope,) = torch.autograd.grad(loss.sum(), z, retain_graph=True)
        axes[0].plot(z.detach(), loss.detach(), label=label)
        axes[1].plot(z.detach(), slope, label=label)
    axes[0].set(title="Loss", xlabel="logit of the right class minus the other")
    axes[1].set(title="Its derivative", xlabel="logit of the right class minus the other")
    axes[0].legend()
    plotting.show(
        fig,
        alt="Loss and its derivative against the logit of the right class, from -8 (confidently wrong) to 8 (confidently right). Cross-entropy falls in a straight line from 8 "
        "and its derivative is -1 on the left, tending to 0 on the right. The squared error of the probability is flat at 1 on the left, so its derivative is 0 there, -0.3 at most.",
    )


draw_cross_entropy()

# %% [markdown]
# **Exercise 2.2 · `softmax_ce`** (4 points · difficulty 2 of 5 · about 20 minutes)
#
# Write the mean cross-entropy of a softmax, with its gradient in the logits. It must be exact for logits of $\pm10\,000$. Use NumPy; torch and `scipy.special` are off limits.
#
# <details><summary>Hint 1: stability</summary> Softmax does not change when the same number is subtracted from all logits of a row. Subtract the largest. </details>
#
# <details><summary>Hint 2: no logarithm of zero</summary> A probability of e<sup>−1000</sup> is stored as 0, and its logarithm is −∞. Don't take the logarithm of a probability:
# write log p as a difference of two things that you can compute. </details>


# %% nbgrader={"grade": false, "grade_id": "softmax_ce", "locked": false, "schema_version": 3, "solution": true, "task": false}
def softmax_ce(z: FloatArray, y: IntArray) -> tuple[float, FloatArray]:
    """Mean cross-entropy of softmax probabilities, and its gradient.

    Args:
        z: logits, shape (N, K).
        y: the right classes, integers from 0 to K-1, shape (N,).

    Returns:
        The loss, averaged over the N examples, and its gradient in ``z``, shape (N, K).
    """
    ### BEGIN SOLUTION
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = np.arange(len(z)), y
    dz = np.exp(log_p)
    dz[right] -= 1
    return float(-log_p[right].mean()), dz / len(z)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-softmax_ce", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("softmax_ce", points=4)

with check("two rows worked out by hand", points=1):
    loss, dz = softmax_ce(np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]), np.array([2, 0]))
    check.close(
        loss,
        0.7531091265562451,
        mistakes={
            "The sign is wrong: log p is negative, a loss is its negative.": -0.7531091265562451,
            "This is the sum over the examples. Take the mean.": 1.5062182531124902,
        },
    )
    check.close(
        dz[0],
        np.array([0.04501529, 0.12236424, -0.16737952]),
        rtol=1e-6,
        mistakes={
            "The gradient is N times too large: the loss is a mean, so its gradient carries a 1/N too.": np.array([0.09003057, 0.24472847, -0.33475904]),
            "This is p/N alone. Where the class is right, 1 must be subtracted from p.": np.array([0.04501529, 0.12236424, 0.33262048]),
            "This is softmax's own derivative p(1 − p). The gradient of the loss in the logits is simpler: p minus one-hot.": np.array(
                [0.04096253, 0.09241822, 0.11134771]
            ),
        },
    )


### BEGIN HIDDEN TESTS
def ce_oracle(z, y):
    logits = torch.tensor(z, requires_grad=True)
    loss = F.cross_entropy(logits, torch.tensor(y))
    (dz,) = torch.autograd.grad(loss, logits)
    return loss.item(), dz.numpy()


def ce_draw(n, k, scale):
    return check.rng.normal(0, scale, (n, k)), check.rng.integers(0, k, n)


CE_OFF_LIMITS = ("torch.nn.functional.cross_entropy", "torch.autograd.grad", "torch.Tensor.backward", "scipy.special.softmax", "scipy.special.log_softmax")

ce_inputs = [ce_draw(n, k, 3.0) for n, k in ((1, 2), (1, 7), (5, 5), (8, 3), (3, 11))] + [(ce_draw(7, 4, 2.0)[0].T, check.rng.integers(0, 7, 4))]
ce_wanted = [ce_oracle(*pair) for pair in ce_inputs]
with check("the loss agrees with torch on fresh inputs", points=1, off_limits=CE_OFF_LIMITS):
    for (z, y), (want, _) in zip(ce_inputs, ce_wanted, strict=True):
        with check.no_side_effects(z, y):
            loss, _ = softmax_ce(z, y)
        check.close(
            loss,
            want,
            mistakes={
                "The sign is wrong: log p is negative, a loss is its negative.": -want,
                "This is the sum over the examples. Take the mean.": want * len(z),
            },
        )

with check("the gradient agrees with autograd", points=1, off_limits=CE_OFF_LIMITS):
    for (z, y), (_, want) in zip(ce_inputs, ce_wanted, strict=True):
        _, dz = softmax_ce(z, y)
        p = torch.tensor(z).softmax(1).numpy()
        check.close(
            dz,
            want,
            mistakes={
                "The gradient is N times too large: the loss is a mean, so its gradient carries a 1/N too.": want * len(z),
                "The gradient points the wrong way: it is p minus one-hot, not one-hot minus p.": -want,
                "This is p/N alone. Where the class is right, 1 must be subtracted from p.": p / len(z),
                "This is softmax's own derivative p(1 − p). The gradient of the loss in the logits is simpler: p minus one-hot.": p * (1 - p) / len(z),
            },
        )

ce_large = [ce_draw(n, k, 1e4) for n, k in ((40, 10), (6, 4), (1, 3))]
ce_large_wanted = [ce_oracle(*pair)[0] for pair in ce_large]
with check("exact for logits of ±10 000", points=1, off_limits=CE_OFF_LIMITS):
    for (z, y), want in zip(ce_large, ce_large_wanted, strict=True):
        loss, dz = softmax_ce(z, y)
        check.law(not np.isnan(loss), "The loss is not a number. exp of a large logit overflowed: subtract the largest logit of each row first.")
        check.law(not np.isinf(loss), "The loss is infinite. A probability came out as 0 and its logarithm as −∞: compute log p as a difference, without p.")
        check.law(
            loss > 100 or want < 100,
            f"expected {want:.6g}, got {loss:.6g}. Something caps the loss; a small number inside the logarithm hides how wrong a prediction is.",
        )
        # the sign and the sum are told and paid for above
        check.law(any(np.isclose(loss, value) for value in (want, -want, want * len(z))), f"expected {want:.6g}, got {loss:.6g}")
        check.finite(dz)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 3  The linear module, backwards
#
# A module takes part in backpropagation when it can answer one question: *given the gradient of the loss in my output, what is it in my input and in my parameters?* For
# $y = xW^\top + b$ write the gradient that arrives as $g = \partial\mathcal L/\partial y$, shape $(N, m)$. Collect every path by which an entry reaches the loss:
#
# $$ \frac{\partial\mathcal L}{\partial x} = gW,\qquad \frac{\partial\mathcal L}{\partial W} = g^\top x,\qquad \frac{\partial\mathcal L}{\partial b} = \sum_n g_n . $$
#
# Each gradient has the shape of what it belongs to, and with $N$, $m$ and $d$ all different there is only one product of the factors that fits. Sums over $n$ appear
# because every example uses the same $W$ and $b$; any $1/N$ is already in $g$.


# %% nbgrader={"grade": false, "grade_id": "figure-shapes", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_shapes():
    n, m, d = 4, 2, 3  # examples, outputs, inputs
    fig, ax = plotting.subplots(width=9.5, height=2.6)

    def block(left, rows, columns, name, colour):
        for i, j in itertools.product(range(rows), range(columns)):
            ax.add_patch(Rectangle((left + j, -rows / 2 + i), 1, 1, facecolor=colour, edgecolor="white", alpha=0.55))
        ax.text(left + columns / 2, 2.15, name, ha="center", va="bottom")
        return left + columns

    def sign(left, text):
        ax.text(left + 0.6, 0, text, ha="center", va="center", fontsize=15)
        return left + 1.2

    blue, orange, green = plotting.COLOURS[0], plotting.COLOURS[4], plotting.COLOURS[2]
    at = block(0, m, d, "∂L/∂W  (m, d)", green)
    at = block(sign(at, "="), m, n, "gᵀ  (m, N)", blue)
    at = block(sign(at, "·"), n, d, "x  (N, d)", orange)
    at = block(at + 3, n, d, "∂L/∂x  (N, d)", orange)
    at = block(sign(at, "="), n, m, "g  (N, m)", blue)
    at = block(sign(at, "·"), m, d, "W  (m, d)", green)
    ax.set(xlim=(-0.5, at + 0.5), ylim=(-2.1, 2.9), aspect="equal")
    ax.set_axis_off()
    plotting.show(
        fig,
        alt="Two products of blocks, for N = 4 examples, m = 2 outputs and d = 3 inputs. The gradient of W, 2 by 3, is g transposed, 2 by 4, times x, 4 by 3. "
        "The gradient of x, 4 by 3, is g, 4 by 2, times W, 2 by 3.",
    )


draw_shapes()

# %% [markdown]
# **Watch the layout.** Asano's "Chain rule visualized" multiplies $p\cdot\frac{df}{dx}$, a row times a Jacobian of shape (out, in), but then writes the chain as columns and as
# $\frac{df_1}{dx_0}\times\frac{df_2}{dx_1}\times\cdots$ (erratum E57). With shapes (3, 2) and (4, 3), for $\mathbb R^2\to\mathbb R^3\to\mathbb R^4$, that order of factors cannot be
# multiplied at all; it needs every Jacobian transposed. In one consistent layout the last module stands on the left: $J = J_n\cdots J_2J_1$, and a row $p$ is multiplied from the left.

# %% [markdown]
# **Exercise 2.3 · `linear_backward`** (3 points · difficulty 1 of 5 · about 15 minutes)
#
# Write the backward pass of the linear module. Use NumPy; torch is off limits.
#
# <details><summary>Hint 1: where to start</summary> Write y<sub>nk</sub> = Σ<sub>i</sub> x<sub>ni</sub> W<sub>ki</sub> + b<sub>k</sub> with all its indices, and differentiate by one entry of each. </details>
#
# <details><summary>Hint 2: check the shapes</summary> gx is shaped like x, gW like W, gb like b. Choose the product whose inner axis is the one that is summed over. </details>


# %% nbgrader={"grade": false, "grade_id": "linear_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_backward(x: FloatArray, W: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Backward pass of ``y = x @ W.T + b``.

    Args:
        x: inputs, shape (N, d).
        W: weight, shape (m, d).
        g: gradient of the loss in ``y``, shape (N, m).

    Returns:
        The gradients in ``x``, shape (N, d), in ``W``, shape (m, d), and in ``b``, shape (m,).
    """
    ### BEGIN SOLUTION
    return g @ W, g.T @ x, g.sum(axis=0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-linear_backward", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("linear_backward", points=3)

with check("two examples worked out by hand", points=0.75):
    gx, gW, gb = linear_backward(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [2.0, -1.0]]), np.array([[1.0, 2.0], [0.0, 1.0]]))
    check.close(
        gx, np.array([[5.0, -2.0], [2.0, -1.0]]), mistakes={"W is transposed. With y = x @ W.T, the way back is g @ W.": np.array([[1.0, 0.0], [0.0, -1.0]])}
    )
    check.close(
        gW,
        np.array([[1.0, 2.0], [5.0, 8.0]]),
        mistakes={
            "gW is transposed. It has the shape of W, (outputs, inputs).": np.array([[1.0, 5.0], [2.0, 8.0]]),
            "gW is a mean over the examples. It must be their sum; a 1/N, if any, is already in g.": np.array([[0.5, 1.0], [2.5, 4.0]]),
        },
    )
    check.close(
        gb,
        np.array([1.0, 3.0]),
        mistakes={
            "gb is a mean over the examples. It must be their sum; a 1/N, if any, is already in g.": np.array([0.5, 1.5]),
            "gb must be one number an output: sum g over the examples (axis 0).": np.array([3.0, 1.0]),
            "gb is g itself, one row an example. All examples share b: sum g over them (axis 0).": np.array([[1.0, 2.0], [0.0, 1.0]]),
        },
    )

### BEGIN HIDDEN TESTS
linear_runs = []
for n, m, d in ((5, 3, 2), (4, 4, 4), (1, 4, 3), (2, 6, 1), (7, 1, 5), (1, 1, 1)):
    x, W, g = check.rng.normal(size=(d, n)).T, check.rng.normal(size=(m, d)), check.rng.normal(size=(n, m))  # x is not contiguous
    leaves = [torch.tensor(value, requires_grad=True) for value in (x, W, np.zeros(m))]
    wanted = torch.autograd.grad((F.linear(*leaves) * torch.tensor(g)).sum(), leaves)
    linear_runs.append((x, W, g, [want.numpy() for want in wanted]))

LINEAR_MISTAKES = (
    {"W is transposed. With y = x @ W.T, the way back is g @ W.": lambda x, W, g: g @ W.T},
    {
        "gW is transposed. It has the shape of W, (outputs, inputs).": lambda x, W, g: x.T @ g,
        "gW is a mean over the examples. It must be their sum; a 1/N, if any, is already in g.": lambda x, W, g: g.T @ x / len(x),
    },
    {
        "gb is a mean over the examples. It must be their sum; a 1/N, if any, is already in g.": lambda x, W, g: g.mean(axis=0),
        "gb must be one number an output: sum g over the examples (axis 0).": lambda x, W, g: g.sum(axis=1),
        "gb is g itself, one row an example. All examples share b: sum g over them (axis 0).": lambda x, W, g: g,
    },
)
for part, name in enumerate(("x", "W", "b")):
    with check(f"the gradient in {name} agrees with autograd", points=0.75, off_limits=("torch.autograd.grad", "torch.Tensor.backward")):
        for x, W, g, wanted in linear_runs:
            with check.no_side_effects(x, W, g):
                got = linear_backward(x, W, g)
            check.close(got[part], wanted[part], mistakes={text: partial(f, x, W, g) for text, f in LINEAR_MISTAKES[part].items() if len(x) > 1})
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  Backpropagation is the chain rule in the right order
#
# Stack $L$ linear modules with activations between them: $a_l = h_{l-1}W_l^\top + b_l$ and $h_l = \sigma(a_l)$, $h_0 = x$; the last layer is linear. Let
# $\delta_l = \partial\mathcal L/\partial a_l$. Going forward, keep $h_{l-1}$ and the slope $\sigma'(a_l)$ of every layer. Going back, three lines a layer:
#
# $$ \frac{\partial\mathcal L}{\partial W_l} = \delta_l^\top h_{l-1},\qquad \frac{\partial\mathcal L}{\partial b_l} = \sum_n \delta_{l,n},\qquad
#    \delta_{l-1} = (\delta_l W_l)\odot\sigma'(a_{l-1}). $$
#
# It costs about twice the forward pass, whatever the number of weights, because every $\delta$ is computed once and used again by all layers below.


# %% nbgrader={"grade": false, "grade_id": "figure-recursion", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_recursion():
    fig, ax = plotting.subplots(width=10.5, height=2.4)
    stations = ["x", "linear\nW₁, b₁", "σ", "linear\nW₂, b₂", "loss"]
    forward = ["", "a₁", "h₁", "a₂"]
    backward = ["", "δ₁", "∂L/∂h₁ = δ₂W₂", "δ₂"]
    for i, station in enumerate(stations):
        ax.text(2.2 * i, 0, station, ha="center", va="center", bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "black"})
    half = [0.18, 0.36, 0.18, 0.36, 0.28]  # half the width of each box
    for i in range(4):
        left, right = 2.2 * i + half[i], 2.2 * (i + 1) - half[i + 1]
        middle = (left + right) / 2
        ax.annotate("", (right, 0.14), (left, 0.14), arrowprops={"arrowstyle": "->", "color": plotting.COLOURS[0], "lw": 2})
        ax.text(middle, 0.22, forward[i], ha="center", va="bottom", color=plotting.COLOURS[0])
        if i:
            ax.annotate("", (left, -0.14), (right, -0.14), arrowprops={"arrowstyle": "->", "color": plotting.COLOURS[1], "lw": 2, "linestyle": "--"})
            ax.text(middle, -0.24, backward[i], ha="center", va="top", color=plotting.COLOURS[1], fontsize=10)
    notes = ("keeps x\n∂L/∂W₁ = δ₁ᵀx", "keeps σ′(a₁)\nδ₁ = ∂L/∂h₁ ⊙ σ′(a₁)", "keeps h₁\n∂L/∂W₂ = δ₂ᵀh₁")
    for i, note in enumerate(notes, start=1):
        ax.text(2.2 * i, -0.62, note, ha="center", va="top", fontsize=10)
    ax.set(xlim=(-0.4, 9.2), ylim=(-1.15, 0.55))
    ax.set_axis_off()
    plotting.show(
        fig,
        alt="A chain of modules: x, a linear module, an activation, a second linear module, the loss. Solid arrows to the right carry a1, h1 and a2. Dashed arrows to the left carry "
        "delta2, then delta2 times W2, then delta1. Below each module stands what it keeps from the forward pass: the first linear module x, the activation its slope, the second h1.",
    )


draw_recursion()

# %% [markdown]
# **Reading the lectures side by side**
# - Deep Learning for Computer Vision, Part I ("Gradients via chain rule") has the same recursion, with slips (erratum E11): its first equality leaves out the factor
#   $\partial a/\partial w$, the two indices of $\delta$ change places between lines, the row of error signals ends at $d+1$ and should end at $d_{l+1}$, and a softmax layer is not element-wise.
# - Minhas ("Proof for the Learning Rule") takes $E=\tfrac12\sum_n\sum_k(t_{nk}-y_{nk})^2$ and *defines* $\delta$ as $-\partial E/\partial a$, so he adds
#   $\alpha\,\delta_k z_j$ where we subtract. His output unit's weight $w_{jk}$ gets $z_j$; the slide "Take away lesson" says $z_i$. Two slides put one input too many into
#   $\hat\delta_j$ (erratum E09): with $x_i = 3$ the step for $v_{ij}$ comes out three times too large. The written question asks you to prove it.
# - His nine steps (after Fausett) update after every single pattern. Below you sum over all examples that you are given, be it one, a mini-batch or all.

# %% [markdown]
# **Exercise 2.4 · `mlp_backward`** (5 points · difficulty 3 of 5 · about 30 minutes)
#
# Write forward and backward pass of a multilayer perceptron with a linear last layer under $E=\tfrac12\sum_n\sum_k(t_{nk}-y_{nk})^2$: no mean, and the ½ counts. The argument
# `act` is a function of the pre-activations alone, such as `lambda a: act("tanh", a)`. Return $+\partial E/\partial W$ and $+\partial E/\partial b$. Autograd is off limits.
#
# <details><summary>Hint 1: what to keep</summary> Two lists are enough: the input of every layer, and the slope of every activation. The first δ is ∂E/∂y, because the last layer is linear. </details>
#
# <details><summary>Hint 2: the loop</summary> Go through the layers from last to first. <code>linear_backward</code> gives you all three gradients of a layer; between two layers multiply by the slope
# that you kept. Collect, and turn the list round at the end. </details>


# %% nbgrader={"grade": false, "grade_id": "mlp_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mlp_backward(params: Params, X: FloatArray, Y: FloatArray, act: Activation) -> Params:
    """Gradients of half the summed squared error of a multilayer perceptron.

    Args:
        params: one (W, b) a layer, W of shape (out, in), b of shape (out,). ``act`` follows every layer but the last.
        X: inputs, shape (N, d).
        Y: targets, shape (N, K).
        act: takes pre-activations of any shape, returns their value and derivative.

    Returns:
        One (gW, gb) a layer, in the order of ``params`` and shaped like them: the gradients of E = ½ ΣΣ (Y − output)².
    """
    ### BEGIN SOLUTION
    inputs, slopes, output = [], [], X
    for layer, (W, b) in enumerate(params):
        inputs.append(output)
        output = output @ W.T + b
        if layer < len(params) - 1:
            output, slope = act(output)
            slopes.append(slope)
    delta = output - Y
    gradients = []
    for layer in reversed(range(len(params))):
        back, gW, gb = linear_backward(inputs[layer], params[layer][0], delta)
        gradients.append((gW, gb))
        if layer:
            delta = back * slopes[layer - 1]
    return gradients[::-1]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-mlp_backward", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("mlp_backward", points=5)
### BEGIN HIDDEN TESTS
check.use(linear_backward=lambda x, W, g: (np.einsum("nk,ki->ni", g, W), np.einsum("nk,ni->ki", g, x), np.einsum("nk->k", g)))
### END HIDDEN TESTS

with check("two layers, against finite differences worked out beforehand", points=1):
    gradients = mlp_backward(
        [(np.array([[0.5, -0.5], [1.0, 0.25]]), np.array([0.0, -0.5])), (np.array([[1.0, -2.0]]), np.array([0.5]))],
        np.array([[1.0, 2.0], [0.0, -1.0]]),
        np.array([[1.0], [0.0]]),
        lambda a: (np.tanh(a), 1 - np.tanh(a) ** 2),
    )
    check.law(len(gradients) == 2, f"expected one (gW, gb) a layer, 2 in all, got {len(gradients)}")
    check.close(
        gradients[1][0],
        np.array([[2.180140, -3.310710]]),
        rtol=1e-5,
        mistakes={
            "The sign is turned round: this is −∂E/∂W, the direction of descent. Return +∂E/∂W.": np.array([[-2.180140, 3.310710]]),
            "Twice too large: E carries a factor ½, which cancels the 2 from the square.": np.array([[4.360280, -6.621420]]),
            "This is a mean over the examples. E sums over them.": np.array([[1.090070, -1.655355]]),
            "The last layer is linear: no activation follows it.": np.array([[0.183462, -0.296796]]),
        },
    )
    check.close(
        gradients[0][0],
        np.array([[-1.954563, -5.664803], [2.087529, 6.838712]]),
        rtol=1e-5,
        mistakes={
            "The input x stands in the gradient twice. δ holds no x; it comes in once, in the product of δ and x.": np.array(
                [[-1.954563, -6.062574], [2.087529, 5.686462]]
            ),
            "The slope is taken at h, the value of the activation. It must be taken at a, before it.": np.array([[-2.021900, -5.859962], [2.921808, 8.900327]]),
            "The slope of the activation is missing between the layers.": np.array([[-2.485305, -7.203026], [4.970611, 14.406052]]),
        },
    )
    check.close(gradients[0][1], np.array([-0.198885, -0.576125]), rtol=1e-5)

### BEGIN HIDDEN TESTS
MLP_OFF_LIMITS = ("torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward")
# two versions of each activation: ours for autograd, and a (value, slope) pair for the answer
mlp_activations = {
    "tanh": (torch.tanh, lambda a: (np.tanh(a), 1 / np.cosh(a) ** 2)),
    "sigmoid": (torch.sigmoid, lambda a: (special.expit(a), special.expit(a) * special.expit(-a))),
    "sine": (torch.sin, lambda a: (np.sin(a), np.cos(a))),
}


def mlp_oracle(params, X, Y, f, last=lambda a: a):
    leaves = [torch.tensor(value, requires_grad=True) for pair in params for value in pair]
    h = torch.tensor(X)
    for layer in range(len(params)):
        a = F.linear(h, leaves[2 * layer], leaves[2 * layer + 1])
        h = f(a) if layer < len(params) - 1 else last(a)
    wanted = [g.numpy() for g in torch.autograd.grad(((torch.tensor(Y) - h) ** 2).sum() / 2, leaves)]
    return list(zip(wanted[::2], wanted[1::2], strict=True))


def mlp_draw(n, sizes):
    params = [(check.rng.normal(size=(m, d)) / math.sqrt(d), check.rng.normal(size=m)) for d, m in itertools.pairwise(sizes)]
    return params, check.rng.normal(size=(n, sizes[0])), check.rng.normal(size=(n, sizes[-1]))


mlp_line = mlp_draw(5, (3, 2))
mlp_line_wanted = mlp_oracle(*mlp_line, torch.tanh)
mlp_line_activated = mlp_oracle(*mlp_line, torch.tanh, last=torch.tanh)
with check("one layer: linear least squares", points=1, off_limits=MLP_OFF_LIMITS):
    params, X, Y = mlp_line
    with check.no_side_effects(X, Y, *itertools.chain(*params)):
        got = mlp_backward(params, X, Y, mlp_activations["tanh"][1])
    scaled = {
        "The sign is turned round: this is −∂E/∂W, the direction of descent. Return +∂E/∂W.": -1.0,
        "Twice too large: E carries a factor ½, which cancels the 2 from the square.": 2.0,
        "This is a mean over the examples. E sums over them.": 1 / len(X),
        "This is a mean over examples and outputs. E sums over both.": 1 / Y.size,
    }
    check.close(
        got,
        mlp_line_wanted,
        rtol=1e-9,
        mistakes={text: [(factor * gW, factor * gb) for gW, gb in mlp_line_wanted] for text, factor in scaled.items()}
        | {"The last layer is linear: no activation follows it.": mlp_line_activated},
    )

mlp_runs = []
for name, n, sizes in (
    ("tanh", 1, (3, 4, 2)),
    ("sigmoid", 1, (2, 5, 3)),
    ("tanh", 6, (4, 4, 4)),
    ("sine", 5, (2, 3, 4, 1)),
    ("sigmoid", 3, (5, 2, 6, 3, 2)),
    ("sine", 4, (1, 3, 2, 5, 4, 3)),
):
    drawn = mlp_draw(n, sizes)
    mlp_runs.append((name, drawn, mlp_oracle(*drawn, mlp_activations[name][0])))
with check("two to five layers, against autograd", points=3, off_limits=MLP_OFF_LIMITS):
    for name, (params, X, Y), want in mlp_runs:
        pair = mlp_activations[name][1]
        got = mlp_backward(params, X, Y, pair)
        mistakes = {}
        if len(X) == 1 and len(params) == 2:  # for one example a misconception is a factor on each row or column of the first gradient
            (W, b), (gW, gb) = params[0], want[0]
            h, slope = pair((X @ W.T + b)[0])
            factor = pair(h)[1] / slope
            mistakes = {
                "The input x stands in the gradient twice. δ holds no x; it comes in once, in the product of δ and x.": [(gW * X, gb), want[1]],
                "The slope is taken at h, the value of the activation. It must be taken at a, before it.": [(gW * factor[:, None], gb * factor), want[1]],
                "The slope of the activation is missing between the layers.": [(gW / slope[:, None], gb / slope), want[1]],
            }
        # what the one-layer check has told and charged for is not charged again
        factors = [f for f in (1.0, -1.0, 2.0, 1 / len(X), 1 / Y.size) if np.allclose(got[-1][0], f * want[-1][0], rtol=1e-6)]
        scale = factors[0] if factors else 1.0
        check.close(got, [(scale * gW, scale * gb) for gW, gb in want], rtol=1e-9, mistakes=mistakes)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 5  Trust no gradient that you have not checked
#
# A wrong gradient rarely crashes. Training goes on, only worse. The cure is to compare with the *central difference*, which needs nothing but the function itself:
#
# $$ \frac{\partial f}{\partial x_i} \approx \frac{f(x+\epsilon e_i)-f(x-\epsilon e_i)}{2\epsilon}, \qquad \text{error} = \frac{\epsilon^2}{6}f'''(x)+\dots $$
#
# The one-sided difference has an error of $\tfrac\epsilon2 f''$, far larger. Too small an $\epsilon$ hurts as well: two nearly equal numbers are subtracted, and their rounding is divided by
# $\epsilon$. In float64 $\epsilon = 10^{-5}$ is close to best. Compare *relative* errors, since a gradient of $10^{-6}$ that is wrong by $10^{-6}$ is wholly wrong.


# %% nbgrader={"grade": false, "grade_id": "figure-finite-differences", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_finite_differences():
    steps = 10.0 ** np.arange(-13, 0.1, 0.25)
    one_sided = np.abs((np.exp(1 + steps) - np.exp(1)) / steps / np.exp(1) - 1)
    central = np.abs((np.exp(1 + steps) - np.exp(1 - steps)) / (2 * steps) / np.exp(1) - 1)
    low = np.float32(1) + np.array([-1, 1], dtype=np.float32)[:, None] * steps.astype(np.float32)
    single = np.abs((np.exp(low[1]) - np.exp(low[0])) / (2 * steps) / np.exp(1) - 1)
    fig, ax = plotting.subplots(width=7.5, height=3.6)
    for label, error in {"one-sided": one_sided, "central": central, "central, float32": single}.items():
        ax.loglog(steps, np.maximum(error, 1e-16), label=label)
    ax.set(xlabel="ε", ylabel="relative error of the slope", title="Slope of exp at 1 by finite differences")
    ax.legend()
    plotting.show(
        fig,
        alt="Relative error against epsilon from 1e-13 to 1, both logarithmic. Each curve is a V. One-sided: least error about 3e-9, at epsilon 1e-8. Central: least error about 1e-11, near "
        "epsilon 1e-5, rising with slope 2 to the right of it. Central in float32: least error about 2e-6 at epsilon 3e-3, 1 % at 1e-6, and 100 % below 2e-8.",
    )


draw_finite_differences()

# %% [markdown]
# **Exercise 2.5 · `grad_check`** (3 points · difficulty 2 of 5 · about 20 minutes)
#
# Write a gradient check. The function to check returns its value and its claimed gradient together. Report the largest relative error of any entry: a norm over all entries could hide
# one small entry that is wrong. The caller's `x` must be as it was when you are done.
#
# <details><summary>Hint 1: where to start</summary> Work on a copy of x. Raise one entry by ε, lower it by ε, and put it back before you go to the next. <code>np.ndindex(x.shape)</code> gives every index. </details>
#
# <details><summary>Hint 2: traps</summary> <code>x.ravel()</code> may or may not be a copy. An entry on which f does not depend has two zero gradients, and 0/0 is no number: put a small floor under the denominator. </details>


# %% nbgrader={"grade": false, "grade_id": "grad_check", "locked": false, "schema_version": 3, "solution": true, "task": false}
def grad_check(f: Callable[[FloatArray], tuple[float, FloatArray]], x: FloatArray, eps: float = 1e-5) -> float:
    """Largest relative error of a claimed gradient, against central differences.

    Args:
        f: takes an array shaped like ``x``; returns a number and its claimed gradient, shaped like ``x``.
        x: where to check, float64 of any shape.
        eps: step of the difference.

    Returns:
        The maximum over all entries of |claimed - numerical| / max(|claimed|, |numerical|, 1e-8).
    """
    ### BEGIN SOLUTION
    _, claimed = f(x.copy())
    numerical = np.empty_like(claimed)
    for index in np.ndindex(x.shape):
        ends = []
        for step in (eps, -eps):
            moved = x.copy()
            moved[index] += step
            ends.append(f(moved)[0])
        numerical[index] = (ends[0] - ends[1]) / (2 * eps)
    scale = np.maximum(np.maximum(np.abs(claimed), np.abs(numerical)), 1e-8)
    return float(np.max(np.abs(claimed - numerical) / scale))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-grad_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("grad_check", points=3)

with check("x²: passes 2x, rejects 3x", points=1):
    check.at_most(grad_check(lambda x: ((x**2).sum(), 2 * x), np.array([1.0, -2.0, 0.5])), 1e-7, "relative error of a right gradient")
    check.at_least(grad_check(lambda x: ((x**2).sum(), 3 * x), np.array([1.0, -2.0, 0.5])), 0.15, "relative error of a wrong gradient")


### BEGIN HIDDEN TESTS
def grad_check_planted(x, weight, bug):
    """Σ weight·exp(x), whose gradient is weight·exp(x), with a bug planted in the gradient."""
    return check.run(grad_check, lambda v: ((weight * np.exp(v)).sum(), bug(weight * np.exp(v))), x)


def grad_check_flip(g, index):
    flipped = g.copy()
    flipped[index] *= -1
    return flipped


with check("finds every planted bug, however small the entry", points=1):
    x = check.rng.uniform(0.5, 1.5, (check.rng.integers(2, 4), 3))
    ones = np.ones_like(x)
    check.at_most(grad_check_planted(x, ones, lambda g: g), 1e-7, "relative error of a right gradient", mistakes={
        "The error is too large for float64. Keep everything in float64: float32 holds 7 digits, and ε eats 5 of them.": lambda: grad_check_planted(x, ones, lambda g: g) > 1e-4,
    })  # fmt: skip
    check.at_least(grad_check_planted(x, ones, lambda g: -g), 0.9, "relative error of a gradient with the wrong sign")
    check.at_least(grad_check_planted(x, ones, lambda g: g / 4), 0.5, "relative error of a gradient that is four times too small")
    for scale in (1e-5, 1e5):
        right, turned = (grad_check_planted(x, scale * ones, bug) for bug in (lambda g: g, lambda g: -g))
        check.law(
            right <= 1e-6 and 0.9 <= turned <= 2.1,
            f"For gradients of size {scale:g}: expected about 0 for a right one and between 1 and 2 for one with the wrong sign, got {right:.3g} and {turned:.3g}.",
            mistakes={"This looks like an absolute error, which grows with the function. Divide by the size of the gradient.": True},
        )
    weight = np.ones_like(x)
    index = tuple(check.rng.integers(0, x.shape))
    weight[index] = 1e-4
    check.at_least(
        grad_check_planted(x, weight, lambda g: grad_check_flip(g, index)),
        0.9,
        "relative error where one small entry has the wrong sign",
        mistakes={"A norm or a mean over all entries hides one small entry that is wrong. Take the largest relative error of any entry.": True},
    )
    untouched = check.run(grad_check, lambda v: (np.exp(v[0]).sum(), np.vstack([np.exp(v[:1]), np.zeros_like(v[1:])])), x)
    check.law(
        not np.isnan(untouched), "expected a number, got NaN: where both gradients are 0, dividing by their size gives 0/0. Put a floor under the denominator."
    )
    check.at_most(untouched, 1e-7, "relative error of a right gradient, zero in some entries")

with check("second order in eps, any layout of x, and x as it was", points=1):
    x = check.rng.uniform(0.5, 1.5, (3, 2)).T  # not contiguous
    with check.no_side_effects(x):
        errors = [check.run(grad_check, lambda v: (np.exp(v).sum(), np.exp(v)), x, eps) for eps in (1e-2, 1e-3)]
    check.law(
        errors[0] < 0.4,
        f"expected a small error for a right gradient, got {errors[0]:.3g}.",
        mistakes={"x is not contiguous here, so x.ravel() and x.reshape(-1) are copies: changing them does not move x. Change x[index].": True},
    )
    check.law(
        errors[0] <= 2e-5 and errors[1] <= 2e-7,
        f"expected an error of about ε²/6 at most, 1.7e-05 and 1.7e-07 for ε = 0.01 and 0.001, got {errors[0]:.3g} and {errors[1]:.3g}.",
        mistakes={
            "The error shrinks in step with ε, not with ε²: this is a one-sided difference. Step to both sides and divide by 2ε.": 5
            < errors[0] / errors[1]
            < 20
        },
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 6  Nobody stores a Jacobian
#
# For $f:\mathbb R^n\to\mathbb R^m$ the Jacobian $J$ has $m\times n$ entries. Asano's example, a map from a $32\times32\times512$ block of activations to another of that size, has $2^{19}$ inputs and
# as many outputs: $J$ takes $2^{19}\cdot2^{19}\cdot4$ bytes $=2^{40}$, one tebibyte. But the loss is *one* number, and the chain is never needed but as a row times a matrix:
#
# $$ p^\top J = \frac{\partial}{\partial x}\bigl(p\cdot f(x)\bigr). $$
#
# This **vector–Jacobian product** (VJP) is the derivative of a scalar, costs about as much as $f$, and is as large as $x$: 2 MiB instead of 1 TiB. Multiplying the chain
# from the left, $((p\,J_n)\,J_{n-1})\cdots J_1$, is *reverse mode*: backpropagation. From the right, $J_n\cdots(J_1v)$, is *forward mode*, good for few inputs and many outputs.


# %% nbgrader={"grade": false, "grade_id": "figure-memory", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_memory():
    n = 2.0 ** np.arange(6, 20)
    fig, ax = plotting.subplots(width=7.5, height=3.6)
    ax.loglog(n, 4 * n**2, base=2, label="Jacobian, n × n")
    ax.loglog(n, 4 * n, base=2, label="vector–Jacobian product, n")
    for size, name in ((2.0**21, "2 MiB"), (2.0**40, "1 TiB")):
        ax.annotate(f"32 × 32 × 512: {name}", (2.0**19, size), xytext=(-16, 6), textcoords="offset points", ha="right")
    ax.axhline(2.0**34, color="0.5", linestyle=":", linewidth=1.5)
    ax.annotate("memory of a laptop, 16 GiB", (2.0**6, 2.0**34), xytext=(4, 4), textcoords="offset points")
    ax.set(xlabel="n, number of activations (float32)", ylabel="memory", title="A map from n activations to n", ylim=(2.0**6, 2.0**44))
    ax.set_yticks([2.0**10, 2.0**20, 2.0**30, 2.0**40], ["1 KiB", "1 MiB", "1 GiB", "1 TiB"])
    ax.legend(loc="lower right")
    plotting.show(
        fig,
        alt="Bytes against the number n of activations, both logarithmic, n from 64 to 2 to the 19. The Jacobian's line rises with slope 2, crosses 16 GiB at n = 2 to the 16 and "
        "ends at 1 TiB. The vector-Jacobian product's line rises with slope 1 and ends at 2 MiB.",
    )


draw_memory()

# %% [markdown]
# **Exercise 2.6a · `vjp`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Write $p^\top J$ for any differentiable torch function, without ever making the Jacobian. This section works with torch tensors, and autograd is allowed:
# `torch.autograd.grad` or `.backward()`. The ready-made `torch.autograd.functional.vjp` and `torch.func.vjp` are off limits. The caller's `x` stays as it is: no `.grad` appears on it, and it may or may not require gradients.
#
# <details><summary>Hint 1: where to start</summary> Autograd differentiates scalars. Which scalar has p<sup>⊤</sup>J as its gradient? The formula is above. </details>
#
# <details><summary>Hint 2: leave x alone</summary> <code>x.detach().clone().requires_grad_()</code> is a fresh leaf with the same numbers. </details>


# %% nbgrader={"grade": false, "grade_id": "vjp", "locked": false, "schema_version": 3, "solution": true, "task": false}
def vjp(f: Callable[[Tensor], Tensor], x: Tensor, p: Tensor) -> Tensor:
    """The vector–Jacobian product pᵀJ of ``f`` at ``x``.

    Args:
        f: differentiable, from the shape of ``x`` to the shape of ``p``.
        x: where to differentiate, floating point, any shape.
        p: the vector on the left, shaped like ``f(x)``.

    Returns:
        Shape and dtype of ``x``. No tensor much larger than the input and the output is made on the way.
    """
    ### BEGIN SOLUTION
    leaf = x.detach().clone().requires_grad_()
    (product,) = torch.autograd.grad((p * f(leaf)).sum(), leaf)
    return product
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-vjp", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("vjp", points=2)

with check("a map from two to three numbers", points=1):
    check.close(
        vjp(lambda x: torch.stack([x[0] * x[1], x[0] ** 2, x[1]]), torch.tensor([2.0, 3.0]), torch.tensor([1.0, 10.0, 100.0])),
        torch.tensor([43.0, 102.0]),
        mistakes={"This is the gradient of the sum of f: p has no part in it. Weigh the outputs by p first.": torch.tensor([7.0, 3.0])},
    )

### BEGIN HIDDEN TESTS
vjp_passes = []


def vjp_watched_sine(x):
    """sin(x), noting every backward pass through it; .item() refuses to work on a batch of passes."""
    y = torch.sin(x)
    if y.requires_grad:
        y.register_hook(lambda g: vjp_passes.append(g.sum().item()))
    return y


vjp_runs = []
for n, m, dtype in ((3, 5, torch.float64), (6, 2, torch.float64), (4, 4, torch.float64), (1, 1, torch.float64), (5, 3, torch.float32)):
    A, x, p = (torch.randn(shape, generator=check.gen, dtype=dtype) for shape in ((m, n), (n,), (m,)))
    J = (1 - torch.tanh(A @ x) ** 2)[:, None] * A  # in closed form
    vjp_runs.append((lambda v, A=A: torch.tanh(A @ v), x, p, J))
with check("agrees with pᵀJ in closed form, without a Jacobian", points=1, off_limits=("torch.autograd.functional.vjp", "torch.func.vjp", "torch.func.jacrev")):
    for f, x, p, J in vjp_runs:
        for wants_grad in (False, True):
            x = x.clone().requires_grad_(wants_grad)
            with check.no_side_effects(x, p):
                got = vjp(f, x, p)
            check.law(
                x.grad is None and x.requires_grad == wants_grad,
                "x was changed: it has a .grad now, or requires gradients when it did not. Work on a detached copy.",
            )
            check.close(
                got,
                p @ J,
                mistakes={
                    "This is Jp, a product from the right. Reverse mode multiplies from the left: pᵀJ.": J @ p if J.shape[0] == J.shape[1] else None,
                    "p has no part in this.": J.sum(0),
                },
            )
            check.dtype(got, x.dtype)
    x, p = (torch.randn((20, 20), generator=check.gen) for _ in range(2))
    check.close(vjp(vjp_watched_sine, x, p), p * x.cos())
    check.law(
        len(vjp_passes) <= 2,
        f"For {x.numel()} outputs, f was differentiated {len(vjp_passes)} times: a row of the Jacobian each time.\n"
        "That is the whole Jacobian. Let autograd differentiate one scalar, p·f(x), once.",
    )
    x, p = (torch.randn(2**19, generator=check.gen) for _ in range(2))
    check.close(vjp(torch.tanh, x, p), p * (1 - torch.tanh(x) ** 2))
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 2.6b · `jacobian_bytes`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# How many bytes would the whole Jacobian take? The answer is an exact integer, even where it exceeds 64 bits.
#
# <details><summary>Hint 1: where to start</summary> Count the inputs, count the outputs; every pair of them has an entry. </details>
#
# <details><summary>Hint 2: large numbers</summary> Python's own integers do not overflow, NumPy's do. <code>math.prod(())</code> is 1. </details>


# %% nbgrader={"grade": false, "grade_id": "jacobian_bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def jacobian_bytes(in_shape: tuple[int, ...], out_shape: tuple[int, ...], itemsize: int = 4) -> int:
    """Bytes that the Jacobian of a map from ``in_shape`` to ``out_shape`` takes.

    Args:
        in_shape: of the input; ``()`` is the shape of one number.
        out_shape: of the output, likewise.
        itemsize: bytes an entry.
    """
    ### BEGIN SOLUTION
    return math.prod(in_shape) * math.prod(out_shape) * itemsize
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-jacobian_bytes", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("jacobian_bytes", points=1)

with check("from two numbers to three", points=0.5):
    check.equal(
        jacobian_bytes((2,), (3,)),
        24,
        mistakes={
            "An entry takes itemsize bytes, 4 by default. You counted entries.": 6,
            "Every output has a derivative in every input: multiply the two sizes, don't add them.": 20,
        },
    )
    check.equal(jacobian_bytes((2,), (3,), itemsize=8), 48)

### BEGIN HIDDEN TESTS
with check("the lecture's tebibyte, and other sizes", points=0.5):
    block = (32, 32, 512)
    check.equal(
        jacobian_bytes(block, block),
        2**40,
        mistakes={
            "An entry takes itemsize bytes, 4 by default. You counted entries.": 2**38,
            "A tebibyte is 2⁴⁰ bytes, which is 10 % more than 10¹². Return the exact product.": 10**12,
            "This is one copy of the block. Every output has a derivative in every input.": 2**21,
        },
    )
    check.equal(jacobian_bytes(block, ()), 2**21, mistakes={"The shape () is one number: its size is 1, not 0.": 0})
    sizes_in, sizes_out, itemsize = check.rng.integers(1, 9, 3).tolist(), check.rng.integers(1, 9, 2).tolist(), int(check.rng.choice([2, 8]))
    check.equal(jacobian_bytes(tuple(sizes_in), tuple(sizes_out), itemsize), torch.empty(*sizes_in, *sizes_out).nbytes // 4 * itemsize)
    check.law(
        int(jacobian_bytes((2**20, 2**14), (2**20, 2**14))) == 2**70,
        "From 2³⁴ to 2³⁴ numbers: expected 2⁷⁰ bytes.\nThe product overflowed 64 bits. Use Python's own integers, as math.prod does.",
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 7  An engine that differentiates any graph
#
# Networks with skips, shared weights or loops over time are no chains. An autodiff engine writes down every operation as it happens, a *graph* whose nodes know their parents and
# the local derivative for each. `backward` then walks the graph from the result to the leaves and adds, for every edge, *gradient of the child times local derivative* to the parent.
# Two things can go wrong, and both are about nodes that are used more than once:
# - a gradient is a **sum** over all paths: add to it, do not overwrite it;
# - a node may pass its gradient on only when it is **complete**: go through the nodes in an order in which every node comes before its parents (a reversed topological order).
#
# Minhas's example is $e=(a+b)(b+1)$ at $a=2$, $b=1$. There $\partial e/\partial a=b+1=2$ and $\partial e/\partial b=a+2b+1=5$; the slide labels the 5 as $\partial e/\partial a$ (erratum E28). The leaf $b$
# is used twice, and gets $2 + 3$. Writing the graph down while the code runs, as here and in torch, is called a *dynamic* graph; early TensorFlow built a *static* one before it ran anything.


# %% nbgrader={"grade": false, "grade_id": "figure-graph", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_graph():
    nodes = {"a": (0, 1.5, "a = 2"), "b": (0, 0, "b = 1"), "s": (3, 1.5, "s = a + b = 3"), "t": (3, 0, "t = b + 1 = 2"), "e": (6, 0.75, "e = s · t = 6")}
    edges = {("a", "s"): "1 · 2 = 2", ("b", "s"): "1 · 2 = 2", ("b", "t"): "1 · 3 = 3", ("s", "e"): "t · 1 = 2", ("t", "e"): "s · 1 = 3"}
    gradients = {"a": "∂e/∂a = 2", "b": "∂e/∂b = 2 + 3 = 5", "s": "∂e/∂s = 2", "t": "∂e/∂t = 3", "e": "∂e/∂e = 1"}
    width = {"a": 0.27, "b": 0.27, "s": 0.5, "t": 0.5, "e": 0.46}  # half a box
    orange = plotting.COLOURS[1]
    fig, ax = plotting.subplots(width=10, height=3)
    for name, (x, y, text) in nodes.items():
        ax.text(
            x, y, text, ha="center", va="center", bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": plotting.COLOURS[0], "linewidth": 2}
        )
        ax.text(x, y - 0.26, gradients[name], ha="center", va="top", color=orange, fontsize=10)
    for (parent, child), text in edges.items():
        (x0, y0, _), (x1, y1, _) = nodes[parent], nodes[child]
        head, tail = (x0 + width[parent], y0), (x1 - width[child], y1)
        ax.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": orange, "linestyle": "--", "lw": 1.5, "shrinkA": 0, "shrinkB": 2})
        middle = ((head[0] + tail[0]) / 2, (head[1] + tail[1]) / 2)
        ax.text(*middle, text, ha="center", va="center", color=orange, fontsize=10, bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
    ax.set(xlim=(-0.8, 6.8), ylim=(-0.6, 1.8))
    ax.set_axis_off()
    plotting.show(
        fig,
        alt="The graph of e = (a + b)(b + 1) at a = 2, b = 1. Boxes: a and b on the left, s = a + b = 3 and t = b + 1 = 2 in the middle, e = 6 on the right. Dashed arrows run back from e: "
        "2 to s and 3 to t, then 2 from s to a, 2 from s to b and 3 from t to b. The gradients below the boxes are 2 for a and 2 + 3 = 5 for b.",
    )


draw_graph()

# %% [markdown]
# **Exercise 2.7 · `value`** (5 points · difficulty 4 of 5 · about 40 minutes)
#
# Write the class `Value`: a number that remembers how it was made. It supports `+ - * /` with another `Value` or a plain number on either side, `**` with a plain number as the exponent,
# `exp()`, `relu()` and `tanh()`. `backward()` fills the `grad` of every node below it. The work must grow with the number of nodes, not with the number of paths. torch is off limits.
#
# <details><summary>Hint 1: what a node remembers</summary> Its parents, and for each parent the local derivative, a plain number known when the node is made. With these, one loop in
# <code>backward</code> does for all operations. Subtraction and division can be written with the others. </details>
#
# <details><summary>Hint 2: the order</summary> Every node is made after its parents. Give each a serial number when it is made, collect all nodes that can be reached, and go through them by falling number.
# Or sort topologically by a depth-first search. Plain numbers on the left need <code>__radd__</code>, <code>__rmul__</code> and their like. </details>


# %% nbgrader={"grade": false, "grade_id": "value", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Value:
    """A number in a graph that can be differentiated.

    Write all methods: ``__init__``, ``__add__``, ``__radd__``, …, ``exp``, ``backward``.

    Args:
        data: the number.
        parents: yours to use: what a node remembers of the nodes that it was made from. A leaf has none.

    Attributes:
        data: the number, a float.
        grad: derivative, by this number, of the node on which ``backward`` was called; 0.0 before that.

    Example:
        ``a, b = Value(2.0), Value(1.0); e = (a + b) * (b + 1); e.backward()`` leaves 2.0 in ``a.grad`` and 5.0 in ``b.grad``.
    """

    def __init__(self, data: float, parents: tuple = ()) -> None:
        ### BEGIN SOLUTION
        self.data = float(data)
        self.grad = 0.0
        self._parents = parents  # pairs of a parent and the local derivative by it
        self._number = next(Value._serial)  # a node is made after its parents: falling numbers are a reversed topological order

    def __add__(self, other):
        other = _as_value(other)
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        other = _as_value(other)
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def __pow__(self, exponent):
        return Value(self.data**exponent, ((self, exponent * self.data ** (exponent - 1)),))

    def exp(self):
        result = math.exp(self.data)
        return Value(result, ((self, result),))

    def relu(self):
        return Value(max(self.data, 0.0), ((self, 1.0 if self.data > 0 else 0.0),))

    def tanh(self):
        result = math.tanh(self.data)
        return Value(result, ((self, 1 - result**2),))

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -_as_value(other)

    def __truediv__(self, other):
        return self * _as_value(other) ** -1

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return self**-1 * other

    def backward(self):
        reached, stack = {self}, [self]
        while stack:
            for parent, _ in stack.pop()._parents:
                if parent not in reached:
                    reached.add(parent)
                    stack.append(parent)
        self.grad = 1.0
        for node in sorted(reached, key=lambda node: node._number, reverse=True):
            for parent, local in node._parents:
                parent.grad += node.grad * local

    _serial = itertools.count()


def _as_value(number):
    return number if isinstance(number, Value) else Value(number)


### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-value", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("value", points=5)

with check("the lecture's (a + b)(b + 1) at (2, 1)", points=1):
    a, b = Value(2.0), Value(1.0)
    e = (a + b) * (b + 1)
    e.backward()
    check.close(e.data, 6.0)
    check.close(
        [a.grad, b.grad],
        [2.0, 5.0],
        mistakes={
            "Only b's use in a + b has been counted. A gradient is a sum over all uses: add with +=.": [2.0, 2.0],
            "Only b's use in b + 1 has been counted. A gradient is a sum over all uses: add with +=.": [2.0, 3.0],
            "No gradient has arrived. The result's own gradient, ∂e/∂e, must start at 1.": [0.0, 0.0],
            "The two are exchanged, as on the slide: 5 is ∂e/∂b, since b is used twice.": [5.0, 2.0],
        },
    )

with check("the lecture's 3x² + 2x + 1 at 2", points=0.5):
    x = Value(2.0)
    y = 3 * x**2 + 2 * x + 1
    y.backward()
    check.close([y.data, x.grad], [17.0, 14.0])

### BEGIN HIDDEN TESTS
VALUE_OFF_LIMITS = ("torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward")
value_operations = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a / b": lambda a, b: a / b,
    "a ** 3": lambda a, b: a**3,
    "b ** -1.5": lambda a, b: b**-1.5,
    "exp": lambda a, b: a.exp(),
    "tanh": lambda a, b: a.tanh(),
    "relu": lambda a, b: a.relu() + (-1 * b).relu() + (0.1 * b).relu(),
    "2 + a": lambda a, b: 2 + a,
    "2 - a": lambda a, b: 2 - a,
    "2 * a": lambda a, b: 2 * a,
    "2 / b": lambda a, b: 2 / b,
    "a - 2": lambda a, b: a - 2,
    "a / 2": lambda a, b: a / 2,
}


def value_oracle(build, numbers):
    """The result of ``build`` on numbers and its gradients, by torch."""
    leaves = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    result = build(*leaves)
    grads = torch.autograd.grad(result, leaves, allow_unused=True)
    return result.item(), [0.0 if g is None else g.item() for g in grads]


def value_run(build, numbers):
    """The same by the answer: the node that results, and the gradients."""
    leaves = [Value(number) for number in numbers]
    result = build(*leaves)
    result.backward()
    return result, [leaf.grad for leaf in leaves]


def value_ladder(rungs):
    """The gradient at the foot of a ladder whose rungs are each used twice; by hand it is 1."""
    foot = Value(1.0)
    rung = foot
    for _ in range(rungs):
        rung = rung * 0.5 + rung * 0.5
    rung.backward()
    return foot.grad


value_runs = [(name, f, (float(check.rng.normal(0, 1.5)), float(check.rng.uniform(0.5, 2)))) for name, f in value_operations.items() for _ in range(2)]
value_wanted = [value_oracle(f, numbers) for _, f, numbers in value_runs]
with check("every operation, with numbers on either side", points=1.5, off_limits=VALUE_OFF_LIMITS):
    for (name, f, (a, b)), (want, want_grads) in zip(value_runs, value_wanted, strict=True):
        result, got_grads = check.run(value_run, f, (a, b))
        got = result.data
        check.law(abs(got - want) < 1e-9 * max(1, abs(want)), f"{name} at a = {a:.3f}, b = {b:.3f}: expected {want:.6g}, got {got:.6g}")
        check.law(
            np.allclose(got_grads, want_grads, rtol=1e-7),
            f"{name} at a = {a:.3f}, b = {b:.3f}: expected the gradients {np.round(want_grads, 5)}, got {np.round(got_grads, 5)}.",
            mistakes={
                "tanh' is 1 − tanh(a)²: it takes the value, not a.": name == "tanh" and np.isclose(got_grads[0], 1 - a**2),
                "In a product each factor's local derivative is the other factor.": name == "a * b" and np.allclose(got_grads, [a, b]),
                "The second argument of a difference gets a minus sign.": name in ("a - b", "2 - a") and np.allclose(np.abs(got_grads), np.abs(want_grads)),
                "The derivative of a/b by b is −a/b².": name in ("a / b", "2 / b") and not np.isclose(got_grads[1], want_grads[1]),
                "The derivative of a power is n·aⁿ⁻¹.": "**" in name,
            },
        )


def value_random_graph(seed):
    """A function of three leaves that makes 25 nodes at random, each from nodes made before, so that many are shared; sums and products only."""

    def build(*leaves):
        rng, nodes = np.random.default_rng(seed), list(leaves)
        for _ in range(25):
            i, j = rng.integers(0, len(nodes), 2)
            left, right = nodes[i], nodes[j]
            nodes.append([(left + right) * 0.5, left * 0.7 + right * -0.3, left * right][rng.integers(0, 3)])
        return nodes[-1] + nodes[-2] + nodes[-3] + nodes[3]

    return build


value_graphs = [(value_random_graph(seed), check.rng.uniform(-1, 1, 3).tolist()) for seed in check.seeds(12)]
value_graphs_wanted = [value_oracle(build, numbers) for build, numbers in value_graphs]
with check("shared nodes, in random graphs and in a ladder of 60 rungs", points=1.5, seconds=4, off_limits=VALUE_OFF_LIMITS):
    for first in (True, False):
        a, b = Value(2.0), Value(3.0)
        s = a * b
        u = s + s * s if first else s * s + s
        u.backward()
        check.law(
            abs(a.grad - 39) < 1e-9,
            f"s = a·b, u = s + s·s at a = 2, b = 3: expected ∂u/∂a = b·(1 + 2s) = 39, got {a.grad:.6g}.",
            mistakes={
                "s has passed its gradient on before all of it had arrived. Go through the nodes in reversed topological order, each once.": a.grad
                in (3.0, 42.0, 78.0, 81.0, 75.0, 114.0),
                "s is used three times and only some uses were counted. Add to a gradient with +=, do not overwrite it.": a.grad in (18.0, 36.0, 21.0),
            },
        )
    for (build, numbers), (want, want_grads) in zip(value_graphs, value_graphs_wanted, strict=True):
        result, got_grads = check.run(value_run, build, numbers)
        check.close([result.data, *got_grads], [want, *want_grads])
    check.close(check.run(value_ladder, 60), 1.0)

with check("backward again, after setting every grad to zero", points=0.5, off_limits=VALUE_OFF_LIMITS):
    a, b = (Value(float(number)) for number in check.rng.normal(size=2))
    c = a * b
    d = c * c
    e = d + c
    e.backward()
    before = [a.grad, b.grad]
    check.law(any(before), "a call of backward leaves gradients; yours are all 0")
    for node in (a, b, c, d, e):
        node.grad = 0.0
    e.backward()
    check.close([a.grad, b.grad], before, mistakes={"Only the first call does anything. backward must work again once every grad is zero.": [0.0, 0.0]})
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### One gradient, three ways
#
# The same small network, differentiated by your recursion, by your engine and by torch; and your recursion by your gradient check. The two exact ways differ from torch by rounding alone.


# %% nbgrader={"grade": false, "grade_id": "experiment-agreement", "locked": true, "schema_version": 3, "solution": false, "task": false}
def agreement(seed):
    """Largest differences from torch, and the relative error that the gradient check reports, for a 5-7-4-3 tanh network."""
    rng = np.random.default_rng(seed)
    params = [(rng.normal(size=(m, d)) / math.sqrt(d), rng.normal(size=m)) for d, m in itertools.pairwise((5, 7, 4, 3))]
    X, Y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))

    leaves = [torch.tensor(value, requires_grad=True) for pair in params for value in pair]
    h = torch.tensor(X)
    for layer, (W, b) in enumerate(zip(leaves[::2], leaves[1::2], strict=True)):
        h = F.linear(torch.tanh(h) if layer else h, W, b)
    by_torch = [g.numpy() for g in torch.autograd.grad(((torch.tensor(Y) - h) ** 2).sum() / 2, leaves)]

    def by_hand(weights):
        return [g for pair in mlp_backward(weights, X, Y, lambda a: act("tanh", a)) for g in pair]

    nodes = [np.vectorize(Value, otypes=[object])(value) for pair in params for value in pair]  # one node a weight
    error = Value(0.0)
    for x, y in zip(X, Y, strict=True):
        h = x
        for layer, (W, b) in enumerate(zip(nodes[::2], nodes[1::2], strict=True)):
            h = W @ (np.array([unit.tanh() for unit in h]) if layer else h) + b
        for unit, target in zip(h, y, strict=True):
            error = error + 0.5 * (unit - target) ** 2
    error.backward()
    by_engine = [np.vectorize(lambda node: node.grad)(value) for value in nodes]

    def error_of_first_weight(W):
        weights = [(W, params[0][1]), *params[1:]]
        h = X
        for layer, (V, b) in enumerate(weights):
            h = (np.tanh(h) if layer else h) @ V.T + b
        return ((h - Y) ** 2).sum() / 2, by_hand(weights)[0]

    def distance(left, right):
        return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))

    return {
        "hand": distance(by_hand(params), by_torch),
        "engine": distance(by_engine, by_torch),
        "check": grad_check(error_of_first_weight, params[0][0]),
    }


# %% nbgrader={"grade": false, "grade_id": "experiment-agreement-run", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
with checks.uses("act", "linear_backward", "mlp_backward", "grad_check", "vjp", "jacobian_bytes", "value"):
    measured = agreement(seed=0)
    block = torch.randn(32, 32, 512, generator=torch.Generator().manual_seed(0))
    show(
        Claim("your recursion against torch, largest difference", "equal: backpropagation is the chain rule (Asano)", measured["hand"], at_most=1e-10),
        Claim("your engine against torch, largest difference", "equal: any graph of operations (Minhas)", measured["engine"], at_most=1e-10),
        Claim("relative error that your gradient check reports", "not in the lecture", measured["check"], at_most=1e-5),
        Claim("Jacobian of a 32×32×512 block", "1 TB (Asano)", jacobian_bytes(block.shape, block.shape) / 2**40, at_least=1, at_most=1, unit="TiB"),
        Claim(
            "vector–Jacobian product of the same",
            "2 MB (Asano)",
            vjp(torch.tanh, block, torch.ones_like(block)).nbytes / 2**20,
            at_least=2,
            at_most=2,
            unit="MiB",
        ),
    )

# %% [markdown]
# ## 8  Training from your own parts
#
# Nothing is missing now. A classifier is a linear module, ReLU, a linear module and softmax cross-entropy; training repeats *forward, backward, step* over shuffled mini-batches:
#
# $$ \theta \leftarrow \theta - \eta\,\frac{\partial\mathcal L_{\text{batch}}}{\partial\theta}\qquad\text{or, with momentum,}\qquad v\leftarrow\mu v-\eta\,\frac{\partial\mathcal L_{\text{batch}}}{\partial\theta},\quad \theta\leftarrow\theta+v . $$
#
# Weights must start different from one another, or the hidden units of a layer get equal gradients and stay equal for ever. They must also start at the right size, which section 9 is about:
# for ReLU, standard deviation $\sqrt{2/d}$ with $d$ inputs (He). Biases may start at zero.


# %% nbgrader={"grade": false, "grade_id": "figure-digits", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_digits():
    fig, axes = plotting.subplots(10, width=11, height=1.5)
    for ax, image, label in zip(axes, digits.x_train, digits.y_train, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r")
        ax.set_title(str(label))
        ax.set_axis_off()
    labels = ", ".join(map(str, digits.y_train[:10]))
    plotting.show(fig, alt=f"The first ten training images, 8 by 8 pixels of grey, handwritten digits with their labels: {labels}.")


draw_digits()

# %% [markdown]
# **Exercise 2.8 · `train_mlp`** (5 points · difficulty 3 of 5 · about 35 minutes)
#
# Train a ReLU network with one hidden layer on labelled vectors, from your own parts (`act`, `linear_backward`, `softmax_ce`, or `mlp_backward`), in NumPy. Optimiser, batch size and learning
# rate are yours to choose; 30 epochs must be enough for a mean accuracy of at least 95 % on 450 digits that it has not seen, over several splits, and take less than 10 seconds each.
# Draw all randomness from `np.random.default_rng(seed)`. Autograd and ready-made classifiers are off limits.
#
# The checks predict with `np.maximum(X @ W1.T + b1, 0) @ W2.T + b2` and take the largest of each row.
#
# <details><summary>Hint 1: where to start</summary> Draw W1 and W2 by He's rule. An epoch is a fresh permutation of the examples, cut into batches of 32. For one batch, go forward and keep x, h and the slope;
# then <code>softmax_ce</code> gives the first gradient, and <code>linear_backward</code> twice does the rest. </details>
#
# <details><summary>Hint 2: numbers that work</summary> Learning rate 0.1 with momentum 0.9 and batches of 32. If the accuracy stays near 10 %, print the loss of each epoch: it must fall from about 2.3. </details>


# %% nbgrader={"grade": false, "grade_id": "train_mlp", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_mlp(X: FloatArray, y: IntArray, hidden: int = 64, epochs: int = 30, seed: int = 0) -> Params:
    """Train a classifier with one hidden ReLU layer.

    Args:
        X: inputs, shape (N, d), of a size around 1.
        y: classes, integers from 0 to K-1, each of which occurs; shape (N,).
        hidden: units of the hidden layer.
        epochs: passes over the examples.
        seed: of initialisation and shuffling. The same seed gives the same weights.

    Returns:
        ``[(W1, b1), (W2, b2)]`` of shapes (hidden, d), (hidden,), (K, hidden), (K,).
    """
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    sizes = X.shape[1], hidden, int(y.max()) + 1
    weights = [rng.normal(0, math.sqrt(2 / d), (m, d)) for d, m in itertools.pairwise(sizes)]
    theta = [weights[0], np.zeros(sizes[1]), weights[1], np.zeros(sizes[2])]
    velocity = [np.zeros_like(value) for value in theta]
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for start in range(0, len(X), 32):
            batch = order[start : start + 32]
            W1, b1, W2, b2 = theta
            h, slope = act("relu", X[batch] @ W1.T + b1)
            _, dz = softmax_ce(h @ W2.T + b2, y[batch])
            dh, gW2, gb2 = linear_backward(h, W2, dz)
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            for value, v, gradient in zip(theta, velocity, (gW1, gb1, gW2, gb2), strict=True):
                v *= 0.9
                v -= 0.1 * gradient
                value += v
    return [(theta[0], theta[1]), (theta[2], theta[3])]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_mlp", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_mlp", points=5)
TRAIN_OFF_LIMITS = ("torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward", "sklearn.neural_network.MLPClassifier.fit")
### BEGIN HIDDEN TESTS
torch_grad = torch.autograd.grad  # the real one: the door is closed to the answer only


def trusted_mlp_backward(params, X, Y, act):
    """Gradients by torch for a ReLU network, in place of an earlier answer."""
    leaves = [torch.tensor(value, requires_grad=True) for pair in params for value in pair]
    h = F.linear(torch.tensor(X), leaves[0], leaves[1])
    for W, b in zip(leaves[2::2], leaves[3::2], strict=True):
        h = F.linear(F.relu(h), W, b)
    gradients = [g.numpy() for g in torch_grad(((h - torch.tensor(Y)) ** 2).sum() / 2, leaves)]
    return list(zip(gradients[::2], gradients[1::2], strict=True))


def trusted_softmax_ce(z, y):
    p, one_hot = special.softmax(z, axis=1), np.eye(z.shape[1])[y]
    return float(-special.log_softmax(z, axis=1)[np.arange(len(z)), y].mean()), (p - one_hot) / len(z)


check.use(
    act=lambda name, a, alpha=None: (a * (a > 0), np.heaviside(a, 0.0)),
    linear_backward=lambda x, W, g: (g.dot(W), x.T.dot(g).T, np.ones(len(g)).dot(g)),
    softmax_ce=trusted_softmax_ce,
    mlp_backward=trusted_mlp_backward,
)
### END HIDDEN TESTS

with check("parameters of the promised shapes, better than guessing after 2 epochs", points=1, seconds=30, off_limits=TRAIN_OFF_LIMITS):
    (W1, b1), (W2, b2) = train_mlp(digits.x_train, digits.y_train, hidden=20, epochs=2, seed=1)
    check.shape(W1, (20, 64))
    check.shape(b1, (20,))
    check.shape(W2, (10, 20))
    check.shape(b2, (10,))
    right = (np.maximum(digits.x_test @ W1.T + b1, 0) @ W2.T + b2).argmax(1) == digits.y_test
    check.at_least(right.mean(), 0.3, "accuracy on unseen digits after 2 epochs")

### BEGIN HIDDEN TESTS
with check("at least 95 % of unseen digits, over two splits", points=3, seconds=60, off_limits=TRAIN_OFF_LIMITS):
    accuracies = []
    for seed in check.seeds(2):
        split = data.load("digits", seed=seed)
        (W1, b1), (W2, b2) = train_mlp(split.x_train, split.y_train, seed=seed)
        accuracies.append((np.maximum(split.x_test @ W1.T + b1, 0) @ W2.T + b2).argmax(1) == split.y_test)
    (early, b), (V, c) = train_mlp(split.x_train, split.y_train, epochs=1, seed=3)
    (late, _), _ = train_mlp(split.x_train, split.y_train, epochs=2, seed=3)
    check.law(
        not np.allclose(early, late),
        "The hidden weights are the same after 1 epoch and after 2.",
        mistakes={
            "Every hidden unit is dead: it gives 0 for every image. The learning rate is too high.": lambda: np.all(split.x_train @ W1.T + b1 <= 0),
            "Only the last layer is trained, on random features. Step all four arrays.": True,
        },
    )
    check.at_least(
        np.mean(accuracies),
        0.95,
        "mean accuracy on unseen digits",
        mistakes={
            "All hidden units are equal: they started equal, so they got equal gradients. Draw the weights at random.": lambda: np.allclose(W1, W1[0]),
            "The result is worse than guessing, so the steps go uphill. Subtract the gradient.": np.mean(accuracies) < 0.06 or not np.isfinite(W1).all(),
            "It learns, but too little in 30 epochs. Try batches of 32 examples, a higher learning rate, or momentum.": np.mean(accuracies) > 0.2,
        },
    )
    check.at_least(
        ((np.maximum(split.x_test @ early.T + b, 0) @ V.T + c).argmax(1) == split.y_test).mean(),
        0.25,
        "accuracy on unseen digits after 1 epoch",
        mistakes={"There is a pass too few: with epochs = 1 all examples are used once.": True},
    )

with check("any number of classes; the same seed, the same weights; nothing else touched", points=1, seconds=30, off_limits=TRAIN_OFF_LIMITS):
    centres = 3 * check.rng.normal(size=(3, 5))
    y = check.rng.integers(0, 3, 200)
    X = centres[y] + check.rng.normal(size=(200, 5))
    with check.no_side_effects(X, y):
        first = train_mlp(X, y, hidden=8, epochs=3, seed=5)
    second = train_mlp(X, y, hidden=8, epochs=3, seed=5)
    other = train_mlp(X, y, hidden=8, epochs=3, seed=6)
    check.shape(first[1][0], (3, 8))
    same = all(np.allclose(a, b, rtol=1e-12) for layers in zip(first, second, strict=True) for a, b in zip(*layers, strict=True))
    check.law(same, "The same seed gave other weights. Draw all randomness from np.random.default_rng(seed).")
    check.law(not np.allclose(first[0][0], other[0][0]), "Two seeds gave the same weights. The seed must set the start and the shuffling.")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### What it reaches, and what kills it
#
# First the accuracy of your `train_mlp` over three splits. Then a claim to test: Asano's "Rectified Linear Unit (ReLU)" says of *dead* units, which give 0 for every input and so get no gradient
# any more, that "higher learning rates might help" (erratum E04). A unit dies when a step throws its weights so far that $a\le0$ for all inputs. Larger steps throw farther. The experiment trains the
# same network by plain gradient descent at four learning rates, ten epochs each, and counts the dead.


# %% nbgrader={"grade": false, "grade_id": "experiment-training", "locked": true, "schema_version": 3, "solution": false, "task": false}
def digits_accuracy(seed):
    """Accuracy of train_mlp on 450 unseen digits, and what it predicts for them."""
    split = data.load("digits", seed=seed)
    (W1, b1), (W2, b2) = train_mlp(split.x_train, split.y_train, seed=seed)
    predicted = (np.maximum(split.x_test @ W1.T + b1, 0) @ W2.T + b2).argmax(1)
    return float((predicted == split.y_test).mean()), predicted, split


def dead_share(rate, seed):
    """Share of 64 hidden ReLU units that give 0 for every training image after ten epochs of plain gradient descent."""
    rng, (X, y) = np.random.default_rng(seed), digits[:2]
    W1, b1 = rng.normal(0, math.sqrt(2 / 64), (64, 64)), np.zeros(64)
    W2, b2 = rng.normal(0, math.sqrt(2 / 64), (10, 64)), np.zeros(10)
    for _ in range(10):
        for batch in np.array_split(rng.permutation(len(X)), len(X) // 32):
            h, slope = act("relu", X[batch] @ W1.T + b1)
            _, dz = softmax_ce(h @ W2.T + b2, y[batch])
            dh, gW2, gb2 = linear_backward(h, W2, dz)
            _, gW1, gb1 = linear_backward(X[batch], W1, dh * slope)
            W1, b1, W2, b2 = W1 - rate * gW1, b1 - rate * gb1, W2 - rate * gW2, b2 - rate * gb2
    return float((X @ W1.T + b1 <= 0).all(axis=0).mean())


# %% nbgrader={"grade": false, "grade_id": "experiment-training-run", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
def draw_training(runs, dead):
    fig, (left, right) = plotting.subplots(2, width=11, height=3.6)
    _, predicted, split = runs[0]
    wrong = np.flatnonzero(predicted != split.y_test)[:10]
    left.imshow(np.hstack([np.pad(split.x_test[i].reshape(8, 8), 1) for i in wrong] or [np.zeros((10, 10))]), cmap="gray_r")
    left.set_xticks([10 * k + 4.5 for k in range(len(wrong))], [f"{split.y_test[i]}\n{predicted[i]}" for i in wrong])
    left.set(title="Mistakes on unseen digits (above: truth, below: answer)", yticks=[])
    left.grid(visible=False)
    plotting.bars(right, {f"{rate:g}": share for rate, share in dead.items()}, xlabel="learning rate", ylabel="dead share of 64 units", fmt="{:.2f}")
    right.set(title="Dead ReLUs after ten epochs, three seeds")
    shares = ", ".join(f"{np.mean(share):.2f} at {rate:g}" for rate, share in dead.items())
    mistakes = ", ".join(f"a {split.y_test[i]} taken for a {predicted[i]}" for i in wrong)
    plotting.show(
        fig,
        alt=f"Left: the first {len(wrong)} test digits that the network gets wrong: {mistakes}. Right: share of hidden units that are dead after ten epochs, by learning rate: {shares}.",
    )


with checks.uses("act", "linear_backward", "softmax_ce", "train_mlp"):
    runs = [digits_accuracy(seed) for seed in training.progress(range(3), desc="train_mlp, three splits")]
    rates = (0.1, 0.5, 1.0, 2.0)
    dead = {rate: [dead_share(rate, seed) for seed in range(3)] for rate in training.progress(rates, desc="learning rates")}
    draw_training(runs, dead)
    show(
        Claim("accuracy on 450 unseen digits, mean of three splits", "not in the lecture", float(np.mean([run[0] for run in runs])), at_least=0.95),
        Claim("dead units at learning rate 0.1", "dead units are a problem of ReLU (Asano)", float(np.mean(dead[0.1])), at_most=0.2),
        Claim("dead units at learning rate 2", "“higher learning rates might help” (Asano)", float(np.mean(dead[2.0])), at_least=0.8),
    )

# %% [markdown]
# ## 9  When does the gradient reach the first layer?
#
# Minhas lists what stalls learning: inputs that are zero, saturated activations, weights of zero, steps so large that they saturate, targets that the output cannot reach; and, over many layers,
# a product of many small factors. The advice drawn from it, "don't use too many layers" and no sigmoids, is a statement about a bad start, as the next experiment shows. (Even convex pieces make no convex
# loss: with $g_1(x)=-x$ and $g_2(x)=x^2$, $g_1(g_2(x))=-x^2$. Descent may end anywhere, and where it starts decides much.)
#
# Going back through one layer multiplies $\delta$ by $W$ and by the slopes. On average over random weights of variance $s^2$ the size of $\delta$ is multiplied by about
# $\sqrt{m\,s^2\;\overline{\sigma'(a)^2}}$, with $m$ units a layer. That factor should be 1, and the same must hold for $h$ going forward.
#
# | start | weights | biases | made for |
# |---|---|---|---|
# | Xavier | uniform on $\pm\sqrt{6/(d+m)}$ | 0 | slopes near 1 (tanh) |
# | He | normal, variance $2/d$ | 0 | ReLU, which halves the variance |
# | torch default | uniform on $\pm1/\sqrt d$ | the same | convenience |
# | 4 × Xavier, centred | four times Xavier | $-\tfrac12\sum_i W_{ki}$ | sigmoid |
#
# Deep Learning for Computer Vision, Part I, prints torch's rule under the name of Glorot, and gives He's normal the second parameter $2/\sqrt d$, which is neither the variance nor the
# standard deviation (erratum E02). The last row is no trick: since
# $\sigma(a)=\tfrac12+\tfrac12\tanh\tfrac a2$, a sigmoid network with these weights *is* a tanh network with Xavier's, apart from its first and last layer.


# %% nbgrader={"grade": false, "grade_id": "experiment-vanishing", "locked": true, "schema_version": 3, "solution": false, "task": false}
def initial_layer(start, d, m, rng):
    """(W, b) of a layer from d to m units."""
    if start == "He":
        return rng.normal(0, math.sqrt(2 / d), (m, d)), np.zeros(m)
    if start == "torch default":
        return rng.uniform(-1, 1, (m, d)) / math.sqrt(d), rng.uniform(-1, 1, m) / math.sqrt(d)
    W = rng.uniform(-1, 1, (m, d)) * math.sqrt(6 / (d + m))
    return (W, np.zeros(m)) if start == "Xavier" else (4 * W, -2 * W.sum(axis=1))


def gradient_norms(activation, start, depth, seed):
    """‖∂L/∂W‖ of each of ``depth`` layers, 64 units wide, before any training, on 128 digits; first layer first."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(digits.x_train))[:128]
    layers = [initial_layer(start, d, m, rng) for d, m in itertools.pairwise([64] * depth + [10])]
    inputs, slopes, h = [], [], digits.x_train[chosen]
    for layer, (W, b) in enumerate(layers):
        inputs.append(h)
        h = h @ W.T + b
        if layer < depth - 1:
            h, slope = act(activation, h)
            slopes.append(slope)
    _, delta = softmax_ce(h, digits.y_train[chosen])
    norms = np.empty(depth)
    for layer in reversed(range(depth)):
        back, gW, _ = linear_backward(inputs[layer], layers[layer][0], delta)
        norms[layer] = np.linalg.norm(gW)
        delta = back * slopes[layer - 1] if layer else back
    return norms


NETWORKS = (
    ("sigmoid", "Xavier"),
    ("sigmoid", "4 × Xavier, centred"),
    ("tanh", "Xavier"),
    ("relu", "He"),
    ("relu", "torch default"),
    ("relu", "Xavier"),
)


def vanishing(seed, depths=(10, 20)):
    """(activation, start, depth) -> gradient norms per layer."""
    return {(*network, depth): gradient_norms(*network, depth, seed) for depth in depths for network in NETWORKS}


# %% nbgrader={"grade": false, "grade_id": "experiment-vanishing-run", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
def orders(norms):
    """log₁₀ of the first layer's gradient norm over the last layer's: 0 is ideal, -6 means a millionth."""
    return float(np.log10(norms[0] / norms[-1]))


def draw_vanishing(norms, depth):
    fig, ax = plotting.subplots(width=8.5, height=4.2)
    plotting.curves(ax, {f"{a}, {start}": norms[a, start, depth] for a, start in NETWORKS}, xlabel="layer (1 is next to the input)", ylabel="‖∂L/∂W‖", log=True)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set_xticks([1, *range(5, depth + 1, 5)])
    ax.set(title=f"Gradient norms before training, {depth} layers")
    ends = "; ".join(f"{a} with {start}, {norms[a, start, depth][0]:.1e} and {norms[a, start, depth][-1]:.1e}" for a, start in NETWORKS)
    plotting.show(fig, alt=f"Gradient norm against layer for six networks of {depth} layers, on a logarithmic axis. First and last layer: {ends}.")


with checks.uses("act", "linear_backward", "softmax_ce"):
    norms = vanishing(seed=0)
    draw_vanishing(norms, 20)
    show(
        Claim("sigmoid, Xavier, 10 layers: first/last", "vanishes (Minhas)", orders(norms["sigmoid", "Xavier", 10]), at_most=-5, unit="orders of ten"),
        Claim("the same, 20 layers", "“don't use too many layers” (Minhas)", orders(norms["sigmoid", "Xavier", 20]), at_most=-11, unit="orders of ten"),
        Claim(
            "sigmoid, 4 × Xavier centred, 20 layers",
            "no saturating activations (Minhas)",
            orders(norms["sigmoid", "4 × Xavier, centred", 20]),
            at_least=-1,
            at_most=0.5,
            unit="orders of ten",
        ),
        Claim("ReLU, He, 20 layers", "fewer vanishing gradients (Asano)", orders(norms["relu", "He", 20]), at_least=-0.7, at_most=0.7, unit="orders of ten"),
        Claim("ReLU, torch default, 10 layers", "the same", orders(norms["relu", "torch default", 10]), at_most=-1.5, unit="orders of ten"),
        Claim("ReLU, torch default, 20 layers", "the same", orders(norms["relu", "torch default", 20]), at_most=-5, unit="orders of ten"),
        Claim("ReLU, Xavier, 20 layers", "not in the lecture", orders(norms["relu", "Xavier", 20]), at_least=-0.5, at_most=1, unit="orders of ten"),
        Claim("its largest gradient norm in any layer", "not in the lecture", float(norms["relu", "Xavier", 20].max()), at_most=1e-2),
    )

# %% [markdown]
# Read the table again. The activation does not decide: the same sigmoid loses twelve orders of ten over 20 layers from one start and less than one from another, and ReLU from torch's default start
# loses about six. Nor does the ratio tell all: ReLU with Xavier's start has a ratio near 1, and yet *every* layer's gradient is some 700 times smaller than from He's start: $\sqrt2$ smaller weights in each of 20 layers,
# whose effect on $h$ going forward and on $\delta$ going back makes up the same factor for every layer. Look at sizes and at ratios.
#
# ## 10  Try it
#
# Move the sliders and predict before you look: which starts keep tanh alive at depth 30? Why is GELU worse than ReLU from the same start?


# %% nbgrader={"grade": false, "grade_id": "widget-vanishing", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-ignore-output"]
def draw_norms(depth, activation, start):
    norms = gradient_norms(activation, start, depth, seed=0)
    logs = np.log10(np.maximum(norms, 1e-40))
    fig, ax = plotting.subplots(width=4.6, height=3)
    ax.bar(range(1, depth + 1), logs + 20, bottom=-20)
    ax.set_xticks(sorted({1, depth, *range(5, depth - 1, 5)}))
    ax.set(xlabel="layer", ylabel="log₁₀ ‖∂L/∂W‖", ylim=(-20, 2), title=f"first/last: $10^{{{logs[0] - logs[-1]:.1f}}}$")
    return fig, f"bars of the gradient norm per layer; log10 is {logs[0]:.1f} in the first of {depth} layers and {logs[-1]:.1f} in the last."


widgets.explore(
    draw_norms,
    sliders={
        "depth": (2, 30, 1, 10),
        "activation": ["sigmoid", "tanh", "relu", "gelu", "softplus", "arctan"],
        "start": ["Xavier", "He", "torch default", "4 × Xavier, centred"],
    },
    twin=[
        {"depth": 10, "activation": "sigmoid", "start": "Xavier"},
        {"depth": 20, "activation": "sigmoid", "start": "Xavier"},
        {"depth": 20, "activation": "sigmoid", "start": "4 × Xavier, centred"},
        {"depth": 20, "activation": "relu", "start": "He"},
        {"depth": 20, "activation": "relu", "start": "torch default"},
        {"depth": 20, "activation": "gelu", "start": "torch default"},
    ],
    title="Depth, activation and start against the gradient of each layer",
)

# %% [markdown]
# ## 11  Written question
#
# Minhas, "The Learning Rule...", trains a hidden weight $v_{ij}$, from input $x_i$ to hidden unit $j$, by
#
# $$ \Delta v_{ij} = \alpha\,\hat\delta_j\,x_i \quad\text{with}\quad \hat\delta_j = \sum_k \delta_k\,w_{jk}\,a'(z_{\text{in},j})\,x_i ,\qquad \delta_k = (t_k-y_k)\,a'(y_{\text{in},k}),\quad E=\tfrac12\sum_k(t_k-y_k)^2 . $$
#
# 1. Show *without computing a gradient* that this cannot be $-\alpha\,\partial E/\partial v_{ij}$: compare indices, or units of measurement.
# 2. Confirm it by a number: choose a small network and one example, and compare with a finite difference. Add a code cell for it; say in your answer what you chose and what came out.
# 3. Give the right $\hat\delta_j$. For which inputs does the slide's rule agree with it nevertheless, also for the bias $v_{0j}$?
# 4. How does Minhas's $\delta_k$ relate to $\delta_{l,i} = \frac{\partial\mathcal L}{\partial f_{l,i}}\frac{\partial f_{l,i}}{\partial a_{l,i}}$ of Deep Learning for Computer Vision, Part I, and what does that
#    change in the update?

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# **1.** The left side $\hat\delta_j$ has one index, $j$; the right side depends on $i$ as well, through $x_i$. A quantity that belongs to hidden unit $j$ cannot depend on which of its inputs is looked at. Or by
# units: let $x_i$ be measured in metres, so that $v_{ij}$ has the unit 1/m and $z_{\text{in},j}$ none. Then $\partial E/\partial v_{ij}$ has the unit [E]·m. The slide's product $\hat\delta_j x_i$ carries
# $x_i^2$, the unit [E]·m².
#
# **2.** One input $x=3$, one hidden tanh unit with $v=0.2$, one linear output with $w=1.5$, target $t=1$, no biases. $z_{\text{in}}=0.6$, $z=0.53705$, $y=0.80557$, $\delta_k=0.19443$,
# $a'=1-z^2=0.71158$. The central difference with $\epsilon=10^{-5}$ gives $-\partial E/\partial v = 0.62257$. The slide gives $0.19443\cdot1.5\cdot0.71158\cdot3\cdot3=1.86771$, three times as much: one factor
# $x=3$ too many. Without the second $x_i$ it is $0.62257$.
#
# **3.** $\hat\delta_j=a'(z_{\text{in},j})\sum_k\delta_k w_{jk}$, as on the slide "Training Algorithm..." (step 7). The slide's update has $x_i^2$ where $x_i$ belongs. They agree if and only if $x_i^2=x_i$, that is for
# $x_i\in\{0,1\}$ (or where the rest is zero). So the bias, with $x_0=1$, is right by luck, and so is a network with binary inputs such as XOR: the mistake would not be seen in the lab exercise. For
# $x_i<0$ the step even has the wrong sign.
#
# **4.** With $\mathcal L=E$ and the output unit's pre-activation $y_{\text{in},k}=a_{L,k}$: $\delta_{L,k}=\frac{\partial E}{\partial y_k}a'(y_{\text{in},k})=-(t_k-y_k)a'(y_{\text{in},k})=-\delta_k^{\text{Minhas}}$. Opposite
# signs, and the same for hidden units, since the recursion is linear in $\delta$. So Minhas *adds* $\alpha\,\delta_k z_j$, and the other course *subtracts* $\eta\,\delta_{l,i}f_{l-1,j}$. Both descend. Mixing the two ascends.
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# - 1 point: a valid argument from indices or units (or from a sign: the slide's step does not change sign with $x_i$).
# - 1 point: a finite difference for an input other than 0 and 1, with both numbers, that differ by the factor $x_i$.
# - 1 point: the right $\hat\delta_j$, and the agreement for $x_i\in\{0,1\}$ including the bias. Half a point for the formula alone.
# - 1 point: opposite signs (both are derivatives by the pre-activation), so one adds and the other subtracts. Half a point for "opposite" without the consequence.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - A module needs to answer one question: the gradient in its input and its parameters, given the gradient in its output. For a linear module: $gW$, $g^\top x$, $\sum_n g_n$.
# - Softmax and cross-entropy together have the gradient $(p-\text{one-hot})/N$, and are computed by subtracting the largest logit, never by the logarithm of a probability.
# - Backpropagation computes vector–Jacobian products from the loss backwards. It costs about two forward passes, and no Jacobian is ever stored.
# - In a graph a gradient is a sum over all uses of a node, and is passed on once it is complete.
# - A central difference with $\epsilon=10^{-5}$ in float64 tells a right gradient (largest relative error of any entry below $10^{-5}$, mostly below $10^{-7}$) from a nearly right one.
# - Vanishing is decided by activation, start and depth together: the factor a layer puts on $\delta$ must be near 1, and so must the one it puts on $h$.
#
# **Reading on** Rumelhart, Hinton and Williams, Nature 1986; Glorot and Bengio, AISTATS 2010; He et al., ICCV 2015; Griewank and Walther, *Evaluating Derivatives* (2008); Lillicrap et al., "Backpropagation and
# the brain", Nature Reviews Neuroscience 2020.
#
# **Next:** a linear module with most of its weights tied or zero, in 03-filters.
