"""measure.send: what it counts, what it leaves out, and what its report says."""

import asyncio
import html.parser
import math
import random
from typing import Any

import pytest

from classroom import measure, measure_load
from classroom.measure_report import Report, percentile
from classroom.supervisor import supervisor
from postoffice import Context, RpcError, Service, event_pattern, message_pattern


class Echo:
    """Counts what arrives; answers in different ways."""

    def __init__(self) -> None:
        self.calls = self.at_once = self.most_at_once = 0
        self.called = asyncio.Event()

    @message_pattern("echo")
    async def echo(self, data: Any, ctx: Context) -> Any:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return data

    @message_pattern("every third")
    async def every_third(self, data: Any, ctx: Context) -> Any:
        self.calls += 1
        if self.calls % 3 == 0:
            raise RpcError("this one is the third")
        return data

    @message_pattern("silent")
    async def silent(self, data: Any, ctx: Context) -> Any:
        self.calls += 1
        self.called.set()
        await asyncio.sleep(60)

    @event_pattern("event")
    async def event(self, data: Any, ctx: Context) -> None: ...


@pytest.fixture
async def service():
    echo = Echo()
    async with Service(echo, url="tcp://127.0.0.1:0", grace=0.1) as running:
        running.echo = echo
        yield running


async def test_counts_and_warm_up(service):
    """Exactly n + warm-up requests arrive, as many at once as asked; the warm-up is not in the figures."""
    report = await measure.send(service.url, "echo", {"é": 1}, n=300, concurrency=8, warmup=50)
    assert service.echo.calls == 350
    assert 1 < service.echo.most_at_once <= 8
    assert (report.n, report.sent, report.answered, report.warmup, report.concurrency) == (300, 300, 300, 50, 8)
    assert report.payload_bytes == len('{"é":1}'.encode())
    assert report.errors == report.unknown == {}
    assert 0 < report.p50 <= report.p95 <= report.p99 <= report.max <= report.seconds * 1000
    assert math.isclose(report.throughput, 300 / report.seconds)


async def test_one_at_a_time_is_one_at_a_time(service):
    await measure.send(service.url, "echo", n=50, concurrency=1)
    assert service.echo.most_at_once == 1


async def test_errors_are_counted_apart(service):
    """An answer that is an error is no latency."""
    report = await measure.send(service.url, "every third", n=300, warmup=0)
    assert report.errors == {"RpcError": 100}
    assert (report.answered, report.sent) == (200, 300)
    nobody = await measure.send(service.url, "nobody handles this", n=5)
    assert nobody.errors == {"NoHandlerError": 5}
    assert nobody.answered == 0
    assert math.isnan(nobody.p99)
    assert "error: NoHandlerError" in repr(nobody)
    assert "-" in nobody._repr_html_()


async def test_a_timeout_is_an_unknown_outcome(service):
    report = await measure.send(service.url, "silent", n=4, concurrency=4, warmup=0, timeout=0.1)
    assert report.unknown == {"RequestTimeout": 4}
    assert report.errors == {}
    assert service.echo.calls == 4  # the work was begun all the same
    assert "unknown outcome: RequestTimeout  4" in repr(report)


async def test_the_time_limit_is_told(service, monkeypatch: pytest.MonkeyPatch):
    """A measurement ends by itself; the report says how far it came."""
    monkeypatch.setattr(measure_load, "LIMIT", 0.3)
    job = measure_load.Job(service.url, "silent", None, n=1000, concurrency=2, warmup=0, queue=None, timeout=0.1)
    outcome = await measure_load.run(job)
    assert 2 <= outcome.unknown["RequestTimeout"] <= 10
    report = Report("echo", "tcp", 1000, 1, 0, 2, 120.0, (1.0, 2.0), {}, {"RequestTimeout": 24})
    assert "26 requests (of 1,000: the time limit came first)" in repr(report)


async def test_nobody_there_is_an_error_not_a_figure(service):
    url = service.url
    await service.stop()
    with pytest.raises(measure.MeasureError, match=r"nothing was measured\. ConnectError"):
        await measure.send(url, "echo", n=10)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"n": 0}, "n must be a whole number from 1 to 1,000,000, not 0"),
        ({"n": 1_000_001}, "not 1000001"),
        ({"n": 2.5}, "not 2.5"),
        ({"concurrency": 1025}, "from 1 to 1,024, not 1025"),
        ({"warmup": -1}, "warmup"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"data": object()}, "JSON"),
        ({"url": "pigeon://coop"}, "pigeon"),
        ({"url": "amqp://guest:guest@127.0.0.1:1/"}, "queue="),
    ],
)
async def test_wrong_arguments(service, arguments, wanted):
    with pytest.raises(measure.MeasureError) as caught:
        await measure.send(**{"url": service.url, "pattern": "echo", "data": 1, **arguments})
    assert wanted in str(caught.value)
    assert service.echo.calls == 0


async def test_an_interrupted_measurement_leaves_nothing(service, monkeypatch: pytest.MonkeyPatch):
    """Cancelled in the middle, as by the stop button: the load process and its folder are gone at once."""
    children, spawn = [], supervisor().spawn
    monkeypatch.setattr(supervisor(), "spawn", lambda *a, **k: children.append(spawn(*a, **k)) or children[-1])
    task = asyncio.create_task(measure.send(service.url, "silent", n=10, warmup=0, timeout=60))
    await asyncio.wait_for(service.echo.called.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not children[0].alive
    assert not children[0].log.parent.exists()


def test_percentiles_are_values_that_were_measured():
    """Against the definition, by counting; and the cases of a textbook."""
    assert [percentile([15, 20, 35, 40, 50], p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert percentile([7], 99.9) == 7
    assert math.isnan(percentile([], 50))
    dice = random.Random(8)
    for _ in range(200):
        values = sorted(dice.choices(range(50), k=dice.randint(1, 60)))
        p = dice.uniform(0.01, 100)
        found = percentile(values, p)
        enough = [v for v in values if sum(w <= v for w in values) >= p / 100 * len(values)]
        assert found == min(enough)
    for wrong in (0, -1, 101):
        with pytest.raises(ValueError, match="percentile"):
            percentile([1], wrong)


def report(latencies=(0.5, 1.0, 250.0)) -> Report:
    return Report("<cmd>", "tcp", 3, 1, 0, 2, 0.5, latencies, {}, {})


def test_the_table_is_html():
    """Well formed, escaped, with a caption and row headers."""
    seen: list[str] = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: seen.append(tag)
    parser.feed(report()._repr_html_())
    assert seen[:3] == ["table", "caption", "tbody"]
    assert "cmd" not in seen
    assert seen.count("th") == len(report().rows())


@pytest.mark.parametrize("latencies", [(), (1.0,), (0.5, 1.0, 250.0), tuple(range(1, 5000))])
def test_the_plot_has_alt_text_and_a_table(latencies):
    """A picture, and its twins: words, a table, plain text."""
    plot = report(latencies).plot()
    assert plot.png().startswith(b"\x89PNG")
    shown = plot._repr_html_()
    assert '<img alt="' in shown
    assert "<table" in shown
    assert plot.alt in repr(plot)
