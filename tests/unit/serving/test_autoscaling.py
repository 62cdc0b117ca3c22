"""How many replicas there should be, and what they tell to have it decided."""

from types import SimpleNamespace
from typing import Any

import pytest

from raysys.api.build import build_app
from raysys.config import ServingConfig, parse_config
from raysys.errors import ConfigError
from raysys.serving.autoscaling import CALLS, Load, num_replicas_for_calls


def test_the_load_is_the_calls_at_a_time_since_it_was_asked_last() -> None:
    now_s = 100.0
    load = Load(lambda: now_s)
    assert load.take() == 0
    with load.call():
        now_s += 2
        with load.call():  # beside the other one
            now_s += 1
    now_s += 1
    assert load.take() == pytest.approx((2 * 1 + 1 * 2) / 4)
    with load.call():
        assert load.take() == 1  # no time has passed
        now_s += 5
        assert load.take() == 1
    now_s += 5
    assert load.take() == 0


def test_a_call_that_fails_is_over_too() -> None:
    now_s = 0.0
    load = Load(lambda: now_s)
    with pytest.raises(ValueError, match="wrong"), load.call():
        raise ValueError("wrong")
    now_s += 1
    assert load.take() == 0


def test_there_are_as_many_replicas_as_have_seven_tenths_of_a_call_each() -> None:
    def wanted(*loads: float) -> float:
        told = {CALLS: dict(enumerate(loads))} if loads else {}
        context = SimpleNamespace(aggregated_metrics=told, target_num_replicas=3)
        return num_replicas_for_calls(context)[0]

    assert wanted(0.35, 0.35) == pytest.approx(1)
    assert wanted(1.4) == pytest.approx(2)  # as many wait as are answered
    assert wanted(0.0, 0.0) == 0  # Serve knows the bounds
    assert wanted() == 3  # nobody has told anything


def test_what_may_be_more_is_scaled_by_serve_and_the_rest_stays_as_it_is() -> None:
    app = build_app(
        {
            "database": "postgresql://",
            "num_gateways": 2,
            "max_gateways": 4,
            "num_encoders": 3,
            "max_encoders": 3,
            "max_replicas_per_shard": 2,
        }
    )
    found = deployments_of(app)
    gateway = found["Gateway"].autoscaling_config
    assert (gateway.min_replicas, gateway.max_replicas) == (2, 4)
    assert gateway.target_ongoing_requests == 32  # half of a batch
    assert found["QueryEncoder"].autoscaling_config is None
    assert found["QueryEncoder"].num_replicas == 3
    for shard in range(2):
        config = found[f"IndexShard-{shard}"].autoscaling_config
        assert (config.min_replicas, config.max_replicas) == (1, 2)
        assert config.policy.policy_function.endswith("num_replicas_for_calls")


def deployments_of(app: Any) -> dict[str, Any]:
    """Return Serve's config of every deployment of an application, by name."""
    found, others = {}, [app._bound_deployment]
    while others:
        deployment = others.pop()
        found[deployment.name] = deployment._deployment_config
        others += [each._bound_deployment for each in deployment.init_args if is_bound(each)]
    return found


def is_bound(argument: object) -> bool:
    return hasattr(argument, "_bound_deployment")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_encoders": 3, "max_encoders": 2}, "max_encoders is 2, but num_encoders says"),
        ({"max_gateways": 2, "max_requests_per_s": 100}, "nobody knows how many there are"),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(given, ServingConfig, source="test")
