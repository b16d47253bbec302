"""What README says was measured: every number stands in a file of this repository, in both
languages, and benchmarks share one shape.
"""

import json
import re
import shutil
import subprocess
import sys

import common
import pytest
import readme  # noqa: E402
from conftest import ROOT

both = pytest.mark.parametrize("path", readme.READMES, ids=lambda p: p.name)
KEYS = {"bench", "rows", "not_measured", "machine", "load", "commit", "date", "quick", "detail"}
NOT_RESULTS = [  # numbers that nobody measured
    r"Python 3\.11 (?:or|或) 3\.12",  # what is needed
    r"Apache-2\.0",
    r"SmolLM2-135M",  # names
    r"95 %",  # the level of all intervals
    r"\b2026\b",  # when others were read
    r"(?m)^\d\. ",  # list items
    r"\d\d_[a-z]\w+",  # studies and modules by file name
]


def prose(text):
    "What is said in the text's own words: no generated part, code or link target"
    text = re.sub(r"(?s)```.*?```", "", readme.bare(text))
    return re.sub(r"`[^`]*`", "", re.sub(r"\]\([^)]*\)", "]", text))


def numbers(text):
    for known in NOT_RESULTS:
        text = re.sub(known, "", text)
    return re.findall(r"(?a)(?<![\w²^])[-+]?\d[\d.,]*", text)


def marks(text):
    return [m.group(2, 3, 4) for m in readme.VALUE.finditer(text)]


@both
def test_numbers_are_those_of_the_files(path):
    text = path.read_text("utf8")
    assert readme.filled(text, "zh" in path.name) == text, "run: python bench/table.py --readme"
    assert marks(text) and {m[2] for m in readme.BLOCK.finditer(text)} == set(readme.BLOCKS)


@both
def test_no_number_without_a_file(path):
    rest = numbers(prose(path.read_text("utf8")))
    assert not rest, (
        f"{rest}: put them between <!--= SOURCE; KEY; FORMAT --> and <!--/-->, or say why they "
        "are no results"
    )


def test_a_number_that_was_written_by_hand_is_found():
    said = (
        "It is 457× as fast, finds 0.84 [0.82, 0.86] of 1,422 errors and needs Python 3.11 "
        "or 3.12, `n=5`, [that](a/1.md)，有3段。"
    )
    assert numbers(prose(said)) == ["457", "0.84", "0.82,", "0.86", "1,422", "3"]


@both
def test_a_wrong_number_is_put_right(path):
    text = path.read_text("utf8")
    wrong = readme.VALUE.sub(lambda m: m[1] + "77.7" + m[6], text)
    wrong = readme.BLOCK.sub(lambda m: m[1] + "| 88.8 |\n" + m[4], wrong)
    assert "77.7" in wrong and "88.8" in wrong and readme.filled(wrong, "zh" in path.name) == text


@pytest.mark.parametrize(
    "source, key",
    [
        ("detectors", "detail / classes / type:nothing"),
        ("nowhere", "metrics"),
        ("01_generate-laptop", "metrics / kept"),
    ],
)
def test_a_number_that_no_file_holds_is_named(source, key):
    with pytest.raises(
        ValueError, match=re.escape(f"README names {source}; {key}: there is no such number")
    ):
        readme.filled(f"<!--= {source}; {key}; .2f -->0<!--/-->")


@both
def test_marks_are_invisible(path):
    "A line that begins with a comment would end the paragraph"
    assert not re.findall(r"(?m)^\s*(<!--[=/].*)", path.read_text("utf8"))


def test_the_languages_say_the_same():
    en, zh = (p.read_text("utf8") for p in readme.READMES)
    assert sorted(marks(en)) == sorted(marks(zh))

    def part(text):
        return [len(m[1]) for m in re.finditer(r"(?m)^(#+) ", re.sub(r"(?s)```.*?```", "", text))]

    assert part(en) == part(zh)

    def links(text):
        return sorted(re.findall(r"\]\(([^)]+)\)", readme.bare(text)))

    assert [l.replace("zh-CN.", "") for l in links(en)] == [
        l.replace("zh-CN.", "") for l in links(zh)
    ]

    def commands(text):
        return [
            re.split(r"\s+# ", l)[0].rstrip()
            for block in re.findall(r"(?s)```sh\n(.*?)```", text)
            for l in block.splitlines()
        ]

    assert commands(en) == commands(zh)

    def signs(text):
        return [
            re.findall("[●◐–]", l)
            for l in text.splitlines()
            if l.startswith("|") and re.search("[●◐]", l)
        ]

    assert signs(en) == signs(zh)


@both
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf8")):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_the_weakest_rules_are_the_two_that_are_named():
    "Among classes with thirty cases or more: of fewer nobody can tell"
    rows = readme.result("detectors")["detail"]["classes"]
    classes = [r for r in rows if r["type"] != "all" and r["n"] >= 30]
    assert {r["type"] for r in sorted(classes, key=lambda r: r["value"])[:2]} == {
        "inconsistent_behavior",
        "incorrect_interpretation",
    }


@pytest.mark.parametrize("path", sorted(readme.RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_results_have_one_shape(path):
    d = readme.result(path.stem)
    assert (
        set(d) == KEYS
        and d["bench"] == path.stem
        and d["not_measured"].startswith("Not measured: ")
        and path.stat().st_size < 200 * 1024
    )
    for r in d["rows"]:
        assert (
            set(r) == set(common.KEYS)
            and r["what"]
            and r["peer"]
            and bool(r["note"]) == (r["ratio"] is None)
        )
        assert r["lo"] is None or r["lo"] <= r["ratio"] <= r["hi"]
        assert r["n"] or r["note"]
        for said in (r["what"], r["peer"], d["not_measured"]):
            assert said in readme.ZH, f"tools/zh.json has no Chinese for: {said}"


def test_every_benchmark_is_in_the_table():
    helpers = {"common", "readme", "table", "selection_peers", "tau2_orchestrator"}
    assert {p.stem for p in (ROOT / "bench").glob("*.py")} - helpers == set(readme.ORDER)


def test_ratios_of_repeats():
    r = common.versus("x", "y", [1.0, 2.0, 4.0], [10.0, 10.0, 10.0], "s", 7)
    assert (r["ratio"], r["lo"], r["hi"], r["ours"], r["peers"], r["repeats"]) == (
        5.0,
        2.5,
        10.0,
        2.0,
        10.0,
        3,
    )
    assert (
        common.versus("x", "y", [10.0], [5.0], "a second", 7, rate=True)["ratio"] == 2.0
        and common.versus("x", "y", [1.0], [1.0], "s", 7)["lo"] is None
    )
    assert (common.ratio_str(r), common.interval_str(r)) == (
        "5.00×",
        "[2.50, 10.0], n=7, 3 repeats",
    )
    assert (
        common.ratio_str(common.missing("x", "y", "z is not installed"))
        == "not measured: z is not installed"
    )


def test_a_quick_run_shows_a_table_and_leaves_the_repository_alone(tmp_path):
    before = {p: p.read_bytes() for p in [*readme.READMES, *readme.RESULTS.glob("*.json")]}
    r = subprocess.run(
        [sys.executable, ROOT / "bench/table.py", "--quick", "--only", "budget"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert r.returncode == 0, r.stderr
    assert (
        re.search(
            r"simulate iterative training.* a plain loop with numpy .*× +n=\d+, 1 repeat .*load",
            r.stdout,
        )
        and "Not measured" in r.stdout
    )
    assert before == {p: p.read_bytes() for p in [*readme.READMES, *readme.RESULTS.glob("*.json")]}


def test_a_new_result_reaches_the_readmes(tmp_path):
    "In a copy: one row more, written by a benchmark's own function"
    for name in ("bench", "tools", "nbs/reports", "synthlab"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for p in readme.READMES:
        shutil.copy(p, tmp_path)
    row = common.versus(
        "simulate iterative training in the Gaussian world",
        "a plain loop with numpy",
        [8.0, 9.0, 10.0],
        [1.0, 1.0, 1.0],
        "runs/s",
        5,
        rate=True,
        head=True,
    )
    common.save(
        tmp_path / "bench/results/budget.json", "budget", [row], "Not measured: nothing else."
    )
    r = subprocess.run(
        [sys.executable, "bench/table.py", "--readme"], cwd=tmp_path, capture_output=True, text=True
    )
    assert r.returncode == 0 and "README.zh-CN.md has new numbers" in r.stdout, r.stderr
    for p in readme.READMES:
        assert "9.00× [8.00, 10.0], n=5" in (tmp_path / p.name).read_text("utf8")
    d = json.loads((tmp_path / "bench/results/budget.json").read_text("utf8"))
    assert set(d) == KEYS and str(ROOT) not in json.dumps(d)
