"""The user and the password in a URL, and what is said where a broker refuses them. A password is never shown."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

__all__ = ["login_of", "refusal"]


def login_of(url: str) -> tuple[str | None, str | None]:
    """The user and the password, each None where the URL has none; what is percent-encoded there is plain here."""
    parts = urlsplit(url)
    return unquote(parts.username) if parts.username else None, unquote(parts.password) if parts.password else None


def refusal(broker: str, url: str) -> str:
    """Why a broker that refused the login of this URL could not be used."""
    user, password = login_of(url)
    scheme, place = urlsplit(url).scheme, urlsplit(url).netloc.rpartition("@")[2]
    if user is None and password is None:
        what, step = "wants a user and a password, and the URL has none", f"Write {scheme}://user:password@{place}"
    else:
        named = f"the user {user!r} or the password" if user is not None and password is not None else "the password"
        what = f"refused {named if password is not None else 'the user or token'} in the URL"
        step = "Compare them with the broker's; special characters are percent-encoded in a URL (/ is %2F)"
    return f"the {broker} broker at {place} {what}. Nothing was sent. {step}."
