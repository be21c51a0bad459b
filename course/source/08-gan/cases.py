# Answers that the graders of 08-gan are proven against; docs/authoring.md says how a case is written.

# %% wrong | inverse_transform | classes from one
# hint: The classes are counted from 1
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u.double(), right=True) + 1


# %% wrong | inverse_transform | no running sum
# hint: Hold it against their running sum
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    return (u[:, None] > target).sum(1)


# %% wrong | inverse_transform | returns the running sums
# hint: These are running sums
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    ends = target.cumsum(0)
    return ends[torch.searchsorted(ends, u, right=True).clamp(max=len(ends) - 1)]


# %% wrong | inverse_transform | every class alike
# hint: Every class got an equal share
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    return (u * len(target)).long()


# %% wrong | inverse_transform | always the likeliest
# hint: This is the likeliest class each time
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    return torch.full(u.shape, int(target.argmax()))


# %% wrong | inverse_transform | its own noise
# hint: is off limits
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    return torch.multinomial(target, len(u), replacement=True)


# %% wrong | inverse_transform | off the end
# hint: A u near 1 fell off the end
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    return (u[:, None] >= target.cumsum(0)).sum(1)


# %% wrong | inverse_transform | an empty class at zero
# hint: u = 0 lies at the end of an empty class
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u.double())


# %% wrong | inverse_transform | the quantile function taken for the distribution function
# hint: as if it were the distribution function
def inverse_transform(u, target):
    if callable(target):
        low, high = torch.full_like(u, -50.0), torch.full_like(u, 50.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = target(middle) < u
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return middle
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u.double(), right=True)


# %% wrong | inverse_transform | sorted
# hint: The samples come out sorted
def inverse_transform(u, target):
    u = u.sort().values
    if callable(target):
        return target(u)
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u.double(), right=True)


# %% wrong | inverse_transform | the quantile function not applied
# hint: this is u itself
def inverse_transform(u, target):
    if callable(target):
        return u
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u.double(), right=True)


# %% right | inverse_transform | from the other side
def inverse_transform(u, target):
    u = 1 - u.double()
    if callable(target):
        return target(u)
    ends = target.double().cumsum(0)
    return torch.searchsorted(ends / ends[-1], u)  # 1 - u is never 0


# %% right | inverse_transform | one number at a time
def inverse_transform(u, target):
    if not isinstance(target, Tensor):
        return target(u)
    samples = []
    for number in u.tolist():
        total, chosen = 0.0, None
        for k, share in enumerate(target.tolist()):
            total += share
            if share > 0:
                chosen = k
                if number < total:
                    break
        samples.append(chosen)
    return torch.tensor(samples)


# %% right | inverse_transform | comparing, and cut off at the end
def inverse_transform(u, target):
    if callable(target):
        return target(u)
    last = int(target.nonzero().max())
    return (u.double()[:, None] >= target.double().cumsum(0)).sum(1).clamp(max=last)


# %% wrong | d_loss | labels swapped
# hint: The labels are swapped
def d_loss(real, fake):
    return F.softplus(real).mean() + F.softplus(-fake).mean()


# %% wrong | d_loss | fakes labelled real
# hint: The fakes are labelled real
def d_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(-fake).mean()


# %% wrong | d_loss | sums
# hint: These are sums over the batches
def d_loss(real, fake):
    return F.softplus(-real).sum() + F.softplus(fake).sum()


# %% wrong | d_loss | one mean
# hint: This is one mean over all five
def d_loss(real, fake):
    logits = torch.cat([real, fake])
    labels = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    return F.binary_cross_entropy_with_logits(logits, labels)


# %% wrong | d_loss | half
# hint: This is half of it
def d_loss(real, fake):
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


# %% wrong | d_loss | to be maximised
# hint: a loss is to be minimised
def d_loss(real, fake):
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


# %% wrong | d_loss | logarithm of a probability
# hint: whose logarithm is infinite
def d_loss(real, fake):
    return -torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()


# %% wrong | d_loss | a small number in the logarithm
# hint: kept away from 0 and 1
def d_loss(real, fake):
    return -torch.log(torch.sigmoid(real) + 1e-8).mean() - torch.log(1 - torch.sigmoid(fake) + 1e-8).mean()


# %% wrong | d_loss | two sigmoids
# hint: A sigmoid was applied to logits
def d_loss(real, fake):
    real, fake = torch.sigmoid(real), torch.sigmoid(fake)
    return F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


# %% wrong | d_loss | cut off
# hint: yours were cut off
def d_loss(real, fake):
    return F.softplus(-real.detach()).mean() + F.softplus(fake.detach()).mean()


# %% right | d_loss | cross-entropy with logits
def d_loss(real, fake):
    return F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


# %% right | d_loss | logsigmoid
def d_loss(real, fake):
    return -(F.logsigmoid(real).mean() + F.logsigmoid(-fake).sum() / fake.numel())


# %% right | d_loss | logaddexp
def d_loss(real, fake):
    return torch.logaddexp(torch.zeros_like(real), -real).mean() + torch.logaddexp(torch.zeros_like(fake), fake).mean()


# %% wrong | g_loss | modes swapped
# hint: The two modes are swapped
def g_loss(fake, mode="ns"):
    if mode == "sat":
        return F.softplus(-fake).mean()
    if mode == "ns":
        return -F.softplus(fake).mean()
    raise ValueError(mode)


# %% wrong | g_loss | saturating as minus the other
# hint: is not the other one with a minus sign
def g_loss(fake, mode="ns"):
    if mode not in ("ns", "sat"):
        raise ValueError(mode)
    return F.softplus(-fake).mean() * (1 if mode == "ns" else -1)


# %% wrong | g_loss | saturating with the wrong sign
# hint: Minimise log(1 − D)
def g_loss(fake, mode="ns"):
    if mode == "ns":
        return F.softplus(-fake).mean()
    if mode == "sat":
        return F.softplus(fake).mean()
    raise ValueError(mode)


# %% wrong | g_loss | labelled fake
# hint: The fakes are labelled 0
def g_loss(fake, mode="ns"):
    if mode == "ns":
        return F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    if mode == "sat":
        return -F.softplus(fake).mean()
    raise ValueError(mode)


# %% wrong | g_loss | sums
# hint: This is the sum
def g_loss(fake, mode="ns"):
    if mode == "ns":
        return F.softplus(-fake).sum()
    if mode == "sat":
        return -F.softplus(fake).sum()
    raise ValueError(mode)


# %% wrong | g_loss | ascent
# hint: minimising this makes the fakes easier to tell
def g_loss(fake, mode="ns"):
    if mode == "ns":
        return F.logsigmoid(fake).mean()
    if mode == "sat":
        return F.logsigmoid(-fake).mean()
    raise ValueError(mode)


# %% wrong | g_loss | logarithm of a probability
# hint: whose logarithm is infinite
def g_loss(fake, mode="ns"):
    D = torch.sigmoid(fake)
    if mode == "ns":
        return -torch.log(D).mean()
    if mode == "sat":
        return torch.log(1 - D).mean()
    raise ValueError(mode)


# %% wrong | g_loss | any mode will do
# hint: expected ValueError
def g_loss(fake, mode="ns"):
    return F.softplus(-fake).mean() if mode == "ns" else -F.softplus(fake).mean()


# %% right | g_loss | logsigmoid
def g_loss(fake, mode="ns"):
    if mode not in ("ns", "sat"):
        raise ValueError(f"no mode {mode}")
    return (-F.logsigmoid(fake) if mode == "ns" else F.logsigmoid(-fake)).mean()


# %% right | g_loss | cross-entropy with logits
def g_loss(fake, mode="ns"):
    match mode:
        case "ns":
            return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
        case "sat":
            return -F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    raise ValueError("mode")


# %% wrong | d_step | fakes not cut off
# hint: Cut the fakes off
def d_step(G, D, opt_d, x, z, penalty=None):
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z)))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | gradients not emptied
# hint: Gradients from before were added
def d_step(G, D, opt_d, x, z, penalty=None):
    loss = d_loss(D(x), D(G(z).detach()))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | emptied too late
# hint: The discriminator did not move
def d_step(G, D, opt_d, x, z, penalty=None):
    loss = d_loss(D(x), D(G(z).detach()))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.zero_grad()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | uphill
# hint: The discriminator went uphill
def d_step(G, D, opt_d, x, z, penalty=None):
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z).detach()))
    if penalty is not None:
        loss = loss + penalty(D, x)
    (-loss).backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | real and fake swapped
# hint: The labels are swapped
def d_step(G, D, opt_d, x, z, penalty=None):
    opt_d.zero_grad()
    loss = d_loss(D(G(z).detach()), D(x))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | penalty forgotten
# hint: The penalty was not added
def d_step(G, D, opt_d, x, z, penalty=None):
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z).detach()))
    loss.backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | generator frozen for good
# hint: requires_grad was switched off
def d_step(G, D, opt_d, x, z, penalty=None):
    G.requires_grad_(False)
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z)))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | generator's gradients emptied
# hint: The generator's gradients were emptied
def d_step(G, D, opt_d, x, z, penalty=None):
    G.zero_grad()
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z).detach()))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss.item()


# %% wrong | d_step | returns the graph
# hint: or the memory of every step adds up
def d_step(G, D, opt_d, x, z, penalty=None):
    opt_d.zero_grad()
    loss = d_loss(D(x), D(G(z).detach()))
    if penalty is not None:
        loss = loss + penalty(D, x)
    loss.backward()
    opt_d.step()
    return loss


# %% right | d_step | no_grad
def d_step(G, D, opt_d, x, z, penalty=None):
    with torch.no_grad():
        fake = G(z)
    loss = d_loss(D(x), D(fake)) + (penalty(D, x) if penalty else 0.0)
    opt_d.zero_grad(set_to_none=False)
    loss.backward()
    opt_d.step()
    return float(loss.detach())


# %% right | d_step | frozen and thawed, loss as a tensor
def d_step(G, D, opt_d, x, z, penalty=None):
    flags = [p.requires_grad for p in G.parameters()]
    for p in G.parameters():
        p.requires_grad_(False)
    D.zero_grad()
    loss = d_loss(D(x), D(G(z)))
    if penalty is not None:
        loss += penalty(D, x)
    torch.autograd.backward(loss)
    opt_d.step()
    for p, flag in zip(G.parameters(), flags):
        p.requires_grad_(flag)
    return loss.detach()


# %% wrong | g_step | cut off
# hint: Was it cut off with `detach`
def g_step(G, D, opt_g, z):
    opt_g.zero_grad()
    loss = g_loss(D(G(z).detach()))
    loss.backward()
    opt_g.step()
    return loss.item()


# %% wrong | g_step | saturating
# hint: This is a step on the saturating loss
def g_step(G, D, opt_g, z):
    opt_g.zero_grad()
    loss = g_loss(D(G(z)), "sat")
    loss.backward()
    opt_g.step()
    return g_loss(D(G(z))).item() if False else loss.item()


# %% wrong | g_step | gradients not emptied
# hint: Gradients from before were added
def g_step(G, D, opt_g, z):
    loss = g_loss(D(G(z)))
    loss.backward()
    opt_g.step()
    return loss.item()


# %% wrong | g_step | the other player's loss
# hint: The fakes are labelled 0
def g_step(G, D, opt_g, z):
    opt_g.zero_grad()
    value = g_loss(D(G(z)))
    F.softplus(D(G(z))).mean().backward()
    opt_g.step()
    return value.item()


# %% wrong | g_step | uphill
# hint: The generator went the wrong way
def g_step(G, D, opt_g, z):
    opt_g.zero_grad()
    loss = g_loss(D(G(z)))
    (-loss).backward()
    opt_g.step()
    return loss.item()


# %% wrong | g_step | discriminator frozen for good
# hint: requires_grad was switched off
def g_step(G, D, opt_g, z):
    D.requires_grad_(False)
    opt_g.zero_grad()
    loss = g_loss(D(G(z)))
    loss.backward()
    opt_g.step()
    return loss.item()


# %% wrong | g_step | moves the discriminator as well
# hint: The discriminator moved
def g_step(G, D, opt_g, z):
    opt_g.zero_grad()
    D.zero_grad()
    loss = g_loss(D(G(z)))
    loss.backward()
    opt_g.step()
    torch.optim.SGD(D.parameters(), lr=0.1).step()
    return loss.item()


# %% wrong | g_step | loss after the step
# hint: This is the loss after the step
def g_step(G, D, opt_g, z):
    opt_g.zero_grad()
    g_loss(D(G(z))).backward()
    opt_g.step()
    return g_loss(D(G(z))).item()


# %% right | g_step | gradients by hand
def g_step(G, D, opt_g, z):
    loss = g_loss(D(G(z)))
    parameters = list(G.parameters())
    for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
        p.grad = gradient
    opt_g.step()
    return loss.item()


# %% right | g_step | discriminator frozen and thawed
def g_step(G, D, opt_g, z):
    D.requires_grad_(False)
    G.zero_grad()
    loss = g_loss(D(G(z)), mode="ns")
    loss.backward()
    D.requires_grad_(True)
    opt_g.step()
    return loss.detach()


# %% wrong | optimal_D | the ratio
# hint: This is the ratio p/q
def optimal_D(p, q):
    return p / q


# %% wrong | optimal_D | the fakes' share
# hint: This is the probability of a fake
def optimal_D(p, q):
    return torch.where(p + q > 0, q / (p + q), 0.5)


# %% wrong | optimal_D | all or nothing
# hint: This says which is likelier
def optimal_D(p, q):
    return (p > q).to(p.dtype)


# %% wrong | optimal_D | p alone
# hint: This is p itself
def optimal_D(p, q):
    return p


# %% wrong | optimal_D | nan where nothing is
# hint: 0/0 is NaN
def optimal_D(p, q):
    return p / (p + q)


# %% right | optimal_D | nan to a half
def optimal_D(p, q):
    return torch.nan_to_num(p / (p + q), nan=0.5)


# %% right | optimal_D | a safe denominator
def optimal_D(p, q):
    both = p + q
    return p / torch.where(both == 0, torch.ones_like(both), both)


# %% wrong | gan_value | nan at zero
# hint: 0·log 0 became NaN
def gan_value(p, q):
    best = optimal_D(p, q)
    return (p * torch.log(best) + q * torch.log(1 - best)).sum()


# %% wrong | gan_value | base two
# hint: The logarithm has base 2
def gan_value(p, q):
    best = optimal_D(p, q)
    return (torch.xlogy(p, best) + torch.xlogy(q, 1 - best)).sum() / math.log(2)


# %% wrong | gan_value | the divergence alone
# hint: This is the divergence
def gan_value(p, q):
    best = optimal_D(p, q)
    return ((torch.xlogy(p, best) + torch.xlogy(q, 1 - best)).sum() + math.log(4)) / 2


# %% wrong | gan_value | divergence counted once
# hint: The divergence counts twice
def gan_value(p, q):
    best = optimal_D(p, q)
    return ((torch.xlogy(p, best) + torch.xlogy(q, 1 - best)).sum() - math.log(4)) / 2


# %% wrong | gan_value | fakes forgotten
# hint: The term of the fakes is missing
def gan_value(p, q):
    return torch.xlogy(p, optimal_D(p, q)).sum()


# %% wrong | gan_value | the loss instead of the value
# hint: The sign is wrong
def gan_value(p, q):
    best = optimal_D(p, q)
    return -(torch.xlogy(p, best) + torch.xlogy(q, 1 - best)).sum()


# %% right | gan_value | minus log four plus the divergence
def gan_value(p, q):
    middle = (p + q) / 2
    jsd = sum((torch.xlogy(t, t) - torch.xlogy(t, middle)).sum() for t in (p, q)) / 2
    return -math.log(4) + 2 * jsd


# %% right | gan_value | only where there is something
def gan_value(p, q):
    best = optimal_D(p, q)
    return (p[p > 0] * best[p > 0].log()).sum() + (q[q > 0] * (1 - best[q > 0]).log()).sum()


# %% wrong | r1_penalty | graph forgotten
# hint: Ask for create_graph=True
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x)
    return slope.flatten(1).square().sum(1).mean()


# %% wrong | r1_penalty | norm not squared
# hint: The norms were not squared
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.flatten(1).norm(dim=1).mean()


# %% wrong | r1_penalty | gradient of the mean
# hint: The gradient of the *mean* logit was taken
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).mean(), x, create_graph=True)
    return slope.flatten(1).square().sum(1).mean()


# %% wrong | r1_penalty | sum over the samples
# hint: This is the sum over the samples
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.square().sum()


# %% wrong | r1_penalty | mean over all entries
# hint: This is a mean over all entries
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.square().mean()


# %% wrong | r1_penalty | norm pulled to one
# hint: as WGAN-GP does
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


# %% wrong | r1_penalty | flag left on the argument
# hint: Work on a fresh leaf
def r1_penalty(D, x):
    x.requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.flatten(1).square().sum(1).mean()


# %% wrong | r1_penalty | last axis only
# hint: expected
def r1_penalty(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.square().sum(-1).mean()


# %% right | r1_penalty | every logit weighted with one
def r1_penalty(D, x):
    leaf = x.detach().clone().requires_grad_(True)
    logits = D(leaf)
    (slope,) = torch.autograd.grad(logits, leaf, grad_outputs=torch.ones_like(logits), create_graph=True)
    return slope.reshape(len(x), -1).pow(2).sum(1).mean()


# %% right | r1_penalty | sum divided by the batch
def r1_penalty(D, x):
    leaf = x.detach().requires_grad_()
    slope = torch.autograd.grad(D(leaf).sum(), leaf, create_graph=True, retain_graph=True)[0]
    return (slope**2).sum() / x.shape[0]


# %% wrong | train_coin | a constant
# hint: a constant is no toss
def train_coin(flips, seed):
    training.seed_everything(seed)
    G = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    with torch.no_grad():
        G[0].weight.zero_()
        G[0].bias.fill_(float(torch.logit(flips.mean())))
    return G


# %% wrong | train_coin | plain, with momentum and long steps
# hint: It always shows the same face
def train_coin(flips, seed):
    training.seed_everything(seed)
    G, D = nn.Sequential(mlp(1, 16, 16, 1), nn.Sigmoid()), mlp(1, 16, 1)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=0.05, betas=(0.9, 0.99), fused=True) for net in (G, D))
    for _ in range(150):
        d_step(G, D, opt_d, flips[torch.randint(len(flips), (256,))], torch.randn(256, 1))
        g_step(G, D, opt_g, torch.randn(256, 1))
    return G


# %% wrong | train_coin | always the lecture's coin
# hint: It has not settled
def train_coin(flips, seed):
    training.seed_everything(seed)
    G = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    with torch.no_grad():
        G[0].weight.fill_(200.0)
        G[0].bias.fill_(-200.0 * 0.5244)
    return G


# %% wrong | train_coin | faces swapped
# hint: Heads and tails are swapped
def train_coin(flips, seed):
    training.seed_everything(seed)
    share = float(flips.mean())
    G = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    with torch.no_grad():
        G[0].weight.fill_(-200.0)
        G[0].bias.fill_(-200.0 * float(torch.special.ndtri(torch.tensor(share))))
    return G


# %% wrong | train_coin | never trained
# hint: It makes the same of every z
def train_coin(flips, seed):
    training.seed_everything(seed)
    return nn.Sequential(mlp(1, 16, 1), nn.Sigmoid())


# %% wrong | train_coin | no network
# hint: yours has none
def train_coin(flips, seed):
    share = float(flips.mean())

    class Step(nn.Module):
        def forward(self, z):
            return (torch.special.ndtr(z) > 1 - share).float()

    return Step()


# %% wrong | train_coin | not decided by its seed
# hint: the same seed gives the same generator
def train_coin(flips, seed):
    torch.seed()
    G, D = nn.Sequential(mlp(1, 16, 1), nn.Sigmoid()), mlp(1, 16, 1)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=0.02, betas=(0.0, 0.9), fused=True) for net in (G, D))
    for _ in range(200):
        x = flips[torch.randint(len(flips), (512,))]
        d_step(G, D, opt_d, x, torch.randn(512, 1), penalty=lambda D, x: r1_penalty(D, x) / 2)
        g_step(G, D, opt_g, torch.randn(512, 1))
    return G


# %% right | train_coin | RMSprop, all tosses at once
def train_coin(flips, seed):
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(1, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1), nn.Sigmoid())
    D = nn.Sequential(nn.Linear(1, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))
    opt_g, opt_d = (torch.optim.RMSprop(net.parameters(), lr=0.01, alpha=0.9) for net in (G, D))
    for _ in range(250):
        d_step(G, D, opt_d, flips, torch.randn(1024, 1), penalty=lambda D, x: 0.5 * r1_penalty(D, x))
        g_step(G, D, opt_g, torch.randn(1024, 1))
    return G.eval()


# %% right | train_coin | noise on the samples instead of a penalty
def train_coin(flips, seed):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    G, D = nn.Sequential(mlp(1, 16, 1), nn.Sigmoid()), mlp(1, 16, 1)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=0.02, betas=(0.0, 0.9), fused=True) for net in (G, D))
    for _ in range(200):
        real = flips[torch.randint(len(flips), (512,), generator=generator)]
        noisy = real + 0.3 * torch.randn(512, 1, generator=generator)
        with torch.no_grad():
            fake = G(torch.randn(512, 1, generator=generator)) + 0.3 * torch.randn(512, 1, generator=generator)
        opt_d.zero_grad()
        (F.softplus(-D(noisy)).mean() + F.softplus(D(fake)).mean()).backward()
        opt_d.step()
        opt_g.zero_grad()
        fake = G(torch.randn(512, 1, generator=generator))
        F.softplus(-D(fake + 0.3 * torch.randn(512, 1, generator=generator))).mean().backward()
        opt_g.step()
    return G


# %% wrong | mmd2 | diagonal kept
# hint: The diagonal was kept
def mmd2(X, Y, sigma):
    def similarity(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(-1) / (2 * sigma**2)).mean()

    return similarity(X, X) + similarity(Y, Y) - 2 * similarity(X, Y)


# %% wrong | mmd2 | sigma squared without the two
# hint: The kernel divides by σ²
def mmd2(X, Y, sigma):
    n, m = len(X), len(Y)

    def similarity(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(-1) / sigma**2).sum()

    return (similarity(X, X) - n) / (n * (n - 1)) + (similarity(Y, Y) - m) / (m * (m - 1)) - 2 * similarity(X, Y) / (n * m)


# %% wrong | mmd2 | sigma not squared
# hint: The kernel divides by 2σ.
def mmd2(X, Y, sigma):
    n, m = len(X), len(Y)

    def similarity(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(-1) / (2 * sigma)).sum()

    return (similarity(X, X) - n) / (n * (n - 1)) + (similarity(Y, Y) - m) / (m * (m - 1)) - 2 * similarity(X, Y) / (n * m)


# %% wrong | mmd2 | mixed term once
# hint: The mixed term counts twice
def mmd2(X, Y, sigma):
    n, m = len(X), len(Y)

    def similarity(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(-1) / (2 * sigma**2)).sum()

    return (similarity(X, X) - n) / (n * (n - 1)) + (similarity(Y, Y) - m) / (m * (m - 1)) - similarity(X, Y) / (n * m)


# %% wrong | mmd2 | divided by n squared
# hint: the sums are divided by n²
def mmd2(X, Y, sigma):
    n, m = len(X), len(Y)

    def similarity(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(-1) / (2 * sigma**2)).sum()

    return (similarity(X, X) - n) / n**2 + (similarity(Y, Y) - m) / m**2 - 2 * similarity(X, Y) / (n * m)


# %% wrong | mmd2 | distance not squared
# hint: The distance was not squared
def mmd2(X, Y, sigma):
    n, m = len(X), len(Y)

    def similarity(a, b):
        return torch.exp(-torch.cdist(a, b) / (2 * sigma**2)).sum()

    return (similarity(X, X) - n) / (n * (n - 1)) + (similarity(Y, Y) - m) / (m * (m - 1)) - 2 * similarity(X, Y) / (n * m)


# %% wrong | mmd2 | through numpy
# hint: yours were cut off
def mmd2(X, Y, sigma):
    xx, yy, xy = (torch.as_tensor(np.exp(-(distance.cdist(a.detach(), b.detach()) ** 2) / (2 * sigma**2)), dtype=X.dtype) for a, b in ((X, X), (Y, Y), (X, Y)))
    n, m = len(X), len(Y)
    return (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()


# %% right | mmd2 | a mask for the diagonal
def mmd2(X, Y, sigma):
    def kernel(a, b):
        squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.mT
        return torch.exp(-squares / (2 * sigma**2))

    def mean_off_diagonal(K):
        return K[~torch.eye(len(K), dtype=torch.bool)].mean()

    return mean_off_diagonal(kernel(X, X)) + mean_off_diagonal(kernel(Y, Y)) - 2 * kernel(X, Y).mean()


# %% right | mmd2 | pair by pair
def mmd2(X, Y, sigma):
    def k(a, b):
        return torch.exp(-((a - b) ** 2).sum() / (2 * sigma**2))

    n, m = len(X), len(Y)
    within_x = sum(k(X[i], X[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(Y[i], Y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in X for b in Y) / (n * m)


# %% wrong | w1 | not sorted
# hint: The numbers were paired as they came
def w1(x, y):
    k = min(len(x), len(y))
    return (x[:k] - y[:k]).abs().mean()


# %% wrong | w1 | difference of the means
# hint: This is the difference of the means
def w1(x, y):
    return (x.mean() - y.mean()).abs()


# %% wrong | w1 | squared
# hint: The distances were squared
def w1(x, y):
    k = min(len(x), len(y))
    return (x.sort().values[:k] - y.sort().values[:k]).square().mean()


# %% wrong | w1 | longer set cut off
# hint: The longer set was cut off
def w1(x, y):
    k = min(len(x), len(y))
    return (x.sort().values[:k] - y.sort().values[:k]).abs().mean()


# %% wrong | w1 | greatest difference
# hint: the largest gap between the distribution functions
def w1(x, y):
    ends = torch.cat([x, y])
    below = [(t[:, None] <= ends).to(x.dtype).mean(0) for t in (x, y)]
    return (below[0] - below[1]).abs().max()


# %% wrong | w1 | scipy
# hint: is off limits
def w1(x, y):
    return torch.tensor(stats.wasserstein_distance(x.numpy(), y.numpy()), dtype=x.dtype)


# %% right | w1 | by quantiles
def w1(x, y):
    n, m = len(x), len(y)
    shares = torch.cat([torch.arange(n + 1) / n, torch.arange(m + 1) / m]).double().sort().values
    middle = (shares[1:] + shares[:-1]) / 2
    a = x.sort().values[(middle * n).long().clamp(max=n - 1)]
    b = y.sort().values[(middle * m).long().clamp(max=m - 1)]
    return ((a - b).abs() * shares.diff()).sum().to(x.dtype)


# %% right | w1 | repeated to equal size
def w1(x, y):
    n, m = len(x), len(y)
    return (x.repeat_interleave(m).sort().values - y.repeat_interleave(n).sort().values).abs().mean()


# %% wrong | frechet | covariance over n
# hint: The covariances divide by n
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT, correction=0)) for t in (X, Y))
    shared = torch.linalg.eigvals(Sx @ Sy).real.clamp(min=0).sqrt().sum()
    return (X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() - 2 * shared


# %% wrong | frechet | sign of the mixed term
# hint: The mixed term was added
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    shared = torch.linalg.eigvals(Sx @ Sy).real.clamp(min=0).sqrt().sum()
    return (X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() + 2 * shared


# %% wrong | frechet | means left out
# hint: The means were left out
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    shared = torch.linalg.eigvals(Sx @ Sy).real.clamp(min=0).sqrt().sum()
    return Sx.trace() + Sy.trace() - 2 * shared


# %% wrong | frechet | distance of the means not squared
# hint: The distance of the means was not squared
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    shared = torch.linalg.eigvals(Sx @ Sy).real.clamp(min=0).sqrt().sum()
    return (X.mean(0) - Y.mean(0)).norm() + Sx.trace() + Sy.trace() - 2 * shared


# %% wrong | frechet | complex
# hint: a real number; got a complex one
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    shared = torch.linalg.eigvals(Sx @ Sy).sqrt().sum()
    return (X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() - 2 * shared


# %% wrong | frechet | variances only
# hint: Only the variances were compared
def frechet(X, Y):
    return (X.mean(0) - Y.mean(0)).square().sum() + (X.std(0) - Y.std(0)).square().sum()


# %% wrong | frechet | root entry by entry
# hint: The root was taken entry by entry
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    return (X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() - 2 * (Sx @ Sy).sqrt().trace()


# %% wrong | frechet | the root of it
# hint: Fréchet distances are reported squared
def frechet(X, Y):
    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    shared = torch.linalg.eigvals(Sx @ Sy).real.clamp(min=0).sqrt().sum()
    return ((X.mean(0) - Y.mean(0)).square().sum() + Sx.trace() + Sy.trace() - 2 * shared).clamp(min=0).sqrt()


# %% wrong | frechet | torchmetrics
# hint: is off limits
def frechet(X, Y):
    from torchmetrics.image import fid

    Sx, Sy = (torch.atleast_2d(torch.cov(t.mT)) for t in (X, Y))
    return fid._compute_fid(X.mean(0), Sx, Y.mean(0), Sy)


# %% right | frechet | scipy's matrix root
def frechet(X, Y):
    from scipy import linalg

    Sx, Sy = (np.atleast_2d(np.cov(t.double().numpy().T)) for t in (X, Y))
    root = linalg.sqrtm(Sx @ Sy + 1e-13 * np.eye(len(Sx)))
    shift = ((X.mean(0) - Y.mean(0)) ** 2).sum().double()
    return (shift + float(np.trace(Sx) + np.trace(Sy) - 2 * np.trace(np.real(root)))).to(X.dtype)


# %% right | frechet | nuclear norm
def frechet(X, Y):
    a, b = ((t - t.mean(0)) / math.sqrt(len(t) - 1) for t in (X, Y))
    return (X.mean(0) - Y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * torch.linalg.matrix_norm(a @ b.mT, "nuc")


# %% right | frechet | eigenvalues of the product
def frechet(X, Y):
    a, b = X.double() - X.double().mean(0), Y.double() - Y.double().mean(0)
    Sx, Sy = a.T @ a / (len(X) - 1), b.T @ b / (len(Y) - 1)
    shared = torch.linalg.eigvals(Sx @ Sy).real.clamp(min=0).sqrt().sum()
    return ((X.mean(0) - Y.mean(0)).double().square().sum() + torch.trace(Sx) + torch.trace(Sy) - 2 * shared).to(X.dtype)
