"""What TensorFlow says on a machine without a GPU each time it is loaded, unsaid.

It writes these lines from C++ before any setting of its own can hold it back. All that
is not on the short list below is passed on.
"""

import contextlib
import faulthandler
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I0000 .*(cudart_stub|cpu_feature_guard|port)\.cc:"
    rb"|To enable the following instructions:"
)


def begin() -> None:
    """Load TensorFlow quietly from now on, unless ``TF_CPP_MIN_LOG_LEVEL`` asks."""
    if os.environ.setdefault(LEVEL, "3") not in ("0", "1"):
        sys.meta_path.insert(0, _Quietly())


class _Quietly:
    """A finder that wraps the loading of TensorFlow, however often it is looked up."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def quietly(module: ModuleType) -> None:
            with sifted():
                execute(module)

        spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def sifted() -> Iterator[None]:
    """Keep what is written to stderr within, and pass on all of it but the noise.

    A crash of the process within is told by ``faulthandler`` on the real stderr.
    """
    sys.stderr.flush()
    real = os.dup(2)
    told = faulthandler.is_enabled()
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        if not told:
            faulthandler.enable(real)
        try:
            yield
        finally:
            sys.stderr.flush()
            if not told:
                faulthandler.disable()
            os.dup2(real, 2)
            os.close(real)
            heard.seek(0)
            for line in heard:
                if not NOISE.match(line):
                    os.write(2, line)
