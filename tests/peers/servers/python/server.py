"""The servers of FastAPI: alone, with one dictionary, and with idemkit. The variable SERVER says which."""

import asyncio
import os
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel

SERVER = os.environ["SERVER"]
TTL_SECONDS = 86_400

app = FastAPI()
effects = 0
failed_guests: set[str] = set()


class NewBooking(BaseModel):
    guest: str
    room: str
    arrival: str
    nights: int
    pause_ms: int = 0
    first_run: Literal["succeeds", "panics", "fails"] = "succeeds"


async def book(new: NewBooking) -> Response:
    global effects
    effects += 1
    number = effects
    if new.pause_ms > 0:
        await asyncio.sleep(new.pause_ms / 1000)
    if new.first_run != "succeeds" and new.guest not in failed_guests:
        failed_guests.add(new.guest)
        if new.first_run == "panics":
            raise RuntimeError("a request asked for this")
        return Response(status_code=500)
    booking = {"id": number, **new.model_dump(include={"guest", "room", "arrival", "nights"})}
    return JSONResponse(booking, status_code=201)


@app.get("/effects")
async def number_of_effects() -> Response:
    return PlainTextResponse(str(effects))


if SERVER == "dictionary":
    responses: dict[str, Response] = {}
    lock = asyncio.Lock()

    @app.post("/bookings")
    async def create(request: Request, new: NewBooking) -> Response:
        key = request.headers.get("idempotency-key")
        if key is None:
            return await book(new)
        # Held while the handler runs, without which two equal requests would both run.
        async with lock:
            if key not in responses:
                responses[key] = await book(new)
            return responses[key]

else:

    @app.post("/bookings")
    async def create(new: NewBooking) -> Response:
        return await book(new)


if SERVER == "idemkit":
    from idemkit import HttpConfig, IdempotencyMiddleware, InMemoryBackend

    app.add_middleware(
        IdempotencyMiddleware,
        backend=InMemoryBackend(),
        config=HttpConfig(expires_after_seconds=TTL_SECONDS),
    )
