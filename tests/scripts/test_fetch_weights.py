import fetch_weights
import pytest

from deltajax.models.weights import PUBLISHED, WeightsError


def test_lists_what_there_is(capsys):
    assert fetch_weights.main([]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in PUBLISHED)
    assert "Apache-2.0" in output


def test_says_what_was_fetched(tmp_path, capsys, monkeypatch):
    def fetch(name, folder):
        return folder / PUBLISHED[name].file_name

    monkeypatch.setattr(fetch_weights, "fetch_weights", fetch)
    assert fetch_weights.main(["blazepose", "--folder", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert f"blazepose: {tmp_path / 'pose_landmark_full.tflite'}" in output
    assert "from mediapipe==0.10.21, licence Apache-2.0" in output


def test_failure(tmp_path, capsys, monkeypatch):
    def fetch(name, folder):
        raise WeightsError("pip could not fetch it: no network")

    monkeypatch.setattr(fetch_weights, "fetch_weights", fetch)
    assert fetch_weights.main(["blazepose", "--folder", str(tmp_path)]) == 1
    assert "error: pip could not fetch it: no network" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fetch_weights.main(["vgg"])
    assert "vgg" in capsys.readouterr().err
