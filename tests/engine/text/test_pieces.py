from engine.text.pieces import (
    BYTE_ALPHABET,
    byte_level_piece,
    drops_first_space,
    piece_decoder,
    spaced_piece,
)


def test_the_byte_alphabet_has_every_byte_once():
    """256 characters for 256 bytes, none of them white space."""
    assert sorted(BYTE_ALPHABET.values()) == list(range(256))
    assert not any(char.isspace() for char in BYTE_ALPHABET)


def test_byte_level_pieces_are_bytes():
    """`Ġ` is the space; a piece that leaves the alphabet stands for itself."""
    assert byte_level_piece("Ġhi") == b" hi"
    assert byte_level_piece("ð") == b"\xf0"
    assert byte_level_piece("\u2581hi") == "\u2581hi".encode()


def test_spaced_pieces_are_text_or_a_byte():
    """The mark is the space; byte tokens are one byte, and only in full."""
    assert spaced_piece("\u2581hi") == b" hi"
    assert spaced_piece("<0xF0>") == b"\xf0"
    assert spaced_piece("<0xF0>x") == b"<0xF0>x"


def test_decoders_are_told_apart_by_their_steps():
    """As `tokenizer.json` names them; without any, a piece is its text."""
    assert piece_decoder([{"type": "ByteLevel"}])("Ġ") == b" "
    assert piece_decoder([{"type": "Replace"}, {"type": "ByteFallback"}])("<0x0A>") == b"\n"
    assert piece_decoder([])("Ġ") == "Ġ".encode()


def test_who_drops_the_first_space():
    """Llama's Strip and a prepending Metaspace do, Gemma's steps do not."""
    assert drops_first_space([{"type": "Fuse"}, {"type": "Strip", "start": 1}])
    assert drops_first_space([{"type": "Metaspace", "prepend_scheme": "first"}])
    assert not drops_first_space([{"type": "Metaspace", "prepend_scheme": "never"}])
    assert not drops_first_space([{"type": "Replace"}, {"type": "Fuse"}])
