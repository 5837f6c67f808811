"""The messages of ASGI on a connection: ``receive`` and ``send`` without a coroutine, queue or future a message.

What is rare, that is all but messages on an open connection, is left to a subclass in Python.
"""

from .awaitables cimport DONE
from .connection cimport Connection
from .protocol cimport OPEN
from .receiver cimport Receive


cdef class ReceiveEvent(Receive):
    cdef object step(self):
        cdef Connection c = self.exchange.connection
        cdef object message
        if not self.exchange.greeted:
            self.exchange.greeted = True
            return {"type": "websocket.connect"}
        if self.exchange.farewell is not None and not c.has_message():
            self.close()
            return self.exchange.farewell.copy()
        message = Receive.step(self)
        if type(message) is str:
            return {"type": "websocket.receive", "text": message}
        if type(message) is bytes:
            return {"type": "websocket.receive", "bytes": message}
        return message      # self, to wait, or what ended() made

    cdef object ended(self):
        return self.exchange.disconnected()


cdef class Exchange:
    """``receive`` and ``send`` of one run of an ASGI application (HTTP & WebSocket ASGI message format, 2.5).

    Attributes:
        connection: the connection that the application serves.
        farewell: the event that ends the exchange, once one side of it was ended here; None before that.
    """

    def __cinit__(self, Connection connection not None, *args, **kwargs):
        self.connection = connection

    def receive(self):
        """Wait for the next event: ``websocket.connect``, then ``websocket.receive``, at last ``websocket.disconnect``."""
        cdef ReceiveEvent event = ReceiveEvent.__new__(ReceiveEvent)
        event.connection = self.connection
        event.exchange = self
        return event

    def send(self, event):
        """Do what an event of the application says; wait while more than ``write_limit`` bytes are unsent."""
        cdef Connection c = self.connection
        cdef object data
        if c.state == OPEN and self.farewell is None and type(event) is dict and (<dict>event).get("type") == "websocket.send":
            data = (<dict>event).get("bytes")
            if data is None:
                data = (<dict>event).get("text")
                if type(data) is not str:
                    data = None
            elif type(data) is not bytes:
                data = None
            if data is not None and not c.is_fragmenting():
                try:
                    c.transmit(data, None, True)
                except Exception as exc:
                    return self.send_otherwise(event, exc)
                return DONE if c.buffered() <= c.high else self.drained()
        return self.send_otherwise(event, None)

    def part(self, dict farewell not None):
        """End the exchange: ``receive`` yields *farewell* after the messages that wait, again and again."""
        if self.farewell is None:
            self.farewell = farewell
            self.connection.wake_receiver(False)

    # For the subclass

    def disconnected(self):
        """Return the event for a connection that is over."""
        raise NotImplementedError

    async def send_otherwise(self, event, error):
        """Do what an event says that is no message on an open connection, or that failed with *error*."""
        raise NotImplementedError

    async def drained(self):
        """Wait until what is unsent is within ``write_limit``."""
        raise NotImplementedError
