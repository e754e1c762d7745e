"""Student steps on stored images, with the teacher run on each batch, or with kept views; see `kept_views`."""

import dataclasses
import functools

import jax

from ssdkd_jax import collectives, kept_views, replay_buffer
from ssdkd_jax.data.preprocessing import normalize
from ssdkd_jax.methods.base import preprocess
from ssdkd_jax.methods.student_training import StudentTraining
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewKeeping(StudentTraining):
    """A method with a buffer of images; its state has `views`, KeptViews of the buffer's slots or () for none."""

    views: int = setting(
        0, "number of views per stored image whose teacher outputs are kept, capped at the number of distinct views; "
        "0 runs the teacher in every student step [ours]", at_least=0,
    )  # fmt: skip

    def init_views(self, capacity):
        """Nothing kept yet, for a whole buffer of this capacity."""
        return kept_views.init(capacity, self.views_kept, self.problem.num_classes) if self.views else ()

    def with_new_views(self, views, buffer, teacher, slots, key):
        """The kept views with other ones, drawn anew, of the images at `slots`.

        Args:
          views: KeptViews.
          buffer: ReplayBuffer.
          teacher: variables.
          slots: (b,) int, of the whole batch.
          key: of the draw.
        """
        problem, view = self.problem, {"padding": self.problem.crop_padding, "flip": self.problem.flip}
        # As they are stored, which is how the student will see them.
        images = replay_buffer.read(buffer, slots, axis_name=problem.axis_name)
        number = kept_views.draw(key, len(slots), self.views_kept, kept_views.count(**view))
        number = collectives.local_part(number, problem.axis_name)

        def run_teacher(images):
            return problem.teacher.apply(teacher, normalize(images, problem.mean, problem.std))

        output = kept_views.answers(run_teacher, images, number, **view)
        return kept_views.put(views, slots, number, output, axis_name=problem.axis_name)

    def step_on_stored(self, state, buffer, teacher, indices, weights, key):
        """A student step on images of the buffer: `student_step`'s (TrainState, loss, divergences).

        Args:
          state: the method's, with `student` and `views`.
          buffer: ReplayBuffer.
          teacher: variables; not run where views are kept.
          indices, weights: (batch,) of the whole batch.
          key: of the views.
        """
        problem = self.problem
        images = replay_buffer.read(buffer, indices, axis_name=problem.axis_name)
        if not self.views:
            return self.student_step(state.student, teacher, preprocess(problem, key, images), weights)
        columns = jax.random.randint(key, (self.kd_batch_size,), 0, self.views_kept)
        number, output = kept_views.pick(state.views, indices, columns, axis_name=problem.axis_name)
        images = kept_views.look(images, number, padding=problem.crop_padding, flip=problem.flip)
        images = normalize(images, problem.mean, problem.std)
        return self.student_step_given(state.student, images, weights, output)

    def sharded(self, state):
        """Kept views are split over the devices like the images."""
        return super().sharded(state)._replace(views=jax.tree.map(lambda _: True, state.views))

    @functools.cached_property
    def views_kept(self):
        """How many views of an entry are kept: `views`, or all where there are fewer."""
        return min(self.views, kept_views.count(self.problem.crop_padding, self.problem.flip))
