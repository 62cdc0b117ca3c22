"""The only SQL: what clients sent since the release was built, and what it makes of each user.

Events enter; each user's newest items and a version leave. A replica holds nothing of its own, so
what is committed here is seen by the next read on every replica. Everything here blocks: on an
event loop it is called from a thread. SQLite serves one node, PostgreSQL several, by the same code.
"""
