"""Scores of teacher and student on real test images; without any, the student's against the teacher."""

import numpy as np

from ssdkd_jax.jobs.kept_evaluations import kept_evaluation
from ssdkd_jax.jobs.networks import make_evaluator_of
from ssdkd_jax.jobs.plausibility import check_teacher_knows
from ssdkd_jax.jobs.student_images import held_out_program
from ssdkd_jax.training.devices import spread


def evaluate_teacher(context, summary, teacher, images, test):
    """The teacher's Evaluation on the test images, or None without any."""
    if test is None:
        return None
    metric = images.task.metric

    def evaluation():
        evaluate, variables = make_evaluator_of(context, teacher.architecture, images, teacher.variables)
        return evaluate(variables, test.images, test.labels)

    with context.clock.measure("teacher"):
        real = kept_evaluation(context, teacher, summary.teacher_sha256, images, test, evaluation)
    score = metric.of(real.confusion)
    summary.note("teacher", {metric.name: score, **metric.details(real.confusion, images.class_names)})
    print(f"teacher {summary.teacher}: {score:.2f} {metric.unit} on real test images", flush=True)
    if context.config.epochs:
        check_teacher_knows(score, metric.chance(real.confusion), metric.words, context.config)
    return real


def student_score(context, method, student, images, test, predict_teacher):
    """RealScore, or Agreement where `test` is None.

    Args:
      context: Context.
      method: Method.
      student: architecture of the network that it trains.
      images: ImageSpec.
      test: data.Dataset or None.
      predict_teacher: (images) -> (classes, confidences).
    """
    if test is None:
        return Agreement(context, method, student, images, predict_teacher)
    return RealScore(context, student, images, test)


class RealScore:
    """(student's variables, state, teacher), all pmapped -> percent of the task's metric on real test images."""

    of_student_alone = True

    def __init__(self, context, student, images, test):
        self.name = images.task.metric.name
        self._metric, self._test, self._devices = images.task.metric, test, context.devices
        self._evaluate, _ = make_evaluator_of(context, student, images)
        self._confusion = None

    def __call__(self, student, state, teacher):
        del state, teacher
        self._confusion = self._evaluate(student, self._test.images, self._test.labels).confusion
        return self._metric.of(self._confusion)

    def details(self, student):
        """The metric's details for the final student, {name: value}; `student` are its variables on the host."""
        if self._confusion is None:  # of a run that resumed after its last epoch
            self(spread(student, self._devices), None, None)
        return self._metric.details(self._confusion, self._test.class_names)


class Agreement:
    """The same on synthetic images that the student never sees, with the teacher's predictions for labels."""

    name, of_student_alone = "agreement", False

    def __init__(self, context, method, student, images, predict_teacher):
        self._metric, self._predict_teacher = images.task.metric, predict_teacher
        self._held_out, self._batches = held_out_program(context, method), context.config.held_out_batches
        self._evaluate, _ = make_evaluator_of(context, student, images)

    def __call__(self, student, state, teacher):
        images = np.concatenate([self._held_out(state, teacher, number) for number in range(self._batches)])
        return self._metric.of(self._evaluate(student, images, self._predict_teacher(images)[0]).confusion)

    def details(self, student):
        """Nothing more is known."""
        del student
        return {}
