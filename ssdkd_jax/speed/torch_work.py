"""SSD-KD's epoch in PyTorch, written as one writes it there: eager loops over steps, everything on the device.

The work is that of `methods.ssdkd` with its default settings: the same networks, batches, losses, optimizers, crops,
flips and replay buffer.  Needs torch and not JAX.
"""

import contextlib
import types

import torch
from torch import nn
from torch.nn import functional

from ssdkd_jax.speed import torch_networks
from ssdkd_jax.speed.torch_buffer import Buffer, look

EPSILON = 1e-12


class Watched(nn.Module):
    """A frozen network that returns (output, [(mean, variance) of each BatchNorm layer's input])."""

    def __init__(self, network):
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self._found = []
        for norm in self.norms:
            norm.register_forward_pre_hook(self._note)

    def _note(self, _, inputs):
        variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), correction=0)
        self._found.append((mean, variance))

    def forward(self, x):
        output, found = self.network(x), list(self._found)
        # Now and not before the next call, where torch.compile would find it filled and compile once more.
        self._found.clear()
        return output, found


def kl_divergence(teacher, student, temperature):
    """T^2 * KL(softmax(t/T) || softmax(s/T)) per sample."""
    teacher, student = (functional.log_softmax(logits.float() / temperature, 1) for logits in (teacher, student))
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(1)


class Work:
    """Networks, optimizers and buffer of one variant.

    Args:
      spec: namespace of what `peer.make_spec` writes.
      device: torch.device.
      channels_last: memory format of images and networks.
      compiled: "" or torch.compile's mode of the two losses, which the steps differentiate.
    """

    def __init__(self, spec: types.SimpleNamespace, device: torch.device, *, channels_last=False, compiled=""):
        self.spec, self.device, self._compiled = spec, device, compiled
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        height, width, channels = spec.image_shape
        shape = (channels, height, width)
        self.teacher = self._network(spec.teacher).eval().requires_grad_(False)
        self.student = self._network(spec.student)
        self.watched = Watched(self._network(spec.teacher))
        self.generator, self.fast = (self._generator() for _ in range(2))
        self.average = [(torch.zeros_like(n.running_mean), torch.ones_like(n.running_var)) for n in self.watched.norms]
        self.buffer = Buffer(spec, shape, device)
        # Where the teacher's outputs are kept, instead of running it.
        self.kept = torch.randn(spec.buffer_size, spec.views or 8, spec.classes, device=device)
        self.mean, self.std = (torch.tensor(x, device=device).view(-1, 1, 1) for x in (spec.mean, spec.std))
        fused = {"fused": True} if device.type == "cuda" else {}
        self.optimizer = torch.optim.SGD(
            self.student.parameters(),
            spec.student_learning_rate,
            momentum=spec.student_momentum,
            weight_decay=spec.student_weight_decay,
            **fused,
        )
        self._adam = lambda groups: torch.optim.Adam(groups, betas=(0.5, 0.999), **fused)
        rate = spec.generator_learning_rate * spec.inversion_steps
        self.meta_optimizer = self._adam([{"params": list(self.generator.parameters()), "lr": rate}])
        compiling = (lambda f: torch.compile(f, mode=compiled)) if compiled else (lambda f: f)
        self._student_loss, self._inversion_loss = compiling(self.student_loss), compiling(self.inversion_loss)

    def _network(self, name):
        network = torch_networks.create(name, self.spec.classes, self.spec.image_shape[2])
        return network.to(self.device, memory_format=self.format)

    def _generator(self):
        spec = self.spec
        generator = torch_networks.Generator(spec.image_shape, spec.latent_size, spec.generator_features)
        return generator.to(self.device, memory_format=self.format)

    def precision(self):
        """Context of the networks' dtype."""
        if self.spec.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    # ---- student

    def student_step(self, run_teacher=True):
        """One student step on a batch that priority sampling draws, up to the entries' new priorities."""
        if self._compiled == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        indices, weights = self.buffer.sample()
        kept = None
        if not run_teacher:
            columns = torch.randint(self.kept.shape[1], indices.shape, device=self.device)
            kept = self.kept[indices, columns]
        self.optimizer.zero_grad(set_to_none=True)
        views = self.draw_views(len(indices))
        loss, divergence = self._student_loss(self.buffer.images[indices], weights, *views, kept)
        loss.backward()
        self.optimizer.step()
        self.buffer.update_priorities(indices, divergence * weights)

    def student_loss(self, stored, weights, corners, mirrored, teacher_output):
        """(loss, divergence per sample at T = 1) of stored images; None runs the teacher."""
        with self.precision():
            images = self.see(self.buffer.decode(stored), corners, mirrored)
            if teacher_output is None:
                with torch.no_grad():
                    teacher_output = self.teacher(images)
            output = self.student(images)
        loss = (weights * kl_divergence(teacher_output, output, self.spec.temperature)).mean()
        return loss, kl_divergence(teacher_output, output.detach(), 1.0)

    def draw_views(self, count):
        """Random corners (count, 2) of crops, and which are mirrored (count,)."""
        corners = torch.randint(2 * self.spec.crop_padding + 1, (count, 2), device=self.device)
        return corners, torch.rand(count, device=self.device) < (0.5 if self.spec.flip else 0.0)

    def see(self, images, corners, mirrored):
        """Images in [0, 1] as the networks see them."""
        images = look(images, corners, mirrored, self.spec.crop_padding, self.spec.flip)
        return ((images - self.mean) / self.std).contiguous(memory_format=self.format)

    # ---- synthesis

    def synthesize(self, keep_views=True):
        """The inversion steps of a batch, the meta generator's update, and the batch's way into the buffer."""
        spec, count = self.spec, self.spec.synthesis_batch_size
        self.student.eval().requires_grad_(False)
        self.fast.load_state_dict(self.generator.state_dict())
        latents = torch.randn(count, spec.latent_size, device=self.device, requires_grad=True)
        optimizer = self._adam(
            [
                {"params": list(self.fast.parameters()), "lr": spec.generator_learning_rate},
                {"params": [latents], "lr": spec.latent_learning_rate},
            ]
        )
        gradients = [torch.zeros_like(p) for p in self.fast.parameters()]
        best, best_loss = None, torch.full((), torch.inf, device=self.device)
        for _ in range(spec.inversion_steps):
            optimizer.zero_grad(set_to_none=True)
            loss, images, statistics = self._inversion_loss(latents, *self.draw_views(count))
            loss.backward()
            torch._foreach_add_(gradients, [p.grad for p in self.fast.parameters()])
            optimizer.step()
            loss, images = loss.detach(), images.detach()
            best = images if best is None else torch.where(loss < best_loss, images, best)
            best_loss = torch.minimum(loss, best_loss)
        self._meta_update(gradients)
        average = [x.detach() for pair in statistics for x in pair]
        torch._foreach_lerp_([x for pair in self.average for x in pair], average, 1 - spec.bn_momentum)
        with torch.no_grad(), self.precision():
            output = self.teacher(((best - self.mean) / self.std).contiguous(memory_format=self.format))
        confidence, predicted = output.float().softmax(1).max(1)
        slots = self.buffer.insert(best, predicted, confidence)
        if keep_views:
            self._keep_views(best, slots)
        self.student.train().requires_grad_(True)

    def _keep_views(self, images, slots):
        """The teacher's outputs for `spec.views` views of each image."""
        with torch.no_grad(), self.precision():
            for column in range(self.spec.views):
                self.kept[slots, column] = self.teacher(self.see(images, *self.draw_views(len(images)))).float()

    def _meta_update(self, gradients):
        for parameter, gradient in zip(self.generator.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()
        for here, fast in zip(self.generator.buffers(), self.fast.buffers(), strict=True):
            here.copy_(fast)

    def inversion_loss(self, latents, corners, mirrored):
        """(loss, images, the teacher's statistics) of latents, under SSD-KD's modulating function."""
        spec = self.spec
        with self.precision():
            images = self.fast(latents)
            seen = self.see(images, corners, mirrored) if spec.augment_inversion else (images - self.mean) / self.std
            output, statistics = self.watched(seen)
            student_output = self.student(seen)
        output, student_output = output.float(), student_output.float()
        predicted, confidence = output.argmax(1), output.softmax(1).amax(1)
        share = self.buffer.class_counts() / spec.buffer_size
        phi = ((1 - share[predicted]) * (1 - confidence).clamp_min(1e-6) ** spec.gamma).detach()
        task_loss = (phi * functional.cross_entropy(output, predicted, reduction="none")).mean()
        agree = predicted == student_output.argmax(1)
        adversarial = -(kl_divergence(output, student_output, 1.0) * agree).mean()
        loss = spec.bn * self._bn_loss(statistics) + spec.oh * task_loss + spec.adv * adversarial
        return loss, images, statistics

    def _bn_loss(self, statistics):
        blend, total = self.spec.bn_momentum, 0.0
        for norm, new, old in zip(self.watched.norms, statistics, self.average, strict=True):
            for running, a, b in zip((norm.running_mean, norm.running_var), new, old, strict=True):
                difference = torch.lerp(a, b, blend) - running
                total = total + (difference.square().sum() + EPSILON).sqrt()
        return total

    # ---- evaluation

    @torch.no_grad()
    def evaluate(self, images):
        """Classes and confidences of uint8 images (n, c, h, w) on the host, batch by batch, on the host again."""
        self.student.eval()
        found = []
        for batch in images.split(self.spec.evaluation_batch_size):
            pixels = batch.to(self.device).float() / 255
            with self.precision():
                output = self.student(((pixels - self.mean) / self.std).contiguous(memory_format=self.format))
            confidence, predicted = output.float().softmax(1).max(1)
            found.append((predicted.cpu(), confidence.cpu()))
        self.student.train()
        return found
