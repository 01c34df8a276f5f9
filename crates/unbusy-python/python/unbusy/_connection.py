"""Connections of redis-py, or of its fork valkey-py, that lead through an engine."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakValueDictionary

from unbusy._engines import Settings, Tls

MAX_WAIT = 120.0
OPTIONS = ("max_wait", "hold", "on_busy", "on_free")

# What redis-py's TLS can do and the engine's cannot, as its attributes are called.
_ONLY_OPENSSL = (
    "ca_path",
    "ca_data",
    "certificate_password",
    "min_version",
    "ssl_min_version",
    "ssl_ciphers",
    "ssl_validate_ocsp",
    "ssl_validate_ocsp_stapled",
)


class Options:
    """What a connection is told in addition to redis-py's own arguments."""

    def __init__(
        self,
        max_wait: float | str | None = None,
        hold: str | Iterable[str] = "busy",
        on_busy: Callable[[], object] | None = None,
        on_free: Callable[[], object] | None = None,
    ) -> None:
        self.max_wait = MAX_WAIT if max_wait is None else float(max_wait)
        names = hold.split(",") if isinstance(hold, str) else hold
        self.hold = tuple(name.strip() for name in names)
        self.on_busy, self.on_free = on_busy, on_free

    @classmethod
    def out_of(cls, kwargs: dict[str, Any]) -> Options:
        """Takes them away from the arguments of a connection."""
        return cls(**{name: kwargs.pop(name) for name in OPTIONS if name in kwargs})


def settings_of(connection: Any, options: Options) -> Settings:
    """The settings of the engine for a connection."""
    username, password = _login(connection)
    return Settings(
        host=str(getattr(connection, "host", "")),
        port=int(getattr(connection, "port", 0)),
        path=getattr(connection, "path", None) or None,
        username=username,
        password=password,
        tls=_tls(connection),
        connect_timeout=getattr(connection, "socket_connect_timeout", None),
        max_wait=options.max_wait,
        hold=options.hold,
        on_busy=options.on_busy,
        on_free=options.on_free,
    )


def _login(connection: Any) -> tuple[str | None, str | None]:
    """For reading the server's threshold only. A provider that would have to ask somebody is not asked."""
    provider = connection.credential_provider
    if _is_a(provider, "UsernamePasswordCredentialProvider"):
        *username, password = provider.get_credentials()
    elif provider is None:
        username, password = [connection.username], connection.password
    else:
        return None, None
    return (_text(username[0]) if username else None), _text(password)


def _is_a(thing: Any, name: str) -> bool:
    """Whether it is of the class of this name, of whichever library: that is not imported for the sake of the question."""
    return any(kind.__name__ == name for kind in type(thing).__mro__)


def _text(word: Any) -> str | None:
    if isinstance(word, bytes):
        return word.decode()
    return str(word) if word else None


def _tls(connection: Any) -> Tls | None:
    if not _is_a(connection, "SSLConnection"):
        return None
    # The asynchronous one keeps them in an object of their own.
    context = getattr(connection, "ssl_context", connection)
    wrong = [name for name in _ONLY_OPENSSL if getattr(context, name, None)]
    if context is not connection and getattr(context, "password", None):
        wrong.append("ssl_password")
    if wrong:
        raise ValueError(
            f"unbusy's TLS knows no {', '.join(wrong)}: leave that out, or use redis-py's own connection"
        )
    if context.cert_reqs != ssl.CERT_REQUIRED:
        raise ValueError(
            "unbusy always checks the server's certificate; ssl_ca_certs names the authorities to trust"
        )
    return Tls(ca=context.ca_certs, cert=context.certfile, key=context.keyfile)


def taken(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Takes from a client's arguments what its connections are told in addition; one of these has an older name."""
    if "lua_retry_time" in kwargs:
        warnings.warn("lua_retry_time is now called max_wait", DeprecationWarning, stacklevel=3)
        kwargs.setdefault("max_wait", kwargs.pop("lua_retry_time"))
    return {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}


class Variants:
    """Gives for a connection class of a library the one that waits."""

    def __init__(self, held: type[Any], *variants: type[Any]) -> None:
        self._held = held
        # The first base of each is the one that waits, the second the library's. A class that others make, as kombu does
        # for each channel, is not kept alive.
        known: dict[Any, type[Any]] = {variant.__bases__[1]: variant for variant in variants}
        self._known = WeakValueDictionary(known)
        self._connects = {plain._connect for plain in known}

    def __call__(self, plain: type[Any]) -> type[Any]:
        # One that connects in a way of its own (to a fake server, say) has to stay what it is.
        if issubclass(plain, self._held) or plain._connect not in self._connects:
            return plain
        known: type[Any] | None = self._known.get(plain)
        if known is None:
            known = type(plain.__name__, (self._held, plain), {"__module__": plain.__module__})
            self._known[plain] = known
        return known
