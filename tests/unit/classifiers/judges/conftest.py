import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer


@pytest.fixture
async def serve():
    """Start servers on loopback: `serve(handler)` answers every POST with it."""
    servers = []

    async def start(handler):
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/{path:.*}", handler)
        server = TestServer(app)
        servers.append(server)
        await server.start_server()
        return str(server.make_url("/v1"))

    yield start
    for server in servers:
        await server.close()
