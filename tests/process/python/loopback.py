"""Switches the loopback device on and stays: it holds the network namespace that it was started in."""

import fcntl
import signal
import socket
import struct

SIOCSIFFLAGS = 0x8914
IFF_UP = 1

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
print("up", flush=True)
signal.pause()
