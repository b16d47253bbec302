"""The house rules, checked: what a fresh clone would trip over and what a reviewer should not have
to look for.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

LIB = sorted((ROOT / "nbs/lib").glob("*/*.ipynb"))
STUDIES = sorted((ROOT / "nbs/studies").glob("*.ipynb"))
REPORTS = sorted((ROOT / "nbs/reports").glob("*.ipynb"))
PACKAGES = sorted(
    p for p in (ROOT / "synthlab").iterdir() if p.is_dir() and p.name != "__pycache__"
)
MODULES = sorted(p for d in PACKAGES for p in d.glob("*.py") if p.stem != "__init__")
CODE = sorted(f for d in ("tests", "bench", "tools") for f in (ROOT / d).rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "vllm",
    "peft",
    "trl",
    "datasets",
    "tau2",
    "litellm",
    "openai",
    "ray",
    "pandas",
    "matplotlib",
    "papermill",
    "nbconvert",
    "sentence_transformers",
    "sklearn",
    "scipy",
    "IPython",
    "jupyterlab",
    "mcp",
    "uvicorn",
}
short = dict(ids=lambda p: f"{p.parent.name}/{p.stem}")


TOOLS = Path(sys.executable).parent


def cells(path, kind="code"):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def tagged(path):
    return [c for c in cells(path) if "parameters" in c["metadata"].get("tags", [])]


def git(*args):
    return subprocess.run(
        ["git", "-C", ROOT, *args], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    "The working tree as git would carry it, for commands that write"
    to = tmp_path_factory.mktemp("repo")
    for f in git("ls-files", "-co", "--exclude-standard").splitlines():
        if not (ROOT / f).is_file():
            continue
        (to / f).parent.mkdir(parents=True, exist_ok=True)
        (to / f).write_bytes((ROOT / f).read_bytes())
    return to


def nbdev(command, cwd):
    env = {k: v for k, v in os.environ.items() if k != "IN_TEST"}
    subprocess.run([TOOLS / command], cwd=cwd, env=env, check=True, capture_output=True)


def dotted(notebook):
    "The module that a library notebook exports, as `generate.simia`"
    return f"{notebook.parent.name}.{notebook.stem.split('_', 1)[1]}"


def test_export_is_in_sync(copy):
    "synthlab/ is what its notebooks say: nobody edited it by hand, nobody forgot to export"
    nbdev("nbdev-export", copy)
    for f in sorted((copy / "synthlab").rglob("*.py")):
        name = f.relative_to(copy)
        if f.name == "_modidx.py":  # an index that export and docs write anew, not tracked
            continue
        assert f.read_text() == (ROOT / name).read_text(), (
            f"{name} differs from a fresh nbdev-export"
        )


def test_clean_leaves_no_diff(copy):
    nbdev("nbdev-clean", copy)
    for f in LIB + STUDIES + REPORTS:
        assert (copy / f.relative_to(ROOT)).read_text() == f.read_text(), (
            f"run nbdev-clean: {f.name}"
        )


def test_each_module_has_its_notebook():
    assert {f"{m.parent.name}.{m.stem}" for m in MODULES} == {dotted(n) for n in LIB}
    for n in LIB:
        assert f"#| default_exp {dotted(n)}" in [source(c).strip() for c in cells(n)], n.name


@pytest.mark.parametrize("package", PACKAGES, **short)
def test_package_has_a_face(package):
    "What a package is for and one line a module, by hand; no code, so that nothing heavy loads"
    tree = ast.parse((package / "__init__.py").read_text())
    assert len(tree.body) == 1 and (said := ast.get_docstring(tree)), "a docstring and nothing else"
    listed = [line.split()[0] for line in said.splitlines()[2:] if line]
    order = [n.stem.split("_", 1)[1] for n in LIB if n.parent.name == package.name]
    assert listed == order, "one line a module, in the order of the notebooks"


def test_packages_import_downwards():
    "The layers that pyproject.toml states"
    r = subprocess.run([TOOLS / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout


def imports(m):
    """What a module imports of the library, anywhere in it: (module, name).

    nbdev makes imports relative at the top of a cell only: those inside functions stay absolute.
    """
    for node in ast.walk(ast.parse(m.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = (node.module or "").split(".") if node.module else []
        if node.level:
            base = m.parent if node.level == 1 else m.parent.parent
        elif parts[0] == "synthlab":
            base, parts = ROOT / "synthlab", parts[1:]
        else:
            continue
        yield from ((base.joinpath(*parts), a.name) for a in node.names)


def for_types_only(m):
    "Names of modules that are imported for the type checker alone"
    blocks = [n for n in ast.walk(ast.parse(m.read_text())) if isinstance(n, ast.If)]
    checks = [n for n in blocks if ast.unparse(n.test) == "TYPE_CHECKING"]
    return {x.module for n in checks for x in ast.walk(n) if isinstance(x, ast.ImportFrom)}


def test_imports_inside_functions_are_seen(tmp_path):
    (tmp_path / "pack").mkdir()
    m = tmp_path / "pack" / "mod.py"
    m.write_text("def f():\n    from synthlab.core.text import _rows\nfrom ..core.stats import x\n")
    found = {(to.parent.name, to.name, name) for to, name in imports(m)}
    assert found == {("core", "text", "_rows"), ("core", "stats", "x")}


@pytest.mark.parametrize("m", MODULES, **short)
def test_notebooks_of_a_package_import_lower_numbers_only(m):
    number = {dotted(n): n.stem.split("_")[0] for n in LIB}
    for to, name in imports(m):
        other = to / name if to == m.parent else to
        if other.parent == m.parent:
            here, there = (f"{m.parent.name}.{x}" for x in (m.stem, other.stem))
            assert number[there] < number[here], (
                f"{number[here]}_{here} imports {number[there]}_{there}"
            )


@pytest.mark.parametrize("m", MODULES, **short)
def test_nothing_private_is_imported(m):
    private = [
        f"{to.name}.{name}"
        for to, name in imports(m)
        if name.startswith("_") and not name.endswith("__")
    ]
    assert not private, "what is used elsewhere has a public name, or moves to where it is used"


@pytest.mark.parametrize("nb", STUDIES, **short)
def test_study_has_one_parameters_cell_and_reads_each(nb):
    (cell,) = tagged(nb)
    stored = [
        t
        for a in ast.parse(source(cell)).body
        for t in (a.targets if isinstance(a, ast.Assign) else [a.target])
    ]
    rest = ast.parse(
        "\n".join(
            re.sub(r"(?m)^\s*[%!].*$", "", source(c))
            for c in cells(nb)
            if c is not cell and source(c) != source(cell)
        )
    )
    read = {n.id for n in ast.walk(rest) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert stored and {t.id for t in stored} <= read, (
        f"never read: { ({t.id for t in stored} - read) }"
    )


def working_lines(code):
    "Lines of a cell that are no imports and not empty"
    plain = re.sub(r"(?m)^\s*[%!].*$", "", code)
    imported = {
        k
        for n in ast.parse(plain).body
        if isinstance(n, (ast.Import, ast.ImportFrom))
        for k in range(n.lineno, n.end_lineno + 1)
    }
    lines = enumerate(plain.splitlines(), 1)
    return [line for k, line in lines if k not in imported and line.strip()]


@pytest.mark.parametrize("nb", STUDIES, **short)
def test_study_exports_nothing_and_stays_small(nb):
    code = [source(c) for c in cells(nb)]
    assert not any(re.search(r"^#\|\s*(default_exp|export)", s, re.M) for s in code)
    assert len(code) <= 25, "a study is read in one sitting"
    work = [source(c) for c in cells(nb) if c not in tagged(nb)]
    long = [s for s in work if len(working_lines(s)) > 20]
    assert not long, f"move this to the library:\n{long[:1]}"


@pytest.mark.parametrize("nb", LIB, **short)
def test_library_notebook_has_no_parameters_cell(nb):
    assert not tagged(nb)


@pytest.mark.parametrize("nb", LIB + STUDIES + REPORTS, **short)
def test_stored_outputs(nb):
    outs = [o for c in cells(nb) for o in c["outputs"]]
    assert not [o for o in outs if o["output_type"] == "error"]
    assert not [o for o in outs if o.get("name") == "stderr"], "a warning or log line is stored"
    assert outs, "executed notebooks are stored with what they showed"
    limit = 150 if nb in LIB else 300 if nb in STUDIES else 500
    assert nb.stat().st_size <= limit * 1024, f"{nb.stat().st_size // 1024} KB, at most {limit}"


@pytest.mark.parametrize("nb", LIB + STUDIES, **short)
def test_notebook_opens_with_title_and_answer(nb):
    first = "".join(cells(nb, "markdown")[0]["source"])
    assert re.match(r"# .+\n+> .+", first)
    assert nb in STUDIES or first[2:].split("\n")[0].lower() not in (
        nb.stem.split("_", 1)[1],
        dotted(nb),
    ), "a title says what it is about"


@pytest.mark.parametrize("nb", LIB, **short)
def test_exported_cells_fit_a_screen(nb):
    long = [
        s.splitlines()[1]
        for c in cells(nb)
        if re.match(r"#\|\s*export", s := source(c)) and len(s.strip().splitlines()) > 41
    ]
    assert not long, f"over 40 lines: the cells that begin with {long}"


@pytest.mark.parametrize("nb", LIB + STUDIES, **short)
def test_lines_of_code_end_at_column_100(nb):
    wide = [line for c in cells(nb) for line in source(c).splitlines() if len(line) > 100]
    assert not wide, wide[:3]


def public(m):
    "Public functions and methods of a module, with whether they are documented"
    tree = ast.parse(m.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (
                f
                for f in node.body
                if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")
            )


def says(lines, arg):
    "Has a parameter its comment: on its own lines, or on those above it?"
    if any("# " in line for line in lines[arg.lineno - 1 : arg.end_lineno]):
        return True
    return lines[arg.lineno - 2].lstrip().startswith("#")


def checked(decorator):
    "Decorators that leave a function what it is: its parameters are its users' to know"
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(name) in ("patch", "lru_cache", "cache", "contextmanager", "staticmethod")


def patches_private(f):
    "Is it a method added to a class that is not public?"
    first = f.args.args[0].annotation if f.args.args else None
    return first is not None and ast.unparse(first).startswith("_")


@pytest.mark.parametrize("m", MODULES, **short)
def test_public_functions_say_what_they_take(m):
    lines = m.read_text().splitlines()
    for f in public(m):
        args = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
        args = [a for a in args if a.arg not in ("self", "cls", "o")]
        if any(not checked(d) for d in f.decorator_list) or patches_private(f):
            continue
        assert ast.get_docstring(f) or not args, f"{f.name} has no docstring"
        bare = [a.arg for a in args if not says(lines, a)]
        assert not bare, f"{m.name}: {f.name} does not say what {bare} mean"


@pytest.mark.parametrize("m", MODULES + CODE, **short)
def test_functions_fit_a_screen(m):
    for node in ast.walk(ast.parse(m.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, (
                f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
            )


def test_importing_the_library_is_cheap():
    "Every module imports without its heavy friends: those are imported where they are used"
    code = (
        "import sys, importlib; [importlib.import_module(m) for m in sys.argv[1:]]; "
        'print(*{m.split(".")[0] for m in sys.modules})'
    )
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "synthlab",
            *(f"synthlab.{m.parent.name}.{m.stem}" for m in MODULES),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    assert not HEAVY & set(out)


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check"])
def test_one_style(command):
    "pyproject.toml says which; `ruff check --fix` and `ruff format` do most of it"
    r = subprocess.run(
        [TOOLS / command.split()[0], *command.split()[1:], "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert r.returncode == 0, r.stdout


def test_modules_define_or_import_what_they_use():
    "A lesson's import makes a name known in the notebook, not in the exported module"
    command = [TOOLS / "ruff", "check", "--isolated", "--select", "F", "--ignore", "F541"]
    r = subprocess.run(
        [*command, "--no-cache", "synthlab"], cwd=ROOT, capture_output=True, text=True
    )
    assert r.returncode == 0, r.stdout


def test_nothing_private_or_heavy_is_tracked():
    "No machine paths, no keys, no large files, no weights"
    bad = re.compile(
        "|".join(
            [
                r"/(?:root|home/[a-z]\w*)/(?!\.)",
                re.escape(str(ROOT.parent)) + "/",
                r"sk-[A-Za-z0-9]{20,}",
                r"AIza[\w-]{30,}",
            ]
        )
    )
    for name in git("ls-files", "-co", "--exclude-standard").splitlines():
        f = ROOT / name
        if not f.is_file():
            continue
        assert f.suffix not in (".safetensors", ".gguf", ".bin", ".pt", ".pkl", ".parquet"), name
        assert f.stat().st_size <= 600 * 1024, f"{name} has {f.stat().st_size // 1024} KB"
        text = f.read_text("utf8", errors="replace")
        hit = bad.search(text)
        assert not hit or name.startswith("tests/"), f"{name}: {hit.group()}"
