"""What the notebooks of dlcourse import: data, device, training, plotting, widgets, checks, claims. It holds no answer."""
