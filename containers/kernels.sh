#!/bin/sh
# kernels.sh MODE: builds mamba-ssm and causal-conv1d for the mode's GPUs.
set -eu
# shellcheck source=containers/install.sh
. /build/install.sh

MODE="$1"
# Without mamba-ssm's own requirements: what it lists for Mamba3 (tilelang, quack-kernels) nothing here uses.
KERNELS="causal-conv1d==1.7.0 mamba-ssm==2.3.2.post1"
BUILD_TOOLS="setuptools==80.9.0 wheel==0.45.1 ninja==1.13.0"
EINOPS="einops==0.8.1"

if [ "$MODE" = cpu ]; then
    exit 0 # They have no CPU build.
fi
export PATH="/opt/venv/bin:$PATH"
# Never a prebuilt file from elsewhere.
export CAUSAL_CONV1D_FORCE_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE

build() {
    # shellcheck disable=SC2086 # Lists of requirements are meant to be split.
    install $BUILD_TOOLS $EINOPS
    # shellcheck disable=SC2086
    install --no-deps --no-build-isolation --no-binary :all: $KERNELS
}

case "$MODE" in
cuda)
    # Both packages name the architectures themselves: with CUDA 13.0 from sm_75 (Turing) to sm_121 (Blackwell).
    export CUDA_HOME="${CUDA_HOME:-/usr/local/cuda}"
    build
    ;;
7800xt)
    # The build asks amdgpu-arch for the GPU, and there is none in a build: one that knows the answer stands in for it.
    export ROCM_PATH=/opt/rocm HIP_ARCHITECTURES=gfx1101 PYTORCH_ROCM_ARCH=gfx1101
    asked="$(readlink -f "$ROCM_PATH/llvm/bin/amdgpu-arch")"
    mv "$asked" "$asked.real"
    printf '#!/bin/sh\necho gfx1101\n' > "$asked"
    chmod +x "$asked"
    trap 'mv "$asked.real" "$asked"' EXIT
    build
    # With its own copy torch finds no GPU; the system's takes its place.
    find /opt/venv -path '*/torch/lib/libhsa-runtime64.so*' -delete
    ;;
esac
