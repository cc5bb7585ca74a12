"""The worker side: the Celery node, the runner, and the engine. Needs Redis and storage, nothing else."""
