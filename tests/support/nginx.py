"""A real nginx of Debian's in front of a gateway: that of PATH, or one that is only unpacked."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from debian import debian_program
from gateway_process import eventually, free_port
from helm import Object

PREFIX = "nginx.ingress.kubernetes.io/"
_DIRECTIVES = {
    "proxy-read-timeout": "proxy_read_timeout {}s",
    "proxy-send-timeout": "proxy_send_timeout {}s",
    "proxy-buffering": "proxy_buffering {}",
    "proxy-request-buffering": "proxy_request_buffering {}",
    "proxy-body-size": "client_max_body_size {}",
}
_CONFIG = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      {directives}
    }}
  }}
}}
"""


def directives_of(ingress: Object) -> list[str]:
    """What ingress-nginx makes of an Ingress's annotations. KeyError for one that is new here."""
    annotations: Mapping[str, str] = ingress["metadata"]["annotations"]
    return [
        _DIRECTIVES[name.removeprefix(PREFIX)].format(value)
        for name, value in annotations.items()
        if name.startswith(PREFIX)
    ]


@contextlib.contextmanager
def proxying(upstream: str, folder: Path, directives: list[str]) -> Iterator[str]:
    """The URL of an nginx that hands everything on."""
    folder.mkdir()
    port = free_port()
    lines = "\n      ".join(f"{one};" for one in directives)
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, upstream=upstream, directives=lines))
    command = [str(_nginx()), "-e", str(folder / "error.log"), "-c", str(config)]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, (folder / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    """Asked without a request, which would wait for a gateway that may share our thread."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _nginx() -> Path:
    return debian_program("nginx", "usr/sbin/nginx")
