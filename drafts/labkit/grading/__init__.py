"""A class: rebuild submissions, run them apart, judge outside, record.

Data flows one way: submission.py (a learner's file -> answer texts -> rebuilt notebook), sandbox.py (a process of
its own), replay.py (inside it: papermill's engine, then answers as data), marking.py (judge and result),
grade.py (one submission from end to end).
"""
