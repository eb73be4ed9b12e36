"""What a client may do to a connection before and after a request is the app's."""

from gateway.connections.protocol import protocol_of
from gateway.connections.tls import Certificate

__all__ = ["Certificate", "protocol_of"]
