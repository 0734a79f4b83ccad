"""HTTP over the connections of the host."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import _context, errors

if TYPE_CHECKING:
    from ._host import Host, Response


def fetch(host: "Host", url: str, method: str, headers: dict[str, str], body: bytes) -> "Response":
    from ._host import MAX_FETCH, Response

    u = urlsplit(url)
    if u.scheme not in ("http", "https") or not u.hostname:
        raise errors.InvalidConfig(f"fetch {url!r}: not a URL with http or https")
    if len(body) > MAX_FETCH:
        raise errors.Unsupported(f"fetch {url}: a body of {len(body)} bytes is larger than {MAX_FETCH}")
    name = f"[{u.hostname}]" if ":" in u.hostname else u.hostname
    port = u.port or (443 if u.scheme == "https" else 80)
    conn = http.client.HTTPConnection(u.hostname, port, timeout=_context.context().remaining() or 60.0)
    sock = host.dial("tcp", f"{name}:{port}")
    try:
        if u.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=u.hostname)
        conn.sock = sock
        path = (u.path or "/") + (f"?{u.query}" if u.query else "")
        conn.request(method, path, body=body or None, headers={"Connection": "close", **headers})
        answer = conn.getresponse()
        data = answer.read(MAX_FETCH + 1)
    except TimeoutError as e:
        raise errors.Temporary(f"fetch {url}: {e or 'no answer in time'}") from e
    except (OSError, http.client.HTTPException) as e:
        raise errors.Temporary(f"fetch {url}: {type(e).__name__}: {e}") from e
    finally:
        conn.close()
        sock.close()
    if len(data) > MAX_FETCH:
        raise errors.Downstream(f"fetch {url}: the answer is larger than {MAX_FETCH} bytes")
    out: dict[str, list[str]] = {}
    for key, value in answer.getheaders():
        out.setdefault(key.lower(), []).append(value)
    return Response(answer.status, out, data)
