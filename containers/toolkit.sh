#!/bin/sh
# toolkit.sh MODE build|run: installs from the GPU vendor's index what kernels are built with, or what they run on.
set -eu

CUDA_RELEASE=13-0
ROCM_RELEASE=6.4.4

install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    apt-get install --quiet --yes --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/*
}

# A file that cannot be had stops the build with what to do about it. Python fetches it: the base may have no curl.
fetch() {
    echo "Fetching $1"
    python3 -c 'import sys, urllib.request as u; open(sys.argv[2], "wb").write(u.urlopen(sys.argv[1]).read())' "$1" "$2" ||
        {
            echo "MODE=$MODE needs $1, which cannot be reached. Build where it can, or give a BASE that has the" \
                "toolkit already." >&2
            exit 2
        }
}

add_nvidia() {
    # shellcheck source=/dev/null
    . /etc/os-release
    distribution="$ID$(echo "$VERSION_ID" | tr -d .)"
    fetch "https://developer.download.nvidia.com/compute/cuda/repos/$distribution/x86_64/cuda-keyring_1.1-1_all.deb" \
        /tmp/keyring.deb
    dpkg --install /tmp/keyring.deb
    rm /tmp/keyring.deb
}

add_amd() {
    fetch https://repo.radeon.com/rocm/rocm.gpg.key /etc/apt/trusted.gpg.d/rocm.asc
    echo "deb [arch=amd64] https://repo.radeon.com/rocm/apt/$ROCM_RELEASE noble main" > /etc/apt/sources.list.d/rocm.list
    # Ubuntu has packages of the same names, of another release.
    printf 'Package: *\nPin: release o=repo.radeon.com\nPin-Priority: 600\n' > /etc/apt/preferences.d/rocm
    echo /opt/rocm/lib > /etc/ld.so.conf.d/rocm.conf
}

MODE="$1"
case "$MODE $2" in
"cuda build")
    command -v nvcc > /dev/null || {
        add_nvidia
        install "cuda-toolkit-$CUDA_RELEASE"
    }
    ;;
"7800xt build")
    add_amd
    install rocm-hip-sdk
    ;;
"7800xt run")
    add_amd
    install hsa-rocr-dev rocminfo # Its libhsa-runtime64.so takes the place of torch's own.
    ldconfig
    ;;
esac
