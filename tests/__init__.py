"""Tests of what no single component owns.

A regular package, so that `tests` is ours and not the one that smdebug-rulesconfig installs (of sagemaker).
"""
