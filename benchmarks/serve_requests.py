"""What `make bench-serve` asks for: bodies of requests, a named filter, signatures; and wrk."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from raysys.config import ServingConfig
from raysys.dataset.histories import Histories
from raysys.dataset.item_table import open_item_table
from raysys.release import HISTORIES, ITEM_TABLE, Release

LIST_LENGTH = 25
RECOMMENDATIONS = "/recommendations"
_KEPT_SHARE = 0.01
_FILTER = "a-hundredth"
_REGION = "us-east-1"

_TELL = """
function done(summary, latency, requests)
    local e = summary.errors
    local names = '{"requests": %d, "rps": %.1f, "p50_ms": %.2f, "p99_ms": %.2f, "errors": %d}'
    print('RESULT ' .. string.format(names, summary.requests,
        summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""
"""Ends each script of wrk."""

_WRK_SCRIPT = """
local requests, at = {}, 0
function init(arguments)
    local path = arguments[1]
    for line in io.lines(arguments[2]) do
        local headers, name = {["Content-Type"] = "application/json"}, nil
        local body = line:match("[^\\t]*$")
        for part in line:sub(1, #line - #body):gmatch("[^\\t]+") do
            if name then headers[name], name = part, nil else name = part end
        end
        requests[#requests + 1] = wrk.format("POST", path, headers, body)
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
"""


def run_wrk(
    url: str, route: str, bodies: Path, *, connections: int, seconds: int
) -> dict[str, float]:
    """Send the requests of a file again and again; return what wrk counted."""
    script = bodies.parent / "post.lua"
    script.write_text(_WRK_SCRIPT, encoding="utf-8")
    return run_script(script, url, route, str(bodies), connections=connections, seconds=seconds)


def run_script(
    script: Path, url: str, *arguments: str, connections: int, seconds: int
) -> dict[str, float]:
    """Let wrk send what a script makes of some arguments; return what wrk counted."""
    telling = script.with_suffix(".telling.lua")
    telling.write_text(script.read_text(encoding="utf-8") + _TELL, encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(telling), url, "--", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\{.*\})", output)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    result: dict[str, float] = json.loads(found[1])
    return result


def create_filter(release: Release, config: ServingConfig) -> float:
    """Name a filter that keeps about a hundredth of the items; return the share that it keeps."""
    table = open_item_table(release.file(ITEM_TABLE))
    counts = [
        (abs(row["counts"] / len(table) - _KEPT_SHARE), column, row["values"], row["counts"])
        for column in table.column_names
        if pa.types.is_string(table.schema.field(column).type)
        and column not in ("item_id", "title")
        for row in table.column(column).value_counts().to_pylist()
        if row["values"] and "|" not in row["values"]
    ]
    _, column, value, count = min(counts)
    expression = f'INCLUDE ItemID WHERE Items.{column.upper()} IN ("{value}")'
    _raysys(config, "filter", "create", _FILTER, expression)
    return float(round(count / len(table), 4))


def create_key(config: ServingConfig) -> dict[str, str]:
    """Make a signing key, as an operator does."""
    os.environ["RAYSYS_MASTER_KEY"] = base64.b64encode(os.urandom(32)).decode()
    key: dict[str, str] = _raysys(config, "keys", "create", "--scopes", "read")
    return key


def _raysys(config: ServingConfig, *command: str) -> Any:
    arguments = [*command, "--database", config.database, "--json"]
    output = subprocess.run(
        [sys.executable, "-m", "raysys", *arguments], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def write_requests(
    release: Release, directory: Path, url: str, key: dict[str, str], count: int = 20_000
) -> dict[str, Path]:
    """Write the requests of each kind, one a line: headers and body. Users follow a Zipf law."""
    members = _members(release, count)
    plain = [json.dumps(each) for each in members]
    lines = {
        "plain": plain,
        "filtered": [json.dumps({**each, "filterArn": _FILTER}) for each in members],
        "signed": [_signed(f"{url}{RECOMMENDATIONS}", body, key) + body for body in plain],
    }
    paths = {name: directory / f"{name}.txt" for name in lines}
    for name, path in paths.items():
        path.write_text("\n".join(lines[name]) + "\n", encoding="utf-8")
    return paths


def write_bodies(release: Release, directory: Path, count: int = 20_000) -> Path:
    """Write the plain requests alone: bodies, one a line."""
    path = directory / "bodies.txt"
    lines = [json.dumps(each) for each in _members(release, count)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _members(release: Release, count: int) -> list[dict[str, Any]]:
    user_ids = Histories.open(release.file(HISTORIES)).user_ids.to_pylist()
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, len(user_ids) + 1)
    drawn = rng.choice(rng.permutation(user_ids), count, p=share / share.sum())
    return [{"userId": str(user), "numResults": LIST_LENGTH} for user in drawn]


def _signed(url: str, body: str, key: dict[str, str]) -> str:
    """Return the headers of a signature, each name and value with a tab behind it."""
    request = AWSRequest("POST", url, data=body)
    credentials = Credentials(key["key_id"], key["secret"])
    SigV4Auth(credentials, "personalize", _REGION).add_auth(request)
    names = ("Authorization", "X-Amz-Date")
    return "".join(f"{name}\t{request.headers[name]}\t" for name in names)
