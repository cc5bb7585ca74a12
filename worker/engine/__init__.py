"""The optimisation: two encoded pictures in, a generator of `Step` records out.

Knows TensorFlow and pictures; never Celery, Redis, storage or the web side. This package itself loads
neither: `worker.engine.weights.source` has to be usable in a process that must not import TensorFlow.

    weights/     which VGG19 weights, where from, and reading them
    images       picture file → float array, uint8 array → picture file
    network      VGG19 up to the deepest used layer
    methods/     one method a file: targets, start, one optimisation step
    engine       StyleEngine: chooses a method, runs it, yields steps
"""
