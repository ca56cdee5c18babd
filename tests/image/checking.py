"""What a check prints where it holds, and how it ends where it does not."""


class CheckFailed(Exception):
    """Something is not as it must be."""


def check(holds, what, shown=""):
    if not holds:
        raise CheckFailed(f"{what}: {shown}" if shown != "" else what)
    print(f"ok {what}{f': {shown}' if shown != '' else ''}", flush=True)
