"""The tuner of kernels, on a small network: run by hand, `pytest -m gpu -n 0` and this file.

By itself, as it has processes of its own.
"""

import json

import jax
import pytest
import tune_kernels

from deltajax.triton_kernels.configuration import read_table

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no GPU"),
]


def test_a_table_is_made(tmp_path, capsys):
    table, log = tmp_path / "table.json", tmp_path / "log.json"
    arguments = [
        "--model",
        "simple_cnn",
        "--dtype",
        "bfloat16",
        "--size",
        "64x96",
        "--workers",
        "2",
    ]
    arguments += ["--configurations", "3", "--frames-per-call", "5", "--threshold", "0.1"]
    assert tune_kernels.main([*arguments, "--out", str(table), "--log", str(log)]) == 0
    assert "in convolutions by the rule" in capsys.readouterr().out
    runs = json.loads(log.read_text())["runs"]
    assert [run["index"] for run in runs] == [0, 1, 2, 0]
    assert not [run["error"] for run in runs if run["error"]]
    keys = {timed["key"] for timed in runs[0]["convolutions"]}
    assert read_table(str(table)).keys() == keys
    for run in runs:
        for timed in run["convolutions"]:
            assert timed["of_rule"] or run["index"] > 0
            assert all(0.5 < time < 1000 for time in timed["microseconds"].values())
