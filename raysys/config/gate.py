"""What a release that learnt more has to show before it takes the place of the one before."""

from pydantic import Field

from raysys.config.base import Config


class GateConfig(Config):
    """How a challenger is judged against the champion."""

    margin: float = Field(0.05, ge=0, lt=1)
    """The share of the champion's metric that the challenger may lack at worst."""
    window: float = Field(0.2, gt=0, lt=1)
    """The share of the new interactions, the newest ones, on which both are judged."""
