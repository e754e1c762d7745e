"""PyTorch's side does the work of ours: the same losses of the same weights and images."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from configs import digits
from ssdkd_jax import replay_buffer
from ssdkd_jax.data.preprocessing import crop, normalize
from ssdkd_jax.interop import naming, to_torch_state_dict
from ssdkd_jax.methods.base import generate
from ssdkd_jax.speed.peer import make_spec
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.speed.torch_buffer import look
from ssdkd_jax.speed.torch_work import Work
from ssdkd_jax.speed.workload import make_workload
from ssdkd_jax.training.devices import gather, pmap, spread
from tests.tiny_job import FIELDS, PAIR

torch.set_num_threads(1)
# Without crops, which both sides draw at random.
SURE, SHARE = 20.0, 0.5
UNSEEN = {"crop_padding": 0, "devices": 1, "ssdkd.synthesis_batch_size": 32, "ssdkd.bn": 0.01}


@functools.cache
def ours():
    config = digits.get_config(PAIR)
    config.update_from_flattened_dict({**FIELDS, **UNSEEN})
    work = make_workload(config)
    # Networks with opinions, and a student that agrees with the teacher on some images.
    student = work.state.student
    pair = (work.teacher["params"], student.params)
    sure = [{**params, "fc": jax.tree.map(lambda x: SURE * x, params["fc"])} for params in pair]
    mixed = jax.tree.map(lambda a, b: SHARE * a + (1 - SHARE) * b, *sure)
    state = work.state._replace(student=student._replace(params=mixed))
    return work._replace(teacher={**work.teacher, "params": sure[0]}, state=state)


@pytest.fixture
def theirs():
    """The same work with our weights and our buffer."""
    work, latents = ours(), jax.ShapeDtypeStruct((1, 16), jnp.float32)
    torch_work = Work(types.SimpleNamespace(**make_spec(work, Budget(1, 0.0))), torch.device("cpu"))
    variables = {"teacher": work.teacher, "student": work.state.student.variables}
    weights = {name: to_torch_state_dict("convnet_8", value) for name, value in variables.items()}
    generator = naming.template(work.method.problem.generator, latents)
    weights["generator"] = weights["fast"] = naming.to_torch(work.state.synthesis.generator, generator)
    for name in weights:
        tensors = {key: torch.from_numpy(value) for key, value in weights[name].items()}
        getattr(torch_work, name).load_state_dict(tensors)
    torch_work.watched.network.load_state_dict(torch_work.teacher.state_dict())
    torch_work.average = [(torch.zeros_like(a), torch.zeros_like(b)) for a, b in torch_work.average]
    torch_work.buffer.predicted = torch.from_numpy(np.array(work.state.buffer.predicted_class)).long()
    torch_work.student.eval()
    return torch_work


def losses(state, teacher, latents, weights):
    """(images, inversion loss, student loss of them) of ours."""
    method, problem = ours().method, ours().method.problem
    images, _ = generate(problem.generator, state.synthesis.generator, latents)
    targets = jnp.zeros(len(images), jnp.int32)
    inversion_loss, _, metrics = method.inversion_loss(state, teacher, images, targets, jax.random.key(0))
    seen = normalize(images, problem.mean, problem.std)
    output, _ = method.apply_student(state.student.variables, seen)
    divergence = method.student_loss(problem.teacher.apply(teacher, seen), output, method.temperature)
    evaluated = problem.teacher.apply(teacher, seen), problem.student.apply(state.student.variables, seen)
    agree = jnp.equal(*(jnp.argmax(logits, axis=1) for logits in evaluated))
    return images, inversion_loss, jnp.mean(weights * divergence), jnp.mean(agree), metrics


def test_the_same_losses(theirs):
    work, rng = ours(), np.random.default_rng(0)
    latents, weights = rng.standard_normal((32, 16), np.float32), rng.uniform(0.5, 1.5, 32).astype(np.float32)
    devices = work.context.devices
    arguments = [spread(x, devices) for x in (work.state, work.teacher, latents, weights)]
    images, inversion_loss, student_loss, agreement, metrics = gather(pmap(losses, devices)(*arguments))
    assert 0 < agreement < 1
    assert min(abs(metrics[name]) for name in ("bn_loss", "task_loss", "adversarial_loss")) > 0.01
    unchanged = torch.zeros(32, 2, dtype=torch.int64), torch.zeros(32, dtype=torch.bool)
    loss, made, _ = theirs.inversion_loss(torch.from_numpy(latents), *unchanged)
    assert_allclose(made.detach().numpy().transpose(0, 2, 3, 1), images, atol=1e-5)
    assert_allclose(loss.item(), inversion_loss, rtol=1e-4)
    theirs.buffer.dtype = torch.float32
    theirs.student.train()
    loss, _ = theirs.student_loss(made.detach(), torch.from_numpy(weights), *unchanged, None)
    assert_allclose(loss.item(), student_loss, rtol=1e-3)


def test_a_step_changes_what_it_should(theirs):
    before = {name: value.clone() for name, value in theirs.student.state_dict().items()}
    priority, images = theirs.buffer.priority.clone(), theirs.buffer.images.clone()
    generator = theirs.generator.l1[0].weight.clone()
    theirs.synthesize()
    assert all(torch.equal(before[name], value) for name, value in theirs.student.state_dict().items())
    changed = (theirs.buffer.images != images).flatten(1).any(1)
    assert changed.sum() == 32 and torch.equal(changed, theirs.buffer.age == 0)
    assert priority[changed].max() <= priority[~changed].min()
    assert not torch.equal(generator, theirs.generator.l1[0].weight)
    theirs.student_step()
    theirs.student_step(run_teacher=False)
    moved = [name for name, value in theirs.student.state_dict().items() if not torch.equal(before[name], value)]
    assert set(moved) == set(before)
    assert not torch.equal(theirs.buffer.priority[~changed], priority[~changed])
    assert [len(part) for part, _ in theirs.evaluate(torch.zeros(7, 1, 8, 8, dtype=torch.uint8))] == [7]


def test_kept_views_are_the_teachers_outputs_for_what_a_synthesis_made(theirs):
    theirs.spec.views, theirs.kept = 2, torch.zeros(len(theirs.kept), 3, theirs.kept.shape[2])
    theirs.synthesize(keep_views=False)
    assert not theirs.kept.any()
    theirs.synthesize()
    new = theirs.buffer.age == 0
    with torch.no_grad():
        # Stored images are rounded to 255 levels.
        expected = theirs.teacher(theirs.see(theirs.buffer.decode(theirs.buffer.images[new]), None, None))
    assert new.sum() == 32 and expected.abs().max() > 1 and not theirs.kept[~new].any() and not theirs.kept[:, 2].any()
    for column in range(2):
        assert_allclose(theirs.kept[new, column], expected, atol=0.05 * expected.abs().max())


def test_the_same_views():
    images = np.random.default_rng(0).standard_normal((4, 6, 5, 2)).astype(np.float32)
    corners, mirrored = np.array([[0, 4], [2, 2], [4, 1], [3, 0]]), np.array([True, False, True, False])
    expected = np.array(crop(images, corners, 2))
    expected[mirrored] = expected[mirrored, :, ::-1]
    theirs = torch.from_numpy(images.transpose(0, 3, 1, 2))
    seen = look(theirs, torch.from_numpy(corners), torch.from_numpy(mirrored), 2, True)
    np.testing.assert_array_equal(seen.numpy().transpose(0, 2, 3, 1), expected)


def test_the_same_buffer(theirs):
    buffer = ours().state.buffer
    for name in ("priority", "age"):
        setattr(theirs.buffer, name, torch.from_numpy(np.array(getattr(buffer, name))))
    indices, priorities = np.array([3, 3, 0]), np.float32([0.5, -0.75, 0.25])
    updated = replay_buffer.update_priorities(buffer, jnp.array(indices), jnp.array(priorities))
    theirs.buffer.update_priorities(torch.from_numpy(indices), torch.from_numpy(priorities))
    np.testing.assert_array_equal(theirs.buffer.priority, updated.priority)
    np.testing.assert_array_equal(theirs.buffer.class_counts(), replay_buffer.class_counts(buffer, 10))
    drawn, weights = theirs.buffer.sample()
    mass = (np.array(updated.priority) + 1e-6) ** 0.6
    expected = (mass / mass.sum() * len(mass)) ** -0.4
    assert_allclose(weights, expected[drawn] / expected[drawn].mean(), rtol=1e-4)
