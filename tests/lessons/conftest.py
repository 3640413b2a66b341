"""`says(check, answer)`: what a checker prints about an answer, without the exercise's name."""

import pytest

import mine


@pytest.fixture(autouse=True)
def no_answer_is_kept(monkeypatch):
    monkeypatch.setenv(mine.FOLDER, "")


@pytest.fixture
def says(capsys):
    def says(check, answer):
        check(answer)
        return capsys.readouterr().out.strip().removeprefix(f"{check.__name__}: ")

    return says
