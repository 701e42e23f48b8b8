"""Status codes of TensorFlow Serving, the same in gRPC, and the HTTP codes that its REST door gives for them."""

INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED = 3, 5, 9, 11, 12
HTTP = {INVALID_ARGUMENT: 400, FAILED_PRECONDITION: 400, OUT_OF_RANGE: 400, NOT_FOUND: 404, UNIMPLEMENTED: 501}


class Status(Exception):
    """What went wrong, in the words that the client gets."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def http(self):
        return HTTP.get(self.code, 500)
