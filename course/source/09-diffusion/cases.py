# Answers that the graders of 09-diffusion are proven against; docs/authoring.md says how a case is written.

# %% wrong | schedule | end points of a thousand steps
# hint: The end points do not grow as T shrinks
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta, 1 - beta, (1 - beta).cumprod(0)


# %% wrong | schedule | product of the betas
# hint: abar is the product of the betas
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta, 1 - beta, beta.cumprod(0)


# %% wrong | schedule | sum of the alphas
# hint: abar is a sum
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta, 1 - beta, (1 - beta).cumsum(0)


# %% wrong | schedule | shifted by one step
# hint: abar is shifted by one step
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    alpha = 1 - beta
    return beta, alpha, torch.cat([torch.ones(1, dtype=torch.float64), alpha.cumprod(0)[:-1]])


# %% wrong | schedule | the last beta is 1
# hint: beta was not clipped to 0.999
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = 1 - f[1:] / f[:-1]
    else:
        raise ValueError(kind)
    return beta, 1 - beta, (1 - beta).cumprod(0)


# %% wrong | schedule | beta clipped, abar not
# hint: beta was not clipped to 0.999
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
        return beta, 1 - beta, (1 - beta).cumprod(0)
    if kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
        return beta, 1 - beta, f[1:] / f[0]
    raise ValueError(kind)


# %% wrong | schedule | cosine without its offset
# hint: The offset 0.008 is missing
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos(torch.arange(T + 1, dtype=torch.float64) / T * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta, 1 - beta, (1 - beta).cumprod(0)


# %% wrong | schedule | cosine not squared
# hint: The cosine was not squared
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2)
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta, 1 - beta, (1 - beta).cumprod(0)


# %% wrong | schedule | float32
# hint: expected dtype float64, got float32
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta, 1 - beta, (1 - beta).cumprod(0)


# %% wrong | schedule | converted to float64 too late
# hint: values differ
def schedule(T, kind="linear"):
    if kind == "linear":
        beta = torch.linspace(0.1 / T, 20 / T, T).clamp(max=0.999)
    elif kind == "cosine":
        f = torch.cos((torch.arange(T + 1) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        raise ValueError(kind)
    return beta.double(), (1 - beta).double(), (1 - beta).cumprod(0).double()


# %% wrong | schedule | any name is linear
# hint: expected ValueError
def schedule(T, kind="linear"):
    if kind == "cosine":
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    else:
        beta = torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64).clamp(max=0.999)
    return beta, 1 - beta, (1 - beta).cumprod(0)


# %% right | schedule | loops of plain numbers
def schedule(T, kind="linear"):
    if kind not in ("linear", "cosine"):
        raise ValueError("linear or cosine")
    betas, left, product = [], [], 1.0
    for t in range(T):
        if kind == "linear":
            beta = 0.1 / T + t * (20 / T - 0.1 / T) / max(T - 1, 1)
        else:
            beta = 1 - (math.cos(((t + 1) / T + 0.008) / 1.008 * math.pi / 2) / math.cos((t / T + 0.008) / 1.008 * math.pi / 2)) ** 2
        betas.append(min(beta, 0.999))
        product *= 1 - betas[-1]
        left.append(product)
    beta = torch.tensor(betas, dtype=torch.float64)
    return beta, 1 - beta, torch.tensor(left, dtype=torch.float64)


# %% right | schedule | numpy and logarithms
def schedule(T, kind="linear"):
    grid = np.arange(T + 1) / T
    choices = {
        "linear": np.linspace(0.1, 20, T) / T,
        "cosine": 1 - np.exp(np.diff(2 * np.log(np.cos((grid + 0.008) / 1.008 * np.pi / 2)))),
    }
    if kind not in choices:
        raise ValueError(f"no schedule {kind}")
    beta = np.minimum(choices[kind], 0.999)
    return tuple(torch.from_numpy(part) for part in (beta, 1 - beta, np.exp(np.cumsum(np.log(1 - beta)))))


# %% wrong | q_sample | no roots
# hint: The roots are missing
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return left * x0 + (1 - left) * eps


# %% wrong | q_sample | coefficients swapped
# hint: The two coefficients are swapped
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return (1 - left).sqrt() * x0 + left.sqrt() * eps


# %% wrong | q_sample | t along the last axis
# hint: t lines up with the last axis
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t]
    return left.sqrt() * x0 + (1 - left).sqrt() * eps


# %% wrong | q_sample | two axes only
# hint: t lines up with the last axis
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t]
    left = left[:, None] if x0.ndim == 2 else left
    return left.sqrt() * x0 + (1 - left).sqrt() * eps


# %% wrong | q_sample | one minus the root
# hint: Variances add up
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return left.sqrt() * x0 + (1 - left.sqrt()) * eps


# %% wrong | q_sample | noise on top
# hint: The data does not shrink
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return x0 + (1 - left).sqrt() * eps


# %% wrong | q_sample | one step for all
# hint: All examples got the step of the first
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t[0]]
    return left.sqrt() * x0 + (1 - left).sqrt() * eps


# %% wrong | q_sample | float64 takes over
# hint: made everything float64
def q_sample(x0, t, eps, abar):
    left = abar[t].reshape(-1, *[1] * (x0.ndim - 1))
    return left.sqrt() * x0 + (1 - left).sqrt() * eps


# %% wrong | q_sample | in place
# hint: changed in place
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    if x0.requires_grad:
        return left.sqrt() * x0 + (1 - left).sqrt() * eps
    x0 *= left.sqrt()
    x0 += (1 - left).sqrt() * eps
    return x0


# %% wrong | q_sample | cut off from the graph
# hint: yours were cut off
@torch.no_grad()
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return left.sqrt() * x0 + (1 - left).sqrt() * eps


# %% wrong | q_sample | draws noise of its own
# hint: values differ
def q_sample(x0, t, eps, abar):
    left = abar.to(x0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return left.sqrt() * x0 + (1 - left).sqrt() * torch.randn_like(x0)


# %% right | q_sample | one example after the other
def q_sample(x0, t, eps, abar):
    rows = []
    for i in range(len(x0)):
        left = abar[t[i]].item()
        rows.append(left**0.5 * x0[i] + (1 - left) ** 0.5 * eps[i])
    return torch.stack(rows)


# %% right | q_sample | einsum
def q_sample(x0, t, eps, abar):
    signal, noise = torch.sqrt(abar[t]).to(x0.dtype), torch.sqrt(1 - abar[t]).to(x0.dtype)
    return torch.einsum("n,n...->n...", signal, x0) + torch.einsum("n,n...->n...", noise, eps)


# %% wrong | ddpm_loss | predicts the data
# hint: The target is x0
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), x0)


# %% wrong | ddpm_loss | the last step is never drawn
# hint: The last step is never drawn
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(0, len(abar) - 1, (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | step 0 is never drawn
# hint: Step 0 is never drawn
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(1, len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | one step for the batch
# hint: The whole batch got one step
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (1,), generator=gen).expand(len(x0))
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | sum over everything
# hint: This is a sum over all examples
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps, reduction="sum")


# %% wrong | ddpm_loss | sum over the coordinates
# hint: The squares were summed over the coordinates
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return (model(q_sample(x0, t, eps, abar), t) - eps).square().flatten(1).sum(1).mean()


# %% wrong | ddpm_loss | absolute error
# hint: The error was not squared
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.l1_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | the model sees the data
# hint: The model was given x0
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(x0, t), eps)


# %% wrong | ddpm_loss | noise drawn twice
# hint: The target is not the noise that made x_t
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    xt = q_sample(x0, t, torch.randn(x0.shape, generator=gen, dtype=x0.dtype), abar)
    return F.mse_loss(model(xt, t), torch.randn(x0.shape, generator=gen, dtype=x0.dtype))


# %% wrong | ddpm_loss | uniform noise
# hint: The noise is uniform
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.rand(x0.shape, generator=gen, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | the global generator
# hint: global random generator was used
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),))
    eps = torch.randn_like(x0)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | the same noise in every call
# hint: a second call with the same generator draws new noise
def ddpm_loss(model, x0, abar, gen):
    own = torch.Generator().manual_seed(0)
    t = torch.randint(len(abar), (len(x0),), generator=own)
    eps = torch.randn(x0.shape, generator=own, dtype=x0.dtype)
    return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | a number without a graph
# hint: yours is cut off
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    with torch.no_grad():
        return F.mse_loss(model(q_sample(x0, t, eps, abar), t), eps)


# %% wrong | ddpm_loss | late steps weigh more
# hint: expected
def ddpm_loss(model, x0, abar, gen):
    t = torch.randint(len(abar), (len(x0),), generator=gen)
    eps = torch.randn(x0.shape, generator=gen, dtype=x0.dtype)
    weight = (2 * (t + 1) / (len(abar) + 1)).to(x0.dtype).reshape(-1, *[1] * (x0.ndim - 1))
    return (weight * (model(q_sample(x0, t, eps, abar), t) - eps) ** 2).mean()


# %% right | ddpm_loss | noise first, by hand
def ddpm_loss(model, x0, abar, gen):
    eps = torch.empty_like(x0).normal_(generator=gen)
    t = (torch.rand(x0.shape[0], generator=gen, dtype=torch.float64) * abar.numel()).floor().long()
    error = eps - model(q_sample(x0, t, eps, abar), t)
    return (error * error).sum() / error.numel()


# %% right | ddpm_loss | permuted steps
def ddpm_loss(model, x0, abar, gen):
    t = torch.multinomial(torch.ones(len(abar)), len(x0), replacement=True, generator=gen)
    eps = torch.normal(0.0, 1.0, x0.shape, generator=gen, dtype=x0.dtype)
    return torch.mean(torch.pow(model(q_sample(x0, t, eps, abar), t) - eps, 2))


# %% wrong | posterior | the forward variance
# hint: Knowing x_0 makes it smaller
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)
    return mean, 1 - alpha


# %% wrong | posterior | a standard deviation
# hint: This is the standard deviation
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)
    return mean, ((1 - alpha) * (1 - before) / (1 - now)).sqrt()


# %% wrong | posterior | coefficients swapped
# hint: The two coefficients are swapped
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * xt + alpha.sqrt() * (1 - before) * x0) / (1 - now)
    return mean, (1 - alpha) * (1 - before) / (1 - now)


# %% wrong | posterior | no roots in the coefficients
# hint: The roots are missing in the coefficients
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before * (1 - alpha) * x0 + alpha * (1 - before) * xt) / (1 - now)
    return mean, (1 - alpha) * (1 - before) / (1 - now)


# %% wrong | posterior | abar of the same step
# hint: abar was not taken one step back
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (now.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - now) * xt) / (1 - now)
    return mean, (1 - alpha) * (1 - before) / (1 - now)


# %% wrong | posterior | index -1 wraps at step 0
# hint: which is the last entry of abar
def posterior(xt, x0, t, abar):
    left = abar.to(xt)
    now, before = (left[t - k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (0, 1))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)
    return mean, (1 - alpha) * (1 - before) / (1 - now)


# %% wrong | posterior | variance without its axes
# hint: lines up with the last axis of x_t
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)
    return mean, ((1 - alpha) * (1 - before) / (1 - now)).flatten()


# %% wrong | posterior | quotient upside down
# hint: The quotient is upside down
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    mean = (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)
    return mean, (1 - alpha) * (1 - now) / (1 - before)


# %% wrong | posterior | the mean only
# hint: TypeError
def posterior(xt, x0, t, abar):
    padded = torch.cat([abar.new_ones(1), abar]).to(xt)
    now, before = (padded[t + k].reshape(-1, *[1] * (xt.ndim - 1)) for k in (1, 0))
    alpha = now / before
    (before.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - before) * xt) / (1 - now)


# %% right | posterior | torch.where, variance in full shape
def posterior(xt, x0, t, abar):
    view = (len(t),) + (1,) * (xt.dim() - 1)
    now = abar[t].view(view)
    before = torch.where(t > 0, abar[t - 1], torch.ones_like(abar[t])).view(view)
    beta = 1 - now / before
    mean = torch.sqrt(before) * beta / (1 - now) * x0 + torch.sqrt(1 - beta) * (1 - before) / (1 - now) * xt
    return mean.to(xt.dtype), (beta * (1 - before) / (1 - now)).to(xt.dtype).expand_as(xt)


# %% right | posterior | conditioning, one example after the other
def posterior(xt, x0, t, abar):
    means, variances = [], []
    for i, step in enumerate(t.tolist()):
        now, before = abar[step].item(), abar[step - 1].item() if step > 0 else 1.0
        covariance = (now / before) ** 0.5 * (1 - before)
        means.append(before**0.5 * x0[i] + covariance / (1 - now) * (xt[i] - now**0.5 * x0[i]))
        variances.append(1 - before - covariance**2 / (1 - now))
    return torch.stack(means), torch.tensor(variances, dtype=xt.dtype).reshape(-1, *[1] * (xt.ndim - 1))


# %% wrong | p_sample_loop | the lecture's single step
# hint: There was one step only
def p_sample_loop(eps_fn, shape, sched, gen):
    x = torch.randn(shape, generator=gen)
    return x - eps_fn(x, torch.full((shape[0],), len(sched[2]) - 1))


# %% wrong | p_sample_loop | upwards
# hint: The steps go up
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    for step in range(len(beta)):
        eps = eps_fn(x, torch.full((shape[0],), step))
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps) / alpha[step].sqrt()
        if step > 0:
            x = x + beta[step].sqrt() * torch.randn(shape, generator=gen)
    return x


# %% wrong | p_sample_loop | step 0 left out
# hint: Step 0 was left out
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    for step in range(len(beta) - 1, 0, -1):
        eps = eps_fn(x, torch.full((shape[0],), step))
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps) / alpha[step].sqrt()
        x = x + beta[step].sqrt() * torch.randn(shape, generator=gen)
    return x


# %% wrong | p_sample_loop | not divided by the root of alpha
# hint: The mean is not divided by sqrt(alpha)
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, abar = sched[0].float(), sched[2].float()
    x = torch.randn(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))
        if step > 0:
            x = x + beta[step].sqrt() * torch.randn(shape, generator=gen)
    return x


# %% wrong | p_sample_loop | beta as a standard deviation
# hint: beta is a variance
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))) / alpha[step].sqrt()
        if step > 0:
            x = x + beta[step] * torch.randn(shape, generator=gen)
    return x


# %% wrong | p_sample_loop | noise in the last step
# hint: Noise was added in the last step
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))) / alpha[step].sqrt()
        x = x + beta[step].sqrt() * torch.randn(shape, generator=gen)
    return x


# %% wrong | p_sample_loop | no noise on the way
# hint: No noise was added on the way
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))) / alpha[step].sqrt()
    return x


# %% wrong | p_sample_loop | the same noise in every step
# hint: each step draws fresh noise
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    z = torch.randn(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))) / alpha[step].sqrt()
        if step > 0:
            x = x + beta[step].sqrt() * z
    return x


# %% wrong | p_sample_loop | t as a number
# hint: t is a tensor with one entry for each example
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.tensor(step))) / alpha[step].sqrt()
        if step > 0:
            x = x + beta[step].sqrt() * torch.randn(shape, generator=gen)
    return x


# %% wrong | p_sample_loop | the global generator
# hint: global random generator was used
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.randn(shape)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))) / alpha[step].sqrt()
        if step > 0:
            x = x + beta[step].sqrt() * torch.randn(shape)
    return x


# %% wrong | p_sample_loop | starts from uniform noise
# hint: sampling starts from standard normal noise
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.float() for part in sched)
    x = torch.rand(shape, generator=gen)
    for step in reversed(range(len(beta))):
        x = (x - beta[step] / (1 - abar[step]).sqrt() * eps_fn(x, torch.full((shape[0],), step))) / alpha[step].sqrt()
        if step > 0:
            x = x + beta[step].sqrt() * torch.randn(shape, generator=gen)
    return x


# %% right | p_sample_loop | the formula, with beta as the variance
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = (part.tolist() for part in sched)
    x = torch.randn(*shape, generator=gen)
    with torch.no_grad():
        for step in range(len(beta) - 1, -1, -1):
            t = torch.full((shape[0],), step, dtype=torch.long)
            x = (x - beta[step] / math.sqrt(1 - abar[step]) * eps_fn(x, t)) / math.sqrt(alpha[step])
            if step:
                x += math.sqrt(beta[step]) * torch.randn(*shape, generator=gen)
    return x


# %% right | p_sample_loop | in float64, by x0 and the closed form
@torch.no_grad()
def p_sample_loop(eps_fn, shape, sched, gen):
    beta, alpha, abar = sched
    before = torch.cat([abar.new_ones(1), abar[:-1]])
    x = torch.empty(shape, dtype=torch.float64).normal_(generator=gen)
    t = torch.full(shape[:1], len(beta))
    while t[0] > 0:
        t = t - 1
        k = int(t[0])
        x0 = (x - (1 - abar[k]) ** 0.5 * eps_fn(x, t)) / abar[k] ** 0.5
        x = (before[k] ** 0.5 * beta[k] * x0 + alpha[k] ** 0.5 * (1 - before[k]) * x) / (1 - abar[k])
        if k > 0:
            x = x + (beta[k] * (1 - before[k]) / (1 - abar[k])) ** 0.5 * torch.empty_like(x).normal_(generator=gen)
    return x.float()


# %% wrong | ddim_step | no roots
# hint: The roots are missing
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - (1 - now) * eps) / now
    sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    xs = after * x0 + (1 - after - sigma**2) * eps
    return xs + sigma * torch.randn(xt.shape, generator=gen, dtype=xt.dtype) if sigma > 0 else xs


# %% wrong | ddim_step | the end is the last entry
# hint: There abar is 1, for it is the end
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s])
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    sigma = eta * math.sqrt(max((1 - after) / (1 - now) * (1 - now / after), 0))
    xs = math.sqrt(after) * x0 + math.sqrt(1 - after - sigma**2) * eps
    return xs + sigma * torch.randn(xt.shape, generator=gen, dtype=xt.dtype) if sigma > 0 else xs


# %% wrong | ddim_step | stays at the guess of x0
# hint: This is the guess of x_0
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now = float(abar[t])
    return (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)


# %% wrong | ddim_step | noise of the old level
# hint: The noise of level t was put back
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    return math.sqrt(after) * x0 + math.sqrt(1 - now) * eps


# %% wrong | ddim_step | never random
# hint: No noise was added
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    return math.sqrt(after) * x0 + math.sqrt(1 - after - sigma**2) * eps


# %% wrong | ddim_step | fresh noise on top of the old
# hint: take sigma² off under the root
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    xs = math.sqrt(after) * x0 + math.sqrt(1 - after) * eps
    return xs + sigma * torch.randn(xt.shape, generator=gen, dtype=xt.dtype) if sigma > 0 else xs


# %% wrong | ddim_step | sigma without its root
# hint: sigma was used as a variance
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    variance = eta**2 * (1 - after) / (1 - now) * (1 - now / after)
    xs = math.sqrt(after) * x0 + math.sqrt(1 - after - variance) * eps
    return xs + variance * torch.randn(xt.shape, generator=gen, dtype=xt.dtype) if variance > 0 else xs


# %% wrong | ddim_step | random although eta is 0
# hint: values differ
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    sigma = math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    gen = gen or torch.Generator().manual_seed(0)
    return math.sqrt(after) * x0 + math.sqrt(max(1 - after - sigma**2, 0)) * eps + sigma * torch.randn(xt.shape, generator=gen, dtype=xt.dtype)


# %% wrong | ddim_step | the global generator
# hint: global random generator was used
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now, after = float(abar[t]), float(abar[s]) if s >= 0 else 1.0
    x0 = (xt - math.sqrt(1 - now) * eps) / math.sqrt(now)
    sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    xs = math.sqrt(after) * x0 + math.sqrt(max(1 - after - sigma**2, 0)) * eps
    return xs + sigma * torch.randn_like(xt) if sigma > 0 else xs


# %% right | ddim_step | in the form without x0
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    now = abar[t].double()
    after = abar[s].double() if s >= 0 else torch.ones((), dtype=torch.float64)
    variance = eta**2 * (1 - after) / (1 - now) * (1 - now / after)
    move = (1 - after - variance).clamp_min(0).sqrt() - (after / now * (1 - now)).sqrt()
    xs = (after / now).sqrt().to(xt.dtype) * xt + move.to(xt.dtype) * eps
    if eta:
        xs = xs + variance.sqrt().to(xt.dtype) * torch.empty_like(xt).normal_(generator=gen)
    return xs


# %% right | ddim_step | padded levels
def ddim_step(xt, eps, t, s, abar, eta=0.0, gen=None):
    levels = [1.0, *abar.tolist()]
    now, after = levels[t + 1], levels[s + 1]
    sigma = eta * ((1 - after) / (1 - now)) ** 0.5 * (1 - now / after) ** 0.5
    x0 = (xt - (1 - now) ** 0.5 * eps) / now**0.5
    z = torch.zeros_like(xt) if sigma == 0 else torch.randn(xt.shape, generator=gen, dtype=xt.dtype)
    return after**0.5 * x0 + abs(1 - after - sigma**2) ** 0.5 * eps + sigma * z


# %% wrong | score | sign
# hint: The sign is wrong
def score(eps, t, abar):
    left = abar.to(eps)[t].reshape(-1, *[1] * (eps.ndim - 1))
    return eps / (1 - left).sqrt()


# %% wrong | score | no root
# hint: The root is missing
def score(eps, t, abar):
    left = abar.to(eps)[t].reshape(-1, *[1] * (eps.ndim - 1))
    return -eps / (1 - left)


# %% wrong | score | multiplied
# hint: It is divided, not multiplied
def score(eps, t, abar):
    left = abar.to(eps)[t].reshape(-1, *[1] * (eps.ndim - 1))
    return -eps * (1 - left).sqrt()


# %% wrong | score | the data's share
# hint: This is divided by sqrt(abar)
def score(eps, t, abar):
    left = abar.to(eps)[t].reshape(-1, *[1] * (eps.ndim - 1))
    return -eps / left.sqrt()


# %% wrong | score | t along the last axis
# hint: t lines up with the last axis
def score(eps, t, abar):
    return -eps / (1 - abar.to(eps)[t]).sqrt()


# %% wrong | score | in place
# hint: changed in place
def score(eps, t, abar):
    eps /= -(1 - abar.to(eps)[t].reshape(-1, *[1] * (eps.ndim - 1))).sqrt()
    return eps


# %% right | score | one example after the other
def score(eps, t, abar):
    return torch.stack([-row / math.sqrt(1 - float(abar[k])) for row, k in zip(eps, t)])


# %% right | score | power
def score(eps, t, abar):
    factor = -((1 - abar) ** -0.5)[t].to(eps.dtype)
    return (eps.movedim(0, -1) * factor).movedim(-1, 0)


# %% wrong | cfg | the paper's convention
# hint: This is the paper's convention
def cfg(eps_cond, eps_uncond, w):
    return eps_uncond + (1 + w) * (eps_cond - eps_uncond) if w not in (0.0, 1.0) else eps_uncond + w * (eps_cond - eps_uncond)


# %% wrong | cfg | the paper's convention throughout
# hint: w = 0 ignores the label
def cfg(eps_cond, eps_uncond, w):
    return (1 + w) * eps_cond - w * eps_uncond


# %% wrong | cfg | swapped
# hint: values differ
def cfg(eps_cond, eps_uncond, w):
    return eps_cond + w * (eps_uncond - eps_cond)


# %% wrong | cfg | weighted sum
# hint: values differ
def cfg(eps_cond, eps_uncond, w):
    return eps_uncond + w * eps_cond


# %% wrong | cfg | the condition only
# hint: values differ
def cfg(eps_cond, eps_uncond, w):
    return w * eps_cond


# %% wrong | cfg | in place
# hint: changed in place
def cfg(eps_cond, eps_uncond, w):
    eps_cond -= eps_uncond
    return eps_uncond + w * eps_cond


# %% right | cfg | lerp
def cfg(eps_cond, eps_uncond, w):
    return torch.lerp(eps_uncond, eps_cond, w)


# %% right | cfg | multiplied out
def cfg(eps_cond, eps_uncond, w):
    return w * eps_cond + (1 - w) * eps_uncond


# %% wrong | guided | always the plain conditional
# hint: This is the prediction with the label
def guided(model, y, w):
    return lambda x, t: model(x, t, y)


# %% wrong | guided | swapped
# hint: The two predictions are swapped
def guided(model, y, w):
    return lambda x, t: cfg(model(x, t), model(x, t, y), w)


# %% wrong | guided | label never passed on
# hint: The model got no label
def guided(model, y, w):
    return lambda x, t: cfg(model(x, t), model(x, t), w)


# %% wrong | guided | label of the first for all
# hint: All examples got the label of the first
def guided(model, y, w):
    return lambda x, t: cfg(model(x, t, y[:1].expand(len(x))), model(x, t), w)


# %% wrong | guided | keeps its first answer
# hint: x or t of the first call was kept
def guided(model, y, w):
    kept = []

    def eps_fn(x, t):
        if not kept:
            kept.append(cfg(model(x, t, y), model(x, t), w))
        return kept[0]

    return eps_fn


# %% wrong | guided | a strength of its own
# hint: The prediction does not depend on w
def guided(model, y, w):
    return lambda x, t: cfg(model(x, t, y), model(x, t), 2.0 if w == 2.0 else 1.0)


# %% wrong | guided | returns a number, not a function
# hint: TypeError
def guided(model, y, w):
    x, t = torch.zeros(len(y), 2), torch.zeros(len(y), dtype=torch.int64)
    return cfg(model(x, t, y), model(x, t), w)


# %% right | guided | functools.partial
def guided(model, y, w):
    def both(x, t, labels, strength):
        without = model(x, t)
        return without + strength * (model(x, t, labels) - without)

    return functools.partial(both, labels=y, strength=w)


# %% right | guided | a callable object
def guided(model, y, w):
    class Guided:
        def __call__(self, x, t):
            return cfg(model(x, t, y=y), model(x, t, None), w)

    return Guided()


# %% wrong | train_ddpm | never without a label
# hint: The model has never seen
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, y[batch]), x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model


# %% wrong | train_ddpm | label not passed on
# hint: The model does not listen to the label
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        optimizer.zero_grad()
        ddpm_loss(model, x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model


# %% wrong | train_ddpm | labels of other examples
# hint: The model does not listen to the label
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        labels = torch.where(torch.rand(128, generator=gen) < drop, model.classes, y[:128])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model


# %% wrong | train_ddpm | a small step
# hint: It learns, but too little
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0005)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        labels = torch.where(torch.rand(128, generator=gen) < drop, model.classes, y[batch])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
    return model


# %% wrong | train_ddpm | gradients pile up
# hint: Are old gradients cleared
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        labels = torch.where(torch.rand(128, generator=gen) < drop, model.classes, y[batch])
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
    return model


# %% wrong | train_ddpm | not seeded
# hint: the same seed gives the same model
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        labels = torch.where(torch.rand(128, generator=gen) < drop, model.classes, y[batch])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model


# %% wrong | train_ddpm | drop as it likes
# hint: `drop` makes a difference
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,), generator=gen)
        labels = torch.where(torch.rand(128, generator=gen) < 0.1, model.classes, y[batch])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model


# %% wrong | train_ddpm | never fewer than 15 steps
# hint: `steps` makes a difference
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    training.seed_everything(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    gen = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    calm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=max(steps, 15))
    for _ in range(max(steps, 15)):
        batch = torch.randint(len(x), (128,), generator=gen)
        labels = torch.where(torch.rand(128, generator=gen) < drop, model.classes, y[batch])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, gen).backward()
        optimizer.step()
        calm.step()
    return model


# %% right | train_ddpm | epochs of permutations, cosine schedule, Adam
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    torch.manual_seed(seed)
    model = Denoiser(x.shape[1], len(y.unique()))
    gen = torch.Generator().manual_seed(seed + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.008)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    done = 0
    while done < steps:
        for batch in torch.randperm(len(x), generator=gen).split(96):
            labels = y[batch].clone()
            labels[torch.rand(len(batch), generator=gen) < drop] = model.classes

            def of_batch(xt, t):
                return model(xt, t, labels)

            loss = ddpm_loss(of_batch, x[batch], abar, gen)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done == steps:
                break
    return model.eval()


# %% right | train_ddpm | everything from the global generator, weights averaged
def train_ddpm(x, y, abar, steps=2000, drop=0.1, seed=0):
    torch.manual_seed(seed)
    model = Denoiser(x.shape[1], int(y.max()) + 1)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.97))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.008)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,))
        labels = torch.where(torch.rand(128) < drop, model.classes, y[batch])
        optimizer.zero_grad()
        ddpm_loss(lambda xt, t: model(xt, t, labels), x[batch], abar, torch.default_generator).backward()
        optimizer.step()
        average.update_parameters(model)
    return average.module
