#!/bin/sh
# system.sh MODE: checks the mode, then installs what every mode needs from the base image's distribution.
set -eu

case "$1" in
cpu | cuda | 7800xt) ;;
*)
    echo "MODE must be one of cpu, cuda, 7800xt; received '$1'. Build with --build-arg MODE=cpu, for instance." >&2
    exit 2
    ;;
esac

if command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    # torch.compile needs a C++ compiler and Python's headers; provenance.json needs git.
    apt-get install --quiet --yes --no-install-recommends ca-certificates g++ git python3 python3-dev python3-venv
    rm -rf /var/lib/apt/lists/*
fi

if ! command -v python3 > /dev/null; then
    echo "The base image has neither python3 nor apt-get to install it with. Give one that has, for instance" \
        "--build-arg BASE=docker.io/library/ubuntu:24.04." >&2
    exit 2
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or later is needed; the base image has $(python3 --version). Give a newer one, for instance" \
        "--build-arg BASE=docker.io/library/ubuntu:24.04." >&2
    exit 2
fi

# The repository is mounted, and may belong to another user than the container's.
git config --system --add safe.directory '*'
