#!/bin/sh
# LLaMA-Factory 0.9.5 in a venv of its own (it pins older transformers): sh bench/install_llamafactory.sh FOLDER
# Then LLAMAFACTORY_CLI=FOLDER/bin/llamafactory-cli makes the test and the benchmark use it.
set -e
test -n "$1" || { echo "usage: $0 FOLDER" >&2; exit 2; }
uv venv -q --python 3.11 "$1"
over=$(mktemp)
# torchvision and torchaudio from PyPI need CUDA; triton is of no use on a CPU
for p in torchvision torchaudio triton; do echo "$p; sys_platform == 'never'"; done > "$over"
echo "torch==2.13.0" >> "$over"
UV_FIND_LINKS="$PIP_FIND_LINKS" uv pip install -q --python "$1/bin/python" --overrides "$over" llamafactory==0.9.5 torch==2.13.0
# it imports torchaudio even where there is no sound
stub=$("$1/bin/python" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")/torchaudio
mkdir -p "$stub" && touch "$stub/__init__.py"
"$1/bin/llamafactory-cli" version | tail -3
