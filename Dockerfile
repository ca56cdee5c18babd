# `docker build .` makes the service image, `docker build --target training .` the training image;
# docs/docker.md says how to run both.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV HOME=/tmp \
    PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1


FROM base AS installer
ENV PIP_CACHE_DIR=/pip-cache \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv --without-pip /venv


# Two optional secrets, neither of which stays in a layer: `ca`, certificates to trust, and `pip`, a
# pip.conf that names another index.
FROM installer AS training-packages
COPY requirements/training.txt ./
RUN --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/pip-cache \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \
    pip --python /venv/bin/python install --no-compile --require-hashes --only-binary :all: \
        -r training.txt


FROM installer AS service-packages
ARG WITH_TENSORFLOW=0
COPY requirements/service.txt requirements/tensorflow.txt ./
RUN --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/pip-cache \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi; \
    set -- -r service.txt; \
    if [ "$WITH_TENSORFLOW" = 1 ]; then set -- "$@" -r tensorflow.txt; fi; \
    pip --python /venv/bin/python install --no-compile --require-hashes --only-binary :all: "$@"
# OpenVINO runs on the CPU only. numpy.testing, which TensorFlow imports, needs numpy/_core/tests.
RUN cd /venv/lib/python3.11/site-packages \
    && rm -rf openvino/libs/libopenvino_intel_[gn]pu_* openvino/libs/cache.json \
        pydicom/data/test_files numpy/[a-z]*/tests
WORKDIR /app
COPY contract contract
COPY service service
COPY models models
# The modules that a start imports are compiled here: the file system is read-only later.
RUN chmod -R a+rX . \
    && python -c "import service.app, service.decoding, service.engine.openvino, service.model"


FROM base AS training
ENV PYTHONPATH=/app
COPY --from=training-packages /venv /venv
COPY contract /app/contract
COPY training /app/training
WORKDIR /workspace
RUN chmod -R a+rX /app && chown 10001:10001 /workspace
USER 10001:10001
ENTRYPOINT ["python", "-m", "training"]


FROM base AS service
ENV PYTHONDONTWRITEBYTECODE=1 \
    XPRO_HOST=0.0.0.0 \
    XPRO_PORT=8000
COPY --from=service-packages /venv /venv
WORKDIR /app
COPY --from=service-packages /app /app
USER 10001:10001
EXPOSE 8000
# Every five seconds, so that a start counts as healthy soon.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "/app/service/healthcheck.py"]
CMD ["python", "-m", "service"]
