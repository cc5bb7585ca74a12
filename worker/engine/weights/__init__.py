"""Which VGG19 weights to use, where they come from, and how they are read. Knows no TensorFlow."""
