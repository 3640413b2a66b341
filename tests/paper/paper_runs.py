"""Run directories as quatgrad.lth leaves them, without training."""

from quatgrad.lth.store import files


def write_run(directory, accuracies, dataset="cifar100", model="resnet18", **options):
    """accuracies: network -> for each trial the accuracies, 0 to 1, of its levels (keep 0.5)."""
    directory.mkdir(parents=True)
    config = {"dataset": dataset, "model": model, "epochs": 100} | options
    first = {"preset": "paper-cifar100", "overrides": {}}
    files.write_json(directory / "config.json", {"options": config, "first run as": first})
    for network, trials in accuracies.items():
        total = 1000 if network == "real" else 250
        for t, levels in enumerate(trials):
            folder = directory / f"trial{t}" / network
            for i, a in enumerate(levels):
                write_level(folder, _record(i, total, a))
    return directory


def write_level(folder, record):
    """The stage of a level, where other runs have a link to one."""
    path = files.level_path(folder, record["level"])
    path.mkdir(parents=True, exist_ok=True)
    files.write_json(path / "record.json", record)
    files.seal(path)


def _record(level, total, accuracy):
    left = round(total / 2**level)
    costs = {"weights": left, "parameters": left + 100, "multiply_adds": 7 * left,
             "bytes": 4 * left + 50}  # fmt: skip
    return {"level": level, "weights_left": left, "weights_total": total, "accuracy": accuracy,
            "costs": costs}  # fmt: skip
