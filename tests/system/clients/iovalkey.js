// iovalkey: pipelines, transactions, scan streams, blocking pops, streams, pub/sub; in a cluster routing over all nodes.
'use strict';

const assert = require('assert');
const Valkey = require('iovalkey');
const { run, waitFor } = require('./common');

async function common(client) {
  const pipeline = client.pipeline();
  for (let i = 0; i < 200; i++) pipeline.set(`{iov}:${i}`, i);
  assert((await pipeline.exec()).every(([error, reply]) => error === null && reply === 'OK'));
  assert.deepStrictEqual(await client.mget('{iov}:1', '{iov}:199', '{iov}:none'), ['1', '199', null]);
  assert.deepStrictEqual(await client.multi().incr('{iov}:n').incr('{iov}:n').exec(), [[null, 1], [null, 2]]);
  await client.hset('iov:hash', 'a', 1, 'b', 2);
  assert.deepStrictEqual(await client.hgetall('iov:hash'), { a: '1', b: '2' });
  await client.zadd('iov:zset', 1, 'one', 2, 'two');
  assert.deepStrictEqual(await client.zrange('iov:zset', 0, -1, 'WITHSCORES'), ['one', '1', 'two', '2']);
  const id = await client.xadd('iov:stream', '*', 'k', 'v');
  assert.deepStrictEqual(await client.xrange('iov:stream', '-', '+'), [[id, ['k', 'v']]]);
  assert.strictEqual(await client.getBuffer('{iov}:7').then((buffer) => buffer.toString()), '7');
}

run(async ({ isCluster, ports }) => {
  const open = () => (isCluster
    ? new Valkey.Cluster(ports.map((port) => ({ host: '127.0.0.1', port })))
    : new Valkey({ host: '127.0.0.1', port: ports[0] }));
  const client = open();
  await common(client);
  const keys = [];
  for (const node of isCluster ? client.nodes('master') : [client]) {
    for await (const some of node.scanStream({ match: '{iov}:*', count: 50 })) keys.push(...some);
  }
  assert.strictEqual(new Set(keys).size, 201);
  const other = open();
  const popped = other.blpop('iov:queue', 5);
  await client.rpush('iov:queue', 'job');
  assert.deepStrictEqual(await popped, ['iov:queue', 'job']);
  const heard = [];
  const listener = open();
  listener.on('message', (channel, message) => heard.push([channel, message]));
  await listener.subscribe('iov:news');
  await client.publish('iov:news', 'hello');
  await waitFor(() => heard.length === 1, 'the message came');
  assert.deepStrictEqual(heard, [['iov:news', 'hello']]);
});
