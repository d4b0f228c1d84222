"""Bodies of responses read up to a limit: a server that never stops sending must not fill the
memory.
"""

import functools
from typing import Any

# A reply of 100,000 tokens, each in an event of its own, takes about 30 MB.
LARGEST_BODY = 64 << 20  # bytes, unpacked
_ABOUT_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


class BodyTooLarge(Exception):
    """A body of more than `LARGEST_BODY` bytes, of which nothing is kept."""

    def __init__(self) -> None:
        super().__init__(
            f"the reply is larger than {LARGEST_BODY >> 20} MB, and was not read to its end"
        )


@functools.cache
def bounded_client() -> Any:
    """The ``openai`` client's own HTTP client, which gives up a body beyond `LARGEST_BODY`.

    Whatever the status: the body of an error is read whole as well.
    """
    import openai

    class BoundedClient(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **more: Any) -> Any:
            response = await super().send(request, stream=True, **more)
            body = bytearray()
            try:
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST_BODY:
                        raise BodyTooLarge
            finally:
                await response.aclose()
            headers = [
                (name, value)
                for name, value in response.headers.multi_items()
                if name.lower() not in _ABOUT_THE_BODY
            ]
            return type(response)(
                response.status_code,
                headers=headers,
                content=bytes(body),
                request=response.request,
                extensions=response.extensions,
            )

    return BoundedClient
