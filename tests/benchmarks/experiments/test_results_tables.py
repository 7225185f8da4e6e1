"""The tables of the page of results, each from results that a test makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.experiments import tables


def cells(lines: Iterable[str]) -> list[list[str]]:
    """The lines of a table below its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in list(lines)[2:-1]]


def _model(nats: float, disc: list[int]) -> dict[str, Any]:
    evaluation = {"variables": [{"information": nats}] if disc else [], "reconstruction": 1.0}
    for variable in evaluation["variables"]:
        variable.update(accuracy_majority=None, accuracy_one_to_one=None)
    return {"evaluation": evaluation, "config": {"disc": disc}}


def test_whether_c_is_used_follows_from_its_information():
    used, unused, without = _model(1.0, [10]), _model(0.01, [10]), _model(0.0, [])
    lines = [("A", [used]), ("B", [unused]), ("C", [unused, used, unused]), ("D", [without])]
    rows = {label: row for label, *row in cells(tables.main_table([*lines, ("E", [])]))}
    assert rows["A"][6:8] == ["1.00 of 2.30", "0"]
    assert rows["B"][6:8] == ["0.01 of 2.30", "1"]
    assert rows["C"][6:8] == ["0.34 ± 0.57 of 2.30", "2"]
    assert rows["D"][6:8] == ["0.00", "-"]
    assert rows["E"] == ["0", "not measured", *["-"] * 9]


def test_effects_are_those_of_the_results_that_have_them():
    older = _model(1.0, [10])
    new = _model(1.0, [10])
    new["evaluation"].update(effect_cont=[0.5, 0.004, None])
    new["evaluation"]["variables"][0]["effect"] = 0.25
    none = _model(0.0, [])
    none["evaluation"].update(effect_cont=[0.1, 0.2], variables=[])
    lines = [("A", [older, new]), ("B", [none]), ("C", [older])]
    rows = {label: row for label, *row in cells(tables.effect_table(lines))}
    assert rows["A"] == ["1", "0.25", "0.50", "1.0"]
    assert rows["B"] == ["1", "-", "0.20", "2.0"]
    assert "C" not in rows
    assert list(tables.effect_table([("C", [older])])) == []


def _curve(seconds: float, *accuracies: float) -> dict[str, Any]:
    curve = [
        {"step": 100 * (row + 1), "accuracy_majority": [value]}
        for row, value in enumerate(accuracies)
    ]
    return {"seconds": seconds, "curve": curve}


def test_the_time_to_an_accuracy_is_that_of_the_first_row_that_has_it():
    slow = [_curve(1000, 0.3, 0.5, 0.5, 0.5), _curve(1000, 0.2, 0.6, 0.5, 0.7)]
    fast = [_curve(40, 0.1, 0.7), _curve(60, 0.65, 0.6), _curve(50, 0.2, 0.3)]
    lines = list(tables.time_table([("Fast", fast)], ("Slow", slow)))
    assert "| s to 0.600, the end of Slow |" in lines[0]
    slow_cells, fast_cells = cells(lines)
    assert slow_cells == ["Slow", "0.550 ± 0.071", "0.600 ± 0.141", "500", "1 of 2"]
    assert fast_cells == ["Fast", "0.317 ± 0.293", "0.533 ± 0.208", "35 ± 7", "2 of 3"]
    assert cells(tables.time_table([("Fast", fast[2:])], ("Slow", slow)))[1][3:] == ["-", "0 of 1"]
    assert [row[0] for row in cells(tables.time_table([("Fast", [])], ("Slow", slow)))] == ["Slow"]
    assert list(tables.time_table([("Fast", fast)], ("Slow", []))) == []


def test_of_three_points_of_a_curve_the_middle_one_is_half_way():
    results = [_curve(10, 0.1, 0.3, 0.5), _curve(10, 0.2, 0.4, 0.6)]
    (row,) = cells(tables.time_table([], ("Slow", results)))
    assert row[1:3] == ["0.350 ± 0.071", "0.550 ± 0.071"]


def _seed(seed: int, accuracy: float) -> dict[str, Any]:
    variable = {"accuracy_majority": accuracy, "accuracy_one_to_one": accuracy, "information": 1.0}
    return {"seed": seed, "evaluation": {"variables": [variable]}}


def test_a_missing_udr_is_said_but_for_want_of_models():
    results = [_seed(0, 0.5), _seed(1, 0.7), _seed(2, 0.9)]
    rows = [{"seed": seed, "udr": None, "objective": 2.0 + seed} for seed in (0, 1)]
    compared = {"seeds": rows, "no_udr": "nothing to compare"}
    lines = list(tables.choice_table([("A", results)], [compared]))
    assert lines[0].startswith("| seed chosen without labels, rank by majority accuracy |")
    assert cells(lines) == [["A", "none: nothing to compare", "seed 0, rank 2 of 2"]]
    gone = {**compared, "without_run": [1]}  # UDR lacks models, which says nothing of the seeds
    assert cells(tables.choice_table([("A", results)], [gone]))[0][1] == "-"
    alone = {**compared, "seeds": rows[:1]}
    assert list(tables.choice_table([("A", results), ("B", [])], [alone, None])) == []


def test_objectives_are_means_over_seeds():
    here = {"seeds": [{"objective": 149.0}, {"objective": 151.0}]}
    lines = [("Further", []), ("Other", []), ("Slow", [])]
    found = tables.objective_table(lines, [here, None, {"seeds": [{"objective": 160.0}]}])
    assert cells(found) == [["Further", "2", "150.0 ± 1.4"], ["Slow", "1", "160.0"]]


def test_silent_units_stand_apart_where_seeds_collapsed():
    def result(collapsed: bool, *silent: float) -> dict[str, Any]:
        return {"silent": list(silent), "evaluation": {"collapsed": collapsed}}

    results = [result(True, 0.25, 1.0), result(True, 0.35, 1.0), result(False, 0.1, 0.5)]
    lines = list(tables.silent_table([("0.001", results), ("0.002", [])]))
    assert lines[0].endswith("| seeds | layer 1 | layer 2 |")
    assert cells(lines) == [
        ["0.001, collapsed", "2", "30.0", "100.0"],
        ["0.001", "1", "10.0", "50.0"],
    ]
    assert list(tables.silent_table([("0.002", [])])) == []


def test_what_c_holds_is_a_mean_over_seeds():
    sizes = (16, 32, 64, 128, 256, 512)
    batches = {str(rows): {"mean": -4.5 / rows, "std": 1 / rows} for rows in sizes}
    seeds = {
        str(seed): {"holds": {"digit": digit, "ink": 0.1}, "batches": batches}
        for seed, digit in ((0, 0.4), (1, 0.6))
    }
    held = {"digit": 0.3, "ink": 0.2}
    study = {"experiments": {"one": {"attributes": held, "seeds": seeds}}}
    assert cells(tables.content_table({"one": "First"}, study)) == [
        ["First", "2", "0.500", "0.100"],
        ["k-means on pixels", "1", "0.300", "0.200"],
    ]
    nats, deviation = cells(tables.batch_table(study, sizes))
    assert nats == ["nats", "-0.281", "-0.141", "-0.070", "-0.035", "-0.018", "-0.009"]
    assert deviation[1:3] == ["0.062", "0.031"]
