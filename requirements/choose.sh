#!/bin/sh
# Which requirements fit this machine: 'dev-gpu' where the NVIDIA driver lists a GPU, else 'dev', on standard output.
# Why a GPU that is here is not used, and what to type then, is said in one line on standard error.
#
#   sh requirements/choose.sh [auto|cpu|gpu] [folder of the system's devices] [folder to install in]
#
# Called by make before there is any Python of ours. tests/unit/test_choose_requirements.py has the cases.

wish=${1:-auto}
system=${2:-/sys}
folder=${3:-.}
needed_gb=10

on_the_cpu() {
    [ -z "$1" ] || echo "$1" >&2
    echo dev
    exit 0
}

case $wish in
    cpu) on_the_cpu "" ;;
    gpu)
        echo dev-gpu
        exit 0
        ;;
    auto) ;;
    *)
        echo "DEVICE is '$wish'; it must be auto, cpu or gpu" >&2
        exit 2
        ;;
esac

has_card() {
    for device in "$system"/bus/pci/devices/*; do
        [ -r "$device/vendor" ] && [ -r "$device/class" ] || continue
        read -r vendor <"$device/vendor"
        read -r class <"$device/class"
        case $vendor-$class in 0x10de-0x03*) return 0 ;; esac
    done
    return 1
}

if ! command -v nvidia-smi >/dev/null 2>&1; then
    if has_card; then
        on_the_cpu "An NVIDIA GPU is in this machine, but not its driver (nvidia-smi), so it is not used: install the driver, then type: make up"
    fi
    on_the_cpu ""
fi

# A driver that hangs must not hang us.
limit=
command -v timeout >/dev/null 2>&1 && limit="timeout 20"
listed=$($limit nvidia-smi -L 2>&1)
code=$?
if [ $code -ne 0 ]; then
    said=$(printf '%s' "$listed" | tr '\n' ' ' | cut -c 1-160)
    on_the_cpu "The NVIDIA driver does not work, so no GPU is used (nvidia-smi -L ended with $code: ${said:-nothing said}); mend it, then type: make up"
fi
if ! printf '%s\n' "$listed" | grep -q '^GPU [0-9]'; then
    if has_card; then
        on_the_cpu "An NVIDIA GPU is in this machine, but nvidia-smi -L lists none, so it is not used: mend the driver, then type: make up"
    fi
    on_the_cpu ""
fi

platform="$(uname -s) $(uname -m)"
if [ "$platform" != "Linux x86_64" ]; then
    on_the_cpu "The packages for NVIDIA GPUs are locked for Linux on x86_64, not for $platform, so the CPU is used; to try them all the same, type: make up DEVICE=gpu"
fi
free_gb=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1000000) }')
if [ "${free_gb:-0}" -lt $needed_gb ]; then
    on_the_cpu "The packages for the GPU need $needed_gb GB on this disk, and $free_gb GB are free, so the CPU is used; make room, then type: make up"
fi
echo dev-gpu
