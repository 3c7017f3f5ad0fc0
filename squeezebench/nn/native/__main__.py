"""``python -m squeezebench.nn.native`` builds the kernel."""

from squeezebench.errors import InputError

from . import build

if __name__ == "__main__":
    try:
        print(build())
    except InputError as error:
        raise SystemExit(str(error)) from None
