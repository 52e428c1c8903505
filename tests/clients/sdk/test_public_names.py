"""The names that other people import from the library are sorted, and each is there."""

import clients.sdk


def test_public_names() -> None:
    names = clients.sdk.__all__
    assert names == sorted(names)
    assert [name for name in names if not hasattr(clients.sdk, name)] == []
    assert {"AsyncClient", "Client", "ClientError", "question"} <= set(names)
