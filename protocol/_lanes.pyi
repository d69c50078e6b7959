from collections.abc import Sequence
from typing import TypeAlias

_Octets: TypeAlias = bytes | bytearray | memoryview

def seal(jobs: Sequence[tuple[bytes, bytearray | memoryview, int]], /) -> None: ...
def open(jobs: Sequence[tuple[bytes, _Octets, bytearray | memoryview]], /) -> list[int]: ...
