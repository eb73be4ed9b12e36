class CommandError(Exception):
    """A command cannot go on. Its text is for the user's eyes and says what to do about it."""
