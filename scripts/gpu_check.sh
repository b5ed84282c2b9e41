#!/usr/bin/env bash
# Check an installation on a GPU: the test suite, the comparison with NumPy, the benchmark against
# PyTorch and JAX, and the widths and batch sizes above which the GPU is faster than the CPU. Takes
# at most about eight minutes.
#
#     scripts/gpu_check.sh [MNIST FOLDER] [RESULTS FOLDER]
#
# Writes gpu.txt (machine, driver, versions, tests, check, tables), gpu.json (the benchmark), and
# scale_cpu.json and scale_cuda.json.
set -uo pipefail
cd "$(dirname "$0")/.."
mnist=${1:-${BACKPROP_XP_DATA_DIR:-}}
results=${2:-scripts/results}
python=${PYTHON:-python3}
mkdir -p "$results"
failed=0
run() {
    printf '\n== %s\n' "$*"
    "$@" || { failed=1; printf '== FAILED with exit code %s\n' "$?"; }
}
{
    date -u +%F
    run nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
    run "$python" -m backprop_xp devices
    BACKPROP_XP_TEST_BACKENDS=cupy run "$python" -m pytest -q tests
    run "$python" -m backprop_xp check --device cuda
    bench=("$python" scripts/benchmarks/bench.py --device cuda --rounds 5 --json "$results/gpu.json")
    [ -n "$mnist" ] && bench+=(--data-dir "$mnist")
    run timeout 240 "${bench[@]}"
    for device in cpu cuda; do # at which widths and batch sizes the GPU is faster
        run timeout 75 "$python" scripts/benchmarks/scale.py --device "$device" --seconds 0.3 \
            --widths 32,128,512,2048 --batches 10,128,1024 --json "$results/scale_$device.json"
    done
    exit "$failed"
} 2>&1 | tee "$results/gpu.txt"
