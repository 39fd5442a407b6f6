// Usage: node ioredis_client.js PORT...
// Drives a cluster with ioredis through its common calls and prints "ok N" with the number of keys it checked.
'use strict';

const assert = require('assert');
const Redis = require('ioredis');

const KEY_COUNT = 500;

async function main() {
  const nodes = process.argv.slice(2).map((port) => ({ host: '127.0.0.1', port: Number(port) }));
  const cluster = new Redis.Cluster(nodes, { redisOptions: { connectTimeout: 5000 }, scaleReads: 'master' });
  cluster.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  for (let i = 0; i < KEY_COUNT; i++) {
    assert.strictEqual(await cluster.set(`js:${i}`, `value-${i}`), 'OK');
  }
  for (let i = 0; i < KEY_COUNT; i++) {
    assert.strictEqual(await cluster.get(`js:${i}`), `value-${i}`);
  }
  await cluster.hset('js:hash', { a: '1', b: '2' });
  assert.deepStrictEqual(await cluster.hgetall('js:hash'), { a: '1', b: '2' });
  assert.strictEqual(await cluster.incrby('js:counter', 5), 5);
  assert.deepStrictEqual(await cluster.mget('{js}a', '{js}b'), [null, null]);
  const transaction = await cluster.multi().set('{js}a', '1').incr('{js}a').exec();
  assert.deepStrictEqual(transaction, [[null, 'OK'], [null, 2]]);
  const pipeline = cluster.pipeline();
  for (let i = 0; i < 20; i++) pipeline.get('{js}a');
  for (const [error, value] of await pipeline.exec()) {
    assert.strictEqual(error, null);
    assert.strictEqual(value, '2');
  }
  let found = 0;
  for (const node of cluster.nodes('master')) {
    let cursor = '0';
    do {
      const [next, keys] = await node.scan(cursor, 'MATCH', 'js:[0-9]*', 'COUNT', 100);
      cursor = next;
      found += keys.length;
    } while (cursor !== '0');
  }
  assert.strictEqual(found, KEY_COUNT);
  await cluster.quit();
  console.log(`ok ${found}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
