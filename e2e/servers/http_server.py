"""What the small HTTP servers of the tests have in common: a port of loopback, a thread each request, an end."""

import contextlib
import http.server
import socket
import threading


class HttpServer:
    """Every request goes to `serve`, on a thread of its own."""

    def __init__(self, tls=None):
        """`tls`: the context of a server that speaks TLS."""
        self.refusing = False  # connections are closed at once
        self.lock = threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, *_):
                pass

            def serve(self):
                owner.serve(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Clients are killed in the midst of their requests."""

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            # Hands are shaken on the thread of each connection.
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"

    def serve(self, handler):
        """Takes one request."""
        raise NotImplementedError


def body_of(handler):
    """What came with a request."""
    return handler.rfile.read(int(handler.headers.get("content-length", 0)))


def answer(handler, status, headers, content):
    with contextlib.suppress(OSError):
        handler.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                # Of what is asked for by HEAD there is a length and no content.
                length = value if handler.command == "HEAD" else length
            else:
                handler.send_header(name, value)
        if status != 204:
            handler.send_header("content-length", length)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


def hang_up(handler):
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running(served):
    """The server answers while the block runs."""
    thread = threading.Thread(target=served.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
