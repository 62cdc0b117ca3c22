"""An application that does nothing: what starting replicas costs on this machine by itself."""

from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response


class _Empty:
    """Answers every request with nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    async def __call__(self, request: Request) -> Response:
        return PlainTextResponse("")


def build_app(args: dict[str, Any]) -> Any:
    """Build an ingress with `num_replicas` - 1 deployments behind it, one replica each."""
    deployment: Any = serve.deployment(ray_actor_options={"num_cpus": args["cpus_per_replica"]})(
        _Empty
    )
    behind = [
        deployment.options(name=f"Empty-{number}").bind()
        for number in range(args["num_replicas"] - 1)
    ]
    return deployment.options(name="EmptyIngress").bind(*behind)
