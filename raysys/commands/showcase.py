"""What a newcomer is shown: a list, three events of another taste, and the list that follows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from rich.table import Table
from rich.text import Text

from raysys.commands.api_client import ApiClient, Reply
from raysys.commands.console import Console
from raysys.commands.released_model import ReleasedModel
from raysys.commands.taste import Catalogue, Taste
from raysys.config import DEFAULT_CAMPAIGN, ServingConfig
from raysys.errors import ServingError

_LENGTH = 10


@dataclass(frozen=True)
class Moved:
    """How one user's list moved, and how long each call took."""

    user_id: str
    before_ms: float
    events_ms: float
    after_ms: float
    num_new: int
    """Items of the second list that the first did not hold."""


def show_a_list_that_moves(
    client: ApiClient, model: ReleasedModel, tracking_id: str, console: Console
) -> Moved:
    """Ask for a user's list, send three events, ask again, and print both lists side by side."""
    catalogue = Catalogue(model.item_table(), model.items.ids.to_pylist())
    user_id, taste = _user_and_taste(model, catalogue)
    console.step(f"Ask for user {user_id}, send three events, ask again")
    ask = partial(client.recommend, user_id, num_results=_LENGTH, exploration_weight=0)
    ask()  # the first call on a connection opens it
    before = ask()
    console.say(
        f"  {taste.share_of_history:.0%} of what user {user_id} watched is "
        f"[bold]{taste.genre}[/bold]. Now they watch:",
        markup=True,
    )
    for item_id in taste.item_ids:
        console.verbatim(f"    {catalogue.title(item_id)}")
    now = datetime.now(UTC).timestamp()
    events = client.put_events(
        tracking_id,
        user_id,
        [
            {"eventType": "watch", "itemId": item_id, "sentAt": now + place - len(taste.item_ids)}
            for place, item_id in enumerate(taste.item_ids)
        ],
    )
    after = ask()
    console.say(_side_by_side(before, after, catalogue, taste))
    num_new = len(set(_item_ids(after)) - set(_item_ids(before)))
    console.say(
        f"  answered in {before.milliseconds:.1f} ms; three events stored in "
        f"{events.milliseconds:.1f} ms; answered again in {after.milliseconds:.1f} ms: "
        f"[bold]{num_new} of {_LENGTH} items are new[/bold]",
        markup=True,
    )
    if not num_new:
        raise ServingError(f"The list of user {user_id} did not move after three events.")
    return Moved(user_id, before.milliseconds, events.milliseconds, after.milliseconds, num_new)


def show_how_to_go_on(
    url: str, user_id: str, serving: ServingConfig, dashboard_url: str, console: Console
) -> None:
    """Print commands that work as they are while the demo stays up."""
    console.step("Your turn")
    console.say(f"  Ray dashboard: {dashboard_url}   OpenAPI: {url}/openapi.json")
    for line in (
        f"curl -s {url}/recommendations -H 'content-type: application/json' \\\n"
        f'    -d \'{{"userId": "{user_id}", "numResults": 5}}\'',
        f"python - <<'END'\n{_boto3_program(url, user_id, serving)}\nEND",
    ):
        console.say("")
        console.verbatim(line)


def _boto3_program(url: str, user_id: str, serving: ServingConfig) -> str:
    return f"""import boto3, time
aws = dict(endpoint_url="{url}", region_name="us-east-1",
           aws_access_key_id="any", aws_secret_access_key="any")
runtime = boto3.client("personalize-runtime", **aws)
events = boto3.client("personalize-events", **aws)
ask = dict(campaignArn="arn:aws:personalize:us-east-1:000000000000:campaign/{DEFAULT_CAMPAIGN}",
           userId="{user_id}", numResults=5)
print(runtime.get_recommendations(**ask)["itemList"])
events.put_events(trackingId="{serving.tracking_id}", userId="{user_id}", sessionId="s1",
                  eventList=[{{"eventType": "watch", "itemId": "1", "sentAt": time.time()}}])
print(runtime.get_recommendations(**ask)["itemList"])"""


def _user_and_taste(model: ReleasedModel, catalogue: Catalogue) -> tuple[str, Taste]:
    """Choose the first user, of middling history, for whom some genre is nearly untouched."""
    histories, counts = model.histories.inputs(), model.counts[1:]
    lengths = histories.lengths
    usual = abs(lengths - sorted(lengths)[len(lengths) // 2])
    for row in usual.argsort(kind="stable"):
        history = model.items.ids_of(histories.of(row)[0])
        taste = catalogue.different_taste(history, counts)
        if taste is not None:
            return histories.user_ids[int(row)].as_py(), taste
    row = int(usual.argmin())
    unseen = [i for i in model.items.ids_of(range(1, len(counts) + 1)) if i not in set(history)]
    return histories.user_ids[row].as_py(), Taste("something new", 0.0, unseen[:3])


def _item_ids(reply: Reply) -> list[str]:
    return [item["itemId"] for item in reply.body["itemList"]]


def _side_by_side(before: Reply, after: Reply, catalogue: Catalogue, taste: Taste) -> Table:
    """Return both lists as a table; what only the second holds is green."""
    table = Table(header_style="bold")
    table.add_column("#", justify="right")
    table.add_column(f"before ({before.milliseconds:.1f} ms)")
    table.add_column(f"after ({after.milliseconds:.1f} ms)")
    old = _item_ids(before)
    for place, (first, second) in enumerate(zip(old, _item_ids(after), strict=True)):
        table.add_row(
            str(place + 1),
            _cell(first, catalogue, taste, style=""),
            _cell(second, catalogue, taste, style="" if second in old else "green"),
        )
    return table


def _cell(item_id: str, catalogue: Catalogue, taste: Taste, *, style: str) -> Text:
    text = Text(catalogue.title(item_id), style=style)
    if taste.genre in catalogue.genres(item_id):
        text.append(f"  {taste.genre}", style="dim")
    return text
