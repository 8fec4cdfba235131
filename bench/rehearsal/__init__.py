"""A rehearsal of a sale: a load test that keeps account of what everybody was told.

Run: ``make rehearsal``, or ``.venv/bin/python -m bench.rehearsal``; ``docs/operations.md`` says how to read
the report.
"""
