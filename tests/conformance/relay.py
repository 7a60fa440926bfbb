"""The fixture as a child with standard streams: copies them from and to `fixture.py SOCKET`, and ends when it does.

Usage: python -I -S relay.py SOCKET
"""

import os
import socket
import sys
import threading

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])


def inwards() -> None:
    while data := os.read(0, 65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


threading.Thread(target=inwards, daemon=True).start()
while data := connection.recv(65536):
    while data:
        data = data[os.write(1, data):]
