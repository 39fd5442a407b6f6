// valkey-glide: types, batches, blocking, scans, pub/sub. Left out: what needs scripts.
'use strict';

const assert = require('assert');
const glide = require('@valkey/valkey-glide');
const { run, waitFor } = require('./common');

run(async ({ isCluster, ports }) => {
  const addresses = ports.map((port) => ({ host: '127.0.0.1', port }));
  const Client = isCluster ? glide.GlideClusterClient : glide.GlideClient;
  const open = (more) => Client.createClient({ addresses: isCluster ? addresses : addresses.slice(0, 1), ...more });
  const client = await open();
  assert.strictEqual(await client.set('glide:text', 'value'), 'OK');
  assert.strictEqual(await client.get('glide:text'), 'value');
  assert.strictEqual(await client.hset('glide:hash', { a: '1', b: '2' }), 2);
  assert.strictEqual((await client.hgetall('glide:hash')).length, 2);
  assert.strictEqual(await client.zadd('glide:zset', { one: 1, two: 2 }), 2);
  assert.strictEqual(await client.zscore('glide:zset', 'two'), 2);
  assert.strictEqual(await client.sadd('glide:set', ['x', 'y']), 2);
  assert.deepStrictEqual(await client.lpop('glide:none'), null);
  const id = await client.xadd('glide:stream', [['k', 'v']]);
  assert(/^\d+-\d+$/.test(id));
  await Promise.all(Array.from({ length: 1000 }, (_, i) => client.set(`glide:many:${i}`, `${i}`)));
  const keys = Array.from({ length: 1000 }, (_, i) => `glide:many:${i}`);
  assert.deepStrictEqual(await client.mget(keys), keys.map((_, i) => `${i}`));
  const Batch = isCluster ? glide.ClusterBatch : glide.Batch;
  const batch = new Batch(true).set('{glide}n', '1').incr('{glide}n').get('{glide}n');
  assert.deepStrictEqual(await client.exec(batch, true), ['OK', 2, '2']);
  const other = await open();
  const popped = other.blpop(['glide:queue'], 5);
  await client.rpush('glide:queue', ['job']);
  assert.deepStrictEqual(await popped, ['glide:queue', 'job']);
  const heard = [];
  const modes = isCluster ? glide.GlideClusterClientConfiguration.PubSubChannelModes
    : glide.GlideClientConfiguration.PubSubChannelModes;
  await open({
    pubsubSubscriptions: {
      channelsAndPatterns: { [modes.Exact]: new Set(['glide:news']) },
      callback: (message) => heard.push(message.message),
    },
  });
  await client.publish('hello', 'glide:news');
  await waitFor(() => heard.length === 1, 'the message came');
  assert.strictEqual(heard[0], 'hello');
});
