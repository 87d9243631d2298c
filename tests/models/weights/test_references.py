"""Each network against the project that its weights come from, with the same random weights."""

import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.models import create
from deltajax.models.weights import load_weights
from tests.models.weights import references

RELATIVE_ERROR = 1e-4


@pytest.mark.parametrize("name", references.NAMES)
def test_equals_its_origin(name):
    reference = references.read(name)
    weights = references.random_state_dict(reference.shapes)
    assert references.checksum(weights) == reference.checksum
    network = create(name)
    # Operation by operation: equal blocks are compiled once, not once each.
    output = network.apply(load_weights(network, weights), jnp.asarray(references.frame()))
    error = np.linalg.norm(output - reference.output) / np.linalg.norm(reference.output)
    assert error <= RELATIVE_ERROR
