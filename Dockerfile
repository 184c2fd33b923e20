# labkit in a container. One file, two variants; both start JupyterLab on port 8888 as a user without rights.
#
#   docker build -t labkit .
#   docker run --rm --init --shm-size=1g -p 127.0.0.1:8888:8888 labkit
#
#   docker build -t labkit:gpu --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 --build-arg RUNTIME=gpu .
#   docker run --rm --init --shm-size=1g -p 127.0.0.1:8888:8888 --gpus all labkit:gpu
#
# With buildah or podman add --format docker, or the healthcheck is left out. Each RUN begins with set -eu and asks nothing
# of SHELL, which their own format ignores. docs/deploy.md says how to keep a learner's work, and how a JupyterHub starts this image.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# cpu or gpu: which ONNX Runtime (never both), and with gpu full TensorRT.
ARG RUNTIME=cpu
ARG UID=1000
# Where pip looks besides its index: PyTorch's page for CPU builds makes the CPU image gigabytes smaller.
ARG PIP_EXTRA_INDEX_URL=""

ENV LANG=C.UTF-8 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1

# make and git are what people type; a CUDA base has no Python. Its user of the same number, where it has one, goes.
# hadolint ignore=DL3008
RUN set -eu; \
    apt-get update; \
    if ! python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
        set -- python3 python3-venv; \
    fi; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates git make "$@"; \
    rm -rf /var/lib/apt/lists/*; \
    if taken=$(id -nu "${UID}" 2>/dev/null); then userdel --remove "${taken}"; fi; \
    useradd --uid "${UID}" --create-home --shell /bin/bash learner; \
    install -d -o learner -g learner /opt/labkit

USER ${UID}
WORKDIR /opt/labkit

# What labkit needs, in a layer of its own: it is made anew only when one of these files changes. The package itself is
# installed in place, so an empty one stands in for it here, as does an empty README.
COPY --chown=${UID} pyproject.toml constraints.txt setup_environment.sh LICENSE ./
RUN set -eu; \
    mkdir labkit; touch labkit/__init__.py README.md; \
    if [ "${RUNTIME}" = gpu ]; then export GPU=1; fi; \
    ./setup_environment.sh hub,verify; \
    rm -rf .venv/install.log

COPY --chown=${UID} . .
# The settings of a first start without pop-ups, the simulator's compiled loop, and the marks that tell make that its
# environment is there.
RUN set -eu; \
    .venv/bin/labkit lab --prepare; \
    .venv/bin/python -c 'from labkit.serving import load_compiled; load_compiled()'; \
    touch .venv/.ready .venv/.ready-dev

ARG COMMIT=""
ENV LABKIT_COMMIT=${COMMIT} \
    PATH=/opt/labkit/.venv/bin:${PATH}

EXPOSE 8888
# /api answers without a token. A hub gives each server a prefix.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:8888' + os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '/') + 'api', timeout=4)"]

CMD ["labkit", "lab", "--no-browser", "--ip", "0.0.0.0", "--port", "8888"]
