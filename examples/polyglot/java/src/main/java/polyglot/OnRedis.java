package polyglot;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.XAddParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.StreamEntry;

/** Redis Streams with Jedis. A partition is a stream, {topic}:0 and so on; attributes are its fields ce_name. */
final class OnRedis implements Broker {
  private final String url;

  OnRedis(String url) {
    this.url = url;
  }

  /** The server knows how many partitions a topic has, once a service of ours has declared it. */
  private static int partitions(JedisPooled client, String topic) {
    String count = client.hget("{" + topic + "}:meta", "partitions");
    if (count == null) throw new IllegalStateException("there is no topic " + topic + ": start a service of its own first");
    return Integer.parseInt(count);
  }

  @Override
  public void produce(String topic, List<Event> events, Stored stored) throws Exception {
    try (JedisPooled client = new JedisPooled(url)) {
      int partitions = partitions(client, topic);
      for (Event event : events) {
        int partition = Partition.of(event.key(), partitions);
        Map<String, String> fields = new HashMap<>();
        event.attributes().forEach((name, value) -> fields.put("ce_" + name, value));
        event.headers().forEach((name, value) -> fields.put("h_" + name, value));
        fields.put("traceparent", event.traceparent());
        fields.put("content-type", event.contentType());
        fields.put("data", event.body());
        client.xadd("{" + topic + "}:" + partition, XAddParams.xAddParams(), fields);
        stored.stored(event, partition);
      }
    }
  }

  /** With a group of its own, so that nothing is taken away from others. It holds trimming back: destroy it when it is not needed any more. */
  @Override
  public void consume(String topic, String reader, int count, Runnable ready, Handler handler) throws Exception {
    try (JedisPooled client = new JedisPooled(url)) {
      Map<String, Integer> partitionOf = new LinkedHashMap<>();
      Map<String, StreamEntryID> unread = new LinkedHashMap<>();
      int partitions = partitions(client, topic);
      for (int partition = 0; partition < partitions; partition++) {
        String stream = "{" + topic + "}:" + partition;
        partitionOf.put(stream, partition);
        unread.put(stream, StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY);
        try {
          client.xgroupCreate(stream, reader, new StreamEntryID(0, 0), true);
        } catch (JedisDataException problem) {
          if (!problem.getMessage().startsWith("BUSYGROUP")) throw problem;
        }
      }
      ready.run();
      while (count > 0) {
        XReadGroupParams reading = XReadGroupParams.xReadGroupParams().count(count).block(1000);
        List<Map.Entry<String, List<StreamEntry>>> found = client.xreadGroup(reader, "one", reading, unread);
        if (found == null) continue; // nothing came within a second
        for (var stream : found) {
          for (StreamEntry entry : stream.getValue()) {
            Map<String, String> names = new LinkedHashMap<>(entry.getFields());
            String body = names.remove("data"); // no such field: a null body
            Received message = new Received(partitionOf.get(stream.getKey()), null, names.get("content-type"), names, body);
            handler.handle(message.read("ce_", "h_"));
            client.xack(stream.getKey(), reader, entry.getID());
            count--;
          }
        }
      }
    }
  }
}
