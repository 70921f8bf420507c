#!/bin/sh
# packages.sh MODE: makes /opt/venv with what requirements.txt locks, torch and torchvision as the mode needs.
set -eu
# shellcheck source=containers/install.sh
. /build/install.sh

MODE="$1"
UV_VERSION=0.13.9
REQUIREMENTS=/build/requirements.txt

if [ ! -f "$REQUIREMENTS" ]; then
    echo "requirements.txt is missing from the folder that is built. Build in the repository's root, and restore the" \
        "file with 'git checkout requirements.txt'." >&2
    exit 2
fi

locked() {
    sed -n "s/^$1==//p" "$REQUIREMENTS"
}

# torch and torchvision of each mode. ROCm: 2.9.1 is the last torch that was built for ROCm 6.4, whose drivers serve the
# RX 7800 XT. CUDA: the locked torch is built for CUDA 13.0.
case "$MODE" in
cpu) torch="$(locked torch)" vision="$(locked torchvision)" build=cpu ;;
cuda) torch="$(locked torch)" vision="$(locked torchvision)" build=cu130 ;;
7800xt) torch=2.9.1 vision=0.24.1 build=rocm6.4 ;;
esac

python3 -m venv /opt/uv
/opt/uv/bin/python -m pip install --quiet "uv==$UV_VERSION"
python3 -m venv --without-pip /opt/venv

# One test compares Mamba2 with the one of transformers; no run needs its 140 MB.
grep -v -E '^(torch|torchvision|transformers|tokenizers)==' "$REQUIREMENTS" > /build/rest.txt
install --no-deps --requirement /build/rest.txt
if [ -n "${TORCH_INDEX:-}" ]; then
    install --index "$TORCH_INDEX/$build" "torch==$torch+$build" "torchvision==$vision+$build"
else # The configured indexes are said to have torch in the mode's build.
    install "torch==$torch+$build" "torchvision==$vision"
fi
