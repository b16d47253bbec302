"The house rules, checked: what a fresh clone would trip over and what a reviewer should not have to look for."
import ast, json, os, re, subprocess, sys

import pytest

from conftest import ROOT

LIB = sorted((ROOT/'nbs/lib').glob('*.ipynb'))
STUDIES = sorted((ROOT/'nbs/studies').glob('*.ipynb'))
REPORTS = sorted((ROOT/'nbs/reports').glob('*.ipynb'))
MODULES = sorted(p for p in (ROOT/'synthlab').glob('*.py') if p.stem not in ('__init__', '_modidx'))
HEAVY = {'torch', 'transformers', 'vllm', 'peft', 'trl', 'datasets', 'tau2', 'litellm', 'openai', 'ray', 'pandas', 'matplotlib',
         'papermill', 'nbconvert', 'sentence_transformers', 'sklearn', 'scipy', 'IPython', 'jupyterlab', 'mcp', 'uvicorn'}
short = dict(ids=lambda p: p.stem)


def cells(path, kind='code'): return [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]
def source(cell): return ''.join(cell['source'])
def tagged(path): return [c for c in cells(path) if 'parameters' in c['metadata'].get('tags', [])]
def git(*args): return subprocess.run(['git', '-C', ROOT, *args], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope='session')
def copy(tmp_path_factory):
    "The working tree as git would carry it, for commands that write"
    to = tmp_path_factory.mktemp('repo')
    for f in git('ls-files', '-co', '--exclude-standard').splitlines():
        if not (ROOT/f).is_file(): continue
        (to/f).parent.mkdir(parents=True, exist_ok=True)
        (to/f).write_bytes((ROOT/f).read_bytes())
    return to


def nbdev(command, cwd):
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    subprocess.run([os.path.join(os.path.dirname(sys.executable), command)], cwd=cwd, env=env, check=True, capture_output=True)


def test_export_is_in_sync(copy):
    "synthlab/ is what its notebooks say: nobody edited it by hand, nobody forgot to export"
    nbdev('nbdev-export', copy)
    for f in sorted((copy/'synthlab').glob('*.py')):
        assert f.read_text() == (ROOT/'synthlab'/f.name).read_text(), f'{f.name} differs from a fresh nbdev-export'


def test_clean_leaves_no_diff(copy):
    nbdev('nbdev-clean', copy)
    for f in LIB+STUDIES+REPORTS:
        assert (copy/f.relative_to(ROOT)).read_text() == f.read_text(), f'run nbdev-clean: {f.name}'


def test_each_module_has_its_notebook():
    assert {m.stem for m in MODULES} == {n.stem.split('_', 1)[1] for n in LIB}
    for n in LIB: assert f"#| default_exp {n.stem.split('_', 1)[1]}" in [source(c).strip() for c in cells(n)], n.name


def test_modules_import_lower_numbers_only():
    number = {n.stem.split('_', 1)[1]: n.stem.split('_', 1)[0] for n in LIB}
    for m in MODULES:
        for node in ast.walk(ast.parse(m.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or '').startswith('synthlab.')):
                names = [node.module.removeprefix('synthlab.')] if node.module else [a.name for a in node.names if a.name != '__version__']
                for name in names: assert number[name] < number[m.stem], f'{number[m.stem]}_{m.stem} imports {number[name]}_{name}'


@pytest.mark.parametrize('nb', STUDIES, **short)
def test_study_has_one_parameters_cell_and_reads_each(nb):
    (cell,) = tagged(nb)
    stored = [t for a in ast.parse(source(cell)).body for t in (a.targets if isinstance(a, ast.Assign) else [a.target])]
    rest = ast.parse('\n'.join(re.sub(r'(?m)^\s*[%!].*$', '', source(c)) for c in cells(nb) if c is not cell and source(c) != source(cell)))
    read = {n.id for n in ast.walk(rest) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert stored and {t.id for t in stored} <= read, f'never read: {({t.id for t in stored}-read)}'


@pytest.mark.parametrize('nb', STUDIES, **short)
def test_study_exports_nothing_and_stays_small(nb):
    code = [source(c) for c in cells(nb)]
    assert not any(re.search(r'^#\|\s*(default_exp|export)', s, re.M) for s in code)
    assert len(code) <= 25, 'a study is read in one sitting'
    long = [s for s in code if len(s.strip().splitlines()) > 15]
    assert not long, f'move this to the library:\n{long[:1]}'


@pytest.mark.parametrize('nb', LIB, **short)
def test_library_notebook_has_no_parameters_cell(nb): assert not tagged(nb)


@pytest.mark.parametrize('nb', LIB+STUDIES+REPORTS, **short)
def test_stored_outputs(nb):
    outs = [o for c in cells(nb) for o in c['outputs']]
    assert not [o for o in outs if o['output_type'] == 'error']
    assert not [o for o in outs if o.get('name') == 'stderr'], 'a warning or log line is stored'
    assert outs, 'executed notebooks are stored with what they showed'
    limit = 150 if nb in LIB else 300 if nb in STUDIES else 500
    assert nb.stat().st_size <= limit*1024, f'{nb.stat().st_size//1024} KB, at most {limit}'


@pytest.mark.parametrize('nb', LIB+STUDIES, **short)
def test_notebook_opens_with_title_and_answer(nb):
    first = cells(nb, 'markdown')[0]['source']
    assert re.match(r'# .+\n+> .+', ''.join(first))


def public(m):
    "Public functions and methods of a module, with whether they are documented"
    tree = ast.parse(m.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'): yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            yield from (f for f in node.body if isinstance(f, ast.FunctionDef) and not f.name.startswith('_'))


@pytest.mark.parametrize('m', MODULES, **short)
def test_public_functions_say_what_they_take(m):
    lines = m.read_text().splitlines()
    for f in public(m):
        args = [a for a in f.args.posonlyargs+f.args.args+f.args.kwonlyargs if a.arg not in ('self', 'cls', 'o')]
        if not f.decorator_list: assert ast.get_docstring(f) or not args, f'{f.name} has no docstring'
        bare = [a.arg for a in args if '# ' not in lines[a.end_lineno-1]]
        assert not bare or f.decorator_list or len(args) == 0, f'{m.name}: {f.name} does not say what {bare} mean'


@pytest.mark.parametrize('m', MODULES, **short)
def test_functions_fit_a_screen(m):
    for node in ast.walk(ast.parse(m.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno-node.lineno < 45, f'{m.name}: {node.name} has {node.end_lineno-node.lineno+1} lines'
    wide = [i for i, l in enumerate(m.read_text().splitlines(), 1) if len(l) > 130]
    assert not wide, f'{m.name}: lines over 130 columns: {wide}'


def test_importing_the_library_is_cheap():
    "Every module imports without its heavy friends: those are imported where they are used"
    code = 'import sys, importlib; [importlib.import_module(m) for m in sys.argv[1:]]; print(*{m.split(".")[0] for m in sys.modules})'
    out = subprocess.run([sys.executable, '-c', code, 'synthlab', *(f'synthlab.{m.stem}' for m in MODULES)], capture_output=True,
                         text=True, check=True, cwd=ROOT).stdout.split()
    assert not HEAVY & set(out)


def test_no_unused_names():
    files = [*MODULES, *sorted((ROOT/'tests').glob('*.py')), *sorted((ROOT/'bench').glob('*.py'))]
    r = subprocess.run([sys.executable, '-m', 'pyflakes', *files], capture_output=True, text=True)
    rest = [l for l in r.stdout.splitlines() if 'import *' not in l and 'may be undefined' not in l]
    assert not rest, '\n'.join(rest)


def test_nothing_private_or_heavy_is_tracked():
    "No machine paths, no keys, no large files, no weights"
    bad = re.compile('|'.join([r'/(?:root|home/[a-z]\w*)/(?!\.)', re.escape(str(ROOT.parent))+'/', r'sk-[A-Za-z0-9]{20,}', r'AIza[\w-]{30,}']))
    for name in git('ls-files', '-co', '--exclude-standard').splitlines():
        f = ROOT/name
        if not f.is_file(): continue
        assert f.suffix not in ('.safetensors', '.gguf', '.bin', '.pt', '.pkl', '.parquet'), name
        assert f.stat().st_size <= 600*1024, f'{name} has {f.stat().st_size//1024} KB'
        text = f.read_text('utf8', errors='replace')
        hit = bad.search(text)
        assert not hit or name.startswith('tests/'), f'{name}: {hit.group()}'
