#!/usr/bin/env bash
# Check an installation on an NVIDIA GPU, in two parts of at most 9 minutes each:
#
#     scripts/gpu_check.sh PART [MNIST FOLDER] [RESULTS FOLDER]
#
# 1: the comparison with NumPy, the quick tests, steps launched one by one against a CUDA graph, and
#    the benchmark of workloads A and C against PyTorch and JAX
# 2: workloads B and D, the widths and batch sizes from which the GPU is faster than the CPU, and in
#    the remaining time the record mnist-record-deep
#
# A part begins with a list of what is missing, and leaves out what cannot run without it. Each step
# has a time limit and writes its own files, which a later step does not change. The summary is
# gpu_1.txt or gpu_2.txt. The exit code is 1 if a step failed.
#
# Environment variables:
#   PYTHON             the Python to use; default: python3
#   GPU_CHECK_SECONDS  the time of a part; default: 530
#   GPU_CHECK_SHORT    1: shorter steps, to try this script on a slow or emulated GPU
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
part=${1:-} mnist=$(realpath -m "${2:-${BACKPROP_XP_DATA_DIR:-mnist}}")
results=$(realpath -m "${3:-$root/scripts/results}")
python=${PYTHON:-python3} short=${GPU_CHECK_SHORT:-} deadline=${GPU_CHECK_SECONDS:-530}
case $part in
1 | 2) ;;
*)
    echo "gpu_check.sh: unknown part '$part'; use: gpu_check.sh 1|2 [MNIST FOLDER] [RESULTS FOLDER]" >&2
    exit 2
    ;;
esac
cd "$root" && mkdir -p "$results" || exit 1
summary=$results/gpu_$part.txt
export PYTHONUNBUFFERED=1 # so that the files are complete when a step is killed
failures=()

say() { printf '%s\n' "$*" | tee -a "$summary"; }

# need NAME PURPOSE REMEDY COMMAND...: report what is missing if the command fails.
declare -A missing=()
need() {
    local name=$1 purpose=$2 remedy=$3
    shift 3
    timeout 60 "$@" >/dev/null 2>&1 && return
    missing[$name]=1
    say "missing: $name; needed for $purpose; $remedy"
}

about() {
    date -u +%FT%TZ
    echo "commit $(git describe --always --dirty 2>/dev/null || echo unknown)"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
        echo "GPU and driver unknown: nvidia-smi is missing"
    "$python" - 2>/dev/null <<'EOF'
import importlib.metadata, os, platform

print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
wanted = "backprop-xp numpy cupy cupy-cuda12x cupy-cuda13x jax jaxlib torch scikit-learn".split()
installed = {one.name.lower(): one.version for one in importlib.metadata.distributions()}
print(", ".join(f"{name} {installed[name]}" for name in wanted if name in installed))
EOF
}

# step NAME SECONDS COMMAND...: run a step within its limit and within the time of the part.
step() {
    local name=$1 limit=$2 file=$results/gpu_$1.txt started=$SECONDS code
    local left=$((deadline - SECONDS))
    shift 2
    if [ "$left" -lt "$limit" ]; then limit=$left; fi
    if [ "$limit" -le 0 ]; then
        failures+=("$name: no time was left")
        say "$name: no time was left"
        return
    fi
    {
        printf '%s\n\n$ %s\n' "$header" "$*"
        timeout -s INT -k 5 "$limit" "$@"
    } 2>&1 | tee "$file"
    code=${PIPESTATUS[0]}
    case $code in
    0) say "$name: passed in $((SECONDS - started)) s ($file)" ;;
    124 | 137)
        failures+=("$name: stopped after $limit s; $file has the results until then")
        say "$name: stopped after $limit s ($file)"
        ;;
    *)
        failures+=("$name: exit code $code; see $file")
        say "$name: FAILED with exit code $code after $((SECONDS - started)) s ($file)"
        ;;
    esac
}

header=$(about)
printf '%s\n\n' "$header" | tee "$summary"
need nvidia-smi "the name of the GPU in the results" "it comes with the NVIDIA driver" nvidia-smi
need cupy "everything" "pip install -e '.[cuda12]' (cuda13 for a driver of CUDA 13)" \
    "$python" -c "import backprop_xp, cupy; cupy.zeros(1)"
need pytest "the tests" "pip install -e '.[test]'" "$python" -c "import pytest, hypothesis"
need sklearn "the tests of the estimators" "pip install -e '.[test]'" "$python" -c "import sklearn"
need torch "PyTorch in the benchmark" "pip install torch" \
    "$python" -c "import torch; assert torch.cuda.is_available()"
need jax "JAX in the benchmark" "pip install 'jax[cuda12]'" \
    "$python" -c "import jax; jax.devices('gpu')"
need MNIST "the benchmark and the record" \
    "give the folder of its four files (train-images-idx3-ubyte.gz, ...) as the second argument" \
    test -f "$mnist/train-images-idx3-ubyte.gz"
free=$(df -Pk "$HOME" | awk 'END { print $4 }')
need disk "compiled kernels" "free 2 GB in $HOME" test "$free" -gt 2000000
if [ -n "${missing[cupy]:-}" ]; then
    say "nothing can be checked without CuPy"
    exit 1
fi

rounds=5 first=A,C second=B,D tests=() graph=() widths=32,128,512,2048 batches=10,128,1024
record="mnist-record-deep"
if [ -n "$short" ]; then
    rounds=1 first=A second=B widths=32 batches=128 record="digits-record"
    tests=(tests/nn) graph=(--workloads A --samples 1000 --epochs 1)
fi
bench() { # NAME SECONDS WORKLOADS
    if [ -z "${missing[MNIST]:-}" ]; then
        step "$1" "$2" "$python" scripts/benchmarks/bench.py --device cuda --workloads "$3" \
            --peers ours-cupy,ours-cupy-graph,ours-cupy-bare,ours-jax,jax-scan,torch-eager,torch-compile \
            --rounds "$rounds" --pause 0.1 --data-dir "$mnist" --json "$results/gpu_$1.json"
    fi
}

if [ "$part" = 1 ]; then
    step check 110 "$python" -m backprop_xp check --device cuda
    if [ -z "${missing[pytest]:-}" ]; then
        export BACKPROP_XP_TEST_BACKENDS=cupy
        step tests 160 "$python" -m pytest -q -m quick -k cupy "${tests[@]}"
    fi
    step graph 70 "$python" scripts/benchmarks/cuda_graph.py "${graph[@]}" \
        --json "$results/gpu_graph.json"
    bench bench_1 200 "$first"
else
    bench bench_2 200 "$second"
    for device in cuda cpu; do
        step "scale_$device" 70 "$python" scripts/benchmarks/scale.py --device "$device" \
            --seconds 0.3 --widths "$widths" --batches "$batches" \
            --json "$results/gpu_scale_$device.json"
    done
    if [ -z "${missing[MNIST]:-}" ] || [ -n "$short" ]; then
        # Before the limit there are 30 seconds to load the data, for the last epoch, and for the test.
        left=$((deadline - SECONDS))
        step record "$left" "$python" scripts/benchmarks/record.py --record "$record" --device cuda \
            --seconds "$((left - 30))" --data-dir "$mnist" --json "$results/gpu_record.json"
    fi
fi

if [ ${#failures[@]} -gt 0 ]; then
    say ""
    say "failures:"
    for failure in "${failures[@]}"; do say "- $failure"; done
    exit 1
fi
say "part $part passed${missing[*]:+; missing: ${!missing[*]}}"
