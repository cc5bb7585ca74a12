# Four images from one file: web (also control), worker (CPU), worker-gpu and worker-fast. compose.yaml builds them.
# Each has the packages for a storage on S3, too.

FROM python:3.12-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/atelier/bin:$PATH
RUN useradd --system --uid 10001 --create-home atelier \
    && mkdir -p /var/lib/atelier/database /var/lib/atelier/storage /var/cache/atelier \
    && chown -R atelier:atelier /var/lib/atelier /var/cache/atelier \
    && python -m venv /opt/atelier

# The project as a wheel; its build tools, locked as well, stay behind here.
FROM base AS wheel
WORKDIR /src
COPY requirements/build.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY pyproject.toml README.md LICENSE atelier_entry.py ./
COPY docs/licenses docs/licenses
COPY shared shared
COPY web web
COPY worker worker
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM base AS web-packages
COPY requirements/web.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY requirements/s3.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

FROM base AS worker-packages
COPY requirements/worker.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY requirements/s3.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

# A GPU node serves the method fast, too.
FROM base AS gpu-packages
COPY requirements/gpu.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY requirements/fast.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY requirements/s3.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

# The light node: the method fast alone, without TensorFlow.
FROM base AS fast-packages
COPY requirements/fast.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY requirements/s3.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

FROM web-packages AS web
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER atelier
EXPOSE 8000
CMD ["atelier", "web"]

FROM worker-packages AS worker
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER atelier
CMD ["atelier-worker", "run"]

FROM gpu-packages AS worker-gpu
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER atelier
CMD ["atelier-worker", "run", "--gpus", "all"]

FROM fast-packages AS worker-fast
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER atelier
CMD ["atelier-worker", "run", "--gpus", "none", "--methods", "fast"]
