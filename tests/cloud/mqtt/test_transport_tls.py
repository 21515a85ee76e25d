"""TLS to brokers as they are: authorities made in the old way, and port 443."""

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from gateway.cloud.mqtt.transport import connect
from gateway.cloud.mqtt.types import TlsFiles
from gateway.errors import UplinkDown


def openssl(*words: str | Path) -> None:
    subprocess.run(("openssl", *map(str, words)), check=True, capture_output=True)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority without keyUsage, and a broker's certificate that it signed."""
    folder = tmp_path_factory.mktemp("old")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", "-x509", *curve, "-days", "30", "-subj", "/CN=Old Property CA", "-keyout", folder / "ca.key"),
        *("-out", folder / "ca.pem"),
    )
    openssl("req", *curve, "-subj", "/CN=broker", "-keyout", folder / "key.pem", "-out", folder / "csr.pem")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        *("x509", "-req", "-in", folder / "csr.pem", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"),
        *("-days", "30", "-extfile", folder / "ext", "-set_serial", "7", "-out", folder / "cert.pem"),
    )
    return folder


class Server:
    """Shakes hands once, on a thread."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.protocol: str | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._context.set_alpn_protocols(["http/1.1", "mqtt"])
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        try:
            with self._context.wrap_socket(client, server_side=True) as wrapped:
                self.protocol = wrapped.selected_alpn_protocol()
        except OSError:
            client.close()

    def close(self) -> None:
        self._thread.join(5)
        self._listener.close()


def test_an_authority_without_key_usage_is_named_in_a_sentence(old: Path) -> None:
    server = Server(old)
    with pytest.raises(UplinkDown) as caught:
        connect("127.0.0.1", server.port, timeout=5, silence=10, tls=TlsFiles(old / "ca.pem", strict=True))
    server.close()
    text = str(caught.value)
    assert "key usage" in text.lower()
    assert str(old / "ca.pem") in text
    assert "keyUsage keyCertSign" in text
    assert "strict: false" in text


def test_it_is_taken_with_strict_false(old: Path) -> None:
    server = Server(old)
    connect("127.0.0.1", server.port, timeout=5, silence=10, tls=TlsFiles(old / "ca.pem", strict=False)).shut()
    server.close()
    assert server.protocol is None, "another port than 443 needs no ALPN"


def test_on_port_443_mqtt_is_asked_for(old: Path) -> None:
    try:
        server = Server(old, 443)
    except OSError:
        pytest.skip("port 443 of the loopback cannot be had")
    connect("127.0.0.1", 443, timeout=5, silence=10, tls=TlsFiles(old / "ca.pem", strict=False)).shut()
    server.close()
    assert server.protocol == "mqtt"
