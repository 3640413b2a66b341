"""Run directories as quatgrad.lth leaves them, without training."""

from level_records import record

from quatgrad.lth.store import files


def write_run(directory, accuracies, dataset="cifar100", model="resnet18", **options):
    """accuracies: network -> for each trial the accuracies, 0 to 1, of its levels (keep 0.5)."""
    directory.mkdir(parents=True)
    config = {"dataset": dataset, "model": model, "epochs": 100} | options
    first = {"preset": "paper-cifar100", "overrides": {}}
    config |= {"data": "0123456789abcdef"}
    known = {"options": config, "first run as": first, "classes": 100}
    files.write_json(directory / "config.json", known)
    for network, trials in accuracies.items():
        total = 1000 if network == "real" else 250
        for t, levels in enumerate(trials):
            folder = directory / f"trial{t}" / network
            for i, a in enumerate(levels):
                write_level(folder, record(i, round(total / 2**i), total, a))
    return directory


def write_level(folder, made):
    """The stage of a level, where other runs have a link to one."""
    path = files.level_path(folder, made.level)
    path.mkdir(parents=True, exist_ok=True)
    made.write(path / "record.json")
    files.finalize(path)
