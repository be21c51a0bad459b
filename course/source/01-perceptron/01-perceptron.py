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
# # 01 · The perceptron and the multilayer perceptron
#
# One threshold unit draws one line. This notebook starts with that unit and the rule that trains it, finds out exactly which problems a line can solve,
# and then puts units in layers to solve the others. At the end you measure what width and depth each buy.
#
# **You will be able to**
# - tell Rosenblatt's threshold unit from the logistic unit, though lectures call both "perceptron";
# - train a threshold unit and say how many mistakes it makes at most;
# - decide which Boolean functions one unit can represent, and build a network for one that it cannot;
# - run a multilayer perceptron by hand and count its parameters;
# - say what width and depth change, with numbers that you measured.
#
# | | |
# |---|---|
# | Time and points | about 220 minutes, 28 points |
# | of which | exercises: 140 minutes, 24 points; written question: 20 minutes, 4 points; reading and experiments: 60 minutes |
# | Running time | about 40 seconds on one CPU core, once everything is filled in |
# | You need | Python, a little NumPy, matrix products; the idea of gradient descent for section 5 |
#
# **Lecture sections it follows.** Y. M. Asano, *Deep Learning*, MLx Fundamentals 2024: "Perceptrons", "Training a perceptron", "XOR & 1-layer perceptrons",
# "Multi-layer perceptrons to the rescue", "Deep feedforward networks". F. Minhas, *CS909 Data Mining* (Warwick), "Neural Networks and Deep Learning": "Multilayer perceptrons",
# "Universal function approximation", "Why go deep?", "Comparison of Depth". *Deep Learning for Computer Vision, Part I*: "Perceptron model and multilayer extension",
# "Number of parameters in a network". The slides on one node, the neural network and its architecture that open the third set of lecture notes.
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from collections.abc import Callable

import matplotlib.figure
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dlcourse_utils import checks, claims, data, plotting, training, widgets
from dlcourse_utils.claims import Claim

torch.set_num_threads(1)  # these networks are tiny: more threads only get in each other's way
corners = data.booleans(2)  # (0, 0), (0, 1), (1, 0), (1, 1)

# %% [markdown]
# ## 1  A unit that decides
#
# A **threshold unit** (Rosenblatt, 1958) weighs its inputs, adds a bias, and answers with one of two labels. With $x_0 = 1$ the bias is one more weight, $w_0$:
#
# $$ s(x) = w_0 + \sum_{j=1}^{d} w_j x_j = \sum_{j=0}^{d} w_j x_j, \qquad \hat{l}(x) = \begin{cases} +1 & s(x) > 0 \\ -1 & \text{otherwise.} \end{cases} $$
#
# The points with $s(x) = 0$ form a line (a plane, a hyperplane). The weights $(w_1, \dots, w_d)$ stand at right angles to it and point to the side of $+1$;
# the bias moves it away from the origin, to the distance $\lvert w_0\rvert / \lVert (w_1, \dots, w_d) \rVert$. A score of exactly 0 is not positive, so it gives $-1$.
# The model of McCulloch and Pitts (1943), from which this one grew, had binary inputs and weights fixed by hand: it did not learn.
#
# **One word, two models** (erratum E48). Part I of the computer-vision course calls a *different* model "perceptron": the **logistic unit**
# $f(x) = \sigma(a)$ with $a = w^\top x + b$ and $\sigma(a) = 1/(1 + e^{-a})$. It has the same $d + 1$ parameters and the same boundary, but its output is a probability, it has a derivative
# everywhere, and it is trained by gradient descent on the cross-entropy, not by Rosenblatt's rule. That course also calls $a$ the "activation", where the others use the word for the unit's *output*.
# Here $a$ is the **pre-activation** (for a threshold unit, the score), and the activation is what comes out.
#
# The same slide offers $\tanh(a)/2 + \tfrac12$ as another way to make a probability. It is the same function with the weights doubled: $\tanh(a)/2 + \tfrac12 = \sigma(2a)$.

# %% nbgrader={"grade": false, "grade_id": "figure-units", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, (plane, line) = plotting.subplots(2, width=10, height=3.8)
plotting.decision_regions(plane, lambda X: np.where(-1 + X @ [0.8, 0.6] > 0, 1, -1), (-2, 3), (-2, 3), classes=[-1, 1])
plane.annotate("", (0.8 + 0.8, 0.6 + 0.6), (0.8, 0.6), arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "black"})
plane.annotate("$(w_1, w_2)$", (1.65, 1.25))
plane.plot([0, 0.8], [0, 0.6], color="black", linestyle=":", marker="o", markersize=4)
plane.annotate("distance 1", (-0.75, -0.3))
for place, label in (((-1.6, -1.4), "answer −1"), ((1.3, 2.3), "answer +1")):
    plane.annotate(label, place, fontweight="bold")
plane.set(xlabel="$x_1$", ylabel="$x_2$", title="$w = (-1,\\ 0.8,\\ 0.6)$", aspect="equal")
a = np.linspace(-5, 5, 401)
units = {"threshold (1 or 0)": (a > 0).astype(float), "logistic $\\sigma(a)$": 1 / (1 + np.exp(-a)), "$\\tanh(a)/2 + 1/2 = \\sigma(2a)$": np.tanh(a) / 2 + 0.5}
plotting.curves(line, units, x=a, xlabel="pre-activation $a$", ylabel="output")
line.set_title("Same boundary, different output")
plotting.show(
    fig,
    alt="Left: the plane cut by the line 0.8 x1 + 0.6 x2 = 1. The weight vector (0.8, 0.6) stands at right angles to the line and points to the side with answer +1; "
    "the line is at distance 1 from the origin. Right: three outputs against the pre-activation from -5 to 5. The threshold jumps from 0 to 1 at 0; the logistic curve rises "
    "smoothly through 0.5 at 0; tanh(a)/2 + 1/2 does the same twice as steeply.",
)

# %% [markdown]
# **Exercise 1.1 · `perceptron_predict`** (3 points · difficulty 1 of 5 · about 10 minutes)
#
# Write the threshold unit for many points at once: `X` has one point a row, `w[0]` is the bias. The labels are $+1$ and $-1$, as ints or floats; a score of exactly 0 gives $-1$.
#
# <details><summary>Hint 1: where to start</summary>
#
# `X` has no column of ones. Take the bias and the other weights apart: `w[0]` and `w[1:]`. One matrix–vector product gives all scores.
#
# </details>
#
# <details><summary>Hint 2: from scores to labels</summary>
#
# `np.where(condition, yes, no)` chooses element by element. Mind the points on the line: `np.sign(0)` is 0, which is no label.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "perceptron_predict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perceptron_predict(w: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Labels that a threshold unit gives to points (Rosenblatt 1958).

    Args:
        w: weights, shape (d + 1,), float64; ``w[0]`` is the bias.
        X: points, shape (N, d), float64; N may be 0.

    Returns:
        Shape (N,): +1 where the score is positive, -1 elsewhere.

    Example:
        ``perceptron_predict(np.array([-1.0, 2.0]), np.array([[0.0], [1.0]]))`` gives ``[-1, 1]``.
    """
    ### BEGIN SOLUTION
    return np.where(w[0] + X @ w[1:] > 0, 1, -1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-perceptron_predict", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("perceptron_predict", points=3)

with check("four points by hand", points=1):
    four = np.array([[0.0, 0.0], [-3.0, 0.0], [0.0, 1.5], [1.0, 1.0]])
    check.close(
        perceptron_predict(np.array([2.0, 1.0, -2.0]), four),
        [1, -1, -1, 1],
        mistakes={
            "These are the scores. Turn each into a label: +1 where it is positive, -1 elsewhere.": [2.0, -1.0, -1.0, 1.0],
            "The labels are 0 and 1. This unit answers -1 and +1.": [1, 0, 0, 1],
            "The signs are the wrong way round: +1 belongs to positive scores.": [-1, 1, 1, -1],
            "The last weight was used as the bias. Here the bias is w[0]; the weights of the inputs are w[1:].": [-1, -1, -1, 1],
            "The bias was left out. Add w[0] to every score.": [-1, -1, -1, -1],
            "The result is a column. Return one label a point, shape (N,).": [[1], [-1], [-1], [1]],
        },
    )


### BEGIN HIDDEN TESTS
def known_sides(n, d):
    """A random plane in d dimensions and n points whose side is known because they were put there."""
    normal = check.rng.normal(size=d)
    foot = check.rng.normal(size=d)
    side = check.rng.choice([-1, 1], size=n)
    along = check.rng.normal(size=(n, d))
    along -= np.outer(along @ normal, normal) / (normal @ normal)
    points = foot + along + np.outer(side * check.rng.uniform(0.1, 2, size=n), normal)
    return np.concatenate([[-normal @ foot], normal]), points, side


with check("fresh points of other sizes", points=1):
    for n, d in ((1, 1), (1, 4), (7, 2), (3, 3), (50, 9), (0, 2)):
        weights, points, side = known_sides(n, d)
        for X in (points, np.asfortranarray(points), np.repeat(points, 2, axis=0)[::2]):
            with check.no_side_effects(weights, X):
                labels = perceptron_predict(weights, X)
            check.shape(labels, (n,), mistakes={"The result is a column. Return one label a point, shape (N,).": (n, 1)})
            check.close(
                labels,
                side,
                mistakes={
                    "These are the scores. Turn each into a label: +1 where it is positive, -1 elsewhere.": lambda: weights[0] + X @ weights[1:],
                    "The labels are 0 and 1. This unit answers -1 and +1.": (side + 1) // 2,
                    "The signs are the wrong way round: +1 belongs to positive scores.": -side,
                    "The last weight was used as the bias. Here the bias is w[0]; the weights of the inputs are w[1:].": lambda: np.where(
                        weights[-1] + X @ weights[:-1] > 0, 1, -1
                    ),
                    "The bias was left out. Add w[0] to every score.": lambda: np.where(X @ weights[1:] > 0, 1, -1),
                },
            )

with check("a point on the line gets -1", points=1):
    for k in (0.0, 1.0, -3.0, 8.0):
        labels = perceptron_predict(np.array([-k, 1.0, 2.0]), np.array([[k, 0.0], [k - 4.0, 2.0], [k + 2.0, -1.0]]))
        check.shape(labels, (3,))
        check.law(
            np.all(np.asarray(labels, dtype=float) < 0),
            f"a score of exactly 0 gives -1; got {np.asarray(labels).tolist()}",
            mistakes={
                "The sign function gives 0 for a score of 0, which is no label. Compare with 0 instead.": np.all(np.asarray(labels) == 0),
                "A score of 0 was given +1. Only a positive score gives +1: use > and not >=.": np.all(np.asarray(labels) == 1),
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 2  Learning from mistakes
#
# Rosenblatt's rule looks at one labelled point $(x, l)$ at a time, $l \in \{-1, +1\}$. If the point is on its right side, nothing happens. If it is a **mistake**, $l\, s(x) \le 0$, the weights move towards it:
#
# $$ w \leftarrow w + \eta\, l\, \tilde{x}, \qquad \tilde{x} = (1, x_1, \dots, x_d). $$
#
# The lecture's table ("Training a perceptron") says to *increase the weights* when the score is too low. That is right only for inputs with $x_j > 0$ (erratum E60).
# The change of $w_j$ has the sign of $l\,x_j$: where $x_j$ is negative, a score that is too low makes $w_j$ **smaller**. What surely rises is the score of that point itself, by
#
# $$ (w + \eta\, \tilde{x})^\top \tilde{x} - w^\top \tilde{x} = \eta \lVert \tilde{x} \rVert^2 > 0. $$

# %% nbgrader={"grade": false, "grade_id": "figure-one-mistake", "locked": true, "schema_version": 3, "solution": false, "task": false}
before, point = np.array([0.0, 1.0, 0.5]), np.array([-2.0, 1.0])
after = before + np.array([1.0, *point])
fig, panels = plotting.subplots(2, width=9, height=3.9)
for ax, weights, title in ((panels[0], before, "before: score −1.5"), (panels[1], after, "after one update: score +4.5")):
    plotting.decision_regions(ax, lambda X, w=weights: np.where(w[0] + X @ w[1:] > 0, 1, -1), (-3, 3), (-3, 3), classes=[-1, 1])
    ax.scatter(*point, s=110, marker="s", color=plotting.COLOURS[1], edgecolor="white", zorder=3)
    ax.annotate("$x = (-2, 1)$, $l = +1$", point, xytext=(-2.8, 1.5), bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title=f"{title}\n$w = ({weights[0]:g},\\ {weights[1]:g},\\ {weights[2]:g})$", aspect="equal")
plotting.show(
    fig,
    alt="One update with eta = 1 for the point (-2, 1) with label +1. Before, w = (0, 1, 0.5) gives it the score -1.5 and the point lies in the plain region of answer -1. "
    "After, w = (1, -1, 1.5) gives it +4.5 and the boundary has swung so that the point lies in the hatched region of answer +1. The weight of the negative input fell from 1 to -1.",
)

# %% [markdown]
# Above, the score was too low, and $w_1$ had to **fall** from 1 to −1; the score rose by $\lVert\tilde{x}\rVert^2 = 1 + 4 + 1 = 6$.
#
# **Does it end?** If some unit separates the points, yes. Let $R$ be the greatest $\lVert\tilde{x}_i\rVert$ and let $\gamma$ be a **margin**: some weights $w^*$ of length 1 have $l_i\, w^{*\top}\tilde{x}_i \ge \gamma > 0$ for every point.
# Start from $w = 0$. Each mistake adds at least $\eta\gamma$ to $w^{*\top} w$, and at most $\eta^2R^2$ to $\lVert w\rVert^2$, because the score had the wrong sign. After $M$ mistakes
#
# $$ \eta M\gamma \;\le\; w^{*\top}w \;\le\; \lVert w\rVert \;\le\; \eta\sqrt{M}\,R \qquad\Longrightarrow\qquad M \le (R/\gamma)^2 \quad\text{(Novikoff, 1962).} $$
#
# The bound does not depend on the number of points, on $\eta$ or on their order. If *no* unit separates the points, there is a mistake in every pass, for ever.

# %% [markdown]
# **Exercise 1.2 · `perceptron_fit`** (5 points · difficulty 3 of 5 · about 25 minutes)
#
# Train a threshold unit with Rosenblatt's rule. Start from $w = 0$; visit every point once an epoch, in any order; update **at once** after each mistake, so that the next point meets the new weights.
# A score of exactly 0 is on no side: it counts as a mistake for *either* label. Record the number of mistakes of each epoch. You may stop after an epoch without any. Do it by hand: no library's fit.
#
# <details><summary>Hint 1: where to start</summary>
#
# Put a column of ones before `X`, so that the bias is learnt like any weight. Then two loops: over epochs, over points. A point is a mistake when its label times its score is not positive.
#
# </details>
#
# <details><summary>Hint 2: it does not converge on AND</summary>
#
# Print `w` after each update. The update must be `eta * label * point`, inside the test for a mistake. If only some numbers move, look at whether the bias is among them.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "perceptron_fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perceptron_fit(X: np.ndarray, l: np.ndarray, eta: float = 1.0, epochs: int = 100) -> tuple[np.ndarray, list[int]]:
    """Train a threshold unit by Rosenblatt's rule, from zero weights.

    Args:
        X: points, shape (N, d), float64.
        l: labels -1 or +1, shape (N,).
        eta: length of a step, above 0.
        epochs: passes over the points at most; a pass without a mistake may end the training.

    Returns:
        ``(w, mistakes)``: the weights, shape (d + 1,), with ``w[0]`` the bias, and the number of mistakes in each pass that was made.
        A score of 0 is a mistake for either label.
    """
    ### BEGIN SOLUTION
    points = np.column_stack([np.ones(len(X)), X])
    w = np.zeros(points.shape[1])
    mistakes = []
    for _ in range(epochs):
        wrong = 0
        for point, label in zip(points, l, strict=True):
            if label * (w @ point) <= 0:
                w = w + eta * label * point
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, mistakes
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-perceptron_fit", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("perceptron_fit", points=5)
### BEGIN HIDDEN TESTS
check.use(perceptron_predict=lambda w, X: np.where(np.column_stack([np.ones(len(X)), X]) @ w > 0, 1, -1))
### END HIDDEN TESTS

with check("AND is learnt", points=1):
    w, mistakes = perceptron_fit(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([-1, -1, -1, 1]))
    check.shape(w, (3,))
    check.law(
        len(mistakes) > 0 and mistakes[-1] == 0,
        f"the last epoch has no mistakes; got {list(mistakes)[-1:]} after {len(mistakes)} epochs",
        mistakes={
            "One pass is too few: go over the points again, until an epoch has no mistakes or `epochs` are done.": len(mistakes) == 1,
            "The bias w[0] never moved. It is updated like the other weights, with an input of 1.": w[0] == 0,
            "Every mistake pulls the same way. An update is eta * label * point: the label is missing.": min(w) >= 0,
            "The weights also moved for points that were on their right side already. Update only after a mistake.": w[1] == 0 and w[2] == 0,
        },
    )
    check.law(w[0] + w[1] + w[2] > 0, f"(1, 1) scores above 0; got w = {[float(weight) for weight in w]}")
    check.law(
        w[0] < 0 and w[0] + w[1] < 0 and w[0] + w[2] < 0,
        f"(0, 0), (1, 0) and (0, 1) score below 0; got w = {[float(weight) for weight in w]}",
        mistakes={
            "A score of exactly 0 passed as right. It is on no side: count it as a mistake for either label.": max(w[0], w[0] + w[1], w[0] + w[2]) == 0,
            "The bias is not w[0]. Return it first, before the weights of the inputs.": w[2] < 0 < w[0],
        },
    )

### BEGIN HIDDEN TESTS
with check("separable points: no more mistakes than Novikoff allows, and none at the end", points=1):
    for n, d, margin in ((2, 1, 0.5), (12, 2, 0.3), (40, 2, 0.5), (25, 6, 0.8), (30, 3, 0.4)):
        X, labels = data.separable(n, d, margin=margin, rng=check.rng)
        with check.no_side_effects(X, labels):
            w, mistakes = perceptron_fit(X, labels, check.rng.uniform(0.2, 3), 500)
        check.shape(w, (d + 1,))
        score = X @ w[1:] + w[0]
        check.law(
            mistakes[-1] == 0,
            f"{n} separable points: the last epoch has no mistakes; got {mistakes[-1]} after {len(mistakes)} epochs",
            mistakes={
                "The bias w[0] never moved. It is updated like the other weights, with an input of 1.": w[0] == 0,
                "Every mistake pulls the same way. An update is eta * label * point: the label is missing.": lambda: w[0] > 0 and np.sum(mistakes) > n,
            },
        )
        check.law(np.all(labels * score > 0), f"every point ends on its own side; {int(np.sum(labels * score <= 0))} of {n} do not")
        bound = (1 + np.max(np.sum(X**2, axis=1))) / margin**2
        check.at_most(np.sum(mistakes), bound, "mistakes in all, against Novikoff's bound")

with check("XOR is never learnt", points=1):
    for epochs in (1, 7, 40):
        w, mistakes = perceptron_fit(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([-1.0, 1.0, 1.0, -1.0]), 1.0, epochs)
        check.law(len(mistakes) == epochs, f"no line separates XOR, so all {epochs} epochs are run; got {len(mistakes)} numbers of mistakes")
        check.law(min(mistakes) >= 1, f"every epoch on XOR has a mistake; got {list(mistakes)[:10]}")

with check("the weights are the sum of the mistakes", points=1):
    # With fewer points than weights there is only one way to write w as a sum of steps, whatever the order of the points.
    for n, d, eta in ((1, 1, 1.0), (3, 6, 0.3), (5, 10, 2.5), (4, 8, 1.0)):
        X, labels = check.rng.normal(size=(n, d)), check.rng.choice([-1, 1], size=n)
        w, mistakes = perceptron_fit(X, labels, eta, 60)
        check.law(np.any(np.asarray(w)), "weights of 0 are wrong about every point, so at least one update is made; yours are all 0")
        steps = labels[:, None] * np.column_stack([np.ones(n), X])
        counts = np.linalg.lstsq(steps.T, np.asarray(w) / eta, rcond=None)[0]
        whole = np.round(counts)
        check.law(
            np.allclose(steps.T @ whole * eta, w, atol=1e-8) and np.all(whole >= 0),
            "w is eta times a sum of label * (1, x) over the mistakes; yours is not",
            mistakes={
                "The bias w[0] never moved. It is updated like the other weights, with an input of 1.": lambda: w[0] == 0 and whole @ labels != 0,
                "The bias is not w[0]. Return it first, before the weights of the inputs.": lambda: np.allclose(
                    steps[:, [*range(1, d + 1), 0]].T @ np.round(np.linalg.lstsq(steps[:, [*range(1, d + 1), 0]].T, np.asarray(w) / eta, rcond=None)[0]) * eta,
                    w,
                ),
                "The step does not have the length eta asks for. Multiply each update by eta, once.": lambda: (
                    eta != 1 and np.allclose(np.round(counts * eta), counts * eta, atol=1e-6)
                ),
                "Every mistake pulls the same way. An update is eta * label * point: the label is missing.": lambda: np.any(whole < 0),
                "The weights do not start from zero.": lambda: not np.allclose(steps.T @ counts * eta, w, atol=1e-8),
            },
        )
        check.law(
            np.sum(mistakes) == whole.sum(),
            f"{int(np.sum(mistakes))} mistakes were reported, and the weights moved {int(whole.sum())} times; the two are equal",
            mistakes={
                "The weights also moved for points that were on their right side already. Update only after a mistake.": whole.sum() > np.sum(mistakes),
                "Mistakes were counted for which the weights did not move.": whole.sum() < np.sum(mistakes),
            },
        )

with check("each mistake is learnt at once", points=1):
    # One point given seven times: its first visit, at score 0, is a mistake; from then on it is on its right side.
    for label, eta in ((1, 0.5), (-1, 0.5), (1, 1e-3)):  # after a short step the score is small, and on the right side all the same
        x = check.rng.normal(size=(1, 3))
        w, mistakes = perceptron_fit(np.repeat(x, 7, axis=0), np.full(7, label), eta, 20)
        check.law(
            np.sum(mistakes) == 1,
            f"one point, seen seven times an epoch, is a mistake once; got {list(mistakes)[:5]}",
            mistakes={
                "All points of an epoch were judged with the same old weights. Update after each mistake, before looking at the next point.": mistakes[0] == 7,
                "A score of exactly 0 passed as right. It is on no side: count it as a mistake for either label.": np.sum(mistakes) == 0,
                "Every point counted as a mistake, whatever its score. Compare label times score with 0.": np.sum(mistakes) > 7,
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### The bound, measured
# Points in the plane with a gap of known width, the gap made narrower step by step. The lecture only says "repeat till happy": how long is that?


# %% nbgrader={"grade": false, "grade_id": "experiment-mistakes", "locked": true, "schema_version": 3, "solution": false, "task": false}
def gapped_points(margin: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """60 points of the square [-1, 1]² on the two sides of a random line, none nearer to it than ``margin``; labels; and Novikoff's bound for this line."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    line = np.array([offset, np.cos(angle), np.sin(angle)])
    X = rng.uniform(-1, 1, size=(4000, 2))
    X = X[np.abs(line[0] + X @ line[1:]) >= margin][:60]
    scores = (line[0] + X @ line[1:]) / np.linalg.norm(line)
    return X, np.where(scores > 0, 1, -1), float((1 + np.max(np.sum(X**2, axis=1))) / np.min(np.abs(scores)) ** 2)


def mistakes_experiment(seed: int) -> dict[str, np.ndarray]:
    """Mistakes of ``perceptron_fit`` on 36 separable sets with gaps from wide to narrow, and Novikoff's bound for each; mistakes an epoch on AND and XOR."""
    rng = np.random.default_rng(seed)
    found = []
    for margin in training.progress(np.repeat(np.geomspace(0.4, 0.02, 12), 3), desc="separable sets"):
        X, labels, bound = gapped_points(margin, rng)
        _, mistakes = perceptron_fit(X, labels, epochs=5000)
        if mistakes[-1]:
            raise RuntimeError("perceptron_fit still makes mistakes after 5000 epochs, on points that a line separates")
        found.append((bound, sum(mistakes)))
    gates = {gate: np.array(perceptron_fit(corners, np.array(labels), epochs=200)[1]) for gate, labels in (("AND", [-1, -1, -1, 1]), ("XOR", [-1, 1, 1, -1]))}
    return {"bound": np.array(found)[:, 0], "mistakes": np.array(found)[:, 1], **gates}


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-mistakes-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("perceptron_fit"):
    measured = mistakes_experiment(seed=0)
    ratio = measured["mistakes"] / measured["bound"]
    ends = [measured["bound"].min(), measured["bound"].max()]
    fig, (left, right) = plotting.subplots(2, width=10, height=3.8)
    left.plot(ends, ends, color="black", linestyle="--", label="as many as the bound")
    left.scatter(measured["bound"], measured["mistakes"], s=30, color=plotting.COLOURS[0], label="one set of 60 points", zorder=3)
    left.set(xscale="log", yscale="log", xlabel="Novikoff's bound $(R/\\gamma)^2$", ylabel="mistakes until none is left")
    left.legend()
    plotting.curves(right, {"AND": measured["AND"], "XOR": measured["XOR"][:20]}, xlabel="epoch", ylabel="mistakes among 4 points")
    right.set(ylim=(-0.2, 4.6), xticks=range(0, 21, 5), title="AND ends, XOR does not")
    plotting.show(
        fig,
        alt=f"Left: mistakes against Novikoff's bound for 36 separable sets, both axes logarithmic. Every set lies below the dashed diagonal; the median ratio is {np.median(ratio):.2g} and "
        f"the largest {ratio.max():.2g}. Right: mistakes in each epoch: on AND none after {len(measured['AND'])} epochs, on XOR never fewer than {measured['XOR'].min()} of 4.",
    )
    claims.show(
        Claim("mistakes as a share of the bound, largest of 36", "at most (R/γ)² mistakes (Novikoff)", float(ratio.max()), at_most=1),
        Claim("the same, median", "repeat till happy (Asano)", float(np.median(ratio)), at_most=0.5),
        Claim("fewest mistakes in an epoch on XOR, of 200 epochs", "XOR cannot be solved by one layer (Asano)", float(measured["XOR"].min()), at_least=1),
    )

# %% [markdown]
# The bound is never broken and seldom approached: it holds for the *worst* points and order, and here it is typically twenty times too high. On XOR the mistakes go on. The next section shows why they must.
#
# ## 3  What one line can do, and what it cannot
#
# A unit that computes exclusive-or with threshold $\tau$ (here $\tau = -w_0$) would have to satisfy four inequalities at once:
#
# $$ 0 \le \tau, \qquad w_2 > \tau, \qquad w_1 > \tau, \qquad w_1 + w_2 \le \tau. $$
#
# Add the second and the third: $w_1 + w_2 > 2\tau \ge \tau$, which contradicts the fourth. No weights will do, with any training rule. Sets of points for which some $w$ has $l_i\, s(x_i) > 0$ for all $i$ are called **linearly separable**.
# Of the 16 Boolean functions of two inputs, 14 are; of the 256 of three inputs, 104. You will count them.

# %% nbgrader={"grade": false, "grade_id": "figure-booleans", "locked": true, "schema_version": 3, "solution": false, "task": false}
lines = [(b, w1, w2) for b in (-1.5, -0.5, 0.5, 1.5) for w1 in (-1, 0, 1) for w2 in (-1, 0, 1)]
fig, axes = plotting.subplots(8, 2, width=11, height=3.3)
for code, ax in enumerate(axes.flat):
    truth = np.array([code >> 3 & 1, code >> 2 & 1, code >> 1 & 1, code & 1])
    fits = [line for line in lines if np.array_equal((corners @ line[1:] + line[0] > 0).astype(int), truth)]
    if fits:
        plotting.decision_regions(ax, lambda X, line=fits[0]: (X @ line[1:] + line[0] > 0).astype(int), (-0.5, 1.5), (-0.5, 1.5), classes=[0, 1], resolution=60)
    plotting.points(ax, corners, truth, classes={0: "", 1: ""})
    name = {1: "AND", 7: "OR", 6: "XOR", 9: "XNOR", 14: "NAND", 8: "NOR"}.get(code, "")
    ax.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xticks=[], yticks=[], aspect="equal")
    ax.set_title((name or " ") + ("" if fits else "\nno line"), fontsize=10, fontweight="normal" if fits else "bold")
plotting.show(
    fig,
    alt="The 16 Boolean functions of two inputs as small squares, circles at the corners where the function is 0 and squares where it is 1. Fourteen have a straight line between "
    "circles and squares, among them AND, OR, NAND and NOR and the two constant functions. Two have none: XOR and XNOR, where equal corners lie diagonally opposite.",
)

# %% [markdown]
# **Exercise 1.3a · `is_separable`** (2 points · difficulty 3 of 5 · about 20 minutes)
#
# Say whether *any* line, plane or hyperplane, with a bias, has all points of $+1$ strictly on one side and all points of $-1$ strictly on the other. If all labels are equal, it exists: put every point on one side.
# `perceptron_fit` cannot answer this: when it has not ended after many epochs, it may be about to. Any library is allowed.
#
# <details><summary>Hint 1: where to start</summary>
#
# "There are weights with $l_i\,s(x_i) > 0$ for all $i$" is the same as "there are weights with $l_i\,s(x_i) \ge 1$": multiply $w$ by a large number. These are linear inequalities in $w$, with nothing to minimise.
#
# </details>
#
# <details><summary>Hint 2: which function</summary>
#
# `scipy.optimize.linprog` finds out whether linear inequalities `A @ w <= b` can hold together: give it a cost of zeros and look at `.status`. Its variables are non-negative unless you say `bounds=(None, None)`.
# A support vector machine will do too, but slows down without end on points that are not separable if you make its `C` enormous.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "is_separable", "locked": false, "schema_version": 3, "solution": true, "task": false}
def is_separable(X: np.ndarray, l: np.ndarray) -> bool:
    """Whether some hyperplane has the two classes strictly on its two sides.

    Args:
        X: points, shape (N, d), float64, N at least 1.
        l: labels -1 or +1, shape (N,); they may all be equal.

    Returns:
        True if weights with ``l * score > 0`` at every point exist, else False.
    """
    ### BEGIN SOLUTION
    from scipy.optimize import linprog

    points = np.column_stack([np.ones(len(X)), X])
    found = linprog(np.zeros(points.shape[1]), A_ub=-np.asarray(l)[:, None] * points, b_ub=-np.ones(len(X)), bounds=(None, None), method="highs")
    return bool(found.status == 0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-is_separable", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("is_separable", points=2)

with check("AND, OR, XOR", points=1):
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    for name, labels, answer in (("AND", [-1, -1, -1, 1], True), ("OR", [-1, 1, 1, 1], True), ("XOR", [-1, 1, 1, -1], False)):
        got = is_separable(square, np.array(labels))
        check.law(got is not None, "the answer is None. End the function with `return`.")
        check.law(bool(got) == answer, f"{name}: expected {answer}, got {got}")


### BEGIN HIDDEN TESTS
def verdicts(points, tables):
    """The answer's word on each row of labels."""
    return [is_separable(points, labels) for labels in tables]  # scikit-learn's machines use NumPy's global generator: allowed here


with check("Boolean functions: 14 of 16, and 104 of 256", points=0.5, seconds=30):
    for n, separable_ones, without_constants in ((2, 14, 12), (3, 104, 102)):
        cube = data.booleans(n)[check.rng.permutation(2**n)] * check.rng.uniform(0.5, 2)
        tables = 2 * data.booleans(2**n).astype(int) - 1
        as_given = cube.copy()
        count = sum(map(bool, check.run(verdicts, cube, tables)))
        check.law(np.array_equal(cube, as_given), "The points were changed in place. Work on a copy, so that the caller's data stays as it was.")
        check.law(
            count == separable_ones,
            f"{separable_ones} of the {2**2**n} Boolean functions of {n} inputs are separable; you found {count}",
            mistakes={
                "Two are missing: the constant functions. Equal labels are separable, all points lie on one side.": count == without_constants,
                "Lines through the origin only. A separating line may lie anywhere: give it a bias.": count < without_constants,
                "Touching is not separating: every point must lie strictly on its side, no score may be 0.": count > separable_ones,
            },
        )

with check("narrow gaps, and one point inside the other class", points=0.5):
    for n, d, gap in ((12, 1, 0.05), (10, 2, 0.05), (24, 3, 0.05), (9, 5, 0.1)):
        across = np.linalg.qr(check.rng.normal(size=(d, d)))[0]
        labels = np.where(np.arange(n) % 2, 1, -1)
        X = np.column_stack([4 + labels * gap / 2 * check.rng.uniform(1, 1.5, size=n), check.rng.normal(size=(n, d - 1))]) @ across
        check.law(
            is_separable(X, labels),
            f"{n} points in {d} dimensions with a gap of {gap} between the classes are separable; got False",
            mistakes={
                "A narrow gap takes many epochs: a perceptron that has not ended yet proves nothing. Ask whether the inequalities have a solution.": True
            },
        )
        check.law(is_separable(X[:1], labels[:1]), "one point alone is separable; got False")
        apart = X + np.outer(labels, across[0])
        inside = np.vstack([apart, apart[labels == 1].mean(axis=0)])
        check.law(not is_separable(inside, np.append(labels, -1)), "a point of -1 in the middle of the points of +1 cannot be separated; got True")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Two ways out** ("Multi-layer perceptrons to the rescue"). Minsky and Papert (1969) showed the limit of *one* layer, not of networks.
#
# 1. *Better features.* Give the unit a third input, the product $x_1x_2$: then $x_1 + x_2 - 2\,x_1x_2 > \tfrac12$ is XOR. A line in the features $\phi(x) = (x_1, x_2, x_1x_2)$ is a curve in the plane.
# 2. *Make the features with more units.* Two threshold units look at the inputs, a third looks at their answers. The last unit still draws a straight line, but in the plane of the hidden units' outputs $(h_1, h_2)$.
#    The last layer of *every* network is linear in the features $\phi(x)$ that the layers before it make; features are good when the classes are linearly separable in them.
#
# Here it is handy that a unit's outputs are 1 and 0 rather than +1 and −1. The next cell holds such a network, unit by unit.


# %% nbgrader={"grade": false, "grade_id": "setup-threshold-net", "locked": true, "schema_version": 3, "solution": false, "task": false}
def threshold_net(params: list, x: list[float]) -> list[float]:
    """What a network of threshold units answers for one input ``x``.

    ``params`` has one pair (weights, biases) a layer; a layer of m units on n inputs has m rows of n weights, and m biases.
    Each unit gives 1 if its weighted sum plus its bias is positive, else 0.
    """
    for weights, biases in params:
        x = [1.0 if sum(w * value for w, value in zip(row, x, strict=True)) + bias > 0 else 0.0 for row, bias in zip(weights, biases, strict=True)]
    return x


# %% [markdown]
# **Exercise 1.3b · `xor_net`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Choose the weights of a network with two hidden threshold units and one output unit that computes XOR of inputs 0 and 1. There are many; find one by thought, not by training.
# Leave room: it should still be right when each input is off by up to 0.1.
#
# <details><summary>Hint 1: where to start</summary>
#
# XOR is "at least one, but not both". Which two gates of the picture above does that name? Each is one line, so each is one hidden unit.
#
# </details>
#
# <details><summary>Hint 2: the margin</summary>
#
# Put each line half-way between the corners that it separates. The sum $x_1 + x_2$ is 0, 1 or 2, and off by at most 0.2.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "xor_net", "locked": false, "schema_version": 3, "solution": true, "task": false}
def xor_net() -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights of a 2-2-1 network of threshold units (1 where the score is positive, else 0) that computes XOR.

    Returns:
        ``[(W1, b1), (W2, b2)]`` with shapes (2, 2), (2,), (1, 2), (1,). Row i of a matrix holds the weights of unit i.
    """
    ### BEGIN SOLUTION
    at_least_one, both = [1.0, 1.0], [1.0, 1.0]
    hidden = np.array([at_least_one, both]), np.array([-0.5, -1.5])
    output = np.array([[1.0, -1.0]]), np.array([-0.5])
    return [hidden, output]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-xor_net", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("xor_net", points=2)

with check("the truth table", points=1):
    net = xor_net()
    check.law(isinstance(net, list | tuple) and len(net) == 2, "two layers are expected: [(W1, b1), (W2, b2)]")
    for (weights, biases), shapes in zip(net, (((2, 2), (2,)), ((1, 2), (1,))), strict=True):
        check.shape(weights, shapes[0])
        check.shape(biases, shapes[1])
    check.equal(
        [threshold_net(net, [x1, x2])[0] for x1, x2 in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))],
        [0.0, 1.0, 1.0, 0.0],
        mistakes={
            "This is XNOR, the opposite of XOR.": [1.0, 0.0, 0.0, 1.0],
            "This is OR. For (1, 1) the answer must be 0: one hidden unit has to notice that both inputs are 1.": [0.0, 1.0, 1.0, 1.0],
            "This is AND.": [0.0, 0.0, 0.0, 1.0],
            "This is NAND. For (0, 0) the answer must be 0 too.": [1.0, 1.0, 1.0, 0.0],
        },
    )

### BEGIN HIDDEN TESTS
with check("right with inputs off by up to 0.1", points=1):
    net = xor_net()
    for x1, x2, answer in ((0, 0, 0.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0)):
        off = np.vstack([check.rng.uniform(-0.1, 0.1, size=(30, 2)), [[0.1, 0.1], [0.1, -0.1], [-0.1, 0.1], [-0.1, -0.1]]])
        answers = [threshold_net(net, [x1 + d1, x2 + d2])[0] for d1, d2 in off]
        wrong = sum(a != answer for a in answers)
        check.law(
            wrong == 0,
            f"near ({x1}, {x2}) the answer is {answer:g}; {wrong} of {len(answers)} inputs off by up to 0.1 give {1 - answer:g}",
            mistakes={"A line runs too close to a corner. Put it half-way between the corners that it separates.": 0 < wrong < len(answers)},
        )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-hidden-space", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("xor_net"):
    (W1, b1), (W2, b2) = xor_net()
    hidden = np.array([threshold_net([(W1, b1)], x) for x in corners.tolist()])
    fig, (inputs, features) = plotting.subplots(2, width=9, height=3.9)
    for ax, params, places, names in (
        (inputs, [(W1, b1), (W2, b2)], corners, ("$x_1$", "$x_2$")),
        (features, [(W2, b2)], hidden, ("$h_1$", "$h_2$")),
    ):
        plotting.decision_regions(
            ax, lambda X, net=params: np.array([threshold_net(net, x)[0] for x in X.tolist()]), (-0.5, 1.9), (-0.5, 1.9), classes=[0, 1], resolution=90
        )
        plotting.points(ax, places, [0, 1, 1, 0], classes={0: "XOR = 0", 1: "XOR = 1"})
        ax.set(xlabel=names[0], ylabel=names[1], aspect="equal")
    for place in np.unique(hidden, axis=0):
        here = [f"({x1:.0f},{x2:.0f})" for (x1, x2), h in zip(corners, hidden, strict=True) if np.array_equal(h, place)]
        features.annotate(
            " and ".join(here),
            place,
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    inputs.set_title("the inputs: two lines are needed")
    features.set_title("the hidden units' answers: one line")
    plotting.show(
        fig,
        alt="Left: the unit square of inputs with your network's answer shaded; the region of answer 1 is bounded by the two hidden units' lines, with the corners (0, 1) and "
        f"(1, 0) in it. Right: the same four inputs placed by the hidden units' answers; they fall on {len(np.unique(hidden, axis=0))} places, and the output unit cuts that plane along one straight line.",
    )

# %% [markdown]
# ## 4  Layers
#
# A **multilayer perceptron** (MLP) repeats two steps: an affine map, then a non-linearity on each number. With $h_0 = x$ and $L$ layers,
#
# $$ a_l = W_l h_{l-1} + b_l, \qquad h_l = \sigma(a_l) \quad (l < L), \qquad f(x) = a_L, $$
#
# where $W_l$ has one row for each unit of layer $l$ and one column for each unit of layer $l - 1$. The last layer is left linear here: what is put on it (nothing, a sigmoid, a softmax) belongs to the loss.
# The three courses write the same network in three ways.
#
# | course | layer | bias | shape of the weights, $n_{l-1} \to n_l$ units |
# |---|---|---|---|
# | Computer Vision, Part I | $h_l = \sigma(W_l h_{l-1} + b_l)$ | apart | $n_l \times n_{l-1}$ |
# | the slides on one node | $a^{(l+1)} = g(\Theta^{(l)} a^{(l)})$ with $a_0^{(l)} = 1$ | first column of $\Theta$ | $n_l \times (n_{l-1} + 1)$ |
# | CS909 | $z_j = a(\sum_i x_i v_{ij})$ with $x_0 = 1$ | row 0 of $v$ | $(n_{l-1} + 1) \times n_l$ |
#
# Two slips to mend while reading. Part I ends its recursion with "$h_l = f(x)$", which should be $h_L = f(x)$. The slide of Asano's lecture that chains the layers ends in "$\circ\, h_1 \circ x$": $x$ is no function; read $(h_L \circ \dots \circ h_1)(x)$.
#
# **Width.** A hidden layer wider than its input lifts the points into more dimensions, where they are easier to separate. A narrower one must throw something away.
# **Non-linearity.** Without it depth is an illusion: $W_2(W_1 x + b_1) + b_2 = (W_2W_1)\,x + (W_2b_1 + b_2)$ is one affine map again.

# %% nbgrader={"grade": false, "grade_id": "figure-network", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, (diagram, bump) = plotting.subplots(2, width=10, height=3.8)
plotting.network_diagram(diagram, [2, 3, 1], names=["input $x$", "hidden $h_1$", "output $f(x)$"])
diagram.set_title("2-3-1: $W_1$ is 3×2, $W_2$ is 1×3, and 4 biases")
x = np.linspace(-1, 1, 401)
rise, fall = 1 / (1 + np.exp(-20 * (x + 0.3))), 1 / (1 + np.exp(-20 * (x - 0.3)))
plotting.curves(bump, {"unit 1": rise, "unit 2": fall, "unit 1 − unit 2": rise - fall}, x=x, xlabel="$x$", ylabel="output")
bump.set_title("Two sigmoid units make a bump")
plotting.show(
    fig,
    alt="Left: a network of 2 inputs, 3 hidden units and 1 output, every unit joined to every unit of the next layer. Right: two logistic units rising at -0.3 and at 0.3; "
    "their difference is a bump that is near 1 between these places and near 0 outside.",
)

# %% [markdown]
# **Exercise 1.4a · `mlp_forward`** (3 points · difficulty 2 of 5 · about 15 minutes)
#
# Run an MLP on many points at once. `act` goes on every layer **but the last**. Any number of layers; a network with one layer is an affine map.
#
# <details><summary>Hint 1: where to start</summary>
#
# The formula has points as columns, `X` has them as rows. Take the transpose of $W h + b$ on paper and look at what happens to $W$.
#
# </details>
#
# <details><summary>Hint 2: the last layer</summary>
#
# Split the list: `*hidden, last = params`. Shapes will not tell you everything: when all layers have the same width, a forgotten transpose gives no error.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mlp_forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mlp_forward(params: list[tuple[np.ndarray, np.ndarray]], X: np.ndarray, act: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Outputs of a multilayer perceptron whose last layer is linear.

    Args:
        params: one pair (W, b) a layer, shapes (n_out, n_in) and (n_out,), float64.
        X: points, shape (N, d), float64.
        act: the activation, applied element by element after every layer but the last; takes and returns an array.

    Returns:
        Shape (N, K), K the number of units in the last layer.
    """
    ### BEGIN SOLUTION
    *hidden, (W_last, b_last) = params
    h = X
    for W, b in hidden:
        h = act(h @ W.T + b)
    return h @ W_last.T + b_last
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-mlp_forward", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("mlp_forward", points=3)

with check("a 2-3-1 network by hand", points=1):
    layers = [
        (np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]), np.array([0.0, -1.0, 0.5])),
        (np.array([[1.0, -2.0, 3.0]]), np.array([0.5])),
    ]
    check.close(
        mlp_forward(layers, np.array([[2.0, 3.0], [0.0, -1.0]]), lambda a: np.maximum(a, 0)),
        [[-1.5], [5.0]],
        mistakes={
            "The activation was put on the last layer too. It stays linear.": [[0.0], [5.0]],
            "The bias of the last layer is missing.": [[-2.0], [4.5]],
            "All biases are missing.": [[-4.0], [3.0]],
            "The activation is missing.": [[-3.0], [9.0]],
            "A softmax was put on the output. Return the last layer's affine map as it is.": [[1.0], [1.0]],
            "The result is a flat list of numbers. Keep one row a point, shape (N, K).": [-1.5, 5.0],
        },
    )


### BEGIN HIDDEN TESTS
def torch_mlp(params, X, act, *, last=lambda z: z, transposed=False, biases=1):
    """The same network, run by torch in float64. ``biases``: 1 all of them, 0 none, -1 all but the last."""
    h = torch.as_tensor(X)
    for i, (W, b) in enumerate(params):
        final = i == len(params) - 1
        layer = nn.Linear(W.shape[1], W.shape[0], dtype=torch.float64)
        kept = biases == 1 or (biases == -1 and not final)
        layer.weight.data, layer.bias.data = torch.as_tensor(W.T if transposed else W), torch.as_tensor(b * kept)
        h = last(layer(h)) if final else act(layer(h))
    return h.detach().numpy()


def explained(got, params, X, act):
    """Compare with torch, and with torch making the usual mistakes."""
    check.close(
        got,
        torch_mlp(params, X, act),
        rtol=1e-9,
        mistakes={
            "The activation was put on the last layer too. It stays linear.": lambda: torch_mlp(params, X, act, last=act),
            "W was not transposed. Its rows belong to the units of its own layer, so points in rows need X @ W.T.": lambda: torch_mlp(
                params, X, act, transposed=True
            ),
            "A softmax was put on the output. Return the last layer's affine map as it is.": lambda: torch_mlp(params, X, act, last=lambda z: z.softmax(-1)),
            "The bias of the last layer is missing.": lambda: torch_mlp(params, X, act, biases=-1),
            "All biases are missing.": lambda: torch_mlp(params, X, act, biases=0),
            "The activation is missing.": lambda: torch_mlp(params, X, lambda z: z),
        },
    )


def draw_mlp(sizes):
    return [(check.rng.normal(size=(n_out, n_in)), check.rng.normal(size=n_out)) for n_in, n_out in zip(sizes, sizes[1:], strict=False)]


activations = [(np.tanh, torch.tanh), (lambda a: np.maximum(a, 0), torch.relu), (lambda a: 1 / (1 + np.exp(-a)), torch.sigmoid), (np.sin, torch.sin)]
with check("agrees with torch on networks of other sizes", points=1):
    for i, sizes in enumerate(((2, 3, 1), (1, 7, 5, 4), (6, 2, 3, 3, 2), (3, 4), (5, 1))):
        params, X = draw_mlp(sizes), check.rng.normal(size=(int(check.rng.integers(1, 9)), sizes[0]))
        act, torch_act = activations[i % len(activations)]
        with check.no_side_effects(X, *(part for layer in params for part in layer)):
            got = mlp_forward(params, X, act)
        explained(got, params, X, torch_act)

with check("square layers, as many points as units", points=1):
    for i, n in enumerate((2, 4, 5)):
        params, X = draw_mlp((n, n, n)), np.asfortranarray(check.rng.normal(size=(n, n)))
        act, torch_act = activations[i]
        explained(mlp_forward(params, X, act), params, X, torch_act)
        explained(mlp_forward(params, X[:1], act), params, X[:1], torch_act)
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "figure-collapse", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("mlp_forward"):
    rng = np.random.default_rng(6)
    net = [(rng.normal(size=(8, 1)) * 3, rng.normal(size=8)), (rng.normal(size=(8, 8)), rng.normal(size=8)), (rng.normal(size=(1, 8)) / 2, rng.normal(size=1))]
    x = np.linspace(-2, 2, 201)[:, None]
    fig, ax = plotting.subplots(width=6.5, height=3.6)
    straight, bent = mlp_forward(net, x, lambda a: a)[:, 0], mlp_forward(net, x, np.tanh)[:, 0]
    plotting.curves(
        ax, {"no activation": straight / np.abs(straight).max(), "tanh": bent / np.abs(bent).max()}, x=x[:, 0], xlabel="$x$", ylabel="output, scaled to 1"
    )
    ax.set_title("The same 1-8-8-1 weights, with and without activation")
    plotting.show(
        fig,
        alt="Output of one random 1-8-8-1 network for x from -2 to 2. Without an activation it is a straight line, though there are three layers; with tanh it is a curve with bends.",
    )

# %% [markdown]
# **How many parameters?** Each unit of layer $l$ has a weight for each unit before it, and a bias. For sizes $n_0, n_1, \dots, n_L$:
#
# $$ \sum_{l=1}^{L} n_l\,(n_{l-1} + 1) = \underbrace{\sum_l n_l n_{l-1}}_{\text{weights}} + \underbrace{\sum_l n_l}_{\text{biases}}. $$
#
# Formulas in the lectures that leave something out:
# - the slides on one node count $\sum_l n_l n_{l-1}$ only, without biases;
# - CS909 counts $pd + p + p$ for one hidden layer of $p$ units and a scalar output: add 1 for the output's bias $v_0$. So too for two hidden layers of $d'$ and $p'$ units: $dd' + d' + p'd' + p' + p' + 1$;
# - Part I ("Number of parameters in a network") counts 10–20–30–10 as $10{\cdot}20 + 20 + 20{\cdot}30 + 30 + 30{\cdot}10 + 10 + 10 = 1170$ (erratum E22). One of the two last tens belongs to nothing: the network has **1160** parameters.

# %% [markdown]
# **Exercise 1.4b · `count_params`** (1 point · difficulty 1 of 5 · about 10 minutes)
#
# Count the parameters of a fully connected network from the sizes of its layers, inputs first.
#
# <details><summary>Hint 1: where to start</summary>
#
# Walk over neighbouring sizes: `zip(sizes, sizes[1:])`.
#
# </details>
#
# <details><summary>Hint 2: the biases</summary>
#
# Inputs are not units: they have no bias.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "count_params", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_params(sizes: list[int], bias: bool = True) -> int:
    """Number of weights, and of biases if ``bias``, in a fully connected network.

    Args:
        sizes: units of each layer, the inputs first; at least two numbers.
        bias: whether each unit has a bias.

    Returns:
        A whole number.

    Example:
        ``count_params([2, 3, 1])`` is 13.
    """
    ### BEGIN SOLUTION
    return sum(n_out * (n_in + bias) for n_in, n_out in zip(sizes, sizes[1:], strict=False))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-count_params", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("count_params", points=1)

with check("2-3-1, with and without biases", points=0.5):
    check.equal(
        count_params([2, 3, 1]),
        13,
        mistakes={
            "The biases are missing: one for each hidden and each output unit.": 9,
            "The inputs were given biases. Only hidden and output units have one.": 15,
            "Each layer was given a single bias. Every unit has its own.": 11,
            "The biases of the output units are missing.": 12,
            "These are the units. Count the weights between them, and the biases.": 6,
        },
    )
    check.equal(count_params([2, 3, 1], bias=False), 9, mistakes={"With bias=False there are weights only.": 13})

### BEGIN HIDDEN TESTS
with check("other networks", points=0.5):
    for sizes, known in (([10, 20, 30, 10], 1160), ([1, 128, 1], 385), ([1, 32, 8, 1], 337), ([64, 128, 10], 9610), ([64, 32, 8, 10], 2434), ([5, 1], 6)):
        check.equal(
            count_params(sizes),
            known,
            mistakes={
                "The lecture's 1170 has ten too many; nothing in the network belongs to them.": 1170 if known == 1160 else None,
                "The biases are missing: one for each hidden and each output unit.": known - sum(sizes[1:]),
                "The inputs were given biases. Only hidden and output units have one.": known + sizes[0],
                "Each layer was given a single bias. Every unit has its own.": known - sum(sizes[1:]) + len(sizes) - 1,
                "The biases of the output units are missing.": known - sizes[-1],
            },
        )
    for _ in range(6):
        sizes = [int(n) for n in check.rng.integers(1, 40, size=check.rng.integers(2, 6))]
        for bias in (True, False):
            layers = nn.Sequential(*(nn.Linear(n, m, bias=bias) for n, m in zip(sizes, sizes[1:], strict=False)))
            check.equal(
                count_params(sizes, bias),
                sum(p.numel() for p in layers.parameters()),
                mistakes={"With bias=False there are weights only.": lambda n=sizes: sum((a + 1) * b for a, b in zip(n, n[1:], strict=False))},
            )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### One hidden layer is enough, in principle
#
# The **universal approximation theorem** (Cybenko 1989; Hornik 1991; Leshno and others 1993): if $g$ is *continuous*, on a *compact* set, and the activation is continuous and *not a polynomial*, then for every $\varepsilon > 0$ some width $P$ and weights give
#
# $$ h(x) = \sum_{i=1}^{P} v_i\, \sigma(w_i^\top x + b_i) + v_0 \qquad\text{with}\qquad \lvert g(x) - h(x)\rvert < \varepsilon \quad\text{everywhere on the set.} $$
#
# CS909 says that *any* function can be *represented* so (erratum E31). Neither word holds: a jump cannot be met uniformly, nothing is promised outside the bounded set, and continuous functions are *approximated*, not represented.
# Its conditions on the activation (bounded, increasing) are enough but not needed: ReLU is unbounded and will do. And three of its captions read "no hidden layer neuron (P=2)", "(P=5)", "(P=50)": they mean 2, 5 and 50 *hidden* units.
#
# The next cell does it without training: it sets $P$ sigmoid units in a row and finds the best $v$ by least squares, since the last layer is linear in the features.


# %% nbgrader={"grade": false, "grade_id": "experiment-approximation", "locked": true, "schema_version": 3, "solution": false, "task": false}
def approximation_experiment(seed: int) -> dict[int, tuple[float, np.ndarray]]:
    """Best fit of sin 2πx + 0.3 sin 5πx on [-1, 1] by P sigmoid units whose places are drawn around an even grid: P -> (mean squared error, fit)."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, 401)
    found = {}
    for width in (2, 5, 50):
        centres = np.linspace(-1, 1, 2 * width + 1)[1::2] + rng.uniform(-0.1, 0.1, size=width) / width
        slope = max(8, width)
        features = np.column_stack([np.ones_like(x), 1 / (1 + np.exp(-slope * (x[:, None] - centres)))])
        weights = np.linalg.lstsq(features, np.sin(2 * np.pi * x) + 0.3 * np.sin(5 * np.pi * x), rcond=None)[0]
        fit = features @ weights
        found[width] = float(np.mean((fit - np.sin(2 * np.pi * x) - 0.3 * np.sin(5 * np.pi * x)) ** 2)), fit
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-approximation-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
approximation = approximation_experiment(seed=0)
errors = {width: error for width, (error, _) in approximation.items()}
x = np.linspace(-1, 1, 401)
fig, axes = plotting.subplots(3, width=11, height=3.2)
for ax, (width, (error, fit)) in zip(axes, approximation.items(), strict=True):
    ax.plot(x, np.sin(2 * np.pi * x) + 0.3 * np.sin(5 * np.pi * x), color="0.6", linewidth=5, linestyle="-", label="$g$")
    ax.plot(x, fit, color=plotting.COLOURS[1], linestyle="--", label="$h$")
    ax.set(title=f"P = {width}: mean squared error {error:.2g}", xlabel="$x$", ylim=(-1.6, 1.6))
axes[0].legend()
plotting.show(
    fig,
    alt="The function sin 2 pi x + 0.3 sin 5 pi x on [-1, 1] and its best fit by sigmoid units at fixed places. "
    + " ".join(f"With {width} units the mean squared error is {error:.2g}." for width, error in errors.items()),
)
claims.show(
    Claim("error with 2 units", "P = 2: a poor fit (CS909)", errors[2], at_least=0.1),
    Claim("error with 5 units, as a share of that with 2", "P = 5: better", errors[5] / errors[2], at_most=0.3),
    Claim("error with 50 units, as a share of that with 5", "P = 50: close", errors[50] / errors[5], at_most=0.05),
)

# %% [markdown]
# ## 5  Training what Rosenblatt's rule cannot
#
# The theorem says that weights exist, not that training finds them. Rosenblatt's rule needs the right answer of the unit it trains, and nobody says what a *hidden* unit should answer.
# With a smooth activation there is another way: the loss is a differentiable function of *all* weights, so follow its gradient downhill. How the gradient is computed is the next lecture; here `loss.backward()` does it.
#
# For labels $y \in \{0, 1\}$ the output $z$ of the last layer is read as a **logit**, $P(y = 1) = \sigma(z)$, and the loss is the cross-entropy
#
# $$ -y \log\sigma(z) - (1 - y)\log(1 - \sigma(z)). $$
#
# `F.binary_cross_entropy_with_logits(z, y)` takes $z$, *not* $\sigma(z)$. A network that answers $\tfrac12$ for everything has the loss $\ln 2 = 0.693$: the best that one unit alone can do on XOR.

# %% [markdown]
# **Exercise 1.5 · `train_xor`** (4 points · difficulty 3 of 5 · about 25 minutes)
#
# CS909's home exercise: train a network with one hidden layer of sigmoid units on XOR. Return the trained network; its output is a logit, positive where XOR is 1. Everything random must follow from `seed`.
# Any loss and optimiser will do, if nearly every seed ends with a cross-entropy below 0.05, within a few seconds.
#
# <details><summary>Hint 1: where to start</summary>
#
# `torch.manual_seed(seed)`, then `nn.Sequential` of two `nn.Linear` with an `nn.Sigmoid` between. The four points are the whole data set: use all of them in every step.
#
# </details>
#
# <details><summary>Hint 2: it gets stuck at 0.693</summary>
#
# Do the hidden units start different from each other? Is the loss given logits? Is the step long enough? `torch.optim.Adam` with a learning rate of 0.1 is fast here.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_xor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_xor(seed: int, hidden: int = 8) -> nn.Module:
    """Train a 2-``hidden``-1 network with sigmoid hidden units on XOR.

    Args:
        seed: where the random start comes from: the same seed gives the same network.
        hidden: number of hidden units.

    Returns:
        The trained module. It maps float32 inputs (N, 2) to logits, shape (N, 1) or (N,), positive where XOR is 1.
    """
    ### BEGIN SOLUTION
    torch.manual_seed(seed)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()
    return model
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_xor", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_xor", points=4)
square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

with check("seed 0 gets all four right", points=1, seconds=60):
    with torch.random.fork_rng():
        model = train_xor(0)
    logits = model(square).detach().reshape(-1)
    check.shape(logits, (4,))
    check.equal(
        [float(z) > 0 for z in logits],
        [False, True, True, False],
        mistakes={
            "Every output is positive. Return the logit: no sigmoid at the end.": [True, True, True, True],
            "This is XNOR: the labels are the wrong way round.": [True, False, False, True],
        },
    )

### BEGIN HIDDEN TESTS
xor = torch.tensor([0.0, 1.0, 1.0, 0.0])
trained = {}


def logits_of(model, inputs):
    return model(inputs).detach().reshape(-1)


with check("at least 9 of 10 fresh seeds end below a loss of 0.05", points=1.5, seconds=60):
    losses, outputs = [], []
    for seed in check.seeds(10):
        with torch.random.fork_rng():
            trained[seed] = train_xor(seed)
        z = logits_of(trained[seed], square)
        check.shape(z, (4,))
        outputs.append(z)
        losses.append(float(F.binary_cross_entropy_with_logits(z, xor)))
    z = torch.stack(outputs)
    good = sum(loss < 0.05 for loss in losses)
    check.law(
        good >= 9,
        f"at least 9 of 10 seeds give all four points a cross-entropy below 0.05 on average; {good} do, the median is {np.median(losses):.3g}",
        mistakes={
            "All outputs lie between 0 and 1: they are probabilities. Return the logit, and give the loss the logit: no sigmoid at the end.": bool(
                ((z >= 0) & (z <= 1)).all()
            ),
            "The outputs are near -1 and +1, which are weak logits. Train with a cross-entropy, so that they grow.": bool(
                (z.abs().median() < 1.5) & ((z > 0) == (xor > 0.5)).float().mean().gt(0.8)
            ),
            "Every seed ends at the same high loss. Hidden units that start equal stay equal and act as one: let each start from its own random weights.": (
                np.ptp(losses) < 1e-3 and losses[0] > 0.3
            ),
            "The right side of zero, but not far from it: train longer, or with longer steps.": bool(((z > 0) == (xor > 0.5)).float().mean() > 0.8),
            "Some seeds get stuck. Make use of all `hidden` units, and of steps long enough to leave a bad start.": True,
        },
    )

with check("a smooth function of its inputs", points=0.5, seconds=60):
    kept = []
    for model in list(trained.values()) or [train_xor(check.seeds(1)[0])]:
        for _ in range(3):
            near = square + 0.05 * torch.as_tensor(check.rng.uniform(-1, 1, size=(4, 2)), dtype=torch.float32)
            here, there = logits_of(model, square), logits_of(model, near)
            check.law(
                (here != there).any(),
                "other inputs give other outputs; yours stay the same when the inputs change by 0.05",
                mistakes={"The answers are looked up rather than computed. Return the network that was trained.": True},
            )
            kept += ((here > 0) == (there > 0))[here.abs() > 1].tolist()
    check.law(np.mean(kept or [1]) >= 0.85, f"inputs off by 0.05 keep their side of 0; {100 * np.mean(kept or [1]):.0f} % do")

with check("the seed decides, and the width is the one asked for", points=1, seconds=60):
    seed = check.seeds(1)[0]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = train_xor(seed, 5)
        torch.manual_seed(2)
        again = train_xor(seed, 5)
    models = list(trained.values())
    sizes = [sum(p.numel() for p in model.parameters()) for model in (first, *models[:1])]
    check.equal(
        sizes,
        [21, 33][: len(sizes)],
        mistakes={"The argument `hidden` is not used: the width is always the same.": sizes if sizes[0] == sizes[-1] else None},
    )
    near = torch.as_tensor(check.rng.normal(size=(6, 2)), dtype=torch.float32)
    z, same_seed = logits_of(first, near), logits_of(again, near)
    check.close(same_seed, z, mistakes={"The same seed gave two networks. Give the seed to torch.manual_seed before the layers are made.": same_seed})
    check.law(
        len(models) < 2 or not torch.allclose(logits_of(models[0], near), logits_of(models[1], near), atol=1e-4),
        "another seed starts elsewhere and ends in another network; yours does not depend on `seed`",
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### What the start and the width change
#
# CS909 asks for "the effect of different parameters". The next cell trains 40 networks for each setting, side by side, by plain gradient descent: 2000 steps of length 0.5 on all four points.


# %% nbgrader={"grade": false, "grade_id": "experiment-xor", "locked": true, "schema_version": 3, "solution": false, "task": false}
def xor_experiment(seed: int) -> dict[str, dict[str, float]]:
    """Train 40 networks 2-h-1 on XOR for each setting; setting -> share that get all four points right, median loss, largest spread among hidden weights."""
    generator = torch.Generator().manual_seed(seed)
    settings = {f"h = {h}": (h, "Glorot") for h in (2, 3, 4, 8)} | {"h = 8, tiny start": (8, "tiny"), "h = 8, zero start": (8, "zero")}
    x, y = torch.as_tensor(data.booleans(2), dtype=torch.float32).expand(40, 4, 2), torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None].expand(40, 4, 1)
    found = {}
    for name, (width, start) in settings.items():
        first, second = torch.rand(40, 2, width, generator=generator) * 2 - 1, torch.rand(40, width, 1, generator=generator) * 2 - 1
        scale = {"Glorot": (math.sqrt(6 / (2 + width)), math.sqrt(6 / (width + 1))), "tiny": (0.01, 0.01), "zero": (0.0, 0.0)}[start]
        weights = [first * scale[0], torch.zeros(40, 1, width), second * scale[1], torch.zeros(40, 1, 1)]
        for _ in training.progress(range(2000), desc=name):
            for w in weights:
                w.requires_grad_()
            logits = torch.baddbmm(weights[3], torch.baddbmm(weights[1], x, weights[0]).sigmoid(), weights[2])
            loss = F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean((1, 2))
            steps = torch.autograd.grad(loss.sum(), weights)
            weights = [(w - 0.5 * step).detach() for w, step in zip(weights, steps, strict=True)]
        solved = ((logits > 0) == (y > 0.5)).all(dim=1).float().mean()
        spread = (weights[0].amax(2) - weights[0].amin(2)).max()
        found[name] = {"solved": float(solved), "loss": float(loss.detach().median()), "spread": float(spread)}
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-xor-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
xor_runs = xor_experiment(seed=0)
fig, ax = plotting.subplots(width=9, height=3.4)
plotting.bars(ax, {name.replace(", ", "\n"): run["solved"] for name, run in xor_runs.items()}, ylabel="share of 40 networks", fmt="{:.2f}")
ax.set(title="Networks that get all four points of XOR right", ylim=(0, 1.15))
plotting.show(fig, alt="Share of 40 networks that solve XOR. " + " ".join(f"{name}: {run['solved']:.2f}." for name, run in xor_runs.items()))
claims.show(
    Claim("solved with 8 hidden units", "an MLP can solve XOR (Asano)", xor_runs["h = 8"]["solved"], at_least=0.9),
    Claim("solved with 2 hidden units", "2 units are enough (on paper)", xor_runs["h = 2"]["solved"], at_most=0.97),
    Claim("solved from tiny weights, at most 0.01", "optimisation can fail (CS909)", xor_runs["h = 8, tiny start"]["solved"], at_most=0.05),
    Claim("loss from zero weights", "ln 2 = 0.6931", xor_runs["h = 8, zero start"]["loss"], at_least=0.6931, at_most=0.6932),
    Claim("spread of hidden weights from zero", "units that start equal stay equal", xor_runs["h = 8, zero start"]["spread"], at_most=0.0),
)

# %% [markdown]
# Two hidden units *can* compute XOR, as your `xor_net` shows, and yet some seeds end in a bad place. More units make a good start likelier, and from 4 on failures are rare.
# From zero weights all hidden units get the same gradient and stay copies of one another for ever. Tiny random weights break the tie, but lie so close to that saddle that 2000 steps do not leave it.

# %% nbgrader={"grade": false, "grade_id": "figure-xor-trained", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("train_xor"):
    fig, axes = plotting.subplots(3, width=10.5, height=3.7)
    solved = []
    for ax, (seed, width) in zip(axes, ((0, 8), (1, 8), (2, 3)), strict=True):
        model = train_xor(seed, width)
        plotting.decision_regions(
            ax,
            lambda X, net=model: (net(torch.as_tensor(X, dtype=torch.float32)).detach().numpy().reshape(-1) > 0).astype(int),
            (-0.5, 2),
            (-0.5, 2),
            classes=[0, 1],
        )
        plotting.points(ax, corners, [0, 1, 1, 0], classes={0: "XOR = 0", 1: "XOR = 1"})
        answers = (model(torch.as_tensor(corners, dtype=torch.float32)).detach().numpy().reshape(-1) > 0).astype(int)
        solved.append(f"seed {seed} with {width} hidden units gets {int((answers == [0, 1, 1, 0]).sum())} of 4 points right")
        ax.set(title=f"seed {seed}, {width} hidden units", xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    plotting.show(fig, alt=f"The plane as three of your trained networks see it: {'; '.join(solved)}. No two of them have the same boundary.")

# %% [markdown]
# ## 6  Width and depth
#
# A hidden layer of ReLU units on a line is a set of folds and cuts. One layer of $n$ units has at most $n$ kinks, so at most $n + 1$ straight pieces. Layers multiply: **fold** the interval $[0, 1]$ on itself with the tent map
#
# $$ T(x) = \begin{cases} 2x & x \le \tfrac12 \\ 2 - 2x & x > \tfrac12, \end{cases} $$
#
# and whatever the next layer does, it does twice. $T$ applied $k$ times has $2^k$ pieces (Montúfar and others 2014; Telgarsky 2016). With 2 ReLU units a fold that takes $2k$ units; one hidden layer needs at least $2^k - 1$: for $k = 10$, 20 against 1023.

# %% nbgrader={"grade": false, "grade_id": "figure-folds", "locked": true, "schema_version": 3, "solution": false, "task": false}
x = np.linspace(0, 1, 1025)
fig, axes = plotting.subplots(4, width=11, height=2.9)
height = x
for k, ax in enumerate(axes, start=1):
    height = 1 - np.abs(1 - 2 * height)
    ax.plot(x, height)
    ax.set(title=f"k = {k}: {2**k} pieces", xlabel="$x$", yticks=[0, 0.5, 1])
plotting.show(
    fig,
    alt="The tent map on [0, 1] applied 1, 2, 3 and 4 times: zigzags between 0 and 1 with 2, 4, 8 and 16 straight pieces of slope plus or minus 2, 4, 8 and 16.",
)

# %% [markdown]
# **Exercise 1.6 · `tent_net`** (4 points · difficulty 3 of 5 · about 20 minutes)
#
# Choose the weights of a ReLU network that computes $T \circ \dots \circ T$ ($k$ times) on $[0, 1]$. Each of its $k$ hidden layers has 2 units (3 are allowed, if you want to carry something along); the last layer is linear, as in `mlp_forward`.
#
# <details><summary>Hint 1: where to start</summary>
#
# One fold first. Which two ReLUs, with kinks at 0 and ½, add up to a line that rises with slope 2 and from ½ on falls with slope −2?
#
# </details>
#
# <details><summary>Hint 2: from one fold to the next</summary>
#
# The output of a fold is linear in its two units, and the first thing the next layer does is linear too. Multiply the two into one matrix: that is the layer between.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "tent_net", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tent_net(k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights of a ReLU network that applies the tent map k times on [0, 1].

    Args:
        k: number of folds, at least 1.

    Returns:
        k + 1 pairs (W, b), shapes (n_out, n_in) and (n_out,), float64: k hidden layers of
        2 (at most 3) units with ReLU, then one linear output.
    """
    ### BEGIN SOLUTION
    kinks = np.array([0.0, -0.5])
    tent = np.array([[2.0, -4.0]])
    first = (np.ones((2, 1)), kinks)
    between = (np.vstack([tent, tent]), kinks)
    return [first, *[between] * (k - 1), (tent, np.zeros(1))]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-tent_net", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("tent_net", points=4)

with check("one fold", points=1):
    net = tent_net(1)
    check.law(isinstance(net, list | tuple) and len(net) == 2, "tent_net(1) has two layers: a hidden one and the linear output")
    (W1, b1), (W2, b2) = ((torch.as_tensor(W, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)) for W, b in net)
    x = torch.tensor([[0.0], [0.25], [0.5], [0.75], [1.0]], dtype=torch.float64)
    check.close(
        F.linear(F.relu(F.linear(x, W1, b1)), W2, b2),
        [[0.0], [0.5], [1.0], [0.5], [0.0]],
        mistakes={
            "The slopes are 1 and -1: the top is at 1/2. The tent rises to 1, with slope 2.": [[0.0], [0.25], [0.5], [0.25], [0.0]],
            "It rises and stays up. From 1/2 on the slope changes from +2 to -2, which is by -4.": [[0.0], [0.5], [1.0], [1.0], [1.0]],
            "It stands on its head.": [[1.0], [0.5], [0.0], [0.5], [1.0]],
        },
    )


### BEGIN HIDDEN TESTS
def relu_net(params, x):
    """A ReLU network with linear output at points x, (N,), run by torch in float64."""
    h = torch.as_tensor(x, dtype=torch.float64)[:, None]
    for i, (W, b) in enumerate(params):
        h = F.linear(h if i == 0 else F.relu(h), torch.as_tensor(W, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64))
    return h.numpy()


def zigzag(x, k):
    """Distance to the nearest even number after stretching [0, 1] to [0, 2**k]: the folds unrolled."""
    stretched = x * 2.0**k
    return np.abs(stretched - 2 * np.round(stretched / 2))


with check("k folds have 2**k pieces", points=2):
    for k in (1, 2, 3, 5, 8):
        corners_of_k, between = np.arange(2**k + 1) / 2**k, check.rng.uniform(0, 1, size=60)
        x = np.concatenate([corners_of_k, between])
        got = relu_net(tent_net(k), x)
        check.shape(got, (len(x), 1), mistakes={"The last layer has to bring the two units together into one output.": (len(x), 2)})
        check.close(
            got[:, 0],
            zigzag(x, k),
            atol=1e-7,
            mistakes={
                "There is one fold too few: k folds have 2**k pieces.": lambda: zigzag(x, k - 1) if k > 1 else x,
                "There is one fold too many: k folds have 2**k pieces.": lambda: zigzag(x, k + 1),
                "The folds do not reach 1: each must have slope 2 and -2, or the next one has nothing to fold.": lambda: (
                    got[:, 0] if got.max() <= 0.75 else None
                ),
            },
        )

with check("k hidden layers of at most 3 units", points=1):
    for k in (1, 4, 7):
        net = tent_net(k)
        values = relu_net(net, np.linspace(0, 1, 300))
        check.law(
            np.ptp(values) > 0.1 and values.min() >= -1e-6 and values.max() <= 1 + 1e-6,
            f"tent_net({k}) maps [0, 1] into itself and is not flat; its values lie between {values.min():.3g} and {values.max():.3g}",
        )
        widths = [len(np.asarray(b)) for _, b in net]
        check.law(
            len(widths) == k + 1 and max(widths) <= 3,
            f"tent_net({k}) has {k} hidden layers of 2 or 3 units, then the output; got layers of {widths} units",
            mistakes={
                "This is one wide layer. It draws the same line with exponentially many units; use two units a layer and k layers.": max(widths) > 3,
                "The linear output of a fold can be multiplied into the next layer: no layer of its own for it.": len(widths) > k + 1,
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Careful with the theorems that CS909 lists** ("Width vs. depth", erratum E52). They are about *particular families* of functions, not about all.
# - Delalleau and Bengio (2011) treat sum–product networks: what takes $O(n)$ units in a deep one takes **at least** $\Omega(2^{\sqrt n})$ in a shallow one. The slide prints a lower bound as "$O(2^{vn})$".
# - Montúfar and others (2014) count linear regions, as you just did: a deep network *can* have exponentially more. Most deep networks do not.
# - Eldan and Shamir (2016) give one family in $d$ dimensions that 3 layers approximate with polynomially many units, and 2 layers only with exponentially many.
#
# So "a deep network requires exponentially fewer parameters to get to the same error" is false as a general rule: on most functions depth gains less, and on some nothing.
# The pictures of street numbers that go with it show the same caution from the other side: there, shallow networks overfit from about 20 million parameters on, and deep ones still gained past 60 million. That is a finding about one data set.
#
# ### Wide against deep, measured
#
# "Comparison of Depth" sets two networks against each other and says "approximately the same number of parameters; deeper is better, but difficult to optimise". With one input and one output they are 1-128-1 with 385 parameters and 1-32-8-1 with 337. (With 64 inputs and 10 outputs, as for digits, it would be 9610 against 2434: not equal at all.)

# %% nbgrader={"grade": false, "grade_id": "experiment-depth", "locked": true, "schema_version": 3, "solution": false, "task": false}
TARGETS = {
    "step": lambda x: (x > 0).float(),
    "chirp sin 6πx²": lambda x: torch.sin(6 * math.pi * x**2),
    "saw": lambda x: (3 * x) % 1,
}


def depth_experiment(target: str, seed: int) -> dict[str, tuple[float, np.ndarray]]:
    """Fit one target on [-1, 1] with the wide and the deep sigmoid network, 1000 steps of Adam at 0.01 each: name -> (mean squared error, fit at 128 points)."""
    x = torch.linspace(-1, 1, 128)[:, None]
    y = TARGETS[target](x)
    found = {}
    for name, sizes in (("wide 1-128-1", (1, 128, 1)), ("deep 1-32-8-1", (1, 32, 8, 1))):
        training.seed_everything(seed)
        layers = [part for n, m in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(n, m), nn.Sigmoid())]
        model = nn.Sequential(*layers[:-1])
        training.fit(model, F.mse_loss, x, y, epochs=1000, optimizer=lambda p: torch.optim.Adam(p, lr=0.01), device="cpu")
        with torch.no_grad():
            found[name] = float(F.mse_loss(model(x), y)), model(x)[:, 0].numpy()
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-depth-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
depth_runs = {target: [depth_experiment(target, seed) for seed in range(3 if target == "step" else 1)] for target in TARGETS}
gain = {target: float(np.median([run["deep 1-32-8-1"][0] / run["wide 1-128-1"][0] for run in runs])) for target, runs in depth_runs.items()}
x = torch.linspace(-1, 1, 128)[:, None]
one_unit = float(F.mse_loss(torch.sigmoid(1000 * x), TARGETS["step"](x)))
fig, axes = plotting.subplots(3, width=11, height=4)
for ax, (target, runs) in zip(axes, depth_runs.items(), strict=True):
    ax.plot(x[:, 0], TARGETS[target](x)[:, 0], color="0.6", linewidth=5, linestyle="-", label="target")
    for (name, (_, fit)), style, colour in zip(runs[0].items(), ("--", "-"), plotting.COLOURS, strict=False):
        ax.plot(x[:, 0], fit, linestyle=style, color=colour, label=name)
    wide, deep = (error for error, _ in runs[0].values())
    ax.set(title=f"{target}\nerror: wide {wide:.2g}, deep {deep:.2g}", xlabel="$x$")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plotting.show(
    fig,
    alt="Three targets on [-1, 1] with the fits of the wide and the deep network, seed 0. "
    + " ".join(
        f"{target}: " + ", ".join(f"{name} has mean squared error {error:.2g}" for name, (error, _) in runs[0].items()) + "."
        for target, runs in depth_runs.items()
    ),
)
claims.show(
    Claim("step: error deep / wide, median of 3 seeds", "deeper is better (CS909)", gain["step"], at_most=0.5),
    Claim("chirp: error deep / wide, one seed", "deeper is better (CS909)", gain["chirp sin 6πx²"]),
    Claim("saw: error deep / wide, one seed", "deeper is better (CS909)", gain["saw"]),
    Claim("step: error of one sigmoid unit with weight 1000", "not in the lecture", one_unit, at_most=1e-4),
)

# %% [markdown]
# On the step the deep network wins clearly. On the chirp it usually wins, by an amount that changes from seed to seed; on the saw the two are nearly equal. So these are reported, and only the step is held to a band.
#
# And what does the step show? Not that the wide network *cannot*: a single sigmoid unit with a large weight is a step already. Training from small weights finds it slowly,
# while two layers multiply their slopes and get steep sooner. Here depth makes the solution **easier to find**; in `tent_net` it makes it **smaller to write down**. Those are two different claims.

# %% [markdown]
# ## 7  Draw the line yourself
#
# Move the weights until the unit is right about AND, then OR. Try to get below one mistake on XOR. The picture uses your `perceptron_predict`.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-boundary", "locked": true, "schema_version": 3, "solution": false, "task": false}
def boundary(gate: str, w1: float, w2: float, b: float) -> tuple[matplotlib.figure.Figure, str]:
    """The unit's regions over the four corners, with its mistakes counted."""
    labels = {"AND": [-1, -1, -1, 1], "OR": [-1, 1, 1, 1], "XOR": [-1, 1, 1, -1]}[gate]
    weights = np.array([b, w1, w2])
    wrong = int(np.sum(perceptron_predict(weights, corners) != np.array(labels)))
    fig, ax = plotting.subplots(width=4.2, height=4.0)
    plotting.decision_regions(ax, lambda X: perceptron_predict(weights, X), (-0.75, 1.75), (-0.75, 1.75), classes=[-1, 1], resolution=120)
    plotting.points(ax, corners, labels, classes={-1: f"{gate} = −1", 1: f"{gate} = +1"})
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title=f"{gate}: {wrong} of 4 wrong")
    return (
        fig,
        f"The corners of the unit square labelled by {gate}, and the regions of a unit with w1 = {w1:g}, w2 = {w2:g}, b = {b:g}. It is wrong about {wrong} of 4.",
    )


with checks.uses("perceptron_predict"):
    widgets.explore(
        boundary,
        sliders={"gate": ["AND", "OR", "XOR"], "w1": (-2.0, 2.0, 0.1, 1.0), "w2": (-2.0, 2.0, 0.1, 1.0), "b": (-3.0, 3.0, 0.1, 0.5)},
        twin=[
            {"gate": "AND", "w1": 1.0, "w2": 1.0, "b": -1.5},
            {"gate": "OR", "w1": 1.0, "w2": 1.0, "b": -0.5},
            {"gate": "XOR", "w1": 1.0, "w2": 1.0, "b": -0.5},
        ],
        title="One threshold unit",
    )

# %% [markdown]
# ## 8  Written question
#
# (a) Why can Rosenblatt's rule not train the hidden units of a multilayer perceptron? Give both reasons: one about labels, one about the threshold. (2 points)
#
# (b) The lecture's table says: "Score too low. Increase weights!" Show with one point of your own that this can make the score *lower*, give the right update,
# and show by how much it changes the score. (2 points)
#
# Five to ten sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) The rule moves a unit's weights by $\eta\, l\, \tilde x$ when the unit's answer differs from its label $l$. The data give a label for the output only. For a hidden unit there is no
# $l$, so there is no way to say whether its answer was a mistake, and nothing to put into the update. Nor can the output's error be handed back through the
# threshold: its derivative is 0 everywhere except at the jump, where it does not exist. A small change of a hidden weight changes no output at all, so the error tells nothing
# about which way to move it. A smooth activation gives the hidden weights a gradient; that is backpropagation.
#
# (b) Take $x = (-2)$, $w = (0, 1)$, $l = +1$. The score is $0 + 1\cdot(-2) = -2$: too low. Increasing both weights by 1 gives $1 + 2\cdot(-2) = -3$: lower still, because $w_1$ multiplies a negative input.
# The right update is $w \leftarrow w + \eta\, l\, \tilde x$ with $\tilde x = (1, -2)$: with $\eta = 1$ it gives $w = (1, -1)$ and the score $1 + 2 = 3$. In general the score of the point changes by
# $\eta\, l\, \tilde x^\top \tilde x = \eta\, l\, \lVert\tilde x\rVert^2$, here $+5$: up for $l = +1$ and down for $l = -1$, whatever the signs of the inputs. Weights of negative inputs fall when the score must rise.
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: hidden units have no label (no ground truth), so "mistake" is not defined for them.
# - (a) 1 point: the threshold's derivative is zero almost everywhere (or: small changes of hidden weights change nothing), so the output's error cannot be passed back either. Half a point for "not differentiable" alone.
# - (b) 1 point: a numeric point with a negative input where raising the weights lowers the score, computed correctly.
# - (b) 1 point: the update $w + \eta\, l\, \tilde x$ and the change $\eta\, l\, \lVert\tilde x\rVert^2$ (half a point each).
#
# Accept other notation, the bias apart, and $l \in \{0, 1\}$ with the update $\eta\,(l - \hat l)\,\tilde x$.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - A threshold unit answers $\pm1$ by the side of a hyperplane; the logistic unit has the same boundary and a derivative. Both are called perceptron.
# - Rosenblatt's rule adds $\eta\, l\, \tilde x$ after a mistake. On separable points it makes at most $(R/\gamma)^2$ of them; otherwise it never ends.
# - One unit computes 14 of the 16 Boolean functions of two inputs, and 104 of the 256 of three. XOR needs a better feature, or a hidden layer that makes one.
# - An MLP is affine maps with non-linearities between; $\sum_l n_l(n_{l-1} + 1)$ parameters. Without the non-linearity it is one affine map.
# - One hidden layer approximates any continuous function on a bounded closed set. Whether training finds it is another question, and the start decides much.
# - $k$ folds make $2^k$ pieces with $2k$ units. For special functions depth saves exponentially; for most it saves less.
#
# **Next:** how `loss.backward()` finds the gradient for every weight, in 02-backprop.
