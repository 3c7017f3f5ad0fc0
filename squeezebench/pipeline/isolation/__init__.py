"""Processes that are watched, and files that only one of them writes.

watch: a piece of work in a process of its own. attempts: runs and trials that are tried again. processes: the
descendants of a process. occupied: the lock on a folder of results.
"""
