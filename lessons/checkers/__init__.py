"""Checkers of the exercises: lesson04.py judges the answers to lesson 4, and so on.

    from checkers import lesson04 as check

    check.turn(turn)      # turn: not answered yet | where and how it is wrong | correct

judging   exercise, Wrong, agree: what the checkers are made of
"""
