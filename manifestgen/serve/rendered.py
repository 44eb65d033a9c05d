"""What a stock Capgo plugin is told where the site has no `capgo.json` of its own.

The file holds absolute addresses, so without `base_url` nobody can write it beforehand. A server
knows the address that the device used, and makes it of the manifest, verified by the project's
root as a publisher would.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from manifestgen.core import stock
from manifestgen.core.limits import LIMITS
from manifestgen.errors import Error
from manifestgen.publish.trust import RootChain
from manifestgen.stores import Store
from manifestgen.stores.file_lists import usable_file_list
from manifestgen.stores.names import manifest_name

_logger = logging.getLogger(__name__)

_ANSWER: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,63})/capgo(?:-([a-z][a-z0-9]{0,31}))?\.json")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?", re.ASCII)


class StockAnswers:
    """Renders `capgo*.json`; `chain` is asked each time, so that a new root counts at once."""

    def __init__(self, store: Store, chain: Callable[[], RootChain]) -> None:
        self._store = store
        self._chain = chain

    def __call__(self, name: str, host: str) -> bytes | None:
        """Return the file for a device that reached us as `host`; `None` where there is none."""
        found = _ANSWER.fullmatch(name)
        if not found or not _HOST.fullmatch(host):
            return None
        channel, platform = found[1], found[2]
        if platform not in {None, *stock.PLATFORMS}:
            return None
        try:
            stored = self._store.get(manifest_name(channel), limit=LIMITS.manifest_bytes)
            if stored is None:
                return None
            trusted = self._chain().keyring.manifest(stored.data, channel)
        except Error as error:
            _logger.warning("%s cannot be made: %s", name, error)
            return None
        lists = partial(usable_file_list, self._store)
        answers = stock.responses(trusted, f"http://{host}", lists)
        return stock.encode(answers.get(platform, answers[None]))
