"""One request, and what came of it."""

import asyncio
from typing import Any, Self

from zephyr_utils.feedback.bodies import parsed_body
from zephyr_utils.feedback.calls import Call
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.faults import fault_of
from zephyr_utils.feedback.replies import reply_of
from zephyr_utils.feedback.reply import Reply


class Sender:
    """Sends calls to an endpoint over connections that it holds while its context lasts.

    Args:
        timeout: seconds until a call is given up as hanging.

    Attributes:
        under_way: calls that are sent and not answered yet.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint, self.timeout = endpoint, timeout
        self.under_way = 0
        self._renamed: set[str] = set()  # models that want max_completion_tokens

    async def __aenter__(self) -> Self:
        self._client = self.endpoint.client(self.timeout)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._client.close()

    async def send(self, call: Call, idempotency_key: str) -> Reply:
        """Send the call once.

        Args:
            idempotency_key: the same key asks for the same answer, so that a server that honours it
                charges once.

        Raises:
            Fault: no reply came.
        """
        body: dict[str, Any] = {
            "model": call.model,
            "messages": [{"role": role, "content": content} for role, content in call.messages],
            **call.sampling.arguments(),
        }
        renamed = call.model in self._renamed
        if renamed and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        self.under_way += 1
        try:
            # The client's own time-out starts again with every byte; a server that drips must not
            # hold us for ever.
            async with asyncio.timeout(self.timeout):
                # Not `chat.completions.create`: its typed requests and replies take a third of the
                # client's time. Bytes, because it would read text in the encoding that is named.
                raw = await self._client.post(
                    "/chat/completions",
                    body=body,
                    cast_to=bytes,
                    options={"headers": {"Idempotency-Key": idempotency_key}},
                )
            response = parsed_body(raw)
        except Exception as error:
            fault = fault_of(error, self.endpoint, self.timeout)
            if fault.reason == "renamed_parameter" and not renamed:
                self._renamed.add(call.model)
                fault.again = True
            raise fault from None  # the client's errors hold the request, and with it the key
        finally:
            self.under_way -= 1
        return reply_of(call, response, self.endpoint)
