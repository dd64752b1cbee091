#!/bin/sh
# Times scoring/cpu against ONNX Runtime: the same weights, the same rows, one
# thread on one core, taking turns. Needs python3 with venv and the network once
# (pinned wheels, about 40 MB, into a folder of its own).
#
#     scoring/cpu/onnx/bench.sh [ROUNDS]     default 5
#
# WEIR_ONNX_VENV names the folder of the virtual environment, default
# scoring/cpu/onnx/.venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${WEIR_ONNX_VENV:-$here/.venv}
if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import onnx, onnxruntime' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --only-binary=:all: -r "$here/requirements.txt"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/.."
CGO_ENABLED=0 go test -c -o "$work/bench" .
pin=
if command -v taskset >/dev/null; then
    # The last core that this process may use: the least likely to be busy.
    core=$(taskset -pc $$ | sed 's/.*[ ,-]//')
    pin="taskset -c $core"
fi

$pin "$venv/bin/python" "$here/bench.py" "$work" "${1:-5}"
