# The packages of one mode; the repository is mounted when a container starts.
#
#     docker build --build-arg MODE=cpu -t ai-research:cpu_latest .
#
# MODE: cpu, cuda (NVIDIA, CUDA 13.0) or 7800xt (AMD Radeon RX 7800 XT, ROCm 6.4).
# BASE: Ubuntu 24.04 or later, or Debian 12 or later.
ARG BASE=docker.io/library/ubuntu:24.04

FROM ${BASE} AS system
ARG MODE=cpu
COPY containers/system.sh /build/
RUN sh /build/system.sh "$MODE"

FROM system AS builder
ARG MODE=cpu
COPY containers/toolkit.sh /build/
RUN sh /build/toolkit.sh "$MODE" build
# For sites with a mirror or a proxy: what pip's variables of the same names mean.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_CERT
ARG PIP_FIND_LINKS
# PyTorch's own index, to which the mode's build is appended; empty: the indexes above have that build.
ARG TORCH_INDEX=https://download.pytorch.org/whl
# The pattern lets packages.sh say what is wrong when the file is missing.
COPY containers/install.sh containers/packages.sh requirements.tx[t] /build/
RUN sh /build/packages.sh "$MODE"
COPY containers/kernels.sh /build/
RUN sh /build/kernels.sh "$MODE"

FROM system
ARG MODE=cpu
COPY containers/toolkit.sh /build/
RUN sh /build/toolkit.sh "$MODE" run
COPY --from=builder /opt/venv /opt/venv
# Any user may run the image: HOME is writable to all, and bytecode stays out of the mounted repository.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/user \
    USER=user \
    PYTHONPYCACHEPREFIX=/tmp/pycache \
    PYTHONUNBUFFERED=1
RUN mkdir /home/user && python -c "import matplotlib.font_manager" && chmod -R a+rwX /home/user /tmp/pycache
CMD ["python"]
