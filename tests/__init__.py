"""Tests of what no single component owns.

A regular package, so that `tests` is ours: smdebug-rulesconfig installs one, too.
"""
