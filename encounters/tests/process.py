"""Runs the finder on the database, topics and groups of the tests."""

from consumers.tests.process import WriterProcess


class FinderProcess(WriterProcess):
    command = "find_encounters"
