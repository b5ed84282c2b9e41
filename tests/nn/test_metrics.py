"""The metrics: the predicted classes, and the number that are correct."""

import numpy as np
import pytest

from backprop_xp.nn.metrics import classes_of, correct


def test_the_class_is_that_of_the_largest_output(backend, dtype):
    outputs = backend.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.0, 0.0, 1.0]], dtype)
    found = backend.jit(lambda a: classes_of(a, xp=backend.xp))(outputs)
    assert backend.numpy(found).tolist() == [1, 0, 2]


def test_a_single_output_is_class_1_from_one_half_on(backend, dtype):
    outputs = backend.array([[0.0], [0.499], [0.5], [1.0]], dtype)
    found = backend.jit(lambda a: classes_of(a, xp=backend.xp))(outputs)
    assert backend.numpy(found).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("outputs", "targets", "count"),
    [
        ([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], 2),
        ([[0.9], [0.4], [0.6]], [[1.0], [1.0], [0.0]], 1),
        ([[0.9, 0.1]], [[0.0, 1.0]], 0),
    ],
)
def test_right_predictions_are_counted(backend, dtype, outputs, targets, count):
    count_right = backend.jit(lambda a, y: correct(a, y, xp=backend.xp))
    found = count_right(backend.array(outputs, dtype), backend.array(targets, dtype))
    assert np.shape(found) == ()  # a plain integer in NumPy before 2.3
    assert int(found) == count
