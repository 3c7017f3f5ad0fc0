"""The one exception that users are meant to see."""


class InputError(ValueError):
    """Something the user gave is wrong: one line that says what, where, and what would be right.

    The command line prints the message without a traceback and exits with status 2.
    """

    def __init__(self, message: object):
        super().__init__(" ".join(str(message).split()))  # one line, whatever the names in it hold
