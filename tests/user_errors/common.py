"""Shared by the tests of user_errors."""

from dataclasses import replace

from synthlab.user_errors.resimulate import EditPoints
from synthlab.user_errors.view import user_view


def said(t, turn, words):
    return replace(
        t,
        messages=[replace(m, content=words) if i == turn else m for i, m in enumerate(t.messages)],
    )


def after(run, *turns):
    return user_view(replace(run, messages=[*run.messages[:4], *turns], stop="max_steps"))


def _phone(runs):
    return [t for t in runs if t.task.domain == "telecom" and EditPoints(t).user_calls]
