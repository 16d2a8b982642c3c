"""A benchmark holds the molecules of a task that have a label, or says why it cannot."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from made_benchmarks import made_shards

from molnb.errors import InputError
from molnb.evaluation.benchmark import load_benchmark


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (made_shards([1.0]), "1 of 1 molecules have a label, a comparison needs at least 10"),
        (
            made_shards([np.nan] * 12, missing={"not a number": 12}),
            "0 of 12 .*missing: not a number: 12",
        ),
        (made_shards([5.0] * 12), "all 12 values of task 't' are 5: there is nothing to learn"),
        (made_shards([*range(11), np.inf]), "1 values of task 't' are infinite"),
        (
            made_shards([*range(12)], kind="binary"),
            r"task 't' is binary, but 10 of its 12 values are neither 0 nor 1 \(the first is 2\)",
        ),
        (made_shards([1] * 12, kind="binary"), "all 12 values of task 't' are 1"),
        (made_shards([0, 1, 2] * 4, kind="classes"), "task 't' has more than two classes: this"),
        (made_shards(range(12), labels=2), "no task was named; choose among none"),
    ],
)
def test_tasks_that_cannot_be_compared_are_refused(shards, message):
    with pytest.raises(InputError, match=message):
        load_benchmark(shards)


def test_unknown_labels_are_left_out_and_flags_follow_the_rows():
    flags = {"odd": pa.array([None, *[i % 2 == 1 for i in range(1, 14)]])}
    benchmark = load_benchmark(made_shards([*range(12), np.nan, np.nan], flags=flags), "t")
    assert len(benchmark.ids) == 12 and benchmark.axis == "act (log)"
    assert benchmark.flag("odd").tolist() == [i % 2 == 1 for i in range(12)]
    assert not benchmark.flag("absent").any()
    with pytest.raises(InputError, match="no task 'x'"):
        load_benchmark(made_shards(range(12)), "x")
