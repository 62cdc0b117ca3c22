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


def test_what_moves_on_within_a_step_is_told_every_quarter_of_a_minute() -> None:
    log = Log("training")
    log.at(0, 0, 4, "workers start")
    for second in range(10, 50):
        log.at(second, (second - 9) / 100, 4, f"loss {second}")
    assert [line.split(" (")[0] for line in log.lines] == [
        "  training: 0 of 4, workers start",
        "  training: 0 of 4, loss 15",
        "  training: 0 of 4, loss 30",
        "  training: 0 of 4, loss 45",
    ]


def test_the_time_left_counts_from_when_the_work_began() -> None:
    log = Log("training")
    log.at(0, 0, 10, "workers start")
    log.at(100, 0.5, 10, "loss 9")  # since then 1.5 took 30 s, and 8 are left
    log.at(130, 2, 10, "loss 5")
    log.at(1090, 2.5, 10, "loss 4")  # 2 took 990 s, 7.5 are left
    log.at(13_000, 9, 20, "loss 3")  # 8.5 took 12,900 s, 11 are left
    log.at(13_001, 20, 20, "loss 2")
    assert [line.split(" (")[1] for line in log.lines] == [
        "0 s)",
        "100 s)",
        "130 s, 3 min left)",
        "1090 s, 62 min left)",
        "13000 s, 4.6 h left)",
        "13001 s)",
    ]
