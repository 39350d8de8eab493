"""Views: panels, browsers and pictures that are alive in a notebook, and say the same as text everywhere else.

from classroom import dead_letter_browser, panel, predict, timeline
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from classroom.brokers import Broker
    from classroom.events import Event
    from classroom.observe import Observed
    from classroom.service_handle import ServiceHandle
    from classroom.views.contents import StartPage
    from classroom.views.view import View

__all__ = ["dead_letter_browser", "panel", "start_page", "timeline"]


def panel(subject: ServiceHandle | Broker, *queues: str) -> View:
    """A panel for a service (its state, its log) or a broker (what waits in it), with buttons that break and mend it.

    `queues`: of RabbitMQ's, which it does not list, some more than those of the notebook's services.
    Raises TypeError for anything else.
    """
    from classroom.brokers import Broker
    from classroom.service_handle import ServiceHandle
    from classroom.views.broker_panel import BrokerPanel
    from classroom.views.service_panel import ServicePanel

    if isinstance(subject, ServiceHandle):
        return ServicePanel(subject)
    if isinstance(subject, Broker):
        return BrokerPanel(subject, queues)
    raise TypeError(f"a panel is for a service or a broker, not for a {type(subject).__name__}: panel(payments)")


def dead_letter_browser(broker: Broker, queue: str) -> View:
    """The letters of a dead-letter queue: why each is there, what it says; repair, requeue one or all, drop."""
    from classroom.views.letter_browser import LetterBrowser

    return LetterBrowser(broker, queue)


def timeline(seen: Observed | Iterable[Event], message: str | None = None) -> View:
    """What happened to the messages, drawn: choose one, or click it, and follow its life.

    `seen` is what `await observe()` gave, or events, such as the life of one message that a check shows.
    """
    from classroom.views.message_timeline import Timeline

    return Timeline(seen, message)


def start_page() -> StartPage:
    """The lessons and labs of this course, and what you have done of them. It is the same list as text."""
    from classroom.views.contents import StartPage

    return StartPage()
