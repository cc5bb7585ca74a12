"""Loading TensorFlow without its greetings on standard error."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def native_messages_held() -> Iterator[None]:
    """Hold back what native code writes to standard error; if an exception leaves, write it after all.

    TensorFlow 2.21 greets on import before it has read TF_CPP_MIN_LOG_LEVEL, so the descriptor itself has to
    be turned aside. For the whole process: other threads' messages are held back too.
    """
    with tempfile.TemporaryFile() as held:
        standard_error = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(standard_error, held.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
