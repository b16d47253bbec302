"""The study of budgets: seeds are kept apart."""


def test_reported_seeds_are_not_those_the_growth_rate_was_chosen_on():
    from synthlab.budget.bootstrap import GaussianTask
    from synthlab.budget.experiment import (
        compare_in_conditions,
        published_comparison,
        published_rows,
    )

    kw = dict(budget=600, rounds=4, seeds=3, rates=[0.1, 0.4])
    r = compare_in_conditions({"theory": (GaussianTask(), 3.0)}, tune=2, **kw)
    assert (
        {x["seed"] for x in r.tried} == {1000, 1001}
        and {x["seed"] for x in r.rows} == {0, 1, 2}
        and r.rate["theory"] in (0.1, 0.4)
    )
    last = [x["spent"] for x in r.rows if x["round"] == 4]
    assert (
        max(last) <= 600 and max(last) - min(last) < 4 + 3 and {x["n"] for x in r.paired()} == {3}
    )
    two = compare_in_conditions(
        {"theory": (GaussianTask(), 3.0)}, tune=0, policies="constant exponential", **kw
    )
    assert (
        not two.tried
        and two.rate["theory"] == 0.1
        and {x["policy"] for x in two.rows} == {"constant", "exponential"}
    )
    book = {x["policy"]: x for x in published_rows()}
    assert (
        book["linear"]["denoising, s=20 (PSNR)"]
        == 40.26
        > book["exponential"]["denoising, s=20 (PSNR)"]
        == 40.14
    )
    ours = {x["policy"]: x for x in published_comparison([r])}
    assert (
        ours["linear"]["published: denoising, s=20 (PSNR)"] == 40.26
        and "n=3" in ours["linear"]["ours: theory"]
    )
