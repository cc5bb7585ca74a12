"""The whole service on one machine, for `up` and `demo`: its processes, their logs, and their shutdown."""
