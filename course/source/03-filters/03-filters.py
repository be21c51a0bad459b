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
# # 03 · Convolution and learned filters
#
# A small detector slides over an image and gives the same answer to the same pattern wherever it stands. This notebook builds that detector by hand, in one
# and in two dimensions, learns its weights from examples, and puts a few of them together to a network that reads digits. Along the way you measure what
# convolution gives you (equivariance) and what it does not (invariance).
#
# **You will be able to**
# - tell cross-correlation from convolution, and say which of the two a formula, a matrix or a library computes;
# - write a convolution as a sparse matrix with tied weights, and a convolutional layer with channels, stride and padding;
# - work out output sizes, receptive fields and parameter counts before you build anything;
# - learn a filter from an image and its target, and notice when a small loss hides a wrong filter;
# - say what makes a network read digits that have moved, with numbers that you measured.
#
# | | |
# |---|---|
# | Time and points | about 300 minutes, 35 points |
# | of which | exercises: 215 minutes, 31 points; written question: 20 minutes, 4 points; reading and experiments: 65 minutes |
# | Running time | about 50 seconds on one CPU core, once everything is filled in |
# | You need | NumPy and torch arrays, matrix products, gradient descent (02-backprop) |
#
# **Lecture sections it follows.** *Deep Learning for Computer Vision, Part II*: "Convolutional layers" to "Pooling layers". The slides *Neural Network
# Architecture*: "Fully Connected (FC) Layer" to "Real example network: LeNet". Y. M. Asano, *Deep Learning*, MLx Fundamentals 2024: "Convolutional Neural
# Networks" to "AlexNet". F. Minhas, *CS909* (Warwick): "Convolutional Networks" to "Why do CNNs work?". *Deep Learning & Computer Vision (and more)*: "Some
# properties of natural signals" to "Summary: Convolutional Networks".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from collections.abc import Callable

import matplotlib.figure
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlcourse_utils import checks, data, device, plotting, training, widgets
from dlcourse_utils.claims import Claim, show

torch.set_num_threads(1)  # these images are small: more threads only get in each other's way
camera = torch.tensor(data.photo("camera"), dtype=torch.float32)  # (512, 512), from 0 (black) to 1 (white)
digits = data.load("digits", flat=False).torch()  # 1347 and 450 images of shape (1, 8, 8)

# %% [markdown]
# ## 1  A detector that slides
#
# Sounds and images have three habits (*Deep Learning & Computer Vision*, "Some properties of natural signals"): what is near belongs together (**locality**),
# the same patterns turn up everywhere (**stationarity**), and large things are made of small ones (**compositionality**). The first two say what a layer for
# such signals should look like: each output looks at a *few neighbouring* inputs, with the *same* weights everywhere.
#
# Put a short row of weights $k$, the **kernel** or **filter**, on a signal $x$, multiply, add, move on by one:
#
# $$ y_i = \sum_{j=0}^{m-1} k_j\, x_{i+j} \qquad\text{(cross-correlation)}, \qquad\qquad y_i = \sum_{j=0}^{m-1} k_{m-1-j}\, x_{i+j} \qquad\text{(convolution)}. $$
#
# The second runs through the kernel backwards. Deep learning computes the first and calls it "convolution"; a learned kernel does not mind. When the kernel
# is *given*, it matters: radar looks for its own pulse in what comes back, and only correlation has its peak where the pulse is (CS909, "Correlation vs.
# convolution"). Convolution has an algebra instead: it is commutative, correlation is not.

# %% nbgrader={"grade": false, "grade_id": "figure-radar", "locked": true, "schema_version": 3, "solution": false, "task": false}
radar_rng = np.random.default_rng(0)
pulse = np.linspace(1, 0, 16) * np.sin(np.linspace(0, 9, 16) ** 1.5)
echo = radar_rng.normal(0, 0.25, 160)
echo[100:116] += pulse
answers = {"correlation": np.correlate(echo, pulse, "valid"), "convolution": np.convolve(echo, pulse, "valid")}
fig, (signal, response) = plotting.subplots(2, width=11, height=3.2)
signal.plot(echo, linewidth=1, label="what comes back")
signal.plot(np.arange(100, 116), pulse, color=plotting.COLOURS[1], linestyle="-", label="the pulse, at 100")
signal.set(xlabel="time", title="An echo in noise")
signal.legend(loc="lower left")
plotting.curves(response, answers, x=np.arange(145), xlabel="where the kernel's first tap lies", ylabel="response")
response.set_title("The pulse as a kernel")
plotting.show(
    fig,
    alt="Left: 160 samples of noise with a pulse of 16 samples hidden from 100 on. Right: the response of the pulse used as a kernel, by place. The correlation has one sharp peak of "
    f"{answers['correlation'].max():.1f} at {answers['correlation'].argmax()}; the convolution, which runs the pulse backwards, reaches {answers['convolution'].max():.1f} at {answers['convolution'].argmax()}.",
)

# %% [markdown]
# **At the ends** the kernel sticks out. There are three usual modes for a signal of length $n$ and a kernel of length $m$:
#
# | mode | where | zeros added | length of $y$ |
# |---|---|---|---|
# | `valid` | only where the kernel lies wholly inside | none | $n - m + 1$ |
# | `same` | kernel centred on each sample | $m - 1$ in all | $n$ |
# | `full` | wherever kernel and signal touch | $m - 1$ at each end | $n + m - 1$ |
#
# **Four conventions, one word** (erratum E20). What is called "convolution" differs from slide to slide. For $x = (1, 2, 4, 7)$ and $k = (1, 2, 3)$:
#
# | where | what is printed | is | gives |
# |---|---|---|---|
# | *Neural Network Architecture*, formula | $\sum_j \theta_j a_{i+j}$ | correlation, first tap on $i$, `valid` | 17, 31 |
# | the same slide, matrix | rows $(\theta_1\ \theta_2\ 0\ \dots)$, $(\theta_0\ \theta_1\ \theta_2\ \dots)$: $\sum_j \theta_j a_{i+j-1}$ | correlation, middle tap on $i$, `same` | 8, 17, 31, 18 |
# | *Part II*, "Convolutional layers" | $\sum_p x_{i-p} w_p$ | convolution: the kernel runs backwards | 11, 21 where it fits |
# | Asano, "Convolution for 2D images" | both, and says that libraries use correlation | both | both |
#
# The formula and the matrix of that one slide are different functions: for $n = 5$ the formula has 3 outputs, the matrix 5. And *Part II* says that a kernel
# anchored at its top left corner loses pixels at the bottom and right. That holds for correlation; with its own formula $x_{i-p}$ it is the **top and left**
# that are lost, since $y_0$ would need $x_{-1}$.

# %% [markdown]
# **Exercise 3.1 · `conv1d`** (4 points · difficulty 2 of 5 · about 25 minutes)
#
# Write all three modes, for correlation and (with `flip=True`) for convolution. With an even kernel there is no middle tap; `same` may then put the one zero
# that is left over at either end. In `valid` a kernel longer than the signal fits nowhere: raise `ValueError`. NumPy's and SciPy's own convolutions and
# correlations are off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Write `valid` first: one dot product for each place where the kernel fits. How many places are there?
#
# </details>
#
# <details><summary>Hint 2: the other modes</summary>
#
# They are `valid` on a signal with zeros put at its ends: `np.pad(x, (before, after))`. And a convolution is a correlation with the kernel turned round:
# `k[::-1]`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "conv1d", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv1d(x: np.ndarray, k: np.ndarray, mode: str = "valid", flip: bool = False) -> np.ndarray:
    """Correlate a signal with a kernel, or convolve it.

    Args:
        x: signal, shape (n,), float64.
        k: kernel, shape (m,), float64.
        mode: ``"valid"`` (kernel wholly inside), ``"same"`` (as long as the signal) or ``"full"`` (wherever they
            touch); zeros lie outside.
        flip: False gives the correlation, the sum of ``k[j] * x[i + j]``; True turns the kernel round first, which
            gives the convolution.

    Returns:
        Shape (n - m + 1,), (n,) or (n + m - 1,) for the three modes.
        For even m, ``same`` may be centred either way.

    Raises:
        ValueError: ``valid``, and the kernel is longer than the signal.

    Example:
        ``conv1d(np.array([1.0, 1, 1, 0, 0]), np.array([1.0, 0, 1]))`` gives ``[2, 1, 1]``.
    """
    ### BEGIN SOLUTION
    n, m = len(x), len(k)
    if mode == "valid" and m > n:
        raise ValueError(f"a kernel of length {m} does not fit into a signal of length {n}")
    taps = k[::-1] if flip else k
    before, after = {"valid": (0, 0), "same": (m // 2, (m - 1) // 2), "full": (m - 1, m - 1)}[mode]
    padded = np.pad(x, (before, after))
    return np.array([taps @ padded[i : i + m] for i in range(len(padded) - m + 1)])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-conv1d", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("conv1d", points=4)
conv1d_off_limits = (
    "numpy.convolve",
    "numpy.correlate",
    "scipy.signal.convolve",
    "scipy.signal.correlate",
    "scipy.ndimage.convolve1d",
    "scipy.ndimage.correlate1d",
)

with check("by hand: the slide's example, and a kernel that is not symmetric", points=1, off_limits=conv1d_off_limits):
    check.close(
        conv1d(np.array([1.0, 1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0])),
        [2.0, 1.0, 1.0],
        mistakes={"One output is missing: a kernel of 3 fits into 5 samples at 3 places, n - m + 1.": [2.0, 1.0]},
    )
    signal, kernel = np.array([1.0, 2.0, 4.0, 7.0]), np.array([1.0, 2.0, 3.0])
    flipped = "The kernel was turned round. That is the convolution; with flip=False the first tap meets the first sample."
    check.close(
        conv1d(signal, kernel),
        [17.0, 31.0],
        mistakes={flipped: [11.0, 21.0], "One output is missing: a kernel of 3 fits into 4 samples at 2 places, n - m + 1.": [17.0]},
    )
    check.close(
        conv1d(signal, kernel, "same"),
        [8.0, 17.0, 31.0, 18.0],
        mistakes={
            flipped: [4.0, 11.0, 21.0, 26.0],
            "The signal goes on from its other end. Outside it there are zeros.": [15.0, 17.0, 31.0, 21.0],
            "The kernel's first tap lies on each sample. In `same` its middle tap does: half of the zeros go before the signal.": [17.0, 31.0, 18.0, 7.0],
            "All zeros were put before the signal. In `same` half of them go before it and half after it.": [3.0, 8.0, 17.0, 31.0],
        },
    )
    check.close(
        conv1d(signal, kernel, "full"),
        [3.0, 8.0, 17.0, 31.0, 18.0, 7.0],
        mistakes={
            flipped: [1.0, 4.0, 11.0, 21.0, 26.0, 21.0],
            "The zeros are on one side only. In `full` there are m - 1 zeros before the signal and m - 1 after it.": [3.0, 8.0, 17.0, 31.0],
        },
    )


### BEGIN HIDDEN TESTS
def conv1d_cases(mode, flip):
    """Fresh signals and kernels, what each gives, and what misconceptions would give. Worked out here, where np.convolve is open."""
    made = []
    for n, m in ((9, 3), (6, 4), (12, 5), (5, 5), (7, 2), (8, 1), (1, 1)) + (() if mode == "valid" else ((3, 5), (2, 4))):
        x, k = check.rng.normal(size=2 * n)[::2], check.rng.normal(size=m)
        full = {False: np.convolve(x, k[::-1]), True: np.convolve(x, k)}

        def cut(row, late=0, n=n, m=m):
            starts = {"valid": (m - 1, n), "same": ((m - 1 + late) // 2, (m - 1 + late) // 2 + n), "full": (0, n + m - 1)}
            return row[slice(*starts[mode])]

        taps = k[::-1] if flip else k
        wrapped = np.array([sum(taps[j] * x[(i + j - m // 2) % n] for j in range(m)) for i in range(n)])
        made.append((x, k, cut(full[flip]), cut(full[flip], late=1), {"turned": cut(full[not flip]), "wrapped": wrapped if mode == "same" else None}))
    return made


def conv1d_agrees(mode, flip, turned):
    """Check one mode on fresh inputs."""
    for x, k, want, also, wrong in conv1d_prepared[mode, flip]:
        with check.no_side_effects(x, k):
            got = conv1d(x, k, mode, flip)
        check.shape(
            got,
            want.shape,
            mistakes={
                "One output is missing: the kernel fits at n - m + 1 places.": (len(want) - 1,),
                "There is one output too many. An even kernel needs m - 1 zeros in all, which is an odd number: more at one end than at the other.": (
                    len(x) + 1,
                ),
            },
        )
        check.close(
            got,
            also if np.allclose(got, also) else want,
            mistakes={turned: wrong["turned"], "The signal goes on from its other end. Outside it there are zeros.": wrong["wrapped"]},
        )


conv1d_prepared = {(mode, flip): conv1d_cases(mode, flip) for mode in ("valid", "same", "full") for flip in (False, True)}

with check("correlation on fresh signals, in all modes", points=1.5, off_limits=conv1d_off_limits):
    for mode in ("valid", "same", "full"):
        conv1d_agrees(mode, False, "The kernel was turned round. That is the convolution; with flip=False the first tap meets the first sample.")

with check("flip=True is the convolution, and it commutes", points=1, off_limits=conv1d_off_limits):
    for mode in ("valid", "same", "full"):
        conv1d_agrees(mode, True, "The kernel was not turned round. With flip=True it runs backwards.")
    x, k = check.rng.normal(size=6), check.rng.normal(size=4)
    check.close(conv1d(x, k, "full", True), conv1d(k, x, "full", True))

with check("valid: the kernel has to fit", points=0.5, off_limits=conv1d_off_limits):
    x, k = check.rng.normal(size=4), check.rng.normal(size=6)
    for flip in (False, True):
        check.raises(ValueError, lambda flip=flip: conv1d(x, k, "valid", flip))
    check.close(conv1d(x, k[:4]), [sum(a * b for a, b in zip(x, k[:4], strict=True))])
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 2  The same thing as a matrix
#
# A correlation is linear in $x$, so it is a matrix. The fully connected layer's matrix has $n^2$ free numbers; keep only neighbours and about $3n - 2$ are
# left; **tie** them along each diagonal and there are 3. The zeros come from locality, the ties from stationarity. Such a matrix, constant along its
# diagonals, is called a **Toeplitz** matrix.

# %% nbgrader={"grade": false, "grade_id": "figure-bands", "locked": true, "schema_version": 3, "solution": false, "task": false}
size = 7
offset = np.arange(size)[None, :] - np.arange(size)[:, None]
band = np.abs(offset) <= 1
fig, axes = plotting.subplots(3, width=11, height=3.6)
for ax, title, free, labels in (
    (axes[0], f"dense: {size**2} weights", np.ones((size, size), bool), np.full((size, size), "")),
    (axes[1], f"local: {3 * size - 2} weights", band, np.full((size, size), "")),
    (axes[2], "local and tied: 3 weights", band, np.where(band, np.char.add(np.char.add("$k_", (offset + 1).astype(str)), "$"), "")),
):
    shade = np.where(free, 0.75, 1.0) if labels[0, 0] == "" else np.where(band, np.take([0.55, 0.75, 0.9], np.clip(offset + 1, 0, 2)), 1.0)
    ax.imshow(shade, cmap="gray", vmin=0, vmax=1)
    for (i, j), text in np.ndenumerate(labels):
        ax.text(j, i, text, ha="center", va="center", fontsize=9)
    ax.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    ax.grid(visible=False)
    ax.grid(visible=True, which="minor", color="white", linewidth=2)
    ax.set(title=title, xlabel="input", ylabel="output", xticks=[], yticks=[])
    ax.tick_params(which="minor", length=0)
plotting.show(
    fig,
    alt="Three 7 by 7 weight matrices from 7 inputs to 7 outputs. Dense: all 49 entries are free. Local: only the diagonal and its two neighbours, 19 entries. "
    "Local and tied: the same 19 entries, but all on one diagonal are equal: k0 below the diagonal, k1 on it, k2 above it, 3 numbers in all.",
)

# %% [markdown]
# Two slides to mend. *Deep Learning & Computer Vision* ("Summary: Convolutional Networks") says that sparse connections mean a "reduced amount of
# regularization"; an earlier slide says, rightly, **computation** (erratum E37). For a map of 64 × 64 to another, a dense layer makes $4096^2 = 16\,777\,216$
# multiplications and a 3 × 3 filter $9 \cdot 4096 = 36\,864$: 455 times fewer. If anything, zeros and ties regularise *more*. And Asano's "A simple
# convolution: saves space!" prints the rows of its matrix as $x\ y\ x$, where the result shows that $x\ y\ z$ is meant, and multiplies a 4 × 6 matrix with a
# vector of 11 (erratum E20 again). For 9 samples, a zero at each end and a kernel of 3 the matrix is 9 × 11. If the zeros are left out of the vector, as
# below, it is 9 × 9.

# %% [markdown]
# **Exercise 3.2 · `toeplitz`** (3 points · difficulty 2 of 5 · about 15 minutes)
#
# Write the matrix $T$ with $T x$ = the correlation of $x$, given `pad` zeros at each end, with the kernel. The zeros are *not* part of $x$: $T$ has one
# column a sample. It may be dense or a SciPy sparse matrix. `scipy.linalg.toeplitz` and `convolution_matrix` are off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Take `pad=0`. Row $i$ holds the kernel, starting in column $i$, and zeros elsewhere.
#
# </details>
#
# <details><summary>Hint 2: the padding</summary>
#
# Build the matrix for the longer signal of $n + 2\,$`pad` samples. Which of its columns would multiply zeros? Leave them out.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "toeplitz", "locked": false, "schema_version": 3, "solution": true, "task": false}
def toeplitz(k: np.ndarray, n: int, pad: int = 0) -> np.ndarray:
    """Matrix of the correlation with a kernel.

    Args:
        k: kernel, shape (m,), float64.
        n: length of the signal.
        pad: zeros at each end of the signal; n + 2 * pad is at least m.

    Returns:
        Shape (n + 2 * pad - m + 1, n), dense or sparse: ``T @ x`` is the sum over j of ``k[j] * padded[i + j]``.

    Example:
        ``toeplitz(np.array([1.0, 2.0]), 3)`` gives ``[[1, 2, 0], [0, 1, 2]]``.
    """
    ### BEGIN SOLUTION
    m, length = len(k), n + 2 * pad
    T = np.zeros((length - m + 1, length))
    for i in range(len(T)):
        T[i, i : i + m] = k
    return T[:, pad : pad + n]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-toeplitz", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("toeplitz", points=3)
toeplitz_off_limits = ("scipy.linalg.toeplitz", "scipy.linalg.convolution_matrix", "scipy.linalg.circulant")
### BEGIN HIDDEN TESTS
check.use(conv1d=lambda x, k, mode="valid", flip=False: np.convolve(np.asarray(x, float), k if flip else k[::-1], mode))
### END HIDDEN TESTS

with check("the slide's matrix, and one without padding", points=1, off_limits=toeplitz_off_limits):
    T = toeplitz(np.array([1.0, 2.0, 3.0]), 5, pad=1)
    check.law(
        np.shape(T) == (5, 5),
        f"3 taps, 5 samples, a zero at each end: expected shape (5, 5), got {np.shape(T)}",
        mistakes={"There are columns for the padding. They multiply zeros that are not part of x: leave them out.": np.shape(T) == (5, 7)},
    )
    check.close(
        T @ np.eye(5),  # the same for a dense and a sparse answer
        [[2.0, 3.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0, 2.0]],
        mistakes={
            "The kernel runs backwards in each row (or the matrix is transposed). Its first tap comes first.": [
                [2.0, 1.0, 0.0, 0.0, 0.0],
                [3.0, 2.0, 1.0, 0.0, 0.0],
                [0.0, 3.0, 2.0, 1.0, 0.0],
                [0.0, 0.0, 3.0, 2.0, 1.0],
                [0.0, 0.0, 0.0, 3.0, 2.0],
            ],
            "The rows go on from the other end. Outside the signal there are zeros.": [
                [2.0, 3.0, 0.0, 0.0, 1.0],
                [1.0, 2.0, 3.0, 0.0, 0.0],
                [0.0, 1.0, 2.0, 3.0, 0.0],
                [0.0, 0.0, 1.0, 2.0, 3.0],
                [3.0, 0.0, 0.0, 1.0, 2.0],
            ],
        },
    )
    T = toeplitz(np.array([1.0, 2.0]), 3)
    check.law(
        np.shape(T) == (2, 3),
        f"2 taps, 3 samples: expected shape (2, 3), got {np.shape(T)}",
        mistakes={
            "The matrix is transposed: outputs are rows, inputs are columns.": np.shape(T) == (3, 2),
            "The matrix is always square. There are n + 2 * pad - m + 1 outputs.": np.shape(T) == (3, 3),
        },
    )
    check.close(T @ np.eye(3), [[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]])

### BEGIN HIDDEN TESTS
toeplitz_sizes = ((3, 8, 1), (3, 5, 0), (2, 7, 1), (4, 6, 0), (5, 9, 2), (1, 4, 0), (5, 5, 0), (4, 3, 3), (5, 2, 2))
toeplitz_prepared = []
for m, n, pad in toeplitz_sizes:
    k, x = check.rng.uniform(0.5, 2, size=m) * check.rng.choice([-1, 1], size=m), check.rng.normal(size=n)
    padded = np.pad(x, pad)
    toeplitz_prepared.append(
        (k, x, pad, np.array([np.dot(k, padded[i : i + m]) for i in range(n + 2 * pad - m + 1)]), np.convolve(padded, k)[m - 1 : n + 2 * pad])
    )

with check("its product with a signal is the correlation", points=1, off_limits=toeplitz_off_limits):
    for k, x, pad, want, turned in toeplitz_prepared:
        with check.no_side_effects(k):
            T = toeplitz(k, len(x), pad)
        shape = np.shape(T)
        check.law(
            shape == (len(want), len(x)),
            f"{len(k)} taps, {len(x)} samples, {pad} zeros at each end: expected shape {(len(want), len(x))}, got {shape}",
            mistakes={
                "The matrix is transposed: outputs are rows, inputs are columns.": shape == (len(x), len(want)) and len(want) != len(x),
                "There are columns for the padding. They multiply zeros that are not part of x: leave them out.": shape[1] == len(x) + 2 * pad,
                "The matrix is always square. There are n + 2 * pad - m + 1 outputs.": shape == (len(x), len(x)),
            },
        )
        check.close(T @ x, want, mistakes={"The kernel runs backwards in each row (or the matrix is transposed). Its first tap comes first.": turned})

with check("zeros where the kernel does not reach, and only the kernel's numbers elsewhere", points=1, off_limits=toeplitz_off_limits):
    for n in (3, 6, 11):
        k = np.sort(check.rng.uniform(1, 2, size=3))
        T = toeplitz(k, n, 1)
        check.law(
            np.shape(T) == (n, n),
            f"expected shape {(n, n)}, got {np.shape(T)}",
            mistakes={"There are columns for the padding. They multiply zeros that are not part of x: leave them out.": np.shape(T) == (n, n + 2)},
        )
        T = np.asarray(T @ np.eye(n))
        check.law(
            np.count_nonzero(T) == 3 * n - 2,
            f"a kernel of 3 with one zero at each end has 3n - 2 = {3 * n - 2} entries that are not 0; got {np.count_nonzero(T)}",
            mistakes={"The rows go on from the other end. Outside the signal there are zeros.": np.count_nonzero(T) == 3 * n},
        )
        check.close(np.unique(np.round(T[T != 0], 12)), k)
        for i in range(1, n):
            check.close(T[i, 1:], T[i - 1, :-1])
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 3  Images, channels, filters
#
# In two dimensions the kernel has a height and a width, and colour images have channels. A convolutional layer turns $C$ channels into $O$; for each of the
# $O$ outputs it has one kernel *for each input channel*, and **adds up** what they give:
#
# $$ y_{o,s,t} = b_o + \sum_{c=0}^{C-1} \sum_{i=0}^{k_h-1} \sum_{j=0}^{k_w-1} w_{o,c,i,j}\; x_{c,\; s\cdot\text{stride}+i,\; t\cdot\text{stride}+j} \qquad (x \text{ padded with zeros first}). $$
#
# The slides *Neural Network Architecture* ("3d Convolution") print $\sum_{i,j,k} \Theta_{i,j,k}\, x_{s+i,t+j}$: the channel index $k$ is missing from $x$
# (erratum E21). Read literally, every kernel slice meets the same values, so $r$ slices act like their sum, and a red square on green looks like a green
# square on red. It is also no "3d" convolution: the kernel slides in two directions only and is as deep as its input (`Conv2d`, not `Conv3d`).
#
# What a filter does can be read from its numbers. They sum to 1: it keeps the brightness. They sum to 0: it answers 0 on flat regions and something at
# changes.

# %% nbgrader={"grade": false, "grade_id": "figure-filters", "locked": true, "schema_version": 3, "solution": false, "task": false}
FILTERS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "box blur": [[1 / 9] * 3] * 3,
    "Gaussian blur": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "Laplacian": [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],
    "Sobel": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
}
fig, axes = plotting.subplots(6, 2, width=11, height=4.4)
ramp = torch.linspace(0, 1, 9).expand(9, 9)  # grows by 1/8 a pixel from left to right
on_ramp = {}
for (name, numbers), (above, below) in zip(FILTERS.items(), axes.T, strict=True):
    kernel = torch.tensor(numbers, dtype=torch.float32)
    on_ramp[name] = float(F.conv2d(ramp[None, None], kernel[None, None])[0, 0, 3, 3])
    above.imshow(kernel, cmap="gray", vmin=-2, vmax=2)
    for (i, j), value in np.ndenumerate(kernel.numpy()):
        above.text(j, i, f"{value:.2g}".replace("0.", "."), ha="center", va="center", color="black" if value > 0 else "white", fontsize=8)
    picture = F.conv2d(camera[None, None, 80:240, 160:320], kernel[None, None])[0, 0]
    dark = 0.0 if kernel.sum() > 0.5 else -0.5
    below.imshow(picture, cmap="gray", vmin=dark, vmax=dark + 1)
    above.set_title(name, fontsize=11)
    for ax in (above, below):
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
plotting.show(
    fig,
    alt="Six 3 by 3 filters and what each makes of a photograph of a man with a camera. The identity keeps it, box and Gaussian blur soften it, sharpen exaggerates edges. The Laplacian gives thin "
    "double lines at all edges, whatever their direction; Sobel gives broad bright and dark bands at vertical edges only. Flat regions are grey, which is zero, in the last two.",
)
print("On a ramp that grows by 1/8 a pixel: " + ", ".join(f"{name} {on_ramp[name]:.3g}" for name in ("Laplacian", "Sobel")) + ".")

# %% [markdown]
# Asano's "We can detect edges" shows two pictures, both captioned *Sobel filter*. The first kernel, with 4 in the middle, is the **Laplacian**, a second
# derivative; only the second is Sobel, a smoothed first derivative (erratum E35). The line above tells them apart: on a steady ramp the Laplacian answers 0,
# Sobel $8 \cdot \tfrac18$, with the sign of $x_{\text{left}} - x_{\text{right}}$.
#
# CS909 filters `camera` twice and gets 512 × 512 pixels from `scipy.ndimage.convolve` and 510 × 510 from `F.conv2d`. The first mirrors the image at its
# border, and flips the kernel; the second does neither. For the symmetric Laplacian the flip goes unnoticed.

# %% [markdown]
# **Exercise 3.3 · `conv2d`** (6 points · difficulty 4 of 5 · about 40 minutes)
#
# Write the formula above in torch, for a batch of images. It must let gradients through to `x`, `w` and `b`. torch's own convolutions are off limits; `F.pad`
# and `F.unfold` are not.
#
# <details><summary>Hint 1: where to start</summary>
#
# Work out the size of the output first. Then loop over the *taps* $(i, j)$ of the kernel, which are few, not over the pixels: each tap multiplies one shifted
# copy of the image.
#
# </details>
#
# <details><summary>Hint 2: one tap, all channels</summary>
#
# A slice `x[:, :, i : ... : stride, j : ... : stride]` is (N, C, H', W'); the tap's weights `w[:, :, i, j]` are (O, C). Summing over C is a matrix product:
# `torch.einsum("nchw,oc->nohw", ...)`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "conv2d", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, stride: int = 1, pad: int = 0) -> Tensor:
    """Convolutional layer as deep learning means it: cross-correlation, summed over input channels.

    Args:
        x: images, shape (N, C, H, W).
        w: kernels, shape (O, C, kh, kw), same dtype and device.
        b: one bias for each output channel, shape (O,), or None.
        stride: pixels from one place of the kernel to the next, down and across.
        pad: rows and columns of zeros put on all four sides.

    Returns:
        Shape (N, O, (H + 2 * pad - kh) // stride + 1, (W + 2 * pad - kw) // stride + 1), in the dtype of ``x``;
        differentiable.
    """
    ### BEGIN SOLUTION
    padded = F.pad(x, (pad, pad, pad, pad))
    kh, kw = w.shape[2:]
    down = (padded.shape[2] - kh) // stride + 1
    across = (padded.shape[3] - kw) // stride + 1
    y = x.new_zeros(len(x), len(w), down, across)
    for i in range(kh):
        for j in range(kw):
            seen = padded[:, :, i : i + stride * (down - 1) + 1 : stride, j : j + stride * (across - 1) + 1 : stride]
            y = y + torch.einsum("nchw,oc->nohw", seen, w[:, :, i, j])
    return y if b is None else y + b[:, None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-conv2d", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("conv2d", points=6)
conv2d_off_limits = (
    *("torch.nn.functional.conv1d", "torch.nn.functional.conv2d", "torch.nn.functional.conv3d"),
    *("torch.conv1d", "torch.conv2d", "torch.conv3d", "torch.convolution"),
)

with check("by hand: the slide's 5 × 5 example, and two channels", points=1, off_limits=conv2d_off_limits):
    image = torch.tensor([[1.0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]])
    kernel = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    check.close(conv2d(image[None, None], kernel[None, None]), [[[[4.0, 3.0, 4.0], [2.0, 4.0, 3.0], [2.0, 3.0, 4.0]]]])
    check.close(
        conv2d(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]]), torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]])),
        [[[[11.0], [19.0]]]],
        mistakes={
            "The kernel was turned round. In deep learning it is not: this is a correlation.": [[[[9.0], [17.0]]]],
            "Only the first channel was looked at. Each output is a sum over all input channels.": [[[[5.0], [11.0]]]],
            "The channels were mixed up: each channel has its own slice of the kernel, and only then are they summed.": [[[[30.0], [46.0]]]],
            "The channels were averaged. They are summed.": [[[[5.5], [9.5]]]],
            "The channels were not summed. Each output is a sum over all input channels.": [[[[[5.0], [11.0]], [[6.0], [8.0]]]]],
        },
    )


### BEGIN HIDDEN TESTS
def conv2d_case(shape, kernel, dtype=torch.float32, stride=1, pad=0, bias=False, strided=False):
    """One fresh problem: its arguments, torch's answer, and what misconceptions would give. Worked out here, where F.conv2d is open."""
    x, w = torch.randn(shape, generator=check.gen, dtype=dtype), torch.randn(kernel, generator=check.gen, dtype=dtype)
    if strided:  # the same kind of values, but not contiguous in memory
        x, w = torch.randn(*shape[:2], shape[3], shape[2], generator=check.gen, dtype=dtype).mT, w.transpose(0, 1).contiguous().transpose(0, 1)
    b = torch.randn(kernel[0], generator=check.gen, dtype=dtype) if bias else None
    want = F.conv2d(x, w, b, stride, pad)
    wrong = {
        "The kernel was turned round. In deep learning it is not: this is a correlation.": F.conv2d(x, w.flip(2, 3), b, stride, pad),
        "Only the first channel was looked at. Each output is a sum over all input channels.": F.conv2d(x[:, :1], w[:, :1], b, stride, pad),
        "The channels were mixed up: each channel has its own slice of the kernel, and only then are they summed.": F.conv2d(
            x.sum(1, True), w.sum(1, True), b, stride, pad
        ),
        "The channels were averaged. They are summed.": F.conv2d(x, w / shape[1], b, stride, pad),
        "The bias is missing.": F.conv2d(x, w, None, stride, pad),
    }
    if bias and want.shape[3] == kernel[0]:
        wrong["The bias went along the width. There is one bias for each output channel: give it the shape (O, 1, 1)."] = F.conv2d(x, w, None, stride, pad) + b

    def size(strides, pads):
        """Shape of an output with these strides and this padding in all, down and across."""
        return (shape[0], kernel[0], *((n + p - m) // s + 1 for n, p, m, s in zip(shape[2:], pads, kernel[2:], strides, strict=True)))

    both = (stride, stride)
    shapes = {
        "The stride works down only. It applies down and across.": size((stride, 1), (2 * pad, 2 * pad)),
        "The stride works across only. It applies down and across.": size((1, stride), (2 * pad, 2 * pad)),
        "The padding is on two sides only. It goes on all four.": size(both, (pad, pad)),
        "The padding goes left and right only. It goes on all four sides.": size(both, (0, 2 * pad)),
        "The padding goes above and below only. It goes on all four sides.": size(both, (2 * pad, 0)),
        "The padding is missing.": size(both, (0, 0)),
        "The channels were not summed. Each output is a sum over all input channels.": (shape[0], kernel[0], shape[1], *want.shape[2:]),
    }
    return (x, w, b, stride, pad), want, wrong, shapes


def conv2d_agrees(cases):
    """Compare with torch's answers."""
    for (x, w, b, stride, pad), want, wrong, shapes in cases:
        with check.no_side_effects(x, w, *(() if b is None else (b,))):
            got = conv2d(x, w, b, stride, pad)
        check.shape(got, tuple(want.shape), mistakes=shapes)
        check.close(got, want, mistakes=wrong)
        check.dtype(got, want.dtype)


conv2d_plain = [
    conv2d_case((1, 1, 5, 7), (1, 1, 3, 2)),
    conv2d_case((2, 3, 6, 9), (4, 3, 2, 3), torch.float64),
    conv2d_case((3, 2, 4, 4), (2, 2, 1, 1)),
    conv2d_case((1, 4, 3, 8), (3, 4, 3, 5), torch.float64, strided=True),
    conv2d_case((2, 5, 7, 5), (1, 5, 4, 5), strided=True),
]
conv2d_moved = [
    conv2d_case((2, 2, 9, 6), (3, 2, 3, 3), stride=2),
    conv2d_case((1, 3, 5, 8), (2, 3, 3, 2), torch.float64, pad=1),
    conv2d_case((2, 1, 7, 10), (2, 1, 3, 4), stride=3, pad=2),
    conv2d_case((1, 2, 2, 3), (1, 2, 3, 4), pad=1),
]
conv2d_biased = [conv2d_case((2, 3, 5, 6), (4, 3, 2, 3), bias=True), conv2d_case((1, 1, 4, 4), (2, 1, 3, 2), torch.float64, stride=2, pad=1, bias=True)]

with check("agrees with torch: batches, channels, kernels that are not square", points=2, off_limits=conv2d_off_limits):
    conv2d_agrees(conv2d_plain)

with check("stride and padding", points=1, off_limits=conv2d_off_limits):
    conv2d_agrees(conv2d_moved)

with check("one bias for each output channel", points=1, off_limits=conv2d_off_limits):
    conv2d_agrees(conv2d_biased)

conv2d_leaves = [torch.randn(shape, generator=check.gen, dtype=torch.float64, requires_grad=True) for shape in ((2, 2, 5, 6), (3, 2, 3, 2), (3,))]
conv2d_theirs = F.conv2d(*conv2d_leaves, 2, 1)
conv2d_pull = torch.randn(conv2d_theirs.shape, generator=check.gen, dtype=torch.float64)
conv2d_gradients = torch.autograd.grad(conv2d_theirs, conv2d_leaves, conv2d_pull)

with check("gradients reach the images, the kernels and the biases", points=1, off_limits=conv2d_off_limits):
    y = conv2d(*conv2d_leaves, 2, 1)
    check.law(
        y.requires_grad, "The result is cut off from its inputs. Stay with torch operations: no .numpy(), .item(), .detach() or torch.tensor(...) on the way."
    )
    for got, want in zip(torch.autograd.grad(y, conv2d_leaves, conv2d_pull), conv2d_gradients, strict=True):
        check.close(got, want)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  Sizes, sight and cost
#
# Three numbers to know before building a network.
#
# **Size.** A kernel of $k$ taps that are $d$ apart (*dilation*) spans $d(k-1)+1$ pixels. With $p$ zeros at each end and stride $s$ there are
#
# $$ n' = \left\lfloor \frac{n + 2p - d(k-1) - 1}{s} \right\rfloor + 1 $$
#
# outputs. The lectures give the case $p = 0$, $d = 1$.
#
# **Sight.** The **receptive field** of a unit is the stretch of input that it depends on. A layer with kernel $k$ adds $k - 1$ steps, each as long as the
# strides of all layers *below* it make it:
#
# $$ r_l = r_{l-1} + (k_l - 1) \prod_{i<l} s_i, \qquad r_0 = 1. $$
#
# **Cost.** Weights from $C \times H \times W$ inputs to $O \times H' \times W'$ outputs: *dense* connects all pairs; *local* gives every output its own
# $C\,k_h k_w$ weights; *convolutional* shares those among all places of a channel.

# %% nbgrader={"grade": false, "grade_id": "figure-sight", "locked": true, "schema_version": 3, "solution": false, "task": false}
sight = {
    "3 × 3, stride 1": [1 + 2 * depth for depth in range(7)],
    "5 × 5, stride 1": [1 + 4 * depth for depth in range(7)],
    "3 × 3, each second with stride 2": [1, 3, 5, 9, 13, 21, 29],
    "3 × 3, stride 2": [2 ** (depth + 1) - 1 for depth in range(7)],
}
fig, ax = plotting.subplots(width=7.5, height=3.6)
plotting.curves(ax, sight, x=range(7), xlabel="layers", ylabel="receptive field in pixels", log=True)
ax.set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
plotting.show(
    fig,
    alt="Receptive field against the number of layers from 0 to 6, logarithmic. Without stride it grows by a fixed step: 13 pixels after six layers of 3 by 3, 25 after six of 5 by 5. "
    "With stride 2 in every second layer it reaches 29, with stride 2 in every layer 127: it doubles each time.",
)

# %% [markdown]
# **Exercise 3.4a · `out_size`** (1 point · difficulty 1 of 5 · about 5 minutes)
#
# Write the size formula. If the kernel does not fit even once, raise `ValueError`.
#
# <details><summary>Hint 1: where to start</summary>
#
# How many pixels does the kernel span? Over how many can it then still move?
#
# </details>
#
# <details><summary>Hint 2: rounding</summary>
#
# `//` rounds down, which is what is wanted: a step that would leave the image is not made.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "out_size", "locked": false, "schema_version": 3, "solution": true, "task": false}
def out_size(n: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> int:
    """Number of outputs of a convolution or pooling along one axis.

    Args:
        n: inputs.
        k: taps of the kernel.
        s: stride.
        p: zeros at each end.
        d: distance between taps (dilation).

    Raises:
        ValueError: the kernel is longer than the padded input.
    """
    ### BEGIN SOLUTION
    room = n + 2 * p - (d * (k - 1) + 1)
    if room < 0:
        raise ValueError(f"a kernel that spans {d * (k - 1) + 1} pixels does not fit into {n + 2 * p}")
    return room // s + 1
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-out_size", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("out_size", points=1)

with check("sizes from the lectures", points=0.5):
    check.equal(out_size(64, 3), 62, mistakes={"One is missing: a kernel of 3 fits into 3 pixels once, not never.": 61})
    check.equal(out_size(64, 3, p=1), 64, mistakes={"The zeros were counted once. They lie at both ends.": 63, "The padding was ignored.": 62})
    check.equal(out_size(224, 11, 4), 54, mistakes={"It was rounded up. A step that would leave the image is not made.": 55, "One is missing.": 53})
    check.equal(out_size(16, 3, d=2), 12, mistakes={"The dilation was ignored. Taps that are d apart span d (k - 1) + 1 pixels.": 14})

### BEGIN HIDDEN TESTS
with check("200 convolutions of torch", points=0.5):
    for _ in range(200):
        n, k, s, p, d = (int(check.rng.integers(low, high)) for low, high in ((1, 40), (1, 8), (1, 5), (0, 4), (1, 4)))
        if n + 2 * p < d * (k - 1) + 1:
            check.raises(ValueError, lambda n=n, k=k, s=s, p=p, d=d: out_size(n, k, s, p, d))
            continue
        want = F.conv1d(torch.empty(1, 1, n, device="meta"), torch.empty(1, 1, k, device="meta"), None, s, p, d).shape[2]
        check.equal(
            out_size(n, k, s, p, d),
            want,
            mistakes={
                "One is missing: a kernel of k fits into k pixels once, not never.": want - 1,
                "The zeros were counted once. They lie at both ends.": lambda n=n, k=k, s=s, p=p, d=d: (n + p - d * (k - 1) - 1) // s + 1,
                "The dilation was ignored. Taps that are d apart span d (k - 1) + 1 pixels.": lambda n=n, k=k, s=s, p=p: (n + 2 * p - k) // s + 1,
                "It was rounded up. A step that would leave the image is not made.": lambda n=n, k=k, s=s, p=p, d=d: (
                    math.ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1
                ),
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# One use: AlexNet's paper starts from 224 × 224 pixels, with 96 kernels of 11 × 11 and stride 4, and counts $253\,440$ units in the first layer; Asano's
# slide quotes it (erratum E55). With 224 you just found 54, not 55; 55 needs $n = 227$. And $55 \cdot 55 \cdot 96 = 290\,400$. The printed number is
# $55 \cdot 48 \cdot 96$.

# %% [markdown]
# **Exercise 3.4b · `receptive_field`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# How many neighbouring input pixels, along one axis, does a unit after these layers depend on? Pooling layers count like convolutions.
#
# <details><summary>Hint 1: where to start</summary>
#
# Do `[(3, 2), (3, 1)]` on paper: mark which inputs the first layer's neighbours see, then which three of those the second layer takes.
#
# </details>
#
# <details><summary>Hint 2: the step</summary>
#
# Keep two numbers while walking up: the field so far, and how many input pixels lie between two neighbouring units of this layer.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "receptive_field", "locked": false, "schema_version": 3, "solution": true, "task": false}
def receptive_field(layers: list[tuple[int, int]]) -> int:
    """Extent, in input pixels along one axis, of what a unit after these layers depends on.

    Args:
        layers: (kernel size, stride) of each layer, the first one that sees the input first; may be empty.

    Returns:
        From the first to the last pixel, both counted; 1 for no layers.
    """
    ### BEGIN SOLUTION
    field, step = 1, 1
    for k, s in layers:
        field += (k - 1) * step
        step *= s
    return field
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-receptive_field", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("receptive_field", points=2)

with check("small stacks", points=1):
    check.equal(
        receptive_field([(3, 1), (3, 1)]),
        5,
        mistakes={
            "The kernel sizes were added. Each layer adds one less than its kernel: neighbours overlap.": 6,
            "The unit itself is missing: start from 1.": 4,
        },
    )
    check.equal(
        receptive_field([(3, 2), (3, 3)]),
        7,
        mistakes={
            "The strides were ignored. After a stride of 2 a step of one unit is a step of two pixels.": 5,
            "The strides were taken from the wrong end: those of the layers below count.": 9,
            "A layer's own stride was counted too. It matters only for the layers above it.": 17,
        },
    )
    check.equal(
        receptive_field([(3, 1), (3, 2)]),
        5,
        mistakes={
            "A layer's own stride was counted too. It matters only for the layers above it.": 7,
            "The strides were taken from the wrong end: those of the layers below count.": 7,
        },
    )
    check.equal(receptive_field([]), 1)


### BEGIN HIDDEN TESTS
def sight_of(layers):
    """The field as autograd sees it: from the first to the last input that moves the middle output of a stack of convolutions with weights 1."""
    x = torch.zeros(1, 1, 400, dtype=torch.float64, requires_grad=True)
    y = x
    for k, s in layers:
        y = F.conv1d(y, torch.ones(1, 1, k, dtype=torch.float64), None, s)
    touched = torch.autograd.grad(y[0, 0, y.shape[2] // 2], x)[0][0, 0].nonzero()[:, 0]
    return int(touched[-1] - touched[0]) + 1


with check("as autograd sees it", points=1):
    for depth in (1, 1, 2, 2, 3, 3, 4, 4, 5):
        layers = [(int(check.rng.integers(1, 6)), int(check.rng.integers(1, 4))) for _ in range(depth)]
        kernels, strides = zip(*layers, strict=True)
        check.equal(
            receptive_field(layers),
            sight_of(layers),
            mistakes={
                "The strides were ignored. After a stride of 2 a step of one unit is a step of two pixels.": 1 + sum(k - 1 for k in kernels),
                "A layer's own stride was counted too. It matters only for the layers above it.": 1
                + sum((k - 1) * math.prod(strides[: i + 1]) for i, k in enumerate(kernels)),
                "The strides were taken from the wrong end: those of the layers below count.": 1
                + sum((k - 1) * math.prod(strides[i + 1 :]) for i, k in enumerate(kernels)),
                "The strides were added. A step grows by a factor with each stride: multiply them.": 1
                + sum((k - 1) * max(1, sum(strides[:i])) for i, k in enumerate(kernels)),
                "Only the stride of the layer just below was used. All of them multiply.": 1
                + sum((k - 1) * (strides[i - 1] if i else 1) for i, k in enumerate(kernels)),
            },
        )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 3.4c · `param_count`** (1 point · difficulty 1 of 5 · about 10 minutes)
#
# Count the parameters of the three kinds of layer. With biases, a *dense* or *local* layer has one for each output unit, a convolutional one for each output
# channel. Any other `kind` is a `ValueError`.
#
# <details><summary>Hint 1: where to start</summary>
#
# How many inputs does one output unit see, and how many units have weights of their own?
#
# </details>
#
# <details><summary>Hint 2: what is shared</summary>
#
# In a convolution the number of places, $H' W'$, does not matter at all.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "param_count", "locked": false, "schema_version": 3, "solution": true, "task": false}
def param_count(
    kind: str,
    inputs: tuple[int, int, int],
    outputs: tuple[int, int, int],
    kernel: tuple[int, int] = (1, 1),
    bias: bool = False,
) -> int:
    """Parameters of a layer between two stacks of images.

    Args:
        kind: ``"dense"``, ``"local"`` (each output unit has its own kernel) or ``"conv"`` (all places of a channel
            share one).
        inputs: (C, H, W).
        outputs: (O, H', W').
        kernel: (kh, kw); without meaning for a dense layer.
        bias: count the biases too.

    Raises:
        ValueError: ``kind`` is none of the three.
    """
    ### BEGIN SOLUTION
    seen = {"dense": math.prod(inputs), "local": inputs[0] * math.prod(kernel), "conv": inputs[0] * math.prod(kernel)}
    if kind not in seen:
        raise ValueError(f"no kind of layer is called {kind!r}")
    units = outputs[0] if kind == "conv" else math.prod(outputs)
    return units * (seen[kind] + bias)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-param_count", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("param_count", points=1)

with check("64 × 64 pixels to 128 units, and a small convolution", points=0.5):
    check.equal(param_count("dense", (1, 64, 64), (128, 1, 1)), 524288, mistakes={"Biases were counted, though bias=False.": 524416})
    check.equal(
        param_count("conv", (3, 32, 32), (8, 30, 30), (3, 3)),
        216,
        mistakes={
            "The input channels were forgotten: each output channel has a kernel for every one of them.": 72,
            "Every place got a kernel of its own. A convolution shares one among all places.": 194400,
            "Biases were counted, though bias=False.": 224,
        },
    )
    check.equal(
        param_count("conv", (3, 32, 32), (8, 30, 30), (3, 3), True),
        224,
        mistakes={
            "Every unit got a bias. A convolution has one for each output channel.": 7416,
            "The biases are missing.": 216,
            "There is one bias for each output channel, not one in all.": 217,
        },
    )

### BEGIN HIDDEN TESTS
with check("the lectures' numbers, and fresh layers", points=0.5):
    for arguments, known in (
        (("dense", (3, 400, 400), (500, 1, 1)), 240_000_000),
        (("dense", (1, 200, 200), (1, 1, 400_000)), 16_000_000_000),
        (("local", (1, 200, 200), (1, 1, 400_000), (10, 10)), 40_000_000),
        (("dense", (1, 32, 32), (1, 32, 32)), 1_048_576),
        (("conv", (1, 32, 32), (1, 30, 30), (3, 3)), 9),
        (("conv", (1, 32, 32), (1, 30, 30), (3, 3), True), 10),
    ):
        check.equal(param_count(*arguments), known)
    for _ in range(6):
        c, h, w, o, kh, kw = (int(check.rng.integers(low, high)) for low, high in ((1, 4), (4, 7), (4, 7), (1, 4), (1, 4), (1, 4)))
        after = (o, h - kh + 1, w - kw + 1)
        for bias in (False, True):
            layer = nn.Conv2d(c, o, (kh, kw), bias=bias, device="meta")
            dense = nn.Linear(c * h * w, math.prod(after), bias=bias, device="meta")
            # A locally connected layer has a weight wherever a convolution's Jacobian has an entry.
            entries = torch.autograd.functional.jacobian(
                lambda x, shape=(o, c, kh, kw): F.conv2d(x, torch.ones(shape)), torch.zeros(1, c, h, w)
            ).count_nonzero()
            for kind, want in (
                ("conv", sum(p.numel() for p in layer.parameters())),
                ("dense", sum(p.numel() for p in dense.parameters())),
                ("local", int(entries) + bias * math.prod(after)),
            ):
                check.equal(
                    param_count(kind, (c, h, w), after, (kh, kw), bias),
                    want,
                    mistakes={
                        "In a local layer each output unit has weights of its own: they are not shared.": o * (c * kh * kw + bias) if kind == "local" else None,
                        "Every unit got a bias. A convolution has one for each output channel.": o * c * kh * kw + bias * math.prod(after)
                        if kind == "conv"
                        else None,
                        "In a dense or local layer every output unit has a bias, not every channel.": want - bias * (math.prod(after) - o)
                        if kind != "conv"
                        else None,
                        "The input channels were forgotten: an output sees all of them.": o * (kh * kw + bias) if kind == "conv" else None,
                    },
                )
    check.raises(ValueError, lambda: param_count("convolution", (1, 4, 4), (1, 4, 4)))
### END HIDDEN TESTS
check.report()

# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-counts", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("out_size", "param_count"):
    show(
        Claim("64 × 64 pixels to 128 units", "524288 (Part II)", param_count("dense", (1, 64, 64), (128, 1, 1)), 524288, 524288),
        Claim("3 × 400 × 400 pixels to 500 units", "240 million (Asano)", param_count("dense", (3, 400, 400), (500, 1, 1)), 24e7, 24e7),
        Claim(
            "200 × 200 pixels to 400 000 units, dense",
            "16 billion (Neural Network Architecture)",
            param_count("dense", (1, 200, 200), (1, 1, 400_000)),
            16e9,
            16e9,
        ),
        Claim("the same, local 10 × 10", "40 million (Neural Network Architecture)", param_count("local", (1, 200, 200), (1, 1, 400_000), (10, 10)), 4e7, 4e7),
        Claim("32 × 32 pixels to 32 × 32, dense", "1,048,576 (CS909)", param_count("dense", (1, 32, 32), (1, 32, 32)), 1048576, 1048576),
        Claim(
            "the same, one 3 × 3 filter with a bias",
            "nine weights (CS909)",
            param_count("conv", (1, 32, 32), (1, 32, 32), (3, 3), True),
            10,
            10,
        ),
        Claim("AlexNet's first layer, units", "253,440 (Asano, quoting the paper): wrong", out_size(227, 11, 4) ** 2 * 96, 290400, 290400),
    )

# %% [markdown]
# All of the lectures' parameter counts are right, as counts of weights: none has biases.
#
# ## 5  Pooling
#
# **Max pooling** slides a window and keeps its largest value: "the pattern was somewhere here". It works on each channel by itself, has no weights, and is
# not linear.
#
# - *Part II* says that 2 × 2 pooling "can halve the image". It halves each *side*: 64 × 64 becomes 32 × 32, a **quarter** of the pixels (erratum E36).
# - Asano says that pooling "produces invariance to translation". Only a little, and only for small shifts, as section 7 measures.
#
# **Adaptive pooling** is told the size of its *output* and chooses the windows: output $i$ of $n'$ covers the inputs from $\lfloor i\,n/n' \rfloor$ up to,
# not including, $\lceil (i+1)\,n/n' \rceil$. If $n'$ does not divide $n$ the windows **overlap**, and may differ in length. A network with such a layer takes
# images of any size. CS909 shows 8 × 8 and 6 × 6, both to 3 × 3.
#
# Asano asks how one would pool over a circle. With a mask that says which pixels of the window count.

# %% nbgrader={"grade": false, "grade_id": "figure-windows", "locked": true, "schema_version": 3, "solution": false, "task": false}
fig, (windows, disc) = plotting.subplots(2, width=9, height=2.9)
row = 0.0
for n, spans in {6: ((0, 2), (2, 4), (4, 6)), 7: ((0, 3), (2, 5), (4, 7)), 8: ((0, 3), (2, 6), (5, 8))}.items():
    for i, (start, stop) in enumerate(spans):
        windows.barh(-row, stop - start, left=start, height=0.7, color=plotting.COLOURS[i], hatch=plotting.HATCHES[i], edgecolor="white")
        row += 1
    windows.text(8.4, -(row - 2), f"{n} → 3", va="center")
    row += 0.6
windows.set(xlim=(0, 10), xticks=range(9), yticks=[], xlabel="input pixels", title="Windows of adaptive pooling")
radius = np.hypot(*np.mgrid[-3:4, -3:4])
disc.imshow(np.where(radius <= 3.2, 0.65, 1), cmap="gray", vmin=0, vmax=1)
disc.set(title="A mask for pooling over a disc", xticks=[], yticks=[])
disc.grid(visible=False)
plotting.show(
    fig,
    alt="Left: the three windows of adaptive pooling to 3 outputs. From 6 inputs they are 0-2, 2-4, 4-6 and do not overlap; from 7 they are 0-3, 2-5, 4-7; from 8 they are 0-3, 2-6, 5-8, "
    f"of different lengths. Right: a 7 by 7 mask whose {int((radius <= 3.2).sum())} shaded pixels form a disc.",
)

# %% [markdown]
# **Exercise 3.5a · `max_pool2d`** (1 point · difficulty 2 of 5 · about 10 minutes)
#
# Write max pooling with square windows of `k` pixels, `s` pixels apart, without padding. A window that would stick out is left out. torch's poolings are off
# limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# `x.unfold(2, k, s)` cuts the rows into windows and puts them on a new last axis. Do it again for the columns.
#
# </details>
#
# <details><summary>Hint 2: the maximum over two axes</summary>
#
# `amax` takes several axes at once.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "max_pool2d", "locked": false, "schema_version": 3, "solution": true, "task": false}
def max_pool2d(x: Tensor, k: int, s: int) -> Tensor:
    """Largest value in each window, channel by channel.

    Args:
        x: shape (N, C, H, W), H and W at least k.
        k: height and width of the window.
        s: pixels from one window to the next; windows overlap if it is less than k.

    Returns:
        Shape (N, C, (H - k) // s + 1, (W - k) // s + 1), dtype of ``x``; differentiable.
    """
    ### BEGIN SOLUTION
    return x.unfold(2, k, s).unfold(3, k, s).amax((-2, -1))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-max_pool2d", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("max_pool2d", points=1)
pool_off_limits = (
    *("torch.nn.functional.max_pool2d", "torch.max_pool2d", "torch.nn.functional.max_pool2d_with_indices", "torch.nn.functional.adaptive_max_pool2d"),
    *("torch.nn.functional.max_pool1d", "torch.nn.functional.max_pool3d", "torch.nn.functional.adaptive_avg_pool2d"),
)

with check("4 × 4, by hand", points=0.4, off_limits=pool_off_limits):
    square = torch.tensor([[[[1.0, 2, 5, 0], [3, 4, 1, 1], [9, 0, 2, 7], [8, 6, 3, 4]]]])
    check.close(
        max_pool2d(square, 2, 2),
        [[[[4.0, 5.0], [9.0, 7.0]]]],
        mistakes={"These are means. Keep the largest value.": [[[[2.5, 1.75], [5.75, 4.0]]]], "These are the smallest values.": [[[[1.0, 0.0], [0.0, 2.0]]]]},
    )
    check.close(
        max_pool2d(square, 3, 1),
        [[[[9.0, 7.0], [9.0, 7.0]]]],
        mistakes={"The stride was ignored: windows are s pixels apart, not k.": [[[[9.0]]]]},
    )


### BEGIN HIDDEN TESTS
def pooled_cases(shapes, sign=None):
    """Inputs and torch's answers, worked out where F.max_pool2d is open."""
    cases = []
    for shape, k, s, dtype in shapes:
        x = torch.randn(*shape[:2], shape[3], shape[2], generator=check.gen, dtype=dtype).mT
        x = x if sign is None else sign * (x.abs() + 0.5)
        wrong = {
            "The stride was ignored: windows are s pixels apart, not k.": F.max_pool2d(x, k, k),
            "These are means. Keep the largest value.": F.avg_pool2d(x, k, s),
            "A window that sticks out was kept. Leave it out.": F.max_pool2d(x, k, s, ceil_mode=True),
            "The maximum runs over the channels too. Each channel is pooled by itself.": F.max_pool2d(x.amax(1, True), k, s).expand(-1, shape[1], -1, -1),
            "A 0 won that is not in the image: the maximum started from 0, or zeros were put around the image. Start from minus infinity, pad nothing.": F.max_pool2d(
                x, k, s
            ).clamp(min=0),
        }
        cases.append((x, k, s, F.max_pool2d(x, k, s), wrong))
    return cases


pooled_fresh = pooled_cases(
    [((2, 3, 6, 9), 2, 2, torch.float32), ((1, 2, 7, 5), 3, 2, torch.float64), ((1, 1, 5, 8), 2, 3, torch.float32), ((2, 1, 4, 4), 4, 1, torch.float64)]
)
pooled_negative = pooled_cases([((1, 2, 6, 5), 2, 2, torch.float32), ((2, 2, 7, 7), 3, 3, torch.float64)], sign=-1)
pooled_leaf = torch.randn(2, 2, 6, 5, generator=check.gen, dtype=torch.float64, requires_grad=True)
pooled_gradient = torch.autograd.grad(F.max_pool2d(pooled_leaf, 2, 1).sum(), pooled_leaf)[0]


def pooling_agrees(cases):
    for x, k, s, want, wrong in cases:
        with check.no_side_effects(x):
            got = max_pool2d(x, k, s)
        check.shape(got, tuple(want.shape), mistakes={message: tuple(value.shape) for message, value in wrong.items() if value.shape != want.shape})
        check.close(got, want, mistakes=wrong)
        check.dtype(got, want.dtype)


with check("agrees with torch, and lets gradients through", points=0.3, off_limits=pool_off_limits):
    pooling_agrees(pooled_fresh)
    y = max_pool2d(pooled_leaf, 2, 1)
    check.law(y.requires_grad, "The result is cut off from its input. Stay with torch operations.")
    check.close(torch.autograd.grad(y.sum(), pooled_leaf)[0], pooled_gradient)

with check("images with negative values only", points=0.3, off_limits=pool_off_limits):
    pooling_agrees(pooled_negative)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 3.5b · `adaptive_avg_pool2d`** (2 points · difficulty 3 of 5 · about 15 minutes)
#
# Write adaptive pooling with the **mean** of each window, for any output size that is not larger than the input. torch's adaptive poolings are off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Write down the windows for 7 → 3, with the formula above, and compare with the picture.
#
# </details>
#
# <details><summary>Hint 2: two axes</summary>
#
# The mean over a rectangle is the mean over its rows of the mean over its columns: do one axis after the other, and `torch.stack` the results.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "adaptive_avg_pool2d", "locked": false, "schema_version": 3, "solution": true, "task": false}
def adaptive_avg_pool2d(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean over windows that are chosen to give an output of a wanted size.

    Args:
        x: shape (N, C, H, W).
        size: (oh, ow), at least 1 and at most (H, W).

    Returns:
        Shape (N, C, oh, ow), dtype of ``x``; differentiable.
        Output i of n' covers floor(i * n / n') up to, not including, ceil((i + 1) * n / n').
    """

    ### BEGIN SOLUTION
    def windows(n: int, m: int) -> list[slice]:
        return [slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]

    rows = torch.stack([x[:, :, window].mean(2) for window in windows(x.shape[2], size[0])], 2)
    return torch.stack([rows[..., window].mean(-1) for window in windows(x.shape[3], size[1])], -1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-adaptive_avg_pool2d", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("adaptive_avg_pool2d", points=2)
adaptive_off_limits = (
    *("torch.nn.functional.adaptive_avg_pool1d", "torch.nn.functional.adaptive_avg_pool2d", "torch.nn.functional.adaptive_avg_pool3d"),
    *("torch.nn.functional.interpolate", "torch.adaptive_avg_pool1d"),
)

with check("5 pixels to 2, and 4 × 4 to 2 × 2", points=1, off_limits=adaptive_off_limits):
    check.close(
        adaptive_avg_pool2d(torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]]), (1, 2)),
        [[[[2.0, 4.0]]]],
        mistakes={
            "The windows do not overlap. Output 0 covers pixels 0 to 2, output 1 covers 2 to 4: round the end up.": [[[[1.5, 3.5]]]],
            "The end was rounded down. Output i goes up to ceil((i + 1) n / n').": [[[[1.5, 4.0]]]],
            "The start was rounded up. Output i begins at floor(i n / n').": [[[[2.0, 4.5]]]],
            "These are the largest values. Take the mean of each window.": [[[[3.0, 5.0]]]],
        },
    )
    check.close(adaptive_avg_pool2d(torch.tensor([[[[1.0, 2, 5, 0], [3, 4, 1, 1], [9, 0, 2, 7], [8, 6, 3, 4]]]]), (2, 2)), [[[[2.5, 1.75], [5.75, 4.0]]]])


### BEGIN HIDDEN TESTS
def adaptive_windows(x, size, start, stop):
    """What other windows would give."""
    edges = [[(start(i, n, m), max(start(i, n, m) + 1, stop(i, n, m))) for i in range(m)] for n, m in zip(x.shape[2:], size, strict=True)]
    return torch.stack([torch.stack([x[:, :, a:b, c:d].mean((2, 3)) for c, d in edges[1]], -1) for a, b in edges[0]], 2)


adaptive_cases = []
for shape, size, dtype in (
    ((1, 2, 8, 8), (3, 3), torch.float32),
    ((2, 1, 6, 6), (3, 3), torch.float64),
    ((1, 3, 7, 5), (3, 3), torch.float32),
    ((2, 2, 5, 7), (2, 4), torch.float64),
    ((1, 1, 9, 4), (1, 1), torch.float32),
    ((1, 2, 4, 6), (4, 5), torch.float64),
):
    x = torch.randn(*shape[:2], shape[3], shape[2], generator=check.gen, dtype=dtype).mT
    adaptive_cases.append((x, size, F.adaptive_avg_pool2d(x, size), F.adaptive_max_pool2d(x, size)))
adaptive_leaf = torch.randn(1, 2, 7, 5, generator=check.gen, dtype=torch.float64, requires_grad=True)
adaptive_pull = torch.randn(1, 2, 3, 2, generator=check.gen, dtype=torch.float64)
adaptive_gradient = torch.autograd.grad(F.adaptive_avg_pool2d(adaptive_leaf, (3, 2)), adaptive_leaf, adaptive_pull)[0]

with check("agrees with torch, and lets gradients through", points=1, off_limits=adaptive_off_limits):
    for x, size, want, largest in adaptive_cases:
        with check.no_side_effects(x):
            got = adaptive_avg_pool2d(x, size)
        check.shape(got, tuple(want.shape), mistakes={"Height and width of the output are swapped: size is (oh, ow).": (*want.shape[:2], *size[::-1])})
        check.close(
            got,
            want,
            mistakes={
                "These are the largest values. Take the mean of each window.": largest,
                "The windows do not overlap, though the size does not divide evenly. Round the start down and the end up.": lambda x=x, size=size: (
                    adaptive_windows(x, size, lambda i, n, m: i * (n // m), lambda i, n, m: (i + 1) * (n // m))
                ),
                "The end was rounded down. Output i goes up to ceil((i + 1) n / n').": lambda x=x, size=size: adaptive_windows(
                    x, size, lambda i, n, m: i * n // m, lambda i, n, m: (i + 1) * n // m
                ),
                "All windows have the same length. They run from floor(i n / n') to ceil((i + 1) n / n').": lambda x=x, size=size: adaptive_windows(
                    x, size, lambda i, n, m: i * (n // m), lambda i, n, m: i * (n // m) + n - (m - 1) * (n // m)
                ),
            },
        )
        check.dtype(got, want.dtype)
    y = adaptive_avg_pool2d(adaptive_leaf, (3, 2))
    check.law(y.requires_grad, "The result is cut off from its input. Stay with torch operations.")
    check.close(torch.autograd.grad(y, adaptive_leaf, adaptive_pull)[0], adaptive_gradient)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 3.5c · `masked_pool`** (1 point · difficulty 3 of 5 · about 10 minutes)
#
# Write max pooling over a window of any shape, stride 1, no padding: only pixels where the mask is `True` count. A mask without any `True` is a `ValueError`.
# torch's poolings are off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# Cut windows as in `max_pool2d`. What must stand in the pixels that do not count, so that they never win?
#
# </details>
#
# <details><summary>Hint 2: not zero</summary>
#
# Zero wins against negative values. `masked_fill(~mask, -math.inf)` never does.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "masked_pool", "locked": false, "schema_version": 3, "solution": true, "task": false}
def masked_pool(x: Tensor, mask: Tensor) -> Tensor:
    """Largest value in each window, among the pixels where a mask is True; stride 1.

    Args:
        x: shape (N, C, H, W), floating point, H and W at least k.
        mask: shape (k, k), bool, with at least one True.

    Returns:
        Shape (N, C, H - k + 1, W - k + 1), dtype of ``x``; differentiable.

    Raises:
        ValueError: the mask has no True.
    """
    ### BEGIN SOLUTION
    if not mask.any():
        raise ValueError("the mask has no True: there is nothing to take the maximum of")
    k = len(mask)
    windows = x.unfold(2, k, 1).unfold(3, k, 1)
    return windows.masked_fill(~mask, -math.inf).amax((-2, -1))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-masked_pool", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("masked_pool", points=1)
masked_off_limits = ("torch.nn.functional.max_pool2d", "torch.max_pool2d", "torch.nn.functional.adaptive_max_pool2d")

with check("a plus and a corner, by hand", points=0.4, off_limits=masked_off_limits):
    square = torch.tensor([[[[9.0, 1.0, 8.0], [2.0, 3.0, 4.0], [7.0, 5.0, 6.0]]]])
    check.close(
        masked_pool(square, torch.tensor([[False, True, False], [True, True, True], [False, True, False]])),
        [[[[5.0]]]],
        mistakes={
            "The mask was ignored, or is the wrong way round: True counts, and the corners do not.": [[[[9.0]]]],
            "These are the smallest values. Keep the largest.": [[[[1.0]]]],
        },
    )
    check.close(
        masked_pool(square, torch.tensor([[True, False], [False, False]])),
        [[[[9.0, 1.0], [2.0, 3.0]]]],
        mistakes={
            "The mask was turned round. Its top left corner belongs to the window's top left corner.": [[[[3.0, 4.0], [5.0, 6.0]]]],
            "The mask was ignored.": [[[[9.0, 8.0], [7.0, 6.0]]]],
        },
    )

### BEGIN HIDDEN TESTS
from scipy import ndimage


def masked_reference(x, mask):
    """SciPy's filter with a footprint, image by image, cut to where the window lies inside."""
    k = len(mask)
    before, after = k // 2, (k - 1) // 2  # SciPy's window starts k // 2 before its pixel
    filtered = np.stack([ndimage.maximum_filter(image, footprint=mask.numpy(), mode="constant", cval=-np.inf) for image in x.detach().flatten(0, 1).numpy()])
    cut = filtered[:, before : x.shape[2] - after, before : x.shape[3] - after]
    return torch.as_tensor(cut).unflatten(0, x.shape[:2])


with check("agrees with SciPy on discs and random masks, negative images too", points=0.6, off_limits=masked_off_limits):
    masks = [torch.as_tensor(np.hypot(*np.mgrid[-r : r + 1, -r : r + 1]) <= r + 0.2) for r in (1, 2)]
    masks += [torch.as_tensor(check.rng.random((k, k)) < 0.4) | torch.eye(k, dtype=torch.bool) for k in (1, 2, 3, 4)]
    for number, mask in enumerate(masks):
        dtype = torch.float64 if number % 2 else torch.float32
        x = torch.randn(1 + number % 2, 2, 8, 6, generator=check.gen, dtype=dtype).mT - 3 * (number % 3)
        want = masked_reference(x, mask)
        with check.no_side_effects(x, mask):
            got = masked_pool(x, mask)
        check.shape(got, tuple(want.shape))
        check.close(
            got,
            want,
            mistakes={
                "Pixels that do not count were set to 0, and 0 wins against negative values. Set them to minus infinity.": lambda want=want: want.clamp(min=0),
                "The mask was turned round. Its top left corner belongs to the window's top left corner.": lambda x=x, mask=mask: masked_reference(
                    x, mask.flip(0, 1)
                ),
                "The mask was ignored.": lambda x=x, mask=mask: masked_reference(x, torch.ones_like(mask)),
                "These are the smallest values. Keep the largest.": lambda x=x, mask=mask: -masked_reference(-x, mask),
            },
        )
        check.dtype(got, dtype)
    check.raises(ValueError, lambda: masked_pool(torch.zeros(1, 1, 4, 4), torch.zeros(2, 2, dtype=torch.bool)))
    leaf = torch.randn(1, 1, 5, 5, generator=check.gen, dtype=torch.float64, requires_grad=True)
    y = masked_pool(leaf, masks[0])
    check.law(y.requires_grad, "The result is cut off from its input. Stay with torch operations.")
    check.close(torch.autograd.grad(y.sum(), leaf)[0].sum(), 9.0)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 6  Let the filter be learned
#
# Where do the nine numbers come from? People chose them for a century. CS909 ("Let's try to learn a 3x3 filter") asks for them from examples instead: given
# an image $I$ and what should come out, $T$, minimise
#
# $$ E(K) = \frac{1}{MN}\sum_{s=0}^{M-1}\sum_{t=0}^{N-1} \big(H_{s,t} - T_{s,t}\big)^2, \qquad H_{s,t} = \sum_{i,j} K_{i,j}\, I_{s+i,\,t+j}. $$
#
# The slide's sum runs over $k, l$ while its terms carry $i, j$: read the same pair in both places (erratum E46). Its program also differs from its formula in
# four ways:
# - it takes the **sum** over all pixels, not the mean. For `camera` that is 510 · 510 = 260 100 times larger, and so is the gradient: a step that suits the
#   mean throws gradient descent out of the window. The slide uses Adam, whose steps do not depend on the scale of the loss, and gets away with it;
# - it sends $H$ through a tanh, which can never reach a target outside $(-1, 1)$;
# - its layer has a **bias**, which takes over whatever part of $T$ is constant;
# - it squares and then takes the absolute value, which does nothing.
#
# $E$ is quadratic in $K$: this is linear regression with nine unknowns, each pixel's neighbourhood being one row of data. So there is exactly one best filter
# (unless the image is degenerate), and you can check a learned one against it.

# %% [markdown]
# **Exercise 3.6a · `learn_filter`** (3 points · difficulty 3 of 5 · about 25 minutes)
#
# Find the filter that minimises $E$, without bias and without tanh, and record the loss on the way. Any method: gradient descent, Adam, L-BFGS, least
# squares. From here on `F.conv2d` is yours to use. `T` is smaller than `I`, as a valid correlation leaves it: nothing has to be cropped or padded.
#
# <details><summary>Hint 1: where to start</summary>
#
# Make `K` a tensor of zeros that requires gradients. `F.conv2d` wants (1, 1, H, W) and (1, 1, k, k): `I[None, None]` adds two axes.
#
# </details>
#
# <details><summary>Hint 2: numbers that work</summary>
#
# `torch.optim.Adam([K], lr=0.05)`, with `F.mse_loss`. If the loss grows, the step is too long; is it a sum over pixels? Return `K.detach()`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "learn_filter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learn_filter(I: Tensor, T: Tensor, k: int = 3, steps: int = 300) -> tuple[Tensor, list[float]]:  # noqa: E741
    """The k by k filter whose valid correlation with an image comes closest to a target, in mean squared error.

    Args:
        I: image, shape (H, W).
        T: target, shape (H - k + 1, W - k + 1), same dtype and device.
        k: height and width of the filter.
        steps: how many steps an iterative method may take.

    Returns:
        ``(K, losses)``: the filter, shape (k, k), dtype of ``I``; and mean squared errors on the way, at least one,
        the last that of the end.
    """
    ### BEGIN SOLUTION
    K = torch.zeros(k, k, dtype=I.dtype, device=I.device, requires_grad=True)
    optimizer = torch.optim.Adam([K], lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(F.conv2d(I[None, None], K[None, None])[0, 0], T)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return K.detach(), losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-learn_filter", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("learn_filter", points=3)
### BEGIN HIDDEN TESTS
check.use(conv2d=lambda x, w, b=None, stride=1, pad=0: F.conv2d(x, w, b, stride, pad))
### END HIDDEN TESTS

with check("a quarter of the Laplacian, from noise", points=1, seconds=30):
    image = torch.randn(16, 20, generator=check.gen)
    laplacian = torch.tensor([[0.0, 0.25, 0.0], [0.25, -1.0, 0.25], [0.0, 0.25, 0.0]])
    K, losses = learn_filter(image, F.conv2d(image[None, None], laplacian[None, None])[0, 0])
    check.shape(K, (3, 3))
    check.finite(K)
    check.close(
        K,
        [[0.0, 0.25, 0.0], [0.25, -1.0, 0.25], [0.0, 0.25, 0.0]],
        rtol=0,
        atol=0.02,
        mistakes={"The filter is still zero: it was not updated.": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]},
    )
    check.law(len(losses) >= 1 and losses[-1] <= losses[0], "the losses go down from the first to the last")


### BEGIN HIDDEN TESTS
def best_filter(patches, target, k):
    """Least squares on the neighbourhoods."""
    return torch.linalg.lstsq(patches, target[:, None]).solution.reshape(-1)[: k * k].reshape(k, k)


learned = {}
with check("agrees with least squares: 1 × 1, 3 × 3 and 5 × 5, noisy targets with an offset", points=1.5, seconds=45):
    for k, height, width, dtype in ((3, 20, 15, torch.float64), (1, 12, 17, torch.float32), (5, 24, 26, torch.float32)):
        image = 0.3 + torch.randn(width, height, generator=check.gen, dtype=dtype).mT
        kernel = torch.randn(k, k, generator=check.gen, dtype=dtype)
        clean = F.conv2d(image[None, None], kernel[None, None])[0, 0]
        target = clean + 0.5 + 0.1 * torch.randn(clean.shape, generator=check.gen, dtype=dtype)
        with check.no_side_effects(image, target), torch.random.fork_rng():  # nn.Conv2d draws its weights when it is made
            K, losses = learn_filter(image, target, k)
        learned[k] = image, target, losses
        check.shape(K, (k, k))
        check.finite(K)
        check.dtype(K, dtype)
        patches = F.unfold(image[None, None], k)[0].T
        best = best_filter(patches, target.flatten(), k)

        def near(other, K=K):
            return bool((torch.as_tensor(K).detach() - other).abs().max() <= 0.02)

        def misaligned(down, image=image, target=target, k=k):
            inner = image[:-1, :-1] if down else image[1:, 1:]
            return best_filter(F.unfold(inner[None, None], k)[0].T, (target[1:, 1:] if down else target[:-1, :-1]).flatten(), k)

        check.law(
            near(best),
            f"{k} × {k}: expected within 0.02 of the least-squares filter, got {float((torch.as_tensor(K).detach() - best).abs().max()):.3g} away",
            mistakes={
                "The filter is turned round. K[0, 0] multiplies the top left pixel of a neighbourhood.": lambda best=best: near(best.flip(0, 1)),
                "A free bias took over the constant part of the target. The filter has no bias.": lambda patches=patches, target=target, k=k: near(
                    best_filter(torch.cat([patches, torch.ones(len(patches), 1, dtype=patches.dtype)], 1), target.flatten(), k)
                ),
                "Image and target are a pixel out of step. T[0, 0] belongs to the neighbourhood that starts at I[0, 0]: crop and pad nothing.": lambda misaligned=misaligned: (
                    near(misaligned(True)) or near(misaligned(False))
                ),
                "The filter is transposed.": lambda best=best: near(best.T),
                "It has not arrived yet. Take longer steps, or a method that adapts them.": losses[-1]
                > 1.5 * float((patches @ best.flatten() - target.flatten()).square().mean()),
            },
        )

with check("the losses are mean squared errors, and fall to the least there is", points=0.5, seconds=15):
    for k, (image, target, losses) in learned.items():
        patches = F.unfold(image[None, None], k)[0].T
        least = float((patches @ best_filter(patches, target.flatten(), k).flatten() - target.flatten()).square().mean())
        check.finite([float(loss) for loss in losses])
        check.law(len(losses) == 1 or losses[0] > losses[-1], "the first loss is larger than the last")
        check.law(
            abs(losses[-1] - least) <= 0.05 * least + 1e-6,
            f"the last loss: expected {least:.4g}, the least mean squared error, got {float(losses[-1]):.4g}",
            mistakes={
                "These are sums over the pixels. Divide by their number: the mean does not depend on the size of the image.": abs(
                    losses[-1] / target.numel() - least
                )
                <= 0.05 * least,
                "These are roots. Record the mean squared error itself.": abs(losses[-1] ** 2 - least) <= 0.05 * least,
            },
        )
    check.law(bool(learned), "no filter was learned in the check above")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### A small loss, and the wrong filter
#
# On noise every neighbourhood is different, and nine weights are easily told apart. In a photograph neighbours are nearly equal: $K$ may move weight from one
# pixel to the next and hardly change $H$. The Hessian of $E$ then has some large and some tiny eigenvalues, and gradient descent, whose step must suit the
# largest, barely moves along the others: after $t$ steps of the usual length the error along a direction with eigenvalue $\lambda$ is still
# $(1 - \lambda/\lambda_{\max})^t$ of what it was.
#
# The next cell asks for one of the simplest filters, **shift the image by one pixel**: a single 1 beside the middle. It minimises $E$ by gradient descent,
# Adam and L-BFGS, on noise and on five crops of `camera`.

# %% nbgrader={"grade": false, "grade_id": "experiment-recovery", "locked": true, "schema_version": 3, "solution": false, "task": false}
SHIFT = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.float64)


def recover(image: Tensor, steps: int = 1000) -> tuple[float, dict[str, tuple[list[float], list[float], Tensor]]]:
    """Regress SHIFT from neighbourhoods of one image: the condition number, and method -> (filter errors, relative losses, last filter), one number a step."""
    rows = F.unfold(image[None, None], 3)[0].T
    target = rows @ SHIFT.flatten()
    gram, moment, power = rows.T @ rows / len(rows), rows.T @ target / len(rows), target.square().mean()
    eigenvalues = torch.linalg.eigvalsh(gram)
    found = {}
    for method in ("gradient descent", "Adam", "L-BFGS"):
        weights = torch.zeros(9, dtype=torch.float64)
        optimizer = {
            "gradient descent": lambda w: torch.optim.SGD(w, lr=0.5 / float(eigenvalues[-1])),
            "Adam": lambda w: torch.optim.Adam(w, lr=0.01),
            "L-BFGS": lambda w: torch.optim.LBFGS(w, max_iter=1, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0),
        }[method]([weights])

        def energy(weights: Tensor = weights) -> Tensor:
            weights.grad = 2 * (gram @ weights - moment)
            return weights @ gram @ weights - 2 * moment @ weights + power

        errors, losses = [], []
        for _ in range(60 if method == "L-BFGS" else steps):
            losses.append(float(optimizer.step(energy) / target.var()))
            errors.append(float((weights - SHIFT.flatten()).abs().max()))
        found[method] = errors, losses, weights.reshape(3, 3)
    return float(eigenvalues[-1] / eigenvalues[0]), found


def recovery_experiment(seed: int, crops: int = 5) -> dict:
    """Recover SHIFT from one image of noise and from ``crops`` random crops of camera, all 128 × 128."""
    rng = np.random.default_rng(seed)
    images = [torch.as_tensor(rng.random((128, 128)))]
    for row, column in rng.integers(0, 512 - 128, size=(crops, 2)):
        images.append(camera[row : row + 128, column : column + 128].double())
    noise, *photos = [recover(image) for image in training.progress(images, desc="images")]
    return {"noise": noise, "photos": photos}


def recovery_numbers(found: dict) -> dict[str, float]:
    """The end of each run; for photographs the median over the crops, also of what the filter learned there does on noise."""
    noise = torch.as_tensor(np.random.default_rng(0).random((1, 1, 128, 128)))
    numbers = {"condition noise": found["noise"][0], "condition photo": float(np.median([condition for condition, _ in found["photos"]]))}
    for method in found["noise"][1]:
        numbers[f"{method}, noise"] = found["noise"][1][method][0][-1]
        numbers[f"{method}, photo"] = float(np.median([runs[method][0][-1] for _, runs in found["photos"]]))
        wrong = [F.conv2d(noise, (runs[method][2] - SHIFT)[None, None]) for _, runs in found["photos"]]
        numbers[f"{method}, photo, loss on noise"] = float(np.median([error.square().mean() / noise.var() for error in wrong]))
        numbers[f"{method}, photo, loss"] = float(np.median([runs[method][1][-1] for _, runs in found["photos"]]))
    return numbers


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-recovery-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
recovery = recovery_experiment(seed=0)
numbers = recovery_numbers(recovery)
chosen = int(np.argsort([runs["gradient descent"][0][-1] for _, runs in recovery["photos"]])[2])  # the crop nearest the median
(_, on_noise), (_, on_photo) = recovery["noise"], recovery["photos"][chosen]
fig, axes = plotting.subplots(2, width=11, height=3.6)
for ax, part, title in ((axes[0], 1, "loss, as a share of the target's variance"), (axes[1], 0, "largest error of a weight")):
    lines = {f"{method}, photograph": np.maximum(on_photo[method][part], 1e-12) for method in on_photo} | {
        "gradient descent, noise": np.maximum(on_noise["gradient descent"][part], 1e-12)
    }
    plotting.curves(ax, lines, xlabel="step", log=True)
    ax.set(title=title, xscale="log", ylim=(1e-9, 10))
axes[0].get_legend().remove()  # the other panel has the same
plotting.show(
    fig,
    alt=f"Loss (left) and largest error of a weight (right) against the step, both axes logarithmic. On noise gradient descent makes both tiny. On the photograph its loss falls to "
    f"{on_photo['gradient descent'][1][-1]:.2g} of the variance while the error stays at {on_photo['gradient descent'][0][-1]:.2g}; Adam ends at {on_photo['Adam'][0][-1]:.2g}; "
    f"L-BFGS reaches {on_photo['L-BFGS'][0][-1]:.2g} in 60 steps.",
)
fig, axes = plotting.subplots(4, width=11, height=3.2)
for ax, (title, kernel) in zip(
    axes,
    {
        "the filter to find": SHIFT,
        "gradient descent, noise": on_noise["gradient descent"][2],
        "gradient descent, photo": on_photo["gradient descent"][2],
        "L-BFGS, photo": on_photo["L-BFGS"][2],
    }.items(),
    strict=True,
):
    plotting.heatmap(ax, kernel.round(decimals=2) + 0.0, fmt="{:.2f}")  # + 0.0 turns -0 into 0
    ax.set(title=title, xticks=[], yticks=[], aspect="equal")
blur = on_photo["gradient descent"][2]
plotting.show(
    fig,
    alt="Four 3 by 3 filters. The one to find has a single 1, right of the middle. Gradient descent on noise and L-BFGS on the photograph find it. Gradient descent on the photograph finds a blur: "
    f"{blur[1, 2]:.2f} right of the middle, {blur[1, 1]:.2f} in the middle, {blur[0, 2]:.2f} above and {blur[2, 2]:.2f} below it.",
)
show(
    Claim("condition number of the Hessian, noise", "not in the lecture", numbers["condition noise"], at_most=60),
    Claim("condition number, camera, median of 5 crops", "not in the lecture", numbers["condition photo"], at_least=500),
    Claim("largest error of a weight, gradient descent, noise", "a filter can be learned (CS909)", numbers["gradient descent, noise"], at_most=1e-3),
    Claim("the same on camera", "a filter can be learned (CS909)", numbers["gradient descent, photo"], at_least=0.2),
    Claim("… though its loss is this share of the variance", "E is minimised (CS909)", numbers["gradient descent, photo, loss"], at_most=0.05),
    Claim("the same filter's loss on noise, share of the variance", "not in the lecture", numbers["gradient descent, photo, loss on noise"], at_least=0.05),
    Claim("largest error, Adam at 0.01, camera", "1000 steps of Adam at 0.01 (CS909)", numbers["Adam, photo"], at_least=0.2),
    Claim("largest error, 60 steps of L-BFGS, camera", "not in the lecture", numbers["L-BFGS, photo"], at_most=1e-2),
)

# %% [markdown]
# The loss looks fine and the filter is wrong: a blur instead of a shift. On photographs it makes no odds; on noise, where neighbours differ, its loss is a
# hundred times larger. Least squares and L-BFGS, which learn the curvature, find the filter from the very same data. So a small loss says that the *output*
# is right on *data like these*; what the weights mean has to be checked by itself.

# %% [markdown]
# ### A detector for plus signs
#
# CS909's other example: the target is no filtered image but a mark at the centre of each **+**, and the learned filter becomes a detector. Here are scenes
# with plus signs, crosses, bars and *small* plus signs in noise; only the large ones are wanted. One convolution with a bias gives a logit a pixel; the loss
# is the cross-entropy. It is trained on eight scenes and judged on eight new ones by $F_1 = 2\,\text{hits} / (\text{marked by us} + \text{true})$.

# %% nbgrader={"grade": false, "grade_id": "experiment-plus", "locked": true, "schema_version": 3, "solution": false, "task": false}
MARKS = {
    "plus": np.maximum(np.eye(5)[2][:, None], np.eye(5)[2]),
    "cross": np.maximum(np.eye(5), np.eye(5)[::-1]),
    "bar": np.outer(np.eye(5)[2], np.ones(5)),
    "upright bar": np.outer(np.ones(5), np.eye(5)[2]),
    "small plus": np.pad(np.maximum(np.eye(3)[1][:, None], np.eye(3)[1]), 1),
}


def scenes(count: int, rng: np.random.Generator, cells: int = 6, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 8 cells, 8 cells) with one mark in each 8 × 8 cell, in noise; and where the centres of plus signs are, 1 or 0."""
    images = rng.normal(0, noise, (count, 1, 8 * cells, 8 * cells))
    centres = np.zeros_like(images)
    for image, centre in zip(images[:, 0], centres[:, 0], strict=True):
        for row, column in np.ndindex(cells, cells):
            kind = rng.choice(list(MARKS))
            top, left = 8 * row + rng.integers(0, 4), 8 * column + rng.integers(0, 4)
            image[top : top + 5, left : left + 5] += MARKS[kind]
            centre[top + 2, left + 2] = kind == "plus"
    return torch.tensor(images, dtype=torch.float32), torch.tensor(centres, dtype=torch.float32)


def f1(found: Tensor, true: Tensor) -> float:
    """F1 of the pixels marked, both bool."""
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def best_f1(score: Tensor, true: Tensor) -> float:
    """F1 at the best of all thresholds."""
    return max(f1(score >= threshold, true) for threshold in score[true].unique())


def plus_experiment(seed: int) -> dict[str, tuple[float, Tensor]]:
    """Learn a 3 × 3 and a 5 × 5 detector; name -> (F1 on eight new scenes, filter). Also the plus itself as a filter. 5 × 5 is judged at logit 0."""
    rng = np.random.default_rng(seed)
    (x, y), (x_new, y_new) = scenes(8, rng), scenes(8, rng)
    found = {}
    for k in (3, 5):
        training.seed_everything(seed)
        layer = nn.Conv2d(1, 1, k, padding=k // 2)
        training.fit(layer, F.binary_cross_entropy_with_logits, x, y, epochs=500, optimizer=lambda p: torch.optim.Adam(p, lr=0.1), device="cpu")
        with torch.no_grad():
            logits = layer(x_new)
        found[f"{k} × {k}"] = f1(logits > 0, y_new > 0) if k == 5 else best_f1(logits, y_new > 0), layer.weight.detach()[0, 0]
    template = torch.tensor(MARKS["plus"], dtype=torch.float32)
    found["template"] = best_f1(F.conv2d(x_new, template[None, None], padding=2), y_new > 0), template
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-plus-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
plus = plus_experiment(seed=0)
example, truth = scenes(1, np.random.default_rng(7))
fig, axes = plotting.subplots(4, width=11, height=3.4)
axes[0].imshow(example[0, 0], cmap="gray")
axes[0].scatter(*np.nonzero(truth[0, 0].numpy().T), marker="o", s=60, facecolor="none", edgecolor=plotting.COLOURS[1], linewidth=2)
axes[0].set_title("a scene, plus signs circled", fontsize=11)
for ax, name in zip(axes[1:], plus, strict=True):
    score, kernel = plus[name]
    plotting.heatmap(ax, kernel, fmt="{:.1f}")
    ax.set_title(f"{name}: F1 = {score:.2f}", fontsize=11)
for ax in axes:
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.grid(visible=False)
plotting.show(
    fig,
    alt=f"Left: a scene of 36 marks in noise, its {int(truth.sum())} plus signs circled. Then three filters. The learned 3 by 3 filter has F1 {plus['3 × 3'][0]:.2f} on new scenes; the learned 5 by 5 filter, "
    f"positive on the four arms, negative beside them and at the centre, has {plus['5 × 5'][0]:.2f}; the plus itself, used as a template, {plus['template'][0]:.2f}.",
)
show(
    Claim("F1 of the learned 5 × 5 detector, new scenes, at logit 0", "the filter acts as a + detector (CS909)", plus["5 × 5"][0], at_least=0.95),
    Claim("F1 of the learned 3 × 3 detector, at its best threshold", "a 3 × 3 filter (CS909)", plus["3 × 3"][0], at_most=0.8),
    Claim("F1 of the plus itself as the filter, at its best threshold", "correlation finds a known shape (CS909)", plus["template"][0]),
)

# %% [markdown]
# It learns, and where to look follows from what has to be told apart: arms count for, the corners between them against. One weight a person might not have
# chosen: the centre is **negative**. All marks are bright there, so brightness at the centre is no sign of a plus, and taking it off keeps crosses and bars
# down. And the size of the filter decides. At their centres a large and a small plus look the same through a window of 3 × 3 pixels, so no weights, however
# trained, can tell them apart: marking both gives $F_1 = \tfrac23$ at best, if both are equally frequent. A receptive field must be as large as the
# difference that it is to see.
#
# ## 7  Equivariant, not invariant
#
# Let $S$ shift an image. A map $f$ is **equivariant** if shifting the input shifts the output, $f(Sx) = S f(x)$, and **invariant** if it does not matter at
# all, $f(Sx) = f(x)$. Convolution is the first: the pattern's response moves along with the pattern. CS909 ("Convolutional Networks") says that such networks
# are "invariant wrt translation", which is the second, and wrong (erratum E36). *Part II* ("Translation equivariance") and Asano have it right.
#
# Even equivariance has its conditions. At the border a shifted image loses pixels and meets padding; here images are shifted **circularly**, so that what
# leaves on one side comes back on the other. And a stride of 2 looks at every second pixel only: shift by one, and it sees the *other* half.

# %% [markdown]
# **Exercise 3.6b · `equivariance_gap`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Measure how far a map is from equivariance: the largest absolute difference between *shift, then map* and *map, then shift*. Shift circularly, by
# `torch.roll`. If the output is smaller than the input, its shift is smaller in proportion: along an axis where $n$ pixels became $n'$, a shift by $s$
# becomes $\lfloor s\,n'/n \rfloor$.
#
# <details><summary>Hint 1: where to start</summary>
#
# Two calls of `f`, two calls of `torch.roll`. Draw the two ways round the square, from $x$ to the far corner.
#
# </details>
#
# <details><summary>Hint 2: which axes</summary>
#
# `torch.roll(x, shifts=(down, right), dims=(2, 3))`. Height and width may shrink by different factors.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "equivariance_gap", "locked": false, "schema_version": 3, "solution": true, "task": false}
def equivariance_gap(f: Callable[[Tensor], Tensor], x: Tensor, shift: tuple[int, int]) -> float:
    """How much a map fails to be equivariant to one circular shift.

    Args:
        f: maps (N, C, H, W) to (N, C', H', W').
        x: images, shape (N, C, H, W).
        shift: pixels (down, right).

    Returns:
        The largest absolute difference between ``f`` of the shifted images and the shifted output of ``f``,
        whose shift is floor(shift * H' / H) down and floor(shift * W' / W) to the right; 0 for an equivariant map.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        y = f(x)
        moved_first = f(torch.roll(x, shift, (2, 3)))
        steps = [pixels * after // before for pixels, after, before in zip(shift, y.shape[2:], x.shape[2:], strict=True)]
        return float((moved_first - torch.roll(y, steps, (2, 3))).abs().max())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-equivariance_gap", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("equivariance_gap", points=2)

with check("doubling, and a map that knows where it is", points=1):
    two_rows = torch.tensor([[[[5.0, 1.0, 2.0, 4.0], [0.0, 7.0, 3.0, 6.0]]]])
    check.close(
        equivariance_gap(lambda x: 2 * x, two_rows, (0, 1)),
        0.0,
        mistakes={
            "The output was not shifted, so this measures invariance. Shift it too.": 14.0,
            "The output was shifted the other way.": 6.0,
            "Down and right are swapped in the output's shift: it is (down, right), for axes 2 and 3.": 10.0,
        },
    )
    check.close(
        equivariance_gap(lambda x: x * torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.ones(1, 1, 1, 4), (0, 1)),
        3.0,
        mistakes={
            "The sign was kept. Take the largest absolute difference.": 1.0,
            "The differences were averaged. Take the largest.": 1.5,
            "The output was not shifted, so this measures invariance. Shift it too.": 0.0,
        },
    )

### BEGIN HIDDEN TESTS
gap_kernel = torch.randn(3, 2, 3, 3, generator=check.gen)


def circular(x, stride=1):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), gap_kernel, stride=stride)


with check("0 for what is equivariant, more for what is not, whatever shrinks", points=0.5):
    x = torch.randn(2, 2, 8, 12, generator=check.gen)
    for f, shift, what, mistakes in (
        (
            circular,
            (1, 0),
            "a circular convolution",
            {"Down and right are swapped, or other axes were rolled: shift is (down, right), for axes 2 and 3.": True},
        ),
        (
            circular,
            (3, 5),
            "a circular convolution",
            {"Down and right are swapped, or other axes were rolled: shift is (down, right), for axes 2 and 3.": True},
        ),
        (circular, (-2, 1), "a circular convolution", {"A shift to the left or up was not made.": True}),
        (lambda x: circular(x, 2), (2, 4), "stride 2, shifted by even numbers", {"The output has half the pixels: it moves half as far.": True}),
        (
            lambda x: F.max_pool2d(x, (2, 4)),
            (2, 4),
            "2 × 4 pooling, shifted by its window",
            {"The output shrank by 2 down and by 4 across: each axis has its own factor.": True},
        ),
        (lambda x: x.amax((2, 3), keepdim=True), (3, 1), "global pooling", {"The output is one pixel: wherever it is rolled, it stays.": True}),
    ):
        with check.no_side_effects(x):
            gap = equivariance_gap(f, x, shift)
        check.at_most(gap, 1e-4, f"{what}, shift {shift}: the gap", mistakes=mistakes)
    for f, shift, what in (
        (lambda x: circular(x, 2), (1, 0), "stride 2, shifted by one pixel"),
        (lambda x: F.conv2d(x, gap_kernel, padding=1), (0, 2), "zero padding"),
        (lambda x: F.max_pool2d(x, 2), (0, 1), "2 × 2 pooling, shifted by one pixel"),
    ):
        check.at_least(equivariance_gap(f, x, shift), 1e-3, f"{what}: the gap")

with check("its size, for maps that weigh each place", points=0.5):
    for height, width, shift in ((3, 5, (1, 2)), (4, 4, (2, 1)), (1, 6, (0, -2)), (6, 2, (5, 1))):
        x, place = check.rng.normal(size=(2, 1, height, width)), check.rng.normal(size=(height, width))
        moved = np.roll(x, shift, (2, 3))
        difference = moved * (place - np.roll(place, shift, (0, 1)))
        got = equivariance_gap(lambda x, place=place: x * torch.as_tensor(place), torch.as_tensor(x), shift)
        check.close(
            got,
            np.abs(difference).max(),
            mistakes={
                "The sign was kept. Take the largest absolute difference.": difference.max(),
                "The differences were averaged. Take the largest.": np.abs(difference).mean(),
                "The output was not shifted, so this measures invariance. Shift it too.": np.abs(moved * place - x * place).max(),
                "The squares were averaged. Take the largest absolute difference.": np.sqrt((difference**2).mean()),
            },
        )
### END HIDDEN TESTS
check.report()


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-gaps", "locked": true, "schema_version": 3, "solution": false, "task": false}
def gap_maps(seed: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Four maps with the same eight random 3 × 3 filters."""
    kernels = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(seed)) / 3

    def convolve(x: Tensor, stride: int = 1) -> Tensor:
        return F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), kernels, stride=stride))

    return {
        "convolution, ReLU": convolve,
        "convolution with stride 2": lambda x: convolve(x, 2),
        "convolution, 2 × 2 max pooling": lambda x: F.max_pool2d(convolve(x), 2),
        "convolution, global max pooling": lambda x: convolve(x).amax((2, 3), keepdim=True),
    }


with checks.uses("equivariance_gap"):
    crop = camera[None, None, 128:192, 200:264]
    gaps = {name: [equivariance_gap(f, crop, (0, right)) / float(f(crop).max()) for right in range(9)] for name, f in gap_maps(0).items()}
    convolve = gap_maps(0)["convolution, ReLU"]
    change = float((convolve(torch.roll(crop, (0, 1), (2, 3))) - convolve(crop)).abs().max() / convolve(crop).max())
    fig, ax = plotting.subplots(width=8, height=3.4)
    for i, (name, values) in enumerate(gaps.items()):
        ax.plot(range(9), values, label=name, color=plotting.COLOURS[i], linestyle=plotting.LINES[i], marker=plotting.MARKERS[i], markersize=9 - 1.5 * i)
    ax.set(xlabel="shift in pixels", ylabel="gap, as a share of the\nlargest response", xticks=range(9))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    plotting.show(
        fig,
        alt="Equivariance gap against a shift of 0 to 8 pixels. "
        + " ".join(f"{name}: {values[1]:.2g} at 1 pixel, {values[2]:.2g} at 2, {values[3]:.2g} at 3." for name, values in gaps.items())
        + " Stride and pooling zigzag: zero at even shifts, large at odd ones.",
    )
    show(
        Claim("gap of a convolution, largest of 8 shifts", "f(Tx) = T f(x) (Part II)", max(gaps["convolution, ReLU"]), at_most=1e-5),
        Claim("change of its output itself, shift 1", "invariant to translation (CS909): no", change, at_least=0.1),
        Claim("gap with 2 × 2 pooling, shift 1", "pooling makes it invariant (Asano)", gaps["convolution, 2 × 2 max pooling"][1], at_least=0.1),
        Claim("gap with 2 × 2 pooling, shift 2", "not in the lecture", gaps["convolution, 2 × 2 max pooling"][2], at_most=1e-5),
        Claim("gap with global pooling, any shift", "not in the lecture", max(gaps["convolution, global max pooling"]), at_most=1e-5),
    )

# %% [markdown]
# ## 8  A network of filters
#
# LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998) read digits on cheques. Its plan has lasted: *convolve, bend, pool*, twice, with more channels each time
# the image shrinks; then *flatten* and finish with fully connected layers. It was not the first network trained by backpropagation, as Asano's slide could be
# read, and not even LeCun's first convolutional one (1989). *Neural Network Architecture* calls such networks "just regular fully connected networks with
# some connections removed": true, and half the story. The other half is that the remaining weights are **tied**.
#
# | part | for 8 × 8 digits | output | parameters |
# |---|---|---|---|
# | features | 3 × 3 convolution to 16 channels, one zero around; ReLU; 2 × 2 max pooling | 16 × 4 × 4 | 160 |
# | | 3 × 3 convolution to 32 channels, one zero around; ReLU; 2 × 2 max pooling | 32 × 2 × 2 | 4640 |
# | head | flatten; 128 → 64; ReLU; 64 → 10 | 10 logits | 8906 |

# %% [markdown]
# **Exercise 3.7 · `train_lenet`** (5 points · difficulty 3 of 5 · about 30 minutes)
#
# Build such a network and train it on the digits that are passed in. Take your own `conv2d` and `max_pool2d`, or torch's `nn.Conv2d` and `nn.MaxPool2d`.
# Kernel sizes, channels, optimiser and epochs are yours, if
# - `model.features` does the convolving and pooling: it takes images of *any* size (N, 1, H, W), with H and W divisible by 4, to (N, channels, H / 4, W / 4);
# - `model.head` does the rest: `model(x)` is `model.head(model.features(x))`, logits of shape (N, 10);
# - it has at most 50 000 parameters, gets 95 % of unseen digits right on average, and takes less than 20 seconds;
# - the same `seed` gives the same network.
#
# `training.fit` is a finished training loop; you may use it or write your own.
#
# <details><summary>Hint 1: where to start</summary>
#
# Two `nn.Sequential`, and one around them that names its parts: `nn.Sequential(OrderedDict(features=..., head=...))`, with
# `from collections import OrderedDict`. Or a class with `forward`.
#
# </details>
#
# <details><summary>Hint 2: numbers that work</summary>
#
# The table above; `F.cross_entropy` on the logits, no softmax; Adam with a learning rate of 0.003, batches of 64, 15 epochs:
# `training.fit(model, F.cross_entropy, x, y, epochs=..., batch_size=..., optimizer=..., seed=seed, device=x.device)`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "train_lenet", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_lenet(x: Tensor, y: Tensor, seed: int) -> nn.Module:
    """Train a small LeNet on images of digits.

    Args:
        x: images, shape (N, 1, 8, 8), float32, from 0 to 1.
        y: labels 0 to 9, shape (N,), int64.
        seed: where everything random comes from. The global generators may be seeded with it.

    Returns:
        The trained network, on the device of ``x``, ready to be used (any dropout switched off).
        It has the parts ``features`` and ``head``.
    """
    ### BEGIN SOLUTION
    from collections import OrderedDict

    torch.manual_seed(seed)
    features = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    )
    head = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    model = nn.Sequential(OrderedDict(features=features, head=head))
    training.fit(
        *(model, F.cross_entropy, x, y),
        epochs=15,
        batch_size=64,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.003),
        seed=seed,
        progress=False,
        device=x.device,
    )
    return model.eval()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-train_lenet", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("train_lenet", points=5)
### BEGIN HIDDEN TESTS
check.use(
    conv2d=lambda x, w, b=None, stride=1, pad=0: F.conv2d(x, w, b, stride, pad),
    max_pool2d=lambda x, k, s: F.max_pool2d(x, k, s),
)
### END HIDDEN TESTS

with check("the parts and their shapes", points=1, seconds=30):
    with torch.random.fork_rng():
        model = train_lenet(digits.x_train[:120], digits.y_train[:120], 0)
    logits = model(digits.x_test[:7]).detach()
    check.shape(logits, (7, 10))
    check.finite(logits)
    features = model.features(torch.zeros(2, 1, 24, 16)).detach()
    check.equal(
        [features.shape[0], features.shape[2], features.shape[3]],
        [2, 6, 4],
        mistakes={
            "The image shrinks by 2 only: pool twice.": [2, 12, 8],
            "The image does not shrink: pool twice.": [2, 24, 16],
            "The image shrinks by the convolutions too. Give them padding.": [2, 4, 2],
        },
    )
    check.at_most(sum(p.numel() for p in model.parameters()), 50000, "parameters")

### BEGIN HIDDEN TESTS
lenets = {}
with check("at least 95 % of unseen digits, mean of two splits", points=2, seconds=60):
    accuracies = []
    # The second time the names of the digits are dealt anew: what is learned must come from the labels that are passed in.
    for seed, names in zip(check.seeds(2), (torch.arange(10), torch.as_tensor(check.rng.permutation(10))), strict=True):
        split = data.load("digits", flat=False, seed=seed).torch()
        x, y = split.x_train.clone(), names[split.y_train]
        with torch.random.fork_rng():
            lenets[seed] = train_lenet(x, y, seed).eval()
        check.law(torch.equal(x, split.x_train) and torch.equal(y, names[split.y_train]), "x or y was changed in place. Work on a copy.")
        logits = lenets[seed](split.x_test).detach()
        check.shape(logits, (450, 10))
        accuracies.append(float((logits.argmax(1) == names[split.y_test]).float().mean()))
    check.at_least(
        np.mean(accuracies),
        0.95,
        f"accuracy on 450 unseen digits ({accuracies[0]:.3f} and {accuracies[1]:.3f})",
        mistakes={
            "It says the same for every image. Weights that start equal stay equal; or the learning rate is far too high.": len(logits.argmax(1).unique()) == 1,
            "It is right about the true labels, not about those passed in as y. Train on x and y.": accuracies[0] > 0.8 and accuracies[1] < 0.5,
            "It is no better than guessing: was it trained?": np.mean(accuracies) < 0.25,
            "The ten outputs are probabilities: there is a softmax at the end, and F.cross_entropy applies another. Return logits.": bool(
                (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(450), atol=1e-3)
            ),
            "It learns, but too little. Train longer, or with a higher learning rate.": True,
        },
    )
    check.law(
        not torch.allclose(logits.sum(1), torch.ones(450), atol=1e-3),
        "the ten outputs of every image sum to 1",
        mistakes={"They are probabilities: there is a softmax at the end, and F.cross_entropy applies another. Return logits.": True},
    )

with check("the features are convolutions: a shift by 4 pixels moves them by one", points=1, seconds=30):
    model = next(iter(lenets.values()), None) or train_lenet(digits.x_train[:120], digits.y_train[:120], 1)
    canvas = torch.zeros(1, 1, 48, 40)
    canvas[:, :, 20:28, 12:24] = torch.rand(8, 12, generator=check.gen)
    for down, right in ((4, 0), (0, 8), (-4, 4)):
        here, there = (model.features(torch.roll(canvas, shift, (2, 3))).detach() for shift in ((0, 0), (down, right)))
        check.law(
            (here.flatten(2).amax(2) - here.flatten(2).amin(2)).max() > 1e-4,
            "the features of an image differ from place to place; yours are the same everywhere",
        )
        # Away from the border, where padding meets the image.
        check.close(there[:, :, 4:-3, 3:-3], torch.roll(here, (down // 4, right // 4), (2, 3))[:, :, 4:-3, 3:-3], rtol=1e-3, atol=1e-4)

with check("ready to use, and decided by its seed", points=1, seconds=30):
    seed, other = check.seeds(2)
    x, y, unseen = digits.x_train[:150], digits.y_train[:150], digits.x_test[:9]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = train_lenet(x, y, seed)
        torch.manual_seed(2)
        again, different = train_lenet(x, y, seed), train_lenet(x, y, other)
    z = model(unseen).detach()
    check.law(
        torch.equal(model(unseen), z),
        "the same image got two answers",
        mistakes={"Dropout is still on. Call model.eval() before returning the network.": True},
    )
    check.close(model.head(model.features(unseen)).detach(), z)
    check.law(
        torch.allclose(again(unseen), z, atol=1e-4),
        "the same seed gave two networks. Give the seed to torch.manual_seed before the layers are made; the order of the batches must follow from it too.",
    )
    check.law(not torch.allclose(different(unseen), z, atol=1e-4), "another seed gives another network; yours does not depend on `seed`")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Digits that have moved
#
# *Part II* ("Translation invariance is NOT native to fully connected networks") says that a fully connected network has to be *shown* every position, and
# that convolution "can help". How much, and which part of the network is it?
#
# Each digit is put on a canvas of twice its size: in the middle, or at a random place. Three networks learn from **centred** digits and are tested on
# **moved** ones; then they learn from moved ones too. The two CNNs have the same convolutions. They differ in one layer: the last pooling is 2 × 2 and the
# map is flattened, or it is global and only the *strongest* response of each channel is kept, wherever it was.


# %% nbgrader={"grade": false, "grade_id": "experiment-shift", "locked": true, "schema_version": 3, "solution": false, "task": false}
def put_on_canvas(x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
    """Images (N, C, H, W) on black canvases (N, C, 2H, 2W): in the middle, or where ``rng`` says."""
    n, c, height, width = x.shape
    canvas = x.new_zeros(n, c, 2 * height, 2 * width)
    places = [(height // 2, width // 2)] * n if rng is None else rng.integers(0, (height + 1, width + 1), size=(n, 2)).tolist()
    for i, (top, left) in enumerate(places):
        canvas[i, :, top : top + height, left : left + width] = x[i]
    return canvas


def shift_networks(channels: int, side: int) -> dict[str, Callable[[], nn.Module]]:
    """The three networks, for canvases of ``side`` × ``side`` pixels."""

    def trunk() -> tuple[nn.Module, ...]:
        return nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 64, 3, padding=1), nn.ReLU()

    return {
        "MLP": lambda: nn.Sequential(nn.Flatten(), nn.Linear(channels * side**2, 64), nn.ReLU(), nn.Linear(64, 10)),
        "CNN, flattened": lambda: nn.Sequential(*trunk(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * (side // 4) ** 2, 10)),
        "CNN, global pooling": lambda: nn.Sequential(*trunk(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    }


def shift_experiment(seed: int, name: str = "digits", limit: int = 1347, epochs: int = 12) -> dict[tuple[str, str], tuple[float, ...]]:
    """Train each network on centred and on moved images; (network, trained on) -> accuracy on (centred, moved) test images."""
    rng, where = np.random.default_rng(seed), device.pick()
    split = data.load(name, flat=False, seed=seed).torch()
    x, y, x_test, y_test = split.x_train[:limit], split.y_train[:limit], split.x_test, split.y_test.to(where)
    trains, tests = {"centred": put_on_canvas(x), "moved": put_on_canvas(x, rng)}, (put_on_canvas(x_test), put_on_canvas(x_test, rng))
    runs = [(network, make, on) for network, make in shift_networks(x.shape[1], 2 * x.shape[2]).items() for on in trains]
    found = {}
    for network, make, on in training.progress(runs, desc="networks"):
        training.seed_everything(seed)
        model = make()
        training.fit(
            model, F.cross_entropy, trains[on], y, epochs=epochs, batch_size=64, optimizer=lambda p: torch.optim.Adam(p, lr=0.005), seed=seed, progress=False
        )
        with torch.no_grad():
            found[network, on] = tuple(float((model(images.to(where)).argmax(1) == y_test).float().mean()) for images in tests)
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-shift-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
moved = shift_experiment(seed=0)
examples = digits.x_test[:6]
fig, (left, right) = plotting.subplots(2, width=11, height=3.8)
rows = [np.hstack([np.pad(image[0], 1, constant_values=0.5) for image in put_on_canvas(examples, rng)]) for rng in (None, np.random.default_rng(1))]
left.imshow(np.vstack(rows), cmap="gray")
left.set(title="centred (above) and moved (below)", xticks=[], yticks=[])
left.grid(visible=False)
names = list(dict.fromkeys(network for network, _ in moved))
settings = {"centred, tested centred": ("centred", 0), "centred, tested moved": ("centred", 1), "moved, tested moved": ("moved", 1)}
for i, (label, (on, tested)) in enumerate(settings.items()):
    heights = [moved[name, on][tested] for name in names]
    bars = right.bar(
        np.arange(3) + 0.27 * (i - 1), heights, 0.25, label=f"trained {label}", color=plotting.COLOURS[i], hatch=plotting.HATCHES[i], edgecolor="white"
    )
    right.bar_label(bars, [f"{height:.2f}" for height in heights], fontsize=9)
right.set(xticks=range(3), xticklabels=names, ylim=(0, 1.1), ylabel="accuracy")
right.grid(axis="x", visible=False)
right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=1, fontsize=9)
plotting.show(
    fig,
    alt="Left: six digits in the middle of their canvases, and the same six at random places. Right: accuracy of three networks. "
    + " ".join(
        f"{name}: trained on centred digits {moved[name, 'centred'][0]:.2f} on centred and {moved[name, 'centred'][1]:.2f} on moved ones; trained on moved ones {moved[name, 'moved'][1]:.2f}."
        for name in names
    ),
)
show(
    Claim("MLP, trained centred, tested moved", "not invariant to translation (Part II)", moved["MLP", "centred"][1], at_most=0.3),
    Claim("CNN with global pooling, the same", "convolution can help (Part II)", moved["CNN, global pooling", "centred"][1], at_least=0.7),
    Claim("CNN with the map flattened, the same", "invariant to translation (CS909): no", moved["CNN, flattened", "centred"][1], at_most=0.4),
    Claim(
        "gain of the CNN over the MLP when both saw moved digits",
        "teach it by random translations (Part II)",
        moved["CNN, global pooling", "moved"][1] - moved["MLP", "moved"][1],
        at_least=0.35,
    ),
    Claim(
        "gain of the CNN over the MLP on centred digits", "CNNs are better on images", moved["CNN, global pooling", "centred"][0] - moved["MLP", "centred"][0]
    ),
)

# %% [markdown]
# Three findings, and the middle one is seldom told.
#
# - The MLP reads centred digits as well as anyone, and moved ones hardly better than by guessing. Showing it moved ones helps somewhat, but each place has to
#   be learned anew.
# - **Convolution alone does not carry over to new places.** Flatten its map, and the next layer has a weight for *this response at this place*; move the
#   digit, and other weights meet it. It does better than the MLP once it is *shown* moved digits. What makes the answer (nearly) invariant to moves it has
#   never seen is the **global pooling** on top of equivariant features.
# - On centred digits the CNN is no better than the MLP: the difference is within the noise of 450 test images, so it is reported and not held to a band. An
#   architecture helps where the data vary in the way that it ignores.
#
# For larger images call `shift_experiment(seed=0, name="mnist")`, or `"fashion-mnist"`, or `"cifar10"`. They are downloaded once and take longer.

# %% [markdown]
# ## 9  Draw a kernel
#
# Set the nine numbers of your `own` kernel, or choose a filter that has a name. Where is the response zero? What does turning it round change for a Laplacian, and for Sobel? What does
# the border look like with each kind of padding? The picture uses your `conv2d`.

# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-kernel", "locked": true, "schema_version": 3, "solution": false, "task": false}
PICTURES = {"camera": camera[60:252:2, 140:332:2], "coins": torch.tensor(data.photo("coins")[20:212:2, 30:222:2], dtype=torch.float32)}


def kernel_explorer(photo: str, kernel: str, flip: bool, padding: str, **numbers: float) -> tuple[matplotlib.figure.Figure, str]:
    """A photograph, a 3 × 3 kernel, and the response."""
    chosen = [[numbers[f"row_{i}_column_{j}"] for j in range(1, 4)] for i in range(1, 4)] if kernel == "own" else FILTERS[kernel]
    weights = torch.tensor(chosen, dtype=torch.float32)
    weights = weights.flip(0, 1) if flip else weights
    image = PICTURES[photo][None, None]
    padded = {"none": image, "zeros": F.pad(image, (1, 1, 1, 1)), "mirror": F.pad(image, (1, 1, 1, 1), mode="reflect")}[padding]
    response = conv2d(padded, weights[None, None]).detach()[0, 0]
    total, size = float(weights.sum()), " × ".join(map(str, response.shape))
    fig, (before, middle, after) = plotting.subplots(3, width=6.9, height=2.6)
    before.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    before.set_title(f"{photo}, 96 × 96")
    plotting.heatmap(middle, weights, fmt="{:.2g}")
    middle.set(title=f"{kernel}{', turned round' if flip else ''}", aspect="equal")
    reach = max(float(response.abs().max()), 1e-6)
    after.imshow(response, cmap="gray", vmin=0 if response.min() >= 0 else -reach, vmax=reach)
    after.set_title(f"response, {size}")
    for ax in (before, middle, after):
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    zeros = float((response.abs() < 0.05 * reach).float().mean())
    return fig, (
        f"{photo}, filtered with the kernel {kernel}{' turned round by 180 degrees' if flip else ''}, whose numbers sum to {total:.2g}; padding: {padding}. The response has {size} pixels, "
        f"from {response.min():.2g} to {response.max():.2g}; {100 * zeros:.0f} % of them are near zero."
    )


with checks.uses("conv2d"):
    widgets.explore(
        kernel_explorer,
        sliders={
            "photo": ["camera", "coins"],
            "kernel": ["own", *FILTERS],
            "flip": False,
            "padding": ["none", "zeros", "mirror"],
        }
        | {f"row_{i}_column_{j}": (-4.0, 4.0, 0.5, [-1.0, 0.0, 1.0][j - 1]) for i in range(1, 4) for j in range(1, 4)},
        twin=[
            {"photo": "camera", "kernel": "Sobel", "flip": False},
            {"photo": "camera", "kernel": "Sobel", "flip": True},
            {"photo": "coins", "kernel": "Laplacian", "padding": "zeros"},
            {"photo": "coins", "kernel": "Gaussian blur", "padding": "mirror"},
        ],
        title="One 3 × 3 kernel: your own nine numbers, or a filter with a name",
    )

# %% [markdown]
# ## 10  Written question
#
# Three statements of "convolution":
# - (i) the formula of *Neural Network Architecture*: $(\theta * a)_i = \sum_{j=0}^{m-1} \theta_j\, a_{i+j}$;
# - (ii) the matrix beside it, for $m = 3$: its first row is $(\theta_1, \theta_2, 0, 0, 0)$, its second $(\theta_0, \theta_1, \theta_2, 0, 0)$, and so on
#   down to $(0, 0, 0, \theta_0, \theta_1)$;
# - (iii) *Part II*: $a_{ij} = \sum_p \sum_q x_{i-p,\,j-q}\, w_{p,q}$.
#
# (a) For each of the three, say: correlation or convolution; which tap lies on output $i$ (the anchor); what is assumed outside the signal; how many outputs
# there are for $n$ inputs and $m$ taps. (2 points)
#
# (b) For indices $p, q$ from 0 to $m - 1$, at which sides of the image does (iii) lose pixels if nothing is padded? (½ point)
#
# (c) Repair the formula for several channels, $(\Theta * x)_{s,t} = \sum_{i}\sum_{j}\sum_{k} \Theta_{i,j,k}\, x_{s+i,\,t+j}$. Then give two images with two
# channels that the printed formula cannot tell apart although your repaired one can. (1½ points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) (i) Correlation: tap and sample indices run the same way. Tap 0 lies on sample $i$. Nothing is assumed outside: $i + j$ must stay below $n$, so there
# are $n - m + 1$ outputs (`valid`). (ii) Row $i$ is $\sum_j \theta_j a_{i+j-1}$: correlation again, but the middle tap lies on sample $i$, with one zero at
# each end, and there are $n$ outputs (`same`). It is the formula (i) applied to the padded signal, so formula and matrix of that slide are two different
# functions. (iii) Convolution: as $p$ grows, the sample index falls. Tap 0 lies on pixel $i$; the other taps reach *back*. If $p$ and $q$ are centred around
# 0 the middle tap lies on $i$. Nothing is said about the outside; without padding there are $n - m + 1$ outputs along each axis, with zeros on all sides up
# to $n + m - 1$.
#
# (b) $x_{i-p}$ with $p$ up to $m - 1$ needs $i \ge m - 1$: the first $m - 1$ rows and columns of outputs are missing, at the **top and left**. (The slide
# says bottom and right, which is true of correlation.)
#
# (c) $(\Theta * x)_{s,t} = \sum_{i=0}^{m-1}\sum_{j=0}^{m-1}\sum_{k=0}^{r-1} \Theta_{i,j,k}\, x_{s+i,\,t+j,\,k}$. Take $1 \times 1$ images, $m = 1$, $r = 2$,
# $\Theta = (1, 2)$. If the printed $x_{s,t}$, which has no channel, is read as the sum over channels (any rule that treats the channels alike will do), then
# $x = (1, 0)$ and $x' = (0, 1)$ both give $(1 + 2)\cdot 1 = 3$. The repaired formula gives $1$ and $2$.
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) ½ point for each of: (i) correlation, tap 0, `valid`, $n - m + 1$; (ii) correlation, middle tap, zeros, $n$; (iii) convolution, tap 0 (or the middle
#   one, if $p, q$ are centred), $n - m + 1$ without padding; and ½ point for saying that (i) and (ii) are different functions (or that (ii) is (i) on the
#   padded signal).
# - (b) ½ point: top and left, with a reason.
# - (c) ½ point: the index $k$ on $x$. 1 point: a pair of images that differ by swapping channels (or another pair with the same sum over channels), with both
#   results of the repaired formula. Half of it if the results are missing.
#
# Accept other orders of the channel axis, one-based indices, and full padding for (iii) if it is stated.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - Correlation lays the kernel on the signal as it is, convolution turns it round first. Libraries for deep learning compute correlation. `valid`, `same` and
#   `full` differ in the zeros at the ends.
# - A convolution is a matrix with few entries (locality), tied along its diagonals (stationarity). A layer has one kernel for each pair of input and output
#   channel, and sums over input channels.
# - $n' = \lfloor (n + 2p - d(k-1) - 1)/s \rfloor + 1$; the receptive field grows by $(k-1)$ times the strides below; the cost does not depend on the size of
#   the image.
# - Pooling keeps the largest (or mean) of each window. 2 × 2 leaves a quarter of the pixels.
# - A filter can be learned from an image and its target; it is linear regression. On photographs plain gradient descent finds a wrong filter with a small
#   loss.
# - Convolution is equivariant to shifts, with stride 1 and away from borders. Invariance comes from pooling over all places, and so does reading digits that
#   have moved.
#
# **Next:** what happens when many such layers are stacked, in 04-resnet.
