"""A seeded world in which the truth is planted: who likes what, when, and what they click.

`Simulator` opens a world of `worlds.yaml`, writes its log, and answers what is true of any user and
any item at any time.
"""

from raysys.logs.simulator.items import GENRES
from raysys.logs.simulator.simulator import Simulator
from raysys.logs.simulator.worlds import World, load_world, world_names

__all__ = ["GENRES", "Simulator", "World", "load_world", "world_names"]
