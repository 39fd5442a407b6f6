<?php
// phpredis: types, pipelines, transactions, blocking pops, scans, streams, sessions of PHP; in a cluster RedisCluster.
// Usage: php php_redis.php node|cluster PORT...; "ok" as the last line when all is well.

function same($got, $expected, string $what): void
{
    if ($got !== $expected) {
        fwrite(STDERR, "$what: " . var_export($got, true) . ' is not ' . var_export($expected, true) . "\n");
        exit(1);
    }
}

$ports = array_slice($argv, 2);
if ($argv[1] === 'cluster') {
    $client = new RedisCluster(null, array_map(fn($port) => "127.0.0.1:$port", $ports), 5, 5);
} else {
    $client = new Redis();
    $client->connect('127.0.0.1', (int) $ports[0], 5);
}
$client->del('php:text', 'php:hash', 'php:zset', 'php:list', 'php:set', 'php:stream');
same($client->set('php:text', 'value', ['EX' => 100]), true, 'set');
same($client->get('php:text'), 'value', 'get');
same($client->ttl('php:text') > 90, true, 'ttl');
same($client->hMSet('php:hash', ['a' => '1', 'b' => '2']), true, 'hmset');
same($client->hGetAll('php:hash'), ['a' => '1', 'b' => '2'], 'hgetall');
same($client->zAdd('php:zset', 1, 'one', 2.5, 'two'), 2, 'zadd');
same($client->zRange('php:zset', 0, -1, true), ['one' => 1.0, 'two' => 2.5], 'zrange');
same($client->rPush('php:list', 'a', 'b'), 2, 'rpush');
same($client->blPop(['php:list'], 1), ['php:list', 'a'], 'blpop');
same($client->sAdd('php:set', 'x', 'y'), 2, 'sadd');
same($client->multi()->incr('php:n')->incr('php:n')->exec(), [1, 2], 'multi');
$id = $client->xAdd('php:stream', '*', ['k' => 'v']);
same($client->xGroup('CREATE', 'php:stream', 'group', '0'), true, 'xgroup');
same($client->xReadGroup('group', 'me', ['php:stream' => '>'], 10), ['php:stream' => [$id => ['k' => 'v']]], 'xreadgroup');
same($client->xAck('php:stream', 'group', [$id]), 1, 'xack');
for ($i = 0; $i < 500; $i++) {
    $client->set("php:many:$i", $i);
}
$found = [];
$nodes = $client instanceof RedisCluster ? $client->_masters() : [null];
foreach ($nodes as $node) {
    $cursor = null;
    do {
        $keys = $node === null ? $client->scan($cursor, 'php:many:*', 100) : $client->scan($cursor, $node, 'php:many:*', 100);
        $found = array_merge($found, $keys ?: []);
    } while ($cursor > 0);
}
same(count(array_unique($found)), 500, 'scan');
if ($client instanceof Redis) {
    $replies = $client->pipeline()->set('php:a', 1)->get('php:a')->incr('php:a')->exec();
    same($replies, [true, '1', 2], 'pipeline');
    $client->watch('php:a');
    $other = new Redis();
    $other->connect('127.0.0.1', (int) $ports[0], 5);
    $other->incr('php:a');
    same($client->multi()->get('php:a')->exec(), false, 'watch');
    ini_set('session.save_handler', 'redis');
    ini_set('session.save_path', "tcp://127.0.0.1:{$ports[0]}?prefix=php:session:");
    ini_set('session.use_cookies', '0');
    ini_set('session.cache_limiter', '');
    session_id('abc');
    session_start();
    $_SESSION['user'] = 7;
    session_write_close();
    same(str_contains($client->get('php:session:abc'), 'user|i:7'), true, 'session');
}
echo "ok\n";
