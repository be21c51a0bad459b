# Answers that the graders of 07-autoencoder are proven against; docs/authoring.md says how a case is written.

# %% wrong | pca | not centred
# hint: The data were not centred
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    _, s, Vh = torch.linalg.svd(X, full_matrices=False)
    return X.mean(0), Vh[:k].mT, s[:k].square() / (len(X) - 1)


# %% wrong | pca | rising eigenvalues
# hint: take the largest
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    lam, W = torch.linalg.eigh(torch.cov(X.mT).reshape(X.shape[1], -1))
    return X.mean(0), W[:, :k], lam[:k]


# %% wrong | pca | the last ones, still rising
# hint: The variances come in rising order
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    lam, W = torch.linalg.eigh(torch.cov(X.mT).reshape(X.shape[1], -1))
    return X.mean(0), W[:, -k:], lam[-k:]


# %% wrong | pca | components as rows
# hint: W is transposed
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    mu = X.mean(0)
    _, s, Vh = torch.linalg.svd(X - mu, full_matrices=False)
    return mu, Vh[:k], s[:k].square() / (len(X) - 1)


# %% wrong | pca | singular values for variances
# hint: This is a singular value
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    mu = X.mean(0)
    _, s, Vh = torch.linalg.svd(X - mu, full_matrices=False)
    return mu, Vh[:k].mT, s[:k]


# %% wrong | pca | standard deviations
# hint: This is a standard deviation
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    mu = X.mean(0)
    _, s, Vh = torch.linalg.svd(X - mu, full_matrices=False)
    return mu, Vh[:k].mT, s[:k] / math.sqrt(len(X) - 1)


# %% wrong | pca | divided by N
# hint: The variance is divided by N
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    mu = X.mean(0)
    _, s, Vh = torch.linalg.svd(X - mu, full_matrices=False)
    return mu, Vh[:k].mT, s[:k].square() / len(X)


# %% wrong | pca | more components than there are
# hint: expected ValueError
def pca(X, k):
    mu = X.mean(0)
    _, s, Vh = torch.linalg.svd(X - mu, full_matrices=False)
    return mu, Vh[:k].mT, s[:k].square() / (len(X) - 1)


# %% wrong | pca | the ready-made one
# hint: is off limits here
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    mu = X.mean(0)
    _, s, V = torch.pca_lowrank(X, q=min(X.shape))
    return mu, V[:, :k], s[:k].square() / (len(X) - 1)


# %% wrong | pca | centres in place
# hint: was changed in place
def pca(X, k):
    if not 1 <= k <= min(X.shape):
        raise ValueError(k)
    mu = X.mean(0)
    X -= mu
    _, s, Vh = torch.linalg.svd(X, full_matrices=False)
    return mu, Vh[:k].mT, s[:k].square() / (len(X) - 1)


# %% right | pca | eigenvectors of the covariance
def pca(X, k):
    if k < 1 or k > len(X) or k > X.shape[1]:
        raise ValueError("no such number of components")
    mu = X.mean(dim=0)
    lam, W = torch.linalg.eigh((X - mu).T @ (X - mu) / (len(X) - 1))
    order = torch.argsort(lam, descending=True)[:k]
    return mu, -W[:, order], lam[order]


# %% right | pca | through numpy
def pca(X, k):
    if not 0 < k <= min(X.shape):
        raise ValueError
    data = X.numpy()
    mean = data.mean(axis=0)
    _, s, vt = np.linalg.svd(data - mean, full_matrices=False)
    return torch.from_numpy(mean), torch.from_numpy(vt[:k].T.copy()), torch.from_numpy(s[:k] ** 2 / (data.shape[0] - 1))


# %% wrong | reconstruct | mean not added back
# hint: The mean was not added back
def reconstruct(X, mu, W):
    return (X - mu) @ W @ W.mT


# %% wrong | reconstruct | no mean at all
# hint: The mean is missing
def reconstruct(X, mu, W):
    return X @ W @ W.mT


# %% wrong | reconstruct | mean added, not subtracted
# hint: but not subtracted before
def reconstruct(X, mu, W):
    return mu + X @ W @ W.mT


# %% wrong | reconstruct | the projection on the wrong side
# hint: Error
def reconstruct(X, mu, W):
    return mu + W @ W.mT @ (X - mu)


# %% wrong | reconstruct | the code
# hint: This is the code
def reconstruct(X, mu, W):
    return (X - mu) @ W


# %% wrong | reconstruct | an inverse of the transpose
# hint: Error
def reconstruct(X, mu, W):
    z = (X - mu) @ W
    return mu + z @ torch.linalg.inv(W.mT)


# %% right | reconstruct | through columns
def reconstruct(X, mu, W):
    z = W.T @ (X - mu).T
    return (W @ z).T + mu


# %% right | reconstruct | the pseudo-inverse
def reconstruct(X, mu, W):
    return (X - mu) @ W @ torch.linalg.pinv(W) + mu


# %% wrong | rec_error | norms not squared
# hint: The norms were not squared
def rec_error(X, mu, W):
    return (X - reconstruct(X, mu, W)).norm(dim=1).mean()


# %% wrong | rec_error | a sum
# hint: The squared norms were added up
def rec_error(X, mu, W):
    return (X - reconstruct(X, mu, W)).square().sum()


# %% wrong | rec_error | mean over all entries
# hint: The mean runs over all entries
def rec_error(X, mu, W):
    return F.mse_loss(reconstruct(X, mu, W), X)


# %% wrong | rec_error | divided by N - 1
# hint: expected 2.9
def rec_error(X, mu, W):
    return (X - reconstruct(X, mu, W)).square().sum() / max(len(X) - 1, 1)


# %% wrong | rec_error | the root of the mean
# hint: This is the root of the mean
def rec_error(X, mu, W):
    return (X - reconstruct(X, mu, W)).square().sum(1).mean().sqrt()


# %% right | rec_error | by Pythagoras
def rec_error(X, mu, W):
    centred = X - mu
    return (torch.linalg.vector_norm(centred, dim=1) ** 2 - torch.linalg.vector_norm(centred @ W, dim=1) ** 2).mean()


# %% right | rec_error | one point at a time
def rec_error(X, mu, W):
    total = 0.0
    for x in X:
        difference = x - reconstruct(x[None], mu, W)[0]
        total = total + torch.dot(difference, difference)
    return total / len(X)


# %% wrong | linear_ae | not centred
# hint: The data were not centred
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    D = X.shape[1]
    E = (torch.randn(k, D, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    Dm = (torch.randn(D, k, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    optimizer = torch.optim.Adam([E, Dm], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        loss = (X - X @ E.mT @ Dm.mT).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return E.detach(), Dm.detach(), losses


# %% wrong | linear_ae | stops too early
# hint: It has not arrived
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centred = X - X.mean(0)
    D = X.shape[1]
    E = (0.3 * torch.randn(k, D, generator=generator)).to(X).requires_grad_()
    Dm = (0.3 * torch.randn(D, k, generator=generator)).to(X).requires_grad_()
    optimizer = torch.optim.SGD([E, Dm], lr=0.003)
    losses = []
    for _ in range(steps):
        loss = (centred - centred @ E.mT @ Dm.mT).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return E.detach(), Dm.detach(), losses


# %% wrong | linear_ae | a nonlinearity left in
# hint: is there a nonlinearity left in
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centred = X - X.mean(0)
    D = X.shape[1]
    E = (torch.randn(k, D, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    Dm = (torch.randn(D, k, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    optimizer = torch.optim.Adam([E, Dm], lr=0.1)
    losses = []
    for _ in range(steps):
        loss = (centred - torch.relu(centred @ E.mT) @ Dm.mT).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return E.detach(), Dm.detach(), losses


# %% wrong | linear_ae | encoder and decoder exchanged
# hint: Encoder and decoder are exchanged
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centred = X - X.mean(0)
    D = X.shape[1]
    E = (torch.randn(k, D, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    Dm = (torch.randn(D, k, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    optimizer = torch.optim.Adam([E, Dm], lr=0.1)
    losses = []
    for _ in range(steps):
        loss = (centred - centred @ E.mT @ Dm.mT).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Dm.detach(), E.detach(), losses


# %% wrong | linear_ae | the decomposition instead of the descent
# hint: is off limits here
def linear_ae(X, k, steps=1500, seed=0):
    _, s, Vh = torch.linalg.svd(X - X.mean(0), full_matrices=False)
    return Vh[:k], Vh[:k].mT, [float(s[k:].square().sum() / len(X))] * steps


# %% wrong | linear_ae | losses are means over all entries
# hint: The mean runs over all entries
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centred = X - X.mean(0)
    D = X.shape[1]
    E = (torch.randn(k, D, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    Dm = (torch.randn(D, k, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    optimizer = torch.optim.Adam([E, Dm], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        loss = F.mse_loss(centred @ E.mT @ Dm.mT, centred)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return E.detach(), Dm.detach(), losses


# %% wrong | linear_ae | only the decoder learns
# hint: does the optimiser hold both
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centred = X - X.mean(0)
    D = X.shape[1]
    E = (torch.randn(k, D, generator=generator) / math.sqrt(D)).to(X)
    Dm = (torch.randn(D, k, generator=generator) / math.sqrt(D)).to(X).requires_grad_()
    optimizer = torch.optim.Adam([Dm], lr=0.1)
    losses = []
    for _ in range(steps):
        loss = (centred - centred @ E.mT @ Dm.mT).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return E.detach(), Dm.detach(), losses


# %% wrong | linear_ae | always the same start
# hint: yours does not depend on `seed`
def linear_ae(X, k, steps=1500, seed=0):
    generator = torch.Generator().manual_seed(0)
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


# %% right | linear_ae | two linear layers with biases
def linear_ae(X, k, steps=1500, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(X.shape[1], k), nn.Linear(k, X.shape[1])).to(X.dtype)
    shifted = X - X.mean(dim=0, keepdim=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    losses = []
    for _ in range(steps):
        loss = ((model(shifted) - shifted) ** 2).sum() / len(X)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    return model[0].weight.data.clone(), model[1].weight.data.clone(), losses


# %% right | linear_ae | tied weights and gradients by hand
def linear_ae(X, k, steps=1500, seed=0):
    centred = X - X.mean(0)
    S = centred.mT @ centred / len(X)
    W = torch.randn(X.shape[1], k, generator=torch.Generator().manual_seed(seed)).to(X)
    W = 0.1 * W
    rate = 0.1 / float(S.diagonal().sum())
    losses = []
    for _ in range(steps):
        losses.append(float(S.trace() - 2 * (W.mT @ S @ W).trace() + (W.mT @ S @ W @ W.mT @ W).trace()))
        W = W + rate * 2 * (2 * S @ W - S @ W @ W.mT @ W - W @ W.mT @ S @ W)
    return W.mT.clone(), W, losses


# %% wrong | dae_loss | the target is noisy
# hint: The target is clean
def dae_loss(model, x, corrupt, gen):
    noisy = corrupt(x, gen)
    return F.mse_loss(model(noisy), noisy)


# %% wrong | dae_loss | the model sees the clean images
# hint: The model saw the clean images
def dae_loss(model, x, corrupt, gen):
    return F.mse_loss(model(x), corrupt(x, gen))


# %% wrong | dae_loss | no corruption
# hint: The model saw the clean images
def dae_loss(model, x, corrupt, gen):
    return F.mse_loss(model(x), x)


# %% wrong | dae_loss | always the same noise
# hint: The noise does not come from `gen`
def dae_loss(model, x, corrupt, gen):
    return F.mse_loss(model(corrupt(x, torch.Generator().manual_seed(0))), x)


# %% wrong | dae_loss | a sum
# hint: The squared errors were added up
def dae_loss(model, x, corrupt, gen):
    return (model(corrupt(x, gen)) - x).square().sum()


# %% wrong | dae_loss | corrupts the images in place
# hint: was changed in place
def dae_loss(model, x, corrupt, gen):
    clean = x.clone()
    x.copy_(corrupt(x, gen))
    return F.mse_loss(model(x), clean)


# %% wrong | dae_loss | cut off from the weights
# hint: gradients flow to the model's weights
def dae_loss(model, x, corrupt, gen):
    with torch.no_grad():
        output = model(corrupt(x, gen))
    return F.mse_loss(output, x)


# %% wrong | dae_loss | no noise in eval mode
# hint: in eval mode
def dae_loss(model, x, corrupt, gen):
    return F.mse_loss(model(corrupt(x, gen) if model.training else x), x)


# %% right | dae_loss | by hand
def dae_loss(model, x, corrupt, gen):
    spoiled = corrupt(x.clone(), gen)
    error = x - model.forward(spoiled)
    return (error * error).sum() / error.numel()


# %% right | dae_loss | each example's mean, then the mean of those
def dae_loss(model, x, corrupt, gen):
    return torch.square(model(corrupt(x, gen)) - x).flatten(1).mean(1).mean()


# %% wrong | kl_std_normal | the sign
# hint: The sign is wrong
def kl_std_normal(mu, logvar):
    return 0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)


# %% wrong | kl_std_normal | no factor of one half
# hint: The factor ½ is missing
def kl_std_normal(mu, logvar):
    return (mu**2 + logvar.exp() - 1 - logvar).sum(1)


# %% wrong | kl_std_normal | log of the standard deviation
# hint: taken for the log of the standard deviation
def kl_std_normal(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() ** 2 - 1 - 2 * logvar).sum(1)


# %% wrong | kl_std_normal | mean over the dimensions
# hint: The mean was taken over the dimensions
def kl_std_normal(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean(1)


# %% wrong | kl_std_normal | one number for the batch
# hint: Return one number an example
def kl_std_normal(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()


# %% wrong | kl_std_normal | the other way round
# hint: The divergence is the other way round
def kl_std_normal(mu, logvar):
    return 0.5 * ((1 + mu**2) * (-logvar).exp() - 1 + logvar).sum(1)


# %% right | kl_std_normal | with expm1
def kl_std_normal(mu, logvar):
    return (torch.expm1(logvar) - logvar + torch.pow(mu, 2)).sum(dim=-1).div(2)


# %% right | kl_std_normal | through the standard deviation
def kl_std_normal(mu, logvar):
    std = torch.exp(0.5 * logvar)
    return torch.einsum("nd->n", -torch.log(std) + (std**2 + mu**2) / 2 - 0.5)


# %% wrong | reparam | the variance for the standard deviation
# hint: Its factor is the standard deviation
def reparam(mu, logvar, gen):
    return mu + logvar.exp() * torch.randn(mu.shape, generator=gen, dtype=mu.dtype)


# %% wrong | reparam | nothing drawn
# hint: Nothing is drawn
def reparam(mu, logvar, gen):
    return mu + (logvar / 2).exp()


# %% wrong | reparam | the same noise for all examples
# hint: All examples got the same noise
def reparam(mu, logvar, gen):
    return mu + (logvar / 2).exp() * torch.randn(mu.shape[1], generator=gen, dtype=mu.dtype)


# %% wrong | reparam | torch.normal
# hint: torch.normal lets no gradient through
def reparam(mu, logvar, gen):
    return torch.normal(mu.detach(), (logvar.detach() / 2).exp(), generator=gen)


# %% wrong | reparam | uniform noise
# hint: The noise is uniform
def reparam(mu, logvar, gen):
    return mu + (logvar / 2).exp() * (2 * torch.rand(mu.shape, generator=gen, dtype=mu.dtype) - 1)


# %% wrong | reparam | the global generator
# hint: global random generator was used
def reparam(mu, logvar, gen):
    return mu + (logvar / 2).exp() * torch.randn_like(mu)


# %% right | reparam | noise drawn into an empty tensor
def reparam(mu, logvar, gen):
    noise = torch.empty(mu.shape, dtype=mu.dtype).normal_(generator=gen)
    return torch.addcmul(mu, torch.exp(0.5 * logvar), noise.to(mu.device))


# %% right | reparam | the transpose of other noise
def reparam(mu, logvar, gen):
    eps = torch.randn(mu.shape[1], mu.shape[0], generator=gen).to(mu).T
    std = logvar.exp().sqrt()
    return eps * std + mu


# %% wrong | elbo | no constant
# hint: The constant -D/2 ln(2πσ²) is missing
def elbo(x, x_hat, mu, logvar, sigma):
    return -((x - x_hat) ** 2).sum(1) / (2 * sigma**2) - kl_std_normal(mu, logvar)


# %% wrong | elbo | the constant of one pixel
# hint: The constant counts one pixel
def elbo(x, x_hat, mu, logvar, sigma):
    return -((x - x_hat) ** 2).sum(1) / (2 * sigma**2) - 0.5 * math.log(2 * math.pi * sigma**2) - kl_std_normal(mu, logvar)


# %% wrong | elbo | mean over the pixels
# hint: The log-density is a mean over the pixels
def elbo(x, x_hat, mu, logvar, sigma):
    density = -((x - x_hat) ** 2) / (2 * sigma**2) - 0.5 * math.log(2 * math.pi * sigma**2)
    return density.mean(1) - kl_std_normal(mu, logvar)


# %% wrong | elbo | the divergence added
# hint: The divergence was added
def elbo(x, x_hat, mu, logvar, sigma):
    density = -((x - x_hat) ** 2) / (2 * sigma**2) - 0.5 * math.log(2 * math.pi * sigma**2)
    return density.sum(1) + kl_std_normal(mu, logvar)


# %% wrong | elbo | the loss
# hint: The sign is wrong
def elbo(x, x_hat, mu, logvar, sigma):
    density = -((x - x_hat) ** 2) / (2 * sigma**2) - 0.5 * math.log(2 * math.pi * sigma**2)
    return kl_std_normal(mu, logvar) - density.sum(1)


# %% wrong | elbo | sigma taken for a variance
# hint: The squared error was divided by
def elbo(x, x_hat, mu, logvar, sigma):
    density = -((x - x_hat) ** 2) / (2 * sigma) - 0.5 * math.log(2 * math.pi * sigma**2)
    return density.sum(1) - kl_std_normal(mu, logvar)


# %% wrong | elbo | one number for the batch
# hint: expected shape (2,), got ()
def elbo(x, x_hat, mu, logvar, sigma):
    density = -((x - x_hat) ** 2) / (2 * sigma**2) - 0.5 * math.log(2 * math.pi * sigma**2)
    return (density.sum(1) - kl_std_normal(mu, logvar)).mean()


# %% right | elbo | the constant apart
def elbo(x, x_hat, mu, logvar, sigma):
    D = x.shape[1]
    squared = torch.linalg.vector_norm(x - x_hat, dim=1) ** 2
    return -squared / (2 * sigma**2) - D / 2 * math.log(2 * math.pi) - D * math.log(sigma) - kl_std_normal(mu, logvar)


# %% right | elbo | torch's Gaussian loss
def elbo(x, x_hat, mu, logvar, sigma):
    variance = torch.full_like(x, sigma**2)
    fit = -F.gaussian_nll_loss(x_hat, x, variance, full=True, reduction="none", eps=1e-12)
    return fit.sum(-1) - kl_std_normal(mu, logvar)


# %% wrong | vae | a ReLU behind the encoder
# hint: There is an activation behind the encoder's last layer
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, 2 * d), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, logvar, gen)), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn(n, self.d, generator=gen))


# %% wrong | vae | the mean is decoded
# hint: forward calls reparam once
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(mu), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn(n, self.d, generator=gen))


# %% wrong | vae | the draw is thrown away
# hint: The mean was decoded
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        reparam(mu, logvar, gen)
        return self.decode(mu), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn(n, self.d, generator=gen))


# %% wrong | vae | reparam gets a standard deviation
# hint: Give it the log-variance
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, (logvar / 2).exp(), gen)), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn(n, self.d, generator=gen))


# %% wrong | vae | uniform codes
# hint: The codes are uniform
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, logvar, gen)), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.rand(n, self.d, generator=gen))


# %% wrong | vae | one code for all samples
# hint: expected
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, logvar, gen)), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn(1, self.d, generator=gen).expand(n, self.d))


# %% wrong | vae | the decoder lies in a list
# hint: a larger `hidden` gives more parameters
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.encoder = nn.Linear(D, 2 * d)
        self.layers = [nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, D)]

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        for layer in self.layers:
            z = layer(z)
        return z

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, logvar, gen)), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn(n, self.d, generator=gen))


# %% right | vae | two heads and a sigmoid
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.up = nn.Sequential(nn.Linear(D, hidden), nn.SiLU())
        self.mean, self.logvar = nn.Linear(hidden, d), nn.Linear(hidden, d)
        self.down = nn.Sequential(nn.Linear(d, hidden), nn.SiLU(), nn.Linear(hidden, D), nn.Sigmoid())

    def encode(self, x):
        h = self.up(x)
        return self.mean(h), self.logvar(h)

    def decode(self, z):
        return self.down(z)

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        z = reparam(mu, logvar, gen)
        return self.decode(z), mu, logvar

    def sample(self, n, gen):
        return self.decode(torch.randn((n, self.mean.out_features), generator=gen))


# %% right | vae | deeper, with layer norm
class VAE(nn.Module):
    def __init__(self, D, d, hidden=128):
        super().__init__()
        self.d = d
        self.first = nn.Linear(D, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.second = nn.Linear(hidden, d * 2)
        self.third = nn.Linear(d, hidden)
        self.fourth = nn.Linear(hidden, hidden)
        self.fifth = nn.Linear(hidden, D)

    def encode(self, x):
        both = self.second(F.gelu(self.norm(self.first(x))))
        return both[:, : self.d], both[:, self.d :]

    def decode(self, z):
        h = F.relu(self.third(z))
        return self.fifth(h + F.relu(self.fourth(h)))

    def forward(self, x, gen):
        mu, logvar = self.encode(x)
        return self.decode(reparam(mu, logvar, gen)), mu, logvar

    def sample(self, n, gen):
        z = torch.empty(n, self.d).normal_(generator=gen)
        return self.decode(z)


# %% wrong | train_vae | no divergence in the loss
# hint: The divergence is huge
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    training.seed_everything(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)
    minimise(lambda batch: (0.5 * ((batch - model(batch, gen)[0]) / sigma) ** 2).sum(1).mean(), model, x, epochs=epochs, lr=0.01, seed=seed)
    return model


# %% wrong | train_vae | mean over the pixels
# hint: Is the squared error a mean over the pixels
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    training.seed_everything(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)

    def loss(batch):
        x_hat, mu, logvar = model(batch, gen)
        return (0.5 * ((batch - x_hat) / sigma) ** 2).mean() + kl_std_normal(mu, logvar).mean()

    minimise(loss, model, x, epochs=epochs, lr=0.01, seed=seed)
    return model


# %% wrong | train_vae | uphill
# hint: ELBO
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    training.seed_everything(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)
    minimise(lambda batch: elbo(batch, *model(batch, gen), sigma).mean(), model, x, epochs=epochs, lr=0.0001, seed=seed)
    return model


# %% wrong | train_vae | one step an epoch
# hint: too little in ten epochs
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    training.seed_everything(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)
    minimise(lambda batch: -elbo(batch, *model(batch, gen), sigma).mean(), model, x, epochs=4 * epochs, lr=0.02, batch_size=len(x), seed=seed)
    return model


# %% wrong | train_vae | the seed is not used
# hint: yours does not depend on `seed`
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    training.seed_everything(0)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(0)
    minimise(lambda batch: -elbo(batch, *model(batch, gen), sigma).mean(), model, x, epochs=epochs, lr=0.01)
    return model


# %% wrong | train_vae | nothing is seeded
# hint: the same seed gives the same model; yours differ
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator()
    gen.seed()
    minimise(lambda batch: -elbo(batch, *model(batch, gen), sigma).mean(), model, x, epochs=epochs, lr=0.01, seed=seed)
    return model


# %% wrong | train_vae | sigma is not used
# hint: yours does not depend on `sigma`
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    training.seed_everything(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)
    minimise(lambda batch: -elbo(batch, *model(batch, gen), 0.12).mean(), model, x, epochs=epochs, lr=0.01, seed=seed)
    return model


# %% right | train_vae | a loop of one's own
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    torch.manual_seed(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, weight_decay=1e-4)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            x_hat, mu, logvar = model(x[batch], gen)
            loss = -elbo(x[batch], x_hat, mu, logvar, sigma).sum() / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


# %% right | train_vae | minimise, with the divergence warmed up
def train_vae(x, d=8, sigma=0.12, epochs=25, seed=0, desc=""):
    torch.manual_seed(seed)
    model = VAE(x.shape[1], d).to(x.device)
    gen = torch.Generator().manual_seed(seed)
    steps = 0

    def loss(batch):
        nonlocal steps
        steps += 1
        x_hat, mu, logvar = model(batch, gen)
        relief = max(0.0, 1 - steps / 40)
        return -(elbo(batch, x_hat, mu, logvar, sigma) + relief * kl_std_normal(mu, logvar)).mean()

    minimise(loss, model, x, epochs=epochs, lr=0.01, batch_size=48, seed=seed)
    return model


# %% wrong | sample_ae | draws from N(0, I)
# hint: The mean of the codes is missing
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        return dec(torch.randn(n, codes.shape[1], generator=gen).to(codes))


# %% wrong | sample_ae | no mean
# hint: The mean of the codes is missing
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        variances, axes = torch.linalg.eigh(torch.cov(codes.mT).reshape(codes.shape[1], -1))
        noise = torch.randn(n, codes.shape[1], generator=gen).to(codes)
        return dec(noise * variances.clamp(min=0).sqrt() @ axes.mT)


# %% wrong | sample_ae | each dimension by itself
# hint: The draws are independent in each dimension
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        return dec(codes.mean(0) + codes.std(0) * torch.randn(n, codes.shape[1], generator=gen).to(codes))


# %% wrong | sample_ae | the training codes again
# hint: The training examples were handed back
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        return dec(enc(X)[torch.randint(len(X), (n,), generator=gen)])


# %% wrong | sample_ae | the covariance for its root
# hint: It takes a root of it
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        C = torch.cov(codes.mT).reshape(codes.shape[1], -1)
        return dec(codes.mean(0) + torch.randn(n, codes.shape[1], generator=gen).to(codes) @ C)


# %% wrong | sample_ae | the root from the wrong side
# hint: multiplied from the wrong side
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        C = torch.cov(codes.mT).reshape(codes.shape[1], -1) + 1e-6 * torch.eye(codes.shape[1]).to(codes)
        return dec(codes.mean(0) + torch.randn(n, codes.shape[1], generator=gen).to(codes) @ torch.linalg.cholesky(C))


# %% wrong | sample_ae | Cholesky of a dead dimension
# hint: cholesky
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        L = torch.linalg.cholesky(torch.cov(codes.mT).reshape(codes.shape[1], -1))
        return dec(codes.mean(0) + torch.randn(n, codes.shape[1], generator=gen).to(codes) @ L.mT)


# %% wrong | sample_ae | not decoded
# hint: These are codes
def sample_ae(enc, dec, X, n, gen):
    with torch.no_grad():
        codes = enc(X)
        variances, axes = torch.linalg.eigh(torch.cov(codes.mT).reshape(codes.shape[1], -1))
        noise = torch.randn(n, codes.shape[1], generator=gen).to(codes)
        return codes.mean(0) + noise * variances.clamp(min=0).sqrt() @ axes.mT


# %% right | sample_ae | Cholesky with a little on the diagonal
@torch.no_grad()
def sample_ae(enc, dec, X, n, gen):
    Z = enc(X)
    centred = Z - Z.mean(dim=0)
    C = centred.T @ centred / len(Z) + 1e-6 * torch.eye(Z.shape[1], dtype=Z.dtype)
    eps = torch.randn(Z.shape[1], n, generator=gen, dtype=Z.dtype)
    return dec((torch.linalg.cholesky(C) @ eps).T + Z.mean(dim=0))


# %% right | sample_ae | random mixtures of the centred codes
def sample_ae(enc, dec, X, n, gen):
    Z = enc(X).detach()
    centred = Z - Z.mean(0)
    mixtures = torch.randn(n, len(Z), generator=gen, dtype=Z.dtype) @ centred / math.sqrt(len(Z) - 1)
    return dec(Z.mean(0) + mixtures).detach()


# %% wrong | vq | the farthest word
# hint: These are the farthest words
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmax(1)
    e = C[idx]
    return z + (e - z).detach(), idx, F.mse_loss(e, z.detach()) + beta * F.mse_loss(z, e.detach())


# %% wrong | vq | no straight-through
# hint: The words themselves were returned
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return e, idx, F.mse_loss(e, z.detach()) + beta * F.mse_loss(z, e.detach())


# %% wrong | vq | everything detached
# hint: Everything was detached
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return (z + (e - z)).detach(), idx, F.mse_loss(e, z.detach()) + beta * F.mse_loss(z, e.detach())


# %% wrong | vq | only the vector detached
# hint: the word included
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return z + e - z.detach(), idx, F.mse_loss(e, z.detach()) + beta * F.mse_loss(z, e.detach())


# %% wrong | vq | beta at the wrong term
# hint: beta stands at the wrong term
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return z + (e - z).detach(), idx, beta * F.mse_loss(e, z.detach()) + F.mse_loss(z, e.detach())


# %% wrong | vq | no stop-gradient in the loss
# hint: A stop-gradient is missing
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return z + (e - z).detach(), idx, (1 + beta) * F.mse_loss(e, z)


# %% wrong | vq | sums
# hint: The squared differences were added up
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return z + (e - z).detach(), idx, (e - z.detach()).square().sum() + beta * (z - e.detach()).square().sum()


# %% wrong | vq | no commitment
# hint: The commitment term is missing
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(1)
    e = C[idx]
    return z + (e - z).detach(), idx, F.mse_loss(e, z.detach())


# %% wrong | vq | the nearest vector of each word
# hint: expected
def vq(z, C, beta=0.25):
    idx = torch.cdist(z, C).argmin(0)
    e = C[idx[: len(z)] % len(C)]
    return z + (e - z).detach(), idx, F.mse_loss(e, z.detach()) + beta * F.mse_loss(z, e.detach())


# %% right | vq | squares by hand
def vq(z, C, beta=0.25):
    with torch.no_grad():
        idx = (z[:, None, :] - C[None]).pow(2).sum(-1).min(dim=1).indices
    e = F.embedding(idx, C)
    commit = ((z - e.detach()) ** 2).mean()
    codebook = ((e - z.detach()) ** 2).mean()
    return z + e.detach() - z.detach(), idx, codebook + beta * commit


# %% right | vq | a function of its own for the gradient
class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, e):
        return e.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def vq(z, C, beta=0.25):
    scores = z @ C.T - C.square().sum(1) / 2
    idx = scores.argmax(dim=1)
    e = C[idx]
    return StraightThrough.apply(z, e), idx, F.mse_loss(z.detach(), e) + F.mse_loss(e.detach(), z) * beta
