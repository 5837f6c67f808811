"""Tests of the browser's API, and what they share."""
