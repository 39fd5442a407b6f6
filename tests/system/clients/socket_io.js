// socket.io: two servers that share rooms through an adapter of channels, of shard channels, or of a stream.
'use strict';

const assert = require('assert');
const { createServer } = require('http');
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');
const streams = require('@socket.io/redis-streams-adapter');
const { createClient, createCluster } = require('redis');
const { Server } = require('socket.io');
const { io } = require('socket.io-client');
const { run, waitFor } = require('./common');

async function serve(adapter) {
  const http = createServer();
  const server = new Server(http, { adapter });
  server.on('connection', (socket) => socket.on('join', (room, done) => { socket.join(room); done(); }));
  await new Promise((resolve) => { http.listen(0, '127.0.0.1', resolve); });
  return { server, port: http.address().port };
}

async function connect(port) {
  const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'] });
  await new Promise((resolve, reject) => { socket.on('connect', resolve); socket.on('connect_error', reject); });
  socket.heard = [];
  socket.on('news', (message) => socket.heard.push(message));
  return socket;
}

async function share(makeAdapter) {
  const sides = [await serve(await makeAdapter()), await serve(await makeAdapter())];
  const sockets = [await connect(sides[0].port), await connect(sides[1].port)];
  await new Promise((resolve) => { sockets[1].emit('join', 'room', resolve); });
  const [first] = sides;
  await waitFor(() => {
    first.server.emit('news', 'all');
    return sockets.every((socket) => socket.heard.includes('all'));
  }, 'a broadcast reaches both servers');
  await waitFor(() => {
    first.server.to('room').emit('news', 'room');
    return sockets[1].heard.includes('room');
  }, 'a room reaches the other server');
  assert(!sockets[0].heard.includes('room'));
  assert.strictEqual((await first.server.fetchSockets()).length, 2);
  sockets.forEach((socket) => socket.close());
}

run(async ({ isCluster, ports }) => {
  const open = async () => {
    const client = isCluster
      ? createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) })
      : createClient({ url: `redis://127.0.0.1:${ports[0]}` });
    await client.connect();
    return client;
  };
  if (!isCluster) await share(async () => createAdapter(await open(), await open()));
  await share(async () => createShardedAdapter(await open(), await open()));
  await share(async () => streams.createAdapter(await open()));
});
