"""Errors that are the person's to mend."""


class UserError(Exception):
    """Bad usage or bad input: one line that says what is wrong and what to do."""
