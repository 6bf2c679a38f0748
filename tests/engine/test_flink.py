"""A job manager that answers with something else is one that does not answer."""

import http.server
import threading

import pytest

from pipelines.engine.flink import Master
from pipelines.errors import LatentlakeError


@pytest.fixture(params=["<html>no Flink</html>", ""])
def address(request):
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if not request.param:  # it hangs up in the middle
                self.wfile.write(b"nonsense\r\n\r\n")
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(request.param.encode())

        def log_message(self, *given):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_answer_that_is_none_is_an_error_of_ours(address):
    with pytest.raises(LatentlakeError, match=rf"engine.master .*{address}.*does not"):
        Master(address).slots()
