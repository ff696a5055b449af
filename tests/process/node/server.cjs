// A WebSocket server on npm's `ws`, for client.cjs and python/ws_client.py. It prints its port. What it does is
// described in python/ws_server.py.

const http = require("node:http");
const { WebSocketServer } = require("ws");

// The code and reason that each client, by its id, has closed with.
const closed = new Map();

const server = http.createServer((request, response) => {
  response.writeHead(426, { "Content-Type": "text/plain", Upgrade: "websocket" });
  response.end("speak WebSocket\n");
});

const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: true,
  maxPayload: 4 << 20,
  handleProtocols: (offered) => ["chat.v2", "chat.v1"].find((protocol) => offered.has(protocol)) ?? false,
});

server.on("upgrade", (request, socket, head) => {
  if (request.url === "/refuse") {
    socket.end(
      "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\n" +
        "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nwho are you?\n",
    );
    return;
  }
  sockets.handleUpgrade(request, socket, head, (connection) => sockets.emit("connection", connection, request));
});

function obey(connection, order) {
  const [word, ...rest] = order.split(" ");
  if (word === "/ping") {
    connection.once("pong", (payload) => {
      connection.send(payload.toString() === "are you there" ? "the pong has come" : "another pong has come");
    });
    connection.ping("are you there");
  } else if (word === "/fragments") {
    connection.send("one ", { fin: false });
    connection.send("two ", { fin: false });
    connection.send("three", { fin: true });
  } else if (word === "/close") {
    connection.close(Number(rest[0]), rest.slice(1).join(" "));
  } else if (word === "/open") {
    connection.send(String(sockets.clients.size));
  } else if (word === "/closed") {
    connection.send(closed.get(rest[0]) ?? "not yet");
  }
}

sockets.on("connection", (connection, request) => {
  connection.on("error", () => {});
  connection.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (text.startsWith("/")) {
      obey(connection, text);
    } else {
      connection.send(data, { binary: isBinary });
    }
  });
  connection.on("close", (code, reason) => {
    const id = new URL(request.url, "http://a.test").searchParams.get("id");
    if (id) closed.set(id, `${code} ${reason}`);
  });
});

server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => console.log(`port ${server.address().port}`));
