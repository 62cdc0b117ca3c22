"""How it is given: from a release and the database to an answer, a micro-batch at a time.

Enters: queries, events and new items (`messages`), a release, a database. Leaves: answers, and
slates that remember them.
`engine` is plain asyncio: it knows neither Ray nor HTTP, and no torch. `deployments` puts it, the
query encoder and the index shards on Ray Serve; `cluster` and `listen` say what a cluster needs.
"""
