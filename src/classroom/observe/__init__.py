"""Seeing what services do: spans of every process, gathered; a trace's waterfall, and a message's timeline.

from classroom.observe import observe

seen = await observe()              # services started from now on send their spans
await client.send("quote", {...})
await seen.complete()               # what is under way has ended
seen.waterfall()                    # the last trace, or of a trace's or a message's id
seen.timeline()                     # all messages; one: seen.timeline("its id")
"""

from classroom.observe.observed import Observed, observe, timeline

__all__ = ["Observed", "observe", "timeline"]
