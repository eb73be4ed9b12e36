class KeysError(Exception):
    """Keys that cannot be read or kept; the message names the file."""
