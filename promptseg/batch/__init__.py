"""Many images through one job: warm workers, a manifest that survives anything, one machine or a Ray cluster.

``promptseg.batch.run.run_batch`` is the way in; ``promptseg batch`` its command.
"""
