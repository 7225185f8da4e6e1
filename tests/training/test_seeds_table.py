from __future__ import annotations

from fastjvae.training.seeds_table import SeedResult, SeedsSummary


def test_the_table_names_collapsed_models():
    results = tuple(
        SeedResult(seed, 100.0, 1.0, 1.0, None, None, collapsed=seed in (1, 3)) for seed in range(4)
    )
    summary = SeedsSummary("some data", 10, results)
    assert "collapsed, no better than the mean image: 1, 3" in summary.table()
    assert [row["collapsed"] for row in summary.to_dict()["seeds"]] == [False, True, False, True]
    assert "collapsed" not in SeedsSummary("some data", 10, results[:1]).table()
