# redis-rb: types, pipelines, transactions, blocking pops, scans, streams, pub/sub; in a cluster its own routing.
# Usage: ruby ruby_redis.rb node|cluster PORT...; "ok" as the last line when all is well.
require 'redis'
require 'timeout'

def same(got, expected, what)
  abort "#{what}: #{got.inspect} is not #{expected.inspect}" unless got == expected
end

mode, *ports = ARGV
open = lambda do
  if mode == 'cluster'
    Redis.new(cluster: ports.map { |port| "redis://127.0.0.1:#{port}" }, timeout: 5)
  else
    Redis.new(port: ports[0].to_i, timeout: 5)
  end
end

Timeout.timeout(20) do
  client = open.call
  same client.set('rb:text', 'value', ex: 100), 'OK', 'set'
  same client.get('rb:text'), 'value', 'get'
  same client.ttl('rb:text') > 90, true, 'ttl'
  client.mapped_hmset('rb:hash', 'a' => '1', 'b' => '2')
  same client.hgetall('rb:hash'), { 'a' => '1', 'b' => '2' }, 'hgetall'
  same client.zadd('rb:zset', [[1, 'one'], [2.5, 'two']]), 2, 'zadd'
  same client.zrange('rb:zset', 0, -1, with_scores: true), [['one', 1.0], ['two', 2.5]], 'zrange'
  same client.sadd('rb:set', %w[x y]), 2, 'sadd'
  client.rpush('rb:list', %w[a b])
  same client.blpop('rb:list', timeout: 1), ['rb:list', 'a'], 'blpop'
  same client.pipelined { |p| p.set('{rb}a', 1); p.incr('{rb}a') }, ['OK', 2], 'pipelined'
  same client.multi { |t| t.incr('{rb}n'); t.incr('{rb}n') }, [1, 2], 'multi'
  id = client.xadd('rb:stream', { k: 'v' })
  client.xgroup(:create, 'rb:stream', 'group', '0')
  same client.xreadgroup('group', 'me', 'rb:stream', '>'), { 'rb:stream' => [[id, { 'k' => 'v' }]] }, 'xreadgroup'
  same client.xack('rb:stream', 'group', id), 1, 'xack'
  300.times { |i| client.set("rb:many:#{i}", i) }
  300.times { |i| same client.get("rb:many:#{i}"), i.to_s, 'get of many' }
  if mode == 'node'
    same client.scan_each(match: 'rb:many:*').to_a.uniq.size, 300, 'scan'
    heard = Queue.new
    listener = Thread.new do
      open.call.subscribe_with_timeout(10, 'rb:news') do |on|
        on.subscribe { |*| heard << :ready }
        on.message { |_, message| heard << message }
      end
    end
    same heard.pop, :ready, 'subscribe'
    client.publish('rb:news', 'hello')
    same heard.pop, 'hello', 'message'
    listener.kill
  end
end
puts 'ok'
