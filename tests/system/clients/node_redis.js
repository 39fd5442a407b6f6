// node-redis: types, transactions, blocking, streams, pub/sub, a pool; in a cluster routing and sharded pub/sub.
// Left out: what needs scripts.
'use strict';

const assert = require('assert');
const { createClient, createCluster } = require('redis');
const { run, waitFor } = require('./common');

async function types(client) {
  assert.strictEqual(await client.set('nr:text', 'value', { EX: 100 }), 'OK');
  assert.strictEqual(await client.get('nr:text'), 'value');
  const left = await client.ttl('nr:text');
  assert(left > 90 && left <= 100);
  await client.hSet('nr:hash', { a: '1', b: '2' });
  assert.deepStrictEqual({ ...(await client.hGetAll('nr:hash')) }, { a: '1', b: '2' });
  await client.sAdd('nr:set', ['x', 'y', 'z']);
  assert.deepStrictEqual([...(await client.sMembers('nr:set'))].sort(), ['x', 'y', 'z']);
  await client.zAdd('nr:zset', [{ score: 2, value: 'b' }, { score: 1, value: 'a' }]);
  assert.deepStrictEqual((await client.zRangeWithScores('nr:zset', 0, -1)).map((one) => ({ ...one })),
    [{ value: 'a', score: 1 }, { value: 'b', score: 2 }]);
  await client.rPush('nr:list', ['1', '2', '3']);
  assert.deepStrictEqual(await client.lRange('nr:list', 0, -1), ['1', '2', '3']);
  await client.geoAdd('nr:geo', { longitude: 13.361389, latitude: 38.115556, member: 'Palermo' });
  assert.deepStrictEqual(await client.geoSearch('nr:geo', 'Palermo', { radius: 1, unit: 'km' }), ['Palermo']);
  assert.strictEqual(await client.pfAdd('nr:hll', ['a', 'b', 'c']), 1);
  assert.strictEqual(await client.pfCount('nr:hll'), 3);
  assert.strictEqual(await client.setBit('nr:bits', 7, 1), 0);
  assert.strictEqual(await client.bitCount('nr:bits'), 1);
}

async function transactions(client) {
  const replies = await client.multi().set('{nr}a', '1').incr('{nr}a').get('{nr}a').exec();
  assert.deepStrictEqual(replies, ['OK', 2, '2']);
}

async function streams(client) {
  const id = await client.xAdd('nr:stream', '*', { field: 'value' });
  await client.xGroupCreate('nr:stream', 'group', '0');
  const read = await client.xReadGroup('group', 'me', { key: 'nr:stream', id: '>' }, { COUNT: 10 });
  const messages = Array.isArray(read) ? read[0].messages : read['nr:stream'];
  assert.strictEqual(messages[0].id, id);
  assert.deepStrictEqual({ ...messages[0].message }, { field: 'value' });
  assert.strictEqual((await client.xPending('nr:stream', 'group')).pending, 1);
  assert.strictEqual(await client.xAck('nr:stream', 'group', id), 1);
}

// Many calls at once: the client pipelines them.
async function many(client) {
  await Promise.all(Array.from({ length: 1000 }, (_, i) => client.set(`nr:many:${i}`, `${i}`)));
  const values = await Promise.all(Array.from({ length: 1000 }, (_, i) => client.get(`nr:many:${i}`)));
  values.forEach((value, i) => assert.strictEqual(value, `${i}`));
}

async function onOneNode(port) {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  await types(client);
  await transactions(client);
  await streams(client);
  await many(client);
  const keys = [];
  for await (const some of client.scanIterator({ MATCH: 'nr:many:*', COUNT: 100 })) keys.push(...[].concat(some));
  assert.strictEqual(new Set(keys).size, 1000);
  const other = client.duplicate();
  await other.connect();
  const popped = other.blPop('nr:queue', 5);
  await client.rPush('nr:queue', 'job');
  assert.deepStrictEqual({ ...(await popped) }, { key: 'nr:queue', element: 'job' });
  await client.watch('nr:watched');
  await other.set('nr:watched', 'x');
  await assert.rejects(client.multi().get('nr:watched').exec(), /watch/i);
  const heard = [];
  await other.subscribe('nr:news', (message) => heard.push(message));
  await other.pSubscribe('nr:n*', (message, channel) => heard.push(`${channel} ${message}`));
  await client.publish('nr:news', 'hello');
  await waitFor(() => heard.length === 2, 'both listeners heard it');
  assert.deepStrictEqual(heard.sort(), ['hello', 'nr:news hello']);
}

async function onCluster(ports) {
  const cluster = createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) });
  await cluster.connect();
  await types(cluster);
  await transactions(cluster);
  await streams(cluster);
  await many(cluster);
  const heard = [];
  await cluster.sSubscribe('nr:shard', (message) => heard.push(message));
  await cluster.sPublish('nr:shard', 'hello');
  await waitFor(() => heard.length === 1, 'the shard channel brings it');
  await cluster.subscribe('nr:news', (message) => heard.push(message));
  await cluster.publish('nr:news', 'again');
  await waitFor(() => heard.length === 2, 'the channel brings it');
}

run(({ isCluster, ports }) => (isCluster ? onCluster(ports) : onOneNode(ports[0])));
