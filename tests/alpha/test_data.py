"""Rated texts: splits, files, the checked archive."""

import pytest

from synthlab.alpha.data import (
    fetch_snippets,
    load_reviews,
    read_reviews,
    split_reviews,
    toy_reviews,
)
from synthlab.models.hub import cache_dir


def test_splits_share_no_review_and_files_are_read(tmp_path):
    parts = split_reviews(toy_reviews())
    groups = [{r.group for r in p} for p in parts.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    import pandas

    rows = [
        dict(stars=5, body="Fine.", asin="x"),
        dict(stars=1, body="Poor.", asin="y"),
        dict(stars=3, body=" ", asin="y"),
    ]
    pandas.DataFrame(rows).to_json(tmp_path / "r.jsonl", orient="records", lines=True)
    pandas.DataFrame(rows).to_csv(tmp_path / "r.csv", index=False)
    pandas.DataFrame(rows).to_parquet(tmp_path / "r.parquet")
    for kind in ("jsonl", "csv", "parquet"):
        got = read_reviews(tmp_path / f"r.{kind}", "body", "stars", "asin")
        assert [(r.text, r.rating, r.group) for r in got] == [
            ("Fine.", 4.0, "x"),
            ("Poor.", -4.0, "y"),
        ]
    with pytest.raises(ValueError, match="no column 'rating'; it has stars, body, asin"):
        read_reviews(tmp_path / "r.csv", "body")


def test_a_wrong_archive_is_refused_and_absence_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is not the archive of vaderSentiment==0.5"):
        fetch_snippets(tmp_path / "x.zip")
    monkeypatch.setattr("synthlab.alpha.data.sys.executable", "python-that-has-no-pip")
    with pytest.raises((FileNotFoundError, OSError)):
        fetch_snippets()
    assert not (tmp_path / "cache" / "vader-0.5").exists()


@pytest.mark.skipif(
    not (cache_dir() / "vader-0.5").is_dir(),
    reason="the rated sentences are not in the cache: synthlab.alpha.data.fetch_snippets()",
)
def test_the_amazon_sentences_are_the_published_ones():
    rows = load_reviews("amazon")
    assert (
        len(rows) == 3708
        and all(len(r.raters) >= 20 for r in rows)
        and len({r.group for r in rows}) == 300
    )
    assert max(abs(sum(r.raters) / len(r.raters) - r.rating) for r in rows) < 0.01
