"""experiments/bench_loading.py: each stage measures what it says."""

import json
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def bench_loading(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import bench_loading

    monkeypatch.setattr(bench_loading, "STEP", 0.001)
    return bench_loading


def test_stages_on_few_images(bench_loading, tmp_path, capsys):
    folder = ["--folder", str(tmp_path), "--images", "300"]
    for stage in ("make_files", "convert", "stream", "wait_ahead"):
        assert bench_loading.main(["--stage", stage, *folder]) == 0
        numbers = json.loads(capsys.readouterr().out)
        assert numbers.pop("peak_memory_mb") > 10
        assert all(0 < n < 1e6 for n in numbers.values())
        if stage in ("convert", "stream"):
            images = numbers["images_per_second"] * numbers["seconds"]
            assert images == pytest.approx(315)
        assert stage.replace("_", " ") in bench_loading.line(stage, numbers)


def test_too_few_images_are_refused(bench_loading, capsys):
    with pytest.raises(SystemExit, match="2"):
        bench_loading.main(["--images", "10"])
    assert "--images is at least 200; got 10" in capsys.readouterr().err
