"""`facestream parameters`: the list from which others wire their own renderers."""

from __future__ import annotations

import json

import pytest
from facestream.cli.main import main
from facestream.parameters import PARAMETERS


def test_table_names_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parameters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for index, parameter in enumerate(PARAMETERS):
        assert any(line.startswith(f"| {index} | {parameter.name} |") for line in lines)


def test_json_is_in_the_order_of_the_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parameters", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == [parameter.name for parameter in PARAMETERS]
    assert listed[52] == PARAMETERS[52]._asdict()
