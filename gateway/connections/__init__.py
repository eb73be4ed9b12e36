"""What a client may do to a connection before and after a request is the app's."""

from gateway.connections.protocol import protocol_of

__all__ = ["protocol_of"]
