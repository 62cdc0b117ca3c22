"""The only SQL: what clients sent since the release was built, and what was shown to them.

Events enter; each user's newest items and a version leave. Items and slates enter; what changed
since a version leaves. A replica holds nothing of its own, so what is committed here is seen by the
next read on every replica. Everything here blocks: on an event loop it is called from a thread.
SQLite serves one node, PostgreSQL several, by the same code.
"""
