"""The smallest picture and sound that the suite's fixtures can be made of, computed here."""

import base64
import io
import struct
import wave
import zlib


def picture() -> str:
    """One red pixel as PNG, in base64."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), chunk(b"IDAT", pixel), chunk(b"IEND", b"")]
    return base64.b64encode(b"".join(parts)).decode()


def sound() -> str:
    """One sample of silence as WAV, in base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8000)
        wav.writeframes(b"\0\0")
    return base64.b64encode(file.getvalue()).decode()


PICTURE, SOUND = picture(), sound()
