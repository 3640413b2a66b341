"""A slider draws its defaults where there are no widgets, or where a page is written."""

import sys
from types import ModuleType

import pytest

from slider import STILL, slider


@pytest.fixture
def calls(monkeypatch):
    """(who, with what) of every drawing, with an ipywidgets that only notes."""
    calls = []
    widgets = ModuleType("ipywidgets")
    widgets.interact = lambda draw, **ranges: calls.append(("interact", ranges))
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.delenv(STILL, raising=False)
    return calls


def draw_into(calls):
    return lambda keep=0.25: calls.append(("draw", keep))


def test_with_widgets_there_is_a_slider_for_each_argument(calls):
    slider(draw_into(calls), keep=(0, 1, 0.1))
    assert calls == [("interact", {"keep": (0, 1, 0.1)})]


def test_without_widgets_the_defaults_are_drawn_once(calls, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # to import it is an ImportError
    slider(draw_into(calls), keep=(0, 1, 0.1))
    assert calls == [("draw", 0.25)]


def test_while_notebooks_are_written_the_defaults_are_drawn_once(calls, monkeypatch):
    monkeypatch.setenv(STILL, "1")
    slider(draw_into(calls), keep=(0, 1, 0.1))
    assert calls == [("draw", 0.25)]
