"""The phases of an engine's start go from its processes to the server by files."""

from model.start_phases import FOLDER, read_phases, report_phase


def test_an_engine_is_as_far_as_its_last_process(tmp_path, monkeypatch):
    assert read_phases(tmp_path, ["policy", "critic"]) == {"policy": "starting", "critic": "starting"}
    monkeypatch.setenv(FOLDER, str(tmp_path))
    report_phase("policy", "loading")
    report_phase("policy", "warming")
    assert read_phases(tmp_path, ["policy", "critic"]) == {"policy": "warming", "critic": "starting"}
    (tmp_path / "policy.1").write_text("compiling")
    assert read_phases(tmp_path, ["policy"]) == {"policy": "compiling"}
    (tmp_path / "policy.2").write_text("")  # that process writes it right now
    assert read_phases(tmp_path, ["policy"]) == {"policy": "starting"}


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    report_phase("policy", "loading")
    monkeypatch.setenv(FOLDER, str(tmp_path / "gone"))
    report_phase("policy", "loading")
    assert list(tmp_path.iterdir()) == []
