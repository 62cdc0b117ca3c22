"""The contexts of requests in numbers, each worked out once: most requests say one of a few."""

from collections import OrderedDict
from collections.abc import Mapping

from raysys.dataset.context import ContextEncoder

_MAX_CACHED = 4096


class ContextCodes:
    """Finds the code of a request's context, see `ContextEncoder.codes`, and keeps the latest."""

    def __init__(self, encoder: ContextEncoder) -> None:
        self._encoder = encoder
        self._cache: OrderedDict[frozenset[tuple[str, str]], int] = OrderedDict()

    def of(self, context: Mapping[str, str]) -> int:
        """Return 0 where nothing is said of a column that the release knows."""
        if not context or not self._encoder.columns:
            return 0
        key = frozenset(context.items())
        code = self._cache.get(key)
        if code is None:
            code = self._cache[key] = self._encoder.code_of_request(context)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        return code
