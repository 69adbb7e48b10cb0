"""What Schemathesis has to know of idempotency keys."""

import uuid

import requests
import schemathesis
from schemathesis import GenerationMode

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(context, case, kwargs):
    """A valid request gets a key of its own: the same key with another request is refused, as it should be."""
    is_valid = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    if is_valid and case.headers and KEY in case.headers:
        case.headers[KEY] = str(uuid.uuid4())


@schemathesis.check
def a_retry_receives_the_first_response(context, response, case):
    """The same request once more: the same status and body, marked as a replay."""
    if "idempotency-expires" not in response.headers:
        return
    retry = requests.Session().send(response.request)
    assert retry.status_code == response.status_code, f"the retry has status {retry.status_code}"
    assert retry.content == response.content, "the retry has another body"
    assert "Idempotent-Replayed" in retry.headers, "the retry is not marked as a replay"
