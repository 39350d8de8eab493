"""Users, passwords and tokens in the URL: the right ones are let in; wrong ones and none are refused, and told so."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from broker_help import DEFAULT_PASSWORD, PASSWORD, TOKEN, URL_PASSWORD, USER, broker_with_users, own_broker

from postoffice import Client, ConnectError, PatternError, Service, message_pattern

SCHEMES = {"redis": "redis", "nats": "nats", "rabbitmq": "amqp", "mosquitto": "mqtt", "kafka": "kafka"}
RIGHT = f"{USER}:{URL_PASSWORD}@"
NAMED = "refused the user 'clara' or the password in the URL.*percent-encoded"
WRONG = {  # what a login in a URL is answered with
    f"{USER}:not-this-one@": NAMED,
    f"stranger:{URL_PASSWORD}@": "refused the user 'stranger' or the password",
    "": "wants a user and a password, and the URL has none",
}


@message_pattern("double")
async def double(data: str) -> int:
    return 2 * int(data)


async def refused(url: str, why: str, queue: str | None) -> None:
    """Client and service are told why, without a password; nothing of the driver's chain of errors shows one."""
    for attempt in (lambda: Client.connect(url, queue=queue), Service(double, url=url, name="doubler").start):
        with pytest.raises(ConnectError, match=why) as caught:
            await attempt()
        told = "".join(traceback.format_exception(caught.value))
        assert not [one for one in (PASSWORD, URL_PASSWORD, TOKEN, "not-this-one") if one in told]


async def answered(url: str, queue: str | None) -> None:
    async with Service(double, url=url, name="doubler"), await Client.connect(url, queue=queue) as client:
        assert await client.send("double", "21") in (42, "42")


@pytest.mark.parametrize("kind", SCHEMES)
async def test_the_right_password_opens_and_others_do_not(kind: str) -> None:
    """A password with characters that a URL must encode; another password; another user; none."""
    queue = "doubler" if kind == "rabbitmq" else None
    async with broker_with_users(kind) as place:
        await answered(f"{SCHEMES[kind]}://{RIGHT}{place}", queue)
        for login, why in WRONG.items():
            if not login and kind == "kafka":
                why = "it may want a user and a password"  # the broker only ends the connection
            await refused(f"{SCHEMES[kind]}://{login}{place}", why, queue)
        if kind == "redis":
            await answered(f"redis://:{DEFAULT_PASSWORD}@{place}", queue)
            await refused(f"redis://:not-this-one@{place}", "refused the password in the URL", queue)


def without_rights(kind: str) -> Callable[[Path], list[str]]:
    """A broker that lets USER in, and lets it subscribe to nothing but replies."""

    def configured(folder: Path) -> list[str]:
        if kind == "redis":
            return ["--user", USER, "on", f">{PASSWORD}", "~*", "resetchannels", "&nothing", "+@all"]
        rights = 'permissions: { subscribe: ["_INBOX.>"] }'
        (folder / "users.conf").write_text(
            f'authorization {{ users: [{{ user: "{USER}", password: "{PASSWORD}", {rights} }}] }}\n'
        )
        return ["-c", str(folder / "users.conf")]

    return configured


@pytest.mark.parametrize("kind", ["redis", "nats"])
async def test_a_user_who_may_not_subscribe(kind: str) -> None:
    """A service does not start in silence where it would get nothing, nor wait for what cannot come."""
    async with own_broker(kind, without_rights(kind)) as port:
        service = Service(double, url=f"{kind}://{RIGHT}127.0.0.1:{port}")
        with pytest.raises(
            PatternError, match=r"refuses a subscription: .*ermissions.*May this user subscribe there\?"
        ):
            await asyncio.wait_for(service.start(), 4)


async def test_a_token_of_nats() -> None:
    """Instead of a user; it is a secret, so it is not shown."""
    async with broker_with_users("nats", token=True) as place:
        await answered(f"nats://{TOKEN}@{place}", None)
        await refused(f"nats://not-this-one@{place}", "refused the user or token in the URL", None)
        await refused(f"nats://{place}", "wants a user and a password", None)
