from __future__ import annotations

import numpy as np
import tensorflow as tf

from worker.engine.losses import gram_matrix


def test_worked_example():
    activation = tf.reshape(tf.range(1.0, 13.0), [1, 2, 2, 3])
    expected = [[[41.5, 47, 52.5], [47, 53.5, 60], [52.5, 60, 67.5]]]
    np.testing.assert_array_equal(gram_matrix(activation).numpy(), expected)


def test_ones_give_ones_at_any_size():
    np.testing.assert_array_equal(gram_matrix(tf.ones([2, 5, 3, 4])).numpy(), np.ones([2, 4, 4]))


def test_places_may_be_shuffled():
    activation = np.random.default_rng(0).uniform(size=(1, 4, 6, 5)).astype(np.float32)
    shuffled = np.random.default_rng(1).permutation(activation.reshape(24, 5)).reshape(1, 6, 4, 5)
    np.testing.assert_allclose(gram_matrix(activation), gram_matrix(shuffled), rtol=1e-5)
