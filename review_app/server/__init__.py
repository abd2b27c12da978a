"""The ASGI program: door, routes, uploads, identity."""
