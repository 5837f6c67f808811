"""Sessions beside a model, over connections within the process, in both formats."""

from __future__ import annotations

from hypothesis import settings

from model.machine import Sessions

TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=100, stateful_step_count=25)
