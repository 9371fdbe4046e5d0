"""Errors that are the person's to mend, and how to tell of others."""


class UserError(Exception):
    """Bad usage or bad input: one line that says what is wrong and what to do."""


def first_line(error: Exception) -> str:
    """What a library says of an error, without the pages that may follow."""
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


def printable(text: str) -> str:
    r"""`text` for a file or a terminal, where the names of files may be no UTF-8.

    Bytes that are none, which Python keeps as surrogates, become \xNN.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
