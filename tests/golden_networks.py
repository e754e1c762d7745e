"""The networks of the golden files: teacher wrn16_2, student wrn16_1, a small generator, CIFAR-10's normalization."""

import jax
import jax.numpy as jnp

from ssdkd_jax.data import normalization
from ssdkd_jax.interop import from_torch_state_dict, naming
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.models import create_generator, create_model, loop_friendly_conv_general_dilated
from ssdkd_jax.tasks import CLASSIFICATION
from tests import golden_values

IMAGE_SHAPE = (32, 32, 3)
# A synthesis is a loop, where XLA's own gradients of convolutions are slow on CPU.
LOOPS = {"conv_general_dilated": loop_friendly_conv_general_dilated}
GENERATOR = create_generator(IMAGE_SHAPE, latent_size=16, width=8, **LOOPS)


def network(name):
    """A network of ten classes with the golden weights: (module, variables)."""
    layout = golden_values.layouts()[name]
    layout = {key: (10, *shape[1:]) if key.startswith("fc.") else shape for key, shape in layout.items()}
    return create_model(name, 10, **LOOPS), from_torch_state_dict(name, golden_values.state_dict(layout))


def generator_template():
    """What `interop.naming` needs to know of the generator."""
    return naming.template(GENERATOR, jnp.zeros((1, 16)))


def generator_variables():
    """The generator's golden weights."""
    template = generator_template()
    return naming.from_torch(golden_values.state_dict(naming.torch_layout(template)), template)


def problem():
    """(Problem, teacher's variables, student's variables), no augmentation."""
    teacher, teacher_variables = network("wrn16_2")
    student, student_variables = network("wrn16_1")
    mean, std = normalization("cifar10")
    whole = Problem(teacher, student, GENERATOR, CLASSIFICATION, IMAGE_SHAPE, 10, mean, std)
    return whole, teacher_variables, student_variables


def method_state(method, key):
    """The method's first state with the golden student; the rest is fresh from the key."""
    _, teacher, student = problem()
    state = jax.jit(method.init)(key, teacher)
    return state._replace(student=state.student._replace(**student))
