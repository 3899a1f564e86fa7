package polyglot;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Kafka with its own client, which by default partitions by murmur2 and is idempotent; attributes are headers ce_name. */
final class OnKafka implements Broker {
  private final String servers;

  OnKafka(String url) {
    servers = URI.create(url).getAuthority();
  }

  @Override
  public void produce(String topic, List<Event> events, Stored stored) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", servers, "acks", "all", "compression.type", "lz4");
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      List<Future<RecordMetadata>> answers = new ArrayList<>();
      for (Event event : events) {
        var record = new ProducerRecord<>(topic, event.key(), event.body());
        event.attributes().forEach((name, value) -> record.headers().add("ce_" + name, value.getBytes(UTF_8)));
        event.headers().forEach((name, value) -> record.headers().add(name, value.getBytes(UTF_8)));
        record.headers().add("traceparent", event.traceparent().getBytes(UTF_8));
        record.headers().add("content-type", event.contentType().getBytes(UTF_8));
        answers.add(producer.send(record));
      }
      // `get` throws if it is not stored.
      for (int at = 0; at < events.size(); at++) stored.stored(events.get(at), answers.get(at).get().partition());
    }
  }

  /** With a group id of its own: it gets everything, whatever others have read. */
  @Override
  public void consume(String topic, String reader, int count, Runnable ready, Handler handler) throws Exception {
    Map<String, Object> settings =
        Map.of("bootstrap.servers", servers, "group.id", reader, "auto.offset.reset", "earliest", "enable.auto.commit", false);
    try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
      consumer.subscribe(List.of(topic));
      ready.run();
      while (count > 0) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
          Map<String, String> names = new LinkedHashMap<>();
          record.headers().forEach(header -> names.put(header.key(), new String(header.value(), UTF_8)));
          Received message = new Received(record.partition(), record.key(), names.get("content-type"), names, record.value());
          handler.handle(message.read("ce_", ""));
          count--;
        }
        consumer.commitSync();
      }
    }
  }
}
