"""What the parts are called, wherever one tells of another: logs, metrics, reports."""

GATEWAY, ENCODER = "gateway", "encoder"


def shard_part(shard: int) -> str:
    """Return what a shard is called."""
    return f"shard-{shard}"
