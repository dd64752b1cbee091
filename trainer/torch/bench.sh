#!/bin/sh
# Times the learning of a network against PyTorch on the CPU: the same rows of the
# size of a Handbook fold, network, recipe and number of steps, taking turns. Needs
# python3 with venv and the network once (pinned wheels, about 200 MB, into a folder
# of its own), or a python3 that has torch.
#
#     trainer/torch/bench.sh [ROUNDS]     default 3
#
# WEIR_TORCH_PYTHON names a Python that has torch and numpy, such as Debian's with
# python3-torch, which needs libopenblas0-pthread too (with the reference BLAS it
# takes three times as long) and OPENBLAS_NUM_THREADS=1 for the first turn to be of
# one thread; WEIR_TORCH_VENV the folder of the virtual environment, default
# trainer/torch/.venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${WEIR_TORCH_PYTHON:-}
if [ -z "$python" ]; then
    venv=${WEIR_TORCH_VENV:-$here/.venv}
    python=$venv/bin/python
    if ! [ -x "$python" ] || ! "$python" -c 'import torch' 2>/dev/null; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --only-binary=:all: --extra-index-url https://download.pytorch.org/whl/cpu -r "$here/requirements.txt"
    fi
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/.."
CGO_ENABLED=0 go test -c -o "$work/bench" .

"$python" "$here/bench.py" "$work" "$work/bench" "${1:-3}"
