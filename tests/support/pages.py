"""Traces for the tests of the trace page, and the data in a page."""

import base64
import contextlib
import json

import numpy as np

from backprop_xp.backend.arrays import backend_namespace
from backprop_xp.backend.devices import select_device
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network, initial_parameters, map_arrays
from backprop_xp.trace.examples import read_example
from backprop_xp.trace.page import trace_page
from backprop_xp.trace.step_trace import trace_step


@contextlib.contextmanager
def watched(browser):
    """Yield a function that opens the page of a trace and returns its data; check that the page
    logs nothing and requests nothing else."""
    addresses = []

    def open_page(trace, **settings):
        addresses.append(browser.open(trace_page(trace), **settings))
        return trace.as_data()

    yield open_page
    assert browser.complaints() == []
    assert browser.requests() == addresses[-1:]


def example(name):
    return read_example(name).trace()


def trace_network(
    network, loss, parameters, inputs, targets, *, placement=None, dtype="float64", **options
):
    """Return the trace of a step of a network with the given weights: arrays or nested lists."""
    placement = (placement or select_device("cpu", "numpy")).with_dtype(dtype)
    names = ("classes", "features", "image_shape")
    about = {name: options.pop(name) for name in names if name in options}
    with placement.activate():
        parameters = map_arrays(placement.asarray, parameters)
    model = Model(network, parameters, get_loss(loss), placement=placement, **about)
    return trace_step(model, inputs, targets, **options)


def trace_of(sizes, activations=None, *, dtype="float64", samples=1, **options):
    """Return a trace of a network with random weights and random samples."""
    activations = activations or [*["tanh"] * (len(sizes) - 2), "softmax"]
    xp = backend_namespace("numpy")
    network = Network(sizes, activations)
    rng = np.random.default_rng(3)
    loss = "cross_entropy" if activations[-1] == "softmax" else "half_squared_error"
    return trace_network(
        network,
        options.pop("loss", loss),
        initial_parameters(network, 5, xp=xp, dtype=getattr(xp, dtype)),
        rng.random((samples, sizes[0])),
        rng.integers(sizes[-1], size=samples) if loss == "cross_entropy" else rng.random((1, 1)),
        dtype=dtype,
        **options,
    )


def image_trace(**options):
    """Return a trace of a network for images of 6 by 5 pixels."""
    return trace_of(
        (30, 12, 4),
        image_shape=(6, 5),
        classes=("ant", "bee", "cat", "dog"),
        title="An image",
        **options,
    )


HOSTILE = (
    "</script><script>window.hit = 1</script>",
    '"><img src=x onerror="window.hit = 2">',
    "<!--<script>",
    "{{data}} ${window.hit = 3} \u2028 &lt;b&gt;",
)


def hostile_trace():
    """Return a trace all of whose names contain code."""
    return trace_of(
        (4, 3, 4),
        features=HOSTILE,
        classes=HOSTILE,
        title=HOSTILE[0],
        source={"model": HOSTILE[1], "left_out": list(HOSTILE)},
    )


def page_data(page):
    """Return the data in a page, as its scripts read it."""
    _, _, after = page.partition('id="trace-data">')
    return json.loads(after.partition("</script>")[0])


def unpacked(text, dtype="float64"):
    return np.frombuffer(base64.b64decode(text), dtype)
