import ssl

class Tls:
    established: bool
    def __init__(self, context: ssl.SSLContext, client: bool, server_hostname: str | None = None) -> None: ...
    @property
    def object(self) -> ssl.SSLObject: ...
