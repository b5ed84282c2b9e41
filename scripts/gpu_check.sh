#!/usr/bin/env bash
# All that a GPU owner runs once after installing: the test suite on the GPU, the equivalence
# check, and the benchmark beside PyTorch and JAX. Takes a few minutes.
#
#     scripts/gpu_check.sh [FOLDER OF MNIST] [RESULTS FOLDER]
#
# Writes gpu.txt (machine, driver, versions, tests, check) and gpu.json (the benchmark).
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
    bench=("$python" scripts/bench.py --device cuda --rounds 5 --json "$results/gpu.json")
    [ -n "$mnist" ] && bench+=(--data-dir "$mnist")
    run timeout 300 "${bench[@]}"
    exit "$failed"
} 2>&1 | tee "$results/gpu.txt"
