# Answers that the graders of 04-resnet are proven against; docs/authoring.md says how a case is written.

# %% wrong | batch_norm2d | unbiased variance to normalise
# hint: The variance is divided by m - 1
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | biased variance in the running average
# hint: The running variance takes the batch's variance divided by m
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | the batch's own statistics in evaluation
# hint: In evaluation the batch's own statistics were used
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        if self.training:
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | eps outside the root
# hint: eps stands outside the root
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        else:
            mean, std = self.running_mean, self.running_var.sqrt()
        x_hat = (x - mean[:, None, None]) / (std + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | every image by itself
# hint: Every image is normalised by itself
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
            with torch.no_grad():
                self.running_mean += self.momentum * (x.mean((0, 2, 3)) - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        else:
            mean, var = self.running_mean[:, None, None], self.running_var[:, None, None]
        return self.weight[:, None, None] * (x - mean) / torch.sqrt(var + self.eps) + self.bias[:, None, None]


# %% wrong | batch_norm2d | every pixel by itself
# hint: Every pixel is normalised by itself
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean(0), x.var(0, correction=0)
            with torch.no_grad():
                self.running_mean += self.momentum * (x.mean((0, 2, 3)) - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        else:
            mean, var = self.running_mean[:, None, None], self.running_var[:, None, None]
        return self.weight[:, None, None] * (x - mean) / torch.sqrt(var + self.eps) + self.bias[:, None, None]


# %% wrong | batch_norm2d | momentum the wrong way round
# hint: The momentum is the weight of the new batch
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
                self.running_var = self.momentum * self.running_var + (1 - self.momentum) * x.var((0, 2, 3))
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | momentum and eps fixed
# hint: Use the one that was given
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean = 0.9 * self.running_mean + 0.1 * mean
                self.running_var = 0.9 * self.running_var + 0.1 * x.var((0, 2, 3))
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | running averages to be trained
# hint: The running averages are parameters
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.running_mean, self.running_var = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            self.running_mean.data += self.momentum * (mean.detach() - self.running_mean.data)
            self.running_var.data += self.momentum * (x.detach().var((0, 2, 3)) - self.running_var.data)
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | running averages not in the state
# hint: are not in the layer's state
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.running_mean, self.running_var = torch.zeros(channels), torch.ones(channels)

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
                self.running_var = (1 - self.momentum) * self.running_var + self.momentum * x.var((0, 2, 3))
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | off in evaluation
# hint: In evaluation the layer is switched off
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if not self.training:
            return x
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        with torch.no_grad():
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | only scale and shift in evaluation
# hint: In evaluation the normalisation is switched off
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
            x = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x + self.bias[:, None, None]


# %% wrong | batch_norm2d | running averages move in evaluation
# hint: The running averages moved in evaluation
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)) if self.training else (self.running_mean.clone(), self.running_var.clone())
        with torch.no_grad():
            m = x.numel() // x.shape[1]
            self.running_mean += self.momentum * (x.mean((0, 2, 3)) - self.running_mean)
            self.running_var += self.momentum * (x.var((0, 2, 3), correction=min(1, m - 1)) - self.running_var)
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | statistics detached
# hint: The mean and the variance were taken for constants
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | running averages hold on to the graph
# hint: hold on to the graph of every batch before
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * x.var((0, 2, 3))
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


# %% wrong | batch_norm2d | scale and shift not used
# hint: weight and bias are not used
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (x.var((0, 2, 3)) - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        return (x - mean[:, None, None]) / torch.sqrt(var + self.eps)[:, None, None]


# %% wrong | batch_norm2d | torch's own
# hint: is off limits here
class BatchNorm2d(nn.BatchNorm2d):
    pass


# %% right | batch_norm2d | one row a place
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.alpha, self.small = momentum, eps
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight = nn.Parameter(torch.full((channels,), 1.0))
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x):
        rows = x.movedim(1, -1).reshape(-1, x.shape[1])
        if self.training:
            mean = rows.sum(0) / len(rows)
            var = ((rows - mean) ** 2).sum(0) / len(rows)
            self.running_mean.mul_(1 - self.alpha).add_(self.alpha * mean.detach())
            self.running_var.mul_(1 - self.alpha).add_(self.alpha * var.detach() * len(rows) / (len(rows) - 1))
        else:
            mean, var = self.running_mean, self.running_var
        rows = (rows - mean) * (var + self.small) ** -0.5 * self.weight + self.bias
        return rows.reshape(x.shape[0], x.shape[2], x.shape[3], -1).movedim(-1, 1)


# %% right | batch_norm2d | new buffers, a counter as torch keeps it
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.channels, self.eps, self.momentum = channels, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x):
        view = (1, -1, 1, 1)
        if self.training:
            mean = x.mean((0, 2, 3), keepdim=True)
            centred = x - mean
            var = centred.square().mean((0, 2, 3), keepdim=True)
            with torch.no_grad():
                unbiased = x.var((0, 2, 3), correction=1)
                self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean.flatten()
                self.running_var = (1 - self.momentum) * self.running_var + self.momentum * unbiased
                self.num_batches_tracked += 1
        else:
            centred, var = x - self.running_mean.view(view), self.running_var.view(view)
        return centred * torch.rsqrt(var + self.eps) * self.weight.view(view) + self.bias.view(view)


# %% right | batch_norm2d | channel by channel
class BatchNorm2d(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        done = []
        for c in range(x.shape[1]):
            values = x[:, c]
            mean, var = self.running_mean[c].clone(), self.running_var[c].clone()
            if self.training:
                self.running_mean[c] = (1 - self.momentum) * mean + self.momentum * values.detach().mean()
                self.running_var[c] = (1 - self.momentum) * var + self.momentum * values.detach().var()
                mean, var = values.mean(), values.var(correction=0)
            done.append((values - mean) / (var + self.eps).sqrt() * self.weight[c] + self.bias[c])
        return torch.stack(done, dim=1)


# %% wrong | bn_backward | mean and variance for constants
# hint: The mean and the variance were taken for constants
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return g * gamma / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | no part through the variance
# hint: The part through the variance is missing
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.mean(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | no part through the mean
# hint: The part through the mean is missing
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - x_hat * (g * x_hat).mean(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | sums in place of means
# hint: Each comes with 1/m
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.sum(0) - x_hat * (g * x_hat).sum(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | gamma missing in gx
# hint: gamma is missing
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | sign of the mean's part
# hint: The part through the mean has the wrong sign
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g + g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | sign of the variance's part
# hint: The part through the variance has the wrong sign
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.mean(0) + x_hat * (g * x_hat).mean(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | means for gamma and beta
# hint: summed over the batch; yours is the mean
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, (g * x_hat).mean(0), g.mean(0)


# %% wrong | bn_backward | gamma's gradient with x itself
# hint: takes the normalised x, not x
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, (g * x).sum(0), g.sum(0)


# %% wrong | bn_backward | beta and gamma swapped
# hint: The order is gx, ggamma, gbeta
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, g.sum(0), (g * x_hat).sum(0)


# %% wrong | bn_backward | unbiased variance
# hint: The variance is the biased one
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0) + eps)
    x_hat = (x - x.mean(0)) / s
    return gamma * (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, (g * x_hat).sum(0), g.sum(0)


# %% wrong | bn_backward | by autograd
# hint: is off limits here
def bn_backward(g, x, gamma, eps):
    x, gamma = x.clone().requires_grad_(), gamma.clone().requires_grad_()
    beta = torch.zeros_like(gamma).requires_grad_()
    y = gamma * (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + eps) + beta
    return torch.autograd.grad(y, (x, gamma, beta), g)


# %% wrong | bn_backward | the gradient is scaled in place
# hint: changed in place
def bn_backward(g, x, gamma, eps):
    s = torch.sqrt(x.var(0, correction=0) + eps)
    x_hat = (x - x.mean(0)) / s
    ggamma, gbeta = (g * x_hat).sum(0), g.sum(0)
    g *= gamma
    return (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / s, ggamma, gbeta


# %% wrong | bn_backward | the visible answer by heart
# hint: expected shape
def bn_backward(g, x, gamma, eps):
    gx = [[0.5, -1.0], [-1 / 3, -2.0], [-1 / 6, 13 / 3], [0.0, -4 / 3]]
    return torch.tensor(gx, dtype=x.dtype), torch.tensor([-3.0, -3.0], dtype=x.dtype), torch.tensor([3.0, 9.0], dtype=x.dtype)


# %% right | bn_backward | in stages, as a graph would
def bn_backward(g, x, gamma, eps):
    m = len(x)
    centred = x - x.sum(0) / m
    var = (centred**2).sum(0) / m
    inv = (var + eps) ** -0.5
    d_hat = g * gamma
    d_var = (d_hat * centred).sum(0) * -0.5 * inv**3
    d_centred = d_hat * inv + d_var * 2 / m * centred
    d_mean = -d_centred.sum(0)
    return d_centred + d_mean / m, (g * centred * inv).sum(0), g.sum(0)


# %% right | bn_backward | the whole Jacobian, column by column
def bn_backward(g, x, gamma, eps):
    m, d = x.shape
    columns, scales = [], []
    for c in range(d):
        s = torch.sqrt(x[:, c].var(correction=0) + eps)
        x_hat = (x[:, c] - x[:, c].mean()) / s
        jacobian = (torch.eye(m, dtype=x.dtype) - 1 / m - torch.outer(x_hat, x_hat) / m) / s
        columns.append(jacobian @ (gamma[c] * g[:, c]))
        scales.append(g[:, c] @ x_hat)
    return torch.stack(columns, dim=1), torch.stack(scales), torch.ones(m, dtype=x.dtype) @ g


# %% right | bn_backward | compact, in terms of the other two
def bn_backward(g, x, gamma, eps):
    m = x.size(0)
    std = (x.var(dim=0, unbiased=False) + eps).sqrt()
    x_hat = (x - x.mean(dim=0, keepdim=True)) / std
    gbeta = torch.einsum("md->d", g)
    ggamma = torch.einsum("md,md->d", g, x_hat)
    return gamma / (m * std) * (m * g - gbeta - x_hat * ggamma), ggamma, gbeta


# %% wrong | basic_block | ReLU before the sum
# hint: The ReLU stands before the sum
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return h if self.shortcut is None else h + self.shortcut(x)


# %% wrong | basic_block | ReLU on the branch and after the sum
# hint: There is a ReLU at the end of the branch
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | no ReLU after the sum
# hint: The ReLU after the sum is missing
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return h if self.shortcut is None else h + self.shortcut(x)


# %% wrong | basic_block | no ReLU between the convolutions
# hint: The ReLU between the convolutions is missing
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | always a projection
# hint: The shortcut is a projection though the shapes agree
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout)) if residual else None

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | both convolutions have the stride
# hint: Both convolutions have the stride
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            same = cin == cout and stride == 1
            self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(cin, cout, 1, stride**2, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | a ReLU that changes the input
# hint: changed in place
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(F.relu(x, inplace=True))))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | a projection without batch norm
# hint: The projection has no batch norm
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | convolutions with biases
# hint: The convolutions have biases
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | one batch norm used twice
# hint: The second batch norm is missing, or one is used twice
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn1 = self.bn2 = BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x))


# %% wrong | basic_block | the shortcut cannot be left out
# hint: shortcut is there; expected None
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        same = cin == cout and stride == 1
        self.shortcut = nn.Identity() if same or not residual else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h, around = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))), self.shortcut(x)
        return F.relu(h + around if h.shape == around.shape else h)


# %% wrong | basic_block | a plain block
# hint: x is not added
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


# %% wrong | basic_block | no gradient through the shortcut
# hint: No gradient comes through the shortcut
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h if self.shortcut is None else h + self.shortcut(x).detach())


# %% right | basic_block | in the manner of torchvision
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(cout, cout, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.shortcut = None
        if residual:
            self.shortcut = nn.Sequential()
            if stride != 1 or cin != cout:
                self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            out += self.shortcut(x)
        return self.relu(out)


# %% right | basic_block | a flag for the pre-activation kind, off as it comes
class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True, preactivation=False):
        super().__init__()
        self.bn1, self.bn2 = BatchNorm2d(cin if preactivation else cout), BatchNorm2d(cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.preactivation = preactivation
        if residual:
            self.shortcut = nn.Identity() if (cin, stride) == (cout, 1) else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), BatchNorm2d(cout))
        else:
            self.shortcut = None

    def forward(self, x):
        around = 0 if self.shortcut is None else self.shortcut(x)
        if self.preactivation:
            return around + self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return torch.relu(around + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


# %% right | basic_block | clamps, and a projection of its own class
class Projection(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.norm = BatchNorm2d(cout)
        self.conv = nn.Conv2d(cin, cout, 1, stride=stride, bias=False)

    def forward(self, x):
        return self.norm(self.conv(x))


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, residual=True):
        super().__init__()
        self.bn2 = BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, (3, 3), padding="same", bias=False)
        self.bn1 = BatchNorm2d(cout)
        self.conv1 = nn.Conv2d(cin, cout, (3, 3), stride=(stride, stride), padding=(1, 1), bias=False)
        self.shortcut = Projection(cin, cout, stride) if cin != cout or stride > 1 else nn.Identity()
        if not residual:
            self.shortcut = None

    def forward(self, x):
        total = self.bn2(self.conv2(self.bn1(self.conv1(x)).clamp(min=0)))
        if self.shortcut:
            total = total + self.shortcut(x)
        return total.clamp(min=0)


# %% wrong | plain_or_res | projections where shapes change
# hint: There are projections where shapes change
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | stem and linear layer not counted
# hint: The stem and the linear layer are among the eight
def plain_or_res(depth, width=8, residual=True):
    if (depth - 2) % 6 or depth < 8:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    blocks = depth // 2
    for i in range(blocks):
        s = width * 2 ** (3 * i // blocks)
        layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
        c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | a block taken for one layer
# hint: A block has two convolutions
def plain_or_res(depth, width=8, residual=True):
    n = (depth - 2) // 3
    if (depth - 2) % 6 or n < 1:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | the mean goes over the channels
# hint: not one number a channel. Take the mean over the whole image
class MeanOverChannels(nn.Module):
    def forward(self, x):
        return x.mean(1).flatten(1)


def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
            c = s
    return nn.Sequential(*layers, MeanOverChannels(), nn.Linear(c, 10))


# %% wrong | plain_or_res | never a shortcut
# hint: there are never shortcuts
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, False))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | always shortcuts
# hint: there are always shortcuts
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, c == s))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | any depth is taken
# hint: expected ValueError
def plain_or_res(depth, width=8, residual=True):
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range((depth - 2) // 6):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | the image is never halved
# hint: No stage halves the image
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1, residual and c == s))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | a stem without padding
# hint: The stem cuts the image's border off
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | three stages of the same width
# hint: The stages do not have width, 2 * width and 4 * width channels
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()]
    for stage in range(3):
        for i in range(n):
            first = stage > 0 and i == 0
            layers.append(BasicBlock(width, width, 2 if first else 1, residual and not first))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


# %% wrong | plain_or_res | images of 8x8 only
# hint: Images of one size only are taken
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
            c = s
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(c, 10))


# %% wrong | plain_or_res | a ReLU on the logits
# hint: The logits end in a softmax or a ReLU
def plain_or_res(depth, width=8, residual=True):
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(depth)
    layers, c = [nn.Conv2d(1, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.ReLU()], width
    for s in (width, 2 * width, 4 * width):
        for _ in range(n):
            layers.append(BasicBlock(c, s, 1 if c == s else 2, residual and c == s))
            c = s
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10), nn.Softmax(1), nn.Threshold(0.999, 0.0))


# %% right | plain_or_res | a class with a forward of its own
class SmallNet(nn.Module):
    def __init__(self, n, width, residual):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, kernel_size=3, padding="same", bias=False), BatchNorm2d(width))
        self.stages = nn.ModuleList()
        for i in range(3):
            stage = nn.ModuleList()
            for j in range(n):
                changes = i > 0 and j == 0
                stage.append(BasicBlock(width * 2**i // (2 if changes else 1), width * 2**i, stride=2 if changes else 1, residual=residual and not changes))
            self.stages.append(stage)
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x):
        h = torch.relu(self.stem(x))
        for stage in self.stages:
            for block in stage:
                h = block(h)
        return self.head(h.mean(dim=(2, 3)))


def plain_or_res(depth, width=8, residual=True):
    if depth not in range(8, 1000, 6):
        raise ValueError("depth must be 6 n + 2")
    return SmallNet((depth - 2) // 6, width, residual)


# %% right | plain_or_res | batch norm by torch, stages nested
def plain_or_res(depth, width=8, residual=True):
    n = (depth - 2) / 6
    if n != int(n) or n < 1:
        raise ValueError(f"no n for depth {depth}")

    def stage(cin, cout, stride):
        first = BasicBlock(cin, cout, stride, residual and stride == 1)
        return nn.Sequential(first, *(BasicBlock(cout, cout, 1, residual) for _ in range(int(n) - 1)))

    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(1, width, 3, padding=1, bias=False))
    net.add_module("norm", nn.BatchNorm2d(width))
    net.add_module("relu", nn.ReLU(inplace=True))
    for i, (a, b, s) in enumerate(((1, 1, 1), (1, 2, 2), (2, 4, 2))):
        net.add_module(f"stage{i}", stage(a * width, b * width, s))
    net.add_module("pool", nn.AdaptiveAvgPool2d((1, 1)))
    net.add_module("flat", nn.Flatten())
    net.add_module("head", nn.Linear(4 * width, 10))
    return net


# %% wrong | resnet34_spec | no stem
# hint: The stem is missing
def resnet34_spec():
    spec, c = [], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            spec += [("3x3", c, s, 1 if c == s else 2), ("3x3", s, s, 1)]
            if c != s:
                spec.append(("1x1", c, s, 2))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | no projections
# hint: The projections are missing
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            spec += [("3x3", c, s, 1 if c == s else 2), ("3x3", s, s, 1)]
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | one convolution a block
# hint: Each has two 3x3 convolutions
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            spec.append(("3x3", c, s, 1 if c == s else 2))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | ResNet-18
# hint: as in ResNet-18
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s in (64, 128, 256, 512):
        for _ in range(2):
            spec += [("3x3", c, s, 1 if c == s else 2), ("3x3", s, s, 1)]
            if c != s:
                spec.append(("1x1", c, s, 2))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | stage 1 halves the image too
# hint: Stage 1 has no stride
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(n):
            spec += [("3x3", c, s, 2 if i == 0 else 1), ("3x3", s, s, 1)]
            if c != s:
                spec.append(("1x1", c, s, 2))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | the second convolution has the stride
# hint: The stride is that of the first convolution of a stage's first block
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            spec += [("3x3", c, s, 1), ("3x3", s, s, 1 if c == s else 2)]
            if c != s:
                spec.append(("1x1", c, s, 2))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | projections as 3x3
# hint: The projections are listed as 3x3 convolutions
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            spec += [("3x3", c, s, 1 if c == s else 2), ("3x3", s, s, 1)]
            if c != s:
                spec.append(("3x3", c, s, 2))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | a projection in every block
# hint: Every block has a projection
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            stride = 1 if c == s else 2
            spec += [("3x3", c, s, stride), ("3x3", s, s, 1), ("1x1", c, s, stride)]
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | projections without stride
# hint: A projection has the stride of its block
def resnet34_spec():
    spec, c = [("7x7", 3, 64, 2)], 64
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n):
            spec += [("3x3", c, s, 1 if c == s else 2), ("3x3", s, s, 1)]
            if c != s:
                spec.append(("1x1", c, s, 1))
            c = s
    return [*spec, ("fc", 512, 1000, 1)]


# %% wrong | resnet34_spec | channels do not follow
# hint: channels and
def resnet34_spec():
    spec = [("7x7", 3, 64, 2)]
    for s, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(n):
            spec += [("3x3", s, s, 2 if i == 0 and s > 64 else 1), ("3x3", s, s, 1)]
            if i == 0 and s > 64:
                spec.append(("1x1", s // 2, s, 2))
    return [*spec, ("fc", 512, 1000, 1)]


# %% right | resnet34_spec | projections first, as lists
def resnet34_spec():
    spec = [["7x7", 3, 64, 2]]
    before = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        width = 2 ** (6 + stage)
        if stage:
            spec += [["1x1", before, width, 2], ["3x3", before, width, 2], ["3x3", width, width, 1]]
        else:
            spec += [["3x3", width, width, 1]] * 2
        spec += [["3x3", width, width, 1]] * (2 * blocks - 2)
        before = width
    return [*spec, ["fc", before, 1000, 1]]


# %% right | resnet34_spec | written out, projections between
def same(c, times):
    return [("3x3", c, c, 1)] * times


def down(c):
    return [("3x3", c, 2 * c, 2), ("1x1", c, 2 * c, 2), ("3x3", 2 * c, 2 * c, 1)]


def resnet34_spec():
    return [("7x7", 3, 64, 2), *same(64, 6), *down(64), *same(128, 6), *down(128), *same(256, 10), *down(256), *same(512, 4), ("fc", 512, 1000, 1)]


# %% wrong | count | no batch norms
# hint: The batch norm is missing
def count(spec):
    return sum(cout * (cin + 1) if kind == "fc" else cout * cin * int(kind[0]) ** 2 for kind, cin, cout, _ in spec)


# %% wrong | count | convolutions with biases
# hint: The convolution was given a bias
def count(spec):
    return sum(cout * (cin + 1) if kind == "fc" else cout * (cin * int(kind[0]) ** 2 + 3) for kind, cin, cout, _ in spec)


# %% wrong | count | running averages counted
# hint: The running averages were counted
def count(spec):
    return sum(cout * (cin + 1) if kind == "fc" else cout * (cin * int(kind[0]) ** 2 + 4) for kind, cin, cout, _ in spec)


# %% wrong | count | linear layer without bias
# hint: The linear layer has a bias
def count(spec):
    return sum(cout * cin if kind == "fc" else cout * (cin * int(kind[0]) ** 2 + 2) for kind, cin, cout, _ in spec)


# %% wrong | count | every kernel 3x3
# hint: Every kernel was taken for 3x3
def count(spec):
    return sum(cout * (cin + 1) if kind == "fc" else cout * (cin * 9 + 2) for kind, cin, cout, _ in spec)


# %% wrong | count | projections left out
# hint: The projections count as well
def count(spec):
    return sum(cout * (cin + 1) if kind == "fc" else cout * (cin * int(kind[0]) ** 2 + 2) for kind, cin, cout, _ in spec if kind != "1x1")


# %% wrong | count | a kernel of k weights
# hint: The kernel has k times k places
def count(spec):
    return sum(cout * (cin + 1) if kind == "fc" else cout * (cin * int(kind[0]) + 2) for kind, cin, cout, _ in spec)


# %% right | count | by torch
def count(spec):
    total = 0
    for kind, cin, cout, stride in spec:
        if kind == "fc":
            parts = [nn.Linear(cin, cout, device="meta")]
        else:
            parts = [nn.Conv2d(cin, cout, int(kind.split("x")[0]), stride, bias=False, device="meta"), nn.BatchNorm2d(cout, device="meta")]
        total += sum(p.numel() for part in parts for p in part.parameters())
    return total


# %% right | count | a table of places
def count(spec):
    places = {"1x1": 1, "3x3": 9, "5x5": 25, "7x7": 49, "fc": 1}
    weights = sum(places[kind] * cin * cout for kind, cin, cout, _ in spec)
    others = [cout if kind == "fc" else 2 * cout for kind, _, cout, _ in spec]
    return weights + sum(others)


# %% wrong | dense_concat | summed
# hint: The outputs are added to the features
def dense_concat(x, layers):
    for layer in layers:
        x = x + layer(x)
    return x


# %% wrong | dense_concat | only the output before
# hint: Each layer was given the output of the one before only
def dense_concat(x, layers):
    outputs = [x]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    return torch.cat(outputs, dim=1)


# %% wrong | dense_concat | x left out of the result
# hint: x is missing from the result
def dense_concat(x, layers):
    c, features = x.shape[1], x
    for layer in layers:
        features = torch.cat([features, layer(features)], dim=1)
    return features[:, c:]


# %% wrong | dense_concat | only the last output
# hint: Only the last layer's output is returned
def dense_concat(x, layers):
    for layer in layers:
        out = layer(x)
        x = torch.cat([x, out], dim=1)
    return out


# %% wrong | dense_concat | newest first
# hint: The order is turned round
def dense_concat(x, layers):
    for layer in layers:
        x = torch.cat([layer(x), x], dim=1)
    return x


# %% wrong | dense_concat | along the last axis
# hint: Sizes of tensors must match
def dense_concat(x, layers):
    for layer in layers:
        x = torch.cat([x, layer(x)], dim=-1)
    return x


# %% wrong | dense_concat | returns a list
# hint: parts with different shapes
def dense_concat(x, layers):
    outputs = [x]
    for layer in layers:
        outputs.append(layer(torch.cat(outputs, dim=1)))
    return outputs


# %% wrong | dense_concat | no gradient
# hint: does not require grad
@torch.no_grad()
def dense_concat(x, layers):
    for layer in layers:
        x = torch.cat([x, layer(x)], dim=1)
    return x


# %% right | dense_concat | a list of outputs
def dense_concat(x, layers):
    outputs = [x]
    for layer in layers:
        outputs.append(layer(torch.cat(outputs, 1)))
    return torch.cat(outputs, 1)


# %% right | dense_concat | by recursion
def dense_concat(x, layers):
    if not layers:
        return x
    before = dense_concat(x, layers[:-1])
    return torch.hstack((before, layers[-1](before)))


# %% wrong | freeze_all_but_bn | counts tensors
# hint: These are tensors
def freeze_all_but_bn(model):
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    n = 0
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
                n += 1
    return n


# %% wrong | freeze_all_but_bn | the last layer is trained too
# hint: The linear layer is trained too
def freeze_all_but_bn(model):
    n = 0
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear)):
            for p in layer.parameters():
                p.requires_grad = True
                n += p.numel()
    return n


# %% wrong | freeze_all_but_bn | gradients left over
# hint: A gradient was left on the frozen parameters
def freeze_all_but_bn(model):
    n = 0
    for p in model.parameters():
        p.requires_grad = False
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
                n += p.numel()
    return n


# %% wrong | freeze_all_but_bn | gradients set to zero
# hint: A gradient was left on the frozen parameters
def freeze_all_but_bn(model):
    n = 0
    for p in model.parameters():
        p.requires_grad = False
        if p.grad is not None:
            p.grad = torch.zeros_like(p)
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
                n += p.numel()
    return n


# %% wrong | freeze_all_but_bn | every vector
# hint: Biases of the convolution and the linear layer are vectors as well
def freeze_all_but_bn(model):
    for p in model.parameters():
        p.requires_grad, p.grad = p.ndim == 1, None
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# %% wrong | freeze_all_but_bn | scales only
# hint: The shifts are too
def freeze_all_but_bn(model):
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    n = 0
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)) and layer.weight is not None:
            layer.weight.requires_grad = True
            n += layer.weight.numel()
    return n


# %% wrong | freeze_all_but_bn | top level only
# hint: Only the top level was looked at
def freeze_all_but_bn(model):
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    n = 0
    for layer in model.children():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
                n += p.numel()
    return n


# %% wrong | freeze_all_but_bn | one's own batch norm forgotten
# hint: Your own BatchNorm2d is missing
def freeze_all_but_bn(model):
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    n = 0
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
                n += p.numel()
    return n


# %% wrong | freeze_all_but_bn | what was frozen stays so
# hint: A batch norm that was frozen before has to be set free
def freeze_all_but_bn(model):
    free = {id(p) for layer in model.modules() if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)) for p in layer.parameters()}
    for p in model.parameters():
        if id(p) not in free:
            p.requires_grad, p.grad = False, None
    return sum(p.numel() for p in model.parameters() if id(p) in free)


# %% wrong | freeze_all_but_bn | counts the frozen ones
# hint: These are the frozen ones
def freeze_all_but_bn(model):
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
    return sum(p.numel() for p in model.parameters() if not p.requires_grad)


# %% wrong | freeze_all_but_bn | changes the mode
# hint: the model's mode
def freeze_all_but_bn(model):
    model.eval()
    n = 0
    for p in model.parameters():
        p.requires_grad, p.grad = False, None
    for layer in model.modules():
        if isinstance(layer, (BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            for p in layer.parameters():
                p.requires_grad = True
                n += p.numel()
    return n


# %% right | freeze_all_but_bn | by what only batch norms have
def freeze_all_but_bn(model):
    n = 0
    for layer in model.modules():
        is_bn = hasattr(layer, "running_var")
        for p in layer.parameters(recurse=False):
            p.requires_grad_(is_bn)
            if is_bn:
                n += p.numel()
            else:
                p.grad = None
    return n


# %% right | freeze_all_but_bn | a set of names
def freeze_all_but_bn(model):
    kinds = (BatchNorm2d, nn.modules.batchnorm._BatchNorm)
    chosen = {f"{name}.{part}".lstrip(".") for name, layer in model.named_modules() if isinstance(layer, kinds) for part in ("weight", "bias")}
    sizes = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in chosen
        if name in chosen:
            sizes.append(math.prod(parameter.shape))
        else:
            parameter.grad = None
    return sum(sizes)
