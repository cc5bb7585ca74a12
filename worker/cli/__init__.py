"""The command line `atelier-worker`."""
