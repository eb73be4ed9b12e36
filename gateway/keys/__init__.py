"""Who may ask for what: keys, what they are good for, and what they used."""

from gateway.keys.errors import KeysError
from gateway.keys.gate import Gate
from gateway.keys.key import Key
from gateway.keys.keyring import Keyring
from gateway.keys.visit import Visit, begin_visit, visit

__all__ = ["Gate", "Key", "Keyring", "KeysError", "Visit", "begin_visit", "visit"]
