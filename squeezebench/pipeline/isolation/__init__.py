"""Processes that are watched, and files that only one of them writes.

watch: a piece of work in a process of its own. attempts: runs and trials that are tried again. processes: their
families. locks: what the kernel gives back; unfinished: the lock on a run, occupied: the lock on a results folder.
"""
