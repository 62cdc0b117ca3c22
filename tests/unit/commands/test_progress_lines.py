"""Without a terminal, progress is a few lines that a job's log can hold."""

from raysys.commands.progress_lines import ProgressLines


class Log:
    """Collects lines; its clock stands still unless it is moved."""

    def __init__(self, label: str) -> None:
        self.lines: list[str] = []
        self.seconds = 0.0
        self.progress = ProgressLines(label, self.lines.append, now=lambda: self.seconds)

    def at(self, seconds: float, done: float, total: float | None = None, note: str = "") -> None:
        self.seconds = seconds
        self.progress.advance(done, total, note)


def test_what_is_new_is_a_line_with_how_much_is_done_and_how_long_it_took() -> None:
    log = Log("training")
    log.at(0, 0, 10, "workers start")
    log.at(12.4, 1, 10, "loss 5.1")
    assert log.lines == [
        "  training: 0 of 10, workers start (0 s)",
        "  training: 1 of 10, loss 5.1 (12 s)",
    ]


def test_news_that_come_fast_are_told_once_a_second() -> None:
    log = Log("training")
    for tenth in range(25):
        log.at(tenth / 10, tenth, 25, f"loss {tenth}")
    assert [line.split(",")[0] for line in log.lines] == [
        "  training: 0 of 25",
        "  training: 10 of 25",
        "  training: 20 of 25",
    ]


def test_what_only_counts_up_is_told_every_quarter_of_a_minute() -> None:
    log = Log("rows")
    for second in range(40):
        log.at(second, 1000 * second)
    assert log.lines == ["  rows: 0 (0 s)", "  rows: 15,000 (15 s)", "  rows: 30,000 (30 s)"]


def test_the_end_is_told_once_even_if_it_came_fast() -> None:
    log = Log("rows")
    log.at(0, 0, 2)
    log.at(0.1, 2, 2)
    log.progress.end()
    log.progress.end()
    assert log.lines == ["  rows: 0 of 2 (0 s)", "  rows: 2 of 2 (0 s)"]


def test_nothing_that_happened_is_no_line() -> None:
    log = Log("rows")
    log.progress.end()
    assert log.lines == []
