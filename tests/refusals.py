"""How tests read what a call refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from squeezebench.base.errors import InputError


def refusal_of(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    """The line that says what is wrong with the arguments of a call."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **more)
    line = str(caught.value)
    assert "\n" not in line
    return line
