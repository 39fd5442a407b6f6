// connect-redis: sessions of an express application, over HTTP cookies: made, read again, touched, expired, destroyed.
'use strict';

const assert = require('assert');
const { RedisStore } = require('connect-redis');
const session = require('express-session');
const { createClient, createCluster } = require('redis');
const { run, waitFor } = require('./common');

const call = (store, method, ...words) => new Promise((resolve, reject) => {
  store[method](...words, (error, value) => (error ? reject(error) : resolve(value)));
});

run(async ({ isCluster, ports }) => {
  const client = isCluster
    ? createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) })
    : createClient({ url: `redis://127.0.0.1:${ports[0]}` });
  await client.connect();
  const store = new RedisStore({ client, prefix: 'app:', ttl: 100 });
  const cookie = new session.Cookie({ maxAge: 50000 });
  for (let i = 0; i < 50; i++) await call(store, 'set', `s${i}`, { cookie, user: i });
  assert.strictEqual((await call(store, 'get', 's7')).user, 7);
  assert(!(await call(store, 'get', 'none')));
  const left = await client.ttl('app:s7');
  assert(left > 40 && left <= 50, `${left} seconds left`);
  await call(store, 'touch', 's7', { cookie: new session.Cookie({ maxAge: 90000 }) });
  assert((await client.ttl('app:s7')) > 80);
  await call(store, 'destroy', 's7');
  assert(!(await call(store, 'get', 's7')));
  await call(store, 'set', 'short', { cookie: new session.Cookie({ maxAge: 1000 }), user: 1 });
  let isGone = false;
  const watch = setInterval(async () => { isGone = !(await call(store, 'get', 'short')); }, 100);
  await waitFor(() => isGone, 'the session has expired');
  clearInterval(watch);
  if (!isCluster) { // Its SCAN asks one node.
    assert.strictEqual((await call(store, 'ids')).length, 49);
    assert.strictEqual((await call(store, 'all')).length, 49);
    assert.strictEqual(await call(store, 'length'), 49);
    await call(store, 'clear');
    assert.strictEqual(await call(store, 'length'), 0);
  }
});
