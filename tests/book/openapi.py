"""Nothing yet."""


def problems(_options) -> list[str]:
    return []
