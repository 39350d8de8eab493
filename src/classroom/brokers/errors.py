"""What can go wrong with a broker.

BrokerError             something about a broker failed; the message says what to do next
├── NoBroker            nothing on this machine can serve it; the message names the one command that changes this
├── BrokerFailed        its server has ended, or does not answer; the message has the last lines of its log
├── PortTaken           another program listens on its port
├── NoDisk              it cannot have a small disk of its own here, or was started without one
└── NotOurs             it runs elsewhere (an address in the environment): it cannot be killed, paused or restarted here
"""


class BrokerError(Exception):
    """A broker does not start, has ended, or cannot do what was asked."""


class NoBroker(BrokerError):
    """No source on this machine can serve this broker."""


class BrokerFailed(BrokerError):
    """The broker's server has ended, or does not answer."""


class PortTaken(BrokerError):
    """Another program listens on the broker's port."""


class NoDisk(BrokerError):
    """There is no small disk that could be filled."""


class NotOurs(BrokerError):
    """The broker is run by someone else."""
