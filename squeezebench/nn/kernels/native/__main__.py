"""``python -m squeezebench.nn.kernels.native`` builds the kernel."""

from squeezebench.base.errors import InputError
from squeezebench.nn.kernels.native import build

if __name__ == "__main__":
    try:
        print(build())
    except InputError as error:
        raise SystemExit(str(error)) from None
