"""`replay_buffer` and the views of its images in PyTorch; needs torch and not JAX."""

import torch
from torch.nn import functional


def look(images, corners, mirrored, padding, flip):
    """Crops and flips each image in one pass: two gathers along rows and columns, whose gradients are scatters.

    Args:
      images: (n, c, h, w) float.
      corners: (n, 2) int64 in 0..2 * padding, row and column of the window in the padded image.
      mirrored: (n,) bool.
      padding: zero pixels on each side.
      flip: whether any is mirrored.
    """
    if not padding and not flip:
        return images
    n, c, h, w = images.shape
    padded = functional.pad(images, [padding] * 4)
    rows = corners[:, :1] + torch.arange(h, device=images.device)
    across = torch.arange(w, device=images.device)
    columns = corners[:, 1:] + torch.where(mirrored[:, None], across.flip(0), across)
    chosen = padded.gather(2, rows[:, None, :, None].expand(n, c, h, padded.shape[3]))
    return chosen.gather(3, columns[:, None, None, :].expand(n, c, h, w))


class Buffer:
    """A full buffer of random images, with priorities.

    Args:
      spec: namespace with SSD-KD's settings.
      shape: (c, h, w).
      device: torch.device.
    """

    def __init__(self, spec, shape, device):
        size, self.spec = spec.buffer_size, spec
        self.dtype = getattr(torch, spec.buffer_dtype)
        self.images = self.encode(torch.rand(size, *shape, device=device))
        self.predicted = torch.randint(spec.classes, (size,), device=device)
        self.confidence, self.priority = (torch.rand(size, device=device) for _ in range(2))
        self.age = torch.zeros(size, dtype=torch.int64, device=device)

    def encode(self, images):
        """Images in [0, 1] as they are stored."""
        return (images * 255).round().to(torch.uint8) if self.dtype == torch.uint8 else images.to(self.dtype)

    def decode(self, stored):
        """Stored images in [0, 1], float32."""
        return stored.float() / 255 if self.dtype == torch.uint8 else stored.float()

    @torch.no_grad()
    def sample(self):
        """(indices, importance weights) of a batch, one entry from each equal part of the priorities' mass."""
        spec, count = self.spec, self.spec.kd_batch_size
        mass = (self.priority.abs() + spec.priority_epsilon) ** spec.alpha
        cumulative = mass.cumsum(0)
        points = (torch.arange(count, device=mass.device) + torch.rand(count, device=mass.device)) / count
        indices = torch.searchsorted(cumulative, points * cumulative[-1], right=True).clamp_max(len(mass) - 1)
        weights = (mass[indices] / cumulative[-1] * len(mass)) ** -spec.beta
        return indices, weights / weights.mean()

    @torch.no_grad()
    def insert(self, images, predicted, confidence):
        """A batch replaces the entries of lowest priority, the oldest of them first; returns their slots."""
        oldest = torch.argsort(-self.age, stable=True)
        slots = oldest[torch.argsort(self.priority[oldest], stable=True)[: len(images)]]
        largest = self.priority.max()
        self.images[slots] = self.encode(images)
        self.predicted[slots], self.confidence[slots], self.priority[slots] = predicted, confidence, largest
        self.age += 1
        self.age[slots] = 0
        return slots

    @torch.no_grad()
    def update_priorities(self, indices, priorities):
        """An entry that occurs several times gets the largest of its values."""
        latest = torch.full_like(self.priority, -1).scatter_reduce_(0, indices, priorities.abs(), "amax")
        self.priority = torch.where(latest >= 0, latest, self.priority)

    def class_counts(self):
        """How many entries the teacher puts into each class, (classes,) float32."""
        counts = torch.zeros(self.spec.classes, device=self.predicted.device)
        return counts.index_add(0, self.predicted, torch.ones_like(self.priority))
