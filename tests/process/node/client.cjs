// A WebSocket client on npm's `ws`; the servers are server.cjs and python/ws_server.py.
//
// Usage: client.cjs HOST:PORT [TUNNELS]. Each function of STEPS is a test; the first that fails ends the program. With
// a number of tunnels, that many are opened, and all of them are used while all are open.

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const WebSocket = require("ws");

const [address, tunnels] = process.argv.slice(2);
const MEBIBYTE = randomBytes(1 << 20);

async function tunnel(path = "/echo", protocols = [], options = {}) {
  const connection = new WebSocket(`ws://${address}${path}`, protocols, { handshakeTimeout: 60000, ...options });
  // Messages are kept until they are asked for: none may be missed.
  connection.received = [];
  connection.waiting = [];
  connection.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    const next = connection.waiting.shift();
    if (next) next(message);
    else connection.received.push(message);
  });
  connection.take = () =>
    new Promise((resolve) => {
      if (connection.received.length > 0) resolve(connection.received.shift());
      else connection.waiting.push(resolve);
    });
  connection.ask = (message, sending) => {
    connection.send(message, sending);
    return connection.take();
  };
  connection.finish = async () => {
    const ended = once(connection, "close");
    connection.close();
    await ended;
  };
  await once(connection, "open");
  return connection;
}

async function textAndBinary() {
  const connection = await tunnel();
  for (const message of ["hello", "", "grüße 🌊", Buffer.alloc(200, "\x00\xff"), Buffer.alloc(0)]) {
    assert.deepEqual(await connection.ask(message), message);
  }
  await connection.finish();
}

async function manyMessagesAtOnce() {
  const connection = await tunnel();
  const messages = Array.from({ length: 1000 }, (_, number) => `message ${number} `.repeat(number % 50));
  for (const message of messages) connection.send(message);
  for (const message of messages) assert.equal(await connection.take(), message);
  await connection.finish();
}

async function pingsBothWays() {
  const connection = await tunnel();
  const pong = once(connection, "pong");
  connection.ping("payload");
  assert.equal((await pong)[0].toString(), "payload");
  assert.equal(await connection.ask("/ping"), "the pong has come");
  await connection.finish();
}

async function fragmentsBothWays() {
  const connection = await tunnel("/echo", [], { perMessageDeflate: false });
  for (const piece of ["one ", "two ", ""]) connection.send(Buffer.from(piece), { fin: false });
  assert.equal((await connection.ask(Buffer.from("three"), { fin: true })).toString(), "one two three");
  assert.equal(await connection.ask("/fragments"), "one two three");
  for (let at = 0; at < MEBIBYTE.length; at += 10_000) {
    connection.send(MEBIBYTE.subarray(at, at + 10_000), { fin: at + 10_000 >= MEBIBYTE.length });
  }
  assert.deepEqual(await connection.take(), MEBIBYTE);
  await connection.finish();
}

async function megabytesBothWays() {
  for (const perMessageDeflate of [false, true]) {
    const connection = await tunnel("/echo", [], { perMessageDeflate });
    for (let turn = 0; turn < 3; turn += 1) assert.deepEqual(await connection.ask(MEBIBYTE), MEBIBYTE);
    const text = "tide ".repeat(200_000);
    assert.equal(await connection.ask(text), text);
    await connection.finish();
  }
}

async function closeCodesBothWays() {
  const first = await tunnel("/echo?id=node");
  const ended = once(first, "close");
  first.close(4001, "enough");
  await ended;
  const connection = await tunnel();
  // The server notes it after the client has had its answer.
  let said = "not yet";
  for (let turn = 0; turn < 1000 && said === "not yet"; turn += 1) said = await connection.ask("/closed node");
  assert.equal(said, "4001 enough");
  const closed = once(connection, "close");
  connection.send("/close 4002 good night");
  const [code, reason] = await closed;
  assert.deepEqual([code, reason.toString()], [4002, "good night"]);
}

async function subprotocolsAndExtensions() {
  const compressed = await tunnel("/echo", ["chat.v3", "chat.v1"]);
  assert.equal(compressed.protocol, "chat.v1");
  assert.match(compressed.extensions, /permessage-deflate/);
  await compressed.finish();
  const plain = await tunnel("/echo", [], { perMessageDeflate: false });
  assert.deepEqual([plain.protocol, plain.extensions], ["", ""]);
  await plain.finish();
}

async function aRefusalIsAResponse() {
  const connection = new WebSocket(`ws://${address}/refuse`);
  const [, response] = await once(connection, "unexpected-response");
  assert.deepEqual([response.statusCode, response.headers["www-authenticate"]], [401, "Bearer"]);
  let body = "";
  for await (const piece of response) body += piece;
  assert.equal(body, "who are you?\n");
}

async function many(count) {
  const connections = [];
  while (connections.length < count) {
    const batch = Array.from({ length: Math.min(50, count - connections.length) }, () => tunnel());
    connections.push(...(await Promise.all(batch)));
  }
  for (let turn = 0; turn < 2; turn += 1) {
    const answers = await Promise.all(connections.map((connection, number) => connection.ask(`tunnel ${number}`)));
    answers.forEach((answer, number) => assert.equal(answer, `tunnel ${number}`));
  }
  const said = Number(await connections[0].ask("/open"));
  assert(said >= count, `${said} are open`);
  console.log(`all of ${count} are open`);
  await Promise.all(connections.map((connection) => connection.finish()));
}

const STEPS = [
  textAndBinary,
  manyMessagesAtOnce,
  pingsBothWays,
  fragmentsBothWays,
  megabytesBothWays,
  closeCodesBothWays,
  subprotocolsAndExtensions,
  aRefusalIsAResponse,
];

async function main() {
  if (tunnels) return many(Number(tunnels));
  for (const step of STEPS) {
    await step();
    console.log("ok", step.name);
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
