from collections.abc import Callable

from connector.formats.post.avro_steps import Program

def writer(program: Program, /) -> Callable[[bytes], bytes | None]: ...
