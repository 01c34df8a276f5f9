"""What pools and clients need to wait, of whichever library they are."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from unbusy._connection import Variants, taken

C = TypeVar("C", bound="HeldClient")


class HeldPool:
    """The base of a pool whose connections wait while the server is busy."""

    variants: ClassVar[Variants]
    connection_class: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_class = self.variants(self.connection_class)


class HeldClient:
    """A client whose commands wait while the server is busy.

    In addition to the arguments of the library's own it takes

    `max_wait`: for how many seconds a command waits (120), counted from its first BUSY; 0 never. Then the error is raised;
    `hold`: what is waited for: "busy", or "busy,loading";
    `on_busy`, `on_free`: called, on a thread of their own, when the server becomes busy, and when it accepts commands again.
    """

    pools: ClassVar[type[Any]]
    auto_close_connection_pool: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_plain(kwargs.get("connection_pool"))
        self._in_addition = taken(kwargs)
        super().__init__(*args, **kwargs)

    def _refuse_plain(self, pool: Any) -> None:
        """A pool that was made for plain connections may have some already, and other users."""
        if pool is not None and self.pools.variants(pool.connection_class) is not pool.connection_class:
            raise TypeError(
                "connection_pool makes plain connections; make it with unbusy.ConnectionPool, "
                "or the one of unbusy.asyncio, unbusy.valkey or unbusy.valkey.asyncio"
            )

    @property
    def connection_pool(self) -> Any:
        return self._pool

    @connection_pool.setter
    def connection_pool(self, pool: Any) -> None:
        # The library makes one if it was given none, and a connection of it at once if there is to be only one.
        pool.connection_class = self.pools.variants(pool.connection_class)
        pool.connection_kwargs.update(self._in_addition)
        self._pool = pool

    @classmethod
    def from_url(
        cls: type[C],
        url: str,
        single_connection_client: bool = False,
        auto_close_connection_pool: bool | None = None,
        **kwargs: Any,
    ) -> C:
        in_addition = taken(kwargs)
        pool = cls.pools.from_url(url, **kwargs, **in_addition)
        client = cls(connection_pool=pool, single_connection_client=single_connection_client)
        client.auto_close_connection_pool = auto_close_connection_pool is not False
        return client
