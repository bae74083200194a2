"""An inference engine on loopback that does whatever a test tells it, also wrongly."""

import json
import socket
import socketserver
import threading
import time

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Engine:
    """Plays `behaviour(engine, sock)` for each completion it is asked for.

    Attributes:
        url: Its base URL.
        asked: The bodies of the requests, in order.
        left: Set once the other side hung up before an answer was over.
    """

    def __init__(self):
        self.behaviour = None
        self.asked = []
        self.left = threading.Event()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *failure):
        self._server.shutdown()
        self._server.server_close()

    def play(self, behaviour):
        """Set the behaviour and forget what came before."""
        self.behaviour = behaviour
        self.asked.clear()
        self.left.clear()

    def _handler(engine):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                path = self.rfile.readline().split(b" ")[1]
                length = 0
                while (line := self.rfile.readline().lower()).strip():
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                body = self.rfile.read(length)
                if path.endswith(b"/models"):
                    self.wfile.write(models())
                    return
                engine.asked.append(json.loads(body))
                try:
                    engine.behaviour(engine, self.connection)
                except OSError:
                    engine.left.set()

        return Handler


def models():
    body = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


def event(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(finish=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})


def says(*parts):
    """Send these bytes after the head of an event stream, then close."""

    def behave(engine, sock):
        sock.sendall(HEAD + b"".join(parts))

    return behave


def answers(raw):
    """Send exactly these bytes, then close."""

    def behave(engine, sock):
        sock.sendall(raw)

    return behave


def is_silent(*parts):
    """Send these bytes, and then nothing until the other side hangs up."""

    def behave(engine, sock):
        sock.sendall(b"".join(parts))
        while sock.recv(1024):
            pass
        engine.left.set()

    return behave


def counts(words, pause_s):
    """Say one word after the other, slowly."""

    def behave(engine, sock):
        sock.sendall(HEAD)
        for number in range(words):
            time.sleep(pause_s)
            sock.sendall(chunk(content=f"Word number {number}. "))
        sock.sendall(chunk("stop") + DONE)
        sock.shutdown(socket.SHUT_WR)

    return behave
