"""A Ray cluster of several nodes on this machine, as a program: it runs until its input ends.

A line of its input with the number of a node, the head node being 0, kills that node.

    python -m tests.wiring.cluster_process DIRECTORY DASHBOARD_PORT NODES

NODES is JSON, one object of arguments for `Cluster.add_node` each, the head node first. Every node
has a loopback address of its own, from 127.0.0.2 on, so that what listens on one cannot be reached
at another's. Writes one JSON line once all nodes are there. In a process of its own, since Ray
keeps an access token for as long as a process lives.
"""

import json
import sys

import ray._private.utils
from ray.cluster_utils import Cluster

# It would tell every other Ray on this machine that this is the cluster to connect to.
ray._private.utils.write_ray_address = lambda *_, **__: None
ray._private.utils.reset_ray_address = lambda *_, **__: None


def main(directory: str, dashboard_port: str, nodes: str) -> None:
    cluster = Cluster()
    started = []
    for number, arguments in enumerate(json.loads(nodes)):
        if number == 0:
            arguments |= {
                "include_dashboard": True,
                "dashboard_host": "127.0.0.1",
                "dashboard_port": int(dashboard_port),
            }
        started.append(
            cluster.add_node(
                node_ip_address=f"127.0.0.{number + 2}", temp_dir=f"{directory}/ray", **arguments
            )
        )
    print(json.dumps({"address": cluster.address}), flush=True)
    for line in sys.stdin:
        cluster.remove_node(started[int(line)], allow_graceful=False)
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
