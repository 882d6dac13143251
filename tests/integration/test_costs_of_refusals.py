"""What is refused costs others nothing to speak of, whoever is refused and however often."""

from __future__ import annotations

from pathlib import Path

import pytest

from bots.access.allow_list import Access
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import telegram, until

pytestmark = pytest.mark.timeout(60)


async def test_on_a_press_that_means_nothing_nothing_is_spent_beyond_the_rate(tmp_path: Path) -> None:
    """A modified client sends any data with any message, as fast as it likes."""
    async with telegram() as server:
        eve = server.person("Eve", 2)
        async with party(server, tmp_path, access=Access(requests_per_minute=5)):
            note = await answer_to(eve.says("/help"), eve.private)
            for number in range(20):
                eve.presses(note, "", data=f"answer:{'continue' if number % 2 else number}")
            await until(lambda: server.methods.count("answerCallbackQuery") >= 5)
            await answer_to(eve.says("/stop"), eve.private)
            assert server.methods.count("answerCallbackQuery") == 5  # the last one says that it was too many
