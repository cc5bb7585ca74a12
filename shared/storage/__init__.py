"""Shared storage: pictures in, checkpoints and results out, behind one interface of few methods."""
