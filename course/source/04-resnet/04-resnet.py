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
# # 04 · Batch normalisation and residual networks
#
# A deep network can compute whatever a shallow one can: its extra layers only have to do nothing. Yet plain deep networks come out worse, and worse on the very data that they are trained on.
# You measure that first. Then you write the two inventions that mended it, batch normalisation and the skip connection, put them together into networks of any depth, and compare fairly: same layers,
# same number of parameters, same training. At the end you read three well-known experiments with the controls that they need.
#
# **You will be able to**
# - tell a failure of optimisation from overfitting, by the training error;
# - write batch normalisation forward and backward, and say what changes between training and evaluation;
# - write a residual block, and say what its Jacobian does to gradients and what it does not;
# - build plain and residual networks with equally many parameters, and count those of ResNet-34;
# - judge "only batch norm is trained" and "probes rise with depth" by what they are compared with.
#
# | | |
# |---|---|
# | Time and points | about 270 minutes, 29 points |
# | of which | exercises: 185 minutes, 25 points; written question: 20 minutes, 4 points; reading and experiments: 65 minutes |
# | Running time | about 55 seconds on one CPU core, once everything is filled in |
# | You need | torch modules and autograd, convolutions (03-filters), backpropagation (02-backprop) |
#
# **Lecture sections it follows.** F. Minhas, *CS909 Data Mining* (Warwick): "Understanding Batch-Normalization", "Networks with Skip Connections", "Simply Stacking Layers?", "Residual Learning: skip connections", "ResNet Models",
# "ResNet Results", "Reasons for adding skip connections", "What can you do with just training batch norm parameters?", "What can you do without batch normalization?". *Deep Learning for Computer Vision, Part I*: "ResNet - 2015",
# "More on Residual units and ResNet". Y. M. Asano, *Deep Learning*, MLx Fundamentals 2024: "How do these layers correspond to 'semantics': numerical evaluation".
#
# **How to work.** In each cell that says "Write your answer here", put your answer in place of that line, run the checks below it, and read what they say. More checks run when it is graded.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import copy
import itertools
import math
from collections.abc import Callable, Sequence

import matplotlib.figure
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlcourse_utils import checks, claims, data, device, plotting, training, widgets
from dlcourse_utils.claims import Claim

torch.set_num_threads(1)  # these networks are tiny: more threads only get in each other's way
where = device.pick()


def images(name: str = "digits", limit: int = 1347) -> data.Split[Tensor]:
    """Grey images (N, 1, H, W) and their labels, ``limit`` of them to learn from. Others than the digits are downloaded; colours are averaged."""
    x, y, x_test, y_test = data.load(name, flat=False).torch(where)
    return data.Split(x[:limit].mean(1, keepdim=True), y[:limit], x_test.mean(1, keepdim=True), y_test)


digits = images()  # (1347, 1, 8, 8) and (450, 1, 8, 8)

# %% [markdown]
# ## 1  Deeper, and worse on its own training data
#
# Take a network that works and put more layers on it. Whatever the first one computes, the second one can: set the new layers to the identity. So its best training error is *no higher*.
#
# CS909 ("Increasing Depth") shows what happens instead (He and others, 2016): a plain network of 56 layers has a higher error than one of 20, on the test set *and on the training set*. That is called **degradation**.
# It is not overfitting, which would lower the training error while the test error rises. Good weights exist, and the optimiser does not find them.
#
# The next cell repeats it in small. All networks are fully connected ReLU networks, 32 units wide, with He's start, trained by 150 steps of Adam on the same batches. There is no normalisation anywhere.
# The **residual** one is as deep as the plain deep one and has as many parameters. It only adds, every two layers, what went in: $h \leftarrow \mathrm{relu}(h + F(h))$. The second layer of each $F$ starts at zero,
# so at the start every such pair does nothing.
#
# Every experiment of this notebook takes its images as an argument. For larger ones call `degradation_experiment(seed=0, split=images("mnist"))`, or with `"fashion-mnist"` or `"cifar10"`, which are downloaded once and take longer.


# %% nbgrader={"grade": false, "grade_id": "experiment-degradation", "locked": true, "schema_version": 3, "solution": false, "task": false}
class DenseNetwork(nn.Module):
    """A fully connected ReLU network of ``depth`` layers, 32 wide; every two hidden layers form F. Plain: h -> relu(F(h)). Residual: h -> relu(h + F(h))."""

    def __init__(self, pixels: int, depth: int, residual: bool) -> None:
        super().__init__()
        sizes = [pixels, *[32] * (depth - 1), 10]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in itertools.pairwise(sizes))
        self.residual = residual
        for i, layer in enumerate(self.layers):
            nn.init.zeros_(layer.bias)
            if residual and i % 2 == 0 and 0 < i < depth - 1:
                nn.init.zeros_(layer.weight)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        first, *hidden, last = self.layers
        h = F.relu(first(x.flatten(1)))
        for one, two in zip(hidden[::2], hidden[1::2], strict=True):
            branch = two(F.relu(one(h)))
            h = F.relu(h + branch if self.residual else branch)
        return last(h)


def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images that a classifier gets wrong, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) != y).float().mean())


def degradation_experiment(seed: int, split: data.Split[Tensor] = digits) -> dict[str, dict[str, float]]:
    """Name of a network -> its training and test error after 150 steps of Adam."""
    found = {}
    for name, depth, residual in (("plain, 4 layers", 4, False), ("plain, 32 layers", 32, False), ("residual, 32 layers", 32, True)):
        training.seed_everything(seed)
        model = DenseNetwork(split.x_train[0].numel(), depth, residual).to(where)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        order = torch.Generator().manual_seed(seed)
        for _ in training.progress(range(150), desc=name):
            batch = torch.randint(len(split.x_train), (64,), generator=order).to(where)
            optimizer.zero_grad()
            F.cross_entropy(model(split.x_train[batch]), split.y_train[batch]).backward()
            optimizer.step()
        found[name] = {"train": error(model, split.x_train, split.y_train), "test": error(model, split.x_test, split.y_test)}
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-degradation-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
degradation = degradation_experiment(seed=0)
fig, axes = plotting.subplots(2, width=10, height=3.4)
for ax, part, title in zip(axes, ("train", "test"), ("training images", "unseen images"), strict=True):
    plotting.bars(ax, {name.replace(", ", "\n"): run[part] for name, run in degradation.items()}, ylabel="share wrong", fmt="{:.3f}")
    ax.set(title=title, ylim=(0, 0.85))
plotting.show(
    fig,
    alt="Errors after the same training. "
    + " ".join(f"{name}: {run['train']:.3f} on the training images, {run['test']:.3f} on unseen ones." for name, run in degradation.items()),
)
claims.show(
    Claim(
        "training error: plain with 32 layers, minus plain with 4",
        "the deeper has the higher training error (He 2016)",
        degradation["plain, 32 layers"]["train"] - degradation["plain, 4 layers"]["train"],
        at_least=0.15,
    ),
    Claim(
        "training error: residual with 32 layers",
        "deep ResNets can be trained without difficulties (CS909)",
        degradation["residual, 32 layers"]["train"],
        at_most=0.15,
    ),
)

# %% [markdown]
# The deep plain network is worse on what it was trained on. The residual network, with the same layers and the same parameters, trains.
#
# Read no more into it than that: it *can be trained*. That it is ahead of the 4 layers after 150 steps does not make depth necessary for these small images; one hidden layer reads 95 % of them and more, given time (02-backprop).

# %% [markdown]
# ## 2  Batch normalisation
#
# The first help came before the skip. **Batch normalisation** (Ioffe and Szegedy, 2015) gives every channel $c$ mean 0 and variance 1 over the $m = N\,H\,W$ numbers that it has in a batch, and then a scale $\gamma_c$ and a shift $\beta_c$ that are learnt:
#
# $$ \mu_c = \frac1m \sum_{n,i,j} x_{ncij}, \qquad \sigma_c^2 = \frac1m \sum_{n,i,j} (x_{ncij} - \mu_c)^2, \qquad \hat x = \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}}, \qquad y = \gamma_c\, \hat x + \beta_c. $$
#
# One channel is one filter, looking at every place of every image: that is why the mean goes over batch *and* image.
#
# **Two modes.** With a batch's own statistics, the answer for an image depends on which others are in the batch. That will not do once the network is used. So in training the layer also keeps **running averages**,
#
# $$ r \leftarrow (1 - \alpha)\, r + \alpha\, s, $$
#
# with the momentum $\alpha$ (0.1 in torch) and $s$ the batch's mean, or its variance with $m - 1$ in place of $m$: the unbiased estimate for images to come. In evaluation it normalises with the running averages and leaves them alone.
#
# **Two sentences of CS909 to mend** (erratum E26). "Minimizes covariate shift": that was the inventors' explanation, and it is contested. Santurkar and others (2018) shifted the distributions on purpose, by noise *after* the batch norm, and training was
# as fast as ever; they find a smoother loss instead. "Keep batch norm parameter learning active only in training": true, but it is not the point. In evaluation the layer is **not off**, and nothing is merely frozen: it computes with *other numbers*, the running averages.
# Section 5 measures what forgetting this costs.
#
# A bias just before a batch norm is useless, since the mean takes it away again; $\beta$ does its work. Hence `bias=False` in all convolutions below.

# %% [markdown]
# **Exercise 4.1 · `batch_norm2d`** (5 points · difficulty 3 of 5 · about 35 minutes)
#
# Write the class `BatchNorm2d` from arithmetic. `layer.train()` and `layer.eval()` set `self.training`, which `forward` may ask. The running averages belong to the layer's state but are not trained: register them with `register_buffer`.
# torch's own batch norm is off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# `x.mean((0, 2, 3))` is one number a channel. To use it against `(N, C, H, W)` it needs the shape `(1, C, 1, 1)` or `(C, 1, 1)`.
#
# </details>
#
# <details><summary>Hint 2: two variances, and no graph</summary>
#
# `x.var(dim, correction=0)` divides by $m$, `correction=1` by $m - 1$. Update the buffers under `torch.no_grad()`: or each holds on to the graphs of all batches before.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "batch_norm2d", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BatchNorm2d(nn.Module):
    """Batch normalisation of images, channel by channel (Ioffe and Szegedy 2015).

    Args:
        channels: number of channels C.
        eps: added to the variance, under the root.
        momentum: weight of the newest batch in the running averages.

    Attributes:
        weight: the scale, a parameter of shape (C,) that starts at 1.
        bias: the shift, a parameter of shape (C,) that starts at 0.
        running_mean: running average of the batches' means, a buffer of shape (C,) that starts at 0.
        running_var: running average of the batches' unbiased variances, a buffer of shape (C,) that starts at 1.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """Normalise: in training by the batch's own statistics, in evaluation by the running averages.

        The batch's statistics also move the running averages.

        Args:
            x: shape (N, C, H, W).

        Returns:
            Shape and dtype of ``x``. In training, gradients flow through the statistics of the batch.
        """
        ### BEGIN SOLUTION
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
            with torch.no_grad():
                m = x.numel() / x.shape[1]
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * m / (m - 1), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight / torch.sqrt(var + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-batch_norm2d", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("batch_norm2d", points=5)
BATCH_NORM_OFF_LIMITS = ("torch.nn.functional.batch_norm", "torch.batch_norm", "torch.native_batch_norm")
two_images = torch.tensor([[[[0.0, 2.0]]], [[[4.0, 6.0]]]])  # one channel, 1x2 pixels: mean 3, variance 5

with check("one batch by hand", points=1, off_limits=BATCH_NORM_OFF_LIMITS):
    check.close(
        BatchNorm2d(1, eps=4.0)(two_images),
        [[[[-1.0, -0.333333]]], [[[0.333333, 1.0]]]],
        mistakes={
            "The variance is divided by m - 1. To normalise, divide by m; the other one is for the running average.": [
                [[[-0.918559, -0.306186]]],
                [[[0.306186, 0.918559]]],
            ],
            "eps stands outside the root. It is added to the variance, then the root is taken.": [[[[-0.481070, -0.160357]]], [[[0.160357, 0.481070]]]],
            "It is divided by the variance. Divide by the root of variance plus eps.": [[[[-0.333333, -0.111111]]], [[[0.111111, 0.333333]]]],
            "Every image is normalised by itself. Take the statistics of a channel over the whole batch.": [
                [[[-0.447214, 0.447214]]],
                [[[-0.447214, 0.447214]]],
            ],
            "Every pixel is normalised by itself. Take the statistics of a channel over the batch and over the image.": [
                [[[-0.707107, -0.707107]]],
                [[[0.707107, 0.707107]]],
            ],
            "In training the batch is normalised by its own statistics, not by the running averages.": [[[[-0.127152, 0.720528]]], [[[1.568209, 2.415889]]]],
            "eps is not used. Add it to the variance.": [[[[-1.341641, -0.447214]]], [[[0.447214, 1.341641]]]],
        },
    )

with check("the running averages after that batch", points=1, off_limits=BATCH_NORM_OFF_LIMITS):
    layer = BatchNorm2d(1)
    layer(two_images)
    check.close(
        torch.stack([layer.running_mean, layer.running_var]),
        [[0.3], [1.566667]],
        mistakes={
            "The running variance takes the batch's variance divided by m. For images to come take the unbiased one, divided by m - 1.": [[0.3], [1.4]],
            "The momentum is the weight of the new batch, 0.1; the old average keeps 0.9.": [[2.7], [6.1]],
            "The running averages did not move. Update them in training mode.": [[0.0], [1.0]],
            "The running averages are those of the last batch. Move them a tenth of the way only.": [[3.0], [6.666667]],
        },
    )

### BEGIN HIDDEN TESTS
torch_batch_norm = torch.batch_norm  # the real one: the door is closed to the answer only


def draw_images(shape, dtype, *, strided=False):
    """Random images whose channels have means and spreads of their own; ``strided`` gives them another layout in memory."""
    n, c, h, w = shape
    offset, spread = torch.randn(c, 1, 1, generator=check.gen, dtype=dtype), 0.5 + 2 * torch.rand(c, 1, 1, generator=check.gen, dtype=dtype)
    x = offset + spread * torch.randn(n, c, h, w, generator=check.gen, dtype=dtype)
    return x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1) if strided else x


def drawn_layer(channels, dtype, eps, momentum):
    """A layer with random scale and shift, and tensors of its own for torch to work with: scale, shift, running mean and variance."""
    layer = BatchNorm2d(channels, eps, momentum).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(channels, generator=check.gen))
        layer.bias.copy_(torch.randn(channels, generator=check.gen))
    return layer, [layer.weight.detach().clone(), layer.bias.detach().clone(), torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)]


def averages(batches, momentum, correction):
    """Running mean and variance after some batches, with the variance of a batch divided by m - correction."""
    running = torch.stack([torch.zeros(batches[0].shape[1]), torch.ones(batches[0].shape[1])]).to(batches[0].dtype)
    for x in batches:
        running = running + momentum * (torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3), correction=correction)]) - running)
    return running


SETTINGS = (
    (3, torch.float64, 0.3, 0.25, ((4, 3, 5, 2), (2, 3, 1, 1), (1, 3, 4, 4))),
    (5, torch.float32, 1e-5, 0.1, ((7, 5, 3, 3), (3, 5, 1, 6), (2, 5, 2, 2))),
    (1, torch.float64, 2.0, 0.9, ((1, 1, 2, 3), (6, 1, 1, 1), (2, 1, 5, 5))),
)

with check("training: agrees with torch over three batches", points=1, off_limits=BATCH_NORM_OFF_LIMITS):
    for channels, dtype, eps, momentum, shapes in SETTINGS:
        layer, (weight, bias, mean, var) = drawn_layer(channels, dtype, eps, momentum)
        for i, shape in enumerate(shapes):
            x = draw_images(shape, dtype, strided=i == 1)
            with check.no_side_effects(x):
                got = layer(x)
            want = torch_batch_norm(x, weight, bias, mean, var, True, momentum, eps, False)
            check.dtype(got, dtype)
            scale, shift = weight[:, None, None], bias[:, None, None]
            own_var, own_mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
            check.close(
                got,
                want,
                atol=1e-4 if dtype == torch.float32 else None,
                mistakes={
                    "weight and bias are not used. The result is weight * normalised + bias.": (want - shift) / scale,
                    "The variance is divided by m - 1. To normalise, divide by m; the other one is for the running average.": (x - own_mean)
                    / torch.sqrt(x.var((0, 2, 3), keepdim=True) + eps)
                    * scale
                    + shift,
                    "eps stands outside the root. It is added to the variance, then the root is taken.": (x - own_mean) / (torch.sqrt(own_var) + eps) * scale
                    + shift,
                    "eps is fixed. Use the one that was given.": (x - own_mean) / torch.sqrt(own_var + 1e-5) * scale + shift,
                },
            )

with check("evaluation: the running averages, and they stay", points=1, off_limits=BATCH_NORM_OFF_LIMITS):
    for channels, dtype, eps, momentum, shapes in SETTINGS:
        layer, (weight, bias, mean, var) = drawn_layer(channels, dtype, eps, momentum)
        batches = [draw_images(shape, dtype) for shape in shapes]
        for x in batches:
            layer(x)
            torch_batch_norm(x, weight, bias, mean, var, True, momentum, eps, False)
        moved = torch.stack([layer.running_mean, layer.running_var])
        check.close(
            moved,
            torch.stack([mean, var]),
            mistakes={
                "The running variance takes the batch's variance divided by m. For images to come take the unbiased one, divided by m - 1.": averages(
                    batches, momentum, correction=0
                ),
                "The momentum is fixed at 0.1. Use the one that was given.": averages(batches, 0.1, correction=1),
                "The momentum is the weight of the new batch; the old average keeps the rest.": averages(batches, 1 - momentum, correction=1),
            },
        )
        layer.eval()
        scale, shift = weight[:, None, None], bias[:, None, None]
        for shape in ((1, channels, 3, 2), (1, channels, 1, 1), (4, channels, 2, 5)):
            x = draw_images(shape, dtype)
            got = layer(x)
            check.law(
                torch.equal(torch.stack([layer.running_mean, layer.running_var]), moved),
                "The running averages moved in evaluation. They move in training only.",
            )
            check.close(
                got,
                torch_batch_norm(x, weight, bias, mean, var, False, momentum, eps, False),
                mistakes={
                    "In evaluation the batch's own statistics were used. Ask self.training, and take the running averages.": x.new_tensor(math.nan)
                    if x.numel() == channels
                    else torch_batch_norm(x, weight, bias, None, None, True, momentum, eps, False),
                    "In evaluation the layer is switched off. It still normalises, by the running averages.": x,
                    "In evaluation the normalisation is switched off. It still normalises, by the running averages.": x * scale + shift,
                },
            )

with check("gradients and state", points=1, off_limits=BATCH_NORM_OFF_LIMITS):
    layer, (weight, bias, *_) = drawn_layer(4, torch.float64, 0.1, 0.1)
    check.law(
        set(dict(layer.named_parameters())) == {"weight", "bias"},
        f"the parameters are weight and bias; got {sorted(dict(layer.named_parameters()))}",
        mistakes={
            "The running averages are parameters, so an optimiser would move them. Use register_buffer.": "running_mean" in dict(layer.named_parameters())
        },
    )
    check.law(
        {"running_mean", "running_var"} <= set(layer.state_dict()),
        "running_mean and running_var are not in the layer's state, so they are neither saved nor moved to another device. Use register_buffer.",
    )
    for shape in ((3, 4, 2, 3), (2, 4, 5, 1)):
        x, upstream = draw_images(shape, torch.float64).requires_grad_(), torch.randn(shape, generator=check.gen, dtype=torch.float64)
        leaves = [x, weight.requires_grad_(), bias.requires_grad_()]
        want = torch.autograd.grad(torch_batch_norm(*leaves, None, None, True, 0.1, 0.1, False), leaves, upstream)
        got = layer(x)
        check.law(got.requires_grad, "the result carries no gradient")
        check.law(
            not layer.running_mean.requires_grad and not layer.running_var.requires_grad,
            "The running averages hold on to the graph of every batch before. Update them under torch.no_grad().",
        )
        got_gradients = torch.autograd.grad(got, [x, layer.weight, layer.bias], upstream)
        with torch.no_grad():
            held = upstream * weight[:, None, None] / torch.sqrt(x.var((0, 2, 3), correction=0) + 0.1)[:, None, None]
        check.close(
            got_gradients[0],
            want[0],
            mistakes={"The mean and the variance were taken for constants. Gradients flow through them: no detach, no no_grad around them.": held},
        )
        check.close(list(got_gradients[1:]), list(want[1:]))
### END HIDDEN TESTS
check.report()


# %% nbgrader={"grade": false, "grade_id": "figure-batch-norm", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_batch_norm() -> None:
    """Three channels before and after the layer, and a running mean on its way."""
    generator = torch.Generator().manual_seed(3)
    images = digits.x_train.cpu()
    filters = torch.randn(3, 1, 3, 3, generator=generator)
    channels = F.conv2d(images[:256], filters)
    fig, axes = plotting.subplots(3, width=11, height=3.3)
    for ax, values, title in ((axes[0], channels, "before"), (axes[1], BatchNorm2d(3)(channels).detach(), "after, γ = 1 and β = 0")):
        bins = np.linspace(float(values.min()), float(values.max()), 50)
        for c, (colour, style) in enumerate(zip(plotting.COLOURS, plotting.LINES, strict=False)):
            if c < 3:
                ax.stairs(np.histogram(values[:, c].numpy(), bins)[0], bins, color=colour, linestyle=style, linewidth=2, label=f"channel {c + 1}")
        ax.set(title=title, xlabel="value", ylabel="how often", ylim=(0, 1100))
    axes[0].legend(loc="upper left")
    layer, batch_means, running = BatchNorm2d(3), [], []
    for _ in range(60):
        batch = F.conv2d(images[torch.randint(len(images), (16,), generator=generator)], filters)
        layer(batch)
        batch_means.append(float(batch[:, 0].mean()))
        running.append(float(layer.running_mean[0]))
    plotting.curves(axes[2], {"of each batch of 16": batch_means, "running": running}, xlabel="batch", ylabel="mean of channel 1")
    axes[2].set_title("what evaluation will use")
    plotting.show(
        fig,
        alt="Left: histograms of three channels of random filters on digits; they lie at different places with different widths. Middle: the same three after batch norm; all have mean 0 and variance 1, "
        f"and keep their own shapes. Right: the mean of channel 1 in 60 batches of 16 scatters between {min(batch_means):.2f} and {max(batch_means):.2f}, while the running mean moves from 0 to {running[-1]:.2f}.",
    )


with checks.uses("batch_norm2d"):
    draw_batch_norm()

# %% [markdown]
# ## 3  Through the statistics, backwards
#
# Every $\hat x_j$ of a channel depends on *every* $x_i$ of the batch: directly if $i = j$, and always through $\mu$ and through $\sigma$. For one channel of $m$ numbers, with $s = \sqrt{\sigma^2 + \varepsilon}$,
#
# $$ \frac{\partial \hat x_j}{\partial x_i} \;=\; \frac1s \Big( \underbrace{\delta_{ij}}_{\text{direct}} \;-\; \underbrace{\tfrac1m}_{\text{through } \mu} \;-\; \underbrace{\tfrac1m\, \hat x_i\, \hat x_j}_{\text{through } \sigma} \Big). $$
#
# Two laws follow, and they are good tests. Adding a constant to a channel changes nothing, so the gradients by its $x_i$ **sum to zero**. And (for $\varepsilon = 0$) stretching it around its mean changes nothing, so they are also **at right angles to $\hat x$**.
# What normalisation takes out, no gradient can put back.

# %% nbgrader={"grade": false, "grade_id": "figure-jacobian", "locked": true, "schema_version": 3, "solution": false, "task": false}
x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
x_hat = x / x.std()
parts = {"direct": np.eye(5), "through the mean": -np.full((5, 5), 1 / 5), "through the variance": -np.outer(x_hat, x_hat) / 5}
parts["sum"] = sum(parts.values())
fig, axes = plotting.subplots(4, width=11, height=3.1)
for ax, (title, values) in zip(axes, parts.items(), strict=True):
    ax.imshow(values, vmin=-0.5, vmax=1, aspect="auto")
    for (j, i), value in np.ndenumerate(values.round(1) + 0.0):
        ax.text(i, j, f"{value:.1f}", ha="center", va="center", color="white" if value < 0.3 else "black")
    ax.set_xticks(range(5), [f"{v:g}" for v in x])
    ax.set(title=title, xlabel="$x_i$", yticks=[])
    ax.grid(visible=False)
axes[0].set_ylabel("$\\hat{x}_j$")
plotting.show(
    fig,
    alt="The Jacobian of five normalised values by the five inputs -2, -1, 0, 1, 2, times s, in three parts. Direct: the identity. Through the mean: -0.2 everywhere. Through the variance: minus the product of two "
    "normalised values, from -0.4 at equal ends to 0.4 at opposite ends. Their sum has rows and columns that add up to 0, with 0.4 at the two ends of its diagonal, 0.7 beside them and 0.8 in the middle.",
)

# %% [markdown]
# **Exercise 4.2 · `bn_backward`** (4 points · difficulty 3 of 5 · about 30 minutes)
#
# Write the backward pass of batch normalisation in training mode, for points in rows: `x` has shape `(m, d)`, and each of the $d$ columns is a channel. Given $g = \partial\mathcal L/\partial y$ return the gradients by `x`, $\gamma$ and $\beta$. Autograd is off limits.
#
# <details><summary>Hint 1: where to start</summary>
#
# $\gamma$ and $\beta$ first: $y = \gamma \hat x + \beta$ is linear in both, and each is used $m$ times. Then $\partial\mathcal L/\partial \hat x = \gamma\, g$.
#
# </details>
#
# <details><summary>Hint 2: the sum over j</summary>
#
# $\partial\mathcal L/\partial x_i = \sum_j \gamma\, g_j\, \partial\hat x_j/\partial x_i$. Put the three parts in: two of them become a mean over the batch, with nothing left to loop over.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "bn_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bn_backward(g: Tensor, x: Tensor, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of batch normalisation in training mode: y = gamma * (x - mean) / sqrt(var + eps) + beta.

    Mean and variance are taken over the rows, for each column by itself.

    Args:
        g: gradient of the loss by y, shape (m, d).
        x: inputs, shape (m, d), m at least 2.
        gamma: scale, shape (d,).
        eps: added to the biased variance.

    Returns:
        ``(gx, ggamma, gbeta)``: gradients by x, gamma and beta, shapes (m, d), (d,), (d,), dtype of ``x``.
    """
    ### BEGIN SOLUTION
    var, mean = torch.var_mean(x, 0, correction=0)
    s = torch.sqrt(var + eps)
    x_hat = (x - mean) / s
    gx_hat = gamma * g
    gx = (gx_hat - gx_hat.mean(0) - x_hat * (gx_hat * x_hat).mean(0)) / s
    return gx, (g * x_hat).sum(0), g.sum(0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-bn_backward", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("bn_backward", points=4)
AUTOGRAD_OFF_LIMITS = ("torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward", "torch.autograd.functional.vjp", "torch.func.vjp")
x = torch.tensor([[0.0, 6.0], [2.0, 0.0], [4.0, 2.0], [6.0, 4.0]], dtype=torch.float64)  # mean 3 and variance 5 in both columns
g = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 9.0], [0.0, 0.0]], dtype=torch.float64)
gamma = torch.tensor([1.0, 2.0], dtype=torch.float64)

with check("gamma and beta, four points by hand", points=0.5, off_limits=AUTOGRAD_OFF_LIMITS):
    _, ggamma, gbeta = bn_backward(g.clone(), x, gamma, 4.0)
    check.close(
        ggamma,
        [-3.0, -3.0],
        mistakes={
            "The gradient by gamma is summed over the batch; yours is the mean.": [-0.75, -0.75],
            "The gradient by gamma takes the normalised x, not x.": [0.0, 18.0],
            "The gradient by gamma takes the normalised x: x less its mean, divided by s as well.": [-9.0, -9.0],
            "The order is gx, ggamma, gbeta.": [3.0, 9.0],
            "The variance is the biased one, divided by m and not by m - 1.": [-2.755676, -2.755676],
            "eps stands outside the root. It is added to the variance, then the root is taken.": [-1.443211, -1.443211],
        },
    )
    check.close(gbeta, [3.0, 9.0], mistakes={"The gradient by beta is summed over the batch; yours is the mean.": [0.75, 2.25]})

with check("x, four points by hand", points=0.5, off_limits=AUTOGRAD_OFF_LIMITS):
    gx, _, _ = bn_backward(g.clone(), x, gamma, 4.0)
    check.close(
        gx,
        [[0.5, -1.0], [-1 / 3, -2.0], [-1 / 6, 13 / 3], [0.0, -4 / 3]],
        mistakes={
            "The mean and the variance were taken for constants: that is the direct part only.": [[1.0, 0.0], [0.0, 0.0], [0.0, 6.0], [0.0, 0.0]],
            "The part through the variance is missing.": [[0.75, -1.5], [-0.25, -1.5], [-0.25, 4.5], [-0.25, -1.5]],
            "The part through the mean is missing.": [[0.75, 0.5], [-1 / 12, -0.5], [1 / 12, 35 / 6], [0.25, 1 / 6]],
            "The parts through mean and variance are sums. Each comes with 1/m: take means over the batch.": [
                [-1.0, -4.0],
                [-4 / 3, -8.0],
                [-2 / 3, -2 / 3],
                [0.0, -16 / 3],
            ],
            "gamma is missing: the gradient by the normalised x is gamma * g.": [[0.5, -0.5], [-1 / 3, -1.0], [-1 / 6, 13 / 6], [0.0, -2 / 3]],
            "The part through the mean has the wrong sign: it is taken away.": [[1.0, 2.0], [1 / 6, 1.0], [1 / 3, 22 / 3], [0.5, 5 / 3]],
            "The part through the variance has the wrong sign: it is taken away.": [[1.0, -2.0], [-1 / 6, -1.0], [-1 / 3, 14 / 3], [-0.5, -5 / 3]],
            "The variance is the biased one, divided by m and not by m - 1.": [
                [0.495166, -0.990331],
                [-0.294233, -1.765398],
                [-0.165055, 4.004341],
                [-0.035878, -1.248612],
            ],
            "eps stands outside the root. It is added to the variance, then the root is taken.": [
                [0.240535, -0.48107],
                [-0.160357, -0.96214],
                [-0.080178, 2.084637],
                [0.0, -0.641427],
            ],
        },
    )

### BEGIN HIDDEN TESTS
torch_batch_norm, torch_grad = torch.batch_norm, torch.autograd.grad  # the real ones: the doors are closed to the answer only


def explained(got, g, x, gamma, eps, which):
    """Compare one of the three gradients with torch's, and with torch's when a part of the computation is held constant."""
    leaves = [x.clone().requires_grad_(), gamma.clone().requires_grad_(), torch.zeros_like(gamma).requires_grad_()]
    want = torch_grad(torch_batch_norm(*leaves, None, None, True, 0.1, eps, False), leaves, g)[which]

    def held(*, mean, var, scale=None):
        leaf = x.clone().requires_grad_()
        mu, variance = leaf.mean(0), leaf.var(0, correction=0)
        root = torch.sqrt((variance.detach() if var else variance) + eps)
        y = (leaf - (mu.detach() if mean else mu)) / root * (gamma if scale is None else scale)
        return torch_grad(y, leaf, g)[0]

    unscaled = held(mean=False, var=False, scale=torch.ones_like(gamma))
    direct, without_var = held(mean=True, var=True), held(mean=False, var=True)
    normalised = torch_batch_norm(x, None, None, None, None, True, 0.1, eps, False)
    mistakes = [
        {
            "The mean and the variance were taken for constants: that is the direct part only.": direct,
            "The part through the variance is missing.": without_var,
            "The part through the mean is missing.": held(mean=True, var=False),
            "gamma is missing: the gradient by the normalised x is gamma * g.": unscaled,
            "The parts through mean and variance are sums. Each comes with 1/m: take means over the batch.": direct + len(x) * (want - direct),
            "The part through the mean has the wrong sign: it is taken away.": want + 2 * (direct - without_var),
            "The part through the variance has the wrong sign: it is taken away.": want + 2 * (without_var - want),
        },
        {
            "The gradient by gamma is summed over the batch; yours is the mean.": want / len(x),
            "The gradient by gamma takes the normalised x, not x.": (g * x).sum(0),
            "The gradient by gamma was multiplied by gamma. y is linear in gamma: its derivative is the normalised x.": want * gamma,
            "The gradient by gamma takes the normalised x: x less its mean, divided by s as well.": (g * (x - x.mean(0))).sum(0),
            "The gradient by gamma is a sum over the batch: one number a column.": g * normalised,
        },
        {
            "The gradient by beta is summed over the batch; yours is the mean.": want / len(x),
            "The gradient by beta was multiplied by gamma. beta is added after the scaling.": want * gamma,
        },
    ][which]
    check.close(got, want, atol=1e-5 if x.dtype == torch.float32 else 1e-9, mistakes=mistakes)


def drawn_problem(m, d, dtype, strided=False):
    parts = [
        torch.randn(m, d, generator=check.gen, dtype=dtype),
        1 + 2 * torch.randn(m, d, generator=check.gen, dtype=dtype),
        torch.randn(d, generator=check.gen, dtype=dtype),
    ]
    return [part.T.contiguous().T if strided else part for part in parts]


PROBLEMS = ((2, 1, torch.float64, 0.5, False), (7, 3, torch.float64, 1e-5, True), (5, 5, torch.float64, 3.0, False), (33, 2, torch.float32, 0.1, True))

with check("gamma and beta agree with autograd", points=1, off_limits=AUTOGRAD_OFF_LIMITS):
    for m, d, dtype, eps, strided in PROBLEMS:
        g, x, gamma = drawn_problem(m, d, dtype, strided)
        with check.no_side_effects(g, x, gamma):
            _, ggamma, gbeta = bn_backward(g, x, gamma, eps)
        explained(ggamma, g, x, gamma, eps, 1)
        explained(gbeta, g, x, gamma, eps, 2)

with check("x agrees with autograd", points=2, off_limits=AUTOGRAD_OFF_LIMITS):
    for m, d, dtype, eps, strided in PROBLEMS:
        g, x, gamma = drawn_problem(m, d, dtype, strided)
        gx, _, _ = bn_backward(g, x, gamma, eps)
        check.dtype(gx, dtype)
        explained(gx, g, x, gamma, eps, 0)
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 4  The residual block
#
# The second help is to make "do nothing" the easy thing. CS909 puts it so: if $H$ is what a few layers should compute, let them learn the *fluctuation* $F(x) = H(x) - x$, and add $x$ again. The block of ResNet is
#
# $$ h \;=\; \mathrm{relu}\big(F(x) + x\big), \qquad F = \mathrm{BN} \circ \mathrm{conv} \circ \mathrm{relu} \circ \mathrm{BN} \circ \mathrm{conv}. $$
#
# Part I of the computer-vision course writes $h_l = f_l(h_{l-1}) + h_{l-1}$ and leaves out the ReLU *after* the sum. There are networks without it: in the *pre-activation* block (He and others, 2016, a second paper) batch norm and ReLU stand
# before the convolutions and nothing after the sum. But ResNet-34 and ResNet-56 are of the kind above, and so are yours.
#
# $F(x) + x$ needs equal shapes. Where a block changes the number of channels, or halves the image by stride 2, the **shortcut** is a projection: a 1×1 convolution with the same stride, and a batch norm.
#
# **What it does to gradients.** Leave the ReLUs after the sums aside for a moment. With $J_l$ the Jacobian of branch $F_l$, a block has the Jacobian $I + J_l$, and two blocks have
#
# $$ (I + J_2)(I + J_1) = I + J_1 + J_2 + J_2 J_1 . $$
#
# CS909 ("Reasons for adding skip connections") says that with skips the gradient has "fewer multiplicative terms". It has **more** (erratum E43): $L$ blocks give $2^L$ products, one for each set of branches that a path goes through.
# The long product $J_L \cdots J_1$ of the plain network is still among them, as small as ever. What helps is that it is no longer *alone*: there are paths through few branches, and one, the $I$, through none.


# %% nbgrader={"grade": false, "grade_id": "figure-paths", "locked": true, "schema_version": 3, "solution": false, "task": false}
def draw_paths(blocks: int = 16, width: int = 32, size: float = 0.5) -> None:
    """Paths by length, and the size of the plain and the residual product of the same random Jacobians."""
    rng = np.random.default_rng(0)
    plain = residual = np.eye(width)
    sizes = {"plain: the long product alone": [], "residual: the sum over all paths": []}
    for _ in range(blocks):
        J = size * rng.normal(size=(width, width)) / math.sqrt(width)
        plain, residual = J @ plain, (np.eye(width) + J) @ residual
        for values, product in zip(sizes.values(), (plain, residual), strict=True):
            values.append(np.linalg.norm(product) / math.sqrt(width))
    long, whole = (values[-1] for values in sizes.values())
    fig, (left, right) = plotting.subplots(2, width=10, height=3.5)
    left.bar(range(blocks + 1), [math.comb(blocks, k) for k in range(blocks + 1)], color=plotting.COLOURS[0])
    left.set(xlabel="branches on the path", ylabel="paths", xticks=range(0, blocks + 1, 2), title=f"{blocks} blocks: {2**blocks} paths, one through all")
    plotting.curves(right, sizes, log=True, xlabel="blocks", ylabel="factor on a gradient's length")
    right.set_title(f"after {blocks} blocks: {long:.1e} and {whole:.1f}")
    plotting.show(
        fig,
        alt=f"Left: the {2**blocks} paths through {blocks} residual blocks by the number of branches on them, a bell from 1 path through none over {math.comb(blocks, blocks // 2)} through {blocks // 2} to 1 through all. "
        f"Right, on a logarithmic axis: for random branch Jacobians that halve lengths, the plain product falls to {long:.1e} after {blocks} blocks, and the product of I + J grows slowly to {whole:.1f}.",
    )


draw_paths()

# %% [markdown]
# The same sixteen random Jacobians, with and without $I$. One factor of a half a block is enough to lose the plain network's gradient; in the residual one that very product is still there, one term of 65 536, and does not matter.
# Note also that the sum *grows*. A skip alone does not keep gradients in bounds, as the widget in section 9 shows too: some normalisation, or branches that start small, must see to that.

# %% [markdown]
# **Exercise 4.3 · `basic_block`** (4 points · difficulty 3 of 5 · about 30 minutes)
#
# Write the class `BasicBlock` as above. Both convolutions are 3×3 with padding 1 and no bias; the stride is that of the first. With `residual=False` it is the same block without a shortcut: $h = \mathrm{relu}(F(x))$.
# For the batch norms use your `BatchNorm2d` (or `nn.BatchNorm2d`, which is the same but compiled).
#
# <details><summary>Hint 1: where to start</summary>
#
# Decide in `__init__` what the shortcut is: `None`, `nn.Identity()`, or `nn.Sequential(nn.Conv2d(...), BatchNorm2d(...))`. Then `forward` is three lines.
#
# </details>
#
# <details><summary>Hint 2: which ReLU where</summary>
#
# There are two. One stands between the convolutions; the other comes last of all, after the sum. None stands at the end of the branch, which must be free to subtract. Keep your hands off `x` itself: `F.relu(x, inplace=True)` would change it for whoever uses it next.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "basic_block", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut around them if asked for (He and others 2016, figure 2).

    Args:
        cin: channels of the input.
        cout: channels of the output.
        stride: stride of the first convolution, and of the projection.
        residual: whether there is a shortcut.

    Attributes:
        conv1, bn1, conv2, bn2: the branch; the convolutions have no bias.
        shortcut: None if not ``residual``; ``nn.Identity()`` if input and output have the same shape;
            else a 1x1 convolution without bias and a batch norm, in ``nn.Sequential``.
    """

    def __init__(self, cin: int, cout: int, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(cout)
        if not residual:
            self.shortcut = None
        elif cin == cout and stride == 1:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))
        ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """The block's output.

        Args:
            x: shape (N, cin, H, W); left as it is.

        Returns:
            Shape (N, cout, H', W') with H' = ceil(H / stride), W' likewise.
        """
        ### BEGIN SOLUTION
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-basic_block", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("basic_block", points=4)
### BEGIN HIDDEN TESTS
check.use(BatchNorm2d=nn.BatchNorm2d)
### END HIDDEN TESTS


def block_output(cin, cout, stride, residual, x):
    return BasicBlock(cin, cout, stride, residual)(x).detach()


with check("shapes", points=0.5):
    for cin, cout, stride, residual, size, expected in (
        (3, 3, 1, True, (2, 3, 5, 7), (2, 3, 5, 7)),
        (4, 6, 2, True, (1, 4, 5, 8), (1, 6, 3, 4)),
        (4, 6, 2, False, (1, 4, 5, 8), (1, 6, 3, 4)),
        (2, 5, 1, True, (3, 2, 4, 4), (3, 5, 4, 4)),
    ):
        check.shape(
            check.run(block_output, cin, cout, stride, residual, torch.ones(size)),
            expected,
            mistakes={"Both convolutions have the stride. Only the first has it.": (1, 6, 2, 2)},
        )

with check("a branch of zeros lets positive numbers pass", points=0.5):
    block = BasicBlock(1, 1).eval()
    with torch.no_grad():
        block.conv1.weight.zero_()
        block.conv2.weight.zero_()
    check.close(
        block(torch.tensor([[[[1.0, -2.0], [0.5, 3.0]]]])),
        [[[[1.0, 0.0], [0.5, 3.0]]]],
        mistakes={
            "Nothing passes: x is not added. The block is relu(F(x) + x).": [[[[0.0, 0.0], [0.0, 0.0]]]],
            "The ReLU after the sum is missing.": [[[[1.0, -2.0], [0.5, 3.0]]]],
            "x is added twice.": [[[[2.0, 0.0], [1.0, 6.0]]]],
        },
    )


### BEGIN HIDDEN TESTS
def drawn_block(gen, cin, cout, stride, residual):
    """A block in float64 whose weights and running averages are all random."""
    block = BasicBlock(cin, cout, stride, residual).double()
    with torch.no_grad():
        for value in block.parameters():
            value.copy_(torch.randn(value.shape, generator=gen) / math.sqrt(max(1, value[0].numel())))
        for norm in (part for part in block.modules() if hasattr(part, "running_var")):
            norm.running_mean.copy_(torch.randn(len(norm.running_mean), generator=gen) / 2)
            norm.running_var.copy_(0.5 + torch.rand(len(norm.running_var), generator=gen))
    return block


def parts_of(cin, cout, stride, residual):
    """How many parameters a block has, and whether it has a shortcut."""
    block = BasicBlock(cin, cout, stride, residual)
    return sum(p.numel() for p in block.parameters()), block.shortcut is not None


def halved(x):
    """What a block with a projection makes of images and of the same in reversed order, in evaluation."""
    block = BasicBlock(3, 6, 2).eval()
    return block(x).detach(), block(x.flip(0)).detach()


def outputs(block, *trials):
    """What a block makes of each batch, in training mode or not."""
    with torch.no_grad():
        return [block.train(mode)(x) for mode, x in trials]


def without_gradient(gen, cin, cout, stride, residual):
    """Names of the parameters to which no gradient comes."""
    block = drawn_block(gen, cin, cout, stride, residual)
    block(torch.randn(2, cin, 4, 4, generator=gen, dtype=torch.float64)).square().sum().backward()
    return [name for name, value in block.named_parameters() if value.grad is None or not bool(value.grad.abs().sum() > 0)]


def by_hand(block, x, stride, *, last=F.relu, branch_end=lambda h: h, middle=F.relu, second=True, projected=True, skip=True):
    """The block's output from its weights, by torch's functions; the options are the usual mistakes."""

    def norm(h, layer):
        return F.batch_norm(h, layer.running_mean.clone(), layer.running_var.clone(), layer.weight, layer.bias, layer.training, 0.1, 1e-5)

    h = middle(norm(F.conv2d(x, block.conv1.weight, None, stride, 1), block.bn1))
    h = F.conv2d(h, block.conv2.weight, None, 1, 1)
    h = branch_end(norm(h, block.bn2) if second else h)
    shortcut = dict(block.named_children()).get("shortcut")
    if shortcut is None or not skip:
        return last(h)
    convolutions = [part for part in shortcut.modules() if isinstance(part, nn.Conv2d)]
    if not convolutions:
        return last(h + x)
    around = F.conv2d(x, convolutions[0].weight, None, stride)
    norms = [part for part in shortcut.modules() if hasattr(part, "running_var")]
    return last(h + (norm(around, norms[0]) if projected and norms else around))


BLOCKS = ((3, 3, 1, True), (4, 5, 1, True), (4, 4, 2, True), (3, 6, 2, True), (3, 3, 1, False), (2, 4, 2, False))

with check("the right parts, and a projection only where shapes change", points=1):
    for cin, cout, stride, residual in BLOCKS:
        got, has_shortcut = check.run(parts_of, cin, cout, stride, residual)
        named = f"BasicBlock({cin}, {cout}, {stride}, {residual})"
        branch = 9 * cin * cout + 9 * cout**2 + 4 * cout
        projection = cin * cout + 2 * cout if residual and (cin != cout or stride != 1) else 0
        check.law(
            got == branch + projection,
            f"{named} has {branch + projection} parameters; got {got}",
            mistakes={
                "The shortcut is a projection though the shapes agree. There it is the identity, without parameters.": projection == 0
                and residual
                and got == branch + cin * cout + 2 * cout,
                "There is a projection in a block without a shortcut.": not residual and got > branch,
                "The convolutions have biases. The batch norm after them takes a bias away again: bias=False.": got
                in (branch + 2 * cout, branch + projection + (3 if projection else 2) * cout),
                "The projection has no batch norm.": got == branch + cin * cout,
                "The shortcut has no parameters though the shapes change: a 1x1 convolution and a batch norm belong there.": projection > 0 and got == branch,
                "The second batch norm is missing, or one is used twice. Each keeps averages of its own.": got == branch + projection - 2 * cout,
            },
        )
        check.law(
            has_shortcut == residual,
            f"{named}: shortcut is {'there' if has_shortcut else 'None'}; expected {'a module' if residual else 'None'}",
        )
    got, got_reversed = check.run(halved, torch.randn(2, 3, 4, 4, generator=check.gen))
    check.shape(got, (2, 6, 2, 2))
    check.law(got.std() > 0, "the output differs from place to place; yours is the same everywhere")
    check.close(got_reversed, got.flip(0), atol=1e-5)

with check("agrees with torch's functions in training and in evaluation", points=1):
    for cin, cout, stride, residual in BLOCKS:
        block = drawn_block(check.gen, cin, cout, stride, residual)
        trials = [
            (mode, torch.randn(size, generator=check.gen, dtype=torch.float64))
            for mode, size in ((True, (3, cin, 5, 6)), (False, (1, cin, 6, 4)), (False, (2, cin, 3, 7)))  # training comes first: it alone moves the averages
        ]
        for (mode, x), got in zip(trials, check.run(outputs, block, *trials), strict=True):
            block.train(mode)
            with torch.no_grad():
                want = by_hand(block, x, stride)
                mistakes = {
                    "The ReLU stands before the sum, at the end of the branch, and none after it. It is relu(F(x) + x).": by_hand(
                        block, x, stride, branch_end=F.relu, last=lambda h: h
                    ),
                    "There is a ReLU at the end of the branch. The branch must be free to subtract: the sum comes first.": by_hand(
                        block, x, stride, branch_end=F.relu
                    ),
                    "The ReLU after the sum is missing.": by_hand(block, x, stride, last=lambda h: h),
                    "The ReLU between the convolutions is missing.": by_hand(block, x, stride, middle=lambda h: h),
                    "The second batch norm is missing.": by_hand(block, x, stride, second=False),
                    "The projection has no batch norm.": by_hand(block, x, stride, projected=False),
                    "x is not added. The block is relu(F(x) + x).": by_hand(block, x, stride, skip=False),
                    "residual=False means no shortcut: relu(F(x)).": F.relu(
                        by_hand(block, x, stride, last=lambda h: h) + (0 if residual or stride > 1 or cin != cout else x)
                    ),
                }
            check.close(got, want, mistakes=mistakes)

with check("the input stays as it is, and the gradient of a zero branch is the identity's", points=1):
    for size in ((2, 3, 4, 5), (1, 3, 1, 1)):
        block = drawn_block(check.gen, 3, 3, 1, True).eval()
        with torch.no_grad():
            block.bn2.weight.zero_()
            block.bn2.bias.zero_()
        x = torch.randn(size, generator=check.gen, dtype=torch.float64)
        with check.no_side_effects(x):
            block(x)
        x = x.requires_grad_()
        upstream = torch.randn(size, generator=check.gen, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(block(x), x, upstream)
        check.close(
            gradient,
            upstream * (x > 0),
            mistakes={
                "No gradient comes through the shortcut: it is missing or detached.": torch.zeros(size),
                "The gradient passes where x is negative too: the ReLU after the sum is missing.": upstream,
            },
        )
    for cin, cout, stride, residual in BLOCKS:
        unused = check.run(without_gradient, check.gen, cin, cout, stride, residual)
        check.law(not unused, f"every parameter gets a gradient; none comes to {', '.join(unused)}")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 5  Networks of any depth
#
# For small images He and others use a family with one number $n$: a 3×3 convolution with batch norm and ReLU that keeps the image's size (the **stem**); three **stages** of $n$ blocks each, with $w$, $2w$ and $4w$ channels, the second and third stage halving the image in their first block; the mean
# over the whole image; one linear layer. *Depth* counts the layers with weights on the longest way: convolutions and linear layers, not batch norms, not projections:
#
# $$ \text{depth} = \underbrace{1}_{\text{stem}} + \underbrace{3 \cdot n \cdot 2}_{\text{blocks}} + \underbrace{1}_{\text{linear}} = 6n + 2. $$
#
# A fair comparison changes one thing. Here the plain and the residual network have the *same* parameters: the residual one has shortcuts only around the blocks whose shapes agree, where a shortcut costs nothing. (He and others keep one at the two changes of shape as well, padded with zeros.)

# %% [markdown]
# **Exercise 4.4 · `plain_or_res`** (4 points · difficulty 3 of 5 · about 30 minutes)
#
# Build that family from your `BasicBlock`. With `residual=False` no block has a shortcut; with `residual=True` those of equal shapes have one. Both take images $(N, 1, H, W)$ of any size and give ten logits. A depth that is not $6n + 2$ with $n \ge 1$ raises a `ValueError`.
# The checks also *train* your network for some seconds.
#
# <details><summary>Hint 1: where to start</summary>
#
# Collect modules in a list and wrap them in `nn.Sequential(*layers)`. Keep the number of channels so far in a variable; a block changes the shape exactly when it differs from the stage's width.
#
# </details>
#
# <details><summary>Hint 2: the end</summary>
#
# `nn.AdaptiveAvgPool2d(1)` gives $(N, C, 1, 1)$ for images of any size; `nn.Flatten()` makes $(N, C)$ of it.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "plain_or_res", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plain_or_res(depth: int, width: int = 8, residual: bool = True) -> nn.Module:
    """A plain or a residual network for small grey images (after He and others 2016, section 4.2).

    Args:
        depth: layers with weights, 6 n + 2 for n blocks a stage, n at least 1.
        width: channels of stem and first stage; the other stages have 2 and 4 times as many.
        residual: whether blocks whose shapes agree have a shortcut. The parameters are the same either way.

    Returns:
        A module from images (N, 1, H, W) to logits (N, 10).

    Raises:
        ValueError: no n gives this depth.
    """
    ### BEGIN SOLUTION
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(f"depth={depth}: choose 8, 14, 20, …, that is 6 n + 2.")
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1, bias=False), BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in (width, 2 * width, 4 * width):
        for _ in range(n):
            same = channels == stage
            layers.append(BasicBlock(channels, stage, 1 if same else 2, residual and same))
            channels = stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-plain_or_res", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("plain_or_res", points=4)


### BEGIN HIDDEN TESTS
class TrustedBlock(nn.Module):
    """In place of an earlier answer: the same parts by torch."""

    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        projection = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))
        self.shortcut = None if not residual else projection if (cin, stride) != (cout, 1) else nn.Identity()
        self.widths_seen = []  # of the images that came

    def forward(self, x):
        self.widths_seen.append(x.shape[-1])
        branch = nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.conv2, self.bn2)(x)
        return torch.clamp(branch if self.shortcut is None else torch.add(branch, self.shortcut(x)), min=0)


check.use(BatchNorm2d=nn.BatchNorm2d, BasicBlock=TrustedBlock)
### END HIDDEN TESTS


def weight_layers(model):
    return sum(isinstance(part, nn.Conv2d | nn.Linear) for part in model.modules())


def tried(model, images):
    """The logits, and how many numbers an image each linear layer takes and is given on the way."""
    fed = []

    def fit(layer, given):
        fed.append((layer.in_features, given[0].shape[-1]))
        return F.pad(given[0], (0, layer.in_features - given[0].shape[-1]))  # with too few or too many numbers the network would stop here

    hooks = [layer.register_forward_pre_hook(fit) for layer in model.modules() if isinstance(layer, nn.Linear)]
    logits = model(images).detach()
    for hook in hooks:
        hook.remove()
    return logits, fed


def check_fed(fed, misfit):
    for takes, given in fed:
        check.law(given == takes, f"the linear layer takes {takes} numbers an image; it was given {given}", mistakes={misfit: True})


with check("depth 8: ten logits, eight weight layers", points=1):
    for residual in (False, True):
        model = plain_or_res(8, 4, residual)
        logits, fed = check.run(tried, model, torch.ones(5, 1, 8, 8))
        check_fed(fed, "What reaches the linear layer is not one number a channel. Take the mean over the whole image, not over the channels.")
        check.shape(logits, (5, 10))
        check.equal(
            weight_layers(model),
            8,
            mistakes={
                "There are projections where shapes change. Here those blocks have no shortcut at all.": 10 if residual else None,
                "The stem and the linear layer are among the eight: six are left for the blocks.": 10,
                "A block has two convolutions: n = (depth - 2) / 6 blocks a stage.": 14,
            },
        )


### BEGIN HIDDEN TESTS
def size_of(depth, width, residual):
    """How many layers with weights the network has, and how many parameters."""
    model = plain_or_res(depth, width, residual)
    return weight_layers(model), sum(p.numel() for p in model.parameters())


def answers(residual, *batches):
    """What each batch comes to in evaluation."""
    model = plain_or_res(20, 4, residual).eval()
    return [tried(model, images) for images in batches]


def silenced(residual, images):
    """With every block's branch silent: the blocks' strides, the widths of the images that come to them, and the logits."""
    model = plain_or_res(20, 4, residual).eval()
    blocks = [part for part in model.modules() if hasattr(part, "widths_seen")]
    for block in blocks:
        if block.conv1.in_channels == block.conv1.out_channels:
            nn.init.zeros_(block.bn2.weight)
    logits = model(images).detach()
    return [block.conv1.stride[0] for block in blocks], [width for block in blocks for width in block.widths_seen], logits


def learnt(seed, x, y, batches, unseen):
    """Logits of unseen images after a step of Adam for each batch, and how many parameters have no gradient then."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = plain_or_res(14, 8, True)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for batch in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        logits = model(unseen)  # by the batch's own statistics: the running averages lag behind so short a training
    return logits, sum(p.grad is None or not bool(p.grad.abs().sum() > 0) for p in model.parameters())


with check("plain and residual: the same parameters at every depth", points=1):
    for depth, width in ((8, 3), (14, 8), (20, 5), (56, 4)):
        n = (depth - 2) // 6
        stages = sum(
            9 * cin * c + 9 * c * c + 4 * c + (n - 1) * (18 * c * c + 4 * c) for cin, c in ((width, width), (width, 2 * width), (2 * width, 4 * width))
        )
        want = 11 * width + stages + 40 * width + 10
        for residual in (True, False):
            layers, got = check.run(size_of, depth, width, residual)
            projections = 2 * width**2 + 4 * width + 8 * width**2 + 8 * width
            check.law(
                layers == depth or got == want + projections,
                f"plain_or_res({depth}, {width}, {residual}) has {depth} weight layers; got {layers}",
            )
            check.law(
                got == want,
                f"plain_or_res({depth}, {width}, {residual}) has {want} parameters; got {got}",
                mistakes={
                    "There are projections where shapes change, so plain and residual differ. Here those blocks have no shortcut at all.": got
                    == want + projections,
                    "The stem's convolution has a bias, or its batch norm is missing.": got in (want + width, want - 2 * width, want - width),
                    "The linear layer has no bias.": got == want - 10,
                    "The stages do not have width, 2 * width and 4 * width channels.": True,
                },
            )
    for depth in (2, 9, 18, 57):
        check.raises(ValueError, lambda depth=depth: plain_or_res(depth))

with check("any image size; shortcuts exactly when asked for", points=1):
    for residual in (True, False):
        images = torch.rand(4, 1, 8, 8, generator=check.gen)
        batches = [torch.rand(size, generator=check.gen) for size in ((1, 1, 8, 8), (2, 1, 12, 7), (3, 1, 28, 28))] + [images, images[1:2]]
        results = check.run(answers, residual, *batches)
        for batch, (logits, fed) in zip(batches, results, strict=True):
            check_fed(fed, "Images of one size only are taken. A mean over the whole image leaves one number a channel at any size.")
            check.shape(logits, (len(batch), 10))
            check.finite(logits)
        (together, _), (alone, _) = results[-2:]
        check.close(together[1:2], alone, mistakes={"An image's answer depends on the others in the batch, even in evaluation.": together[1:2]})
    # Silence every block's branch: with shortcuts an image still reaches the end of its stage, without them nothing does.
    passed = {}
    for residual in (True, False):
        strides, sides, (a, b) = check.run(silenced, residual, torch.rand(2, 1, 8, 8, generator=check.gen))
        check.law(
            len(strides) == 9,
            f"plain_or_res(20) has 9 blocks; got {len(strides)} of your BasicBlock",
            mistakes={"Build the network from BasicBlock.": len(strides) == 0},
        )
        check.equal(
            strides,
            [1, 1, 1, 2, 1, 1, 2, 1, 1],
            mistakes={
                "No stage halves the image. The first block of the second and of the third has stride 2.": [1] * 9,
                "The first stage keeps the image's size; only the second and the third halve it.": [2, 1, 1] * 3,
                "Only the first block of a stage has stride 2.": [1, 1, 1, 2, 2, 2, 2, 2, 2],
            },
        )
        passed[residual] = not torch.allclose(a, b, atol=1e-9, rtol=1e-6)
        check.equal(
            sides,
            [8, 8, 8, 8, 4, 4, 4, 2, 2],
            mistakes={"The stem cuts the image's border off. A 3×3 kernel needs padding=1 to keep its size.": [6, 6, 6, 6, 3, 3, 3, 2, 2]},
        )
    check.law(
        passed == {True: True, False: False},
        f"with silent branches an image reaches the logits if and only if residual; yours: residual {passed[True]}, plain {passed[False]}",
        mistakes={
            "The argument residual is not used: there are never shortcuts.": not passed[True],
            "The argument residual is not used: there are always shortcuts.": passed[False],
        },
    )

with check("it learns to read digits in 60 steps", points=1, seconds=60):
    seed, split = check.seeds(1)[0], data.load("digits", flat=False, seed=check.seeds(1)[0]).torch()
    batches = torch.randint(len(split.x_train), (60, 64), generator=check.gen)
    logits, idle = check.run(learnt, seed, split.x_train, split.y_train, batches, split.x_test)
    check.at_least(
        (logits.argmax(1) == split.y_test).float().mean(),
        0.8,
        "share of unseen digits read after 60 steps of Adam",
        mistakes={
            "The logits end in a softmax or a ReLU. Return the linear layer's output as it is.": bool((logits >= 0).all()),
            "No gradient comes to most of the weights.": idle > 5,
        },
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ### Plain against residual, at equal parameters
#
# Three of your networks, 6 channels wide, five epochs on the digits each, by SGD with momentum on the same batches: four epochs at a learning rate of 0.05, and one at 0.005 in which the running averages settle. All have batch norm everywhere, so the first layers are not starved by shrinking numbers any more.
#
# One thing is done for the residual network: the last $\gamma$ of each branch beside a shortcut starts at 0 and not at 1 (Goyal and others, 2017), so that it starts as a shallow network. For the plain network that would cut the signal off. It matters: without it
# the residual network also trains, but more slowly at the start.
#
# The same cell measures what the two modes of batch norm are worth (section 2). It reads the unseen digits with the trained residual network in three ways: in evaluation mode; in training mode, each batch holding one kind of digit only; and with the normalisation taken out.


# %% nbgrader={"grade": false, "grade_id": "experiment-depth", "locked": true, "schema_version": 3, "solution": false, "task": false}
def quiet_start(model: nn.Module) -> None:
    """Let every branch beside a shortcut start at zero."""
    for block in model.modules():
        if getattr(block, "shortcut", None) is not None:
            nn.init.zeros_(block.bn2.weight)


def accuracy_by_mode(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Share of images that are read in evaluation mode, in training mode with batches of one class only, and without normalisation."""
    in_training, without = copy.deepcopy(model).train(), copy.deepcopy(model).eval()
    for layer in without.modules():
        if hasattr(layer, "running_var"):
            layer.running_mean.zero_()
            layer.running_var.fill_(1.0)
    with torch.no_grad():
        right = sum(int((in_training(x[y == kind]).argmax(1) == kind).sum()) for kind in y.unique())
    return {"evaluation mode": 1 - error(model, x, y), "training mode, one kind a batch": right / len(y), "no normalisation": 1 - error(without, x, y)}


def depth_experiment(seed: int, split: data.Split[Tensor] = digits) -> dict[str, dict]:
    """Name of a network -> its mean training loss in each of five epochs and its test error; and the residual network's accuracy by mode."""
    found = {}
    for name, depth, residual in (("plain, 14 layers", 14, False), ("plain, 32 layers", 32, False), ("residual, 32 layers", 32, True)):
        training.seed_everything(seed)
        model = plain_or_res(depth, 6, residual)
        quiet_start(model)
        losses = []
        for epochs, rate in ((4, 0.05), (1, 0.005)):
            optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
            history = training.fit(model, F.cross_entropy, split.x_train, split.y_train, epochs=epochs, batch_size=64, optimizer=optimizer, seed=seed + epochs)
            losses += history.train_loss
        found[name] = {"loss": losses, "test": error(model, split.x_test, split.y_test)}
    return found | {"modes": accuracy_by_mode(model, split.x_test, split.y_test)}


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-depth-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("batch_norm2d", "basic_block", "plain_or_res"):
    depth_runs = depth_experiment(seed=0)
    modes = depth_runs.pop("modes")
    last = {name: run["loss"][-1] for name, run in depth_runs.items()}
    fig, (left, right) = plotting.subplots(2, width=11, height=3.6)
    plotting.curves(left, {name: run["loss"] for name, run in depth_runs.items()}, xlabel="epoch", ylabel="mean training loss")
    left.axhline(math.log(10), color="0.5", linestyle=":", linewidth=1)
    left.legend(loc="upper center", ncols=2)
    left.set(title="Training (dotted: guessing)", ylim=(0, 3.3), xticks=range(1, 6))
    plotting.bars(right, {name.replace(", ", ",\n"): value for name, value in modes.items()}, ylabel="share read", fmt="{:.2f}")
    right.set(title="Residual network: batch norm used in three ways", ylim=(0, 1.15))
    plotting.show(
        fig,
        alt="Left: training loss in five epochs. "
        + " ".join(f"{name}: from {run['loss'][0]:.2f} to {run['loss'][-1]:.2f}." for name, run in depth_runs.items())
        + " Right: share of unseen digits read by the residual network. "
        + " ".join(f"{name}: {value:.2f}." for name, value in modes.items()),
    )
    claims.show(
        Claim(
            "training loss: plain 32, minus plain 14",
            "overly deep plain nets have higher training error (CS909)",
            last["plain, 32 layers"] - last["plain, 14 layers"],
            at_least=0.5,
        ),
        Claim(
            "training loss: residual 32, as a share of plain 32",
            "deep ResNets can be trained without difficulties (CS909)",
            last["residual, 32 layers"] / last["plain, 32 layers"],
            at_most=0.25,
        ),
        Claim("share of unseen digits read by residual 32", "not in the lecture", modes["evaluation mode"], at_least=0.94),
        Claim("the same in training mode, one kind a batch", "not in the lecture", modes["training mode, one kind a batch"], at_most=0.6),
        Claim("the same with the normalisation taken out", "“keep active only in training” (CS909)", modes["no normalisation"], at_most=0.7),
    )

# %% [markdown]
# Batch norm alone does not save the plain network. The one with shortcuts *trains*: that is what the table holds. CS909's next sentence, "deeper ResNets have lower training error, and also lower test error", compares residual networks with *each other*. The table does not ask that:
# it takes more data than 1347 small images to see it.
#
# On the right, the same weights read the same images. With batches that do not look like those of training, the batch's own statistics mislead. And taking the normalisation out, as one may understand "active only in training", leaves little.

# %% [markdown]
# ## 6  Counting ResNet-34
#
# ResNet-34 is the same idea for 224×224 photographs. CS909 ("ResNet Models") lists its 34 layers from top to bottom:
#
# | part | layers | channels | first stride |
# |---|---|---|---|
# | stem | one 7×7 convolution, then a 3×3 max-pool with stride 2 | 3 → 64 | 2 |
# | stage 1 | 3 blocks of two 3×3 convolutions | 64 | 1 |
# | stage 2 | 4 blocks | 128 | 2 |
# | stage 3 | 6 blocks | 256 | 2 |
# | stage 4 | 3 blocks | 512 | 2 |
# | end | mean over the image, one linear layer | 512 → 1000 | |
#
# That makes $1 + 2\,(3 + 4 + 6 + 3) + 1 = 34$. The slide's drawing leaves out what stands beside the line of layers: a 1×1 **projection** on the shortcut of the first block of stages 2, 3 and 4, which is not counted in the 34 but has parameters; and after *every* convolution, projections too,
# a batch norm with two parameters a channel. There is no dropout, and no convolution has a bias.

# %% [markdown]
# **Exercise 4.5a · `resnet34_spec`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Write ResNet-34 down as a list of layers. Batch norms, pooling and ReLUs are not listed.
#
# <details><summary>Hint 1: where to start</summary>
#
# A loop over `((64, 3), (128, 4), (256, 6), (512, 3))`, and in it a loop over blocks.
#
# </details>
#
# <details><summary>Hint 2: the first block of a stage</summary>
#
# It is the only one whose input has another number of channels, whose first convolution has stride 2, and which has a projection. In stage 1 none of this happens: the max-pool has halved the image already.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "resnet34_spec", "locked": false, "schema_version": 3, "solution": true, "task": false}
def resnet34_spec() -> list[tuple[str, int, int, int]]:
    """The layers of ResNet-34 for 1000 classes (He and others 2016, table 1), with projections where shapes change.

    Returns:
        One ``(kind, cin, cout, stride)`` a layer, from the input to the output. ``kind`` is ``"7x7"``, ``"3x3"`` or
        ``"1x1"`` for a convolution (``"1x1"`` are the projections; each stands anywhere in its block), or ``"fc"``
        for the linear layer, whose stride is 1.
    """
    ### BEGIN SOLUTION
    spec, channels = [("7x7", 3, 64, 2)], 64
    for stage, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(blocks):
            stride = 1 if channels == stage else 2
            spec += [("3x3", channels, stage, stride), ("3x3", stage, stage, 1)]
            if stride == 2:
                spec.append(("1x1", channels, stage, 2))
            channels = stage
    return [*spec, ("fc", channels, 1000, 1)]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-resnet34_spec", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("resnet34_spec", points=2)

with check("the stem, the end, and 3-4-6-3 blocks", points=1):
    spec = [tuple(layer) for layer in resnet34_spec()]
    check.law(
        ("7x7", 3, 64, 2) in spec[:1],
        f"the first layer is ('7x7', 3, 64, 2); got {spec[:1]}",
        mistakes={"The stem is missing.": all(layer[0] != "7x7" for layer in spec)},
    )
    check.law(("fc", 512, 1000, 1) in spec[-1:], f"the last layer is ('fc', 512, 1000, 1); got {spec[-1:]}")
    check.equal(
        [sum(kind == "3x3" and cout == width for kind, _, cout, _ in spec) for width in (64, 128, 256, 512)],
        [6, 8, 12, 6],
        mistakes={
            "These are the blocks. Each has two 3x3 convolutions.": [3, 4, 6, 3],
            "These are two blocks a stage, as in ResNet-18. ResNet-34 has 3, 4, 6 and 3.": [4, 4, 4, 4],
            "The projections are listed as 3x3 convolutions. They are 1x1.": [6, 9, 13, 7],
        },
    )

### BEGIN HIDDEN TESTS
with check("one layer's output is the next one's input; strides; projections", points=1):
    spec = [tuple(layer) for layer in resnet34_spec()]
    way = [layer for layer in spec if layer[0] != "1x1"]
    check.law(
        len(way) == 34,
        f"34 layers are counted, without the projections; got {len(way)}",
        mistakes={"The projections are on the shortcuts: their kind is '1x1', and they do not count.": len(way) == 37},
    )
    for before, after in itertools.pairwise(way):
        check.law(before[2] == after[1], f"{before} gives {before[2]} channels and {after} takes {after[1]}")
    check.equal(
        [i for i, layer in enumerate(way) if layer[3] == 2],
        [0, 7, 15, 27],
        mistakes={
            "Stage 1 has no stride: the max-pool has halved the image already.": [0, 1, 7, 15, 27],
            "The stride is that of the first convolution of a stage's first block.": [0, 8, 16, 28],
            "Only the stem halves the image in your list. The first convolution of stages 2, 3 and 4 has stride 2 as well.": [0],
        },
    )
    check.equal(
        sorted(layer[1:] for layer in spec if layer[0] == "1x1"),
        [(64, 128, 2), (128, 256, 2), (256, 512, 2)],
        mistakes={
            "The projections are missing: stages 2, 3 and 4 begin with one on the shortcut.": [],
            "A projection has the stride of its block, 2, or the shapes would not agree.": [(64, 128, 1), (128, 256, 1), (256, 512, 1)],
            "There is a projection in stage 1, where shapes agree.": [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)],
            "Every block has a projection. Only those that change the shape need one.": sorted(layer[1:] for layer in spec if layer[0] == "1x1")
            if len(spec) > 40
            else None,
        },
    )
    places = [i for i, layer in enumerate(spec) if layer[0] == "1x1"]
    ends = [sum(layer[0] != "1x1" for layer in spec[:i]) for i in places]
    check.law(
        all(7 + offset <= end <= 9 + offset for end, offset in zip(sorted(ends), (0, 8, 20), strict=True)),
        "a projection stands in its block: before, between or just after the block's two 3x3 convolutions",
    )
### END HIDDEN TESTS
check.report()

# %% [markdown]
# **Exercise 4.5b · `count`** (1 point · difficulty 1 of 5 · about 10 minutes)
#
# Count the parameters of any such list: the convolutions without biases, a batch norm after each of them, and linear layers with biases.
#
# <details><summary>Hint 1: where to start</summary>
#
# A $k \times k$ convolution from $c$ to $c'$ channels has $k^2\, c\, c'$ weights. Its batch norm has a $\gamma$ and a $\beta$ for each of the $c'$.
#
# </details>
#
# <details><summary>Hint 2: what does not count</summary>
#
# The stride changes no parameter. Running averages are no parameters either. `int(kind[0])` is the $k$ of a convolution.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "count", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count(spec: Sequence[tuple[str, int, int, int]]) -> int:
    """Number of trainable parameters of a list of layers as ``resnet34_spec`` gives it.

    Args:
        spec: ``(kind, cin, cout, stride)`` for each layer; a kind ``"kxk"`` is a convolution without bias, followed
            by a batch norm, and ``"fc"`` a linear layer with bias.

    Returns:
        A whole number; 0 for an empty list.

    Example:
        ``count([("1x1", 2, 3, 1)])`` is 12: 6 weights, 3 scales and 3 shifts.
    """
    ### BEGIN SOLUTION
    total = 0
    for kind, cin, cout, _ in spec:
        total += cout * (cin + 1) if kind == "fc" else cout * (cin * int(kind[0]) ** 2 + 2)
    return total
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-count", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("count", points=1)

with check("one convolution, one linear layer", points=0.5):
    check.equal(
        count([("3x3", 2, 4, 2)]),
        80,
        mistakes={
            "The batch norm is missing: two parameters for each output channel.": 72,
            "The convolution was given a bias. The batch norm after it takes a bias away, so it has none.": 84,
            "The convolution was given a bias, and no batch norm.": 76,
            "The running averages were counted. They are not trained.": 88,
            "The kernel has k times k places.": 32,
            "The stride changes no parameter.": 160,
        },
    )
    check.equal(
        count([("fc", 5, 3, 1)]),
        18,
        mistakes={
            "The linear layer has a bias for each output.": 15,
            "No batch norm follows the linear layer.": 24,
            "The linear layer has a bias, and no batch norm.": 21,
        },
    )


### BEGIN HIDDEN TESTS
def by_torch(spec):
    """The same layers as torch modules, without memory for their weights."""
    layers = []
    for kind, cin, cout, stride in spec:
        if kind == "fc":
            layers.append(nn.Linear(cin, cout, device="meta"))
        else:
            layers += [nn.Conv2d(cin, cout, int(kind[0]), stride, bias=False, device="meta"), nn.BatchNorm2d(cout, device="meta")]
    return sum(p.numel() for layer in layers for p in layer.parameters())


with check("other lists", points=0.5):
    check.equal(count([]), 0)
    kinds = ("1x1", "3x3", "5x5", "7x7", "fc")
    for length in (1, 1, 2, 5, 12, 40):
        spec = [(str(check.rng.choice(kinds)), *(int(v) for v in check.rng.integers(1, 70, 2)), int(check.rng.integers(1, 3))) for _ in range(length)]
        norms = sum(2 * cout for kind, _, cout, _ in spec if kind != "fc")
        check.equal(
            count(spec),
            by_torch(spec),
            mistakes={
                "The batch norms are missing: two parameters for each output channel of a convolution.": by_torch(spec) - norms,
                "The convolutions were given biases. The batch norm after them takes a bias away, so they have none.": by_torch(spec) + norms // 2,
                "The projections count as well: they are on the shortcut, but they are trained.": by_torch([layer for layer in spec if layer[0] != "1x1"]),
                "The linear layers have biases.": by_torch(spec) - sum(cout for kind, _, cout, _ in spec if kind == "fc"),
                "Every kernel was taken for 3x3. The kind says how wide it is.": by_torch([(kind if kind == "fc" else "3x3", *rest) for kind, *rest in spec]),
            },
        )
### END HIDDEN TESTS
check.report()

# %% nbgrader={"grade": false, "grade_id": "experiment-resnet34", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("resnet34_spec", "count"):
    spec = resnet34_spec()
    by_kind = {kind: count([layer for layer in spec if layer[0] == kind]) for kind in ("7x7", "3x3", "1x1", "fc")}
    stages = {f"{width}\nchannels": count([layer for layer in spec if layer[0] == "3x3" and layer[2] == width]) for width in (64, 128, 256, 512)}
    fig, ax = plotting.subplots(width=7.5, height=3.2)
    parts = {"stem": by_kind["7x7"]} | {f"3×3, {name}": value for name, value in stages.items()} | {"projections": by_kind["1x1"], "linear": by_kind["fc"]}
    plotting.bars(ax, {name: value / 1e6 for name, value in parts.items()}, ylabel="million parameters", fmt="{:.2f}")
    ax.set_title(f"ResNet-34: {count(spec):,} parameters".replace(",", " "))
    plotting.show(
        fig,
        alt="Millions of parameters in the parts of ResNet-34. "
        + " ".join(f"{name.replace(chr(10), ' ')}: {value / 1e6:.2f}." for name, value in parts.items()),
    )
    claims.show(
        Claim("layers with weights, without projections", "34 (CS909)", sum(layer[0] != "1x1" for layer in spec), at_least=34, at_most=34),
        Claim("parameters, less the 21 797 672 of torchvision's resnet34", "not in the lecture", count(spec) - 21_797_672, at_least=0, at_most=0),
        Claim("the projections' share of the parameters", "not in the lecture's drawing", 100 * by_kind["1x1"] / count(spec), at_most=1, unit="%"),
    )

# %% [markdown]
# ## 7  Adding or concatenating
#
# There is another way to keep what came before: put the old channels *beside* the new ones. CS909 says so right after ResNet's results, "can also concatenate outputs rather than sum", and names ResNeXt. That is the wrong network (erratum E17).
# The one that concatenates is **DenseNet** (Huang and others, 2017): every layer reads the outputs of *all* layers before it. **ResNeXt** (Xie and others, 2017) *sums*, like ResNet; what it changes is inside the branch, where the 3×3 convolution works in groups of channels.
# For 128 channels in 32 groups it has $9 \cdot 128 \cdot 4 = 4608$ weights in place of $9 \cdot 128 \cdot 128 = 147\,456$.
#
# Summing leaves the number of channels as it is. Concatenating makes it grow: with $C_0$ channels at the start and $g$ new ones a layer (the *growth rate*), there are $C_0 + L\,g$ after $L$ layers.

# %% nbgrader={"grade": false, "grade_id": "figure-concatenation", "locked": true, "schema_version": 3, "solution": false, "task": false}
layers_so_far = np.arange(0, 13)
fig, ax = plotting.subplots(width=6.5, height=3.3)
plotting.curves(
    ax,
    {"ResNet, ResNeXt: summed": np.full(13, 64), "DenseNet: concatenated, g = 32": 64 + 32 * layers_so_far},
    x=layers_so_far,
    xlabel="layers",
    ylabel="channels",
)
ax.set(ylim=(0, 480), title="from 64 channels on")
plotting.show(
    fig,
    alt="Channels against layers from 0 to 12, starting at 64. Summed they stay at 64; concatenated with growth rate 32 they rise in a straight line to 448.",
)

# %% [markdown]
# **Exercise 4.6a · `dense_concat`** (2 points · difficulty 2 of 5 · about 15 minutes)
#
# Write DenseNet's connection. Each layer is any callable from features to new features; it is given everything so far, `x` first, then the outputs in their order, side by side along axis 1. Return all of it.
#
# <details><summary>Hint 1: where to start</summary>
#
# One variable is enough: the features so far. `torch.cat([a, b], dim=1)` puts channels side by side.
#
# </details>
#
# <details><summary>Hint 2: what each layer sees</summary>
#
# Try it on paper with layers that add up all channels that they are given: from one channel of ones they make 1, 2, 4, 8.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "dense_concat", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dense_concat(x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """Densely connected layers (Huang and others 2017): each is given x and the outputs of all layers before it.

    Args:
        x: features, shape (N, C0, ...).
        layers: callables, the l-th from (N, C0 + g_1 + … + g_{l-1}, ...) to (N, g_l, ...); there may be none.

    Returns:
        ``x`` and all outputs, in order, along axis 1: shape (N, C0 + g_1 + … + g_L, ...).
    """
    ### BEGIN SOLUTION
    features = x
    for layer in layers:
        features = torch.cat([features, layer(features)], dim=1)
    return features
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-dense_concat", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("dense_concat", points=2)

with check("three layers that add up what they see", points=1):
    check.close(
        dense_concat(torch.ones(1, 1), [lambda h: h.sum(1, keepdim=True)] * 3),
        [[1.0, 1.0, 2.0, 4.0]],
        mistakes={
            "Each layer was given the output of the one before only. Give it everything so far.": [[1.0, 1.0, 1.0, 1.0]],
            "The outputs are added to the features. Put them beside each other, along axis 1.": [[8.0]],
            "x is missing from the result: it comes first.": [[1.0, 2.0, 4.0]],
            "Only the last layer's output is returned. Return x and all outputs.": [[4.0]],
            "The order is turned round: x comes first, the last output last.": [[4.0, 2.0, 1.0, 1.0]],
            "Each layer was given x only.": [[1.0, 1.0, 1.0, 1.0]],
            "The parts stand in a list, or along an axis of their own. Join them along axis 1 to one tensor.": [[[1.0]], [[1.0]], [[2.0]], [[4.0]]],
        },
    )


### BEGIN HIDDEN TESTS
def convolved(x, *kernels):
    """What the answer makes of x and a layer with each of these kernels."""
    return dense_concat(x, [lambda h, k=kernel: torch.tanh(F.conv2d(h, k)) for kernel in kernels])


with check("random convolutions, layer by layer", points=1):
    for size, growths, dtype in (
        ((2, 3, 4, 5), (2, 1, 3), torch.float64),
        ((1, 1, 3, 3), (4, 4), torch.float32),
        ((3, 5, 2, 2), (), torch.float64),
        ((2, 2, 6, 1), (1,) * 6, torch.float64),
    ):
        x = torch.randn(size, generator=check.gen, dtype=dtype)
        widths = np.cumsum([size[1], *growths]).tolist()
        kernels = [torch.randn(g, c, 1, 1, generator=check.gen, dtype=dtype) / math.sqrt(c) for g, c in zip(growths, widths, strict=False)]
        with check.no_side_effects(x, *kernels):
            got = check.run(convolved, x, *kernels)
        check.shape(got, (size[0], widths[-1], *size[2:]))
        check.close(got[:, : size[1]], x, mistakes={"The order is turned round: x comes first, the last output last.": got[:, : size[1]]})
        for kernel, start, end in zip(kernels, widths, widths[1:], strict=False):
            # Each output must be that of its own layer on the channels before it.
            check.close(
                got[:, start:end],
                torch.tanh(torch.einsum("nchw,gc->nghw", got[:, :start], kernel[:, :, 0, 0])),
                mistakes={"A layer was given its channels in another order.": got[:, start:end]},
            )
    x = torch.randn(2, 2, generator=check.gen, requires_grad=True)
    dense_concat(x, [torch.sin, torch.cos]).sum().backward()
    check.law(x.grad is not None and bool(x.grad.abs().sum() > 0), "gradients reach x")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# ## 8  What do the parts know?
#
# ### Only batch norm is trained
# CS909 asks "What can you do with just training batch norm parameters?" and quotes Frankle and others (2021): with every convolution frozen at its random start, training only $\gamma$ and $\beta$ takes a deep ResNet to 82 % on CIFAR-10, far beyond what as many other parameters achieve, partly by switching a third of the features off.
#
# To repeat that you need to freeze *for certain*. `requires_grad = False` is not all: an optimiser moves whatever parameter it holds that has a `grad`, one left over from an earlier `backward()` too, and weight decay then shrinks it. A parameter whose `grad` is `None` is passed over.

# %% [markdown]
# **Exercise 4.6b · `freeze_all_but_bn`** (3 points · difficulty 3 of 5 · about 20 minutes)
#
# Leave only the scales and shifts of batch norms trainable, *whatever the model was like before*, and return how many numbers that is. Batch norms are your `BatchNorm2d` and torch's `nn.BatchNorm1d` and `nn.BatchNorm2d`; other normalisations, such as `nn.LayerNorm`, are frozen.
# An optimiser made earlier over all parameters must not move the frozen ones any more: no gradient may be left on them.
#
# <details><summary>Hint 1: where to start</summary>
#
# First freeze everything: `model.parameters()`. Then go through `model.modules()`, which visits parts of parts, and set the batch norms free.
#
# </details>
#
# <details><summary>Hint 2: numbers, not tensors</summary>
#
# `p.numel()` counts the numbers in a tensor. A batch norm with `affine=False` has no parameters; `layer.parameters()` is empty then, while `layer.weight` is `None`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "freeze_all_but_bn", "locked": false, "schema_version": 3, "solution": true, "task": false}
def freeze_all_but_bn(model: nn.Module) -> int:
    """Make the scales and shifts of the batch norms the only trainable parameters, without a gradient on the others.

    Args:
        model: changed in place: ``requires_grad`` of its parameters, and ``grad`` of the frozen ones, which becomes
            None. Its mode (training or evaluation) stays.

    Returns:
        How many numbers are trainable now.
    """
    ### BEGIN SOLUTION
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    free = [p for layer in model.modules() if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)) for p in layer.parameters()]
    for parameter in free:
        parameter.requires_grad_(True)
    return sum(parameter.numel() for parameter in free)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test-freeze_all_but_bn", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = checks.exercise("freeze_all_but_bn", points=3)


### BEGIN HIDDEN TESTS
class AnotherNorm(nn.Module):
    """In place of an earlier answer: torch's function with the attributes of BatchNorm2d."""

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps)


AnotherNorm.__name__ = AnotherNorm.__qualname__ = "BatchNorm2d"
check.use(BatchNorm2d=AnotherNorm)
### END HIDDEN TESTS

with check("a convolution, a batch norm, a linear layer", points=1):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(8, 3))
    check.equal(
        freeze_all_but_bn(model),
        6,
        mistakes={
            "These are tensors. Count the numbers in them with numel().": 2,
            "The linear layer is trained too. Everything but the batch norms is frozen.": 33,
            "Nothing is frozen: these are all parameters.": 63,
            "These are the frozen ones. Count those that can be trained.": 57,
            "Only the scales are trained. The shifts are too.": 3,
            "Biases of the convolution and the linear layer are vectors as well, and they are frozen: ask what kind of layer a parameter belongs to.": 12,
        },
    )
    check.equal([p.requires_grad for p in model.parameters()], [False, False, True, True, False, False])


### BEGIN HIDDEN TESTS
def mixed_model():
    """Convolutions, a block with both kinds of batch norm, a LayerNorm, a batch norm without parameters, one for vectors; and what may be trained of it."""
    inner = nn.Sequential(nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5, affine=False), nn.BatchNorm2d(5))
    block = nn.Sequential(nn.Conv2d(3, 5, 3), AnotherNorm(5), nn.ReLU(), inner)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), block, nn.GroupNorm(1, 5), nn.Flatten(), nn.LazyLinear(6), nn.BatchNorm1d(6), nn.LayerNorm(6), nn.Linear(6, 2)
    )
    with torch.no_grad():
        model(torch.randn(4, 1, 6, 6, generator=check.gen))
    return model, [value for norm in (model[1], block[1], inner[2], model[6]) for value in (norm.weight, norm.bias)]


def names_of(model, wanted):
    return sorted(name for name, p in model.named_parameters() if any(p is one for one in wanted))


with check("exactly the batch norms, at any depth, whatever it was before", points=1):
    for before in (True, False):
        with torch.random.fork_rng():
            model, free = mixed_model()
        model.requires_grad_(before)
        model.train(before)
        values = [p.detach().clone() for p in model.parameters()]
        got = freeze_all_but_bn(model)
        own, torchs, vectors = free[2:4], free[:2] + free[4:6], free[6:]
        check.equal(
            sorted(name for name, p in model.named_parameters() if p.requires_grad),
            names_of(model, free),
            mistakes={
                "A batch norm that was frozen before has to be set free.": [],
                "Your own BatchNorm2d is missing.": names_of(model, torchs + vectors),
                "nn.BatchNorm2d is missing.": names_of(model, own + vectors),
                "nn.BatchNorm1d is missing.": names_of(model, own + torchs),
                "Only the top level was looked at. model.modules() visits parts of parts.": names_of(model, free[:2] + vectors),
                "Only the scales were set free. The shifts are trained too.": names_of(model, free[::2]),
                "Every vector was set free. Biases of other layers and other normalisations are frozen.": sorted(
                    name for name, p in model.named_parameters() if p.ndim == 1
                ),
            },
        )
        check.equal(got, 38, mistakes={"These are tensors. Count the numbers in them with numel().": 8})
        check.law(model.training == before, "the model's mode (training or evaluation) stays as it was")
        check.law(all(torch.equal(a, b) for a, b in zip(values, model.parameters(), strict=True)), "the parameters keep their values")

with check("an optimiser made earlier moves nothing else, weight decay or not", points=1):
    with torch.random.fork_rng():
        model, free = mixed_model()
    images, labels = torch.randn(6, 1, 6, 6, generator=check.gen), torch.randint(2, (6,), generator=check.gen)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.1)
    F.cross_entropy(model(images), labels).backward()  # leaves a gradient on every parameter
    freeze_all_but_bn(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(5):
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        for p in model.parameters():
            if p.grad is not None:
                p.grad.zero_()
    moved = sorted(name for name, p in model.named_parameters() if not torch.equal(p, before[name]))
    allowed = names_of(model, free)
    check.law(
        set(moved) <= set(allowed),
        f"five steps of Adam moved {', '.join(name for name in moved if name not in allowed)}, which should be frozen",
        mistakes={
            "A gradient was left on the frozen parameters, and an optimiser moves whatever has one. Set their grad to None.": all(
                not p.requires_grad for name, p in model.named_parameters() if name not in allowed
            ),
            "They still require gradients.": True,
        },
    )
    check.law(set(moved) == set(allowed), f"scales and shifts are trained; these did not move: {', '.join(name for name in allowed if name not in moved)}")
### END HIDDEN TESTS
check.report()

# %% [markdown]
# Now the experiment, on your residual network of 8 layers, 16 channels wide, with He's random weights. Four trainings of 150 steps of Adam, alike but for what may move: the 480 scales and shifts; 480 weights of the convolutions, drawn at random; the 650 parameters of the last layer only;
# and, as the control that the quotation lacks, no network at all: a linear classifier on the 64 pixels, also with 650 parameters.


# %% nbgrader={"grade": false, "grade_id": "experiment-bn-only", "locked": true, "schema_version": 3, "solution": false, "task": false}
def bn_only_experiment(seed: int, split: data.Split[Tensor] = digits) -> dict[str, dict[str, float]]:
    """What is trained -> number of trainable parameters, test accuracy after 150 steps of Adam, share of scales below 0.1."""
    order = torch.Generator().manual_seed(seed)
    batches = torch.randint(len(split.x_train), (150, 64), generator=order).to(where)
    found = {}
    for name in ("scales and shifts", "as many random weights", "last layer only", "linear, on pixels"):
        training.seed_everything(seed)
        model = plain_or_res(8, 16, residual=True).to(where)
        convolutions = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
        for weight in (*convolutions, last.weight):
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        number = freeze_all_but_bn(model)
        scales = [p for key, p in model.named_parameters() if p.requires_grad and key.endswith("weight")]
        keep = [torch.ones_like(weight) for weight in convolutions]
        if name == "as many random weights":
            model.requires_grad_(False)
            chosen = torch.zeros(sum(weight.numel() for weight in convolutions))
            chosen[torch.randperm(len(chosen), generator=order)[:number]] = 1
            keep = [
                part.view_as(weight).to(where) for part, weight in zip(chosen.split([weight.numel() for weight in convolutions]), convolutions, strict=True)
            ]
            for weight in convolutions:
                weight.requires_grad_(True)
        elif name == "last layer only":
            model.requires_grad_(False)
            last.requires_grad_(True)
            number = sum(p.numel() for p in last.parameters())
        elif name == "linear, on pixels":
            model = nn.Sequential(nn.Flatten(), nn.Linear(split.x_train[0].numel(), 10)).to(where)
            number = sum(p.numel() for p in model.parameters())
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
        for batch in training.progress(batches, desc=name):
            optimizer.zero_grad()
            F.cross_entropy(model(split.x_train[batch]), split.y_train[batch]).backward()
            for weight, mask in zip(convolutions, keep, strict=True):
                if weight.grad is not None:
                    weight.grad *= mask
            optimizer.step()
        small = float((torch.cat([scale.detach().abs() for scale in scales]) < 0.1).float().mean())
        found[name] = {"parameters": number, "accuracy": 1 - error(model, split.x_test, split.y_test), "small": small}
    return found


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-bn-only-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("batch_norm2d", "basic_block", "plain_or_res", "freeze_all_but_bn"):
    bn_only = bn_only_experiment(seed=0)
    fig, ax = plotting.subplots(width=8, height=3.4)
    plotting.bars(ax, {f"{name}\n({run['parameters']})": run["accuracy"] for name, run in bn_only.items()}, ylabel="share of unseen digits read", fmt="{:.2f}")
    ax.set(title="What is trained, and how many numbers that is", ylim=(0, 1.15))
    plotting.show(
        fig,
        alt="Share of unseen digits read, by what is trained. "
        + " ".join(f"{name}, {run['parameters']} parameters: {run['accuracy']:.2f}." for name, run in bn_only.items()),
    )
    claims.show(
        Claim("accuracy, scales and shifts only", "82 % on CIFAR-10 (Frankle 2021)", bn_only["scales and shifts"]["accuracy"], at_least=0.75),
        Claim(
            "the same, minus as many random weights",
            "far higher (Frankle 2021)",
            bn_only["scales and shifts"]["accuracy"] - bn_only["as many random weights"]["accuracy"],
            at_least=0.1,
        ),
        Claim(
            "linear classifier on pixels, minus scales and shifts",
            "not in the lecture",
            bn_only["linear, on pixels"]["accuracy"] - bn_only["scales and shifts"]["accuracy"],
            at_least=0.0,
        ),
        Claim("share of scales below 0.1", "around a third (Frankle 2021)", bn_only["scales and shifts"]["small"]),
    )

# %% [markdown]
# The *comparison* holds: 480 scales and shifts do far more than 480 other weights. Scaling and shifting random features is expressive. The *absolute* number impresses less once the control stands beside it: a linear classifier on the bare pixels, no network at all, reads more digits.
# And the third of the features that gets switched off is not seen here: in a network this small and this briefly trained, few scales come near zero. (On CIFAR-10 a linear classifier is poor, so there 82 % says more.)

# %% [markdown]
# ### Linear probes: what can be read off at each depth
# Asano's table ("numerical evaluation") trains a linear classifier on the features of each layer of AlexNet, the network itself being frozen. On ImageNet it finds, for layers 1 to 5:
#
# | | c1 | c2 | c3 | c4 | c5 |
# |---|---|---|---|---|---|
# | trained network | 19.3 | 36.3 | 44.2 | 48.3 | 50.5 |
# | random network | 11.6 | 17.1 | 16.9 | 16.3 | 14.1 |
#
# The second row is the control. Without it, the first would not tell learning from architecture: some of what can be read off is due to the convolutions alone.
# Centred digits are too easy for this, so the next cell puts them at random places on a 16×16 canvas, where a linear classifier on pixels fails. It probes your residual network of 14 layers after each of its six blocks, before and after training. Features are pooled to about equal number (288, 256 or 288), as in the table.


# %% nbgrader={"grade": false, "grade_id": "experiment-probes", "locked": true, "schema_version": 3, "solution": false, "task": false}
def placed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image at a random place of a canvas twice as high and wide."""
    n, c, h, w = images.shape
    canvas = torch.zeros(n, c, 2 * h, 2 * w, device=images.device)
    for i, (top, left) in enumerate(torch.stack([torch.randint(side + 1, (n,), generator=generator) for side in (h, w)], dim=1).tolist()):
        canvas[i, :, top : top + h, left : left + w] = images[i]
    return canvas


def features_by_block(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Output of every block in evaluation mode, pooled to about 270 numbers an image."""
    seen: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _block, _args, output: seen.append(output)) for block in model.modules() if isinstance(block, BasicBlock)]
    model.eval()
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return [F.adaptive_avg_pool2d(output, round(math.sqrt(270 / output.shape[1]))).flatten(1) for output in seen]


def probe(train: Tensor, test: Tensor, y_train: Tensor, y_test: Tensor) -> float:
    """Test accuracy of a linear classifier (ridge regression on the standardised features)."""
    train, test = train.cpu().double(), test.cpu().double()
    mean, spread = train.mean(0), train.std(0) + 1e-12
    train, test = (train - mean) / spread, (test - mean) / spread
    targets = F.one_hot(y_train.cpu(), 10).double() - 0.1
    weights = torch.linalg.solve(train.T @ train + 30 * torch.eye(train.shape[1], dtype=torch.float64), train.T @ targets)
    return float(((test @ weights).argmax(1) == y_test.cpu()).double().mean())


def probe_experiment(seed: int, split: data.Split[Tensor] = digits) -> dict[str, list[float]]:
    """Accuracy of a probe on the pixels, and after each of six blocks of the random and of the trained network."""
    generator = torch.Generator().manual_seed(seed)
    x_train, x_test = placed(split.x_train, generator), placed(split.x_test, generator)
    training.seed_everything(seed)
    model = plain_or_res(14, 8, residual=True).to(where)

    def probes() -> list[float]:
        pairs = zip(features_by_block(model, x_train), features_by_block(model, x_test), strict=True)
        return [probe(train, test, split.y_train, split.y_test) for train, test in pairs]

    found = {"pixels": [probe(x_train.flatten(1), x_test.flatten(1), split.y_train, split.y_test)], "random": probes()}
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=130)  # short steps at the end, while the running averages settle
    model.train()
    for batch in training.progress(torch.randint(len(x_train), (130, 64), generator=generator).to(where), desc="training"):
        optimizer.zero_grad()
        F.cross_entropy(model(placed(split.x_train[batch], generator)), split.y_train[batch]).backward()
        optimizer.step()
        schedule.step()
    return found | {"trained": probes()}


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "experiment-probes-result", "locked": true, "schema_version": 3, "solution": false, "task": false}
with checks.uses("batch_norm2d", "basic_block", "plain_or_res"):
    probed = probe_experiment(seed=0)
    trained, untrained = probed["trained"], probed["random"]
    fig, ax = plotting.subplots(width=7, height=3.5)
    plotting.curves(ax, {"trained network": trained, "random network": untrained}, xlabel="after block", ylabel="accuracy of the probe")
    ax.axhline(probed["pixels"][0], color="0.4", linestyle=":", linewidth=1.5)
    ax.annotate("a linear classifier on pixels", (1, probed["pixels"][0]), xytext=(0, 4), textcoords="offset points")
    ax.set(ylim=(0, 1), xticks=range(1, 7), title="Digits at random places: read off by a linear classifier")
    plotting.show(
        fig,
        alt="Accuracy of a linear probe after blocks 1 to 6. Trained network: "
        + ", ".join(f"{a:.2f}" for a in trained)
        + ". Random network: "
        + ", ".join(f"{a:.2f}" for a in untrained)
        + f". A linear classifier on the pixels: {probed['pixels'][0]:.2f}.",
    )
    claims.show(
        Claim("trained: last block minus first", "from 19.3 to 50.5 % (Asano)", trained[-1] - trained[0], at_least=0.1),
        Claim("random: last block minus first", "from 11.6 over 17.1 down to 14.1 % (Asano)", untrained[-1] - untrained[0], at_most=-0.03),
        Claim("last block: trained minus random", "36.4 points (Asano)", trained[-1] - untrained[-1], at_least=0.3),
        Claim("random, first block: minus pixels", "random networks extract something useful (Asano)", untrained[0] - probed["pixels"][0], at_least=0.15),
    )

# %% [markdown]
# The shape is that of the table: what training makes can be read off better the deeper one looks; what a random network makes is worth something near the input, and less and less from there. Single steps of the upper curve may go down a little; only its ends are held to a band.

# %% [markdown]
# ## 9  Gradients through depth
#
# Before any training: how large is the gradient of the loss by the weights of each layer, from the first to the last? The curves are those of your plain and your residual network, with He's start. Take the depth to 56, then take the batch norm away.


# %% tags=["nbval-ignore-output"] nbgrader={"grade": false, "grade_id": "widget-gradients", "locked": true, "schema_version": 3, "solution": false, "task": false}
def gradient_norms(depth: int, residual: bool, batch_norm: bool) -> list[float]:
    """Norm of the loss's gradient by the weights of each layer before training, first layer first, on 32 digits. Without batch norm the layers are left at mean 0 and variance 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = plain_or_res(depth, 8, residual)
        weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        for weight in weights:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
    model.train(batch_norm)
    F.cross_entropy(model(digits.x_train[:32].cpu()), digits.y_train[:32].cpu()).backward()
    return [float(weight.grad.norm()) for weight in weights]


def draw_gradients(depth: int, batch_norm: bool) -> tuple[matplotlib.figure.Figure, str]:
    """Gradient norms of the plain and the residual network, layer by layer."""
    norms = {"plain": gradient_norms(depth, False, batch_norm), "residual": gradient_norms(depth, True, batch_norm)}
    fig, ax = plotting.subplots(width=4.6, height=3.5)
    plotting.curves(ax, norms, log=True, xlabel="layer", ylabel="norm of the gradient")
    ax.set(ylim=(1e-6, 1e5), yticks=[1e-6, 1e-4, 1e-2, 1, 1e2, 1e4])
    ax.set_title("first / last layer: " + ", ".join(f"{name} {float(f'{values[0] / values[-1]:.2g}'):g}" for name, values in norms.items()), fontsize=10)
    text = " ".join(f"{name}: {values[0]:.1e} in the first layer, {values[-1]:.1e} in the last." for name, values in norms.items())
    return fig, f"Norm of the gradient by the weights of each of {depth} layers before training, {'with' if batch_norm else 'without'} batch norm. {text}"


with checks.uses("batch_norm2d", "basic_block", "plain_or_res"):
    widgets.explore(
        draw_gradients,
        sliders={"depth": (8, 56, 6, 20), "batch_norm": True},
        twin=[{"depth": 8, "batch_norm": True}, {"depth": 56, "batch_norm": True}, {"depth": 56, "batch_norm": False}],
        title="Gradient norms before training",
    )

# %% [markdown]
# With batch norm the plain network's gradients do not vanish: they **explode** towards the first layers, a thousandfold at depth 56. No learning rate suits the first layer and the last. In the residual network first and last stay within a factor of ten.
# Without batch norm the layers of one network differ less, but all their gradients have the wrong size: in the plain one the signal fades on its way forward (the zeros around the image cost a little at every convolution), in the residual one it grows, since every block
# adds to what comes in. So "skips make gradients flow" is half of the truth: here it takes the skip *and* the normalisation.
#
# Batch norm has a price, which CS909's "What can you do without batch normalization?" names: it needs batches that are large enough to estimate from. Networks without any (Brock and others, 2021) start their branches small, as `quiet_start` does, and clip gradients.

# %% [markdown]
# ## 10  Written question
#
# (a) Expand $(I + J_3)(I + J_2)(I + J_1)$. How many products are there with 0, 1, 2 and 3 factors? Which of them is the plain network's? Use this to correct the lecture's sentence that with skip connections the weight update "will have fewer multiplicative terms of gradients". (3 points)
#
# (b) The lecture says that outputs can also be concatenated rather than summed, and names ResNeXt. Which network concatenates, and what does ResNeXt do? (1 point)
#
# Five to ten sentences, with formulas where they help.

# %% [markdown] nbgrader={"grade": true, "grade_id": "written", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) $(I + J_3)(I + J_2)(I + J_1) = I + J_1 + J_2 + J_3 + J_2J_1 + J_3J_1 + J_3J_2 + J_3J_2J_1$. There are $\binom{3}{k}$ products with $k$ factors: 1, 3, 3 and 1, together $2^3 = 8$. The order of the factors matters, since matrices do not commute: a later layer stands further
# left. The plain network has the last one only, $J_3J_2J_1$. So the residual network's gradient has *more* terms, $2^L$ in place of one, and the longest has as many factors as before. What helps is that the long product is no longer alone. There are terms with few factors, and the identity with
# none, so that the sum does not get small when every $\lVert J_l\rVert$ is below 1. A correct sentence: "with skip connections the gradient is a sum over $2^L$ paths, and many of them pass through few layers". (It is no bound from above: with large $J_l$ the sum can explode.)
#
# (b) DenseNet concatenates: each layer reads the outputs of all layers before it. ResNeXt sums, like ResNet; its branch has grouped convolutions (many parallel paths whose results are added).
# ### END SOLUTION
# ### BEGIN MARK SCHEME
# 4 points, half points allowed.
# - (a) 1 point: the eight products, in the right order ($J_2J_1$, not $J_1J_2$; half a point off for the order).
# - (a) 1 point: 1, 3, 3, 1 (or the binomials), and $J_3J_2J_1$ as the plain network's.
# - (a) 1 point: the correction: more terms and not fewer; what helps is that short ones are among them. Half a point for "more terms" alone.
# - (b) 1 point: DenseNet concatenates (half), ResNeXt sums grouped convolutions (half).
#
# Accept an answer that keeps the ReLUs after the sums as diagonal matrices $D_l$ of zeros and ones: $\prod_l D_l (I + J_l)$.
# ### END MARK SCHEME

# %% [markdown]
# ## Summary
#
# - Degradation is a failure of optimisation: the deeper plain network has the higher *training* error, though better weights exist.
# - Batch norm normalises each channel over batch and image; in evaluation it uses running averages. It is never off. Its gradient goes through mean and variance, and sums to zero.
# - A residual block computes $\mathrm{relu}(F(x) + x)$. Its Jacobian $I + J$ turns one long product into a sum over $2^L$ paths; the long one is still among them.
# - At equal parameters the plain network of 32 layers hardly trains and the residual one does. That it trains does not make it better than a shallow one.
# - ResNet-34 has 34 layers on its longest way, 3 projections beside it, and 21 797 672 parameters. DenseNet concatenates; ResNeXt sums.
# - A result about frozen or random features says something only next to its control.
#
# **Next:** attention, which lets every part of the input look at every other, in 05-transformer.
