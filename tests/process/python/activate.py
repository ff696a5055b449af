"""Starts a program with a listening socket, as a service manager does: ADDRESS PROGRAM ARGUMENTS...

The socket is there before the program, which is started when the first client has come (sd_listen_fds(3)).
"""

import os
import select
import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen(64)
print("listening", flush=True)
select.select([listener], [], [])
print("starting", flush=True)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
