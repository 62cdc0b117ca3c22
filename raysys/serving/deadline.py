"""Until when the requests of a micro-batch are to be answered."""

import math
from contextvars import ContextVar

DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""By the clock of the event loop, in seconds, for all that is done for one micro-batch."""
