"""A toy repository with studies of a few cells, so that the machinery of runs is tested with real
kernels.
"""

import json
import os
import subprocess
import sys

CLI = [sys.executable, "-c", "import sys; from synthlab.cli.main import main; sys.exit(main())"]


def notebook(cells):
    code = dict(outputs=[], execution_count=None)
    return dict(
        cells=[
            dict(
                cell_type=t,
                id=f"c{i}",
                source=s,
                metadata=dict(tags=g) if g else {},
                **(code if t == "code" else {}),
            )
            for i, (t, s, g) in enumerate(cells)
        ],
        metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python")),
        nbformat=4,
        nbformat_minor=5,
    )


def repository(root, studies, profiles=""):
    "Settings, studies {name: cells} and their profiles, below `root`"
    (root / "nbs/studies").mkdir(parents=True)
    (root / "settings.ini").write_text("[lab]\noutputs = outputs\n")
    (root / "nbs/studies/profiles.yaml").write_text(profiles)
    for name, cells in studies.items():
        (root / f"nbs/studies/{name}.ipynb").write_text(json.dumps(notebook(cells)))
    return root


def env(toy, **kw):
    "An environment without this machine's settings; the toy's own library, where it has one"
    clean = {
        k: v for k, v in os.environ.items() if k != "IN_TEST" and not k.startswith("SYNTHLAB_")
    }
    return {**clean, **(dict(PYTHONPATH=str(toy / "lib")) if (toy / "lib").exists() else {}), **kw}


def lab(toy, *args, cwd="deep/down", **kw):
    "The command `synthlab` in a toy repository, far from its root"
    return subprocess.run(
        [*CLI, *args], cwd=toy / cwd, env=env(toy, **kw), capture_output=True, text=True
    )


def json_of(r):
    return json.loads(r.stdout)
