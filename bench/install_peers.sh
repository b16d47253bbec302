#!/bin/sh
# The peers of bench/selection.py in a venv of their own: sh bench/install_peers.sh FOLDER
# Then PEERS_PYTHON=FOLDER/bin/python makes the benchmark use them. On a machine without a GPU: UV_TORCH_BACKEND=cpu.
set -e
test -n "$1" || { echo "usage: $0 FOLDER" >&2; exit 2; }
uv venv -q --python 3.11 "$1"
UV_FIND_LINKS="$PIP_FIND_LINKS" uv pip install -q --python "$1/bin/python" datasketch==2.0.0 rensa==0.5.0 apricot-select==0.6.1 \
  submodlib-py==0.0.3 dattri==0.3.0 traker==0.3.2 scikit-learn transformers==5.19.0 peft==0.21.0
"$1/bin/python" -c "import datasketch, rensa, apricot, submodlib, dattri, trak, peft; print('peers are there')"
