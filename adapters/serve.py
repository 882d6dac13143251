"""`partyline serve`: the inference service in the foreground, until a signal stops it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable

from adapters.app import serving_inference
from adapters.process.stopping import stoppable
from config.settings import Settings
from inference.checkpoints.references import without_user


async def serve(settings: Settings, ready: Callable[..., None]) -> int:
    """Serves; the address is known, and `/readyz` answers, before the model is loaded.

    Without a configured key there is one for this process alone, printed once: a service that anybody can use by
    default would be found by somebody.
    """
    key = settings.serve.key.get_secret_value()
    if not key:
        key = secrets.token_urlsafe(24)
        print(f"The key until this process ends (set PARTYLINE_SERVE__KEY to choose one): {key}", flush=True)
    async with stoppable(settings.inference.drain_s) as stop, serving_inference(settings, key) as (address, inference):
        print(f"Listening on {address}, loading {without_user(settings.model)}", flush=True)
        async with stop.ending():
            await inference.start()
            ready(f"{address}/v1", stream=sys.stdout)
        await stop.wanted.wait()
    return 0
