"""A class: rebuild submissions, run them apart, judge outside, record, export, spread over machines.

Data flows one way, and each file is one station of it:

1. classroom.py finds the submissions and what has no result yet; crew.py spreads the rest over this machine's cores,
   cluster.py over a Dask cluster's.
2. grade.py takes one from end to end: submission.py (a file -> answer texts -> rebuilt notebook), sandbox.py (a warm
   process behind a wall), marking.py (the judge), result.py.
3. Behind the wall (isolation.py, namespaces.py, limits.py): warm.py forks a child for each job, given.py says what it
   finds there, replay.py runs it with engine.py, papermill's engine. channel.py carries bytes, tree.py watches.
4. store.py keeps each result as it comes; pages.py, gradebook.py, feedback.py and report.py are made from them, as
   are export.py and canvas.py; regrade.py compares two sets of them.
"""
