"""Notices: one line on standard error, once, unless the user wants none."""

import logging

import pytest

from quatgrad.backend import notice


@pytest.fixture
def logger():
    logger = logging.getLogger("quatgrad")
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_a_notice_is_one_line_once(capsys):
    for _ in range(2):
        notice("a test, 100 %s")
    assert capsys.readouterr().err == "quatgrad: a test, 100 %s\n"


def test_a_user_can_silence_notices(logger, capsys):
    logger.setLevel(logging.ERROR)
    notice("a test that nobody sees")
    assert capsys.readouterr() == ("", "")
